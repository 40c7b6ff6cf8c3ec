"""A daemon's life in any order, fifty steps of it; and that what breaks it is found.

Five thousand in the `deep` environment of tox, in two halves for two workers.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cidx_ref.interpreter import python_command
from cidx_ref.testing.conformance import lifecycle
from cidx_ref.testing.conformance.lifecycle import (
    Command,
    Lifecycle,
    Model,
    check_lifecycle,
)
from cidx_ref.testing.conformance.lifecycle import _wait_for_end as wait_for_end
from cidx_ref.testing.own.faulty import CrashPoint
from cidx_ref.testing.own.mutants import MUTANTS
from cidx_ref.testing.own.target import OwnTarget

pytestmark = pytest.mark.once


@pytest.mark.promise("SRV-2", "SRV-3", "SRV-4", "TTL-5", "CACHE-8", "WRITE-3")
@pytest.mark.parametrize(
    ("steps", "seed"),
    [
        (50, 0),
        pytest.param(2500, 1, marks=pytest.mark.deep),
        pytest.param(2500, 2, marks=pytest.mark.deep),
    ],
)
def test_whatever_happens_there_is_one_owner_reached_with_a_right_index_and_nothing_left(
    tmp_path: Path, steps: int, seed: int, figure: Callable[..., None]
) -> None:
    tally = check_lifecycle(OwnTarget(), tmp_path, steps=steps, seed=seed)
    assert tally.total() >= steps
    assert all(tally.values())
    assert list(tmp_path.iterdir()) == []
    figure("SRV-2", "random steps in a daemon's life", tally.total())
    kills = sum(number for name, number in tally.items() if name.startswith("kill"))
    figure("SRV-3", "of these kill -9", kills)


# What the machine finds.


class Broken(OwnTarget):
    """The daemons and writers of `broken_daemon.py`."""

    def __init__(self, defect: str) -> None:
        self.defect = defect

    def command(self, *arguments: str, crash_at: str = "", term_at: str = "") -> Command:
        command, environment = super().command(*arguments, crash_at=crash_at, term_at=term_at)
        program = str(Path(__file__).with_name("broken_daemon.py"))
        # In the place of `-m cidx_ref.testing.own.faulty`.
        return [
            *command[:2],
            program,
            self.defect,
            *command[command.index("-m") + 2 :],
        ], environment


Life = Callable[[Lifecycle], object]


def live(machine: Lifecycle, life: Life) -> None:
    try:
        life(machine)
    finally:
        machine.teardown()


def _ask_after_it_ended(machine: Lifecycle) -> None:
    machine.serve()
    wait_for_end(machine.model.owner)
    machine.query(method="query")


@pytest.mark.promise("SRV-2", "SRV-4", "TTL-5", "CACHE-8", "WRITE-3")
@pytest.mark.parametrize(
    ("defect", "complaint", "life"),
    [
        ("leaves_its_socket", "'daemon.sock'", lambda m: [m.serve(), m.stop()]),
        ("leaves_its_socket", "'daemon.sock'", lambda m: [m.serve()]),
        ("takes_a_dead_socket", "nobody is", lambda m: [m.serve(), m.kill(), m.serve()]),
        ("serves_beside_another", "not reached", lambda m: [m.serve(), m.serve()]),
        (
            "serves_beside_another",
            "'serving'",
            lambda m: m.start_several_at_once(background=0, foreground=2),
        ),
        (
            "never_looks_for_a_new_index",
            "edition 2 of|missing",
            lambda m: [m.serve(), *[m.index_elsewhere(edit=True, full=False) for _ in range(2)]],
        ),
        ("stays_when_idle", "does not end", lambda m: m.leave_alone()),
        (
            "leaves_when_not_idle",
            "not reached",
            _ask_after_it_ended,
        ),
        ("ends_with_status_3", ": 3", lambda m: [m.serve(), m.stop()]),
        ("ends_with_status_3", ": 3", lambda m: m.terminate_during_stop(point="unlinked")),
        (
            "sweeps_nothing",
            "building",
            lambda m: [m.kill_during_publish(point="sealed"), m.stop(), m.serve()],
        ),
        (
            "does_not_hear_a_signal_early",
            "after a SIGTERM",
            lambda m: m.terminate_during_start(point="reachable"),
        ),
        (
            "survives_its_kill",
            "and lives",
            lambda m: m.kill_during_start(point="bound", rival=False),
        ),
        ("leaves_a_process_behind", "does not end", lambda m: m.serve()),
        (
            "indexes_half",
            "half an index",
            lambda m: [m.index_elsewhere(edit=True, full=False), m.serve()],
        ),
        (
            "publishes_too_early",
            "missing",
            lambda m: m.kill_during_publish(point="linked too early"),
        ),
    ],
)
def test_the_machine_finds_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: str, complaint: str, life: Life
) -> None:
    if complaint == "does not end":  # it is waited for in vain; other things may take their time
        monkeypatch.setattr(lifecycle, "TIMEOUT_S", 2.0)
    machine = Lifecycle(Broken(defect), tmp_path)
    with pytest.raises(Exception, match=complaint):
        live(machine, life)
    assert list(tmp_path.iterdir()) == []
    assert machine.processes() == []


class Mutated(OwnTarget):
    """This package's daemon, with one of the zoo's mutants in it."""

    def __init__(self, mutant: str) -> None:
        self.mutant = mutant

    def command(self, *arguments: str, crash_at: str = "", term_at: str = "") -> Command:
        command, environment = super().command(*arguments, crash_at=crash_at, term_at=term_at)
        at = command.index("-m") + 2
        return [*command[:at], "--mutant", self.mutant, *command[at:]], environment


@pytest.mark.parametrize(
    ("mutant", "complaint", "life"),
    [
        pytest.param(
            mutant, complaint, life, marks=pytest.mark.promise(MUTANTS[mutant].promise), id=mutant
        )
        for mutant, complaint, life in [
            (
                "a_name_is_taken_for_a_daemon",
                "already running. nobody is",
                lambda m: [m.serve(), m.kill(), m.serve()],
            ),
            (
                "other_writers_are_not_noticed",
                "edition 2 of",
                lambda m: [
                    m.configure(name="keeps"),
                    m.serve(),
                    *(m.index_elsewhere(edit=True, full=False) for _ in range(2)),
                ],
            ),
            (
                "a_change_is_nobodys_business",
                "edition 2 of 3: stale: False",
                lambda m: [m.serve(), m.index(edit=True), m.edit()],
            ),
            (
                "fresh_is_a_word",
                "edition 2, asked for fresh 3",
                lambda m: [
                    m.serve(),
                    m.index(edit=True),
                    m.edit(),
                    m.query(method="query_fts", fresh=True),
                ],
            ),
            (
                "changes_start_no_run",
                "nobody indexes it",
                lambda m: [
                    m.configure(name="default"),
                    m.index(edit=True),
                    m.query(method="query_fts", fresh=True),
                    m.edit_and_poll(),
                ],
            ),
            (
                "litter_is_left",
                "building.* lie there",
                lambda m: [m.kill_during_publish(point="sealed"), m.stop(), m.serve()],
            ),
        ]
    ],
)
def test_the_machine_finds_mutants_in_real_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str, complaint: str, life: Life
) -> None:
    live(Lifecycle(OwnTarget(), tmp_path), life)
    if complaint == "nobody indexes it":  # it is waited for in vain
        monkeypatch.setattr(lifecycle, "VISIBLE_S", 3.0)
    with pytest.raises(AssertionError, match=complaint):
        live(Lifecycle(Mutated(mutant), tmp_path), life)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise("SRV-4")
def test_what_random_steps_find_is_told_as_a_sequence_of_steps(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        check_lifecycle(Broken("ends_with_status_3"), tmp_path, steps=100)
    told = "\n".join(caught.value.__notes__)
    assert "state.serve()\n" in told or "state.start" in told
    assert "the_owner" not in told
    assert list(tmp_path.iterdir()) == []


# The model, and the faults.


@pytest.mark.promise("WRITE-3")
def test_after_a_kill_during_a_publish_the_old_index_or_the_new_and_from_then_on_no_other() -> None:
    model = Model(edition=1)
    model.indexed("g1")
    model.edition = 2
    model.writer_was_killed()
    model.answered(1, "g1")
    with pytest.raises(AssertionError):
        model.answered(2, "g2")
    model.writer_was_killed()
    model.answered(2, "g2")
    for edition, generation in ((1, "g1"), (2, "g3"), (0, "")):
        with pytest.raises(AssertionError):
            model.answered(edition, generation)


@pytest.mark.promise("FRESH-2", "FRESH-3")
def test_a_daemon_that_watches_may_go_on_to_what_was_saved_and_never_back() -> None:
    model = Model(edition=1)
    model.started(7)
    model.indexed("g1")
    model.edition = 3
    with pytest.raises(AssertionError):
        model.answered(2, "g2")  # it does not watch
    model.configured(idles=False, watch=True)
    model.answered(1, "g1")
    model.answered(1, "g2", 2)  # one file was read before it was saved
    for edition, generation, newest in ((1, "g1", 1), (1, "g3", 1), (4, "g3", 4), (3, "g3", 4)):
        with pytest.raises(AssertionError):
            model.answered(edition, generation, newest)
    with pytest.raises(AssertionError):
        model.answered_freshly(2, "g3")
    model.ended(killed=True)
    assert model.may_leave_halves  # of its last run, which may have published, too
    model.edition = 4
    model.configured(idles=False, watch=False)
    model.started(8)
    with pytest.raises(AssertionError):
        model.answered(1, "g4", 4)
    model.answered(3, "g3")
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
