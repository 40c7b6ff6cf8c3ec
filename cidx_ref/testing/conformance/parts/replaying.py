"""One finding of a part again: by the trial that found it, and what it was made to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cidx_ref.testing.concurrency.explore import Counterexample
from cidx_ref.testing.concurrency.instrument import modules_of
from cidx_ref.testing.concurrency.scheduler import ThreadPool
from cidx_ref.testing.conformance.parts.asking import Asked, missing
from cidx_ref.testing.conformance.parts.cache_scenarios import (
    CACHE_SCENARIOS,
    DEEP_CACHE_SCENARIOS,
)
from cidx_ref.testing.conformance.parts.checking import NAME, checking_trial
from cidx_ref.testing.conformance.parts.claim import CLAIM_SCENARIOS
from cidx_ref.testing.conformance.parts.judging import (
    PartScenario,
    Tally,
    alone,
    in_words,
    not_offered,
    replay_scenario,
)
from cidx_ref.testing.conformance.parts.lock import LOCK_SCENARIOS
from cidx_ref.testing.conformance.parts.rules import RULES, World
from cidx_ref.testing.conformance.parts.sequence_trials import attempt
from cidx_ref.testing.conformance.parts.steps import parse

__all__ = ["TRIALS", "replay"]

_SCENARIOS: dict[str, tuple[type[PartScenario], ...]] = {
    "cache": (*CACHE_SCENARIOS, *DEEP_CACHE_SCENARIOS),
    "lock": LOCK_SCENARIOS,
    "claim": CLAIM_SCENARIOS,
}
#: The names of trials, by kind of part.
TRIALS: Mapping[str, frozenset[str]] = {
    kind: frozenset(scenario.__name__ for scenario in scenarios)
    | (frozenset({NAME, *(rule.name for rule in RULES)}) if kind == "cache" else frozenset())
    for kind, scenarios in _SCENARIOS.items()
}


def replay(kind: str, make: Callable[..., Any], trial: str, what: str = "") -> str:
    """What comes of it: a sentence and a table; "" where nothing is broken any more.

    `what`: a schedule, or steps, as a finding's replay line has them.  Raises `ValueError` for what
    is no trial, or cannot be read.
    """
    if trial not in TRIALS.get(kind, ()):
        raise ValueError(f"{trial!r} is none of the trials of a {kind}: {sorted(TRIALS[kind])}")
    for scenario in _SCENARIOS[kind]:
        if scenario.__name__ == trial:
            return _scheduled(scenario, make, kind, what)
    if trial == NAME:
        tally = Tally(kind)
        checking_trial(make).run(tally)
        return "\n".join(finding.words for finding in tally.findings)
    return _stepped(trial, make, what)


def _scheduled(
    scenario: type[PartScenario], make: Callable[..., Any], kind: str, schedule: str
) -> str:
    try:
        replay_scenario(scenario, make, kind, schedule)
    except Counterexample as found:
        return f"{in_words(found.error)}\n{found.table}"
    return ""


def _stepped(trial: str, make: Callable[..., Any], steps: str) -> str:
    rule = next(rule for rule in RULES if rule.name == trial)
    with alone() as runtime, modules_of(make, runtime):
        asked = Asked(make, runtime)
        world = World(asked.has, missing(asked, not_offered(asked.cache, {})))
    with ThreadPool() as pool:
        found = attempt(rule, make, parse(steps), world, pool)
    return "" if found is None else f"{in_words(found[0])}\n{found[1]}"
