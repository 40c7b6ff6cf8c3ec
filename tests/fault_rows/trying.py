"""Tries rows, each in a process of its own: one that hangs or dies costs its case and nothing else.

The process that tries writes a line before each case and for whatever it finds; the one that waits
ends it where no line comes in time.  What it has started and not ended is found and ended, too: it
is the parent of all whose parents are gone.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cidx_ref.runtime import SYSTEM
from fault_rows.table import Mutant, NotHereError, Place, Row, Trial

__all__ = ["Job", "Outcome", "try_all"]

_PR_SET_CHILD_SUBREAPER = 36
#: Of a row that has so many broken cases, no more are tried.
_ENOUGH = 10
#: Seconds between two notes of how far a row has come.
_NOTED_EVERY_S = 10.0
#: Seconds in which what has ended has left: threads, descriptors, memory, children.
_SETTLED_S = 10.0
#: Share by which the memory of a process may have grown; so many megabytes say nothing.
_GROWN, _GROWN_MB = 0.05, 3.0
#: Cases, as a share of all, after which a process is warm.
_WARM = 0.1
#: Fewer cases than this say nothing about memory.
_FEW = 100


@dataclass
class Outcome:
    """What came of a row so far."""

    #: The first cases, so many of them, have been tried.
    tried: int = 0
    seconds: float = 0.0
    #: Case and what was seen; a case of -1 is the row as a whole.
    broken: list[tuple[int, str]] = field(default_factory=list)
    #: What this machine lacks for the row.
    not_here: str | None = None


@dataclass
class Job:
    """A row to be tried, up to a number of cases."""

    row: Row
    cases: int
    mutant: Mutant | None = None
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def is_done(self) -> bool:
        """Nothing of it is to be tried any more."""
        out = self.outcome
        if out.not_here is not None or len(out.broken) >= _ENOUGH:
            return True
        return out.tried >= self.cases or bool(self.mutant and out.broken)


def try_all(
    jobs: Iterable[Job],
    at_once: int,
    noted: Callable[[Job], object] = lambda job: None,
    ended: Callable[[Job], object] = lambda job: None,
) -> None:
    """Try them, so many at once; `noted` is called with each now and then, and `ended` when the
    process that has tried it is gone.

    For a process without threads: it forks.
    """
    _adopt_orphans()
    waiting = [job for job in jobs if not job.is_done]
    running: list[_Tried] = []
    note_at = SYSTEM.monotonic() + _NOTED_EVERY_S
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_Tried(waiting.pop(0)))
            gone = [tried for tried in _with_news(running) if not tried.listen()]
            running = [tried for tried in running if tried not in gone]
            # Where its process has died of a case, a job goes on behind that.
            waiting[:0] = [tried.job for tried in gone if not tried.job.is_done]
            _end_orphans({tried.pid for tried in running})
            for tried in gone:
                ended(tried.job)
            if SYSTEM.monotonic() >= note_at:
                note_at += _NOTED_EVERY_S
                for tried in running:
                    noted(tried.job)
    finally:
        for tried in running:
            tried.kill()
            noted(tried.job)


def _with_news(running: list[_Tried]) -> list[_Tried]:
    ready, _, _ = select.select([tried.pipe for tried in running], [], [], 0.5)
    return [tried for tried in running if tried.pipe in ready or tried.is_late]


class _Tried:
    """A process that tries a job, from outside."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._began = self._heard = SYSTEM.monotonic()
        self._before_s = job.outcome.seconds
        self._number = -1
        self._rest = b""
        self._place = Path(tempfile.mkdtemp(prefix=f"cidx-{job.row.name}-"))
        self.pipe, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            _live(job, self._place, write)
        os.close(write)

    @property
    def is_late(self) -> bool:
        """It has said nothing for longer than a case may take."""
        return SYSTEM.monotonic() - self._heard > self._patience_s

    @property
    def _patience_s(self) -> float:
        # Behind the last case it waits for what it has started: threads, then processes.
        is_behind = self._number >= self.job.cases
        return self.job.row.patience_s + (2 * _SETTLED_S if is_behind else 0)

    def listen(self) -> bool:
        """Take what it says; False once it has ended."""
        out = self.job.outcome
        out.seconds = self._before_s + SYSTEM.monotonic() - self._began
        # What it has said counts first, however late that is read.
        if not select.select([self.pipe], [], [], 0)[0]:
            self._break(f"hangs: nothing for {self._patience_s:.0f} s")
            self.kill()
            return False
        data = os.read(self.pipe, 1 << 16)
        self._heard = SYSTEM.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if data:
            return True
        self.end()
        return False

    def end(self) -> None:
        """Wait for it, and say what it died of."""
        status = os.waitpid(self.pid, 0)[1]
        if os.WIFSIGNALED(status):
            self._break(f"the process that tried it died of signal {status & 127}{self._said()}")
        elif status:
            self._break(f"the process that tried it failed{self._said()}")
        self._clear()

    def kill(self) -> None:
        """End it, and what it has started."""
        for pid in [*_descendants(self.pid), self.pid]:
            _kill(pid)
        os.waitpid(self.pid, 0)
        self._clear()

    def _clear(self) -> None:
        os.close(self.pipe)
        for path in (self._place, self._state):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def _state(self) -> Path:
        return self._place.with_name(f"{self._place.name}.state")

    def _said(self) -> str:
        lines = (self._state / "said").read_text("utf-8", "replace").splitlines()
        return f": {lines[-1]}" if lines else ""

    def _break(self, what: str) -> None:
        # The case that was under way; the next process goes on behind it.
        number = self._number if self._number < self.job.cases else -1
        self.job.outcome.broken.append((number, what))
        self.job.outcome.tried = max(self.job.outcome.tried, self._number + 1)
        if self._number < 0:  # in its set-up, where it would die again
            self.job.outcome.tried = self.job.cases

    def _take(self, said: dict[str, Any]) -> None:
        out = self.job.outcome
        if "case" in said:
            self._number = said["case"]
            out.tried = max(out.tried, self._number)
        if "broken" in said:
            out.broken.append((said.get("at", -1), said["broken"]))
        if "not_here" in said:
            out.not_here = said["not_here"]
        if "end" in said:
            out.tried = said["end"]


# In the process that tries.


def _live(job: Job, place: Path, write: int) -> None:
    """Be that process; never returns."""
    status = 1
    try:
        os.setsid()
        _adopt_orphans()
        planted = job.mutant.name if job.mutant else None
        where = Place(place, planted)
        os.environ.update(where.environment)
        os.chdir(place)
        state = place.with_name(f"{place.name}.state")
        state.mkdir(mode=0o700)
        said = os.open(state / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for fd in (1, 2):
            os.dup2(said, fd)
        os.close(said)
        _try(job, where, lambda **news: _write(write, news))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _write(fd: int, news: dict[str, Any]) -> None:
    os.write(fd, json.dumps(news).encode() + b"\n")


def _try(job: Job, place: Place, tell: Callable[..., None]) -> None:
    first = job.outcome.tried
    began_with = len(os.listdir("/proc/self/fd"))
    with job.mutant.plant() if job.mutant else nullcontext():
        try:
            # What it yields is closed before anything is counted that it may leave behind.
            last = _in_order(job, place, first, tell)
        except NotHereError as error:
            tell(not_here=str(error))
            return
    for left in _left_behind(began_with):
        tell(broken=left)
    tell(end=last)


def _in_order(job: Job, place: Place, first: int, tell: Callable[..., None]) -> int:
    found = 0
    with ExitStack() as stack:
        trial = stack.enter_context(job.row.open(place))
        watched: _Watched | None = None
        for number in range(first, job.cases):
            if watched is None and number - first >= _WARM * (job.cases - first):
                watched = _Watched(trial, number)
            tell(case=number)
            for problem in _problems(trial, number):
                tell(broken=problem, at=number)
                found += 1
            if found >= (1 if job.mutant else _ENOUGH):
                return number + 1
        tell(case=job.cases)
        for grown in watched.grown(job.cases) if watched else ():
            tell(broken=grown)
    return job.cases


def _problems(trial: Trial, number: int) -> Iterator[str]:
    try:
        trial.check(number)
    except AssertionError as error:
        yield str(error) or _where(error)
    except Exception as error:  # a promise that it breaks in a way that the row did not foresee
        yield f"{type(error).__name__}: {error} ({_where(error)})"


def _where(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"


class _Watched:
    """What processes had when they were warm."""

    def __init__(self, trial: Trial, number: int) -> None:
        self._first = number
        self._before = {pid: _holds(pid) for pid in trial.pids}

    def grown(self, number: int) -> Iterator[str]:
        """What they have more now."""
        names = ["threads", "descriptors"]
        if number - self._first >= _FEW:
            names.append("MB")
        for pid, before in self._before.items():
            for name in names:
                if (now := _settled(pid, name, before[name])) is not None:
                    yield f"process {pid} had {before[name]:.1f} {name}, and has {now:.1f}"


def _settled(pid: int, name: str, before: float) -> float | None:
    """More than before; None once it is not more."""
    allowed = before + (max(_GROWN * before, _GROWN_MB) if name == "MB" else 0)
    until = SYSTEM.monotonic() + _SETTLED_S
    while (now := _holds(pid)[name]) > allowed:
        if SYSTEM.monotonic() >= until:
            return now
        SYSTEM.sleep(0.1)
    return None


def _holds(pid: int) -> dict[str, float]:
    of = Path(f"/proc/{pid}")
    # Also what a fork still shares with its parent, and has to itself when it first touches it.
    kilobytes = [
        int(line.split()[1])
        for line in (of / "smaps_rollup").read_text("ascii").splitlines()
        if line.startswith("Anonymous:")
    ]
    threads, files = (float(len(os.listdir(of / name))) for name in ("task", "fd"))
    return {"threads": threads, "descriptors": files, "MB": sum(kilobytes) / 1024}


def _left_behind(descriptors: int) -> Iterator[str]:
    """What a row left in the process that tried it; its own children are ended."""
    until = SYSTEM.monotonic() + _SETTLED_S
    while (children := list(_children(os.getpid()))) and SYSTEM.monotonic() < until:
        _reap()
        SYSTEM.sleep(0.05)
    for pid in children:
        name = _name(pid)
        if name:
            yield f"a process was left behind: {name}"
        _kill(pid)
    _reap()
    more = len(os.listdir("/proc/self/fd")) - descriptors
    if more > 0:
        yield f"{more} descriptors were left open"


# Processes.


def _adopt_orphans() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans(ours: set[int]) -> None:
    for pid in _children(os.getpid()):
        if pid not in ours:
            _kill(pid)
            os.waitpid(pid, 0)


def _children(pid: int) -> Iterator[int]:
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (task / "children").read_text("ascii").split())
    except OSError:  # it has just ended
        return


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _name(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()
