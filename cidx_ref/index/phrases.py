"""The phrases of a query, held against one snapshot: which of them stand in it, and where.

A quoted piece is a phrase.  It stands in a chunk as written if its characters follow each other in
the chunk's text, its name or its path.  Any run of white space, ends of lines too, is as good as
any other, and so is any case, unless the piece has capitals and something has it with them.

The engines give candidates, by the piece's terms in a row; the text decides.  Where they give none
that holds the piece, an end of it may be a part of a word, so those that have the words between its
ends are looked at, or all texts are read.  A phrase that nothing has is let go, and its words count
like any others; so is one that stands nowhere together with those before it.

Work is bounded (`_MAX_LOOKS`, `_MAX_READS`, `_SCANNED_BYTES`): a chunk that is not looked at for
that reason counts as one that does not hold the phrase.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cidx_ref.index.query import MAX_TERMS, Query
from cidx_ref.index.quotes import Piece
from cidx_ref.index.structure import INNER, OWNER
from cidx_ref.index.text import composed, symbols, terms_of, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cidx_ref.index.live import FileSet, FilterMask, LiveChunks
    from cidx_ref.index.searched import TextEngine

__all__ = ["Phrase", "Phrases"]

# Chunks ruled out by what is stored of them (4 µs each), and chunks read and compared (10 µs).
_MAX_LOOKS = 1 << 15
_MAX_READS = 1 << 14
_SCANNED_BYTES = 192 << 20  # of text, that all readings of all texts go through together
_BYTES_PER_LOOK = 1 << 14  # of text, that are read through while one candidate is looked at
_FEW = 512  # candidates whose files are known to the engine
_FIRST = 64  # hits that are asked for at first, and candidates that are a sample

_ASCII = re.compile(r"[!-~]+")
# Where quotes are escaped, their spelling is not known, and is no part of what must be there.
_ASCII_UNQUOTED = re.compile(r"[!#-\[\]-~]+")
# What a program puts a value into, or where the text of a message ends.
_SLOT = re.compile(r""" ?\\?["'`]?(?:%[^\s]|\{[^\s]|\$[{\w]|["'`] ?[+,.&)])""")
_MOST_NAMED = 8  # chunks that are called what may be meant
_MAX_RUNS = 8  # of a piece, that a chunk must hold to be read

Ranking = list[tuple[int, float]]


class Near(Protocol):
    """What ranks chunks by their vectors: see `search.py`."""

    def rank(self, chunks: Sequence[int], k: int) -> Ranking: ...


class Phrase:
    """One quoted piece, and how it is recognised in a text: in any case, or as it stands."""

    def __init__(self, piece: Piece, *, any_case: bool) -> None:
        self.piece = piece
        self.any_case = any_case
        said = words(piece.text)
        self.terms = _terms(piece)
        #: Those of the words that cannot be parts of longer ones.
        inner = said[bool(words(piece.text[0])) : len(said) - bool(words(piece.text[-1]))]
        self.inner = list(islice(terms_of(inner), MAX_TERMS))
        escapes = '\\"' in piece.text
        spellings = [piece.text, piece.text.replace('\\"', '"')][: 1 + escapes]
        self._spellings = [self._seen(each) for each in spellings]
        self._composed = list(map(composed, self._spellings))
        # Not of what case folding makes of it: "ß" becomes "ss", which the text need not have.
        runs = (_ASCII_UNQUOTED if escapes else _ASCII).findall(composed(piece.text))
        if any_case:
            runs = [run.lower() for run in runs]
        self._runs = sorted(map(str.encode, runs), key=len, reverse=True)[:_MAX_RUNS]
        #: What texts are searched for: its longest part without white space, and rather one with
        #: signs in it, for where its words are is known.
        signs = [run for run in self._runs if not run.isalnum()] or self._runs
        self.probe = signs[0].decode() if runs else max(piece.text.split(), key=len)
        #: Which chunks may hold it (None: none), and whether they have its terms in a row.
        self.among: NDArray[np.bool_] | None = None
        self.is_in_terms = False
        self.known: dict[int, bool] = {}

    def stands_in(self, text: str) -> bool:
        """Whether the piece stands in `text` as written."""
        seen = self._seen(text)
        if any(each in seen for each in self._spellings):
            return True
        if seen.isascii():
            return False
        seen = composed(seen)
        return any(each in seen for each in self._composed)

    def may_stand_in(self, raw: bytes) -> bool:
        """Whether what is stored as `raw` can hold the piece."""
        text = raw.lower() if self.any_case else raw
        return all(run in text for run in self._runs)

    def begins_a_message_in(self, text: str) -> bool:
        """Whether a message stands in `text` that has a value after the piece."""
        seen, wanted = self._seen(text), self._spellings[0]
        at = seen.find(wanted)
        while at >= 0:
            if _SLOT.match(seen, at + len(wanted)):
                return True
            at = seen.find(wanted, at + len(wanted))
        return False

    def _seen(self, text: str) -> str:
        text = " ".join(text.split())
        return text.casefold() if self.any_case else text


class Phrases:
    """The phrases of one query, and the chunks that hold them.  For one search; two threads may use
    it at once."""

    def __init__(
        self,
        query: Query,
        chunks: LiveChunks,
        fulltext: TextEngine | None,
        mask: FilterMask | None,
    ) -> None:
        #: What the engines are to be asked.
        self.query = query
        #: The pieces that were let go.
        self.relaxed: list[str] = []
        self._chunks = chunks
        self._fulltext = fulltext
        self._mask = mask
        self._kept: list[Phrase] = []
        self._among: NDArray[np.bool_] | None = None
        self._files: dict[Phrase, frozenset[int]] = {}
        self._looks, self._reads = _MAX_LOOKS, _MAX_READS
        self._scans = max(1, _SCANNED_BYTES // (chunks.size_bytes + 1))
        if query.quotes.pieces:
            self._settle(query)

    @property
    def bind(self) -> bool:
        """Whether there is a phrase that each hit must hold."""
        return bool(self._kept)

    def missing(self) -> dict[str, str]:
        """As `missing`, the name that is asked for, of a qualified one its last part, if no text
        has its parts in a row; as `meant`, the one that it is most like.  A file that is not there
        is none."""
        query, fulltext = self.query, self._fulltext
        if fulltext is None or not query.is_name or query.place is not None:
            return {}
        parts = list(terms_of(words(query.name.parts[-1])))
        is_there = len(fulltext.frequencies(parts)) == len(set(parts))
        if is_there and len(parts) > 1:
            is_there = bool(fulltext.quoting([parts]))
        if is_there or not parts:
            return {}
        meant = self._meant(fulltext)
        return {"missing": query.name.written, **({"meant": meant} if meant else {})}

    def _meant(self, fulltext: TextEngine) -> str:
        """The name, as it is written, that what is asked for is most like; "" for none."""
        symbol, found = fulltext.likest(self.query.symbols[0])
        for chunk in found[:_MOST_NAMED]:
            for name in self._chunks.read(chunk).defines:
                if not name.startswith(OWNER) and symbols([name.removeprefix(INNER)]) == [symbol]:
                    return name.removeprefix(INNER)
        return ""

    def holds(self, chunk: int) -> bool:
        """Whether `chunk` holds all phrases that were not let go."""
        if self._among is not None and not self._among[chunk]:
            return False
        return all(self._stands(phrase, chunk) for phrase in self._kept)

    def sift(self, search: Callable[[int], Ranking], k: int) -> Ranking:
        """The `k` best of what `search` ranks, as many as it is asked for, that hold the
        phrases."""
        wanted = max(4 * k, _FIRST)
        while True:
            found = search(wanted)
            passing = list(islice((hit for hit in found if self.holds(hit[0])), k))
            if len(passing) == k or len(found) < wanted:
                return passing
            wanted *= 8

    def in_fulltext(self, engine: TextEngine, k: int) -> Ranking:
        """The `k` best of the chunks that hold the phrases: first those that hold other words."""
        files = self._their_files()
        return self._filled(self.sift(lambda n: engine.search(self.query, n, files), k), k)

    def nearest(self, near: Near, k: int) -> Ranking:
        """The `k` nearest of the chunks that hold the phrases; punctuation alone is near none."""
        among = self._candidates(self._kept)
        return self._filled(self.sift(lambda n: near.rank(among, n), k), k)

    def _filled(self, found: Ranking, k: int) -> Ranking:
        """`found`, and after it what else holds the phrases."""
        if len(found) < k:
            met = {chunk for chunk, _ in found}
            more = (n for n in self._candidates(self._kept) if n not in met and self.holds(n))
            found += [(chunk, 0.0) for chunk in islice(more, k - len(found))]
        return found

    def _their_files(self) -> FileSet | None:
        """The files that the engine need look at; None: all."""
        among = self._candidates(self._kept)
        if len(among) > _FEW:
            return None if self._mask is None else self._mask.files
        return self._chunks.files_with(among)

    # Which phrases there are.

    def _settle(self, query: Query) -> None:
        quotes = query.quotes
        pieces: Sequence[Piece] = quotes.pieces
        standing: list[Phrase] = []
        if quotes.whole is not None and (whole := self._standing(quotes.whole)):
            pieces, standing = [quotes.whole], [whole]
        elif quotes.are_own:
            standing = list(filter(None, map(self._standing, pieces)))
        if quotes.are_own and self._is_a_message(query.text[: pieces[0].start], standing):
            quotes, standing = quotes._replace(are_own=False), []
        self._kept = self._together(standing)
        self._among = self._marked(self._kept) if self._kept else None
        kept = [phrase.piece for phrase in self._kept]
        missing = [piece for piece in pieces if piece not in kept]
        phrases = [phrase.terms for phrase in self._kept if phrase.is_in_terms]
        preferred = [found for piece in missing if 1 < len(found := _terms(piece)) < MAX_TERMS]
        self.query = query.quoting(kept, phrases, preferred)
        if not quotes.are_own:  # texts are not read for what binds nothing
            knows = self._fulltext is not None
            missing = [p for p in missing if knows and not self._standing(p, may_scan=False)]
        if query.words:
            self.relaxed = list(dict.fromkeys(piece.text for piece in missing))

    def _standing(self, piece: Piece, *, may_scan: bool = True) -> Phrase | None:
        """`piece`, with the chunks that may hold it, of which one does; None: nothing has it."""
        text = piece.text
        is_of_letters, has_capitals = text.lower() != text.upper(), text != text.lower()
        forms = [Phrase(piece, any_case=False)] if has_capitals or not is_of_letters else []
        forms += [Phrase(piece, any_case=True)] if is_of_letters else []
        for form in forms:
            if self._is_found_by_terms(form):
                return form
        fulltext_knows = self._fulltext is not None and bool(forms[-1].inner)
        if fulltext_knows or not may_scan:
            return None
        among = self._scanned(forms[-1])
        for form in forms:
            form.among, form.is_in_terms = among, False
            if self._is_met([form]):
                return form
        return None

    def _is_a_message(self, before: str, standing: Sequence[Phrase]) -> bool:
        """Whether the words `before` the first piece are those of a message that a program makes
        with values in it, and what is quoted is such a value, though it stands elsewhere, too:
        `cannot open "/etc/hosts"`."""
        words_before = before.split()
        if self._fulltext is None or not standing or len(words_before) < 2:
            return False
        said = Phrase(Piece(" ".join(words_before), 0, 0), any_case=True)
        if not said.terms:
            return False
        among = self._let_through(self._fulltext.quoting([said.terms]))
        is_made = any(
            said.begins_a_message_in(self._chunks.read(chunk).text) for chunk in among[:_FIRST]
        )
        return is_made and not any(
            self._stands(phrase, chunk) for chunk in among for phrase in standing
        )

    def _is_found_by_terms(self, phrase: Phrase) -> bool:
        """Whether one of the chunks that hold the terms of `phrase`, or else those of the words
        within it, holds it itself."""
        fulltext = self._fulltext
        for found in (phrase.terms, phrase.inner) if fulltext is not None else ():
            if found and fulltext is not None:
                phrase.among = self._passing(phrase, fulltext.quoting([found]))
                phrase.is_in_terms = found is phrase.terms
                if self._is_met([phrase]):
                    return True
        return False

    def _together(self, phrases: list[Phrase]) -> list[Phrase]:
        """Those of `phrases` that stand in one chunk, the first ones first."""
        if len(phrases) < 2 or self._is_met(phrases):
            return phrases
        kept: list[Phrase] = []
        for phrase in phrases:
            if self._is_met([*kept, phrase]):
                kept.append(phrase)
        return kept

    def _is_met(self, phrases: Sequence[Phrase]) -> bool:
        return any(
            all(self._stands(phrase, chunk) for phrase in phrases)
            for chunk in map(int, np.flatnonzero(self._marked(phrases)))
        )

    # Where they may stand.

    def _candidates(self, phrases: Sequence[Phrase]) -> list[int]:
        """The chunks that may hold all of `phrases`."""
        return np.flatnonzero(self._marked(phrases)).tolist()

    def _marked(self, phrases: Sequence[Phrase]) -> NDArray[np.bool_]:
        marks = np.ones(self._chunks.places, np.bool_)
        for phrase in phrases:
            marks &= False if phrase.among is None else phrase.among
        return marks

    def _passing(self, phrase: Phrase, found: list[int]) -> NDArray[np.bool_]:
        """Those of the chunks `found` that the filters let through, and that may hold `phrase`."""
        found = self._let_through(found)
        marks = np.zeros(self._chunks.places, np.bool_)
        marks[found] = True
        text_bytes = self._chunks.size_bytes
        if len(found) > _FIRST and len(found) * _BYTES_PER_LOOK > text_bytes and self._scans > 0:
            # Where the piece is frequent among them, it is soon found; else all texts say sooner
            # which of them hold it.
            sample = found[:: len(found) // _FIRST]
            if not any(self._stands(phrase, chunk) for chunk in sample):
                scanned = self._scanned(phrase)
                marks &= True if scanned is None else scanned
        return marks

    def _let_through(self, found: list[int]) -> list[int]:
        if self._mask is None:
            return found
        allowed = self._mask.chunks
        return [chunk for chunk in found if allowed[chunk]]

    def _scanned(self, phrase: Phrase) -> NDArray[np.bool_] | None:
        """The chunks in which a part of `phrase` stands, by all texts and paths."""
        if self._scans <= 0:
            return None
        self._scans -= 1
        chunks = self._chunks
        marks = chunks.marks_of(phrase.probe, any_case=phrase.any_case)
        for file in self._called(phrase):
            inside = chunks.chunks_of(file)
            marks[inside.start : inside.stop] = True
        return marks & chunks.marks(self._mask)

    # What holds them.

    def _stands(self, phrase: Phrase, chunk: int) -> bool:
        known = phrase.known.get(chunk)
        if known is None:
            known = phrase.known[chunk] = self._is_in(phrase, chunk)
        return known

    def _is_in(self, phrase: Phrase, chunk: int) -> bool:
        self._looks -= 1
        if self._looks < 0:
            return False
        if phrase.may_stand_in(self._chunks.raw(chunk)):
            self._reads -= 1
            if self._reads < 0:
                return False
            read = self._chunks.read(chunk)
            if phrase.stands_in(read.text) or phrase.stands_in(read.name):
                return True
        called = self._called(phrase)
        return bool(called) and self._chunks.file_of(chunk) in called

    def _called(self, phrase: Phrase) -> frozenset[int]:
        """The numbers of the files in whose path `phrase` stands.

        Punctuation alone is not looked for there: "/" would be everywhere.
        """
        called = self._files.get(phrase)
        if called is None:
            found: Iterator[int] = iter(())
            if phrase.terms:
                found = self._chunks.files_called(phrase.stands_in)
            called = self._files[phrase] = frozenset(found)
        return called


def _terms(piece: Piece) -> list[str]:
    return list(islice(terms_of(words(piece.text)), MAX_TERMS))
