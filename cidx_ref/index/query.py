"""The text of a query, parsed once: what the engines, the snippets and the terminal share of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, pairwise
from typing import Any, Generic, TypeVar

from cidx_ref.index.asked import NO_NAME, Name, name_in, without_backslashes
from cidx_ref.index.pasted import Place, frames_in, has_signs, place_in, runs_in, without_severity
from cidx_ref.index.quotes import Piece, Quotes, quotes_of
from cidx_ref.index.stems import rarities, singular
from cidx_ref.index.text import (
    MAX_TERM_CHARS,
    dotted,
    joined_words,
    normal,
    said,
    spelled,
    symbols,
    terms_of,
    whole_identifiers,
    words,
)

__all__ = ["MAX_TERMS", "Query", "parsed"]

# Analysing takes some 30 µs a word, and a query may have 100,000 characters: of one that is longer
# than this, so many words count.
MAX_TERMS = 256
_MAX_LETTERS = 4096
_FEW_LETTERS = 200  # of a text that has no more, all words count, whatever they are composed of
# Of these the rarest count, where it is known how rare they are.
_MAX_WORDS = 2048
_MAX_DOTTED = 8
#: Words of a query that may all be one name, written with spaces between its parts.
_FEW_WORDS = 4

# Not `Validate.notEmpty`: who asks for that wants where it is defined, and not where it is used so.
_WITH_ENDING = re.compile(r"(?<![\w.])[^\W\d_]\w{0,31}\.[^\W\d_]{1,3}(?![\w.(])")
_CODE_LIKE = re.compile(r"[a-z][A-Z]|[^\W_]_[^\W_]|[A-Za-z]\d")

# Left out of queries only, and only where something else remains: in a question they carry no
# meaning, but in code they are rare enough to look meaningful.
_STOP_WORDS = frozenset(
    "a about all an and are as at be been by can could did do does each for from had has have how "
    "i if in into is it its me my of on or our shall should so some such that the their them then "
    "there these they this those to was we were what when where which who why will with would you "
    "your".split()
)


T = TypeVar("T")


class _Lazy(Generic[T]):
    """A value that is made when it is first asked for; two threads may both make it.

    Not `functools.cached_property`: until Python 3.12 that has a lock, one for all instances, which
    all queries would wait for, and a forked child for ever.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> T:
        value = self._make(instance)
        if value is not instance:  # or it would hold itself, and all of a long text
            instance.__dict__[self._name] = value
        return value


class Query:
    """What a text asks for.  Immutable; any text is legal (QRY-4)."""

    def __init__(self, text: str) -> None:
        self.text = text

    @_Lazy
    def words(self) -> list[str]:
        """The distinct words, without English stop words if others remain.

        The first 256 of them, and no more than have 4,096 letters together.
        """
        kept = (word for word in self._said if word.lower() not in _STOP_WORDS)
        return _affordable(kept) or _affordable(self._said)

    @_Lazy
    def terms(self) -> list[str]:
        """The distinct terms of the words, in order, the first 256 of them."""
        return list(islice(_distinct(terms_of(self.words)), MAX_TERMS))

    @_Lazy
    def spelled(self) -> dict[str, list[str]]:
        """The terms, each with what an identifier is called that its parts make: the term of
        `github`, and `GitHub`."""
        found: dict[str, list[str]] = {term: [] for term in self.terms}
        for made in filter(None, map(spelled, self.words)):
            if made[1] not in found.get(made[0], made):
                found[made[0]].append(made[1])
        return found

    @_Lazy
    def identifiers(self) -> list[str]:
        """Those of the words that are made of parts, as one term each; with them what has hyphens,
        an ending, or a dot before it."""
        names = whole_identifiers(chain(self.words, self._hyphened if self.is_short else ()))
        whole = (singular("".join(symbols(each.split(".")))) for each in self._dotted)
        begun = [] if self._is_plain else dotted(self._start)
        return list(dict.fromkeys(chain(names, whole, begun)))[:MAX_TERMS]

    @_Lazy
    def neighbours(self) -> list[str]:
        """Words with a space between them, written as one: `filename` of "file name".

        None of a sentence: in that, `errorMessage` says less than other places of its words.
        """
        if not self.is_short:
            return []
        pairs = pairwise(self._start.split(" "))
        return [
            singular(f"{one}{other}".lower())
            for one, other in pairs
            if one.isalpha() and other.isalnum() and not _STOP_WORDS & {one.lower(), other.lower()}
        ]

    @_Lazy
    def closed(self) -> list[str]:
        """Words with hyphens of a sentence, written as one: `email`.  They are looked for as words
        only; `inMemory` says less of "in-memory" than its parts, which are asked for anyway."""
        return [] if self.is_short else whole_identifiers(self._hyphened)

    @_Lazy
    def otherwise(self) -> str:
        """The words of names that are written as one: `github`, where `GitHub` is asked for."""
        return " ".join((*self.identifiers, *self.neighbours))

    @_Lazy
    def with_endings(self) -> list[list[str]]:
        """The terms of each name that ends as a file does, which stand beside each other: those of
        `node.js`."""
        analysed = (list(terms_of(words(name))) for name in self._dotted)
        return [found for found in analysed if len(found) > 1]

    @_Lazy
    def is_short(self) -> bool:
        """Whether it may be one name, in words."""
        return len(self._said) <= _FEW_WORDS

    @_Lazy
    def symbols(self) -> list[str]:
        """What is asked for by name: the one word, or those of the words that look like code.

        Not every word: "split a string" does not mean what is called `split`.
        """
        if self.is_name:  # of a qualified one, its last part; of one with hyphens, all as one
            return symbols([self.name.parts[-1].replace("-", "")])
        found = list(self._said)
        named = found if len(found) == 1 else filter(_CODE_LIKE.search, found)
        return symbols(islice(chain(named, self._hyphened), MAX_TERMS))

    @_Lazy
    def is_name(self) -> bool:
        """Whether all of it is one name, be it a qualified one: `parse`, `Parser.parse`."""
        return bool(self.name.parts) and not self.phrases

    @_Lazy
    def name(self) -> Name:
        """The one name that all of it is; `NO_NAME` if it is more than a name."""
        if self._is_plain and " " in self.text.strip() and self.text.islower():
            return NO_NAME  # "class decorator"
        return name_in(self.text)

    @_Lazy
    def quotes(self) -> Quotes:
        """The pieces of the text that stand in quotes."""
        return quotes_of("" if self._is_plain else self.text)

    def quoting(
        self, kept: Sequence[Piece], phrases: list[list[str]], preferred: list[list[str]]
    ) -> Query:
        """What the text asks for where the pieces `kept` are no words to look for.

        The terms `phrases` must stand in a row, each of them; those that are `preferred` had
        better.
        """
        settled = Query(self.text)
        settled.__dict__.update(self.__dict__, phrases=phrases, preferred=preferred)
        if kept:
            settled.__dict__["beside_phrases"] = Query(_without(self.text, kept))
        return settled

    @_Lazy
    def phrases(self) -> list[list[str]]:
        """Terms that must stand in a row: none, until it is known what there is (`phrases.py`)."""
        return []

    @_Lazy
    def preferred(self) -> list[list[str]]:
        """Terms that had better stand in a row."""
        return [] if self._is_plain or self.is_name else runs_in(self.text)

    @_Lazy
    def place(self) -> Place | None:
        """The place in a file that all of it may be."""
        return place_in(self.text)

    @_Lazy
    def frames(self) -> list[Place]:
        """The places of a trace, or of what a compiler has said, the deepest frame first."""
        return frames_in(self.text)

    def unquoted(self) -> Query:
        """What it asks for where the quotes in it are another program's."""
        plain = Query(self.text)
        plain.__dict__.update(self.__dict__, quotes=quotes_of(""))
        return plain

    @_Lazy
    def is_pasted(self) -> bool:
        """Whether it has the signs of code, or of a message, and more than one word."""
        return not self._is_plain and has_signs(self.text) and len(self._said) > 1

    def asking_for(self, name: Name) -> Query:
        """What it asks for where it is known that it is this name and nothing else, or none."""
        settled = Query(self.text)
        settled.__dict__.update(self.__dict__, name=name, is_name=bool(name.parts))
        settled.__dict__["symbols"] = symbols(name.parts[-1:])
        return settled

    @_Lazy
    def beside_phrases(self) -> Query:
        """What is asked for beside the phrases."""
        return self

    def shortened(self, count: int) -> Query:
        """What the first `count` of the words ask for."""
        return self._of(self.words[:count])

    def of_rarest(self, frequencies: Callable[[list[str]], dict[str, int]]) -> Query:
        """What the rarest words ask for, wherever they stand, if there are more than count.

        Numbers do not: of what is that long they are dates, lines and processes.

        `frequencies` tells how often each of some terms is to be found, the rarest first, without
        those that are nowhere.
        """
        if len(self.text) <= _FEW_LETTERS:
            return self
        found = [word for word in self._said if word.lower() not in _STOP_WORDS]
        if len(found) <= MAX_TERMS and self.words == found:
            return self
        telling = [word for word in found if not word.isdigit()] or found
        term_of = {word: tuple(terms_of([word[:MAX_TERM_CHARS]])) for word in telling}
        every = list(dict.fromkeys(chain.from_iterable(term_of.values())))
        counts = frequencies(every)
        known = {word: [counts[t] for t in terms if t in counts] for word, terms in term_of.items()}
        kept = sorted((word for word in telling if known[word]), key=lambda word: min(known[word]))
        if not kept:
            return self
        shorter = self._of(_affordable(kept))
        shorter.__dict__.update(phrases=self.phrases, preferred=self.preferred)
        if self.beside_phrases is not self:
            shorter.__dict__["beside_phrases"] = self.beside_phrases.of_rarest(frequencies)
        return shorter

    def _of(self, kept: list[str]) -> Query:
        other = Query(" ".join(kept))
        other.__dict__["words"] = kept  # as they were parsed here
        return other

    @_Lazy
    def _is_plain(self) -> bool:
        """Whether it is words and blanks, as most queries are: no signs of anything else need be
        looked for."""
        return self.text.replace(" ", "").isalnum()

    @_Lazy
    def _start(self) -> str:
        """So much of the text as is looked through for names that are more than a word."""
        return self.text[:_MAX_LETTERS]

    @_Lazy
    def _hyphened(self) -> list[str]:
        return joined_words(self._start)[:MAX_TERMS]

    @_Lazy
    def _dotted(self) -> list[str]:
        if self._is_plain:
            return []
        return [name[0] for name in islice(_WITH_ENDING.finditer(self._start), _MAX_DOTTED)]

    @_Lazy
    def _found(self) -> list[str]:
        """All words, in order, with those of another reading (see `codes`) at the end."""
        text = without_severity(without_backslashes(self.text))
        return words(text) + said(text)[1]

    @_Lazy
    def _said(self) -> dict[str, None]:
        """The distinct words, in order: so many of them that what counts is among them.

        Where they are too many, numbers and what all code is full of are left out first.
        """
        found = dict.fromkeys(self._found)
        if len(found) > _MAX_WORDS:
            common = rarities()
            telling = (w for w in found if w.lower() not in common and not w.isdigit())
            chosen = set(islice(chain(telling, found), _MAX_WORDS))
            found = {word: None for word in found if word in chosen}
        return found


@lru_cache(maxsize=8)
def parsed(text: str) -> Query:
    """What `text` asks for: the same object each time, so that search and embedder analyse a text
    once."""
    return Query(text)


def _without(text: str, pieces: Sequence[Piece]) -> str:
    kept, end = [], 0
    for piece in pieces:
        kept.append(text[end : piece.start])
        end = piece.end
    return " ".join([*kept, text[end:]])


def _affordable(found: Iterable[str]) -> list[str]:
    kept, letters = [], 0
    for word in islice(found, MAX_TERMS):
        letters += len(normal(word))
        if letters > _MAX_LETTERS:
            break
        kept.append(word)
    return kept


def _distinct(found: Iterable[str]) -> Iterator[str]:
    met: set[str] = set()
    for term in found:
        if term not in met:
            met.add(term)
            yield term
