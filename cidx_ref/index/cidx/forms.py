"""Which tokens of the full cidx's full text are a word that is asked for: its tokenizer knows no
stems, and so `retries` and `retry` are two.

What the engine has told is remembered: each call of it lets go of the interpreter, for which ten
others wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import lru_cache
from itertools import islice

from cidx_ref.index.text import terms_of
from cidx_ref.index.ways import rarity

__all__ = ["TOKEN", "Forms"]

TOKEN = re.compile(r"[^\W_]+")
_LEAST_PREFIX = 3  # letters: with fewer, half of the vocabulary begins so
_MOST_FORMS = 48
_OTHER_SHARE = 0.5


class Forms:
    """The tokens there are, of which a term is the term.  Thread-safe."""

    def __init__(
        self,
        frequency: Callable[[str, str], int],
        begun: Callable[[str, int], Iterable[str]],
        count: int,
    ) -> None:
        """`frequency` tells in how many of the `count` documents a field has a token, and `begun`
        so many of the tokens that begin so."""
        self._begun = begun
        self._documents = count
        self._frequency = lru_cache(maxsize=16384)(frequency)
        self.of = lru_cache(maxsize=4096)(self._of)

    def forget(self) -> None:
        """Let go of the engine; nothing may be asked afterwards."""
        del self.of, self._frequency, self._begun

    def frequency(self, token: str) -> int:
        """In how many documents it stands."""
        return self._frequency("content", token)

    def in_paths(self, term: str) -> bool:
        return self._frequency("path", term) > 0

    def count(self, term: str) -> int:
        """In how many documents it stands in any form, or more."""
        return sum(map(self.frequency, self.of(term)))

    def shares(self, forms: Sequence[str], typed: Set[str]) -> Iterator[tuple[str, float]]:
        """What each of the forms of one word counts: in full as it was typed, else half of that,
        and as much as if all of them were one token."""
        if not forms:
            return
        whole = typed & set(forms) or {max(forms, key=self.frequency)}
        together = rarity(sum(map(self.frequency, forms)), self._documents)
        for form in forms:
            share = together / rarity(self.frequency(form), self._documents)
            yield form, share if form in whole else share * _OTHER_SHARE

    def _of(self, term: str) -> tuple[str, ...]:
        """The tokens here that `term` is the term of; of a stem, they begin alike."""
        # Snowball ends some stems in an i or e that the word does not have: retri, write.
        start = term[:-1] if len(term) > _LEAST_PREFIX and term[-1] in "ie" else term
        found: dict[str, None] = {term: None} if self.frequency(term) else {}
        if len(start) >= _LEAST_PREFIX and TOKEN.fullmatch(start):
            for token in self._begun(start, 8 * _MOST_FORMS):
                if list(terms_of([token])) == [term]:
                    found[token] = None
        return tuple(islice(found, _MOST_FORMS))
