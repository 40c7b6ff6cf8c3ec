"""The lines of one segment's chunks in which a pattern stands, each once.

Texts are looked through as they lie, some hundred thousand bytes at once; only what is found is
looked at line by line.  The windows of a long text overlap, so a line may be in two chunks: the
first one has it.  A line that was cut for its length is put together again, and looked at as a
whole.  Blank lines are not told: between chunks they are not kept.  Where one line of several that
are looked for is found, the lines around it are put together from all chunks of the file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from cidx_ref.index.chunk import MIN_OVERLAP, definition
from cidx_ref.index.filelines import FileLines, Place, cell_of, cut_lines, whole
from cidx_ref.index.pattern import Lines, Pattern
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import TEXT_CODEC

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Found", "Line", "Place", "line_text", "lines_of"]

# A line of more bytes than this, times the steps of the pattern, is looked at by its parts only:
# the engine cannot be interrupted, and may take a second for it.
_LINE_BYTES_AND_STEPS = 1 << 26
_JOINED_BYTES = 1 << 18
_MAX_TRIES = 8
_OF_WORDS = frozenset(n for n in range(256) if n >= 0x80 or chr(n).isalnum() or chr(n) == "_")


class Line(NamedTuple):
    """A line in which something was found; `chunk` and `place.file` count within the segment.

    `last` is the line in which the match ends; `chunk` has one of its lines.  `defines` is 2 where
    what was found has the name of what the line defines, as far as can be seen, 1 where it is in
    that name, and else 0.
    """

    chunk: int
    place: Place
    last: int
    defines: int


class Found:
    """What was found in a segment, at most `room` lines.  `is_all`: nothing was left out.

    `around`: of what is added, only that counts around which there are the lines that are wanted.
    """

    def __init__(self, room: int, around: _Around | None = None) -> None:
        self.lines: dict[Place, Line] = {}
        self.room = room
        self._around = around
        self.is_all = True

    @property
    def is_full(self) -> bool:
        return len(self.lines) >= self.room

    def add(self, line: Line) -> bool:
        """Add it, unless it is there; whether there is room, and time, for more."""
        if self._around is not None:
            if self._around.is_over():
                self.is_all = False
                return False
            match = self._around.match(line)
            if match is None:
                return True
            line = match
        if line.place not in self.lines:
            if self.is_full:
                self.is_all = False
                return False
            self.lines[line.place] = line
        return True


def lines_of(
    store: ChunkStore,
    pattern: Pattern,
    allowed: NDArray[np.bool_] | None,
    room: int,
    is_over: Callable[[], bool],
) -> Found:
    """The first lines with `pattern` in the chunks that `allowed` marks (None: in all), until there
    is no `room`, or `is_over` says that there is no time."""
    found = Found(room, _Around(store, pattern, is_over) if isinstance(pattern, Lines) else None)
    cut = {} if _is_within_parts(pattern) else cut_lines(store)
    if cut:
        _look_at_cut_lines(store, pattern, allowed, cut, found, is_over)
    for start, stop in store.blocks(allowed, pattern.block_bytes):
        if is_over():
            found.is_all = False
            break
        places = list(pattern.places(store.texts, start, stop))
        if not all(found.add(line) for line in _lines(store, pattern, places, cut)):
            break
    return found


def line_text(store: ChunkStore, line: Line) -> str:
    """The text of a line; several where the match has several."""
    number = line.place.line
    if line.last != number:
        of_file = FileLines(store, line.place, line.chunk)
        return "\n".join(of_file.at(n) or "" for n in range(number, line.last + 1))
    parts = cut_lines(store).get(line.place)
    if parts is not None:
        return whole(store, line.place, parts)
    chunk = store.read(line.chunk)
    lines = chunk.text.split("\n")
    return lines[number - chunk.line_start]


def _is_within_parts(pattern: Pattern) -> bool:
    """Whether each match is in one of the parts of a line that was cut."""
    return pattern.max_chars is not None and pattern.max_chars <= MIN_OVERLAP


def _lines(
    store: ChunkStore, pattern: Pattern, places: list[int], cut: dict[Place, tuple[int, ...]]
) -> Iterator[Line]:
    chunks, starts = store.chunks_at(places)
    reader: _Reader | None = None
    for place, chunk, start in zip(places, chunks.tolist(), starts.tolist(), strict=True):
        if place < start:  # in the name
            continue
        if reader is None or reader.chunk != chunk:
            reader = _Reader(store, chunk, start)
        line = reader.line_at(place - start)
        if line is not None and line.place not in cut:
            yield line


class _Reader:
    """The lines of one chunk, asked for in order."""

    def __init__(self, store: ChunkStore, chunk: int, start: int) -> None:
        row = store.rows[chunk]
        file, line_start = int(row["file"]), int(row["line_start"])
        size = int(row["text_size"])
        self.chunk = chunk
        self._text = store.texts[start : start + size]
        self._file, self._line = file, line_start
        self._cell = cell_of(store, file, chunk)
        self._at = 0  # up to where lines have been counted
        self._name, self._named_at = _defined(store, file, chunk, self._text)

    def line_at(self, place: int) -> Line | None:
        """The line at `place` of the text; None if that is blank."""
        text = self._text
        if place > len(text):  # nothing may be behind its line end
            return None
        self._line += text.count(b"\n", self._at, place)
        self._at = place
        begin, end = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
        line = text[begin : end if end >= 0 else len(text)]
        if not line.strip() or not line.decode(*TEXT_CODEC).strip():
            return None
        at = Place(self._file, self._cell, self._line)
        return Line(self.chunk, at, self._line, self._defines(begin, begin + len(line), place))

    def _defines(self, begin: int, end: int, place: int) -> int:
        at = self._named_at
        if not begin <= at < end or place >= at + len(self._name):
            return 0
        return 2 if place <= at else 1


def _defined(store: ChunkStore, file: int, chunk: int, text: bytes) -> tuple[bytes, int]:
    """What a chunk defines, and where its text says so; (b"", -1) if nothing or nowhere."""
    name = definition(store.name_of(chunk))
    if not name or (chunk > store.chunks_of(file).start and _is_called(store, chunk - 1, name)):
        return b"", -1  # a later window of the definition
    simple = name.rpartition(".")[2].encode(*TEXT_CODEC)
    return simple, _word(text, simple)


def _is_called(store: ChunkStore, chunk: int, name: str) -> bool:
    return definition(store.name_of(chunk)) == name


def _word(text: bytes, word: bytes) -> int:
    """Where `word` stands by itself, if the first few places show it; else -1."""
    at = text.find(word)
    for _ in range(_MAX_TRIES):
        if at < 0:
            break
        end = at + len(word)
        if not (at and text[at - 1] in _OF_WORDS) and not (
            end < len(text) and text[end] in _OF_WORDS
        ):
            return at
        at = text.find(word, at + 1)
    return -1


# Several lines.


class _Around:
    """Looks at the lines around one that was found, for others that are wanted with it."""

    def __init__(self, store: ChunkStore, wanted: Lines, is_over: Callable[[], bool]) -> None:
        self._store, self._wanted, self.is_over = store, wanted, is_over
        # Of one file: what is found in it is found in a row.
        self._of: tuple[int, str] | None = None
        self._lines: FileLines | None = None

    def match(self, line: Line) -> Line | None:
        """The match that has this `line`; None if there is none."""
        place = line.place
        if self._lines is None or self._of != place[:2]:
            self._lines, self._of = FileLines(self._store, place, line.chunk), place[:2]
        # A text that is everywhere has as many of these looks as there are lines, and each takes as
        # long as the text: the clock is read before each of them (`Found.add`).
        lines, first = self._lines, place.line - self._wanted.told
        if first < 1 or not self._wanted.stand_in(lambda number: lines.at(first + number)):
            return None
        last = first + len(self._wanted.lines) - 1
        chunk = lines.chunk_at(first)
        if chunk is None:
            return Line(line.chunk, place._replace(line=first), last, 0)
        return Line(chunk, place._replace(line=first), last, self._defines(chunk, first, last))

    def _defines(self, chunk: int, first: int, last: int) -> int:
        """2 where the lines have the name of what their first chunk defines."""
        found = self._store.read(chunk)
        text = found.text.encode(*TEXT_CODEC)
        _, at = _defined(self._store, self._store.file_of(chunk), chunk, text)
        named = found.line_start + text.count(b"\n", 0, at) if at >= 0 else 0
        return 2 if first <= named <= last else 0


# Lines that were cut.


def _look_at_cut_lines(
    store: ChunkStore,
    pattern: Pattern,
    allowed: NDArray[np.bool_] | None,
    cut: dict[Place, tuple[int, ...]],
    found: Found,
    is_over: Callable[[], bool],
) -> None:
    most = _LINE_BYTES_AND_STEPS // pattern.steps
    wanted = (place for place, parts in cut.items() if allowed is None or allowed[parts[0]])
    for places, lines in _some_at_once(store, wanted, cut):
        if is_over():
            found.is_all = False
            return
        if any(len(line) > most for line in lines):
            found.is_all = False
            lines = [line if len(line) <= most else b"" for line in lines]
        starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
        text = b"\n".join(lines)
        for at in pattern.places(text, 0, len(text)):
            place = places[bisect_right(starts, at) - 1]
            if not found.add(Line(cut[place][0], place, place.line, 0)):
                return


def _some_at_once(
    store: ChunkStore, wanted: Iterable[Place], cut: dict[Place, tuple[int, ...]]
) -> Iterator[tuple[list[Place], list[bytes]]]:
    """The lines that were cut, as many together as are worth a call of the engine."""
    places: list[Place] = []
    lines: list[bytes] = []
    size = 0
    for place in wanted:
        places.append(place)
        lines.append(whole(store, place, cut[place]).encode(*TEXT_CODEC))
        size += len(lines[-1])
        if size > _JOINED_BYTES:
            yield places, lines
            places, lines, size = [], [], 0
    if places:
        yield places, lines
