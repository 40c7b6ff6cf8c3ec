"""Framing with limits: how bytes of a client's socket become messages, and messages bytes.

A frame is a header (the size, and whether the message is compressed), a message and a line feed;
what a message holds is no matter here.  Each frame has a maximum size, before and after
decompression, and a deadline for all of it (a defence against slow clients, RPC-6).  A frame that
breaks a limit costs its sender the connection, and costs other clients nothing.  Of one that is too
large, but not beyond reason, the rest is passed over: a client that is still sending reads nothing,
and could not be told why.

`Channel` is what RPyC's protocol reads from and writes to; rpyc itself is not imported.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import NoReturn, Protocol, TypeVar

from cidx_ref.errors import BusyError
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.runtime import Runtime

__all__ = [
    "FRAME_TIMEOUT_S",
    "HEAD_BYTES",
    "SEND_TIMEOUT_S",
    "Channel",
    "Receiving",
    "Refused",
    "Stream",
]

_log = logging.getLogger("cidx_ref")

A = TypeVar("A")
T = TypeVar("T")

#: Seconds within which a frame that has begun must end; between frames a client may be silent.
FRAME_TIMEOUT_S = 10.0
#: Seconds within which the client must have taken a whole reply.
SEND_TIMEOUT_S = 30.0
#: Bytes that are read from a socket at once, at most;
_CHUNK_BYTES = 64_000
#: and before it is known how many there are: of a call, all.
_AHEAD_BYTES = 4096
#: The largest frame that is passed over; larger ones are no messages of RPyC's.
_MAX_PASSED_BYTES = 1 << 26
#: Frames up to this size count for nothing among those that are being received;
_SMALL_BYTES = 1 << 16
#: so much of the others may all connections have begun at once: 32 of the largest.
_MAX_RECEIVED_BYTES = 1 << 26
#: So much of a message is kept of one that is not taken: its number is in it.
HEAD_BYTES = 1024
_END = b"\n"
_TOO_MUCH = "large messages of others are being received, as many as there is memory for: try later"


class Refused(bytes):
    """The beginning of a message that is not taken; `error` says why to its sender."""

    error: Exception

    def __new__(cls, beginning: bytes, error: Exception) -> Refused:
        made = super().__new__(cls, beginning[:HEAD_BYTES])
        made.error = error
        return made


class Timeout(Protocol):
    """RPyC's own: a point in time, or none."""

    def timeleft(self) -> float | None:
        """Seconds, not negative; None means without end."""


class Stream:
    """The bytes of a connected socket, read and written by a deadline.  For one thread.

    `read`, `write` and `poll` raise `EOFError` once the connection is lost, or too slow.
    """

    __slots__ = ("_ahead", "_patience_s", "_runtime", "_sock")

    def __init__(self, sock: socket.socket, runtime: Runtime, patience_s: float = inf) -> None:
        """`patience_s` is the most that any read or write may take."""
        # Each call of the system lets go of the interpreter, which takes a while to come back
        # where others want it, too.  So the first bytes of a message are waited for by reading
        # them, with all that has come; and a read does not ask first whether something is there.
        sock.setblocking(True)
        self._sock = sock
        self._ahead = b""  # has been read, and not asked for
        self._runtime = runtime
        self._patience_s = patience_s

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def poll(self, timeout: Timeout) -> bool:
        """Wait for something to read; False if nothing comes in time."""
        if self._ahead:
            return True
        if self._sock.fileno() < 0:
            raise EOFError("stream has been closed")
        left = timeout.timeleft()
        if left is not None:
            return self._is_ready(select.POLLIN, left * 1000)
        try:
            self._ahead = self._sock.recv(_AHEAD_BYTES)
        except OSError as error:
            self.close()
            raise EOFError(str(error)) from None
        if not self._ahead:
            self._end()
        return True

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes, within `FRAME_TIMEOUT_S`."""
        ahead = self._ahead
        if len(ahead) >= count:
            self._ahead = ahead[count:]
            return ahead[:count]
        return b"".join(self._parts(count))

    def skip(self, count: int) -> None:
        """As `read`, and forget them."""
        for _ in self._parts(count):
            pass

    def _parts(self, count: int) -> Iterator[bytes]:
        deadline = self._runtime.monotonic() + min(FRAME_TIMEOUT_S, self._patience_s)
        part, self._ahead = self._ahead[:count], self._ahead[count:]
        count -= len(part)
        yield part
        while count > 0:
            wanted = min(count, _CHUNK_BYTES)
            part = self._before(deadline, select.POLLIN, self._sock.recv, wanted)
            if not part:
                self._end()
            count -= len(part)
            yield part

    def _end(self) -> NoReturn:
        self.close()
        raise EOFError("connection closed by peer")

    def write(self, data: bytes) -> None:
        """Send all of `data`, within `SEND_TIMEOUT_S`."""
        rest = memoryview(data)
        deadline = self._runtime.monotonic() + min(SEND_TIMEOUT_S, self._patience_s)
        while rest:
            rest = rest[self._before(deadline, select.POLLOUT, self._sock.send, rest) :]

    def _before(self, deadline: float, ready: int, act: Callable[[A, int], T], argument: A) -> T:
        try:
            while True:
                try:
                    return act(argument, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    self._wait(deadline, ready)
        except OSError as error:
            self.close()
            raise EOFError(str(error)) from None

    def _wait(self, deadline: float, ready: int) -> None:
        # A deadline for the whole, and not for each step: one byte now and then is too slow.
        left = deadline - self._runtime.monotonic()
        if left <= 0 or not self._is_ready(ready, left * 1000):
            raise TimeoutError("timed out")

    def _is_ready(self, ready: int, timeout_ms: float | None) -> bool:
        poller = select.poll()
        poller.register(self._sock, ready)
        return bool(poller.poll(timeout_ms))


class Receiving:
    """The frames that have begun and not ended, of all connections: they share a bounded memory,
    however many clients send half of one.  Thread-safe."""

    def __init__(self, runtime: Runtime) -> None:
        self._lock = runtime.lock("receiving")
        self._left_bytes = _MAX_RECEIVED_BYTES

    @contextmanager
    def of_size(self, size_bytes: int) -> Iterator[bool]:
        """Whether there is room for a frame of this size, which is kept while the block runs."""
        with self._lock:
            has_room = size_bytes <= self._left_bytes
            self._left_bytes -= size_bytes if has_room else 0
        try:
            yield has_room
        finally:
            with self._lock:
                self._left_bytes += size_bytes if has_room else 0


class Channel:
    """Messages over a stream: one frame each, of a bounded size.  For one thread, but for what it
    says of the client."""

    __slots__ = ("_receiving", "_runtime", "_stream", "has_asked", "silent_since")

    FRAME_HEADER = struct.Struct("!LB")

    def __init__(self, stream: Stream, runtime: Runtime, receiving: Receiving) -> None:
        self._stream = stream
        self._runtime = runtime
        self._receiving = receiving
        #: When the client was last answered, or came; None while it is being read or answered.
        self.silent_since: float | None = runtime.monotonic()
        #: Whether a whole frame has come from it.
        self.has_asked = False

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._stream.close()

    def poll(self, timeout: Timeout) -> bool:
        """Wait for a frame to begin; False if none comes in time.  Raises `EOFError`."""
        if self.has_asked:
            self.silent_since = self._runtime.monotonic()
        is_ready = self._stream.poll(timeout)
        self.silent_since = None
        return is_ready

    def send(self, data: bytes) -> None:
        """Send a message, uncompressed.  Raises `EOFError`."""
        self._stream.write(self.FRAME_HEADER.pack(len(data), 0) + data + _END)

    def recv(self) -> bytes:
        """The next message, or what is `Refused` of it.  Raises `EOFError`, and closes the
        connection, for a bad frame."""
        size, compressed = self.FRAME_HEADER.unpack(self._stream.read(self.FRAME_HEADER.size))
        if size > MAX_REQUEST_BYTES:
            return self._pass_over(size, compressed, _too_large(size))
        if size <= _SMALL_BYTES:  # as nearly all are: no lock is taken for them
            data = self._stream.read(size + len(_END))
        else:
            with self._receiving.of_size(size) as has_room:
                if not has_room:
                    return self._pass_over(size, compressed, BusyError(_TOO_MUCH))
                data = self._stream.read(size + len(_END))
        data = data[: -len(_END)]
        self.has_asked = True
        if not compressed:
            return data
        inflated = self._inflate(data, MAX_REQUEST_BYTES + 1)
        fits = len(inflated) <= MAX_REQUEST_BYTES
        return inflated if fits else Refused(inflated, _too_large(f"more than {MAX_REQUEST_BYTES}"))

    def _pass_over(self, size: int, compressed: int, error: Exception) -> Refused:
        if size > _MAX_PASSED_BYTES:
            self._refuse(f"a frame of {size} bytes")
        head = self._stream.read(HEAD_BYTES)
        self._stream.skip(size + len(_END) - HEAD_BYTES)
        return Refused(self._inflate(head, HEAD_BYTES) if compressed else head, error)

    def _inflate(self, data: bytes, most: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            return inflater.decompress(data, most)
        except zlib.error as error:
            self._refuse(f"a damaged frame ({error})")

    def _refuse(self, what: str) -> NoReturn:
        _log.info("connection dropped: %s", what)
        self.close()
        raise EOFError(f"refused: {what}")


def _too_large(size: object) -> ValueError:
    return ValueError(
        f"a message of {size} bytes is too large: at most {MAX_REQUEST_BYTES} are taken"
    )
