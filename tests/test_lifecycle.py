"""The daemon as a process: real ones, on the real socket, started, stopped, killed and robbed.

A module of the test's own, plugged in as the embedder, lets a test hold the daemon, or a build, at
a named point: the process says where it is, and goes on when it is told to.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import rpyc
from depth import by_default
from rpyc.core.stream import SocketStream
from rpyc.utils.factory import unix_connect

from cidx_ref import __version__
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon.claim import Claim
from cidx_ref.errors import (
    BusyError,
    CidxError,
    DaemonUnavailableError,
    IndexingError,
    ShuttingDownError,
)
from cidx_ref.index.generation import Generations
from cidx_ref.interpreter import python_command
from cidx_ref.launcher import start_process, stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import connect, is_answered
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import build

pytestmark = pytest.mark.once

TIMEOUT_S = 30
QUERY = "retry when the peer disconnects"
MARKER = "a marker that is only in the new file"

Running = Callable[[Project], int]

# Processes.


def popen(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command, environment = python_command("cidx_ref", *arguments)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{"env": environment, **pipes, **options})


def run(*arguments: str, **options: Any) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one `cidx-ref` command."""
    with popen(*arguments, **options) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err


@contextmanager
def ending(pid: int) -> Iterator[None]:
    """The process `pid`, whoever's child it is, ends in the block or within a time after it."""
    fd = os.pidfd_open(pid)
    try:
        yield
        assert select.select([fd], [], [], TIMEOUT_S)[0], f"process {pid} does not end"
    finally:
        os.close(fd)


def wait_for_end(pid: int) -> None:
    with suppress(ProcessLookupError), ending(pid):
        pass


def kill(pid: int) -> None:
    with ending(pid):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A daemon in the foreground, our own child, so that its exit status can be seen."""
    with popen("serve", "--project", str(project.root)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
            yield process
        finally:
            process.kill()


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin `work` in a thread; call what is returned for its result, or its error."""
    outcome: list[tuple[bool, Any]] = []

    def target() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))

    thread = SYSTEM.thread(target, "test")

    def join() -> Any:
        thread.join(TIMEOUT_S)
        assert outcome, "still at it"
        good, value = outcome[0]
        if not good:
            raise value
        return value

    return join


@contextmanager
def client(project: Project) -> Iterator[DaemonClient]:
    daemon = DaemonClient(project, start=False)
    yield daemon
    daemon.close()  # not when the test has failed: a call that is held may still be under way


def until_refused(act: Callable[[], object]) -> CidxError:
    """Do `act` again and again until it is refused; return the refusal."""
    deadline = time.perf_counter() + TIMEOUT_S
    while time.perf_counter() < deadline:
        try:
            act()
        except CidxError as error:
            return error
    raise AssertionError("never refused")


def knock(project: Project) -> None:
    with client(project):
        pass


def configure(project: Project, **daemon: object) -> None:
    project.create_directory()
    project.config_path.write_text(json.dumps({"daemon": daemon}))


def change(project: Project, name: str = "new.py", marker: str = MARKER) -> None:
    (project.root / name).write_text(f'def new():\n    """{marker}"""\n')


def finds(daemon: DaemonClient, text: str, path: str) -> bool:
    return any(hit.path == path for hit in daemon.query(text))


def litter(project: Project) -> list[str]:
    """What lies in the project's directory and should not."""
    kept = {".gitignore", "config.json", "daemon.lock", "daemon.log", "generations", "seen.bin"}
    return sorted(set(os.listdir(project.directory)) - kept)


# Holding a process at a point.

PROBE = """
import os, socket
from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.runtime import SYSTEM

HOME = os.environ["PROBE_HOME"]

def pass_point(name):
    if os.path.exists(f"{HOME}/hold/{name}"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{HOME}/socket")
            sock.sendall(f"{name} {os.getpid()}\\n".encode())
            sock.recv(1)

class Embedder(HashingEmbedder):
    def embed_documents(self, texts):
        pass_point("documents")
        return super().embed_documents(texts)

# In the query itself: an embedder is asked once by equal ones, and is not waited for without end.
vector = QueryVectors.vector

def held(self, text, patience_s):
    pass_point("query")
    return vector(self, text, patience_s)

QueryVectors.vector = held
sleep = SYSTEM.sleep
SYSTEM.step = pass_point
SYSTEM.sleep = lambda seconds: (pass_point("sleep"), sleep(seconds))
"""


@dataclass
class Held:
    point: str
    pid: int
    sock: socket.socket

    def release(self) -> None:
        self.sock.close()


class Probe:
    """Holds processes where it is told to."""

    def __init__(self, home: Path) -> None:
        self._points = home / "hold"
        self._points.mkdir(parents=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / "socket"))
        self._listener.listen(64)
        self._listener.settimeout(TIMEOUT_S)
        self._held: list[Held] = []

    def hold(self, *points: str) -> None:
        for point in points:
            (self._points / point).touch()

    def free(self, *points: str) -> None:
        for point in points:
            (self._points / point).unlink()

    def arrival(self) -> Held:
        """The next process that stops at one of the points."""
        sock, _ = self._listener.accept()
        sock.settimeout(TIMEOUT_S)
        with sock.makefile() as file:
            point, pid = file.readline().split()
        self._held.append(Held(point, int(pid), sock))
        return self._held[-1]

    def close(self) -> None:
        for point in list(self._points.iterdir()):
            point.unlink()
        self._listener.close()
        for held in self._held:
            held.release()


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    home = tmp_path / "probe"
    made = Probe(home)
    (home / "held_embedder.py").write_text(PROBE)
    path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PROBE_HOME", str(home))
    monkeypatch.setenv("CIDX_REF_EMBEDDER", "held_embedder:Embedder")
    yield made
    made.close()


# Serving.


@pytest.mark.promise("SRV-1")
def test_many_clients_are_served_at_once_on_a_socket_that_only_its_owner_may_use(
    project: Project, running: Running, probe: Probe, figure: Callable[..., None]
) -> None:
    running(project)
    mode = project.socket_path.lstat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    probe.hold("query")
    many = 24
    clients = [DaemonClient(project, start=False) for _ in range(many)]
    try:
        answers = [in_thread(partial(c.query, QUERY)) for c in clients]
        # All of them are inside at the same time, before the first is answered.
        held = [probe.arrival() for _ in range(many)]
        probe.free("query")
        with client(project) as another:
            in_flight = another.diagnostics()["in_flight"]
        assert sum(call["method"] == "query_hybrid" for call in in_flight) == many
        for one in held:
            one.release()
        assert {join().results[0].path for join in answers} == {"net/retry.py"}
    finally:
        probe.close()
        for each in clients:
            each.close()
    plain = unix_connect(str(project.socket_path))
    try:
        assert plain.root.query(str(project.root), QUERY)["results"][0]["path"] == "net/retry.py"
    finally:
        plain.close()
    figure("SRV-1", "clients inside at once", many)


@pytest.mark.promise("SRV-2")
@pytest.mark.parametrize("path", ["free", "stale", "live"])
@pytest.mark.parametrize("round_", [1, 2])
def test_of_eight_starters_at_the_same_moment_exactly_one_serves_and_all_exit_0(
    make_project: Callable[..., Project], running: Running, path: str, round_: int
) -> None:
    project = make_project()
    first = running(project)
    if path != "live":
        kill(first)
    if path == "free":
        project.socket_path.unlink()
    commands = ("start", "serve") * 4
    starters = [popen(command, "--project", str(project.root)) for command in commands]
    try:
        said = [one.stdout.readline().strip() for one in starters if one.stdout is not None]
        assert set(said) <= {"serving", "already running"}
        assert said.count("serving") == (0 if path == "live" else 1)
        with client(project) as daemon:
            owner = daemon.ping()["pid"]
        assert (owner == first) is (path == "live")
        serve = f"serve --project {project.root}"
        for one in starters:
            if one.pid != owner:
                assert one.wait(TIMEOUT_S) == 0
        for other in psutil.process_iter(["pid", "cmdline"]):
            if serve in " ".join(other.info["cmdline"] or ()) and other.pid != owner:
                wait_for_end(other.pid)  # it has spoken, and is on its way out
        assert run("stop", "--project", str(project.root)) == (0, "stopped\n", "")
        assert [one.wait(TIMEOUT_S) for one in starters] == [0] * 8
    finally:
        for one in starters:
            one.kill()
            one.communicate()
    assert litter(project) == []


@pytest.mark.promise("SRV-3")
def test_after_a_kill_the_next_start_serves(
    project: Project, running: Running, figure: Callable[..., None]
) -> None:
    seconds = []
    pid = running(project)
    for _ in range(3):
        kill(pid)
        assert project.socket_path.is_socket()
        assert not is_answered(project.socket_path)
        started = time.perf_counter()
        assert start_process(project) == "serving"
        with client(project) as daemon:
            seconds.append(time.perf_counter() - started)
            assert daemon.ping()["pid"] not in (pid, os.getpid())
            pid = daemon.ping()["pid"]
            assert finds(daemon, QUERY, "net/retry.py")
    figure("SRV-3", "from start to the first answer", round(min(seconds), 3), "s")
    assert min(seconds) < 5


# Stopping.


@pytest.mark.promise("SRV-4")
@pytest.mark.parametrize("how", ["stop", "SIGTERM", "SIGINT"])
def test_stopping_answers_the_query_in_flight_and_refuses_new_ones(
    project: Project, probe: Probe, how: str
) -> None:
    configure(project, max_retries=0)
    probe.hold("query")
    with serving(project) as process, client(project) as asker, client(project) as late:
        answer = in_thread(lambda: asker.query(QUERY))
        held = probe.arrival()
        stopped = None
        if how == "stop":
            stopped = in_thread(lambda: run("stop", "--project", str(project.root)))
        else:
            process.send_signal(getattr(signal, how))
        assert isinstance(until_refused(late.ping), ShuttingDownError)
        assert process.poll() is None
        held.release()
        assert answer().results[0].path == "net/retry.py"
        assert process.wait(TIMEOUT_S) == 0
        if stopped is not None:
            status, said, noted = stopped()
            assert (status, said) == (0, "stopped\n")
            # What it says where that took more than a second, and nothing else.
            note = f"the daemon (pid {process.pid}) answers what is in flight, and then ends"
            assert noted in ("", f"cidx-ref: {note}\n")
        assert process.communicate() == ("", "")
    assert litter(project) == []


@pytest.mark.promise("SRV-4", "SRV-2")
def test_once_shutdown_has_answered_nobody_is_found_and_the_next_starter_serves(
    project: Project, probe: Probe
) -> None:
    configure(project, max_retries=0)
    probe.hold("query")
    with serving(project), client(project) as asker, client(project) as other:
        answer = in_thread(lambda: asker.query(QUERY))
        held = probe.arrival()
        with closing(connect(project.socket_path, 5)) as sock:
            plain = rpyc.connect_channel(rpyc.Channel(SocketStream(sock)))
            plain.root.call("shutdown", "{}")
            assert not project.socket_path.exists(), "stopping, and still to be found"
            plain.close()
        assert isinstance(until_refused(other.ping), ShuttingDownError)
        held.release()
        assert answer().results[0].path == "net/retry.py"


@pytest.mark.promise("SRV-4")
def test_stopping_answers_the_index_run_in_flight(project: Project, probe: Probe) -> None:
    configure(project, max_retries=0)
    change(project)
    probe.hold("documents")
    with serving(project) as process, client(project) as daemon, client(project) as late:
        report = in_thread(daemon.index)
        held = probe.arrival()
        process.terminate()
        assert isinstance(until_refused(late.ping), ShuttingDownError)
        probe.free("documents")
        held.release()
        assert report()["changed"] is True
        assert process.wait(TIMEOUT_S) == 0
    assert litter(project) == []


@pytest.mark.promise("SRV-4")
def test_a_stop_that_waits_says_for_what(project: Project, probe: Probe) -> None:
    change(project)
    probe.hold("documents")
    with serving(project) as process, client(project) as daemon:
        report = in_thread(daemon.index)
        held = probe.arrival()
        with popen("stop", "--project", str(project.root)) as stopping:
            assert stopping.stderr is not None
            said = stopping.stderr.readline()
            assert f"(pid {process.pid}) answers what is in flight" in said
            probe.free("documents")
            held.release()
            assert stopping.communicate(timeout=TIMEOUT_S) == ("stopped\n", "")
        assert report()["changed"] is True
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.promise("SRV-4")
def test_a_client_that_comes_as_the_daemon_stops_does_not_wait_for_what_is_in_flight(
    project: Project, probe: Probe
) -> None:
    probe.hold("query")
    with serving(project) as process, client(project) as asker:
        answer = in_thread(lambda: asker.query(QUERY))
        held = probe.arrival()
        # Stopped, so that the kernel accepts the connections and the daemon does not.
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with ExitStack() as late:
            # Several, because the daemon may let one more in before it hears the signal.
            socks = [late.enter_context(connect(project.socket_path, 5)) for _ in range(4)]
            process.terminate()
            process.send_signal(signal.SIGCONT)
            for sock in socks:
                # Answered or turned away, but in less time than what is in flight is waited for.
                channel = rpyc.Channel(SocketStream(sock))
                plain = rpyc.connect_channel(channel, config={"sync_request_timeout": 5})
                late.callback(plain.close)
                with suppress(EOFError):
                    plain.root.call("ping", "{}")
        held.release()
        assert answer().results[0].path == "net/retry.py"
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.promise("SRV-4")
def test_stopping_removes_no_socket_but_its_own(project: Project, probe: Probe) -> None:
    probe.hold("query")
    foreign = socket.socket(socket.AF_UNIX)
    with foreign, serving(project) as process, client(project) as asker:
        answer = in_thread(lambda: asker.query(QUERY))
        held = probe.arrival()
        project.socket_path.unlink()
        foreign.bind(str(project.socket_path))
        foreign.listen()
        process.terminate()
        held.release()
        assert answer().results[0].path == "net/retry.py"
        assert process.wait(TIMEOUT_S) == 0
        connect(project.socket_path, 5).close()


@pytest.mark.promise("SRV-4")
@pytest.mark.parametrize("point", ["bound", "reachable"])
def test_a_daemon_told_to_stop_while_it_starts_leaves_no_socket_and_exits_0(
    project: Project, probe: Probe, point: str
) -> None:
    probe.hold(point)
    with popen("serve", "--project", str(project.root)) as process:
        try:
            held = probe.arrival()
            process.terminate()
            probe.free(point)
            held.release()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
    assert litter(project) == []


@pytest.mark.promise("SRV-4")
def test_any_number_may_say_stop_at_once(project: Project, running: Running) -> None:
    for _ in range(3):
        pid = running(project)
        with ending(pid):
            commands = [popen("stop", "--project", str(project.root)) for _ in range(6)]
            ended = [(*one.communicate(timeout=TIMEOUT_S), one.returncode) for one in commands]
        assert {status for *_, status in ended} == {0}, ended
        assert {out for out, *_ in ended} <= {"stopped\n", "not running\n"}
    assert litter(project) == []


@pytest.mark.promise("SRV-4")
def test_a_stop_that_comes_between_finding_the_daemon_and_asking_it_is_no_error(
    project: Project, probe: Probe
) -> None:
    configure(project, max_retries=0)
    probe.hold("query")
    with serving(project) as process, client(project) as asker, client(project) as late:
        answer = in_thread(lambda: asker.query(QUERY))
        held = probe.arrival()
        with client(project) as other:
            stopper = in_thread(other.shutdown)
            assert isinstance(until_refused(late.ping), ShuttingDownError)
            second = popen("stop", "--project", str(project.root))
            held.release()
            stopper()
            assert (*second.communicate(timeout=TIMEOUT_S), second.returncode)[1:] == ("", 0)
        answer()
        assert process.wait(TIMEOUT_S) == 0


class _Waits(FakeRuntime):
    """Does `meanwhile` when somebody waits."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        self._meanwhile()
        super().sleep(seconds)


@pytest.mark.promise("SRV-4")
def test_a_stop_waits_for_a_daemon_that_is_coming_or_going(project: Project) -> None:
    """It answers nobody, and has the project all the same."""
    claim = Claim(project)
    assert claim.acquire()
    assert run("status", "--project", str(project.root))[1].startswith(
        "running: starting or stopping\n"
    )
    assert stop(project, _Waits(claim.release)) is True
    assert stop(project) is False
    assert run("status", "--project", str(project.root))[1].startswith("running: no\n")
    assert claim.acquire()
    with pytest.raises(DaemonUnavailableError, match="neither answers nor ends"):
        stop(project, FakeRuntime())
    claim.release()


def test_what_was_left_out_is_told_without_a_daemon(project: Project) -> None:
    (project.root / "b.bin").write_bytes(b"\0")
    build(project)
    assert run("skipped", "--project", str(project.root))[:2] == (0, "b.bin: binary\n")
    assert not is_answered(project.socket_path)


# Being robbed.


def remove_socket(project: Project) -> None:
    project.socket_path.unlink()


def replace_socket(project: Project) -> None:
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(project.root / "s"))
        (project.root / "s").rename(project.socket_path)


def replace_socket_by_a_file(project: Project) -> None:
    project.socket_path.unlink()
    project.socket_path.write_text("")


def rename_project(project: Project) -> None:
    project.root.rename(project.root.with_name("renamed"))


def replace_project(project: Project) -> None:
    rename_project(project)
    project.directory.mkdir(parents=True)


def delete_project(project: Project) -> None:
    subprocess.run(["rm", "-rf", str(project.root)], check=True)


@pytest.mark.promise("SRV-5")
@pytest.mark.parametrize(
    "rob",
    [
        remove_socket,
        replace_socket,
        replace_socket_by_a_file,
        rename_project,
        replace_project,
        delete_project,
    ],
)
def test_a_daemon_that_was_robbed_notices_and_ends(
    project: Project,
    figure: Callable[..., None],
    rob: Callable[[Project], None],
) -> None:
    with serving(project) as process, client(project) as daemon:
        assert finds(daemon, QUERY, "net/retry.py")
        started = time.perf_counter()
        rob(project)
        left = project.socket_path.lstat() if os.path.lexists(project.socket_path) else None
        assert process.wait(TIMEOUT_S) == 0
        figure("SRV-5", rob.__name__, round(time.perf_counter() - started, 2), "s")
        out, err = process.communicate()
        assert (out, err) == ("", "")
    if left is None:
        assert not os.path.lexists(project.socket_path)
    else:
        assert project.socket_path.lstat().st_ino == left.st_ino


@pytest.mark.promise("SRV-5", "SRV-2")
def test_a_robbed_daemon_makes_room_for_the_next_one(project: Project, running: Running) -> None:
    first = running(project)
    with ending(first):
        project.socket_path.unlink()
        # It waits for the lock, which the first holds until it has noticed.
        second = running(project)
    assert second != first


# Writing.


@pytest.mark.promise("WRITE-1")
def test_a_second_writer_waits_for_the_first_across_processes(
    project: Project, probe: Probe, running: Running
) -> None:
    running(project)
    change(project)
    with client(project) as one, client(project) as two, client(project) as three:
        probe.hold("documents", "sleep")
        first = in_thread(lambda: one.index(full=True))
        building = probe.arrival()
        second = in_thread(lambda: two.index(full=True))
        waiting = probe.arrival()
        assert (building.point, waiting.point) == ("documents", "sleep")
        assert building.pid != waiting.pid
        probe.free("sleep")
        with pytest.raises(BusyError):
            three.index(wait_s=0)
        with pytest.raises(BusyError), Generations(project.generations).writing(wait_s=0):
            pass
        probe.free("documents")
        waiting.release()
        building.release()
        assert first()["generation"] < second()["generation"]


@pytest.mark.promise("WRITE-2", "CACHE-4", "CACHE-5")
@pytest.mark.parametrize(
    "point",
    by_default(["documents", "written", "sealed", "renamed", "linked"], "documents", "linked"),
)
def test_queries_are_answered_from_the_old_index_while_the_new_one_is_made(
    project: Project, probe: Probe, running: Running, point: str
) -> None:
    Config.init(project, watch=False)  # which would index it at once
    running(project)
    change(project)
    with client(project) as writer, client(project) as reader:
        old = reader.query(QUERY).generation
        probe.hold(point)
        report = in_thread(writer.index)
        held = probe.arrival()
        assert held.pid not in (os.getpid(), reader.ping()["pid"])
        assert reader.status()["indexing"] is True
        for mode in ("hybrid", "semantic", "fts"):
            assert reader.query(QUERY, mode=mode).generation == old
        assert not finds(reader, MARKER, "new.py")
        with client(project) as fresh:
            fresh.clear_cache()
            assert fresh.query(QUERY).generation == old
        probe.free(point)
        held.release()
        new = report()["generation"]
        with client(project) as fresh:
            for daemon in (reader, writer, fresh):
                assert daemon.query(QUERY).generation == new != old
                assert finds(daemon, MARKER, "new.py")


@pytest.mark.promise("CACHE-5")
def test_once_index_has_returned_no_client_sees_the_index_before_it(
    project: Project, running: Running, figure: Callable[..., None]
) -> None:
    running(project)
    done: list[str] = []
    over = SYSTEM.event("over")
    stale: list[tuple[str, str]] = []
    asked: list[int] = []

    def ask() -> None:
        with client(project) as daemon:
            while not over.is_set():
                least = done[-1] if done else ""
                found = daemon.query(QUERY).generation
                asked.append(1)
                if found < least:
                    stale.append((least, found))

    readers = [in_thread(ask) for _ in range(4)]
    try:
        with client(project) as writer:
            for number in range(4):
                change(project, f"new{number}.py", f"edition {number}")
                done.append(writer.index()["generation"])
                assert finds(writer, f"edition {number}", f"new{number}.py")
    finally:
        over.set()
        for join in readers:
            join()
    assert stale == []
    assert done == sorted(set(done))
    figure("CACHE-5", "queries across 4 publishes, none stale", len(asked))


@pytest.mark.promise("CACHE-8")
def test_an_index_rebuilt_by_another_process_answers_the_next_query(
    project: Project, running: Running
) -> None:
    running(project)
    with client(project) as daemon:
        old = daemon.query(QUERY).generation
        change(project)
        program = (
            "import sys; from cidx_ref.project import Project;"
            "from cidx_ref.index.build import bring_up_to_date as build;"
            "from cidx_ref.index.embed import HashingEmbedder as Embedder;"
            "print(build(Project.at(sys.argv[1]), Embedder())['generation'])"
        )
        command, environment = python_command("cidx_ref")
        built = subprocess.run(
            [*command[:2], "-c", program, str(project.root)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        assert daemon.query(QUERY).generation == built.stdout.strip() != old
        assert finds(daemon, MARKER, "new.py")


@pytest.mark.promise("WRITE-1", "WRITE-3")
def test_a_build_dies_with_the_daemon_and_leaves_the_lock_free_and_no_litter(
    project: Project, probe: Probe, running: Running
) -> None:
    daemon_pid = running(project)
    change(project)
    old = Generations(project.generations).current()
    probe.hold("documents")
    with client(project) as daemon:
        report = in_thread(daemon.index)
        child = probe.arrival()
        with ending(child.pid):
            kill(daemon_pid)
        with pytest.raises(CidxError):
            report()
    with Generations(project.generations).writing(wait_s=0):
        pass
    probe.free("documents")
    running(project)
    assert sorted(os.listdir(project.generations)) == [old, "current"]


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("point", ["documents", "sealed", "linked", "published"])
def test_a_build_that_is_killed_is_an_error_and_the_daemon_goes_on(
    project: Project, probe: Probe, running: Running, point: str
) -> None:
    Config.init(project, watch=False)  # which would index it at once
    running(project)
    change(project)
    with client(project) as daemon:
        old = daemon.query(QUERY).generation
        probe.hold(point)
        report = in_thread(daemon.index)
        kill(probe.arrival().pid)
        with pytest.raises(IndexingError, match="died"):
            report()
        probe.free(point)
        assert (daemon.query(QUERY).generation == old) is (point != "published")
        assert finds(daemon, MARKER, "new.py") is (point == "published")
        assert daemon.index()["changed"] is (point != "published")
        assert finds(daemon, MARKER, "new.py")


# Idle shutdown.

#: The shortest times that a configuration may have: a second, and a tenth of one.
SOON = {"ttl_minutes": 1 / 60, "eviction_check_interval_seconds": 0.1}


@pytest.mark.promise("TTL-5")
def test_an_idle_daemon_ends_by_itself_also_one_that_nobody_ever_asked(project: Project) -> None:
    configure(project, **SOON)
    with serving(project) as process:
        assert process.wait(TIMEOUT_S) == 0
    assert litter(project) == []
    with serving(project) as process:
        with client(project) as daemon:
            assert finds(daemon, QUERY, "net/retry.py")
        assert process.wait(TIMEOUT_S) == 0
    assert litter(project) == []
    assert "stopping: idle" in project.log_path.read_text()


@pytest.mark.promise("TTL-5")
def test_a_daemon_with_a_call_in_flight_is_not_idle(project: Project, probe: Probe) -> None:
    configure(project, **SOON)
    change(project)
    probe.hold("documents")
    with serving(project) as process, client(project) as daemon:
        report = in_thread(daemon.index)
        held = probe.arrival()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.2)  # twice what an idle daemon takes to leave
        knock(project)
        probe.free("documents")
        held.release()
        assert report()["changed"] is True
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.promise("TTL-5")
def test_without_auto_shutdown_an_idle_daemon_forgets_the_index_and_stays(
    project: Project, running: Running
) -> None:
    configure(project, **SOON, auto_shutdown_on_idle=False)
    pid = running(project)
    with client(project) as daemon:
        daemon.query(QUERY)
        deadline = time.perf_counter() + TIMEOUT_S
        while not daemon.status()["cache_empty"]:
            assert time.perf_counter() < deadline
        assert daemon.metrics()["cache"]["evict"] >= 1
        assert daemon.ping()["pid"] == pid
        assert finds(daemon, QUERY, "net/retry.py")


@pytest.mark.promise("TTL-5")
def test_a_client_that_arrives_during_an_idle_shutdown_is_served_by_the_next_daemon(
    project: Project, running: Running, figure: Callable[..., None]
) -> None:
    configure(project, **SOON, max_retries=10, retry_delays_ms=[20])
    running(project)
    answers: list[int] = []
    pids: set[int] = set()

    def ask() -> None:
        with DaemonClient(project) as daemon:
            pids.add(daemon.ping()["pid"])
            assert finds(daemon, QUERY, "net/retry.py")
            answers.append(1)

    # Both clients come at once, after pauses that sweep over the moment at which it leaves.
    pauses = itertools.cycle(0.98 + 0.02 * step for step in range(10))
    for _ in range(500):
        if len(answers) >= 20 and len(pids) >= 5:
            break
        SYSTEM.event("pause").wait(next(pauses))
        for join in [in_thread(ask) for _ in range(2)]:
            join()
    assert len(pids) >= 5
    figure("TTL-5", "daemons that shut down under clients", len(pids) - 1)
    figure("TTL-5", "queries answered meanwhile, none failed", len(answers))


# Paths.

ACCENT = "project with a space, a ' and a \" quote,\na newline and an é"


@pytest.mark.promise("SRV-1", "QRY-1")
@pytest.mark.parametrize(
    "name",
    [
        ACCENT,
        pytest.param("/".join(["deep" * 15] * 5), marks=pytest.mark.deep),
        os.fsdecode(b"not-utf-8-\xff\xfe"),
        "-rf",
        pytest.param("#%s{}$HOME`", marks=pytest.mark.deep),
    ],
    ids=["odd signs", "300 bytes", "not UTF-8", "like an option", "like a template"],
)
def test_wherever_the_project_lies_every_command_works(
    make_project: Callable[..., Project], running: Running, name: str
) -> None:
    try:
        project = make_project(name=name)
    except OSError as error:
        pytest.skip(f"this file system does not take the name: {error.strerror}")
    root = str(project.root)
    running(project)  # so that it is ended, whatever goes wrong
    assert run("stop", "--project", root) == (0, "stopped\n", "")
    status, out, err = run("query", QUERY, "--project", root, "--json")
    assert status == 0, err
    assert json.loads(out)["results"][0]["path"] == "net/retry.py"
    change(project)
    assert run("index", cwd=root)[0] == 0
    status, out, _ = run("query", MARKER, "--json", "--mode", "fts", cwd=project.root / "net")
    assert json.loads(out)["results"][0]["path"] == "new.py"
    assert run("start", "--project", root) == (0, "already running\n", "")
    assert json.loads(run("status", "--project", root, "--json")[1])["project"] == root
    assert run("stop", "--project", root) == (0, "stopped\n", "")
    assert run("stop", "--project", root) == (0, "not running\n", "")
    assert run("start", "--project", root) == (0, "serving\n", "")
    assert run("ping", "--project", root)[0] == 0
    assert run("stop", "--project", root) == (0, "stopped\n", "")
    assert litter(project) == []


# What else may be in the way.


def a_directory(path: Path) -> None:
    path.mkdir()
    (path / "nested").mkdir()


@pytest.mark.promise("SRV-2")
@pytest.mark.parametrize("command", ["serve", "start", "query"])
@pytest.mark.parametrize("name", ["daemon.sock", "daemon.log"])
def test_what_keeps_a_daemon_from_starting_is_said_in_one_line(
    project: Project, command: str, name: str
) -> None:
    a_directory(project.directory / name)
    arguments = [QUERY] if command == "query" else []
    status, out, err = run(command, *arguments, "--project", str(project.root))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert name in err
    assert "directory" in err


@pytest.mark.promise("SRV-2")
def test_a_generation_that_cannot_be_swept_keeps_no_daemon_from_starting(
    project: Project, running: Running
) -> None:
    (project.generations / "000000-aaaaaa" / "manifest.json" / "nested").mkdir(parents=True)
    running(project)
    with client(project) as daemon:
        assert finds(daemon, QUERY, "net/retry.py")


OTHER_VERSION = """
import cidx_ref
cidx_ref._version.__version__ = "0.0.0"
from cidx_ref.index.embed import HashingEmbedder as Embedder
"""


@pytest.mark.promise("SRV-2")
def test_a_daemon_of_another_version_is_replaced(
    project: Project, running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    # Imported by whatever asks for the package's version first.
    (tmp_path / "lib" / "sitecustomize.py").write_text(OTHER_VERSION)
    with monkeypatch.context() as patch:
        path = os.pathsep.join(filter(None, (str(tmp_path / "lib"), os.environ.get("PYTHONPATH"))))
        patch.setenv("PYTHONPATH", path)
        start_process(project)
    plain = unix_connect(str(project.socket_path))
    try:
        old = json.loads(plain.root.call("ping", "{}"))["answer"]
    finally:
        plain.close()
    assert old["version"] == "0.0.0" != __version__
    with ending(old["pid"]), DaemonClient(project) as daemon:
        new = daemon.ping()
        assert (new["version"], new["pid"] == old["pid"]) == (__version__, False)
        assert finds(daemon, QUERY, "net/retry.py")
    assert running(project) == new["pid"]


STRANGER = """
import sys, rpyc
from rpyc.utils.server import ThreadedServer

class Stranger(rpyc.Service):
    def exposed_ping(self):
        return {"status": "ok"}

ThreadedServer(Stranger(), socket_path=sys.argv[1]).start()
"""
BABBLER = """
import socket, sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    sock, _ = listener.accept()
    with sock:
        sock.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
"""


@pytest.mark.promise("SRV-2")
@pytest.mark.parametrize("program", [STRANGER, BABBLER], ids=["another service", "no service"])
def test_whoever_else_answers_at_the_socket_a_query_is_answered_by_a_daemon_of_ours(
    project: Project, program: str
) -> None:
    command, environment = python_command("cidx_ref")
    arguments = [*command[:2], "-c", program, str(project.socket_path)]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL) as stranger:
        try:
            deadline = time.perf_counter() + TIMEOUT_S
            while not is_answered(project.socket_path):
                assert time.perf_counter() < deadline
            status, out, err = run("query", QUERY, "--project", str(project.root), "--json")
            assert (status, err) == (0, "")
            assert json.loads(out)["results"][0]["path"] == "net/retry.py"
        finally:
            stranger.kill()
            stopped = run("stop", "--project", str(project.root))
    assert stopped == (0, "stopped\n", "")
