"""How text becomes terms: the one analysis that both engines, queries and documents share.

Code-aware: identifiers are split (`camelCase`, `snake_case`, digits) and stemmed, so that
`parseHTTPHeaders`, `parse_http_header` and "parsing HTTP headers" meet in the same terms.
Any text is legal (QRY-4); what holds no word at all gives no terms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import chain, islice
from typing import Any

__all__ = [
    "content_terms",
    "content_words",
    "named_symbols",
    "phrases",
    "symbols",
    "terms",
    "terms_of",
    "whole_identifiers",
    "without_phrases",
    "words",
]

#: Longer terms are cut: a base64 blob is one "word", and nobody searches for all of it.
MAX_TERM_CHARS = 64
_MAX_WORD_CHARS = 256
# Analysing takes some 30 µs a word, and a query may have 100,000 characters: the rest of a query
# that is longer than this does not count.
_MAX_QUERY_TERMS = 256
_MAX_LETTERS = 4096
_MAX_PHRASES = 16
_MAX_PHRASE = 256

_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r'"([^"]*)"')
_ASCII_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CODE_LIKE = re.compile(r"[a-z][A-Z]|[^\W_]_[^\W_]|[A-Za-z]\d")
# Scripts written without spaces: each character is a term, or no part of a sentence is ever found.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")

# Left out of queries only, and only where something else remains: in a question they carry no
# meaning, but in code they are rare enough to look meaningful.
_STOP_WORDS = frozenset(
    "a about all an and are as at be been by can could did do does each for from had has have how "
    "i if in into is it its me my of on or our shall should so some such that the their them then "
    "there these they this those to was we were what when where which who why will with would you "
    "your".split()
)


def words(text: str) -> list[str]:
    """The words of `text` as they stand there: runs of letters, digits and underscores."""
    return _WORD.findall(text)


def terms(text: str) -> list[str]:
    """The terms of `text`, in order, with repeats."""
    return list(terms_of(words(text)))


def terms_of(found: Iterable[str]) -> Iterable[str]:
    """The terms of each of the words `found`, in order, with repeats."""
    return chain.from_iterable(map(_word_terms, found))


def content_words(query: str) -> list[str]:
    """The distinct words of a query, without English stop words if others remain.

    The first 256 of them, and no more than have 4,096 letters together.
    """
    found = dict.fromkeys(words(query))
    kept = (word for word in found if word.lower() not in _STOP_WORDS)
    return _affordable(kept) or _affordable(found)


def content_terms(query: str) -> list[str]:
    """The distinct terms of a query's content words, in order, the first 256 of them."""
    return list(islice(_distinct(terms_of(content_words(query))), _MAX_QUERY_TERMS))


def phrases(query: str) -> list[list[str]]:
    """The terms of each phrase that stands in double quotes in `query`: of the first 16 phrases,
    and of each the first 256 terms."""
    quoted = filter(str.strip, (match[1] for match in _QUOTED.finditer(query)))
    analysed = (terms_of(words(each)) for each in islice(quoted, _MAX_PHRASES))
    found = (list(islice(each, _MAX_PHRASE)) for each in analysed)
    return [phrase for phrase in found if phrase]


def _affordable(found: Iterable[str]) -> list[str]:
    kept, letters = [], 0
    for word in islice(found, _MAX_QUERY_TERMS):
        letters += len(_normal(word))
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


def without_phrases(query: str) -> str:
    """`query` without what stands in double quotes."""
    return _QUOTED.sub(" ", query)


def symbols(found: Iterable[str]) -> list[str]:
    """Each of the words `found` as one term, whatever it is made of, without repeats."""
    return list(dict.fromkeys(map(_joined, found)))


def named_symbols(query: str) -> list[str]:
    """What `query` asks for by name: its one word, or those of its words that look like code.

    Not every word: in "split a string" nobody means what is called `split`.
    """
    found = words(query)
    return symbols(found if len(found) == 1 else filter(_CODE_LIKE.search, found))


def whole_identifiers(found: Iterable[str]) -> list[str]:
    """Those of the words `found` that are made of parts, as one term each.

    `getUserName` and `get_user_name` both give `getusername`, which is worth more than the three
    parts found in three places.
    """
    return [_joined(word) for word in found if len(_word_terms(word)) > 1]


@lru_cache(maxsize=1 << 14)
def _word_terms(word: str) -> tuple[str, ...]:
    word = _normal(word)
    if word.isascii():
        # The common case, a lower-case word, needs no taking apart.
        parts = [word] if word.isalpha() and word.islower() else _ASCII_PARTS.findall(word)
    else:
        parts = _unicode_parts(word)
    return tuple(_stem(part.lower()[:MAX_TERM_CHARS]) for part in parts)


def _normal(word: str) -> str:
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
