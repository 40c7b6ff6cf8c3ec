r"""What of a text is no part of its words: letters of escapes, of formats, and of URL codes.

The n of `"\nusage"` is not the first letter of a word, nor is the s of `%stotal`.  But in a path of
Windows, in TeX and in a regular expression a backslash stands before a word as a whole, and a per
cent sign around it (`%username%`).  Which of the two it is, the words say: `usage` is one that
code is full of, `nusage` is none.  Where both are, or neither is, both are read.

Each code has a bounded length, and is read once: the time is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from cidx_ref.index.stems import is_common

__all__ = ["decoded"]

_MAX_WORD_CHARS = 64

_CODE = re.compile(
    r"""
      (?:\x1b | \\(?:x1[bB]|033|e|u001[bB])) \[ [\d;?]{0,32} [A-Za-z]   # of a terminal
    | \\\\                                                              # a backslash itself
    | \\u\{(?P<long>[0-9A-Fa-f]{1,6})\} | \\u(?P<four>[0-9A-Fa-f]{4}) | \\U(?P<eight>[0-9A-Fa-f]{8})
    | \\x[0-9A-Fa-f]{2} | \\[0-7]{1,3}
    | \\(?P<escape>[abfnrtv]) (?P<escaped>[^\W\d_]+)
    | %(?:[2-9][0-9A-Fa-f] | [A-F][0-9A-F]) (?=\w)                       # of a URL
    | (?<!\d)%(?:\(\w{1,64}\) | \d{1,2}\$)? [-+\#0]{0,4} \d{0,3} (?:\.\d{1,3})? (?:hh|ll|[hlLqjzt])?
      (?P<format>[diouxXeEfgGcspnarv]) (?P<formatted>[^\W\d_]+)
    """,
    re.VERBOSE,
)
_SMALL = re.compile("[a-z]*")


def decoded(text: str) -> tuple[str, list[str]]:
    """`text` with a space for each code, or the letter that it stands for; and the words of
    another reading."""
    if "\\" not in text and "%" not in text and "\x1b" not in text:
        return text, []
    others: list[str] = []
    return _CODE.sub(_reader(others), text), others


def _reader(others: list[str]) -> Callable[[re.Match[str]], str]:
    def read(match: re.Match[str]) -> str:
        for first, rest in ("escape", "escaped"), ("format", "formatted"):
            if match[first]:
                return _read(match[0], match[first], match[rest], others)
        digits = match["four"] or match["long"] or match["eight"]
        return _letter(int(digits, 16)) if digits else " "

    return read


def _read(code: str, letter: str, rest: str, others: list[str]) -> str:
    """What is read of `code`, which ends in a `letter` and the letters of a word."""
    if rest[0].isupper():
        return code if letter.isupper() else f" {rest}"
    small = _SMALL.match(rest[:_MAX_WORD_CHARS])
    word = small[0] if small else ""
    alone, together = is_common(word), is_common(f"{letter}{word}".lower())
    if together and not alone:
        return code
    if alone == together:
        others.append(f"{letter}{rest}")
    return f" {rest}"


def _letter(code: int) -> str:
    """The letter, or the mark on one, with this number; a space for anything else."""
    character = chr(code) if code <= 0x10FFFF else " "
    return character if unicodedata.category(character)[0] in "LM" else " "
