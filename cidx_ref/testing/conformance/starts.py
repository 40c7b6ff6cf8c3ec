"""What became of a process that a target's command has made: it serves, it has found another
daemon, or it has ended.

Here belongs what must be told of a start before its daemon can be asked anything; `subject` has the
daemons that serve.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress

from cidx_ref.testing.conformance.asking import open_socket
from cidx_ref.testing.conformance.processes import Process
from cidx_ref.testing.conformance.subject import Project, accepts
from cidx_ref.testing.conformance.target import Spawn
from cidx_ref.testing.ground import SYSTEM, peer_pid

__all__ = ["SERVING", "TAKEN", "answering", "became", "kill", "looks", "told"]

SERVING, TAKEN = "serves", "finds another daemon"
_ENDED, _SILENT = "ends", "does not say in time what it is"
_LOOK_S = 0.003
_KNOCK_S = 10.0


def answering(project: Project) -> int:
    """The process that accepts at the project's socket; 0 if nobody does."""
    if not accepts(project.address):
        return 0
    with suppress(OSError), open_socket(project.address, _KNOCK_S) as sock:
        return peer_pid(sock)
    return 0


def became(process: Process, project: Project, timeout_s: float = 0.0) -> str:
    """`SERVING`, `TAKEN`, or in words what else it does."""
    spawn = project.target.start
    assert isinstance(spawn, Spawn)
    found = ""

    def look() -> bool:
        nonlocal found
        found = _state(process, project, spawn)
        return bool(found)

    process.until(look, timeout_s or spawn.patience_s)
    return found or _SILENT


def _state(process: Process, project: Project, spawn: Spawn) -> str:
    status = process.status  # before its output is read, which is whole then
    output = process.output()
    if spawn.taken and re.search(spawn.taken, output, re.MULTILINE):
        return TAKEN
    if spawn.ready and re.search(spawn.ready, output, re.MULTILINE):
        return SERVING
    if (not spawn.ready or status == 0) and process.has_started(answering(project)):
        return SERVING
    if status is None:
        return ""
    return TAKEN if not spawn.taken and status == spawn.taken_status else _ENDED


def told(process: Process) -> str:
    """A process, for who reads what went wrong: how it is, and the end of what it said."""
    status = process.status
    how = "it runs" if status is None else f"its status is {status}"
    lines = [line.strip() for line in process.output().splitlines() if line.strip()]
    said = "; ".join(lines[-2:])[-300:]
    return f"{how}, it said {said!r}" if said else f"{how}, it said nothing"


def looks(timeout_s: float) -> Iterator[float]:
    """Seconds passed, again and again until the time is over."""
    began = SYSTEM.monotonic()
    passed = 0.0
    while passed <= timeout_s:
        yield passed
        SYSTEM.sleep(_LOOK_S)
        passed = SYSTEM.monotonic() - began


def kill(pid: int) -> None:
    """End a process by its id, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
