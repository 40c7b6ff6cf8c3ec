"""The trials of rules: sequences of steps, until one breaks the rule; and that made short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cidx_ref.testing.concurrency.scheduler import Blocked, ThreadPool
from cidx_ref.testing.conformance.parts.asking import MakeCache
from cidx_ref.testing.conformance.parts.judging import (
    Broken,
    Tally,
    Trial,
    in_words,
    reason,
    replay_line,
)
from cidx_ref.testing.conformance.parts.rules import QUERY, Rule, Same, World
from cidx_ref.testing.conformance.parts.steps import Played, Seen, Step, play, sequences, shorter

__all__ = ["KIND", "attempt", "is_there", "rule_trial"]

KIND = "cache"

#: Sequences that are drawn beside those that are all tried, and so with `deep`; which also tries
#: all that have one step more.
DRAWN, DEEP_DRAWN = 40, 1_500

#: Promises that a value which is closed in use breaks.
_IN_USE = frozenset({"CACHE-4", "TTL-2"})


def rule_trial(
    rule: Rule | Same,
    make_cache: MakeCache,
    world: World,
    *,
    deep: bool = False,
    seed: int = 0,
) -> Trial:
    """The trial of one rule, by as many steps as the cache has."""
    kinds = [step for step in rule.kinds if is_there(step, world.has)]
    odd = tuple(rule.odd) if isinstance(rule, Same) else ()

    def run(tally: Tally) -> None:
        tried = 0
        drawn = DEEP_DRAWN if deep else DRAWN
        with ThreadPool() as pool:
            for steps in sequences([*kinds, *odd], rule.length + deep, seed=seed, drawn=drawn):
                if odd and not set(odd) & set(steps):
                    continue
                tried += 1
                found = attempt(rule, make_cache, steps, world, pool)
                if found is None:
                    continue
                if isinstance(found[0], Blocked):
                    tally.untried[rule.promise] = reason(found[0])
                    tally.is_blocked = True
                    return
                _tell(tally, rule, make_cache, steps, world, pool, tried)
                return
        tally.count({rule.promise}, tried, "sequences")

    return Trial(rule.name, frozenset({rule.promise}), run)


def is_there(step: Step, has: frozenset[str]) -> bool:
    needed = {"check": "evict", "clear": "clear", "query, cleared meanwhile": "clear"}
    if step.name == "query" and step.seconds is not None:
        return "use" in has
    return needed.get(step.name, "") in {"", *has}


def _tell(
    tally: Tally,
    rule: Rule | Same,
    make_cache: MakeCache,
    steps: Sequence[Step],
    world: World,
    pool: ThreadPool,
    tried: int,
) -> None:
    best = tuple(steps)
    candidates = iter(shorter(best))
    while (candidate := next(candidates, None)) is not None:
        if attempt(rule, make_cache, candidate, world, pool) is not None:
            best, candidates = candidate, iter(shorter(candidate))
    found = attempt(rule, make_cache, best, world, pool)
    if found is None:
        tally.untried[rule.promise] = "could not be judged: the same steps came to another end"
        return
    error, table = found
    line = "; ".join(map(str, best))
    replayed = replay_line(KIND, make_cache, f'"{rule.name}"', line)
    tally.broken(rule.promise, in_words(error), table, replayed, "sequences", tried)


def attempt(
    rule: Rule | Same,
    make_cache: MakeCache,
    steps: Sequence[Step],
    world: World,
    pool: ThreadPool,
) -> tuple[BaseException, str] | None:
    """What breaks the rule, with the steps as a table; None where nothing does."""
    seen: list[Played] = []

    def judge(played: Played) -> None:
        if not isinstance(rule, Same):
            rule.judge(played, world)

    try:
        played = play(make_cache, [*steps, QUERY], pool, judge, seen.append)
        if isinstance(rule, Same):
            _compare(rule, played, make_cache, steps, pool)
    except Exception as error:
        if _is_its_own(rule, error):
            return error, seen[-1].table() if seen else ""
    return None


def _is_its_own(rule: Rule | Same, error: Exception) -> bool:
    if isinstance(error, Broken):
        return error.promise == rule.promise
    return rule.promise in _IN_USE or not _is_of_a_value(error)


def _is_of_a_value(error: Exception) -> bool:
    """It was closed while it was used: not this rule's matter."""
    return type(error) is AssertionError


def _compare(
    rule: Same, played: Played, make_cache: MakeCache, steps: Sequence[Step], pool: ThreadPool
) -> None:
    """Raises `Broken` if the plain steps are answered otherwise."""
    plain = [rule.plain if step in rule.odd else step for step in steps]
    other = play(make_cache, [*(step for step in plain if step is not None), QUERY], pool)
    odd = [seen for seen in played.seen if seen.step not in rule.odd]
    told = [
        seen
        for seen, step in zip(
            other.seen, [step for step in plain if step is not None] + [QUERY], strict=True
        )
        if rule.plain is None or not _stands_for(step, seen, rule, steps, other.seen)
    ]
    for one, another in zip(odd, told, strict=True):
        if _answer(one) != _answer(another):
            raise Broken(
                rule.promise,
                f"{rule.words}: {_said(one)} at {one.began:g} s, and {_said(another)} without it",
            )


def _stands_for(
    step: Step, seen: Seen, rule: Same, steps: Sequence[Step], told: Sequence[Seen]
) -> bool:
    number = next(n for n, other in enumerate(told) if other is seen)
    return number < len(steps) and steps[number] in rule.odd


def _answer(seen: Seen) -> tuple[Any, ...]:
    return (seen.load.number if seen.load else None, seen.loads, seen.raised)


def _said(seen: Seen) -> str:
    if seen.load is None:
        return seen.raised or "no answer"
    return f"{seen.load} ({'new' if seen.loads else 'cached'})"
