"""Directories of the kit's processes: what a killed one left is swept, and nothing else is."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from cidx_ref.testing.conformance.homes import BENCH, RUN, home, sweep
from cidx_ref.testing.conformance.processes import Household, end_of, is_running

pytestmark = pytest.mark.once

FORK = get_context("fork")


def test_what_a_killed_process_left_is_ended_and_removed(tmp_path: Path) -> None:
    here, there = FORK.Pipe(duplex=False)

    def lives_and_dies() -> None:
        made = home(BENCH, tmp_path)
        # A household within, as that of a daemon's life.
        (made.path / "life").mkdir()
        started = Household(made.path / "life").start(["sleep", "60"])
        there.send((made.path, home(RUN, tmp_path).path, started.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=lives_and_dies)
    process.start()
    process.join()
    bench, run, pid = here.recv()
    assert is_running(pid)
    assert (bench.exists(), run.exists()) == (True, True)
    sweep([tmp_path])
    assert (bench.exists(), run.exists()) == (False, False)
    assert end_of(pid, 20)


def test_what_is_somebodys_or_not_the_kits_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.mkdir()
    made = home(BENCH, tmp_path)
    plain = tmp_path / f"{BENCH}12345678"
    plain.mkdir(mode=0o700)
    dead = home(RUN, other)
    dead.release()
    marked = dead.path.rename(tmp_path / "what-is-kept")
    (tmp_path / f"{BENCH}87654321").symlink_to(marked)
    (tmp_path / f"{BENCH}abcdefgh").touch()
    there = sorted(tmp_path.rglob("*"))
    with Household(made.path) as household:
        started = household.start(["sleep", "60"])
        there = sorted(tmp_path.rglob("*"))
        sweep([tmp_path, tmp_path / "nowhere"])
        assert sorted(tmp_path.rglob("*")) == there
        assert is_running(started.pid)
    made.close()
    assert not made.path.exists()
    made.close()


def test_of_another_user_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = home(RUN, tmp_path)
    dead.release()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    sweep([tmp_path])
    assert dead.path.exists()


def test_where_nothing_can_be_locked_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError("no locks here")

    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", refuses)
        made = home(RUN, tmp_path)
    sweep([tmp_path])
    assert made.path.exists()
    made.close()


def test_a_process_that_has_closed_all_files_can_fork_and_tidy_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def closes() -> None:
        made = home(RUN, tmp_path)
        os.closerange(3, 1024)
        if not (fork := os.fork()):
            os._exit(0)
        os.waitpid(fork, 0)
        made.close()

    process = FORK.Process(target=closes)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_a_fork_does_not_hold_what_its_parent_has_locked(tmp_path: Path) -> None:
    made = home(RUN, tmp_path)
    ready, go = FORK.Event(), FORK.Event()

    def waits() -> None:
        ready.set()
        go.wait(30)

    fork = FORK.Process(target=waits)
    fork.start()
    assert ready.wait(30)
    made.release()
    sweep([tmp_path])
    assert not made.path.exists()
    go.set()
    fork.join()
