"""Patterns as in .gitignore: what they mean.

A pattern is cut at its slashes into parts; each says what one name of a path must be, and before
which of them any number of folders may come.  Within a name a part is a comparison, or a regular
expression that never goes back.  What of a tree matches many patterns is the matter of `matching`.

The meaning is git's (`dir.c` and `wildmatch.c`); `tests/test_globs.py` holds it against git.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["ANY", "Glob", "Part", "escape", "is_literal", "parse"]

_WILDCARDS = re.compile(r"[*?\[\\]")
_TOKEN = re.compile(
    r"(?P<stars>\*+)|(?P<any>\?)|(?P<set>\[)|(?P<slash>\\?/)|\\(?P<escaped>.)|(?P<text>[^*?\[\\/]+)",
    re.DOTALL,
)
#: Literal text, and after it two stars or more that are a whole name but for that text.
_STARS_AFTER_TEXT = re.compile(
    r"(?P<text>[^*?\[\\]*+(?<=[^/]))\*\*+(?P<slash>/(?:\*\*+/)*|\\/|\Z)", re.DOTALL
)
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": re.escape(string.punctuation),
    "space": r" \t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NAMELESS = "there is no name between two of its slashes"


class Part(NamedTuple):
    """What a name must be: this very one, one that begins or ends so, or a full match."""

    kind: Literal["name", "beginning", "ending", "regex"]
    text: str


#: Any name.
ANY = Part("ending", "")


@dataclass(frozen=True, slots=True)
class Glob:
    """One pattern: what the names of a path must be, and before which of them folders may come.

    `parts` and `loops` are of the same length, of at least one.
    """

    parts: tuple[Part, ...]
    loops: tuple[bool, ...]
    folders_only: bool


def is_literal(pattern: str) -> bool:
    """Whether `pattern` is the name of something: no character but the slash means anything."""
    return _WILDCARDS.search(pattern) is None


def escape(path: str) -> str:
    """A pattern for nothing but what has this very path, braces and spaces at its end included."""
    bare = path.rstrip(" ")
    return re.sub(r"[\\*?\[{}]", r"\\\g<0>", bare) + "\\ " * (len(path) - len(bare))


def parse(pattern: str) -> list[Glob]:
    """`pattern`, taken for neither a comment nor a negation, as patterns of which one must match.

    Raises `ValueError` with the reason where nothing can match.  The time is linear in its length.
    """
    pattern = _trimmed(pattern)
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    if is_literal(pattern):
        return [_literal(pattern, folders_only)]
    if "/" not in pattern:  # at any depth
        [(tokens, _)] = _cut(pattern)
        return [Glob((_part(tokens),), (True,), folders_only)]
    found, reason = [], ""
    for spelling in _spellings(pattern.removeprefix("/")):
        try:
            found.append(Glob(*_placed(_cut(spelling)), folders_only))
        except ValueError as error:
            reason = str(error)
    if not found:
        raise ValueError(reason)
    return found


def _literal(pattern: str, folders_only: bool) -> Glob:
    names = pattern.removeprefix("/").split("/")
    if not all(names):
        raise ValueError(_NAMELESS)
    loops = ("/" not in pattern, *[False] * (len(names) - 1))
    return Glob(tuple(Part("name", name) for name in names), loops, folders_only)


def _trimmed(pattern: str) -> str:
    """`pattern` without the spaces at its end, but for one that a backslash protects."""
    bare = pattern.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 and bare != pattern else bare


def _spellings(pattern: str) -> list[str]:
    """What `pattern` means where its first wildcard is two stars after literal text.

    Git compares the text by itself, so its `wildmatch` sees the stars at the beginning: `a**/b` is
    `ab` or `a*/**/b`, and not the `a*/b` of git's documentation.
    """
    odd = _STARS_AFTER_TEXT.match(pattern)
    if odd is None:
        return [pattern]
    text, slash, rest = odd["text"], odd["slash"], pattern[odd.end() :]
    if not slash:
        return [f"{text}*", f"{text}*/**"]
    longer = f"{text}*/**/{rest}"
    if slash == "\\/":
        return [longer]
    # Without the slash, too, stars that come next are at the beginning of what is left.
    shorter = _spellings(text + rest) if rest.startswith("**") else [text + rest]
    return [*shorter, longer]


#: What is between two slashes: kind ("text", "stars", or "char" for the regular expression of one
#: character) and text.
_Tokens = list[tuple[str, str]]


def _cut(pattern: str) -> list[tuple[_Tokens, str]]:
    """The tokens between the slashes of `pattern`, each with the slash after them, or ""."""
    cut: list[tuple[_Tokens, str]] = []
    tokens: _Tokens = []
    for kind, text in _tokens(pattern):
        if kind == "slash":
            cut.append((tokens, text))
            tokens = []
        else:
            tokens.append((kind, text))
    return [*cut, (tokens, "")]


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            raise ValueError("it ends in a backslash")
        kind, at = str(found.lastgroup), found.end()
        if kind == "set":
            text, at = _set(pattern, at)
            yield "char", text
        elif kind == "any":
            yield "char", "."
        else:
            yield ("text" if kind == "escaped" else kind), found[kind]


def _placed(cut: list[tuple[_Tokens, str]]) -> tuple[tuple[Part, ...], tuple[bool, ...]]:
    """The parts, and before which of them stands a `**`."""
    parts: list[Part] = []
    loops: list[bool] = []
    loop = False
    for tokens, slash in cut:
        is_loop = len(tokens) == 1 and tokens[0][0] == "stars" and len(tokens[0][1]) > 1
        loop = loop or is_loop
        # At the end, and before an escaped slash, `**` is at least one name.
        if not is_loop or slash != "/":
            parts.append(_part(tokens))
            loops.append(loop)
            loop = False
    return tuple(parts), tuple(loops)


def _part(tokens: _Tokens) -> Part:
    if not tokens:
        raise ValueError(_NAMELESS)
    kinds = [kind for kind, _ in tokens]
    text = "".join(text for kind, text in tokens if kind == "text")
    if "char" not in kinds:
        if "stars" not in kinds:
            return Part("name", text)
        if "stars" not in kinds[1:]:
            return Part("ending", text)
        if "stars" not in kinds[:-1]:
            return Part("beginning", text)
    return Part("regex", _regex(tokens))


def _regex(tokens: _Tokens) -> str:
    """A regular expression for a whole name that never goes back to try another place.

    The leftmost place of a piece between two stars leaves the most to all that comes after it, so
    no other need be tried.  The last piece stands at the end, where a look back finds it: first of
    all, as most names end otherwise.
    """
    pieces: list[list[str]] = [[]]
    for kind, text in tokens:
        if kind == "stars":
            pieces.append([])
        else:
            pieces[-1] += map(re.escape, text) if kind == "text" else [text]
    first, last = "".join(pieces[0]), "".join(pieces[-1])
    if len(pieces) == 1:
        return first
    between = "".join(_leftmost(piece) for piece in pieces[1:-1])
    ends = f"(?=.*+(?<={last}))" if last else ""
    return f"{ends}{first}{between}.{{{len(pieces[-1])},}}+"


def _leftmost(piece: list[str]) -> str:
    """The first place of `piece` from here on, and what comes before it."""
    text = "".join(piece)
    is_letter = len(piece) == 1 and text != "." and not text.startswith("[")
    # Of one letter, much faster on long names.
    return f"[^{text}]*+{text}" if is_letter else f"(?>.*?{text})"


def _set(pattern: str, at: int) -> tuple[str, int]:
    """What stands in brackets, from `at` on, as a set of `re`; and where the pattern goes on."""
    negated = pattern[at : at + 1] in ("!", "^")
    begin = at = at + negated
    members, before = [], ""
    try:
        while at == begin or pattern[at] != "]":  # a bracket that comes first is a member
            member, before, at = _member(pattern, at, before)
            members.append(member)
    except IndexError:
        raise ValueError("it has a [ without its ]") from None
    return f"[{'^' * negated}{''.join(members)}]", at + 1


def _member(pattern: str, at: int, before: str) -> tuple[str, str, int]:
    """The member of a set at `at`: as regular expression, as the start of a range, and its end.

    `before` is the character that a range may start with, which is a member already, or "".
    """
    char = pattern[at]
    if char == "[" and pattern[at + 1] == ":" and (end := _class_end(pattern, at)):
        return _class(pattern[at + 2 : end - 2]), "", end
    if char == "-" and before and pattern[at + 1] != "]":
        last, end = _char(pattern, at + 1)
        # Of a range that ends before it begins, the first character counts.
        return (f"{re.escape(before)}-{re.escape(last)}" if before <= last else ""), "", end
    char, end = _char(pattern, at)
    return re.escape(char), char, end


def _char(pattern: str, at: int) -> tuple[str, int]:
    """The character at `at`, which a backslash may stand before, and where the next one is."""
    at += pattern[at] == "\\"
    return pattern[at], at + 1


def _class_end(pattern: str, at: int) -> int:
    """Where the `[:name:]` at `at` ends; 0 if the next bracket is not that of a class."""
    end = pattern.find("]", at + 2)
    if end < 0:
        raise IndexError
    return end + 1 if end > at + 2 and pattern[end - 1] == ":" else 0


def _class(name: str) -> str:
    if name not in _CLASSES:
        raise ValueError(f"there is no class of characters [:{name[:20]}:]")
    return _CLASSES[name]
