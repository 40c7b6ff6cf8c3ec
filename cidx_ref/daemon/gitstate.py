"""What of the git directory decides which files belong: the index, HEAD, `info/exclude`.

git rewrites its index at each `git status`, which changes no listing: so the number of its entries
is compared, and HEAD.  The git directory is opened as a listing opens it, and no link in it is
followed.  What a linked worktree shares with others (`info/exclude`) is not watched.
"""

from __future__ import annotations

import os
from pathlib import Path

from cidx_ref.daemon import inotify
from cidx_ref.daemon.inotify import Event, Events
from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index.folders import read_regular

__all__ = ["GitState"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HEADER_BYTES = 12  # of an index: "DIRC", the version, the number of entries
_MAX_HEAD_BYTES = 4096
_TOLD = frozenset(("index", "HEAD"))
_LOCK_S = 10.0  # a lock that is older may have been left behind


class GitState:
    """The git directory of the checkout at `root`, if there is one.  Not thread-safe."""

    #: What a change of it is called among paths.
    MARK = ".git/"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._state: tuple[bytes, bytes] | None = None
        #: The numbers of its watches, and of each whether it is on `info`.
        self.watches: dict[int, bool] = {}

    def look(self) -> None:
        """A run is about to list: what changes from now on, has changed."""
        self._state = self._read()

    def arm(self, events: Events) -> bool:
        """Watch it, if it can be watched and is not yet: True if it is watched from now on.

        Raises `OSError` if the system has no watches left.
        """
        if self.watches:
            return False
        try:
            with self._open() as own:
                self.watches[events.add(own.fd)] = False
                info = os.open("info", _OPEN_DIRECTORY, dir_fd=own.fd)
                try:
                    self.watches[events.add(info)] = True
                finally:
                    os.close(info)
        except UntrustedError:
            pass
        except OSError as error:
            if error.errno in inotify.EXHAUSTED:
                raise
        return bool(self.watches)

    def disarm(self, events: Events) -> None:
        """`.git` is another one now, or gone."""
        for watch in self.watches:
            events.remove(watch)
        self.watches.clear()

    def has_changed(self, event: Event | None = None) -> bool:
        """Whether what it decides may have changed since `look`, as `event` in it tells."""
        if event is None:
            return self._read() != self._state
        if event.mask & inotify.IGNORED:
            del self.watches[event.watch]
            return False
        if self.watches[event.watch]:
            return event.name == "exclude"
        return event.name in _TOLD and self._read() != self._state

    def is_locked(self, wall_s: float) -> bool:
        """Whether git is about to write its index, as it is during a checkout, by the wall clock
        `wall_s`."""
        try:
            with self._open() as own:
                status = own.status("index.lock")
        except (OSError, UntrustedError):
            return False
        return status is not None and abs(wall_s - status.st_mtime) < _LOCK_S

    def _read(self) -> tuple[bytes, bytes] | None:
        try:
            with self._open() as own:
                header = _read(own, "index", _HEADER_BYTES)[:_HEADER_BYTES]
                return header[8:], _read(own, "HEAD", _MAX_HEAD_BYTES)
        except (OSError, UntrustedError):
            return None

    def _open(self) -> Directory:
        from cidx_ref.index.git import open_git_directory

        with Directory.open(self._root) as above:
            found = above.status(".git")
            if found is None:
                raise FileNotFoundError
            own = open_git_directory(above)
            try:
                # As a listing has it: somebody else's is not looked into.
                if os.fstat(own.fd).st_uid not in (os.geteuid(), os.fstat(above.fd).st_uid):
                    raise UntrustedError("the git directory is another user's")
            except BaseException:
                own.close()
                raise
            return own


def _read(directory: Directory, name: str, max_bytes: int) -> bytes:
    try:
        return read_regular(directory.fd, name, max_bytes) or b""
    except FileNotFoundError:
        return b""
