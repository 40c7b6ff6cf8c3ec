"""The frame of the table of faults finds what a row may come upon, and loses no case behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once

PROGRAM = """
import json, os, signal, subprocess, sys
from contextlib import contextmanager
from fault_rows.table import MUTANTS, ROWS, NotHereError, Trial, mutant, row
from fault_rows import trying
from fault_rows.trying import Job, try_all

trying._SETTLED_S = 0.2  # nothing here takes longer to leave
ANSWER = 42

def right(number):
    assert ANSWER == 42, f"the answer is {ANSWER}"

def of(check, **more):
    @contextmanager
    def open_(place):
        if what == "a descriptor":
            os.open("/dev/null", os.O_RDONLY)
        if what == "a process":
            subprocess.Popen(["sleep", "60"])
        if what == "no set-up":
            raise ValueError("no set-up")
        if what == "not here":
            raise NotHereError("no tmpfs")
        held = os.getpid()
        yield Trial(check, pids=(held,) if what == "more and more" else ())
    open_.__name__ = "a_row"
    return row("it happens", "RPC-6", cases=5, sample=5, **more)(open_)

@mutant("a-row", "the answer is another one")
@contextmanager
def another():
    global ANSWER
    ANSWER = 41
    yield

what = sys.argv[1]
def wrong(number): assert number != 2, "two is wrong"
def crash(number): number == 2 and os.kill(os.getpid(), signal.SIGSEGV)
def hang(number): number == 2 and signal.pause()
def error(number): return [][number - 2] if number == 2 else None
def more(number): os.dup(0)
of({"wrong": wrong, "crash": crash, "hang": hang, "error": error,
    "more and more": more}.get(what, right), patience_s=1.0)
planted = MUTANTS["a-row:another"] if what == "a mutant" else None
job = Job(ROWS["a-row"], 5, planted)
try_all([job], 2)
print(json.dumps([job.outcome.tried, job.outcome.broken, job.outcome.not_here]))
"""


def _outcome(what: str, tmp_path: Path) -> Any:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path = os.pathsep.join([str(Path(__file__).parent), *(part for part in sys.path if part)])
    done = subprocess.run(
        [sys.executable, program, what],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("what", "at", "said"),
    [
        ("wrong", 2, "two is wrong"),
        ("crash", 2, "died of signal 11"),
        ("hang", 2, "hangs: nothing for 1 s"),
        ("error", 2, "IndexError: list index out of range"),
        ("a descriptor", -1, "1 descriptors were left open"),
        ("a process", -1, "a process was left behind: sleep 60"),
        ("no set-up", -1, "ValueError: no set-up"),
        ("more and more", -1, "descriptors, and has"),
    ],
)
def test_what_goes_wrong_is_told_with_its_case_and_the_others_are_tried(
    what: str, at: int, said: str, tmp_path: Path
) -> None:
    tried, broken, not_here = _outcome(what, tmp_path)
    assert tried == 5
    assert not_here is None
    assert [number for number, _ in broken][:1] == [at]
    assert said in broken[0][1]
    assert what == "more and more" or len(broken) == 1


def test_what_is_right_breaks_nothing_until_a_mutant_is_planted(tmp_path: Path) -> None:
    assert _outcome("right", tmp_path) == [5, [], None]
    tried, broken, _ = _outcome("a mutant", tmp_path)
    assert (tried, broken) == (1, [[0, "the answer is 41"]])


def test_what_a_machine_lacks_is_said_and_breaks_nothing(tmp_path: Path) -> None:
    assert _outcome("not here", tmp_path) == [0, [], "no tmpfs"]
