"""The reserve: how a daemon that has all the connections it can have is still asked and stopped.

Whoever comes then gets one of a few threads that stand ready, and of the service only what says how
the daemon is, and what ends it; all else is `BusyError`, which says why.  So a full daemon is not
taken for one that is gone, and a client that knows nothing but RPyC's protocol is told the same.

A thread is had only by a client that asks something, and for a few seconds at most: to connect and
be silent takes nothing from those who ask.  Nor does it help a process to connect again and again:
of those who wait that is served next whose process has taken least, and where there is no place
left, one of that goes which has taken most: the time that it had threads, or was silent.
"""

from __future__ import annotations

import json
import logging
import select
import socket
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cidx_ref.daemon.framing import Channel, Receiving, Stream
from cidx_ref.daemon.transport import ExposedService, serve_connection
from cidx_ref.errors import BusyError
from cidx_ref.runtime import Runtime, Thread
from cidx_ref.sockets import peer_pid

__all__ = ["Reserve", "shut"]

_log = logging.getLogger("cidx_ref")

#: Not `clear_cache`, which makes work for others.
_ALWAYS = frozenset(
    {"ping", "get_status", "get_health", "get_metrics", "get_diagnostics", "shutdown"}
)
_THREADS = 4
#: Seconds: how often who is silent is looked at, how long one may be silent, and stay in all.
_STEP_S, _SILENT_S, _STAY_S = 0.05, 1.0, 5.0
#: The same, while others wait.
_SHORT_SILENT_S, _SHORT_STAY_S = 0.5, 1.0
#: Of so many processes it is known what they have taken.
_MAX_KNOWN = 1000


class _Narrowed(ExposedService):
    """A service of which most methods are refused, with the reason."""

    def __init__(self, service: ExposedService, why: str) -> None:
        self.EXPOSED = service.EXPOSED
        self._service = service
        self._why = why

    def __getattr__(self, name: str) -> Any:
        method = name.removeprefix("exposed_")
        if method == name or method not in self.EXPOSED:
            raise AttributeError(name)
        return getattr(self._service, name) if method in _ALWAYS else self._refuse

    def exposed_call(self, method: Any, arguments_json: Any = "{}", callback: Any = None) -> Any:
        """As the service's own, for what is not refused."""
        if type(method) is str and method in _ALWAYS:
            return self._service.exposed_call(method, arguments_json)
        return json.dumps({"error": [BusyError.kind, self._why]})

    def _refuse(self, *arguments: Any, **named: Any) -> Any:
        raise BusyError(self._why)


class _BriefChannel(Channel):
    """One whose client is to say what it wants, and to go."""

    def __init__(
        self, sock: socket.socket, do_others_wait: Callable[[], bool], runtime: Runtime
    ) -> None:
        stream = Stream(sock, runtime, patience_s=_SHORT_SILENT_S)
        super().__init__(stream, runtime, Receiving(runtime))
        self._do_others_wait = do_others_wait
        self._began = runtime.monotonic()

    def poll(self, timeout: Any) -> bool:
        """Wait for a frame to begin.  Raises `EOFError` when the client's time is over."""
        since = self._runtime.monotonic()
        while not self._is_over(since):
            if super().poll(_STEP):
                return True
        raise EOFError("a connection of the reserve has had its time")

    def _is_over(self, since: float) -> bool:
        now = self._runtime.monotonic()
        is_short = self._do_others_wait()
        silent_s, stay_s = (_SHORT_SILENT_S, _SHORT_STAY_S) if is_short else (_SILENT_S, _STAY_S)
        return now - since >= silent_s or now - self._began >= stay_s


class _Step:
    def timeleft(self) -> float:
        return _STEP_S


_STEP = _Step()


@dataclass(frozen=True, slots=True)
class _Waiting:
    sock: socket.socket
    pid: int
    why: str
    since: float  # it came; of one that is served, since it is


class Reserve:
    """Serves connections beyond the limit, `size` at most.  Thread-safe."""

    def __init__(self, service: ExposedService, size: int, runtime: Runtime) -> None:
        self._service = service
        self._size = size
        self._runtime = runtime
        self._changed = runtime.condition("reserve")
        self._waiting: list[_Waiting] = []
        self._served: list[_Waiting] = []
        #: The seconds that processes have taken while there was always somebody.
        self._taken: defaultdict[int, float] = defaultdict(float)
        self._closed = False
        self._threads: list[Thread] = []
        try:
            # Now, because there may be none to be had when they are needed.
            for _ in range(_THREADS):
                self._threads.append(runtime.thread(self._work, "reserve"))
        except BaseException:
            self.close(_STAY_S)
            raise

    def take(self, sock: socket.socket, why: str) -> None:
        """Have a connection served, of which most is refused because of `why`; or close it, or one
        that has come before and asked for nothing, if there are too many."""
        with self._changed:
            self._waiting.append(_Waiting(sock, peer_pid(sock), why, self._runtime.monotonic()))
            if self._closed or len(self._waiting) + len(self._served) > self._size:
                taken, silent = self._taken_by_now(), self._silent_for(_STEP_S)
                self._drop(max(self._waiting, key=lambda w: (taken[w.pid], w in silent)))
            self._changed.notify_all()

    def close(self, drain_s: float) -> None:
        """Take nobody any more; let replies under way be sent, for `drain_s` seconds at most."""
        with self._changed:
            self._closed = True
            for waiting in list(self._waiting):
                self._drop(waiting)
            self._shut(socket.SHUT_RD)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._served, drain_s)
            self._shut(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(drain_s)

    def _work(self) -> None:
        while (waiting := self._next()) is not None:
            try:
                channel = _BriefChannel(waiting.sock, lambda: bool(self._waiting), self._runtime)
                serve_connection(_Narrowed(self._service, waiting.why), channel)
            except Exception:  # whatever it is, it must not cost the thread
                _log.exception("connection of the reserve dropped")
            with self._changed:
                self._taken[waiting.pid] += self._runtime.monotonic() - waiting.since
                self._served.remove(waiting)
                waiting.sock.close()
                if len(self._taken) > _MAX_KNOWN or not (self._waiting or self._served):
                    self._taken.clear()
                self._changed.notify_all()

    def _next(self) -> _Waiting | None:
        """Of those who wait and ask something, the last whose process has taken least; None in the
        end.

        The last: where too many come, the first would be those who have given up.
        """
        with self._changed:
            while not self._closed:
                silent = self._silent_for(0.0)
                asking = [w for w in reversed(self._waiting) if w not in silent]
                if asking:
                    taken = self._taken_by_now()
                    chosen = min(asking, key=lambda w: taken[w.pid])
                    self._waiting.remove(chosen)
                    served = replace(chosen, since=self._runtime.monotonic())
                    self._served.append(served)
                    return served
                for waiting in self._silent_for(_SILENT_S):
                    self._drop(waiting)
                self._changed.wait(_STEP_S if self._waiting else None)
        return None

    def _taken_by_now(self) -> defaultdict[int, float]:
        """The seconds that each process has taken, with those that it is taking."""
        now, taken = self._runtime.monotonic(), self._taken.copy()
        for each in (*self._silent_for(0.0), *self._served):
            taken[each.pid] += now - each.since
        return taken

    def _silent_for(self, seconds: float) -> list[_Waiting]:
        """Those who wait, for so long at least, from which nothing has come, and who have not
        gone; the first first."""
        poller = select.poll()
        for waiting in self._waiting:
            poller.register(waiting.sock, select.POLLIN)
        asking = {fd for fd, _ in poller.poll(0)}
        horizon = self._runtime.monotonic() - seconds
        return [w for w in self._waiting if w.sock.fileno() not in asking and w.since <= horizon]

    def _drop(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        waiting.sock.close()

    def _shut(self, how: int) -> None:
        for each in self._served:
            shut(each.sock, how)


def shut(sock: socket.socket, how: int) -> None:
    """Close one way of a connection, or both, if it is still there."""
    with suppress(OSError):  # gone already
        sock.shutdown(how)
