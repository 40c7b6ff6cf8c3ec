"""An RPyC connection that can be measured: what it sent and received, and how often.

For any RPyC service on a Unix or a TCP socket.  Import locust first: under its gevent a call that
waits lets others run.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import rpyc
from rpyc.core import consts
from rpyc.core.stream import SocketStream

from cidx_ref.testing import ground
from cidx_ref.testing.conformance.asking import Gone, Refused, Unreadable
from cidx_ref.testing.conformance.netrefs import by_value

__all__ = [
    "DaemonConnection",
    "MeasuredConnection",
    "RemoteError",
    "WrongAnswerError",
    "open_socket",
    "trimmed",
    "why_unusable",
]


class RemoteError(Exception):
    """What the peer raised, in one line; and its kind, where the peer gives one beside it."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class WrongAnswerError(Exception):
    """An answer came, and was not what it should be."""


class _Channel(rpyc.Channel):  # type: ignore[misc]
    """Counts what goes through."""

    __slots__ = ("received_bytes", "sent")

    def __init__(self, stream: SocketStream) -> None:
        super().__init__(stream, compress=False)
        self.sent = self.received_bytes = 0

    def send(self, data: bytes) -> None:
        self.sent += 1
        super().send(data)

    def recv(self) -> bytes:
        data: bytes = super().recv()
        self.received_bytes += len(data)
        return data


def open_socket(host: str, timeout_s: float) -> socket.socket:
    """Connected to `unix:///path`, to a path, or to `tcp://host:port`.

    Raises `OSError`, `ValueError`.
    """
    parts = urlsplit(host)
    if parts.scheme in ("unix", "") and parts.path.startswith("/"):
        return ground.connect(Path(parts.path), timeout_s)
    if parts.scheme == "tcp" and parts.hostname and parts.port:
        sock = socket.create_connection((parts.hostname, parts.port), timeout_s)
        sock.settimeout(None)
        return sock
    raise ValueError(f"host: {host!r}: must be unix:///path or tcp://host:port")


def why_unusable(host: str) -> str:
    """In one line, why nobody can be asked at `host`; empty if somebody accepts there."""
    try:
        open_socket(host, 5.0).close()
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"host: {host}: no daemon answers there: {error}"
    return ""


class MeasuredConnection:
    """One connection, a `Peer`.  A call that is not answered within `timeout_s` raises.

    It is the process's that made it: in a fork of that, a call raises `EOFError`.
    """

    def __init__(self, host: str, timeout_s: float) -> None:
        """Raises `OSError`, `EOFError`; `ValueError` for a bad `host`."""
        #: What RPyC speaks through, for who would not be polite.
        self.socket = open_socket(host, timeout_s)
        try:
            self.pid = ground.peer_pid(self.socket) if self._is_unix() else 0
            self._channel = _Channel(SocketStream(self.socket))
            config = {"sync_request_timeout": timeout_s}
            self._rpyc = rpyc.connect_channel(self._channel, config=config)
            self._root = self._rpyc.root
        except BaseException:
            self.socket.close()
            raise
        _connections.add(self)

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._channel.sent

    @property
    def received_bytes(self) -> int:
        return self._channel.received_bytes

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the peer's root, in one request; a netref where the answer is one."""
        return self._rpyc.sync_request(
            consts.HANDLE_CALLATTR, self._root, method, args, tuple(kwargs.items())
        )

    def begin(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Send a call, and do not wait for its answer."""
        self._rpyc.async_request(
            consts.HANDLE_CALLATTR, self._root, method, args, tuple(kwargs.items())
        )

    def has(self, method: str) -> bool:
        """Whether the peer's root shows a method of that name."""
        try:
            getattr(self._root, method)
        except AttributeError:
            return False
        return True

    def close(self) -> None:
        # The socket first: RPyC would ask the peer to close, too, which may be busy or broken.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with suppress(Exception):
            self._rpyc.close()

    def _is_unix(self) -> bool:
        return self.socket.family == socket.AF_UNIX


#: All there are, for when the process forks.
_connections: WeakSet[MeasuredConnection] = WeakSet()


def _after_fork() -> None:
    # Or RPyC would say goodbye for the parent, at the latest when this is collected.
    for connection in _connections:
        connection.socket.close()


os.register_at_fork(after_in_child=_after_fork)


class DaemonConnection(MeasuredConnection):
    """To a daemon that speaks the story's methods.  From this package's daemon it takes answers by
    value, in one round trip; from any other as they come."""

    def __init__(self, host: str, timeout_s: float) -> None:
        """Raises `OSError`, `EOFError`; `ValueError` for a bad `host`."""
        super().__init__(host, timeout_s)
        self.gives_values = True
        try:
            self.call("ping")
        except RemoteError:  # about to end, perhaps
            pass
        except (EOFError, OSError):
            self.close()
            raise
        except Exception:  # it has no `call`
            self.gives_values = False
        except BaseException:  # who wanted it is stopped meanwhile
            self.close()
            raise

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Plain data.  Arguments are given by name.  Raises `RemoteError`, too."""
        if not self.gives_values:
            return by_value(super().call(method, *args, **kwargs))
        if args:
            raise TypeError(f"{method}: arguments are given by name: {method}(query=...)")
        message = json.loads(str(super().call("call", method, json.dumps(kwargs))))
        if "error" in message:
            kind, said = message["error"]
            raise RemoteError(said, kind)
        return message["answer"]


def trimmed(error: BaseException) -> str:
    """An error's class and message, without the remote traceback that RPyC appends to it."""
    message = str(error).split("\n\n========= Remote Traceback", 1)[0].strip()
    first = message.splitlines()[0] if message else ""
    if first and isinstance(error, (Gone, Refused, Unreadable)):  # which say it themselves
        return first
    name = getattr(error, "kind", "") or type(error).__name__
    return f"{name}: {first}" if first else name
