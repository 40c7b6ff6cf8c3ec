"""How text becomes terms: the one analysis that both engines, queries and documents share.

Code-aware: identifiers are split (`camelCase`, `snake_case`, digits) and stemmed, so that
`parseHTTPHeaders`, `parse_http_header` and "parsing HTTP headers" meet in the same terms.
Data is not code: a hash, or a piece of base64, is one term as it stands, and a number is no word.
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

#: Longer terms are cut: no query is for all of a blob.
MAX_TERM_CHARS = 64
_MAX_WORD_CHARS = 256
_WORD = re.compile(r"\w+")
_ASCII_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Less of a hash is hardly pasted, and is as soon a word.
_MIN_HEX_CHARS = 7
_HEX = re.compile(r"[0-9a-f]{7,}|[0-9A-F]{7,}")
_MIN_HEX_PARTS = 3  # `decade2` has two
# Letters in a row that words have, also those that happen to be of hex: `face2face`.
_WORD_CHARS = 3
_MIN_BLOB_CHARS = 16
# Letters a part, as a fraction: base64 has 1.7.  Of 103,000 words of code, 17 have less than this.
_BLOB_DENSITY = (12, 5)
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
        # The common cases, a lower-case word and a number, need no taking apart.
        if word.isalpha() and word.islower():
            return (_stem(word[:MAX_TERM_CHARS]),)
        if word.isdigit():
            return (word[:MAX_TERM_CHARS],)
        parts = _ascii_parts(word)
    else:
        parts = _unicode_parts(word)
    return tuple(_stem(part.lower()[:MAX_TERM_CHARS]) for part in parts)


def _ascii_parts(word: str) -> list[str]:
    if len(word) < _MIN_HEX_CHARS:
        return _ASCII_PARTS.findall(word)
    found: list[str] = []
    for run in word.split("_"):
        parts = _ASCII_PARTS.findall(run)
        found += [run] if _is_data(run, parts) else parts
    return found


def _is_data(run: str, parts: list[str]) -> bool:
    """Whether `run`, a word without joints that would fall into `parts`, says nothing by them:
    a hash in hex, or a piece of base64."""
    if len(parts) >= _MIN_HEX_PARTS and _HEX.fullmatch(run):
        return not _are_words(parts)
    chars, per_parts = _BLOB_DENSITY
    return len(run) >= _MIN_BLOB_CHARS and len(run) * per_parts < len(parts) * chars


def _are_words(parts: list[str]) -> bool:
    """Whether the hex digits in `parts` are rather words with some numbers between them."""
    letters = [len(part) for part in parts if part.isalpha()]
    return min(letters) >= _WORD_CHARS and sum(map(len, parts)) < 2 * sum(letters)


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
    if len(word) < 3 or not word.isalpha():
        return word  # as Snowball would
    # A new object each time (0.3 µs): it keeps the word it works on in itself.
    return str(_stemmer_class()().stemWord(word))
