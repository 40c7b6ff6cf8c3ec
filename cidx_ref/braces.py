"""Braces in patterns, as a shell has them: `*.{ts,js}` is `*.ts` and `*.js`.

They nest, and may hold slashes.  What is no list of alternatives stands for itself: `{id}`, `{}`,
a brace without its partner, and one behind a backslash.
"""

from __future__ import annotations

import re

__all__ = ["alternatives"]

_TOKEN = re.compile(r"(?P<text>(?:[^\\{},]++|\\.|\\\Z)++)|(?P<sign>[{},])", re.DOTALL)


class _Open:
    """A brace that is open: for each of its pieces, which commas part, what that may be."""

    def __init__(self) -> None:
        self.pieces: list[list[str]] = [[""]]


def alternatives(pattern: str, most_chars: int) -> list[str]:
    """What `pattern` stands for, each once; the pattern itself where it has no braces.

    Raises `ValueError` where that has more than `most_chars` characters, one more for each
    alternative.  No more than that are ever made, whatever the pattern is.
    """
    if "{" not in pattern:
        return [pattern]
    return list(dict.fromkeys(_expanded(pattern, most_chars)))


def _expanded(pattern: str, most_chars: int) -> list[str]:
    # A list and not a recursion: braces nest as deep as there is room for.
    stack = [_Open()]
    for found in _TOKEN.finditer(pattern):
        sign, inner = found["sign"], stack[-1]
        if sign == "{":
            stack.append(_Open())
        elif sign == "}" and len(stack) > 1:
            stack.pop()
            _append(stack[-1], _closed(inner, most_chars), most_chars)
        elif sign == "," and len(stack) > 1:
            inner.pieces.append([""])
        else:
            _append(inner, [found[0]], most_chars)
    while len(stack) > 1:
        inner = stack.pop()
        _append(stack[-1], _literally("{", inner, "", most_chars), most_chars)
    return stack[0].pieces[-1]


def _closed(inner: _Open, most_chars: int) -> list[str]:
    if len(inner.pieces) == 1:
        return _literally("{", inner, "}", most_chars)
    return _bounded([text for piece in inner.pieces for text in piece], most_chars)


def _literally(before: str, inner: _Open, after: str, most_chars: int) -> list[str]:
    """A brace that is none, with whatever alternatives there are in it."""
    whole = _Open()
    _append(whole, [before], most_chars)
    for number, piece in enumerate(inner.pieces):
        _append(whole, piece if number == 0 else [f",{text}" for text in piece], most_chars)
    _append(whole, [after], most_chars)
    return whole.pieces[-1]


def _append(to: _Open, texts: list[str], most_chars: int) -> None:
    """Go on with each of `texts` after each of what the last piece may be so far."""
    have = to.pieces[-1]
    if len(have) * len(texts) > most_chars:
        raise _too_many(most_chars)
    to.pieces[-1] = _bounded([before + text for before in have for text in texts], most_chars)


def _bounded(texts: list[str], most_chars: int) -> list[str]:
    if sum(map(len, texts)) + len(texts) > most_chars:
        raise _too_many(most_chars)
    return texts


def _too_many(most_chars: int) -> ValueError:
    return ValueError(f"its braces stand for more than {most_chars} characters")
