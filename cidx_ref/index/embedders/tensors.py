"""The tensors of a model's file, `*.safetensors`: read by numpy, and checked before it sees a byte.

The file is the length of a header in eight bytes, the header, which is JSON, and the numbers.  The
package of that name would bring a compiled module for what is this page.
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Tensors"]

_MAX_HEADER_BYTES = 1 << 24
_LENGTH_BYTES = 8
#: How numpy calls a type of number.  BF16 is the upper half of F32.
_KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip


class _Place(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Tensors:
    """What is in a file.  Immutable and thread-safe.  Every method raises `ValueError` for what is
    not as it should be."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _LENGTH_BYTES:
            raise ValueError("shorter than its header")
        length = int.from_bytes(data[:_LENGTH_BYTES], "little")
        first = _LENGTH_BYTES + length
        if length > _MAX_HEADER_BYTES or first > len(data):
            raise ValueError(f"a header of {length} bytes")
        try:
            header = json.loads(data[_LENGTH_BYTES:first])
        except RecursionError:
            raise ValueError("a header that is too deep") from None
        if not isinstance(header, dict):
            raise ValueError("a header that is no object")
        self._numbers = memoryview(data)[first:]
        self._places = {
            name: _place(name, described, len(self._numbers))
            for name, described in header.items()
            if name != "__metadata__"
        }

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def shape(self, name: str) -> tuple[int, ...]:
        return self._place_of(name).shape

    def array(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A tensor as finite float32, of that `shape` if one is given."""
        import numpy as np

        place = self._place_of(name)
        if shape and place.shape != shape:
            raise ValueError(f"{name}: of shape {place.shape}, not {shape}")
        found = self._numpy(place)
        if place.kind == "BF16":
            found = (found.astype("<u4") << 16).view("<f4")
        array: NDArray[np.float32] = np.ascontiguousarray(found, np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: numbers that are not finite")
        return array

    def places(self, name: str, count: int, below: int) -> NDArray[np.intp]:
        """A tensor of `count` whole numbers from 0 to before `below`."""
        import numpy as np

        place = self._place_of(name)
        if place.kind[0] not in "IU" or place.shape != (count,):
            raise ValueError(f"{name}: {place.kind} of shape {place.shape}, not {count} numbers")
        found = self._numpy(place)
        if count and not (found.min() >= 0 and found.max() < below):
            raise ValueError(f"{name}: a number that is not below {below}")
        return found.astype(np.intp)

    def _place_of(self, name: str) -> _Place:
        if name not in self._places:
            raise ValueError(f"no tensor {name}")
        return self._places[name]

    def _numpy(self, place: _Place) -> NDArray[Any]:
        import numpy as np

        numbers = self._numbers[place.begin : place.end]
        return np.frombuffer(numbers, _KINDS[place.kind]).reshape(place.shape)


def _place(name: str, described: Any, size: int) -> _Place:
    try:
        kind, shape = described["dtype"], tuple(described["shape"])
        begin, end = described["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name}: not described") from None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{name}: of a type that is not known")
    if not all(type(each) is int and each >= 0 for each in (*shape, begin, end)):
        raise ValueError(f"{name}: sizes that are no sizes")
    wanted = prod(shape) * int(_KINDS[kind][-1])
    if not begin <= end <= size or end - begin != wanted:
        raise ValueError(f"{name}: {wanted} bytes from {begin} to {end}, of {size}")
    return _Place(kind, shape, begin, end)
