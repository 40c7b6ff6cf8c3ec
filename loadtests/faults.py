"""Clients that misbehave, and a daemon that is killed."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress

import gevent

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.load import Scenario, Session, task
from cidx_ref.testing.load.connection import DaemonConnection, open_socket

_HELD_S = 1.0
_SETTLED_S = 15.0


def vanish(session: Session) -> None:
    """Ask, and be gone before the answer."""
    connection = DaemonConnection(session.host, 10.0)
    try:
        connection.begin("query_hybrid", str(session.project), "copy a tree")
    finally:
        connection.close()


def half_open(session: Session) -> None:
    """Connect, and say nothing; then half a frame, and no more."""
    with open_socket(session.host, 10.0) as sock:
        gevent.sleep(_HELD_S)
        sock.sendall(b"\0\0")
        gevent.sleep(_HELD_S)


def never_read(session: Session) -> None:
    """Ask and ask, and take no answer."""
    connection = DaemonConnection(session.host, 10.0)
    try:
        for _ in range(300):
            connection.begin("query_fts", str(session.project), "a tree", 50)
        gevent.sleep(_HELD_S)
    finally:
        connection.close()


def read_slowly(session: Session) -> None:
    """Ask and ask, and take an answer of some kilobytes by 64 bytes."""
    connection = DaemonConnection(session.host, 10.0)
    try:
        for _ in range(300):
            connection.begin("query_fts", str(session.project), "a tree", 50)
        for _ in range(20):
            connection.socket.recv(64)
            gevent.sleep(_HELD_S / 20)
    finally:
        connection.close()


def send_garbage(session: Session) -> None:
    """Bytes that are no frame; and the header of one of four gigabytes."""
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n" * 10, struct.pack("!LB", 0xFFFFFFFF, 0) + b"x" * 99):
        with open_socket(session.host, 10.0) as sock:
            sock.sendall(rubbish)
            gevent.sleep(_HELD_S / 4)


class Churn(Scenario):
    """Readers, next to clients that vanish while they are answered, say nothing, read their answers
    slowly or never, or send garbage: ten at any time.

    Shows that what they do costs nobody else anything, and leaves nothing in the daemon.
    "(connections left)" are the daemon's connections when all clients have gone.

    Objectives: full text p95 < 100 ms, no failure, no connection left.
    """

    slos = ("query_fts:p95<100", "(connections left):max<=0", "(bad clients):count>=8")
    users = 10
    timeout_s = 10.0
    tasks = (Scenario.search,)

    @classmethod
    def disturb(cls, session: Session) -> None:
        bad = [vanish, half_open, read_slowly, never_read, send_garbage]
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
        while True:
            threads = session.ask("get_diagnostics")["threads"]
            left = sum(thread["name"] == "connection" for thread in threads) - 1  # ours
            if left <= 0 or SYSTEM.monotonic() > deadline:
                break
            gevent.sleep(0.1)
        session.figure("(connections left)", max(left, 0))


class Crash(Scenario):
    """Users of the shipped client, whose daemon is killed by SIGKILL every few seconds.

    Shows that the client's retry hides it: the next daemon is started by whoever needs it first.
    "(outage)" is the time from a kill to the first answer after it.

    Objectives: nothing fails, the longest outage is below 5 s, at least 2 kills.
    """

    slos = ("(outage):max<5000", "(outage):count>=2")
    needs_own_daemon = True
    connects_at_once = False
    patience_s = 10.0
    every_s = 2.0

    @task
    def search(self) -> None:
        self.ask_and_retry(*self.pick_any())

    @classmethod
    def disturb(cls, session: Session) -> None:
        while True:
            gevent.sleep(cls.every_s)
            if not (pid := session.pid()):
                continue
            os.kill(pid, signal.SIGKILL)
            killed = time.perf_counter()
            with DaemonClient(Project.at(session.project), launch=session.launch) as client:
                client.query("copy a tree", mode="fts", limit=1)
            session.figure("(outage)", (time.perf_counter() - killed) * 1000)
