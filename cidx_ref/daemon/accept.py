"""Admission control at the socket: which connections are accepted, how many, and how they end.

Only the daemon's own user and root may connect (the kernel says who a peer is); a peer that is
refused is told nothing.  Each connection is served in a thread of its own (`transport`), and there
is room for so many (`room`).  Whoever comes when there is no more takes the place of the client
that has been silent for longest, if that is long; else the reserve answers (`reserve`).  Running
out of descriptors, memory or threads costs the new connection, and never the server.

A client that asks for nothing for an hour is ended in any case.  What it might have asked just then
is answered first: only the way in is closed.  A graceful shutdown does the same with all.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from math import inf

from cidx_ref.daemon.framing import Channel, Receiving, Stream
from cidx_ref.daemon.reserve import Reserve, shut
from cidx_ref.daemon.room import Room
from cidx_ref.daemon.transport import ExposedService, serve_connection
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.sockets import is_trusted, peer

__all__ = ["IDLE_S", "SocketServer"]

_log = logging.getLogger("cidx_ref")

#: Seconds of silence after which a connection is ended.
IDLE_S = 3600.0
#: The same where others want its place; and if it has never asked anything.
CROWDED_IDLE_S, _NEVER_ASKED_S = 60.0, 10.0
_ACCEPT_PAUSE_S = 0.05
#: Seconds between two lines of the log about refusals of one kind.
_LOGGED_EVERY_S = 60.0
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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
        room: Room | None = None,
    ) -> None:
        self._service = service
        self._listener = listener
        self._runtime = runtime
        self._room = room or Room()
        self._changed = runtime.condition("connections")
        self._connections: dict[socket.socket, Channel] = {}
        #: Those of them that have been told to end, and will at once.
        self._ending: set[socket.socket] = set()
        self._receiving = Receiving(runtime)
        self._reserve = Reserve(service, self._room.reserve, runtime)
        self._strangers = _Occasional(runtime)
        self._refused = _Occasional(runtime)
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)
        #: Given up for a moment where there is no other descriptor.
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        listener.setblocking(False)
        self._poller = select.poll()
        for fd in (listener.fileno(), self._wake_r):
            self._poller.register(fd, select.POLLIN)

    @property
    def connections(self) -> int:
        """How many there are, but for those of the reserve."""
        return len(self._connections)

    def serve(self, watch: Callable[[], bool], every_s: float) -> None:
        """Accept until `stop`, or until `watch`, asked every so many seconds, says False."""
        next_watch = self._runtime.monotonic() + every_s
        while not self._woken(max(0.0, next_watch - self._runtime.monotonic())):
            if self._runtime.monotonic() >= next_watch:
                next_watch = self._runtime.monotonic() + every_s
                if not watch():
                    return
                while self._end_longest_silent(IDLE_S, IDLE_S):
                    pass
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
        self._shut_all(socket.SHUT_RD)  # each thread ends once it has replied
        self._reserve.close(drain_s)
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, drain_s)
        self._shut_all(socket.SHUT_RDWR)
        # Forgotten before it is closed: the number may soon be another file's, and a late `stop`
        # must not write to that.
        wake, self._wake_w = self._wake_w, -1
        for fd in (self._wake_r, wake, self._spare):
            if fd >= 0:
                os.close(fd)
        self._spare = -1

    def _woken(self, timeout_s: float) -> bool:
        ready = {fd for fd, _ in self._poller.poll(timeout_s * 1000)}
        return self._wake_r in ready

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _SHORTAGES:
                self._turn_away(error)
            return
        if not self._is_welcome(sock):
            sock.close()
        elif (why := self._no_room(sock) or self._begin(sock)) is not None:
            self._refused.note(f"of one's own user, as {why}")
            self._reserve.take(sock, why)

    def _begin(self, sock: socket.socket) -> str | None:
        """Serve it; or what keeps us from doing so."""
        stream = Stream(sock, self._runtime)
        with self._changed:
            self._connections[sock] = Channel(stream, self._runtime, self._receiving)
        try:
            self._runtime.thread(lambda: self._serve(sock), "connection")
        except (RuntimeError, MemoryError):
            with self._changed:
                del self._connections[sock]
            return "the daemon can start no more threads: close connections, or raise its limits"
        return None

    def _no_room(self, sock: socket.socket) -> str | None:
        """Why the connection cannot be one of those that there is room for; None if it can."""
        count, room = len(self._connections) - len(self._ending), self._room
        has_descriptor = room.descriptors is None or sock.fileno() < room.descriptors
        if count < room.connections and has_descriptor:
            return None
        if self._end_longest_silent(CROWDED_IDLE_S, _NEVER_ASKED_S):
            return None
        limit = f" where there may be {room.limited_by}" if room.limited_by else ""
        return f"the daemon has {count} connections, its limit{limit}: close some, or try later"

    def _end_longest_silent(self, asked_s: float, never_asked_s: float) -> bool:
        """End the connection that has been silent for longest, if there is one that has been so for
        so many seconds."""
        now = self._runtime.monotonic()

        def over_s(channel: Channel) -> float:
            since = inf if channel.silent_since is None else channel.silent_since
            return now - since - (asked_s if channel.has_asked else never_asked_s)

        with self._changed:
            over = {s: over_s(c) for s, c in self._connections.items() if s not in self._ending}
            chosen = max(over, key=over.__getitem__, default=None)
            if chosen is None or over[chosen] < 0:
                return False
            self._ending.add(chosen)
            shut(chosen, socket.SHUT_RD)
        return True

    def _turn_away(self, error: OSError) -> None:
        """Without a descriptor for it, close the first connection that waits to be accepted: its
        client is not left waiting."""
        self._refused.note(f"before they were accepted: {error.strerror}")
        if self._spare >= 0:
            os.close(self._spare)
        with suppress(OSError):
            self._listener.accept()[0].close()
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = -1
            self._runtime.sleep(_ACCEPT_PAUSE_S)  # the listener stays readable: do not spin

    def _is_welcome(self, sock: socket.socket) -> bool:
        pid, uid = peer(sock)
        if is_trusted(uid):
            return True
        self._strangers.note(f"of other users, at last of user {uid} (pid {pid})")
        return False

    def _serve(self, sock: socket.socket) -> None:
        try:
            serve_connection(self._service, self._connections[sock])
        finally:
            self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        with self._changed:
            sock.close()
            self._connections.pop(sock, None)
            self._ending.discard(sock)
            self._changed.notify_all()

    def _shut_all(self, how: int) -> None:
        with self._changed:
            for sock in self._connections:
                shut(sock, how)


class _Occasional:
    """Tells the log of refusals, which may be as many as peers like: they must not push all else
    out of it.  For one thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._count = 0
        self._log_at = runtime.monotonic()

    def note(self, what: str) -> None:
        """Say it, and how many there were since it was said last; or only count it."""
        self._count += 1
        if self._runtime.monotonic() >= self._log_at:
            _log.warning("refused connections: %d %s", self._count, what)
            self._count = 0
            self._log_at = self._runtime.monotonic() + _LOGGED_EVERY_S
