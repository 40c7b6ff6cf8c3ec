"""A new process is a new client: connections, locks and sequence numbers do not survive a fork."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cidx_ref import client
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.project import Project
from cidx_ref.testing.load.connection import DaemonConnection, MeasuredConnection
from cidx_ref.testing.own.fixtures import MakeProject, build, served
from cidx_ref.testing.promises.report import RecordTried
from cidx_ref.wire import Caller

TIMEOUT_S = 60.0

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
PROGRAM = Path(__file__).with_name("forks.py")

#: How often a fork's answers are the parent's, or do not come: a matter of chance, so many are
#: asked for.
WAYS = {
    "os_fork": 400,
    "in_a_call": 400,
    "context_fork": 400,
    "context_forkserver": 400,
    "executor": 400,
    "in_a_callback": 1,
    "ends_in_good_order": 1,
}


@pytest.fixture
def forked_project(make_project: MakeProject) -> Project:
    spec = importlib.util.spec_from_file_location("forks", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    project = make_project(program.sources())
    build(project)
    return project


def came_of(way: str, project: Project, answers: int) -> dict[str, int]:
    """What `forks.py` tells.  Raises `TimeoutExpired` if it, or what it forked, hangs."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM), way, str(project.root), str(answers)],
        stdout=subprocess.PIPE, cwd="/", start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            told, _ = process.communicate(timeout=max(TIMEOUT_S, answers / 20))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0
    tally: dict[str, int] = json.loads(told)
    return tally


def check(tally: dict[str, int], answers: int) -> int:
    """All were right, and the parent's connection is as it was; how many they were."""
    right = tally.pop("right")
    assert tally == {"reconnected": 0}
    assert right >= answers
    return right


@pytest.mark.promise("TRUST-4")
@pytest.mark.parametrize("way", WAYS)
def test_each_process_has_its_own_answers(
    forked_project: Project, running: Callable[[Project], int], tried: RecordTried, way: str
) -> None:
    running(forked_project)
    tally = came_of(way, forked_project, WAYS[way])
    # The call in whose callback the process was forked ends in the parent; in the child it cannot.
    assert tally.pop("lost", 0) == (1 if way == "in_a_callback" else 0)
    tried("TRUST-4", check(tally, WAYS[way]), "answers beside a fork")


@pytest.mark.deep
@pytest.mark.promise("TRUST-4")
@pytest.mark.parametrize("way", [way for way, answers in WAYS.items() if answers > 1])
def test_of_ten_thousand_answers_none_is_another_process_s(
    forked_project: Project, running: Callable[[Project], int], tried: RecordTried, way: str
) -> None:
    running(forked_project)
    tried("TRUST-4", check(came_of(way, forked_project, 2500), 2500), "answers beside a fork")


@pytest.mark.promise("TRUST-4")
@pytest.mark.parametrize("way", [*WAYS])
def test_without_a_daemon_each_process_has_a_service_of_its_own(
    forked_project: Project, tried: RecordTried, way: str
) -> None:
    Config.init(forked_project, enabled=False)
    tally = came_of(way, forked_project, 100)
    # The callback has a thread of its own, and where that is all there is of the process, it ends.
    assert tally.pop("ended", 0) == (1 if way == "in_a_callback" else 0)
    tried("TRUST-4", check(tally, 1), "answers beside a fork")


@pytest.mark.promise("TRUST-4")
def test_a_connection_of_another_process_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        caller = Caller(ours)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(EOFError, match="another process"):
            caller.call("echo", timeout_s=1.0)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


@forks
@pytest.mark.promise("TRUST-4", "RPC-5")
def test_a_measured_connection_is_the_parents_only(project: Project) -> None:
    """RPyC's says goodbye when it is collected, in a fork, too."""
    with served(project):
        connection = MeasuredConnection(f"unix://{project.socket_path}", TIMEOUT_S)
        ready, told = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                connection.call("ping")
            except EOFError:
                os.write(told, b"refused")
            finally:
                connection.close()
                del connection
                gc.collect()
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(told)
        with os.fdopen(ready, "rb") as file:
            assert file.read() == b"refused"
        with closing(connection):
            assert connection.call("call", "ping")


@pytest.mark.promise("RPC-5")
def test_a_measured_connection_that_was_not_wanted_to_its_end_is_closed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user of a load session is stopped wherever it waits, also for its connection."""

    class StoppedError(BaseException):
        pass

    def stop(self: DaemonConnection, method: str) -> None:
        stopped.append(self.socket)
        raise StoppedError

    stopped: list[socket.socket] = []
    monkeypatch.setattr(DaemonConnection, "call", stop)
    with served(project), pytest.raises(StoppedError):
        DaemonConnection(f"unix://{project.socket_path}", TIMEOUT_S)
    assert [sock.fileno() for sock in stopped] == [-1]


@pytest.mark.promise("TRUST-4", "RPC-5")
def test_a_client_that_is_gone_is_not_kept_for_a_fork(project: Project) -> None:
    with served(project):
        one = DaemonClient(project, start=False)
        assert one in client._clients
        kept = weakref.ref(one)
        one.close()
        del one
    assert kept() is None
