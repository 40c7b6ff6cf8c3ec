"""One connection's requests: RPyC's protocol, as far as the daemon takes part in it.

This is the only module on the server's side that imports rpyc.  Stock RPyC would allow a client to
reach attributes of whatever was returned (RPC-3), to send messages of any shape, to leave questions
unanswered without end, and to make a reply wait for a goodbye (RPC-6).  `_Connection` allows none
of this: a client reaches the methods of an `ExposedService` and plain data, by an allowlist.  A
connection is served by one thread; what a client sends can cost it its own connection, and costs
other clients nothing.

The time that a message takes is in proportion to its size.  No set or dictionary is made of what a
peer sent, but for keyword arguments, whose names are strings: the hashes of strings cannot be
foretold, and those of numbers and of tuples of them can (hash flooding).  What a peer refers to
becomes a `RemoteObject` (`proxy`); how frames are limited is said in `framing`, and who may connect
in `accept`.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from contextlib import suppress
from types import MethodType
from typing import Any, NoReturn

import rpyc
from rpyc.core import consts
from rpyc.core.brine import TAG_TUP2, dumpable
from rpyc.core.netref import builtin_classes_cache
from rpyc.core.protocol import Connection

from cidx_ref.daemon import told
from cidx_ref.daemon.framing import HEAD_BYTES, Channel, Refused
from cidx_ref.daemon.proxy import IdPack, Pending, RemoteObject, checked_id, known_abilities
from cidx_ref.daemon.values import CONTAINER, REACHABLE, encodable, is_named, shown
from cidx_ref.errors import InternalError
from cidx_ref.wire import load

__all__ = ["ExposedService", "serve_connection"]

_log = logging.getLogger("cidx_ref")

#: References to answers, and to parts of answers, that a plain client may hold at once.
MAX_REFERENCES = 10_000
#: Objects that a client may have lent at once: a callback, and a few lists that are being read.
MAX_REMOTES = 100
#: Questions of the daemon's that a client may leave unanswered.
MAX_UNANSWERED = 10_000
#: Requests that may be under way within one another: a callback may ask in its turn.
MAX_NESTED = 16

_PROTOCOL = {
    "allow_safe_attrs": False,
    "allow_exposed_attrs": False,
    "include_local_traceback": False,
    "include_local_version": False,
    "sync_request_timeout": 10,  # for what the daemon asks a client: to describe its callback
    "logger": None,
    "bind_threads": False,  # which the environment could turn on; it is another protocol
}

_TAKEN = "PING CLOSE GETROOT GETATTR CALL CALLATTR REPR STR CMP HASH DIR DEL INSPECT BUFFITER"
_HANDLERS = tuple(getattr(consts, f"HANDLE_{name}") for name in _TAKEN.split())
#: The names of RPyC's requests, for the message to a peer whose request is refused.
_REQUESTS = {number: name.removeprefix("HANDLE_").lower() for name, number in vars(consts).items()
             if name.startswith("HANDLE_")}  # fmt: skip


class ExposedService(rpyc.Service):  # type: ignore[misc]
    """A service of which exactly the methods in `EXPOSED` can be reached.

    One instance serves all connections; stock RPyC makes one of a class for each.
    """

    EXPOSED: frozenset[str] = frozenset()


class _LimitError(ValueError):
    """A limit of the connection's is reached: its client is told so, and then left."""


#: What objects of types that both sides know can do: the client is not asked about these.
_KNOWN = {name: known_abilities(dir(cls)) for name, cls in builtin_classes_cache.items()}


class _Connection(Connection):  # type: ignore[misc]
    """One client's connection: limited to `_HANDLERS`, the service's methods and plain data.

    Everything here runs in the connection's own thread.
    """

    def __init__(self, root: Any, channel: Any, config: Any = None) -> None:
        #: Objects of the client's that are used no more; told to it after its next message.
        self.returned: deque[IdPack] = deque()
        self._remotes = 0
        self._nested = 0
        super().__init__(root, channel, {**(config or {}), **_PROTOCOL})

    @classmethod
    def _request_handlers(cls) -> dict[int, Any]:
        handlers = super()._request_handlers()
        return {number: handlers[number] for number in _HANDLERS}

    def close(self) -> None:
        # Without asking the peer to close, too: a peer that does not answer would hold us up.
        if not self.closed:
            self._closed = True
            self._cleanup()

    def _refuse(self, what: str) -> EOFError:
        """The end of the connection, to be raised."""
        _log.info("connection dropped: %s", what)
        self.close()
        return EOFError(f"refused: {what}")

    # Messages that come.

    def _dispatch(self, data: bytes) -> None:
        self._recvlock.release()  # RPyC's, for threads that share a connection; it took it
        if isinstance(data, Refused):
            self._leave(data)
        if data[0] == consts.MSG_REQUEST:
            self._take_request(data)
        else:
            self._take_answer(data)
        self._give_back()

    def _take_request(self, data: bytes) -> None:
        try:
            message = load(data[1:])
        except EOFError as error:
            # Its number may be legible all the same, and then its sender can be told.
            sequence = self._sequence_of(data)
            self._send(consts.MSG_EXCEPTION, sequence, self._box_exc(ValueError, error, None))
        else:
            self._dispatch_request(*self._numbered(message))

    def _leave(self, data: Refused) -> NoReturn:
        """Tell the sender why its message is not taken, where that has a number, and end."""
        if data[0] == consts.MSG_REQUEST:
            boxed = self._box_exc(type(data.error), data.error, None)
            self._send(consts.MSG_EXCEPTION, self._sequence_of(data), boxed)
        raise self._refuse(str(data.error))

    def _sequence_of(self, data: bytes) -> int:
        if data[1:2] == TAG_TUP2:
            with suppress(EOFError):
                return self._numbered((load(data[2:HEAD_BYTES]), None))[0]
        raise self._refuse("a message that cannot be read")

    def _numbered(self, message: Any) -> tuple[int, Any]:
        if type(message) is tuple and len(message) == 2 and type(message[0]) is int:
            return message
        raise self._refuse("a message without a number")

    def _take_answer(self, data: bytes) -> None:
        try:
            message = load(data[1:])
        except EOFError as error:
            raise self._refuse(shown(str(error))) from None
        sequence, content = self._numbered(message)
        tell = self._request_callbacks.pop(sequence, None)
        if tell is None or data[0] not in (consts.MSG_REPLY, consts.MSG_EXCEPTION):
            raise self._refuse("an answer to nothing")
        is_error = data[0] == consts.MSG_EXCEPTION
        try:
            found = self._unbox_exc(content) if is_error else self._unbox(content)
        except (LookupError, TypeError, ValueError) as error:
            raise self._refuse(f"an answer: {shown(str(error))}") from None
        tell(is_error, found)

    def _dispatch_request(self, seq: int, raw_args: Any) -> None:
        # RPyC's keeps the traceback of an error, and with it all that the call had pinned.
        self._nested += 1
        try:
            kind, boxed = consts.MSG_REPLY, self._box(self._perform(raw_args))
        except _LimitError as error:
            boxed = self._box_exc(ValueError, error, None)
            self._send(consts.MSG_EXCEPTION, seq, boxed)
            raise self._refuse(str(error)) from None
        except Exception as error:
            kind, boxed = consts.MSG_EXCEPTION, self._box_exc(type(error), error, None)
        except BaseException as error:  # an engine's panic, whose message may hold anything
            _log.exception("a request failed")
            panic = InternalError(f"{type(error).__name__}; see daemon.log")
            kind, boxed = consts.MSG_EXCEPTION, self._box_exc(InternalError, panic, None)
        finally:
            self._nested -= 1
        self._send(kind, seq, boxed)

    def _perform(self, raw_args: Any) -> Any:
        if self._nested > MAX_NESTED:
            raise RuntimeError("too many requests within one another")
        handler, boxed = raw_args
        args = self._unbox(boxed)
        if type(handler) is not int or handler not in self._HANDLERS:
            name = _REQUESTS.get(handler) if type(handler) is int else None
            raise AttributeError(told.request(name or shown(handler)))
        if type(args) is not tuple:
            raise TypeError("arguments must be a tuple")
        return self._HANDLERS[handler](self, *args)

    # Messages that go.

    def sync_request(self, handler: int, *args: Any) -> Any:
        asked = self.async_request(handler, *args, timeout=self._config["sync_request_timeout"])
        try:
            return asked.value
        finally:
            # Or an error, its traceback and the answer would hold each other, and what the call
            # used, until the collector comes.
            asked._obj = None

    def ask_call(self, remote: RemoteObject, args: tuple[Any, ...]) -> Any:
        """Have the client call what it has lent, and wait for the answer."""
        return self.sync_request(consts.HANDLE_CALL, remote, args, ())

    def ask_method(self, remote: RemoteObject, name: str) -> Any:
        """Have the client call a method, without arguments, of what it has lent."""
        return self.sync_request(consts.HANDLE_CALLATTR, remote, name, (), ())

    def ask_equal(self, remote: RemoteObject, other: object) -> Any:
        """Have the client compare what it has lent with something."""
        return self.sync_request(consts.HANDLE_CMP, remote, other, "__eq__")

    def begin_call(self, remote: RemoteObject, args: tuple[Any, ...]) -> Pending:
        """Have the client call what it has lent, without waiting for the answer."""
        asked: Pending = self.async_request(consts.HANDLE_CALL, remote, args, ())
        return asked

    def _give_back(self) -> None:
        """Tell the client what of its own we have no more use for."""
        while self.returned and not self.closed:
            id_pack = self.returned.popleft()
            self._remotes -= 1
            # RPyC would box an object; this is what it would send.
            sequence = self._get_seq_id()
            self._request_callbacks[sequence] = _ignore
            boxed = (consts.LABEL_LOCAL_REF, id_pack), (consts.LABEL_VALUE, 1)
            content = consts.HANDLE_DEL, (consts.LABEL_TUPLE, boxed)
            self._send(consts.MSG_REQUEST, sequence, content)

    # Values and references.

    def _box(self, obj: Any) -> Any:
        if type(obj) is tuple:
            boxed = tuple(map(self._box, obj))
            if any(label != consts.LABEL_VALUE for label, _ in boxed):
                return consts.LABEL_TUPLE, boxed
            return consts.LABEL_VALUE, tuple(value for _, value in boxed)
        if isinstance(obj, RemoteObject):
            return consts.LABEL_LOCAL_REF, obj.id_pack
        if dumpable(obj):
            return consts.LABEL_VALUE, encodable(obj)
        if len(self._local_objects._dict) > MAX_REFERENCES:
            raise _LimitError(
                f"more than {MAX_REFERENCES} references held at once: let go of answers, or ask by"
                " root.call(method, arguments as JSON), which gives an answer by value"
            )
        return super()._box(obj)

    def _unbox(self, package: Any) -> Any:
        label, content = package
        if type(label) is not int:
            raise ValueError("a label must be a number")
        if label == consts.LABEL_VALUE:
            return content
        if label == consts.LABEL_TUPLE and type(content) is tuple:
            return tuple(map(self._unbox, content))
        if label == consts.LABEL_LOCAL_REF:
            return self._lent(content)
        if label == consts.LABEL_REMOTE_REF:
            return self._remote(checked_id(content))
        raise ValueError(f"label {shown(label)} before a {type(content).__name__}")

    def _lent(self, id_pack: Any) -> Any:
        """What the client was given under this id."""
        try:
            return self._local_objects[checked_id(id_pack)]
        except KeyError:
            raise LookupError(told.NOT_LENT) from None

    def _remote(self, id_pack: IdPack) -> RemoteObject:
        if self._remotes == MAX_REMOTES:
            raise ValueError(f"more than {MAX_REMOTES} objects of a client's at once")
        if len(self._request_callbacks) > MAX_UNANSWERED:
            raise _LimitError(f"more than {MAX_UNANSWERED} questions left unanswered")
        self._remotes += 1
        remote = RemoteObject(self, id_pack)
        abilities = _KNOWN.get(id_pack[0])
        if abilities is None:
            found = self.sync_request(consts.HANDLE_INSPECT, id_pack)
            attributes = found if type(found) is tuple else ()
            abilities = known_abilities([item[0] for item in attributes if type(item) is tuple])
        remote.enable(abilities)
        return remote

    def _box_exc(self, typ: Any, val: Any, tb: Any) -> Any:
        return consts.EXC_STOP_ITERATION if typ is StopIteration else told.error(typ, val)

    def _unbox_exc(self, raw: Any) -> Exception:
        return StopIteration() if raw == consts.EXC_STOP_ITERATION else told.of_the_client(raw)

    # What may be done.

    def _reachable(self, obj: Any) -> frozenset[str]:
        if isinstance(obj, ExposedService):
            return obj.EXPOSED
        return REACHABLE.get(type(obj), frozenset())

    def _access_attr(
        self, obj: Any, name: Any, args: Any, overrider: str, param: str, default: Any
    ) -> Any:
        # By their types: isinstance would ask a proxy's client what it is.
        if type(name) is bytes:
            name = name.decode("utf-8", "replace")
        if type(name) is not str:
            raise TypeError("name must be a string")
        wanted = name.removeprefix("exposed_") if isinstance(obj, ExposedService) else name
        if overrider != "_rpyc_getattr" or wanted not in self._reachable(obj):
            raise AttributeError(f"cannot access {shown(name)}: {told.instead(obj)}")
        if isinstance(obj, ExposedService):
            return getattr(obj, f"exposed_{wanted}")
        return getattr(obj, name)

    def _handle_call(self, obj: Any, args: Any, kwargs: Any = ()) -> Any:
        # Only what `_access_attr` gave out can be called: a bound method of the service, or of
        # plain data.  Never a callable that the client sent, or a class.
        if type(args) is not tuple or type(kwargs) is not tuple:
            raise TypeError("arguments must be tuples")
        owner = getattr(obj, "__self__", None)
        if not (isinstance(owner, ExposedService) or type(owner) in REACHABLE):
            raise TypeError(f"not callable: {told.instead(obj)}")
        # Before a dictionary is made of them, which takes for ever where all hashes are equal.
        if not all(map(is_named, kwargs)):
            raise TypeError("keyword arguments must be pairs of a name and a value")
        return super()._handle_call(obj, args, kwargs)

    def _handle_del(self, obj: Any, count: Any = 1) -> None:
        # RPyC compares and counts it, with a lock held that what it asks of the client would need.
        if type(count) is not int or count < 1:
            raise TypeError("the count must be a number, of 1 or more")
        try:
            super()._handle_del(obj, count)
        except KeyError:
            raise LookupError(told.NOT_LENT) from None

    def _handle_inspect(self, id_pack: Any) -> Any:
        obj = self._lent(id_pack)
        return tuple((name, "") for name in sorted(self._reachable(obj)))

    def _handle_dir(self, obj: Any) -> tuple[str, ...]:
        return tuple(sorted(self._reachable(obj)))

    def _handle_str(self, obj: Any) -> str:
        # Containers of plain data only: others tell where they are in memory.
        return str(obj) if self._reachable(obj) >= CONTAINER else type(obj).__name__

    _handle_repr = _handle_str

    def _handle_cmp(self, obj: Any, other: Any, op: str = "") -> Any:
        if type(op) is not str or op not in ("__eq__", "__ne__"):
            raise AttributeError(f"cannot access {shown(op)}: {told.instead(obj)}")
        if type(obj) is MethodType or isinstance(obj, ExposedService):
            return NotImplemented  # then it is the client's own proxies that are compared
        return self._access_attr(obj, op, (), "_rpyc_getattr", "", None)(other)

    def _handle_buffiter(self, obj: Any, count: int) -> Any:
        # Never something of the client's: it might not end.
        if type(obj) not in REACHABLE:
            raise TypeError(f"not iterable: {told.instead(obj)}")
        return super()._handle_buffiter(obj, count)


ExposedService._protocol = _Connection


def serve_connection(service: ExposedService, channel: Channel) -> None:
    """Serve one client, in this thread, until the connection ends; then the socket is closed.

    Never raises: what a client does wrong, and what goes wrong here, is logged.
    """
    try:
        service._connect(channel, {}).serve_all()
    except (EOFError, OSError, ValueError, TypeError, LookupError, struct.error) as error:
        _log.info("connection dropped: %s: %s", type(error).__name__, shown(str(error)))
    except Exception:
        _log.exception("connection dropped")


def _ignore(is_error: bool, answer: Any) -> None:
    """The answer to a reference given back: it makes no difference whether it was taken."""
