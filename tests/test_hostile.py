"""Hostile repositories, each through every command, an index run and the library: nothing outside
is read, written, removed, connected to or run; nothing hangs or crashes; one line says what was
refused.

Every Python process that works for a command is watched by an audit hook; the engines and git,
which no hook sees, by strace, over a sample.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from hostile import CASES, SECRET, Case, outside_of

import cidx_ref
from cidx_ref.cli import main
from cidx_ref.errors import CidxError
from cidx_ref.launcher import stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM

pytestmark = pytest.mark.once

_LIMIT_S = 5.0
#: While a daemon serves that `query` started, where one may; and what is left to be done then.
_COMMANDS = "index status health metrics diagnose ping clear-cache adopt start".split()
_LAST_COMMANDS = ["stop", "init"]

#: The one shell that is ours: it becomes git once git can no longer outlive us.
_GIT_WHEN_TIED = '/bin/sh -c read -r _ && exec "$@"'

#: Imported by every Python that is started: what it opens, makes, removes, connects to and runs.
_WATCH = """
import os, sys

_fd = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
_EVENTS = {"open", "socket.connect", "socket.bind", "subprocess.Popen", "os.exec", "os.posix_spawn"}


def _place(path, flags):
    path = os.fsdecode(path)
    if isinstance(flags, int) and flags & os.O_NOFOLLOW:
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return os.path.realpath(path)


def _watch(event, args):
    if event not in _EVENTS and not event.startswith(("os.", "shutil.")):
        return
    if event == "subprocess.Popen":
        command = " ".join(map(os.fsdecode, args[1][:3]))
        os.write(_fd, ascii((event, command)).encode() + b"\\n")
        return
    for arg in args[:1] if event == "os.exec" else args:
        if isinstance(arg, os.PathLike):
            arg = os.fspath(arg)
        if isinstance(arg, (str, bytes)) and arg:
            place = _place(arg, args[2] if event == "open" else None)
            os.write(_fd, ascii((event, place)).encode() + b"\\n")


sys.addaudithook(_watch)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and a watch over every Python process that is started."""
    for name in ("home", "watch", "outside", "project"):
        (tmp_path / name).mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(_WATCH)
    search = [str(tmp_path / "watch"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(search))
    monkeypatch.setenv("WATCHED", str(tmp_path / "watched"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CIDX_REF_STATE_DIR", str(tmp_path / "home" / "state"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    outside_of(tmp_path / "outside")
    (tmp_path / "project" / "found.py").write_text("def found_function():\n    return 1\n")
    return tmp_path


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """What lies below a directory, and when it was changed."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in directory.rglob("*")
    }


@pytest.fixture
def hostile(request: pytest.FixtureRequest, world: Path) -> Iterator[Case]:
    case: Case = request.param
    root, outside = world / "project", world / "outside"
    kept = case.build(root, outside)
    before = contents(outside)
    yield case
    stop_whatever_runs(root)
    assert contents(outside) == before, "something outside was changed"
    if kept is not None:
        kept.close()


def stop_whatever_runs(root: Path) -> None:
    with suppress(CidxError):
        stop(Project.at(root))


#: Of several that differ in little, some are tried in depth only (`tox -e deep`).
_IN_DEPTH = frozenset(
    """
    leftover_socket_is_a_directory current_is_a_directory current_is_a_file
    next_number_is_too_long_for_a_name nothing_in_it_is_a_file index_of_the_format_before
    dead_files_without_an_end manifest_lies manifest_is_endless manifest_is_outside
    segment_is_outside directory_is_a_link tracked_by_an_absolute_path ignore_file_is_a_fifo
    git_fetches_by_a_helper_of_its_own git_excludes_by_a_fifo excludes_of_git_are_a_fifo
    nested_head_is_a_fifo git_is_a_link git_is_a_fifo git_borrows_from_a_fifo
    """.split()
)
assert {case.name for case in CASES} >= _IN_DEPTH


def parametrized(cases: list[Case]) -> pytest.MarkDecorator:
    def marks(case: Case) -> list[pytest.MarkDecorator]:
        promise = pytest.mark.promise(*case.promises)
        return [promise, *[pytest.mark.deep] * (case.name in _IN_DEPTH)]

    params = [pytest.param(case, id=case.name, marks=marks(case)) for case in cases]
    return pytest.mark.parametrize("hostile", params, indirect=True)


def run(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    """One command, as it is typed, in the repository."""
    command = [sys.executable, "-P", "-m", "cidx_ref", *arguments]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )


def check_answer(case: Case, done: subprocess.CompletedProcess[str]) -> None:
    assert SECRET not in done.stdout
    assert "attackers_lure" not in done.stdout
    if case.refused is not None:
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert case.refused in line
        assert "\x1b" not in line
    else:
        assert done.returncode == 0, done.stderr
        assert "found.py:1" in done.stdout


@parametrized(CASES)
def test_a_hostile_repository_reaches_nothing_outside_and_hangs_and_crashes_nothing(
    hostile: Case, world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = world / "project"
    started = SYSTEM.monotonic()
    check_answer(hostile, run("query", "found_function", root=root))
    took = {"query": SYSTEM.monotonic() - started}

    def type_in(*commands: str) -> None:
        for command in commands:
            started = SYSTEM.monotonic()
            assert main([command, "--project", str(root)]) in (0, 1, 2)
            took[command] = SYSTEM.monotonic() - started

    type_in(*_COMMANDS)
    started = SYSTEM.monotonic()
    check_library(hostile, root)
    took["library"] = SYSTEM.monotonic() - started
    type_in(*_LAST_COMMANDS)
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out
    assert max(took.values()) < _LIMIT_S, took
    assert not reached(world), reached(world)


def check_library(case: Case, root: Path) -> None:
    refused = pytest.raises(CidxError) if case.refused is not None else nullcontext()
    with refused, cidx_ref.connect(root) as daemon:
        daemon.index()
        assert daemon.query("found_function")[0].path == "found.py"
        for mode in ("semantic", "fts"):
            assert not daemon.query(SECRET, mode=mode)
            assert not daemon.query("attackers_lure", mode=mode)


def reached(world: Path) -> list[str]:
    """What the watched processes reached outside, or ran."""
    outside = str(world / "outside")
    found = []
    for line in (world / "watched").read_text().splitlines():
        event, place = ast.literal_eval(line)
        if place.startswith(outside) and "/secret/.git" not in place:  # a worktree's, to git
            found.append(line)
        if event in ("os.exec", "subprocess.Popen", "os.posix_spawn"):
            name = Path(place.partition(" ")[0]).name
            if place != _GIT_WHEN_TIED and not name.startswith(("python", "git")):
                found.append(line)
    return found


_SAMPLE = ["log_is_outside", "generations_are_outside", "files_of_the_index_are_outside",
           "tracked_beyond_a_link", "tracked_above_the_root", "git_fetches_what_is_missing",
           "worktree_of_git_is_outside", "git_runs_hooks_and_filters"]  # fmt: skip


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@parametrized([case for case in CASES if case.name in _SAMPLE])
def test_no_engine_and_no_git_reaches_outside_either(hostile: Case, world: Path) -> None:
    root, outside = world / "project", str(world / "outside")
    trace = world / "trace"
    code = (
        "import sys; from cidx_ref.project import Project; from cidx_ref.errors import CidxError\n"
        "from cidx_ref.index.build import bring_up_to_date\n"
        "from cidx_ref.index.embed import HashingEmbedder\n"
        "try: bring_up_to_date(Project.at(sys.argv[1]), HashingEmbedder())\n"
        "except CidxError as error: print(error)\n"
    )
    command = [sys.executable, "-P", "-c", code, str(root)]
    watch = ["strace", "-f", "-y", "-qq", "-e", "trace=%file,%network,execve", "-o", str(trace)]
    done = subprocess.run([*watch, *command], capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    for line in trace.read_text(errors="replace").splitlines():
        # What was asked for may be a link's own name; what was opened has its place in brackets.
        opened = re.search(r"= \d+<(.*)>$", line)
        assert opened is None or not opened[1].startswith(outside), line
        ran = re.search(r'execve\("([^"]*)"', line)
        ours = ran is None or Path(ran[1]).name.startswith(("python", "git"))
        assert ours or '["/bin/sh", "-c", "read -r _ && exec \\"$@\\""' in line, line
        assert "AF_INET" not in line, line
