"""A program that makes index runs, each in a process of its own that may be killed on the way.

    python doomed_writer.py < orders

An order is a line of JSON: the project's `root`, and where the writer is killed, if it is:
`at_step` or `at_operation`, counted from 1, or `after_s` seconds.  For each, a line is written
back: the number of the signal that ended the writer, or 0.  The engines are imported once, and no
thread runs where the writers are forked, so one costs no more than its index run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from itertools import count
from pathlib import Path
from typing import Any

from cidx_ref.index import assembly  # noqa: F401 - with all that it needs
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime
from cidx_ref.testing.own.lives import small_segments


class Doomed(Runtime):
    """Kills its process at the step or the operation of that number."""

    def __init__(self, *, at_step: int = 0, at_operation: int = 0, after_s: float = 0) -> None:
        self._at_step, self._at_operation = at_step, at_operation
        self._steps, self._operations = count(1), count(1)
        # Nothing handles the signal: it ends the process as the other one does, and no sooner.
        signal.setitimer(signal.ITIMER_REAL, after_s)

    def step(self, name: str) -> None:
        if next(self._steps) == self._at_step:
            os.kill(os.getpid(), signal.SIGKILL)

    def operation(self, kind: str, path: Path) -> None:
        if next(self._operations) == self._at_operation:
            os.kill(os.getpid(), signal.SIGKILL)


def write(root: str, **fate: Any) -> None:
    with small_segments():
        bring_up_to_date(Project.at(root), HashingEmbedder(), runtime=Doomed(**fate))


def forked(order: dict[str, Any]) -> int:
    """Carry it out in a child; what ended that."""
    child = os.fork()
    if child == 0:
        try:
            write(**order)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status <= 0, f"a writer failed: {order}"
    return -status


if __name__ == "__main__":
    for line in sys.stdin:
        print(forked(json.loads(line)), flush=True)
