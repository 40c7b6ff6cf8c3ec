"""Coroutines under the explorers: an event loop on virtual time, whose next task is chosen.

    class Herd(AsyncScenario):
        def coroutines(self):
            return {"one": self.get, "other": self.get}

What is chosen is which of the tasks that could go on does so, and nothing else: a task runs from
one `await` that waits to the next, as in any loop.  Answer 0 is the loop's own order, first come,
first served; every other answer costs, as a preemption does.  Callbacks of no task keep their
order.  Time jumps to the next timer when no task can go on; where there is none, that is a
deadlock, and it is reported where each task waits.

Not covered, and refused when it is called (`Uncontrolled`): sockets, pipes, other processes,
signals, threads (`to_thread`, `run_in_executor`).  Clocks that the code reads by itself are
instrumented as usual, with `allow=["asyncio"]`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.library.faces import Uncontrolled
from cidx_ref.testing.concurrency.scheduler import Deadlock, Scheduler

__all__ = ["AsyncScenario"]

#: So many callbacks of tasks that are cancelled are run at most, when a run has failed.
_LAST_ROUNDS = 1_000

#: The task that makes the others, and waits for them.
_SCENARIO = "scenario"

#: What the loop of the library has, and this one has not.
_REFUSED = (
    *("run_in_executor", "subprocess_exec", "subprocess_shell", "create_connection"),
    *("create_server", "create_unix_connection", "create_unix_server", "connect_accepted_socket"),
    *("create_datagram_endpoint", "connect_read_pipe", "connect_write_pipe", "getaddrinfo"),
    *("sock_recv", "sock_sendall", "sock_connect", "sock_accept", "add_reader", "add_writer"),
    *("add_signal_handler", "getnameinfo", "start_tls", "sendfile"),
)


class AsyncScenario(Scenario):
    """Some coroutines that meet in one event loop.  Made anew for every schedule.

    As in a `Scenario`, `check` says what must hold when all have ended, and may raise
    `AssertionError`.  Tasks that the coroutines leave behind are cancelled.
    """

    def coroutines(self) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
        """Those that meet, by name.  One that raises breaks the scenario."""
        raise NotImplementedError

    async def set_up(self) -> None:
        """What is done in the loop before they begin."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"event loop": self._run}

    def _run(self) -> None:
        loop = _Loop(self.runtime)
        try:
            loop.run_until_complete(loop.create_task(self._together(), name=_SCENARIO))
            if loop.failure is not None:
                raise loop.failure
        finally:
            loop.unwind()
            loop.close()

    async def _together(self) -> None:
        await self.set_up()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(make(), name=name) for name, make in self.coroutines().items()]
        await asyncio.gather(*tasks)


class _Loop(asyncio.BaseEventLoop):
    """What `asyncio.BaseEventLoop` leaves to its subclasses, without any operating system."""

    # Of the base class, as it has been since Python 3.4.
    _ready: Any
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__()
        self._runtime = runtime
        #: What a task raised that nobody asks.
        self.failure: BaseException | None = None
        self.set_exception_handler(self._note)
        # The one in Python: of the one in C a callback does not say which task it is of.
        self.set_task_factory(lambda loop, coroutine, **options: _task(loop, coroutine, options))
        for name in _REFUSED:
            setattr(self, name, _refusing(name))

    def time(self) -> float:
        return self._runtime.time_s

    def unwind(self) -> None:
        """Let the tasks that are left end, whatever they do then."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        for _ in range(_LAST_ROUNDS):
            if not self._ready:
                break
            self._ready.popleft()._run()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def _run_once(self) -> None:
        self._take_timers()
        if self._ready:
            handle = self._next()
            if not handle.cancelled():
                handle._run()
        elif self._scheduled:
            self._runtime.sleep(max(0.0, self._scheduled[0].when() - self.time()))
        else:
            raise Deadlock("deadlock: " + "; ".join(sorted(map(_complaint, self._waiting()))))

    def _take_timers(self) -> None:
        while self._scheduled:
            timer = self._scheduled[0]
            if not timer.cancelled() and timer.when() > self.time():
                return
            heapq.heappop(self._scheduled)
            timer._scheduled = False
            if timer.cancelled():
                self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)
            else:
                self._ready.append(timer)

    def _next(self) -> Any:
        first = _task_of(self._ready[0])
        if first is None:
            return self._ready.popleft()
        found: dict[Any, Any] = {}
        for handle in self._ready:
            task = _task_of(handle)
            if task is not None and not handle.cancelled():
                found.setdefault(task, handle)
        task, handle = first, self._ready[0]
        if len(found) > 1:
            task, handle = list(found.items())[self._runtime.choose(len(found))]
        self._ready.remove(handle)
        if task.get_name() != _SCENARIO:
            self._runtime.passed(task.get_name(), _where(task))
        return handle

    def _waiting(self) -> list[asyncio.Task[Any]]:
        return [t for t in asyncio.all_tasks(self) if not t.done() and t.get_name() != _SCENARIO]

    def _note(self, loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and self.failure is None:
            self.failure = error

    # Nothing comes from outside.

    def _process_events(self, events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _task(loop: Any, coroutine: Any, options: dict[str, Any]) -> Any:
    return asyncio.tasks._PyTask(coroutine, loop=loop, **options)  # type: ignore[attr-defined]


def _task_of(handle: Any) -> Any:
    owner = getattr(handle._callback, "__self__", None)
    return owner if isinstance(owner, asyncio.tasks._PyTask) else None  # type: ignore[attr-defined]


def _where(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack(limit=1)
    if not stack:
        return "goes on"
    frame = stack[-1]
    place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    return f"goes on in {frame.f_code.co_name}, {place}"


def _complaint(task: asyncio.Task[Any]) -> str:
    return f"{task.get_name()} waits where it {_where(task)}"


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise Uncontrolled(
            f"asyncio: {name} leaves the loop, where no scheduler can help: give the code a fake of"
            " what it waits for there"
        )

    return refuse
