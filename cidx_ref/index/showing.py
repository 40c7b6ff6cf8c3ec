"""What an answer shows once: a line that two windows have, and a piece that stands in many files.

Built files beside their sources, a package that is vendored twice, the licence above each file: the
same lines again tell a reader nothing but where else they stand, so that is what the first of them
says, and the next hit has its place.
"""

from __future__ import annotations

from typing import Any

from cidx_ref.index.chunk import definition
from cidx_ref.index.notebook import cell_of
from cidx_ref.index.storing import StoredChunk
from cidx_ref.results import best_line

__all__ = ["Piece", "Shown"]

_MAX_ALSO = 5  # places that a hit names; the others are counted
_CHARS, _WORDS = 160, 6  # at either end of a text

_Hit = dict[str, Any]


class Piece:
    """A chunk that may be a copy of another one, and the hit that shows lines of it."""

    __slots__ = ("_ends", "_text", "chunk", "defines", "hit")

    def __init__(self, chunk: StoredChunk) -> None:
        self.chunk = chunk
        self.hit: _Hit = {}
        self.defines = definition(chunk.name)
        self._ends: list[str] = []
        self._text = ""

    @property
    def ends(self) -> list[str]:
        """What copies have in common, and few others, at a fraction of the price of all words."""
        if not self._ends:
            text = self.chunk.text
            self._ends = text[:_CHARS].split()[:_WORDS] + text[-_CHARS:].split()[-_WORDS:]
        return self._ends

    @property
    def text(self) -> str:
        """All of the text, but for its white space."""
        if not self._text:
            self._text = _bare(self.chunk.text)
        return self._text

    @property
    def line(self) -> int:
        """The line by which the hit is called."""
        hit = self.hit
        return int(hit["snippet_start"]) + best_line(hit["snippet"], hit["marks"])

    def is_copy_of(self, other: Piece) -> bool:
        """Whether another file has the same text, but for white space, that defines the same.

        A method of another class is none, be its body the same; and a file may say a thing twice.
        """
        is_elsewhere = self.chunk.path != other.chunk.path
        return is_elsewhere and self.ends == other.ends and self.text == other.text

    def shows_what(self, other: Piece) -> bool:
        """Whether another file has the same lines, and for the same reason: not by a path or a
        name, which each has for itself."""
        if not self.hit["marks"] or self.chunk.path == other.chunk.path:
            return False
        if self.defines == other.defines:
            return True
        return not (self._shows_its_name or other._shows_its_name)

    @property
    def _shows_its_name(self) -> bool:
        name = self.defines.rpartition(".")[2]
        return bool(name) and name in self.hit["snippet"]


class Shown:
    """The hits of one answer."""

    def __init__(self) -> None:
        # By what their lines are counted in; what they define; and the lines that they show.
        self._within: dict[tuple[str, str], list[_Hit]] = {}
        self._defining: dict[str, list[Piece]] = {}
        self._showing: dict[str, list[Piece]] = {}
        #: Whether one says where else it stands.
        self.has_copies = False

    def has(self, piece: Piece) -> bool:
        """Whether a hit shows a copy of `piece`, and says so now."""
        for other in self._defining.get(piece.defines, ()):
            if piece.is_copy_of(other):
                chunk, at = piece.chunk, other.line - other.chunk.line_start
                self._note(other.hit, chunk, min(chunk.line_start + at, chunk.line_end))
                return True
        return False

    def add(self, hit: _Hit, piece: Piece, *, is_folded: bool = True) -> bool:
        """Add `hit`, which shows lines of `piece`, unless the line with its first mark is shown by
        another one, or what it shows is, and was found, in another file; with `is_folded` false,
        only for the former."""
        path = hit["path"]
        within = self._within.setdefault((path, cell_of(path, hit["name"])), [])
        if within and _is_shown(hit, within):
            return False
        piece.hit = hit
        if is_folded:
            same = self._showing.setdefault(hit["snippet"], [])
            for other in same:
                if piece.shows_what(other):
                    self._note(other.hit, piece.chunk, piece.line)
                    return False
            same.append(piece)
            self._defining.setdefault(piece.defines, []).append(piece)
        within.append(hit)
        return True

    def _note(self, hit: _Hit, chunk: StoredChunk, line: int) -> None:
        also = hit.setdefault("also", [])
        hit["also_count"] = hit.get("also_count", 0) + 1
        if len(also) < _MAX_ALSO:
            also.append(f"{chunk.path}:{line}")
        self.has_copies = True


def _bare(text: str) -> str:
    return " ".join(text.split())


def _is_shown(hit: _Hit, others: list[_Hit]) -> bool:
    """Whether one of `others` shows the line with the first mark of `hit`."""
    text, marks = hit["snippet"], hit["marks"]
    best = text.count("\n", 0, marks[0][0]) if marks else 0
    line = text.split("\n")[best]
    return any(_line(other, hit["snippet_start"] + best) == line for other in others)


def _line(hit: _Hit, number: int) -> str | None:
    """The line of that number that `hit` shows, if it does."""
    lines: list[str] = hit["snippet"].split("\n")
    place = number - hit["snippet_start"]
    return lines[place] if 0 <= place < len(lines) else None
