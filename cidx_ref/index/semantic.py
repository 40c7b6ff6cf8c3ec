"""The semantic engine: the only module that imports hnswlib.

An approximate index (HNSW, Malkov & Yashunin 2016) where it is worth it, and exact search over
the same vectors where it is not: in a small index, among given chunks, behind a filter that leaves
little, and for very long lists.  Searching is safe from any number of threads; hnswlib and numpy
release the GIL for it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hnswlib
import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SPACE", "SemanticIndex", "VectorWriter"]

SPACE = "cosine"
_M = 16  # links per node; hnswlib's advice for high recall at some hundred dimensions
_EF_CONSTRUCTION = 100
_EF_SEARCH = 256  # candidates kept while searching; no more than so many results can be had
_EXACT_UP_TO = 4096  # vectors: up to this, products with all are as fast as the walk, and exact
_BLOCK = 8192  # vectors copied out at once for an exact search

# The header of hnswlib's file: offset of the first element, elements reserved and present, bytes
# of each element, and where in an element its label and its vector lie; then what only the graph
# needs: top level, entry point, links per node (three times), level factor, ef_construction.
_HEADER = struct.Struct("<6QiI3QdQ")


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

    def save(self, directory: Directory, name: str) -> None:
        """Write the file `name` into `directory`.

        hnswlib reports no error on a full disk; the caller must verify.
        """
        self._index.save_index(os.fsencode(directory.engine_writes(name)))


class SemanticIndex:
    """The vectors of one generation, ready to be searched.  Thread-safe."""

    def __init__(self, path: Path, *, dim: int, count: int) -> None:
        """Load `path`, which must have been verified: hnswlib crashes on a damaged file."""
        self._vectors = _StoredVectors(path, dim, count)
        self._graph = _load_graph(path, dim, count) if count > _EXACT_UP_TO else None
        self.count = count

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, float]]:
        """The `k` nearest as (label, cosine similarity), nearest first.

        `allowed` marks, label by label, what may be found.  In a large index some of the nearest
        may be missed: the graph is approximate.
        """
        candidates = self.count if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, candidates)
        if k == 0 or not np.any(vector):
            return []
        if self._graph is not None and candidates > _EXACT_UP_TO and k <= _EF_SEARCH:
            found = _walk(self._graph, vector, k, allowed)
            if found is not None:
                return found
        return self.rank(vector, k, allowed=allowed)

    def rank(
        self,
        vector: NDArray[np.float32],
        k: int,
        among: Collection[int] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[tuple[int, float]]:
        """As `search`, but exact: none is missed.  Of equally near vectors, the lower label comes
        first.

        `among` are the labels that are looked at, each once; None means all.
        """
        if (among is not None and not among) or not np.any(vector):
            return []
        labels = self._labels(among, allowed)
        scores = self._vectors.cosines(vector / np.linalg.norm(vector), labels)
        best = _best(scores, k)
        found = best if labels is None else labels[best]
        return list(zip(found.tolist(), scores[best].tolist(), strict=True))

    @staticmethod
    def _labels(
        among: Collection[int] | None, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.intp] | None:
        """Both restrictions as one: labels, ascending.  None where there is none."""
        if among is None:
            return None if allowed is None else np.flatnonzero(allowed)
        labels = np.sort(np.fromiter(among, np.intp, len(among)))
        return labels if allowed is None else labels[allowed[labels]]


class _StoredVectors:
    """The vectors in a file that hnswlib wrote, mapped into memory.  Thread-safe.

    hnswlib's own `get_items` makes a Python float of every number: 20 µs for a vector of 512, where
    its product with a query takes 0.2.  The vectors have the length one: the cosine space stores
    them so.  The pages are the file's, which the system may take back; none outlives this object.
    """

    def __init__(self, path: Path, dim: int, count: int) -> None:
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            _, _, found, size, label_at, vector_at, *_ = _HEADER.unpack_from(data)
        except (OSError, ValueError, struct.error) as error:
            raise IndexUnusableError(f"semantic index: {error}") from None
        if (found, label_at - vector_at) != (count, 4 * dim):
            raise IndexUnusableError(
                f"semantic index: {found} vectors of {(label_at - vector_at) / 4:g} dimensions,"
                f" expected {count} of {dim}"
            )
        if len(data) < _HEADER.size + count * size:
            raise IndexUnusableError("semantic index: the file ends too soon")
        elements = np.frombuffer(data, np.uint8, count * size, _HEADER.size).reshape(count, size)
        self._stored = elements[:, vector_at:label_at].view("<f4")
        # Several threads add a batch, so vectors do not lie in the order of their labels.
        self._places = np.argsort(elements[:, label_at:].view("<u8")[:, 0])

    def cosines(
        self, unit: NDArray[np.float32], labels: NDArray[np.intp] | None = None
    ) -> NDArray[np.float32]:
        """Those of the vectors `labels`, or of all, with `unit`, which has the length one."""
        if labels is None:
            return _products(self._stored, unit)[self._places]
        places = self._places[labels]
        blocks = [places[i : i + _BLOCK] for i in range(0, len(places), _BLOCK)]
        found = [_products(self._stored[block], unit) for block in blocks]
        return np.concatenate([np.empty(0, np.float32), *found])


def _products(vectors: NDArray[np.float32], unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each vector with `unit`; equal vectors have equal products."""
    # Not `vectors @ unit`: OpenBLAS shares that out among threads of its own, one for each core,
    # and ten readers at once wait for those: 20 ms of processor time where this takes 0.2.
    if hasattr(np, "vecdot"):
        products: NDArray[np.float32] = np.vecdot(vectors, unit)
    else:  # numpy 1; takes twice as long
        products = np.einsum("ij,j->i", vectors, unit)
    return products


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The places of the `k` highest, highest first; of equal ones, the earlier first."""
    places = np.arange(len(scores))
    if k < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return places[np.argsort(-scores[places], kind="stable")][:k]


def _load_graph(path: Path, dim: int, count: int) -> Any:
    graph = hnswlib.Index(space=SPACE, dim=dim)
    try:
        graph.load_index(os.fsencode(path), max_elements=count)
    except RuntimeError as error:
        raise IndexUnusableError(f"semantic index: {error}") from None
    graph.set_ef(_EF_SEARCH)  # not saved with the index
    return graph


def _walk(
    graph: Any, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
) -> list[tuple[int, float]] | None:
    accepts: Callable[[int], Any] | None = None
    if allowed is not None:
        accepts = allowed.tobytes().__getitem__
    try:
        labels, distances = graph.knn_query(vector, k=k, num_threads=1, filter=accepts)
    except RuntimeError:  # fewer than k were reached; the exact search reaches all
        return None
    return list(zip(labels[0].tolist(), (1.0 - distances[0]).tolist(), strict=True))
