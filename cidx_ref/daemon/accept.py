"""Admission control at the socket: which connections are accepted, how many, and how they end.

Only the daemon's own user and root may connect (the kernel says who a peer is), and only so many at
once; a peer that is refused is told nothing.  Running out of descriptors, memory or threads costs
the new connection, and never the server.  Each accepted connection is served in a thread of its own
(`transport`), and a graceful shutdown lets replies under way be sent first.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from cidx_ref.daemon.transport import ExposedService, serve_connection
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.sockets import is_trusted, peer

__all__ = ["MAX_CONNECTIONS", "SocketServer"]

_log = logging.getLogger("cidx_ref")

MAX_CONNECTIONS = 900
_ACCEPT_PAUSE_S = 0.05
#: Seconds between two lines of the log that say how many other users were refused.
_STRANGERS_LOGGED_EVERY_S = 60.0


class SocketServer:
    """Accepts connections on a listening socket, and serves each in a thread of its own.

    `serve` runs in one thread; `stop`, `close_listener` and `close` may be called from others.
    """

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
        self._connections: dict[int, socket.socket] = {}
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
        """Refuse clients that have connected and were not accepted yet, and all that come."""
        self._listener.close()

    def close(self, drain_s: float) -> None:
        """Graceful shutdown: take no new connections, let replies under way be sent for at most
        `drain_s` seconds, then close everything."""
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
        # Forgotten before it is closed: the number may soon be another file's, and a late `stop`
        # must not write to that.
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
                self._runtime.sleep(_ACCEPT_PAUSE_S)  # the listener stays readable: do not spin
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
        # Strangers may come as often as they like: they must not push all else out of the log.
        self._strangers += 1
        if self._runtime.monotonic() >= self._log_strangers_at:
            said = "refused connections: %d of other users, at last of user %d (pid %d)"
            _log.warning(said, self._strangers, uid, pid)
            self._strangers = 0
            self._log_strangers_at = self._runtime.monotonic() + _STRANGERS_LOGGED_EVERY_S
        return False

    def _serve(self, sock: socket.socket) -> None:
        try:
            serve_connection(self._service, sock, self._runtime)
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
