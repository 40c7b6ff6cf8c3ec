"""A generation in memory: verified, with as many of the engines as can answer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from cidx_ref.errors import IndexUnusableError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index import search
from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.embed import Embedder
from cidx_ref.index.fulltext import META, FullTextIndex
from cidx_ref.index.generation import Lease
from cidx_ref.index.links import links_to
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.loaded import LoadedSegments, SegmentKey
from cidx_ref.index.manifest import (
    DEAD,
    FULLTEXT,
    damaged_files,
    read_dead,
    read_manifest,
    unlisted,
)
from cidx_ref.index.nearest import Nearest
from cidx_ref.index.port import Search
from cidx_ref.index.segment import STORE_FILES, Segment
from cidx_ref.index.semantic import SPACE
from cidx_ref.index.stale import Staleness
from cidx_ref.keys import Key
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why

__all__ = ["FULLTEXT", "IndexSnapshot", "load_segment"]

_NAMED = 3  # files that an error names: of a folder that is gone, all are

T = TypeVar("T")


class IndexSnapshot:
    """One verified generation: chunks, and as many of the two engines as could be loaded.

    `unavailable` says of each missing engine ("semantic", "fts") why it is missing.
    """

    def __init__(
        self,
        generation: str,
        lease: Lease,
        embedder: Embedder,
        key: Key | None = None,
        runtime: Runtime = SYSTEM,
        segments: LoadedSegments | None = None,
    ) -> None:
        """Load from `lease`, which the snapshot keeps; `key` must vouch for it (default: the
        account's).  Of `segments` those are taken that are in memory already.

        Raises `IndexUnusableError` if not even one engine can answer, `FileNotFoundError` if the
        generation is gone, `NoIndexError` if it was not made here.
        """
        self.generation = generation
        #: What tells of which hits the file has changed; set by who has one for all generations.
        self.staleness: Staleness | None = None
        self._lease = lease
        self._embedder = QueryVectors.of(embedder, runtime)
        self._runtime = runtime
        self._segments = segments or LoadedSegments(runtime)
        self._taken: list[SegmentKey] = []
        self.manifest = read_manifest(lease.files, key)
        self.unavailable: dict[str, str] = {}
        try:
            self._load()
        except BaseException:
            self._give_back()
            raise

    def _load(self) -> None:
        if DEAD not in self.manifest["files"]:
            raise _damaged({DEAD: "not in the manifest"})
        _refuse(damaged_files(self._lease.files, self.manifest, ""), DEAD)
        mismatch = self._mismatch()
        taken = {name: self._take(name, mismatch) for name in self.manifest["segments"]}
        self.chunks = LiveChunks(taken, read_dead(self._lease.files, self.manifest))
        self.count = len(self.chunks)
        if self.count != self.manifest["counts"]["chunks"]:
            raise IndexUnusableError(
                f"the index is damaged ({self.count} chunks, expected "
                f"{self.manifest['counts']['chunks']}): run `cidx-ref index --full`"
            )
        problems = [mismatch, *(segment.problem for segment in taken.values())]
        self.semantic = self._try("semantic", lambda: self._nearest(problems))
        self.fulltext = self._try("fts", self._load_fulltext)
        if self.semantic is None and self.fulltext is None:
            raise IndexUnusableError("; ".join(self.unavailable.values()))

    def answer(self, asked: Search) -> dict[str, Any]:
        """See `port.Loaded.answer`."""
        found = search.answered(self, asked, self._embedder, self._runtime, self.staleness)
        return {**found, "indexed_at": self.manifest["created_at"]}

    def close(self) -> None:
        """Give memory and files back.  No search may be running."""
        if self.fulltext is not None:
            self.fulltext.close()
        self.semantic = self.fulltext = None
        self._give_back()
        self._lease.close()

    def _take(self, name: str, mismatch: str) -> Segment:
        within = f"{name}/"
        files = {n: each for n, each in self.manifest["files"].items() if n.startswith(within)}
        key = name, (mismatch, *(each["sha256"] for each in files.values()))
        segment = self._segments.take(key, lambda: self._loaded(name, mismatch))
        self._taken.append(key)
        return segment

    def _loaded(self, name: str, mismatch: str) -> Segment:
        dim = None if mismatch else self._embedder.dim
        return load_segment(self._lease.files, self.manifest, name, dim)

    def _give_back(self) -> None:
        while self._taken:
            self._segments.give_back(self._taken.pop())

    def _mismatch(self) -> str:
        """Why this embedder cannot search this generation; "" if it can."""
        made_by, embedder = self.manifest["embedder"], self._embedder
        found = made_by["id"], made_by["dim"], self.manifest["space"]
        if found == (embedder.id, embedder.dim, SPACE):
            return ""
        return (
            f"the index was made with embedder {made_by['id']!r} ({made_by['dim']} dimensions),"
            f" this daemon has {embedder.id!r} ({embedder.dim}): run `cidx-ref index`"
        )

    def _nearest(self, problems: Sequence[str]) -> Nearest:
        if problem := next(filter(None, problems), None):
            raise IndexUnusableError(problem)
        return Nearest(self.chunks.parts)

    def _load_fulltext(self) -> FullTextIndex:
        files = self._lease.files
        prefix = f"{FULLTEXT}/"
        recorded = {
            name.removeprefix(prefix): each
            for name, each in self.manifest["files"].items()
            if name.startswith(prefix)
        }
        if META not in recorded:
            raise _damaged({prefix + META: "not in the manifest"})
        # tantivy opens its lock files by name, and makes what it does not find: where one is a link
        # it would do so somewhere else, and where there is none, for everybody to write.
        with _sub(files, FULLTEXT) as inner:
            self._verify_fulltext(inner, recorded)
            for name in unlisted(files, self.manifest, FULLTEXT):
                inner.check(name.rpartition("/")[2], stat.S_IFREG)
            try:
                os.close(inner.open_for_append(".tantivy-meta.lock"))
            except OSError:  # a file system that is read only
                return self._load_through_links(recorded)
        return FullTextIndex(files.engine_path / FULLTEXT, self.chunks)

    def _verify_fulltext(self, inner: Directory, recorded: Mapping[str, Any]) -> None:
        verified = self._segments.verified
        unknown = {
            f"{FULLTEXT}/{name}": each
            for name, each in recorded.items()
            if not verified.holds(inner, name, each)
        }
        wrong = damaged_files(self._lease.files, {"files": unknown})
        if wrong:
            raise _damaged(wrong)
        verified.note(inner, recorded)

    def _load_through_links(self, within: Mapping[str, Any]) -> FullTextIndex:
        """The full text from where nothing can be made, by a directory in which tantivy can."""
        directory = self._lease.files.engine_path / FULLTEXT
        try:
            with links_to({name: os.fspath(directory / name) for name in within}) as links:
                # All files are open, or mapped, by the time it is there.
                return FullTextIndex(links, self.chunks)
        except OSError as error:
            raise IndexUnusableError(f"full-text index: {why(error)}") from None

    def _try(self, engine: str, load: Callable[[], T]) -> T | None:
        try:
            return load()
        except (IndexUnusableError, UntrustedError) as error:
            self.unavailable[engine] = str(error)
            return None


def load_segment(
    files: Directory, manifest: Mapping[str, Any], name: str, dim: int | None
) -> Segment:
    """The segment `name` of the generation in `files`, verified, and without its vectors if `dim`
    is None.

    Checksums before anything is loaded: hnswlib crashes the process on a flipped bit.  Raises
    `IndexUnusableError`; for damaged vectors it has a `problem` instead.
    """
    described = manifest["segments"][name]
    wrong = damaged_files(files, dict(manifest), name)
    needed = [f"{name}/{each}" for each in (*STORE_FILES, described["vectors"])]
    wrong |= {each: "not in the manifest" for each in needed if each not in manifest["files"]}
    _refuse(wrong, *needed[:-1])
    problem = ""
    if dim is not None and needed[-1] in wrong:
        dim, problem = None, str(_damaged({needed[-1]: wrong[needed[-1]]}))
    with _sub(files, name) as inner:
        return Segment(inner.engine_path, described, dim, problem)


def _sub(files: Directory, name: str) -> Directory:
    try:
        return files.sub(name)
    except FileNotFoundError:
        raise _damaged({name: "missing"}) from None


def _refuse(wrong: Mapping[str, str], *names: str) -> None:
    if found := {name: wrong[name] for name in names if name in wrong}:
        raise _damaged(found)


def _damaged(wrong: Mapping[str, str]) -> IndexUnusableError:
    first = [f"{name}: {problem}" for name, problem in islice(wrong.items(), _NAMED)]
    more = [f"{len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
    problems = "; ".join([*first, *more])
    return IndexUnusableError(f"the index is damaged ({problems}): run `cidx-ref index --full`")
