"""Plain data at the border: what a client may do with it, and how it is sent and shown.

A plain RPyC client is given its answers by reference, so it reads dictionaries and lists here, in
the daemon.  The allowlist says by which methods; none of them changes anything, and none leads to a
type that is not in the list (RPC-3).  What a peer sent is looked at by its exact type, and is never
hashed or compared on the way: `isinstance`, a hash or a comparison would be the peer's to answer.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

__all__ = ["CONTAINER", "REACHABLE", "encodable", "is_named", "shown"]

_MAX_SHOWN_CHARS = 100

CONTAINER = frozenset(
    {"__contains__", "__eq__", "__format__", "__getitem__", "__iter__", "__len__", "__ne__"}
)
_ITERATOR = frozenset({"__iter__", "__length_hint__", "__next__"})
#: The names that a client may reach, by the exact type of what it was given.
REACHABLE: dict[type, frozenset[str]] = {
    dict: CONTAINER | {"get", "items", "keys", "values"},
    list: CONTAINER | {"count", "index"},
    MethodType: frozenset({"__call__"}),
    **dict.fromkeys(map(type, ({}.keys(), {}.values(), {}.items())), CONTAINER),
    **dict.fromkeys(map(type, map(iter, ([], {}, {}.values(), {}.items()))), _ITERATOR),
}


def is_named(item: Any) -> bool:
    """True for a keyword argument: a pair of a name and a value."""
    return type(item) is tuple and len(item) == 2 and type(item[0]) is str


def shown(value: Any) -> str:
    """A peer's value in a message or the log: escaped, and cut where it is long."""
    plain = value if type(value) in (bytes, int, str) else type(value).__name__
    text = repr(plain[:_MAX_SHOWN_CHARS] if isinstance(plain, bytes | str) else plain)
    return text[: 4 * _MAX_SHOWN_CHARS]


def encodable(obj: Any) -> Any:
    r"""`obj`, or what stands for it where it holds a file name that is not UTF-8.

    Such names come as lone surrogates, which no RPyC peer can be sent; they arrive as \udcxx
    written out.  `obj` is plain, and so is all that a tuple holds.
    """
    if type(obj) is str and not obj.isascii():
        return obj.encode("utf-8", "backslashreplace").decode("utf-8")
    if type(obj) is tuple:
        return tuple(map(encodable, obj))
    return obj
