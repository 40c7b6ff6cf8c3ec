"""Plain data at the border: what a client may do with it, and how it is sent and shown.

A plain RPyC client is given its answers by reference, so it reads dictionaries and lists here, in
the daemon.  The allowlist says by which methods; none of them changes anything, and none leads to a
type that is not in the list (RPC-3).  What a peer sent is looked at by its exact type, and is never
hashed or compared on the way: `isinstance`, a hash or a comparison would be the peer's to answer.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

__all__ = ["CONTAINER", "REACHABLE", "encodable", "instead", "is_named", "said", "shown"]

_MAX_SHOWN_CHARS = 100
#: What is said of anything, at most: an error that holds what a peer sent holds not all of it.
_MAX_SAID_CHARS = 1000

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


def said(argument: Any) -> Any:
    """An argument of an error as a client is told it: a number or a text that is not long, as it
    is; of anything else, what it is like."""
    if type(argument) is str:
        return encodable(argument[:_MAX_SAID_CHARS])
    if type(argument) in (bool, float, type(None)):
        return argument
    is_short = type(argument) is int and argument.bit_length() < _MAX_SHOWN_CHARS
    return argument if is_short else shown(argument)


def instead(obj: Any) -> str:
    """What can be done with `obj`, for a client that was refused something else."""
    kind = type(obj)
    if kind not in REACHABLE:
        return "it is a value, or the client's own"
    if kind is MethodType:
        return "a method can be called, and nothing else"
    copy = "dict(it)" if kind is dict else "list(it)"
    names = ", ".join(sorted(name for name in REACHABLE[kind] if name[0] != "_"))
    return (
        f"a {kind.__name__} that a client was given can be read (by `[]`, `in`, `len`, `==`, in a"
        f" loop{names and ', by '}{names}) and not changed: {copy} is a copy of your own"
    )


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
