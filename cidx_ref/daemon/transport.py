"""RPyC on the server's side, and its limits: the only module here that imports rpyc.

What stock RPyC would allow and this does not: reaching attributes of whatever was returned
(RPC-3), frames of any size, frames that never end, readers that never read (RPC-6), a reply that
waits for the peer to say goodbye, one EMFILE that ends the server.  A connection is served by one
thread; what it sends can cost it its own connection, and nobody else anything.

Nor is more time spent on a message than grows with its size.  No set or dictionary is made of what
a peer sent, but for keyword arguments, whose names are strings: their hashes cannot be foretold,
and those of numbers and of tuples of them can.  What a peer refers to is a `_Remote`, which knows
three things that can be done with it, and is asked for nothing else.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import MethodType
from typing import Any, TypeVar

import rpyc
from rpyc.core import consts
from rpyc.core.brine import TAG_TUP2, dumpable
from rpyc.core.channel import Channel
from rpyc.core.netref import builtin_classes_cache
from rpyc.core.protocol import Connection
from rpyc.core.stream import SocketStream

from cidx_ref.errors import CidxError
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.sockets import is_trusted, peer
from cidx_ref.wire import load

__all__ = ["ExposedService", "RemoteCallback", "SocketServer"]

_log = logging.getLogger("cidx_ref")

A = TypeVar("A")
T = TypeVar("T")

#: A frame that has begun must end within so many seconds; between frames a client may be silent.
FRAME_TIMEOUT_S = 10.0
#: A reply must have been taken by then.
SEND_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 900
#: So many answers, and parts of answers, may a plain client hold at once.
MAX_REFERENCES = 10_000
#: And so many things of its own may it have us hold: a callback, and a few lists being read.
MAX_REMOTES = 100
#: So many of our questions may it leave unanswered.
MAX_UNANSWERED = 10_000
#: So deep may requests be nested: a callback may ask in its turn.
MAX_NESTED = 16
#: The number of a message is within so many.
_HEAD_BYTES = 1024
#: Of what a peer calls something.
_MAX_NAME_CHARS = 1000
_MAX_SHOWN_CHARS = 100
_ACCEPT_PAUSE_S = 0.05
#: So often at most is it said that other users were turned away.
_STRANGERS_LOGGED_EVERY_S = 60.0
_CALLBACK_GRACE_S = 1.0

_PROTOCOL = {
    "allow_safe_attrs": False,
    "allow_exposed_attrs": False,
    "include_local_traceback": False,
    "include_local_version": False,
    "sync_request_timeout": 10,  # for what the daemon asks a client: to describe its callback
    "logger": None,
    "bind_threads": False,  # which the environment could turn on; it is another protocol
}

_HANDLERS = (
    consts.HANDLE_PING,
    consts.HANDLE_CLOSE,
    consts.HANDLE_GETROOT,
    consts.HANDLE_GETATTR,
    consts.HANDLE_CALL,
    consts.HANDLE_CALLATTR,
    consts.HANDLE_REPR,
    consts.HANDLE_STR,
    consts.HANDLE_CMP,
    consts.HANDLE_HASH,
    consts.HANDLE_DIR,
    consts.HANDLE_DEL,
    consts.HANDLE_INSPECT,
    consts.HANDLE_BUFFITER,
)
#: What requests are called, for those that are refused.
_REQUESTS = {number: name.removeprefix("HANDLE_").lower() for name, number in vars(consts).items()
             if name.startswith("HANDLE_")}  # fmt: skip

_CONTAINER = frozenset({"__contains__", "__eq__", "__getitem__", "__iter__", "__len__", "__ne__"})
_ITERATOR = frozenset({"__iter__", "__length_hint__", "__next__"})
#: What a client may reach, by the exact type of what it was given.  Nothing here can change
#: anything, and nothing leads to a type that is not here.
_REACHABLE: dict[type, frozenset[str]] = {
    dict: _CONTAINER | {"get", "items", "keys", "values"},
    list: _CONTAINER | {"count", "index"},
    MethodType: frozenset({"__call__"}),
    **dict.fromkeys(map(type, ({}.keys(), {}.values(), {}.items())), _CONTAINER),
    **dict.fromkeys(map(type, map(iter, ([], {}, {}.values(), {}.items()))), _ITERATOR),
}


class ExposedService(rpyc.Service):  # type: ignore[misc]
    """A service of which exactly the methods in `EXPOSED` can be reached.

    One instance serves all connections; stock RPyC makes one of a class for each.
    """

    EXPOSED: frozenset[str] = frozenset()


class _Stream(SocketStream):  # type: ignore[misc]
    __slots__ = ("_runtime",)

    def __init__(self, sock: socket.socket, runtime: Runtime) -> None:
        super().__init__(sock)
        # What is there is taken without asking the system whether it is: that would be as dear.
        sock.setblocking(False)
        self._runtime = runtime

    def read(self, count: int) -> bytes:
        parts = []
        deadline = self._runtime.monotonic() + FRAME_TIMEOUT_S
        while count > 0:
            wanted = min(count, self.MAX_IO_CHUNK)
            part = self._before(deadline, select.POLLIN, self.sock.recv, wanted)
            if not part:
                self.close()
                raise EOFError("connection closed by peer")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        deadline = self._runtime.monotonic() + SEND_TIMEOUT_S
        while rest:
            rest = rest[self._before(deadline, select.POLLOUT, self.sock.send, rest) :]

    def _before(self, deadline: float, ready: int, act: Callable[[A], T], argument: A) -> T:
        try:
            while True:
                try:
                    return act(argument)
                except BlockingIOError:
                    self._wait(deadline, ready)
        except OSError as error:
            self.close()
            raise EOFError(str(error)) from None

    def _wait(self, deadline: float, ready: int) -> None:
        # A deadline for the whole, and not for each step: one byte now and then is too slow.
        left = deadline - self._runtime.monotonic()
        poller = select.poll()
        poller.register(self.sock, ready)
        if left <= 0 or not poller.poll(left * 1000):
            raise TimeoutError("timed out")


class _Channel(Channel):  # type: ignore[misc]
    """Frames of a bounded size, before and after decompression."""

    __slots__ = ()

    def recv(self) -> bytes:
        size, compressed = self.FRAME_HEADER.unpack(self.stream.read(self.FRAME_HEADER.size))
        if size > MAX_REQUEST_BYTES:
            self._refuse(f"a frame of {size} bytes")
        data: bytes = self.stream.read(size + len(self.FLUSHER))[: -len(self.FLUSHER)]
        return self._inflate(data) if compressed else data

    def _inflate(self, data: bytes) -> bytes:
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(data, MAX_REQUEST_BYTES + 1)
        except zlib.error as error:
            self._refuse(f"a damaged frame ({error})")
        if len(inflated) > MAX_REQUEST_BYTES:
            self._refuse("a frame that inflates beyond measure")
        return inflated

    def _refuse(self, what: str) -> None:
        _log.info("connection dropped: %s", what)
        self.close()
        raise EOFError(f"refused: {what}")


class _Remote:
    """Something of a client's: called or iterated where it can be, and compared by the client.

    RPyC makes a class for each, looks its name up in our modules, and would ask the client for any
    attribute, for its hash, and what class it is.  This has a class of its own, whatever it claims.
    """

    __slots__ = ("_id_pack", "connection")

    def __init__(self, connection: _Connection, id_pack: tuple[str, int, int]) -> None:
        self.connection = connection
        self._id_pack = id_pack

    def __del__(self) -> None:
        # The collector may run in any thread; this is given back in the connection's own.
        self.connection.returned.append(self._id_pack)

    def boxed(self) -> Any:
        return consts.LABEL_LOCAL_REF, self._id_pack

    def __eq__(self, other: object) -> Any:
        return self.connection.sync_request(consts.HANDLE_CMP, self, other, "__eq__")

    def __hash__(self) -> int:
        raise TypeError("a remote object has no hash here")

    def __repr__(self) -> str:
        return "a remote object"


def _call(self: _Remote, *args: Any) -> Any:
    return self.connection.sync_request(consts.HANDLE_CALL, self, args, ())


def _iter(self: _Remote) -> Any:
    return self.connection.sync_request(consts.HANDLE_CALLATTR, self, "__iter__", (), ())


def _next(self: _Remote) -> Any:
    return self.connection.sync_request(consts.HANDLE_CALLATTR, self, "__next__", (), ())


_ABILITIES: dict[str, Callable[..., Any]] = {
    "__call__": _call,
    "__iter__": _iter,
    "__next__": _next,
}
#: What types that both sides know can do: these are not asked about.
_KNOWN = {name: frozenset(_ABILITIES) & {*dir(cls)} for name, cls in builtin_classes_cache.items()}


@cache
def _remote_class(abilities: frozenset[str]) -> type[_Remote]:
    members = {name: _ABILITIES[name] for name in abilities}
    return type("remote object", (_Remote,), {"__slots__": (), **members})


class _Connection(Connection):  # type: ignore[misc]
    """One client's connection: limited to `_HANDLERS`, the service's methods and plain data.

    Everything here runs in the connection's own thread.
    """

    def __init__(self, root: Any, channel: Any, config: Any = None) -> None:
        #: What of the client's is not used any more, and can be told so.
        self.returned: deque[tuple[str, int, int]] = deque()
        self._remotes = 0
        self._nested = 0
        super().__init__(root, channel, {**(config or {}), **_PROTOCOL})

    @classmethod
    def _request_handlers(cls) -> dict[int, Any]:
        handlers = super()._request_handlers()
        return {number: handlers[number] for number in _HANDLERS}

    def close(self) -> None:
        # Without asking the peer to close, too: one that does not answer would hold us up.
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

    def _sequence_of(self, data: bytes) -> int:
        if data[1:2] == TAG_TUP2:
            with suppress(EOFError):
                return self._numbered((load(data[2:_HEAD_BYTES]), None))[0]
        raise self._refuse("a message that cannot be read")

    def _numbered(self, message: Any) -> tuple[int, Any]:
        if type(message) is tuple and len(message) == 2 and type(message[0]) is int:
            return message
        raise self._refuse("a message without a number")

    def _take_answer(self, data: bytes) -> None:
        try:
            message = load(data[1:])
        except EOFError as error:
            raise self._refuse(_shown(str(error))) from None
        sequence, content = self._numbered(message)
        tell = self._request_callbacks.pop(sequence, None)
        if tell is None or data[0] not in (consts.MSG_REPLY, consts.MSG_EXCEPTION):
            raise self._refuse("an answer to nothing")
        is_error = data[0] == consts.MSG_EXCEPTION
        try:
            found = self._unbox_exc(content) if is_error else self._unbox(content)
        except (LookupError, TypeError, ValueError) as error:
            raise self._refuse(f"an answer: {_shown(str(error))}") from None
        tell(is_error, found)

    def _dispatch_request(self, seq: int, raw_args: Any) -> None:
        # RPyC's keeps the traceback of an error, and with it all that the call had pinned.
        self._nested += 1
        try:
            result = self._perform(raw_args)
        except BaseException as error:  # an engine's panic is one
            told = self._box_exc(type(error), error, error.__traceback__)
            self._send(consts.MSG_EXCEPTION, seq, told)
        else:
            self._send(consts.MSG_REPLY, seq, self._box(result))
        finally:
            self._nested -= 1

    def _perform(self, raw_args: Any) -> Any:
        if self._nested > MAX_NESTED:
            raise RuntimeError("too many requests within one another")
        handler, boxed = raw_args
        args = self._unbox(boxed)
        if type(handler) is not int or handler not in self._HANDLERS:
            name = _REQUESTS.get(handler) if type(handler) is int else None
            raise AttributeError(
                f"request {name or _shown(handler)}: not taken here: what a client is given can be"
                " read, and neither changed nor copied"
            )
        if type(args) is not tuple:
            raise TypeError("arguments must be a tuple")
        return self._HANDLERS[handler](self, *args)

    # Messages that go.

    def sync_request(self, handler: int, *args: Any) -> Any:
        asked = self.async_request(handler, *args, timeout=self._config["sync_request_timeout"])
        try:
            return asked.value
        finally:
            # Or an error, its traceback and this would hold each other, and what the call used,
            # until the collector comes.
            asked._obj = None

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
        if isinstance(obj, _Remote):
            return obj.boxed()
        if dumpable(obj):
            return consts.LABEL_VALUE, _encodable(obj)
        if len(self._local_objects._dict) > MAX_REFERENCES:
            raise self._refuse("too many references")
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
            return self._local_objects[_checked(content)]
        if label == consts.LABEL_REMOTE_REF:
            return self._remote(_checked(content))
        raise ValueError(f"label {_shown(label)} before a {type(content).__name__}")

    def _remote(self, id_pack: tuple[str, int, int]) -> _Remote:
        if self._remotes == MAX_REMOTES:
            raise ValueError(f"more than {MAX_REMOTES} objects of a client's at once")
        if len(self._request_callbacks) > MAX_UNANSWERED:
            raise self._refuse("too many questions left unanswered")
        self._remotes += 1
        remote = _Remote(self, id_pack)
        abilities = _KNOWN.get(id_pack[0])
        if abilities is None:
            found = self.sync_request(consts.HANDLE_INSPECT, id_pack)
            names = (
                [item[0] for item in found if type(item) is tuple] if type(found) is tuple else []
            )
            abilities = frozenset(
                name for name in _ABILITIES if any(type(n) is str and n == name for n in names)
            )
        remote.__class__ = _remote_class(abilities)
        return remote

    def _box_exc(self, typ: Any, val: Any, tb: Any) -> Any:
        # Class and arguments, and nothing else of it: the repr of a method tells an address.
        if typ is StopIteration:
            return consts.EXC_STOP_ITERATION
        args = tuple(_encodable(a) if dumpable(a) else type(a).__name__ for a in val.args)
        kind = (("kind", val.kind),) if isinstance(val, CidxError) else ()
        return (typ.__module__, typ.__name__), args, kind, "<traceback denied>"

    def _unbox_exc(self, raw: Any) -> Exception:
        # What a client raises, in its callback or its lists.  RPyC would make a class of that name
        # and keep it for ever, or raise its SystemExit in our thread.
        if raw == consts.EXC_STOP_ITERATION:
            return StopIteration()
        name = raw[0][1]
        if type(name) is not str:
            raise TypeError("the name of an error must be a string")
        known: dict[str, type[Exception]] = {
            "AttributeError": AttributeError,
            "TypeError": TypeError,
        }
        return known.get(name, RuntimeError)(f"the client raised {_shown(name)}")

    # What may be done.

    def _reachable(self, obj: Any) -> frozenset[str]:
        if isinstance(obj, ExposedService):
            return obj.EXPOSED
        return _REACHABLE.get(type(obj), frozenset())

    def _access_attr(
        self, obj: Any, name: Any, args: Any, overrider: str, param: str, default: Any
    ) -> Any:
        # By their types: isinstance would ask a proxy's client what it is.
        if type(name) is bytes:
            name = name.decode("utf-8")
        if type(name) is not str:
            raise TypeError("name must be a string")
        wanted = name.removeprefix("exposed_") if isinstance(obj, ExposedService) else name
        if overrider != "_rpyc_getattr" or wanted not in self._reachable(obj):
            raise AttributeError(f"cannot access {_shown(name)}")
        if isinstance(obj, ExposedService):
            return getattr(obj, f"exposed_{wanted}")
        return getattr(obj, name)

    def _handle_call(self, obj: Any, args: Any, kwargs: Any = ()) -> Any:
        # Only what `_access_attr` gave out can be called: a bound method of the service, or of
        # plain data.  Never a callable that the client sent, or a class.
        if type(args) is not tuple or type(kwargs) is not tuple:
            raise TypeError("arguments must be tuples")
        owner = getattr(obj, "__self__", None)
        if not (isinstance(owner, ExposedService) or type(owner) in _REACHABLE):
            raise TypeError("not callable")
        # Before a dictionary is made of them, which takes for ever where all hashes are equal.
        if not all(map(_is_named, kwargs)):
            raise TypeError("keyword arguments must be pairs of a name and a value")
        return super()._handle_call(obj, args, kwargs)

    def _handle_del(self, obj: Any, count: Any = 1) -> None:
        # RPyC compares and counts it, with a lock held that what it asks of the client would need.
        if type(count) is not int or count < 1:
            raise TypeError("the count must be a number")
        super()._handle_del(obj, count)

    def _handle_inspect(self, id_pack: Any) -> Any:
        obj = self._local_objects[_checked(id_pack)]
        return tuple((name, "") for name in sorted(self._reachable(obj)))

    def _handle_dir(self, obj: Any) -> tuple[str, ...]:
        return tuple(sorted(self._reachable(obj)))

    def _handle_str(self, obj: Any) -> str:
        # Containers of plain data only: others tell where they are in memory.
        return str(obj) if self._reachable(obj) >= _CONTAINER else type(obj).__name__

    _handle_repr = _handle_str

    def _handle_cmp(self, obj: Any, other: Any, op: str = "") -> Any:
        if type(op) is not str or op not in ("__eq__", "__ne__"):
            raise AttributeError(f"cannot access {_shown(op)}")
        return self._access_attr(obj, op, (), "_rpyc_getattr", "", None)(other)

    def _handle_buffiter(self, obj: Any, count: int) -> Any:
        # Never something of the client's: it might not end.
        if type(obj) not in _REACHABLE:
            raise TypeError("not iterable")
        return super()._handle_buffiter(obj, count)


ExposedService._protocol = _Connection


class RemoteCallback:
    """A client's callback, called without waiting for it: one call is under way at most, what
    comes meanwhile is left out, and one that fails or is gone is not called again."""

    def __init__(self, remote: _Remote) -> None:
        self._remote: _Remote | None = remote
        self._connection = remote.connection
        self._pending: Any = None

    @staticmethod
    def is_remote(callback: object) -> bool:
        return isinstance(callback, _Remote)

    def __call__(self, current: int, total: int, path: str, info: str) -> None:
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
        self._pending = self._connection.async_request(consts.HANDLE_CALL, self._remote, args, ())


class SocketServer:
    """Accepts connections on a listening socket, and serves each in a thread of its own."""

    def __init__(
        self,
        service: ExposedService,
        listener: socket.socket,
        *,
        runtime: Runtime = SYSTEM,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._service = service
        self._listener = listener
        self._runtime = runtime
        self._max_connections = max_connections
        self._changed = runtime.condition("connections")
        self._connections: dict[int, Any] = {}
        self._strangers = 0
        self._log_strangers_at = runtime.monotonic()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)
        listener.setblocking(False)
        self._poller = select.poll()
        for fd in (listener.fileno(), self._wake_r):
            self._poller.register(fd, select.POLLIN)

    def serve(self, watch: Callable[[], bool], every_s: float) -> None:
        """Accept until `stop`, or until `watch`, asked every so many seconds, says False."""
        next_watch = self._runtime.monotonic() + every_s
        while not self._woken(max(0.0, next_watch - self._runtime.monotonic())):
            if self._runtime.monotonic() >= next_watch:
                next_watch = self._runtime.monotonic() + every_s
                if not watch():
                    return
            self._accept()

    def stop(self) -> None:
        """Let `serve` return.  May be called from a signal handler: it takes no lock."""
        with suppress(OSError):  # full, or closed: it has been told already
            os.write(self._wake_w, b"x")

    def close_listener(self) -> None:
        """Turn away those who have connected and were not accepted yet, and all who come."""
        self._listener.close()

    def close(self, drain_s: float) -> None:
        """Take no new connections, let replies under way be sent, then close everything."""
        self.close_listener()
        with self._changed:
            connections = list(self._connections.values())
        for connection in connections:
            _shut(connection, socket.SHUT_RD)  # its thread ends once it has replied
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, drain_s)
            connections = list(self._connections.values())
        for connection in connections:
            _shut(connection, socket.SHUT_RDWR)
        # Forgotten before it is closed: a late `stop` must not write to whoever gets the number.
        wake, self._wake_w = self._wake_w, -1
        os.close(self._wake_r)
        os.close(wake)

    def _woken(self, timeout_s: float) -> bool:
        ready = {fd for fd, _ in self._poller.poll(timeout_s * 1000)}
        return self._wake_r in ready

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                _log.warning("cannot accept a connection: %s", error.strerror)
                self._runtime.sleep(_ACCEPT_PAUSE_S)  # it stays readable: do not spin
            return
        if not self._is_welcome(sock):
            sock.close()
            return
        with self._changed:
            self._connections[id(sock)] = sock
        try:
            self._runtime.thread(lambda: self._serve(sock), "connection")
        except RuntimeError as error:  # no more threads
            _log.warning("cannot serve a connection: %s", error)
            self._forget(sock)

    def _is_welcome(self, sock: socket.socket) -> bool:
        pid, uid = peer(sock)
        if is_trusted(uid):
            if len(self._connections) < self._max_connections:
                return True
            _log.warning("refused a connection: there are %d", len(self._connections))
            return False
        # As many as they like may come: they must not push all else out of the log.
        self._strangers += 1
        if self._runtime.monotonic() >= self._log_strangers_at:
            said = "refused connections: %d of other users, at last of user %d (pid %d)"
            _log.warning(said, self._strangers, uid, pid)
            self._strangers = 0
            self._log_strangers_at = self._runtime.monotonic() + _STRANGERS_LOGGED_EVERY_S
        return False

    def _serve(self, sock: socket.socket) -> None:
        try:
            channel = _Channel(_Stream(sock, self._runtime), compress=False)
            self._service._connect(channel, {}).serve_all()
        except (EOFError, OSError, ValueError, TypeError, LookupError, struct.error) as error:
            _log.info("connection dropped: %s: %s", type(error).__name__, _shown(str(error)))
        except Exception:
            _log.exception("connection dropped")
        finally:
            self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        with self._changed:
            sock.close()
            self._connections.pop(id(sock), None)
            self._changed.notify_all()


def _shut(sock: socket.socket, how: int) -> None:
    with suppress(OSError):  # gone already
        sock.shutdown(how)


def _ignore(is_error: bool, answer: Any) -> None:
    """Nothing hangs on whether what is given back was taken."""


def _checked(id_pack: Any) -> tuple[str, int, int]:
    """What a peer calls an object; `ValueError` if it is anything else, which is not hashed."""
    if type(id_pack) is tuple and tuple(map(type, id_pack)) == (str, int, int):
        name, type_id, object_id = id_pack
        if len(name) <= _MAX_NAME_CHARS:
            return name, type_id, object_id
    raise ValueError("a reference must be a name and two numbers")


def _is_named(item: Any) -> bool:
    return type(item) is tuple and len(item) == 2 and type(item[0]) is str


def _shown(value: Any) -> str:
    """A peer's value in a message or the log: escaped, and not all of it."""
    plain = value if type(value) in (bytes, int, str) else type(value).__name__
    shown = repr(plain[:_MAX_SHOWN_CHARS] if isinstance(plain, bytes | str) else plain)
    return shown[: 4 * _MAX_SHOWN_CHARS]


def _encodable(obj: Any) -> Any:
    """`obj`, or what stands for it where it holds a file name that is not UTF-8: those come as
    lone surrogates, which no RPyC peer can be sent, and arrive as \\udcxx written out."""
    if type(obj) is str and not obj.isascii():
        return obj.encode("utf-8", "backslashreplace").decode("utf-8")
    if type(obj) is tuple:  # of such, as the caller has seen to
        return tuple(map(_encodable, obj))
    return obj
