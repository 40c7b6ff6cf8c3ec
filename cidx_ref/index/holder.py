"""What a hit is called: as the function that holds the lines that it shows, where its piece has
several.

A piece of several small functions is called after what all of them are in, or not at all.  It says
what it defines, in the order of its lines, but not where: that is looked for in its text.
"""

from __future__ import annotations

import re
import sys
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
    its_own = chunk.name.rpartition(".")[2]
    if chunk.defines in ((), (its_own,)) or chunk.kind == "heading":  # as most are
        return chunk.name, chunk.kind
    own = [name for name in chunk.defines if not name.startswith(INNER)]
    if own in ([], [its_own]) or definition(chunk.name) != chunk.name:
        return chunk.name, chunk.kind
    text = chunk.text
    shown = snippet.start - chunk.line_start + best_line(snippet.text, snippet.marks)
    held = line = ""
    floor = 0
    for name in islice(own, _MAX_NAMES):
        place = _definition(text, name, floor)
        if place < 0:
            continue
        if text.count("\n", 0, _beginning(text, place, floor, name)) > shown:
            break
        held, line = name, _line_at(text, place)
        floor = place + len(line) + 1
    if held in ("", its_own):
        return chunk.name, chunk.kind
    return _named(chunk, line, held)


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


def _definition(text: str, name: str, start: int) -> int:
    """Where the line begins, from `start` on, that is likeliest to define `name`: the one that is
    indented least of those that have it; -1 if none has."""
    best, least = -1, sys.maxsize
    at = text.find(name, start)
    for _ in range(_MAX_MENTIONS):
        if at < 0 or not least:
            break
        begin = text.rfind("\n", 0, at) + 1
        if best < 0 or text[begin : begin + least].strip():  # it is indented less than the best
            line = _line_at(text, begin)
            bare = line.lstrip()
            if not bare.startswith(_COMMENTS) and _is_defined_in(bare, name):
                best, least = begin, len(line) - len(bare)
        end = text.find("\n", at)
        at = text.find(name, end) if end >= 0 else -1
    return best


def _line_at(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start:end]


def _is_defined_in(line: str, name: str) -> bool:
    at = next(word_places(line, name), -1)
    # Of something else it is used, if it is not made.
    is_part = at > 0 and line[at - 1] == "."
    return at >= 0 and (
        not is_part or _is_function(line, name) or _OF_KIND.search(line[:at]) is not None
    )


def _beginning(text: str, place: int, floor: int, name: str) -> int:
    """Where the comments begin that stand right above the definition of `name` in the line at
    `place`, or above its type."""
    if place > floor and text.startswith(name, place):
        above = _line_above(text, place)
        if text[above:place].strip():
            place = above
    while place > floor:
        above = _line_above(text, place)
        if not text[above:place].lstrip().startswith(_COMMENTS):
            break
        place = above
    return place


def _line_above(text: str, place: int) -> int:
    """Where the line begins that ends before `place`."""
    return text.rfind("\n", 0, place - 1) + 1


def _is_function(line: str, name: str) -> bool:
    before, _, after = line.partition(name)
    if _FUNCTION.search(before) or _ASSIGNED.match(after):
        return True
    return after.lstrip()[:1] == "(" and before[-1:] != "."
