"""The cache: loaded once, shared, never stale, never closed under anybody (CACHE-1 to CACHE-8).

The source is a fake one whose loads can be held open, so that each race is brought about and not
waited for; only the memory test has a real index.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.daemon.cache import IndexCache
from cidx_ref.errors import GenerationGone, IndexUnusableError, NoIndexError
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Event
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.promises.report import RecordFigure

_PATIENCE_S = 30.0
_TTL_S = 600.0


class _Snapshot:
    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.closed = 0
        self.close_error: Exception | None = None

    def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class _Hold:
    """A load that has begun and goes on when it is told to."""

    def __init__(self) -> None:
        self.began = SYSTEM.event("began")
        self.go = SYSTEM.event("go")


class _Source:
    """An index whose generations are words.  Loads take what `holds` and `errors` have for them."""

    def __init__(self) -> None:
        self.live: str | None = "g1"
        self.loads: list[str] = []
        self.snapshots: list[_Snapshot] = []
        self.holds: list[_Hold] = []
        self.errors: list[BaseException] = []
        self.after_reading: Callable[[], object] = lambda: None

    def hold_next_load(self) -> _Hold:
        hold = _Hold()
        self.holds.append(hold)
        return hold

    def current(self) -> str:
        live = self.live
        hook, self.after_reading = self.after_reading, lambda: None
        hook()
        if live is None:
            raise NoIndexError("none")
        return live

    def load(self, generation: str) -> _Snapshot:
        self.loads.append(generation)
        if self.holds:
            hold = self.holds.pop(0)
            hold.began.set()
            _await(hold.go)
        if self.errors:
            raise self.errors.pop(0)
        self.snapshots.append(_Snapshot(generation))
        return self.snapshots[-1]


class _Condition:
    """The cache's lock and queue, watched."""

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime
        self._inner: Any = SYSTEM.condition("cache")

    def __enter__(self) -> object:
        if not self._inner.acquire(blocking=False):
            self._runtime.contended.set()
            self._inner.acquire()
        return self

    def __exit__(self, *details: object) -> None:
        self._inner.release()

    def wait(self, timeout: float | None = None) -> bool:
        self._runtime.one_waits()
        if self._runtime.interrupt_before:
            raise KeyboardInterrupt
        assert self._inner.wait(_PATIENCE_S), "nobody told the waiters"
        if self._runtime.interrupt_after:
            raise KeyboardInterrupt
        return True

    def notify_all(self) -> None:
        self._inner.notify_all()


class _Runtime(FakeRuntime):
    """Knows how many threads wait for a load, and interrupts them."""

    def __init__(self) -> None:
        super().__init__()
        self.contended = SYSTEM.event("contended")
        self.interrupt_before = self.interrupt_after = False
        self._waiting = 0
        self._arrived = SYSTEM.condition("arrived")

    def condition(self, name: str) -> Any:
        return _Condition(self)

    def one_waits(self) -> None:
        with self._arrived:
            self._waiting += 1
            self._arrived.notify_all()

    def until_waiting(self, count: int) -> None:
        """Until `count` threads wait.  Each holds the cache's lock till it really does."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._waiting >= count, _PATIENCE_S)


class _Rig:
    """A cache, its source and what it told."""

    def __init__(self) -> None:
        self.source = _Source()
        self.runtime = _Runtime()
        self.events: list[tuple[str, str]] = []
        self.seconds: dict[str, float] = {}
        self.after_telling: dict[str, Callable[[], object]] = {}
        self.freed = 0
        self.cache: IndexCache[_Snapshot] = IndexCache(
            "project",
            self.source,
            ttl_minutes=_TTL_S / 60,
            runtime=self.runtime,
            listener=self.listen,
            on_free=self.free,
        )

    def listen(self, event: str, generation: str, seconds: float = 0.0) -> None:
        self.events.append((event, generation))
        self.seconds[event] = seconds
        self.after_telling.get(event, lambda: None)()

    def free(self) -> None:
        self.freed += 1

    def counts(self) -> Counter[str]:
        return Counter(event for event, _ in self.events)

    def ask(self) -> _Snapshot:
        with self.cache.pin() as snapshot:
            assert not snapshot.closed
            return snapshot

    def fail_to_ask(self) -> BaseException:
        with pytest.raises(BaseException) as caught:
            self.ask()
        return caught.value

    @property
    def cached(self) -> str | None:
        entry = self.cache.entry
        return entry.generation if entry is not None else None


class _Worker:
    """A thread, and what came of it."""

    def __init__(self, target: Callable[[], Any], finished: Event | None = None) -> None:
        self._target = target
        self._finished = finished
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = SYSTEM.thread(self._run, "worker")

    def result(self) -> Any:
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive(), "hangs"
        if isinstance(self._error, Exception):
            raise self._error
        # Not raised here: pytest would take an interruption for its own.
        assert self._error is None, repr(self._error)
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._target()
        except BaseException as error:
            self._error = error
        if self._finished is not None:
            self._finished.set()


class _User:
    """Pins in a thread of its own, and stays until told to leave."""

    def __init__(self, rig: _Rig) -> None:
        self._rig = rig
        self._pinned = SYSTEM.event("pinned")
        self._leave = SYSTEM.event("leave")
        self._worker = _Worker(self._use)
        self.snapshot: _Snapshot

    def until_pinned(self) -> _Snapshot:
        _await(self._pinned)
        return self.snapshot

    def leave(self) -> None:
        self._leave.set()
        self._worker.result()

    def _use(self) -> None:
        with self._rig.cache.pin() as self.snapshot:
            self._pinned.set()
            _await(self._leave)


def _await(event: Event) -> None:
    assert event.wait(_PATIENCE_S), "waited in vain"


@pytest.fixture
def rig() -> _Rig:
    return _Rig()


# One load, whatever arrives.


@pytest.mark.promise("CACHE-1", "OBS-3")
def test_clients_that_arrive_at_once_share_one_load(rig: _Rig, figure: RecordFigure) -> None:
    hold = rig.source.hold_next_load()
    clients = [_Worker(rig.ask) for _ in range(32)]
    _await(hold.began)
    rig.runtime.until_waiting(31)
    rig.runtime.advance(7.0)
    hold.go.set()
    assert {id(client.result()) for client in clients} == {id(rig.source.snapshots[0])}
    assert rig.source.loads == ["g1"]
    assert rig.counts() == {"load": 1, "hit": 31}
    assert rig.seconds["load"] == 7.0
    entry = rig.cache.entry
    assert entry is not None
    assert (entry.pins, entry.access_count) == (0, 32)
    figure("CACHE-1", "loads under 32 clients", len(rig.source.loads))


@pytest.mark.promise("CACHE-1", "TTL-1")
def test_an_index_is_loaded_once_in_each_ttl_period(rig: _Rig) -> None:
    for period in range(1, 4):
        for _ in range(5):
            rig.ask()
            rig.runtime.advance(_TTL_S - 0.001)
            assert not rig.cache.evict_expired()
        assert len(rig.source.loads) == period
        rig.runtime.advance(0.001)
        assert rig.cache.evict_expired()


# Failures.


@pytest.mark.promise("CACHE-2", "OBS-3")
@pytest.mark.parametrize("error", [IndexUnusableError("damaged"), OSError(5, "I/O"), MemoryError()])
def test_a_failed_load_is_told_to_all_who_wait_and_to_nobody_after(
    rig: _Rig, error: Exception
) -> None:
    rig.source.errors.append(error)
    hold = rig.source.hold_next_load()
    clients = [_Worker(rig.fail_to_ask) for _ in range(8)]
    _await(hold.began)
    rig.runtime.until_waiting(7)
    hold.go.set()
    told = [client.result() for client in clients]
    assert {(type(e), str(e)) for e in told} == {(type(error), str(error))}
    if isinstance(error, IndexUnusableError):
        assert len({id(e) for e in told}) == 8  # one instance would mix up the tracebacks
    assert rig.source.loads == ["g1"]
    assert rig.ask().generation == "g1"
    assert rig.counts() == {"load_failed": 1, "load": 1}


@pytest.mark.promise("CACHE-2", "CACHE-6")
def test_a_failed_load_of_a_new_generation_leaves_the_old_entry_alone(rig: _Rig) -> None:
    old = rig.ask()
    rig.source.live = "g2"
    rig.source.errors.append(IndexUnusableError("damaged"))
    assert isinstance(rig.fail_to_ask(), IndexUnusableError)
    assert (rig.cached, old.closed, rig.cache.is_loading) == ("g1", 0, False)
    assert rig.ask().generation == "g2"


@pytest.mark.promise("CACHE-8")
def test_a_generation_that_goes_while_it_is_opened_is_followed_by_the_next(rig: _Rig) -> None:
    hold = rig.source.hold_next_load()
    rig.source.errors.append(GenerationGone("g1"))
    clients = [_Worker(rig.ask) for _ in range(6)]
    _await(hold.began)
    rig.runtime.until_waiting(5)
    rig.source.live = "g2"
    hold.go.set()
    assert {client.result().generation for client in clients} == {"g2"}
    assert rig.source.loads == ["g1", "g2"]


@pytest.mark.promise("CACHE-6")
def test_an_error_inside_a_query_leaves_the_entry_as_it_was(rig: _Rig) -> None:
    snapshot = rig.ask()

    def query_that_fails() -> None:
        with rig.cache.pin():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        query_that_fails()
    rig.source.live = None
    assert isinstance(rig.fail_to_ask(), NoIndexError)
    rig.source.live = "g1"
    assert rig.ask() is snapshot
    assert rig.cache.entry is not None
    assert (rig.cache.entry.pins, rig.source.loads) == (0, ["g1"])


@pytest.mark.promise("CACHE-7", "CACHE-6")
def test_an_index_that_cannot_be_closed_costs_no_query_its_answer_and_leaves_no_pin(
    rig: _Rig,
) -> None:
    rig.ask().close_error = OSError(5, "I/O")
    rig.source.live = "g2"
    assert rig.ask().generation == "g2"
    assert rig.cache.entry is not None
    assert rig.cache.entry.pins == 0


# Interruptions.


@pytest.mark.promise("RPC-5", "CACHE-7")
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_waiter_leaves_no_pin(rig: _Rig, when: str) -> None:
    setattr(rig.runtime, f"interrupt_{when}", True)
    hold = rig.source.hold_next_load()

    def lead() -> None:
        with rig.cache.pin():
            rig.cache.clear()

    leader = _Worker(lead)
    _await(hold.began)
    waiter = _Worker(rig.fail_to_ask)
    rig.runtime.until_waiting(1)
    if when == "before":
        assert isinstance(waiter.result(), KeyboardInterrupt)
    hold.go.set()
    leader.result()
    assert isinstance(waiter.result(), KeyboardInterrupt)
    # Nobody is left: whoever let go last, has closed it.
    assert [snapshot.closed for snapshot in rig.source.snapshots] == [1]
    assert rig.freed == 1


@pytest.mark.promise("CACHE-1", "CACHE-2")
def test_an_interruption_of_the_loading_thread_is_not_passed_on_to_the_waiters(rig: _Rig) -> None:
    hold = rig.source.hold_next_load()
    rig.source.errors.append(KeyboardInterrupt())
    leader = _Worker(rig.fail_to_ask)
    _await(hold.began)
    waiter = _Worker(rig.ask)
    rig.runtime.until_waiting(1)
    hold.go.set()
    assert isinstance(leader.result(), KeyboardInterrupt)
    assert waiter.result().generation == "g1"


@pytest.mark.promise("CACHE-2", "CACHE-7")
def test_an_interruption_just_after_a_load_blocks_nobody_and_keeps_nothing_open(rig: _Rig) -> None:
    def interrupt() -> None:
        if len(rig.source.loads) == 1:
            raise KeyboardInterrupt

    rig.runtime.at("loaded", interrupt)
    assert isinstance(rig.fail_to_ask(), KeyboardInterrupt)
    assert not rig.cache.is_loading  # else the next to ask would wait for ever
    assert rig.ask().generation == "g1"
    assert [snapshot.closed for snapshot in rig.source.snapshots] == [1, 0]


# Clear, evict and publish while a load is under way.


@pytest.mark.promise("CACHE-3", "CACHE-7")
def test_what_was_cleared_while_loading_serves_those_who_asked_and_is_closed_after_them(
    rig: _Rig,
) -> None:
    hold = rig.source.hold_next_load()
    users = [_User(rig) for _ in range(3)]
    _await(hold.began)
    rig.runtime.until_waiting(2)
    assert rig.cache.clear()
    hold.go.set()
    (stale,) = {user.until_pinned() for user in users}
    assert rig.cache.entry is None
    fresh = rig.ask()
    assert fresh is not stale
    for user in users:
        assert stale.closed == 0
        user.leave()
    assert (stale.closed, fresh.closed, rig.freed) == (1, 0, 1)
    assert rig.source.loads == ["g1", "g1"]


@pytest.mark.promise("CACHE-3", "TTL-2")
def test_an_eviction_during_a_load_takes_the_old_entry_and_the_loaded_one_starts_its_own_ttl(
    rig: _Rig,
) -> None:
    old = rig.ask()
    rig.source.live = "g2"
    hold = rig.source.hold_next_load()
    client = _Worker(rig.ask)
    _await(hold.began)
    rig.runtime.advance(_TTL_S)
    assert rig.cache.evict_expired()
    assert old.closed == 1
    hold.go.set()
    client.result()
    rig.runtime.advance(_TTL_S - 0.001)
    assert not rig.cache.evict_expired()
    assert rig.cached == "g2"


@pytest.mark.promise("CACHE-3", "CACHE-8")
@pytest.mark.parametrize("first", ["old", "new"])
def test_a_publish_during_a_load_gives_the_new_generation_to_those_who_ask_after(
    rig: _Rig, first: str
) -> None:
    hold_old = rig.source.hold_next_load()
    early = _Worker(rig.ask)
    _await(hold_old.began)
    rig.source.live = "g2"
    hold_new = rig.source.hold_next_load()
    late = _Worker(rig.ask)
    _await(hold_new.began)
    order = [(hold_old, early), (hold_new, late)]
    for hold, client in order if first == "old" else reversed(order):
        hold.go.set()
        client.result()
    assert (early.result().generation, late.result().generation) == ("g1", "g2")
    assert rig.cached == "g2"
    assert rig.ask() is late.result()
    assert (early.result().closed, late.result().closed) == (1, 0)
    assert rig.source.loads == ["g1", "g2"]


@pytest.mark.promise("CACHE-3")
def test_a_load_that_a_publish_overtook_is_not_installed_even_if_nobody_asked_since(
    rig: _Rig,
) -> None:
    hold = rig.source.hold_next_load()
    user = _User(rig)
    _await(hold.began)
    rig.source.live = "g2"
    hold.go.set()
    stale = user.until_pinned()
    cached = rig.cached
    user.leave()
    assert cached != "g1"
    assert stale.closed == 1


@pytest.mark.promise("CACHE-3", "CACHE-5")
def test_a_client_that_was_slow_to_look_does_not_put_the_old_generation_back(rig: _Rig) -> None:
    others: list[_Worker] = []

    def publish_and_let_another_in() -> None:
        # This thread has read "g1" and not acted on it yet.  The other gets through, or is stopped
        # by a lock that this one holds.
        rig.source.live = "g2"
        others.append(_Worker(rig.ask, finished=rig.runtime.contended))
        _await(rig.runtime.contended)

    rig.source.after_reading = publish_and_let_another_in
    slow = _Worker(rig.ask)
    assert slow.result().generation == "g1"
    assert others[0].result().generation == "g2"
    assert rig.cached == "g2"
    rig.ask()
    assert sorted(rig.source.loads) == ["g1", "g2"]


# Generations.


@pytest.mark.promise("CACHE-4", "CACHE-5", "CACHE-8")
def test_a_query_keeps_its_generation_while_later_ones_get_the_new(rig: _Rig) -> None:
    with rig.cache.pin() as before:
        rig.source.live = "g2"
        with rig.cache.pin() as after:
            assert (before.generation, after.generation) == ("g1", "g2")
            rig.cache.clear()
            assert (before.closed, after.closed) == (0, 0)
        assert (before.closed, after.closed) == (0, 1)
    assert before.closed == 1


@pytest.mark.promise("CACHE-7", "TTL-2")
@pytest.mark.parametrize("pins", [0, 1, 2])
@pytest.mark.parametrize("way", ["clear", "replace", "evict"])
def test_a_snapshot_is_closed_once_by_whoever_lets_go_of_it_last(
    rig: _Rig, way: str, pins: int
) -> None:
    snapshot = rig.ask()
    users = [_User(rig) for _ in range(pins)]
    for user in users:
        assert user.until_pinned() is snapshot
    if way == "clear":
        rig.cache.clear()
    elif way == "replace":
        rig.source.live = "g2"
        rig.ask()
    else:
        rig.runtime.advance(_TTL_S)
        assert rig.cache.evict_expired() == (pins == 0)
    for user in users:
        assert (snapshot.closed, rig.freed) == (0, 0)
        user.leave()
    if way == "evict" and pins:  # in use, so it was not evicted; and leaving renewed it
        assert not rig.cache.evict_expired()
        rig.runtime.advance(_TTL_S)
        assert rig.cache.evict_expired()
    assert (snapshot.closed, rig.freed) == (1, 1)
    rig.cache.clear()
    assert snapshot.closed == 1


@pytest.mark.promise("OBS-3")
def test_everything_that_happens_to_the_cache_is_told_once(rig: _Rig) -> None:
    rig.ask()
    rig.ask()
    rig.cache.clear()
    assert not rig.cache.clear()
    rig.ask()
    rig.source.live = "g2"
    rig.ask()
    rig.runtime.advance(_TTL_S)
    rig.cache.evict_expired()
    rig.cache.evict_expired()
    rig.source.errors.append(IndexUnusableError("damaged"))
    rig.fail_to_ask()
    assert rig.events == [
        ("load", "g1"),
        ("hit", "g1"),
        ("clear", "g1"),
        ("load", "g1"),
        ("load", "g2"),
        ("replace", "g1"),
        ("evict", "g2"),
        ("load_failed", "g2"),
    ]


@pytest.mark.promise("OBS-3")
def test_a_replaced_generation_is_told_by_its_name_though_its_last_user_leaves_meanwhile(
    rig: _Rig,
) -> None:
    user = _User(rig)
    user.until_pinned()
    rig.source.live = "g2"
    rig.after_telling["load"] = user.leave
    rig.ask()
    assert rig.events[-2:] == [("load", "g2"), ("replace", "g1")]


@pytest.mark.promise("TTL-1")
def test_a_new_ttl_holds_for_the_entry_there_is_and_for_the_load_under_way(rig: _Rig) -> None:
    rig.ask()
    rig.cache.set_ttl(1)
    rig.runtime.advance(60)
    assert rig.cache.evict_expired()
    hold = rig.source.hold_next_load()
    client = _Worker(rig.ask)
    _await(hold.began)
    rig.cache.set_ttl(2)
    hold.go.set()
    client.result()
    rig.runtime.advance(119.9)
    assert not rig.cache.evict_expired()
    rig.runtime.advance(0.1)
    assert rig.cache.evict_expired()


# Any sequence of operations, one thread, against a model.


class _Loaded:
    """The model of an entry."""

    def __init__(self, generation: int, now: float) -> None:
        self.generation = generation
        self.used_at = now
        self.pins = 0


class _Model:
    """What the cache must be, said without a cache: lists and numbers."""

    def __init__(self) -> None:
        self.rig = _Rig()
        self.live = 1
        self.ttl_s = _TTL_S
        self.loaded: list[_Loaded] = []
        self.entry: _Loaded | None = None
        self.pinned: list[tuple[Any, _Loaded]] = []
        self.events: list[tuple[str, str]] = []

    @property
    def now(self) -> float:
        return self.rig.runtime.monotonic()

    def tell(self, event: str, generation: int) -> None:
        self.events.append((event, f"g{generation}"))

    def pin(self, _: float) -> None:
        pin = self.rig.cache.pin()
        if self.entry is not None and self.entry.generation == self.live:
            self.tell("hit", self.live)
        elif self.rig.source.errors:
            gone = isinstance(self.rig.source.errors[0], GenerationGone)
            self.tell("load_failed", self.live)
            if not gone:
                with pytest.raises(IndexUnusableError):
                    pin.__enter__()
                return
            # The model has it replaced just before the load fails.
            self.rig.source.after_reading = lambda: self.publish(0)
            self.install(self.live + 1)
        else:
            self.install(self.live)
        snapshot = pin.__enter__()
        assert self.entry is not None
        assert snapshot.generation == f"g{self.live}"
        assert not snapshot.closed
        self.entry.pins += 1
        self.entry.used_at = self.now
        self.pinned.append((pin, self.entry))

    def install(self, generation: int) -> None:
        self.tell("load", generation)
        if self.entry is not None:
            self.tell("replace", self.entry.generation)
        self.entry = _Loaded(generation, self.now)
        self.loaded.append(self.entry)

    def unpin(self, which: float) -> None:
        if self.pinned:
            pin, entry = self.pinned.pop(int(which) % len(self.pinned))
            pin.__exit__(None, None, None)
            entry.pins -= 1
            entry.used_at = self.now

    def clear(self, _: float) -> None:
        assert self.rig.cache.clear() == (self.entry is not None)
        if self.entry is not None:
            self.tell("clear", self.entry.generation)
        self.entry = None

    def check(self, _: float) -> None:
        entry = self.entry
        expired = entry is not None and not entry.pins and self.now - entry.used_at >= self.ttl_s
        assert self.rig.cache.evict_expired() == expired
        if entry is not None and expired:
            self.tell("evict", entry.generation)
            self.entry = None

    def advance(self, seconds: float) -> None:
        self.rig.runtime.advance(seconds)

    def step_wall_clock(self, seconds: float) -> None:
        self.rig.runtime.step_wall_clock(seconds * 7 - 1000)

    def publish(self, _: float) -> None:
        self.live += 1
        self.rig.source.live = f"g{self.live}"

    def fail_next_load(self, _: float) -> None:
        self.rig.source.errors = [IndexUnusableError("damaged")]

    def lose_next_load(self, _: float) -> None:
        self.rig.source.errors = [GenerationGone("gone")]

    def set_ttl(self, seconds: float) -> None:
        if seconds:
            self.ttl_s = seconds
            self.rig.cache.set_ttl(seconds / 60)

    def agrees(self) -> None:
        cache, entry = self.rig.cache, self.entry
        assert (cache.entry is None) == (entry is None)
        if cache.entry is not None and entry is not None:
            assert cache.entry.generation == f"g{entry.generation}"
            assert cache.entry.pins == entry.pins
            assert cache.entry.age_s(self.now) == self.now - entry.used_at
        closed = [int(e is not entry and e.pins == 0) for e in self.loaded]
        assert [s.closed for s in self.rig.source.snapshots] == closed
        assert self.rig.freed == sum(closed)
        assert self.rig.events == self.events
        assert not cache.is_loading


_OPERATIONS = [
    name
    for name in vars(_Model)
    if name not in {"now", "tell", "install", "agrees"} and not name.startswith("_")
]


@pytest.mark.promise("CACHE-1", "CACHE-2", "CACHE-4", "CACHE-7", "TTL-1", "TTL-2", "TTL-3", "OBS-3")
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(_OPERATIONS), st.sampled_from([0.0, 1.0, 300.0, 600.0, 601.0])),
        min_size=15,
        max_size=50,
    )
)
def test_any_sequence_of_operations_agrees_with_the_model(
    operations: list[tuple[str, float]],
) -> None:
    model = _Model()
    for name, argument in operations:
        getattr(model, name)(argument)
        model.agrees()
    while model.pinned:
        model.unpin(0)
    model.agrees()


# Memory.

_MEASURE = """
import json, sys, psutil
from datetime import timedelta
from cidx_ref import CIDXDaemonService

def resident():
    return psutil.Process().memory_info().rss

small, big = sys.argv[1:]
# Engines and embedder stay, so they are there before anything is measured.
CIDXDaemonService(small).exposed_query_hybrid(small, "password")
service = CIDXDaemonService(big)
service.exposed_query_hybrid(big, "password")
service.exposed_clear_cache()
rounds = {}
for way in ("clear", "evict"):
    before = resident()
    service.exposed_query_hybrid(big, "password")
    loaded = resident()
    if way == "clear":
        service.exposed_clear_cache()
    else:
        service.cache_entry.last_accessed -= timedelta(days=1)
        assert service.evict_expired()
    rounds[way] = [before, loaded, resident()]
print(json.dumps(rounds))
"""


@pytest.mark.once
@pytest.mark.promise("CACHE-7")
def test_clear_and_eviction_give_the_memory_of_a_real_index_back(
    project: Project, stdlib: Project, tmp_path: Path, figure: RecordFigure
) -> None:
    command = [sys.executable, "-c", _MEASURE, str(project.root), str(stdlib.root)]
    done = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, timeout=120, text=True
    )
    for way, (before, loaded, after) in json.loads(done.stdout).items():
        taken, kept = (loaded - before) / 1e6, (after - before) / 1e6
        assert taken > 10, "too small an index to show anything"
        assert kept < 0.1 * taken, way
        figure("CACHE-7", f"of {taken:.0f} MB loaded, kept after {way}", round(kept, 1), "MB")


@pytest.mark.promise("CACHE-4", "CACHE-7", "TTL-2")
def test_who_joins_a_load_just_as_it_ends_has_a_pin_of_its_own(rig: _Rig) -> None:
    hold = rig.source.hold_next_load()
    joined, go_on = SYSTEM.event("joined"), SYSTEM.event("go on")

    def linger() -> None:
        joined.set()
        _await(go_on)

    leader = _User(rig)
    _await(hold.began)
    rig.runtime.at("joined", linger)
    follower = _User(rig)
    _await(joined)  # it has decided to follow, and does not wait yet
    hold.go.set()
    snapshot = leader.until_pinned()
    go_on.set()
    assert follower.until_pinned() is snapshot
    assert rig.cache.entry is not None
    assert rig.cache.entry.pins == 2
    follower.leave()
    rig.cache.clear()
    assert snapshot.closed == 0, "the leader still searches it"
    leader.leave()
    assert snapshot.closed == 1


class _Interrupted(FakeRuntime):
    """A thread that reads the time is interrupted, at the `left`-th reading from now on."""

    left = 0

    def monotonic(self) -> float:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().monotonic()


@pytest.mark.promise("CACHE-2", "CACHE-3")
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_load_that_is_interrupted_at_either_end_is_nobodys_load_any_more(at: int) -> None:
    """Else it would keep its place, and whoever wanted that generation would wait for ever."""
    runtime, source = _Interrupted(), _Source()
    cache = IndexCache("project", source, runtime=runtime)
    runtime.left = at
    with pytest.raises(KeyboardInterrupt), cache.pin():
        pass
    assert not cache.is_loading
    assert all(snapshot.closed == 1 for snapshot in source.snapshots)
    with cache.pin() as snapshot:
        assert snapshot.closed == 0


@pytest.mark.promise("TTL-2")
def test_a_query_that_is_interrupted_before_it_has_the_entry_leaves_no_pin() -> None:
    runtime, source = _Interrupted(), _Source()
    cache = IndexCache("project", source, runtime=runtime)
    with cache.pin():
        pass
    runtime.left = 1
    with pytest.raises(KeyboardInterrupt), cache.pin():
        pass
    assert cache.entry is not None
    assert cache.entry.pins == 0
