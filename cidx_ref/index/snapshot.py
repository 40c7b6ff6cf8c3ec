"""A generation in memory: verified, with as many of the engines as can answer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

from cidx_ref.errors import IndexUnusableError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index import search
from cidx_ref.index.embed import Embedder
from cidx_ref.index.fulltext import FullTextIndex
from cidx_ref.index.generation import Lease
from cidx_ref.index.manifest import damaged_files, read_manifest, unlisted
from cidx_ref.index.port import Search
from cidx_ref.index.semantic import SPACE, SemanticIndex
from cidx_ref.index.stale import Staleness
from cidx_ref.index.store import FILES, ChunkStore
from cidx_ref.keys import Key
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["FULLTEXT", "VECTORS", "IndexSnapshot"]

VECTORS = "vectors.hnsw"
FULLTEXT = "fulltext"
_TRIES = 100

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
    ) -> None:
        """Load from `lease`, which the snapshot keeps; `key` must vouch for it (default: the
        account's).

        Raises `IndexUnusableError` if not even one engine can answer, `FileNotFoundError` if the
        generation is gone, `NoIndexError` if it was not made here.
        """
        self.generation = generation
        #: What tells of which hits the file has changed; set by who has one for all generations.
        self.staleness: Staleness | None = None
        self._lease = lease
        self._embedder = embedder
        self._runtime = runtime
        self.manifest = read_manifest(lease.files, key)
        self.unavailable: dict[str, str] = {}
        # Checksums before anything is loaded: hnswlib crashes the process on a flipped bit.
        self._damaged = damaged_files(lease.files, self.manifest)
        self._refuse_damage(*FILES)
        directory = lease.files.engine_path
        self.chunks = ChunkStore(directory)
        count = len(self.chunks)
        self.semantic = self._try(
            "semantic", lambda: self._load_vectors(directory / VECTORS, embedder, count)
        )
        self.fulltext = self._try("fts", lambda: self._load_fulltext(directory / FULLTEXT, count))
        if self.semantic is None and self.fulltext is None:
            raise IndexUnusableError("; ".join(self.unavailable.values()))

    def answer(self, asked: Search) -> dict[str, Any]:
        """See `port.Loaded.answer`."""
        found = search.answer(self, asked, self._embedder, self._runtime, self.staleness)
        return {**found, "indexed_at": self.manifest["created_at"]}

    def close(self) -> None:
        """Give memory and files back.  No search may be running."""
        if self.fulltext is not None:
            self.fulltext.close()
        self.semantic = self.fulltext = None
        self.chunks.close()
        self._lease.close()

    def _load_vectors(self, path: Path, embedder: Embedder, count: int) -> SemanticIndex:
        self._refuse_damage(VECTORS)
        made_by = self.manifest["embedder"]
        if (made_by["id"], made_by["dim"], self.manifest["space"]) != (
            embedder.id,
            embedder.dim,
            SPACE,
        ):
            raise IndexUnusableError(
                f"the index was made with embedder {made_by['id']!r} ({made_by['dim']} dimensions),"
                f" this daemon has {embedder.id!r} ({embedder.dim}): run `cidx-ref index`"
            )
        return SemanticIndex(path, dim=embedder.dim, count=count)

    def _load_fulltext(self, directory: Path, count: int) -> FullTextIndex:
        within = [name for name in self.manifest["files"] if name.startswith(f"{FULLTEXT}/")]
        self._refuse_damage(f"{FULLTEXT}/meta.json", *within)
        # tantivy opens its lock files by name, and makes what it does not find: where one is a link
        # it would do so somewhere else, and where there is none, for everybody to write.
        with self._lease.files.sub(FULLTEXT) as inner:
            for name in unlisted(self._lease.files, self.manifest, FULLTEXT):
                inner.check(name.rpartition("/")[2], stat.S_IFREG)
            try:
                os.close(inner.open_for_append(".tantivy-meta.lock"))
            except OSError:  # a file system that is read only
                return self._load_through_links(directory, within, count)
        return FullTextIndex(directory, count=count)

    def _load_through_links(self, directory: Path, within: list[str], count: int) -> FullTextIndex:
        """The full text from where nothing can be made, by a directory in which tantivy can."""
        try:
            links = Path(mkdtemp(prefix="cidx-ref-"))
            try:
                with Directory.open(links) as made:
                    for name in (found.removeprefix(f"{FULLTEXT}/") for found in within):
                        made.symlink(os.fspath(directory / name), name)
                # All files are open, or mapped, by the time it is there.
                return FullTextIndex(links, count=count)
            finally:
                _remove(links)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise IndexUnusableError(f"full-text index: {where}{error.strerror}") from None

    def _refuse_damage(self, *names: str) -> None:
        known = self.manifest["files"]
        unknown = {name: "not in the manifest" for name in names if name not in known}
        wrong = {**self._damaged, **unknown}
        problems = [f"{name}: {wrong[name]}" for name in names if name in wrong]
        if problems:
            raise IndexUnusableError(
                f"the index is damaged ({'; '.join(problems)}): run `cidx-ref index --full`"
            )

    def _try(self, engine: str, load: Callable[[], T]) -> T | None:
        try:
            return load()
        except (IndexUnusableError, UntrustedError) as error:
            self.unavailable[engine] = str(error)
            return None


def _remove(links: Path) -> None:
    """Remove a directory that tantivy has just opened, and in which a thread of it may be making a
    lock, for a moment."""
    with Directory.open(links.parent) as above:
        for _ in range(_TRIES):
            above.remove(links.name)
            if above.status(links.name) is None:
                return
