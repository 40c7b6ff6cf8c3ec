"""What an answer shows once: a line that two windows have, and a piece that stands in many files.

Built files beside their sources, a package that is vendored twice, the licence above each file: the
same lines again tell a reader nothing but where else they stand, so that is what the first of them
says, and the next hit has its place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cidx_ref.index.chunk import definition
from cidx_ref.index.notebook import cell_of
from cidx_ref.index.storing import StoredChunk
from cidx_ref.results import best_line

__all__ = ["Named", "Piece", "Shown"]

_MAX_ALSO = 5  # places that a hit names; the others are counted
_WORDS = 6  # at either end of a text

_Hit = dict[str, Any]


class Piece:
    """A chunk that may be a copy of another one, and the hit that shows lines of it."""

    __slots__ = ("_ends", "_words", "cell", "chunk", "defines", "hit", "may_be_copy", "number")

    def __init__(self, number: int, chunk: StoredChunk, *, may_be_copy: bool = True) -> None:
        self.number = number
        self.chunk = chunk
        self.hit: _Hit = {}
        #: In a notebook, the cell that it is of: lines are counted within it.
        self.cell = cell_of(chunk.path, chunk.name)
        # And so as `path:line` they are nowhere.
        self.may_be_copy = may_be_copy and not self.cell
        # A method of another class is no copy, be its body the same.
        self.defines = definition(chunk.name)
        self._ends: tuple[str, ...] = ()
        self._words: tuple[str, str] | None = None

    @property
    def ends(self) -> tuple[str, ...]:
        """What copies have in common, and few others, at a fraction of the price of all words."""
        if not self._ends:
            self._ends = (self.defines, *_ends(self.chunk.text))
        return self._ends

    @property
    def words(self) -> tuple[str, str]:
        """What copies are known by: what they define, and all of the text but its white space."""
        if self._words is None:
            self._words = self.defines, " ".join(self.chunk.text.split())
        return self._words

    @property
    def line(self) -> int:
        """The line by which the hit is called."""
        hit = self.hit
        return int(hit["snippet_start"]) + best_line(hit["snippet"], hit["marks"])

    def line_like(self, other: Piece) -> int:
        """The line at which this copy has the first word of `line` of `other`: blank ones are no
        part of what they have in common."""
        lines = other.chunk.text.split("\n")
        before = sum(len(each.split()) for each in lines[: other.line - other.chunk.line_start])
        for number, line in enumerate(self.chunk.text.split("\n"), self.chunk.line_start):
            before -= len(line.split())
            if before < 0:
                return number
        return self.chunk.line_end

    @property
    def shows_its_name(self) -> bool:
        name = self.defines.rpartition(".")[2]
        return bool(name) and name in self.hit["snippet"]


class Named(NamedTuple):
    """The chunk of a place that a hit names in `also`."""

    number: int
    hit: _Hit
    place: str

    def forget(self) -> None:
        """Let the hit not name it any more."""
        hit = self.hit
        hit["also"].remove(self.place)
        hit["also_count"] -= 1
        if not hit["also_count"]:
            del hit["also"], hit["also_count"]


class _Alike:
    """Pieces that have something in common; of those in one file, one stands for all."""

    def __init__(self) -> None:
        # Two are enough to know one in another file than any given one.
        self._some: dict[Any, list[Piece]] = {}

    def elsewhere(self, key: Any, piece: Piece) -> Piece | None:
        """One with that `key` in another file than `piece` is in: a file may say a thing twice."""
        for other in self._some.get(key, ()):
            if other.chunk.path != piece.chunk.path:
                return other
        return None

    def add(self, key: Any, piece: Piece) -> None:
        some = self._some.setdefault(key, [])
        if not some or (len(some) == 1 and some[0].chunk.path != piece.chunk.path):
            some.append(piece)


class Shown:
    """The hits of one answer; the first copies, as many as are `spared`, are shown, too."""

    def __init__(self, spared: int = 0) -> None:
        self._spared = spared
        # Most hits have nothing in common: what costs more is looked at where what costs less is
        # the same.  Of each file, hits whose lines nobody has asked for, and the lines of others;
        # the first pieces by what they define, by their ends, and by the lines that they show.
        self._within: dict[tuple[str, str], tuple[list[_Hit], set[tuple[int, str]]]] = {}
        self._defining: dict[str, Piece] = {}
        self._ended: dict[tuple[str, ...], Piece] = {}
        self._shows: dict[str, Piece] = {}
        self._same = _Alike()
        self._showing = _Alike()
        #: Whether one is a copy.
        self.has_copies = False
        self.named: list[Named] = []

    def has(self, piece: Piece) -> bool:
        """Whether a hit shows a copy of `piece`, and says so now: the same text in another file,
        but for white space, that defines the same."""
        other = self._copied(piece) if piece.may_be_copy else None
        return other is not None and self._is_left_out(piece, other)

    def _copied(self, piece: Piece) -> Piece | None:
        first = self._defining.get(piece.defines)
        if first is None:
            return None
        self._ended.setdefault(first.ends, first)
        first = self._ended.get(piece.ends)
        if first is None:
            return None
        self._same.add(first.words, first)
        return self._same.elsewhere(piece.words, piece)

    def add(self, hit: _Hit, piece: Piece) -> bool:
        """Add `hit`, which shows lines of `piece`, unless the line with its first mark is shown by
        another one, or what it shows is, and was found, in another file."""
        counted_in = piece.chunk.path, piece.cell
        before = self._within.get(counted_in)
        if before is None:
            before = self._within[counted_in] = [], set()
        elif _first_marked(hit) in _lines_of(*before):
            return False
        piece.hit = hit
        if piece.may_be_copy:
            other = self._shown_elsewhere(piece)
            if other is not None and self._is_left_out(piece, other):
                return False
        if piece.may_be_copy:  # it may have been spared
            self._remember(piece)
        before[0].append(hit)
        return True

    def _shown_elsewhere(self, piece: Piece) -> Piece | None:
        """One that shows the same lines in another file, and for the same reason: not by a path or
        a name, which each has for itself."""
        shown = piece.hit["snippet"]
        first = self._shows.get(shown)
        if first is None or not piece.hit["marks"]:
            return None
        self._show(first)
        found = self._showing.elsewhere((shown, piece.defines), piece)
        if found is None and not piece.shows_its_name:
            found = self._showing.elsewhere((shown,), piece)
        return found

    def _remember(self, piece: Piece) -> None:
        is_first = self._defining.setdefault(piece.defines, piece) is piece
        if not is_first and self._ended.setdefault(piece.ends, piece) is not piece:
            self._same.add(piece.words, piece)
        if self._shows.setdefault(piece.hit["snippet"], piece) is not piece:
            self._show(piece)

    def _show(self, piece: Piece) -> None:
        shown = piece.hit["snippet"]
        self._showing.add((shown, piece.defines), piece)
        if not piece.shows_its_name:
            self._showing.add((shown,), piece)

    def _is_left_out(self, piece: Piece, other: Piece) -> bool:
        """Leave out `piece`, of which the hit of `other` says where it stands, unless it is
        spared."""
        self.has_copies = True
        if self._spared:
            self._spared -= 1
            piece.may_be_copy = False
            return False
        hit = other.hit
        also = hit.setdefault("also", [])
        hit["also_count"] = hit.get("also_count", 0) + 1
        if len(also) < _MAX_ALSO:
            line = piece.line if piece.hit else piece.line_like(other)
            also.append(f"{piece.chunk.path}:{line}")
            self.named.append(Named(piece.number, hit, also[-1]))
        return True


def _ends(text: str) -> list[str]:
    return text.split(None, _WORDS)[:_WORDS] + text.rsplit(None, _WORDS)[1:]


def _lines_of(unread: list[_Hit], lines: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """All lines that are shown of a file, by their numbers."""
    while unread:
        hit = unread.pop()
        lines.update(enumerate(hit["snippet"].split("\n"), hit["snippet_start"]))
    return lines


def _first_marked(hit: _Hit) -> tuple[int, str]:
    """The line with the first mark, and its number."""
    marks = hit["marks"]
    at = hit["snippet"].count("\n", 0, marks[0][0]) if marks else 0
    return hit["snippet_start"] + at, hit["snippet"].split("\n")[at]
