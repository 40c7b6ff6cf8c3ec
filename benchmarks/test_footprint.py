"""What a daemon and a command take: processor time, memory, and the time to the first answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import clients
import psutil
import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import end_daemon
from cidx_ref.testing.promises.gates import RecordAim

CONNECTS = """
import json, socket, sys
from cidx_ref.wire import Caller
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
print(Caller(sock).call("call", "ping", "{}", timeout_s=5.0))
"""


@pytest.fixture(autouse=True)
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find their bytecode, as they do where they are installed, whatever is set here."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "bytecode"))


def cpu_ms(command: list[str], times: int = 21) -> float:
    """User and system time of a command, the median of so many runs."""
    taken = []
    for _ in range(times):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        taken.append((used.ru_utime + used.ru_stime) * 1000)
    return median(taken)


def test_the_command_line(client: DaemonClient, stdlib: Project, aim: RecordAim) -> None:
    query = ["query", "parse HTTP headers", "--project", str(stdlib.root), "--json"]
    program = str(Path(sys.executable).with_name("cidx-ref"))
    aim("CPU of `cidx-ref query X --json`", cpu_ms([program, *query]), 50, "ms")
    aim("CPU of `python -c pass`", cpu_ms([sys.executable, "-c", "pass"]), unit="ms")
    connects = [sys.executable, "-P", "-c", CONNECTS, str(stdlib.socket_path)]
    aim("CPU of a script that only connects", cpu_ms(connects), unit="ms")
    aim(
        "CPU of `python -c 'import rpyc'`", cpu_ms([sys.executable, "-c", "import rpyc"]), unit="ms"
    )
    if ripgrep := shutil.which("rg"):
        found = [ripgrep, "--json", "parse_headers", str(stdlib.root)]
        aim("CPU of ripgrep over the same repository", cpu_ms(found), unit="ms")


LOADED_NOTHING = """
import sys
import cidx_ref.daemon.server, cidx_ref.index.search, cidx_ref.index.embed
cidx_ref.index.embed.HashingEmbedder().embed_query("some words")
print("ready", flush=True)
sys.stdin.readline()
"""


def anonymous_mb(pid: int) -> float:
    """Of what is resident, that which is not a file's: pages of code come in as they are run, and
    the system takes them back as it likes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024 / 1e6


@pytest.fixture
def imported_mb() -> Iterator[tuple[float, float]]:
    """Of a process that has imported all that a daemon imports, and loaded nothing: all that is
    resident, and what of it is anonymous."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LOADED_NOTHING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield psutil.Process(process.pid).memory_info().rss / 1e6, anonymous_mb(process.pid)


@pytest.mark.promise("PERF-4", "CACHE-7")
def test_memory(
    stdlib: Project,
    running: Callable[[Project], int],
    imported_mb: tuple[float, float],
    aim: RecordAim,
) -> None:
    daemon = psutil.Process(running(stdlib))

    def mb() -> float:
        rss: int = daemon.memory_info().rss
        return rss / 1e6

    with DaemonClient(stdlib, start=False) as client:

        def ask(calls: int) -> None:
            clients.measured(client.query, calls)

        aim("memory, before the first query", mb(), 45, "MB")
        ask(1)
        aim("memory, loaded", mb(), unit="MB")
        ask(1000)  # caches of terms and the like fill up
        before = mb()
        ask(1000)
        aim("memory, growth over 1,000 queries", mb() - before, 0.5, "MB")
        ask(9000)
        aim("memory, growth over 10,000 queries", mb() - before, unit="MB")
        client.clear_cache()
        imported, imported_anonymous = imported_mb
        aim("memory, evicted / imported and nothing loaded", mb() / imported, 1.1)
        share = anonymous_mb(daemon.pid) / imported_anonymous
        aim("memory, the same without the pages of files", share)
        aim("memory, evicted", mb(), unit="MB")


@pytest.fixture
def ten_thousand_chunks(tmp_path: Path) -> Project:
    """About so many of the standard library."""
    root = tmp_path / "part"
    root.mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("[a-s]*.py")) + sorted(library.glob("[a-d]*/*.py")):
        shutil.copy(path, root / f"{path.parent.name}-{path.name}")
    return Project.at(root)


def test_the_first_answer(ten_thousand_chunks: Project, aim: RecordAim) -> None:
    project = ten_thousand_chunks

    def seconds() -> float:
        began = perf_counter()
        with DaemonClient(project) as client:
            assert client.query("parse HTTP headers")
        return perf_counter() - began

    try:
        began = perf_counter()
        with DaemonClient(project) as client:
            chunks = client.index()["chunks"]
            assert client.query("parse HTTP headers")
        aim(
            f"no index to first answer, {chunks} chunks", (perf_counter() - began) * 1000, unit="ms"
        )
        taken = []
        for _ in range(5):
            end_daemon(project)
            taken.append(seconds() * 1000)
        aim(f"no daemon to first answer, {chunks} chunks", median(taken), 700, "ms")
    finally:
        end_daemon(project)
