"""Processes that rows begin and end: forked from the row's own, which costs next to nothing.

What a daemon or a command needs is imported here, once; so what comes of it is a process as any
other, but for its first tenth of a second.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cidx_ref import __main__, cli, commands, launcher, terminal, turns  # noqa: F401 - see above
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon import server
from cidx_ref.index import assembly, snapshot  # noqa: F401
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.testing.own.fixtures import SAMPLE, write

__all__ = ["PATIENCE_S", "Life", "answers", "begin", "command", "indexed", "is_ready", "litter",
           "serving"]  # fmt: skip

PATIENCE_S = 30.0
#: What may lie in `.code-indexer` when nobody runs.
_KEPT = {".gitignore", "config.json", "daemon.lock", "daemon.log", "daemon.log.1", "daemon.log.2",
         "daemon.sock", "generations", "seen.bin", "skipped.json", "turn.lock"}  # fmt: skip


class Life:
    """A forked process that does `act`, and what it says."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._said = os.memfd_create("said")
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(act)

    def _live(self, act: Callable[[], object]) -> None:
        status = 1
        try:
            os.setpgid(0, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)  # whatever this row was started by ignores
            for fd in (1, 2):
                os.dup2(self._said, fd)
            status = int(act() or 0)  # type: ignore[call-overload]
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for it; its exit status, or the negative number of the signal that ended it."""
        fd = os.pidfd_open(self.pid)
        try:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            in_time = bool(poller.poll(within_s * 1000))
            if not in_time:
                self.signal(signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        finally:
            os.close(fd)
            self.said = os.pread(self._said, 1 << 20, 0).decode("utf-8", "replace")
            os.close(self._said)
        assert in_time, f"does not end within {within_s:g} s: {self.said}"
        return status


def indexed(root: Path, *, watch: bool = False, more: Mapping[str, str] | None = None) -> Project:
    """The sample project and `more`, with an index; built elsewhere: no thread is left here.

    Without `watch` its daemons begin with no index run, which costs more than all the rest.
    """
    for path, content in {**SAMPLE, **(more or {})}.items():
        write(root, path, content)
    project = Project.at(root)
    Config.init(project, watch=watch)
    build = Life(lambda: bring_up_to_date(project, HashingEmbedder()) and 0)
    assert build.ended() == 0, build.said
    return project


def begin(project: Project, runtime: Runtime = SYSTEM) -> tuple[Life, int]:
    """A daemon, and a descriptor that has something to read when it serves, or an end."""
    ready, told = os.pipe()

    def tell(state: str) -> None:
        os.write(told, state.encode())

    def serve() -> None:
        os.close(ready)
        server.serve(project, tell, runtime)

    life = Life(serve)
    os.close(told)
    return life, ready


def is_ready(ready: int, within_s: float = PATIENCE_S) -> bool:
    """Wait until it serves; False if it has ended, or another serves.  Closes the descriptor."""
    poller = select.poll()
    poller.register(ready, select.POLLIN)
    try:
        return bool(poller.poll(within_s * 1000)) and os.read(ready, 64) == b"serving"
    finally:
        os.close(ready)


@contextmanager
def serving(project: Project) -> Iterator[Life]:
    """A daemon that serves, until the block ends, and then ends in good order."""
    life, ready = begin(project)
    try:
        if not is_ready(ready):
            life.ended(1.0)
            raise AssertionError(f"no daemon serves: {life.said}")
        yield life
    except BaseException:
        with suppress(AssertionError, OSError):
            life.signal(signal.SIGKILL)
            life.ended()
        raise
    life.signal(signal.SIGTERM)
    assert life.ended() == 0, life.said
    assert "Traceback" not in life.said, life.said


def answers(project: Project) -> None:
    """A daemon runs, and answers right."""
    with DaemonClient(project, start=False) as client:
        found = client.query("retry when the peer disconnects", limit=1)
    assert [hit.path for hit in found] == ["net/retry.py"], found


def command(project: Project, *line: str) -> Callable[[], int]:
    """What runs a command, as the shell's process does."""

    def act() -> int:
        sys.argv = ["cidx-ref", *line, "--project", str(project.root)]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return __main__.main()

    return act


def litter(project: Project) -> list[str]:
    """What lies in the project's directory and should not."""
    return sorted(set(os.listdir(project.directory)) - _KEPT)
