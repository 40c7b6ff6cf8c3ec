"""Small locks, as people write them: some right, and the others each with one defect."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cidx_ref.testing.concurrency.instrument import instrumented


class Token:
    """Right: who has the token is in."""

    def __init__(self) -> None:
        self.tokens: queue.Queue[None] = queue.Queue()
        self.tokens.put(None)

    def __enter__(self) -> None:
        self.tokens.get()

    def __exit__(self, *error: object) -> None:
        self.tokens.put(None)


class Bell:
    """Right: a flag under a condition, with a time-out."""

    def __init__(self) -> None:
        self.bell = threading.Condition()
        self.taken = False

    def acquire(self, timeout: float | None = None) -> bool:
        with self.bell:
            if not self.bell.wait_for(lambda: not self.taken, timeout):
                return False
            self.taken = True
            return True

    def release(self) -> None:
        with self.bell:
            self.taken = False
            self.bell.notify()


class Tickets:
    """Right: first come, first served, and no condition but a turn that is looked at."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next = self.turn = 0

    def __enter__(self) -> None:
        with self.lock:
            mine, self.next = self.next, self.next + 1
        while self.turn != mine:
            time.sleep(0.01)

    def __exit__(self, *error: object) -> None:
        self.turn += 1


class Open:
    """Looks, and then takes."""

    def __init__(self) -> None:
        self.taken = threading.Event()

    def __enter__(self) -> None:
        while self.taken.is_set():
            time.sleep(0.01)
        self.taken.set()

    def __exit__(self, *error: object) -> None:
        self.taken.clear()


class KeptByErrors:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self.lock.release()


class Swallows(KeptByErrors):
    def __exit__(self, kind: object, *error: object) -> bool:  # type: ignore[override]
        self.lock.release()
        return True


class LostWakeUp:
    """A signal that comes between the look and the wait is cleared away."""

    def __init__(self) -> None:
        self.mutex, self.bell, self.taken = threading.Lock(), threading.Event(), False

    def __enter__(self) -> None:
        while True:
            with self.mutex:
                if not self.taken:
                    self.taken = True
                    return
            self.bell.clear()
            self.bell.wait()

    def __exit__(self, *error: object) -> None:
        with self.mutex:
            self.taken = False
        self.bell.set()


class NotifiedBeforeTheWait(Bell):
    """The look is not under the lock that the signal is given under."""

    def acquire(self, timeout: float | None = None) -> bool:
        while self.taken:
            with self.bell:
                if not self.bell.wait(timeout):
                    return False
        self.taken = True
        return True


class TakenByWhoGaveUp(Bell):
    """A time-out leaves the lock taken, once it is free."""

    def acquire(self, timeout: float | None = None) -> bool:
        if super().acquire(timeout):
            return True
        thread = threading.Thread(target=super().acquire, daemon=True)
        thread.start()
        return False


class Hasty(Bell):
    def acquire(self, timeout: float | None = None) -> bool:
        return super().acquire(None if timeout is None else timeout / 10)


class Shared:
    """Right: readers together, a writer alone."""

    def __init__(self) -> None:
        self.bell = threading.Condition()
        self.readers = 0
        self.writing = False
        self.waiting = 0

    def may_read(self) -> bool:
        return not self.writing

    def may_write(self) -> bool:
        return not self.writing and not self.readers

    @contextmanager
    def read(self) -> Iterator[None]:
        with self.bell:
            self.bell.wait_for(self.may_read)
            self.readers += 1
        try:
            yield
        finally:
            self.left()

    def left(self) -> None:
        with self.bell:
            self.readers -= 1
            self.bell.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        with self.bell:
            self.waiting += 1
            self.bell.wait_for(self.may_write)
            self.waiting -= 1
            self.writing = True
        try:
            yield
        finally:
            with self.bell:
                self.writing = False
                self.bell.notify_all()


class WritersFirst(Shared):
    """Right, too."""

    writers_first = True

    def may_read(self) -> bool:
        return not self.writing and not self.waiting


class Overtaken(Shared):
    writers_first = True


class WritesOverReaders(Shared):
    def may_write(self) -> bool:
        return not self.writing


class WritesTogether(Shared):
    def may_write(self) -> bool:
        return not self.readers


class ReadersOneByOne(Shared):
    def may_read(self) -> bool:
        return not self.writing and not self.readers


class ReaderTellsNobody(Shared):
    """The last reader that leaves does not wake the writer."""

    def left(self) -> None:
        with self.bell:
            self.readers -= 1


class ReaderKeptByErrors(Shared):
    @contextmanager
    def read(self) -> Iterator[None]:
        with self.bell:
            self.bell.wait_for(self.may_read)
            self.readers += 1
        yield
        self.left()


def maker(name: str) -> Callable[[Any], Any]:
    """What makes one of that name, whatever it uses under the scheduler."""

    def make(runtime: Any) -> Any:
        return globals()[name]()

    return instrumented(make, __name__)


def token(runtime: Any) -> Token:
    return Token()


def kept_by_errors(runtime: Any) -> KeptByErrors:
    return KeptByErrors()


def real(runtime: Any) -> Any:
    return threading.Lock()


def recursive(runtime: Any) -> Any:
    return threading.RLock()
