"""A module that gets at locks, threads and clocks in every way there is: for `test_instrument`."""

from __future__ import annotations

import datetime as dt
import functools
import queue
import threading
import threading as t
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock, Timer
from time import monotonic
from time import sleep as nap
from typing import Any

LOCK = threading.Lock()
READY = threading.Condition(LOCK)
FLAG = t.Event()
FLAG.set()
JOBS: queue.Queue[int] = queue.Queue(2)
JOBS.put(7)
POOL = futures.ThreadPoolExecutor(1)
LOCKS = {"a": threading.RLock(), "many": [threading.Semaphore(3)]}
BIRTH = datetime(2020, 1, 2, 3, 4, 5)
count = 0
seen: list[object] = []


class Cache:
    """Clocks as a default argument, as a class's attribute, and of the instance."""

    shared = threading.Lock()
    tick: Any = time.monotonic

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.lock = Lock()

    def now(self, *, other: Callable[[], float] = monotonic) -> tuple[float, float, float]:
        return self.clock(), self.tick(), other()


DEFAULT = Cache()


class Slotted:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = threading.Lock()


SLOTTED = Slotted()


@dataclass
class Record:
    lock: Any = field(default_factory=threading.Lock)
    made: float = field(default_factory=time.monotonic)


def _locked(call: Callable[[], Any]) -> Callable[[], Any]:
    lock = threading.Lock()

    @functools.wraps(call)
    def locked() -> Any:
        with lock:
            return call()

    return locked


@_locked
def add() -> None:
    global count
    before = count
    time.sleep(1)
    count = before + 1
    seen.append(before)


class Worker(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        nap(3)
        add()


class Jobs(queue.Queue[int]):
    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.queue.append(1)


def dates() -> tuple[Any, ...]:
    return datetime.now(), dt.datetime.now(), date.today(), datetime.utcnow(), datetime.today()


def is_date(value: object) -> bool:
    return isinstance(value, datetime) and isinstance(value, dt.date)


def later(seconds: float, call: Callable[[], object]) -> Timer:
    timer = Timer(seconds, call)
    timer.start()
    return timer
