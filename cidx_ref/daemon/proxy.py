"""Remote proxies: what stands in the daemon for an object that a client has lent it.

A client lends its progress callback, and a plain RPyC client the lists and iterators that it gives
as arguments.  A `RemoteObject` knows three things that can be done with such an object, and asks
its client for nothing else.  A `RemoteCallback` calls one without waiting for the answer, so that a
slow client does not slow down an index run (back-pressure is answered by leaving events out).

What is asked goes over the client's connection (`transport`); rpyc is not imported here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Protocol

__all__ = [
    "IdPack",
    "Peer",
    "Pending",
    "RemoteCallback",
    "RemoteObject",
    "checked_id",
    "known_abilities",
]

_log = logging.getLogger("cidx_ref")

#: What a peer calls an object: a type's name, the type's number and the object's.
IdPack = tuple[str, int, int]

#: The longest name that a peer may give to something.
_MAX_NAME_CHARS = 1000
_CALLBACK_GRACE_S = 1.0


def checked_id(id_pack: Any) -> IdPack:
    """`id_pack`, if it is what a peer calls an object.

    Raises `ValueError` if it is anything else, which is not hashed.
    """
    if type(id_pack) is tuple and tuple(map(type, id_pack)) == (str, int, int):
        name, type_id, object_id = id_pack
        if len(name) <= _MAX_NAME_CHARS:
            return name, type_id, object_id
    raise ValueError("a reference must be a name and two numbers")


class Pending(Protocol):
    """An answer that may not have come yet (RPyC's `AsyncResult`)."""

    @property
    def ready(self) -> bool: ...
    @property
    def value(self) -> Any: ...
    def set_expiry(self, timeout_s: float) -> None: ...
    def wait(self) -> None: ...


class Peer(Protocol):
    """The client at the other end of a connection, which can be asked about what it has lent."""

    #: Objects of the client's that are used no more, and have to be given back to it.
    returned: deque[IdPack]

    def ask_call(self, remote: RemoteObject, args: tuple[Any, ...]) -> Any: ...
    def ask_method(self, remote: RemoteObject, name: str) -> Any: ...
    def ask_equal(self, remote: RemoteObject, other: object) -> Any: ...
    def begin_call(self, remote: RemoteObject, args: tuple[Any, ...]) -> Pending: ...


class RemoteObject:
    """Something of a client's: called or iterated where it can be, and compared by the client.

    RPyC makes a class for each, looks its name up in our modules, and would ask the client for any
    attribute, for its hash, and what class it is.  This has a class of its own, whatever it claims.

    Used in the thread of its connection, and collected in any.
    """

    __slots__ = ("id_pack", "peer")

    def __init__(self, peer: Peer, id_pack: IdPack) -> None:
        self.peer = peer
        self.id_pack = id_pack

    def enable(self, abilities: frozenset[str]) -> None:
        """From now on this object can do what `abilities`, of `known_abilities`, names."""
        self.__class__ = _class_with(abilities)

    def __del__(self) -> None:
        # The collector may run in any thread; this is given back in the connection's own.
        self.peer.returned.append(self.id_pack)

    def __eq__(self, other: object) -> Any:
        return self.peer.ask_equal(self, other)

    def __hash__(self) -> int:
        raise TypeError("a remote object has no hash here")

    def __repr__(self) -> str:
        return "a remote object"


def _call(self: RemoteObject, *args: Any) -> Any:
    return self.peer.ask_call(self, args)


def _iter(self: RemoteObject) -> Any:
    return self.peer.ask_method(self, "__iter__")


def _next(self: RemoteObject) -> Any:
    return self.peer.ask_method(self, "__next__")


_ABILITIES: dict[str, Callable[..., Any]] = {
    "__call__": _call,
    "__iter__": _iter,
    "__next__": _next,
}


def known_abilities(names: Iterable[Any]) -> frozenset[str]:
    """The abilities among `names`, which may come from a peer: they are compared and not hashed."""
    told = [name for name in names if type(name) is str]
    return frozenset(ability for ability in _ABILITIES if ability in told)


@cache
def _class_with(abilities: frozenset[str]) -> type[RemoteObject]:
    members = {name: _ABILITIES[name] for name in abilities}
    return type("remote object", (RemoteObject,), {"__slots__": (), **members})


class RemoteCallback:
    """A client's progress callback, called without waiting for it.

    One call is under way at most; an event that comes meanwhile is left out; and a callback that
    fails, or whose client is gone, is not called again.  Never raises.  For the connection's
    thread.
    """

    def __init__(self, remote: RemoteObject) -> None:
        self._remote: RemoteObject | None = remote
        self._peer = remote.peer
        self._pending: Pending | None = None

    @staticmethod
    def is_remote(callback: object) -> bool:
        """True for a client's callback, False for one of this process."""
        return isinstance(callback, RemoteObject)

    def __call__(self, current: int, total: int, path: str, info: str) -> None:
        """Report an event, unless the client still has one; wait for it before the last event."""
        if self._remote is None:
            return
        try:
            if self._is_free(wait=current == total):
                self._send((current, total, path, info) if info else (current, total, path))
        except Exception as error:
            _log.info("progress callback failed, and is not called again: %r", error)
            self._remote = None

    def close(self) -> None:
        """Give the last call a second to arrive."""
        if self._remote is not None:
            try:
                self._is_free(wait=True)
            except Exception as error:
                _log.info("progress callback failed: %r", error)

    def _is_free(self, *, wait: bool) -> bool:
        pending = self._pending
        if pending is None:
            return True
        if wait:
            pending.set_expiry(_CALLBACK_GRACE_S)
            pending.wait()
        if not pending.ready:
            return False
        self._pending = None
        return pending.value is pending.value  # raises what the callback raised

    def _send(self, args: tuple[Any, ...]) -> None:
        assert self._remote is not None
        self._pending = self._peer.begin_call(self._remote, args)
