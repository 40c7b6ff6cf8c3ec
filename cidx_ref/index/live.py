"""The live chunks of one generation: its segments as one store, without what is dead in them.

Chunks and files are numbered through all segments, the dead ones too: a number is a place in a
segment after the places of all segments before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import TYPE_CHECKING

import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.filters import Filters
from cidx_ref.index.named import Names, Unmatched
from cidx_ref.index.segment import Segment
from cidx_ref.index.storing import StoredChunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FileSet", "FilterMask", "LiveChunks", "Part", "key_of"]

_REMEMBERED = 64  # filters
_ORDINAL_BITS = 20  # a file has fewer than a million chunks
_ORDINALS = (1 << _ORDINAL_BITS) - 1


def key_of(file_id: int, ordinal: int) -> int:
    """What the full text calls the chunk number `ordinal` of a file: it stays the same in whatever
    segment the file comes to lie."""
    return file_id << _ORDINAL_BITS | ordinal


@dataclass(frozen=True, slots=True)
class FileSet:
    """The live files of one generation that a filter lets through, and those that it does not, by
    their ids; and which chunks are let through, `count` of them."""

    ids: NDArray[np.int64]
    others: NDArray[np.int64]
    chunks: NDArray[np.bool_]
    count: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class FilterMask:
    """`Filters`, worked out for one generation: which files and chunks are let through, and what
    of them no file matches (see `Names.understood`)."""

    files: FileSet
    chunks: NDArray[np.bool_]
    unmatched: Unmatched


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of a generation: where its numbers begin, and what of it is alive, if not all."""

    segment: Segment
    first_chunk: int
    first_file: int
    alive_files: NDArray[np.bool_] | None
    alive: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.segment.store)

    @property
    def stop(self) -> int:
        return self.first_chunk + len(self)

    def files(self) -> Iterator[StoredFile]:
        """The files that are alive."""
        files = self.segment.store.files
        return iter(files) if self.alive_files is None else compress(files, self.alive_files)

    def within(self, mask: FilterMask | None) -> NDArray[np.bool_] | None:
        """Which chunks are alive and let through, by their places in the segment; None: all."""
        return self.alive if mask is None else mask.chunks[self.first_chunk : self.stop]


class LiveChunks:
    """What of `segments` is not `dead`.  Thread-safe.

    `dead` has the numbers of the files, within their segment, that are not of this generation.
    """

    def __init__(
        self, segments: Mapping[str, Segment], dead: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self.parts = _parts(segments, dead or {})
        self._first_chunks = [part.first_chunk for part in self.parts]
        self._first_files = [part.first_file for part in self.parts]
        #: The number of all places, dead or alive.
        self.places = self.parts[-1].stop if self.parts else 0
        self._masks: dict[Filters, FilterMask] = {}
        self._names: Names | None = None  # made when a filter is first asked for
        ids, starts = _directory(self.parts)
        self._ids = np.sort(ids)
        # By the id of each file that is alive, where its chunks begin: for the few dozens of a
        # search, numpy takes four times as long.
        self._starts = dict(zip(ids.tolist(), starts.tolist(), strict=True))
        alive = (
            len(p.segment.store) if p.alive is None else int(p.alive.sum()) for p in self.parts
        )
        self._count = sum(alive)
        #: The size of all names and texts.
        self.size_bytes = sum(part.segment.store.size_bytes for part in self.parts)

    def __len__(self) -> int:
        """The number of live chunks."""
        return self._count

    @property
    def file_count(self) -> int:
        """The number of live files."""
        return len(self._ids)

    def read(self, chunk: int) -> StoredChunk:
        part = self.parts[bisect_right(self._first_chunks, chunk) - 1]
        return part.segment.store.read(chunk - part.first_chunk)

    def raw(self, chunk: int) -> bytes:
        """See `ChunkStore.raw`."""
        part = self.parts[bisect_right(self._first_chunks, chunk) - 1]
        return part.segment.store.raw(chunk - part.first_chunk)

    def place_of(self, chunk: int) -> tuple[str, int]:
        """Path and first line of `chunk`."""
        part = self.parts[bisect_right(self._first_chunks, chunk) - 1]
        return part.segment.store.place_of(chunk - part.first_chunk)

    def file_of(self, chunk: int) -> int:
        """The number of the file that `chunk` is part of."""
        part = self.parts[bisect_right(self._first_chunks, chunk) - 1]
        return part.first_file + part.segment.store.file_of(chunk - part.first_chunk)

    def files_and_names(self, chunks: Sequence[int]) -> tuple[list[int], list[str]]:
        """Of each of the `chunks` the number of its file, and its names (see `ChunkStore`)."""
        files, names = [], []
        firsts, parts = self._first_chunks, self.parts
        for chunk in chunks:  # for some dozens, numpy takes longer to begin
            part = parts[bisect_right(firsts, chunk) - 1]
            file, said = part.segment.store.file_and_names(chunk - part.first_chunk)
            files.append(part.first_file + file)
            names.append(said)
        return files, names

    def file(self, number: int) -> StoredFile:
        part = self.parts[bisect_right(self._first_files, number) - 1]
        return part.segment.store.files[number - part.first_file]

    def chunks_of(self, file: int) -> range:
        """The chunks of a file."""
        part = self.parts[bisect_right(self._first_files, file) - 1]
        inside = part.segment.store.chunks_of(file - part.first_file)
        return range(part.first_chunk + inside.start, part.first_chunk + inside.stop)

    def digest_of(self, file: int) -> str:
        """The digest of a file's content when it was indexed."""
        return self.file(file).digest

    def files_with(self, chunks: Sequence[int]) -> FileSet:
        """The files that have one of `chunks`, of which those chunks alone are let through."""
        ids = np.array(sorted({self.file(self.file_of(n)).id for n in chunks}), np.int64)
        marks = np.zeros(self.places, dtype=np.bool_)
        marks[list(chunks)] = True
        others = np.setdiff1d(self._ids, ids, assume_unique=True)
        return FileSet(ids, others, marks, len(chunks))

    def located(self, keys: Sequence[int]) -> list[int]:
        """The numbers of the chunks with these keys (`key_of`).

        Raises `IndexUnusableError` for one that is not alive.
        """
        starts = self._starts
        try:
            return [starts[key >> _ORDINAL_BITS] + (key & _ORDINALS) for key in keys]
        except KeyError:
            raise IndexUnusableError("the full text has files that are in no segment") from None

    def mask(self, filters: Filters) -> FilterMask | None:
        """Which files and chunks `filters` let through; None where they let everything through."""
        known = self._known(filters) if filters else None
        if known is None or (known.files and not len(known.files.others)):
            return None
        return known

    def unmatched(self, filters: Filters) -> Unmatched:
        """Which of `filters` no live file matches; see `Names.understood`."""
        return self._known(filters).unmatched if filters else {}

    def _known(self, filters: Filters) -> FilterMask:
        known = self._masks.get(filters)
        if known is None:
            known = self._worked_out(filters)
            if len(self._masks) >= _REMEMBERED:
                self._masks.clear()
            self._masks[filters] = known
        return known

    def _worked_out(self, filters: Filters) -> FilterMask:
        if self._names is None:
            self._names = Names(file for part in self.parts for file in part.files())
        meant, unmatched = self._names.understood(filters)
        ids, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        chunks = np.zeros(self.places, dtype=np.bool_)
        for part in self.parts:
            store = part.segment.store
            passing = store.passing(meant)
            stopped = ~passing
            if part.alive_files is not None:
                passing, stopped = passing & part.alive_files, stopped & part.alive_files
            ids.append(store.ids[passing])
            others.append(store.ids[stopped])
            chunks[part.first_chunk : part.stop] = store.chunks_in(passing)
        files = FileSet(
            np.concatenate(ids), np.concatenate(others), chunks, int(np.count_nonzero(chunks))
        )
        return FilterMask(files, chunks, unmatched)

    def marks(self, mask: FilterMask | None) -> NDArray[np.bool_]:
        """Which chunks are alive and let through."""
        marks = np.ones(self.places, dtype=np.bool_)
        for part in self.parts:
            allowed = part.within(mask)
            if allowed is not None:
                marks[part.first_chunk : part.stop] = allowed
        return marks

    def marks_of(self, needle: str, *, any_case: bool) -> NDArray[np.bool_]:
        """See `ChunkStore.marks_of`."""
        found = [p.segment.store.marks_of(needle, any_case=any_case) for p in self.parts]
        return np.concatenate([np.empty(0, np.bool_), *found])

    def files_called(self, is_meant: Callable[[str], bool]) -> Iterator[int]:
        """The numbers of the files, dead ones too, whose path is meant."""
        for part in self.parts:
            for number, file in enumerate(part.segment.store.files):
                if is_meant(file.path):
                    yield part.first_file + number

    def find_literally(self, needle: str, k: int, mask: FilterMask | None) -> list[int]:
        """The first `k` chunks that hold `needle` as it stands: for what has no terms (QRY-4)."""
        return self._first(
            k, mask, lambda part, left, allowed: part.find_literally(needle, left, allowed)
        )

    def scan(
        self, holds: Callable[[StoredChunk], bool], k: int, mask: FilterMask | None
    ) -> list[int]:
        """The first `k` chunks of which `holds` is true; see `ChunkStore.scan`."""
        return self._first(k, mask, lambda store, left, allowed: store.scan(holds, left, allowed))

    def _first(self, k: int, mask: FilterMask | None, find: Callable[..., list[int]]) -> list[int]:
        found: list[int] = []
        if mask is not None and not mask.files.count:
            return found
        for part in self.parts:
            if len(found) < k:
                inner = find(part.segment.store, k - len(found), part.within(mask))
                found += [part.first_chunk + number for number in inner]
        return found


def _parts(segments: Mapping[str, Segment], dead: Mapping[str, Sequence[int]]) -> list[Part]:
    stores = [segment.store for segment in segments.values()]
    first_chunks = [0, *accumulate(map(len, stores))][: len(stores)]
    first_files = [0, *accumulate(len(store.files) for store in stores)][: len(stores)]
    parts = []
    numbered = zip(segments.items(), first_chunks, first_files, strict=True)
    for (name, segment), chunk, file in numbered:
        alive_files = alive = None
        if gone := dead.get(name):
            alive_files = np.ones(len(segment.store.files), dtype=np.bool_)
            alive_files[list(gone)] = False
            alive = segment.store.chunks_in(alive_files)
        parts.append(Part(segment, chunk, file, alive_files, alive))
    return parts


def _directory(parts: Sequence[Part]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ids, starts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part in parts:
        store = part.segment.store
        kept = slice(None) if part.alive_files is None else part.alive_files
        ids.append(store.ids[kept])
        starts.append(store.firsts[:-1][kept] + part.first_chunk)
    return np.concatenate(ids), np.concatenate(starts)
