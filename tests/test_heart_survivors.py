"""What no other test of the heart noticed when mutation testing broke it (tests/mutation).

Here belongs a test that kills a mutant of the cache, the gate, the eviction thread or the
generations and has no better place: mostly corners, each with a sentence of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cidx_ref import CacheEvictionThread, CIDXDaemonService
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.entry import CacheEntry
from cidx_ref.daemon.gate import Gate
from cidx_ref.errors import BusyError, NoIndexError, ShuttingDownError
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.testing.clock import FakeRuntime

pytestmark = pytest.mark.once

_PATIENCE_S = 30.0


class _Snapshot:
    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class _Source:
    """An index whose loads take until `go` is set, at first at once."""

    def __init__(self) -> None:
        self.live = "g1"
        self.began = SYSTEM.event("began")
        self.go = SYSTEM.event("go")
        self.go.set()

    def current(self) -> str:
        return self.live

    def load(self, generation: str) -> _Snapshot:
        self.began.set()
        assert self.go.wait(_PATIENCE_S)
        return _Snapshot(generation)


class _Rig:
    """A cache with its source, and what it told."""

    def __init__(self, fake: FakeRuntime) -> None:
        self.source = _Source()
        self.events: list[tuple[str, str]] = []
        self.cache: IndexCache[_Snapshot] = IndexCache(
            "project", self.source, runtime=fake, listener=self._listen
        )

    def _listen(self, event: str, generation: str, seconds: float = 0.0) -> None:
        self.events.append((event, generation))

    def ask(self) -> _Snapshot:
        with self.cache.pin() as snapshot:
            assert not snapshot.closed
            return snapshot


class _Worker:
    """A thread, what came of it, and whether it has ended."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []

        def run() -> None:
            try:
                self._outcome.append(work())
            except BaseException as error:
                self._outcome.append(error)

        self._thread: Thread = SYSTEM.thread(run, "worker")

    def result(self) -> Any:
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive(), "hangs"
        return self._outcome[0]


@pytest.fixture
def rig(fake: FakeRuntime) -> _Rig:
    return _Rig(fake)


# The cache: those who join a load.


def _joining(rig: _Rig, fake: FakeRuntime, *at_joined: Callable[[], object]) -> list[_Worker]:
    """A leader whose load is held open, and one follower for each of the functions, which it calls
    when it has joined; they are there when this returns."""
    rig.source.go.clear()
    workers = [_Worker(rig.ask)]
    assert rig.source.began.wait(_PATIENCE_S)
    hooks = list(at_joined)
    arrived = SYSTEM.event("arrived")

    def joined() -> None:
        hook = hooks.pop(0)
        arrived.set()
        hook()

    fake.at("joined", joined)
    for _ in at_joined:
        arrived.clear()
        workers.append(_Worker(rig.ask))
        assert arrived.wait(_PATIENCE_S)
    return workers


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.promise("RPC-5", "TTL-2")
def test_an_interrupted_waiter_takes_nobody_elses_pin_along(rig: _Rig, fake: FakeRuntime) -> None:
    leader, patient, interrupted = _joining(rig, fake, lambda: None, _interrupt)
    assert isinstance(interrupted.result(), KeyboardInterrupt)
    rig.source.go.set()
    assert patient.result() is leader.result()
    assert rig.cache.entry is not None
    assert (rig.cache.entry.pins, rig.cache.entry.access_count) == (0, 2)


@pytest.mark.promise("RPC-5", "CACHE-6")
def test_a_waiter_interrupted_after_all_others_have_left_closes_nothing_that_is_cached(
    rig: _Rig, fake: FakeRuntime
) -> None:
    def wait_for_the_leader_to_leave() -> None:
        rig.source.go.set()
        workers[0].result()
        raise KeyboardInterrupt

    ready = SYSTEM.event("ready")
    workers: list[_Worker] = []

    def hook() -> None:
        assert ready.wait(_PATIENCE_S)
        wait_for_the_leader_to_leave()

    workers.extend(_joining(rig, fake, hook))
    ready.set()
    assert isinstance(workers[1].result(), KeyboardInterrupt)
    entry = rig.cache.entry
    assert entry is not None
    assert (entry.pins, entry.snapshot, workers[0].result().closed) == (0, workers[0].result(), 0)
    assert rig.ask() is workers[0].result()


@pytest.mark.promise("OBS-3")
def test_a_follower_tells_which_generation_it_has_hit(rig: _Rig, fake: FakeRuntime) -> None:
    workers = _joining(rig, fake, lambda: None)
    rig.source.go.set()
    for worker in workers:
        worker.result()
    assert sorted(rig.events) == [("hit", "g1"), ("load", "g1")]


# The cache: the rest.


@pytest.mark.promise("TTL-1", "OBS-1")
def test_an_entry_begins_unused_and_with_the_ttl_of_ten_minutes(fake: FakeRuntime) -> None:
    entry: CacheEntry[_Snapshot] = CacheEntry("project", runtime=fake)
    assert entry.project_path == Path("project")
    assert (entry.snapshot, entry.generation) == (None, "")
    assert (entry.ttl_minutes, entry.access_count, entry.pins) == (10, 0, 0)
    assert entry.age_s(fake.monotonic()) == 0
    assert CacheEntry("project", _Snapshot("g1"), runtime=fake).generation == "g1"


@pytest.mark.promise("OBS-1")
def test_an_entry_counts_every_access(rig: _Rig) -> None:
    for count in (1, 2, 3):
        rig.ask()
        assert rig.cache.entry is not None
        assert rig.cache.entry.access_count == count


@pytest.mark.promise("TTL-1")
def test_a_cache_that_is_told_nothing_keeps_an_index_for_ten_minutes(fake: FakeRuntime) -> None:
    cache = IndexCache("project", _Source(), runtime=fake)
    assert cache.project_path == Path("project")
    with cache.pin() as snapshot:
        pass
    assert cache.entry is not None
    assert cache.entry.project_path == Path("project")
    fake.advance(599.5)
    assert cache.evict_expired() is False
    fake.advance(0.5)
    assert cache.evict_expired() is True
    assert snapshot.closed == 1


@pytest.mark.promise("CACHE-3", "OBS-3")
def test_a_clear_while_nothing_but_a_load_is_there_is_told_as_a_clear(
    rig: _Rig, fake: FakeRuntime
) -> None:
    (leader,) = _joining(rig, fake)
    assert rig.cache.is_loading is True
    assert rig.cache.clear() is True
    assert rig.cache.is_loading is False
    assert rig.cache.clear() is False
    rig.source.go.set()
    assert leader.result().closed == 1
    assert rig.events == [("clear", "g1"), ("load", "g1")]
    assert rig.cache.entry is None


@pytest.mark.promise("CACHE-3", "CACHE-8")
def test_what_was_loaded_while_the_index_went_serves_who_asked_and_is_not_kept(
    rig: _Rig, fake: FakeRuntime
) -> None:
    (leader,) = _joining(rig, fake)

    def gone() -> str:
        raise NoIndexError("none")

    rig.source.current = gone  # type: ignore[method-assign]
    rig.source.go.set()
    assert leader.result().generation == "g1"
    assert rig.cache.entry is None
    assert leader.result().closed == 1


@pytest.mark.promise("CACHE-7", "OBS-3")
def test_an_index_that_could_not_be_closed_is_named_in_the_log(
    rig: _Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(5, "I/O")

    monkeypatch.setattr(rig.ask(), "close", fail)
    rig.cache.clear()
    (record,) = caplog.records
    assert record.getMessage() == "generation g1 could not be closed"
    assert record.exc_info is not None


class _Named(FakeRuntime):
    """Remembers what everything was called that it made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def condition(self, name: str) -> Any:
        self.names.append(name)
        return super().condition(name)


@pytest.mark.promise("CACHE-1", "SRV-4")
def test_the_locks_of_the_heart_have_names_for_whoever_traces_them() -> None:
    runtime = _Named()
    IndexCache("project", _Source(), runtime=runtime)
    Gate(runtime)
    assert runtime.names == ["cache", "gate"]


# The gate.


@pytest.mark.promise("SRV-4", "RPC-6")
def test_a_gate_says_why_it_lets_nobody_in(fake: FakeRuntime) -> None:
    assert Gate(fake).max_calls == 256
    gate = Gate(fake, max_calls=1)
    with gate.call("query", is_use=True):
        with (
            pytest.raises(BusyError, match=r"^1 calls are under way already$"),
            gate.call("query", is_use=True),
        ):
            raise AssertionError("was let in")
        gate.close()
        with (
            pytest.raises(ShuttingDownError, match=r"^the daemon is shutting down$"),
            gate.call("ping", is_use=False),
        ):
            raise AssertionError("was let in")
    assert gate.wait_until_empty(0) is True


@pytest.mark.promise("SRV-4")
def test_a_gate_says_plainly_whether_it_is_closed(fake: FakeRuntime) -> None:
    gate = Gate(fake)
    assert gate.is_closed is False
    gate.close()
    assert gate.is_closed is True
    gate.reopen()
    assert gate.is_closed is False
    with gate.call("query", is_use=True):
        pass


# The eviction thread.


@pytest.mark.promise("TTL-4", "OBS-3")
def test_an_eviction_thread_has_a_name_keeps_its_own_interval_and_is_gone_after_stop(
    fake: FakeRuntime,
) -> None:
    eviction = CacheEvictionThread(CIDXDaemonService(runtime=fake), check_interval=86_400)
    assert eviction.check_interval == 86_400
    assert eviction._interval_s() == 86_400
    assert not eviction.running
    eviction.stop()  # what was never started
    eviction = CacheEvictionThread(CIDXDaemonService(runtime=fake), check_interval=86_400)
    before = set(SYSTEM.threads())
    eviction.start()
    (thread,) = set(SYSTEM.threads()) - before
    ran = eviction.running
    eviction.stop()
    assert (ran, eviction.running, thread.is_alive()) == (True, False, False)
    assert thread.name == "eviction"  # as the log and the diagnostics show it


@pytest.mark.promise("TTL-4", "OBS-3")
def test_a_check_that_failed_is_logged_with_what_went_wrong(
    fake: FakeRuntime, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    eviction = CacheEvictionThread(CIDXDaemonService(runtime=fake))

    def fail() -> None:
        eviction._stopped.set()
        raise OSError(5, "out of order")

    monkeypatch.setattr(eviction.daemon_service, "evict_expired", fail)
    eviction.run()
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage() == "eviction check failed"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "[Errno 5] out of order"
