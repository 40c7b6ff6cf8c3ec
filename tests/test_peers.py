"""Both ends of the socket know who is at the other: one's own user and root, or nobody (SRV-1)."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from frames import request, value
from rpyc.core import consts

from cidx_ref import cli, sockets
from cidx_ref.backend import Remote
from cidx_ref.client import DaemonClient
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import UntrustedError
from cidx_ref.launcher import stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import check_peer, connect, is_answered, peer, peer_pid
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import served

pytestmark = pytest.mark.once

WAIT_S = 30.0
STRANGER = 54_321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user, too")
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

_PING = request(consts.HANDLE_PING, value("x"))
PING = struct.pack("!LB", len(_PING), 0) + _PING + b"\n"


def process_of(user: int, directory: Path, act: Callable[[], bytes]) -> tuple[int, int]:
    """Has `act` run in `directory` in a process of another user's, who can reach neither what lies
    above it nor, perhaps, the interpreter: so nothing is imported there.

    Returns the process, and a descriptor from which what `act` returned can be read.
    """
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(directory)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os.write(told, act())
        finally:
            os._exit(0)
    os.close(told)
    return pid, ready


def ended(process: tuple[int, int]) -> bytes:
    """What the process told; and it has ended."""
    pid, ready = process
    with os.fdopen(ready, "rb") as file:
        told = file.read()
    os.waitpid(pid, 0)
    return told


@contextmanager
def serving(directory: Path, runtime: FakeRuntime) -> Iterator[Path]:
    """A server whose socket anybody can reach who can reach the directory."""
    directory.mkdir()
    directory.chmod(0o777)
    path = directory / "daemon.sock"
    listener = socket.socket(socket.AF_UNIX)
    with sockets.address_of(path) as address:
        listener.bind(address)
    path.chmod(0o777)
    listener.listen(64)
    server = SocketServer(CIDXDaemonService(directory), listener, runtime=runtime)
    thread = SYSTEM.thread(lambda: server.serve(lambda: True, WAIT_S), "server")
    try:
        yield path
    finally:
        server.stop()
        thread.join(WAIT_S)
        server.close(WAIT_S)


def ask() -> bytes:
    """Answered, or closed at once: in another process."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WAIT_S)
        sock.connect("daemon.sock")
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(PING)
            if sock.recv(1):
                return b"answered"
    return b"closed"


@as_root
@forks
@pytest.mark.promise("SRV-1", "RPC-6")
def test_another_user_is_turned_away_and_named_in_the_log_now_and_then(
    tmp_path: Path, fake: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="cidx_ref")

    def lines() -> list[str]:
        return [r.getMessage() for r in caplog.records if str(STRANGER) in r.getMessage()]

    with serving(tmp_path / "open", fake) as path:
        for _ in range(3):
            assert ended(process_of(STRANGER, path.parent, ask)) == b"closed"
        (first,) = lines()
        assert f"1 of other users, at last of user {STRANGER}" in first
        fake.advance(3600)
        assert ended(process_of(STRANGER, path.parent, ask)) == b"closed"
        assert f"3 of other users, at last of user {STRANGER}" in lines()[1]
        assert ended(process_of(0, path.parent, ask)) == b"answered"


@as_root
@forks
@pytest.mark.promise("SRV-1", "TRUST-3")
def test_ones_own_user_and_root_may_ask(
    tmp_path: Path, fake: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with serving(tmp_path / "open", fake) as path:
        for user, outcome in ((STRANGER, b"answered"), (0, b"answered"), (STRANGER + 1, b"closed")):
            assert ended(process_of(user, path.parent, ask)) == outcome


def listen(stopped: int, told: int) -> Callable[[], bytes]:
    """Listens until `stopped` is closed; returns all that came, and how often."""

    def act() -> bytes:
        received, count = b"", 0
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("daemon.sock")
            os.chmod("daemon.sock", 0o777)  # noqa: PTH101
            listener.listen(64)
            os.write(told, b"x")
            poller = select.poll()
            for file in (listener.fileno(), stopped):
                poller.register(file, select.POLLIN)
            while stopped not in dict(poller.poll()):
                with closing(listener.accept()[0]) as sock:
                    sock.settimeout(WAIT_S)
                    count += 1
                    while part := sock.recv(1 << 16):
                        received += part
        return b"%d connections: %b" % (count, received)

    return act


@as_root
@forks
@pytest.mark.promise("SRV-1", "SRV-2")
def test_nothing_is_sent_to_another_users_daemon_and_it_is_said_whose_it_is(
    project: Project, fake: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    project.directory.chmod(0o777)
    message = f"{project.socket_path} belongs to user {STRANGER}"
    (stopped, stopping), (ready, told) = os.pipe(), os.pipe()
    os.set_inheritable(stopping, False)

    def act() -> bytes:
        os.close(stopping)  # the other end of which we wait for
        return listen(stopped, told)()

    process = process_of(STRANGER, project.directory, act)
    try:
        assert os.read(ready, 1) == b"x"
        for start in (True, False):
            before = fake.monotonic()
            with pytest.raises(UntrustedError) as caught:
                DaemonClient(project, start=start, runtime=fake)
            assert str(caught.value).startswith(message)
            assert fake.monotonic() == before, "another try would not be of another user"
        with pytest.raises(UntrustedError, match=f"belongs to user {STRANGER}"):
            stop(project, fake)
        assert is_answered(project.socket_path), "somebody listens"
        assert cli.main(["query", "secret", "--project", str(project.root)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert message in said.err
        assert said.err.count("\n") == 1
        with pytest.raises(PermissionError) as refused:
            connect(project.socket_path, WAIT_S)
        assert refused.value.errno == errno.EPERM
        assert str(STRANGER) in str(refused.value.strerror)
    finally:
        for descriptor in (stopping, stopped, ready, told):
            os.close(descriptor)
        received = ended(process)
    assert received.endswith(b" connections: "), "and nothing was sent over them"


@pytest.mark.promise("SRV-1", "TRUST-3")
def test_ones_own_daemon_is_known(project: Project) -> None:
    with served(project), closing(connect(project.socket_path, WAIT_S)) as sock:
        check_peer(sock)
        assert peer(sock) == (os.getpid(), os.geteuid())
        assert peer_pid(sock) == os.getpid()


@as_root
@forks
@pytest.mark.promise("SRV-1", "TRUST-3")
def test_a_socket_that_may_not_be_opened_is_said_to_be_so_at_once(project: Project) -> None:
    with served(project):

        def try_it() -> bytes:
            try:
                Remote(project)
            except UntrustedError as error:
                return f"{type(error).__name__}: {error}".encode()
            return b"connected"

        said = ended(process_of(STRANGER, project.root, try_it)).decode()
    assert said.startswith("UntrustedError: ")
    assert "Permission denied: " in said
    assert said.endswith(".code-indexer is to be a directory of your own, mode 700")
