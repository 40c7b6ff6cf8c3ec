"""What is pasted as it stands: a place (`path:line`), a file, a line of code, a message.

By its words alone it would be found wherever others say as much.  So a place is looked up among the
paths, what has the line as written comes first, and the parts of a message are looked for in a row:
between them a program has put values.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from cidx_ref.index import languages
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.text import terms_of, words

__all__ = ["Place", "chunks_at", "has_signs", "place_in", "runs_in", "standing"]

_MAX_CHARS = 1024
#: As compilers, tracebacks and our own hits write it.
_PLACE = re.compile(r"""([^\s:"'`*?<>|(){}\[\],;=]+)(?::(\d{1,7})(?:[:-]\d{1,7})?)?:?""")
_MOST_FILES = 16  # of one name: `index.js`
_FURTHER = 0.98  # each counts so much of the one above it

#: What code has, and messages, and sentences seldom.
_SIGNS = re.compile(r"""\w[(\[]|[{}=<>|;]|->|::|\w:(?=\s\w)""")
#: What parts code, and messages into what is fixed in them and what is not.
_PARTS = re.compile(r"""[:;,()"'`\[\]{}=<>|]+""")
_LEAST, _MOST = 3, 24  # terms of a part that are looked for in a row
_MOST_RUNS = 8


class Place(NamedTuple):
    """A file, by the end of its path, and the number of a line, or 0."""

    path: str
    line: int


class Text(Protocol):
    @property
    def text(self) -> str: ...


class Chunks(Protocol):
    """Where chunks lie: see `live.LiveChunks`."""

    def read(self, chunk: int) -> Text: ...
    def place_of(self, chunk: int) -> tuple[str, int]: ...
    def file(self, number: int) -> StoredFile: ...
    def files_called(self, is_meant: Callable[[str], bool]) -> Iterator[int]: ...
    def chunks_of(self, file: int) -> range: ...


def place_in(text: str) -> Place | None:
    """The place that all of `text` is, if it looks like one."""
    text = text.strip()
    met = _PLACE.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if met is None:
        return None
    path = met[1].removeprefix("./")
    # Not each name with a dot in it: a place is looked for among all paths.
    is_one = met[2] or "/" in path[1:] or languages.of(path) != languages.of("")
    return Place(path, int(met[2] or 0)) if is_one and path != "/" else None


def chunks_at(
    place: Place, chunks: Chunks, allows: Callable[[int], bool]
) -> list[tuple[int, float]]:
    """The chunks at `place` in each file that is called so, the least deep first, with scores:
    those with the line, or if there is none, the first ones.  `allows` says of a chunk whether it
    may be shown."""
    files = _files_at(place.path, chunks) or _files_at(place.path.lower(), chunks, any_case=True)
    found = []
    for file in files:
        inside = chunks.chunks_of(file)
        if len(inside) and allows(inside.start):
            at = bisect_right(inside, place.line, key=lambda n: chunks.place_of(n)[1]) - 1
            found.append(inside[max(0, at)])
    return [(chunk, _FURTHER**n) for n, chunk in enumerate(found[:_MOST_FILES])]


def _files_at(path: str, chunks: Chunks, *, any_case: bool = False) -> list[int]:
    within = f"/{path}"

    def is_meant(found: str) -> bool:
        if any_case:
            found = found.lower()
        # An absolute one may be of this project, wherever that lies.
        return (
            found == path
            or found.endswith(within)
            or (path[0] == "/" and within.endswith(f"/{found}"))
        )

    def depth(file: int) -> tuple[int, str]:
        found = chunks.file(file).path
        return found.count("/"), found

    return sorted(chunks.files_called(is_meant), key=depth)


def has_signs(text: str) -> bool:
    """Whether it may be code, or a message."""
    return _SIGNS.search(text) is not None


def runs_in(text: str) -> list[list[str]]:
    """The terms of a text with signs, and those of its parts that say enough, each to stand in a
    row."""
    if len(text) > _MAX_CHARS or not has_signs(text):
        return []
    whole = list(terms_of(words(text)))
    parts = (list(terms_of(words(part))) for part in _PARTS.split(text))
    runs = [whole] if 1 < len(whole) <= _MOST else []
    runs += [part for part in parts if _LEAST <= len(part) <= _MOST and part not in runs]
    return runs[:_MOST_RUNS]


def standing(text: str, found: Iterable[int], chunks: Chunks) -> list[int]:
    """Those of the chunks `found` in which `text` stands as it is, but for white space."""
    wanted = " ".join(text.split())
    return [n for n in found if wanted in " ".join(chunks.read(n).text.split())]
