"""Hypothesis state machines over the cache: anything, in any order, against a model.

`CacheMachine` does one thing at a time, and its model knows to the load what must be in memory.
`ConcurrentCacheMachine` does several at once, in a schedule that Hypothesis draws too, and accepts
whatever some order of them explains.  Run one with `hypothesis.stateful.run_state_machine_as_test`
or take its `TestCase`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cidx_ref.errors import IndexUnusableError
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.concurrency.explore import Script, schedules
from cidx_ref.testing.concurrency.history import History, final_states
from cidx_ref.testing.concurrency.scheduler import Scheduler, ThreadPool
from cidx_ref.testing.conformance.parts.models import CacheState, cache_model
from cidx_ref.testing.own.fake_index import CacheRig, FakeSnapshot

__all__ = ["CacheMachine", "ConcurrentCacheMachine"]

TTL_S = 600.0


class CacheMachine(RuleBasedStateMachine):
    """Queries, failing loads, failing queries, long queries, clears, publishes, checks and time.

    The model: which load is cached and when it was last used, which loads are in use, how many
    there were.  CACHE-1 to CACHE-8, TTL-1 to TTL-3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runtime = FakeRuntime()
        self.fails_next = False
        self.rig = CacheRig(self.runtime, ttl_s=TTL_S, fails=self._fails)
        # The model.
        self.now = 0.0
        self.loads = 0
        self.cached: FakeSnapshot | None = None
        self.used_at = 0.0
        self.open: list[tuple[FakeSnapshot, AbstractContextManager[FakeSnapshot]]] = []

    def _fails(self) -> bool:
        fails, self.fails_next = self.fails_next, False
        return fails

    def _is_warm(self) -> bool:
        return self.cached is not None and self.cached.generation == self.rig.source.live

    def _must_answer(self, snapshot: FakeSnapshot) -> None:
        """`snapshot` is what was cached, or where nothing usable was, the next load."""
        if not self._is_warm():
            self.loads += 1
            assert snapshot.number == self.loads, "not a new load"
            self.cached = snapshot
        assert snapshot is self.cached, f"{snapshot} is not what is cached"
        assert snapshot.generation == self.rig.source.live, f"{snapshot} is not live"
        self.used_at = self.now

    @rule()
    def query(self) -> None:
        self._must_answer(self.rig.query())

    @rule(seconds=st.sampled_from([1.0, TTL_S - 1, TTL_S, 2 * TTL_S]))
    def query_that_takes(self, seconds: float) -> None:
        """Meanwhile the cache is checked, and must not be evicted (TTL-2)."""

        def wait_and_check() -> None:
            self.runtime.advance(seconds)
            assert not self.rig.cache.evict_expired(), "evicted in use"

        snapshot = self.rig.query(wait_and_check)
        self._must_answer(snapshot)
        self.now += seconds
        self.used_at = self.now

    @rule()
    def query_that_fails(self) -> None:
        """A query error leaves the cache as it was (CACHE-6)."""

        def fail() -> None:
            raise ZeroDivisionError

        try:
            self.rig.query(fail)
        except ZeroDivisionError:
            self._must_answer(self.rig.query())
        else:
            raise AssertionError("the error was swallowed")

    @precondition(lambda self: not self._is_warm())
    @rule()
    def load_that_fails(self) -> None:
        """It is reported, and changes nothing (CACHE-2)."""
        self.fails_next = True
        self.loads += 1
        try:
            self.rig.query()
        except IndexUnusableError:
            return
        raise AssertionError("the load failed, and the query did not")

    @precondition(lambda self: len(self.open) < 3)
    @rule()
    def begin_query(self) -> None:
        context = self.rig.cache.pin()
        snapshot = context.__enter__()
        self._must_answer(snapshot)
        self.open.append((snapshot, context))

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 2))
    def end_query(self, number: int) -> None:
        snapshot, context = self.open.pop(number % len(self.open))
        snapshot.search()
        context.__exit__(None, None, None)
        if snapshot is self.cached:
            self.used_at = self.now

    @rule()
    def clear(self) -> None:
        assert self.rig.cache.clear() == (self.cached is not None)
        self.cached = None

    @rule()
    def publish(self) -> None:
        """By the daemon's own index run or another process's: the cache is not told (CACHE-8)."""
        self.rig.source.publish()

    @rule(
        succeeds=st.booleans(),
        meanwhile=st.sampled_from(["nothing", "query", "clear", "failing load"]),
        at_once=st.booleans(),
    )
    def index_run(self, succeeds: bool, meanwhile: str, at_once: bool) -> None:
        """Of the daemon itself: it has loaded what it publishes, and no query has to (PERF-5).

        `meanwhile`: what happens between that load and the publish; `at_once`: a query comes
        before the run has ended.
        """
        warm = self.cached
        self.fails_next = warm is not None and meanwhile == "failing load"
        with self.rig.succession.prepared() as prepare:
            prepare(self.rig.source.seal())
            self.loads += warm is not None
            if meanwhile in ("query", "clear"):
                getattr(self, meanwhile)()
            if succeeds:
                self.rig.source.publish()
            is_ready = succeeds and warm is not None and self.cached is warm
            if is_ready and meanwhile != "failing load":
                self.cached = self.rig.source.snapshots[-1]  # as old as the one before
            if at_once:
                self.query()
        self.rig.source.sealed = ""

    @rule()
    def check(self) -> None:
        """The eviction thread's tick (TTL-1)."""
        in_use = any(snapshot is self.cached for snapshot, _ in self.open)
        is_due = self.now - self.used_at >= TTL_S and not in_use
        evicted = self.rig.cache.evict_expired()
        age = self.now - self.used_at
        assert evicted == (self.cached is not None and is_due), (
            f"{age} s old: is it due? {is_due}; evicted: {evicted}"
        )
        if is_due:
            self.cached = None

    @rule(seconds=st.sampled_from([0.5, TTL_S / 2, TTL_S]))
    def time_passes(self, seconds: float) -> None:
        self.runtime.advance(seconds)
        self.now += seconds

    @rule(seconds=st.sampled_from([-0.5, 0.0, 0.5]))
    def check_at_the_ttl(self, seconds: float) -> None:
        """Just before it, at it, or just after."""
        self.time_passes(max(0.0, self.used_at + TTL_S + seconds - self.now))
        self.check()

    @rule(seconds=st.sampled_from([-7200.0, 3600.0]))
    def wall_clock_is_set(self, seconds: float) -> None:
        """Which changes nothing (TTL-3)."""
        self.runtime.step_wall_clock(seconds)

    @invariant()
    def memory_holds_what_the_model_says(self) -> None:
        assert self.rig.cached is self.cached, f"{self.rig.cached} is cached, not {self.cached}"
        assert len(self.rig.source.begun) == self.loads, f"loads: {self.rig.source.begun}"
        in_use = [snapshot for snapshot, _ in self.open]
        for snapshot in self.rig.source.snapshots:
            is_needed = snapshot is self.cached or snapshot in in_use
            assert snapshot.closed == (not is_needed), f"{snapshot}: closed {snapshot.closed}"
        assert self.rig.freed == sum(s.closed for s in self.rig.source.snapshots)
        assert [name for name, _ in self.rig.events].count("load") == len(self.rig.source.snapshots)

    def teardown(self) -> None:
        for _, context in self.open:
            context.__exit__(None, None, None)
        self.rig.check_nothing_is_left()


_OPERATIONS = st.sampled_from(["query", "query", "query", "publish", "index", "clear", "evict"])


class ConcurrentCacheMachine(RuleBasedStateMachine):
    """Two or three operations at a time, switched between as Hypothesis likes.

    Which of several orders explains the answers may stay open, so the model is a set of states.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = ThreadPool()
        self.runtime = Scheduler(Script({}), self.pool)
        self.rig = CacheRig(self.runtime, ttl_s=TTL_S, fails=self._fails)
        self.states = {CacheState(self.rig.source.live)}

    def _fails(self) -> bool:
        return self.runtime.branch("the load fails")

    @rule(
        operations=st.lists(_OPERATIONS, min_size=2, max_size=3),
        # More often than not the first thread goes on through its twenty decisions and more.
        schedule=schedules(40, ways=2),
    )
    def at_once(self, operations: list[str], schedule: dict[int, int]) -> None:
        history = History()
        self.runtime.strategy = Script(schedule)
        do: dict[str, Callable[[], Any]] = {
            "query": self.rig.answer,
            "publish": self.rig.publish,
            "index": self.rig.index,
            "clear": self.rig.cache.clear,
            "evict": self.rig.cache.evict_expired,
        }
        actors = {
            f"{name} {number}": self._recorded(history, f"{name} {number}", name, do[name])
            for number, name in enumerate(operations)
        }
        self.runtime.run(actors)
        self.rig.check_nothing_is_left()
        states = final_states(history.operations, self.states, cache_model)
        assert states, "not linearizable: " + "; ".join(map(str, history.operations))
        self.states = states

    @rule()
    def the_ttl_passes(self) -> None:
        self.runtime.advance(TTL_S)

    @invariant()
    def the_cache_is_in_one_of_the_states(self) -> None:
        cached = self.rig.cached
        is_live = cached is not None and cached.generation == self.rig.source.live
        number = cached.number if cached is not None and is_live else None
        assert any(state.cached == number for state in self.states), (cached, self.states)

    @staticmethod
    def _recorded(
        history: History, thread: str, name: str, do: Callable[[], Any]
    ) -> Callable[[], Any]:
        return lambda: history.call(thread, name, do)

    def teardown(self) -> None:
        self.pool.__exit__()
