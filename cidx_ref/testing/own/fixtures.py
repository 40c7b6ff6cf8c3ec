"""Fixtures for tests of a daemon: projects, indexes, real daemons, a clock that stands still.

A pytest plugin: `-p cidx_ref.testing.own.fixtures`.  Everything is made in a temporary
directory, and nothing is left running.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.room import Room
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.launcher import start_process
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime

__all__ = [
    "SAMPLE",
    "MakeProject",
    "build",
    "end_daemon",
    "git",
    "index_the_library",
    "served",
    "write",
]

_TIMEOUT_S = 30.0

#: A small repository with something to find in it.
SAMPLE = {
    "auth/login.py": (
        '"""Logging users in."""\n\n\n'
        "def check_password(user, password):\n"
        '    """Compare the password with the stored hash, in constant time."""\n'
        "    return compare_digest(user.password_hash, derive(password))\n\n\n"
        "class SessionStore:\n"
        '    """Keeps authentication sessions."""\n\n'
        "    def expireOldSessions(self, now):\n"
        "        for session in list(self.sessions):\n"
        "            if session.deadline < now:\n"
        "                self.sessions.remove(session)\n"
    ),
    "net/retry.py": (
        "import time\n\n\n"
        "def retry_on_disconnect(call, attempts=3):\n"
        '    """Retry when the peer disconnects."""\n'
        "    for attempt in range(attempts):\n"
        "        try:\n"
        "            return call()\n"
        "        except ConnectionError:\n"
        "            time.sleep(2 ** attempt)\n"
    ),
    "web/app.js": "function parseHTTPHeaders(text) {\n  return text.split('\\r\\n')\n}\n",
    "README.md": "# Sample\n\nA repository with an authentication module and a retry helper.\n",
}

MakeProject = Callable[..., Project]


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """`make_project(files=SAMPLE, name="project")`: a project with these files, not indexed."""

    def make(files: Mapping[str, str | bytes] = SAMPLE, name: str = "project") -> Project:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            write(root, path, content)
        return Project.at(root)

    return make


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """The sample project, indexed."""
    made = make_project()
    build(made)
    return made


@pytest.fixture
def fake() -> FakeRuntime:
    """A runtime whose clock stands still."""
    return FakeRuntime()


@pytest.fixture
def running() -> Iterator[Callable[[Project], int]]:
    """`running(project)` starts the project's real daemon and returns its process id.

    Whatever daemon serves one of these projects at the end is ended by its id.
    """
    projects: list[Project] = []

    def run(project: Project) -> int:
        projects.append(project)
        start_process(project)
        with DaemonClient(project, start=False) as client:
            return int(client.ping()["pid"])

    yield run
    for project in projects:
        end_daemon(project)


@contextmanager
def served(
    project: Project, *, room: Room | None = None, **options: Any
) -> Iterator[CIDXDaemonService]:
    """The project's daemon, whole and on its socket, in a thread of this process.

    It has `room` for connections; the other `options` are the service's; what a test injects (an
    embedder, a runtime) goes there.
    """
    claim = Claim(project)
    assert claim.acquire(_TIMEOUT_S)
    service = CIDXDaemonService(project.root, **options)
    daemon = Daemon(project, service, claim, room=room)
    thread = SYSTEM.thread(daemon.run, "daemon")
    try:
        yield service
    finally:
        daemon.stop()
        thread.join(_TIMEOUT_S)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def stdlib(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The interpreter's standard library (about 900 files), copied and indexed."""
    return index_the_library(tmp_path_factory.mktemp("stdlib") / "Lib")


def index_the_library(root: Path) -> Project:
    """Copy the interpreter's standard library to `root`, and index it: some 14 s of processor."""
    ignore = shutil.ignore_patterns("site-packages", "test", "tests", "idle_test", "__pycache__")
    shutil.copytree(sysconfig.get_path("stdlib"), root, ignore=ignore, symlinks=True)
    project = Project.at(root)
    build(project)
    return project


def write(root: Path, path: str, content: str | bytes) -> None:
    """Write one file of a project, with the directories above it."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)


def build(project: Project) -> str:
    """Index `project` in this process; return the generation."""
    report = bring_up_to_date(project, HashingEmbedder())
    return str(report["generation"])


def end_daemon(project: Project) -> None:
    """End the daemon that serves `project`, if there is one: politely, then by `SIGKILL`."""
    pid = 0
    with suppress(Exception), DaemonClient(project, start=False) as client:
        pid = int(client.ping()["pid"])
        client.shutdown()
        return
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def git(root: Path, *arguments: str) -> None:
    """Run git in `root`, with an identity and nobody's configuration."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    subprocess.run(
        ("git", *identity, *arguments), cwd=root, env=environment, check=True, capture_output=True
    )
