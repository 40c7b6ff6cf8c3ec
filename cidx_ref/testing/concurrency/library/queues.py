"""`queue`, for threads of a `Scheduler`: the order is the library's, and who waits is ours."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from typing import Any

from cidx_ref.testing.concurrency.library.active import named, scheduler
from cidx_ref.testing.concurrency.library.locks import Condition, Lock

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]

#: Only from Python 3.13 on.
_ShutDown: Any = getattr(queue, "ShutDown", None)


class Queue(queue.Queue[Any]):
    """Each operation is one switch point, and takes `mutex` for no longer than that."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._scheduler = scheduler()
        self.name = named(type(self).__name__)
        self.mutex: Any = Lock()
        self.not_empty: Any = Condition(self.mutex)
        self.not_full: Any = Condition(self.mutex)
        self.all_tasks_done: Any = Condition(self.mutex)
        self.is_shutdown = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._scheduler.point(f"put into {self.name}")
        if not self._wait(lambda: self.is_shutdown or not self._is_full(), block, timeout):
            raise queue.Full
        if self.is_shutdown:
            raise _ShutDown
        self._put(item)
        self.unfinished_tasks += 1

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self._scheduler.point(f"get from {self.name}")
        if not self._wait(lambda: self.is_shutdown or self._qsize() > 0, block, timeout):
            raise queue.Empty
        if not self._qsize():
            raise _ShutDown
        return self._get()

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        self._scheduler.point(f"look at {self.name}")
        return self._qsize()

    def empty(self) -> bool:
        return not self.qsize()

    def full(self) -> bool:
        return 0 < self.maxsize <= self.qsize()

    def task_done(self) -> None:
        self._scheduler.point(f"task done of {self.name}")
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self.unfinished_tasks -= 1

    def join(self) -> None:
        self._scheduler.point(f"join {self.name}")
        self._wait(lambda: not self.unfinished_tasks, True, None)

    if _ShutDown is not None:

        def shutdown(self, immediate: bool = False) -> None:
            self._scheduler.point(f"shut down {self.name}")
            self.is_shutdown = True
            while immediate and self._qsize():
                self._get()
                self.unfinished_tasks -= self.unfinished_tasks > 0

    def _is_full(self) -> bool:
        return 0 < self.maxsize <= self._qsize()

    def _wait(self, ready: Callable[[], bool], block: bool, timeout: float | None) -> bool:
        """Whether `ready`, with nobody in `mutex`; at once, or after at most `timeout`."""
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if self.mutex.owner is not None and self.mutex.owner is not self._scheduler.current:
            self._scheduler.block(lambda: self.mutex.owner is None, lambda: str(self.mutex.name))
        if ready():
            return True
        return block and self._scheduler.block(ready, lambda: self.name, timeout, self.mutex)


class LifoQueue(Queue, queue.LifoQueue[Any]):
    pass


class PriorityQueue(Queue, queue.PriorityQueue[Any]):
    pass


class SimpleQueue:
    """Unbounded."""

    def __init__(self) -> None:
        self._scheduler = scheduler()
        self.name = named("SimpleQueue")
        self._items: deque[Any] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._scheduler.point(f"put into {self.name}")
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        self._scheduler.point(f"get from {self.name}")
        if not self._items and not (
            block and self._scheduler.block(lambda: bool(self._items), lambda: self.name, timeout)
        ):
            raise queue.Empty
        return self._items.popleft()

    def put_nowait(self, item: Any) -> None:
        self.put(item)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        self._scheduler.point(f"look at {self.name}")
        return len(self._items)

    def empty(self) -> bool:
        return not self.qsize()
