"""Temporary directories of a process's own, and what becomes of those that a killed one left.

A process holds a lock on each that it has made, and the system lets go of that with the process,
whatever ended it.  So one that is marked as the kit's, is this user's, and is not locked belongs to
nobody any more: `sweep` ends what still runs for it, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cidx_ref.testing.conformance.processes import Household

__all__ = ["BENCH", "RUN", "Home", "short", "sweep"]

#: Of a run, and of a bench: what `mkdtemp` makes of these.
RUN, BENCH = "cidx-verify-", "k"
_NAME = re.compile(f"({RUN}|{BENCH})[a-z0-9_]{{8}}")
#: It says that a directory is the kit's, and that whose it is has locked it.
_MARK = ".cidx-kit"
#: So that a socket's path has room for what a target puts below it.
_MAX_CHARS = 40

#: The locks of this process.
_held: set[int] = set()


def _let_go() -> None:
    """Close them in a fork, which would hold them for as long as it lives."""
    while _held:
        _close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


class Home:
    """A directory of this process's own, until it is removed."""

    def __init__(self, prefix: str, parent: Path | str | None = None) -> None:
        """Raises `OSError`."""
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
        self._lock = _open(self.path)
        _held.add(self._lock)
        with suppress(OSError):  # where nothing can be locked, nothing is marked, nor swept
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self.path / _MARK).touch()

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of it, as the end of the process does."""
        if self._lock in _held:
            _held.remove(self._lock)
            _close(self._lock)


def _close(lock: int) -> None:
    with suppress(OSError):  # a check may have closed all files
        os.close(lock)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def short() -> str:
    """Where sockets' paths have room: the temporary directory, if its own path is no long one."""
    default = tempfile.gettempdir()
    return default if len(default) <= _MAX_CHARS or not os.access("/tmp", os.W_OK) else "/tmp"


def sweep(places: Iterable[Path | str] | None = None) -> None:
    """End and remove what processes of this user have left that were killed."""
    for place in {tempfile.gettempdir(), short()} if places is None else places:
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    with suppress(OSError):
                        _sweep(Path(entry.path))


def _sweep(path: Path) -> None:
    """Raises `OSError` where it is not ours, or is somebody's."""
    lock = _open(path)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            return
        os.stat(_MARK, dir_fd=lock, follow_symlinks=False)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place = path.resolve()
        Household(place, place).end()
        shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(lock)
