"""`threading`'s locks and what is built of them, for threads of a `Scheduler`.

Each operation is one switch point and then happens as a whole.  What it does, raises and returns is
what the library's does; in which order threads that wait are served is the scheduler's choice,
where the library promises none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cidx_ref.testing.concurrency.library.active import named, scheduler
from cidx_ref.testing.concurrency.scheduler import Task

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

_NEVER = float("inf")


class _Owned:
    """What `Lock` and `RLock` have in common."""

    kind = "Lock"

    def __init__(self) -> None:
        self._scheduler = scheduler()
        self.name = named(self.kind)
        self.owner: Task | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout != -1 and (not blocking or timeout < 0):
            threading.Lock().acquire(blocking, timeout)  # which says what is wrong
        self._scheduler.point(f"acquire {self.name}")
        if self._again():
            return True
        if self.owner is not None:
            limit = None if timeout == -1 else timeout
            if not blocking or not self._scheduler.block(self._is_free, self._in_words, limit):
                return False
        self.own(self._scheduler.current)
        return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        raise NotImplementedError

    def own(self, task: Task) -> None:
        self.owner = task
        task.holds.append(self.name)

    def disown(self) -> None:
        if self.owner is not None and self.name in self.owner.holds:
            self.owner.holds.remove(self.name)
        self.owner = None

    def _again(self) -> bool:
        return False

    def _is_free(self) -> bool:
        return self.owner is None

    def _in_words(self) -> str:
        return f"{self.name} (held by {self.owner.name if self.owner else 'nobody'})"

    def _released(self) -> None:
        # After it: what is done with what was read under the lock is what may come too late.
        if not self._scheduler.is_unwinding:
            self._scheduler.point(f"released {self.name}")

    # What a condition does with its lock.

    def _is_owned(self) -> bool:
        return self.owner is self._scheduler.current

    def _release_save(self) -> int:
        self.disown()
        return 1

    def _acquire_restore(self, count: int) -> None:
        self.own(self._scheduler.current)


class Lock(_Owned):
    """Any thread may release it."""

    def release(self) -> None:
        if self.owner is None:
            if self._scheduler.is_unwinding:
                return
            raise RuntimeError("release unlocked lock")
        self.disown()
        self._released()

    def locked(self) -> bool:
        self._scheduler.point(f"look at {self.name}")
        return self.owner is not None

    def _is_owned(self) -> bool:
        return self.owner is not None


class RLock(_Owned):
    """The thread that holds it may take it again, and releases it as often."""

    kind = "RLock"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def release(self) -> None:
        if self.owner is not self._scheduler.current:
            if self._scheduler.is_unwinding:
                return
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self.disown()
            self._released()

    def own(self, task: Task) -> None:
        super().own(task)
        self._count = 1

    def locked(self) -> bool:
        self._scheduler.point(f"look at {self.name}")
        return self.owner is not None

    def _again(self) -> bool:
        if self.owner is not self._scheduler.current:
            return False
        self._count += 1
        return True

    def _release_save(self) -> int:
        count, self._count = self._count, 0
        self.disown()
        return count

    def _acquire_restore(self, count: int) -> None:
        super()._acquire_restore(count)
        self._count = count


class _Waiter:
    """Somebody in a condition's queue."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.is_told = False


class Condition:
    """Of a lock of ours, or of anything else that has `acquire` and `release`."""

    def __init__(self, lock: Any = None) -> None:
        self._scheduler = scheduler()
        self.name = named("Condition")
        self._lock = RLock() if lock is None else lock
        self._waiters: list[_Waiter] = []
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._lock.__exit__(*error)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        scheduler = self._scheduler
        scheduler.point(f"wait {self.name}")
        deadline = _NEVER if timeout is None else scheduler.time_s + timeout
        waiter = _Waiter(deadline)
        self._waiters.append(waiter)
        ours = self._lock if isinstance(self._lock, _Owned) else None
        saved = 0
        if ours is not None:
            saved = ours._release_save()
        else:
            self._lock.release()
        try:
            scheduler.block(lambda: waiter.is_told, lambda: self.name, timeout, ours)
            return waiter.is_told
        finally:
            self._waiters.remove(waiter)
            if ours is not None:
                ours._acquire_restore(saved)
            else:
                self._lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline = _NEVER if timeout is None else self._scheduler.time_s + timeout
        result = predicate()
        while not result:
            left = deadline - self._scheduler.time_s
            if left <= 0:
                break
            self.wait(None if left == _NEVER else left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        if not self._is_owned():
            if self._scheduler.is_unwinding:
                return
            raise RuntimeError("cannot notify on un-acquired lock")
        self._scheduler.point(f"notify {self.name}")
        now = self._scheduler.time_s
        # One whose time is up has left the queue, though it has not got the lock back yet.
        waiting = [w for w in self._waiters if not w.is_told and now < w.deadline]
        for waiter in waiting[:n]:
            waiter.is_told = True

    def notify_all(self) -> None:
        self.notify(len(self._waiters))

    def _is_owned(self) -> bool:
        if hasattr(self._lock, "_is_owned"):
            return bool(self._lock._is_owned())
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True


class Event:
    def __init__(self) -> None:
        self._scheduler = scheduler()
        self.name = named("Event")
        self._flag = False

    def is_set(self) -> bool:
        self._scheduler.point(f"look at {self.name}")
        return self._flag

    def set(self) -> None:
        self._scheduler.point(f"set {self.name}")
        self._flag = True

    def clear(self) -> None:
        self._scheduler.point(f"clear {self.name}")
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        self._scheduler.point(f"wait {self.name}")
        return self._flag or self._scheduler.block(lambda: self._flag, lambda: self.name, timeout)


class Semaphore:
    kind = "Semaphore"

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self._scheduler = scheduler()
        self.name = named(self.kind)
        self._value = value

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        self._scheduler.point(f"acquire {self.name}")
        if self._value == 0 and (
            not blocking or not self._scheduler.block(self._is_free, lambda: self.name, timeout)
        ):
            return False
        self._value -= 1
        return True

    __enter__ = acquire

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self, n: int = 1) -> None:
        if n < 1:
            raise ValueError("n must be one or more")
        self._check(n)
        self._value += n
        if not self._scheduler.is_unwinding:
            self._scheduler.point(f"released {self.name}")

    def _is_free(self) -> bool:
        return self._value > 0

    def _check(self, n: int) -> None:
        pass


class BoundedSemaphore(Semaphore):
    kind = "BoundedSemaphore"

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value

    def _check(self, n: int) -> None:
        if self._value + n > self._initial_value:
            raise ValueError("Semaphore released too many times")


class Barrier(threading.Barrier):
    """The library's own, with a condition of ours."""

    def __init__(
        self,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(parties, action, timeout)
        self._cond = Condition(Lock())
