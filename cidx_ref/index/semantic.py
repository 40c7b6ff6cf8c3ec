"""The semantic engine: the only module that imports hnswlib.

An approximate index (HNSW, Malkov & Yashunin 2016) where it is worth it, and exact search over
the same vectors where it is not: behind a filter that leaves little, and for very long lists.
Searching is safe from any number of threads; hnswlib releases the GIL for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hnswlib
import numpy as np

from cidx_ref.errors import IndexUnusableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SPACE", "SemanticIndex", "VectorWriter"]

SPACE = "cosine"
_M = 16  # links per node; hnswlib's advice for high recall at some hundred dimensions
_EF_CONSTRUCTION = 100
_EF_SEARCH = 256  # candidates kept while searching; no more than so many results can be had
_EXACT_UP_TO = 4096  # vectors: below this a matrix product is faster than the walk, and exact
_BLOCK = 8192  # vectors copied out at once for an exact search


class VectorWriter:
    """Collects vectors under consecutive labels and writes them to one file."""

    def __init__(self, dim: int) -> None:
        self._index = hnswlib.Index(space=SPACE, dim=dim)
        self._index.init_index(max_elements=1024, M=_M, ef_construction=_EF_CONSTRUCTION)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors, labelled on from the last one."""
        first = self._index.get_current_count()
        if first + len(vectors) > self._index.get_max_elements():
            self._index.resize_index(2 * (first + len(vectors)))
        self._index.add_items(vectors, np.arange(first, first + len(vectors)))

    def save(self, path: Path) -> None:
        """Write the file.  hnswlib reports no error on a full disk; the caller must verify."""
        self._index.save_index(os.fsencode(path))


class SemanticIndex:
    """The vectors of one generation, ready to be searched.  Thread-safe."""

    def __init__(self, path: Path, *, dim: int, count: int) -> None:
        """Load `path`, which must have been verified: hnswlib crashes on a damaged file."""
        self._index = hnswlib.Index(space=SPACE, dim=dim)
        try:
            self._index.load_index(os.fsencode(path), max_elements=max(count, 1))
        except RuntimeError as error:
            raise IndexUnusableError(f"semantic index: {error}") from None
        if self._index.get_current_count() != count:
            raise IndexUnusableError(
                f"semantic index: {self._index.get_current_count()} vectors, expected {count}"
            )
        self.count = count
        self._index.set_ef(_EF_SEARCH)  # not saved with the index

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, float]]:
        """The `k` nearest as (label, cosine similarity), nearest first.

        `allowed` marks, label by label, what may be found.
        """
        k = min(k, self.count if allowed is None else int(np.count_nonzero(allowed)))
        if k == 0 or not np.any(vector):
            return []
        if allowed is not None and np.count_nonzero(allowed) <= _EXACT_UP_TO:
            return self._exact(np.flatnonzero(allowed), vector, k)
        if k <= _EF_SEARCH:
            found = self._approximate(vector, k, allowed)
            if found is not None:
                return found
        labels = np.arange(self.count) if allowed is None else np.flatnonzero(allowed)
        return self._exact(labels, vector, k)

    def _approximate(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> list[tuple[int, float]] | None:
        accepts: Callable[[int], Any] | None = None
        if allowed is not None:
            accepts = allowed.tobytes().__getitem__
        try:
            labels, distances = self._index.knn_query(vector, k=k, num_threads=1, filter=accepts)
        except RuntimeError:  # fewer than k were reached; the exact search reaches all
            return None
        return list(zip(labels[0].tolist(), (1.0 - distances[0]).tolist(), strict=True))

    def _exact(
        self, labels: NDArray[np.intp], vector: NDArray[np.float32], k: int
    ) -> list[tuple[int, float]]:
        unit = vector / np.linalg.norm(vector)
        blocks = [labels[i : i + _BLOCK] for i in range(0, len(labels), _BLOCK)]
        scores = np.concatenate(
            [self._index.get_items(b, return_type="numpy") @ unit for b in blocks]
        )
        best = np.argsort(-scores, kind="stable")[:k]
        return [(int(labels[i]), float(scores[i])) for i in best]
