"""Watchers that are turned by hand, on a clock that stands still.

Their events are whoever turns them's own, or the kernel's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cidx_ref.daemon import inotify
from cidx_ref.daemon.inotify import Event, Inotify
from cidx_ref.daemon.watch import Watch
from cidx_ref.daemon.watching import Session
from cidx_ref.index.belongs import Rules
from cidx_ref.index.scan import BINARY, TOO_LARGE, Listing, SourceFile, SourceTree, list_files
from cidx_ref.index.watched import watched_folders
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.testing.clock import FakeRuntime

__all__ = [
    "HOUR_S", "MAX_BYTES", "Bench", "FakeEvents", "Listed", "Parked", "Still", "files_of",
    "folders_of", "git",
]  # fmt: skip

HOUR_S = 3600.0
#: A file that is larger is not read.
MAX_BYTES = 1 << 20


class Parked:
    """A thread that was asked for, and does nothing."""

    name, ident = "parked", -1

    def is_alive(self) -> bool:
        return False

    def join(self, timeout: float | None = None) -> None:
        """It has ended."""


class Still(FakeRuntime):
    """A clock that stands still; the watcher's thread is the test, and a run is over at once."""

    def __init__(self, *, ahead_s: float = HOUR_S) -> None:
        """By the wall clock, the test's folders were made `ahead_s` ago."""
        super().__init__()
        self.step_wall_clock((SYSTEM.now() - self.now()).total_seconds() + ahead_s)

    def thread(self, target: Callable[[], object], name: str) -> Thread:
        if name == "watch run":
            target()
        return Parked()


class FakeEvents:
    """Events as the test says.  A folder is known by its path below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._numbers: dict[str, int] = {}
        self._queue: list[Event] = []
        self.armed: set[str] = set()
        self.removed: list[int] = []
        #: Raised instead of arming the folder.
        self.refused: dict[str, OSError] = {}
        self.on_add: Callable[[str], object] = lambda folder: None
        self.is_closed = False

    def add(self, folder: int) -> int:
        path = os.path.relpath(os.readlink(f"/proc/self/fd/{folder}"), self._root)
        name = "" if path == "." else f"{path}/"
        if name in self.refused:
            raise self.refused[name]
        self.on_add(name)
        self.armed.add(name)
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def remove(self, watch: int) -> None:
        self.removed.append(watch)
        self.armed -= {name for name, number in self._numbers.items() if number == watch}

    def has_any(self) -> bool:
        return bool(self._queue)

    def read(self) -> list[Event]:
        events, self._queue = self._queue, []
        return events

    def wait(self, timeout_s: float | None) -> None:
        raise AssertionError("nothing waits here")

    def wake(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.is_closed = True

    def emit(self, folder: str, name: str, mask: int = inotify.MODIFY) -> None:
        """Have something happen in a folder, if it is armed."""
        if folder in self.armed:
            self._queue.append(Event(self._numbers[folder], mask, name))

    def overflow(self) -> None:
        self._queue[:] = [Event(-1, inotify.OVERFLOW)]


def folders_of(root: Path) -> list[str]:
    """All folders but git's, as a listing names them."""
    found = []
    for above, names, _ in os.walk(root):
        names[:] = [name for name in names if name not in (".git", ".code-indexer")]
        path = os.path.relpath(above, root)
        found.append("" if path == "." else f"{path}/")
    return found


def files_of(root: Path) -> frozenset[str]:
    return frozenset(
        folder + name
        for folder in folders_of(root)
        for name in os.listdir(root / folder)
        if not (root / folder / name).is_dir()
    )


def git(root: Path, *arguments: str) -> None:
    """Run git in `root` with whatever is configured, which is what these tests are about."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(root), *arguments]
    subprocess.run(command, check=True, capture_output=True)


class Bench:
    """A watcher of `root`, and index runs that find whatever is there."""

    def __init__(
        self,
        root: Path,
        runtime: Any = None,
        *,
        real: bool = False,
        files: bool = True,
        **options: Any,
    ) -> None:
        self.root = root
        self.runtime = runtime or Still()
        self.events = FakeEvents(root)
        self.told: list[tuple[str, str]] = []
        self.runs = 0
        #: What happens in a run: before the listing, between it and the arming, after it.
        self.before: Callable[[], object] = lambda: None
        self.between: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None
        self.error: BaseException | None = None
        self.lists: Callable[[], list[str] | None] = lambda: folders_of(root)
        #: What is not listed.
        self.left: set[str] = set()
        self._knows_files = files
        self.watch = Watch(
            root,
            self.run,
            runtime=self.runtime,
            listener=lambda event, detail="", seconds=0.0: self.told.append((event, detail)),
            events=Inotify.open if real else self._open,
            **{"kind_of": lambda path: "ext4", **options},
        )

    def _open(self) -> FakeEvents:
        if self.events.is_closed:
            self.events = FakeEvents(self.root)
        return self.events

    def run(self) -> None:
        """An index run, as the daemon has it."""
        self.runs += 1
        ok = False
        self.before()
        self.watch.scanning()
        try:
            folders = self.lists()
            files = files_of(self.root) - self.left if self._knows_files else None
            self.between()
            if folders != ["none"]:
                self.watch.listed(folders, files)
            self.after()
            if self.error is not None:
                raise self.error
            ok = True
        finally:
            self.watch.done(ok)

    @property
    def session(self) -> Session:
        assert self.watch._session is not None
        return self.watch._session

    def dirty(self) -> set[str]:
        """What is dirty, by all that has happened until now."""
        self.watch.is_fresh()
        return self.session.dirty

    def turn(self) -> float | None:
        """One turn of the watcher's thread; for how long it would wait then."""
        wait_s = self.watch._turn(self.session)
        # A run wakes it.
        return self.watch._turn(self.session) if wait_s == 0.0 else wait_s

    def begin(self) -> Bench:
        """Watch, with the first run behind it."""
        self.watch.use()
        assert self.turn() is None
        assert self.watch.describe()["mode"] == "watching"
        return self

    def close(self) -> None:
        """As the thread does at its end."""
        session = self.watch._session
        self.watch.close()
        if session is not None:
            session.close()


class Listed(Bench):
    """A watcher of `root`, with runs that list as the index does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Still(), real=True)
        self._scratch = root.parent / f"{root.name}-scratch"
        #: What the last run has found.
        self.found: dict[str, Any] = {}
        self._left: dict[str, str] = {}
        self.tells_unread = True

    def list(self) -> Listing:
        self._scratch.mkdir()
        try:
            return list_files(self.root, self._scratch)
        finally:
            shutil.rmtree(self._scratch)

    def run(self) -> None:
        self.runs += 1
        ok = False
        self.watch.scanning()
        self._scratch.mkdir()
        try:
            listing = list_files(self.root, self._scratch)
            folders = watched_folders(self.root, self._scratch, listing, Rules())
            self.watch.listed(folders, listing.paths)
            self.between()
            self.found = self.content(listing)
            self.after()
            if self.tells_unread:
                self.watch.unread(self._unread())
            ok = True
        finally:
            shutil.rmtree(self._scratch)
            self.watch.done(ok)

    def _unread(self) -> dict[str, Any]:
        left: dict[str, list[str]] = {TOO_LARGE: [], BINARY: []}
        for path, reason in self._left.items():
            left.get(reason, []).append(path)
        return {"limit": MAX_BYTES, "large": left[TOO_LARGE], "binary": left[BINARY]}

    def content(self, listing: Listing | None = None) -> dict[str, Any]:
        """The files that an index would hold now."""
        listing = self.list() if listing is None else listing
        found, self._left = {}, {}
        with SourceTree(self.root) as tree:
            for path in listing.paths:
                file = tree.read(path, MAX_BYTES)
                if isinstance(file, SourceFile):
                    found[path] = file.digest, listing.exempt.get(path)
                else:
                    self._left[path] = file
        return found

    def forget_run(self) -> None:
        """Have a run that tells nothing of what it has skipped."""
        self.tells_unread = False
        self.run()

    def check(self) -> None:
        """Nothing has changed that is not known; and by a run, all of it is."""
        if self.watch.is_fresh():
            assert self.content() == self.found, "nothing is said to have changed"
        else:
            self.run()
            assert self.watch.is_fresh()
