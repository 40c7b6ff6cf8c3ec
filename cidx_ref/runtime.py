"""Time, locks and threads: the only module that may touch them (a lint rule says so); and what
is about to happen, to be watched by tests.

Everything here is injected, so that a test can put a clock that stands still, or a scheduler that
decides who runs next, in the place of the real thing.  Reading time is not waiting: `monotonic`
never blocks, and what waits takes its timeout from the caller.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["SYSTEM", "Condition", "Event", "Lock", "Runtime", "Thread", "get_ident"]

#: The id of the thread that asks.
get_ident = threading.get_ident

_place = threading.local()


class Lock(AbstractContextManager[Any], Protocol):
    """A mutual-exclusion lock, not reentrant."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


class Condition(AbstractContextManager[Any], Protocol):
    """A lock, and a queue of those who wait for what it guards to change."""

    def wait(self, timeout: float | None = None) -> bool: ...
    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool: ...
    def notify_all(self) -> None: ...


class Event(Protocol):
    """A flag that can be waited for."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Thread(Protocol):
    """A thread that has been started."""

    @property
    def name(self) -> str: ...
    @property
    def ident(self) -> int | None: ...
    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...


class Runtime:
    """The real thing.  `name` arguments are for the trace of a test's scheduler."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never steps (TTL-3).  Every TTL is counted on it."""
        return time.monotonic()

    def now(self) -> datetime:
        """Local wall-clock time, to be shown and never to be reckoned with."""
        from datetime import datetime

        return datetime.now()

    def sleep(self, seconds: float) -> None:
        """Do nothing for `seconds`; only for what can be polled but not waited for (`flock`)."""
        time.sleep(seconds)

    def flock(self, fd: int, operation: int) -> None:
        """Lock an open file, `fcntl.LOCK_SH` or `LOCK_EX`, waiting for as long as it takes."""
        fcntl.flock(fd, operation)

    def lock(self, name: str) -> Lock:
        return threading.Lock()

    def condition(self, name: str) -> Condition:
        return threading.Condition(threading.Lock())

    def event(self, name: str) -> Event:
        return threading.Event()

    def thread(self, target: Callable[[], object], name: str) -> Thread:
        """Run `target` in a thread that does not keep the process alive."""
        begin = _anywhere(target) if _is_gathered() else target
        thread = threading.Thread(target=begin, name=name, daemon=True)
        thread.start()
        return thread

    def gather(self, *, together: bool) -> None:
        """Have the calling thread run on one processor, with all that do, and in turn: one that is
        woken waits until the other waits itself.  Or again on any.

        The threads that it starts run on any.  Where the system does not let it, nothing happens;
        nor to a main thread, by which all others find their place again.
        """
        if together != _is_gathered() and threading.get_native_id() != os.getpid():
            _place.is_gathered = together
            _settle(together=together)

    def threads(self) -> list[Thread]:
        """The threads that run now, also those that other code started."""
        return list(threading.enumerate())

    def operation(self, kind: str, path: Path) -> None:
        """Be about to change the file system: a member of `files.Operation`, and where.

        Nothing happens here.  A test's runtime counts, raises what a full disk would, or ends the
        process.
        """

    def step(self, name: str) -> None:
        """Pass a place where threads or processes meet, a member of `steps.Step`.

        Nothing happens here.  A test's runtime switches threads there, or ends the process.
        """


def _is_gathered() -> bool:
    return getattr(_place, "is_gathered", False)


def _anywhere(target: Callable[[], object]) -> Callable[[], object]:
    """`target`, without the place of the thread that starts it."""

    def begin() -> object:
        _settle(together=False)
        return target()

    return begin


def _settle(*, together: bool) -> None:
    main = os.getpid()  # as a thread
    every = sorted(os.sched_getaffinity(main))
    with suppress(OSError):
        os.sched_setaffinity(0, {every[main % len(every)]} if together else every)
        if os.sched_getscheduler(main) == os.SCHED_OTHER:  # or somebody has chosen another one
            policy = os.SCHED_BATCH if together else os.SCHED_OTHER
            os.sched_setscheduler(0, policy, os.sched_param(0))


SYSTEM = Runtime()
