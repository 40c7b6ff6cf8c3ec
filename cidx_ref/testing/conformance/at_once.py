"""Checks in processes of their own, several at once.

Here belong those processes: forked, so that a target need not be imported anew or pickled; and
ended with the run, whatever ends that.  What a check does to its process is nothing to another,
and nothing to the run: that waits for a verdict, or the process's end, or the end of its time, and
for no more.
Which checks there are, and what a finding is, is elsewhere (`running`).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.homes import sweep
from cidx_ref.testing.conformance.overdue import overdue
from cidx_ref.testing.conformance.processes import await_group
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["run_at_once"]

_FORK = multiprocessing.get_context("fork")
_INTERRUPTS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

#: What one that has given its verdict may take to end: it may have left a thread, or a process,
#: that Python waits for.
_LINGER_S = 5.0
#: What one that is interrupted may take to end what it started; and if another interrupt comes.
_TIDY_S, _HASTY_S = 20.0, 5.0
#: It is waited for no longer at a time, because what waits takes no number that is too large.
_LOOK_S = 3600.0

#: Runs one check, and raises nothing that the check or its target does.
Run = Callable[[Check], list[Finding]]


def run_at_once(
    checks: Sequence[Check], run: Run, count: int, begun: Callable[[Check], object]
) -> Generator[tuple[Check, list[Finding]], None, None]:
    """Run `count` at a time, and give each with its findings when it has ended.

    Those that measure (`Check.alone`) come last, with nothing beside them.  Who closes it ends what
    is at work, and waits for that.
    """
    yield from _lanes([check for check in checks if not check.alone], run, count, begun)
    yield from _lanes([check for check in checks if check.alone], run, 1, begun)


@dataclass(frozen=True)
class _Work:
    """A check, and the process that is at it."""

    check: Check
    process: BaseProcess
    answer: Connection
    #: Ready when the process has ended: `answer` is not, where a process of its own has that, too.
    pidfd: int
    #: When it must have ended: where it runs it is told so some time before (`overdue`).
    until: float

    def found(self) -> list[Finding]:
        """What it has sent, or why there is nothing; it has ended then."""
        try:
            if not self.answer.poll():
                raise EOFError
            found: list[Finding] = self.answer.recv()
        except (EOFError, OSError):  # it has ended, perhaps in the midst of its words
            is_late = SYSTEM.monotonic() >= self.until
            self.end(0.0 if is_late else _LINGER_S)
            if is_late:
                return _untried(
                    self.check, overdue(self.check.limit_s) + ", nor when it is told to"
                )
            sweep()
            return _untried(self.check, f"its process {self._ended()} without a verdict")
        except Exception as error:
            return _untried(self.check, _untold(error))
        finally:
            self.end(_LINGER_S)
        return found

    def _ended(self) -> str:
        status = self.process.exitcode or 0
        return f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"

    def end(self, within_s: float) -> None:
        """Wait for its end, and make one when the time has passed."""
        if self.answer.closed:  # it was here already
            return
        # Not `join`: that waits for processes of its own, too, which have what tells it.
        is_deaf = not wait([self.pidfd], within_s)
        if is_deaf:
            self.process.kill()
        assert self.process.pid
        with suppress(ProcessLookupError, PermissionError):  # what it has forked, if it has
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        await_group(self.process.pid)
        self.answer.close()
        os.close(self.pidfd)
        if is_deaf:
            sweep()


def _lanes(
    checks: Sequence[Check], run: Run, count: int, begun: Callable[[Check], object]
) -> Iterator[tuple[Check, list[Finding]]]:
    left = list(reversed(checks))
    at_work: list[_Work] = []
    try:
        while left or at_work:
            while left and len(at_work) < count:
                check = left.pop()
                why = _start(check, run, at_work, begun)
                if why and at_work:  # fewer at a time, then
                    left.append(check)
                    count = len(at_work)
                    break
                if why:
                    begun(check)
                    yield check, _untried(check, f"there is no process for it: {why}")
            for work in _ready(at_work):
                at_work.remove(work)
                yield work.check, work.found()
    finally:
        for work in at_work:
            work.process.terminate()
        try:
            _end_all(at_work, _TIDY_S)
        except KeyboardInterrupt:
            _end_all(at_work, _HASTY_S)
            raise


def _ready(at_work: Sequence[_Work]) -> list[_Work]:
    """Wait for those that have a verdict, or have ended, or whose time is over."""
    if not at_work:
        return []
    ends = [end for work in at_work for end in (work.answer, work.pidfd)]
    until = min(work.until for work in at_work)
    ready = wait(ends, min(max(0.0, until - SYSTEM.monotonic()), _LOOK_S))
    now = SYSTEM.monotonic()
    return [w for w in at_work if w.answer in ready or w.pidfd in ready or w.until <= now]


def _end_all(at_work: Iterable[_Work], within_s: float) -> None:
    until = SYSTEM.monotonic() + within_s
    for work in at_work:
        work.end(max(0.0, until - SYSTEM.monotonic()))


def _start(check: Check, run: Run, at_work: list[_Work], begun: Callable[[Check], object]) -> str:
    """Why there is no process; else nothing."""
    try:
        answer, to_answer = _FORK.Pipe(duplex=False)
    except OSError as error:
        return error.strerror or type(error).__name__
    # An interrupt comes when the process is known here, and is said to be at work; and it comes
    # there when it can be told of one.
    with _held() as before:
        task = (check, run, answer, to_answer, os.getpid(), before)
        process = _FORK.Process(target=_work, args=task)
        try:
            process.start()
            assert process.pid is not None
            until = SYSTEM.monotonic() + check.limit_s + _TIDY_S
            at_work.append(_Work(check, process, answer, os.pidfd_open(process.pid), until))
        except OSError as error:
            answer.close()
            if process.pid is not None:
                process.kill()
                process.join()
            return error.strerror or type(error).__name__
        else:
            begun(check)
        finally:
            to_answer.close()
    return ""


@contextmanager
def _held() -> Iterator[Iterable[int]]:
    """No interrupt until the end; gives the signals that were blocked before.

    A mask is of this thread, and another one may take the signal, which Python handles in the main
    thread all the same: so what handles it waits, too.
    """
    came: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {n: handler for n in _INTERRUPTS if callable(handler := signal.getsignal(n))}
    try:
        # From here on nothing is raised, so that the mask is set, and taken off, in any case.
        _handle(dict.fromkeys(handlers, lambda number, _: came.append(number)))
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _handle(handlers)
    for each in came:
        signal.raise_signal(each)


def _handle(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], Any]]) -> None:
    with suppress(ValueError):  # not in the main thread: interrupts are nothing to this one
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _work(
    check: Check,
    run: Run,
    not_ours: Connection,
    answer: Connection,
    judge: int,
    mask: Iterable[int],
) -> None:
    """What such a process does."""
    os.setpgid(0, 0)  # so that what the check forks is known
    # The run passes on what is for it, as SIGTERM, once: a second interrupt would come while what
    # was started is being ended.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ignore)
    signal.signal(signal.SIGTERM, _interrupt)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)  # where the run cannot: SIGKILL
    not_ours.close()
    with suppress(KeyboardInterrupt, BrokenPipeError):  # nobody waits for it any more
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.getppid() == judge:
            _tell(answer, check, run(check))
    if os.getppid() != judge:  # it was killed, and has left a directory of its own
        sweep()


def _tell(answer: Connection, check: Check, found: list[Finding]) -> None:
    try:
        answer.send(found)
    except OSError:  # the check has closed it, if it is not the run's end
        raise SystemExit(1) from None
    except Exception as error:  # the words of a project's code may be of any class
        answer.send(_untried(check, _untold(error)))


# Functions, and not SIG_IGN: what a check starts would be deaf as well.
def _ignore(number: int, frame: object) -> None:
    pass


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, _ignore)
    raise KeyboardInterrupt


def _untold(error: Exception) -> str:
    return f"what it found cannot be passed on: {type(error).__name__}: {error}"


def _untried(check: Check, words: str) -> list[Finding]:
    return [
        Finding(id_, Verdict.NOT_TRIED, words, check.name, unfinished=True)
        for id_ in check.promises
    ]
