"""A daemon's life in any order, fifty steps of it; and that what breaks it is found.

Five thousand in the `deep` environment of tox, in two halves for two workers.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cidx_ref.interpreter import python_command
from cidx_ref.testing.conformance import lifecycle
from cidx_ref.testing.conformance.life_model import Model, Violation
from cidx_ref.testing.conformance.lifecycle import RULES, Lifecycle
from cidx_ref.testing.conformance.lives import check_lifecycle
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.own.conformance import TARGET, defective, mutated
from cidx_ref.testing.own.faulty import CrashPoint
from cidx_ref.testing.own.mutants import MUTANTS
from cidx_ref.testing.promises.findings import Verdict

pytestmark = pytest.mark.once


@pytest.mark.promise("SRV-2", "SRV-3", "SRV-4", "TTL-5", "CACHE-8", "WRITE-3")
@pytest.mark.parametrize(
    ("steps", "seed"),
    [
        (25, 0),
        pytest.param(2500, 1, marks=pytest.mark.deep),
        pytest.param(2500, 2, marks=pytest.mark.deep),
    ],
)
def test_whatever_happens_there_is_one_owner_reached_with_a_right_index_and_nothing_left(
    tmp_path: Path, steps: int, seed: int, figure: Callable[..., None]
) -> None:
    tally = Counter[str]()
    found = check_lifecycle(TARGET, steps=steps, seed=seed, home=tmp_path, tally=tally)
    assert [one for one in found if one.verdict is not Verdict.KEPT] == []
    assert tally.total() >= steps
    assert tally.keys() == RULES.keys()
    assert all(tally.values())
    assert list(tmp_path.iterdir()) == []
    figure("SRV-2", "random steps in a daemon's life", tally.total())
    kills = sum(number for name, number in tally.items() if name.startswith("kill"))
    figure("SRV-3", "of these kill -9", kills)


# What the machine finds.


PROGRAM = str(Path(__file__).with_name("broken_daemon.py"))
Life = Callable[[Lifecycle], object]


def live(machine: Lifecycle, life: Life) -> None:
    try:
        life(machine)
    finally:
        machine.teardown()


def _ask_after_it_ended(machine: Lifecycle) -> None:
    machine.configure(name="stays")
    machine.serve()
    end_of(machine.model.owner, 30.0)
    machine.query(mode="query")


@pytest.mark.promise("SRV-2", "SRV-3", "SRV-4", "TTL-5", "CACHE-8", "WRITE-3")
@pytest.mark.parametrize(
    ("defect", "promise", "complaint", "life"),
    [
        ("leaves_its_socket", "SRV-4", "'daemon.sock'", lambda m: [m.serve(), m.stop()]),
        ("leaves_its_socket", "SRV-4", "'daemon.sock'", lambda m: [m.serve()]),
        ("takes_a_dead_socket", "SRV-3", "nobody is", lambda m: [m.serve(), m.kill(), m.serve()]),
        ("serves_beside_another", "SRV-2", "serves", lambda m: [m.serve(), m.serve()]),
        (
            "serves_beside_another",
            "SRV-2",
            "'serves': 2",
            lambda m: m.start_several_at_once(starters=2),
        ),
        (
            "never_looks_for_a_new_index",
            "CACHE-8",
            "edition 2 of|no_index|missing",
            lambda m: [m.serve(), *[m.index_elsewhere(edit=True) for _ in range(2)]],
        ),
        ("stays_when_idle", "TTL-5", "does not end", lambda m: m.leave_alone()),
        ("leaves_when_not_idle", "TTL-5", "ended by itself", _ask_after_it_ended),
        ("ends_with_status_3", "SRV-4", "status is 3", lambda m: [m.serve(), m.stop()]),
        (
            "ends_with_status_3",
            "SRV-4",
            "status is 3",
            lambda m: m.terminate_during_stop(point="unlinked"),
        ),
        (
            "sweeps_nothing",
            "WRITE-3",
            "building",
            lambda m: [m.kill_during_publish(point="sealed"), m.stop(), m.serve()],
        ),
        (
            "does_not_hear_a_signal_early",
            "SRV-4",
            "after a SIGTERM",
            lambda m: m.terminate_during_start(point="reachable"),
        ),
        (
            "survives_its_kill",
            "",
            "and lives",
            lambda m: m.kill_during_start(point="bound", rival=False),
        ),
        ("leaves_a_process_behind", "SRV-4", "does not end", lambda m: m.serve()),
        (
            "indexes_half",
            "WRITE-2",
            "finds harbour.py only",
            lambda m: [m.index_elsewhere(edit=True), m.serve()],
        ),
        (
            "publishes_too_early",
            "WRITE-3",
            "missing",
            lambda m: m.kill_during_publish(point="linked too early"),
        ),
    ],
)
def test_the_machine_finds_what_is_broken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    defect: str,
    promise: str,
    complaint: str,
    life: Life,
) -> None:
    if complaint == "does not end":  # it is waited for in vain; other things may take their time
        monkeypatch.setattr("cidx_ref.testing.conformance.life.TIMEOUT_S", 2.0)
    machine = Lifecycle(defective(PROGRAM, defect), tmp_path)
    with pytest.raises(Exception, match=complaint) as caught:
        live(machine, life)
    assert getattr(caught.value, "promise", "") == promise
    assert list(tmp_path.iterdir()) == []
    assert machine.household.processes() == []


@pytest.mark.parametrize(
    ("mutant", "promise", "complaint", "life"),
    [
        pytest.param(
            mutant,
            promise,
            complaint,
            life,
            marks=pytest.mark.promise(MUTANTS[mutant].promise),
            id=mutant,
        )
        for mutant, promise, complaint, life in [
            (
                "a_name_is_taken_for_a_daemon",
                "SRV-3",
                "nobody is there: the last one was killed",
                lambda m: [m.serve(), m.kill(), m.serve()],
            ),
            (
                "other_writers_are_not_noticed",
                "CACHE-8",
                "edition 2 of",
                lambda m: [
                    m.configure(name="keeps"),
                    m.serve(),
                    *(m.index_elsewhere(edit=True) for _ in range(2)),
                ],
            ),
            (
                "a_change_is_nobodys_business",
                "FRESH-3",
                "edition 2, .* of edition 3, says stale: False",
                lambda m: [m.serve(), m.index(edit=True), m.edit()],
            ),
            (
                "fresh_is_a_word",
                "FRESH-2",
                "edition 2, asked for fresh 3",
                lambda m: [
                    m.serve(),
                    m.index(edit=True),
                    m.edit(),
                    m.query_freshly(mode="query_fts"),
                ],
            ),
            (
                "changes_start_no_run",
                "FRESH-1",
                "nobody indexes it",
                lambda m: [
                    m.configure(name="watches"),
                    m.index(edit=True),
                    m.query_freshly(mode="query_fts"),
                    m.edit_and_poll(),
                ],
            ),
            (
                "litter_is_left",
                "WRITE-3",
                "building.* lie there",
                lambda m: [m.kill_during_publish(point="sealed"), m.stop(), m.serve()],
            ),
        ]
    ],
)
def test_the_machine_finds_mutants_in_real_daemons(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutant: str,
    promise: str,
    complaint: str,
    life: Life,
) -> None:
    live(Lifecycle(TARGET, tmp_path), life)
    if complaint == "nobody indexes it":  # it is waited for in vain
        monkeypatch.setattr(lifecycle, "VISIBLE_S", 3.0)
    with pytest.raises(Violation, match=complaint) as caught:
        live(Lifecycle(mutated(mutant), tmp_path), life)
    assert caught.value.promise == promise
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise("SRV-4")
def test_what_random_steps_find_is_told_as_a_sequence_of_steps(tmp_path: Path) -> None:
    target = defective(PROGRAM, "ends_with_status_3")
    found = check_lifecycle(target, steps=10, seconds=5.0, seed=3, home=tmp_path)
    broken = {one.promise: one for one in found if one.verdict is Verdict.BROKEN}
    assert broken.keys() == {"SRV-4"}
    assert len(broken["SRV-4"].trace.splitlines()) <= 2, broken["SRV-4"].trace
    assert broken["SRV-4"].trace.startswith("1. ")
    assert "seed=3" in broken["SRV-4"].replay
    assert list(tmp_path.iterdir()) == []


# The model, and the faults.


@pytest.mark.promise("WRITE-3")
def test_after_a_kill_during_a_publish_the_old_index_or_the_new_and_from_then_on_no_other() -> None:
    model = Model(edition=1, is_exact=True)
    model.indexed(by_daemon=False)
    model.edition = 2
    model.writer_was_killed()
    model.answered(1)
    with pytest.raises(Violation) as caught:
        model.answered(2)
    assert caught.value.promise == "WRITE-3"
    model.writer_was_killed()
    model.answered(2)
    for edition in (1, 3, 0):
        with pytest.raises(Violation):
            model.answered(edition)


@pytest.mark.promise("CACHE-5", "CACHE-8", "WRITE-2", "WRITE-3")
def test_an_answer_that_may_not_be_counts_against_what_happened_last() -> None:
    model = Model(edition=2)
    for by_daemon, promise in ((True, "CACHE-5"), (False, "CACHE-8")):
        model.indexed(by_daemon=by_daemon)
        with pytest.raises(Violation) as caught:
            model.answered(1)
        assert caught.value.promise == promise
    with pytest.raises(Violation) as caught:
        model.answered(1, 2)
    assert caught.value.promise == "WRITE-2"
    model.ended(killed=True)
    with pytest.raises(Violation) as caught:
        model.answered(0, 2)
    assert caught.value.promise == "WRITE-3"


@pytest.mark.promise("CACHE-5")
def test_a_daemon_that_reads_files_by_itself_may_be_ahead_of_the_index_and_never_go_back() -> None:
    model = Model(edition=1)
    model.indexed(by_daemon=True)
    model.edition = 3
    model.answered(1)
    model.answered(3)
    for edition in (2, 4, 0):
        with pytest.raises(Violation):
            model.answered(edition)


@pytest.mark.promise("FRESH-2", "FRESH-3")
def test_a_daemon_that_watches_may_go_on_to_what_was_saved_and_never_back() -> None:
    model = Model(edition=1, is_exact=True)
    model.started(7)
    model.indexed(by_daemon=True)
    model.edition = 3
    with pytest.raises(Violation):
        model.answered(2)  # it does not watch
    model.watches = True
    model.answered(1)
    model.answered(1, 2)  # one file was read before it was saved
    for oldest, newest in ((0, 1), (4, 4), (3, 4)):
        with pytest.raises(Violation):
            model.answered(oldest, newest)
    with pytest.raises(Violation):
        model.answered_freshly(2)
    model.ended(killed=True)
    assert model.may_leave_halves  # of its last run, which may have published, too
    model.edition = 4
    model.started(8)
    with pytest.raises(Violation):
        model.answered(1, 4)
    model.answered(3)
    model.ended()


def faulty(*arguments: str) -> subprocess.CompletedProcess[str]:
    command, environment = python_command("cidx_ref.testing.own.faulty", *arguments)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.promise("WRITE-3")
def test_a_process_is_killed_at_the_step_and_the_pass_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    for step in ("written", "sealed", "renamed", "linked", "published", "swept"):
        done = faulty("--crash-at", step, "--", "build", str(tmp_path), "--full")
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", ""), step
    done = faulty("--crash-at", "published:2", "--", "build", str(tmp_path), "--full")
    assert done.returncode == 0
    assert json.loads(done.stdout)["changed"] is True


def test_a_fault_is_refused_where_it_is_none_and_a_command_without_one_is_as_ever(
    tmp_path: Path,
) -> None:
    for point in ("", ":1", "bound:0", "bound:x"):
        assert faulty("--crash-at", point, "--", "build", str(tmp_path)).returncode == 2
        with pytest.raises(ValueError):
            CrashPoint.parse(point)
    assert str(CrashPoint.parse("bound")) == "bound:1"
    assert "'nobody'" in faulty("--mutant", "nobody", "--", "stop").stderr
    assert faulty("--", "stop", "--project", str(tmp_path)).stdout == "not running\n"
    assert "nowhere" in faulty("--", "build", str(tmp_path / "nowhere")).stderr
