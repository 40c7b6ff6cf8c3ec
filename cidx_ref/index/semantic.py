"""The semantic engine, for one segment: the only module that imports hnswlib.

An approximate index (HNSW, Malkov & Yashunin 2016) where it is worth it, and exact search over
the same vectors where it is not: in a small segment, among given chunks, behind a filter that
leaves little, and for very long lists.  Searching is safe from any number of threads; hnswlib and
numpy release the GIL for it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import hnswlib
import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index.manifest import GRAPH, MATRIX
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EF_SEARCH", "EXACT_UP_TO", "SPACE", "SemanticIndex", "VectorWriter", "best_of",
           "load_graph"]  # fmt: skip

SPACE = "cosine"
_M = 16  # links per node; hnswlib's advice for high recall at some hundred dimensions
_EF_CONSTRUCTION = 100
#: Candidates that a walk keeps, at most: more results than that take an exact search.
EF_SEARCH = 256
_EF_LEAST = 32  # hnswlib keeps this many, or as many as results are asked for
EXACT_UP_TO = 4096  # vectors: up to this, products with all are as fast as the walk, and exact
_MOSTLY = 4  # what no more than a quarter of the vectors may not be, is dropped after the walk
_SURPLUS = 16
_BLOCK = 8192  # vectors copied out at once for an exact search

# The header of hnswlib's file: offset of the first element, elements reserved and present, bytes
# of each element, and where in an element its label and its vector lie; then what only the graph
# needs: top level, entry point, links per node (three times), level factor, ef_construction.
_HEADER = struct.Struct("<6QiI3QdQ")


class VectorWriter:
    """Collects vectors under consecutive labels and writes them to one file."""

    def __init__(self, dim: int, threads: int = -1) -> None:
        """`threads`: how many link the vectors of a graph; -1: one for each core."""
        self._dim = dim
        self._threads = threads
        self._matrix: list[NDArray[np.float32]] = []
        self._graph: Any = None
        self.count = 0

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add vectors, labelled on from the last one."""
        self.count += len(vectors)
        if self._graph is None:
            self._matrix.append(np.asarray(vectors, np.float32))
            if self.count > EXACT_UP_TO:
                self._begin_graph()
        else:
            self._link(vectors)

    def save(self, directory: Directory) -> str:
        """Write a file into `directory`; its name says of which kind it is.

        hnswlib reports no error on a full disk; the caller must verify.
        """
        if self._graph is None:
            with directory.writer(MATRIX) as file:
                for vectors in self._matrix:
                    file.write(_unit(vectors).astype("<f4", copy=False).tobytes())
            return MATRIX
        self._graph.save_index(os.fsencode(directory.engine_writes(GRAPH)))
        return GRAPH

    def _begin_graph(self) -> None:
        self._graph = hnswlib.Index(space=SPACE, dim=self._dim)
        self._graph.init_index(max_elements=1024, M=_M, ef_construction=_EF_CONSTRUCTION)
        collected, self._matrix = self._matrix, []
        for vectors in collected:
            self._link(vectors)

    def _link(self, vectors: NDArray[np.float32]) -> None:
        first = self._graph.get_current_count()
        if first + len(vectors) > self._graph.get_max_elements():
            self._graph.resize_index(2 * (first + len(vectors)))
        labels = np.arange(first, first + len(vectors))
        self._graph.add_items(vectors, labels, num_threads=self._threads)


class SemanticIndex:
    """The vectors of one segment, ready to be searched.  Thread-safe."""

    def __init__(self, path: Path, *, dim: int, count: int, places: int | None = None) -> None:
        """Load `path`, which must have been verified: hnswlib crashes on a damaged file.

        `places`: how many labels there are, where not each of them has a vector; then every search
        needs an `allowed`.
        """
        self._graph = None
        self._vectors: _Vectors
        if path.name == MATRIX:
            self._vectors = _Matrix(path, dim, count)
        else:
            self._vectors = _Linked(path, dim, count, count if places is None else places)
            self._graph = load_graph(path, dim, count) if count > EXACT_UP_TO else None
        self.count = count if places is None else places

    @property
    def is_exact(self) -> bool:
        """Whether every search looks at all vectors."""
        return self._graph is None

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, float]]:
        """The `k` nearest as (label, cosine similarity), nearest first.

        `allowed` marks, label by label, what may be found.  In a large segment some of the nearest
        may be missed: the graph is approximate.
        """
        if not np.any(vector):
            return []
        labels, scores = self.nearest(_unit(vector), max(k, EF_SEARCH), allowed)
        return _pairs(labels[:k], scores[:k])

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
        labels = None if among is None else np.sort(np.fromiter(among, np.intp, len(among)))
        labels, scores = self.cosines(_unit(vector), labels, allowed)
        best = best_of(scores, k)
        return _pairs(labels[best], scores[best])

    # As arrays, for what has several segments.  `unit` has the length one.

    def nearest(
        self, unit: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Labels and cosines, nearest first.  The more are asked for, the fewer of the nearest are
        missed by a graph."""
        candidates = self.count if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, candidates)
        if self._graph is not None and candidates > EXACT_UP_TO and 0 < k <= EF_SEARCH:
            found = self._walk(unit, k, candidates, allowed)
            if found is not None:
                return found
        labels, scores = self.cosines(unit, None, allowed)
        best = best_of(scores, k)
        return labels[best], scores[best]

    def cosines(
        self,
        unit: NDArray[np.float32],
        labels: NDArray[np.intp] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Of `labels` (None: of all) those that are `allowed`, ascending, with their cosines."""
        if labels is None:
            if allowed is None:
                return np.arange(self.count), self._vectors.cosines(unit)
            labels = np.flatnonzero(allowed)
            if len(labels) * _MOSTLY > self.count:
                return labels, self._vectors.cosines(unit)[labels]  # to copy them takes longer
        elif allowed is not None:
            labels = labels[allowed[labels]]
        return labels, self._vectors.cosines(unit, labels)

    def vectors(self, labels: NDArray[np.intp]) -> NDArray[np.float32]:
        """A copy of those vectors, of length one as they are stored."""
        return self._vectors.take(labels)

    def close(self) -> None:
        """Let go of the memory; nothing may be searched afterwards."""
        self._graph = None
        del self._vectors

    def _walk(
        self,
        unit: NDArray[np.float32],
        k: int,
        candidates: int,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]] | None:
        """What the graph leads to; None if that is less than `k`."""
        if allowed is None:
            return _ask(self._graph, unit, k)
        # Where most may be found, some more are asked for, and what may not is dropped: a filter
        # that the graph calls for each vector it meets takes ten times as long.
        refused = self.count - candidates
        if refused * _MOSTLY <= self.count:
            more = k + 2 * -(-k * refused // self.count) + _SURPLUS
            found = _ask(self._graph, unit, min(more, EF_SEARCH))
            if found is not None:
                labels, scores = found
                kept = allowed[labels]
                if np.count_nonzero(kept) >= k:
                    return labels[kept][:k], scores[kept][:k]
            return None
        return _ask(self._graph, unit, k, allowed.tobytes().__getitem__)


class _Vectors(Protocol):
    """Unit vectors in a file, mapped into memory.  Thread-safe.

    The pages are the file's, which the system may take back; none outlives this object.
    """

    def cosines(
        self, unit: NDArray[np.float32], labels: NDArray[np.intp] | None = None
    ) -> NDArray[np.float32]:
        """Those of the vectors `labels`, or of all, with `unit`."""

    def take(self, labels: NDArray[np.intp]) -> NDArray[np.float32]:
        """A copy of those vectors."""


class _Matrix:
    """One vector after the other, and nothing else."""

    def __init__(self, path: Path, dim: int, count: int) -> None:
        data = _mapped(path)
        if len(data) != 4 * dim * count:
            raise IndexUnusableError(
                f"semantic index: {len(data)} bytes, expected {count} vectors of {dim} dimensions"
            )
        self._stored = np.frombuffer(data, "<f4").reshape(count, dim)

    def cosines(
        self, unit: NDArray[np.float32], labels: NDArray[np.intp] | None = None
    ) -> NDArray[np.float32]:
        return _products(self._stored if labels is None else self._stored[labels], unit)

    def take(self, labels: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._stored[labels]


class _Linked:
    """The vectors in a file that hnswlib wrote.

    hnswlib's own `get_items` makes a Python float of every number: 20 µs for a vector of 512, where
    its product with a query takes 0.2.  The vectors have the length one: the cosine space stores
    them so.
    """

    def __init__(self, path: Path, dim: int, count: int, places: int) -> None:
        data = _mapped(path)
        try:
            _, _, found, size, label_at, vector_at, *_ = _HEADER.unpack_from(data)
        except struct.error as error:
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
        labels = elements[:, label_at:].view("<u8")[:, 0]
        self._places = np.zeros(places, np.intp)
        self._places[labels] = np.arange(count)

    def cosines(
        self, unit: NDArray[np.float32], labels: NDArray[np.intp] | None = None
    ) -> NDArray[np.float32]:
        if labels is None:
            return _products(self._stored, unit)[self._places]
        places = self._places[labels]
        blocks = [places[i : i + _BLOCK] for i in range(0, len(places), _BLOCK)]
        found = [_products(self._stored[block], unit) for block in blocks]
        return np.concatenate([np.empty(0, np.float32), *found])

    def take(self, labels: NDArray[np.intp]) -> NDArray[np.float32]:
        taken: NDArray[np.float32] = self._stored[self._places[labels]]
        return taken


def _mapped(path: Path) -> mmap.mmap | bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else b""
    except (OSError, ValueError) as error:
        raise IndexUnusableError(f"semantic index: {why(error)}") from None


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """With the length one, but for what has none."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return found


def _products(vectors: NDArray[np.float32], unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each vector with `unit`; equal vectors have equal products."""
    # Not `vectors @ unit`: OpenBLAS shares that out among threads of its own, one for each core,
    # and ten readers at once wait for those: 20 ms of processor time where this takes 0.2.
    if hasattr(np, "vecdot"):
        products: NDArray[np.float32] = np.vecdot(vectors, unit)
    else:  # numpy 1; takes twice as long
        products = np.einsum("ij,j->i", vectors, unit)
    return products


def best_of(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The places of the `k` highest, highest first; of equal ones, the earlier first."""
    places = np.arange(len(scores))
    if k == 0:
        return places[:0]
    if k < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return places[np.argsort(-scores[places], kind="stable")][:k]


def _pairs(labels: NDArray[np.intp], scores: NDArray[np.float32]) -> list[tuple[int, float]]:
    return list(zip(labels.tolist(), scores.tolist(), strict=True))


def load_graph(path: Path, dim: int, count: int) -> Any:
    """What hnswlib makes of `path`, which must have been verified.  Raises `IndexUnusableError`."""
    graph = hnswlib.Index(space=SPACE, dim=dim)
    try:
        graph.load_index(os.fsencode(path), max_elements=count)
    except RuntimeError as error:
        raise IndexUnusableError(f"semantic index: {error}") from None
    graph.set_ef(_EF_LEAST)  # not saved with the index
    return graph


def _ask(
    graph: Any, unit: NDArray[np.float32], k: int, accepts: Callable[[int], Any] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float32]] | None:
    try:
        labels, distances = graph.knn_query(unit, k=k, num_threads=1, filter=accepts)
    except RuntimeError:  # fewer than k were reached; the exact search reaches all
        return None
    return labels[0].astype(np.intp), 1.0 - distances[0]
