"""What a hit is called: as the function that holds the lines that it shows, where its piece has
several.

A piece of several small functions is called after what all of them are in, or not at all.  It says
what it defines, in the order of its lines, but not where: that is looked for in its text.
"""

from __future__ import annotations

import re
from itertools import islice

from cidx_ref.index.chunk import definition
from cidx_ref.index.snippet import Snippet, word_places
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.structure import INNER, OWNER
from cidx_ref.results import best_line

__all__ = ["called"]

_MAX_NAMES = 64
_MAX_MENTIONS = 16
_COMMENTS = ("#", "//", "--", ";", "%", "/*", "*", "@")
#: How a function begins, up to its name, and what stands behind it.
_FUNCTION = re.compile(r"(?:^|\s)(?:def|sub|function|func|fun|fn|proc)\s+(?:[\w:.]+[.:])?$")
_ASSIGNED = re.compile(
    r"\s*=\s*(?:async\s*)?(?:function\b|sub\b|\((?:[^()]|\([^()]*\))*\)\s*(?::[^=]*)?=>|[\w$]+\s*=>)"
)
_TYPES = frozenset("class enum impl interface object struct trait type".split())
#: How what is no function begins, up to its name, and what it is then.
_OF_KIND = re.compile(
    r"\b(class|record|struct|enum|interface|trait|object|type|union)\s+$|\b(table)\s[^(]*$",
    re.IGNORECASE,
)
_KINDS = {"record": "class", "object": "class", "union": "struct"}
#: Of what a function is, where its line tells: `Vue.prototype.`, `Foo::`, `func (b *Box) `.
_OWNER = re.compile(r"([\w$]+)(?:\.prototype)?(?:\.|::|:)$|\(\s*(?:\w+\s+)?\*?(\w+)[^()]*\)\s*$")


def called(chunk: StoredChunk, snippet: Snippet) -> tuple[str, str]:
    """Name and kind of a hit that shows `snippet` of `chunk`: those of the function that holds the
    first line that was looked for, if there is one; else those of the chunk."""
    own = [name for name in chunk.defines if not name.startswith(INNER)]
    is_cell = definition(chunk.name) != chunk.name
    if is_cell or chunk.kind == "heading" or own in ([], [chunk.name.rpartition(".")[2]]):
        return chunk.name, chunk.kind
    lines = chunk.text.split("\n")
    shown = snippet.start - chunk.line_start + best_line(snippet.text, snippet.marks)
    held = ""
    at = -1
    for name in islice(own, _MAX_NAMES):
        place = _definition(lines, name, at + 1)
        if place < 0:
            continue
        if _beginning(lines, place, at + 1, name) > shown:
            break
        at, held = place, name
    if not held or held == chunk.name.rpartition(".")[2]:
        return chunk.name, chunk.kind
    return _named(chunk, lines[at], held)


def _named(chunk: StoredChunk, line: str, held: str) -> tuple[str, str]:
    """Name and kind of `held`, which `line` defines; those of the chunk where it is no function,
    and no type."""
    before = line.partition(held)[0]
    kind, owner = "function", chunk.name
    if met := _OF_KIND.search(before):
        word = (met[1] or met[2]).lower()
        kind = _KINDS.get(word, word)
    elif not _is_function(line, held):
        return chunk.name, chunk.kind
    elif chunk.kind in _TYPES:
        kind = "method"
    elif (met := _OWNER.search(before)) and OWNER + (met[1] or met[2]) in chunk.defines:
        kind, owner = "method", ".".join(filter(None, (chunk.name, met[1] or met[2])))
    return f"{owner}.{held}" if owner else held, kind


def _definition(lines: list[str], name: str, first: int) -> int:
    """The line from `first` on that is likeliest to define `name`: the one that is indented least
    of those that have it; -1 if none has."""
    best, least = -1, 1 << 30
    mentions = 0
    for number in range(first, len(lines)):
        line = lines[number]
        if name not in line:
            continue
        bare = line.lstrip()
        indent = len(line) - len(bare)
        if indent < least and not bare.startswith(_COMMENTS):
            at = next(word_places(bare, name), -1)
            # Of something else it is used, if it is not made.
            if at >= 0 and _defines(bare[:at], bare, name):
                best, least = number, indent
        mentions += 1
        if mentions == _MAX_MENTIONS or not least:
            break
    return best


def _defines(before: str, line: str, name: str) -> bool:
    is_part = before[-1:] == "."
    return not is_part or _is_function(line, name) or _OF_KIND.search(before) is not None


def _beginning(lines: list[str], number: int, floor: int, name: str) -> int:
    """The line in which the comments begin that stand right above the definition of `name` in the
    line `number`, or above its type."""
    if number > floor and lines[number].startswith(name) and lines[number - 1].strip():
        number -= 1
    while number > floor and lines[number - 1].lstrip().startswith(_COMMENTS):
        number -= 1
    return number


def _is_function(line: str, name: str) -> bool:
    before, _, after = line.partition(name)
    if _FUNCTION.search(before) or _ASSIGNED.match(after):
        return True
    return after.lstrip()[:1] == "(" and before[-1:] != "."
