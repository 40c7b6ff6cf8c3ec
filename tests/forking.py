"""Runs a program again and again, each time in a fork of a process that has imported everything.

An interpreter that begins anew takes most of a second of processor time until it does what it is
there for, a fork next to none.  The program is a module: what it imports is imported once, and its
`main(arguments)` is called in each fork and returns the status.

A line of the input is a run: `{"arguments": [...], "to": FILE, "patience_s": SECONDS}`.  What it
says goes to the file; a line of the output has its status, or null if it took too long.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import TracebackType

__all__ = ["Forking"]

Main = Callable[[list[str]], int]


class Forking:
    """The process, from the test's side; its environment is the test's."""

    def __init__(self, module: str, directory: Path) -> None:
        """It runs `module` in `directory`."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, module],
            cwd=directory,
            # It reports to us, and is no worker of whoever runs us; it imports what we would.
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))},
                "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The end of its input is its end.
        self._process.communicate()

    def run(self, arguments: list[str], to: Path, patience_s: float) -> int:
        """Run it; return its status.  Raises `TimeoutError` where it took longer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"arguments": arguments, "to": str(to), "patience_s": patience_s}
        self._process.stdin.write(f"{json.dumps(job)}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has ended"
        status = json.loads(answer)
        if status is None:
            raise TimeoutError(f"it ran for more than {patience_s} s")
        return int(status)


def _redirect(to: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    said = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for old, new in ((null, 0), (said, 1), (said, 2)):
        os.dup2(old, new)
    os.close(null)
    os.close(said)


def _in_a_fork(main: Main, arguments: list[str], to: str, patience_s: float) -> int | None:
    pid = os.fork()
    if pid == 0:
        # As an interpreter ends that has run nothing else.
        _redirect(to)
        sys.exit(main(arguments))
    ended = os.pidfd_open(pid)
    waiting = select.poll()
    waiting.register(ended, select.POLLIN)
    has_ended = waiting.poll(patience_s * 1000)
    os.close(ended)
    if not has_ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if has_ended else None


def _serve(main: Main) -> None:
    gc.freeze()  # so that a collection in a fork writes to none of these pages
    while line := sys.stdin.readline():
        job = json.loads(line)
        status = _in_a_fork(main, job["arguments"], job["to"], job["patience_s"])
        print(json.dumps(status), flush=True)


if __name__ == "__main__":
    _serve(import_module(sys.argv[1]).main)
