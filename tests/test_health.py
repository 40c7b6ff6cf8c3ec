"""Health over a recent window, and counters that count everything once (OBS-2, OBS-3)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from cidx_ref import CIDXDaemonService, HealthMonitor
from cidx_ref.daemon.health import Metrics
from cidx_ref.errors import (
    BadArgumentError,
    CidxError,
    IndexingError,
    IndexUnusableError,
    InternalError,
    NoIndexError,
    UntrustedError,
)
from cidx_ref.index import search
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.ours import OurIndex
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime

_KEYS = {"status", "uptime_seconds", "queries_processed", "errors", "error_rate", "cache_active"}
_ERROR = IndexUnusableError("damaged")


@pytest.fixture
def service(project: Project, fake: FakeRuntime) -> CIDXDaemonService:
    return CIDXDaemonService(project.root, runtime=fake)


@pytest.fixture
def monitor(service: CIDXDaemonService, fake: FakeRuntime) -> HealthMonitor:
    return HealthMonitor(service, runtime=fake)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads are switched as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class _Word(str):
    """A key that lets other threads in whenever it is looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        for _ in range(20):
            pass
        return super().__hash__()


class _Seconds(float):
    """A number that lets other threads in while it is added."""

    def __radd__(self, other: float) -> float:
        for _ in range(20):
            pass
        return other + float(self)


def _all_at_once(work: Callable[[], object], threads: int = 8) -> None:
    for thread in [SYSTEM.thread(work, "counter") for _ in range(threads)]:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.promise("OBS-2")
def test_ten_failures_within_the_window_are_degraded_and_nine_are_not(
    monitor: HealthMonitor, fake: FakeRuntime
) -> None:
    for failures in range(1, 11):
        assert monitor.get_health()["status"] == "healthy"
        monitor.record_error(_ERROR)
        fake.advance(10)
        assert monitor.get_health()["errors"] == failures
    assert monitor.get_health()["status"] == "degraded"


@pytest.mark.promise("OBS-2")
def test_health_recovers_when_the_failures_leave_the_window_and_the_totals_stay(
    monitor: HealthMonitor, fake: FakeRuntime
) -> None:
    for _ in range(10):
        monitor.record_error(_ERROR)
    for _ in range(30):
        monitor.record_query(0.001)
    fake.advance(299.5)
    assert monitor.get_health() | {"cache_active": False} == {
        "status": "degraded",
        "problem": None,
        "uptime_seconds": 299.5,
        "queries_processed": 30,
        "errors": 10,
        "error_rate": 10 / 30,
        "cache_active": False,
        "window_seconds": 300.0,
        "recent_queries": 30,
        "recent_errors": 10,
    }
    fake.advance(0.5)
    health = monitor.get_health()
    assert (health["status"], health["error_rate"]) == ("healthy", 0.0)
    assert (health["recent_queries"], health["recent_errors"]) == (0, 0)
    assert (health["queries_processed"], health["errors"]) == (30, 10)


@pytest.mark.promise("OBS-2")
def test_a_failure_now_and_then_over_a_year_is_healthy(
    monitor: HealthMonitor, fake: FakeRuntime
) -> None:
    for _ in range(365):
        monitor.record_error(_ERROR)
        fake.advance(86_400)
        fake.step_wall_clock(-86_000)
        assert monitor.get_health()["status"] == "healthy"
    assert len(monitor._recent) == 0


@pytest.mark.promise("OBS-2")
def test_a_users_mistakes_are_no_failures_and_the_daemons_are(
    service: CIDXDaemonService, project: Project
) -> None:
    root = str(project.root)
    mistakes: list[Callable[[], object]] = [
        lambda: service.exposed_query(root, "password", limit=0),
        lambda: service.exposed_query_fts("/", "password"),
        lambda: service.exposed_query_hybrid(root, "password", nonsense=1),
        lambda: service.exposed_index(root, full="maybe"),
    ]
    for mistake in mistakes * 5:
        with pytest.raises(BadArgumentError):
            mistake()
    assert service.exposed_query(root, "password")["results"]
    health = service.exposed_get_health()
    assert health.keys() >= _KEYS
    assert (health["status"], health["errors"], health["error_rate"]) == ("healthy", 0, 0.0)
    assert (health["queries_processed"], health["cache_active"]) == (1, True)

    service.exposed_clear_cache()
    for chunk in project.generations.glob("*/*"):
        if chunk.is_file() and chunk.name != "manifest.json":
            chunk.write_bytes(b"damaged")
    for _ in range(10):
        with pytest.raises(IndexUnusableError):
            service.exposed_query_hybrid(root, "password")
    health = service.exposed_get_health()
    assert (health["status"], health["errors"], health["queries_processed"]) == ("degraded", 10, 11)
    assert health["error_rate"] == pytest.approx(10 / 11)
    assert health["cache_active"] is False


@pytest.mark.promise("OBS-2")
def test_what_nobody_thought_of_is_a_failure_too(
    service: CIDXDaemonService, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "answer", None)
    monkeypatch.setattr(OurIndex, "check", None)
    with pytest.raises(InternalError):
        service.exposed_query(str(project.root), "password")
    health = service.exposed_get_health()
    assert (health["queries_processed"], health["errors"]) == (1, 1)
    with pytest.raises(InternalError):
        service.exposed_get_diagnostics()
    health = service.exposed_get_health()
    assert (health["queries_processed"], health["errors"]) == (1, 2)
    service.exposed_clear_cache()


@pytest.mark.promise("OBS-2")
def test_an_index_that_fails_is_an_error_and_not_a_query(
    project: Project, fake: FakeRuntime
) -> None:
    other = HashingEmbedder()
    other.id = "not the one that builds"
    service = CIDXDaemonService(project.root, embedder=other, runtime=fake)
    with pytest.raises(IndexingError, match="'not the one that builds'"):
        service.exposed_index(str(project.root))
    health = service.exposed_get_health()
    assert health["errors"] == 1
    assert health["queries_processed"] == 0


@pytest.mark.promise("OBS-2")
def test_an_index_of_what_is_not_to_be_used_is_refused_and_no_failure(
    service: CIDXDaemonService, project: Project
) -> None:
    shutil.rmtree(project.generations)
    project.generations.write_text("in the way")
    with pytest.raises(UntrustedError, match="generations is a regular file, not a directory"):
        service.exposed_index(str(project.root))
    health = service.exposed_get_health()
    assert (health["errors"], health["queries_processed"]) == (0, 0)
    assert service.metrics.report()["calls"]["index"] == {"untrusted": 1}


@pytest.mark.promise("OBS-3")
def test_each_call_is_counted_once_with_its_outcome(
    service: CIDXDaemonService, project: Project, fake: FakeRuntime
) -> None:
    root = str(project.root)
    fake.at("open generation", lambda: fake.advance(0.25))

    def fails(kind: type[CidxError], call: Callable[[], object]) -> None:
        with pytest.raises(kind):
            call()

    service.exposed_query(root, "password")
    service.exposed_query(root, "password")
    service.exposed_query_fts(root, "password")
    service.exposed_query_hybrid(root, "password")
    fails(BadArgumentError, lambda: service.exposed_query(root, "", limit=-1))
    fails(BadArgumentError, lambda: service.exposed_query_fts("/", "password"))
    service.exposed_call("ping")
    service.exposed_call("query", f'{{"project_path": {root!r}, "query": "x"}}'.replace("'", '"'))
    service.exposed_clear_cache()
    service.exposed_query(root, "password")
    service.exposed_index(root, full=True)
    service.exposed_query(root, "password")
    fake.advance(600)
    assert service.evict_expired()
    project.generations.joinpath("current").unlink()
    fails(NoIndexError, lambda: service.exposed_query(root, "password"))
    service.gate.close()
    report = service.metrics.report()
    assert report["calls"] == {
        "query": {"ok": 5, "bad_argument": 1, "no_index": 1},
        "query_fts": {"ok": 1, "bad_argument": 1},
        "query_hybrid": {"ok": 1},
        "ping": {"ok": 1},
        "clear_cache": {"ok": 1},
        "index": {"ok": 1},
    }
    assert report["cache"] == {
        "hit": 5,
        "load": 3,
        "load_failed": 0,
        "evict": 1,
        "clear": 1,
        "replace": 1,
    }
    assert report["load_seconds"] == 0.75
    assert report["latency_ms"]["query"]["max"] == 250.0
    assert report["latency_ms"]["query"]["p50"] == 0.0


@pytest.mark.promise("OBS-3")
def test_the_log_tells_what_happened_and_why(
    service: CIDXDaemonService,
    project: Project,
    fake: FakeRuntime,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = str(project.root)
    generation = service.exposed_get_status()["generation"]
    caplog.set_level("INFO", "cidx_ref")
    fake.at("open generation", lambda: fake.advance(0.25))

    def logged(call: Callable[[], object], fails: type[CidxError] | None = None) -> list[str]:
        caplog.clear()
        with pytest.raises(fails) if fails else nullcontext():
            call()
        return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]

    def ask(**options: object) -> object:
        return service.exposed_query(root, "password", **options)

    load = f"INFO cache: load of generation {generation} (250.0 ms)"
    assert logged(ask) == [load]
    assert logged(ask) == [], "what goes as it should is in the metrics"
    clear = f"INFO cache: clear of generation {generation} (0.0 ms)"
    assert logged(service.exposed_clear_cache) == [clear]
    assert logged(ask) == [load]
    fake.advance(600)
    evict = f"INFO cache: evict of generation {generation} (0.0 ms)"
    assert logged(service.evict_expired) == [evict]

    (refused,) = logged(lambda: ask(limit=0), BadArgumentError)
    assert refused.startswith("INFO query refused: bad_argument: limit: 0: must be")
    (made,) = logged(lambda: service.exposed_index(root))
    assert made.startswith(f"INFO index of {root}: ")
    for file in (project.generations / "current").iterdir():
        if file.is_file() and file.name != "manifest.json":
            file.write_bytes(b"damaged")
    tried, failed = logged(ask, IndexUnusableError)
    assert tried.startswith(f"INFO cache: load_failed of generation {generation}")
    assert failed.startswith("ERROR query failed: the index is damaged (")

    monkeypatch.setattr(OurIndex, "check", None)
    assert logged(service.exposed_get_diagnostics, InternalError) == [
        "ERROR get_diagnostics failed"
    ]
    assert "TypeError: 'NoneType' object is not callable" in caplog.text


@pytest.mark.promise("OBS-3")
def test_counts_are_exact_under_many_threads(fake: FakeRuntime, hasty: None) -> None:
    metrics = Metrics(fake)

    def count() -> None:
        for _ in range(1000):
            metrics.count_call("query", _Word("ok"), 0.0)
            metrics.count_cache(_Word("load"), _Seconds(1.0))

    _all_at_once(count)
    report = metrics.report()
    assert report["calls"] == {"query": {"ok": 8000}}
    assert report["cache"]["load"] == 8000
    assert report["load_seconds"] == 8000.0


@pytest.mark.promise("OBS-2")
def test_health_is_exact_under_many_threads(monitor: HealthMonitor, hasty: None) -> None:
    def record() -> None:
        for _ in range(500):
            monitor.record_query(0.0)
            monitor.record_error(_ERROR)
            monitor.get_health()

    _all_at_once(record, threads=4)
    health = monitor.get_health()
    assert (health["queries_processed"], health["errors"]) == (2000, 2000)
    assert (health["recent_queries"], health["recent_errors"]) == (2000, 2000)


@pytest.mark.promise("OBS-3", "PERF-4")
def test_percentiles_are_of_the_last_thousand_calls(fake: FakeRuntime) -> None:
    metrics = Metrics(fake)
    metrics.count_call("query", "ok", 0.003)
    assert metrics.report()["latency_ms"]["query"] == {"p50": 3, "p95": 3, "p99": 3, "max": 3}
    for _ in range(500):
        metrics.count_call("query", "ok", 99.0)
    for ms in range(1000, 0, -1):
        metrics.count_call("query", "ok", ms / 1000)
    at = metrics.report()["latency_ms"]["query"]
    assert at == {
        "p50": pytest.approx(500, abs=1),
        "p95": pytest.approx(950, abs=1),
        "p99": pytest.approx(990, abs=1),
        "max": 1000,
    }
    assert metrics.report()["calls"] == {"query": {"ok": 1501}}
