"""How time and memory grow with the repository, and what a build costs beside its floor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from math import log
from pathlib import Path
from statistics import linear_regression, median
from time import perf_counter

import clients
import psutil
import pytest
from repositories import synthetic

from cidx_ref.client import DaemonClient
from cidx_ref.index.generation import Generations
from cidx_ref.project import Project
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.own.fixtures import end_daemon
from cidx_ref.testing.promises import charts
from cidx_ref.testing.promises.gates import RecordAim, Results

SIZES = (1_000, 10_000, 100_000)
DEEP_SIZES = (*SIZES, 500_000)


def measured(project: Project) -> dict[str, float]:
    """One size: what its index costs, and what a query does."""
    began = perf_counter()
    with DaemonClient(project) as client:
        chunks = client.index()["chunks"]
        build_s = perf_counter() - began
        daemon = psutil.Process(client.ping()["pid"])
        idle_mb = daemon.memory_info().rss / 1e6
        began = perf_counter()
        client.query("warm up")
        load_ms = (perf_counter() - began) * 1000
        times = clients.measured(client.query, 400)[1]
        loaded_mb = daemon.memory_info().rss / 1e6
    generations = Generations(project.generations)
    directory = generations.path(generations.current())
    on_disk = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return {
        "chunks": chunks,
        "build, s": build_s,
        "load, ms": load_ms,
        "query p50, ms": median(times),
        "query p95, ms": percentile(times, 95),
        "disk, MB": on_disk / 1e6,
        "memory, MB": loaded_mb - idle_mb,
    }


def grown(
    sizes: tuple[int, ...], tmp_path: Path, stdlib: Project, aim: RecordAim, results: Results
) -> None:
    rows = []
    for size in sizes:
        project = synthetic(tmp_path / str(size), size, stdlib)
        try:
            rows.append(measured(project))
        finally:
            end_daemon(project)
    for name in list(rows[0])[1:]:
        for row in rows:
            aim(f"growth, {row['chunks']:,.0f} chunks: {name}", row[name])
        slope = linear_regression([log(r["chunks"]) for r in rows], [log(r[name]) for r in rows])
        aim(f"growth, exponent of {name.partition(',')[0]}", slope.slope)
    largest = rows[-1]
    for where in ("disk", "memory"):
        share = largest[f"{where}, MB"] * 1e6 / largest["chunks"]
        aim(f"growth, bytes a chunk, {where}", share, unit="bytes")
    results.notes["growth"] = rows
    series = {n: [(r["chunks"], r[n]) for r in rows] for n in list(rows[0])[1:]}
    results.charts["growth"] = charts.lines("by chunks, logarithmic", series)


def test_growth(tmp_path: Path, stdlib: Project, aim: RecordAim, results: Results) -> None:
    grown(SIZES, tmp_path, stdlib, aim, results)


@pytest.mark.deep
def test_growth_to_half_a_million(
    tmp_path: Path, stdlib: Project, aim: RecordAim, results: Results
) -> None:
    grown(DEEP_SIZES, tmp_path, stdlib, aim, results)


FLOOR = '''
"""hnswlib and tantivy on ready-made input, with the same parameters, one after the other."""
import sys, tempfile, time, pathlib
import hnswlib, numpy, tantivy
from cidx_ref.index.fulltext import _schema
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import read_manifest
from cidx_ref.index.segment import Segment
from cidx_ref.index.semantic import _EF_CONSTRUCTION, _M
from cidx_ref.index.text import terms
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM

generations = Generations(Project.at(sys.argv[1]).generations)
directory = generations.path(generations.current())
described = read_manifest(directory)["segments"]
segments = [Segment(directory / name, described[name], 512) for name in described]
vectors = numpy.concatenate([each.vectors_of(range(len(each.store))) for each in segments])
texts = [
    " ".join(terms(each.store.read(n).text)) for each in segments for n in range(len(each.store))
]

def link():
    index = hnswlib.Index(space="cosine", dim=512)
    index.init_index(max_elements=len(vectors), M=_M, ef_construction=_EF_CONSTRUCTION)
    for begin in range(0, len(vectors), 256):
        batch = vectors[begin : begin + 256]
        index.add_items(batch, numpy.arange(begin, begin + len(batch)))

def write():
    writer = tantivy.Index(_schema(), tempfile.mkdtemp(dir=sys.argv[2])).writer(64_000_000, 1)
    for number, text in enumerate(texts):
        document = tantivy.Document()
        document.add_text("body", text)
        document.add_unsigned("chunk", number)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()

began = time.perf_counter()
linking = SYSTEM.thread(link, "link")
write()
linking.join()
print(time.perf_counter() - began)
'''


def test_a_full_build_beside_its_floor(
    stdlib: Project, running: Callable[[Project], int], tmp_path: Path, aim: RecordAim
) -> None:
    running(stdlib)
    with DaemonClient(stdlib, start=False) as client:
        built = [client.index(full=True) for _ in range(3)]
    ours = median(report["took_ms"] / 1000 for report in built)
    chunks = built[0]["chunks"]
    command = [sys.executable, "-P", "-c", FLOOR, str(stdlib.root), str(tmp_path)]
    floor = median(float(subprocess.check_output(command)) for _ in range(3))
    aim("full build: ours / floor", ours / floor, 3)
    aim("full build: ours", chunks / ours, unit="chunks/s")
    aim("full build: floor", chunks / floor, unit="chunks/s")
