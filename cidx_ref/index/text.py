"""How text becomes terms: the one analysis that both engines, queries and documents share.

Code-aware: identifiers are split (`camelCase`, `snake_case`, digits) and stemmed, so that
`parseHTTPHeaders`, `parse_http_header` and "parsing HTTP headers" meet in the same terms.
Any text is legal (QRY-4); what holds no word at all gives no terms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import chain
from typing import Any

__all__ = [
    "normal",
    "symbols",
    "terms",
    "terms_of",
    "whole_identifiers",
    "words",
]

#: Longer terms are cut: a base64 blob is one "word", and no query is for all of it.
MAX_TERM_CHARS = 64
_MAX_WORD_CHARS = 256
_WORD = re.compile(r"\w+")
_ASCII_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Scripts written without spaces: each character is a term, or no part of a sentence is ever found.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def words(text: str) -> list[str]:
    """The words of `text` as they stand there: runs of letters, digits and underscores."""
    return _WORD.findall(text)


def terms(text: str) -> list[str]:
    """The terms of `text`, in order, with repeats."""
    return list(terms_of(words(text)))


def terms_of(found: Iterable[str]) -> Iterable[str]:
    """The terms of each of the words `found`, in order, with repeats."""
    return chain.from_iterable(map(_word_terms, found))


def symbols(found: Iterable[str]) -> list[str]:
    """Each of the words `found` as one term, whatever it is made of, without repeats."""
    return list(dict.fromkeys(map(_joined, found)))


def whole_identifiers(found: Iterable[str]) -> list[str]:
    """Those of the words `found` that are made of parts, as one term each.

    `getUserName` and `get_user_name` both give `getusername`, which is worth more than the three
    parts found in three places.
    """
    return [_joined(word) for word in found if len(_word_terms(word)) > 1]


@lru_cache(maxsize=1 << 14)
def _word_terms(word: str) -> tuple[str, ...]:
    word = normal(word)
    if word.isascii():
        # The common case, a lower-case word, needs no taking apart.
        parts = [word] if word.isalpha() and word.islower() else _ASCII_PARTS.findall(word)
    else:
        parts = _unicode_parts(word)
    return tuple(_stem(part.lower()[:MAX_TERM_CHARS]) for part in parts)


def normal(word: str) -> str:
    """What is analysed of `word`.  A ligature of it may be 18 letters."""
    word = word[:_MAX_WORD_CHARS]
    return word if word.isascii() else unicodedata.normalize("NFKC", word)[:_MAX_WORD_CHARS]


def _unicode_parts(word: str) -> list[str]:
    parts: list[str] = []
    for run in _UNSPACED.sub(lambda m: f" {m[0]} ", word).replace("_", " ").split():
        start = 0
        for i in range(1, len(run)):
            before, after = run[i - 1], run[i]
            if (before.islower() and after.isupper()) or before.isdigit() != after.isdigit():
                parts.append(run[start:i])
                start = i
        parts.append(run[start:])
    return [part.casefold() for part in parts]


def _joined(word: str) -> str:
    return word.replace("_", "").casefold()[:MAX_TERM_CHARS]


@cache
def _stemmer_class() -> Any:
    # The pure-Python class by name, not snowballstemmer.stemmer(): that one silently takes a C
    # extension of another version if one is installed, and two machines would disagree on terms.
    from snowballstemmer.english_stemmer import EnglishStemmer

    return EnglishStemmer


def _stem(word: str) -> str:
    # A new object each time (0.3 µs): it keeps the word it works on in itself.
    return str(_stemmer_class()().stemWord(word))
