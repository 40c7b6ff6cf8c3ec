"""Caches: whether one keeps its promises, whoever wrote it.

    def make_cache(source, *, ttl_s, runtime):
        return Adapter(their.Cache(source.load, ttl_s, clock=runtime.monotonic))

    for finding in check_cache(make_cache):
        print(finding.promise, finding.verdict, finding.words)

What the cache must have is little, and it is judged by what it has: see `asking.CacheLike`.  One
that makes locks and clocks of its own is given as `instrumented(make_cache, "their.cache")`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from cidx_ref.testing.concurrency.instrument import looked_through, modules_of
from cidx_ref.testing.concurrency.scheduler import ThreadPool
from cidx_ref.testing.conformance.parts.asking import Asked, MakeCache, missing
from cidx_ref.testing.conformance.parts.cache_scenarios import (
    CACHE_SCENARIOS,
    DEEP_CACHE_SCENARIOS,
    ManyOperations,
)
from cidx_ref.testing.conformance.parts.checking import checking_trial
from cidx_ref.testing.conformance.parts.judging import (
    Tally,
    Unusable,
    alone,
    explored,
    not_offered,
    reason,
    refuse_real_locks,
    run_trials,
)
from cidx_ref.testing.conformance.parts.rules import RULES, World
from cidx_ref.testing.conformance.parts.sequence_trials import KIND, is_there, rule_trial
from cidx_ref.testing.conformance.parts.steps import Step, play
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["CACHE_PROMISES", "TTL_PROMISES", "check_cache", "check_ttl"]

TTL_PROMISES = ("TTL-1", "TTL-2", "TTL-3", "TTL-4")
CACHE_PROMISES = (
    *("CACHE-1", "CACHE-2", "CACHE-3", "CACHE-4", "CACHE-6", "CACHE-7", "CACHE-8"),
    *TTL_PROMISES,
    "RPC-4",
)


def check_cache(
    make_cache: MakeCache,
    *,
    deep: bool = False,
    seed: int = 0,
    not_offered: Mapping[str, str] | None = None,
    promises: Iterable[str] = CACHE_PROMISES,
) -> list[Finding]:
    """Judge a cache: one load for all, failures, clears and publishes meanwhile, and its age.

    `make_cache(source, *, ttl_s, runtime)` makes a new one (`asking.CacheLike`) over a
    `source.Source`, for each of thousands of runs.  `deep`: try longer; `seed`: of what is drawn;
    `not_offered`: promises that it does not make, by id, with the reason.

    One finding for each of `promises`, or more where a promise is broken in several ways.  Nothing
    that the cache does is raised.  Takes some seconds.
    """
    return _check("cache", make_cache, deep, seed, not_offered or {}, tuple(promises))


def check_ttl(
    make_cache: MakeCache,
    *,
    deep: bool = False,
    seed: int = 0,
    not_offered: Mapping[str, str] | None = None,
) -> list[Finding]:
    """The part of `check_cache` that is about time: TTL-1 to TTL-4."""
    return _check("ttl", make_cache, deep, seed, not_offered or {}, TTL_PROMISES)


def _check(
    check: str,
    make_cache: MakeCache,
    deep: bool,
    seed: int,
    declared: Mapping[str, str],
    promises: tuple[str, ...],
) -> list[Finding]:
    try:
        with alone() as runtime, looked_through(make_cache, runtime):
            asked = _looked_at(make_cache)
            return _judged(check, make_cache, asked, deep, seed, declared, promises)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # `sys.exit` too, which a part's code may use
        return [Finding(p, Verdict.NOT_TRIED, reason(error), check) for p in promises]


def _judged(
    check: str,
    make_cache: MakeCache,
    asked: Asked,
    deep: bool,
    seed: int,
    declared: Mapping[str, str],
    promises: tuple[str, ...],
) -> list[Finding]:
    absent = missing(asked, not_offered(asked.cache, declared))
    wanted = {promise for promise in promises if promise not in absent}
    tally = Tally(check, frozenset(CACHE_PROMISES) - wanted)
    has = asked.has | _behaves(make_cache, asked)
    world = World(has, absent)
    options: dict[str, Any] = {"deep": deep, "seed": seed}
    rules = [rule for rule in RULES if rule.needs <= has]
    trials = [rule_trial(rule, make_cache, world, **options) for rule in rules]
    scenarios = [scenario for scenario in CACHE_SCENARIOS if scenario.needs <= has]
    trials += [explored(scenario, make_cache, KIND, **options) for scenario in scenarios]
    run_trials(tally, [*trials, checking_trial(make_cache)])
    if deep:
        _in_depth(tally, make_cache, has, seed)
    return tally.results(promises, absent)


def _in_depth(tally: Tally, make_cache: MakeCache, has: frozenset[str], seed: int) -> None:
    """Larger scenarios, of which a broken one does not say as clearly which promise it is."""
    broken = {finding.promise for finding in tally.findings}
    for scenario in DEEP_CACHE_SCENARIOS:
        if scenario.needs <= has and not (scenario is ManyOperations and broken):
            trial = explored(scenario, make_cache, KIND, deep=True, seed=seed)
            run_trials(tally, [trial])


def _behaves(make_cache: MakeCache, asked: Asked) -> frozenset[str]:
    """What it has that is not seen by its methods: it asks what is live, it closes values."""
    has = {"current"} if asked.source.asked else set()
    for away in (Step("clear"), Step("check")):
        if is_there(away, asked.has):
            steps = [Step("query"), Step("wait for the TTL", 1.0), away]
            with ThreadPool() as pool, suppress(Exception):
                if any(load.closed for load in play(make_cache, steps, pool).asked.source.loads):
                    has.add("closes")
    return frozenset(has)


def _looked_at(make_cache: MakeCache) -> Asked:
    """A cache that was asked twice, so that it is known what it has."""
    with alone() as runtime, modules_of(make_cache, runtime):
        asked = Asked(make_cache, runtime)
        refuse_real_locks(asked.cache)

        def ask() -> None:
            for time in ("first", "second"):
                try:
                    asked.query()
                except AssertionError as error:
                    raise Unusable(f"asked for the {time} time, {error}") from None

        runtime.run({"client": ask})
    return asked
