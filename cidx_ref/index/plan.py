"""Which segments an index run writes anew: a pure function of how large they are.

Small segments have a matrix of vectors, all of which each search looks at; large ones a graph.  An
edit makes a small segment, which takes in those that are not much larger (the logarithmic method of
Bentley and Saxe): so there are few, and n edits write n log n chunks.  Graphs cost more to make, so
that they are made is a merge of its own, which can be put off: when there is more in matrices than
a search should look at, when a fifth of a segment is dead, or when there are many small graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "MAX_CHUNKS",
    "SegmentSize",
    "due_merge",
    "is_full_text_due",
    "is_merge_due",
    "taken_in",
]

MAX_CHUNKS = 16_000  # of a segment: to load its graph holds the interpreter for some 40 ms
_MATRIX_CHUNKS = 4096  # as `semantic.EXACT_UP_TO`, without numpy
_TINY = 64  # chunks: segments so small are always taken in
_DEAD_SHARE = 5  # a segment is made anew when one part in so many is dead
_FEW_DEAD = 200  # chunks, for which a small segment is not
_SMALL_GRAPHS = 4


@dataclass(frozen=True, slots=True)
class SegmentSize:
    """How many chunks a segment has, and how many of them are dead."""

    id: str
    chunks: int
    dead: int = 0
    is_graph: bool = False

    @property
    def live(self) -> int:
        return self.chunks - self.dead


def taken_in(sizes: Iterable[SegmentSize], added: int) -> list[str]:
    """The segments that are written anew together with `added` chunks: matrices, and what comes of
    it is one."""
    total, taken = added, []
    for size in sorted((s for s in sizes if not s.is_graph), key=lambda s: (s.live, s.id)):
        if size.live > max(2 * total, _TINY) or total + size.live > _MATRIX_CHUNKS:
            break
        total += size.live
        taken.append(size.id)
    return taken


def due_merge(sizes: Sequence[SegmentSize]) -> list[str]:
    """The segments that should be written anew as one; none if all is well."""
    matrices = [size for size in sizes if not size.is_graph]
    if sum(size.live for size in matrices) > _MATRIX_CHUNKS:
        return _smallest(matrices)
    for size in sizes:
        if size.dead * _DEAD_SHARE >= size.chunks and (size.is_graph or size.dead > _FEW_DEAD):
            # The graph itself comes first, or it would be due for ever; with what is in matrices,
            # as far as there is room, for it is made anew anyway.
            return [size.id, *_smallest(matrices, size.live)] if size.is_graph else [size.id]
    graphs = [size for size in sizes if size.is_graph and size.live <= MAX_CHUNKS // 2]
    return _smallest(graphs) if len(graphs) >= _SMALL_GRAPHS else []


def is_full_text_due(live: int, dead: int) -> bool:
    """Whether a full text of `live` documents, which counts `dead` ones, is to be made anew."""
    return dead > _FEW_DEAD and dead * _DEAD_SHARE >= live + dead


def is_merge_due(sizes: Sequence[SegmentSize], chunks: int, dead_documents: int) -> bool:
    """Whether anything of a generation should be written anew."""
    return bool(due_merge(sizes)) or is_full_text_due(chunks, dead_documents)


def _smallest(sizes: Sequence[SegmentSize], total: int = 0) -> list[str]:
    """The first of `sizes`, by their size, that are no more than a segment together, with `total`
    chunks that are in it already."""
    taken: list[str] = []
    for size in sorted(sizes, key=lambda s: (s.live, s.id)):
        if total and total + size.live > MAX_CHUNKS:
            break
        total += size.live
        taken.append(size.id)
    return taken
