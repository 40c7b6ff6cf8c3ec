"""`concurrent.futures` with threads, for threads of a `Scheduler`."""

from __future__ import annotations

import concurrent.futures as library
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures._base import DoneAndNotDoneFutures
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

from cidx_ref.testing.concurrency.library.active import named, scheduler
from cidx_ref.testing.concurrency.scheduler import Abort, Task

__all__ = ["Future", "ThreadPoolExecutor", "as_completed", "wait"]

#: As many as the library's pool has on a machine with one core, whatever this one has.
_WORKERS = 5


class _State:
    """Stands for a future's condition: what is done under it happens at one switch point."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scheduler = scheduler()
        self._told = 0

    def __enter__(self) -> _State:
        if not self._scheduler.is_unwinding:
            self._scheduler.point(f"{self._name}")
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def notify_all(self) -> None:
        self._told += 1

    def wait(self, timeout: float | None = None) -> bool:
        before = self._told
        return self._scheduler.block(lambda: self._told > before, lambda: self._name, timeout)


class Future(library.Future[Any]):
    """The library's own, but for how it waits."""

    def __init__(self) -> None:
        super().__init__()
        self._condition: Any = _State(named("Future"))

    def is_over(self) -> bool:
        """`done()`, without a switch point."""
        return self._state in ("FINISHED", "CANCELLED", "CANCELLED_AND_NOTIFIED")

    def has_failed(self) -> bool:
        return self._state == "FINISHED" and self._exception is not None


class _Work:
    def __init__(self, future: Future, call: Callable[[], Any]) -> None:
        self.future = future
        self.call = call

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except Abort:
            raise
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class ThreadPoolExecutor(library.Executor):
    """A run waits for what was submitted, and not for workers that have nothing to do."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._scheduler = scheduler()
        self._max_workers = max_workers or _WORKERS
        self._prefix = thread_name_prefix or named("ThreadPoolExecutor")
        self._initializer = initializer
        self._initargs = initargs
        self._work: deque[_Work] = deque()
        self._workers: list[Task] = []
        self._idle = 0
        self._is_shut = False
        self._is_broken = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._scheduler.point(f"submit to {self._prefix}")
        if self._is_broken:
            raise BrokenThreadPool("A thread initializer failed, the thread pool is not usable")
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        self._work.append(_Work(future, lambda: fn(*args, **kwargs)))
        if self._idle < len(self._work) and len(self._workers) < self._max_workers:
            self._hire()
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[Any]:
        end = None if timeout is None else self._scheduler.time_s + timeout
        futures = [self.submit(fn, *args) for args in zip(*iterables, strict=False)]

        def results() -> Generator[Any]:
            try:
                while futures:
                    left = None if end is None else end - self._scheduler.time_s
                    yield futures.pop(0).result(left)
            finally:
                for future in futures:
                    future.cancel()

        return results()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if not self._scheduler.is_unwinding:
            self._scheduler.point(f"shut down {self._prefix}")
        self._is_shut = True
        while cancel_futures and self._work:
            self._work.popleft().future.cancel()
        for worker in self._workers if wait else ():
            worker.join()

    def _hire(self) -> None:
        name = f"{self._prefix}_{len(self._workers)}"
        is_busy = [True]

        def work() -> None:
            if not self._begin():
                return
            while True:
                is_busy[0] = False
                self._idle += 1
                if not self._work and not self._is_shut:
                    self._scheduler.block(lambda: bool(self._work) or self._is_shut, lambda: "work")
                self._idle -= 1
                if not self._work:
                    return
                is_busy[0] = True
                self._work.popleft().run()

        self._workers.append(
            self._scheduler.spawn(work, name, lambda: not is_busy[0] and not self._work)
        )

    def _begin(self) -> bool:
        """Whether a worker could be set up."""
        try:
            if self._initializer is not None:
                self._initializer(*self._initargs)
        except Abort:
            raise
        except BaseException:
            self._is_broken = True
            while self._work:
                self._work.popleft().future.set_exception(
                    BrokenThreadPool("A thread initializer failed, the thread pool is not usable")
                )
            return False
        return True


def wait(
    fs: Iterable[Future], timeout: float | None = None, return_when: str = "ALL_COMPLETED"
) -> Any:
    """`concurrent.futures.wait`."""
    futures: set[Any] = set(fs)
    now = scheduler()
    now.point(f"wait for {len(futures)} futures")

    def is_enough() -> bool:
        over = [future for future in futures if future.is_over()]
        if return_when == "FIRST_COMPLETED" and over:
            return True
        if return_when == "FIRST_EXCEPTION" and any(f.has_failed() for f in over):
            return True
        return len(over) == len(futures)

    if not is_enough():
        now.block(is_enough, lambda: "futures", timeout)
    done = {future for future in futures if future.is_over()}
    return DoneAndNotDoneFutures(done, futures - done)


def as_completed(fs: Iterable[Future], timeout: float | None = None) -> Iterator[Future]:
    """`concurrent.futures.as_completed`."""
    # A list, or the order would be that of addresses.
    pending = list(dict.fromkeys(fs))
    total = len(pending)
    now = scheduler()
    end = None if timeout is None else now.time_s + timeout
    while pending:
        if not any(future.is_over() for future in pending):
            left = None if end is None else max(end - now.time_s, 0)
            now.point("wait for a future")
            if not now.block(_is_any_over(pending), lambda: "a future", left):
                raise TimeoutError(f"{len(pending)} (of {total}) futures unfinished")
        over = [future for future in pending if future.is_over()]
        pending = [future for future in pending if not future.is_over()]
        yield from over


def _is_any_over(futures: list[Future]) -> Callable[[], bool]:
    return lambda: any(future.is_over() for future in futures)
