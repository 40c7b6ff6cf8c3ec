"""Temporary directories: the next one removes what a `kill -9` has left, and nothing else."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cidx_ref import scratch
from cidx_ref.index import links
from cidx_ref.scratch import Scratch

pytestmark = pytest.mark.once

MAKE = """
import os, sys
from cidx_ref.scratch import Scratch
made = [Scratch("x-", sys.argv[1]) for _ in range(2)]
for each in made:
    (each.path / "deep").mkdir()
    (each.path / "deep" / "file").write_text("")
    (each.path / "link").symlink_to(sys.argv[1])
if sys.argv[2:] and not os.fork():  # a child has it, too
    os.write(1, b"forked")
    os.read(0, 1)
    os.closerange(3, 100)
    os._exit(0)
os.write(1, b"made")
os.read(0, 1)
"""


@pytest.fixture(autouse=True)
def _unswept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun."""
    monkeypatch.setattr(scratch, "_swept", set())


def make(where: Path, *options: str) -> subprocess.Popen[bytes]:
    """A process that has two of them; with a word more, as has a child of its own."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", MAKE, str(where), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = b""
    while len(said) < len(b"made" if not options else b"madeforked"):
        said += os.read(process.stdout.fileno(), 100)
    return process


def test_one_is_gone_with_all_that_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    with Scratch("x-", tmp_path) as path:
        assert path.parent == tmp_path
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "a" / "b").mkdir(parents=True)
        (path / "a" / "link").symlink_to(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]
    made = Scratch("x-", tmp_path)
    made.close()
    made.close()
    assert os.listdir(tmp_path) == ["kept"]


def test_one_whose_removal_is_interrupted_is_removed_by_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Scratch("x-", tmp_path)

    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scratch, "_remove", interrupt)
        with pytest.raises(KeyboardInterrupt):
            made.close()
    made.close()
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_has_left_goes_and_what_a_living_one_has_stays(
    tmp_path: Path,
) -> None:
    # A child that outlives its parent has inherited nothing.
    with make(tmp_path, "and a child") as dead, make(tmp_path) as living:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        there = set(tmp_path.iterdir())
        assert len(there) == 4
        with closing(Scratch("y-", tmp_path)):
            assert len(os.listdir(tmp_path)) == 5, "another kind"
        with closing(Scratch("x-", tmp_path)) as mine:
            left = set(tmp_path.iterdir()) - {mine.path}
            assert len(left) == 2
            assert left < there
        for process in (dead, living):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.read()  # to the child's end
    scratch._swept.clear()
    Scratch("x-", tmp_path).close()
    assert os.listdir(tmp_path) == []


def test_a_fork_removes_nothing_of_its_parents(tmp_path: Path) -> None:
    made = Scratch("x-", tmp_path)
    if not (child := os.fork()):
        made.close()
        os._exit(0)
    os.waitpid(child, 0)
    Scratch.sweep("x-", tmp_path)
    assert made.path.is_dir()
    made.close()
    assert os.listdir(tmp_path) == []


def test_what_is_not_known_to_be_of_a_dead_process_stays(tmp_path: Path) -> None:
    held = scratch._HELD
    (tmp_path / "x-other").mkdir(mode=0o700)  # another program's
    (tmp_path / "x-file").write_text("")
    (tmp_path / "x-open").mkdir()
    (tmp_path / "x-open" / held).write_text("")
    (tmp_path / "x-open").chmod(0o755)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "elsewhere" / held).write_text("")
    (tmp_path / "x-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "x-inside").mkdir(mode=0o700)
    (tmp_path / "x-inside" / held).symlink_to(tmp_path / "elsewhere" / held)
    (tmp_path / "x-fifo").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "x-fifo" / held)
    before = sorted(tmp_path.rglob("*"))
    Scratch("x-", tmp_path).close()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "x-theirs"
    theirs.mkdir(mode=0o700)
    (theirs / scratch._HELD).write_text("")
    os.chown(theirs, 54321, -1)
    Scratch("x-", tmp_path).close()
    assert theirs.is_dir()


def test_one_that_is_taken_for_a_dead_ones_as_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = scratch._lock, list[Path]()

    def lock(path: Path, options: int = 0) -> int:
        fd = real(path, options)
        if options and not lost:  # another one's sweep was quicker
            lost.append(path.parent)
            os.close(fd)
            Scratch.sweep("x-", tmp_path)
            return -1
        return fd

    monkeypatch.setattr(scratch, "_lock", lock)
    with Scratch("x-", tmp_path) as path:
        assert lost
        assert os.listdir(tmp_path) == [path.name]


def test_one_is_not_locked_by_a_file_that_has_lost_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made, real = tmp_path / "held", os.O_CREAT | os.O_EXCL, fcntl.flock
    first = scratch._lock(path, made)
    assert first >= 0
    assert scratch._lock(path) == -1, "another has it"
    os.close(first)

    def flock(fd: int, how: int) -> None:
        path.unlink()
        path.write_text("another's")
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert scratch._lock(path) == -1


def test_what_a_daemon_makes_is_known_when_it_is_dead() -> None:
    with links._make_scratch() as path:
        assert (path / scratch._HELD).is_file()
    assert not path.exists()


def test_each_place_and_kind_is_looked_through_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(scratch, "_remove_dead", lambda path, end: looked.append(path))
    (tmp_path / "x-1").mkdir()
    (tmp_path / "z-1").mkdir()
    for prefix in ("x-", "x-", "y-"):
        Scratch(prefix, tmp_path).close()
    assert looked == [tmp_path / "x-1"]
