"""RPyC on the server's side, and its limits: the only module here that imports rpyc.

What stock RPyC would allow and this does not: reaching attributes of whatever was returned
(RPC-3), frames of any size, frames that never end, readers that never read (RPC-6), a reply that
waits for the peer to say goodbye, one EMFILE that ends the server.  A connection is served by one
thread; what it sends can cost it its own connection, and nobody else anything.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from types import MethodType
from typing import Any, TypeVar

import rpyc
from rpyc.core import consts
from rpyc.core.brine import dumpable
from rpyc.core.channel import Channel
from rpyc.core.netref import BaseNetref
from rpyc.core.protocol import Connection
from rpyc.core.stream import SocketStream

from cidx_ref.errors import CidxError
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.runtime import SYSTEM, Runtime

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
_ACCEPT_PAUSE_S = 0.05
_CALLBACK_GRACE_S = 1.0

_PROTOCOL = {
    "allow_safe_attrs": False,
    "allow_exposed_attrs": False,
    "include_local_traceback": False,
    "include_local_version": False,
    "sync_request_timeout": 10,  # for what the daemon asks a client: to describe its callback
    "logger": None,
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
        self.close()
        raise EOFError(f"refused: {what}")


class _Connection(Connection):  # type: ignore[misc]
    """One client's connection: limited to `_HANDLERS`, the service's methods and plain data."""

    def __init__(self, root: Any, channel: Any, config: Any = None) -> None:
        self.replying = False
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

    def _dispatch_request(self, seq: int, raw_args: Any) -> None:
        self.replying = True
        try:
            super()._dispatch_request(seq, raw_args)
        finally:
            self.replying = False
            # It holds the frames of a failed call, and with them the snapshot it had pinned.
            self._last_traceback = None

    def _box(self, obj: Any) -> Any:
        if len(self._local_objects._dict) > MAX_REFERENCES:
            self.close()
            raise EOFError("refused: too many references")
        return super()._box(_encodable(obj))

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
        known: dict[str, type[Exception]] = {
            "AttributeError": AttributeError,
            "TypeError": TypeError,
        }
        return known.get(name, RuntimeError)(f"the client raised {name}")

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
            raise AttributeError(f"cannot access {name!r}")
        if isinstance(obj, ExposedService):
            return getattr(obj, f"exposed_{wanted}")
        return getattr(obj, name)

    def _handle_call(self, obj: Any, args: Any, kwargs: Any = ()) -> Any:
        # Only what `_access_attr` gave out can be called: a bound method of the service, or of
        # plain data.  Never a callable that the client sent, or a class.
        if type(args) is not tuple or type(kwargs) is not tuple:
            raise TypeError("arguments must be tuples")
        owner = getattr(obj, "__self__", None)
        if isinstance(obj, BaseNetref) or not (
            isinstance(owner, ExposedService) or type(owner) in _REACHABLE
        ):
            raise TypeError("not callable")
        return super()._handle_call(obj, args, kwargs)

    def _handle_inspect(self, id_pack: Any) -> Any:
        obj = self._local_objects[id_pack]
        return tuple((name, "") for name in sorted(self._reachable(obj)))

    def _handle_dir(self, obj: Any) -> tuple[str, ...]:
        return tuple(sorted(self._reachable(obj)))

    def _handle_str(self, obj: Any) -> str:
        # Containers of plain data only: others tell where they are in memory.
        return str(obj) if self._reachable(obj) >= _CONTAINER else type(obj).__name__

    _handle_repr = _handle_str

    def _handle_cmp(self, obj: Any, other: Any, op: str = "") -> Any:
        if type(op) is not str or op not in ("__eq__", "__ne__"):
            raise AttributeError(f"cannot access {op!r}")
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

    def __init__(self, proxy: BaseNetref) -> None:
        self._proxy: BaseNetref | None = proxy
        self._connection = object.__getattribute__(proxy, "____conn__")
        self._pending: Any = None

    @staticmethod
    def is_remote(callback: object) -> bool:
        return isinstance(callback, BaseNetref)

    def __call__(self, current: int, total: int, path: str, info: str) -> None:
        if self._proxy is None:
            return
        try:
            if self._is_free(wait=current == total):
                self._send((current, total, path, info) if info else (current, total, path))
        except Exception as error:
            _log.info("progress callback failed, and is not called again: %r", error)
            self._proxy = None

    def close(self) -> None:
        """Give the last call a second to arrive."""
        if self._proxy is not None:
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
        self._pending = self._connection.async_request(consts.HANDLE_CALL, self._proxy, args, ())


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
        if len(self._connections) >= self._max_connections:
            _log.warning("refused a connection: there are %d", len(self._connections))
            sock.close()
            return
        with self._changed:
            self._connections[id(sock)] = sock
        try:
            self._runtime.thread(lambda: self._serve(sock), "connection")
        except RuntimeError as error:  # no more threads
            _log.warning("cannot serve a connection: %s", error)
            self._forget(sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            channel = _Channel(_Stream(sock, self._runtime), compress=False)
            self._service._connect(channel, {}).serve_all()
        except (EOFError, OSError, ValueError, TypeError, LookupError, struct.error) as error:
            _log.info("connection dropped: %s: %s", type(error).__name__, error)
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


def _encodable(obj: Any) -> Any:
    """`obj`, or what stands for it where it holds a file name that is not UTF-8: those come as
    lone surrogates, which no RPyC peer can be sent, and arrive as \\udcxx written out."""
    if type(obj) is str and not obj.isascii():
        return obj.encode("utf-8", "backslashreplace").decode("utf-8")
    if type(obj) is tuple and dumpable(obj):
        return tuple(map(_encodable, obj))
    return obj
