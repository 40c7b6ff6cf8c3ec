"""Connections to a daemon: a socket, and RPyC over it, in which no wait is without an end.

A stranger's client: none of this package's own.  `asking` reads what comes through it.
"""

from __future__ import annotations

import os
import select
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import rpyc
from rpyc.core import consts
from rpyc.core.stream import SocketStream

from cidx_ref.testing import ground
from cidx_ref.testing.conformance.target import Attach, Target, filled
from cidx_ref.testing.ground import SYSTEM, peer_pid

__all__ = ["RpycPeer", "address_at", "open_socket"]


def address_at(target: Target, root: Path) -> str:
    """Where the daemon of the project at `root` listens."""
    if isinstance(target.start, Attach):
        return target.start.address.removeprefix("unix://")
    return str(root / filled(target.socket, project=str(root)))


def open_socket(address: str, timeout_s: float) -> socket.socket:
    """Connected to a path, or to `tcp://host:port`, and blocking.  Raises `OSError`."""
    parts = urlsplit(address)
    if parts.scheme != "tcp":
        return _open_unix(Path(address), timeout_s)
    sock = socket.create_connection((parts.hostname, parts.port), timeout_s)
    sock.settimeout(None)
    return sock


#: How soon a full backlog is tried again: nothing tells that there is room.
_AGAIN_S = 0.01


def _open_unix(path: Path, timeout_s: float) -> socket.socket:
    deadline = SYSTEM.monotonic() + timeout_s
    while True:
        try:
            return ground.connect(path, timeout_s)
        except BlockingIOError:  # it listens, and has not come to those before us
            if SYSTEM.monotonic() >= deadline:
                raise
        SYSTEM.sleep(_AGAIN_S)


class _Stream(SocketStream):  # type: ignore[misc]
    """Of which a read or a write that was begun ends in time, too: half a frame is no answer."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock)
        sock.setblocking(False)
        self._timeout_s = timeout_s

    def read(self, count: int) -> bytes:
        data = bytearray()
        deadline = SYSTEM.monotonic() + self._timeout_s
        while len(data) < count:
            self._wait(select.POLLIN, deadline)
            with self._or_end():
                some = self.sock.recv(count - len(data))
                if not some:
                    raise ConnectionError("the connection was closed")
                data += some
        return bytes(data)

    def write(self, data: bytes) -> None:
        deadline = SYSTEM.monotonic() + self._timeout_s
        while data:
            self._wait(select.POLLOUT, deadline)
            with self._or_end():
                data = data[self.sock.send(data) :]

    def _wait(self, event: int, deadline: float) -> None:
        if self.closed or self.sock.fileno() < 0:
            raise EOFError("the connection has been closed")
        poller = select.poll()
        poller.register(self.sock, event)
        if not poller.poll(max(0.0, deadline - SYSTEM.monotonic()) * 1000):
            raise TimeoutError("a message that does not come to its end")

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:  # the poll was a false alarm
            return
        except OSError as error:
            self.close()
            raise EOFError(str(error)) from None


class _Channel(rpyc.Channel):  # type: ignore[misc]
    """Counts what is sent."""

    def __init__(self, stream: _Stream) -> None:
        super().__init__(stream, compress=False)
        self.sent = 0

    def send(self, data: bytes) -> None:
        self.sent += 1
        super().send(data)


class RpycPeer:
    """A connection over RPyC.  A call that is not answered in time raises `TimeoutError`.

    It is its process's: in a fork of that it is closed.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        """Raises `OSError`, `EOFError`, `TimeoutError`."""
        #: What it speaks through.
        self.socket = open_socket(address, timeout_s)
        self.pid = peer_pid(self.socket) if self.socket.family == socket.AF_UNIX else 0
        self.timeout_s = timeout_s
        try:
            self._channel = _Channel(_Stream(self.socket, timeout_s))
            config = {"sync_request_timeout": timeout_s}
            #: The RPyC connection.
            self.connection = rpyc.connect_channel(self._channel, config=config)
            #: The peer's root, for what is not a call.
            self.root = self.connection.root
        except BaseException:
            self.socket.close()
            raise
        _peers.add(self)

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._channel.sent

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the peer's root, in one request; a netref where the answer is one."""
        return self.connection.sync_request(
            consts.HANDLE_CALLATTR, self.root, method, args, tuple(kwargs.items())
        )

    def begin(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Send a call, and do not wait for its answer."""
        self.connection.async_request(
            consts.HANDLE_CALLATTR, self.root, method, args, tuple(kwargs.items())
        )

    def close(self) -> None:
        # The socket first: RPyC would ask the peer to close, too, which may be busy or broken.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with suppress(Exception):
            self.connection.close()
        self.socket.close()


#: All there are, for when the process forks.
_peers: weakref.WeakSet[RpycPeer] = weakref.WeakSet()


def _after_fork() -> None:
    # Or RPyC would say goodbye for the parent, at the latest when this is collected.
    for peer in _peers:
        peer.socket.close()


os.register_at_fork(after_in_child=_after_fork)
