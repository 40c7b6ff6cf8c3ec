"""How words lose their endings, and which words code is full of.

The endings are those of Snowball's English, and the plural of an acronym, which Snowball leaves
where there is no vowel before it.  How common a word is comes from a fixed table: what a
repository has itself must not change how its text is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

__all__ = ["is_common", "rarities", "singular", "stem"]

# `pdfs`, `hdrs` and `gpus`: Snowball takes no s after a u, nor where no vowel comes before it.
_PLURAL_ACRONYM = re.compile("[b-df-hj-np-tv-xz]{2,}(?:u|[b-df-hj-np-rtv-xz])s")
# What looks like one and is none.  `http` is in nearly every text, and asked for by itself.
_NO_PLURALS = frozenset(("https", "plus", "thus"))


@cache
def _stemmer_class() -> Any:
    # The pure-Python class by name, not snowballstemmer.stemmer(): that one silently takes a C
    # extension of another version if one is installed, and two machines would disagree on terms.
    from snowballstemmer.english_stemmer import EnglishStemmer

    return EnglishStemmer


@lru_cache(maxsize=1 << 15)
def stem(word: str) -> str:
    """The stem of `word`, which is in small letters."""
    if len(word) < 3 or not word.isalpha():
        return word  # as Snowball would
    # A new object each time (0.3 µs): it keeps the word it works on in itself.
    found = str(_stemmer_class()().stemWord(word))
    if found == word and _PLURAL_ACRONYM.fullmatch(word) and word not in _NO_PLURALS:
        return word[:-1]
    return found


def singular(name: str) -> str:
    """`name`, a whole identifier in small letters, without the ending of a plural.

    Not its stem: that of `ringbuffer` is not that of `buffer`, and it costs ten times as much.
    """
    if len(name) < 4 or name[-1] != "s" or name[-2] in "sui" or name in _NO_PLURALS:
        return name
    return f"{name[:-3]}y" if name.endswith("ies") else name[:-1]


def is_common(word: str) -> bool:
    """Whether `word`, in small letters, is one that code is full of."""
    return stem(word) in rarities()


@cache
def rarities() -> Mapping[str, float]:
    """Inverse document frequency of the commonest terms of code; that of the rest is under ""."""
    from importlib import resources  # what only counts words of a query needs none

    table = resources.files("cidx_ref.index").joinpath("rarity.txt").read_text("utf-8")
    lines = (line.split() for line in table.splitlines() if not line.startswith("#"))
    return {("" if term == "*" else term): float(weight) for term, weight in lines}
