"""Where in an index stands what was pasted: a place, a type, or what holds it as it is."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cidx_ref.index.asked import NO_NAME, Name
from cidx_ref.index.pasted import Place
from cidx_ref.index.query import Query, parsed
from cidx_ref.index.text import composed

if TYPE_CHECKING:
    from cidx_ref.index.live import FilterMask, LiveChunks
    from cidx_ref.index.searched import TextEngine

__all__ = ["settled", "standing"]

_TYPE = re.compile(r"(struct|union|enum|class|interface|trait)\s+(\w+)\s*[{:;]?")
_MOST_FILES = 16  # of one name: `index.js`
_FURTHER = 0.98  # each counts so much of the one above it
_MOST_CALLED = 64  # definitions of a name that is a file's, too


def settled(
    query: Query, chunks: LiveChunks, fulltext: TextEngine | None, mask: FilterMask | None
) -> tuple[Query, dict[int, float]]:
    """What only an index can tell of `query`: whether it is a place, and where that is, with
    scores; or a name."""
    places = _places_of(query, chunks, fulltext, mask)
    name = NO_NAME if places else _type_in(query, chunks, fulltext)
    return (query if name is None else query.asking_for(name)), places


def _places_of(
    query: Query, chunks: LiveChunks, fulltext: TextEngine | None, mask: FilterMask | None
) -> dict[int, float]:
    """The chunks at the place that `query` asks for in each file that is called so, with scores:
    those with the line, or if there is none, the first ones; the least deep file counts most.

    There are none where the place is a name, too, and something has just that: `Response.json`.
    """
    if query.place is None:
        return {}
    found = _chunks_at(query.place, chunks, mask)
    if found and query.is_name and fulltext is not None:
        called = [chunk for chunk, _ in fulltext.definitions(query, _MOST_CALLED)]
        whole = ".".join(query.name.parts)
        if any(f".{name}".endswith(f".{whole}") for name in chunks.files_and_names(called)[1]):
            return {}
    return found


def _type_in(query: Query, chunks: LiveChunks, fulltext: TextEngine | None) -> Name | None:
    """The type that `query` asks for with the word for its kind, if there is such a one: `struct
    conn` may be words, and `enum values` is."""
    met = _TYPE.fullmatch(query.text.strip()) if fulltext is not None else None
    if met is None or query.is_name or fulltext is None:
        return None
    kind, asked = met[1], parsed(met[2])
    found = fulltext.definitions(asked, _MOST_CALLED) if asked.is_name else []
    read = (chunks.read(chunk) for chunk, _ in found)
    is_there = any(f".{one.name}".endswith(f".{met[2]}") and one.kind == kind for one in read)
    return asked.name if is_there else None


def standing(text: str, found: Iterable[int], chunks: LiveChunks) -> list[int]:
    """Those of the chunks `found` in which `text` stands as it is, but for white space."""
    wanted = " ".join(text.split())
    return [n for n in found if wanted in " ".join(chunks.read(n).text.split())]


def _chunks_at(place: Place, chunks: LiveChunks, mask: FilterMask | None) -> dict[int, float]:
    path = place.path
    found = _called(path, chunks, mask)
    # A name with a dot in it is hardly a file that is written otherwise.
    if not found and (place.line or "/" in path):
        found = _called(path.lower(), chunks, mask, any_case=True)
    while not found and "/" in path:  # those above may be of another machine
        path = path.partition("/")[2]
        found = _called(path, chunks, mask) if "/" in path or place.path[0] == "/" else []
    best = sorted(found, key=lambda each: (each[0].count("/"), each[0]))[:_MOST_FILES]
    shown = (_chunk_with(place.line, inside, chunks) for _, inside in best)
    return {chunk: _FURTHER**n for n, chunk in enumerate(shown)}


def _called(
    path: str, chunks: LiveChunks, mask: FilterMask | None, *, any_case: bool = False
) -> list[tuple[str, range]]:
    """The files that are let through and called `path`, or something and `path`: their whole paths,
    and their chunks."""
    within = f"/{path}"

    def is_meant(found: str) -> bool:
        found = found if found.isascii() else composed(found)
        found = found.lower() if any_case else found
        return found == path or found.endswith(within)

    files = list(chunks.files_called(is_meant))
    if not files:
        return []
    marks = chunks.marks(mask)
    called = ((chunks.file(file).path, chunks.chunks_of(file)) for file in files)
    return [(found, inside) for found, inside in called if inside and marks[inside.start]]


def _chunk_with(line: int, inside: range, chunks: LiveChunks) -> int:
    """The first of the chunks of a file that has the line: a long one is cut."""
    at = bisect_left(inside, line, key=lambda chunk: chunks.place_of(chunk)[1])
    is_begun = at < len(inside) and chunks.place_of(inside[at])[1] == line
    if at and not (is_begun and chunks.read(inside[at - 1]).line_end < line):
        at -= 1
    return inside[at]
