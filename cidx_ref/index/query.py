"""The text of a query, parsed once: what the engines, the snippets and the terminal share of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Generic, TypeVar

from cidx_ref.index.quotes import Piece, Quotes, quotes_of
from cidx_ref.index.text import normal, symbols, terms_of, whole_identifiers, words

__all__ = ["MAX_TERMS", "Query", "parsed"]

# Analysing takes some 30 µs a word, and a query may have 100,000 characters: the rest of a query
# that is longer than this does not count.
MAX_TERMS = 256
_MAX_LETTERS = 4096
_MAX_WORDS = 1024

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
        value = instance.__dict__[self._name] = self._make(instance)
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
    def identifiers(self) -> list[str]:
        """Those of the words that are made of parts, as one term each."""
        return list(dict.fromkeys(whole_identifiers(self.words)))

    @_Lazy
    def symbols(self) -> list[str]:
        """What is asked for by name: the one word, or those of the words that look like code.

        Not every word: "split a string" does not mean what is called `split`.
        """
        said = list(self._said)
        named = said if len(said) == 1 else filter(_CODE_LIKE.search, said)
        return symbols(islice(named, MAX_TERMS))

    @_Lazy
    def quotes(self) -> Quotes:
        """The pieces of the text that stand in quotes."""
        return quotes_of(self.text)

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
        return []

    @_Lazy
    def beside_phrases(self) -> Query:
        """What is asked for beside the phrases."""
        return self

    def shortened(self, count: int) -> Query:
        """What the first `count` of the words ask for."""
        shorter = Query(" ".join(self.words[:count]))
        shorter.__dict__["words"] = self.words[:count]  # as they were parsed here
        return shorter

    @_Lazy
    def _said(self) -> dict[str, None]:
        """The distinct words, in order: so many of them that what counts is among them."""
        return dict(islice(dict.fromkeys(words(self.text)).items(), _MAX_WORDS))


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
