"""RPyC's protocol, as far as one call with plain arguments needs it; without importing rpyc.

`import rpyc` takes 60 ms of CPU, which is more than all else that a query from the shell does.
So the client speaks the protocol itself: a `Caller` fetches the remote root, calls its methods by
name, and takes a value for an answer.  What needs more of RPyC (a callback) is not done here.

The format is that of rpyc 6: a frame is a header (size, whether it is compressed), a message and
a line feed; a message is its kind, and `(sequence number, content)` in brine, RPyC's serialization
of immutable values; and what is in the content is labelled as a value, a tuple of labelled things,
or a reference to something of the other side's (`rpyc.core.protocol`, `brine`, `consts`).

`load` reads what either side is sent, the daemon included, in time that grows no faster than the
message: rpyc's own reader hashes what it is sent (80,000 integers of equal hash in a frozenset are
twenty seconds of the interpreter's lock), and nests as deep as it is told to.
`tests/test_wire.py` holds both directions against the original.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["MAX_DEPTH", "MAX_VALUES", "Caller", "NoAnswerError", "RemoteError", "dump", "load"]

#: What one message may hold.  A call has some twenty values, four deep in tuples, before those of
#: its arguments; a number is an index, a count or the address of an object.
MAX_VALUES = 10_000
MAX_DEPTH = 40
MAX_DIGITS = 1000

T = TypeVar("T")

_FRAME = struct.Struct("!LB")
_LENGTH = struct.Struct("!L")
_FLOAT = struct.Struct("!d")
_COMPLEX = struct.Struct("!dd")
_REQUEST, _REPLY, _EXCEPTION = 1, 2, 3
_VALUE, _TUPLE, _OF_RECEIVER, _OF_SENDER = 1, 2, 3, 4
_GET_ROOT, _CALL_ATTRIBUTE = 3, 8
#: An answer larger than this is no answer.
_MAX_BYTES = 1 << 28
_MAX_ERROR_CHARS = 1000

_NONE, _EMPTY_BYTES, _EMPTY_TUPLE, _TRUE, _FALSE = range(5)
_STRING, _BYTES, _BYTES_1, _BYTES_4, _TUPLES, _TUPLE_1, _TUPLE_4 = 8, 10, 14, 15, 16, 20, 21
_INT_1, _INT_4, _DOUBLE, _SLICE, _SET, _DOUBLES = 22, 23, 24, 25, 26, 27
_SMALL_FROM, _SMALL_TO, _SMALL_ZERO = -0x30, 0xA0, 0x50
_SINGLES: dict[int, Any] = {
    _NONE: None,
    _EMPTY_BYTES: b"",
    _EMPTY_TUPLE: (),
    _TRUE: True,
    _FALSE: False,
    5: NotImplemented,
    6: Ellipsis,
    **{_SMALL_ZERO + number: number for number in range(_SMALL_FROM, _SMALL_TO)},
}


class RemoteError(Exception):
    """The other side raised, outside the protocol of `exposed_call`; the message says what."""


class NoAnswerError(EOFError):
    """What the other side sent is no answer to what it was asked."""


class Caller:
    """Calls methods of the root at the other end of a connected socket.  For one thread, and for
    the process that made it: after a fork two would read each other's answers."""

    def __init__(self, sock: socket.socket, runtime: Runtime = SYSTEM) -> None:
        self._sock = sock
        self._runtime = runtime
        self._ahead = b""  # has been read, and not asked for
        self._sequence = 0
        self._root: Any = None
        self._pid = os.getpid()

    def call(self, method: str, *arguments: str | None, timeout_s: float | None) -> Any:
        """What the method returns, which must be a plain value.

        Raises `TimeoutError` after `timeout_s` seconds, and then the connection is of no more
        use; `EOFError` or `OSError` if it is lost, `NoAnswerError` among them; `RemoteError`.
        """
        if not self._is_of_this_process():
            raise EOFError("the connection is of another process")
        deadline = None if timeout_s is None else self._runtime.monotonic() + timeout_s
        if self._root is None:
            self._root = _OF_RECEIVER, self._ask(_GET_ROOT, (_TUPLE, ()), _OF_SENDER, deadline)
        boxed = (self._root, *((_VALUE, value) for value in (method, arguments, ())))
        return self._ask(_CALL_ATTRIBUTE, (_TUPLE, boxed), _VALUE, deadline)

    def _is_of_this_process(self) -> bool:
        return os.getpid() == self._pid

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
        raise NoAnswerError("it said something that was not asked for")

    def _receive(self, deadline: float | None) -> tuple[int, Any]:
        """The kind of the next message, and what it holds."""
        size, is_compressed = _FRAME.unpack(self._read(_FRAME.size, deadline))
        if is_compressed or not 0 < size < _MAX_BYTES:  # our daemon compresses nothing
            raise NoAnswerError(f"a frame that is no answer ({size} bytes)")
        data = self._read(size + 1, deadline)
        try:
            return data[0], load(data[1:-1])
        except EOFError as error:
            raise NoAnswerError(str(error)) from None

    def _read(self, count: int, deadline: float | None) -> bytes:
        parts, missing = [self._ahead], count - len(self._ahead)
        while missing > 0:
            self._until(deadline)
            part = self._sock.recv(1 << 16)  # most answers, at once
            if not part:
                raise EOFError("connection closed by the daemon")
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._ahead = data[count:]
        return data[:count]

    def _until(self, deadline: float | None) -> None:
        if deadline is not None:
            self._sock.settimeout(max(deadline - self._runtime.monotonic(), 0.001))
        elif self._sock.gettimeout() is not None:
            self._sock.settimeout(None)


def _described(content: Any) -> str:
    """Of an exception as RPyC sends it: ((module, name), arguments, attributes, traceback)."""
    try:
        (_, name), arguments, *_ = content
        said = f"{name}: {', '.join(map(str, arguments))}"
    except (TypeError, ValueError):
        said = str(content)
    return said[:_MAX_ERROR_CHARS]


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
    """The value that `data` begins with in brine; what follows it is not looked at.

    That is what `dump` takes, bytes, complex numbers, slices, `NotImplemented` and `Ellipsis`; a
    frozenset comes as the tuple of what is in it, unhashed.  Raises `EOFError` for anything else,
    and for more than `MAX_VALUES` values, nested deeper than `MAX_DEPTH`, or a number of more than
    `MAX_DIGITS` digits.
    """
    try:
        return _Reader(data).value(0)
    except (IndexError, KeyError, ValueError) as error:
        raise EOFError(f"a message that cannot be read ({error})") from None


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


class _Reader:
    """Where in a message we are, and how much more it may hold."""

    __slots__ = ("_at", "_data", "_left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = MAX_VALUES

    def value(self, depth: int) -> Any:
        at = self._at
        tag = self._data[at]
        self._at = at + 1
        if tag in _SINGLES:
            return _SINGLES[tag]
        read, size, width = _READ[tag]
        if width:
            size = int.from_bytes(self.take(width), "big")
        return read(self, size, depth + 1)

    def take(self, size: int, depth: int = 0) -> bytes:
        at = self._at
        self._at = end = at + size
        data = self._data[at:end]
        if len(data) < size:
            raise ValueError("cut off")
        return data

    def items(self, size: int, depth: int) -> tuple[Any, ...]:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
        _check(depth)
        value = self.value
        return tuple([value(depth) for _ in range(size)])

    def number(self, size: int, depth: int) -> int:
        # `int` takes a time that grows with the square of the number of digits.
        if size > MAX_DIGITS:
            raise ValueError(f"a number of {size} digits")
        return int(self.take(size))

    def double(self, size: int, depth: int) -> float:
        (value,) = _FLOAT.unpack(self.take(size))
        return float(value)

    def doubles(self, size: int, depth: int) -> complex:
        return complex(*_COMPLEX.unpack(self.take(size)))

    def string(self, size: int, depth: int) -> str:
        return self._inner(bytes, depth).decode("utf-8")

    def slice(self, size: int, depth: int) -> slice:
        start, stop, step = self._inner(tuple, depth)
        return slice(start, stop, step)

    def set(self, size: int, depth: int) -> tuple[Any, ...]:
        return self._inner(tuple, depth)

    def _inner(self, kind: type[T], depth: int) -> T:
        _check(depth)
        inner = self.value(depth)
        if type(inner) is not kind:
            raise ValueError(f"a {type(inner).__name__} in the place of a {kind.__name__}")
        return inner


def _check(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")


#: By tag: how to read what follows; its size, or how many bytes hold that.
_READ: dict[int, tuple[Callable[[_Reader, int, int], Any], int, int]] = {
    _STRING: (_Reader.string, 0, 0),
    **{_BYTES + size - 1: (_Reader.take, size, 0) for size in range(1, 5)},
    _BYTES_1: (_Reader.take, 0, 1),
    _BYTES_4: (_Reader.take, 0, 4),
    **{_TUPLES + size - 1: (_Reader.items, size, 0) for size in range(1, 5)},
    _TUPLE_1: (_Reader.items, 0, 1),
    _TUPLE_4: (_Reader.items, 0, 4),
    _INT_1: (_Reader.number, 0, 1),
    _INT_4: (_Reader.number, 0, 4),
    _DOUBLE: (_Reader.double, _FLOAT.size, 0),
    _SLICE: (_Reader.slice, 0, 0),
    _SET: (_Reader.set, 0, 0),
    _DOUBLES: (_Reader.doubles, _COMPLEX.size, 0),
}
