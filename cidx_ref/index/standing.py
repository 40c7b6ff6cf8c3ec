"""Where in an index stands what was pasted: a place, a type, or what holds it as it is."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from cidx_ref.index.asked import NO_NAME, Name
from cidx_ref.index.pasted import Place
from cidx_ref.index.query import Query, parsed
from cidx_ref.index.text import composed

if TYPE_CHECKING:
    from cidx_ref.index.live import FilterMask, LiveChunks
    from cidx_ref.index.searched import TextEngine

__all__ = ["settled", "standing", "traced"]

_TYPE = re.compile(r"(struct|union|enum|class|interface|trait)\s+(\w+)\s*[{:;]?")
_MOST_FILES = 16  # of one name: `index.js`
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
        names = (chunks.read(chunk).name for chunk in called)
        if any(f".{name}".endswith(f".{whole}") for name in names):
            return {}
    return found


def _type_in(query: Query, chunks: LiveChunks, fulltext: TextEngine | None) -> Name | None:
    """The type that `query` asks for with the word for its kind, if there is such a one: `struct
    conn` may be words, and `enum values` is."""
    met = _TYPE.fullmatch(query.text.strip())
    if fulltext is None or met is None or query.is_name:
        return None
    kind, asked = met[1], parsed(met[2])
    found = fulltext.definitions(asked, _MOST_CALLED) if asked.is_name else []
    read = (chunks.read(chunk) for chunk, _ in found)
    is_there = any(f".{one.name}".endswith(f".{met[2]}") and one.kind == kind for one in read)
    return asked.name if is_there else None


#: What is below these is a package, and not the folders of a machine.
_PACKAGES = re.compile(r".*/(?:site-packages|dist-packages|node_modules)/")


def traced(frames: Sequence[Place], chunks: LiveChunks, mask: FilterMask | None) -> dict[int, int]:
    """The chunks of those frames of a trace that are of this repository, in the order of the
    frames, each with its line.

    All of a path is that of a file here, or ends with it; else two names at its end are, where
    nothing is more certain.
    """
    wanted = [_PACKAGES.sub("", _as_it_is(each.path)).strip("/").split("/") for each in frames]
    names = {path[-1] for path in wanted}
    called: dict[str, list[range]] = {name: [] for name in names}
    marks = chunks.marks(mask) if frames else None
    for file in chunks.files_called(lambda each: _as_it_is(each.rpartition("/")[2]) in names):
        inside = chunks.chunks_of(file)
        if marks is not None and inside and marks[inside.start]:
            called[_as_it_is(chunks.file(file).path).rpartition("/")[2]].append(inside)
    for is_certain in (True, False):
        found: dict[int, int] = {}
        for frame, path in zip(frames, wanted, strict=True):
            meant = _file_of(path, called[path[-1]], chunks, is_certain=is_certain)
            if meant is not None:
                found.setdefault(_chunk_with(frame.line, meant, chunks), frame.line)
        if found:
            return found
    return {}


def _file_of(
    wanted: Sequence[str], called: Iterable[range], chunks: LiveChunks, *, is_certain: bool
) -> range | None:
    """The chunks of the file with most names of the path `wanted`, of those called so."""
    best: tuple[int, int, str] | None = None
    found = None
    for inside in called:
        path = chunks.place_of(inside.start)[0]
        parts = _as_it_is(path).split("/")
        shared = _shared(wanted, parts)
        is_meant = shared == min(len(parts), len(wanted)) if is_certain else shared > 1
        rank = (-shared, len(parts), path)
        if is_meant and (best is None or rank < best):
            best, found = rank, inside
    return found


def standing(text: str, found: Iterable[int], chunks: LiveChunks) -> list[int]:
    """Those of the chunks `found` in which `text` stands as it is, but for white space."""
    wanted = " ".join(text.split())
    return [n for n in found if wanted in " ".join(chunks.read(n).text.split())]


def _chunks_at(place: Place, chunks: LiveChunks, mask: FilterMask | None) -> dict[int, float]:
    folds = [_as_it_is]
    # A name with a dot in it is hardly a file that is written otherwise.
    if place.line or "/" in place.path:
        folds.append(_in_small_letters)
    for fold in folds:
        if best := _files_at(place.path, chunks, mask, fold):
            shown = [_chunk_with(place.line, inside, chunks) for inside in best[:_MOST_FILES]]
            # Between two of them lies more than all that words and names could add.
            return {chunk: float(len(shown) - n) for n, chunk in enumerate(shown)}
    return {}


def _files_at(
    path: str, chunks: LiveChunks, mask: FilterMask | None, fold: Callable[[str], str]
) -> list[range]:
    """The chunks of each file that is let through and called as `path` ends, the least deep first.

    Folders above those may be of another machine, where more than the file's name is the same.
    """
    wanted = fold(path).split("/")
    files = list(chunks.files_called(lambda each: fold(each.rpartition("/")[2]) == wanted[-1]))
    if not files:
        return []
    marks = chunks.marks(mask)
    found: dict[str, range] = {}
    for file in files:
        inside = chunks.chunks_of(file)
        if inside and marks[inside.start]:
            found[chunks.file(file).path] = inside
    shared = {each: _shared(wanted, fold(each).split("/")) for each in found}
    most = max(shared.values(), default=0)
    if most < min(len(wanted), 2) and wanted[0]:
        return []
    best = (each for each, same in shared.items() if same == most)
    return [found[each] for each in sorted(best, key=lambda each: (each.count("/"), each))]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many names two paths have in common, from their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _as_it_is(path: str) -> str:
    return path if path.isascii() else composed(path)


def _in_small_letters(path: str) -> str:
    return _as_it_is(path).lower()


def _chunk_with(line: int, inside: range, chunks: LiveChunks) -> int:
    """The first of the chunks of a file that has the line: a long one is cut."""
    at = bisect_left(inside, line, key=lambda chunk: chunks.place_of(chunk)[1])
    is_begun = at < len(inside) and chunks.place_of(inside[at])[1] == line
    if at and not (is_begun and chunks.read(inside[at - 1]).line_end < line):
        at -= 1
    return inside[at]
