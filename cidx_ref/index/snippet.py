"""The few lines of a chunk that a hit shows, and whether it shares a word with the query at all."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, chain, islice
from operator import sub

from cidx_ref.index.query import Query
from cidx_ref.index.store import StoredChunk
from cidx_ref.index.text import composed, whole_identifiers

__all__ = ["Probes"]

_LINES = 5
_MAX_PROBES = 256
_MAX_LINE_CHARS = 300
_LEAD = 60  # characters of a long line that are shown before the first of what was looked for
_MAX_PARTS = 8  # of a long line, that are compared

# How often one search looks for a probe in a chunk, or on from where it was found.  256 probes in
# each of a thousand hits would be half a second; hits that come after show their first lines.
_MAX_LOOKS = 30_000


class Probes:
    """A query, as substrings to look for in lower-case text: far cheaper than analysing it.

    For one search, and not thread-safe: the hits that are cut first are looked at most closely.
    """

    def __init__(self, query: Query, *, at_most: int = _MAX_PROBES) -> None:
        # Snowball ends some stems in an i or e that the word does not have: librari for library,
        # write for writing.  And some are no part of their word at all, which is looked for, too.
        stems = [term[:-1] if len(term) > 3 and term[-1] in "ie" else term for term in query.terms]
        # So is an identifier of several parts, or their first mention in passing would be shown.
        said = (
            word.lower()
            for word in query.words
            if whole_identifiers([word]) or not any(stem in word.lower() for stem in stems)
        )
        probes = islice(chain(stems, said), at_most)  # some of them twice, but these are few
        self._probes = list(dict.fromkeys(probes)) or [query.text.strip().lower()]
        self._looks = _MAX_LOOKS

    def __len__(self) -> int:
        """How many substrings there are: at least one."""
        return len(self._probes)

    def touch(self, chunk: StoredChunk) -> bool:
        """True if the chunk, its name or its path holds any of the query's terms."""
        text = composed(f"{chunk.path}\n{chunk.name}\n{chunk.text}").lower()
        return any(probe in text for probe in self._probes)

    def cut(self, chunk: StoredChunk) -> tuple[int, str]:
        """The number of the first line, and the consecutive lines with the most of the query.

        Of a line that is too long to be shown, the part with the most of it.
        """
        lines = chunk.text.split("\n")
        looked_at = len(lines) > _LINES and self._looks > 0
        best = self._best(composed(chunk.text).lower()) if looked_at else 0
        shown = map(self._part, lines[best : best + _LINES])
        return chunk.line_start + best, "\n".join(shown)

    def _part(self, line: str) -> str:
        if len(line) <= _MAX_LINE_CHARS or self._looks <= 0:
            return line[:_MAX_LINE_CHARS]
        lower = line.lower()
        first = (lower.find(probe) for probe in self._probes)
        starts = [max(0, at - _LEAD) for at in islice((at for at in first if at >= 0), _MAX_PARTS)]
        self._looks -= len(self._probes)
        if not starts:
            return line[:_MAX_LINE_CHARS]
        parts = [lower[start : start + _MAX_LINE_CHARS] for start in starts]
        said = [sum(probe in part for probe in self._probes) for part in parts]
        self._looks -= len(self._probes) * len(parts)
        start = _before_lower(line, starts[said.index(max(said))], len(lower))
        return line[start : start + _MAX_LINE_CHARS]

    def _best(self, text: str) -> int:
        """Where the lines begin that hold the most of the probes."""
        said = list(accumulate(self._count(text), initial=0))
        windows = list(map(sub, said[_LINES:], said))  # what is said in each so many lines
        return windows.index(max(windows))

    def _count(self, text: str) -> list[int]:
        """How many probes each line holds.  From find to find: most lines hold none."""
        ends = list(accumulate([len(line) + 1 for line in text.split("\n")]))
        counts = [0] * len(ends)
        for probe in self._probes:
            found = text.find(probe)
            self._looks -= 1
            while found >= 0:
                line = bisect_right(ends, found)
                counts[line] += 1
                found = text.find(probe, ends[line])
                self._looks -= 1
        return counts


def _before_lower(line: str, place: int, length: int) -> int:
    """Where in `line` stands what is at `place` of its small letters, which have this `length`."""
    if length == len(line):
        return place
    # Of "İ" the small letter is two characters.
    ends = list(accumulate(len(character.lower()) for character in line))
    return bisect_right(ends, place)
