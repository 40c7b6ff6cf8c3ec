"""What a search finds, beside what a look at every chunk finds (QRY-1 to QRY-4).

The index is small, and in graphs that are walked but briefly: what is lost in a large one is lost
in it, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from cidx_ref.errors import CidxError
from cidx_ref.globs import escape
from cidx_ref.index import engines, semantic
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filters import Filters
from cidx_ref.index.nearest import Nearest
from cidx_ref.index.port import Search
from cidx_ref.index.query import parsed
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.own.fixtures import SAMPLE, write
from cidx_ref.testing.own.inside.examples import examples

__all__ = ["CHECKS", "Meeting", "loaded"]

_PATIENCE_S = 10.0
#: So few of the nearest are looked at here, and of so few dimensions: as if there were thousands.
_LOOKS, _DIM = 8, 32

#: A line, and a query that finds it and no other: its words stand there as parts of words.
_PLANTED = {
    "github": "Mirrored on GitHub every night.",
    "frobnicat": "unfrobnicatable = compute(7)",
    "ringbuff": "int my_ringbuffers;",
    "kingl": "all of it unblinkingly",
}
#: What is written as code is, by path.
_CODE = {
    "src/parse.py": "def parseHTTPHeaders(raw):\n    return raw.split()\n",
    "src/deep/user.js": "function getUserName(id) {\n  return connections[id].name\n}\n",
    "docs/guide.md": "# Guide\n\nHow to parse headers, then the user name of a connection.\n",
    "docs/order.md": "# Order\n\nheaders first, and only then parse.\n",
    "py/call.py": "def caller(value):\n    return frobnicate()\n",
    "py/use.py": "def user(value):\n    return frobnicate(value)\n",
    "marks/arrow.js": "const f = (x) => x + 1;\n",
    "marks/vec.cpp": "std::vector<int> v;\nif (a != b) { v->push(x); }\n",
}


@contextmanager
def loaded(
    root: Path, files: Mapping[str, str], embedder: Any = None, runtime: Any = SYSTEM
) -> Iterator[IndexSnapshot]:
    """An index of these files."""
    for path, text in files.items():
        write(root, path, text)
    project, embedder = Project.at(root), embedder or HashingEmbedder()
    bring_up_to_date(project, HashingEmbedder(embedder.dim))
    source = GenerationSource(project.generations, embedder, runtime)
    with closing(source.load(source.current())) as snapshot:
        yield snapshot


@contextmanager
def _crowded(root: Path, files: Mapping[str, str]) -> Iterator[IndexSnapshot]:
    """One of which little is looked at."""
    with (
        patch.multiple(semantic, EXACT_UP_TO=0, EF_SEARCH=_LOOKS),
        patch.object(engines, "_SURPLUS", _LOOKS),
        loaded(root, files, HashingEmbedder(_DIM)) as snapshot,
    ):
        yield snapshot


def _hits(snapshot: IndexSnapshot, text: str, mode: str, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = snapshot.answer(Search(text, mode, **options))["results"]
    return found


def _paths(snapshot: IndexSnapshot, text: str, mode: str = "semantic", **options: Any) -> list[str]:
    return [hit["path"] for hit in _hits(snapshot, text, mode, **options)]


def _crowd() -> tuple[dict[str, str], list[str]]:
    """Lines of words that many of them hold, and words of which each stands in one or two."""
    rng = random.Random(1)
    syllables = ["ba", "du", "fo", "gi", "ke", "lo", "mu", "pe", "ra", "so", "tu", "vi"]
    vocabulary = ["".join(rng.choices(syllables, k=3)) for _ in range(40)]
    lines = {
        f"n/{n}.txt": " ".join(rng.choices(vocabulary, k=200 if n % 9 == 0 else 12))
        for n in range(300)
    }
    rare = [f"quix{a}{b}" for a in "bdfgh" for b in ("osto", "usta", "ymno", "arle", "inde")]
    for number, word in enumerate(rare):
        for path in rng.sample(sorted(lines), 1 + number % 2):
            lines[path] += f" {word}"
    planted = {f"planted/{n}.txt": line for n, line in enumerate(_PLANTED.values())}
    return {**lines, **planted}, rare


def _nearest(root: Path) -> None:
    """The nearest are told, best first; a word is found wherever it stands, and nowhere else."""
    lines, rare = _crowd()
    with _crowded(root, lines) as snapshot:
        for word in rare:
            holding = {path for path, line in lines.items() if word in line.split()}
            found = set(_paths(snapshot, word))
            assert found == holding, f"{word} stands in {holding}, found is {sorted(found)[:4]}"
        for number, query in enumerate(_PLANTED):
            found = set(_paths(snapshot, query))
            assert found == {f"planted/{number}.txt"}, f"{query} is found in {sorted(found)}"
        for line in list(lines.values())[:20]:
            _near(snapshot, " ".join(line.split()[:2]), lines)


def _near(snapshot: IndexSnapshot, query: str, lines: Mapping[str, str]) -> None:
    scores = [score for _, score in Nearest(snapshot.chunks.parts).search(_vector(query), 20)]
    _fall(scores, query)
    hits = _hits(snapshot, query, "semantic", limit=100)
    strange = [
        hit["path"] for hit in hits if not set(query.split()) & set(lines[hit["path"]].split())
    ]
    assert not strange, f"{query!r} finds {strange[0]}, in which none of its words stands"


def _fall(scores: list[float], query: str) -> None:
    for better, other in pairwise(scores):
        assert better >= other, f"{query!r} finds one of {better:.3f} before one of {other:.3f}"


def _vector(text: str) -> Any:
    return HashingEmbedder(_DIM).embed_query(text)


def _matches(root: Path) -> None:
    """Full text is ranked, reads code as its author does, and a phrase is found as it stands."""
    lines, _ = _crowd()
    with _crowded(root, {**_CODE, **lines}) as snapshot:
        for query, path in {
            "http headers": "src/parse.py",
            "get_user_name": "src/deep/user.js",
            "connecting": "src/deep/user.js",
            '"parse headers"': "docs/guide.md",
        }.items():
            found = _paths(snapshot, query, "fts")[:2]
            assert path in found, f"{query} stands in {path}, found first are {found}"
        found = _paths(snapshot, '"frobnicate()"', "fts")
        assert found == ["py/call.py"], f'"frobnicate()" stands in py/call.py, found is {found}'
        _ranked(snapshot, lines)
        _filtered(snapshot, lines)


def _ranked(snapshot: IndexSnapshot, lines: Mapping[str, str]) -> None:
    for line in list(lines.values())[:10]:
        query = " ".join(line.split()[:3])
        assert snapshot.fulltext is not None, snapshot.unavailable
        every = snapshot.fulltext.search(parsed(query), 10_000)
        scores = [score for _, score in every]
        _fall(scores, query)
        best = [score for _, score in snapshot.fulltext.search(parsed(query), 5)]
        assert best == scores[:5], f"{query}: the best have {scores[:5]}, told are {best}"


def _filtered(snapshot: IndexSnapshot, lines: Mapping[str, str]) -> None:
    query = next(iter(lines.values())).split()[0]
    holding = [path for path, line in lines.items() if query in line.split()]
    for path in holding[::7]:
        for mode in ("fts", "hybrid"):
            filters = Filters(paths=(f"/{escape(path)}",))
            found = _paths(snapshot, query, mode, limit=1, filters=filters)
            assert found == [path], f"{mode} in {path} finds {query!r} in {found}"
        filters = Filters(exclude_paths=(f"/{escape(path)}",))
        assert path not in _paths(snapshot, query, "fts", limit=400, filters=filters), (
            f"{path} is excluded, and found"
        )


def _any_text(root: Path) -> None:
    """Whatever is asked for is found where it stands, marks and all."""
    with loaded(root, {**_CODE, **SAMPLE}) as snapshot:
        for mode in ("fts", "hybrid"):
            for query, path in {
                "=>": "marks/arrow.js",
                "!=": "marks/vec.cpp",
                "std::vector": "marks/vec.cpp",
                "->": "marks/vec.cpp",
                "vector^2~": "marks/vec.cpp",
                'push "no such words"': "marks/vec.cpp",
            }.items():
                found = _paths(snapshot, query, mode)
                assert path in found, f"{query} stands in {path}, {mode} finds {found}"


# Both engines.


class Meeting(FakeRuntime):
    """Holds the full text until the embedder has been entered."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.reading = SYSTEM.event("embedding"), SYSTEM.event("reading")
        self.met: list[bool] = []

    def thread(self, target: Callable[[], object], name: str) -> Thread:
        if name != "full text":
            return super().thread(target, name)

        def run() -> None:
            self.reading.set()
            self.met.append(self.embedding.wait(_PATIENCE_S))
            target()

        def join(timeout: float | None = None) -> None:
            if not self.embedding.is_set():  # who waits here is who would enter it
                self.met.append(False)
                self.embedding.set()
            joined(timeout)

        thread: Any = super().thread(run, name)
        joined, thread.join = thread.join, join
        return thread  # type: ignore[no-any-return]


class _Odd(HashingEmbedder):
    """The default, but for what becomes of a query."""

    def __init__(self, answer: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self.answer = answer

    def embed_query(self, text: str) -> Any:
        return super().embed_query(text) if self.answer is None else self.answer(text)


_QUERY = "retry disconnect"


def _at_once(root: Path) -> None:
    """A hybrid search asks both engines at once."""
    runtime = Meeting()

    def enter(text: str) -> Any:
        runtime.embedding.set()
        runtime.met.append(runtime.reading.wait(_PATIENCE_S))
        return HashingEmbedder().embed_query(text)

    with loaded(root, SAMPLE, _Odd(enter), runtime) as snapshot:
        snapshot.answer(Search(_QUERY, "hybrid"))
    assert runtime.met == [True, True], "one engine waits for the other"


def _costs_its_half(root: Path) -> None:
    """An embedder that is wrong costs its own half of one answer, and is named."""

    def fail(text: str) -> Any:
        raise OSError(13, "no")

    embedder = _Odd()
    with loaded(root, SAMPLE, embedder) as snapshot:
        # None of another length: the engine would write beyond its memory, if it were given one.
        wrong: tuple[Callable[[str], Any], ...] = (fail, lambda text: np.full(512, np.nan))
        for number, answer in enumerate(wrong):
            query, embedder.answer = f"{_QUERY} {number}", answer
            try:
                told = snapshot.answer(Search(query, "hybrid"))
            except (CidxError, ValueError) as error:
                raise AssertionError(f"an embedder is wrong, and full text, too: {error}") from None
            assert told["results"][0]["path"] == "net/retry.py", "full text finds something else"
            missing = list(told.get("unavailable", ()))
            assert missing == ["semantic"], f"an embedder is wrong, and {missing} is said to miss"
            embedder.answer = None
            again = snapshot.answer(Search(query, "hybrid"))
            assert "unavailable" not in again, "what has failed once is asked no more"


def _waited_for(root: Path) -> None:
    """A hybrid query waits so long for its vector, and no longer."""
    freed, left = SYSTEM.event("freed"), SYSTEM.event("left")

    def hold(text: str) -> Any:
        freed.wait(_PATIENCE_S)
        left.set()
        return HashingEmbedder().embed_query(text)

    with loaded(root, SAMPLE, _Odd(hold)) as snapshot:
        with patch.object(engines, "BESIDE_S", 0.01):
            asked = SYSTEM.thread(lambda: _hits(snapshot, _QUERY, "hybrid"), "asks")
            asked.join(_PATIENCE_S / 4)
            is_waiting = asked.is_alive()
            freed.set()
            asked.join(_PATIENCE_S)
        left.wait(_PATIENCE_S)
    assert not is_waiting, "the embedder is slow, and full text waits for it"


CHECKS: tuple[Check, ...] = (
    examples("own-nearest", "QRY-1", _nearest),
    examples("own-matches", "QRY-2", _matches),
    examples("own-both-engines", "QRY-3", _at_once, _costs_its_half, _waited_for),
    examples("own-any-text", "QRY-4", _any_text),
)
