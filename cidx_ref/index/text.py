"""How text becomes terms: the one analysis that both engines, queries and documents share.

Code-aware: identifiers are split (`camelCase`, `snake_case`, digits) and stemmed, so that
`parseHTTPHeaders`, `parse_http_header` and "parsing HTTP headers" meet in the same terms.
Neighbours among the parts of an identifier are joined, too, so that `ringbuffer` meets
`ring_buffer_push` and `GitHub` meets `github`.  docs/text-analysis.md has examples of it all.
Data is not code: a hash, or a piece of base64, is one term as it stands, and a number is no word.
Any text is legal (QRY-4); what holds no word at all gives no terms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import TypeVar

from cidx_ref.index.codes import decoded
from cidx_ref.index.stems import is_common, singular, stem

__all__ = [
    "closed",
    "composed",
    "compounds",
    "dotted",
    "joined_words",
    "normal",
    "said",
    "spelled",
    "symbols",
    "terms",
    "terms_of",
    "whole_identifiers",
    "words",
]

#: Longer terms are cut: no query is for all of a blob.
MAX_TERM_CHARS = 64
_MAX_WORD_CHARS = 256
#: The longest word of which is remembered what is made of it, and how many are.
_MAX_KEPT_CHARS, _MAX_KEPT = 64, 1 << 14
_WORD = re.compile(r"\w+")
# In this order: a letter, digits, a letter (`i18n`, `k8s`); acronyms in the plural, and `IPv`
# before its number; acronyms; words; numbers.
_ASCII_PARTS = re.compile(
    r"(?<![A-Za-z\d])[A-Za-z]\d{1,4}[A-Za-z](?![A-Za-z\d])"
    r"|[A-Z]{2,}(?:s(?![a-z])|v(?=\d))|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
_ACRONYM_THEN_WORD = re.compile(r"([A-Z]+)([A-Z])([a-z]{2,})")
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
# A name of one letter and a sign: C++, g++, c++11, C#, F#.  In small letters it may be a variable
# that is counted up, which is known by what stands around it.  The sign comes first in the pattern,
# and what is before it is looked at only there: few characters of a text are signs.
_SIGNED = re.compile(
    r"""
      \+\+ (?<=[A-Z]\+\+) (?<![\w*&.>)\]+$@][A-Z]\+\+) (?![+] | \s*[;=\[\]])
    | \+\+ (?<=[a-z]\+\+) (?: (?<![\s\S][a-z]\+\+) | (?<=[\s"'`/=,:-][a-z]\+\+) )
      (?<!;\ [a-z]\+\+) (?! \s*[;)\]=<>&|*?!%^+] | \s+[-/])
    | \# (?<=[A-Za-z]\#) (?<![\w\#][A-Za-z]\#) (?![\#A-Za-z_])
    """,
    re.VERBOSE,
)
# Names with a dot before them: `.NET`, `.gitignore`; not a call in a chain, nor an attribute.
_DOTTED = re.compile(
    r"\.(?<![\w)\].]\.)[^\W\d_]\w+(?![\w(.]|\s*=)|\.(?<=[A-Z]\.)(?<![a-z]\.)[A-Z]{2,}\b"
)
# Words with hyphens are names, too: `ring-buffer`, `e-mail`, `UTF-8`; a date or a UUID is none.
_HYPHENED = re.compile(r"(?<![\w-])[^\W\d_]++(?:-(?:[^\W\d_]++|\d{1,4}+))++(?![\w-])")


def words(text: str) -> list[str]:
    """The words of `text`: runs of letters, digits and underscores, and what is one letter with a
    sign."""
    return _words(decoded(text)[0])


def said(text: str) -> tuple[list[str], list[str]]:
    """The words of `text`, and those of another way to read it (see `codes`)."""
    plain, others = decoded(text)
    return _words(plain), others


def _words(plain: str) -> list[str]:
    pattern = _WORD if plain.isascii() else _word_with_marks()
    found: list[str] = []
    at = 0
    if "++" in plain or "#" in plain:
        for sign in _SIGNED.finditer(plain):
            found += pattern.findall(plain, at, sign.start() - 1)
            found.append(plain[sign.start() - 1 : sign.end()])
            at = sign.end()
    found += pattern.findall(plain, at)
    return found


@cache
def _word_with_marks() -> re.Pattern[str]:
    r"""As `\w+`, in which the marks on letters are parts of a word: an é may be two characters.

    Without those that say how an emoji looks.
    """
    marks = (chr(code) for code in range(0x300, 0x20D0))
    others = (chr(code) for code in chain(range(0x2CEF, 0xFE00), range(0xFE20, 0x1E95B)))
    found = "".join(c for c in chain(marks, others) if unicodedata.category(c)[0] == "M")
    return re.compile(rf"\w[\w{found}]*")


def composed(text: str) -> str:
    """`text`, in which each letter that has marks is one character, if there is such a one.

    Word by word, each of them bounded: among many marks in a row composing takes the square of
    their number.
    """
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    return _word_with_marks().sub(lambda word: _composed(word[0]), text)


def _composed(word: str) -> str:
    return unicodedata.normalize("NFC", word) if len(word) <= _MAX_WORD_CHARS else word


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

    `getUserName` and `get_user_names` both give `getusername`, which is worth more than the three
    parts found in three places.
    """
    return [made[-1] for made in map(_compounds, found) if made]


def compounds(found: Iterable[str]) -> Iterator[str]:
    """What the words `found` have of parts that are written as one: each word that is made of
    parts as a whole, and its neighbours joined.

    Of `ring_buffer_push`: `ringbuffer`, `bufferpush` and `ringbufferpush`.
    """
    return chain.from_iterable(map(_compounds, found))


def joined_words(text: str) -> list[str]:
    """The names in `text` that are more than one word, or have a sign before them, each written as
    an identifier: `ring_buffer` of `ring-buffer`; and `.net`."""
    return [name.replace("-", "_") for name in _HYPHENED.findall(text)] if "-" in text else []


def dotted(text: str) -> list[str]:
    """The names in `text` with a dot before them, as one term each: `.NET`, `.gitignore`."""
    return [normal(name).casefold()[:MAX_TERM_CHARS] for name in _DOTTED.findall(text)]


def closed(name: str) -> str:
    """The term of what `whole_identifiers` gives, where a text has it as one word."""
    return stem(name)


T = TypeVar("T")


class _Kept(dict[str, T]):
    """What is made of a word, looked up by `[]`; of short words it is remembered.

    A query may be one word of 100,000 letters, or of a hundred parts: thousands of them would be
    hundreds of megabytes.  Looking up what is known is faster than `lru_cache`.
    """

    def __init__(self, make: Callable[[str], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, word: str) -> T:
        made = self._make(word)
        if len(word) <= _MAX_KEPT_CHARS:
            if len(self) >= _MAX_KEPT:
                self.clear()
            self[word] = made
        return made


def spelled(word: str) -> tuple[str, str] | None:
    """Of a word that has one term: the term, and what a name is called that its parts make."""
    found = _word_terms(word)
    return (found[0], singular(_joined(word))) if len(found) == 1 else None


def _terms_of_word(word: str) -> tuple[str, ...]:
    word = normal(word)
    if word.isascii():
        # The common case, a lower-case word, needs no taking apart.
        if word.isalpha() and word.islower():
            return (stem(word[:MAX_TERM_CHARS]),)
        if not word.isalpha() and word[-1:] in ("+", "#"):
            return (word.lower(),)
    return tuple([stem(part[:MAX_TERM_CHARS]) for part in _parts(word)])


def _compounds_of_word(word: str) -> tuple[str, ...]:
    parts = _parts(normal(word))
    if len(parts) < 2:
        return ()
    if _UNSPACED.search(word):  # characters, and not words
        return ("".join(parts)[:MAX_TERM_CHARS],)
    # A number, or a letter alone, belongs to what is beside it: `OAuth2Client`, `x86_64`.
    small = [len(part) == 1 or part.isdigit() for part in parts]
    found = [
        "".join(parts[start : start + count])
        for count in range(2, min(4, len(parts)))
        for start in range(len(parts) - count + 1)
        if (count == 2 or any(small[start : start + 3])) and not parts[start].isdigit()
    ]
    return tuple([singular(each[:MAX_TERM_CHARS]) for each in (*found, "".join(parts))])


_KEPT_TERMS = _Kept(_terms_of_word)
_word_terms = _KEPT_TERMS.__getitem__
_KEPT_COMPOUNDS = _Kept(_compounds_of_word)
_compounds = _KEPT_COMPOUNDS.__getitem__


def _parts(word: str) -> list[str]:
    """What `word`, which is normal, is made of, in small letters."""
    if not word.isascii():
        return _unicode_parts(word)
    if word.isalnum() and ((word.islower() and word.isalpha()) or word.isdigit()):
        return [word]
    # The plural of an acronym has an s of its own: `VMs`, where no rule knows it by its letters.
    return [
        part[:-1].lower()
        if part[-1] == "s" and part[:-1].isupper() and len(part) > 2 and part != "HTTPs"
        else part.lower()
        for part in _ascii_parts(word)
    ]


def _ascii_parts(word: str) -> list[str]:
    runs = word.split("_") if len(word) >= _MIN_HEX_CHARS else [word]
    found: list[str] = []
    for run in runs:
        parts = _ASCII_PARTS.findall(run)
        if len(run) >= _MIN_HEX_CHARS and _is_data(run, parts):
            parts = [run]
        elif len(parts) > 1:
            told = _ACRONYM_THEN_WORD.sub(_told_apart, run)
            parts = parts if told == run else _ASCII_PARTS.findall(told)
        found += parts
    return found


def _told_apart(match: re.Match[str]) -> str:
    """`URL_safe` of `URLsafe`: the last capital belongs to the word, as in `HTTPServer`, unless
    only what comes after it is one."""
    acronym, capital, rest = match.groups()
    word = rest[:MAX_TERM_CHARS]
    if is_common(word) and not is_common(f"{capital.lower()}{word}"):
        return f"{acronym}{capital}_{rest}"
    return match[0]


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
    spaced = _UNSPACED.sub(lambda m: f" {m[0]} ", word).replace("_", " ")
    for run in _word_with_marks().findall(spaced):  # of a fraction, ¼, the sign is none
        start = 0
        for i in range(1, len(run)):
            before, after = run[i - 1], run[i]
            if not after.isalnum():  # a mark on what is before it
                continue
            if (before.islower() and after.isupper()) or before.isdigit() != after.isdigit():
                parts.append(run[start:i])
                start = i
        parts.append(run[start:])
    return [part.casefold() for part in parts]


def _joined(word: str) -> str:
    return normal(word).replace("_", "").casefold()[:MAX_TERM_CHARS]
