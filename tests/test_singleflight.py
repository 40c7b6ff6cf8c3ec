"""What many ask for at once is done once for all who wait, and never before they came."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.daemon.singleflight import SingleFlight
from cidx_ref.index.ours import OurIndex
from cidx_ref.runtime import SYSTEM, Condition, Runtime, get_ident
from cidx_ref.testing import Scenario, exhaustive
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.fixtures import MakeProject, build


class Askers(Scenario):
    """Three ask at once: one call at a time, and each answer is of one that began afterwards."""

    fails_first = False

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.now = self.under_way = self.calls = 0
        self.shared = SingleFlight(self._work, runtime)

    def _work(self) -> int:
        self.under_way += 1
        assert self.under_way == 1, "two at a time"
        self.calls += 1
        self.now += 1
        began = self.now
        self.runtime.step("works")
        self.under_way -= 1
        if self.fails_first and self.calls == 1:
            raise OSError("the first one fails")
        return began

    def _ask(self) -> None:
        self.now += 1
        came = self.now
        try:
            began = self.shared()
        except OSError:
            assert self.fails_first
            self.fails_first = False
            return
        assert began > came, f"asked at {came}, answered from {began}"

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._ask, "other": self._ask, "third": self._ask}

    def check(self) -> None:
        assert self.calls <= 3


class WithAFailure(Askers):
    """The first call fails: its caller is told, and the others have an answer."""

    fails_first = True


@pytest.mark.once
@pytest.mark.promise("RPC-4")
@pytest.mark.parametrize("scenario", [Askers, WithAFailure], ids=lambda s: s.__name__)
def test_one_at_a_time_and_never_from_before_the_call(scenario: type[Scenario]) -> None:
    assert exhaustive(scenario, max_schedules=20_000).schedules > 100


class CountsWaiting(Runtime):
    """The real thing, which notes who begins to wait for a call of others."""

    def __init__(self) -> None:
        self.waiting: list[int] = []

    def condition(self, name: str) -> Condition:
        condition = super().condition(name)
        if name == "single flight":
            wait = condition.wait

            def noted(timeout: float | None = None) -> bool:
                self.waiting.append(get_ident())
                return wait(timeout)

            condition.wait = noted  # type: ignore[method-assign]
        return condition


@pytest.mark.promise("RPC-4")
def test_many_diagnoses_read_the_files_twice_at_most(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    build(project)
    runtime = CountsWaiting()
    begun, go_on = SYSTEM.event("begun"), SYSTEM.event("go on")
    looks = []
    look = OurIndex.check

    def slow(self: OurIndex) -> dict[str, object]:
        looks.append(1)
        begun.set()
        assert go_on.wait(30.0)
        return look(self)

    monkeypatch.setattr(OurIndex, "check", slow)
    service = CIDXDaemonService(project.root, runtime=runtime)
    said: list[dict[str, object]] = []
    askers = [
        SYSTEM.thread(lambda: said.append(service.exposed_get_diagnostics()), f"asker {n}")
        for n in range(20)
    ]
    assert begun.wait(30.0)
    deadline = SYSTEM.monotonic() + 30.0
    # Nobody is on the way to it: who came after the first call would have one more.
    while len(runtime.waiting) < len(askers) - 1:
        assert SYSTEM.monotonic() < deadline, "not all of them wait"
        SYSTEM.sleep(0.001)
    go_on.set()
    for asker in askers:
        asker.join(30.0)
    assert len(said) == len(askers)
    assert len(looks) == 2, "each has the files read for itself"
