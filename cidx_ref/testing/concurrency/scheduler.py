"""A deterministic scheduler: real threads, exactly one at a time, on virtual time.

Here belongs what runs threads under somebody's orders; which orders are worth giving is for
`explore`.  The `Scheduler` is a `Runtime`, so the code under test is the real one, unchanged.

Every operation of the runtime (a lock, a condition, an event, `monotonic`, a sleep, a `flock`, a
thread, a named `step`) is a *switch point*: the running thread asks the *strategy* who goes on.
Between two points nothing else runs, so a schedule is the list of answers, and the same answers
bring about the same run.  Answer 0 is always "as you were": whoever runs goes on for as long as
it can.  So an empty list is the run with the fewest switches, and every other answer is one
switch, or one fault, more.

Time is virtual.  It stands still while anybody can run; when nobody can, it jumps to the next
deadline; and where there is no deadline either, that is a deadlock, and it is reported who waits
for what.  More than `max_steps` switch points are a livelock.  Whoever sleeps, if only for no time,
lets the others go first.

What is run must take all its locks, clocks and threads from the runtime, and never block anywhere
else: that would be waited for in vain, and is reported after some seconds.

After CHESS (Musuvathi et al., "Finding and Reproducing Heisenbugs in Concurrent Programs", OSDI
2008), where preemption bounding is from; and after trio's clock for tests, where the jump is.
"""

from __future__ import annotations

import fcntl
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.concurrency.primitives import OwnCondition, Owned, OwnEvent, OwnLock
from cidx_ref.testing.concurrency.workers import ThreadPool
from cidx_ref.testing.ground import SYSTEM, Lock

__all__ = [
    "Abort",
    "Blocked",
    "Deadlock",
    "Livelock",
    "Scheduler",
    "Step",
    "Strategy",
    "Task",
    "ThreadPool",
]

#: Real seconds without a step after which a thread must be stuck.
_PATIENCE_S = 20.0
_FLOCK_POLL_S = 0.01
_NEVER = float("inf")


class Deadlock(AssertionError):  # noqa: N818 - its name in the field
    """Nobody can run, and no time that passes will change it.  Says who waits for what."""


class Livelock(AssertionError):  # noqa: N818
    """More steps than a run that ends can need."""


class Blocked(AssertionError):  # noqa: N818
    """A thread waits, or is busy, outside the runtime, where no scheduler can help it."""


class Strategy(Protocol):
    """Who decides."""

    def pick(self, options: int, costs: bool) -> int:
        """One of `options` (2 or more) ways to go on; 0 is the way that changes nothing.

        `costs`: any other way is a preemption or a fault.  Otherwise the running thread cannot go
        on, and every way is a switch that would come anyhow.
        """


class Step(NamedTuple):
    """One switch point: what `thread` was about to do there, and the locks it held."""

    thread: str
    action: str
    holds: tuple[str, ...]


class Abort(BaseException):
    """Unwinds the threads of a run that has failed; nothing may catch it."""


class _Over(BaseException):
    """Stands for an error where there is none: only threads are left that nobody waits for."""


class Scheduler(FakeRuntime):
    """A runtime whose threads take turns as `strategy` says.

    The thread that makes it sets things up, and checks them after `run`; it is alone then, and
    its operations are no switch points.  Threads that it starts run with the next `run`.  After a
    run that failed a scheduler is of no more use.
    """

    def __init__(self, strategy: Strategy, pool: ThreadPool, *, max_steps: int = 5_000) -> None:
        super().__init__()
        self.trace: list[Step] = []
        self.strategy = strategy
        self._pool = pool
        self._max_steps = max_steps
        self._ended = SYSTEM.lock("ended")
        self._main = self._running = Task(self, "main", 0, self._ended)
        self._tasks: list[Task] = []
        self._error: BaseException | None = None
        #: What ended a thread that nobody was told of; it fails the run, when that has ended.
        self.unnoticed: BaseException | None = None

    # For whoever makes a run.

    def run(self, actors: dict[str, Callable[[], object]]) -> None:
        """Run `actors`, each in a thread of its name, until all of them and all that they
        started have ended; but for daemons (`spawn`), which are then unwound.

        Raises what the first of them to fail raised, `Deadlock`, or `Livelock`, and then no thread
        of this run is inside the code any more; or `Blocked`, and then one is.
        """
        if self._error is not None:
            raise RuntimeError("a run has failed: make a new scheduler")
        self.trace.clear()
        self._ended = SYSTEM.lock("ended")
        self._ended.acquire()
        for name, actor in actors.items():
            self.spawn(actor, name)
        if not self._tasks:
            raise ValueError("nobody to run")
        self._running = self._tasks[0]  # which makes those that can run the tasks, and not us
        self._running = self._next(None)
        self._running.baton.release()
        while not self._has_ended():
            pass
        self._running = self._main
        self._tasks.clear()
        if isinstance(self._error, _Over):
            self._error = None
        self._error = self._error or self.unnoticed
        if self._error is not None:
            raise self._error

    @property
    def current_thread(self) -> str:
        """The name of the thread that runs: an actor's, or "main"."""
        return self._running.name

    @property
    def current(self) -> Task:
        """The thread that runs."""
        return self._running

    @property
    def is_unwinding(self) -> bool:
        """The run has failed, or ended: what is still under way is on its way out."""
        return self._error is not None

    @property
    def time_s(self) -> float:
        """The time, without a switch point."""
        return self._time_s

    def branch(self, what: str) -> bool:
        """Whether `what`, a fault for example, happens here: decided as switches are, and it does
        not by default."""
        task = self._running
        if task is self._main or not self.strategy.pick(2, True):
            return False
        self.trace.append(Step(task.name, what, tuple(task.holds)))
        return True

    # For schedulers of something else than threads, within one.

    def choose(self, options: int) -> int:
        """One of so many ways to go on; all but 0 cost."""
        return self.strategy.pick(options, True)

    def passed(self, name: str, action: str) -> None:
        """A switch point of `name`, which is no thread."""
        if self._error is not None:
            raise Abort
        self.trace.append(Step(name, action, ()))
        if len(self.trace) > self._max_steps:
            self._fail(Livelock(f"still at it after {self._max_steps} steps"))

    # The runtime.

    def monotonic(self) -> float:
        self.point("clock")
        return super().monotonic()

    def sleep(self, seconds: float) -> None:
        self.point(f"sleep {seconds:g} s")
        self._running.gives_way = True
        self.block(lambda: False, lambda: f"{seconds:g} s to pass", seconds)

    def flock(self, fd: int, operation: int) -> None:
        while True:
            self.point("flock")
            try:
                fcntl.flock(fd, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if operation & fcntl.LOCK_NB:
                    raise
                self.sleep(_FLOCK_POLL_S)
            else:
                return

    def step(self, name: str) -> None:
        self.point(name)
        super().step(name)

    def lock(self, name: str) -> OwnLock:
        return OwnLock(self, name)

    def condition(self, name: str) -> OwnCondition:
        return OwnCondition(self, name)

    def event(self, name: str) -> OwnEvent:
        return OwnEvent(self, name)

    def thread(self, target: Callable[[], object], name: str) -> Task:
        task = self.spawn(target, name)
        self.point(f"started {name}")
        return task

    def threads(self) -> list[Any]:
        return self._alive()

    # Switching.

    def _is_under_way(self) -> bool:
        return any(not task.is_done for task in self._tasks)

    def _is_needed(self) -> bool:
        return any(not task.is_done and not task.is_daemon() for task in self._tasks)

    def _has_ended(self) -> bool:
        try:
            while self._is_under_way():
                self._wait_for_the_end()
        except Blocked:
            raise
        except BaseException as interruption:  # all the others must unwind first
            self._error = self._error or interruption
            return False
        return True

    def _wait_for_the_end(self) -> None:
        steps = len(self.trace)
        if self._ended.acquire(timeout=_PATIENCE_S) or len(self.trace) > steps:
            return
        self._pool.is_stuck = True
        stuck = self._running
        frame = sys._current_frames().get(stuck.thread_ident or 0)
        where = "".join(traceback.format_stack(frame)[-6:]) if frame else ""
        raise Blocked(f"{stuck.name} is blocked, or busy, outside the runtime:\n{where}")

    def spawn(
        self,
        target: Callable[[], object],
        name: str,
        is_daemon: Callable[[], bool] = lambda: False,
    ) -> Task:
        """A new thread, without a switch point.  A run does not wait for one that `is_daemon()`."""
        worker = self._pool.take()
        task = Task(self, name, len(self._tasks) + 1, worker.baton, worker.thread.ident)
        task.is_daemon = is_daemon
        self._tasks.append(task)

        def job() -> Lock:
            try:
                if self._error is None:
                    target()
            except Abort:
                pass
            except BaseException as error:
                self._error = self._error or error
            task.is_done = True
            self._pool.give_back(worker)
            return self._successor()

        worker.job = job
        return task

    def _successor(self) -> Lock:
        """The baton of whoever goes on when the running thread has ended."""
        if not self._is_under_way():
            return self._ended
        if not self._is_needed():
            self._error = self._error or _Over()
        try:
            self._running = self._next(None)
        except Abort:  # one after the other is woken, to unwind
            self._running = self._alive()[0]
        return self._running.baton

    def point(self, action: str) -> None:
        """A switch point, before `action`."""
        task = self._running
        if task is self._main:
            return
        if self._error is not None:
            raise Abort
        self.trace.append(Step(task.name, action, tuple(task.holds)))
        if len(self.trace) > self._max_steps:
            self._fail(Livelock(f"still at it after {self._max_steps} steps"))
        self._hand_over(task)

    def block(
        self,
        ready: Callable[[], bool],
        waits_for: Callable[[], str],
        timeout: float | None = None,
        lock: Owned | None = None,
    ) -> bool:
        """Go on when `ready()`, True, or when `timeout` has passed, False; but not before `lock`
        is free."""
        task = self._running
        task.wait = _Wait(ready, waits_for, lock)
        if timeout is not None:
            task.wait.deadline = self._time_s + timeout
        try:
            self._hand_over(task)
        finally:
            task.wait = None
            task.gives_way = False
        return ready()

    def _hand_over(self, task: Task) -> None:
        following = self._next(task)
        if following is task:
            return
        self._running = following
        following.baton.release()
        task.baton.acquire()
        if self._error is not None:
            raise Abort

    def _next(self, current: Task | None) -> Task:
        """Who runs next; by default `current`, or else whoever was made first."""
        if self._error is not None:
            raise Abort
        able = self._able()
        if len(able) == 1:
            return able[0]
        can_go_on = current in able and not current.gives_way
        able.sort(key=lambda task: task is not current if can_go_on else task.gives_way)
        return able[self.strategy.pick(len(able), can_go_on)]

    def _able(self) -> list[Task]:
        while True:
            alive = self._alive()
            able = [task for task in alive if task.wait is None or task.wait.is_over(self._time_s)]
            if able:
                return able
            if self._running is not self._main and not self._is_needed():
                self._fail(_Over())
            deadlines = [task.wait.deadline for task in alive if task.wait is not None]
            # One that has come, and yet the thread cannot run: it needs a lock besides.
            ahead = [deadline for deadline in deadlines if self._time_s < deadline < _NEVER]
            if not ahead:
                self._fail(Deadlock("deadlock: " + "; ".join(map(_complaint, alive))))
            self.advance(min(ahead) - self._time_s)

    def _alive(self) -> list[Task]:
        if self._running is self._main:
            return [self._main]
        return [task for task in self._tasks if not task.is_done]

    def _fail(self, error: BaseException) -> None:
        if self._running is self._main:
            raise error
        self._error = error
        raise Abort


class _Wait:
    """What a thread waits for: in code, in words, and until when."""

    __slots__ = ("deadline", "in_words", "lock", "ready")

    def __init__(
        self, ready: Callable[[], bool], in_words: Callable[[], str], lock: Owned | None
    ) -> None:
        self.ready = ready
        self.in_words = in_words
        self.lock = lock
        self.deadline = _NEVER

    def is_over(self, now: float) -> bool:
        is_free = self.lock is None or self.lock.owner is None
        return is_free and (now >= self.deadline or self.ready())


class Task:
    """A thread of the run: what `Runtime.thread` returns."""

    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        number: int,
        baton: Lock,
        thread_ident: int | None = None,
    ) -> None:
        self.name = name
        self.ident: int | None = number
        self.baton = baton
        #: Of the real thread.
        self.thread_ident = thread_ident
        self.is_done = False
        self.is_daemon: Callable[[], bool] = lambda: False
        self.gives_way = False
        self.holds: list[str] = []
        self.wait: _Wait | None = None
        #: What stands for this thread where the code asks for the current one.
        self.face: Any = None
        self._scheduler = scheduler

    def is_alive(self) -> bool:
        self._scheduler.point(f"look at {self.name}")
        return not self.is_done

    def join(self, timeout: float | None = None) -> None:
        self._scheduler.point(f"join {self.name}")
        if not self.is_done:
            self._scheduler.block(lambda: self.is_done, lambda: f"{self.name} to end", timeout)


def _complaint(task: Task) -> str:
    return f"{task.name} waits for {task.wait.in_words() if task.wait else 'nothing'}"
