"""RPyC's protocol, as far as one call with plain arguments needs it; without importing rpyc.

`import rpyc` takes 60 ms of CPU, which is more than all else that a query from the shell does.
So the client speaks the protocol itself: a `Caller` fetches the remote root, calls its methods by
name, and takes a value for an answer.  What needs more of RPyC (a callback) is not done here.

The format is that of rpyc 6: a frame is a header (size, whether it is compressed), a message and
a line feed; a message is its kind, and `(sequence number, content)` in brine, RPyC's serialization
of immutable values; and what is in the content is labelled as a value, a tuple of labelled things,
or a reference to something of the other side's (`rpyc.core.protocol`, `brine`, `consts`).  Of
brine, what such messages are made of is here; `tests/test_wire.py` holds it against the original.
"""

from __future__ import annotations

import socket
import struct
from io import BytesIO
from typing import Any

from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Caller", "RemoteError", "dump", "load"]

_FRAME = struct.Struct("!LB")
_LENGTH = struct.Struct("!L")
_FLOAT = struct.Struct("!d")
_REQUEST, _REPLY, _EXCEPTION = 1, 2, 3
_VALUE, _TUPLE, _OF_RECEIVER, _OF_SENDER = 1, 2, 3, 4
_GET_ROOT, _CALL_ATTRIBUTE = 3, 8
#: An answer larger than this is no answer.
_MAX_BYTES = 1 << 28

_NONE, _EMPTY_BYTES, _EMPTY_TUPLE, _TRUE, _FALSE = range(5)
_STRING, _BYTES, _BYTES_1, _BYTES_4, _TUPLES, _TUPLE_1, _TUPLE_4 = 8, 10, 14, 15, 16, 20, 21
_INT_1, _INT_4, _DOUBLE = 22, 23, 24
_SMALL_FROM, _SMALL_TO, _SMALL_ZERO = -0x30, 0xA0, 0x50
_SINGLES: dict[int, Any] = {
    _NONE: None,
    _EMPTY_BYTES: b"",
    _EMPTY_TUPLE: (),
    _TRUE: True,
    _FALSE: False,
}


class RemoteError(Exception):
    """The other side raised, outside the protocol of `exposed_call`; the message says what."""


class Caller:
    """Calls methods of the root at the other end of a connected socket.  For one thread."""

    def __init__(self, sock: socket.socket, runtime: Runtime = SYSTEM) -> None:
        self._sock = sock
        self._runtime = runtime
        self._sequence = 0
        self._root: Any = None

    def call(self, method: str, *arguments: str | None, timeout_s: float | None) -> Any:
        """What the method returns, which must be a plain value.

        Raises `TimeoutError` after `timeout_s` seconds, and then the connection is of no more
        use; `EOFError` or `OSError` if it is lost; `RemoteError`.
        """
        deadline = None if timeout_s is None else self._runtime.monotonic() + timeout_s
        if self._root is None:
            self._root = _OF_RECEIVER, self._ask(_GET_ROOT, (_TUPLE, ()), _OF_SENDER, deadline)
        boxed = (self._root, *((_VALUE, value) for value in (method, arguments, ())))
        return self._ask(_CALL_ATTRIBUTE, (_TUPLE, boxed), _VALUE, deadline)

    def _ask(self, handler: int, boxed: Any, label: int, deadline: float | None) -> Any:
        self._sequence += 1
        request = bytes([_REQUEST]) + dump((self._sequence, (handler, boxed)))
        self._until(deadline)
        self._sock.sendall(_FRAME.pack(len(request), 0) + request + b"\n")
        kind, message = self._receive(deadline)
        match message:
            case (self._sequence, content) if kind == _EXCEPTION:
                raise RemoteError(_described(content))
            case (self._sequence, (found, content)) if (kind, found) == (_REPLY, label):
                return content
        raise EOFError("the daemon said goodbye, or something that was not asked for")

    def _receive(self, deadline: float | None) -> tuple[int, Any]:
        """The kind of the next message, and what it holds."""
        size, is_compressed = _FRAME.unpack(self._read(_FRAME.size, deadline))
        if is_compressed or not 0 < size < _MAX_BYTES:  # our daemon compresses nothing
            raise EOFError(f"a frame that is no answer ({size} bytes)")
        data = self._read(size + 1, deadline)
        return data[0], load(data[1:-1])

    def _read(self, count: int, deadline: float | None) -> bytes:
        parts = []
        while count > 0:
            self._until(deadline)
            part = self._sock.recv(min(count, 1 << 16))
            if not part:
                raise EOFError("connection closed by the daemon")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _until(self, deadline: float | None) -> None:
        if deadline is not None:
            self._sock.settimeout(max(deadline - self._runtime.monotonic(), 0.001))
        elif self._sock.gettimeout() is not None:
            self._sock.settimeout(None)


def _described(content: Any) -> str:
    """Of an exception as RPyC sends it: ((module, name), arguments, attributes, traceback)."""
    try:
        (_, name), arguments, *_ = content
        return f"{name}: {', '.join(map(str, arguments))}"
    except (TypeError, ValueError):
        return str(content)


def dump(value: Any) -> bytes:
    """`value` in brine: None, a bool, an int, a float, a str, or a tuple of such."""
    if isinstance(value, tuple):
        parts = b"".join(map(dump, value))
        if len(value) <= 4:
            return bytes([_TUPLES - 1 + len(value) if value else _EMPTY_TUPLE]) + parts
        return _sized(_TUPLE_1, len(value)) + parts
    if isinstance(value, str):
        return bytes([_STRING]) + _dump_bytes(value.encode("utf-8"))
    if isinstance(value, bool) or value is None:
        return bytes([_NONE if value is None else _TRUE if value else _FALSE])
    if isinstance(value, int):
        return _dump_int(value)
    if isinstance(value, float):
        return bytes([_DOUBLE]) + _FLOAT.pack(value)
    raise TypeError(f"cannot be sent: {type(value).__name__}")


def load(data: bytes) -> Any:
    """The value that `data` is in brine: what `dump` takes, or bytes.

    Raises `EOFError` for anything else: the other side does not speak this.
    """
    stream = BytesIO(data)
    try:
        return _load(stream)
    except (IndexError, ValueError, AttributeError, RecursionError, struct.error) as error:
        raise EOFError(f"an answer that cannot be read ({error})") from None


def _dump_bytes(value: bytes) -> bytes:
    if not value:
        return bytes([_EMPTY_BYTES])
    if len(value) <= 4:
        return bytes([_BYTES - 1 + len(value)]) + value
    return _sized(_BYTES_1, len(value)) + value


def _dump_int(value: int) -> bytes:
    if _SMALL_FROM <= value < _SMALL_TO:
        return bytes([_SMALL_ZERO + value])
    digits = str(value).encode("ascii")
    return _sized(_INT_1, len(digits)) + digits


def _sized(tag: int, size: int) -> bytes:
    """A tag and a length: in one byte, or by the tag after it in four."""
    return bytes([tag, size]) if size < 256 else bytes([tag + 1]) + _LENGTH.pack(size)


def _load(stream: BytesIO) -> Any:
    tag = stream.read(1)[0]
    if _SMALL_FROM <= tag - _SMALL_ZERO < _SMALL_TO:
        return tag - _SMALL_ZERO
    if tag in _SINGLES:
        return _SINGLES[tag]
    if tag == _STRING:
        return _load(stream).decode("utf-8")
    if tag == _DOUBLE:
        return _FLOAT.unpack(stream.read(8))[0]
    return _load_sized(stream, tag)


def _load_sized(stream: BytesIO, tag: int) -> Any:
    if _BYTES <= tag < _BYTES + 4:
        return _exactly(stream, tag - _BYTES + 1)
    if _TUPLES <= tag < _TUPLES + 4:
        return tuple(_load(stream) for _ in range(tag - _TUPLES + 1))
    is_long = tag in (_BYTES_4, _TUPLE_4, _INT_4)
    size = _LENGTH.unpack(stream.read(4))[0] if is_long else stream.read(1)[0]
    short = tag - is_long
    if short == _TUPLE_1:
        return tuple(_load(stream) for _ in range(size))
    data = _exactly(stream, size)
    if short == _BYTES_1:
        return data
    if short == _INT_1:
        return int(data)
    raise ValueError(f"tag {tag}")


def _exactly(stream: BytesIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("cut off")
    return data
