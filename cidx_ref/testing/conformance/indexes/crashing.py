"""Writers that are killed: what answers afterwards is the old index or the new one, whole."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.editions import Reading
from cidx_ref.testing.conformance.indexes.crowd import FAILED, WHOLE, ballast, look, reading_at
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Verdict

__all__ = ["CHECKS"]

_LONG_S = 600.0
#: So many files beside, that a run has a middle.
_BALLAST = 80
_LOST = "its index does not outlive a daemon that was stopped, so that a crash can leave none"


@check("killed-writer", "WRITE-3", needs={Cap.KILL})
def killed_writer(bench: Bench) -> None:
    """At each point where it can be made to die, else at moments spread over its run."""
    target = bench.target
    if target.offers(Cap.WRITER):
        with bench.showing("WRITE-3"):
            _kill_writers(bench)
    elif target.offers(Cap.INDEX):
        with bench.showing("WRITE-3"):
            _kill_indexing_daemons(bench)
    else:
        bench.note("WRITE-3", Verdict.NOT_OFFERED, "needs a writer, or a method that indexes")


def _kill_writers(bench: Bench) -> None:
    target = bench.target
    faults = target.faults
    points = list(faults.publish) if faults and faults.crash_writer else []
    project = bench.project(ttl_s=_LONG_S)
    ballast(project.root, _BALLAST)
    with bench.daemon(project, index=False) as daemon:
        bench.write_index(project)
        reading = reading_at(bench, daemon)
        began = SYSTEM.monotonic()
        project.write(project.edition + 1)
        bench.write_index(project)
        took = SYSTEM.monotonic() - began
        until = SYSTEM.monotonic() + bench.seconds(5.0, 60.0)
        number, live = 0, project.edition
        while number < max(len(points), 5) or SYSTEM.monotonic() < until:
            project.write(project.edition + 1)
            if number < len(points) and faults:
                where = f"at {points[number]!r}"
                crashing = bench.launch(project, faults.crash_writer, point=points[number])
                crashing.wait(60.0)
            else:
                share = bench.random.random()
                where = f"{share:.0%} into its run"
                _killed_after(bench, daemon, share * took)
            number += 1
            live = _old_or_new(daemon, reading, live, f"a writer was killed {where}")
            if number % 4 == 0:
                _next_writer_works(bench, daemon, reading, where)
                live = project.edition
        _next_writer_works(bench, daemon, reading, where)
        bench.tried("WRITE-3", number, "writers killed")
    with bench.daemon(project, index=False) as daemon, daemon.connect() as asker:
        found = look(asker, reading, project.edition)
        assert found.state == WHOLE, f"after a restart the index is not whole: {found.words}"
        if bench.target.beyond.halves is not None:
            left = list(bench.target.beyond.halves(project.root))
            assert not left, f"writers were killed, and after the next start {left} lie there"


def _killed_after(bench: Bench, daemon: Daemon, seconds: float) -> None:
    project = daemon.project
    writer = bench.household.start(project.command(bench.target.writer), project.environment())
    if not end_of(writer.pid, seconds):
        with suppress(ProcessLookupError):
            os.killpg(writer.pid, signal.SIGKILL)
    writer.wait(30.0)


def _old_or_new(daemon: Daemon, reading: Reading, old: int, what: str) -> int:
    """The edition that answers."""
    new = daemon.project.edition
    with daemon.connect(30.0) as asker:
        found = [look(asker, reading, edition) for edition in (old, new, old)]
    for one in found:
        assert one.state != FAILED, f"{what}; a query fails: {one.words}"
    whole = [one.edition for one in found if one.state == WHOLE]
    assert whole, (
        f"{what}; neither the index of before nor the new one answers, whole:"
        f" edition {old} {found[0].words}, edition {new} {found[1].words}"
    )
    return whole[-1]


def _next_writer_works(bench: Bench, daemon: Daemon, reading: Reading, where: str) -> None:
    project = daemon.project
    project.write(project.edition + 1)
    bench.write_index(project)
    with daemon.connect(30.0) as asker:
        found = look(asker, reading, project.edition)
    assert found.state == WHOLE, (
        f"writers were killed, the last one {where}; the next one ends well,"
        f" and what it has indexed is not what answers: {found.words}"
    )


def _kill_indexing_daemons(bench: Bench) -> None:
    """The daemon itself indexes: it is killed with a run under way, and started again."""
    project = bench.project(ttl_s=_LONG_S)
    ballast(project.root, _BALLAST)
    with bench.daemon(project) as daemon:
        reading = reading_at(bench, daemon)
        project.write(project.edition + 1)
        began = SYSTEM.monotonic()
        bench.index(daemon)
        took = SYSTEM.monotonic() - began
        if bench.target.offers(Cap.STOP):
            daemon.stop()
        else:
            daemon.kill()
    with bench.daemon(project, index=False) as daemon, daemon.connect() as asker:
        if look(asker, reading, project.edition).state != WHOLE:
            raise NotTried(_LOST)
    until, number = SYSTEM.monotonic() + bench.seconds(5.0, 60.0), 0
    while number < 5 or SYSTEM.monotonic() < until:
        old, share = project.edition, bench.random.random()
        with bench.daemon(project, index=False) as daemon:
            project.write(old + 1)
            _kill_in_run(bench, daemon, share * took)
        what = f"the daemon was killed {share:.0%} into an index run, and started again"
        with bench.daemon(project, index=False) as daemon:
            _old_or_new(daemon, reading, old, what)
            bench.index(daemon)
            with daemon.connect() as asker:
                found = look(asker, reading, project.edition)
            assert found.state == WHOLE, f"{what}; the next run does not mend it: {found.words}"
        number += 1
    bench.tried("WRITE-3", number, "daemons killed while they index")


def _kill_in_run(bench: Bench, daemon: Daemon, seconds: float) -> None:
    def run() -> None:
        with suppress(Exception):
            bench.index(daemon)

    thread = SYSTEM.thread(run, "index")
    thread.join(seconds)
    daemon.kill()
    thread.join(30.0)


CHECKS: tuple[Check, ...] = (killed_writer,)
