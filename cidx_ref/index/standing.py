"""Where in an index stands what was pasted: a place, a type, or what holds it as it is."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from cidx_ref.index.asked import NO_NAME, Name
from cidx_ref.index.pasted import Place
from cidx_ref.index.query import Query, parsed
from cidx_ref.index.text import composed

if TYPE_CHECKING:
    from cidx_ref.index.live import FilterMask, LiveChunks
    from cidx_ref.index.searched import TextEngine

__all__ = ["MENTIONED", "mentioning", "settled", "standing", "traced"]

#: What is pasted counts 1; a name where it stands as written, less, for it is but mentioned.
MENTIONED = 0.9

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

    A path is surely that of a file here if either ends with all of the other, and that is more than
    a name: anybody may have a `utils.py`.  A file at the root is meant beside such ones, below the
    same folders of the other machine; and where nothing is sure, two names at the end, or a file at
    the root.
    """
    wanted = [_PACKAGES.sub("", _as_it_is(each.path)).strip("/").split("/") for each in frames]
    known = _Called({path[-1] for path in wanted}, chunks, mask) if frames else None
    matched = [known.likest(path) if known is not None else None for path in wanted]
    pairs = [
        (frame.line, path, each)
        for frame, path, each in zip(frames, wanted, matched, strict=True)
        if each is not None
    ]
    above = {tuple(path[: -each.shared]) for _, path, each in pairs if each.is_surely(path)}
    ways: list[Callable[[Sequence[str], _Likest], bool]] = [
        lambda path, each: each.is_surely(path) or tuple(path[: -each.shared]) in above,
        lambda path, each: each.shared > 1,
        lambda path, each: True,
    ]
    for is_meant in ways:
        if found := {
            _chunk_with(line, each.inside, chunks): line
            for line, path, each in reversed(pairs)
            if is_meant(path, each)
        }:
            return dict(reversed(found.items()))
    return {}


class _Likest(NamedTuple):
    """The chunks of a file, and how many names at its end its path has in common with another."""

    inside: range
    shared: int
    depth: int

    def is_surely(self, wanted: Sequence[str]) -> bool:
        of_either = self.shared in (self.depth, len(wanted))
        return of_either and (self.shared > 1 or len(wanted) == 1)


class _Called:
    """The files that have one of some names, by the last two names of their paths: of one name
    there may be thousands, `index.js`."""

    def __init__(self, names: Container[str], chunks: LiveChunks, mask: FilterMask | None) -> None:
        marks = chunks.marks(mask)
        self._by_end: dict[tuple[str, ...], list[tuple[list[str], range]]] = {}
        for file in chunks.files_called(lambda each: _as_it_is(each.rpartition("/")[2]) in names):
            inside = chunks.chunks_of(file)
            if inside and marks[inside.start]:
                parts = _as_it_is(chunks.file(file).path).split("/")
                for end in {tuple(parts[-2:]), tuple(parts[-1:])}:
                    self._by_end.setdefault(end, []).append((parts, inside))
        self._least_deep = {end: min(of, key=_depth) for end, of in self._by_end.items()}

    def likest(self, wanted: Sequence[str]) -> _Likest | None:
        """The file with most names of the path `wanted`; of a single one, the least deep."""
        end = tuple(wanted[-2:])
        found = self._by_end.get(end, ()) if len(end) > 1 else ()
        best = max(
            found, key=lambda each: (_shared(wanted, each[0]), -len(each[0])), default=None
        ) or self._least_deep.get(end[-1:])
        if best is None or (len(best[0]) > 1 and len(end) > 1 and not found):
            return None
        return _Likest(best[1], _shared(wanted, best[0]), len(best[0]))


def _depth(each: tuple[list[str], range]) -> tuple[int, list[str]]:
    return len(each[0]), each[0]


def standing(text: str, found: Iterable[int], chunks: LiveChunks) -> list[int]:
    """Those of the chunks `found` in which `text` stands as it is, but for white space."""
    wanted = " ".join(text.split())
    return [n for n in found if wanted in " ".join(chunks.read(n).text.split())]


def mentioning(name: str, found: Iterable[int], chunks: LiveChunks) -> list[int]:
    """Those of the chunks `found` in which `name` stands by itself, and as it is written."""
    word = re.compile(rf"(?<!\w){re.escape(name.strip())}(?!\w)")
    return [n for n in found if word.search(chunks.read(n).text)]


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
