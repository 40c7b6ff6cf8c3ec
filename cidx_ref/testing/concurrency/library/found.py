"""Locks of the real library in what a scheduler is to run: found before a thread waits there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cidx_ref.testing.concurrency.library.faces import KINDS

__all__ = ["real_ones"]

#: So deep is looked.
_DEPTH = 4
#: So many of a container's items.
_ITEMS = 100
#: What is ours is under the scheduler's orders, and the library's logs wait for nobody.
_HARMLESS = ("cidx_ref.testing.", "logging")


def real_ones(part: object) -> dict[str, str]:
    """Where in `part` there are locks, queues or threads of the real library: the path of each, and
    the module of what holds it."""
    found: dict[str, str] = {}
    seen: set[int] = set()
    ahead: list[tuple[str, object, str, int]] = [
        (type(part).__name__, part, type(part).__module__, 0)
    ]
    while ahead:
        path, value, holder, depth = ahead.pop()
        if id(value) in seen or type(value).__module__.startswith(_HARMLESS):
            continue
        seen.add(id(value))
        if isinstance(value, KINDS):
            found[path] = holder
        elif depth < _DEPTH:
            ahead += [(f"{path}{n}", v, h, depth + 1) for n, v, h in _inside(value, holder)]
    return found


def _inside(value: Any, holder: str) -> Iterator[tuple[str, object, str]]:
    if isinstance(value, dict):
        for key, item in list(value.items())[:_ITEMS]:
            yield f"[{key!r}]", item, holder
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, item in enumerate(list(value)[:_ITEMS]):
            yield f"[{number}]", item, holder
    elif not isinstance(value, type):
        module = type(value).__module__
        owner = getattr(value, "__self__", None)  # of a bound method
        if owner is not None:
            yield "", owner, holder
        names = {*getattr(value, "__dict__", {}), *_slots(type(value))}
        for name in sorted(names):
            yield f".{name}", getattr(value, name, None), module


def _slots(cls: type) -> Iterator[str]:
    for each in cls.__mro__:
        names = each.__dict__.get("__slots__", ())
        yield from [names] if isinstance(names, str) else names
