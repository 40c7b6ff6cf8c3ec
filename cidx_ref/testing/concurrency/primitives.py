"""A scheduler's own locks, conditions and events, as the runtime has them.

Those of the library, which may do more, are in `library.locks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["OwnCondition", "OwnEvent", "OwnLock", "Owned", "Runs", "Turns"]

_NEVER = float("inf")


class Owned(Protocol):
    """A lock, as far as somebody who waits for it must know."""

    @property
    def owner(self) -> object | None: ...


class Runs(Protocol):
    """A thread of a run."""

    name: str
    holds: list[str]


class Turns(Protocol):
    """A scheduler, as far as what waits for its turn must know."""

    @property
    def current(self) -> Runs: ...
    @property
    def is_unwinding(self) -> bool: ...
    @property
    def time_s(self) -> float: ...
    def point(self, action: str) -> None: ...
    def block(
        self,
        ready: Callable[[], bool],
        waits_for: Callable[[], str],
        timeout: float | None = None,
        lock: Owned | None = None,
    ) -> bool: ...


class OwnLock:
    """Not reentrant: a thread that takes it twice waits for itself, which is reported."""

    def __init__(self, scheduler: Turns, name: str) -> None:
        self.name = name
        self.owner: Runs | None = None
        self._scheduler = scheduler

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        scheduler = self._scheduler
        scheduler.point(f"acquire {self.name}")
        if self.owner is not None:
            limit = None if timeout < 0 else timeout
            if not blocking or not scheduler.block(self._is_free, self._in_words, limit):
                return False
        self.own(scheduler.current)
        return True

    def release(self) -> None:
        self.disown()
        # After it: what is done with what was read under the lock is what may come too late.
        if not self._scheduler.is_unwinding:
            self._scheduler.point(f"released {self.name}")

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def own(self, task: Runs) -> None:
        self.owner = task
        task.holds.append(self.name)

    def disown(self) -> None:
        if self._scheduler.is_unwinding:  # unwinding, from wherever it was
            self.owner = None
        elif self.owner is not self._scheduler.current:
            raise RuntimeError(f"release of {self.name}, which this thread does not hold")
        else:
            self.owner.holds.remove(self.name)
            self.owner = None

    def _is_free(self) -> bool:
        return self.owner is None

    def _in_words(self) -> str:
        return f"lock {self.name} (held by {self.owner.name if self.owner else 'nobody'})"


class _Waiter:
    """Somebody in a condition's queue."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.is_told = False


class OwnCondition:
    def __init__(self, scheduler: Turns, name: str) -> None:
        self.name = name
        self._lock = OwnLock(scheduler, name)
        self._scheduler = scheduler
        self._waiters: list[_Waiter] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        scheduler = self._scheduler
        scheduler.point(f"wait {self.name}")
        self._lock.disown()
        deadline = _NEVER if timeout is None else scheduler.time_s + timeout
        waiter = _Waiter(deadline)
        self._waiters.append(waiter)
        try:
            return scheduler.block(
                lambda: waiter.is_told, lambda: f"condition {self.name}", timeout, self._lock
            )
        finally:
            self._lock.own(scheduler.current)
            self._waiters.remove(waiter)

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        deadline = _NEVER if timeout is None else self._scheduler.time_s + timeout
        while not predicate():
            left = deadline - self._scheduler.time_s
            if left <= 0:
                return False
            self.wait(None if left == _NEVER else left)
        return True

    def notify_all(self) -> None:
        self._scheduler.point(f"notify {self.name}")
        if self._lock.owner is not self._scheduler.current:
            raise RuntimeError(f"notify on {self.name}, which this thread does not hold")
        for waiter in self._waiters:
            # One whose time is up has left the queue, though it has not got the lock back yet.
            waiter.is_told |= self._scheduler.time_s < waiter.deadline


class OwnEvent:
    def __init__(self, scheduler: Turns, name: str) -> None:
        self.name = name
        self._is_set = False
        self._scheduler = scheduler

    def is_set(self) -> bool:
        self._scheduler.point(f"look at {self.name}")
        return self._is_set

    def set(self) -> None:
        self._scheduler.point(f"set {self.name}")
        self._is_set = True

    def clear(self) -> None:
        self._scheduler.point(f"clear {self.name}")
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        self._scheduler.point(f"wait {self.name}")
        return self._is_set or self._scheduler.block(
            lambda: self._is_set, lambda: f"event {self.name}", timeout
        )
