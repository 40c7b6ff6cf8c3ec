"""Semantic search among thousands of chunks: it finds what exact search finds.

In a small repository everything is among the nearest neighbours that the graph reaches, so what is
lost is lost in large ones only.  The corpora here have more chunks than exact search is used for.
"""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from loaded import loaded

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index import semantic
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filters import Filters
from cidx_ref.index.manifest import GRAPH, MATRIX
from cidx_ref.index.port import Search
from cidx_ref.index.query import Query
from cidx_ref.index.search import answer
from cidx_ref.index.semantic import EF_SEARCH, EXACT_UP_TO, SemanticIndex, VectorWriter
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.snippet import Probes
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.text import terms, words
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import build
from cidx_ref.testing.promises.report import RecordFigure

pytestmark = pytest.mark.once

EMBEDDER = HashingEmbedder()
DIM = 16
#: More than are searched exactly.
MANY = 5000

#: A line, and a query that finds it and no other: its words stand in the line as parts of words,
#: in other letters, in a stem, in the path.
PLANTED = {
    "github": "Mirrored on GitHub every night.",
    "frobnicat": "unfrobnicatable = compute(7)",
    "ringbuff": "int my_ringbuffers;",
    "kingl": "all of it unblinkingly",
    "zebras": "The zebra crosses.",
    "élan": "Sans_Élan_Vital",
}


def found(snapshot: IndexSnapshot, text: str, mode: str = "semantic", **options: Any) -> list[str]:
    """The paths of the hits."""
    hits = answer(snapshot, Search(text, mode, **options), EMBEDDER)["results"]
    return [hit["path"] for hit in hits]


def write_lines(root: Path, lines: Mapping[str, str]) -> Project:
    """A project of files with one line each, indexed."""
    for directory in {path.rpartition("/")[0] for path in lines}:
        (root / directory).mkdir(parents=True, exist_ok=True)
    for path, line in lines.items():
        (root / path).write_text(f"{line}\n", encoding="utf-8")
    project = Project.at(root)
    build(project)
    return project


def noise(rng: random.Random, count: int) -> dict[str, str]:
    """Lines of words that many others hold, too."""
    syllables = ["ba", "du", "fo", "gi", "ke", "lo", "mu", "pe", "ra", "so", "tu", "vi"]
    vocabulary = ["".join(rng.choices(syllables, k=3)) for _ in range(400)]
    return {f"n/{n}.txt": " ".join(rng.choices(vocabulary, k=12)) for n in range(count)}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[IndexSnapshot, list[str]]]:
    """More than `MANY` chunks, and words of which each stands in one or two of them, or in three
    names of files."""
    rng = random.Random(1)
    lines = noise(rng, MANY)
    rare = [f"quix{a}{b}" for a in "bdfghklmnp" for b in ("osto", "usta", "ymno", "arle", "inde")]
    for number, word in enumerate(rare):
        for path in rng.sample(sorted(lines), 1 + number % 2):
            lines[path] += f" {word}"
    lines |= {f"planted/{n}.txt": line for n, line in enumerate(PLANTED.values())}
    project = write_lines(tmp_path_factory.mktemp("crowd"), lines)
    with loaded(project) as snapshot:
        yield snapshot, rare


# The engine.


def vectors(count: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    made = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def written(path: Path, stored: np.ndarray[Any, np.dtype[np.float32]]) -> Path:
    """The file of vectors, in a new directory at `path`."""
    path.mkdir()
    writer = VectorWriter(stored.shape[1])
    for start in range(0, len(stored), 700):  # several threads add each batch, in no order
        writer.add(stored[start : start + 700])
    with Directory.open(path) as directory:
        return path / writer.save(directory)


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("count", [1, 300, MANY])
def test_ranking_finds_what_a_product_with_all_vectors_finds(tmp_path: Path, count: int) -> None:
    stored = vectors(count)
    index = SemanticIndex(written(tmp_path / "vectors", stored), dim=DIM, count=count)
    rng = np.random.default_rng(2)
    for number in range(20):
        query = rng.normal(size=DIM).astype(np.float32)
        scores = stored @ (query / np.linalg.norm(query))
        allowed = None if number % 2 else rng.random(count) < 0.5
        among = None if number % 3 else rng.permutation(count)[: count // 2].tolist()
        fits = np.zeros(count, dtype=np.bool_)
        fits[slice(None) if among is None else among] = True
        fits &= True if allowed is None else allowed
        best = [n for n in np.argsort(-scores).tolist() if fits[n]][:40]
        ranked = index.rank(query, 40, among, allowed)
        assert [label for label, _ in ranked] == best
        assert [score for _, score in ranked] == pytest.approx(scores[best].tolist(), abs=1e-5)


@pytest.mark.promise("QRY-1")
def test_of_equally_near_vectors_the_first_comes_first(tmp_path: Path) -> None:
    stored = np.tile(vectors(100), (60, 1))
    index = SemanticIndex(written(tmp_path / "vectors", stored), dim=DIM, count=len(stored))
    for k in (1, 7, 60, 61):
        ranked = index.rank(stored[5], k)
        assert [label for label, _ in ranked[:60]] == [5 + 100 * n for n in range(min(k, 60))]
    assert [label for label, _ in index.rank(stored[5], 3, [905, 205, 5905])] == [205, 905, 5905]


@pytest.mark.promise("QRY-1")
def test_a_small_index_is_searched_exactly_and_needs_no_graph(tmp_path: Path) -> None:
    stored = vectors(300)
    index = SemanticIndex(written(tmp_path / "vectors", stored), dim=DIM, count=300)
    for query in vectors(20, seed=3):
        best = np.argsort(-(stored @ query))[:250]
        assert [label for label, _ in index.search(query, 250)] == best.tolist()


@pytest.mark.promise("QRY-1")
def test_nothing_is_near_what_says_nothing_or_in_what_holds_nothing(tmp_path: Path) -> None:
    index = SemanticIndex(written(tmp_path / "vectors", vectors(10)), dim=DIM, count=10)
    nothing, something = np.zeros(DIM, dtype=np.float32), vectors(1)[0]
    none = np.zeros(10, dtype=np.bool_)
    assert index.rank(nothing, 5) == index.search(nothing, 5) == []
    assert index.rank(something, 5, []) == index.search(something, 5, none) == []
    assert index.rank(something, 5, [1, 2], none) == []
    empty = SemanticIndex(written(tmp_path / "empty", vectors(0)), dim=DIM, count=0)
    assert empty.search(something, 5) == empty.rank(something, 5) == []


@pytest.fixture(scope="module")
def vector_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, int]]:
    """One file of each kind: its content, and how many vectors it has."""
    made = tmp_path_factory.mktemp("vectors")
    counts = {MATRIX: 10, GRAPH: EXACT_UP_TO + 1}
    paths = [written(made / str(count), vectors(count)) for count in counts.values()]
    assert [path.name for path in paths] == list(counts)
    return {path.name: (path.read_bytes(), counts[path.name]) for path in paths}


def _larger_elements(data: bytes) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<Q", changed, 24, 1 << 40)
    return bytes(changed)


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("kind", [MATRIX, GRAPH])
@pytest.mark.parametrize(
    ("harm", "dim", "more"),
    [
        (lambda data: b"", DIM, 0),
        (lambda data: b"short", DIM, 0),
        (lambda data: None, DIM, 0),
        (lambda data: data[:500], DIM, 0),
        (lambda data: data[:-1], DIM, 0),
        (lambda data: data, DIM + 1, 0),
        (lambda data: data, DIM, 1),
        (lambda data: data, DIM, -1),
    ],
)
def test_a_file_that_does_not_hold_what_it_should_is_refused(
    tmp_path: Path,
    vector_files: dict[str, tuple[bytes, int]],
    kind: str,
    harm: Callable[[bytes], bytes | None],
    dim: int,
    more: int,
) -> None:
    data, count = vector_files[kind]
    if (harmed := harm(data)) is not None:
        (tmp_path / kind).write_bytes(harmed)
    with pytest.raises(IndexUnusableError, match="semantic index"):
        SemanticIndex(tmp_path / kind, dim=dim, count=count + more)


@pytest.mark.promise("QRY-1")
def test_a_graph_whose_elements_are_larger_than_its_file_is_refused(
    tmp_path: Path, vector_files: dict[str, tuple[bytes, int]]
) -> None:
    data, count = vector_files[GRAPH]
    (tmp_path / GRAPH).write_bytes(_larger_elements(data))
    with pytest.raises(IndexUnusableError, match="semantic index"):
        SemanticIndex(tmp_path / GRAPH, dim=DIM, count=count)


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize(
    ("count", "name"),
    [(0, MATRIX), (1, MATRIX), (EXACT_UP_TO, MATRIX), (EXACT_UP_TO + 1, GRAPH)],
)
def test_what_is_searched_exactly_is_a_plain_matrix_and_no_graph(
    tmp_path: Path, count: int, name: str
) -> None:
    stored = vectors(count)
    path = written(tmp_path / "vectors", stored * 3)  # their length is no matter
    assert path.name == name
    index = SemanticIndex(path, dim=DIM, count=count)
    kept = index.vectors(np.arange(count))
    assert np.allclose(kept, stored, atol=1e-6)
    assert (path.stat().st_size == 4 * DIM * count) == (name == MATRIX)


@pytest.mark.promise("QRY-1")
def test_in_a_graph_most_of_which_may_be_found_what_may_not_is_never_found(
    tmp_path: Path, vector_files: dict[str, tuple[bytes, int]]
) -> None:
    """Above a quarter that is refused the graph is asked with a filter, below it what is refused is
    dropped afterwards, and where that leaves too few, all are looked at."""
    data, count = vector_files[GRAPH]
    (tmp_path / GRAPH).write_bytes(data)
    index = SemanticIndex(tmp_path / GRAPH, dim=DIM, count=count)
    stored = vectors(count)
    found = wanted = 0
    for share in (0.001, 0.1, 0.24, 0.4):
        for query in vectors(10, seed=5):
            scores = stored @ query
            # Those that are near are refused first: the worst case for what is dropped afterwards.
            allowed = np.ones(count, dtype=np.bool_)
            allowed[np.argsort(-scores)[: int(share * count)]] = False
            hits = index.search(query, 10, allowed)
            assert len(hits) == 10
            assert all(allowed[label] for label, _ in hits)
            best = np.argsort(np.where(allowed, -scores, 2.0))[:10].tolist()
            found += len({label for label, _ in hits} & set(best))
            wanted += 10
    assert found >= 0.95 * wanted


# The search.


@pytest.mark.promise("QRY-1")
def test_a_rare_word_is_found_where_it_stands(crowd: tuple[IndexSnapshot, list[str]]) -> None:
    snapshot, rare = crowd
    for word in rare:
        holding = set(found(snapshot, word, "fts"))
        assert len(holding) in (1, 2)
        assert set(found(snapshot, word)) == holding, word


@pytest.mark.promise("QRY-1")
def test_a_rare_word_comes_first_beside_a_common_one_where_exact_search_puts_it_first(
    crowd: tuple[IndexSnapshot, list[str]],
) -> None:
    snapshot, rare = crowd
    assert snapshot.semantic is not None
    tried = 0
    for word in rare:
        line = answer(snapshot, Search(word, "fts"), EMBEDDER)["results"][0]["snippet"]
        query = f"{line.split()[0]} {word}"
        number, score = snapshot.semantic.rank(EMBEDDER.embed_query(query), 1)[0]
        if word in snapshot.chunks.read(number).text:
            hit = answer(snapshot, Search(query, "semantic"), EMBEDDER)["results"][0]
            assert hit["score"] == pytest.approx(score, abs=1e-5), query
            tried += 1
    assert tried > len(rare) // 2, tried


@pytest.mark.promise("QRY-1", "QRY-3")
@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
@pytest.mark.parametrize("query", PLANTED)
def test_a_part_of_a_word_is_found_among_thousands(
    crowd: tuple[IndexSnapshot, list[str]], mode: str, query: str
) -> None:
    path = f"planted/{list(PLANTED).index(query)}.txt"
    assert found(crowd[0], query, mode) == [path]
    assert found(crowd[0], query, mode, filters=Filters(paths=("planted/",))) == [path]
    assert found(crowd[0], query, mode, filters=Filters(exclude_paths=("planted/",))) == []


@pytest.mark.promise("QRY-1", "QRY-3")
@pytest.mark.parametrize("count", [100, 3001])
def test_what_is_found_does_not_depend_on_how_much_else_there_is(
    tmp_path: Path, count: int
) -> None:
    lines = noise(random.Random(2), count)
    project = write_lines(tmp_path, lines | {"README.md": "Mirrored on GitHub every night."})
    with loaded(project) as snapshot:
        for mode in ("semantic", "hybrid"):
            assert found(snapshot, "github", mode) == ["README.md"]


@pytest.mark.promise("QRY-1")
def test_there_is_no_match_where_no_text_holds_the_words(
    crowd: tuple[IndexSnapshot, list[str]],
) -> None:
    snapshot, rare = crowd
    for query in ("qqzxv", "qqzxv xqwvv", "=>", "", " ".join(f"{word}x" for word in rare)):
        assert found(snapshot, query) == []


@pytest.mark.promise("QRY-1")
def test_behind_a_filter_a_common_word_is_found_in_all_that_is_left(
    crowd: tuple[IndexSnapshot, list[str]],
) -> None:
    snapshot, _ = crowd
    common = max(terms(snapshot.chunks.read(0).text), key=len)
    holding = [
        chunk.path
        for chunk in map(snapshot.chunks.read, range(len(snapshot.chunks)))
        if chunk.path.endswith("7.txt") and common in terms(chunk.text)
    ]
    assert 5 <= len(holding) <= 50
    left = found(snapshot, common, limit=100, filters=Filters(paths=("*7.txt",)))
    assert set(holding) <= set(left)
    few = Filters(paths=tuple(holding[:3]))
    assert sorted(found(snapshot, common, filters=few)) == sorted(holding[:3])


@pytest.mark.promise("QRY-3")
def test_a_phrase_is_found_wherever_it_stands(crowd: tuple[IndexSnapshot, list[str]]) -> None:
    snapshot, _ = crowd
    for number in range(0, MANY, 250):
        chunk = snapshot.chunks.read(number)
        said = words(chunk.text)
        phrase = f'"{said[4]} {said[5]} {said[6]}"'
        assert chunk.path in found(snapshot, phrase, limit=100)
        assert found(snapshot, phrase, filters=Filters(exclude_paths=("*.txt",))) == []
        backwards = f"{said[6]} {said[5]} {said[4]}"
        told = answer(snapshot, Search(f'{said[7]} "{backwards}"', "semantic"), EMBEDDER)
        assert told["relaxed"] == [backwards]


@pytest.mark.promise("QRY-1", "QRY-3")
def test_without_full_text_the_texts_themselves_are_read(
    crowd: tuple[IndexSnapshot, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, rare = crowd
    holding = {word: set(found(snapshot, word, "fts")) for word in rare[:10]}
    monkeypatch.setattr(snapshot, "fulltext", None)
    for word, paths in holding.items():
        assert set(found(snapshot, word)) == paths
    for number, query in enumerate(PLANTED):
        assert found(snapshot, query) == [f"planted/{number}.txt"]
        assert found(snapshot, query, filters=Filters(exclude_paths=("planted/",))) == []
    chunk = snapshot.chunks.read(MANY // 2)
    said = words(chunk.text)
    assert found(snapshot, f'"{" ".join(said[3:7])}"') == [chunk.path]
    backwards = " ".join(said[6:2:-1])
    told = answer(snapshot, Search(f'"{backwards}"', "semantic"), EMBEDDER)
    assert told["relaxed"] == [backwards]
    assert found(snapshot, "qqzxv") == found(snapshot, '"qqzxv"') == []


def rare_words(chunks: list[StoredChunk]) -> list[str]:
    """Plain words of which each stands, in whatever form, in at most two files."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    forms: dict[str, str] = {}
    for chunk in chunks:
        for word in set(words(f"{chunk.path} {chunk.name} {chunk.text}")):
            for term in terms(word):
                files[term].add(chunk.path)
            if word.isascii() and word.isalpha() and word.islower() and len(word) > 3:
                forms.setdefault(terms(word)[0], word)
    return sorted(word for term, word in forms.items() if len(files[term]) <= 2)


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("sample", [20, pytest.param(1000, marks=pytest.mark.deep)])
def test_of_rare_words_the_first_hit_is_that_of_exact_search(
    stdlib: Project, figure: RecordFigure, sample: int
) -> None:
    with loaded(stdlib) as snapshot:
        assert snapshot.semantic is not None
        chunks = [snapshot.chunks.read(number) for number in range(len(snapshot.chunks))]
        right = 0
        for word in random.Random(1).sample(rare_words(chunks), sample):
            touches = Probes(Query(word)).touch
            holding = [n for n, chunk in enumerate(chunks) if word in chunk.text or touches(chunk)]
            first = snapshot.semantic.rank(EMBEDDER.embed_query(word), 1, holding)[0]
            hits = answer(snapshot, Search(word, "semantic"), EMBEDDER)["results"]
            assert hits, f"{word}: no match"
            right += abs(hits[0]["score"] - first[1]) < 1e-5
    figure("QRY-1", f"of {sample} rare words, first hit as by exact search", right)
    assert sample - right <= max(1, 0.005 * sample)


@pytest.mark.promise("PERF-1")
@pytest.mark.parametrize("share", [0.05, 0.13, 0.2, 0.24])
def test_where_little_may_not_be_found_the_graph_asks_nobody_about_each_vector(
    tmp_path: Path, share: float
) -> None:
    """A fifth of a segment may be dead; a function that the graph calls takes ten times as long."""
    count = EXACT_UP_TO * 3 // 2
    stored = vectors(count)
    index = SemanticIndex(written(tmp_path / "vectors", stored), dim=DIM, count=count)
    allowed = np.random.default_rng(1).random(count) >= share
    asked: list[tuple[int, object]] = []
    ask = semantic._ask

    def noted(graph: Any, unit: Any, k: int, accepts: Any = None) -> Any:
        asked.append((k, accepts))
        return ask(graph, unit, k, accepts)

    with patch.object(semantic, "_ask", noted):
        for k in (10, 192, EF_SEARCH):
            labels, scores = index.nearest(stored[7] / np.linalg.norm(stored[7]), k, allowed)
            assert len(labels) == k
            assert allowed[labels].all()
            assert (np.diff(scores) <= 1e-6).all()
    assert [accepts for _, accepts in asked] == [None] * 3
    assert max(k for k, _ in asked) <= EF_SEARCH
