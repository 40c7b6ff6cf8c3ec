"""What a stock RPyC service returns, as plain data.

RPyC sends numbers, text and tuples of them by value, and of all else a network reference: each look
at it is a round trip, and what may be looked at is the service's to say.  By default that is what
lists, dicts and iterators need, and no attribute whose name does not begin with `exposed_`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from rpyc.core.netref import BaseNetref

__all__ = ["CYCLE", "by_value", "is_mapping", "is_reference"]

#: Stands where an answer would contain itself.
CYCLE = "..."
_MOST_PARTS = 200_000
_DEEPEST = 100
_EXPOSED = "exposed_"


def by_value(answer: Any) -> Any:
    """Plain data: dicts, lists, tuples, sets, text and numbers.

    Iterators become lists.  Objects become dicts of the attributes that the service shows, or text
    if it shows none.  Raises `ValueError` for what has no end.
    """
    return _Reader().read(answer)


def is_reference(value: Any) -> bool:
    return isinstance(value, BaseNetref)


def is_mapping(reference: Any) -> bool:
    """Whether it is read by its keys: as its class says, not as it may be looked at."""
    return _reading(reference) is _Reader.mapping


class _Reader:
    """One answer's reading: how much there may still be, and what it is inside of."""

    def __init__(self) -> None:
        self._left = _MOST_PARTS
        self._path: list[object] = []

    def read(self, value: Any) -> Any:
        if not isinstance(value, BaseNetref):
            return self._came_by_value(value)
        identity = object.__getattribute__(value, "____id_pack__")
        if identity in self._path:
            return CYCLE
        if len(self._path) >= _DEEPEST:
            raise ValueError("the answer is too deep")
        self._path.append(identity)
        try:
            return _reading(value)(self, value)
        finally:
            self._path.pop()

    def _came_by_value(self, value: Any) -> Any:
        """References may be within tuples, which come by value."""
        if type(value) in (tuple, frozenset):
            return type(value)(self._each(value))
        return value

    def _parts(self, value: Any) -> Iterator[Any]:
        for part in value:
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"the answer is too much: it has more than {_MOST_PARTS} parts")
            yield part

    def _each(self, value: Any) -> Iterator[Any]:
        return map(self.read, self._parts(value))

    def mapping(self, value: Any) -> Any:
        return {_key(self.read(key)): self.read(value[key]) for key in self._parts(value)}

    def elements(self, value: Any) -> Any:
        """A list, or what else holds elements in an order."""
        return list(self._each(value))

    def elements_of_tuple(self, value: Any) -> Any:
        return self._shown(value) or tuple(self._each(value))

    def elements_of_set(self, value: Any) -> Any:
        kind = set if "add" in _methods(value) else frozenset
        return kind(map(_key, self._each(value)))

    def octets(self, value: Any) -> Any:
        return bytes(self._parts(value))

    def text(self, value: Any) -> Any:
        return str(value)

    def number(self, value: Any) -> Any:
        return operator.index(value) if "__index__" in _methods(value) else float(value)

    def attributes(self, value: Any) -> Any:
        return self._shown(value) or str(value)

    def _shown(self, value: Any) -> dict[str, Any]:
        """The attributes that can be read."""
        methods, found = _methods(value), {}
        for name in dir(value):
            if not name.startswith("_") and name not in methods:
                with suppress(Exception):  # it is not shown, or raises
                    found[name.removeprefix(_EXPOSED)] = getattr(value, name)
        return {name: self.read(part) for name, part in found.items()}


def _methods(value: Any) -> frozenset[str]:
    """What its class can do, which RPyC tells with the reference."""
    return frozenset(vars(type(value)))


#: How a value is read: the first for which its class has all of the one, and none of the other.
_READINGS: tuple[tuple[set[str], set[str], Callable[[_Reader, Any], Any]], ...] = (
    ({"keys", "__getitem__"}, set(), _Reader.mapping),
    ({"encode", "casefold"}, set(), _Reader.text),
    ({"hex", "__getitem__"}, {"__float__"}, _Reader.octets),
    ({"__fspath__"}, set(), _Reader.text),
    ({"isoformat"}, set(), _Reader.text),
    ({"union", "__iter__"}, set(), _Reader.elements_of_set),
    ({"count", "index", "__add__"}, {"append"}, _Reader.elements_of_tuple),
    ({"__iter__"}, set(), _Reader.elements),
    ({"__index__"}, set(), _Reader.number),
    ({"__float__"}, set(), _Reader.number),
    ({"__getitem__"}, {"__class_getitem__"}, _Reader.elements),
)


def _reading(value: Any) -> Callable[[_Reader, Any], Any]:
    if object.__getattribute__(value, "____id_pack__")[2] == 0:  # a class
        return _Reader.text
    methods = _methods(value)
    for needed, excluded, reading in _READINGS:
        if needed <= methods and not excluded & methods:
            return reading
    return _Reader.attributes


def _key(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return str(value)
    return value
