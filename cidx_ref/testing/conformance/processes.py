"""Processes that the kit starts: their output kept, every wait with an end, and none left behind.

All that one `Household` starts, and what those start in turn, carry its home in their environment,
by which they are found and ended.  One that has emptied its environment is found by a socket that
it has bound there.  Nothing else is ever ended.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cidx_ref.testing.ground import SYSTEM

__all__ = ["Household", "Process", "await_group", "end_of", "is_running"]

#: The home of a household, and the mark of one process of it.
_MARK, _OWN_MARK = "CIDX_KIT", "CIDX_KIT_START"
#: How often it is looked for what nothing tells of: a socket that accepts, a line in a file.
_LOOK_S = 0.005
_MOMENT_S = 1.0
#: Of what a process wrote, what is shown.
_SHOWN_CHARS = 4000


def end_of(pid: int, timeout_s: float) -> bool:
    """Wait until a process, whoever's child it is, has ended; False if it has not in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(max(0.0, timeout_s) * 1000))
    finally:
        os.close(fd)


def await_group(group: int) -> None:
    """Wait, for a moment at most, until a process group that was killed has let go of what it
    held."""
    deadline = SYSTEM.monotonic() + _MOMENT_S
    with suppress(ProcessLookupError, PermissionError):  # there is none any more
        while SYSTEM.monotonic() < deadline:
            os.killpg(group, 0)
            SYSTEM.sleep(_LOOK_S)


def is_running(pid: int) -> bool:
    return not end_of(pid, 0)


class Process:
    """One that was started."""

    def __init__(
        self, child: subprocess.Popen[bytes], log: Path, command: Sequence[str], mark: str
    ) -> None:
        self._child = child
        self._mark = os.fsencode(f"{_OWN_MARK}={mark}")
        self.log = log
        self.command = list(command)
        self.pid = child.pid

    def output(self) -> str:
        """All that it, and what it started, wrote so far, errors too."""
        return self.log.read_text("utf-8", "replace")

    def tail(self) -> str:
        """The last of it, to be shown."""
        text = self.output().strip()
        return text if len(text) <= _SHOWN_CHARS else "... " + text[-_SHOWN_CHARS:]

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._child.poll()

    def wait(self, timeout_s: float) -> int:
        """Its exit status.  Raises `TimeoutError`."""
        if not end_of(self.pid, timeout_s):
            raise TimeoutError(f"{self.named()} does not end within {timeout_s:g} s")
        return self._child.wait()

    def until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something holds, or the process has ended, or the time has passed; whether it
        holds then."""
        deadline = SYSTEM.monotonic() + timeout_s
        while True:
            has_ended = self.status is not None
            if holds():
                return True
            if has_ended or SYSTEM.monotonic() >= deadline:
                return False
            end_of(self.pid, _LOOK_S)

    def send(self, number: int) -> None:
        # Not `send_signal` alone: of one that was waited for elsewhere the pid may be another's.
        with suppress(ProcessLookupError):
            self._child.send_signal(number)

    def has_started(self, pid: int) -> bool:
        """Whether that is this process, or one that it has started, whatever became of the ones
        between: a daemon may have left its parent, its session and its group."""
        if pid in (0, self.pid):
            return pid > 0
        with suppress(OSError):
            if self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return True
            return os.getsid(pid) == self.pid  # it may have emptied its environment
        return False

    def named(self) -> str:
        return f"`{' '.join(self.command)}` (process {self.pid})"


class Household:
    """What was started for one purpose, and is ended with it; by whom it was started is nothing to
    it: what another process of the same home has left is ended, too."""

    def __init__(self, directory: Path, home: Path | None = None) -> None:
        """Their output is kept in `directory`; `home` is nobody else's, and they serve there."""
        self._directory = directory
        self._home = home or directory
        self._started: list[Process] = []

    def __enter__(self) -> Household:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Process:
        """Raises `OSError`."""
        log = self._directory / f"output-{len(self._started) + 1}"
        own = str(log)
        with log.open("wb") as file:
            # A group of its own: Ctrl-C is for the kit, which ends what it has started.
            child = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",  # what says that it is ready must come out
                    **(environment or {}),
                    _MARK: str(self._home),
                    _OWN_MARK: own,
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                start_new_session=True,
            )
        process = Process(child, log, command, own)
        self._started.append(process)
        return process

    def processes(self) -> list[int]:
        """All that run: what was started, and what those have started."""
        home = os.fsencode(self._home)
        sockets = _bound_below(self._home)
        # One that has just been started has no environment yet.
        found = [process.pid for process in self._started if process.status is None]
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                # The kit itself binds some, too.
                is_own = int(entry.name) == os.getpid()
                if _was_started(entry, home) or (
                    sockets and not is_own and sockets & _sockets_of(entry)
                ):
                    found.append(int(entry.name))
        return list(dict.fromkeys(found))

    def end(self, patience_s: float = 10.0) -> list[int]:
        """Kill all, and wait until they are gone; returns those that are not."""
        deadline = SYSTEM.monotonic() + patience_s
        left = self.processes()
        while left and SYSTEM.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                end_of(pid, max(0.0, deadline - SYSTEM.monotonic()))
            self._reap()
            left = self.processes()
        self._reap()
        return left

    def _reap(self) -> None:
        for process in self._started:
            _ = process.status


def _was_started(process: Path, home: bytes) -> bool:
    """Whether it is of that home, or of one below it.  Raises `OSError` where that is not known."""
    environment = (process / "environ").read_bytes()
    if not environment:  # it is just being started, and is in its directory already
        places = [os.fsencode(os.readlink(process / "cwd"))]
    else:
        # Split, because another's environment may have it in the middle of something.
        start = b"%s=" % _MARK.encode()
        words = [word for word in environment.split(b"\0") if word.startswith(start)]
        places = [word.removeprefix(start) for word in words]
    return any(place == home or place.startswith(home + b"/") for place in places)


def _bound_below(directory: Path) -> set[bytes]:
    """The sockets that are bound to a path there, as `/proc/*/fd` names them."""
    place = os.fsencode(f"{directory}/")
    found = set()
    for line in Path("/proc/net/unix").read_bytes().splitlines()[1:]:
        words = line.split(maxsplit=7)  # number, counts, ..., inode, path
        if len(words) == 8 and words[7].startswith(place):
            found.add(b"socket:[%s]" % words[6])
    return found


def _sockets_of(process: Path) -> set[bytes]:
    found = set()
    for fd in (process / "fd").iterdir():
        with suppress(OSError):
            found.add(os.fsencode(fd.readlink()))
    return found
