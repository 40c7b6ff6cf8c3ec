"""Which quoted pieces a query has, and whether they are the user's own or a paste's.

A piece that the user has quoted stands by itself, with white space around its quotes:
`int "->"`.  In a pasted message, log line, statement or traceback, quotes belong to what was pasted
(`{"a": "b"}`, `name = "bob"`, `File "x.py", line 3`), and bind nothing.  Only double quotes count,
straight or typographic; a quote after a backslash belongs to the text around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

__all__ = ["MAX_PIECES", "Piece", "Quotes", "quotes_of"]

#: So many of a query's pieces are looked at; what more there is, is words.
MAX_PIECES = 16
# A text with more quotes than this is data, and has none; each costs some microseconds.
_MAX_MARKS = 1024

_MARK = re.compile('["“”„‟«»]')
#: Quotes of one kind end what quotes of that kind begin.
_KINDS = {**dict.fromkeys("“”„‟", 1), **dict.fromkeys("«»", 2)}

# Beside a literal, code has operators; a message ends its parts so.
_OPERATOR = re.compile(r"[^\w\s]+|.*[:,;=({\[]")


class Piece(NamedTuple):
    """What stands between two quotes, and where these begin and end in the query."""

    text: str
    start: int
    end: int


class Quotes(NamedTuple):
    """The quoted pieces of a query, in order, and whether the user means them as phrases.

    `whole` is the query without the quotes at its two ends, where these may enclose all of it,
    though there are others between them.
    """

    pieces: tuple[Piece, ...] = ()
    are_own: bool = True
    whole: Piece | None = None


class _Mark(NamedTuple):
    """One quote: its place, its kind, and what white space, or an end of the query, it is next
    to."""

    at: int
    kind: int
    after_space: bool
    before_space: bool
    is_escaped: bool


def quotes_of(text: str) -> Quotes:
    """The quoted pieces of `text`.  Linear in its length; any text is legal."""
    found = [match.start() for match in islice(_MARK.finditer(text), _MAX_MARKS + 1)]
    if not 2 <= len(found) <= _MAX_MARKS:
        return Quotes()
    marks = [_marked(text, at) for at in found]
    own = _own(text, marks)
    if own is not None:
        return Quotes(tuple(own))
    return Quotes(tuple(islice(_paste(text, marks), MAX_PIECES)), False, _whole(text, marks))


def _marked(text: str, at: int) -> _Mark:
    return _Mark(
        at,
        _KINDS.get(text[at], 0),
        after_space=at == 0 or text[at - 1].isspace(),
        before_space=at + 1 == len(text) or text[at + 1].isspace(),
        is_escaped=at > 0 and text[at - 1] == "\\",
    )


def _own(text: str, marks: Sequence[_Mark]) -> list[Piece] | None:
    """The pieces, if all of them stand by themselves, and nothing else looks pasted."""
    closing = _closing(marks)
    pieces: list[Piece] = []
    outside: list[str] = []
    number = end = left_over = 0
    while number < len(marks):
        mark, last = marks[number], closing[number]
        if not mark.after_space or last is None:
            left_over += 1
            number += 1
            continue
        if any(_begins(inner) for inner in marks[number + 1 : last] if inner.kind == mark.kind):
            return None
        outside += [text[end : mark.at], "x"]
        end = marks[last].at + 1
        pieces.append(_piece(text, mark.at, end))
        number = last + 1
    outside.append(text[end:])
    # A single one is a slip of the finger.
    if left_over > 1 or _looks_pasted("".join(outside)):
        return None
    return list(islice((piece for piece in pieces if piece.text), MAX_PIECES))


def _closing(marks: Sequence[_Mark]) -> list[int | None]:
    """Of each mark the number of the next one of its kind that may end a piece."""
    found: list[int | None] = []
    following: dict[int, int] = {}
    for number in range(len(marks) - 1, -1, -1):
        mark = marks[number]
        found.append(following.get(mark.kind))
        if mark.before_space and not mark.is_escaped:
            following[mark.kind] = number
    return found[::-1]


def _begins(mark: _Mark) -> bool:
    """Whether a piece begins with `mark`, seen by itself."""
    return mark.after_space and not mark.before_space


def _looks_pasted(outside: str) -> bool:
    """Whether what stands outside of the pieces is more than some words."""
    if "\n" in outside.strip():
        return True
    said = (token for word in outside.split() if (token := _MARK.sub("", word)))
    return any(map(_OPERATOR.fullmatch, said))


def _paste(text: str, marks: Sequence[_Mark]) -> Iterator[Piece]:
    """What stands between each two quotes of a kind; white space at its ends says that a quote is
    missing."""
    open_marks: dict[int, _Mark] = {}
    for mark in marks:
        if mark.is_escaped:
            continue
        first = open_marks.pop(mark.kind, None)
        piece = _piece(text, first.at, mark.at + 1) if first else None
        if piece is None or first is None or first.before_space or mark.after_space:
            open_marks[mark.kind] = mark
        elif any(map(str.isalnum, piece.text)):
            yield piece


def _whole(text: str, marks: Sequence[_Mark]) -> Piece | None:
    start, end = marks[0].at, marks[-1].at + 1
    if text[:start].strip() or text[end:].strip() or marks[0].kind != marks[-1].kind:
        return None
    piece = _piece(text, start, end)
    return piece if piece.text else None


def _piece(text: str, start: int, end: int) -> Piece:
    """What stands between quotes from `start` to `end`; docstrings and the like have several."""
    inner = text[start + 1 : end - 1]
    while len(inner) > 1 and _MARK.match(inner) and _MARK.match(inner[-1]):
        inner = inner[1:-1]
    return Piece("" if _MARK.fullmatch(inner) else inner.strip(), start, end)
