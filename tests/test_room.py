"""A daemon that has all the connections it can have still says how it is, and is stopped (RPC-6);
and how many that are, by what the system lets it have."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import rpyc
from fault_rows.clients import greedy
from frames import request, value
from rpyc.core import consts
from rpyc.core.stream import SocketStream
from rpyc.core.vinegar import GenericException

from cidx_ref import cli
from cidx_ref.client import DaemonClient
from cidx_ref.daemon import accept, reserve, room
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.room import Room, make_room
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BusyError, DaemonUnavailableError, InternalError
from cidx_ref.index import search
from cidx_ref.launcher import stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import address_of
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import served

pytestmark = pytest.mark.once

WAIT_S = 30.0
FULL = r"^the daemon has 5 connections, its limit"


_PING = request(consts.HANDLE_PING, value("x"))
PING = struct.pack("!LB", len(_PING), 0) + _PING + b"\n"


def is_answered(sock: socket.socket) -> bool:
    """Whether a ping is answered; False if the connection is, or was, closed instead."""
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(PING)
        return len(sock.recv(1 << 12)) > 0
    return False


def until(condition: Callable[[], bool]) -> None:
    """Nothing tells us that the other thread has come so far."""
    deadline = SYSTEM.monotonic() + WAIT_S
    while not condition():
        assert SYSTEM.monotonic() < deadline, "it has not come to that"
        SYSTEM.sleep(0.005)


@contextmanager
def many(path: Path, count: int, *, ask: bool = True) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has asked something, and been answered."""
    with ExitStack() as stack:
        socks = [stack.enter_context(closing(connect_socket(path, WAIT_S))) for _ in range(count)]
        for sock in socks:
            sock.settimeout(WAIT_S)
            assert not ask or is_answered(sock)
        yield socks


@pytest.fixture
def small(project: Project) -> Iterator[CIDXDaemonService]:
    """A daemon with room for five."""
    project.config_path.write_text('{"daemon": {"max_retries": 0}}')
    with served(project, room=Room(connections=5)) as service:
        yield service


@contextmanager
def serving(
    project: Project, runtime: FakeRuntime, room: Room
) -> Iterator[tuple[SocketServer, Path]]:
    """A server, on a clock that stands still."""
    path = project.directory / "small.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        with address_of(path) as address:
            listener.bind(address)
        listener.listen(64)
        server = SocketServer(CIDXDaemonService(project.root), listener, runtime=runtime, room=room)
        thread = SYSTEM.thread(lambda: server.serve(lambda: True, 1.0), "server")
        try:
            yield server, path
        finally:
            server.stop()
            thread.join(WAIT_S)
            server.close(WAIT_S)


def pass_by(fake: FakeRuntime, server: SocketServer, seconds: float) -> None:
    """Let time pass once everybody that was answered is known to be silent."""
    until(lambda: all(c.silent_since is not None for c in server._connections.values()))
    fake.advance(seconds)


@contextmanager
def plain(project: Project) -> Iterator[Any]:
    """A client that knows nothing but RPyC."""
    sock = connect_socket(project.socket_path, WAIT_S)
    connection = rpyc.connect_channel(rpyc.Channel(SocketStream(sock)))
    try:
        yield connection.root
    finally:
        sock.close()


# The reserve.


@pytest.mark.promise("RPC-6", "OBS-1")
def test_a_full_daemon_says_how_it_is_and_refuses_all_else_by_name(
    small: CIDXDaemonService, project: Project
) -> None:
    with many(project.socket_path, 5), DaemonClient(project, start=False) as client:
        started = perf_counter()
        assert client.ping()["pong"]
        assert client.status()["running"]
        assert client.health()["status"] == "healthy"
        assert client.metrics()["calls"]
        told = client.diagnostics()
        assert (told["connections"], told["limits"]["max_connections"]) == (5, 5)
        for ask in (
            lambda: client.query("retry"),
            client.index,
            client.clear_cache,
            client.skipped,
            lambda: client.index(progress=print),
        ):
            with pytest.raises(BusyError, match=FULL):
                ask()
        assert perf_counter() - started < 5.0
    until(lambda: small.connections() == 0)
    with DaemonClient(project, start=False) as client:
        assert client.query("retry")[0].path == "net/retry.py"


@pytest.mark.promise("RPC-6")
def test_a_plain_client_of_a_full_daemon_is_told_the_same(
    small: CIDXDaemonService, project: Project
) -> None:
    with many(project.socket_path, 5), plain(project) as root:
        assert root.ping()["pong"]
        assert root.get_status()["running"]
        with pytest.raises(GenericException, match=FULL) as caught:
            root.query(str(project.root), "retry")
        assert caught.value.kind == "busy"
        with pytest.raises(AttributeError, match="cannot access"):
            root.nothing  # noqa: B018
        assert '"busy"' in root.call("query", "{}")


@pytest.mark.promise("RPC-6", "SRV-4")
def test_a_full_daemon_is_stopped(project: Project) -> None:
    with (
        served(project, room=Room(connections=5)) as service,
        many(project.socket_path, 5),
        many(project.socket_path, 40, ask=False),
    ):
        started = perf_counter()
        assert stop(project)
        assert perf_counter() - started < 5.0
        assert service.gate.is_closed


_TURNS_AWAY = """
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"""


@pytest.mark.promise("SRV-4")
def test_a_daemon_that_turns_everybody_away_is_stopped_all_the_same(project: Project) -> None:
    command = [sys.executable, "-c", _TURNS_AWAY, str(project.socket_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            reaper = SYSTEM.thread(process.wait, "reaper")
            with pytest.raises(DaemonUnavailableError, match="connection was lost"):
                DaemonClient(project, start=False, runtime=FakeRuntime())
            assert stop(project)
            reaper.join(WAIT_S)
            assert process.returncode == 0
        finally:
            process.kill()


@pytest.mark.promise("RPC-6")
def test_those_that_connect_to_a_full_daemon_and_are_silent_keep_nobody_from_asking(
    small: CIDXDaemonService, project: Project
) -> None:
    with many(project.socket_path, 5), many(project.socket_path, 100, ask=False) as silent:
        started = perf_counter()
        for _ in range(10):
            with DaemonClient(project, start=False) as client:
                assert client.status()["running"]
        assert perf_counter() - started < 5.0
        for sock in silent:
            assert sock.recv(1) == b"", "each is closed after a while"


@pytest.mark.promise("RPC-6")
def test_a_client_of_the_reserve_leaves_it_to_others(
    small: CIDXDaemonService, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "_STAY_S", 0.5)
    monkeypatch.setattr(reserve, "_SHORT_STAY_S", 0.2)
    with many(project.socket_path, 5), many(project.socket_path, 10, ask=False) as others:
        for sock in others:
            sock.sendall(PING)  # more than there are threads
        for sock in others:
            assert len(sock.recv(1 << 12)) > 0
        while is_answered(others[-1]):
            pass
        assert others[0].recv(1) == b""


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize(("processes", "connections"), [(1, 40), (12, 1)])
def test_who_asks_the_reserve_without_end_keeps_no_other_process_from_asking(
    project: Project, processes: int, connections: int
) -> None:
    with (
        served(project, room=Room(connections=5, reserve=8)),
        many(project.socket_path, 5),
        greedy(project, processes, connections),
    ):
        for _ in range(3):
            with DaemonClient(project, start=False) as client:
                assert client.status()["running"]


@pytest.mark.promise("RPC-6")
def test_what_goes_wrong_costs_the_reserve_no_thread(
    small: CIDXDaemonService, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no memory, say")

    with many(project.socket_path, 5):
        with monkeypatch.context() as patched:
            patched.setattr(reserve, "serve_connection", fail)
            for _ in range(10):
                with many(project.socket_path, 1, ask=False) as (sock,):
                    assert not is_answered(sock)
        with DaemonClient(project, start=False) as client:
            assert client.status()["running"]


# Who is silent.


@pytest.mark.promise("RPC-6")
def test_who_comes_takes_the_place_of_the_one_that_is_silent_for_longest(
    project: Project, fake: FakeRuntime
) -> None:
    with serving(project, fake, Room(connections=5)) as (server, path), many(path, 5) as socks:
        pass_by(fake, server, accept.CROWDED_IDLE_S / 2)
        assert is_answered(socks[0])
        pass_by(fake, server, accept.CROWDED_IDLE_S / 2)
        with many(path, 1, ask=False) as (new,):
            assert socks[1].recv(1) == b""
            until(lambda: server.connections == 5)
            assert is_answered(new)
            for sock in (socks[0], *socks[2:]):
                assert is_answered(sock)


@pytest.mark.promise("RPC-6")
def test_who_has_never_asked_goes_first(project: Project, fake: FakeRuntime) -> None:
    room = Room(connections=5)
    with (
        serving(project, fake, room) as (server, path),
        many(path, 3) as socks,
        many(path, 2, ask=False) as mute,
    ):
        until(lambda: server.connections == 5)
        pass_by(fake, server, accept.CROWDED_IDLE_S - 1)
        with many(path, 2):
            assert [sock.recv(1) for sock in mute] == [b"", b""]
            assert all(map(is_answered, socks))


@pytest.mark.promise("RPC-6")
def test_who_asks_for_nothing_is_ended_after_an_hour_and_not_before(
    project: Project, fake: FakeRuntime
) -> None:
    with serving(project, fake, Room()) as (server, path), many(path, 2) as (one, other):
        pass_by(fake, server, accept.IDLE_S - 1)
        assert is_answered(other)
        pass_by(fake, server, 1)
        with many(path, 1):  # which has the server look at its clock
            assert one.recv(1) == b""
            assert is_answered(other)
        until(lambda: server.connections == 1)


@pytest.mark.promise("RPC-6")
def test_a_client_that_was_ended_while_it_was_silent_does_not_notice(
    small: CIDXDaemonService, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "CROWDED_IDLE_S", 0.0)
    with DaemonClient(project, start=False) as client:
        first = client.ping()

        def is_ended() -> bool:
            # Of those that are silent it may be another, until the daemon knows that this one is.
            with many(project.socket_path, 5):
                pass
            until(lambda: small.connections() <= 1)
            return small.connections() == 0

        until(is_ended)
        assert client.ping() == first, "without another try, as none is configured"


# What runs out.


@pytest.mark.promise("RPC-6")
def test_where_no_thread_can_be_started_the_reserve_answers(
    small: CIDXDaemonService, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = type(SYSTEM).thread

    def refuse(self: Any, target: Callable[[], object], name: str) -> Any:
        if name == "connection":
            raise RuntimeError("can't start new thread")
        return start(self, target, name)

    monkeypatch.setattr(type(SYSTEM), "thread", refuse)
    with DaemonClient(project, start=False) as client:
        assert client.status()["running"]
        with pytest.raises(BusyError, match="no more threads"):
            client.query("retry")
    assert small.connections() == 0


class _Starved(socket.socket):
    """A listener of a process that has no descriptor left, but for one that it can give up."""

    spare: Callable[[], int] = staticmethod(lambda: -1)

    def accept(self) -> Any:
        try:
            os.fstat(self.spare())
        except OSError:
            return super().accept()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.promise("RPC-6")
def test_without_a_descriptor_who_comes_is_closed_at_once(
    project: Project, fake: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="cidx_ref")
    with serving(project, fake, Room()) as (server, path):
        server._listener = starved = _Starved(fileno=os.dup(server._listener.fileno()))
        starved.spare = lambda: server._spare
        with closing(starved), many(path, 3, ask=False) as socks:
            assert [sock.recv(1) for sock in socks] == [b""] * 3
        assert server._spare >= 0
    lines = [r.getMessage() for r in caplog.records if "Too many open files" in r.getMessage()]
    assert len(lines) == 1, "and it is said once"


@pytest.mark.promise("RPC-2")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "x"), "too many open files"),
        (BlockingIOError(errno.EAGAIN, "fork"), "no more threads or processes"),
        (RuntimeError("can't start new thread"), "no more threads or processes"),
        (MemoryError(), "out of memory"),
        (ImportError("/lib/x.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("something else"), "RuntimeError"),
        (OSError(errno.EIO, "x"), "OSError"),
    ],
    ids=str,
)
def test_what_has_run_out_is_said_in_words(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*arguments: Any) -> Any:
        raise error

    service = CIDXDaemonService(project.root)
    monkeypatch.setattr(search, "answer", fail)
    with pytest.raises(InternalError, match=f"^query: {said}.*; see daemon.log$"):
        service.exposed_query(str(project.root), "retry")
    service.exposed_clear_cache()


# How much room there is.


def test_the_room_follows_the_limits_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raised: list[tuple[int, int]] = []
    kinds = resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS
    limits = {**dict.fromkeys(kinds, (-1, -1)), resource.RLIMIT_NOFILE: (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: raised.append(pair))
    monkeypatch.setattr(room, "_cgroups", lambda: iter([tmp_path]))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    made = make_room()
    assert (made.connections, made.limited_by) == (900, None)
    assert raised == [(2048, 4096)]

    limits[resource.RLIMIT_NOFILE] = (64, 64)
    made = make_room()
    assert 10 <= made.connections <= 30
    assert made.limited_by == "64 open files (ulimit -n)"
    assert made.descriptors is not None
    assert made.connections < made.descriptors < 64 - made.reserve
    assert raised == [(2048, 4096)]

    limits[resource.RLIMIT_NOFILE] = (40, 40)
    with pytest.raises(DaemonUnavailableError, match="may be 40 open files"):
        make_room()

    limits[resource.RLIMIT_NOFILE] = (-1, -1)
    limits[resource.RLIMIT_NPROC] = (200, 200)
    made = make_room()
    assert (made.connections, made.descriptors) == (100, 2048 - 128)
    assert made.limited_by == "200 threads and processes (ulimit -u)"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert make_room().connections == 900, "which does not bind root"

    (tmp_path / "pids.max").write_text("100\n")
    (tmp_path / "pids.current").write_text("20\n")
    made = make_room()
    assert made.connections == 40
    assert made.limited_by == "100 threads and processes (pids.max), 80 of them more"
    (tmp_path / "pids.current").write_text("90\n")
    with pytest.raises(DaemonUnavailableError, match="may be 100 threads and processes"):
        make_room()
    (tmp_path / "pids.max").write_text("max\n")
    assert make_room().connections == 900

    limits[resource.RLIMIT_AS] = (500 << 20, -1)
    assert 4 < make_room().connections < 30
    limits[resource.RLIMIT_AS] = (200 << 20, -1)
    with pytest.raises(DaemonUnavailableError, match="may be 200 MB of address space"):
        make_room()


def test_the_control_groups_of_this_process_are_found() -> None:
    assert all(folder.is_relative_to("/sys/fs/cgroup") for folder in room._cgroups())


@pytest.mark.promise("RPC-6")
def test_too_few_descriptors_are_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "_raise_descriptors", lambda wanted: 40)
    assert cli.main(["serve", "--project", str(project.root)]) == 2
    said = capsys.readouterr().err
    assert said == (
        "cidx-ref: cannot serve: there may be 40 open files (ulimit -n) here, and a daemon needs "
        "48: raise that limit\n"
    )


@pytest.mark.promise("RPC-6")
def test_a_daemon_that_cannot_have_its_first_threads_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Any, target: Callable[[], object], name: str) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(type(SYSTEM), "thread", refuse)
    assert cli.main(["serve", "--project", str(project.root)]) == 2
    said = "cannot serve: no more threads or processes can be started (ulimit -u)"
    assert capsys.readouterr().err == f"cidx-ref: {said}\n"
