"""Where in a text the words of a query stand: which letters, and what of the query they say.

A text is not analysed for it, which would cost more than the search; and most of it is not even
looked at: `look` finds the first place of each spelling, and often all of them are near each other.
Where they are not, `survey` finds everything, and what it is worth.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from cidx_ref.index.query import Query
from cidx_ref.index.spelling import (
    APART,
    BLANK,
    DEFINITION,
    Match,
    Spelling,
    Wanted,
    begins,
    is_whole,
)

__all__ = ["Matches", "Seen"]

_MANY = 12  # times: what stands in a text more often is looked for where the rest is
_MIN_WITHIN = 3  # letters that are worth to be seen within another word

# How often one search looks for a spelling in a text, or on from where it was found.  256 of them
# in each of a thousand hits would be half a second; hits that come after show their first lines.
_MAX_LOOKS = 30_000

# Letters of a word that are looked at from one of its parts on: of a word without end, each of its
# parts would take as long as all of it.
_MAX_REST = 1024

# Accents are characters of their own in decomposed text.
_ACCENTED_WORD = re.compile("[\\w\u0300-\u036f]+")


class Seen:
    """A text, and what was seen of the query in it so far."""

    __slots__ = ("common", "every", "has_more", "here", "lower", "raw", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # One byte a character: places in it are places in the text.
        self.raw = text.encode("latin-1", "replace")
        self.lower = self.raw.lower()
        #: The first place of each spelling that it has.
        self.here: list[tuple[int, Spelling]] = []
        #: Whether something may be said that no spelling shows.
        self.has_more = False
        #: All of it, after a survey, but for what is common in it.
        self.every: list[Match] | None = None
        self.common: list[tuple[int, Spelling]] = []


class Matches:
    """Finds the words of one query in texts, for one search.  Not thread-safe."""

    def __init__(self, query: Query) -> None:
        self._wanted = Wanted(query)
        self._looks = _MAX_LOOKS
        self._beyond: dict[str, list[Match]] = {}

    @property
    def is_spent(self) -> bool:
        """Whether this search has looked at so much that the rest must do without."""
        return self._looks <= 0

    def have_all_of(self, name: str) -> bool:
        """Whether the query says all of `name`."""
        return self._wanted.has_all_of(name)

    def rarest(self, raw: bytes, lower: bytes) -> int:
        """Where the rarest spelling is in ASCII that begins a word, or if none does, that is there;
        -1 if none is."""
        first = -1
        for spelling in self._wanted.rarest_first:
            self._looks -= 1
            at = lower.find(spelling.letters)
            if at >= 0:
                if begins(raw, at):
                    return at
                first = at if first < 0 else first
        return first

    def look(self, text: str) -> Seen:
        """See which spellings stand in `text` at all."""
        seen = Seen(text)
        find, spelled = seen.lower.find, self._wanted.spelled
        missing = False
        for spelling in spelled:
            at = find(spelling.letters)
            if at >= 0:
                seen.here.append((at, spelling))
            elif spelling.joined:
                missing = True
        self._looks -= len(spelled)
        if missing and b"_" in seen.lower:
            seen.has_more = self._has_joints(seen)
        if not text.isascii() and not (self._wanted.is_ascii and seen.here):
            seen.has_more = True
        return seen

    def within(self, seen: Seen, start: int, end: int) -> list[Match] | None:
        """What stands from `start` to `end`, in order; None if `seen` has, or may have, more of the
        query elsewhere, before a survey."""
        if seen.every is not None:
            found = [match for match in seen.every if match[0] < end and match[1] > start]
            if seen.common:
                found += self._scan(seen, seen.common, start, end)[0]
                found.sort()
            return found
        if seen.has_more or max([at for at, _ in seen.here]) >= end:
            return None
        found, missing = self._scan(seen, seen.here, start, end)
        if not found or (missing and self._are_said(seen, found, missing, end)):
            return None
        found.sort()
        return found

    def begun(self, raw: bytes, lower: bytes, start: int, end: int) -> list[Match]:
        """The first place of each spelling in ASCII from `start` to `end`, if a word begins there,
        in order, to the end of its small letters: whether that is a form of it is not looked at."""
        self._looks -= len(self._wanted.spelled)
        find, found = lower.find, list[Match]()
        for spelling in self._wanted.spelled:
            at = find(spelling.letters, start, end)
            if at >= 0 and begins(raw, at):
                until = at + len(spelling.letters)
                while until < end and 0x61 <= raw[until] <= 0x7A:
                    until += 1
                found.append((at, until, spelling.kind))
        found.sort()
        return found

    def _are_said(
        self, seen: Seen, found: list[Match], missing: list[Spelling], start: int
    ) -> bool:
        """Whether any that is `missing` in what was `found` is said from `start` on."""
        kinds = {kind for _, _, kind in found}
        later = [(start, each) for each in missing if (each.whole or each.kind) not in kinds]
        return bool(later) and len(self._scan(seen, later, start, len(seen.raw))[1]) < len(later)

    def survey(self, seen: Seen) -> bool:
        """Find all that is said in `seen`, and whether that is anything."""
        rare, common = list[tuple[int, Spelling]](), list[tuple[int, Spelling]]()
        for each in seen.here:
            (rare if seen.lower.count(each[1].letters) <= _MANY else common).append(each)
        self._looks -= len(seen.here)
        found, missing = self._scan(seen, rare, 0, len(seen.raw))
        if found:  # what stands everywhere says nothing of where to look
            seen.common = common
        elif common:
            found, missing = self._scan(seen, seen.here, 0, len(seen.raw))
        if seen.has_more:
            found += self._with_joints(seen, {kind for _, _, kind in found})
        if not seen.text.isascii() and (seen.has_more or not found):
            found += self._beyond_ascii(seen.text)
        if not found:
            found = self._unsure(seen, missing)
        found.sort()
        seen.every = found
        return bool(found)

    def define(self, seen: Seen, start: int, end: int) -> None:
        """What stands there in `seen`, after a survey, is defined there."""
        if seen.every is not None:
            insort(seen.every, (start, end, DEFINITION))

    def best(self, seen: Seen, lines: int) -> int:
        """Where, after a survey, the first of so many lines has a match of those that say most;
        the first such."""
        found, count = seen.every or [], seen.raw.count
        places = []
        line = before = 0
        for start, _, _ in found:
            line += count(b"\n", before, start)
            before = start
            places.append(line)
        return found[self.densest(found, places, [line + lines - 1 for line in places])][0]

    def densest(self, found: Sequence[Match], places: Sequence[int], ends: Sequence[int]) -> int:
        """Which of `found` a stretch begins with that is worth most, and the first of these.

        `places` is where each stands, `ends` the last place of the stretch that begins with it.
        """
        worth = self._wanted.worth
        counts = dict.fromkeys([kind for _, _, kind in found], 0)
        missing = len(counts)
        best = best_worth = said = reached = 0
        for first, end in enumerate(ends):
            while reached < len(found) and (reached == first or places[reached] <= end):
                kind = found[reached][2]
                if not counts[kind]:
                    said += worth[kind]
                    missing -= 1
                counts[kind] += 1
                reached += 1
            if said > best_worth:
                best, best_worth = first, said
            if not missing or reached == len(found):  # those after it say no more
                break
            kind = found[first][2]
            counts[kind] -= 1
            if not counts[kind]:
                said -= worth[kind]
                missing += 1
        return best

    def _scan(
        self, seen: Seen, here: Iterable[tuple[int, Spelling]], start: int, end: int
    ) -> tuple[list[Match], list[Spelling]]:
        """What is said from `start` to `end`, and of what is `here` what is not said there."""
        apart = seen.raw[start:end].translate(APART)
        found: list[Match] = []
        missing = []
        for at, spelling in here:
            if at <= start:
                at = seen.lower.find(spelling.letters, start, end)
            if (
                at < 0
                or at >= end
                or not self._follow(seen, spelling, at, start, end, apart, found)
            ):
                missing.append(spelling)
        return found, missing

    def _follow(
        self,
        seen: Seen,
        spelling: Spelling,
        at: int,
        start: int,
        end: int,
        apart: bytes,
        found: list[Match],
    ) -> bool:
        """Find what is said where `spelling` stands, at `at` and further on; whether it is all that
        it may say.

        `apart` has blanks between the words from `start` to `end`.
        """
        raw, find = seen.raw, seen.lower.find
        letters, known, wanted = spelling.letters, spelling.known, spelling.whole
        size = len(letters)
        before, looks = len(found), 0
        while at >= 0:
            looks += 1
            until = at + size
            if (
                at == start
                or apart[at - 1 - start] == BLANK
                or spelling.is_phrase
                or begins(raw, at)
            ):
                last = min(end, until + _MAX_REST)
                stop = apart.find(BLANK, until - start, last - start)
                rest = raw[at : stop + start if stop >= 0 else last]
                length, kinds, whole = known.get(rest) or self._wanted.said(rest, spelling)
                until += max(0, length - size)
                for kind in kinds:  # there is one, most of the time
                    found.append((at, until, kind))  # noqa: PERF401
                if whole and is_whole(raw, at, until):
                    found.append((at, until, whole))
                    wanted = 0
            at = find(letters, until, end)
        self._looks -= looks
        return not wanted and len(found) > before

    def _unsure(self, seen: Seen, spellings: Iterable[Spelling]) -> list[Match]:
        """Where other words begin with one of `spellings`, or else have it within."""
        found: list[Match] = []
        for spelling in spellings:
            size, kind, find = len(spelling.letters), spelling.kind, seen.lower.find
            at = find(spelling.letters)
            while at >= 0:
                self._looks -= 1
                found.append((at, at + size, kind))
                at = find(spelling.letters, at + size)
        begun = [match for match in found if begins(seen.raw, match[0])]
        return begun or [match for match in found if match[1] - match[0] >= _MIN_WITHIN]

    def _has_joints(self, seen: Seen) -> bool:
        without = seen.lower.replace(b"_", b"")
        self._looks -= len(self._wanted.spelled)
        kinds = {spelling.kind for _, spelling in seen.here}
        return any(
            spelling.joined in without
            for spelling in self._wanted.spelled
            if spelling.joined and spelling.kind not in kinds
        )

    def _with_joints(self, seen: Seen, kinds: set[int]) -> Iterator[Match]:
        """The words that have joints here and none in the query, of other than these kinds."""
        for spelling in self._wanted.spelled:
            if not spelling.joined or spelling.kind in kinds:
                continue
            if spelling.pattern is None:
                letters = (re.escape(bytes((letter,))) for letter in spelling.joined)
                spelling.pattern = re.compile(b"_?".join(letters))
            for match in spelling.pattern.finditer(seen.lower):
                self._looks -= 1
                if begins(seen.raw, match.start()):
                    yield (*match.span(), spelling.kind)

    def _beyond_ascii(self, text: str) -> Iterator[Match]:
        """What the words beyond ASCII say in `text`, composed or decomposed."""
        for match in _ACCENTED_WORD.finditer(text):
            word = match[0]
            if word.isascii():
                continue
            if self._looks <= 0:
                return
            said = self._beyond.get(word)
            if said is None:
                self._looks -= 1
                said = self._beyond[word] = list(self._wanted.said_beyond_ascii(word))
            begin = match.start()
            yield from ((begin + at, begin + end, kind) for at, end, kind in said)
