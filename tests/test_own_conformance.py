"""Our own daemon through the public kit: every promise is tried, and nothing is excused; and what
is broken in it is found there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cidx_ref.places import INDEX_DIRECTORY, STATE_DIRECTORY
from cidx_ref.testing.conformance.mutants import plant
from cidx_ref.testing.conformance.running import all_checks, plan, verify
from cidx_ref.testing.own import zoo
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
    "a_change_is_nobodys_business",
    "entry_is_used_unseen",
    "changes_settle_for_ever",
    "only_the_time_of_modification",
    "loaded_for_each_query",
)


def test_each_promise_has_a_check_that_our_own_daemon_can_be_asked_for() -> None:
    planned = plan(TARGET)
    tried = {promise for check in planned.checks for promise in check.promises}
    assert tried == set(PROMISES)
    assert TARGET.not_offered == {}
    # Its lock is one of processes, which those who want to write meet in a daemon.
    assert {found.check for found in planned.settled} == {"lock"}


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
    # All checks of its promise would take minutes.
    only = [SEEN_BY[name]] if name in SEEN_BY else []
    (outcome,) = plant(TARGET, {name: MUTANTS[name]}, only=only)
    planted(outcome.promise, name, killed=outcome.killed)
    assert outcome.killed, outcome.words


def test_what_no_door_shows_is_named_with_its_reason() -> None:
    assert MUTANTS.keys() | UNSEEN.keys() == ZOO.keys()
    assert not MUTANTS.keys() & UNSEEN.keys()
    assert set(_QUICK) <= MUTANTS.keys()
    here = [*zoo.PARTS, *zoo.INSIDE, *zoo.DEEP]
    assert len(here) == len(set(here)), "each is planted once"
    assert {*here, *zoo.DAEMONS, *SEEN_BY} == MUTANTS.keys()
    assert not SEEN_BY.keys() & {*here, *zoo.DAEMONS}
    about = {check.name: check.promises for check in all_checks(TARGET)}
    assert [name for name, by in SEEN_BY.items() if ZOO[name].promise not in about[by]] == []


#: In this process, and quick.
_INSIDE = ("own-watch-runs", "own-fresh-answers", "own-stale-hits", "own-one-load", "own-TwoSavers")


@pytest.mark.parametrize("name", _INSIDE)
def test_what_is_checked_in_this_process_is_kept(name: str) -> None:
    found = verify(TARGET, only=[name])
    assert [(f.verdict, f.words) for f in found if f.verdict is not Verdict.KEPT] == []
    assert all(sum(f.tried.values()) for f in found)


def test_what_is_checked_in_this_process_finds_and_leaves_nothing_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv(STATE_DIRECTORY, str(state))
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv(INDEX_DIRECTORY, str(tmp_path / "elsewhere"))
    before = dict(os.environ)
    (found,) = verify(TARGET, only=["own-any-text"])
    assert found.verdict is Verdict.KEPT, found.words
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["state"]
    assert dict(os.environ) == before
