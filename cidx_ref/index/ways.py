"""The ways in which what a query asks for may be written in the full text: as it is asked for, as
one word, as two, or as a part of another one.

What is written in no way is not looked for; a term that is nowhere would cost as much as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import log1p

from cidx_ref.index.query import Query
from cidx_ref.index.text import closed, terms_of, whole_identifiers

__all__ = ["OTHERWISE", "Ways", "parts_of", "rarity"]

#: Of a word: what it counts where it is written in another way.
OTHERWISE = 0.7
#: Chunks of the rarer of two words, in which the other is looked for beside it.
_MOST_BESIDE = 1 << 14
_RARE = 64  # chunks: a word that stands in no more is looked for as two words, too
_LEAST_PART, _MOST_PARTED = 2, 24  # letters
_MOST_WAYS = 4


def rarity(count: int, total: int) -> float:
    """What BM25 takes a word for that stands in `count` of `total` chunks.

    What is dead is counted until it is merged, so they may seem to be more than all.
    """
    count = min(count, total)
    return log1p((total - count + 0.5) / (count + 0.5))


class Ways:
    """The ways there are in one full text.  Thread-safe."""

    def __init__(self, count: Callable[[str, str], int], total: int) -> None:
        """`count` tells in how many of the `total` chunks a field has a term."""
        self._count = count
        self._total = total

    def forms(self, query: Query) -> Iterator[list[tuple[str, str, int]]]:
        """How what `query` asks for is written here, each with the number of its chunks: first as
        it is asked for.  A name that is written in no way is left out."""
        count = self._count
        for term, names in query.spelled.items():
            others = [("compound", name, n) for name in names if (n := count("compound", name))]
            # Of most words there is none, and a term that is nowhere costs nothing.
            yield [("body", term, count("body", term) if others else 1), *others]
        for name in dict.fromkeys((*query.identifiers, *query.neighbours)):
            forms = (("identifier", name), ("compound", name), ("body", closed(name)))
            if found := [(f, t, n) for f, t in forms if (n := count(f, t))]:
                yield found
        for name in query.closed:
            if n := count("body", closed(name)):
                yield [("body", closed(name), n)]

    def rarity(self, count: int) -> float:
        return rarity(count, self._total)

    def beside(self, query: Query) -> Iterator[tuple[list[str], float]]:
        """The terms that are to stand beside each other, and what that counts: of a name with an
        ending, and of a word that hardly any chunk has, where it is two words."""
        for terms in query.with_endings:
            if 0 < min(self._count("body", term) for term in terms) <= _MOST_BESIDE:
                yield terms, 1.0
        if query.is_short:
            for word in query.words:
                if word.islower():  # one that has capitals is known to be made of parts
                    # Two words count as much as both of them, the one must count for more.
                    yield from ((parts, OTHERWISE / 2) for parts in self._in_two(word))

    def _in_two(self, word: str) -> list[list[str]]:
        if not (word.isalpha() and 2 * _LEAST_PART <= len(word) <= _MOST_PARTED):
            return []
        word = word.lower()
        if self._count("body", closed(word)) > _RARE:
            return []
        found: list[tuple[int, list[str]]] = []
        for at in range(_LEAST_PART, len(word) - _LEAST_PART + 1):
            one = closed(word[:at])
            if count := self._count("body", one):
                other = closed(word[at:])
                count = min(count, self._count("body", other))
                if 0 < count <= _MOST_BESIDE:
                    found.append((count, [one, other]))
        return [parts for _, parts in sorted(found, reverse=True)[:_MOST_WAYS]]


def parts_of(found: Iterable[str]) -> Iterator[str]:
    """What each of the words `found` is looked for as within other words."""
    for word in found:
        for term in terms_of([word]):
            # Snowball ends some stems in an i or e that the word does not have: librari.
            yield term[:-1] if len(term) > 3 and term[-1] in "ie" else term
        yield from whole_identifiers([word])
