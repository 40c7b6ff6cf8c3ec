"""What makes others wait: an index that runs, a publish, a slow neighbour (PERF-5, RPC-4).  How
long a publish does, of whatever size, is in `test_fresh`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

import clients
import pytest
import sides

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.own.fixtures import end_daemon
from cidx_ref.testing.promises.gates import CheckGate, RecordAim

READERS = 10


@pytest.mark.promise("PERF-5", "PERF-6")
@pytest.mark.parametrize(("mode", "limit_ms"), [("semantic", 100.0), ("fts", 20.0)])
def test_ten_readers_while_an_index_is_built_and_published_again_and_again(
    client: DaemonClient,
    stdlib: Project,
    gate: CheckGate,
    aim: RecordAim,
    mode: str,
    limit_ms: float,
) -> None:
    gaps: list[float] = []

    def measure() -> list[float]:
        with sides.meanwhile(READERS, stdlib, mode) as measured:
            chunks.update(client.index(full=True)["chunks"] for _ in range(2))
        gaps.append(sides.longest_gap_ms(measured))
        return sides.took(measured)

    chunks: set[int] = set()
    gate("PERF-5", f"{mode}, {READERS} readers, building", measure, limit_ms)
    aim(f"{mode}, longest gap across a publish, {chunks.pop():,} chunks", max(gaps), 50, "ms")


SLOW = '''
from time import perf_counter
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.runtime import SYSTEM

class Slow(HashingEmbedder):
    """Takes five seconds for one of the queries."""

    def embed_query(self, text):
        if "sluggish" in text:
            SYSTEM.sleep(5.0)
        return super().embed_query(text)
'''


@pytest.fixture
def with_a_slow_embedder(
    stdlib: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DaemonClient]:
    (tmp_path / "slow_embedder.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CIDX_REF_EMBEDDER", "slow_embedder:Slow")
    try:
        with DaemonClient(stdlib) as daemon:
            daemon.query("warm up")
            yield daemon
    finally:
        end_daemon(stdlib)


@pytest.mark.promise("RPC-4")
@pytest.mark.parametrize("mode", ["fts", "semantic"])
def test_a_slow_neighbour_moves_nobody_else(
    with_a_slow_embedder: DaemonClient, stdlib: Project, aim: RecordAim, mode: str
) -> None:
    numbers = count()  # the vector of a query that was asked before is kept

    def p95(slow: bool) -> float:
        text = f"sluggish {next(numbers)}"
        with DaemonClient(stdlib, start=False) as neighbour:
            ask: Callable[[], object] = lambda: neighbour.query(text, mode="semantic")  # noqa: E731
            thread = SYSTEM.thread(ask if slow else lambda: None, "neighbour")
            times = clients.measured(
                lambda text: with_a_slow_embedder.query(text, mode=mode), 1000
            )[1]
            thread.join(30)
        return percentile(times, 95)

    ratios = [p95(slow=True) / p95(slow=False) for _ in range(3)]
    aim(f"{mode} p95 beside a query of five seconds / without", median(ratios), 1.5)


def test_load_index_holds_the_gil_for_how_long(stdlib: Project, aim: RecordAim) -> None:
    """Why a publish is felt at all."""
    from cidx_ref.index.generation import Generations

    generations = Generations(stdlib.generations)
    found = generations.path(generations.current()).glob("*/vectors.hnsw")
    path = max(found, key=lambda path: path.stat().st_size)
    program = (
        "import sys, time, hnswlib; index = hnswlib.Index(space='cosine', dim=512);"
        " t = time.perf_counter(); index.load_index(sys.argv[1]);"
        " print(time.perf_counter() - t)"
    )
    seconds = float(subprocess.check_output([sys.executable, "-P", "-c", program, str(path)]))
    size_mb = path.stat().st_size / 1e6
    aim("load_index, which holds the GIL", seconds * 1000 / size_mb, unit="ms/MB")
