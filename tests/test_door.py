"""An interrupt ends a program of the kit by one line and its status, whenever it comes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cidx_ref.interpreter import python_command
from cidx_ref.testing.door import INTERRUPTED, enter

pytestmark = pytest.mark.once

#: Runs a program, and interrupts it when it comes to import one of its modules.
PROGRAM = """
import runpy, signal, sys

_, module, at, *arguments = sys.argv

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == at:
            sys.meta_path.remove(self)
            InADestructor()  # where it cannot be raised

class InADestructor:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["program", *arguments]
runpy.run_module(module, run_name="__main__")
"""
KIT = "cidx_ref.testing"
VERIFY = f"{KIT}.conformance"


@pytest.mark.parametrize(
    ("prog", "at", "arguments"),
    [
        ("cidx-verify", "hypothesis", [VERIFY, "--list"]),
        ("cidx-verify", f"{VERIFY}.daemons", [VERIFY, "--list"]),  # once the options are read
        ("cidx-ref verify", "hypothesis", ["cidx_ref", "verify", "--list"]),
        ("cidx-ref verify", f"{VERIFY}.daemons", ["cidx_ref", "verify", "--list"]),
        (f"python -m {VERIFY}.parts", f"{VERIFY}.parts.lock", [f"{VERIFY}.parts"]),
        (f"python -m {KIT}.load", f"{KIT}.load.report", [f"{KIT}.load"]),
    ],
)
def test_an_interrupt_during_the_imports_is_one_line_and_its_status(
    prog: str, at: str, arguments: list[str]
) -> None:
    module, *rest = arguments
    _, environment = python_command("x")
    command = [sys.executable, "-c", PROGRAM, module, at, *rest]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, f"{prog}: interrupted\n")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_that_comes_where_it_cannot_be_raised_comes_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended: list[str] = []

    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def run() -> int:
        try:
            Destroyed()
            select.select([], [], [], 10)
            return 0
        finally:
            ended.append("what was started")

    assert enter("program", lambda: run, is_program=False) == INTERRUPTED
    assert ended
    assert capfd.readouterr().err == "program: interrupted\n"


def test_what_ignores_interrupts_goes_on_with_that() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def load() -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return lambda: 7

    assert enter("program", load, is_program=False) == 7  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
