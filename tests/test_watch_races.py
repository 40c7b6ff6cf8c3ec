"""The watcher under an explorer: edits, questions, a user's run and the watcher's own meet."""

from __future__ import annotations

import pytest

from cidx_ref.testing.concurrency.explore import Scenario, exhaustive, random_walk
from cidx_ref.testing.own.mutants import MUTANTS
from cidx_ref.testing.own.scenarios.watching import (
    AFailingRun,
    EditsAndMerges,
    EditsAndQuestions,
)

pytestmark = pytest.mark.once

SCHEDULES = 400
WALKS = 400
#: One by which each mutant is found soon.
SEED = 2


@pytest.mark.promise("FRESH-1", "FRESH-2")
@pytest.mark.parametrize("scenario", [EditsAndQuestions, AFailingRun, EditsAndMerges])
def test_fresh_means_fresh_whatever_the_order(
    scenario: type[Scenario],
) -> None:
    _explore(scenario)


@pytest.mark.parametrize(
    ("name", "scenario", "complaint"),
    [
        ("an_event_during_a_run_is_lost", EditsAndQuestions, "live of"),
        ("a_failed_run_forgets_what_it_had_in_flight", AFailingRun, "live of"),
        ("freshness_is_what_is_known_already", EditsAndQuestions, "live of"),
        ("an_event_during_a_run_is_lost", EditsAndMerges, "live of"),
        ("freshness_is_what_is_known_already", EditsAndMerges, "live of"),
        ("a_merge_counts_as_a_look_at_the_files", EditsAndMerges, "live of"),
        ("a_merge_is_not_cancelled", EditsAndMerges, "waited for a merge"),
    ],
)
def test_the_explorer_finds_a_watcher_that_forgets(
    name: str,
    scenario: type[Scenario],
    complaint: str,
) -> None:
    with MUTANTS[name].planted(), pytest.raises(AssertionError, match=complaint):
        _explore(scenario)


def _explore(scenario: type[Scenario]) -> None:
    exhaustive(scenario, max_schedules=SCHEDULES)
    random_walk(scenario, schedules=WALKS, seed=SEED)
