"""The code survives every search of the harness, and none of its mutants does.

What is searched, and how, is in `cidx_ref.testing.own.searches`; the mutants are in `mutants`.
Those of promises without a search are killed by the tests of these (`test_mutants`).  The long
searches (`tox -e deep`) are marked so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time
from unittest.mock import patch

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from soonest import SOONEST_SEARCH

from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.claim import Claim
from cidx_ref.testing.concurrency.explore import (
    Counterexample,
    Scenario,
    exhaustive,
    guided,
    random_walk,
)
from cidx_ref.testing.own import scenarios
from cidx_ref.testing.own.machines import CacheMachine, ConcurrentCacheMachine
from cidx_ref.testing.own.mutants import MUTANTS, Mutant
from cidx_ref.testing.own.searches import SEARCHES, Search, run_machine, searches_of
from cidx_ref.testing.promises.registry import PROMISES
from cidx_ref.testing.promises.report import RecordMutant, RecordTried

pytestmark = pytest.mark.once

#: The promises that are about locks, time and processes: each has a search and a mutant.
SEARCHED = [id_ for id_ in PROMISES if id_.split("-")[0] in {"SRV", "CACHE", "TTL", "WRITE"}]
LIMIT_S = 5.0
MAX_SWITCHES = 4

#: Every schedule of these takes some seconds: in depth.  By default they are guided, and find their
#: mutants.
LONG = frozenset(
    """
    IndexRuns OnePermit PublishAndTwoQueries QueryAndTwoIndexRuns ReplacedDirectory ReplacedProject
    ThreeQueries ThreeStarters
    """.split()
)

SURVIVES = [
    pytest.param(
        search,
        id=search.name,
        marks=[
            pytest.mark.promise(*sorted(search.promises)),
            *[pytest.mark.deep] * (search.name in LONG),
        ],
    )
    for search in SEARCHES
]
DIES = [
    pytest.param(mutant, id=name, marks=pytest.mark.promise(mutant.promise))
    for name, mutant in MUTANTS.items()
    if mutant.complaint and searches_of(mutant.promise)
]


@pytest.mark.parametrize("search", SURVIVES)
def test_the_code_survives(search: Search, tried: RecordTried) -> None:
    count = search.run(True)
    for promise in search.promises:
        tried(promise, count, search.unit)


def test_of_each_promise_of_a_long_search_another_one_is_by_default() -> None:
    assert {search.name for search in SEARCHES} >= LONG
    others = [s for s in SEARCHES if s.name not in LONG and not s.name.endswith(", guided")]
    by_default = frozenset[str]().union(*(search.promises for search in others))
    assert {p for s in SEARCHES if s.name in LONG for p in s.promises} <= by_default


@pytest.mark.parametrize("mutant", DIES)
def test_the_mutant_is_killed_by_the_promise_that_it_breaks(
    mutant: Mutant, planted: RecordMutant
) -> None:
    soonest = SOONEST_SEARCH.get(mutant.name)
    killer = None
    try:
        with mutant.planted():
            killer = next((s for s in _soonest_first(mutant, soonest) if _kills(s, mutant)), None)
    finally:
        planted(mutant.promise, mutant.name, killed=killer is not None)
    assert killer, f"survives: {mutant.what}"
    assert soonest in (None, killer.name), f"tests/soonest.py: {soonest} does not find it"


def _soonest_first(mutant: Mutant, soonest: str | None) -> list[Search]:
    """All searches of its promise."""
    return sorted(searches_of(mutant.promise), key=lambda search: search.name != soonest)


def test_the_entries_of_what_finds_it_soonest_are_for_mutants_that_are_planted_here() -> None:
    assert SOONEST_SEARCH.keys() <= {str(each.id) for each in DIES}


@pytest.mark.parametrize(("mutant", "soonest"), SOONEST_SEARCH.items())
def test_the_search_that_finds_it_soonest_is_first_and_no_other_is_left_out(
    mutant: str, soonest: str
) -> None:
    promise = MUTANTS[mutant].promise
    first, *others = _soonest_first(MUTANTS[mutant], soonest)
    assert first.name == soonest
    assert [first, *others] != searches_of(promise), "it would be first anyhow"
    assert others == [search for search in searches_of(promise) if search is not first]


def _kills(search: Search, mutant: Mutant) -> bool:
    """Whether the search finds it, and for what it is; where it takes switches, soon, and in a
    trace to be read."""
    began = process_time()  # what else the machine does is none of it
    try:
        search.run(False)
    except Counterexample as found:
        soon = process_time() - began <= LIMIT_S
        is_short = len(found.schedule) > 0 and found.switches <= MAX_SWITCHES
        return _complains(found, mutant) and (not mutant.needs_switches or (soon and is_short))
    except AssertionError as error:
        return not mutant.needs_switches and _complains(error, mutant)
    except Exception:  # whatever that is, nobody has looked for it
        return False
    return False


def _complains(error: AssertionError, mutant: Mutant) -> bool:
    said = str(error).partition("\n  step ")[0]  # the complaint, and not the table
    return bool(mutant.complaint and re.search(mutant.complaint, said))


@pytest.mark.parametrize("promise", ["CACHE-1", "SRV-2", "TTL-1"])
def test_a_mutant_that_only_has_a_mistake_in_it_is_not_killed(promise: str) -> None:
    def plant() -> Iterator[None]:
        def fail(*_: object, **__: object) -> object:
            raise NameError("a typo in the mutant")

        with patch.object(IndexCache, "_acquire", fail), patch.object(Claim, "acquire", fail):
            yield

    for needs_switches in (True, False):
        planted = contextmanager(plant)
        mistake = Mutant("mistake", promise, "", "loads|owners|due", needs_switches, planted)
        with mistake.planted():
            assert not any(_kills(search, mistake) for search in searches_of(promise))


@pytest.mark.parametrize("promise", SEARCHED)
def test_each_promise_about_time_and_threads_has_a_search_and_a_mutant(promise: str) -> None:
    assert searches_of(promise)
    assert any(mutant.promise == promise for mutant in MUTANTS.values())


DEEP = [
    pytest.param(scenario, id=scenario.__name__, marks=pytest.mark.promise(*scenario.promises))
    for scenario in scenarios.SCENARIOS
]


@pytest.mark.deep
@pytest.mark.parametrize("scenario", DEEP)
def test_the_code_survives_a_deeper_search(scenario: type[Scenario], tried: RecordTried) -> None:
    count = exhaustive(scenario, preemptions=3, max_schedules=20_000).schedules
    count += random_walk(scenario, schedules=5_000, seed=1).schedules
    count += guided(scenario, examples=1_000).schedules
    for promise in scenario.promises:
        tried(promise, count, "schedules")


@pytest.mark.deep
def test_three_threads_and_many_operations_survive_every_schedule_of_two_preemptions() -> None:
    assert exhaustive(scenarios.ManyOperations).complete


@pytest.mark.deep
@pytest.mark.parametrize("machine", [CacheMachine, ConcurrentCacheMachine])
def test_the_machines_find_nothing_in_a_longer_run(machine: type[RuleBasedStateMachine]) -> None:
    run_machine(machine, examples=2_000, steps=50)
