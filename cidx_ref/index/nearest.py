"""The nearest chunks of one generation: each segment is asked, and the answers are merged.

Cosines of different segments can be compared.  Nothing is marked deleted in a segment, which other
generations share: what is dead is dropped from what it answers.  Each segment is asked for its
share of what is wanted, and for more if it has more: ten walks through graphs for a hundred results
each would take five times as long as one through a graph of all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cidx_ref.index.live import Part
from cidx_ref.index.semantic import SemanticIndex, best_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Nearest"]

#: So many are asked for, all segments together, however few are wanted: the more, the fewer of the
#: nearest are missed.
_BREADTH = 192
_LEAST = 16  # that each segment is asked for, beside its share
_SURE = 64  # so many of the nearest are as good as if each segment were asked for all

Found = tuple["NDArray[np.intp]", "NDArray[np.float32]"]


class Nearest:
    """The vectors of a generation, ready to be searched.  Thread-safe.

    Chunks have the numbers of `live.LiveChunks`.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        """Every part must have its vectors."""
        self._parts = parts

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, float]]:
        """The `k` nearest as (chunk, cosine similarity), nearest first.

        `allowed` marks, chunk by chunk, what may be found, and nothing that is dead.  In a large
        segment some of the nearest may be missed: its graph is approximate.
        """
        length = np.linalg.norm(vector)
        if k == 0 or length == 0:
            return []
        asked = [_Asked(part, vector / length, allowed) for part in self._parts if len(part)]
        breadth = max(k, _BREADTH)
        places = sum(each.places for each in asked)  # of none, nothing is asked
        for each in asked:
            share = min(breadth, breadth * each.places // places + _LEAST)
            each.ask(breadth if each.is_exact else share)
        best = _merged([each.found for each in asked], k)
        # What a segment was not asked for might belong to the first of these; or there are too few,
        # because a filter leaves more in some segments than their share.
        sure = best[min(k, _SURE) - 1][1] if len(best) == k else -2.0
        further = [each for each in asked if not each.is_exact and each.may_have_nearer_than(sure)]
        if not further:
            return best
        for each in further:
            each.ask(breadth)
        return _merged([each.found for each in asked], k)

    def rank(
        self,
        vector: NDArray[np.float32],
        k: int,
        among: Collection[int] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[tuple[int, float]]:
        """As `search`, but exact: none is missed.  Of equally near chunks, the lower number comes
        first.

        `among` are the chunks that are looked at, each once; None means all.
        """
        length = np.linalg.norm(vector)
        if (among is not None and not among) or length == 0:
            return []
        unit = vector / length
        wanted = None if among is None else np.sort(np.fromiter(among, np.intp, len(among)))
        found = []
        for part in self._parts:
            inside = part.alive if allowed is None else allowed[part.first_chunk : part.stop]
            labels = None
            if wanted is not None:
                start, stop = np.searchsorted(wanted, (part.first_chunk, part.stop))
                labels = wanted[start:stop] - part.first_chunk
            labels, scores = _vectors(part).cosines(unit, labels, inside)
            found.append((labels + part.first_chunk, scores))
        return _merged(found, k)


class _Asked:
    """One segment, and what it has answered: a graph as much as it is asked for, a matrix as much
    as any will be asked for, because all products with it are made anyway."""

    def __init__(
        self, part: Part, unit: NDArray[np.float32], allowed: NDArray[np.bool_] | None
    ) -> None:
        self._part = part
        self._unit = unit
        self._allowed = part.alive if allowed is None else allowed[part.first_chunk : part.stop]
        self.places = part.stop - part.first_chunk
        self.is_exact = _vectors(part).is_exact
        self._asked_for = 0
        self.found: Found = np.empty(0, np.intp), np.empty(0, np.float32)

    def ask(self, k: int) -> None:
        labels, scores = _vectors(self._part).nearest(self._unit, k, self._allowed)
        self._asked_for = k
        self.found = labels + self._part.first_chunk, scores

    def may_have_nearer_than(self, score: float) -> bool:
        """Whether it has told all that it was asked for, and all of that is nearer."""
        scores = self.found[1]
        return 0 < self._asked_for == len(scores) < self.places and bool(scores[-1] > score)


def _vectors(part: Part) -> SemanticIndex:
    vectors = part.segment.vectors
    assert vectors is not None, "searched without vectors"
    return vectors


def _merged(found: list[Found], k: int) -> list[tuple[int, float]]:
    if not found:
        return []
    labels = np.concatenate([each[0] for each in found])
    scores = np.concatenate([each[1] for each in found])
    best = best_of(scores, k)
    return list(zip(labels[best].tolist(), scores[best].tolist(), strict=True))
