"""The library: connect, query, index; six answers that are not hits; trying again."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from segments import segment

import cidx_ref
from cidx_ref import Answer, DaemonClient, Hit
from cidx_ref.config import Config
from cidx_ref.daemon.claim import Claim
from cidx_ref.errors import (
    BadArgumentError,
    BusyError,
    CidxError,
    ConfigError,
    DaemonUnavailableError,
    IndexUnusableError,
    NoIndexError,
    ShuttingDownError,
)
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.sockets import is_answered
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build, end_daemon, served, write


class Recorder(FakeRuntime):
    """Notes every sleep, and can do something in each."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._during = during

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._during()


class Slow(HashingEmbedder):
    """The default, but the query "slow" waits to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = SYSTEM.event("entered"), SYSTEM.event("let go")

    def embed_query(self, text: str) -> Any:
        if text == "slow":
            self.entered.set()
            assert self.let_go.wait(30)
        return super().embed_query(text)


def test_the_library_starts_a_daemon_indexes_and_answers(
    make_project: MakeProject, running: Callable[[Project], int]
) -> None:
    project = make_project()
    running(project)  # so that it is ended
    end_daemon(project)
    events: list[tuple[Any, ...]] = []
    with cidx_ref.connect(project.root / "auth") as daemon:
        assert daemon.project == project
        report = daemon.index(progress=lambda *event: events.append(event))
        answer = daemon.query("retry when the peer disconnects", limit=2)
        again = daemon.query("check password", mode="fts", languages=["python"], paths="auth/")
    assert report["files"] == 4
    assert report["changed"] is True
    assert [event[0] for event in events] == sorted(event[0] for event in events)
    assert events[-1][:2] == (4, 4)
    assert isinstance(answer, Answer)
    assert 1 <= len(answer) <= 2
    best = answer[0]
    assert isinstance(best, Hit)
    assert (best.path, best.language, best.name) == (
        "net/retry.py",
        "python",
        "retry_on_disconnect",
    )
    assert "Retry when the peer disconnects" in best.snippet
    assert (answer.mode, answer.generation) == ("hybrid", report["generation"])
    assert answer.took_ms >= 0
    assert answer.fts_count is not None
    assert [hit.path for hit in again] == ["auth/login.py"]
    assert again.semantic_count is None
    assert is_answered(project.socket_path), "the daemon outlives its client"


def test_progress_may_be_print_and_may_fail(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project()

    def fail(*event: object) -> None:
        raise RuntimeError("a bar that broke")

    with served(project), DaemonClient(project, start=False) as client:
        assert client.index(progress=print)["files"] == 4
        assert client.index(progress=fail, full=True)["changed"] is True
    assert "4 4" in capsys.readouterr().out


# The six answers.


@pytest.mark.promise("RPC-2")
def test_no_match_no_index_and_a_bad_argument_are_three_answers(make_project: MakeProject) -> None:
    project = make_project()
    with served(project), DaemonClient(project, start=False) as client:
        with pytest.raises(NoIndexError, match="cidx-ref index"):
            client.query("retry")
        build(project)
        answer = client.query("zyzzyva")
        assert (len(answer), bool(answer)) == (0, False)
        for bad, name in (
            ({"limit": 0}, "limit: 0"),
            ({"limit": 1.5}, r"limit: 1\.5"),
            ({"mode": "exact"}, "mode: 'exact'"),
            ({"languages": ["klingon"]}, "klingon"),
            ({"paths": [7]}, "paths: 7"),
            ({"paths": [""]}, "paths: ''"),
        ):
            with pytest.raises(BadArgumentError, match=name):
                client.query("retry", **bad)
        with pytest.raises(BadArgumentError, match="query"):
            client.query("x" * 100_001)
        for wait_s in (-1, float("nan"), 10**400, True):
            with pytest.raises(BadArgumentError, match="wait_s"):
                client.index(wait_s=wait_s)
        assert client.query("retry"), "and the connection is as good as before"


@pytest.mark.promise("RPC-2")
def test_an_index_that_cannot_be_used_is_neither_none_nor_empty(project: Project) -> None:
    live = project.generations / "current"
    for path in (segment(live) / "vectors.f32", *(live / "fulltext").iterdir()):
        path.write_bytes(b"x" + path.read_bytes()[1:])
    with served(project), DaemonClient(project, start=False) as client:
        for mode in ("hybrid", "semantic", "fts"):
            with pytest.raises(IndexUnusableError, match="damaged"):
                client.query("retry", mode=mode)
        client.index()
        assert client.query("retry"), "and building again mends it"


@pytest.mark.promise("WRITE-1", "RPC-2")
def test_busy_is_said_after_the_wait_that_was_asked_for_and_not_tried_again(
    project: Project,
) -> None:
    runtime = Recorder()
    descriptor = os.open(project.generations, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with served(project), DaemonClient(project, start=False, runtime=runtime) as client:
            with pytest.raises(BusyError, match="indexing"):
                client.index(wait_s=0)
            assert client.query("retry"), "queries do not wait for a writer"
    finally:
        os.close(descriptor)
    assert runtime.slept == []


@pytest.mark.promise("SRV-4", "RPC-2")
def test_a_daemon_in_its_drain_says_so_to_those_it_has(project: Project) -> None:
    Config.init(project, max_retries=0)
    embedder = Slow()
    answers: list[Answer] = []
    with (
        served(project, embedder=embedder) as service,
        DaemonClient(project, start=False) as one,
        DaemonClient(project, start=False) as other,
    ):
        asking = SYSTEM.thread(lambda: answers.append(one.query("slow")), "asking")
        assert embedder.entered.wait(10)
        service.shutdown()
        with pytest.raises(ShuttingDownError):
            other.query("retry")
        embedder.let_go.set()
        asking.join(10)
    assert len(answers) == 1, "what was in flight is answered"


@pytest.mark.promise("SRV-4")
@pytest.mark.parametrize(
    ("block", "slept"),
    [
        ({}, [0.1, 0.5, 1.0, 2.0]),
        ({"max_retries": 2}, [0.1, 0.5]),
        ({"max_retries": 3, "retry_delays_ms": [20]}, [0.02, 0.02, 0.02]),
        ({"max_retries": 2, "retry_delays_ms": []}, [0, 0]),
        ({"max_retries": 0}, []),
    ],
)
def test_trying_again_follows_the_configuration(
    project: Project, block: dict[str, Any], slept: list[float]
) -> None:
    Config.init(project, auto_shutdown_on_idle=False, **block)  # or a closed gate is its end
    runtime = Recorder()
    with served(project) as service:
        service.gate.close()
        with pytest.raises(ShuttingDownError):
            DaemonClient(project, start=False, runtime=runtime)
        gc.collect()  # a connection left to the collector would warn here
    assert runtime.slept == slept


@pytest.mark.promise("CFG-1")
def test_a_busy_daemon_is_asked_again_until_it_answers(project: Project) -> None:
    embedder = Slow()
    answers: list[Answer] = []
    threads: list[Thread] = []

    def let_go() -> None:
        embedder.let_go.set()
        threads[0].join(10)

    runtime = Recorder(let_go)
    with (
        served(project, embedder=embedder, max_calls=1),
        DaemonClient(project, start=False) as one,
        DaemonClient(project, start=False, runtime=runtime) as other,
    ):
        threads.append(SYSTEM.thread(lambda: answers.append(one.query("slow")), "asking"))
        assert embedder.entered.wait(10)
        assert other.query("retry")
    assert runtime.slept == [0.1]
    assert len(answers) == 1


def test_an_answer_that_does_not_come_ends_the_wait_by_name(project: Project) -> None:
    embedder = Slow()
    with (
        served(project, embedder=embedder),
        DaemonClient(project, start=False, timeout_s=0.3) as client,
    ):
        with pytest.raises(DaemonUnavailableError, match=r"within 0\.3 s"):
            client.query("slow")
        assert client.query("retry"), "and the next call does not queue up behind it"
        embedder.let_go.set()


# Daemons that come and go.


@pytest.mark.promise("SRV-3")
def test_a_client_survives_the_death_of_its_daemon(
    project: Project, running: Callable[[Project], int]
) -> None:
    pid = running(project)
    runtime = Recorder()
    with DaemonClient(project, runtime=runtime) as client:
        os.kill(pid, signal.SIGKILL)
        assert client.query("retry")[0].path == "net/retry.py"
        assert client.ping()["pid"] != pid
    # It may have seen that the connection has ended before it asked.
    assert runtime.slept in ([], [0.1])


def test_a_client_that_may_not_start_a_daemon_does_not(project: Project) -> None:
    runtime = Recorder()
    with pytest.raises(DaemonUnavailableError, match="no daemon is running"):
        cidx_ref.connect(project.root, start=False, runtime=runtime)
    assert not project.socket_path.exists()
    assert not project.log_path.exists()
    assert runtime.slept == [], "nobody is there who might answer later"


_OTHER_VERSION = (
    "import sys, cidx_ref._version; cidx_ref._version.__version__ = '0.0.1';"
    "from cidx_ref.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture
def old_daemon(project: Project) -> Iterator[subprocess.Popen[str]]:
    """The project's daemon, of another version."""
    command = [sys.executable, "-P", "-c", _OTHER_VERSION, "serve", "--project", str(project.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        try:
            yield process
        finally:
            process.kill()
            end_daemon(project)


def test_a_daemon_of_another_version_is_replaced(
    project: Project, old_daemon: subprocess.Popen[str]
) -> None:
    # Somebody has to wait for it, or its id stays: the client sees that it has ended all the same.
    with DaemonClient(project) as client:
        assert client.ping()["version"] == cidx_ref.__version__
        assert client.query("retry")
    assert old_daemon.wait(10) == 0


def test_a_client_that_may_not_start_a_daemon_replaces_none_either(
    project: Project, old_daemon: subprocess.Popen[str]
) -> None:
    with pytest.raises(DaemonUnavailableError, match=r"0\.0\.1"):
        DaemonClient(project, start=False)
    assert old_daemon.poll() is None


def test_shutdown_returns_when_the_process_has_ended(
    project: Project, running: Callable[[Project], int]
) -> None:
    running(project)
    client = DaemonClient(project, start=False)
    client.shutdown()
    claim = Claim(project)
    try:
        assert claim.acquire(0), "nobody holds the project any more"
    finally:
        claim.release()
    assert not project.socket_path.exists()
    client.close()
    client.close()


@pytest.mark.promise("CFG-1")
def test_where_daemons_are_not_enabled_the_answers_are_the_same(project: Project) -> None:
    questions = [("retry disconnect", mode) for mode in ("hybrid", "semantic", "fts")]
    with served(project), DaemonClient(project, start=False) as client:
        remote = [client.query(text, mode=mode).results for text, mode in questions]
    Config.init(project, enabled=False)
    with cidx_ref.connect(project.root) as client:
        local = [client.query(text, mode=mode).results for text, mode in questions]
        with pytest.raises(BadArgumentError, match="limit"):
            client.query("retry", limit=0)
        write(project.root, "new.py", "def quokka(): pass\n")
        events: list[tuple[Any, ...]] = []
        assert client.index(progress=lambda *event: events.append(event))["files"] == 5
        assert client.query("quokka")[0].path == "new.py"
        assert client.index(progress=lambda *event: 1 / 0, full=True)["changed"] is True
        assert client.ping()["pid"] == os.getpid()
    assert remote == local
    assert all(remote)
    assert events
    assert not project.socket_path.exists()


@pytest.mark.promise("CFG-1")
def test_a_bad_configuration_keeps_the_client_from_starting(project: Project) -> None:
    project.config_path.write_text('{"daemon": {"max_retries": "many"}}')
    with pytest.raises(ConfigError, match=r"config\.json: daemon\.max_retries: 'many'"):
        cidx_ref.connect(project.root)
    assert not project.socket_path.exists()


@pytest.mark.promise("SRV-1")
def test_a_project_with_a_long_and_odd_path_is_served_all_the_same(
    make_project: MakeProject,
) -> None:
    odd = make_project(name="/".join(["a directory with a long name " + "ü" * 20] * 4))
    assert len(os.fsencode(odd.socket_path)) > 108
    build(odd)
    with served(odd), DaemonClient(odd, start=False) as client:
        assert client.query("retry")[0].path == "net/retry.py"


def test_a_project_whose_path_is_not_utf_8_is_indexed_and_served(
    make_project: MakeProject,
) -> None:
    project = make_project(name=os.fsdecode(b"caf\xe9"))
    with served(project), DaemonClient(project, start=False) as client:
        client.index()
        assert client.query("retry")[0].path == "net/retry.py"


def test_hits_open_as_the_files_they_name(make_project: MakeProject) -> None:
    name = os.fsdecode(b"caf\xe9 \xff.py")
    project = make_project({name: "def quokka(): pass\n", "ü/日本.py": "def numbat(): pass\n"})
    build(project)
    with served(project), DaemonClient(project, start=False) as client:
        for text in ("quokka", "numbat"):
            (hit,) = client.query(text)
            assert f"def {text}" in (project.root / hit.path).read_text()


def test_answers_of_a_newer_daemon_are_read_as_far_as_they_are_known() -> None:
    hit = {"path": "a", "line_start": 1, "line_end": 2, "language": "c", "score": 1.0,
           "snippet": "x", "of_the_future": 1}  # fmt: skip
    answer = Answer.from_dict(
        {"results": [hit], "mode": "fts", "generation": "g", "took_ms": 1.0, "of_the_future": 2}
    )
    assert answer[0] == Hit("a", 1, 2, "c", 1.0, "x")
    assert answer[:1] == (answer[0],)
    assert answer.unavailable == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"also": [1]},
        {"also": ["a:1", None]},
        {"also": "a:1"},
        {"marks": [(0, "1")]},
        {"marks": [(None, 1)]},
    ],
)
def test_a_hit_whose_parts_are_of_another_kind_cannot_be_read(wrong: dict[str, Any]) -> None:
    hit = {"path": "a", "line_start": 1, "line_end": 2, "language": "c", "score": 1.0,
           "snippet": "x", "marks": [[0, 1]], "also": ["b:1"], "also_count": 1}  # fmt: skip
    assert (Hit.from_dict(hit).also, Hit.from_dict(hit).marks) == (("b:1",), ((0, 1),))
    with pytest.raises(TypeError, match=next(iter(wrong))):
        Hit.from_dict({**hit, **wrong})


def test_every_error_has_a_kind_of_its_own() -> None:
    classes = [value for name in cidx_ref.__all__
               if isinstance(value := getattr(cidx_ref, name), type)
               and issubclass(value, CidxError)]  # fmt: skip
    kinds = {cls.kind for cls in classes}
    assert len(kinds) == len(classes) == 12
    assert issubclass(BadArgumentError, ValueError)


def test_importing_the_package_costs_next_to_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, cidx_ref; print(*(m for m in sys.modules if m.startswith('cidx_ref')));"
        "from cidx_ref.client import connect; from cidx_ref import Hit, NoIndexError;"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    told = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=True,
    ).stdout.split("\n")  # fmt: skip
    heavy = {"numpy", "hnswlib", "tantivy", "hypothesis", "asyncio", "rpyc", "pytest", "pathspec"}
    assert set(told[0].split()) == {"cidx_ref", "cidx_ref._version"}
    assert not heavy & set(told[1].split())


@pytest.mark.promise("RPC-5")
def test_a_callback_that_uses_its_own_client_is_told_so_and_the_index_is_built(
    project: Project,
) -> None:
    told: list[BaseException] = []
    with served(project), DaemonClient(project, start=False) as client:

        def ask(*event: object) -> None:
            try:
                client.status()
            except BusyError as error:
                told.append(error)

        assert client.index(full=True, progress=ask)["changed"]
        assert client.status()["running"]
    assert told


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"text": 5}, "query"),
        ({"text": None}, "query"),
        ({"text": "x", "languages": 5}, "languages"),
        ({"text": "x", "limit": {1}}, "arguments"),
        ({"text": "x", "paths": [b"a"]}, "arguments"),
        ({"text": "x", "paths": ["a" * 4000] * 1000}, "arguments"),
    ],
    ids=str,
)
def test_the_client_refuses_a_bad_argument_by_name(
    project: Project, arguments: dict[str, Any], name: str
) -> None:
    with served(project), DaemonClient(project, start=False) as client:
        with pytest.raises(BadArgumentError, match=name):
            client.query(**arguments)
        assert client.query("retry").results


@pytest.mark.promise("SRV-4")
def test_an_index_that_is_stopped_is_not_begun_anew_by_its_client(project: Project) -> None:
    runtime = Recorder()
    with served(project) as service, DaemonClient(project, runtime=runtime) as client:
        service.gate.close()
        with pytest.raises(ShuttingDownError):
            client.index()
        assert runtime.slept == []


@pytest.mark.promise("SRV-5")
def test_a_project_that_was_moved_is_served_by_a_daemon_of_its_own(
    project: Project, running: Callable[[Project], int]
) -> None:
    old = running(project)
    moved = project.root.with_name("moved")
    project.root.rename(moved)
    there = Project.at(moved)
    with DaemonClient(there) as client:
        assert client.query("retry")[0].path == "net/retry.py"
        assert client.ping()["pid"] != old
        assert client.ping()["project"] == str(moved)
    running(there)  # so that it is ended
