"""Time: when an entry goes, what renews it, and when the daemon itself goes (TTL-1 to TTL-5)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cidx_ref import CacheEvictionThread, CIDXDaemonService
from cidx_ref.daemon.entry import CacheEntry
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.promises.report import RecordFigure

_PATIENCE_S = 30.0
_TTL_S = 600.0


def _configure(project: Project, **block: Any) -> None:
    project.config_path.write_text(json.dumps({"daemon": block}))


def _ask(service: CIDXDaemonService) -> None:
    assert service.project is not None
    assert service.exposed_query(str(service.project.root), "password")["results"]


@pytest.fixture
def service(project: Project, fake: FakeRuntime) -> CIDXDaemonService:
    return CIDXDaemonService(project.root, runtime=fake)


@pytest.fixture
def check(service: CIDXDaemonService) -> Callable[[], None]:
    """One check of the eviction thread, without the thread."""
    return CacheEvictionThread(service)._check_and_evict


@pytest.fixture
def stopped(service: CIDXDaemonService) -> list[str]:
    """The reasons the service gave for having its daemon stopped."""
    reasons: list[str] = []
    service.on_shutdown = reasons.append
    return reasons


# The life of an entry.


@pytest.mark.promise("TTL-1")
def test_an_entry_is_alive_just_before_its_ttl_and_gone_at_it(
    service: CIDXDaemonService, fake: FakeRuntime, check: Callable[[], None]
) -> None:
    _ask(service)
    fake.advance(_TTL_S - 2**-10)
    check()
    assert service.cache_entry is not None
    fake.advance(2**-10)
    check()
    assert service.cache_entry is None


@pytest.mark.promise("TTL-2")
def test_a_use_renews_when_it_begins_and_when_it_ends_and_protects_in_between(
    service: CIDXDaemonService, fake: FakeRuntime, check: Callable[[], None]
) -> None:
    assert service._served is not None
    _ask(service)
    fake.advance(_TTL_S - 1)
    with service._served.cache.pin():
        entry = service.cache_entry
        assert entry is not None
        assert entry.age_s(fake.monotonic()) == 0
        fake.advance(3 * _TTL_S)
        check()
        assert service.cache_entry is entry
    check()
    fake.advance(_TTL_S - 1)
    check()
    assert service.cache_entry is entry
    fake.advance(1)
    check()
    assert service.cache_entry is None


@pytest.mark.promise("TTL-3")
@pytest.mark.parametrize("step_s", [86_400 * 400, -86_400 * 400])
def test_a_step_of_the_wall_clock_evicts_nothing_early_and_keeps_nothing_longer(
    service: CIDXDaemonService,
    fake: FakeRuntime,
    check: Callable[[], None],
    stopped: list[str],
    step_s: int,
) -> None:
    _ask(service)
    fake.advance(_TTL_S - 1)
    fake.step_wall_clock(step_s)
    check()
    assert service.cache_entry is not None
    assert service.cache_entry.last_accessed == fake.now() - timedelta(seconds=_TTL_S - 1)
    assert service.exposed_get_health()["uptime_seconds"] == _TTL_S - 1
    fake.advance(1)
    fake.step_wall_clock(-2 * step_s)
    check()
    assert service.cache_entry is None
    assert stopped == ["idle"]


@pytest.mark.promise("TTL-1", "TTL-3")
@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=-11, minutes=-30))])
def test_an_entry_whose_last_access_is_set_back_is_that_much_older(
    fake: FakeRuntime, zone: timezone | None
) -> None:
    entry: CacheEntry[Any] = CacheEntry("project", ttl_minutes=10, runtime=fake)
    fake.advance(30)
    now = fake.now() if zone is None else fake.now().astimezone(zone)
    entry.last_accessed = now - timedelta(seconds=_TTL_S - 1)
    assert not entry.is_expired(fake.monotonic())
    entry.last_accessed = now - timedelta(seconds=_TTL_S)
    assert entry.is_expired(fake.monotonic())
    assert entry.last_accessed == fake.now() - timedelta(seconds=_TTL_S)
    entry.touch(fake.monotonic())
    assert entry.last_accessed == fake.now()


@pytest.mark.promise("TTL-1", "CFG-1")
def test_a_changed_ttl_holds_from_the_next_check_and_a_bad_one_changes_nothing(
    service: CIDXDaemonService,
    project: Project,
    fake: FakeRuntime,
    check: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    _ask(service)
    fake.advance(60)
    for bad in ('{"daemon": {"ttl_minutes": 0}}', '{"daemon": {"ttl_min', "[]", "\0\xff"):
        project.config_path.write_text(bad, encoding="latin-1")
        caplog.clear()
        check()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "config.json" in caplog.text
        assert service.cache_entry is not None
    _configure(project, ttl_minutes=1)
    check()
    assert service.cache_entry is None
    assert service.config.ttl_minutes == 1


@pytest.mark.promise("TTL-4", "CFG-1")
@pytest.mark.parametrize("key", ["ttl_minutes", "eviction_check_interval_seconds"])
def test_no_number_in_the_configuration_stops_the_evictions(
    service: CIDXDaemonService,
    project: Project,
    fake: FakeRuntime,
    check: Callable[[], None],
    key: str,
) -> None:
    _ask(service)
    fake.advance(_TTL_S)
    project.config_path.write_text(f'{{"daemon": {{"{key}": 1{"0" * 400}}}}}')
    check()
    assert service.cache_entry is None


# The clockwork.


class _Ticks:
    """The stop event of an eviction thread whose intervals pass when the test says so."""

    def __init__(self, fake: FakeRuntime) -> None:
        self._fake = fake
        self._stop = SYSTEM.event("stop")
        self._changed = SYSTEM.condition("ticks")
        self._allowed = 0
        self.waits: list[float | None] = []

    def is_set(self) -> bool:
        return self._stop.is_set()

    def set(self) -> None:
        with self._changed:
            self._stop.set()
            self._changed.notify_all()

    def clear(self) -> None:
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            self.waits.append(timeout)
            self._changed.notify_all()
            turn = len(self.waits)
            assert self._changed.wait_for(
                lambda: self._allowed >= turn or self._stop.is_set(), _PATIENCE_S
            )
        return self._stop.is_set()

    def until_waiting(self, turn: int) -> float | None:
        """Until the thread waits for the `turn`th time; return for how long it means to."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.waits) >= turn, _PATIENCE_S)
            return self.waits[turn - 1]

    def pass_interval(self) -> None:
        self._fake.advance(self.waits[-1] or 0)
        with self._changed:
            self._allowed = len(self.waits)
            self._changed.notify_all()


class _TickingRuntime(FakeRuntime):
    def __init__(self) -> None:
        super().__init__()
        self.ticks = _Ticks(self)

    def event(self, name: str) -> Any:
        return self.ticks if name == "eviction stop" else super().event(name)


@pytest.mark.promise("TTL-4")
def test_checks_run_at_the_configured_interval_and_go_on_after_one_that_failed(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = _TickingRuntime()
    ticks = runtime.ticks
    _configure(project, ttl_minutes=2, eviction_check_interval_seconds=90)
    service = CIDXDaemonService(project.root, runtime=runtime)
    attempts: list[str] = []

    def fail_once(reason: str) -> None:
        attempts.append(reason)
        if len(attempts) == 1:
            raise OSError(5, "out of order")

    service.on_shutdown = fail_once
    _ask(service)
    eviction = CacheEvictionThread(service)
    eviction.start()
    try:
        assert ticks.until_waiting(1) == 90
        assert service.cache_entry is not None
        _configure(project, ttl_minutes=2, eviction_check_interval_seconds=30)
        ticks.pass_interval()
        assert ticks.until_waiting(2) == 30  # a changed interval is taken over, too
        assert service.cache_entry is not None
        assert not attempts
        ticks.pass_interval()
        ticks.until_waiting(3)
        assert service.cache_entry is None
        assert len(attempts) == 1
        assert "eviction check failed" in caplog.text
        assert "out of order" in caplog.text
        assert eviction.running
        ticks.pass_interval()
        ticks.until_waiting(4)
        assert len(attempts) == 2  # the next check ran, and stopped the daemon after all
    finally:
        eviction.stop()
    assert not eviction.running


class _WatchedEventRuntime(Runtime):
    """The real thing, telling when the eviction thread has begun to wait."""

    def __init__(self) -> None:
        self.waits = SYSTEM.event("waits")

    def event(self, name: str) -> Any:
        event: Any = super().event(name)
        waits, wait = self.waits, event.wait

        def watched(timeout: float | None = None) -> bool:
            waits.set()
            return bool(wait(timeout))

        event.wait = watched
        return event


@pytest.mark.promise("TTL-4")
def test_stop_wakes_a_thread_that_would_sleep_for_a_day(figure: RecordFigure) -> None:
    runtime = _WatchedEventRuntime()
    eviction = CacheEvictionThread(CIDXDaemonService(runtime=runtime), check_interval=86_400)
    eviction.start()
    assert runtime.waits.wait(_PATIENCE_S)
    started = time.perf_counter()
    stopper = SYSTEM.thread(eviction.stop, "stopper")
    stopper.join(_PATIENCE_S)
    took_ms = (time.perf_counter() - started) * 1000
    assert not stopper.is_alive()
    assert took_ms < 1000
    figure("TTL-4", "stop with an interval of a day", round(took_ms, 2), "ms")


# Idle shutdown.


@pytest.mark.promise("TTL-5")
def test_a_daemon_nobody_ever_asked_stops_after_a_ttl(
    service: CIDXDaemonService, fake: FakeRuntime, check: Callable[[], None], stopped: list[str]
) -> None:
    fake.advance(_TTL_S - 0.5)
    check()
    assert stopped == []
    fake.advance(0.5)
    check()
    assert stopped == ["idle"]
    assert service.gate.is_closed


@pytest.mark.promise("TTL-5")
def test_idle_shutdown_happens_only_when_configured(
    service: CIDXDaemonService,
    project: Project,
    fake: FakeRuntime,
    check: Callable[[], None],
    stopped: list[str],
) -> None:
    _configure(project, auto_shutdown_on_idle=False)
    _ask(service)
    fake.advance(100 * _TTL_S)
    check()
    check()
    assert service.cache_entry is None
    assert stopped == []
    _ask(service)
    _configure(project, auto_shutdown_on_idle=True)
    check()
    assert stopped == []
    fake.advance(_TTL_S)
    check()
    assert stopped == ["idle"]


@pytest.mark.promise("TTL-5")
@pytest.mark.parametrize("method", ["query", "index", "get_status", "ping"])
def test_no_call_in_flight_is_cut_off_and_only_queries_and_indexes_keep_the_daemon_alive(
    service: CIDXDaemonService,
    fake: FakeRuntime,
    check: Callable[[], None],
    stopped: list[str],
    method: str,
) -> None:
    is_use = method in {"query", "index"}
    with service.gate.call(method, is_use=is_use):
        fake.advance(_TTL_S)
        check()
        assert stopped == []
    check()
    assert stopped == ([] if is_use else ["idle"])
    fake.advance(_TTL_S)
    check()
    assert "idle" in stopped


@pytest.mark.promise("TTL-5")
def test_asking_how_the_daemon_is_does_not_keep_it_alive_and_a_query_does(
    service: CIDXDaemonService,
    fake: FakeRuntime,
    check: Callable[[], None],
    stopped: list[str],
) -> None:
    def look() -> None:
        service.exposed_ping()
        service.exposed_get_status()
        service.exposed_get_health()
        service.exposed_get_metrics()
        service.exposed_get_diagnostics()
        service.exposed_clear_cache()

    fake.advance(_TTL_S - 1)
    _ask(service)
    look()  # the cache is empty now, and still the query counts
    fake.advance(_TTL_S - 1)
    look()
    check()
    assert stopped == []
    fake.advance(1)
    look()
    check()
    assert stopped == ["idle"]


@pytest.mark.promise("TTL-5", "TTL-2")
def test_a_query_that_takes_longer_than_the_ttl_is_neither_evicted_nor_shut_down(
    service: CIDXDaemonService,
    fake: FakeRuntime,
    check: Callable[[], None],
    stopped: list[str],
) -> None:
    def be_slow() -> None:
        fake.advance(2 * _TTL_S)
        check()

    fake.at("open generation", be_slow)
    _ask(service)
    check()
    assert service.cache_entry is not None
    assert stopped == []


@pytest.mark.promise("TTL-5")
def test_an_index_that_takes_longer_than_the_ttl_is_not_shut_down(
    service: CIDXDaemonService,
    project: Project,
    fake: FakeRuntime,
    check: Callable[[], None],
    stopped: list[str],
) -> None:
    told: list[int] = []

    def callback(current: int, total: int, path: str, info: str = "") -> None:
        if not told:
            fake.advance(2 * _TTL_S)
            check()
        told.append(total)

    report = service.exposed_index(str(project.root), callback, full=True)
    assert report["status"] == "completed"
    assert told
    check()
    assert stopped == []
    fake.advance(_TTL_S)
    check()
    assert stopped == ["idle"]


@pytest.mark.promise("TTL-5", "OBS-3")
def test_a_daemon_that_was_asked_to_stop_does_not_say_that_it_was_idle(
    service: CIDXDaemonService, check: Callable[[], None], stopped: list[str]
) -> None:
    service.exposed_shutdown()
    check()
    assert stopped == ["asked to"]


@pytest.mark.promise("TTL-5")
def test_while_something_is_cached_the_daemon_stays(
    service: CIDXDaemonService, fake: FakeRuntime, stopped: list[str]
) -> None:
    _ask(service)
    assert isinstance(service.cache_entry, CacheEntry)
    service.cache_entry.ttl_minutes = 60
    fake.advance(2 * _TTL_S)
    assert not service.evict_expired()
    assert not service.shutdown_if_idle()
    assert stopped == []
    assert datetime.fromisoformat(service.exposed_get_status()["last_accessed"]) < fake.now()
