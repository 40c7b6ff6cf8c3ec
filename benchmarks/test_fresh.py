"""What it costs to be always fresh: from a save to a query that sees it, index runs beside full
builds, queries after many of them, and what a watcher takes while nothing happens."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from unittest.mock import patch

import clients
import idle
import numpy as np
import psutil
import pytest
import sides
from numpy.typing import NDArray
from repositories import Repository, check_in, copies
from saves import Editor, in_use, saving, seen_after, settle

from cidx_ref.client import DaemonClient
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import read_manifest
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.text import terms
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.own.fixtures import build, git
from cidx_ref.testing.promises.gates import CheckGate, RecordAim

READERS = 10


@pytest.fixture(params=["moderate", "large"])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def repository(request: pytest.FixtureRequest, size: str) -> Repository:
    found: Repository = request.getfixturevalue(size)
    return found


@pytest.mark.promise("FRESH-1")
def test_a_saved_file_is_seen_by_the_queries_after_it(
    repository: Repository, size: str, aim: RecordAim
) -> None:
    editor = Editor(repository.project)
    polled, fresh = [], []
    with in_use(repository.project) as client:
        for _ in range(40):
            polled.append(seen_after(client, editor.save()))
            settle(client)
        for _ in range(10):
            word = editor.save()
            began = perf_counter()
            hits = client.query(word, mode="fts", limit=3, fresh=True)
            fresh.append(perf_counter() - began)
            assert any(word in hit.snippet for hit in hits)
            settle(client)
    chunks = f"{repository.chunks:,} chunks"
    limit_s = {"moderate": 1.0, "large": 1.5}[size]
    aim(f"saved to seen by a query, p50, {chunks}", median(polled), unit="s")
    aim(f"saved to seen by a query, p95, {chunks}", percentile(polled, 95), limit_s, "s")
    aim(f"saved, then a query with `fresh`, p50, {chunks}", median(fresh), unit="s")


@pytest.mark.promise("FRESH-5")
def test_an_index_run_for_one_file_beside_a_full_build(
    repository: Repository, size: str, aim: RecordAim
) -> None:
    editor = Editor(repository.project, seed=1)
    with in_use(repository.project) as client:
        taken = [_run_after(client, editor.save) for _ in range(11)]
    chunks = f"{repository.chunks:,} chunks"
    limit_s, share = {"moderate": (0.4, 1 / 15), "large": (1.2, 1 / 100)}[size]
    aim(f"full build, {chunks}", repository.full_s, unit="s")
    aim(f"index run for one file, {chunks}", median(taken), limit_s, "s")
    aim(f"index run for one file / full build, {chunks}", median(taken) / repository.full_s, share)


@pytest.mark.promise("FRESH-5")
@pytest.mark.parametrize(("share", "limit"), [(0.01, 0.08), (0.1, 0.25)])
def test_an_index_run_for_a_share_of_the_files_beside_a_full_build(
    repository: Repository, share: float, limit: float, aim: RecordAim
) -> None:
    editor = Editor(repository.project, seed=2)
    times = 1 if repository.full_s > 60 and share > 0.05 else 3
    # Else the watch would have a run begun before the last of them is saved.
    with in_use(repository.project, watch=False) as client:
        taken = [_run_after(client, partial(editor.save_share, share)) for _ in range(times)]
    name = f"index run for {share:.0%} of the files / full build, {repository.chunks:,} chunks"
    aim(name, median(taken) / repository.full_s, limit)


def _run_after(client: DaemonClient, save: Callable[[], object]) -> float:
    """Seconds of an index run that is asked for as soon as something has been saved."""
    while True:
        save()
        began = perf_counter()
        is_changed = client.index()["changed"]
        taken = perf_counter() - began
        settle(client)
        if is_changed:  # else a run that the watch asked for was there first, on a busy machine
            return taken


@pytest.mark.promise("FRESH-5")
def test_an_index_run_that_finds_nothing_changed(many_files: Repository, aim: RecordAim) -> None:
    project, embedder = many_files.project, HashingEmbedder()

    def in_process() -> bool:
        return bool(bring_up_to_date(project, embedder)["changed"])

    with in_use(project) as client:

        def through_the_daemon() -> bool:
            return client.index()["changed"]

        for where, run in (("the daemon", through_the_daemon), ("this process", in_process)):
            taken = []
            for _ in range(7):
                began = perf_counter()
                assert not run()
                taken.append(perf_counter() - began)
            name = f"nothing changed, {many_files.chunks:,} files, by {where}"
            aim(name, median(taken), 0.5 if where == "the daemon" else None, "s")


@pytest.mark.promise("PERF-6")
def test_the_longest_gap_across_a_publish(repository: Repository, aim: RecordAim) -> None:
    editor = Editor(repository.project, seed=3)
    gaps = []
    with in_use(repository.project) as client:
        for _ in range(5):
            with sides.meanwhile(READERS, repository.project, "fts") as measured:
                editor.save()
                client.index()
            gaps.append(sides.longest_gap_ms(measured))
            settle(client)
    name = f"fts, longest gap across a publish, {repository.chunks:,} chunks"
    aim(name, median(gaps), 50, "ms")
    aim(f"{name}, the worst of {len(gaps)}", max(gaps), unit="ms")


@pytest.mark.promise("PERF-5")
def test_answers_while_somebody_saves_a_file_each_second(
    repository: Repository, aim: RecordAim
) -> None:
    editor = Editor(repository.project, seed=4)
    with in_use(repository.project) as client:

        def answers_a_second(saves: bool) -> float:
            with ExitStack() as stack:
                if saves:
                    stack.enter_context(saving(editor, 1.0))
                with sides.meanwhile(READERS, repository.project, "hybrid") as measured:
                    SYSTEM.sleep(4.0)
            settle(client)
            return sides.throughput(measured)

        rounds = [(answers_a_second(True), answers_a_second(False)) for _ in range(3)]
    name = f"hybrid answers a second, {READERS} clients, {repository.chunks:,} chunks"
    aim(name, median(without for _, without in rounds), unit="1/s")
    aim(f"{name}: with a save each second / without", median(a / b for a, b in rounds))


# After many runs.

RUNS = 200


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory, stdlib: Project) -> tuple[Project, Project]:
    """Two of the same tree: after many random edits with an index run each, and indexed anew."""
    above = tmp_path_factory.mktemp("edited")
    project = copies(above / "tree", 1, stdlib)
    build(project)
    random, editor = Random(5), Editor(project, seed=5)
    for number in range(RUNS):
        _edit(editor, random, number)
        bring_up_to_date(project, HashingEmbedder())
    shutil.copytree(project.root, above / "anew", ignore=shutil.ignore_patterns(".code-indexer"))
    anew = Project.at(above / "anew")
    build(anew)
    return project, anew


def _edit(editor: Editor, random: Random, number: int) -> None:
    """Change a few files, remove one, make one, or rename one."""
    chosen = random.sample(range(len(editor.files)), random.choice([1, 1, 1, 2, 5]))
    kind = random.choice(["save"] * 7 + ["remove", "make", "rename"])
    if kind == "save":
        for which in chosen:
            editor.save(editor.files[which])
    elif kind == "remove":
        editor.files.pop(chosen[0]).unlink()
    else:
        old = editor.files[chosen[0]]
        new = old.with_name(f"made{number}.py")
        if kind == "rename":
            old.rename(new)
            editor.files[chosen[0]] = new
        else:
            shutil.copyfile(old, new)
            editor.save(new)
            editor.files.append(new)


@pytest.mark.promise("FRESH-4", "PERF-4")
def test_queries_and_memory_after_many_runs_beside_an_index_built_anew(
    edited: tuple[Project, Project], aim: RecordAim
) -> None:
    times: dict[str, list[list[list[float]]]] = {mode: [[], []] for mode in ("hybrid", "fts")}
    with ExitStack() as stack:
        asked = [stack.enter_context(in_use(project)) for project in edited]
        assert len({client.status()["chunks"] for client in asked}) == 1
        for _ in range(5):
            for mode, sides_of_it in times.items():
                for client, taken in zip(asked, sides_of_it, strict=True):
                    taken.append(clients.measured(partial(client.query, mode=mode), 150)[1])
        memory = [_proportional_mb(client.ping()["pid"]) for client in asked]
    for mode, (ours, anew) in times.items():
        limit = 1.3 if mode == "hybrid" else None
        aim(f"{mode} p50 after {RUNS} runs / anew", sides.ratio(ours, anew), limit)
    aim(f"memory after {RUNS} runs / anew", memory[0] / memory[1], 1.15)
    aim(f"chunks in segments after {RUNS} runs, dead ones too / alive", _dead_too(edited[0]))
    on_disk = [_on_disk(project) for project in edited]
    aim(f"disk after {RUNS} runs / anew", on_disk[0] / on_disk[1], 1.5)


def _proportional_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / 1e6


def _dead_too(project: Project) -> float:
    """How much of the index searches and memory have to bear that is found no more."""
    generations = Generations(project.generations)
    manifest = read_manifest(generations.path(generations.current()))
    places = sum(segment["chunks"] for segment in manifest["segments"].values())
    return float(places / manifest["counts"]["chunks"])


def _on_disk(project: Project) -> int:
    """Bytes of all generations: what several have is there once."""
    files = {}
    for path in project.generations.rglob("*"):
        status = path.lstat()
        files[status.st_ino] = status.st_size
    return sum(files.values())


# While nothing happens.


def test_an_idle_daemon_beside_one_that_never_watched(
    tmp_path: Path, stdlib: Project, aim: RecordAim
) -> None:
    found = idle.measured(tmp_path, stdlib, seconds=30.0)
    for kind, other, name in (
        ("rests", "never", "that has watched, and rests"),
        ("watches", "loaded", "that watches"),
    ):
        ours, beside = found[kind], found[other]
        limits = (1.1, 1.5) if kind == "rests" else (None, None)
        aim(f"memory of a daemon {name} / never watched", ours.mb / beside.mb, limits[0])
        aim(f"CPU of a daemon {name} / never watched", ours.cpu_ms / beside.cpu_ms, limits[1])
        aim(f"a daemon {name}: memory", ours.mb, unit="MB")
        aim(f"a daemon {name}: CPU", ours.cpu_ms / 10, unit="% of one")
        aim(f"a daemon {name}: threads", ours.threads)


# What is found.


@pytest.mark.promise("QRY-1")
def test_the_first_hit_of_a_rare_word_is_that_of_exact_search(
    repository: Repository, aim: RecordAim
) -> None:
    embedder = HashingEmbedder()
    generations = GenerationSource(repository.project.generations, embedder)
    snapshot = generations.load(generations.current())
    assert snapshot.semantic is not None
    words = _rare_words(repository.project, 1000)
    vectors = np.stack([embedder.embed_query(word) for word in words])
    right = alone = 0
    for word, vector, nearest in zip(words, vectors, _nearest(snapshot, vectors), strict=True):
        # Of equally near chunks any may be first.
        alone += snapshot.semantic.search(vector, 10)[0][1] >= nearest[0][1] - 1e-5
        found = _first_score(snapshot, word, embedder)
        with patch.object(snapshot.semantic, "search", _always(nearest)):
            right += found >= _first_score(snapshot, word, embedder) - 1e-5
    name = f"first hit of {len(words):,} rare words, {repository.chunks:,} chunks"
    aim(name, 100 * right / len(words), 99.5, "% right", at_least=True)
    aim(f"{name}, graphs alone", 100 * alone / len(words), unit="% right")
    snapshot.close()


def _first_score(snapshot: IndexSnapshot, word: str, embedder: HashingEmbedder) -> float:
    hits = answer(snapshot, Search(word, "semantic", 1), embedder)["results"]
    return float(hits[0]["score"]) if hits else -2.0


def _always(nearest: list[tuple[int, float]]) -> Callable[..., list[tuple[int, float]]]:
    return lambda vector, k, allowed=None: nearest[:k]


def _rare_words(project: Project, count: int) -> list[str]:
    """Words that stand in a single file of the repository's first copy of the library."""
    files: Counter[str] = Counter()
    for path in sorted((project.root / "copy0").rglob("*.py")):
        text = path.read_text("utf-8", "replace")
        files.update({term for term in terms(text) if term.isalpha() and 5 <= len(term) <= 20})
    rare = sorted(term for term, number in files.items() if number == 1)
    return Random(6).sample(rare, count)


def _nearest(
    snapshot: IndexSnapshot, vectors: NDArray[np.float32], k: int = 256
) -> list[list[tuple[int, float]]]:
    """Of each vector the `k` nearest that are alive, by products with all."""
    queries = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, scores = np.zeros((len(queries), 0), np.intp), np.zeros((len(queries), 0), np.float32)
    for part in snapshot.chunks.parts:
        inside = np.arange(len(part)) if part.alive is None else np.flatnonzero(part.alive)
        for begin in range(0, len(inside), 4096):
            block = inside[begin : begin + 4096]
            more = queries @ part.segment.vectors_of(block).T
            numbers = np.broadcast_to(block + part.first_chunk, more.shape)
            scores = np.hstack([scores, more])
            labels = np.hstack([labels, numbers])
            best = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
            scores = np.take_along_axis(scores, best, axis=1)
            labels = np.take_along_axis(labels, best, axis=1)
    best = np.argsort(-scores, axis=1)
    scores = np.take_along_axis(scores, best, axis=1)
    labels = np.take_along_axis(labels, best, axis=1)
    pairs = zip(labels.tolist(), scores.tolist(), strict=True)
    return [list(zip(*pair, strict=True)) for pair in pairs]


# All at once.

SWITCHED = 5_000


@pytest.fixture
def branches(many_files: Repository) -> Iterator[dict[str, str]]:
    """Two branches that differ in many files; of each, a word that is in the last one only."""
    root = many_files.project.root
    files = sorted(root.rglob("*.py"))
    changed = files[:: len(files) // SWITCHED][:SWITCHED]
    words = {"main": "qbcdfmainbranch", "other": "qbcdfotherbranch"}
    before = {path: path.read_bytes() for path in changed}
    for branch, word in words.items():
        if branch != "main":
            git(root, "checkout", "--quiet", "-b", branch)
        for path in changed if branch != "main" else changed[-1:]:
            path.write_bytes(before[path] + f"\ndef {word}():\n    return 1\n".encode())
        check_in(root)
    git(root, "checkout", "--quiet", "main")
    yield words
    git(root, "checkout", "--quiet", "main")


@pytest.mark.promise("PERF-5")
def test_a_branch_switch_under_readers_takes_one_run(
    many_files: Repository, branches: dict[str, str], gate: CheckGate, aim: RecordAim
) -> None:
    project = many_files.project
    runs, seen = [], []
    with in_use(project) as client:
        client.index()
        settle(client)
        words = iter([*branches.items()] * 4)
        next(words)  # main is where it is

        def measure(mode: str) -> list[float]:
            before = client.metrics()["watch"]["runs"]
            branch, word = next(words)
            with sides.meanwhile(READERS, project, mode) as measured:
                git(project.root, "checkout", "--quiet", branch)
                seen.append(seen_after(client, word))
            settle(client)
            runs.append(client.metrics()["watch"]["runs"] - before)
            return sides.took(measured)

        for mode, limit_ms in (("fts", 20.0), ("semantic", 100.0)):
            name = f"{mode}, {READERS} readers, {SWITCHED:,} files change"
            gate("PERF-5", name, partial(measure, mode), limit_ms)
    aim(f"{SWITCHED:,} files change at once: index runs", max(runs), 2)
    aim(f"{SWITCHED:,} files change at once: seconds until seen", median(seen), unit="s")
