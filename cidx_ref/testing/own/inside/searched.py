"""The searches of this package, as checks: each scenario and machine by its name."""

from __future__ import annotations

from itertools import groupby

from cidx_ref.testing.concurrency.explore import Scenario, exhaustive, random_walk
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.own.inside.examples import in_quiet
from cidx_ref.testing.own.scenarios import SCENARIOS, watching
from cidx_ref.testing.own.searches import SEARCHES, Search

__all__ = ["CHECKS"]

#: Schedules of a scenario that are tried where it is not in depth.
_SCHEDULES, _WALKS = 40, 10
_DEEP_SCHEDULES = _DEEP_WALKS = 400
#: One by which each mutant of the watch is found soon.
_SEED = 2


def _explored(scenario: type[Scenario]) -> Check:
    """A scenario by a part of its schedules, and in depth as the tests search it."""
    searches = [search for search in SEARCHES if _name(search) == scenario.__name__]

    @check(f"own-{scenario.__name__}", *sorted(scenario.promises), inside=True)
    def run(bench: Bench) -> None:
        with bench.showing(*scenario.promises), in_quiet(bench.directory):
            if bench.deep and searches:
                counts = {search.unit: search.run(True) for search in searches}
            else:
                counts = {"schedules": _briefly(scenario, deep=bench.deep)}
            for promise in scenario.promises:
                for unit, count in counts.items():
                    bench.tried(promise, count, unit)

    return run


def _briefly(scenario: type[Scenario], *, deep: bool) -> int:
    schedules, walks = (_DEEP_SCHEDULES, _DEEP_WALKS) if deep else (_SCHEDULES, _WALKS)
    found = exhaustive(scenario, max_schedules=schedules)
    if found.complete:
        return found.schedules
    return found.schedules + random_walk(scenario, schedules=walks, seed=_SEED).schedules


def _other(name: str, searches: list[Search]) -> Check:
    """What is no scenario: in depth only."""
    promises = sorted(searches[0].promises)

    @check(f"own-{name.replace(' ', '-')}", *promises, inside=True, deep=True)
    def run(bench: Bench) -> None:
        with bench.showing(*promises), in_quiet(bench.directory):
            for search in searches:
                count = search.run(True)
                for promise in promises:
                    bench.tried(promise, count, search.unit)

    return run


def _name(search: Search) -> str:
    return search.name.removesuffix(", guided")


def _all() -> tuple[Check, ...]:
    watched = (watching.EditsAndQuestions, watching.AFailingRun, watching.EditsAndMerges)
    scenarios = (*SCENARIOS, *watched, watching.TwoSavers)
    named = {scenario.__name__ for scenario in scenarios}
    left = sorted((each for each in SEARCHES if _name(each) not in named), key=_name)
    others = [_other(name, list(each)) for name, each in groupby(left, _name)]
    return (*map(_explored, scenarios), *others)


CHECKS = _all()
