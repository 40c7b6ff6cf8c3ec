"""A segment: chunks, texts, vectors and words of some files, in a directory that never changes.

A generation is made of segments, and shares with the one before it those that an index run has not
written anew.  A file that has changed since lies in a newer segment, and is dead in the older one:
which files those are, the generation says (`live`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index.analysis import Terms, terms_of_file
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.semantic import SemanticIndex, VectorWriter
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import FILES, ChunkWriter
from cidx_ref.index.vocabulary import WORDS, WordFile, WordWriter
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STORE_FILES", "Segment", "SegmentWriter", "Written"]

#: Without which a segment is none; vectors may be missing.
STORE_FILES = (*FILES, WORDS)
#: Words are collected anew where those of one chunk in so many are of a chunk that is gone: with
#: that, an edit of thirty chunks costs 20 ms more, however many others are taken in with it.
_GONE_SHARE = 5


class Written(NamedTuple):
    """What a manifest says of a segment: how much is in it, the name of its vectors' file, and the
    words of how many chunks it has, also of such as were dead when it was written."""

    files: int
    chunks: int
    vectors: str
    worded: int


class SegmentWriter:
    """Writes a new segment into `directory`.  A context manager."""

    def __init__(self, directory: Directory, dim: int, threads: int = -1) -> None:
        """`threads`: see `VectorWriter`."""
        self._directory = directory
        self._store = ChunkWriter(directory)
        self._words = WordWriter()
        self._worded = 0
        self._vectors = VectorWriter(dim, threads)

    @property
    def chunk_count(self) -> int:
        return self._store.chunk_count

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._store.__exit__(*error)

    def add_file(self, file: StoredFile, chunks: Iterable[Chunk], terms: Iterable[Terms]) -> None:
        """Add a file; the vectors of its chunks may come later, but in their order."""
        self._store.add_file(file, chunks)
        for each in terms:
            self._words.add(each)
            self._worded += 1

    def add_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Add the vectors of the next chunks."""
        self._vectors.add(vectors)

    def copy(self, segment: Segment, files: Iterable[int]) -> None:
        """Add `files` of another segment, with their vectors."""
        for number in files:
            chunks = segment.store.chunks_of(number)
            self._store.add_file(segment.store.files[number], map(segment.store.read, chunks))
            if chunks:
                self._vectors.add(segment.vectors_of(chunks))
        self._words.add_all(segment.words)
        self._worded += segment.worded

    def save(self) -> Written:
        """Write everything out."""
        assert self._vectors.count == self._store.chunk_count
        self._store.save()
        chunks = self._store.chunk_count
        if (self._worded - chunks) * _GONE_SHARE >= self._worded:
            # Else words of what is gone would pile up from segment to segment, for ever.
            self._words, self._worded = _words_of(self._directory.engine_path), chunks
        self._words.save(self._directory)
        vectors = self._vectors.save(self._directory)
        return Written(self._store.file_count, chunks, vectors, self._worded)


class Segment:
    """A segment in memory.  Immutable and thread-safe; shared by all generations that have it.

    `vectors` is None where they cannot be used, and `problem` says why.
    """

    def __init__(
        self, directory: Path, described: dict[str, Any], dim: int | None, problem: str = ""
    ) -> None:
        """Load what lies in `directory`, and has been verified, but for its vectors if `dim` is
        None.  Raises `IndexUnusableError`."""
        self.problem = problem
        self.vectors: SemanticIndex | None = None
        try:
            self.store = ChunkStore(directory)
            self.words = WordFile(directory)
        except (OSError, ValueError) as error:
            raise IndexUnusableError(f"segment: {why(error)}") from None
        self.worded: int = described["worded"]
        if (len(self.store.files), len(self.store)) != (described["files"], described["chunks"]):
            self.close()
            raise IndexUnusableError("segment: not as large as its manifest says")
        if dim is not None:
            try:
                path = directory / described["vectors"]
                self.vectors = SemanticIndex(path, dim=dim, count=len(self.store))
            except IndexUnusableError as error:
                self.problem = str(error)

    def vectors_of(self, chunks: Iterable[int]) -> NDArray[np.float32]:
        """Those of `chunks`, in their order.  Raises `IndexUnusableError` where there are none."""
        if self.vectors is None:
            raise IndexUnusableError(self.problem)
        return self.vectors.vectors(np.fromiter(chunks, np.intp))

    def close(self) -> None:
        """Let go of memory and files.  No search may be running."""
        self.store.close()
        self.words.close()
        if self.vectors is not None:
            self.vectors.close()
            self.vectors = None


def _words_of(directory: Path) -> WordWriter:
    """The words of the texts that are stored there."""
    words = WordWriter()
    with closing(ChunkStore(directory)) as store:
        for number, file in enumerate(store.files):
            for each in terms_of_file(file.path, map(store.read, store.chunks_of(number))):
                words.add(each)
    return words
