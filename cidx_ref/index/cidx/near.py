"""The vectors of the full cidx's index, as our searches ask them: labels become chunks."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from cidx_ref.index.semantic import SemanticIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TheirVectors"]

#: So many are asked for, however few are wanted: the more, the fewer of the nearest are missed.
_BREADTH = 192


class TheirVectors:
    """The vectors, ready to be searched.  Thread-safe."""

    def __init__(
        self, index: SemanticIndex, chunk_of_label: NDArray[np.int64], chunks: int
    ) -> None:
        """`chunk_of_label` says where a point leads to, with -1 for what is not alive."""
        self._index = index
        self._chunk_of = chunk_of_label
        alive = chunk_of_label >= 0
        self._alive = None if bool(alive.all()) else alive
        self._label_of = np.full(chunks, -1, np.int64)
        self._label_of[chunk_of_label[alive]] = np.flatnonzero(alive)

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, float]]:
        """See `nearest.Nearest.search`."""
        length = np.linalg.norm(vector)
        if k == 0 or length == 0:
            return []
        unit = (vector / length).astype(np.float32)
        labels, scores = self._index.nearest(unit, max(k, _BREADTH), self._labels(allowed))
        return self._found(labels[:k], scores[:k])

    def rank(
        self,
        vector: NDArray[np.float32],
        k: int,
        among: Collection[int] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[tuple[int, float]]:
        """See `nearest.Nearest.rank`."""
        labels = None
        if among is not None:
            own = self._label_of[np.fromiter(among, np.intp, len(among))]
            labels = own[own >= 0].tolist()
        found = self._index.rank(vector, k, labels, self._labels(allowed))
        return [(int(self._chunk_of[label]), score) for label, score in found]

    def close(self) -> None:
        """Let go of the memory; nothing may be searched afterwards."""
        self._index.close()

    def _labels(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Which labels may be found, where these chunks may."""
        if allowed is None:
            return self._alive
        marks: NDArray[np.bool_] = allowed[np.maximum(self._chunk_of, 0)]
        return marks if self._alive is None else marks & self._alive

    def _found(
        self, labels: NDArray[np.intp], scores: NDArray[np.float32]
    ) -> list[tuple[int, float]]:
        chunks = self._chunk_of[labels].tolist()
        return list(zip(chunks, scores.tolist(), strict=True))
