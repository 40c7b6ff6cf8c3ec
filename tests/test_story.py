"""The tests that the story brings (docs/requirements.md), as written, on real projects.

Only what it leaves open is filled in: where the projects come from, how a test daemon is started
and asked, and that what was opened is closed.  Its waiting-free style of measuring is kept.
"""

# ruff: noqa: F841 - its code, not ours

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor  # noqa: TID251 - its own
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from rpyc.utils.factory import unix_connect
from rpyc.utils.server import ThreadedServer

from cidx_ref import CacheEvictionThread, CIDXDaemonService
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM as datetime  # noqa: N811 - the clock that it asks is ours


@pytest.mark.promise("CACHE-1")
def test_cache_basic_operations(project: Project) -> None:
    """Test cache get/set/evict."""
    service = CIDXDaemonService()

    # First query - cache miss
    result1 = service.exposed_query(str(project.root), "test")
    assert service.cache_entry.access_count == 1  # type: ignore[union-attr]

    # Second query - cache hit
    result2 = service.exposed_query(str(project.root), "test")
    assert service.cache_entry.access_count == 2  # type: ignore[union-attr]


@pytest.mark.promise("PERF-3", "CACHE-1")
def test_concurrent_reads(project: Project) -> None:
    """Test multiple concurrent read queries."""
    service = CIDXDaemonService()

    def read_query(i: int) -> Any:
        return service.exposed_query(str(project.root), f"query {i}")

    with ThreadPoolExecutor(max_workers=10) as executor:
        futures = [executor.submit(read_query, i) for i in range(10)]
        results = [f.result() for f in futures]

    assert len(results) == 10
    assert service.cache_entry.access_count == 10  # type: ignore[union-attr]


@pytest.mark.promise("TTL-1")
def test_ttl_eviction(project: Project) -> None:
    """Test TTL-based cache eviction."""
    service = CIDXDaemonService()

    # Add cache entry
    service.exposed_query(str(project.root), "test")

    # Simulate TTL expiration (10 minutes)
    entry = service.cache_entry
    entry.last_accessed = datetime.now() - timedelta(minutes=11)  # type: ignore[union-attr]

    # Run eviction
    eviction_thread = CacheEvictionThread(service)
    eviction_thread._check_and_evict()

    assert service.cache_entry is None


@pytest.mark.promise("SRV-2")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_socket_binding_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test socket binding prevents duplicate daemons."""
    monkeypatch.chdir(tmp_path)  # a socket's address must be short, and a temporary path may not be
    socket_path = Path("test-daemon.sock")

    # Start first daemon
    server1 = ThreadedServer(CIDXDaemonService, socket_path=str(socket_path))

    # Try to start second daemon - should fail
    with pytest.raises(OSError) as exc_info:
        server2 = ThreadedServer(CIDXDaemonService, socket_path=str(socket_path))

    assert "Address already in use" in str(exc_info.value)
    server1.close()
    del exc_info
    gc.collect()  # RPyC leaves the second socket to the garbage collector


@pytest.fixture
def start_test_daemon(stdlib: Project, running: Callable[[Project], int]) -> Iterator[Any]:
    """The story's helper: the daemon of a real project, and a plain RPyC connection to it."""
    connections: list[Any] = []

    def start() -> Any:
        if not connections:
            running(stdlib)
            connections.append(unix_connect(str(stdlib.socket_path)))
        connections[0].root.clear_cache()
        return connections[0]

    yield start
    for connection in connections:
        connection.close()


def by_the_clock(test: Callable[..., None]) -> Callable[..., None]:
    """A test that compares two times taken once: what else runs can spoil it, but not thrice."""

    @wraps(test)
    def attempted(*args: Any, **kwargs: Any) -> None:
        for _ in range(2):
            with suppress(AssertionError):
                return test(*args, **kwargs)
        return test(*args, **kwargs)

    return attempted


@pytest.mark.once
@pytest.mark.promise("CACHE-1")
@by_the_clock
def test_real_index_caching(stdlib: Project, start_test_daemon: Callable[[], Any]) -> None:
    """Test with actual index files."""
    # Start daemon
    daemon = start_test_daemon()

    def query_daemon(path: str, text: str) -> Any:
        return daemon.root.query(path, text)

    # First query - loads from disk
    start = time.perf_counter()
    result1 = query_daemon(str(stdlib.root), "authentication")
    load_time = time.perf_counter() - start

    # Second query - uses cache
    start = time.perf_counter()
    result2 = query_daemon(str(stdlib.root), "authentication")
    cache_time = time.perf_counter() - start

    assert cache_time < load_time * 0.1  # 90% faster


@pytest.mark.once
@pytest.mark.promise("CACHE-1")
@by_the_clock
def test_fts_caching(stdlib: Project, start_test_daemon: Callable[[], Any]) -> None:
    """Test FTS index caching."""
    daemon = start_test_daemon()

    def query_fts_daemon(path: str, text: str) -> Any:
        return daemon.root.query_fts(path, text)

    # First FTS query - loads Tantivy index
    start = time.perf_counter()
    result1 = query_fts_daemon(str(stdlib.root), "function")
    load_time = time.perf_counter() - start

    # Second FTS query - uses cached searcher
    start = time.perf_counter()
    result2 = query_fts_daemon(str(stdlib.root), "function")
    cache_time = time.perf_counter() - start

    assert cache_time < load_time * 0.05  # 95% faster


@pytest.mark.once
@pytest.mark.promise("QRY-3")
@by_the_clock
def test_hybrid_parallel_execution(stdlib: Project, start_test_daemon: Callable[[], Any]) -> None:
    """Test hybrid search runs in parallel."""
    daemon = start_test_daemon()

    def query_hybrid_daemon(path: str, text: str) -> Any:
        return daemon.root.query_hybrid(path, text)

    start = time.perf_counter()
    result = query_hybrid_daemon(str(stdlib.root), "test")
    duration = time.perf_counter() - start

    # Should be close to max(semantic, fts), not sum
    assert duration < 1.5  # Not 2.5s
    assert result["semantic_count"] > 0
    assert result["fts_count"] > 0


@pytest.mark.promise("PERF-1")
def test_cache_performance(project: Project) -> None:
    """Measure cache hit performance."""
    service = CIDXDaemonService()

    # Warm cache
    service.exposed_query(str(project.root), "warmup")

    # Measure cache hits
    times = []
    for i in range(100):
        start = time.perf_counter()
        service.exposed_query(str(project.root), f"query {i}")
        times.append(time.perf_counter() - start)

    avg_time = sum(times) / len(times)
    assert avg_time < 0.1  # <100ms average
