"""Patterns as in .gitignore, as regular expressions that never go back.

What matches a pattern is decided in time that grows with its length times that of the path, and no
faster: patterns come from clients, and from trees that may be anybody's.  Two facts make it so.
Between two stars the first place where a piece fits is as good as any later one, so it is taken in
an atomic group; the same holds for what stands between two `**/`.  And the last piece must end
where the name ends, so it has one place only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Globs", "Pattern", "is_literal", "parse"]

_STARS = re.compile(r"\*\*+")
_ANY_CHAR, _ANY_CHARS = "[^/]", "*"
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}

#: A name's pattern: regular expressions for one character each, and `_ANY_CHARS`.
_Segment = list[str]


@dataclass(frozen=True)
class Pattern:
    """One pattern, taken apart: its names from the base down, where None stands for `**`.

    `is_negated`: it began with "!".  `is_for_directories`: it ended with "/".
    """

    segments: tuple[_Segment | None, ...]
    is_negated: bool
    is_for_directories: bool

    @cached_property
    def entry(self) -> re.Pattern[str]:
        """Matches the path of an entry, relative to the base, that the pattern is about."""
        return re.compile(_expression(self.segments, r"\Z"))

    @property
    def inside(self) -> str:
        """An expression for the paths of files that the pattern is about, or whose directory."""
        return _expression(self.segments, "/" if self.is_for_directories else r"(?:/|\Z)")


class Globs:
    """Some patterns at once, of which a path need match one.  Immutable."""

    def __init__(self, globs: Iterable[str]) -> None:
        """Raises `ValueError` for one that can match nothing."""
        #: Names that may be anywhere, and paths from the root, each with whether it must be a
        #: directory: looked up, so that there may be many.
        self._names: dict[str, bool] = {}
        self._paths: dict[str, bool] = {}
        expressions = []
        for glob in globs:
            if is_literal(glob):
                self._add_literal(glob)
            elif (pattern := parse(glob, has_signs=False)) is None:
                raise ValueError("not a pattern as in .gitignore")
            else:
                expressions.append(pattern.inside)
        self._expression = re.compile("|".join(expressions)) if expressions else None

    def match_file(self, path: str) -> bool:
        """Whether the file at `path`, or a directory above it, matches a pattern."""
        if self._expression is not None and self._expression.match(path):
            return True
        return bool(self._names or self._paths) and self._is_named(path)

    def _add_literal(self, glob: str) -> None:
        literal = glob.rstrip(" ")
        name = literal.removesuffix("/")
        known = self._paths if "/" in name else self._names
        name = name.removeprefix("/")
        known[name] = known.get(name, True) and literal.endswith("/")

    def _is_named(self, path: str) -> bool:
        *above, last = path.split("/")
        if not self._names.keys().isdisjoint(above) or self._names.get(last, True) is False:
            return True
        if self._paths.get(path, True) is False:
            return True
        end = path.find("/")
        while end >= 0 and self._paths:
            if path[:end] in self._paths:
                return True
            end = path.find("/", end + 1)
        return False


def is_literal(glob: str) -> bool:
    """Whether `glob` is the name of something, and no pattern."""
    return not any(sign in glob for sign in "*?[\\")


def parse(line: str, *, has_signs: bool = True) -> Pattern | None:
    """The pattern in a line of a `.gitignore`; None where there is none, or one that git takes for
    one that matches nothing.  Without `has_signs`, "#" and "!" are letters like others."""
    pattern = line.rstrip(" ")
    if pattern.endswith("\\") and pattern != line:
        pattern += " "  # this space was escaped
    if has_signs and pattern.startswith("#"):
        return None
    is_negated = has_signs and pattern.startswith("!")
    pattern = pattern.removeprefix("!") if is_negated else pattern
    is_for_directories = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    try:
        segments = list(_segments(pattern.removeprefix("/"), is_path="/" in pattern))
    except ValueError:
        return None
    if not any(segment != [] for segment in segments):
        return None
    if "/" not in pattern:
        segments.insert(0, None)
    return Pattern(tuple(segments), is_negated, is_for_directories)


def _segments(pattern: str, *, is_path: bool) -> Iterator[_Segment | None]:
    """Each name of a pattern; `ValueError` where it ends in the middle of something.

    In a pattern that `is_path` a name of stars stands for any number of names.
    """
    segment: _Segment = []
    at = began = 0
    while at < len(pattern):
        if pattern[at] == "/":
            yield None if _STARS.fullmatch(pattern, began, at) else segment
            segment, began = [], at + 1
            at += 1
        else:
            at, token = _token(pattern, at)
            segment.append(token)
    yield None if is_path and _STARS.fullmatch(pattern, began) else segment


def _token(pattern: str, at: int) -> tuple[int, str]:
    """What stands at `at`, and where it ends."""
    char = pattern[at]
    if char == "*":
        return at + 1, _ANY_CHARS
    if char == "?":
        return at + 1, _ANY_CHAR
    if char == "[":
        return _bracket(pattern, at + 1)
    if char == "\\":
        at += 1
        if at == len(pattern):
            raise ValueError("ends with a backslash")
    return at + 1, re.escape(pattern[at])


def _bracket(pattern: str, at: int) -> tuple[int, str]:
    """The set of characters that begins at `at`, after its bracket."""
    is_negated = pattern[at : at + 1] in ("!", "^")
    at += is_negated
    first, parts = at, []
    while (char := pattern[at : at + 1]) != "]" or at == first:
        if pattern.startswith("[:", at):
            end = pattern.find(":]", at + 2)
            parts.append(_CLASSES.get(pattern[at + 2 : end], "") if end >= 0 else "")
            if not parts[-1]:
                raise ValueError("no such class")
            at = end + 2
            continue
        at, low = _char(pattern, at, char)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("]", ""):
            at, high = _char(pattern, at + 1, pattern[at + 1])
            # In a range that is none, the first character counts.
            parts.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else re.escape(low))
        else:
            parts.append(re.escape(low))
    inside = "".join(parts)
    if is_negated:
        return at + 1, f"[^/{inside}]"
    return at + 1, f"(?!/)[{inside}]"


def _char(pattern: str, at: int, char: str) -> tuple[int, str]:
    """A character of a set, which may have a backslash before it, and where it ends."""
    if char == "\\":
        at += 1
        char = pattern[at : at + 1]
    if not char:
        raise ValueError("a bracket that is not closed")
    return at + 1, char


# Expressions.


def _expression(segments: tuple[_Segment | None, ...], end: str) -> str:
    """An expression that matches, from its beginning, the paths with these names; `end` is what
    must follow the last of them."""
    parts = []
    run: list[_Segment] = []
    is_free = False  # a `**` stands before the run
    for segment in segments:
        if segment is not None:
            run.append(segment)
            continue
        if run:
            parts.append(_run(run, "/", is_free=is_free))
        run, is_free = [], True
    if run:
        parts.append(_run(run, end, is_free=is_free))
    elif end == "/":
        parts.append("[^/]++/")  # a directory, at whatever depth
    else:
        parts.append("(?=(?s:.))")  # whatever there is
    return "".join(parts)


def _run(names: list[_Segment], end: str, *, is_free: bool) -> str:
    body = "/".join(map(_name, names)) + end
    return f"(?>(?:[^/]++/)*?{body})" if is_free else body


def _name(segment: _Segment) -> str:
    pieces: list[str] = [""]
    for token in segment:
        if token != _ANY_CHARS:
            pieces[-1] += token
        elif pieces[-1] or len(pieces) == 1:
            pieces.append("")  # and several stars are one
    first, *middle = pieces
    if not middle:
        return first
    *middle, last = middle
    middle = [f"(?>[^/]*?{piece})" for piece in middle if piece]
    rest = rf"(?>[^/]*?{last}(?=/|\Z))" if last else "[^/]*+"
    return first + "".join(middle) + rest
