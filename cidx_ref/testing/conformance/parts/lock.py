"""Locks: whether one keeps others out, and lets them in again.

    def make_lock(runtime):
        return their.Lock()           # instrumented(make_lock, "their.locks"), if it has its own

A lock is a context manager, or has `acquire()` and `release()`; where `acquire` takes a `timeout`,
that is tried, too.  One that has `read()` and `write()`, context managers both, is a lock for
readers and writers; `writers_first = True` on it promises that readers do not overtake a writer
that waits.

Locks have no promises of their own; what is found is said of those that a daemon keeps by its
locks:

- WRITE-1, writers run one at a time: two are never inside, and whoever waits comes in when the lock
  is free, also after an exception or a time-out;
- WRITE-2, queries see no half of a change: readers and a writer are never inside together.  (That
  queries do not wait for a writer is not asked of a lock: it is what it is there for.)
- RPC-4, a slow query delays nobody else: readers are inside together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from cidx_ref.testing.concurrency.instrument import looked_through, modules_of
from cidx_ref.testing.conformance.parts.judging import (
    Broken,
    PartScenario,
    Tally,
    Unusable,
    alone,
    explored,
    not_offered,
    reason,
    refuse_real_locks,
    run_trials,
)
from cidx_ref.testing.ground import Runtime
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["LOCK_PROMISES", "LOCK_SCENARIOS", "check_lock"]

LOCK_PROMISES = ("WRITE-1", "WRITE-2", "RPC-4")
KIND = "lock"

#: `make_lock(runtime)`.
MakeLock = Callable[[Any], Any]
Actors = dict[str, Callable[[], object]]


def check_lock(
    make_lock: MakeLock,
    *,
    deep: bool = False,
    seed: int = 0,
    not_offered: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Judge a lock, or one for readers and writers: see the module.

    One finding for each of `LOCK_PROMISES`.  Nothing that the lock does is raised.
    """
    try:
        with alone() as runtime, looked_through(make_lock, runtime):
            with modules_of(make_lock, runtime):
                asked = AskedLock(make_lock, runtime)
            refuse_real_locks(asked.lock)
            return _judged(make_lock, asked, deep, seed, not_offered or {})
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # `sys.exit` too, which a part's code may use
        return [Finding(p, Verdict.NOT_TRIED, reason(error), KIND) for p in LOCK_PROMISES]


def _judged(
    make_lock: MakeLock, asked: AskedLock, deep: bool, seed: int, declared: Mapping[str, str]
) -> list[Finding]:
    absent = not_offered(asked.lock, declared)
    if "readers" not in asked.has:
        for promise in ("WRITE-2", "RPC-4"):
            absent.setdefault(promise, "needs read() and write(): a lock for readers and writers")
    tally = Tally(KIND, frozenset(absent))
    trials = [
        explored(scenario, make_lock, KIND, deep=deep, seed=seed)
        for scenario in LOCK_SCENARIOS
        if scenario.needs <= asked.has
    ]
    run_trials(tally, trials)
    return tally.results(LOCK_PROMISES, absent)


class AskedLock:
    """A lock, by what it has."""

    def __init__(self, make_lock: MakeLock, runtime: Runtime) -> None:
        self.lock = lock = make_lock(runtime)
        has = set()
        if _all_callable(lock, "read", "write"):
            has |= {"readers", "block"}
        elif _all_callable(lock, "__enter__", "__exit__"):
            has.add("block")
        if "readers" in has and getattr(lock, "writers_first", False):
            has.add("writers first")
        if _all_callable(lock, "acquire", "release"):
            has |= {"acquire"} if "readers" not in has else set()
            if "acquire" in has and _takes_a_timeout(lock.acquire):
                has.add("timeout")
        self.has = frozenset(has)
        if not self.has & {"block", "acquire"}:
            raise Unusable(
                f"{type(lock).__name__} has neither read() and write(), nor acquire() and"
                " release(), nor is it a context manager"
            )

    def exclusive(self) -> AbstractContextManager[object]:
        """Be the only one inside."""
        if "readers" in self.has:
            context: AbstractContextManager[object] = self.lock.write()
            return context
        if "block" in self.has:
            return self.lock  # type: ignore[no-any-return]
        return self.held()

    def shared(self) -> AbstractContextManager[object]:
        """Be inside with other readers."""
        context: AbstractContextManager[object] = self.lock.read()
        return context

    @contextmanager
    def held(self) -> Iterator[None]:
        self.lock.acquire()
        try:
            yield
        finally:
            self.lock.release()


def _all_callable(lock: Any, *names: str) -> bool:
    return all(callable(getattr(lock, name, None)) for name in names)


def _takes_a_timeout(acquire: Callable[..., Any]) -> bool:
    try:
        return "timeout" in inspect.signature(acquire).parameters
    except (TypeError, ValueError):
        return False


class _Raised(Exception):  # noqa: N818
    """What happens within a lock, and is nobody's fault."""


class LockScenario(PartScenario):
    """Threads that meet at a lock; it is known who is inside."""

    promises = frozenset({"WRITE-1"})
    blames = "WRITE-1"

    def set_up(self) -> None:
        self.asked = AskedLock(self.make, self.runtime)
        self.writing: list[str] = []
        self.reading: list[str] = []
        #: Who came in, in that order.
        self.entered: list[str] = []

    def write(self, during: Callable[[], object] = lambda: None) -> None:
        with self.asked.exclusive():
            self.inside(during)

    def inside(self, during: Callable[[], object] = lambda: None) -> None:
        me = self.runtime.current_thread
        if self.writing:
            raise Broken("WRITE-1", f"{me} and {self.writing[0]} were inside together")
        if self.reading:
            raise Broken("WRITE-2", f"a writer came in while {self.reading[0]} was reading")
        self.writing.append(me)
        self.entered.append(me)
        try:
            self.runtime.step("inside")
            during()
        finally:
            self.writing.remove(me)

    def read(self, during: Callable[[], object] = lambda: None) -> None:
        me = self.runtime.current_thread
        with self.asked.shared():
            if self.writing:
                raise Broken("WRITE-2", f"{me} came in to read while {self.writing[0]} was writing")
            self.reading.append(me)
            self.entered.append(me)
            try:
                self.runtime.step("reading")
                during()
            finally:
                self.reading.remove(me)

    def fail(self) -> None:
        raise _Raised


class TwoWriters(LockScenario):
    """Two threads come in, twice each: one at a time, and each of them comes in."""

    def threads(self) -> Actors:
        return {"one": self._twice, "other": self._twice}

    def _twice(self) -> None:
        self.write()
        self.write()


class ThreeWriters(LockScenario):
    """Two wait for the one that is inside: both come in."""

    def threads(self) -> Actors:
        return {"one": self.write, "other": self.write, "third": self.write}


class WriterThatRaises(LockScenario):
    """What is raised within the block comes out of it, and the lock is free."""

    needs = frozenset({"block"})

    def threads(self) -> Actors:
        return {"one": self._raises, "other": self.write}

    def _raises(self) -> None:
        try:
            self.write(self.fail)
        except _Raised:
            self.write()
            return
        raise Broken("WRITE-1", "the lock swallows what is raised within its block")


class WriterThatGivesUp(LockScenario):
    """One waits no longer than it said; then it is not inside, and the lock is as it was."""

    needs = frozenset({"timeout"})

    def threads(self) -> Actors:
        return {"holder": self._hold, "hasty": self._hasty, "patient": self._patient}

    def _hold(self) -> None:
        self.write(lambda: self.runtime.sleep(10.0))

    def _hasty(self) -> None:
        began = self.runtime.time_s
        if self.asked.lock.acquire(timeout=1.0):
            self._inside_and_out()
            return
        waited = self.runtime.time_s - began
        if waited < 1.0:
            raise Broken("WRITE-1", f"gave up after {waited:g} s, and was given 1 s")

    def _patient(self) -> None:
        if not self.asked.lock.acquire(timeout=1000.0):
            raise Broken("WRITE-1", "the lock was free, and who waited for it did not get it")
        self._inside_and_out()

    def _inside_and_out(self) -> None:
        try:
            self.inside()
        finally:
            self.asked.lock.release()

    def verify(self) -> None:
        # By another thread than those that have been at it.
        if not self.asked.lock.acquire(timeout=1.0):
            raise Broken("WRITE-1", "after one had given up, the lock is not free any more")
        self.asked.lock.release()


class ReadersAndWriter(LockScenario):
    """Two readers and a writer: it is alone inside, and all come in."""

    promises = frozenset({"WRITE-1", "WRITE-2"})
    needs = frozenset({"readers"})

    def threads(self) -> Actors:
        return {"reader": self.read, "writer": self.write, "other reader": self.read}


class ReaderAndWriters(ReadersAndWriter):
    def threads(self) -> Actors:
        return {"writer": self.write, "reader": self.read, "other writer": self.write}


class ReaderThatRaises(ReadersAndWriter):
    """What is raised in a reader's block leaves the lock free."""

    def threads(self) -> Actors:
        return {"reader": self._raises, "writer": self.write}

    def _raises(self) -> None:
        with suppress(_Raised):
            self.read(self.fail)
        self.write()


class ReadersMeet(LockScenario):
    """Two readers are inside at the same time: each waits there for the other."""

    promises = frozenset({"RPC-4"})
    blames = "RPC-4"
    needs = frozenset({"readers"})

    def set_up(self) -> None:
        super().set_up()
        self.arrived = {name: self.runtime.event(f"arrival of {name}") for name in ("one", "other")}

    def threads(self) -> Actors:
        return {
            "one": lambda: self.read(lambda: self._meet("one", "other")),
            "other": lambda: self.read(lambda: self._meet("other", "one")),
        }

    def _meet(self, me: str, whom: str) -> None:
        self.arrived[me].set()
        if not self.arrived[whom].wait(60.0):
            raise Broken("RPC-4", "one reader at a time: another one waits until it has left")


class WriterIsNotOvertaken(LockScenario):
    """A writer waits for a reader to leave; a reader that comes later waits for the writer."""

    needs = frozenset({"writers first"})

    def threads(self) -> Actors:
        return {
            "reader": lambda: self.read(lambda: self.runtime.sleep(10.0)),
            "writer": lambda: self._after(1.0, self.write),
            "late reader": lambda: self._after(2.0, self.read),
        }

    def _after(self, seconds: float, enter: Callable[[], object]) -> None:
        self.runtime.sleep(seconds)
        enter()

    def verify(self) -> None:
        if self.entered.index("late reader") < self.entered.index("writer"):
            raise Broken("WRITE-1", "a writer that waits is overtaken by a reader that came later")


LOCK_SCENARIOS: tuple[type[LockScenario], ...] = (
    *(TwoWriters, ThreeWriters, WriterThatRaises, WriterThatGivesUp),
    *(ReadersAndWriter, ReaderAndWriters, ReaderThatRaises, ReadersMeet, WriterIsNotOvertaken),
)
