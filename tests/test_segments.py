"""Segments: one index of many, what generations share of them on disk and in memory."""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from segments import graphs, indexed, live, nothing_tiny, segment

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import IndexingError, IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index import merging, vocabulary
from cidx_ref.index.analysis import Terms, terms_of_chunk
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.filters import Filters
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.live import LiveChunks, key_of
from cidx_ref.index.loaded import LoadedSegments
from cidx_ref.index.manifest import GRAPH, MATRIX, damaged_files, read_manifest, unnamed_files
from cidx_ref.index.merging import merge_once
from cidx_ref.index.nearest import Nearest
from cidx_ref.index.port import Search
from cidx_ref.index.segment import Segment, SegmentWriter
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import ROW, ROW_FORMAT
from cidx_ref.index.vocabulary import Vocabulary, WordFile, WordWriter
from cidx_ref.project import Project
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.concurrency.explore import Scenario, exhaustive
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.fixtures import MakeProject, build, write

pytestmark = pytest.mark.once

DIM = 8
#: Two segments with dead files in them, one without, one of which all is dead, one of nothing.
SHAPES = {"a": [3, 1, 0, 2], "b": [5], "c": [2, 2, 2, 2, 2, 2], "d": [1, 4], "e": []}
DEAD = {"a": [1, 2], "c": [0, 3, 5], "d": [0, 1]}

Vectors = np.ndarray[Any, np.dtype[np.float32]]


def make(
    path: Path, files: Sequence[tuple[StoredFile, Sequence[str]]], vectors: Vectors
) -> Segment:
    """A segment in a new directory at `path`, loaded."""
    path.mkdir()
    with Directory.open(path) as directory, SegmentWriter(directory, vectors.shape[1]) as writer:
        for file, texts in files:
            chunks = [Chunk(f"name{n}", n + 1, n + 2, text) for n, text in enumerate(texts)]
            terms = [Terms(text, f"x{text}", "") for text in texts]
            writer.add_file(file, chunks, terms)
        writer.add_vectors(vectors)
        written = writer.save()
    return Segment(path, written._asdict(), vectors.shape[1])


class Many:
    """Segments of `SHAPES`, and what is in them, one by one."""

    def __init__(self, root: Path, dead: Mapping[str, Sequence[int]] = DEAD) -> None:
        rng = np.random.default_rng(1)
        self.segments: dict[str, Segment] = {}
        #: By the number of each live chunk: its file, its place in that, and its vector.
        self.alive: dict[int, tuple[StoredFile, int, Vectors]] = {}
        self.dead_ids: list[int] = []
        self.places = 0
        for name, sizes in SHAPES.items():
            files = []
            stored = rng.normal(size=(sum(sizes), DIM)).astype(np.float32)
            stored /= np.linalg.norm(stored, axis=1, keepdims=True)
            at = 0
            for number, size in enumerate(sizes):
                identity = 100 * len(self.segments) + 7 * number + 1
                language = ("python", "java")[number % 2]
                path = f"{name}/{number}.{language}"
                file = StoredFile(identity, path, language, f"{identity:032x}", False, size)
                files.append((file, [f"text{identity}of{n}" for n in range(size)]))
                for n in range(size):
                    if number not in dead.get(name, ()):
                        self.alive[self.places + at + n] = file, n, stored[at + n]
                at += size
                if number in dead.get(name, ()):
                    self.dead_ids.append(identity)
            self.segments[name] = make(root / name, files, stored)
            self.places += at
        self.chunks = LiveChunks(self.segments, dead)

    def close(self) -> None:
        for each in self.segments.values():
            each.close()


@pytest.fixture(params=["matrices", "graphs"])
def many(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Many]:
    is_linked = request.param == "graphs"
    with graphs() if is_linked else nullcontext(), closing(Many(tmp_path)) as made:
        names = {path.name for path in tmp_path.glob("*/vectors.*")}
        assert GRAPH in names if is_linked else names == {MATRIX}
        yield made


# The chunks that are alive.


@pytest.mark.promise("QRY-1")
def test_numbers_go_through_all_segments_and_only_what_is_alive_counts(many: Many) -> None:
    chunks = many.chunks
    assert (len(chunks), chunks.places) == (len(many.alive), many.places)
    assert chunks.file_count == sum(map(len, SHAPES.values())) - len(many.dead_ids)
    for number, (file, ordinal, _) in many.alive.items():
        found = chunks.read(number)
        assert (found.path, found.text) == (file.path, f"text{file.id}of{ordinal}")
        assert (found.line_start, found.name) == (ordinal + 1, f"name{ordinal}")
        of = chunks.file_of(number)
        assert chunks.file(of) == file
        assert chunks.digest_of(of) == file.digest


def test_a_row_is_read_as_numpy_has_it(many: Many) -> None:
    assert ROW_FORMAT.size == ROW.itemsize
    for part in many.chunks.parts:
        store = part.segment.store
        for chunk, row in enumerate(store.rows):
            assert store._row(chunk) == row.item()
            file, names = store.file_and_names(chunk)
            read = store.read(chunk)
            assert file == store.file_of(chunk)
            assert names.split("\n") == [read.name, *read.defines]
            assert store.name_of(chunk) == read.name
            assert store.place_of(chunk) == (read.path, read.line_start)


def test_rows_of_another_kind_are_an_index_that_cannot_be_used(make_project: MakeProject) -> None:
    project = make_project({"a.py": "def f():\n    return 1\n"})
    build(project)
    (rows,) = (project.generations / "current").glob("s*/chunks.npy")
    np.save(rows, np.zeros(1, dtype=[("file", "<u4")]))
    with pytest.raises(IndexUnusableError, match="another kind"):
        ChunkStore(rows.parent)


@pytest.mark.promise("QRY-1")
def test_a_chunk_is_located_by_its_file_s_id_and_its_place_in_it(many: Many) -> None:
    keys = {number: key_of(file.id, n) for number, (file, n, _) in many.alive.items()}
    assert many.chunks.located([*keys.values()]) == [*keys]
    assert many.chunks.located([*reversed(keys.values())]) == [*reversed(keys)]
    assert many.chunks.located([]) == []
    for identity in (*many.dead_ids, 0, 99_999, (1 << 43) + 1):
        with pytest.raises(IndexUnusableError, match="in no segment"):
            many.chunks.located([next(iter(keys.values())), key_of(identity, 0)])


def test_of_no_segments_nothing_is_found() -> None:
    nothing = LiveChunks({})
    assert (len(nothing), nothing.file_count, nothing.places, nothing.size_bytes) == (0, 0, 0, 0)
    assert nothing.find_literally("x", 5, None) == nothing.scan(lambda chunk: True, 5, None) == []
    mask = nothing.mask(Filters(languages=("python",)))
    assert mask is not None
    assert (len(mask.files), len(mask.chunks)) == (0, 0)
    with pytest.raises(IndexUnusableError):
        nothing.located([1])
    vector = np.ones(DIM, np.float32)
    assert Nearest(nothing.parts).search(vector, 5) == Nearest(nothing.parts).rank(vector, 5) == []


FILTERS = [
    Filters(languages=("python",)),
    Filters(paths=("a/",)),
    Filters(exclude_paths=("a/", "b/")),
    Filters(languages=("java",), paths=("c/", "d/")),
    Filters(languages=("go",)),
]


def passes(filters: Filters, file: StoredFile) -> bool:
    folder = f"{file.path.partition('/')[0]}/"
    return (
        (not filters.languages or file.language in filters.languages)
        and (not filters.paths or folder in filters.paths)
        and folder not in filters.exclude_paths
    )


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("filters", FILTERS)
def test_a_filter_lets_through_what_passes_and_is_alive(many: Many, filters: Filters) -> None:
    mask = many.chunks.mask(filters)
    assert mask is not None
    passing = {n for n, (file, _, _) in many.alive.items() if passes(filters, file)}
    assert set(np.flatnonzero(mask.chunks).tolist()) == passing
    ids = {file.id for file, _, _ in many.alive.values() if passes(filters, file)}
    empty = {f.id for s in many.segments.values() for f in s.store.files if not f.chunks}
    assert set(mask.files.ids.tolist()) - empty == ids
    assert set(mask.files.ids.tolist()).isdisjoint(many.dead_ids)
    assert many.chunks.mask(filters) is mask
    assert many.chunks.mask(Filters()) is None
    # Another generation, with the same segments, in which all is alive.
    whole = LiveChunks(many.segments).mask(filters)
    assert whole is not None
    assert set(np.flatnonzero(whole.chunks).tolist()) >= passing


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("filters", [Filters(), *FILTERS])
def test_texts_are_read_through_in_all_segments_and_what_is_dead_is_not_found(
    many: Many, filters: Filters
) -> None:
    mask = many.chunks.mask(filters)
    passing = [n for n, (file, _, _) in many.alive.items() if passes(filters, file)]
    for k in (0, 1, 3, 100):
        assert many.chunks.find_literally("text", k, mask) == passing[:k]
        assert many.chunks.scan(lambda chunk: "text" in chunk.text, k, mask) == passing[:k]
    for number in passing:
        whole = many.chunks.read(number).text
        assert number in many.chunks.find_literally(whole, 100, mask)
        assert number in many.chunks.scan(lambda c, whole=whole: whole in c.text, 100, mask)  # type: ignore[misc]
    for identity in many.dead_ids:
        assert many.chunks.find_literally(f"text{identity}of", 100, mask) == []


# The nearest.


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("filters", [Filters(), *FILTERS])
def test_the_nearest_of_all_segments_are_those_of_a_product_with_all_that_is_alive(
    many: Many, filters: Filters
) -> None:
    nearest = Nearest(many.chunks.parts)
    mask = many.chunks.mask(filters)
    allowed = None if mask is None else mask.chunks
    scores = {n: vector for n, (f, _, vector) in many.alive.items() if passes(filters, f)}
    rng = np.random.default_rng(2)
    for number in range(30):
        query = rng.normal(size=DIM).astype(np.float32) * 3
        unit = query / np.linalg.norm(query)
        best = sorted(scores, key=lambda n: -float(scores[n] @ unit))
        among = None if number % 2 else rng.permutation(many.places)[:9].tolist()
        for k in (0, 1, 4, 100):
            # As small a graph as these reaches everything.
            found = nearest.search(query, k, allowed)
            assert [n for n, _ in found] == best[:k]
            assert [s for _, s in found] == pytest.approx(
                [float(scores[n] @ unit) for n in best[:k]], abs=1e-5
            )
            wanted = [n for n in best if among is None or n in among][:k]
            assert [n for n, _ in nearest.rank(query, k, among, allowed)] == wanted
    nothing = np.zeros(DIM, np.float32)
    assert nearest.search(nothing, 3) == nearest.rank(nothing, 3) == []
    assert nearest.rank(query, 3, []) == []


@pytest.mark.promise("QRY-1")
def test_of_equally_near_chunks_the_lower_number_comes_first_through_all_segments(
    tmp_path: Path,
) -> None:
    row = np.ones((3, DIM), np.float32)
    made = {}
    for number, name in enumerate("ab"):
        file = StoredFile(number + 1, f"{name}.py", "python", "0" * 32, False, 3)
        made[name] = make(tmp_path / name, [(file, ["x", "y", "z"])], row)
    nearest = Nearest(LiveChunks(made, {}).parts)
    for k in (1, 2, 4, 6):
        assert [n for n, _ in nearest.search(row[0], k)] == list(range(k))
        assert [n for n, _ in nearest.rank(row[0], k)] == list(range(k))
    assert [n for n, _ in nearest.rank(row[0], 2, [5, 1, 3])] == [1, 3]
    for each in made.values():
        each.close()


@pytest.mark.promise("QRY-1")
def test_as_many_are_found_as_there_are_though_a_filter_leaves_one_segment(tmp_path: Path) -> None:
    """A segment's share of what is asked for is less than what is wanted."""
    rows = np.random.default_rng(4).normal(size=(300, DIM)).astype(np.float32)
    made = {}
    for number, name in enumerate("ab"):
        file = StoredFile(number + 1, f"{name}.py", "python", "0" * 32, False, 300)
        made[name] = make(tmp_path / name, [(file, ["x"] * 300)], rows)
    nearest = Nearest(LiveChunks(made, {}).parts)
    allowed = np.arange(600) < 300
    for k in (65, 150, 300):
        assert nearest.search(rows[0], k, allowed) == nearest.rank(rows[0], k, None, allowed)
    for each in made.values():
        each.close()


@pytest.mark.promise("QRY-1")
def test_none_is_missed_where_no_segment_has_a_graph(tmp_path: Path) -> None:
    """Not of the first 64 alone, which is what many segments with graphs are asked for."""
    rng = np.random.default_rng(0)
    query = rng.normal(size=64)
    # A large segment of anything, and a small one that is about what is asked.
    rows = {"a": rng.normal(size=(4000, 64)), "b": rng.normal(size=(100, 64)) + query / 6}
    made = {}
    for number, (name, vectors) in enumerate(rows.items()):
        file = StoredFile(number + 1, f"{name}.py", "python", "0" * 32, False, len(vectors))
        texts = ["x"] * len(vectors)
        made[name] = make(tmp_path / name, [(file, texts)], vectors.astype(np.float32))
    nearest = Nearest(LiveChunks(made, {}).parts)
    for _ in range(20):
        asked = (query + rng.normal(size=64) / 4).astype(np.float32)
        for k in (10, 100, 300):
            assert nearest.search(asked, k) == nearest.rank(asked, k)
    for each in made.values():
        each.close()


@pytest.mark.promise("QRY-1")
def test_beside_one_large_graph_with_dead_files_nothing_dead_is_found_and_little_is_missed(
    tmp_path: Path,
) -> None:
    """More chunks than are searched exactly, the nearest of which are dead."""
    rng = np.random.default_rng(3)
    count, small = 4200, 50
    stored = rng.normal(size=(count + small, DIM)).astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    texts = ["x"] * 42
    files = [
        (StoredFile(n + 1, f"{n}.py", "python", "0" * 32, False, 42), texts) for n in range(100)
    ]
    last = StoredFile(101, "new.py", "python", "0" * 32, False, small)
    made = {
        "large": make(tmp_path / "large", files, stored[:count]),
        "small": make(tmp_path / "small", [(last, ["y"] * small)], stored[count:]),
    }
    assert (tmp_path / "large" / GRAPH).exists()
    assert (tmp_path / "small" / MATRIX).exists()
    dead = random.Random(4).sample(range(100), 2)  # more than 4096 are alive: the graph is walked
    chunks = LiveChunks(made, {"large": dead})
    alive = np.ones(count + small, np.bool_)
    for number in dead:
        alive[42 * number : 42 * (number + 1)] = False
    assert len(chunks) == int(alive.sum())
    nearest = Nearest(chunks.parts)
    found = 0
    for place in [*range(42 * dead[0], 42 * dead[0] + 20), *range(count, count + 20)]:
        best = np.argsort(np.where(alive, -(stored @ stored[place]), 2.0))[:10].tolist()
        hits = [n for n, _ in nearest.search(stored[place], 10)]
        assert all(alive[n] for n in hits)
        assert [n for n, _ in nearest.rank(stored[place], 10)] == best
        found += len({*hits} & {*best})
    assert found >= 0.98 * 400
    for each in made.values():
        each.close()


@pytest.mark.promise("WRITE-3")
def test_a_segment_that_is_copied_is_the_same_without_what_is_left_out(
    many: Many, tmp_path: Path
) -> None:
    for name in ("a", "c"):
        source = many.segments[name]
        kept = [n for n in range(len(source.store.files)) if n not in DEAD[name]]
        path = tmp_path / f"copy of {name}"
        path.mkdir()
        with Directory.open(path) as directory, SegmentWriter(directory, DIM) as writer:
            writer.copy(source, kept)
            described = writer.save()._asdict()
        with closing(Segment(path, described, DIM)) as copied:
            assert copied.store.files == [source.store.files[n] for n in kept]
            old = [chunk for n in kept for chunk in source.store.chunks_of(n)]
            assert [copied.store.read(n) for n in range(len(old))] == [*map(source.store.read, old)]
            assert np.allclose(
                copied.vectors_of(range(len(old))), source.vectors_of(old), atol=1e-6
            )
            words, worded = source.words.terms("body"), source.worded
            if name == "c":  # of which much is dead, so the words are those of what is left
                kept_chunks = map(source.store.read, old)
                texts = [terms_of_chunk(c.path, c.name, c.text, c.defines) for c in kept_chunks]
                words, worded = {word for each in texts for word in each.body.split()}, len(old)
            assert (copied.words.terms("body"), copied.worded) == (words, worded)


def test_a_segment_that_is_not_as_large_as_was_said_is_refused(tmp_path: Path) -> None:
    file = StoredFile(1, "a.py", "python", "0" * 32, False, 2)
    made = make(tmp_path / "a", [(file, ["x", "y"])], np.ones((2, DIM), np.float32))
    made.close()
    for files, chunks in ((2, 2), (1, 3), (0, 0)):
        described = {"files": files, "chunks": chunks, "vectors": MATRIX, "worded": chunks}
        with pytest.raises(IndexUnusableError, match="not as large"):
            Segment(tmp_path / "a", described, DIM)
    described = {"files": 1, "chunks": 2, "vectors": MATRIX, "worded": 2}
    with closing(Segment(tmp_path / "a", described, DIM + 1)) as other:
        assert "semantic index" in other.problem
        with pytest.raises(IndexUnusableError, match="semantic index"):
            other.vectors_of([0])
    with closing(Segment(tmp_path / "a", described, None)) as without:
        assert (without.problem, without.vectors) == ("", None)
    (tmp_path / "a" / MATRIX).unlink()
    (tmp_path / "a" / "words.txt").unlink()
    with pytest.raises(IndexUnusableError):
        Segment(tmp_path / "a", described, DIM)


# The words.


def words_of(path: Path, terms: Sequence[tuple[str, str]]) -> WordFile:
    path.mkdir()
    writer = WordWriter()
    for body, identifier in terms:
        writer.add(Terms(body, identifier, ""))
    with Directory.open(path) as directory:
        writer.save(directory)
    return WordFile(path)


@pytest.mark.promise("QRY-1")
def test_parts_of_words_are_found_in_the_words_of_all_segments(tmp_path: Path) -> None:
    rng = random.Random(1)
    files, held = [], set()
    for number in range(3):
        body = ["".join(rng.choices("abé", k=rng.randint(1, 5))) for _ in range(60)]
        names = ["".join(rng.choices("abX", k=rng.randint(1, 5))) for _ in range(60)]
        files.append(words_of(tmp_path / str(number), [(" ".join(body), " ".join(names))]))
        held |= {("body", w) for w in body} | {("identifier", w) for w in names}
        assert files[-1].terms("body") == set(body)
        assert files[-1].terms("identifier") == set(names)
    words = Vocabulary(files)
    for part in ("a", "é", "X", "aa", "ab", "aXb", "bbb", "bébé", "zz"):
        assert set(words.around([part])) == {(f, w) for f, w in held if part in w}, part
    assert set(words.around(["X", "é"])) == {(f, w) for f, w in held if "X" in w or "é" in w}
    for each in files:
        each.close()


def test_the_words_of_nothing_are_none_and_those_of_another_segment_are_taken_over(
    tmp_path: Path,
) -> None:
    none = words_of(tmp_path / "none", [])
    assert [*none.around("a")] == []
    assert none.terms("body") == none.terms("identifier") == set()
    some = words_of(tmp_path / "some", [("one two", "One"), ("", "")])
    odd = words_of(tmp_path / "odd", [("\udcff", "x")])
    writer = WordWriter()
    for each in (none, some, odd):
        writer.add_all(each)
    writer.add(Terms("three", "", ""))
    (tmp_path / "all").mkdir()
    with Directory.open(tmp_path / "all") as directory:
        writer.save(directory)
    with closing(WordFile(tmp_path / "all")) as together:
        assert together.terms("body") == {"one", "two", "three", "\udcff"}
        assert together.terms("identifier") == {"One", "x"}
        assert [*together.around("hre")] == [("body", "three")]
    for each in (none, some, odd):
        each.close()


@pytest.mark.promise("FRESH-4")
def test_words_of_what_is_gone_do_not_pile_up_from_segment_to_segment(
    make_project: MakeProject,
) -> None:
    """The larger a vocabulary is, the fewer parts of words are looked for in it."""

    def text(number: int) -> str:
        return "".join(f"quokka{number}q{line}\n" for line in range(500))

    project = make_project({"stable.txt": "wombat\n", "log.txt": text(0)})

    def words() -> dict[str, set[str]]:
        with Lease(live(project)) as lease:
            names = read_manifest(lease.files)["segments"]
        found = [WordFile(live(project) / name) for name in names]
        terms: dict[str, set[str]] = {field: set() for field in ("body", "identifier")}
        for each in found:
            for field in terms:
                terms[field] |= each.terms(field)
            each.close()
        return terms

    def run(**options: Any) -> None:
        bring_up_to_date(project, HashingEmbedder(), **options)

    run()
    at_first = words()
    sizes = set()
    for number in range(1, 7):
        (project.root / "log.txt").write_text(text(number))
        run()
        sizes.add(len(words()["identifier"]))
        assert "wombat" in words()["body"]
    assert max(sizes) <= 1.5 * len(at_first["identifier"])
    found = words()
    run(full=True)
    assert words() == found, "what was made anew is what a full run makes"


def test_the_more_words_there_are_the_fewer_parts_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [words_of(tmp_path / str(n), [("alpha beta gamma", "")]) for n in range(2)]
    size = sum(map(len, files))
    words = Vocabulary(files)
    monkeypatch.setattr(vocabulary, "_MAX_LOOKED_THROUGH_BYTES", 2 * (size + 1))
    parts = iter(["alph", "bet", "gamm"])
    assert {term for _, term in words.around(parts)} == {"alpha", "beta"}
    monkeypatch.setattr(vocabulary, "_MAX_LOOKED_THROUGH_BYTES", 1)
    assert {term for _, term in words.around(["gamm", "bet"])} == {"gamma"}, "one in any case"
    for each in files:
        each.close()


# In memory.


class Fake:
    """A segment that knows whether it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


KEY = ("s000001-abcdef", ("0" * 64,))


@pytest.mark.promise("CACHE-4")
def test_a_segment_is_loaded_once_and_closed_with_its_last_user() -> None:
    segments = LoadedSegments()
    made: list[Any] = [Fake(), Fake(), Fake()]
    loads = iter(made)

    def load() -> Any:
        return next(loads)

    assert segments.take(KEY, load) is segments.take(KEY, load) is made[0]
    other = (KEY[0], ("1" * 64,))  # the same name, and not the same files
    assert segments.take(other, load) is made[1]
    segments.give_back(KEY)
    segments.give_back(other)
    assert [each.closed for each in made] == [0, 1, 0]
    segments.give_back(KEY)
    assert [each.closed for each in made] == [1, 1, 0]
    assert segments.take(KEY, load) is made[2], "what is closed is loaded anew"
    segments.give_back(KEY)
    with pytest.raises(KeyError):
        segments.give_back(KEY)


@pytest.mark.promise("CACHE-2")
def test_a_load_that_fails_leaves_nothing_behind() -> None:
    segments = LoadedSegments()

    def fail() -> Any:
        raise IndexUnusableError("damaged")

    with pytest.raises(IndexUnusableError):
        segments.take(KEY, fail)
    made: Any = Fake()
    taken: Any = segments.take(KEY, lambda: made)
    assert taken is made
    segments.give_back(KEY)
    assert made.closed == 1


@pytest.mark.promise("TRUST-2")
def test_what_was_verified_is_forgotten_with_the_last_segment_and_is_only_what_it_was(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_text("alpha")
    recorded = {"a": {"sha256": "0" * 64}}
    segments = LoadedSegments()
    verified = segments.verified
    with Directory.open(tmp_path) as directory:
        assert not verified.holds(directory, "a", recorded["a"])
        verified.note(directory, recorded)
        assert verified.holds(directory, "a", recorded["a"])
        assert not verified.holds(directory, "a", {"sha256": "1" * 64})
        assert not verified.holds(directory, "b", recorded["a"])
        os.link(tmp_path / "a", tmp_path / "again")
        assert verified.holds(directory, "a", recorded["a"]), "a second name is no change"
        (tmp_path / "other").write_text("alpha")
        (tmp_path / "other").replace(tmp_path / "a")
        assert not verified.holds(directory, "a", recorded["a"]), "it is another file"
        verified.note(directory, recorded)
        os.utime(tmp_path / "a", ns=(1, 1))
        assert not verified.holds(directory, "a", recorded["a"])
        verified.note(directory, recorded)
        segments.take(KEY, Fake)  # type: ignore[arg-type]
        segments.give_back(KEY)
        assert not verified.holds(directory, "a", recorded["a"])
        (tmp_path / "a").unlink()
        assert not verified.holds(directory, "a", recorded["a"])


class Loading(Scenario):
    """Three loads take a segment, look at it, and give it back."""

    promises = frozenset({"CACHE-4"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.segments = LoadedSegments(runtime)
        self.made: list[Fake] = []

    def load(self) -> Any:
        self.runtime.step("loading")
        self.made.append(Fake())
        return self.made[-1]

    def use(self) -> None:
        taken: Any = self.segments.take(KEY, self.load)
        self.runtime.step("using")
        assert taken.closed == 0, "in use, and closed"
        self.segments.give_back(KEY)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.use, "other": self.use, "third": self.use}

    def check(self) -> None:
        assert [each.closed for each in self.made] == [1] * len(self.made), "each, and once"


@pytest.mark.promise("CACHE-4")
def test_however_loads_meet_a_segment_is_closed_once_and_by_its_last_user() -> None:
    assert exhaustive(Loading, max_schedules=15_000).complete


# On disk.


def inodes(directory: Path) -> dict[str, int]:
    return {
        path.relative_to(directory).as_posix(): path.stat().st_ino
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def edited(project: Project, text: str = "def of_the_edit():\n    return 1\n") -> None:
    """One more small file, in a segment of its own."""
    write(project.root, "edit.py", text)


@contextmanager
def kept(project: Project) -> Iterator[Path]:
    """The live generation, which stays on disk whatever is published."""
    generations = Generations(project.generations)
    directory = generations.path(generations.current())
    with Lease(directory):
        yield directory


@pytest.mark.promise("WRITE-3")
def test_what_has_not_changed_is_the_same_file_in_the_next_generation(segmented: Project) -> None:
    edited(segmented)
    with kept(segmented) as before, nothing_tiny():
        old, was = inodes(before), read_manifest(before)
        indexed(segmented)
        after = live(segmented)
        new, described = inodes(after), read_manifest(after)
        assert after != before
        shared = [name for name in was["segments"] if name in described["segments"]]
        assert segment(before, 0).name in shared
        assert segment(before, 1).name in shared
        for name in old:
            folder = name.rpartition("/")[0]
            if folder in shared:
                assert new[name] == old[name], name
                assert described["files"][name] == was["files"][name]
        # tantivy's own files, but for the two that say which there are.
        mine = {n for n in old if n.startswith("fulltext/") and n in new}
        assert {n for n in mine if new[n] != old[n]} == {
            "fulltext/meta.json",
            "fulltext/.managed.json",
            "fulltext/.tantivy-meta.lock",
        } & mine
        for name in ("dead.json", "manifest.json"):
            assert new[name] != old[name]
        assert damaged_files(before, was) == {}
    Generations(segmented.generations).sweep()
    assert not before.exists()
    assert damaged_files(after, described) == {}, "the files live on under their other names"
    assert {path.stat().st_nlink for path in after.rglob("*") if path.is_file()} == {1}


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "error", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS]
)
def test_where_a_file_cannot_have_two_names_it_is_copied(
    segmented: Project, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    synced: list[str] = []
    sync = os.fsync

    def syncing(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}").rpartition("/")[2])
        sync(fd)

    edited(segmented)
    with kept(segmented) as before, nothing_tiny():
        monkeypatch.setattr(os, "link", refused)
        monkeypatch.setattr(os, "fsync", syncing)
        indexed(segmented)
        monkeypatch.undo()
        after = live(segmented)
        old, new = inodes(before), inodes(after)
        graph = segment(before).name
        assert f"{graph}/{GRAPH}" in new
        for name in new:
            assert new[name] not in old.values(), name
            assert (after / name).stat().st_mode & 0o777 == 0o600
        # Nobody else has put the copies on disk: those of two graphs, and each once.
        assert synced.count(GRAPH) == 2
    assert damaged_files(after, read_manifest(after)) == {}
    service = CIDXDaemonService(segmented.root)
    hits = service.exposed_query_hybrid(str(segmented.root), "retry when the peer disconnects")
    assert hits["results"][0]["path"] == "net/retry.py"
    service.exposed_clear_cache()


@pytest.mark.promise("WRITE-3")
def test_another_error_of_a_second_name_fails_the_run(
    segmented: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = live(segmented)
    edited(segmented)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(IndexingError, match="No space left"):
        indexed(segmented)
    assert live(segmented) == before


@pytest.mark.promise("WRITE-3")
def test_what_is_shared_is_put_on_disk_and_closed_to_others_once(segmented: Project) -> None:
    edited(segmented)
    runtime = FakeRuntime()
    with nothing_tiny():
        indexed(segmented, runtime=runtime)
    synced = [each for each in runtime.operations if each.startswith("sync ")]
    assert synced.count(f"sync {GRAPH}") == 0
    assert synced.count("sync files.json") == 1, "that of the new segment"
    assert synced.count("sync dead.json") >= 1
    assert synced.count("sync meta.json") == 1


class Opened:
    """What is opened while this is planted, by its path within its generation; "# " before it where
    it is hashed."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._open, self._open_low, self._digest = open, os.open, hashlib.file_digest

    def note(self, path: str, mark: str = "") -> None:
        _, here, rest = path.partition("/generations/")
        if here:
            self.found.add(mark + rest.partition("/")[2])

    def open(self, path: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(path, int):
            self.note(os.fsdecode(path))
        return self._open(path, *arguments, **options)

    def open_low(self, path: Any, flags: int, *arguments: Any, dir_fd: int | None = None) -> int:
        if not flags & os.O_DIRECTORY:
            above = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            self.note(os.path.join(above, os.fsdecode(path)))  # noqa: PTH118 - bytes, too
        return self._open_low(path, flags, *arguments, dir_fd=dir_fd)

    def digest(self, file: Any, name: str) -> Any:
        self.note(os.readlink(f"/proc/self/fd/{file.fileno()}"), "# ")
        return self._digest(file, name)

    @contextmanager
    def planted(self) -> Iterator[set[str]]:
        with (
            patch.object(builtins, "open", self.open),
            patch.object(io, "open", self.open),
            patch.object(os, "open", self.open_low),
            patch.object(hashlib, "file_digest", self.digest),
        ):
            yield self.found


def opened() -> AbstractContextManager[set[str]]:
    return Opened().planted()


@pytest.mark.promise("PERF-5")
def test_a_publish_neither_reads_nor_hashes_what_it_shares(segmented: Project) -> None:
    source = GenerationSource(segmented.generations, HashingEmbedder())
    first = source.load(source.current())
    try:
        with opened() as seen:  # that it would be seen
            GenerationSource(segmented.generations, HashingEmbedder()).load(
                source.current()
            ).close()
        graph = segment(live(segmented)).name
        assert {f"{graph}/{GRAPH}", f"# {graph}/{GRAPH}", "fulltext/meta.json"} <= seen
        before = read_manifest(live(segmented))
        edited(segmented)
        with opened() as by_the_run, nothing_tiny():
            indexed(segmented, verified=source.current())
        after = read_manifest(live(segmented))
        shared = {
            name
            for name, each in before["files"].items()
            if after["files"].get(name) == each and name != "dead.json"
        }
        assert f"{graph}/{GRAPH}" in shared
        assert sum(name.startswith("fulltext/") for name in shared) > 10
        # A run compares what there is with the lists of files; those it reads, and nothing else.
        lists = {name for name in shared if name.endswith("/files.json")}
        read = {name.removeprefix("# ") for name in by_the_run} & shared
        assert read <= lists
        with opened() as by_the_load:
            second = source.load(source.current())
        assert {name.removeprefix("# ") for name in by_the_load} & shared == set()
        new = [name for name in after["segments"] if name not in before["segments"]]
        assert {f"# {new[0]}/{MATRIX}", "# dead.json"} <= by_the_load
        second.close()
        assert len(first.chunks) == before["counts"]["chunks"]
    finally:
        first.close()


@pytest.mark.promise("CACHE-4")
def test_a_generation_in_memory_answers_when_the_one_that_came_after_it_is_closed(
    segmented: Project,
) -> None:
    source = GenerationSource(segmented.generations, HashingEmbedder())
    first = source.load(source.current())
    edited(segmented)
    with nothing_tiny():
        indexed(segmented)
    second = source.load(source.current())
    shared = {id(p.segment) for p in first.chunks.parts} & {
        id(p.segment) for p in second.chunks.parts
    }
    assert len(shared) >= 2
    second.close()
    for mode in ("semantic", "fts"):
        hits = first.answer(Search("in_the_second_graph", mode))["results"]
        assert hits[0]["path"] == "more/graph.py"
    first.close()
    assert source._segments._segments == {}


# Merges.


@pytest.mark.promise("WRITE-3")
def test_a_merge_leaves_out_what_is_dead_and_nothing_else(
    segmented: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(directory: Path) -> dict[str, list[str]]:
        source = GenerationSource(segmented.generations, HashingEmbedder())
        with closing(source.load(directory.name)) as loaded:
            found: dict[str, list[str]] = {}
            for part in loaded.chunks.parts:
                alive = range(len(part.segment.store))
                for n in alive:
                    if part.alive is None or part.alive[n]:
                        chunk = part.segment.store.read(n)
                        found.setdefault(chunk.path, []).append(chunk.text)
            return found

    generations = Generations(segmented.generations)
    before = everything(live(segmented))
    names = [*read_manifest(live(segmented))["segments"]]
    monkeypatch.setattr(merging, "due_merge", lambda sizes: names if len(sizes) > 1 else [])
    monkeypatch.setattr(merging, "is_merge_due", lambda sizes, chunks, dead: len(sizes) > 1)
    with generations.writing():
        report = merge_once(generations, HashingEmbedder())
    assert report == {"generation": live(segmented).name, "merge_due": False}
    after = read_manifest(live(segmented))
    assert len(after["segments"]) == 1
    assert (live(segmented) / "dead.json").read_text() == "{}"
    assert everything(live(segmented)) == before
    with generations.writing():
        again = merge_once(generations, HashingEmbedder())
    assert again == report, "and then there is nothing more to do"
    assert not indexed(segmented)["changed"]


@pytest.mark.promise("WRITE-3")
def test_a_base_whose_manifest_names_too_little_is_not_gone_on_from(segmented: Project) -> None:
    whole = read_manifest(live(segmented))
    assert unnamed_files(whole) == []
    name = segment(live(segmented)).name
    for missing in ("dead.json", "fulltext/meta.json", f"{name}/words.txt", f"{name}/{GRAPH}"):
        files = {n: each for n, each in whole["files"].items() if n != missing}
        assert unnamed_files({**whole, "files": files}) == [missing]


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("files", [{}, {"empty.py": ""}, {"empty.py": "", "a.py": ""}])
def test_an_index_of_nothing_is_one_and_is_gone_on_from(
    make_project: MakeProject, files: dict[str, str]
) -> None:
    project = make_project(files)
    first = indexed(project)
    assert (first["changed"], first["files"], first["chunks"]) == (True, len(files), 0)
    assert not indexed(project)["changed"]
    service = CIDXDaemonService(project.root)
    for mode in (service.exposed_query, service.exposed_query_fts, service.exposed_query_hybrid):
        assert mode(str(project.root), "something")["results"] == []
    write(project.root, "new.py", "def something():\n    pass\n")
    assert indexed(project)["chunks"] == 1
    hits = service.exposed_query_hybrid(str(project.root), "something")["results"]
    assert [hit["path"] for hit in hits] == ["new.py"]
    (project.root / "new.py").unlink()
    assert indexed(project)["chunks"] == 0
    assert service.exposed_query_hybrid(str(project.root), "something")["results"] == []
    service.exposed_clear_cache()


@pytest.mark.promise("TRUST-3")
def test_what_an_engine_makes_while_it_is_checked_is_for_its_owner_alone(
    make_project: MakeProject,
) -> None:
    project = make_project()
    umask = os.umask(0)
    try:
        indexed(project)
    finally:
        os.umask(umask)
    for path in live(project).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.promise("FRESH-4")
def test_of_equally_good_hits_those_shown_do_not_depend_on_what_was_edited_last(
    make_project: MakeProject,
) -> None:
    def text_of(number: int) -> str:  # as good as the others, and no copy of them
        return f"def handler(request):  # n{number:02d}\n    return request.frobnicate()\n"

    project = make_project({f"f{number:02d}.py": text_of(number) for number in range(40)})
    texts = ("frobnicate", "()", '"request frobnicate"', "handler")

    def ask() -> dict[tuple[str, str], list[str]]:
        source = GenerationSource(project.generations, HashingEmbedder())
        with closing(source.load(source.current())) as snapshot:
            return {
                (mode, text): [
                    hit["path"]
                    for hit in snapshot.answer(Search(text=text, mode=mode, limit=5))["results"]
                ]
                for mode in ("fts", "hybrid")
                for text in texts
            }

    bring_up_to_date(project, HashingEmbedder())
    wanted = ask()
    first = [f"f{number:02d}.py" for number in range(5)]
    assert [wanted["fts", text] for text in texts] == [first] * len(texts)
    for number in (0, 2, 39):
        path = project.root / f"f{number:02d}.py"
        for edited in (text_of(number) + "# x\n", text_of(number)):
            path.write_text(edited)
            bring_up_to_date(project, HashingEmbedder())
    assert ask() == wanted
