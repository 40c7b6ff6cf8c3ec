"""What a process comes into, and how it leaves: starts that fail or hang, what is stopped, streams
that are closed, interrupts at any moment, surroundings that lack something."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cidx_ref import backend, launcher
from cidx_ref.backend import ConnectionLostError
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.log import logging_to
from cidx_ref.errors import DaemonUnavailableError, IndexingError
from cidx_ref.index import child, links
from cidx_ref.interpreter import python_command
from cidx_ref.launcher import require_answer, start_process, stop
from cidx_ref.places import LOCK
from cidx_ref.processes import advice, holder, is_alive
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import MakeProject, end_daemon, served

pytestmark = pytest.mark.once

COMMAND = [sys.executable, "-P", "-m", "cidx_ref"]


def run(
    project: Project, *line: str, closed: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command, with some of its streams `closed`, as a shell does it, and environment
    `variables`; an empty one is taken out."""
    environment = {k: v for k, v in {**os.environ, **variables}.items() if v}
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"] if closed else []
    return subprocess.run(
        [*shell, *COMMAND, *line, "--project", str(project.root)],
        capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip


def words(program: str) -> launcher.Command:
    """What runs `program`, a shell's, with `$fd` in it, in the place of a daemon."""

    def command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        return ["/bin/sh", "-c", program], {**os.environ, "fd": arguments[-1]}

    return command


# Starting.


@pytest.mark.promise("SRV-3")
def test_a_daemon_that_is_killed_while_it_starts_is_started_again(
    project: Project, running: Callable[[Project], int]
) -> None:
    begun = [words("kill -KILL $$"), words("exec 3>&-; kill -TERM $$"), python_command]
    made: list[str] = []

    def launch(project: Project) -> None:
        made.append("")
        start_process(project, begun[len(made) - 1])

    Config.init(project, retry_delays_ms=[1, 1])
    try:
        with DaemonClient(project, launch=launch) as client:
            assert client.query("retry")
    finally:
        end_daemon(project)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("kill -KILL $$", "the daemon was killed while starting"),
        ("exit 3", "the daemon died while starting (exit status 3)"),
        ("echo one >&2; printf '\\033[31mtwo\\n' >&2", "died while starting: \\x1b[31mtwo"),
    ],
)
def test_a_daemon_that_dies_while_it_starts_is_said_to_have_and_no_log_that_is_not_there(
    make_project: MakeProject, program: str, said: str
) -> None:
    with pytest.raises(DaemonUnavailableError) as caught:
        start_process(make_project(), words(program))
    assert str(caught.value).endswith(said)
    assert isinstance(caught.value, ConnectionLostError) == (": " not in said), "another try?"


def test_a_start_that_hangs_has_an_end_and_all_of_it_is_ended(
    make_project: MakeProject, tmp_path: Path
) -> None:
    program = f'sleep 600 & echo $! >"{tmp_path}/pid"; exec sleep 600'
    with pytest.raises(DaemonUnavailableError, match=r"not ready within 0\.3 s, and was ended"):
        start_process(make_project(), words(program), timeout_s=0.3)
    until = SYSTEM.monotonic() + 10
    while is_alive(int((tmp_path / "pid").read_text())):
        assert SYSTEM.monotonic() < until
        SYSTEM.sleep(0.01)


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_whatever_streams_are_closed_a_daemon_has_nothing_else_in_their_place(
    project: Project, closed: str
) -> None:
    try:
        assert run(project, "start", closed=closed).returncode == 0
        assert run(project, "index", closed=closed).returncode == 0
        with DaemonClient(project, start=False) as client:
            pid = client.ping()["pid"]
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == [os.devnull] * 3
        assert run(project, "stop", closed=closed).returncode == 0
    finally:
        end_daemon(project)


def test_the_pipe_to_a_daemon_is_never_a_standard_stream() -> None:
    program = (
        "import os; from cidx_ref.launcher import _pipe\n"
        "for fd in range(3): os.close(fd)\n"
        "os._exit(0 if min(_pipe()) > 2 else 1)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", program], check=False).returncode == 0


# Stopped.


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_beside_a_daemon_that_is_stopped_everybody_says_so_and_what_to_do(
    project: Project, running: Callable[[Project], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (
        (backend, "_IDENTITY_TIMEOUT_S"),
        (launcher, "CONNECT_TIMEOUT_S"),
    ):
        monkeypatch.setattr(module, name, 0.2)
    pid = running(project)
    asks: list[Callable[[], Any]] = [
        lambda: DaemonClient(project),
        lambda: DaemonClient(project, start=False),
        lambda: require_answer(project),
        lambda: stop(project),
    ]
    with stopped(pid):
        assert Claim(project).acquire() is False, "so `serve` asks what listens there"
        for ask in asks:
            with pytest.raises(DaemonUnavailableError) as caught:
                ask()
            assert "did not answer within 0.2 s: its process is stopped" in str(caught.value)
            assert f"`kill -CONT {pid}`" in str(caught.value)
            assert f"`kill -KILL {pid}`" in str(caught.value)
    with DaemonClient(project, start=False) as client:
        assert client.query("retry")


def test_who_holds_a_project_and_does_not_answer_is_named(project: Project) -> None:
    claim = Claim(project)
    assert claim.acquire()
    try:
        assert holder(project.directory / LOCK) == os.getpid()
        with pytest.raises(
            DaemonUnavailableError, match=f"does not answer.*kill -KILL {os.getpid()}"
        ):
            Claim(project).acquire(0.0)
    finally:
        claim.release()
    assert holder(project.directory / LOCK) == 0
    assert holder(project.directory / "none") == 0


def test_nothing_is_advised_about_what_is_not_there() -> None:
    with subprocess.Popen(["true"]) as ended:
        assert ended.wait() == 0
    assert not is_alive(ended.pid)
    assert advice(ended.pid) == advice(0) == ""


# Interrupts.

#: Sends itself a SIGINT when a module is to be imported, or when the interpreter ends.
_INTERRUPTED = """
import atexit, os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == WHERE:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
WHERE = sys.argv.pop(1)
if WHERE == "the end":
    atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
from cidx_ref.__main__ import main
raise SystemExit(main())
"""


@pytest.mark.parametrize(
    "where", ["argparse", "cidx_ref.cli", "cidx_ref.commands", "cidx_ref.client", "the end"]
)
def test_an_interrupt_at_any_moment_is_no_traceback(project: Project, where: str) -> None:
    command = [sys.executable, "-P", "-c", _INTERRUPTED, where, "status"]
    done = subprocess.run(
        [*command, "--project", str(project.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr in ("", "cidx-ref: interrupted\n")


def test_an_interrupt_that_nothing_can_raise_ends_the_process() -> None:
    program = """
import os, signal
from cidx_ref import __main__, cli
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        os.getpid()
def run():
    Dying()
    return 0
cli.main = run
raise SystemExit(__main__.main())
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


# Surroundings.


def test_a_module_of_the_users_in_the_place_of_the_librarys_is_named(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "argparse.py").write_text("raise RuntimeError('not\\x1b the one')\n")
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = run(project, "status", PYTHONPATH=search)
    where = tmp_path / "argparse.py"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cidx-ref: RuntimeError: not\\x1b the one ({where}:1)\n"


@pytest.mark.promise("WRITE-1")
def test_an_index_run_needs_no_directory_for_temporary_files(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    project = make_project()
    with served(project), DaemonClient(project, start=False) as client:
        assert client.index()["changed"]
        assert client.query("retry")


def test_a_log_that_cannot_be_written_is_not_complained_of_with_each_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with logging_to(project):
        monkeypatch.setattr(os, "write", full)
        logging.getLogger("cidx_ref").warning("lost")
        monkeypatch.undo()
        logging.getLogger("cidx_ref").warning("kept")
    assert capsys.readouterr() == ("", "")
    assert project.log_path.read_text().endswith("kept\n")


def test_links_for_the_full_text_lie_with_the_users_state_where_nothing_else_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setenv("CIDX_REF_STATE_DIR", str(tmp_path / "state"))
    with links._make_scratch() as made:
        assert made.parent == tmp_path / "state"
        assert made.stat().st_mode & 0o777 == 0o700


def test_the_last_words_of_an_indexing_process_are_shown_without_directories(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a group of its own, where Ctrl-C for the daemon does not reach it.
    program = (
        "import os, sys\n"
        "assert os.getpgrp() == os.getpid()\n"
        "print('one\\nno module at /a/b.c/d.py', file=sys.stderr)\n"
        "sys.exit(3)"
    )
    monkeypatch.setattr(
        child, "python_command", lambda module: ([sys.executable, "-c", program], dict(os.environ))
    )
    project = make_project()
    said = r"^the indexing process died \(exit status 3\): no module at d\.py$"
    with served(project), DaemonClient(project, start=False) as client:  # noqa: SIM117
        with pytest.raises(IndexingError, match=said):
            client.index()


def test_a_file_has_one_name_whatever_the_locale(make_project: MakeProject) -> None:
    project = make_project({"gr\xf6\xdfe.py": "def quokka(): pass\n"}, name="pr\xf6ject")
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    try:
        first = run(project, "query", "quokka", "--json", **odd)
        assert '"path": "gr\\u00f6\\u00dfe.py"' in first.stdout, first
        again = run(project, "query", "quokka", "--json", LC_ALL="C.UTF-8")
        assert '"path": "gr\\u00f6\\u00dfe.py"' in again.stdout, again
        plain = run(project, "query", "quokka", **odd)
        assert plain.stdout.startswith("gr\\xf6\\xdfe.py:1"), "all that an ASCII terminal can show"
    finally:
        end_daemon(project)


def test_an_interpreter_that_is_told_not_to_speak_utf8_is_asked_once(tmp_path: Path) -> None:
    # A locale that no system need have: `-X utf8=0` stands for it, and for `-I`, by which the
    # environment is ignored.
    line = [sys.executable, "-X", "utf8=0", *COMMAND[1:], "--version"]
    odd = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(line, capture_output=True, timeout=20, check=False, env=odd)
    assert done.stdout.startswith(b"cidx-ref "), done


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"},
        {"HOME": "", "LC_ALL": "nonsense", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/none"},
        {"HOME": "relative", "XDG_CONFIG_HOME": "relative", "PYTHONIOENCODING": "ascii"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_in_whatever_environment_it_is_started_it_answers(
    make_project: MakeProject, variables: dict[str, str]
) -> None:
    project = make_project()
    try:
        done = run(project, "query", "retry", closed="<&-", **variables)
        assert done.returncode == 0, done
        assert "net/retry.py:" in done.stdout
        assert "Traceback" not in done.stderr
        assert "cidx-ref:" not in done.stderr, done
    finally:
        end_daemon(project)
