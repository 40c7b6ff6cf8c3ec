"""How a query in the modes `literal` and `regex` is answered: by exact lines, as grep has them.

It needs neither vectors nor full text.  Each hit is one line (of a text of several lines: so many),
and of one file come three before the next file has its turn.  The work is bounded: so many lines
are counted, and so long is looked for; an answer that stopped there says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cidx_ref.index.lines import Line, line_text, lines_of
from cidx_ref.index.live import LiveChunks, Part
from cidx_ref.index.pattern import Pattern, compiled
from cidx_ref.index.port import Search
from cidx_ref.index.purpose import purpose
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from cidx_ref.index.stale import Staleness

__all__ = ["MAX_COUNTED", "Candidate", "Snapshot", "answer", "candidates"]

MAX_COUNTED = 10_000  # lines: counting them takes some 50 ms
_MAX_SECONDS = 5.0
_AT_ONCE = 3  # lines of a file, before the next file has its turn
_MAX_SHOWN = 2000  # characters of a line
_LEAD = 60  # of those, that come before the first match where the line has more
_MAX_MARKS = 64
_MARKING_SECONDS = 1.0
#: What is there for something else comes after what it is about; data is what many look for.
_ASIDE = frozenset(("test", "example", "vendored", "generated"))


class Candidate(NamedTuple):
    """A line that was found, and what its place in the order is made of."""

    part: Part
    line: Line
    path: str


class Snapshot(Protocol):
    """What is looked through."""

    @property
    def generation(self) -> str: ...
    @property
    def chunks(self) -> LiveChunks: ...


def answer(
    snapshot: Snapshot,
    search: Search,
    runtime: Runtime = SYSTEM,
    staleness: Staleness | None = None,
) -> dict[str, Any]:
    """The answer as a plain dictionary, as `search.answer` gives it, with `total_matches`, and
    `more_matches` where not all were counted.

    Raises `BadArgumentError` for what cannot be looked for.
    """
    started = runtime.monotonic()
    chunks = snapshot.chunks
    pattern = compiled(search.mode, search.text, ignore_case=search.ignore_case)
    found, is_all = candidates(chunks, search, pattern, runtime)
    shown = _chosen(found, search.limit)
    until = runtime.monotonic() + _MARKING_SECONDS
    hits = [
        _hit(each, level, pattern, is_marked=runtime.monotonic() < until) for level, each in shown
    ]
    if staleness is not None:
        files = [one.part.segment.store.files[one.line.place.file] for _, one in shown]
        staleness.mark(hits, [file.digest for file in files])
    return {
        "results": hits,
        "mode": search.mode,
        "generation": snapshot.generation,
        "total_matches": len(found),
        **({} if is_all else {"more_matches": True}),
        "took_ms": round((runtime.monotonic() - started) * 1000, 3),
    }


def candidates(
    chunks: LiveChunks, search: Search, pattern: Pattern, runtime: Runtime
) -> tuple[list[Candidate], bool]:
    """The lines in which `pattern` stands, by path and number; and whether these are all."""
    until = runtime.monotonic() + _MAX_SECONDS
    mask = chunks.mask(search.filters)
    found: list[tuple[Part, Line]] = []
    is_all = True
    for part in chunks.parts if mask is None or mask.files else ():
        lines = lines_of(
            part.segment.store,
            pattern,
            part.within(mask),
            MAX_COUNTED - len(found),
            lambda: runtime.monotonic() >= until,
        )
        found += ((part, line) for line in lines.lines.values())
        is_all = is_all and lines.is_all
        if not lines.is_all and len(found) >= MAX_COUNTED:
            break
    every = [
        Candidate(part, line, part.segment.store.files[line.place.file].path)
        for part, line in found
    ]
    every.sort(key=lambda one: (one.path, _cell_number(one.line.place.cell), one.line.place.line))
    return every, is_all


def _cell_number(cell: str) -> int:
    digits = cell.rpartition(" ")[2]
    return int(digits) if digits.isdecimal() else 0


def _chosen(found: list[Candidate], limit: int) -> list[tuple[int, Candidate]]:
    """As many as are wanted, in order, with the level of each.

    What is defined comes first, and tests, examples and what is others' last.  Lines of equal
    worth are in the order of their files.
    """
    levels = _levels(found)
    met: Counter[tuple[int, str]] = Counter()
    turns = []
    for number, one in enumerate(found):
        kind = levels[number], one.path
        turns.append((levels[number], met[kind] // _AT_ONCE, number))
        met[kind] += 1
    first = sorted(sorted(turns)[:limit], key=lambda turn: (turn[0], turn[2]))
    return [(level, found[number]) for level, _, number in first]


def _levels(found: list[Candidate]) -> list[int]:
    aside: dict[str, bool] = {}
    levels = []
    for one in found:
        if one.path not in aside:
            aside[one.path] = purpose(one.path) in _ASIDE
        levels.append(2 - one.line.defines + 3 * aside[one.path])
    return levels


def _hit(one: Candidate, level: int, pattern: Pattern, *, is_marked: bool) -> dict[str, Any]:
    store = one.part.segment.store
    text = line_text(store, one.line)
    # A quarter of a second at worst: the engine cannot be interrupted.
    spans = pattern.spans(text[: pattern.block_bytes]) if is_marked else ()
    marks = list(islice(spans, _MAX_MARKS))
    begin = 0
    if len(text) > _MAX_SHOWN and marks:
        begin = max(0, min(marks[0][0] - _LEAD, len(text) - _MAX_SHOWN))
    return {
        "path": one.path,
        "line_start": one.line.place.line,
        "line_end": one.line.last,
        "language": store.files[one.line.place.file].language,
        "score": round(1 / (1 + level), 6),
        "snippet": text[begin : begin + _MAX_SHOWN],
        "snippet_start": one.line.place.line,
        "name": store.name_of(one.line.chunk),
        "kind": store.kind_of(one.line.chunk),
        "marks": list(_within(marks, begin, begin + _MAX_SHOWN)),
    }


def _within(marks: list[tuple[int, int]], begin: int, end: int) -> Iterator[tuple[int, int]]:
    for start, stop in marks:
        if start < end and stop > begin:
            yield max(start, begin) - begin, min(stop, end) - begin
