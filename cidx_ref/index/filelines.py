"""The lines of a file, put together from its chunks: those that were cut, and several in a row.

The windows of a long text overlap, so a line may be in two chunks, which hold the same of it; of a
line that was cut for its length, each holds a part.  A line that is in none is blank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from cidx_ref.index import notebook
from cidx_ref.index.store import ChunkStore

__all__ = ["FileLines", "Place", "cell_of", "cut_lines", "whole"]


class Place(NamedTuple):
    """Which line it is: of a file, and of a notebook in which cell ("" in other files)."""

    file: int
    cell: str
    line: int


class FileLines:
    """The lines of a file, or of one cell of a notebook, put together from its chunks."""

    def __init__(self, store: ChunkStore, place: Place, chunk: int) -> None:
        self._store, self._file, self._cell = store, place.file, place.cell
        self._cut = cut_lines(store)
        chunks = self._chunks_around(chunk)
        rows = store.rows[chunks.start : chunks.stop]
        starts, ends = rows["line_start"].tolist(), rows["line_end"].tolist()
        self._first = starts[0]
        # Of each line, a chunk that has it.
        self._chunk_of = np.full(max(ends) + 1 - self._first, -1, np.int64)
        for number, start, end in zip(chunks, starts, ends, strict=True):
            self._chunk_of[start - self._first : end + 1 - self._first] = number
        self._read: dict[int, list[str]] = {}
        self._whole: dict[int, str] = {}  # lines that were cut

    def at(self, number: int) -> str | None:
        """The line of this number; None where it is in no chunk, and so blank."""
        chunk = self.chunk_at(number)
        if chunk is None:
            return None
        place = Place(self._file, self._cell, number)
        if (parts := self._cut.get(place)) is not None:
            if number not in self._whole:
                self._whole[number] = whole(self._store, place, parts)
            return self._whole[number]
        if chunk not in self._read:
            self._read[chunk] = self._store.read(chunk).text.split("\n")
        return self._read[chunk][number - int(self._store.rows["line_start"][chunk])]

    def chunk_at(self, number: int) -> int | None:
        at = number - self._first
        if not 0 <= at < len(self._chunk_of) or self._chunk_of[at] < 0:
            return None
        return int(self._chunk_of[at])

    def _chunks_around(self, chunk: int) -> range:
        of_file = self._store.chunks_of(self._file)
        if not self._cell:
            return of_file
        return _run(
            of_file, chunk, lambda other: cell_of(self._store, self._file, other) == self._cell
        )


def cut_lines(store: ChunkStore) -> dict[Place, tuple[int, ...]]:
    """Of each line that was cut, the chunks that hold parts of it."""
    known: dict[Place, tuple[int, ...]] | None = store.cut_lines
    if known is None:  # two threads may both find out, and come to the same
        known = store.cut_lines = dict(_found_cut(store))
    return known


def _found_cut(store: ChunkStore) -> Iterator[tuple[Place, tuple[int, ...]]]:
    last: Place | None = None
    for chunk in np.flatnonzero(store.rows["column"]).tolist():
        file, line = int(store.rows["file"][chunk]), int(store.rows["line_start"][chunk])
        place = Place(file, cell_of(store, file, chunk), line)
        if place != last:
            yield place, _parts(store, place)
            last = place


def _parts(store: ChunkStore, place: Place) -> tuple[int, ...]:
    # Not only those one after the other: a window of the lines before may lie between two of them.
    of_file = store.chunks_of(place.file)
    rows = store.rows[of_file.start : of_file.stop]
    has_line = (rows["line_start"] <= place.line) & (rows["line_end"] >= place.line)
    chunks = (of_file.start + number for number in np.flatnonzero(has_line).tolist())
    return tuple(each for each in chunks if cell_of(store, place.file, each) == place.cell)


def _run(of_file: range, chunk: int, holds: Callable[[int], bool]) -> range:
    """The chunks around `chunk`, one after the other, of which something holds."""
    first, stop = chunk, chunk + 1
    while first > of_file.start and holds(first - 1):
        first -= 1
    while stop < of_file.stop and holds(stop):
        stop += 1
    return range(first, stop)


def whole(store: ChunkStore, place: Place, parts: tuple[int, ...]) -> str:
    """The line of which these chunks hold parts.  Where no part is, it was blank."""
    pieces: list[str] = []
    end = 0
    for column, text in sorted(_part(store, chunk, place.line) for chunk in parts):
        if column > end:
            pieces.append(" " * (column - end))
            end = column
        if column + len(text) > end:
            pieces.append(text[end - column :])
            end = column + len(text)
    return "".join(pieces)


def _part(store: ChunkStore, chunk: int, line: int) -> tuple[int, str]:
    """From which column on a chunk has which part of `line`."""
    found = store.read(chunk)
    column = found.column if line == found.line_start else 0
    at = line - found.line_start
    return column, "".join(found.text.split("\n")[at : at + 1])


def cell_of(store: ChunkStore, file: int, chunk: int) -> str:
    """See `notebook.cell_of`; the name of a chunk is read where it matters."""
    path = store.files[file].path
    return notebook.cell_of(path, store.name_of(chunk)) if notebook.is_notebook(path) else ""
