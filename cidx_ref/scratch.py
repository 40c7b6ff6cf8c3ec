"""Temporary directories that a `kill -9` does not leave for long: who makes one removes the dead.

In each lies a file that is locked while the process lives that has made the directory.  The kernel
takes the lock back, however a process ends, and its number may be another one's by then.  So a
directory of the user's own in which that file lies, and nobody has it locked, is of a dead one.
What has no such file is another program's, and stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Scratch"]

#: The file.  Were it locked by its directory's name, that name would have to be nobody else's.
_HELD = ".cidx-held"
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 100
#: Where this process has looked for the dead, and by which prefix.
_swept: set[tuple[str, str]] = set()
#: The locks of this process.
_locks: set[int] = set()

#: What is to be done with a dead one's directory before it is removed.
End = Callable[[Path], object]


def _let_go() -> None:
    """Close them in a fork, which would hold them for as long as it lives."""
    while _locks:
        _close(_locks.pop())


os.register_at_fork(after_in_child=_let_go)


class Scratch:
    """A new directory, for the user alone and of this process, until `close`, or the end of the
    block, which is given its path."""

    def __init__(
        self, prefix: str, where: Path | str | None = None, *, end: End = lambda path: None
    ) -> None:
        """Its name begins with `prefix`, and it lies below `where` (default: the directory for
        temporary files).  Those of dead processes of that kind are removed, once for this process,
        and `end` is called with each before.  Raises `OSError`."""
        place = os.path.abspath(tempfile.gettempdir() if where is None else where)  # noqa: PTH100
        if (prefix, place) not in _swept:
            _swept.add((prefix, place))
            self.sweep(prefix, place, end)
        self._owner = os.getpid()
        for _ in range(_TRIES):
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            try:
                self._lock = _lock(self.path / _HELD, os.O_CREAT | os.O_EXCL)
            except OSError:  # where nothing can be locked, nothing may be swept
                (self.path / _HELD).unlink(missing_ok=True)
                self._lock = -1
                return
            if self._lock >= 0:  # else another process took it for a dead one's
                _locks.add(self._lock)
                return
        raise FileExistsError(17, "no temporary directory stays", place)

    @staticmethod
    def sweep(prefix: str, place: Path | str, end: End = lambda path: None) -> None:
        """Remove what dead processes have left at `place`, by its name's `prefix`."""
        with suppress(OSError):
            for name in os.listdir(place):
                if name.startswith(prefix):
                    with suppress(OSError):
                        _remove_dead(Path(place, name), end)

    def close(self) -> None:
        """Remove it, and all that lies in it, as far as possible; doing so twice does nothing, nor
        does a fork."""
        if self._owner == os.getpid():
            _remove(self.path)  # who is interrupted here may try again
            self._owner = 0
            self.release()

    def release(self) -> None:
        """Let go of it, as the end of the process does."""
        if self._lock in _locks:
            _locks.remove(self._lock)
            _close(self._lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()


def _close(lock: int) -> None:
    with suppress(OSError):  # all files may have been closed
        os.close(lock)


def _lock(path: Path, options: int = 0) -> int:
    """A descriptor that has the file locked; -1 where another has, or it is not there any more."""
    try:
        fd = os.open(path, _OPEN | options, 0o600)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and os.path.samestat(found, path.lstat()):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return -1


def _remove_dead(path: Path, end: End) -> None:
    """Raises `OSError` where it is not ours, or is somebody's."""
    found = path.lstat()  # a link is open to all
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        return
    if (lock := _lock(path / _HELD)) >= 0:
        try:
            end(path)
            _remove(path)
        finally:
            os.close(lock)


def _remove(path: Path) -> None:
    # More than once, because a thread of an engine's may be making a file in it, for a moment.
    for _ in range(_TRIES):
        with suppress(OSError, RecursionError):
            # The file last: who is killed meanwhile leaves what can be told.
            for name in sorted(os.listdir(path), key=_HELD.__eq__):
                _remove_entry(path / name)
            path.rmdir()
        if not path.exists():
            return


def _remove_entry(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
