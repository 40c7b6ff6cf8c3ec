"""What a text is that was pasted: a place (`path:line`), a file, a line of code, a message.

By its words alone it would be found wherever others say as much.  Where it stands in an index, says
`standing`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from cidx_ref.index import languages
from cidx_ref.index.text import composed, terms_of, words

__all__ = ["Place", "frames_in", "has_signs", "place_in", "runs_in", "without_severity"]

_MAX_CHARS = 1024
#: A place by itself, as our own hits have it: `path:line`, `path:line:column`, or a path.
_PLACE = re.compile(r"""([^\s:"'`*?<>|{};#]+)(?::(\d{1,7})(?:[:-]\d{1,7})?)?:?""")
#: In a line of a compiler's, or a traceback: `path:line: why`, `File "path", line 3`, `path(3,5)`.
_PLACE_WITHIN = re.compile(
    r"""(?:^|[\s("'])([^\s:"'`*?<>|{};()#]+)(?::|",[ ]line[ ]|[ ]line[ ]|\(|\#L)(\d{1,7})(?!\w)"""
)
#: A frame of a virtual machine's trace, which has the folders as a package: `a.b.C.f(C.java:12)`.
_IN_PACKAGE = re.compile(r"\bat (?:\S+/)?([\w.$]+)\.[\w$<>]+\((\w+\.\w+):(\d{1,7})\)")
#: What a path is below on another machine, and no folder.
_ABOVE = re.compile(r"\b(?:file://|webpack[\w-]*:///|[A-Za-z]:(?=[\\/]))")
_MAX_TRACE, _MOST_FRAMES = 1 << 15, 64  # characters, and places in them
_DEEPEST_LAST = re.compile(r"^[ \t]*Traceback \(most recent call last\)", re.MULTILINE)
#: What tells that a text with one place in it is a trace, or a compiler's.
_TRACE = re.compile(r"traceback|panic|exception|error|warning|\bat ", re.IGNORECASE)
#: What code has, and messages, and sentences seldom.
_SIGNS = re.compile(r"""\w[(\[]|[{}=<>|;]|->|::|\w:(?=\s\w)""")
#: What parts code, and messages into what is fixed in them and what is not.
_PARTS = re.compile(r"""[:;,()"'`\[\]{}=<>|]+""")
#: What is a value in a message, and no word of it: `.git/objects/ab`, `HEAD~3`, `0x1f`.
_VALUE = re.compile(r"\S*[\d/~^@%#]\S*")
_LEAST, _MOST = 3, 24  # terms of a part that are looked for in a row; of a message, one less
_MOST_RUNS = 12
#: What says something of a value: words, and a colon or a quoted one.
_SAYING = re.compile(r"""(?:^|: )[A-Za-z][\w'-]*(?: [\w'-]+)+(?:: | ['"`])""")
_WINDOW = 3  # terms of a longer part, for a value may be a word like others
#: How messages begin, whoever makes them.
_SEVERITY = re.compile(
    r"\s*(?:fatal|error|warning|warn|bug|panic|note|info|failure):\s+", re.IGNORECASE
)


class Place(NamedTuple):
    """A file, by the end of its path, and the number of a line, or 0."""

    path: str
    line: int


def place_in(text: str) -> Place | None:
    """The place that all of `text` is, if it looks like one, or that stands in it with a line."""
    text = text.strip()
    if len(text) > _MAX_CHARS or "\n" in text:
        return None
    if met := _PLACE.fullmatch(text):
        path, line = met.groups()
    elif met := _PLACE_WITHIN.search(text):
        path, line = met.groups()
        if not _is_path(path):
            return None
    else:
        return None
    # Not each name with a dot in it: a place is looked for among all paths.
    if path in (".", "/") or not (line or _is_path(path)):
        return None
    return Place(composed(path.removeprefix("./")), int(line or 0))


def frames_in(text: str) -> list[Place]:
    """The places in the lines of a trace, or of a compiler, the deepest frame first; none of a text
    of one line."""
    text = text.strip()[:_MAX_TRACE]
    if "\n" not in text:
        return []
    places = [place for place in map(_frame_in, text.split("\n")) if place is not None]
    if len(places) < 2 and not _TRACE.search(text):
        return []
    found = list(dict.fromkeys(places))
    if _DEEPEST_LAST.search(text):
        found.reverse()
    return found[:_MOST_FRAMES]


def _frame_in(line: str) -> Place | None:
    if len(line) > _MAX_CHARS:
        return None
    if met := _IN_PACKAGE.search(line):
        package, name, number = met.groups()
        path = "/".join([*package.split(".")[:-1], name])
    elif met := _PLACE_WITHIN.search(_ABOVE.sub("", line)):
        path, number = met[1].replace("\\", "/"), met[2]
    else:
        return None
    return Place(composed(path.removeprefix("./")), int(number)) if _is_path(path) else None


def _is_path(text: str) -> bool:
    return "/" in text[1:] or languages.of(text) != languages.of("")


def has_signs(text: str) -> bool:
    """Whether it may be code, or a message."""
    return _SIGNS.search(text) is not None


def without_severity(text: str) -> str:
    """A message without what many begin with: `fatal: `."""
    begun = _SEVERITY.match(text)
    return (begun and text[begun.end() :]) or text


def runs_in(text: str) -> list[list[str]]:
    """The terms of a text with signs, of its parts, and of a message's three by three, each to
    stand in a row."""
    if len(text) > _MAX_CHARS or not has_signs(text):
        return []
    message = without_severity(text)
    whole = _terms(message)
    runs = [whole] if 1 < len(whole) <= _MOST else []
    parts = [_terms(part) for each in _PARTS.split(message) for part in _VALUE.split(each)]
    is_message = message != text or _SAYING.search(text) is not None
    runs += [part for part in parts if _LEAST - is_message <= len(part) <= _MOST]
    if is_message:
        runs += [
            part[at : at + _WINDOW]
            for part in parts
            for at in range(len(part) - _WINDOW + 1)
            if len(part) > _WINDOW
        ]
    distinct = dict.fromkeys(map(tuple, runs))
    return [list(run) for run in islice(distinct, _MOST_RUNS)]


def _terms(text: str) -> list[str]:
    return list(terms_of(words(text)))
