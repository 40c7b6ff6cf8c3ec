"""The semaphore before the search: how many are let in, in which order, and past whom."""

from __future__ import annotations

from collections.abc import Callable

from cidx_ref.daemon.semaphore import FairSemaphore
from cidx_ref.runtime import Event
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.scheduler import Scheduler

_PATIENCE_S = 0.5


class OnePermit(Scenario):
    """Three want one permit, and none of them takes long."""

    promises = frozenset({"PERF-3"})
    takes_s = 0.0

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.semaphore = FairSemaphore(1, runtime, patience_s=_PATIENCE_S)
        self.began = runtime.monotonic()
        self.inside: list[float] = []
        self.finished = 0

    def _work(self) -> None:
        with self.semaphore.permit():
            now = self.runtime.monotonic()
            assert all(now - since >= _PATIENCE_S for since in self.inside), "two at a time"
            self.inside.append(now)
            self.runtime.sleep(self.takes_s)
            self.inside.remove(now)
        self.finished += 1

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._work, "other": self._work, "third": self._work}

    def check(self) -> None:
        assert self.finished == 3
        assert self.semaphore.free == 1, "permits are lost, or made"
        took = self.runtime.monotonic() - self.began
        assert took <= 2 * self.takes_s, f"somebody waited too long: {took:g} s"


class SlowHolders(OnePermit):
    """Each takes twice as long as the others are patient: none is waited for to its end."""

    promises = frozenset({"RPC-4"})
    takes_s = 2 * _PATIENCE_S


class InOrder(Scenario):
    """Whoever has waited longest is next."""

    promises = frozenset({"PERF-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.came: list[str] = []
        self.went: list[str] = []
        self.all_wait = runtime.event("all wait")
        self.is_taken = runtime.event("taken")
        event = runtime.event

        def noted(name: str) -> Event:
            if name == "permit":  # made by each who has to wait
                self.came.append(runtime.current_thread)
                if len(self.came) == 2:
                    self.all_wait.set()
            return event(name)

        runtime.event = noted  # type: ignore[method-assign, assignment]
        self.semaphore = FairSemaphore(1, runtime)

    def _hold(self) -> None:
        with self.semaphore.permit():
            self.is_taken.set()
            self.all_wait.wait()

    def _work(self) -> None:
        self.is_taken.wait()
        with self.semaphore.permit():
            self.went.append(self.runtime.current_thread)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"holder": self._hold, "one": self._work, "other": self._work}

    def check(self) -> None:
        assert self.went == self.came, "somebody has overtaken another one"
