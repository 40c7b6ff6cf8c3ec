"""A generation in memory: verified, with as many of the engines as can answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cidx_ref.errors import IndexUnusableError
from cidx_ref.index.embed import Embedder
from cidx_ref.index.fulltext import FullTextIndex
from cidx_ref.index.generation import Lease, damaged_files, read_manifest
from cidx_ref.index.semantic import SPACE, SemanticIndex
from cidx_ref.index.store import FILES, ChunkStore

__all__ = ["FULLTEXT", "VECTORS", "IndexSnapshot"]

VECTORS = "vectors.hnsw"
FULLTEXT = "fulltext"

T = TypeVar("T")


class IndexSnapshot:
    """One verified generation: chunks, and as many of the two engines as could be loaded.

    `unavailable` says of each missing engine ("semantic", "fts") why it is missing.
    """

    def __init__(self, generation: str, lease: Lease, embedder: Embedder) -> None:
        """Load from `lease`, which the snapshot keeps.

        Raises `IndexUnusableError` if not even one engine can answer, `FileNotFoundError` if the
        generation is gone.
        """
        self.generation = generation
        self._lease = lease
        self.manifest = read_manifest(lease.directory)
        self.unavailable: dict[str, str] = {}
        # Checksums before anything is loaded: hnswlib crashes the process on a flipped bit.
        self._damaged = damaged_files(lease.directory, self.manifest)
        self._refuse_damage(*FILES)
        self.chunks = ChunkStore(lease.directory)
        count = len(self.chunks)
        self.semantic = self._try(
            "semantic", lambda: self._load_vectors(lease.directory / VECTORS, embedder, count)
        )
        self.fulltext = self._try(
            "fts", lambda: self._load_fulltext(lease.directory / FULLTEXT, count)
        )
        if self.semantic is None and self.fulltext is None:
            raise IndexUnusableError("; ".join(self.unavailable.values()))

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
        return FullTextIndex(directory, count=count)

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
        except IndexUnusableError as error:
            self.unavailable[engine] = str(error)
            return None
