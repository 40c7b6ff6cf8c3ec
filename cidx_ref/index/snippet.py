"""The few lines of a chunk that a hit shows, and whether it shares a word with the query at all."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from cidx_ref.index.chunk import definition
from cidx_ref.index.matches import Matches
from cidx_ref.index.query import Query
from cidx_ref.index.spelling import Match
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.structure import INNER
from cidx_ref.index.text import composed, whole_identifiers

__all__ = ["Probes", "Snippet", "line_of", "word_places"]

_LINES = 5
# So many hits are looked at word by word, the best: for ten of them it took as long as all else.
# Where a name is asked for, which is one word, all are.
_CLOSELY = 2
_MAX_PROBES = 256
_MAX_LINE_CHARS = 300
_LEAD = 60  # characters of a long line that are shown before the first of what was looked for
_FIVE_LINES = re.compile("(?:[^\n]*\n){0,4}[^\n]*")
_MAX_MENTIONS = 8  # of a name, among which its definition is looked for

# What a line begins with that defines nothing, in some language or other.
_LINE_COMMENTS = ("#", "//", "--", ";", "%")
_BLOCKS = (
    *(("/*", "*/"), ("<!--", "-->"), ("(*", "*)"), ("{-", "-}")),
    *(('"""', '"""'), ("'''", "'''")),
)
_NO_DEFINITIONS = (*_LINE_COMMENTS, *(opening for opening, _ in _BLOCKS), "*", "@")
_FOR_MACHINES = ("#!", "# -*-", "<?xml", "<!doctype", "<!DOCTYPE")
_LEGAL = ("copyright", "licence", "license", "spdx-", "all rights reserved")


class Snippet(NamedTuple):
    """Consecutive lines of a file, from line `start` on; of a line that is too long, a part.

    `marks` are the places in `text` where the words of the query stand: from, and to before, in
    order, and apart from each other.
    """

    start: int
    text: str
    marks: tuple[tuple[int, int], ...] = ()


class Probes:
    """A query, as substrings to look for in lower-case text: far cheaper than analysing it.

    For one search, and not thread-safe: the hits that are cut first are looked at most closely.
    """

    def __init__(self, query: Query, *, at_most: int = _MAX_PROBES, quickly: bool = False) -> None:
        self._query = query
        self._at_most = at_most
        self._substrings: list[str] = []
        self._matches: Matches | None = None
        self._closely = sys.maxsize if query.is_name else 0 if quickly else _CLOSELY

    def __len__(self) -> int:
        """How many substrings there are: at least one."""
        return len(self._probes())

    def touch(self, chunk: StoredChunk) -> bool:
        """True if the chunk, its name or its path holds any of the query's terms."""
        text = composed(f"{chunk.path}\n{chunk.name}\n{chunk.text}").lower()
        return any(probe in text for probe in self._probes())

    def _probes(self) -> list[str]:
        if not self._substrings:  # of full text alone, they are not asked for
            probes = dict.fromkeys(islice(_probes_of(self._query), self._at_most))
            self._substrings = list(probes) or [self._query.text.strip().lower()]
        return self._substrings

    def cut(self, chunk: StoredChunk) -> Snippet:
        """The consecutive lines that say most of the query, from the first that says some of it.

        Where the text says nothing of it, the first lines of what the chunk defines.  Of the hits
        that come after the first two, those from the rarest word of the query on.
        """
        matches = self._matches
        if matches is None:
            matches = self._matches = Matches(self._query)
        text = chunk.text
        if matches.is_spent:
            start, end, found = 0, _lines_end(text, 0), list[Match]()
        elif self._closely > 0 or (chosen := _from_the_rarest(matches, text)) is None:
            self._closely -= 1
            start, end, found = _chosen(matches, chunk, self._query)
        else:
            start, end, found = chosen
        line = chunk.line_start + (text.count("\n", 0, start) if start else 0)
        if end - start <= _MAX_LINE_CHARS:
            return Snippet(line, text[start:end], _marks(found, start, end))
        shown, marks = _shortened(matches, text, start, end, found)
        return Snippet(line, shown, marks)


def _probes_of(query: Query) -> Iterator[str]:
    """Some of them twice, but these are few."""
    # Snowball ends some stems in an i or e that the word does not have: librari for library, write
    # for writing.  And some are no part of their word at all, which is looked for, too.
    stems = [term[:-1] if len(term) > 3 and term[-1] in "ie" else term for term in query.terms]
    yield from stems
    for word in query.words:
        if whole_identifiers([word]) or not any(stem in word.lower() for stem in stems):
            yield word.lower()


def line_of(chunk: StoredChunk, number: int) -> Snippet:
    """Five lines from line `number` on, which is marked, or fewer at the end of the chunk; with 0,
    the first ones after a licence."""
    lines = chunk.text.split("\n")
    at = max(0, min(number, chunk.line_end) - chunk.line_start)
    if not number:
        at = _after_licence(lines)
    first = max(0, min(at, len(lines) - _LINES))
    shown = [line[:_MAX_LINE_CHARS] for line in lines[first : first + _LINES]]
    marks: tuple[tuple[int, int], ...] = ()
    if number and (marked := shown[at - first].lstrip()):
        end = len("\n".join(shown[: at - first + 1]))
        marks = ((end - len(marked), end),)
    return Snippet(chunk.line_start + first, "\n".join(shown), marks)


def _from_the_rarest(matches: Matches, text: str) -> tuple[int, int, list[Match]] | None:
    """From where to where the lines are from the rarest word of the query on, and what begins with
    a word of it in them; None where it takes a closer look to see one."""
    if not text.isascii():
        return None
    raw = text.encode()
    lower = raw.lower()
    place = matches.rarest(raw, lower)
    if place < 0:
        return None
    start = _line_start(text, place) if text.count("\n") >= _LINES else 0
    end = _lines_end(text, start)
    found = matches.begun(raw, lower, start, end)
    return (start, end, found) if found else None


def _chosen(matches: Matches, chunk: StoredChunk, query: Query) -> tuple[int, int, list[Match]]:
    """From where to where the lines are that are shown, and what is said in them."""
    text = chunk.text
    seen = matches.look(text)
    is_short = text.count("\n") < _LINES
    if seen.here:
        # Most of the time, all that is said is said in the lines that begin where it first is.
        first = min([at for at, _ in seen.here])
        start = 0 if is_short else _line_start(text, first)
        end = len(text) if is_short else _lines_end(text, start)
        found = matches.within(seen, start, end)
        if found is not None and (is_short or found[0][0] == first):
            place = _definition(matches, chunk, query)
            if is_short or place is None or start <= place[0] < end:
                return start, end, found
    is_said = matches.survey(seen)
    if is_short:
        start = 0
    elif is_said:
        place = _definition(matches, chunk, query)
        if place is not None:
            matches.define(seen, *place)
        start = _line_start(text, matches.best(seen, _LINES))
    else:
        start = _line_start(text, _head(chunk))
    end = _lines_end(text, start)
    return start, end, matches.within(seen, start, end) or []


def _line_start(text: str, place: int) -> int:
    """Where the line begins that `place` is in, or one before it, if there are fewer than five."""
    start = text.rfind("\n", 0, place) + 1
    missing = _LINES - 1 - text.count("\n", start)
    for _ in range(missing):
        start = text.rfind("\n", 0, start - 1) + 1
    return start


def _lines_end(text: str, start: int) -> int:
    """Where the five lines end that begin at `start`."""
    return _FIVE_LINES.match(text, start).end()  # type: ignore[union-attr]


def _shortened(
    matches: Matches, text: str, start: int, end: int, found: list[Match]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The lines from `start` to `end`, of a long one the part that says most, and the marks."""
    shown: list[str] = []
    marks: list[tuple[int, int]] = []
    length = 0
    for line in text[start:end].split("\n"):
        begin, stop = start, start + len(line)
        start = stop + 1
        if len(line) > _MAX_LINE_CHARS:
            begin = _part(matches, begin, stop, found)
            stop = begin + _MAX_LINE_CHARS
        shown.append(text[begin:stop])
        marks += [(length + at, length + until) for at, until in _marks(found, begin, stop)]
        length += stop - begin + 1
    return "\n".join(shown), tuple(marks)


def _part(matches: Matches, start: int, end: int, found: list[Match]) -> int:
    """Where the part begins that is shown of the long line from `start` to `end`."""
    inside = [match for match in found if start <= match[0] < end]
    if not inside:
        return start
    begins = [max(start, min(match[0] - _LEAD, end - _MAX_LINE_CHARS)) for match in inside]
    ends = [begin + _MAX_LINE_CHARS for begin in begins]
    return begins[matches.densest(inside, [match[1] for match in inside], ends)]


def _marks(found: list[Match], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """The places of what is found from `start` to `end`, counted from there, and joined where they
    meet."""
    marks: list[tuple[int, int]] = []
    reached = -1
    for begin, until, _ in found:
        if begin >= end:
            break
        if until <= start:
            continue
        begin, until = max(begin, start) - start, min(until, end) - start
        if begin > reached:
            marks.append((begin, until))
            reached = until
        elif until > reached:
            marks[-1] = (marks[-1][0], until)
            reached = until
    return tuple(marks)


def _definition(matches: Matches, chunk: StoredChunk, query: Query) -> tuple[int, int] | None:
    """Where the name stands that the chunk defines, if the query says all of it, or asks for it."""
    name = query.name.parts[-1] if query.is_name else ""
    if name not in chunk.defines and INNER + name not in chunk.defines:
        name = _last_name(chunk.name)
        if not name or not matches.have_all_of(name):
            return None
    at = _defined(chunk.text, name)
    return (at, at + len(name)) if at >= 0 else None


def _last_name(name: str) -> str:
    return definition(name).rpartition(".")[2]


def _defined(text: str, name: str) -> int:
    """Where `name` stands in `text` for the first time, as a word, not in a comment, and not of
    something else; else for the first time at all; -1 if it does not."""
    first = -1
    for at in word_places(text, name):
        first = at if first < 0 else first
        line = text[text.rfind("\n", 0, at) + 1 : at].lstrip()
        is_comment = line.startswith(_NO_DEFINITIONS) and not line.startswith("#define")
        if not is_comment and not line.endswith((".", "->")):
            return at
    return first


def word_places(text: str, name: str) -> Iterator[int]:
    """Where `name` stands in `text` as a word: of the first places at which it stands at all."""
    at = text.find(name) if name else -1
    for _ in range(_MAX_MENTIONS):
        if at < 0:
            break
        around = text[max(0, at - 1) : at] + text[at + len(name) : at + len(name) + 1]
        if not any(character == "_" or character.isalnum() for character in around):
            yield at
        at = text.find(name, at + len(name))


def _head(chunk: StoredChunk) -> int:
    """A place in the line where what the chunk defines begins, or its text after a licence."""
    at = _defined(chunk.text, _last_name(chunk.name))
    if at >= 0:
        return at
    lines = chunk.text.split("\n")
    return sum(len(line) + 1 for line in lines[: _after_licence(lines)])


def _after_licence(lines: list[str]) -> int:
    """The number of the first line that is not blank, and not of a licence or for a machine."""
    number = 0
    while number < len(lines):
        line = lines[number].lstrip()
        end = number + 1 if line.startswith(_FOR_MACHINES) else _comment_end(lines, number)
        said = "\n".join(lines[number:end]).lower()
        if line and not line.startswith(_FOR_MACHINES) and not any(map(said.__contains__, _LEGAL)):
            return number
        number = max(end, number + 1)
    return 0


def _comment_end(lines: list[str], number: int) -> int:
    """The number of the line after the comment that begins in this one; the same if none does."""
    line = lines[number].lstrip()
    for opening, closing in _BLOCKS:
        if line.startswith(opening):
            rest = line[len(opening) :]
            while closing not in rest and number + 1 < len(lines):
                number += 1
                rest = lines[number]
            return number + 1
    while number < len(lines) and lines[number].lstrip().startswith(_LINE_COMMENTS):
        number += 1
    return number
