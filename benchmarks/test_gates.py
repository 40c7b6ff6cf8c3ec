"""The story's latency targets as gates: a real socket, a real repository, measured at the client.

p95 over many calls; a gate fails only if a second attempt misses it, too, because the machine is
shared.  The targets are met many times over: what the figures are worth is their distance from
the gate, which is printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import quantiles
from typing import Any

import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM

CALLS = 500
TEXTS = (
    "split a string with shell-like syntax",
    "parse HTTP headers",
    "open a socket and retry",
    "class decorator",
    "encode bytes as base64",
    "worker thread pool",
    "walk a directory tree",
    "date and time zone",
)
Measure = Callable[[], list[float]]


@pytest.fixture
def client(stdlib: Project, running: Callable[[Project], int]) -> Iterator[DaemonClient]:
    running(stdlib)
    with DaemonClient(stdlib, start=False) as connected:
        assert connected.status()["chunks"] >= 9000
        connected.query("warm up")
        yield connected


def milliseconds(client: DaemonClient, mode: str, calls: int = CALLS) -> list[float]:
    """How long each of so many queries took, all hits decoded."""
    times = []
    for number in range(calls):
        started = time.perf_counter()
        answer = client.query(f"{TEXTS[number % len(TEXTS)]} {number}", mode=mode)
        times.append((time.perf_counter() - started) * 1000)
        assert answer
    return times


def p95(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]


def gate(measure: Measure, limit_ms: float) -> float:
    """The p95 of `measure`, or of a second attempt where the first misses the gate."""
    found = p95(measure())
    return found if found < limit_ms else p95(measure())


@pytest.mark.promise("PERF-1")
@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
def test_a_warm_query_answers_within_100_ms(
    client: DaemonClient, figure: Any, benchmark: Any, mode: str
) -> None:
    found = gate(lambda: milliseconds(client, mode), 100)
    figure("PERF-1", f"{mode} p95", round(found, 2), unit="ms")
    benchmark.pedantic(client.query, ("class decorator",), {"mode": mode}, rounds=50)
    assert found < 100


@pytest.mark.promise("PERF-2")
def test_a_warm_full_text_query_answers_within_20_ms(
    client: DaemonClient, figure: Any, benchmark: Any
) -> None:
    found = gate(lambda: milliseconds(client, "fts"), 20)
    figure("PERF-2", "fts p95", round(found, 2), unit="ms")
    benchmark.pedantic(client.query, ("class decorator",), {"mode": "fts"}, rounds=50)
    assert found < 20


def _side_by_side(project: Project, mode: str, readers: int, calls: int) -> list[float]:
    """Latencies of so many readers at once, each with a connection of its own."""
    times: list[float] = []
    errors: list[BaseException] = []

    def read() -> None:
        try:
            with DaemonClient(project, start=False) as own:
                times.extend(milliseconds(own, mode, calls))
        except BaseException as error:
            errors.append(error)

    threads = [SYSTEM.thread(read, f"reader {n}") for n in range(readers)]
    for thread in threads:
        thread.join(120)
    assert not errors
    return times


@pytest.mark.promise("PERF-3")
@pytest.mark.parametrize(("mode", "limit_ms"), [("semantic", 100), ("fts", 20)])
def test_ten_readers_at_once_stay_within_the_gates(
    client: DaemonClient, stdlib: Project, figure: Any, mode: str, limit_ms: float
) -> None:
    found = gate(lambda: _side_by_side(stdlib, mode, readers=10, calls=50), limit_ms)
    figure("PERF-3", f"{mode} p95, 10 readers", round(found, 2), unit="ms")
    assert found < limit_ms


@pytest.mark.promise("PERF-5")
@pytest.mark.parametrize(("mode", "limit_ms"), [("semantic", 100), ("fts", 20)])
def test_the_gates_hold_while_an_index_runs(
    client: DaemonClient, stdlib: Project, figure: Any, mode: str, limit_ms: float
) -> None:
    done = SYSTEM.event("index done")

    def index() -> None:
        try:
            with DaemonClient(stdlib, start=False) as writer:
                writer.index(full=True)
        finally:
            done.set()

    def measure() -> list[float]:
        done.clear()
        writer = SYSTEM.thread(index, "writer")
        times: list[float] = []
        while not done.is_set():
            times += milliseconds(client, mode, calls=20)
        writer.join(120)
        # Across the publish: the first queries of the new generation are in it, too.
        return times + milliseconds(client, mode, calls=20)

    found = gate(measure, limit_ms)
    figure("PERF-5", f"{mode} p95 while indexing", round(found, 2), unit="ms")
    assert found < limit_ms


@pytest.mark.promise("PERF-4")
def test_memory_is_flat_over_a_thousand_queries(
    client: DaemonClient, stdlib: Project, figure: Any
) -> None:
    import psutil

    daemon = psutil.Process(client.ping()["pid"])
    for mode in ("hybrid", "semantic", "fts"):  # caches of terms and the like fill up first
        milliseconds(client, mode, calls=300)
    before = daemon.memory_info().rss
    milliseconds(client, "hybrid", calls=1000)
    grown = (daemon.memory_info().rss - before) / 1e6
    figure("PERF-4", "growth over 1000 queries", round(grown, 2), unit="MB")
    assert grown < 2.0
