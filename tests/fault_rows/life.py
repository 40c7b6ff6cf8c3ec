"""The life of processes: starts that race, fail or hang; kills, signals, stops, steps of clocks."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from cidx_ref import __main__, backend, launcher, processes
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon import claim, server
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.errors import CidxError, DaemonUnavailableError, IndexingError
from cidx_ref.files import Directory
from cidx_ref.index import child
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.launcher import start_process, stop
from cidx_ref.processes import is_alive
from cidx_ref.project import DIRECTORY, Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.testing.conformance.races import PATHS, Arena, start
from cidx_ref.testing.own.fixtures import served
from fault_rows.lives import (
    PATIENCE_S,
    Life,
    answers,
    begin,
    command,
    indexed,
    is_ready,
    litter,
    serving,
)
from fault_rows.table import ROWS, Place, Trial, mutant, row

T = TypeVar("T")


def chance(row_name: str, number: int) -> Random:
    return ROWS[row_name].random(number)


# Starting.


@mutant("start-races", "the lock is not asked for")
@contextmanager
def _no_lock() -> Iterator[None]:
    with patch.object(claim, "try_lock", lambda fd, path: True):
        yield


@row("eight start at once, on a path that is free, stale or served", "SRV-2", cases=600, sample=9)
@contextmanager
def start_races(place: Place) -> Iterator[Trial]:
    root = place.path / "project"
    root.mkdir()

    def check(number: int) -> None:
        if number % 2 == 0:  # so that all of them make the directory, too
            shutil.rmtree(root / DIRECTORY, ignore_errors=True)
        arena = Arena(Project.at(root), Claim, place.path / "witness")
        came = start(arena, PATHS[number % len(PATHS)], rounds=1, processes=8)
        wrong = {kind: came[kind] for kind in ("double", "deaf", "none", "failed") if came[kind]}
        assert not wrong, wrong

    yield Trial(check)


@row("eight `serve` at once, from the shell", "SRV-2", cases=20, sample=1, patience_s=120)
@contextmanager
def serve_races(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")

    def check(number: int) -> None:
        lives = [Life(command(project, "serve")) for _ in range(8)]
        try:
            others = _all_but_one(lives)
            assert [each.ended() for each in others] == [0] * 7, [each.said for each in others]
            assert {each.said for each in others} == {"already running\n"}
            answers(project)
        finally:
            stop(project)
            left = [each for each in lives if not hasattr(each, "said")]
            assert [each.ended() for each in left] == [0], [each.said for each in left]

    yield Trial(check)


def _all_but_one(lives: list[Life]) -> list[Life]:
    until = SYSTEM.monotonic() + PATIENCE_S
    while len(ended := [each for each in lives if not is_alive(each.pid)]) < len(lives) - 1:
        assert SYSTEM.monotonic() < until, f"{len(lives) - len(ended)} serve"
        SYSTEM.sleep(0.005)
    return ended


#: What is started in the place of a daemon, and what is said of that.
FAILING = (
    ("kill -KILL $$", "was killed while starting"),
    ("kill -TERM $$", "was killed while starting"),
    ("exit 3", "was killed while starting"),
    ("echo first >&2; echo 'at last \033[31m' >&2", "died while starting: at last \\x1b[31m"),
    ("head -c 100000 /dev/zero >&2; exit 1", "died while starting: "),
    ("exec sleep 600", "was not ready within 0.2 s, and was ended"),
    ("trap '' TERM INT HUP; sleep 600 & sleep 600", "was not ready within 0.2 s, and was ended"),
    ("kill -STOP $$", "was not ready within 0.2 s, and was ended"),
)


@mutant("failing-starts", "of a start that hangs one process is ended")
@contextmanager
def _one_is_ended() -> Iterator[None]:
    with patch.object(os, "killpg", os.kill):
        yield


@mutant("failing-starts", "one that was killed is not started again")
@contextmanager
def _no_other_try() -> Iterator[None]:
    with patch.object(launcher, "ConnectionLostError", DaemonUnavailableError):
        yield


@row("a daemon is killed, fails or hangs while it starts", "SRV-3", cases=80, sample=9)
@contextmanager
def failing_starts(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    Config.init(project, retry_delays_ms=[1])

    def check(number: int) -> None:
        program, said = FAILING[number % len(FAILING)]

        def failing(module: str, *rest: str) -> tuple[list[str], dict[str, str]]:
            return ["/bin/sh", "-c", program], dict(os.environ)

        def launch(project: Project) -> None:
            if not tries or number % len(FAILING) > 2:
                tries.append("")
                start_process(project, failing, timeout_s=0.2)
            life.append(begin(project))
            assert is_ready(life[0][1])

        tries: list[str] = []
        life: list[tuple[Life, int]] = []
        try:
            if number % len(FAILING) <= 2:
                DaemonClient(project, launch=launch).close()  # by its second try
                return
            with suppress(DaemonUnavailableError):
                DaemonClient(project, launch=launch).close()
            assert len(tries) == 1, "it is tried again, though it fails by itself"
            with pytest.raises(DaemonUnavailableError) as caught:
                start_process(project, failing, timeout_s=0.2)
            assert said in str(caught.value)
            assert str(caught.value).isprintable()
            _nobody_else("sleep")
        finally:
            for each, _ in life:
                each.signal(signal.SIGTERM)
                each.ended()

    yield Trial(check)


def _nobody_else(name: str) -> None:
    """No process of that name is left of this row; what was killed may take a moment to go."""
    until = SYSTEM.monotonic() + 2.0
    while left := [pid for pid in _descendants(os.getpid()) if _name(pid) == name]:
        if SYSTEM.monotonic() >= until:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{name} was left behind: {left}")
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        SYSTEM.sleep(0.005)


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text("ascii").split()):
                yield child
                yield from _descendants(child)


def _name(pid: int) -> str:
    with suppress(OSError):
        if is_alive(pid):
            return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    return ""


# Fault points of start and stop.

#: What the system may refuse, and what it says then.
CALLS = ("open", "mkdir", "stat", "fstat", "listdir", "chmod", "fchmod", "rename", "link", "unlink",
         "dup", "pipe", "memfd_create", "utime", "write")  # fmt: skip
REFUSALS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EMFILE, errno.EROFS)
#: About as many as there are from the first call of a start to the last of a stop.
POINTS = 225
_REAL = os.write, os.fstat


class _Refused:
    """Has the n-th of `CALLS` fail, or the process die there; `socket`'s bind and listen, too."""

    def __init__(self, at: int, code: int) -> None:
        self._left = at
        self._code = code

    def planted(self) -> ExitStack:
        stack = ExitStack()
        for name in CALLS:
            stack.enter_context(patch.object(os, name, self._instead(getattr(os, name))))
        for name in ("bind", "listen"):
            stack.enter_context(
                patch.object(socket.socket, name, self._instead(getattr(socket.socket, name)))
            )
        return stack

    def _instead(self, call: Callable[..., object]) -> Callable[..., object]:
        write, fstat = _REAL

        def instead(*args: Any, **named: object) -> object:
            if call is write and stat.S_ISFIFO(fstat(args[0]).st_mode):
                return call(*args, **named)  # to oneself: that is no disk that can be full
            self._left -= 1
            if self._left == 0:
                if self._code == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(self._code, os.strerror(self._code))
            return call(*args, **named)

        return instead


@mutant("fault-points", "a temporary socket is left where a start fails or dies")
@contextmanager
def _left_over() -> Iterator[None]:
    with (
        patch.object(Claim, "_clear_leftovers", lambda self, directory: None),
        patch.object(Directory, "unlink", lambda self, name: None),
    ):
        yield


@row("each operation of a start and a stop fails, or the process dies there",
     "SRV-2", "SRV-3", "SRV-4", cases=POINTS * (len(REFUSALS) + 1), sample=24)  # fmt: skip
@contextmanager
def fault_points(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")

    def check(number: int) -> None:
        # So the first cases, the sample, go through all the points with large steps.
        at, kind = number * 37 % POINTS + 1, number // POINTS + number % POINTS
        code = (0, *REFUSALS)[kind % (len(REFUSALS) + 1)]

        def live() -> None:
            with _Refused(at, code).planted(), suppress(CidxError, OSError):
                server.serve(project, lambda state: os.kill(os.getpid(), signal.SIGTERM))

        life = Life(live)
        status = life.ended()
        assert status in (0, -signal.SIGKILL), f"{status}: {life.said}"
        assert "Traceback" not in life.said, life.said
        began = SYSTEM.monotonic()
        with serving(project):
            took = SYSTEM.monotonic() - began
            answers(project)
        assert took < 5.0, f"{took:.1f} s until the next one serves"
        assert not litter(project), litter(project)
        assert not project.socket_path.exists()

    yield Trial(check)


@row("each operation of a command that starts, asks or stops a daemon fails, or it dies there",
     "SRV-1", "SRV-4", cases=360, sample=15)  # fmt: skip
@contextmanager
def refused_clients(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    lines = (["stop"], ["status"], ["query", "retry"], ["start"], ["skipped"])

    def check(number: int) -> None:
        line = lines[number % len(lines)]
        at = chance("refused-clients", number).randrange(1, 60)
        code = (0, *REFUSALS)[number // len(lines) % (len(REFUSALS) + 1)]

        def act() -> int:
            with _Refused(at, code).planted():
                return command(project, *line)()

        # One of two that start, starts a real one.
        with nullcontext() if line == ["start"] and number % 2 else _whatever_ends(project):
            life = Life(act)
            status = life.ended()
            assert status in (0, 2, -signal.SIGKILL), f"{line} {at} {status}: {life.said}"
            assert "Traceback" not in life.said, f"{line} {at}: {life.said}"
            assert status != 2 or life.said.startswith("cidx-ref: "), f"{line} {at}: {life.said}"
        stop(project)
        assert not litter(project), litter(project)

    yield Trial(check)


@contextmanager
def _whatever_ends(project: Project) -> Iterator[None]:
    """While a daemon runs, which the block may stop."""
    life, ready = begin(project)
    assert is_ready(ready)
    try:
        yield
    finally:
        life.signal(signal.SIGTERM)
        assert life.ended() == 0, life.said


# Kills.


@mutant("killed-daemon", "a socket in the way is taken for a daemon's")
@contextmanager
def _no_claim_over_a_socket() -> Iterator[None]:
    def acquire(self: Claim, timeout_s: float = 0) -> bool:
        return not self._project.socket_path.exists() and bool(self._try())

    with patch.object(Claim, "acquire", acquire):
        yield


@row("a daemon is killed at any moment: coming, answering, loading, indexing, going",
     "SRV-3", "WRITE-3", cases=400, sample=6)  # fmt: skip
@contextmanager
def killed_daemon(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")

    def ask(random: Random) -> None:
        with suppress(CidxError, OSError), DaemonClient(project, start=False) as client:
            if random.random() < 0.1:
                client.index(full=True)
            for _ in range(3):
                client.query("retry", mode=random.choice(("fts", "semantic", "hybrid")))
            if random.random() < 0.5:
                client.shutdown()

    def check(number: int) -> None:
        random = chance("killed-daemon", number)
        life, ready = begin(project)
        asker = None
        if random.random() < 0.8:
            is_ready(ready)
            asker = Life(lambda: ask(random))
        else:
            os.close(ready)
        SYSTEM.sleep(random.uniform(0, 0.06))
        life.signal(signal.SIGKILL)
        life.ended()
        if asker is not None:
            assert asker.ended() == 0, asker.said
        began = SYSTEM.monotonic()
        with serving(project):
            assert SYSTEM.monotonic() - began < 5.0
            answers(project)
        assert not litter(project), litter(project)

    yield Trial(check)


@row("a client is killed at any moment of any command", "RPC-5", cases=300, sample=10)
@contextmanager
def killed_client(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    lines = (["query", "retry"], ["query", "retry", "--mode", "fts"], ["status"], ["health"],
             ["ping"], ["query", "retry", "--fresh"], ["start"], ["metrics"])  # fmt: skip
    with serving(project) as daemon:

        def check(number: int) -> None:
            random = chance("killed-client", number)
            life = Life(command(project, *random.choice(lines)))
            SYSTEM.sleep(random.uniform(0, 0.02))
            life.signal(signal.SIGKILL)
            assert life.ended() in (0, -signal.SIGKILL), life.said
            answers(project)

        yield Trial(check, pids=(daemon.pid,))


@mutant("killed-indexer", "that it has ended says all")
@contextmanager
def _ended_is_done() -> Iterator[None]:
    with patch.object(child.BuildProcess, "_result", lambda self, message: {"files": 0}):
        yield


@row("the indexing process, or one that it has started, is killed", "WRITE-3", cases=150, sample=2)
@contextmanager
def killed_indexer(place: Place) -> Iterator[Trial]:
    root = place.path / "project"
    for each in range(300):
        (root / "many").mkdir(parents=True, exist_ok=True)
        (root / "many" / f"f{each}.py").write_text(f"def f{each}():\n    return {each}\n")
    project = indexed(root)
    with serving(project) as daemon:

        def index() -> None:
            with DaemonClient(project, start=False) as client, suppress(IndexingError):
                report = client.index(full=True)
                assert report["files"] == 304, report

        def check(number: int) -> None:
            random = chance("killed-indexer", number)
            asker = Life(index)
            victims = _wait_for(lambda: list(_descendants(daemon.pid)))
            SYSTEM.sleep(random.uniform(0, 0.5))
            victims = list(_descendants(daemon.pid)) or victims
            with suppress(ProcessLookupError):
                os.kill(random.choice(victims), signal.SIGKILL)
            assert asker.ended() == 0, asker.said
            answers(project)
            _wait_for(lambda: not list(_descendants(daemon.pid)))

        yield Trial(check, pids=(daemon.pid,))


def _wait_for(what: Callable[[], T]) -> T:
    until = SYSTEM.monotonic() + PATIENCE_S
    while not (found := what()):
        assert SYSTEM.monotonic() < until
        SYSTEM.sleep(0.002)
    return found


@row("a process that writes an index by itself is killed", "WRITE-3", cases=300, sample=4)
@contextmanager
def killed_writer(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")

    def write() -> None:
        bring_up_to_date(project, HashingEmbedder(), full=True)

    def check(number: int) -> None:
        random = chance("killed-writer", number)
        life = Life(write)
        SYSTEM.sleep(random.uniform(0, 0.08))
        life.signal(signal.SIGKILL)
        assert life.ended() in (0, -signal.SIGKILL), life.said
        with serving(project):
            answers(project)
        made = {path.name for path in project.generations.iterdir()}
        kept = {"current", "segments", "writer.lock", os.readlink(project.generations / "current")}
        assert made <= kept, f"left behind: {made - kept}"

    yield Trial(check)


# Signals.

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@mutant("signals-to-a-daemon", "a terminal that is closed ends it at once")
@contextmanager
def _no_hang_up() -> Iterator[None]:
    with patch.object(server, "_ENDING", (signal.SIGTERM, signal.SIGINT)):
        yield


@row("SIGTERM, SIGINT, SIGHUP to a daemon at any moment, and twice", "SRV-4",
     cases=300, sample=9)  # fmt: skip
@contextmanager
def signals_to_a_daemon(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")

    def check(number: int) -> None:
        random = chance("signals-to-a-daemon", number)
        wanted = ENDING[number % len(ENDING)]
        life, ready = begin(project)
        serves = number % 3 != number % 9 // 3  # one of three while it comes
        if serves:
            assert is_ready(ready)
        else:
            os.close(ready)
        SYSTEM.sleep(random.uniform(0, 0.02))
        life.signal(wanted)
        fine = {0} if serves else {0, -wanted, 1, 130}
        if random.random() < 0.5:
            SYSTEM.sleep(random.uniform(0, 0.01))
            again = random.choice(ENDING)
            fine.add(-again)  # all may be done by then, and the process about to end
            with suppress(ProcessLookupError):
                life.signal(again)
        status = life.ended()
        assert status in fine, (status, life.said)
        if serves:
            assert not project.socket_path.exists()
            assert "Traceback" not in life.said, life.said
        with serving(project):
            answers(project)
        assert not litter(project), litter(project)

    yield Trial(check)


@mutant("signals-to-a-command", "an interrupt is Python's to answer")
@contextmanager
def _pythons_interrupt() -> Iterator[None]:
    with patch.object(__main__, "_handle_interrupts", lambda handler: None):
        yield


@mutant("signals-to-a-command", "an interrupt at the end is Python's to answer")
@contextmanager
def _pythons_at_the_end() -> Iterator[None]:
    with patch.object(__main__, "_end", signal.default_int_handler):
        yield


@row("SIGINT, SIGTERM, SIGHUP, SIGPIPE to a command at any of its lines, and twice", "SRV-1",
     cases=600, sample=40)  # fmt: skip
@contextmanager
def signals_to_a_command(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    lines = (["query", "retry"], ["status"], ["ping", "--json"], ["nonsense"], ["--help"],
             ["query", "retry", "--fresh"], ["skipped"], ["start"])  # fmt: skip
    with serving(project) as daemon:

        def check(number: int) -> None:
            random = chance("signals-to-a-command", number)
            wanted = (signal.SIGINT, signal.SIGINT, *ENDING, signal.SIGPIPE)[number % 6]
            line = random.choice(lines)
            at = {random.randrange(1, random.choice((12, 200, 2000, 20_000)))}
            if random.random() < 0.5:
                at.add(max(at) + random.randrange(1, 30))
            run = command(project, *line)
            life = Life(lambda: _with_signals(run, at, wanted))
            status = life.ended()
            if wanted == signal.SIGINT:
                assert status in (0, 1, 2, 130), f"{line} {at}: {status}: {life.said}"
            elif wanted == signal.SIGPIPE:  # Python ignores it
                assert status in (0, 1, 2), f"{line} {at}: {status}: {life.said}"
            else:
                assert status in (0, 1, 2, -wanted), f"{line} {at}: {status}: {life.said}"
            assert "Traceback" not in life.said, f"{line} {at}: {life.said}"
            assert "Exception ignored" not in life.said, f"{line} {at}: {life.said}"
            answers(project)

        yield Trial(check, pids=(daemon.pid,))


def _with_signals(run: Callable[[], int], at: set[int], number: int) -> int:
    """`run`, sent the signal at those of its lines, counted from where it can do something about
    it; what comes before is Python's."""
    lines = count(1)

    def look(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and next(lines) in at:
            os.kill(os.getpid(), number)
        return look

    def fill_streams() -> None:
        sys.settrace(look)
        above = sys._getframe(1)
        assert above is not None
        above.f_trace = look

    with patch.object(__main__, "_fill_streams", fill_streams):
        try:
            return run()
        finally:
            sys.settrace(None)


# Stopped.


@mutant("stopped-daemon", "what to do is not said")
@contextmanager
def _no_advice() -> Iterator[None]:
    with patch.object(processes, "_state", lambda pid: "S"):
        yield


@row("a daemon is stopped (SIGSTOP): every command says so, its process, and what to do", "SRV-1",
     cases=40, sample=9)  # fmt: skip
@contextmanager
def stopped_daemon(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    lines = (["query", "retry"], ["status"], ["ping"], ["start"], ["stop"], ["serve"], ["index"],
             ["clear-cache"], ["skipped"])  # fmt: skip
    with serving(project) as daemon:

        def check(number: int) -> None:
            line = lines[number % len(lines)]
            daemon.signal(signal.SIGSTOP)
            try:
                with (
                    patch.object(backend, "_IDENTITY_TIMEOUT_S", 0.2),
                    patch.object(launcher, "CONNECT_TIMEOUT_S", 0.2),
                ):
                    life = Life(command(project, *line))
                status = life.ended(5.0)
            finally:
                daemon.signal(signal.SIGCONT)
            assert status == 2, (line, status, life.said)
            assert life.said.count("\n") == 1, life.said
            for word in ("did not answer", "is stopped", f"`kill -CONT {daemon.pid}`"):
                assert word in life.said, (line, life.said)
            answers(project)

        yield Trial(check, pids=(daemon.pid,))


# Clocks.


class Wound(Runtime):
    """Whose wall clock steps, by years, forward and back, each time it is read."""

    def __init__(self) -> None:
        self.random = Random(0)

    def now(self) -> datetime:
        days = self.random.choice((0, 0, -1, 1, 400, -400, 9000, -9000))
        return super().now() + timedelta(days=days, seconds=self.random.uniform(-1e4, 1e4))


@mutant("clock-steps", "a TTL is counted on the wall clock")
@contextmanager
def _wall_clock() -> Iterator[None]:
    def monotonic(self: Wound) -> float:
        return self.now().timestamp()

    with patch.object(Wound, "monotonic", monotonic):
        yield


@row("the wall clock steps, by seconds to years, forward and back", "TTL-3", "OBS-1",
     cases=300, sample=20)  # fmt: skip
@contextmanager
def clock_steps(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    runtime = Wound()
    with (
        served(project, runtime=runtime) as service,
        DaemonClient(project, start=False) as client,
    ):
        clockwork = CacheEvictionThread(service)

        def check(number: int) -> None:
            runtime.random = chance("clock-steps", number)
            found = client.query("retry when the peer disconnects", limit=1)
            assert [hit.path for hit in found] == ["net/retry.py"]
            assert not found[0].stale
            status = client.status()
            assert 0 <= status["uptime_seconds"] < 3600, status
            assert client.health()["status"] == "healthy", client.health()
            clockwork._check_and_evict()
            cache = client.metrics()["cache"]
            assert (cache["load"], cache["evict"]) == (1, 0), f"evicted, and loaded anew: {cache}"

        yield Trial(check)
        service.exposed_clear_cache()  # which lies in this very process
