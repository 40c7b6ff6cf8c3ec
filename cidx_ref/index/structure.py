"""What a file defines, and where: the outline that pieces follow, and what the kinds are.

How an outline is found is a matter of each language; what is made of it, is of `chunk`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["INNER", "KINDS", "OWNER", "Definition", "Outline", "names_by_piece", "owners"]

#: What the names begin with that are defined within a function: nobody else can use them, so they
#: are meant where nothing else is called so.
INNER = "\t"
#: What the names begin with that nothing is called by here, but that qualify others: `Vue` of
#: `Vue.prototype._render = function`.  Whoever leaves out what is `INNER` leaves these out, too.
OWNER = INNER + "\t"

#: What a piece may be of.  An index stores their places in this list, so it only grows at its end.
KINDS = (
    "",
    *("function", "method", "class", "interface", "struct", "enum", "trait", "type", "module"),
    *("constant", "variable", "macro", "heading", "test", "impl", "table", "field"),
    *("section", "target", "stage", "message", "service", "resource"),
)


class Definition(NamedTuple):
    """Something that has a name, and lines: from `start`, counted from 0, to before `end`.

    Comments, decorators and attributes that belong to it are among the lines.  `name` is the
    qualified one, with "." between its parts.
    """

    name: str
    kind: str
    start: int
    end: int


class Outline(NamedTuple):
    """The definitions of a file, outer ones first, in the order of their lines.

    `names` are the simple names of everything that is defined, also of what is too small for a
    piece of its own, each behind the line (from 0) that says it; in the order of those.  Those
    within a function begin with `INNER`, and what qualifies the one before it with `OWNER`.
    """

    definitions: list[Definition]
    names: list[tuple[int, str]]


def owners(name: str) -> set[str]:
    """What qualifies the last part of a qualified `name`."""
    return {*name.split(".")[:-1]} - {""}


def names_by_piece(
    names: Iterable[tuple[int, str]], spans: Sequence[tuple[int, int]]
) -> list[tuple[str, ...]]:
    """Of each of `spans` (lines from 0, to before the second) the `names` that its lines define.

    Spans that overlap define a name once: in the first one.  Both are in the order of lines.
    """
    left = iter(names)
    found: list[tuple[str, ...]] = []
    line, name = next(left, (-1, ""))
    for _, end in spans:
        own: dict[str, None] = {}
        while 0 <= line < end:
            if name:
                own[name] = None
            line, name = next(left, (-1, ""))
        found.append(tuple(own))
    return found
