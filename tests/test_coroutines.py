"""Coroutines are explored: which task goes on is chosen, time is virtual, the rest is asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cidx_ref.testing.concurrency.coroutines import AsyncScenario
from cidx_ref.testing.concurrency.explore import (
    Counterexample,
    NothingExplored,
    exhaustive,
    random_walk,
    replay,
)
from cidx_ref.testing.concurrency.library.faces import Uncontrolled
from cidx_ref.testing.concurrency.scheduler import Deadlock, Livelock, Scheduler

Coroutines = dict[str, Callable[[], Coroutine[Any, Any, object]]]


class Cache:
    """A single-flight cache for tasks, right or with one defect."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.value: int | None = None
        self.loads = 0
        self.lock = asyncio.Lock()
        self.epoch = 0

    async def get(self) -> int:
        if self.defect == "looks and loads":
            return await self.load() if self.value is None else self.value
        async with self.lock:
            return await self.load() if self.value is None else self.value

    async def load(self) -> int:
        self.loads += 1
        epoch, number = self.epoch, self.loads
        await asyncio.sleep(0.1)
        if self.epoch == epoch or self.defect == "stale":
            self.value = number
        return number

    def clear(self) -> None:
        self.epoch += 1
        self.value = None


class TwoGets(AsyncScenario):
    defect = ""

    async def set_up(self) -> None:
        self.cache = Cache(self.defect)

    def coroutines(self) -> Coroutines:
        return {"one": self.cache.get, "other": self.cache.get}

    def check(self) -> None:
        assert self.cache.loads == 1, f"loads: {self.cache.loads}"


class GetAndClear(TwoGets):
    def coroutines(self) -> Coroutines:
        return {"get": self.cache.get, "clear": self._clear}

    async def _clear(self) -> None:
        await asyncio.sleep(0)
        self.begun = self.cache.loads
        self.cache.clear()

    def check(self) -> None:
        assert self.cache.value is None or self.cache.value > self.begun, "stale"


def test_right_code_survives_all_of_its_schedules() -> None:
    assert exhaustive(TwoGets).complete
    assert exhaustive(GetAndClear).complete
    assert random_walk(TwoGets, schedules=20).schedules == 20


def test_a_race_between_tasks_is_found_shown_and_replayed() -> None:
    class Herd(TwoGets):
        defect = "looks and loads"

    class Stale(GetAndClear):
        defect = "stale"

    with pytest.raises(Counterexample, match="loads: 2"):
        exhaustive(Herd)
    with pytest.raises(Counterexample, match="stale") as found:
        exhaustive(Stale)
    assert "goes on in" in found.value.table
    assert "test_coroutines.py:" in found.value.table
    with pytest.raises(Counterexample, match="stale"):
        replay(Stale, found.value.schedule)


class Order(AsyncScenario):
    """What only another order than first come, first served shows."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.order: list[str] = []

    def coroutines(self) -> Coroutines:
        return {name: self._note(name) for name in "abc"}

    def _note(self, name: str) -> Callable[[], Coroutine[Any, Any, object]]:
        async def note() -> None:
            await asyncio.sleep(0)
            self.order.append(name)

        return note


def test_every_order_of_tasks_that_are_ready_is_tried_and_the_loops_own_first() -> None:
    seen: list[str] = []

    class Noted(Order):
        def check(self) -> None:
            seen.append("".join(self.order))

    assert exhaustive(Noted, preemptions=6).complete
    assert seen[0] == "abc"
    assert set(seen) == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_callbacks_keep_their_order() -> None:
    class Callbacks(AsyncScenario):
        seen: list[int]

        async def set_up(self) -> None:
            self.seen = []

        def coroutines(self) -> Coroutines:
            return {"one": self._call, "other": self._idle}

        async def _call(self) -> None:
            for number in range(3):
                asyncio.get_running_loop().call_soon(self.seen.append, number)
            await asyncio.sleep(1)

        async def _idle(self) -> None:
            await asyncio.sleep(0)

        def check(self) -> None:
            assert self.seen == [0, 1, 2]

    assert exhaustive(Callbacks).complete


def test_time_is_virtual_and_time_outs_are_the_loops() -> None:
    class Waits(AsyncScenario):
        def coroutines(self) -> Coroutines:
            return {"one": self._wait}

        async def _wait(self) -> None:
            began = self.runtime.time_s
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 3600)
            async with asyncio.timeout(10):
                await asyncio.sleep(5)
            assert self.runtime.time_s - began == 3605

    assert exhaustive(Waits).complete


def test_a_deadlock_says_where_each_task_waits() -> None:
    class Crossed(AsyncScenario):
        async def set_up(self) -> None:
            self.locks = asyncio.Lock(), asyncio.Lock()

        def coroutines(self) -> Coroutines:
            one, other = self.locks
            return {"one": lambda: self._take(one, other), "other": lambda: self._take(other, one)}

        async def _take(self, first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(0)
                async with second:
                    pass

    with pytest.raises(Counterexample, match=r"one waits where it .*test_coroutines.py") as found:
        exhaustive(Crossed)
    assert isinstance(found.value.error, Deadlock)


def test_a_livelock_ends() -> None:
    class Spins(AsyncScenario):
        max_steps = 200

        def coroutines(self) -> Coroutines:
            return {"one": self._spin}

        async def _spin(self) -> None:
            while True:
                await asyncio.sleep(0)

    with pytest.raises(Counterexample) as found:
        exhaustive(Spins)
    assert isinstance(found.value.error, Livelock)


def test_tasks_that_are_left_are_cancelled_and_what_they_raise_is_not_lost() -> None:
    ended: list[str] = []

    class Leaves(AsyncScenario):
        def coroutines(self) -> Coroutines:
            return {"one": self._leave}

        async def _leave(self) -> None:
            self.task = asyncio.create_task(self._forever())
            await asyncio.sleep(0)

        async def _forever(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

    class Fails(AsyncScenario):
        def coroutines(self) -> Coroutines:
            return {"one": self._call}

        async def _call(self) -> None:
            asyncio.get_running_loop().call_soon(lambda: 1 // 0)
            await asyncio.sleep(1)

    assert exhaustive(Leaves, max_schedules=1).schedules == 1
    assert ended == ["cancelled"]
    with pytest.raises(Counterexample, match="ZeroDivisionError"):
        exhaustive(Fails)


@pytest.mark.parametrize(
    "call",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_unix_connection("/nowhere"),
        lambda: asyncio.create_subprocess_exec("true"),
    ],
)
def test_what_leaves_the_loop_is_refused(call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    class Leaves(AsyncScenario):
        def coroutines(self) -> Coroutines:
            return {"one": call}

    with pytest.raises(Counterexample, match="leaves the loop") as found:
        exhaustive(Leaves)
    assert isinstance(found.value.error, Uncontrolled)


def test_a_scenario_of_no_coroutine_is_refused() -> None:
    class Empty(AsyncScenario):
        def coroutines(self) -> Coroutines:
            return {}

    with pytest.raises(NothingExplored):
        exhaustive(Empty)
