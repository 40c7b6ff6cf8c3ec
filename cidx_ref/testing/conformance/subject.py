"""A running daemon, as its target describes it: started, found, stopped, killed, waited for.

Here belongs how a declaration becomes processes.  Every wait has an end.  A daemon that was there
already is asked and nothing else.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Asker, Gone, address_at, connect, open_socket
from cidx_ref.testing.conformance.processes import Household, Process, end_of, is_running
from cidx_ref.testing.conformance.target import (
    MAX_SOCKET_BYTES,
    Attach,
    Spawn,
    Target,
    filled,
    words,
)
from cidx_ref.testing.ground import SYSTEM, peer_pid

__all__ = ["Daemon", "NotStarted", "Project", "WriterFailed", "launch", "started", "write_index"]

#: How long something is waited for that should happen at once.
PROMPT_S = 30.0


class NotStarted(Exception):  # noqa: N818 - a turn of events
    """A daemon that does not come to serve; the words have its output."""


class WriterFailed(Exception):  # noqa: N818 - a turn of events
    """A writer that does not end as it should; the words have its output."""


@dataclass
class Project:
    """A directory with the files of an edition, and what its daemon is configured to."""

    target: Target
    root: Path
    edition: int = 0
    ttl_s: float = 600.0
    idle: bool = False
    watch: bool = False

    @property
    def address(self) -> str:
        """Where its daemon listens."""
        return address_at(self.target, self.root)

    @property
    def values(self) -> dict[str, str]:
        """What the placeholders stand for."""
        return {
            "project": str(self.root),
            "python": sys.executable,
            "socket": self.address,
            "ttl_s": f"{self.ttl_s:g}",
            "ttl_minutes": f"{self.ttl_s / 60:.9g}",
            "idle": "true" if self.idle else "false",
            "watch": "true" if self.watch else "false",
        }

    def write(self, edition: int) -> None:
        """Have the files of that edition."""
        (self.target.corpus or corpus.write)(self.root, edition)
        self.edition = edition

    def configure(self, **texts: str) -> None:
        """Write `Target.files`, with other values than its own where `texts` has some."""
        for name, text in self.target.files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(path.name + ".new")
            new.write_text(filled(text, **{**self.values, **texts}), "utf-8")
            new.replace(path)

    def command(self, command: str | Sequence[str], **values: str) -> list[str]:
        return [filled(word, **{**self.values, **values}) for word in words(command)]

    def environment(self, **texts: str) -> dict[str, str]:
        return {n: filled(t, **{**self.values, **texts}) for n, t in self.target.env.items()}

    def has(self, word: str) -> list[str]:
        """The files that have a word, relative to the project."""
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(self.root).parts)
            and word in path.read_text("utf-8", "replace")
        )


@dataclass
class Daemon:
    """One under test."""

    project: Project
    #: What was started; None where it was there already.  A daemon in the background is another.
    process: Process | None
    #: The process that serves; 0 where that is not known.
    pid: int = 0
    #: What was started has ended, and left it there.
    is_in_background: bool = False
    #: Connections, to be closed with it.
    _askers: list[Asker] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return self.project.target

    @property
    def address(self) -> str:
        return self.project.address

    @property
    def is_local(self) -> bool:
        """Whether its process can be looked at."""
        return bool(self.pid) and Path(f"/proc/{self.pid}/fd").exists()

    def connect(self, timeout_s: float = 10.0) -> Asker:
        """Raises `Gone`."""
        asker = connect(self.target, self.project.root, timeout_s)
        self._askers.append(asker)
        return asker

    @property
    def is_running(self) -> bool:
        return self.process is None or is_running(self.pid or self.process.pid)

    @property
    def is_accepting(self) -> bool:
        return accepts(self.address)

    def output(self) -> str:
        """What it wrote so far."""
        return self.process.output() if self.process else ""

    def wait(self, timeout_s: float = PROMPT_S) -> int | None:
        """Its exit status; None where it is not our child.  Raises `TimeoutError`."""
        process = self._owned()
        if self.pid and not end_of(self.pid, timeout_s):
            raise TimeoutError(f"the daemon (process {self.pid}) does not end in {timeout_s:g} s")
        return None if self.is_in_background else process.wait(timeout_s)

    def stop(self, timeout_s: float = PROMPT_S) -> int | None:
        """Have it stopped gracefully, by its method or else by SIGTERM; its exit status."""
        self._owned()
        if not self.target.methods.stop:
            return self.terminate(timeout_s)
        # It may be gone before it has answered.
        with suppress(Gone), self.connect() as asker:
            asker.ask("stop")
        return self.wait(timeout_s)

    def terminate(self, timeout_s: float = PROMPT_S) -> int | None:
        """End it by SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: int) -> None:
        process = self._owned()
        if self.pid in (0, process.pid):
            process.send(number)
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        """Its connections."""
        for asker in self._askers:
            with suppress(Exception):
                asker.close()

    def _owned(self) -> Process:
        if self.process is None:
            raise RuntimeError("a daemon that was there already is not ended")
        return self.process


def accepts(address: str) -> bool:
    """Whether something accepts there."""
    try:
        open_socket(address, 1.0).close()
    except BlockingIOError:  # the backlog is full: it listens, and is busy
        return True
    except OSError:
        return False
    return True


def launch(
    household: Household, project: Project, command: str | Sequence[str] = "", **values: str
) -> Process:
    """Start a daemon of the project, or `command`, and do not wait for anything."""
    if isinstance(project.target.start, Attach):
        raise RuntimeError("a daemon that was there already is not started")
    command = project.command(command or project.target.start.command, **values)
    try:
        return household.start(command, project.environment())
    except OSError as error:
        raise NotStarted(f"`{' '.join(command)}` cannot be run: {error.strerror}") from None


def serves(process: Process, start: Spawn, address: str) -> bool:
    """Whether it has said that it accepts, where it says so, and something does accept."""
    has_said = not start.ready or re.search(start.ready, process.output(), re.MULTILINE)
    return bool(has_said) and accepts(address)


def started(process: Process, project: Project) -> Daemon:
    """The daemon that was launched, once it accepts.  Raises `NotStarted`."""
    start = project.target.start
    assert isinstance(start, Spawn)
    deadline = SYSTEM.monotonic() + start.patience_s
    is_ready = process.until(lambda: serves(process, start, project.address), start.patience_s)
    if not is_ready and process.status == 0 and not is_taken(process, start):
        # It has put itself in the background: what it started may not accept yet.
        while not is_ready and SYSTEM.monotonic() < deadline:
            is_ready = serves(process, start, project.address)
            end_of(os.getpid(), 0.01)
    if not is_ready:
        raise NotStarted(_why(process, start, project.address))
    is_in_background = process.status is not None
    return Daemon(project, process, _serving(process, project.address), is_in_background)


def is_taken(process: Process, start: Spawn) -> bool:
    """Whether a start has ended, because it found another daemon."""
    says_so = not start.taken or re.search(start.taken, process.output(), re.MULTILINE)
    return process.status == start.taken_status and bool(says_so) and bool(start.taken)


def _serving(process: Process, address: str) -> int:
    """The process that listens: the one that was started, or another that it has started."""
    with suppress(OSError), open_socket(address, 1.0) as sock:
        # It may have begun to listen in a process that has ended since.
        if (pid := peer_pid(sock)) and is_running(pid):
            return pid
    return process.pid if process.status is None else 0


def _why(process: Process, start: Spawn, address: str) -> str:
    said = process.tail()
    shown = f"; it wrote:\n{said}" if said else "; it wrote nothing"
    if process.status is not None:
        return f"{process.named()} ended with status {process.status}{shown}"
    if start.ready and not re.search(start.ready, process.output(), re.MULTILINE):
        missing = f"does not write {start.ready!r}"
    else:
        missing = f"does not accept at {address}{_length(address)}"
    return f"{process.named()} {missing} within {start.patience_s:g} s{shown}"


def _length(address: str) -> str:
    """What may be why: the kit's directories lie deep, perhaps (`TMPDIR`)."""
    length = len(os.fsencode(address))
    if length <= MAX_SOCKET_BYTES:
        return ""
    return f" (a path of {length} bytes; that of a Unix socket has at most {MAX_SOCKET_BYTES})"


def write_index(household: Household, project: Project, timeout_s: float = 120.0) -> Process:
    """Have the writer bring the index up to date.  Raises `WriterFailed`."""
    writer = household.start(project.command(project.target.writer), project.environment())
    try:
        status = writer.wait(timeout_s)
    except TimeoutError as error:
        raise WriterFailed(f"{error}; it wrote:\n{writer.tail()}") from None
    if status:
        raise WriterFailed(f"{writer.named()}: status {status}; it wrote:\n{writer.tail()}")
    return writer
