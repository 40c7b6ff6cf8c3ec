"""What of a query is looked for in texts: in which letters, and what they say when they are found.

The letters are what the words with a stem begin with; a part of an identifier that begins so is
analysed, which the index does with all of a text.  They are looked for in bytes, one a character,
in which letters beyond Latin-1 are nothing but a mark that something is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from cidx_ref.index.embed import rarity
from cidx_ref.index.query import Query
from cidx_ref.index.text import symbols, terms_of, words

__all__ = ["APART", "BLANK", "DEFINITION", "Match", "Said", "Spelling", "Wanted", "begins"]
__all__ += ["is_whole", "spellings"]

_MAX_SPELLINGS = 256
_MAX_PHRASES = 16
_MAX_PHRASE_CHARS = 256
_MIN_JOINED = 6  # letters of a word that may be written with joints: `ring_buffer` for `ringbuffer`

# What is said is worth so much, in hundredths of how rare its term is.
_SAID = 100  # the term; and a name of several parts, beside them
_WHOLE = 50  # more, where the one word of a query is not only a part of a name
_PHRASE = 50  # more, for words just as they were typed: for each term of the query
_DEFINITION_WORTH = 270  # more, where it is what the text defines: as good as one more rare word

#: The kind of a definition.
DEFINITION = 0

#: Where something begins and ends that is said, and its kind: once says as much as many times.
Match = tuple[int, int, int]
#: The length of a part of a name, the kinds of what it says, and that of what it is as a whole.
Said = tuple[int, tuple[int, ...], int]

_OTHER, _SMALL, _CAPITAL, _DIGIT = range(4)


def _class(character: str) -> int:
    if character.isdecimal():
        return _DIGIT
    return _CAPITAL if "A" <= character <= "Z" else _SMALL * character.isalpha()


_CLASSES = bytes(map(_class, map(chr, range(256))))
_SMALL_ONES = re.escape(bytes(n for n in range(256) if _CLASSES[n] == _SMALL))
_PART = re.compile(rb"[A-Z]+(?![%b])|[A-Z]?[%b]+|[0-9]+|" % (_SMALL_ONES, _SMALL_ONES))
_REST = re.compile(rb"[%b]*" % _SMALL_ONES)
BLANK = ord(" ")
_JOINT = ord("_")
#: Makes a blank of what is not of a part of a name.
APART = bytes(n if _CLASSES[n] else BLANK for n in range(256))
_ESCAPES = frozenset((b"\\n", b"\\t", b"\\r", b"%s", b"%d"))
_QUOTED = re.compile(r'"([^"]+)"')


class Spelling:
    """Letters to look for: what some words begin with, or a phrase."""

    __slots__ = ("is_phrase", "joined", "kind", "known", "letters", "pattern", "whole")

    def __init__(self, letters: bytes, kind: int, whole: int) -> None:
        self.letters = letters
        self.kind = kind
        self.whole = whole  # the kind that it should have, too, if it is not 0
        self.is_phrase = False
        self.joined = b""  # a word that may have joints elsewhere
        self.pattern: re.Pattern[bytes] | None = None  # for that
        self.known: dict[bytes, Said] = {}  # what begins so, and was analysed


class Wanted:
    """All that one query looks for."""

    def __init__(self, query: Query) -> None:
        #: What each kind is worth.
        self.worth = [_DEFINITION_WORTH]
        self._is_one_word = len(query.words) == 1
        self._terms: dict[str, int] = {}
        self._identifiers: dict[str, int] = {}
        self._spellings: dict[str, Spelling] = {}
        for term in query.terms:
            self._terms[term] = kind = self._kinds(rarity(term))
            for letters in spellings(term):
                self._spell(letters, kind, self._is_one_word and kind + 1)
        for word in query.words:
            self._say(word)
        self._add_phrases(query)
        #: In the order of the query.
        self.spelled = [
            spelling
            for letters, spelling in islice(self._spellings.items(), _MAX_SPELLINGS)
            if letters and letters.isascii()
        ]
        worth = self.worth
        self.rarest_first = sorted(self.spelled, key=lambda each: worth[each.kind], reverse=True)
        self._beginnings = tuple(self._spellings)
        self.is_ascii = query.text.isascii()

    def has_all_of(self, name: str) -> bool:
        """Whether the query says all of `name`."""
        if not name.lower().lstrip("_").startswith(self._beginnings):  # as most do not
            return False
        found = list(terms_of(words(name)))
        return bool(found) and all(map(self._terms.__contains__, found))

    def said(self, rest: bytes, spelling: Spelling) -> Said:
        """What the part of a name says with which `rest` begins, and what it is as a whole name."""
        if spelling.is_phrase:
            return len(spelling.letters), (spelling.kind,), 0
        said = spelling.known[rest] = self._analysed(rest, spelling)
        return said

    def _analysed(self, rest: bytes, spelling: Spelling) -> Said:
        length, found, joined = _part(rest, len(spelling.letters))
        kinds = [self._terms[term] for term in dict.fromkeys(found) if term in self._terms]
        if not kinds and spelling.joined and _is_compound(rest, spelling.joined):
            return len(spelling.joined), (spelling.kind,), spelling.whole
        if len(found) == 1:
            return length, tuple(kinds), self._is_one_word and kinds[0] + 1 if kinds else 0
        return length, tuple(kinds), self._identifiers.get(joined, 0)

    def said_beyond_ascii(self, word: str) -> Iterator[Match]:
        """Which letters of a word beyond ASCII say something of the query."""
        composed = unicodedata.normalize("NFC", word)
        for term in dict.fromkeys(terms_of(words(composed))):
            kind = self._terms.get(term)
            if kind is None:
                continue
            # Scripts without small and capital letters are often written without blanks.
            if term in word and not term[0].islower():
                places = re.finditer(re.escape(term), word)
                yield from ((*place.span(), kind) for place in places)
            else:
                yield 0, len(word), kind

    def _kinds(self, rare: float) -> int:
        """The first of two new kinds: a term, and all of a word."""
        self.worth += (round(_SAID * rare), round(_WHOLE * rare))
        return len(self.worth) - 2

    def _spell(self, letters: str, kind: int, whole: int) -> Spelling:
        spelling = self._spellings.get(letters)
        if spelling is None:
            encoded = letters.encode("ascii", "ignore") if letters.isascii() else b""
            spelling = self._spellings[letters] = Spelling(encoded, kind, whole)
        return spelling

    def _say(self, word: str) -> None:
        """Look for a word of the query as it was said, where that is more than its terms."""
        said = list(terms_of((word,)))
        small = word.lower()
        if len(said) > 1:
            joined = symbols((word,))[0]
            kind = self._identifiers.get(joined)
            if kind is None:
                kind = self._identifiers[joined] = self._kinds(sum(map(rarity, set(said))))
            self._spell(small, kind, kind)
            spelling = self._spell(joined, kind, kind)
        elif said and said[0] in self._terms:
            kind = self._terms[said[0]]
            letters = next(filter(small.__contains__, spellings(said[0])), small)
            joined, spelling = small, self._spell(letters, kind, self._is_one_word and kind + 1)
        else:
            return
        if len(joined) >= _MIN_JOINED and joined.isascii():
            spelling.joined = joined.encode()

    def _add_phrases(self, query: Query) -> None:
        """Look for what is quoted in the query, and for all of it where it is more than a word."""
        whole = query.text.strip()
        typed = [] if query.words == [whole] else [whole]
        if '"' in whole:
            typed += islice((match[1] for match in _QUOTED.finditer(whole)), _MAX_PHRASES)
        if not self._terms:  # punctuation is searched for so
            typed = [whole.strip('"') or whole]
        for phrase in typed:
            if len(phrase) <= _MAX_PHRASE_CHARS and phrase.strip():
                self.worth.append(_PHRASE * (len(self._terms) or 1))
                self._spell(phrase.lower(), len(self.worth) - 1, 0).is_phrase = True


def spellings(term: str) -> list[str]:
    """What all words with the stem `term` begin with: one of these."""
    # Snowball ends some stems in letters that the word does not have: librari for library, write
    # for writing, possibl for possibility.
    if len(term) > 3:
        return [term[:-1] if term[-1] in "ie" or term.endswith("bl") else term]
    if len(term) == 3 and term[-1] in "iey":
        if term.endswith("ie"):
            return [term, f"{term[0]}ying"]
        return [term, {"i": f"{term[:2]}y", "e": f"{term[:2]}ing", "y": f"{term[:2]}ies"}[term[-1]]]
    return [term]


@lru_cache(maxsize=1 << 12)
def _part(rest: bytes, size: int) -> tuple[int, tuple[str, ...], str]:
    """The part of a name with which `rest` begins, and which has this size at least: its length,
    its terms, and all of them as one."""
    length = _PART.match(rest).end()  # type: ignore[union-attr]
    if length < size:
        length = _REST.match(rest, size).end()  # type: ignore[union-attr]
    part = rest[:length].decode("latin-1")
    return length, tuple(terms_of((part,))), symbols((part,))[0]


def begins(raw: bytes, at: int) -> bool:
    """Whether a word, or a part of a name, begins at `at`."""
    before, first = _CLASSES[raw[at - 1]] if at else _OTHER, _CLASSES[raw[at]]
    if before == first:
        if first == _SMALL:  # a letter may be of the escape before it
            return raw[max(0, at - 2) : at] in _ESCAPES
        return first == _CAPITAL and _CLASSES[raw[min(at + 1, len(raw) - 1)]] == _SMALL
    return not (first == _SMALL and before == _CAPITAL)


def _is_compound(rest: bytes, word: bytes) -> bool:
    """Whether `rest` begins with `word`, written with capitals within: RingBuffer."""
    if not rest.lower().startswith(word):
        return False
    return len(rest) == len(word) or begins(rest, len(word))


def is_whole(raw: bytes, start: int, end: int) -> bool:
    """Whether neither letters nor joints are around what stands there."""
    around = raw[max(0, start - 1) : start] + raw[end : end + 1]
    return not any(byte == _JOINT or _CLASSES[byte] for byte in around)
