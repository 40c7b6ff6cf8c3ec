"""Files into segments: embedded in batches, linked beside, and no segment too large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from cidx_ref.errors import IndexingError
from cidx_ref.index.analysis import Terms, embedded_text
from cidx_ref.index.asking import failure
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.embed import Embedder, as_numbers
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.plan import MAX_CHUNKS
from cidx_ref.index.segment import Segment, SegmentWriter
from cidx_ref.runtime import SYSTEM, Runtime, Thread

__all__ = ["SegmentSink"]

_BATCH = 256  # chunks embedded at once


class SegmentSink:
    """Writes files to one segment after the other.  For one thread; `finish` must end it."""

    def __init__(
        self,
        new_segment: Callable[[], AbstractContextManager[SegmentWriter]],
        embedder: Embedder,
        runtime: Runtime = SYSTEM,
    ) -> None:
        """`new_segment` makes a segment, which is complete when its context is left."""
        self._new_segment = new_segment
        self._embedder = embedder
        self._runtime = runtime
        self._open = ExitStack()
        self._writer: SegmentWriter | None = None
        self._feed: _VectorFeed | None = None

    def __enter__(self) -> SegmentSink:
        return self

    def __exit__(self, *error: Any) -> None:
        """Give up the segment that is being written, if `finish` has not ended it."""
        if self._feed is not None:
            self._feed.abandon()
        self._open.__exit__(*error)

    def add(self, file: StoredFile, chunks: Sequence[Chunk], terms: Sequence[Terms]) -> None:
        """Add a file.  Raises `IndexingError` if the embedder fails."""
        writer, feed = self._room_for(len(chunks))
        writer.add_file(file, chunks, terms)
        for chunk in chunks:
            feed.put(embedded_text(file.path, chunk.name, chunk.text))

    def copy(self, segment: Segment, files: Sequence[int]) -> None:
        """Add `files` of another segment, as they are."""
        store = segment.store
        writer, feed = self._room_for(sum(store.files[number].chunks for number in files))
        feed.finish()  # vectors come in the order of their chunks
        writer.copy(segment, files)

    def finish(self) -> None:
        """Complete the last segment."""
        if self._feed is not None:
            self._feed.finish()
        self._writer = self._feed = None
        self._open.close()

    def _room_for(self, chunks: int) -> tuple[SegmentWriter, _VectorFeed]:
        if self._writer is not None and self._writer.chunk_count + chunks > MAX_CHUNKS:
            self.finish()
        if self._writer is None or self._feed is None:
            self._writer = self._open.enter_context(self._new_segment())
            self._feed = _VectorFeed(self._embedder, self._writer.add_vectors, self._runtime)
        return self._writer, self._feed


class _VectorFeed:
    """Embeds in batches, and links each batch in another thread: hnswlib releases the GIL for it,
    so the next files are read and cut at the same time."""

    def __init__(self, embedder: Embedder, add: Callable[[Any], None], runtime: Runtime) -> None:
        self._embedder = embedder
        self._add = add
        self._runtime = runtime
        self._pending: list[str] = []
        self._adding: Thread | None = None
        self._error: Exception | None = None

    def put(self, text: str) -> None:
        self._pending.append(text)
        if len(self._pending) >= _BATCH:
            self._flush()

    def finish(self) -> None:
        if self._pending:
            self._flush()
        self._join()

    def abandon(self) -> None:
        """Wait for what is being linked, and link no more."""
        if self._adding is not None:
            self._adding.join()

    def _flush(self) -> None:
        texts, self._pending = self._pending, []
        vectors = self._embed(texts)
        self._join()
        self._adding = self._runtime.thread(lambda: self._link(vectors), "vectors")

    def _embed(self, texts: list[str]) -> Any:
        import numpy as np

        try:
            vectors = np.asarray(as_numbers(self._embedder.embed_documents(texts)), np.float32)
        except (Exception, SystemExit) as error:
            kept = "; what it has made is kept for the next run"
            made = kept if hasattr(self._embedder, "known") else ""
            said = failure(self._embedder, error)
            raise IndexingError(f"embedder {self._embedder.id}: {said}{made}") from None
        wanted = (len(texts), self._embedder.dim)
        if vectors.shape != wanted:
            raise IndexingError(
                f"embedder {self._embedder.id}: vectors of shape {vectors.shape}, not {wanted}"
            )
        if not np.isfinite(vectors).all():
            raise IndexingError(f"embedder {self._embedder.id}: vectors that are not finite")
        return vectors

    def _join(self) -> None:
        if self._adding is not None:
            self._adding.join()
        if self._error is not None:
            said = failure(self._embedder, self._error)
            raise IndexingError(f"embedder {self._embedder.id}: {said}")

    def _link(self, vectors: Any) -> None:
        try:
            self._add(vectors)
        except Exception as error:
            self._error = error
