"""Clients that misbehave, and a daemon that is killed."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

import gevent

from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.load import Scenario, Session, task
from cidx_ref.testing.load.connection import MeasuredConnection, open_socket

_HELD_S = 1.0
_SETTLED_S = 15.0


class _Rude:
    """A connection whose client asks, and does not wait for its answers."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = MeasuredConnection(session.host, 10.0)
        self.socket = self._connection.socket

    def ask(self, times: int = 1, limit: int = 5) -> None:
        call = self._session.target.methods.call(self._session.mode())
        text = self._session.questions[0].text
        args, kwargs = call.fill(project=str(self._session.project), query=text, limit=limit)
        for _ in range(times):
            self._connection.begin(call.name, *args, **kwargs)

    def __enter__(self) -> _Rude:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def vanish(session: Session) -> None:
    """Ask, and be gone before the answer."""
    with _Rude(session) as client:
        client.ask()


def half_open(session: Session) -> None:
    """Connect, and say nothing; then half a frame, and no more."""
    with open_socket(session.host, 10.0) as sock:
        gevent.sleep(_HELD_S)
        sock.sendall(b"\0\0")
        gevent.sleep(_HELD_S)


def never_read(session: Session) -> None:
    """Ask and ask, and take no answer."""
    with _Rude(session) as client:
        client.ask(300, limit=50)
        gevent.sleep(_HELD_S)


def read_slowly(session: Session) -> None:
    """Ask and ask, and take an answer of some kilobytes by 64 bytes."""
    with _Rude(session) as client:
        client.ask(300, limit=50)
        for _ in range(20):
            client.socket.recv(64)
            gevent.sleep(_HELD_S / 20)


def send_garbage(session: Session) -> None:
    """Bytes that are no frame; and the header of one of four gigabytes."""
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n" * 10, struct.pack("!LB", 0xFFFFFFFF, 0) + b"x" * 99):
        with open_socket(session.host, 10.0) as sock:
            sock.sendall(rubbish)
            gevent.sleep(_HELD_S / 4)


class Churn(Scenario):
    """Readers, next to clients that vanish while they are answered, or say nothing; and, where the
    daemon promises limits, read their answers slowly or never, or send garbage: ten at any time.

    Shows that what they do costs nobody else anything, and leaves nothing in the daemon.
    "(connections left)" are the daemon's connections when all clients have gone.

    Objectives: full text p95 < 100 ms, no failure, no connection left.
    """

    slos = ("(connections left):max<=0", "(bad clients):count>=8")
    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {Cap.SPEED: ("query_fts:p95<100",)}
    users = 10
    timeout_s = 10.0
    tasks = (Scenario.search,)

    @classmethod
    def also_missing(cls, target: Target) -> str:
        made = target.connect
        is_rpyc = made is None or (isinstance(made, type) and issubclass(made, MeasuredConnection))
        return "" if is_rpyc else "a daemon that speaks RPyC (no Target.connect)"

    @classmethod
    def disturb(cls, session: Session) -> None:
        bad = [vanish, half_open]
        if session.target.offers(Cap.LIMITS):
            bad += [read_slowly, never_read, send_garbage]
        bad *= 5 // len(bad)
        group = [gevent.spawn(cls._again_and_again, each, session) for each in bad * 2]
        try:
            gevent.joinall(group, raise_error=True)
        finally:
            gevent.killall(group)

    @classmethod
    def _again_and_again(cls, misbehave: Callable[[Session], None], session: Session) -> None:
        while True:
            started = time.perf_counter()
            with suppress(OSError, EOFError):  # thrown out, as it should be
                misbehave(session)
            session.figure("(bad clients)", (time.perf_counter() - started) * 1000)
            gevent.sleep(0.1)

    @classmethod
    def settle(cls, session: Session) -> None:
        deadline = SYSTEM.monotonic() + _SETTLED_S
        while (left := cls._left(session)) > 0 and SYSTEM.monotonic() < deadline:
            gevent.sleep(0.1)
        session.figure("(connections left)", max(left, 0))

    @classmethod
    def _left(cls, session: Session) -> int:
        """The daemon's connections, but for the one that asks."""
        if session.is_own:
            threads = session.call("get_diagnostics")["threads"]
            return sum(bool(thread["name"] == "connection") for thread in threads) - 1
        return session.sockets() - session.sockets_before


class Crash(Scenario):
    """Users whose daemon is killed by SIGKILL every two seconds; oftener if there is little time.

    Shows that a client's retry hides it: the next daemon is started (of our own by the first who
    needs it), and serves.  "(outage)" is the time from a kill to the first answer after it.

    Objectives: nothing fails, the longest outage is below 5 s, at least 2 kills.
    """

    slos = ("(outage):max<5000", "(outage):count>=2")
    needs = frozenset({Cap.KILL})
    needs_own_daemon = True
    ends_daemon = True
    connects_at_once = False
    patience_s = 10.0
    every_s = 2.0

    @task
    def search(self) -> None:
        self.ask_and_retry(*self.pick_any())

    @classmethod
    def disturb(cls, session: Session) -> None:
        while True:
            gevent.sleep(min(cls.every_s, session.run_time_s / 5))
            if not (pid := session.pid()):
                continue
            os.kill(pid, signal.SIGKILL)
            killed = time.perf_counter()
            client = session.client()
            try:
                client.query(session.questions[0].text, session.mode(), 1)
            finally:
                client.close()
            session.figure("(outage)", (time.perf_counter() - killed) * 1000)
