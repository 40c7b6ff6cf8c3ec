"""One generation of the full cidx's index in memory: checked, with what of it can answer."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from cidx_ref.errors import GenerationGone, IndexUnusableError
from cidx_ref.index import search
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.catalogue import Catalogue
from cidx_ref.index.cidx.fulltext import TheirText, opened_index
from cidx_ref.index.cidx.near import TheirVectors
from cidx_ref.index.cidx.said import problems_of
from cidx_ref.index.cidx.words import opened_text
from cidx_ref.index.embed import Embedder
from cidx_ref.index.port import Search
from cidx_ref.index.semantic import SemanticIndex
from cidx_ref.index.stale import Staleness
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["TheirSnapshot"]

_MAX_GRAPH_BYTES = 1 << 37
_BLOCK_BYTES = 1 << 20


def _read_through(fd: int) -> None:
    """Read a file, so that the system has it in memory: an engine that waits for a disk keeps the
    interpreter meanwhile, from which this lets everybody else go on."""
    block, at = bytearray(_BLOCK_BYTES), 0
    while read := os.preadv(fd, [block], at):
        at += read


class TheirSnapshot:
    """What of a generation can be searched.  Immutable and thread-safe."""

    def __init__(
        self,
        root: Path,
        found: tree.Tree,
        catalogue: Catalogue,
        embedder: Embedder,
        staleness: Staleness,
        runtime: Runtime = SYSTEM,
    ) -> None:
        """Load what was `found`, and is in the `catalogue`, which the snapshot keeps.

        Raises `GenerationGone` if it has been replaced meanwhile, `IndexUnusableError` if not even
        one engine can answer.
        """
        self.generation = found.generation
        self.unavailable: dict[str, str] = {}
        self._catalogue = catalogue
        self._embedder = embedder
        self._staleness = staleness
        self._runtime = runtime
        newest = datetime.fromtimestamp(found.newest_ns / 1e9).astimezone()
        self._indexed_at = newest.isoformat(timespec="milliseconds")
        self.chunks = catalogue.chunks
        self.count = len(self.chunks)
        self.semantic: TheirVectors | None = None
        self.fulltext: TheirText | None = None
        try:
            self._load(root, found)
        except FileNotFoundError:
            self.close()
            raise GenerationGone(self.generation) from None
        except BaseException:
            self.close()
            raise

    def _load(self, root: Path, found: tree.Tree) -> None:
        self.unavailable = problems_of(found, self._catalogue.record, self._embedder)
        if "semantic" not in self.unavailable:
            self._try("semantic", lambda: self._load_vectors(root, found))
        if "fts" not in self.unavailable:
            self._try("fts", lambda: self._load_text(root))
        if self.semantic is None and self.fulltext is None:
            raise IndexUnusableError("; ".join(self.unavailable.values()))

    def _try(self, engine: str, load: Any) -> None:
        try:
            load()
        except IndexUnusableError as error:
            self.unavailable[engine] = str(error)
        except MemoryError:
            self.unavailable[engine] = "there is too little memory to load it"

    def answer(self, asked: Search) -> dict[str, Any]:
        """See `port.Loaded.answer`."""
        found = search.answered(self, asked, self._embedder, self._runtime, self._staleness)
        missing = {**self.unavailable, **found.get("unavailable", {})}
        said = {"unavailable": missing} if missing else {}
        return {**found, **said, "indexed_at": self._indexed_at, "source": "cidx"}

    def close(self) -> None:
        """Give memory and files back.  No search may be running."""
        if self.fulltext is not None:
            self.fulltext.close()
        if self.semantic is not None:
            self.semantic.close()
        self.semantic = self.fulltext = None
        self._catalogue.close()

    def _load_vectors(self, root: Path, found: tree.Tree) -> None:
        record, labels = self._catalogue.record, self._catalogue.chunk_of_label
        with tree.opened(root, "index", str(found.collection)) as collection:
            fd = tree.open_quietly(collection, tree.GRAPH, _MAX_GRAPH_BYTES)
            try:
                now = tree.signature(os.fstat(fd))
                if now != found.files[f"index/{found.collection}/{tree.GRAPH}"]:
                    raise GenerationGone(self.generation)
                _read_through(fd)
                # By its descriptor: the very file that was checked.
                index = SemanticIndex(
                    Path(f"/proc/self/fd/{fd}"),
                    dim=record["dim"],
                    count=record["vectors"],
                    places=len(labels),
                )
            finally:
                os.close(fd)
        self.semantic = TheirVectors(index, labels, len(self.chunks))

    def _load_text(self, root: Path) -> None:
        recorded = {n: tuple(each) for n, each in self._catalogue.record["text_files"].items()}
        with tree.opened(root, tree.FULLTEXT) as directory, opened_text(directory) as files:
            if files.signatures != recorded:
                raise GenerationGone(self.generation)
            index, searcher = opened_index(files)
        self.fulltext = TheirText(index, searcher, self._catalogue, self.chunks)
