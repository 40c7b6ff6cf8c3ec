"""The nearest chunks of one generation: each segment is asked, and the answers are merged.

Cosines of different segments can be compared.  Nothing is marked deleted in a segment, which other
generations share: what is dead is dropped from what it answers.
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
        unit = vector / length
        found = []
        for part in self._parts:
            inside = part.alive if allowed is None else allowed[part.first_chunk : part.stop]
            labels, scores = _vectors(part).nearest(unit, k, inside)
            found.append((labels + part.first_chunk, scores))
        return _merged(found, k)

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
