"""A daemon's life as such: how it begins and ends, who owns the path, and what is looked at after
each step.  `lifecycle` has the steps.

It is lived on real processes and the real socket.  What it learns, it learns from there, the
process table and the directory.  The model (`life_model`) says what may be so.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cidx_ref.testing.conformance import editions, starts
from cidx_ref.testing.conformance.asking import Asker, Gone, Refused, Unreadable, connect
from cidx_ref.testing.conformance.editions import Found, Reading, find_edition
from cidx_ref.testing.conformance.life_model import Model, Violation
from cidx_ref.testing.conformance.processes import Household, Process, end_of, is_running
from cidx_ref.testing.conformance.starts import SERVING, TAKEN, told
from cidx_ref.testing.conformance.subject import Project, launch
from cidx_ref.testing.conformance.target import Cap, Faults, Spawn, Target

__all__ = ["CONFIGURATIONS", "Life"]

#: How long anything is waited for that should happen at once.
TIMEOUT_S = 30.0
#: After so many runs that nobody asked for, nothing of them may lie about.
_RUNS = 50
_LOOKS = 5
#: A time to live that passes, and one that does not.
_SHORT_S, _LONG_S = 1.0, 600.0

#: By name, what a target may be configured to: the values of its placeholders, and what it must
#: offer for that.
CONFIGURATIONS: dict[str, tuple[dict[str, float], frozenset[Cap]]] = {
    "keeps": ({"ttl_s": _LONG_S}, frozenset()),
    "stays": ({"ttl_s": _SHORT_S}, frozenset({Cap.SHORT_TTL})),
    "idles": ({"ttl_s": _SHORT_S, "idle": True}, frozenset({Cap.IDLE})),
    "default": ({"ttl_s": _LONG_S, "idle": True, "watch": True}, frozenset({Cap.WATCH, Cap.IDLE})),
    "watches": ({"ttl_s": _LONG_S, "watch": True}, frozenset({Cap.WATCH})),
}


class Life:
    """One life.  `teardown` ends it."""

    def __init__(
        self,
        target: Target,
        home: Path,
        tally: Counter[str] | None = None,
        reading: Reading | None = None,
        known: frozenset[str] = frozenset(),
    ) -> None:
        """A new project under `home`, with nothing started; `tally` counts the steps.

        `reading` says how editions are told apart by the target's answers; None: as it declares.
        What is `known` to be broken is not needed for other things.
        """
        self.known = known
        self.target = target
        self.tally = Counter[str]() if tally is None else tally
        self.steps: list[str] = []
        self.home = Path(tempfile.mkdtemp(dir=home)).resolve()
        (self.home / "p").mkdir()
        (self.home / "log").mkdir()
        self.project = Project(target, self.home / "p")
        self.household = Household(self.home / "log", self.home)
        assert isinstance(target.start, Spawn)
        self.spawn = target.start
        self._launched = 0
        self.reading = editions.by_what(target) if reading is None else reading
        self.model = Model(is_exact=target.beyond.exact)
        if not self.model.is_exact:
            self.model.live = {0, 1}
        #: The process that was started, and has or is the owner; None if it is not known.
        self.owner: Process | None = None
        self.connections: list[Asker] = []
        #: Something may have been indexed;
        self.has_index = False
        #: before that, the kinds of the errors that are answered.
        self._no_index: set[str] = set()
        self._edit()
        self._configure("stays" if target.offers(Cap.SHORT_TTL) else "keeps")

    # What the steps are made of.

    @property
    def _faults(self) -> Faults:
        assert self.target.faults is not None
        return self.target.faults

    def _edit(self) -> None:
        """Two files, so that half an index can be told from a whole one."""
        self.model.edition += 1
        self.project.write(self.model.edition)

    def _configure(self, name: str) -> None:
        """It is so when the next daemon starts; what reads its configuration anew is no promise."""
        if self.model.owner:
            if self.model.idles:
                self._end_owner("", about="TTL-5")
            else:
                self._make_room()
        values, needs = CONFIGURATIONS[name]
        if not self.target.offers(*needs):
            values = {}
        self.project.ttl_s = float(values.get("ttl_s", _LONG_S))
        self.project.idle, self.project.watch = bool(values.get("idle")), bool(values.get("watch"))
        self.project.configure()
        self.model.idles, self.model.is_watch_wanted = self.project.idle, self.project.watch

    def _launch(self, command: str | Sequence[str] = "", point: str = "") -> Process:
        self._launched += 1
        return launch(self.household, self.project, command, point=point)

    def _became(self, process: Process, timeout_s: float = 0.0) -> str:
        return starts.became(process, self.project, timeout_s)

    def _connect(self) -> Asker:
        return connect(self.target, self.project.root, TIMEOUT_S)

    def _ask_stop(self) -> None:
        with self._connect() as asker, suppress(Gone):
            # It may be gone before it has answered that it goes.
            asker.ask("stop")

    def asker(self) -> Asker:
        """A connection, to be closed."""
        return self._connect()

    def _mode(self, mode: str) -> str:
        offered = {"query_fts": Cap.FTS, "query_hybrid": Cap.HYBRID}
        return mode if self.target.offers(offered.get(mode, Cap.BASE)) else "query"

    def _about_start(self) -> str:
        return "SRV-3" if self.model.may_leave_socket else "SRV-2"

    def _serve(self) -> None:
        process = self._launch()
        state = self._became(process)
        if self.model.owner and not self._owner_is_running():
            self._owner_has_left()
        if self.model.owner:
            if state != TAKEN:
                raise Violation(
                    "SRV-2",
                    f"another start beside the daemon {self.model.owner} {state}: {told(process)}",
                )
            self._ends_as_taken(process)
        elif state == TAKEN:
            raise Violation(
                self._about_start(), f"a start finds another daemon, and nobody is there{self._why}"
            )
        else:
            self._must_serve(process, state)

    @property
    def _why(self) -> str:
        return ": the last one was killed" if self.model.may_leave_socket else ""

    def _must_serve(self, process: Process, state: str | None = None) -> None:
        state = self._became(process) if state is None else state
        if state != SERVING:
            if self._launched == 1:  # this is no start of a daemon at all
                raise RuntimeError(f"it does not start: {told(process)}")
            raise Violation(
                self._about_start(),
                f"where it should start{self._why} it {state}: {told(process)}",
            )
        self._starts(process, self._pid_of(process))

    def _pid_of(self, process: Process) -> int:
        pid = starts.answering(self.project)
        if not pid and not self.model.idles:
            if end_of(process.pid, 2.0) and process.status == self.spawn.stopped_status:
                raise Violation("TTL-5", "it has ended by itself, and is not to")
            raise Violation(self._about_start(), "it says that it serves, and nobody is reached")
        return pid if process.has_started(pid) else process.pid

    def _starts(self, process: Process | None, pid: int) -> None:
        self.owner = process
        self.model.started(pid)

    def _settle(self, started: Sequence[Process]) -> None:
        """After several starters: who answers now owns."""
        owner = starts.answering(self.project)
        if self.model.owner and not self._is_owner(owner):
            self._owner_has_left()
        if not self.model.owner:
            serving = [each for each in started if self._became(each, 0.1) == SERVING]
            if not owner and serving and not self.model.idles:
                raise Violation("SRV-2", "it says that it serves, and nobody is reached")
            if owner:
                mine = [each for each in started if each.has_started(owner)]
                self._starts(mine[0] if mine else None, owner)
        for each in started:
            if self.owner is not each and not self.model.idles:
                self._ends_as_taken(each)

    def _ends_as_taken(self, process: Process) -> None:
        status = status_of(process)
        wanted = self.spawn.taken_status
        if status is None:
            raise Violation("SRV-2", "a start that finds another daemon does not end")
        if status != wanted and status != self.spawn.stopped_status:
            raise Violation(
                "SRV-2", f"a start that finds another daemon: {told(process)}, not {wanted}"
            )

    def _ends_well(self, process: Process, after: str) -> None:
        status = status_of(process)
        wanted = self.spawn.stopped_status
        if status is None:
            raise Violation("SRV-4", f"after {after} it does not end")
        if status != wanted:
            raise Violation("SRV-4", f"after {after}: {told(process)}, not {wanted}")

    def _need_owner(self) -> None:
        if not self.model.owner:
            self._serve()

    def _make_room(self) -> None:
        if not self.model.owner:
            return
        if self.target.offers(Cap.STOP) and not (
            "SRV-4" in self.known and self.target.offers(Cap.KILL)
        ):
            self._terminate()
        else:
            self._kill_owner()

    def _kill_owner(self) -> None:
        pid, owner = self.model.owner, self.owner
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if owner is not None and owner.pid != pid:  # what had started it might start another one
            with suppress(ProcessLookupError):
                os.killpg(owner.pid, signal.SIGKILL)
        if not end_of(pid, TIMEOUT_S):
            raise RuntimeError(f"process {pid} does not end by SIGKILL")
        self._forget_owner(killed=True)

    def _terminate(self) -> None:
        for pid in {self.model.owner, self.owner.pid if self.owner else self.model.owner}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._end_owner("a SIGTERM")

    def _end_owner(self, after: str, *, about: str = "SRV-4") -> None:
        """The owner ends, or has ended."""
        pid, owner = self.model.owner, self.owner
        if not end_of(pid, TIMEOUT_S):
            how = f"after {after} it" if after else "it is idle, is configured to end then, and"
            raise Violation(about, f"{how} does not end")
        if owner is not None:
            self._ends_well(owner, after or "being idle")
        self._forget_owner(killed=False, leaves=not after)

    def _forget_owner(self, *, killed: bool, leaves: bool = False) -> None:
        self.owner = None
        self.model.ended(killed=killed)
        # What is left by one that ended by itself is no promise.
        self.model.may_leave_socket |= leaves and not self.model.is_exact

    @contextmanager
    def _may_be_gone(self) -> Iterator[None]:
        try:
            yield
        except Gone as gone:
            self._owner_has_left(gone)

    def _owner_is_running(self) -> bool:
        return is_running(self.model.owner)

    def _is_owner(self, pid: int) -> bool:
        return pid == self.model.owner

    def _owner_has_left(self, how: object = "") -> None:
        if self.model.idles:
            self._end_owner("", about="TTL-5")
            return
        said = f": {how}" if str(how) else ""
        pid = self.model.owner
        if not end_of(pid, 1.0):
            raise Violation("SRV-2", f"the daemon {pid} is alive, and not reached{said}")
        status = status_of(self.owner) if self.owner else None
        wanted = self.spawn.stopped_status
        words = f"the daemon has ended by itself, with status {status}, and is not to{said}"
        raise Violation("TTL-5" if status in (wanted, None) else "SRV-1", words)

    def _written(self, writer: Process) -> None:
        self.has_index = True
        status = status_of(writer)
        if status is None:
            raise Violation("WRITE-1", f"a writer does not end: {told(writer)}")
        if status == -signal.SIGKILL:
            self.model.writer_was_killed()
        elif status != 0:
            about = "WRITE-3" if self.model.may_leave_halves else "WRITE-1"
            raise Violation(about, f"a writer fails: {told(writer)}")
        else:
            self.model.indexed(by_daemon=False)

    def _query(self, mode: str, *, fresh: bool = False) -> tuple[int, int]:
        """One query; the editions of the two files that it found."""
        if not self.reading.is_known:
            with self._connect() as asker, suppress(Refused):
                asker.query("anything", mode)
            return 0, 0
        found = self._found(mode, fresh=fresh)
        self._judge_refusal(found)
        self._judge_stale(found.stale)
        if fresh:
            self.model.answered_freshly(found.oldest)
        else:
            try:
                self.model.answered(found.oldest, found.newest)
            except Violation as violation:
                raise Violation(violation.promise, f"{violation}{found.why}") from None
        return found.oldest, found.newest

    def _found(self, mode: str, *, fresh: bool) -> Found:
        wanted = range(self.model.edition, -1, -1)
        with self._connect() as asker:
            for _ in range(_LOOKS):
                try:
                    found = find_edition(asker, self.reading, wanted, mode, fresh=fresh)
                except Unreadable as error:
                    raise Violation("QRY-1", f"an answer is not as it should be: {error}") from None
                # Where it indexes by itself, it may have gone on from one question to the next.
                if found.oldest or not self.model.watches:
                    break
        return found

    def _judge_refusal(self, found: Found) -> None:
        """One that there is no index is an answer; it is known from before there was one."""
        if not self.has_index and found.refusal:
            self._no_index.add(found.refusal)
        if found.refusal and found.refusal not in self._no_index:
            raise Violation(self.model.about_old, f"a query fails{found.why}")

    def _judge_stale(self, stale: dict[int, bool]) -> None:
        """Of each edition that is shown, whether its hits say that they are stale."""
        for edition, said in stale.items():
            wanted = edition != self.model.edition
            if said != wanted:
                raise Violation(
                    "FRESH-3",
                    f"a hit of edition {edition}, where the file is of edition"
                    f" {self.model.edition}, says stale: {said}",
                )

    # What is looked at after each step.

    def check(self) -> None:
        """Raises `Violation` for what may not be, whatever has happened."""
        self.the_owner_answers_and_nobody_else()
        if self.target.beyond.processes:
            self.the_owner_lives_and_nobody_else()
        self.the_index_is_one_that_may_answer()
        self.nothing_lies_about()

    def the_owner_answers_and_nobody_else(self) -> None:
        answering = starts.answering(self.project)
        if self.model.owner and not answering:
            self._owner_has_left()
        if answering and not self._is_owner(answering):
            if self.model.owner:
                raise Violation(
                    "SRV-2", f"{answering} answers, and {self.model.owner} is not reached"
                )
            raise Violation("SRV-4", f"all daemons have ended, and {answering} answers")

    def the_owner_lives_and_nobody_else(self) -> None:
        # A starter that found another one running may still be on the way out.
        self._nothing_runs("SRV-4", self.model.owner)

    def _nothing_runs(self, about: str, *but: int) -> None:
        for pid in self.household.processes():
            if pid not in but and not end_of(pid, TIMEOUT_S):
                raise Violation(about, f"process {pid} does not end")

    def the_index_is_one_that_may_answer(self) -> None:
        if self.model.owner:
            with self._may_be_gone():
                self._query(self._mode("query_fts"))

    def nothing_lies_about(self) -> None:
        beyond = self.target.beyond
        if not self.model.may_leave_socket and not self.model.owner:
            address = Path(self.project.address)
            if os.path.lexists(address):
                raise Violation("SRV-4", f"{address.name!r} is left by a daemon that has ended")
        if beyond.sockets is not None and not self.model.may_leave_socket:
            lying = list(beyond.sockets(self.project.root))
            wanted = [Path(self.target.socket).name] if self.model.owner else []
            if lying != wanted and not (self.model.idles and not lying):
                raise Violation("SRV-4", f"{lying} lie there, and not {wanted}")
        if beyond.halves is not None and not self.model.may_leave_halves:
            self._no_halves(beyond.halves)

    def _no_halves(self, find: Callable[[Path], Sequence[str]]) -> None:
        halves = find(self.project.root)
        for _ in range(_RUNS):
            if not (halves and self.model.watches):
                break
            # Of a run that nobody asked for, perhaps; the next one removes what a killed one left.
            self.the_index_is_one_that_may_answer()
            if self.target.beyond.processes:
                self.the_owner_lives_and_nobody_else()
            halves = find(self.project.root)
        if halves:
            raise Violation("WRITE-3", f"{list(halves)} lie there")

    def teardown(self) -> None:
        """End all; of one that has not failed, as well-behaved as after any step."""
        failed = sys.exc_info()[0] is not None
        try:
            if self.model.owner and not failed:
                self._make_room()
                self.check()
        finally:
            self.household.end()
            for asker in self.connections:
                asker.close()
            shutil.rmtree(self.home, ignore_errors=True)


def status_of(process: Process) -> int | None:
    """Its exit status; None if it does not end in time."""
    with suppress(TimeoutError):
        return process.wait(TIMEOUT_S)
    return None
