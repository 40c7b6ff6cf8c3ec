"""Moments of this daemon's and its writer's life at which they are held: half-way through a start,
a stop or an index run, whose directory is replaced meanwhile.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cidx_ref.project import Project as OwnProject
from cidx_ref.testing.conformance.asking import Asker, Gone, Refused
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.holding import Gate, InFlight, gated, launched
from cidx_ref.testing.conformance.processes import Process, end_of
from cidx_ref.testing.conformance.starts import SERVING, TAKEN, answering, became, told
from cidx_ref.testing.conformance.subject import Project, accepts
from cidx_ref.testing.conformance.target import words
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.own.faulty import faulted

__all__ = ["CHECKS"]

_PROMPT_S = 10.0


# A start.


@check("held-starts", "SRV-2", "SRV-3")
def held_starts(bench: Bench) -> None:
    """What has a name answers; a project that is replaced during a start is not claimed; and what a
    start leaves that is killed goes with the next."""
    with bench.showing("SRV-2"):
        _answers_once_it_has_a_name(bench)
        _claims_what_is_there(bench)
    with bench.showing("SRV-3"):
        _clears_what_was_left(bench)


def _answers_once_it_has_a_name(bench: Bench) -> None:
    project = bench.project()
    starting, gate = _starting(bench, project, "reachable")
    is_named, is_reached = Path(project.address).exists(), accepts(project.address)
    gate.open()
    assert is_named, "it is reachable, and has no socket"
    assert is_reached, "a starting daemon's socket has a name, and nobody answers there"
    assert became(starting, project) == SERVING, told(starting)
    starting.send(9)
    starting.wait(_PROMPT_S)


def _claims_what_is_there(bench: Bench) -> None:
    """Of two, the first one is held before it has the lock, whose directory is replaced."""
    project = bench.project()
    first, gate = _starting(bench, project, "lock opened")
    OwnProject(project.root).directory.rename(bench.directory / "replaced")
    project.configure()
    with bench.daemon(project, index=False) as second:
        gate.open()
        state = became(first, project)
        assert answering(project) == second.pid, (
            "a daemon that began before its directory was replaced takes the place of the one that"
            f" serves: it {state}"
        )
        assert state == TAKEN, f"there is a daemon, and another start {state}: {told(first)}"


def _starting(bench: Bench, project: Project, point: str) -> tuple[Process, Gate]:
    """A start that is held."""
    assert bench.target.faults is not None
    starting, gate = launched(bench, project, bench.target.faults.hold, point)
    assert gate.holds(_PROMPT_S), f"it does not come to be {point}: {told(starting)}"
    return starting, gate


def _clears_what_was_left(bench: Bench) -> None:
    faults, sockets = bench.target.faults, bench.target.beyond.sockets
    assert faults is not None
    assert sockets is not None
    project = bench.project()
    bench.launch(project, faults.crash, point="bound").wait(_PROMPT_S)
    left = sockets(project.root)
    assert left, "a start was killed, and had no socket"
    with bench.daemon(project, index=False):
        there = sockets(project.root)
        assert len(there) == 1, f"a start was killed and left {left}; the next one has {there}"


# A stop.

#: Longer than it waits for clients that have not read their answer.
_GRACE_S = 2.3
#: Within which it leaves once its last query has been answered.
_LEFT_S = 5.0


@check("held-stop", "QRY-5", "SRV-4")
def held_stop(bench: Bench) -> None:
    """While it leaves, a bad argument is still refused by its name; and once its last query is
    answered, it has left."""
    with gated(bench, "hold") as (daemon, gate), daemon.connect() as late:
        late.query("village")
        with InFlight(daemon, gate, "village") as held:
            daemon.signal(15)
            until = SYSTEM.monotonic() + _PROMPT_S
            with suppress(Gone):
                while SYSTEM.monotonic() < until:
                    late.query("village")
            with bench.showing("QRY-5"):
                said = _told_of_nonsense(late)
                is_named = "nonsense" in said
                assert is_named or not said, (
                    f"a bad argument is not looked at before all else: {said}"
                )
            with bench.showing("SRV-4"):
                has_left = end_of(daemon.pid, _GRACE_S)
                assert not has_left, f"a query is in flight for {_GRACE_S:g} s, and it has left"
                held.answered()
                answered = SYSTEM.monotonic()
                daemon.wait(20 * _LEFT_S)
                took_s = SYSTEM.monotonic() - answered
                assert took_s < _LEFT_S, f"it left {took_s:.1f} s after its last query was answered"


def _told_of_nonsense(asker: Asker) -> str:
    """What a bad argument is answered; nothing where it has left, which is another promise."""
    try:
        return str(asker.call("query", project_path=str(asker.root), query="x", nonsense=1))
    except Refused as refused:
        return str(refused)
    except Gone as gone:
        return str(gone) if gone.is_told else ""


# A writer.

#: In which a writer that does not wait has come to write.
_COME_S = 0.8


@check("held-writers", "WRITE-1", "WRITE-3")
def held_writers(bench: Bench) -> None:
    """A writer whose directory is replaced waits for the one that has the lock of the new one; and
    one that fails leaves nothing."""
    project = bench.project()
    with bench.showing("WRITE-1"):
        _waits_for_the_new_lock(bench, project)
    project.write(2)
    with bench.showing("WRITE-3"):
        _leaves_nothing(bench, project)


def _waits_for_the_new_lock(bench: Bench, project: Project) -> None:
    first_writes = Gate(bench)
    first_writes.close()
    also = ("--hold-at", "begun", str(first_writes.path))
    first, at_directory = _writing(bench, project, "directory opened", *also)
    OwnProject(project.root).generations.rename(bench.directory / "replaced")
    second, second_writes = _writing(bench, project, "begun")
    at_directory.open()
    is_beside = first_writes.holds(_COME_S)
    for gate in (first_writes, second_writes):
        gate.open()
    assert not is_beside, (
        "a writer whose directory was replaced does not wait for the one that has the new one"
    )
    for writer in (first, second):
        assert writer.wait(60.0) == 0, told(writer)
    bench.tried("WRITE-1", 2, "writers")


def _writing(bench: Bench, project: Project, point: str, *options: str) -> tuple[Process, Gate]:
    """A writer that is held."""
    command = faulted(words(bench.target.writer), *options, "--hold-at", "{point}", "{gate}")
    writer, gate = launched(bench, project, command, point)
    assert gate.holds(_PROMPT_S), f"a writer does not come to be {point}: {told(writer)}"
    return writer, gate


def _leaves_nothing(bench: Bench, project: Project) -> None:
    halves = bench.target.beyond.halves
    assert halves is not None
    command = faulted(words(bench.target.writer), "--fail-at", "{point}", "{gate}")
    failing, _ = launched(bench, project, command, "unsealed")
    assert failing.wait(60.0) != 0, f"a run that fails ends well: {told(failing)}"
    left = halves(project.root)
    assert not left, f"a run has failed, and {left} is left of it"


CHECKS: tuple[Check, ...] = (held_starts, held_stop, held_writers)
