"""A tree with an index that goes on from run to run, beside which another one is built anew of the
same tree, elsewhere, whenever the two are to be compared (FRESH-4, FRESH-5)."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import numpy as np

from cidx_ref.errors import CidxError, NoIndexError
from cidx_ref.index import assembly, merging, plan, semantic, writing
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import MANIFEST, damaged_files, is_engine_lock, read_manifest
from cidx_ref.index.port import Search
from cidx_ref.index.query import parsed
from cidx_ref.index.showing import Piece, Shown
from cidx_ref.index.skipped import read_skipped
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.keys import account_key
from cidx_ref.places import INDEX_DIRECTORY
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.edits import MAX_BYTES, PATHS, WORD, file_at
from cidx_ref.testing.own.scenarios.common import SCRATCH

__all__ = [
    "Embedder", "Fault", "Life", "Run", "Text", "live_chunks", "no_probes", "nothing_left_open",
    "scratch", "small_segments",
]  # fmt: skip

MODES = ("hybrid", "semantic", "fts")


@contextmanager
def small_segments(*, most: int = 16, matrix: int = 5, dead_share: int = 2) -> Iterator[None]:
    """Have segments, graphs and merges come of a few chunks."""
    assert most >= 2 * matrix  # or two matrices might make no segment
    with (
        patch.multiple(
            plan,
            MAX_CHUNKS=most,
            _MATRIX_CHUNKS=matrix,
            _TINY=1,
            _DEAD_SHARE=dead_share,
            _FEW_DEAD=2,
            _SMALL_GRAPHS=3,
        ),
        patch.object(writing, "MAX_CHUNKS", most),
        patch.object(semantic, "EXACT_UP_TO", matrix),
    ):
        yield


@contextmanager
def no_probes() -> Iterator[None]:
    """Have a new segment not be asked for some of its chunks, which embeds those once more."""
    with patch.object(assembly, "_probe", lambda segment, embedder: None):
        yield


# Index runs that end before their time.


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an index run: at its `at`-th operation on files, step, or embedding."""

    kind: str  # fails, dies, dies at a step, embedder fails
    at: int


@dataclass(frozen=True)
class Run:
    """An index run; without a fault, what it left is looked at."""

    fault: Fault | None = None


class Death(BaseException):
    """The end of the process: what comes after it in `finally` can change no file any more."""


class Doomed(FakeRuntime):
    """Has a fault come about."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault
        self._is_dead = False
        if fault.kind == "fails":
            self.fail_at(fault.at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        elif fault.kind == "dies":
            self.fail_at(fault.at, Death(), dies=True)

    def step(self, name: str) -> None:
        super().step(name)
        if self._fault.kind == "dies at a step" and len(self.steps) == self._fault.at:
            self._is_dead = True
            raise Death

    def operation(self, kind: str, path: Path) -> None:
        if self._is_dead:
            raise Death
        super().operation(kind, path)


class Embedder(HashingEmbedder):
    """The default, which counts, and fails where it is told to."""

    def __init__(self, dim: int = 512) -> None:
        super().__init__(dim)
        self.texts: list[str] = []
        self.fails_at = 0
        self._calls = 0

    def embed_documents(self, texts: Sequence[str]) -> Any:
        self._calls += 1
        if self._calls == self.fails_at:
            raise ValueError("no vectors today")
        self.texts += texts
        return super().embed_documents(texts)


# What an index holds.

Text = tuple[str, int, int, str, str]


def live_chunks(snapshot: IndexSnapshot) -> dict[int, Text]:
    """Path, lines, name and text of each live chunk, by its number."""
    found = {}
    for part in snapshot.chunks.parts:
        for place in range(len(part.segment.store)):
            if part.alive is None or part.alive[place]:
                number = part.first_chunk + place
                found[number] = _text(snapshot, number)
    return found


def _text(snapshot: IndexSnapshot, number: int) -> Text:
    chunk = snapshot.chunks.read(number)
    return chunk.path, chunk.line_start, chunk.line_end, chunk.name, chunk.text


def _places_of_words(texts: Iterable[Text]) -> dict[str, list[tuple[str, int, int]]]:
    """Where each of the words stands that are in one part of one content, sorted."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for path, start, end, _, text in sorted(texts):
        for each in set(WORD.findall(text)):
            found.setdefault(each, []).append((path, start, end))
    return found


def _exact(snapshot: IndexSnapshot, text: str) -> list[tuple[Text, float]]:
    """All chunks with their cosines, in an order that says nothing of where they lie."""
    assert snapshot.semantic is not None, snapshot.unavailable
    vector = HashingEmbedder().embed_query(text)
    ranking = snapshot.semantic.rank(vector, snapshot.chunks.places)
    return sorted((_text(snapshot, number), score) for number, score in ranking)


def _scored(snapshot: IndexSnapshot, text: str) -> list[tuple[float, Text]]:
    """All that the full text finds, best first, and what is equally good by its place."""
    assert snapshot.fulltext is not None, snapshot.unavailable
    ranking = snapshot.fulltext.search(parsed(text), snapshot.chunks.places)
    return sorted((-score, _text(snapshot, number)) for number, score in ranking)


# A tree and its two indexes.


class Life:
    """A tree below `place`, edited and indexed.  A context manager."""

    def __init__(self, place: Path, history: Path, *, has_git: bool) -> None:
        """The tree begins as a copy of `history`, a repository of `make_history`, or, without
        `has_git`, of the files in it."""
        self.root = place / "tree"
        without = None if has_git else shutil.ignore_patterns(".git")
        shutil.copytree(history, self.root, symlinks=True, ignore=without)
        self.project = Project.at(self.root)
        self.anew = _elsewhere(self.root, place / "anew")
        self.embedder = Embedder()
        self._source = GenerationSource(self.project.generations, self.embedder)
        self._snapshot: IndexSnapshot | None = None
        self._met: set[str] = set()

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *error: object) -> None:
        self.let_go()

    def files(self) -> list[str]:
        """The paths of all files of the tree that edits know of."""
        return [path for path in PATHS if file_at(self.root, path)]

    def step(self, step: Run) -> None:
        """An index run, and a look at what it left."""
        if step.fault is None:
            self.run()
            self.check()
        else:
            self.run_with(step.fault)

    def run(self, **options: Any) -> dict[str, Any]:
        """Bring the index up to date."""
        return bring_up_to_date(
            self.project, self.embedder, max_file_size_bytes=MAX_BYTES, **options
        )

    def run_with(self, fault: Fault) -> None:
        """An index run to which that happens: what is live then is the old index or the new."""
        before = self.now()
        runtime, embedder = Doomed(fault), Embedder()
        if fault.kind == "embedder fails":
            embedder.fails_at = fault.at
        try:
            bring_up_to_date(self.project, embedder, max_file_size_bytes=MAX_BYTES, runtime=runtime)
        except (Death, CidxError):
            with _built(self.anew) as new:
                expected = sorted(live_chunks(new).values())
            after = self.now()
            assert after in (before, expected), f"{fault}: neither the old index nor the new"
        else:
            self.check()

    def check(self) -> None:
        """See that the live index is what one built anew is, and that nothing lies beside it."""
        self.reload()
        self._check_files()
        with _built(self.anew) as new:
            self._check_chunks(new)
            self._check_answers(new)
        key = account_key()
        assert read_skipped(self.project, key) == read_skipped(self.anew, key)

    def compact(self, **options: Any) -> None:
        """Merge everything: then full text, too, says what it says in an index built anew."""
        with (
            patch.object(merging, "due_merge", lambda sizes: [size.id for size in sizes]),
            patch.object(merging, "is_full_text_due", lambda *_: True),
            patch.object(merging, "is_merge_due", lambda *_: True),
        ):
            merging.merge_segments(self.project, self.embedder, **options)
        self.check()
        manifest = self.snapshot.manifest
        assert manifest["dead_documents"] == 0
        segments = manifest["segments"].values()
        assert sum(each["chunks"] for each in segments) == manifest["counts"]["chunks"]
        assert sum(each["files"] for each in segments) == manifest["counts"]["files"]
        with _built(self.anew) as new:
            for text in self._queries():
                assert _scored(self.snapshot, text) == _scored(new, text), text

    @property
    def snapshot(self) -> IndexSnapshot:
        assert self._snapshot is not None
        return self._snapshot

    def reload(self) -> None:
        """Load what is live, as a daemon does: what it shares with the one before stays loaded."""
        before = self._snapshot
        if before is None or before.generation != self._source.current():
            texts = live_chunks(before) if before is not None else {}
            self._snapshot = self._source.load(self._source.current())
            if before is not None:
                assert live_chunks(before) == texts, "a publish changed what a reader has"
                before.close()

    def let_go(self) -> None:
        """Unload what was looked at, which no sweep removes before."""
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def now(self) -> list[Text]:
        """What is live, from disk."""
        try:
            snapshot = self._source.load(self._source.current())
        except NoIndexError:
            return []
        try:
            return sorted(live_chunks(snapshot).values())
        finally:
            snapshot.close()

    def _check_files(self) -> None:
        generations = Generations(self.project.generations)
        live = generations.current()
        for _ in _patience():  # what was replaced while the snapshot before was in use
            generations.sweep()
            if (left := sorted(os.listdir(self.project.generations))) == [live, "current"]:
                break
        assert left == [live, "current"], "litter is left"
        directory = generations.path(live)
        manifest = read_manifest(directory)
        assert damaged_files(directory, manifest) == {}
        found = {
            name: path.stat().st_nlink
            for path in directory.rglob("*")
            if path.is_file() and not is_engine_lock(name := path.relative_to(directory).as_posix())
        }
        listed = {*manifest["files"], MANIFEST}
        assert found.keys() == listed, f"litter is left: {sorted(found.keys() ^ listed)}"
        assert set(found.values()) == {1}, "a file is somewhere else, too"

    def _check_chunks(self, new: IndexSnapshot) -> None:
        found, expected = live_chunks(self.snapshot), live_chunks(new)
        stale = sorted(set(found.values()) - set(expected.values()))
        missing = sorted(set(expected.values()) - set(found.values()))
        assert not stale, f"stale: {stale}"
        assert not missing, f"missing: {missing}"
        assert sorted(found.values()) == sorted(expected.values()), "something is there twice"
        assert self.snapshot.manifest["counts"] == new.manifest["counts"]
        assert len(self.snapshot.chunks) == len(found) == new.manifest["counts"]["chunks"]
        assert self.snapshot.chunks.file_count == new.manifest["counts"]["files"]

    def _check_answers(self, new: IndexSnapshot) -> None:
        for text in self._queries():
            found, expected = _exact(self.snapshot, text), _exact(new, text)
            assert [each for each, _ in found] == [each for each, _ in expected], text
            np.testing.assert_allclose(
                [score for _, score in found], [score for _, score in expected], atol=2e-6
            )
        holding = _places_of_words(live_chunks(new).values())
        for each, places in holding.items():
            assert self._answer(each, "fts") == places, each
        few = {each: holding[each] for each in sorted(holding)[:3]}
        gone = sorted(self._met - holding.keys())[:6]
        for each in [*few, *gone]:
            for mode in MODES:
                assert self._answer(each, mode) == few.get(each, []), f"{mode} search for {each}"
        self._met |= holding.keys()

    def _answer(self, text: str, mode: str) -> list[tuple[str, int, int]]:
        with _copies_shown():  # it is asked what is there
            hits = self.snapshot.answer(Search(text, mode, limit=100))["results"]
        return sorted((hit["path"], hit["line_start"], hit["line_end"]) for hit in hits)

    def _queries(self) -> list[str]:
        return ["common", "return filler", "sub c.py", *sorted(self._met)[:4]]


@contextmanager
def _copies_shown() -> Iterator[None]:
    """Have an answer show the same text of another file, too."""

    def none(shown: Shown, piece: Piece) -> None: ...

    with patch.multiple(Shown, has=none, _shown_elsewhere=none):
        yield


def _elsewhere(root: Path, base: Path) -> Project:
    """The project at `root`, with its index below `base`."""
    with patch.dict(os.environ, {INDEX_DIRECTORY: str(base)}):
        project = Project.at(root)
        assert project.places.is_chosen  # found out once, and kept
        return project


@contextmanager
def _built(project: Project) -> Iterator[IndexSnapshot]:
    """A new index of all that is there."""
    embedder = HashingEmbedder()
    bring_up_to_date(project, embedder, full=True, max_file_size_bytes=MAX_BYTES)
    source = GenerationSource(project.generations, embedder)
    with closing(source.load(source.current())) as snapshot:
        yield snapshot


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for as long as the block runs, where syncing costs nothing."""
    directory = Path(mkdtemp(dir=SCRATCH))
    try:
        yield directory
    finally:
        for _ in _patience():
            shutil.rmtree(directory, ignore_errors=True)
            if not directory.exists():
                break


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """No descriptor is left."""
    before = _open_files().keys()
    yield
    for _ in _patience():
        left = {fd: name for fd, name in _open_files().items() if fd not in before}
        if not left:
            return
    raise AssertionError(f"left open: {left}")


def _open_files() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


def _patience() -> Iterator[None]:
    """Some seconds: tantivy closes files, and makes a lock, in a thread that it leaves."""
    for _ in range(500):
        yield
        SYSTEM.sleep(0.01)
