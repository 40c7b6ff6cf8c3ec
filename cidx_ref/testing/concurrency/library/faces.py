"""Which name of the library stands for what under a scheduler, and which has no stand-in.

Three tables: what is replaced wherever it is found, what is made anew because it was made before
there was a scheduler, and what nothing can be put in the place of, with what to do about it.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import fcntl
import queue
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import Any

from cidx_ref.testing.concurrency.library import clocks, locks, pools, queues, threads
from cidx_ref.testing.concurrency.library.active import active, scheduler
from cidx_ref.testing.concurrency.scheduler import Scheduler

__all__ = [
    "KINDS",
    "Held",
    "Uncontrolled",
    "facade",
    "is_made_before",
    "refusal",
    "remade",
    "replacement",
]


class Held(Exception):  # noqa: N818 - a fact about it, and no fault
    """Something made before cannot be made anew; says why."""


class Uncontrolled(Exception):  # noqa: N818 - the code's, not an error in it
    """The code uses what no scheduler can hold still.  One line for each such thing."""


def _flock(file: Any, operation: int) -> None:
    scheduler().flock(file if isinstance(file, int) else int(file.fileno()), operation)


def _lockf(*args: Any) -> None:
    raise Uncontrolled(
        "fcntl.lockf: such a lock is the process's, so threads cannot stand for processes: race"
        " real ones (`check_claim` does)"
    )


_CLOCKS: dict[str, dict[str, Any]] = {
    "time": clocks.TIME,
    "datetime": {"datetime": clocks.DateTime, "date": clocks.Date},
}

_THREADS: dict[str, dict[str, Any]] = {
    "threading": {
        "Lock": locks.Lock,
        "RLock": locks.RLock,
        "Condition": locks.Condition,
        "Event": locks.Event,
        "Semaphore": locks.Semaphore,
        "BoundedSemaphore": locks.BoundedSemaphore,
        "Barrier": locks.Barrier,
        "Thread": threads.Thread,
        "Timer": threads.Timer,
        "local": threads.Local,
        "current_thread": threads.current_thread,
        "get_ident": threads.get_ident,
        "get_native_id": threads.get_ident,
        "enumerate": threads.live,
        "active_count": threads.active_count,
    },
    "queue": {
        "Queue": queues.Queue,
        "LifoQueue": queues.LifoQueue,
        "PriorityQueue": queues.PriorityQueue,
        "SimpleQueue": queues.SimpleQueue,
    },
    "concurrent.futures": {
        "Future": pools.Future,
        "ThreadPoolExecutor": pools.ThreadPoolExecutor,
        "wait": pools.wait,
        "as_completed": pools.as_completed,
    },
    "concurrent.futures.thread": {"ThreadPoolExecutor": pools.ThreadPoolExecutor},
    "fcntl": {"flock": _flock, "lockf": _lockf},
}

#: By the module that it is in: what it does, and what can be done about that.
_REFUSED: dict[str, tuple[str, str]] = {
    "_thread": ("makes locks and threads below `threading`", "use `threading`"),
    "asyncio": (
        "runs tasks in a loop of its own",
        "explore coroutines with `AsyncScenario`, and code that mixes both in two parts",
    ),
    "concurrent.futures.process": (
        "runs code in other processes",
        "explore what one process does; `check_claim` races processes",
    ),
    "multiprocessing": (
        "runs code in other processes",
        "explore what one process does; `check_claim` races processes",
    ),
    "sched": ("keeps the real clock from when it was made", "give it the runtime's"),
    "select": ("waits in the kernel", "give the code something else to wait for"),
    "selectors": ("waits in the kernel", "give the code something else to wait for"),
    "signal": ("comes between any two instructions", "call the handler as an actor"),
    "socket": ("waits in the kernel", "give the code a fake connection, with steps of the runtime"),
    "socketserver": ("waits in the kernel", "call its handlers as actors"),
    "subprocess": ("waits for another process", "give the code a fake of the command"),
}


class _Face(ModuleType):
    """A module with some names of its own; all others are those of the library's module."""

    def __init__(self, real: ModuleType, names: dict[str, Any]) -> None:
        super().__init__(real.__name__, real.__doc__)
        self.__dict__.update(names)
        self.__dict__["_real"] = real

    def __getattr__(self, name: str) -> Any:
        if name == "excepthook" and self.__name__ == "threading":
            return active().excepthook or threading.excepthook
        value = getattr(self.__dict__["_real"], name)
        return _FACES.get(id(value), value)

    def __setattr__(self, name: str, value: Any) -> None:
        if (self.__name__, name) != ("threading", "excepthook"):
            raise AttributeError(f"{self.__name__}.{name} is not to be set here")
        active().excepthook = value


_REAL: dict[str, ModuleType] = {
    module.__name__: module
    for module in (
        *(concurrent.futures, concurrent.futures.thread, datetime, fcntl, queue, threading, time),
    )
}
#: By the identity of what is replaced.
_FACES: dict[int, _Face] = {}
_BY_CLOCK: dict[int, Any] = {}
_BY_SCHEDULER: dict[int, Any] = {}

for _table, _known in ((_CLOCKS, _BY_CLOCK), (_THREADS, _BY_SCHEDULER)):
    for _in, _names in _table.items():
        _real = _REAL[_in]
        _known.update({id(getattr(_real, name)): ours for name, ours in _names.items()})
        _FACES[id(_real)] = _known[id(_real)] = _Face(_real, _names)
_BY_SCHEDULER[id(sys.modules["concurrent"])] = _Face(
    sys.modules["concurrent"], {"futures": _FACES[id(concurrent.futures)]}
)
_BY_SCHEDULER.update(_BY_CLOCK)


def replacement(value: object) -> Any:
    """What stands for `value` of the library under the runtime in force; None: it stays."""
    known = _BY_SCHEDULER if isinstance(active().runtime, Scheduler) else _BY_CLOCK
    return known.get(id(value))


def facade(module: ModuleType) -> ModuleType:
    """`module`, or what stands for it."""
    found: ModuleType | None = replacement(module)
    return module if found is None else found


def refusal(value: object) -> tuple[str, str, str] | None:
    """Of what nothing can stand for: its module, what it does, and what to do about that."""
    if not isinstance(active().runtime, Scheduler):
        return None
    name = _module(value)
    while name and name not in _REFUSED:
        name = name.rpartition(".")[0]
    return (name, *_REFUSED[name]) if name else None


def _module(value: object) -> str:
    """Where `value` comes from; "" of what only is a name: constants, and kinds of errors."""
    if isinstance(value, ModuleType):
        return value.__name__
    is_error = isinstance(value, type) and issubclass(value, BaseException)
    if is_error or isinstance(value, (Enum, str, int)):
        return ""
    name = value.__module__ if callable(value) else type(value).__module__
    return {"_socket": "socket", "_signal": "signal"}.get(str(name), str(name))


# What was made at import.


def _lock(real: Any, again: Callable[[Any], Any]) -> locks.Lock:
    if real.locked():
        raise Held("it is held")
    return locks.Lock()


def _rlock(real: Any, again: Callable[[Any], Any]) -> locks.RLock:
    if not real.acquire(False):
        raise Held("it is held")
    is_held = real._is_owned() and "count=1" not in repr(real)
    real.release()
    if is_held:
        raise Held("it is held")
    return locks.RLock()


def _condition(real: Any, again: Callable[[Any], Any]) -> locks.Condition:
    return locks.Condition(again(real._lock))


def _event(real: Any, again: Callable[[Any], Any]) -> locks.Event:
    made = locks.Event()
    made._flag = real.is_set()
    return made


def _semaphore(real: Any, again: Callable[[Any], Any]) -> locks.Semaphore:
    return locks.Semaphore(real._value)


def _bounded(real: Any, again: Callable[[Any], Any]) -> locks.Semaphore:
    made = locks.BoundedSemaphore(real._initial_value)
    made._value = real._value
    return made


def _barrier(real: Any, again: Callable[[Any], Any]) -> locks.Barrier:
    if real.n_waiting or real.broken:
        raise Held("it is in use")
    return locks.Barrier(real.parties, real._action, real._timeout)


def _queue(real: Any, again: Callable[[Any], Any]) -> queues.Queue:
    made: queues.Queue = getattr(queues, type(real).__name__)(real.maxsize)
    made.queue = real.queue.copy()
    made.unfinished_tasks = real.unfinished_tasks
    return made


def _simple_queue(real: Any, again: Callable[[Any], Any]) -> queues.SimpleQueue:
    made = queues.SimpleQueue()
    made._items.extend(real.get_nowait() for _ in range(real.qsize()))
    for item in made._items:
        real.put(item)
    return made


def _executor(real: Any, again: Callable[[Any], Any]) -> pools.ThreadPoolExecutor:
    if real._threads:
        raise Held("it has started threads")
    made = pools.ThreadPoolExecutor(real._max_workers, real._thread_name_prefix)
    made._initializer = getattr(real, "_initializer", None)
    made._initargs = getattr(real, "_initargs", ())
    return made


def _local(real: Any, again: Callable[[Any], Any]) -> threads.Local:
    made = threads.Local()
    made.__dict__.update(real.__dict__)
    return made


def _never(real: Any, again: Callable[[Any], Any]) -> Any:
    raise Held("it cannot be made anew")


_REMADE: dict[type, Callable[[Any, Callable[[Any], Any]], Any]] = {
    type(threading.Lock()): _lock,
    type(threading.RLock()): _rlock,
    threading.Condition: _condition,
    threading.Event: _event,
    threading.Semaphore: _semaphore,
    threading.BoundedSemaphore: _bounded,
    threading.Barrier: _barrier,
    threading.local: _local,
    threading.Thread: _never,
    threading.Timer: _never,
    queue.Queue: _queue,
    queue.LifoQueue: _queue,
    queue.PriorityQueue: _queue,
    queue.SimpleQueue: _simple_queue,
    concurrent.futures.ThreadPoolExecutor: _executor,
    concurrent.futures.Future: _never,
}
#: Of each of these classes a value is, or holds, a lock of the library.
KINDS = tuple(_REMADE)


def is_made_before(value: object) -> bool:
    """It is a lock, or something else of the library that has one in it."""
    return isinstance(active().runtime, Scheduler) and isinstance(value, KINDS)


def remade(value: Any, again: Callable[[Any], Any]) -> Any:
    """The same as `value`, under the scheduler; `again` is for what it is made of.

    Raises `Held`."""
    make = _REMADE.get(type(value))
    if make is None:
        raise Held("it is of a class of its own")
    return make(value, again)
