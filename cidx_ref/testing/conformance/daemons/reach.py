"""What can be reached from a connection: the exposed methods, and nothing behind them.

Asked for over RPyC as it stands on the wire, because a polite client would not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rpyc
from rpyc.core import consts
from rpyc.core.netref import BaseNetref

from cidx_ref.testing.conformance.asking import Asker, Refused, is_remote
from cidx_ref.testing.conformance.bench import Bench, NotOffered
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.peer import RpycPeer

__all__ = ["CHECKS"]

#: By which everything else is reached.
_PRIVATE = (
    *("__class__", "__dict__", "__init__", "__subclasses__", "__globals__", "__func__", "__self__"),
    *("__module__", "__reduce__", "__getattribute__", "_lock", "_rpyc_setattr", "__builtins__"),
)
#: What RPyC's classic service exposes: all of the server.
_CLASSIC = ("getmodule", "eval", "execute", "getconn", "modules", "namespace", "builtin")
_PREFIX = "exposed_"
#: What an answer may be made of.
_CONTAINERS = frozenset(
    f"builtins.{name}"
    for name in ("list", "dict", "tuple", "set", "frozenset", "str", "bytes", "int", "float")
)
#: By which these are changed; and public names, so that RPyC alone lets nobody reach them.
_CHANGING = (
    *("append", "clear", "extend", "insert", "pop", "remove", "sort"),
    *("popitem", "setdefault", "update", "add", "discard"),
)
_MAX_SEEN = 200


@check("reach", "RPC-3", spawns=False)
def reach(bench: Bench) -> None:
    """Private names, modules and what is not exposed are refused."""
    with bench.daemon() as daemon, bench.showing("RPC-3"), daemon.connect() as asker:
        if not isinstance(asker.raw, RpycPeer):
            raise NotOffered("needs a daemon that is asked over RPyC")
        wire = _Wire(asker.raw)
        root = asker.raw.root
        _root_is_closed(bench, wire, root)
        for name in sorted(_exposed(wire, root)):
            method = wire.get(root, name)
            if isinstance(method, BaseNetref):
                _is_closed(bench, wire, method, f"the method {name}")
        for thing in _references(_answer(asker, asker.raw)):
            _is_closed(bench, wire, thing, f"a {_class_of(thing)} of an answer")
            _shows_nothing(bench, wire, thing)
        asker.query("village")  # and goes on serving


class _Wire:
    """Requests as they are, without what a client does on its own side."""

    def __init__(self, peer: RpycPeer) -> None:
        self._ask = peer.connection.sync_request

    def get(self, thing: Any, name: str) -> Any:
        """An attribute; None where it is refused."""
        return self._try(consts.HANDLE_GETATTR, thing, name)

    def dir(self, thing: Any) -> list[str]:
        """The names that it admits to; none where it does not tell."""
        names = self._try(consts.HANDLE_DIR, thing)
        return [str(name) for name in names] if names is not None else []

    def can_set(self, thing: Any, name: str) -> bool:
        if not self._is_taken(consts.HANDLE_SETATTR, thing, name, 1):
            return False
        self._is_taken(consts.HANDLE_DELATTR, thing, name)
        return True

    def _is_taken(self, *request: Any) -> bool:
        try:
            self._ask(*request)
        except Exception as error:
            if not is_remote(error):
                raise
            return False
        return True

    def _try(self, *request: Any) -> Any:
        try:
            return self._ask(*request)
        except Exception as error:
            if not is_remote(error):
                raise
            return None


def _exposed(wire: _Wire, root: Any) -> set[str]:
    """The names of the methods, without their prefix."""
    return {name.removeprefix(_PREFIX) for name in wire.dir(root) if name.startswith(_PREFIX)}


def _root_is_closed(bench: Bench, wire: _Wire, root: Any) -> None:
    exposed, names = _exposed(wire, root), wire.dir(root)
    for name in _CLASSIC:
        assert wire.get(root, name) is None, (
            f"{name!r} is reached from a connection: all of the server is behind it"
        )
    # What is the daemon's own comes first: it says more than what every RPyC service has.
    # One that shows no name with the prefix shows what it exposes, and nothing else.
    for name in sorted(names, key=lambda name: hasattr(rpyc.Service, name)) if exposed else ():
        # What RPyC counts as safe is a sign: it can be compared, printed, and no more.
        if name.removeprefix(_PREFIX) in exposed or name.startswith("__"):
            continue
        bench.tried("RPC-3", 1, "names")
        assert wire.get(root, name) is None, (
            f"{name!r} is not exposed, and is reached from a connection"
        )
    _is_closed(bench, wire, root, "the root")


def _is_closed(bench: Bench, wire: _Wire, thing: Any, what: str) -> None:
    for name in _PRIVATE:
        bench.tried("RPC-3", 1, "names")
        assert wire.get(thing, name) is None, f"{name!r} of {what} is reached from a connection"
    for name in ("cidx_kit", "exposed_cidx_kit"):
        assert not wire.can_set(thing, name), f"an attribute of {what} can be set by a client"


def _shows_nothing(bench: Bench, wire: _Wire, thing: Any) -> None:
    """An answer cannot be changed; an object of the daemon's own in it offers no methods."""
    if _class_of(thing) in _CONTAINERS:
        for name in _CHANGING:
            bench.tried("RPC-3", 1, "names")
            assert wire.get(thing, name) is None, (
                f"{name!r} of a {_class_of(thing)} of an answer is reached from a connection"
            )
        return
    for name in wire.dir(thing):
        if name.startswith(("_", _PREFIX)):
            continue
        bench.tried("RPC-3", 1, "names")
        found = wire.get(thing, name)
        assert not (isinstance(found, BaseNetref) and callable(found)), (
            f"{name!r} of a {_class_of(thing)} of an answer can be called by a client, "
            "and is no exposed method"
        )


def _answer(asker: Asker, peer: RpycPeer) -> Any:
    """As a stranger has it: a client of the target's own may ask for it by value."""
    call = asker.target.methods.call("query")
    args, kwargs = call.fill(project=str(asker.root), query="village", limit=3)
    try:
        return RpycPeer.call(peer, call.name, *args, **kwargs)
    except Exception as error:
        if not is_remote(error):
            raise
        raise Refused(type(error).__name__, str(error.args[:1])) from None


def _references(value: Any) -> Iterator[Any]:
    """The references that an answer is made of."""
    waiting, seen = [value], 0
    while waiting and seen < _MAX_SEEN:
        thing = waiting.pop()
        if isinstance(thing, BaseNetref):
            seen += 1
            yield thing
        if isinstance(thing, (list, tuple)):
            waiting += list(thing)
        elif isinstance(thing, dict):
            waiting += [thing[key] for key in thing]


def _class_of(thing: Any) -> str:
    return str(object.__getattribute__(thing, "____id_pack__")[0])


CHECKS = [reach]
