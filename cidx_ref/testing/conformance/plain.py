"""A plain RPyC client, as a stranger would write it: with none of our own client's code.

It knows the story's methods and result keys, and when a daemon is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any, TypeVar

import rpyc
from rpyc.core.stream import SocketStream

from cidx_ref.testing.ground import SYSTEM, connect, peer_pid

__all__ = ["Gone", "PlainConnection", "connected"]

T = TypeVar("T")


class Gone(Exception):  # noqa: N818 - a turn of events
    """Nobody answers, or somebody who is on the way out."""


class PlainConnection:
    """A connection of a plain RPyC client.  Every wait ends after `timeout_s`, in an error."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Raises `Gone`."""
        self._timeout_s = timeout_s
        try:
            self._socket = connect(path, timeout_s)
        except OSError as error:
            raise Gone(error.strerror) from None
        self.pid = peer_pid(self._socket)
        channel = rpyc.Channel(SocketStream(self._socket))
        self._rpyc = rpyc.connect_channel(channel, config={"sync_request_timeout": timeout_s})

    def ask(
        self,
        method: str,
        *arguments: object,
        read: Callable[[Any], T] | None = None,
        **options: object,
    ) -> Any:
        """What the daemon answers, as `read` reads it while it is there.  Raises `Gone`."""
        with _told_apart():
            answer = getattr(self._rpyc.root, method)(*arguments, **options)
            return read(answer) if read is not None else None

    def begin_index(self, root: Path) -> None:
        """Have the project indexed, and return once that is under way.  Raises `Gone`."""
        told: list[object] = []
        deadline = SYSTEM.monotonic() + self._timeout_s
        with _told_apart():
            index = rpyc.async_(self._rpyc.root.index)
            under_way = index(str(root), lambda *event: told.append(event))
            while not told and not under_way.ready:
                self._rpyc.serve(deadline - SYSTEM.monotonic())
                assert SYSTEM.monotonic() < deadline, "the index run does not begin"

    def close(self) -> None:
        # The socket first: RPyC would wait for the daemon to say goodbye.
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)
        with suppress(Exception):
            self._rpyc.close()


@contextmanager
def connected(path: Path, timeout_s: float) -> Iterator[PlainConnection]:
    """A connection for as long as the block runs.  Raises `Gone`."""
    connection = PlainConnection(path, timeout_s)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _told_apart() -> Iterator[None]:
    """Raise `Gone` for what a daemon that leaves, or is killed, does to its clients."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise Gone(repr(error)) from None
    except Exception as error:
        if getattr(error, "kind", "") == "shutting_down":
            raise Gone(str(error)) from None
        raise
