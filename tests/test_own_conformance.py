"""Our own daemon through the public kit: every promise is tried, and nothing is excused; and what
is broken in it is found there."""

from __future__ import annotations

import pytest

from cidx_ref.testing.conformance.mutants import plant
from cidx_ref.testing.conformance.running import plan, verify
from cidx_ref.testing.own.conformance import TARGET
from cidx_ref.testing.own.mutants import MUTANTS as ZOO
from cidx_ref.testing.own.zoo import MUTANTS, SEEN_BY, UNSEEN
from cidx_ref.testing.promises.findings import Verdict, by_promise
from cidx_ref.testing.promises.registry import PROMISES
from cidx_ref.testing.promises.report import RecordMutant

pytestmark = pytest.mark.once

#: Seen in seconds.
_QUICK = (
    "stored_after_a_publish",
    "query_error_clears_the_cache",
    "fresh_is_a_word",
    "a_change_is_nobodys_business",
)


def test_each_promise_has_a_check_that_our_own_daemon_can_be_asked_for() -> None:
    planned = plan(TARGET)
    tried = {promise for check in planned.checks for promise in check.promises}
    assert tried == set(PROMISES)
    assert TARGET.not_offered == {}


@pytest.mark.deep
@pytest.mark.promise(*PROMISES)
def test_our_own_daemon_keeps_every_promise_and_nothing_is_excused() -> None:
    verdicts = {
        promise: (found[0].verdict, found[0].words)
        for promise, found in by_promise(verify(TARGET)).items()
    }
    assert {p: v for p, v in verdicts.items() if v[0] is not Verdict.KEPT} == {}
    assert verdicts.keys() == set(PROMISES)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[
                pytest.mark.promise(mutant.promise),
                *([] if name in _QUICK else [pytest.mark.deep]),
            ],
        )
        for name, mutant in MUTANTS.items()
    ],
)
def test_the_mutant_is_caught_through_the_kit(name: str, planted: RecordMutant) -> None:
    only = (
        [SEEN_BY[name]] if name in SEEN_BY else []
    )  # all others of its promise would take minutes
    (outcome,) = plant(TARGET, {name: MUTANTS[name]}, only=only)
    planted(outcome.promise, name, killed=outcome.killed)
    assert outcome.killed, outcome.words


def test_what_no_door_shows_is_named_with_its_reason() -> None:
    assert MUTANTS.keys() | UNSEEN.keys() == ZOO.keys()
    assert not MUTANTS.keys() & UNSEEN.keys()
    assert set(_QUICK) <= MUTANTS.keys()
