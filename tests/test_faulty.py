"""What `own.faulty` does to a process: it is held at a step by a file, or fails there for as long
as there is one, or its clock is ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.faulty import FaultyRuntime, faulted

pytestmark = pytest.mark.once

WAIT_S = 10.0


def test_one_of_those_who_come_is_held_until_its_file_is_gone(tmp_path: Path) -> None:
    gate, held = tmp_path / "gate", tmp_path / "gate.held"
    runtime = FaultyRuntime()
    runtime.hold_at("bound", gate)
    runtime.step("bound")  # there is no file yet
    gate.touch()
    runtime.step("listening")
    passed = SYSTEM.event("passed")

    def come() -> None:
        runtime.step("bound")
        passed.set()

    thread = SYSTEM.thread(come, "held")
    until = SYSTEM.monotonic() + WAIT_S
    while not held.exists():
        assert SYSTEM.monotonic() < until
    runtime.step("bound")  # who comes next
    assert not passed.is_set()
    held.unlink()
    thread.join(WAIT_S)
    assert passed.is_set()


def test_a_step_fails_for_as_long_as_there_is_a_file(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    runtime = FaultyRuntime()
    runtime.fail_at("written", gate)
    runtime.step("written")
    gate.touch()
    runtime.step("sealed")
    for _ in range(2):
        with pytest.raises(OSError, match=r"nobody thought of this: '/.*\.py'"):
            runtime.step("written")
    gate.unlink()
    runtime.step("written")


def test_a_clock_is_ahead_by_what_a_file_says(tmp_path: Path) -> None:
    ahead = tmp_path / "ahead"
    runtime = FaultyRuntime()
    runtime.be_ahead_by(ahead)
    before = SYSTEM.monotonic()
    assert before <= runtime.monotonic() < before + WAIT_S
    ahead.write_text("1000.5")
    assert before + 1000.5 <= runtime.monotonic() < before + 1000.5 + WAIT_S


def test_a_fault_is_put_before_the_command() -> None:
    line = ["python", "-m", "faulty", "--mutant", "x", "--", "build", "DIR"]
    assert faulted(line, "--crash-at", "bound")[-5:] == [
        "--crash-at",
        "bound",
        "--",
        "build",
        "DIR",
    ]
    assert faulted(line)[-1] == "DIR"
