"""What an answer says of how fresh it is, and what scans and hits believe of files (FRESH-1 to
FRESH-3, QRY-1, TRUST-2)."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cidx_ref.config import Config
from cidx_ref.errors import BusyError
from cidx_ref.index.seen import Seen, SeenFiles
from cidx_ref.index.stale import Staleness
from cidx_ref.keys import Key
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.own.inside.examples import examples
from cidx_ref.testing.own.told import Desk, ToldWatch

__all__ = ["CHECKS"]

# Answers of a service over an index that is nothing but names.


def _asked(root: Path) -> Desk:
    """A service whose watch knows that all is fresh, and that was asked before."""
    watch = ToldWatch()
    desk = Desk(Project.at(root), watch)
    desk.ask()
    watch.fresh, watch.known = True, 0
    return desk


def _nobody_knows(root: Path) -> None:
    """Where nothing is watched, nobody knows how many files have changed."""
    pending = Desk(Project.at(root)).ask()["pending"]
    assert pending is None, f"nobody looks, and {pending} files are said to have changed"


def _a_run_that_fails(root: Path) -> None:
    """After a run that failed no answer is said to be fresh."""
    desk = Desk(Project.at(root))
    with patch.object(desk.index, "begin_run", side_effect=BusyError("another one writes")):
        answer = desk.ask(fresh=True)
    assert answer["fresh"] is False, "the run has failed, and the answer is fresh, it says"


def _put_in_its_place(root: Path) -> None:
    """Of a generation that was put in the place of the last run's nothing is known."""
    desk = _asked(root)
    desk.index.live = "g1"
    old = desk.ask()
    assert old["pending"] is None, "of a generation of nobody's it knows what has changed since"
    new = desk.ask(fresh=True)
    assert new["generation"] != "g1", "an answer from a generation of nobody's is fresh, it says"


class _Doubting(ToldWatch):
    """All is fresh, until there is a doubt; and after a run."""

    def doubt(self) -> None:
        super().doubt()
        self.fresh = False

    def done(self, ok: bool) -> None:
        super().done(ok)
        self.fresh = ok


def _another_configuration(root: Path) -> None:
    """Once another part of the files is to be indexed, nothing is fresh without a run."""
    watch = _Doubting()
    project = Project.at(root)
    desk = Desk(project, watch)
    desk.ask()
    watch.fresh = True
    scans = desk.index.scans
    Config.init(project, exclude=["left.py"])
    desk.ask(fresh=True)
    assert desk.index.scans > scans, "files are excluded now, and no run was made"


# What hits say of their files.


class _Later(Runtime):
    """By its clock, what was just written was written a while ago."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=10)


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _changed_in_secret(root: Path) -> None:
    """A file that has its old size and time of modification is not taken for what it was."""
    path, text = root / "a.py", b"as it was\n"
    path.write_bytes(text)
    before = path.stat()
    staleness = Staleness(root, _Later())

    def is_stale() -> bool:
        hits: list[dict[str, Any]] = [{"path": "a.py"}]
        staleness.mark(hits, [_digest(text)])
        return bool(hits[0].get("stale"))

    assert not is_stale(), "a file that is as it was indexed is stale, it says"
    path.write_bytes(b"As it was\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_stale(), "a file with another text, and its old time, is not said to be stale"


# What a scan believes of an earlier one.

_KEY = Key(b"k" * 32)
_SEEN = Seen("0123456789abcdef" * 2)
_TICK_NS = 4_000_000  # of the clock that files get their times from


def _scanned(root: Path, *, is_old: bool) -> Project:
    """A project with a file that a scan has seen, which was as old as any then, or new."""
    project = Project.at(root)
    project.create_directory()
    path = root / "a.py"
    path.write_bytes(b"a = 1\n")
    if is_old:
        _make_old(path)
    files = _load(project)
    files.put("a.py", path.stat(), _SEEN)
    files.save(project, _KEY)
    return project


def _make_old(path: Path) -> None:
    """Wait until the clock of the file system has moved on: its ctime cannot be set."""
    probe = path.with_name(".clock")
    probe.touch()
    while probe.stat().st_mtime_ns <= path.stat().st_ctime_ns + 10 * _TICK_NS:
        os.utime(probe)
    probe.unlink()


def _load(project: Project, key: Key = _KEY) -> SeenFiles:
    return SeenFiles.load(project, key, recipe="rules")


def _known(project: Project, key: Key = _KEY) -> Seen | None:
    return _load(project, key).get("a.py", (project.root / "a.py").stat())


def _written_at_once(root: Path) -> None:
    """A file that was written in the moment of a scan is read again by the next one."""
    clock = [1_000 * _TICK_NS]

    class Status:
        st_size, st_ino, st_dev = 5, 1, 7

        def __init__(self) -> None:
            self.st_mtime_ns = self.st_ctime_ns = clock[0]

    first = SeenFiles("rules", clock[0], 7)
    status: Any = Status()
    first.put("a.py", status, _SEEN)  # and within the same tick, it is written once more
    second = SeenFiles("rules", clock[0] + 100 * _TICK_NS, 7)
    second._rows = dict(first._kept)
    found = second.get("a.py", status)
    assert found is None, "a file that was written in the moment of a scan is taken for unchanged"


def _mtime_put_back(root: Path) -> None:
    """A file whose time of modification was put back is read again."""
    project = _scanned(root, is_old=True)
    path = root / "a.py"
    before = path.stat()
    path.write_text("b = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    _make_old(path)
    assert _known(project) is None, "an edit that puts the time back is not seen"


def _of_another_account(root: Path) -> None:
    """What another account wrote down of files is not believed."""
    project = _scanned(root, is_old=True)
    assert _known(project) == _SEEN, "what was seen is not known to the next scan"
    assert _known(project, Key(b"x" * 32)) is None, "another account's word is believed"


CHECKS: tuple[Check, ...] = (
    examples("own-pending", "FRESH-1", _nobody_knows),
    examples(
        "own-fresh-answers",
        "FRESH-2",
        *(_a_run_that_fails, _put_in_its_place, _another_configuration),
    ),
    examples("own-stale-hits", "FRESH-3", _changed_in_secret),
    examples("own-scans", "QRY-1", _written_at_once, _mtime_put_back),
    examples("own-scans-trust", "TRUST-2", _of_another_account),
)
