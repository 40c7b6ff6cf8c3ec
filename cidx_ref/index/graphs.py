"""Everything that hnswlib believes of a file of its own, looked at before it sees a byte.

hnswlib 0.8 follows a link out of its memory, and takes another number of dimensions without a word.
So sizes, labels and where each link leads are checked here, in numpy, in about the time that it
takes to read the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Graph", "GraphError", "check_graph", "mapped"]

# `saveIndex`: where the elements of the lowest layer begin, how many there may be and are, their
# size, where in them label and vector lie, the top layer, where a search begins, the links an
# element may have, the factor of the layers, and what building was done with.
_HEADER = struct.Struct("<6QiI3QdQ")
_LABEL_BYTES = 8
_MAX_LAYERS = 64  # of 16 million vectors there are 6
_MAX_DIM = 1 << 16
_BLOCK = 4096  # vectors looked at together: some megabytes
_DELETED = 1 << 16  # in the number of an element's links, beside the number itself
_TOLERANCE = 1e-3  # of a length, that is to be one

Require = Callable[[bool, str], None]


class GraphError(Exception):
    """What is wrong with a file, in a few words."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A file that holds what it says: by element its label, and whether it is marked deleted."""

    dim: int
    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    deleted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


def mapped(fd: int) -> NDArray[np.uint8]:
    """The bytes of an open file, mapped; `fd` may be closed then."""
    size = os.fstat(fd).st_size
    with open(fd, "rb", closefd=False) as file:
        return np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)


def check_graph(
    data: NDArray[np.uint8], count: int, dim: int, *, most_label: int, may_delete: bool = False
) -> Graph:
    """Check that `data` is a graph of `count` vectors of `dim` dimensions, with distinct labels up
    to `most_label`.  Raises `GraphError`."""
    _require(len(data) >= _HEADER.size, "too short")
    header = _HEADER.unpack(data[: _HEADER.size].tobytes())
    offset0, most, now, size, label_at, data_at, top, entry, max_m, max_m0, m, _, _ = header
    links_bytes = 4 + 4 * max_m0
    _require(0 < dim <= _MAX_DIM, f"{dim} dimensions")
    _require(0 < m == max_m <= 1 << 10 and max_m0 == 2 * max_m, "links")
    _require(offset0 == 0 and data_at == links_bytes, "header")
    _require(label_at == links_bytes + 4 * dim, f"not of {dim} dimensions")
    _require(size == label_at + _LABEL_BYTES, "the size of an element")
    _require(now == count <= most <= max(4 * count, 1 << 20), f"not {count} vectors")
    end = _HEADER.size + count * size
    _require(len(data) >= end, "too short")
    elements = data[_HEADER.size : end].reshape(count, size)
    deleted = _check_links(elements[:, :links_bytes], count, int(max_m0), may_delete=may_delete)
    labels = np.ascontiguousarray(elements[:, label_at:]).view("<u8").ravel()
    _require(bool(np.all(labels <= most_label)), "labels")
    _require(len(np.unique(labels)) == count, "labels")
    for block in _blocks(elements):
        _check_vectors(np.ascontiguousarray(block[:, data_at:label_at]).view("<f4"))
    _check_layers(data[end:], count, int(max_m), top, entry)
    return Graph(dim, elements[:, data_at:label_at].view("<f4"), labels.astype(np.int64), deleted)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise GraphError(problem)


def _blocks(elements: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(elements), _BLOCK):
        yield elements[start : start + _BLOCK]


def _check_vectors(vectors: NDArray[np.float32]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.einsum("ij,ij->i", vectors, vectors)
    _require(bool(np.isfinite(lengths).all()), "a vector that is not finite")
    # The cosine space stores them so, and takes products for cosines.
    is_unit = (np.abs(lengths - 1) < 2 * _TOLERANCE) | (lengths == 0)
    _require(bool(is_unit.all()), "a vector that has not the length one")


def _check_links(
    records: NDArray[np.uint8], count: int, most: int, *, may_delete: bool = False
) -> NDArray[np.bool_]:
    """Records of a number of links and room for `most` of them; which are marked deleted."""
    words = np.ascontiguousarray(records).view("<u4")
    # hnswlib reads 16 bits of the number; the third byte marks what is deleted.
    deleted: NDArray[np.bool_] = (words[:, 0] >> 16) == _DELETED >> 16
    numbers = words[:, 0] - np.where(deleted, np.uint32(_DELETED), np.uint32(0))
    _require(may_delete or not deleted.any(), "what is marked deleted")
    _require(bool(np.all(numbers <= most)), "more links than there is room for")
    used = np.arange(most) < numbers[:, None]
    _require(bool(np.all(words[:, 1:][used] < count)), "a link to nowhere")
    return deleted


def _check_layers(data: NDArray[np.uint8], count: int, max_m: int, top: int, entry: int) -> None:
    """What follows the lowest layer: of each element the links in the layers above, which must
    lead to elements that are in that layer, too."""
    record = 4 + 4 * max_m
    layers = np.zeros(count, np.int64)
    starts = np.zeros(count, np.int64)
    # No copy: a file with a hole may say that it is huge.  All of it is made of words of 4 bytes.
    # From one record to the next is a step for each element, as its size says where that is.
    whole = len(data) // 4
    text = data[: 4 * whole].data.cast("I")
    place = 0
    for element in range(count):
        _require(place < whole, "too short")
        size = text[place]
        place += 1
        if size:
            _require(size % record == 0 and place + size // 4 <= whole, "layers")
            layers[element], starts[element] = size // record, 4 * place
            place += size // 4
    _require(4 * place == len(data), "too long")
    highest = int(layers.max(initial=0)) if count else -1
    _require(highest <= _MAX_LAYERS, f"{highest} layers")
    _require(top == highest and (entry < count if count else True), "the entry")
    _require(count == 0 or int(layers[entry]) == top, "the entry")
    for layer in range(1, highest + 1):
        above = np.flatnonzero(layers >= layer)
        at = starts[above] + (layer - 1) * record
        records = data[at[:, None] + np.arange(record)]
        _check_links(records, count, max_m)
        words = np.ascontiguousarray(records).view("<u4")
        used = np.arange(max_m) < words[:, :1]
        _require(bool(np.all(layers[words[:, 1:][used]] >= layer)), "a link too high")
