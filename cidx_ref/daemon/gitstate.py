"""What of a git directory decides which files belong: the index, HEAD, `info/exclude`.

The git directory is opened as a listing opens it, and no link in it is followed; what a linked
worktree shares with others (`info/exclude`) is in another one.  Both are watched.  Of the index
that counts which a listing tells (`gitindex`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cidx_ref.daemon import inotify
from cidx_ref.daemon.gitindex import what_it_lists
from cidx_ref.daemon.inotify import Event, Events
from cidx_ref.daemon.looked import LookedAt
from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GitState"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_INDEX_BYTES = 1 << 24  # some 150,000 files, which take a tenth of a second
_OWN = frozenset(("index", "HEAD", "commondir", "info"))
_SHARED, _INFO = frozenset(("info",)), frozenset(("exclude",))
#: What else is to be watched has changed.
_PLACES = frozenset(("commondir", "info"))
_LOCK_S = 10.0  # a lock that is older may have been left behind


class GitState:
    """The git directory of one checkout.  Not thread-safe: guarded by the watcher's lock."""

    def __init__(
        self, open_top: Callable[[], Directory], looked: LookedAt, trusted: Collection[int]
    ) -> None:
        """`open_top` opens the checkout; the directories must belong to one of `trusted`."""
        self._open_top = open_top
        self._looked = looked
        self._trusted = trusted
        self._state: Hashable = None
        self._has_looked = False
        #: The numbers of its watches, and the names in each of what tells of a change.
        self.watches: dict[int, frozenset[str]] = {}

    def look(self) -> None:
        """A run is about to list: what changes from now on, has changed."""
        self._state = self._read()
        self._has_looked = True

    def arm(self, events: Events) -> None:
        """Watch what can be watched of it.  Raises `OSError` if the system has no watches left."""
        self.watches = {}
        try:
            with self._open() as (own, shared):
                self._watch(events, own.fd, _OWN)
                self._watch(events, shared.fd, _SHARED)
                with _info(shared) as info:
                    self._watch(events, info.fd, _INFO)
        except UntrustedError:
            pass
        except OSError as error:
            if error.errno in inotify.EXHAUSTED:
                raise

    def has_changed(self, is_recent: Callable[[os.stat_result], bool] | None = None) -> bool:
        """Whether what it decides may have changed since `look`; or, where nobody has looked, while
        that `is_recent`."""
        if self._has_looked or is_recent is None:
            return self._read() != self._state
        try:
            with self._open() as (own, shared):
                found = [own.status("index"), own.status("HEAD"), shared.status("info")]
                with suppress(OSError), _info(shared) as info:
                    found.append(info.status("exclude"))
        except (OSError, UntrustedError):
            return False  # the listing has had nothing of it either
        finally:
            self.look()
        return any(each is not None and is_recent(each) for each in found)

    def is_told(self, event: Event, events: Events, *, in_doubt: bool) -> bool:
        """Whether `event` in one of the watched tells of a change.  `in_doubt`: a run is listing,
        perhaps, and may have seen what was there for a moment."""
        if event.name not in self.watches.get(event.watch, ()):
            return False
        if event.name in _PLACES:
            self.arm(events)
        return in_doubt or self.has_changed()

    def is_locked(self, wall_s: float) -> bool:
        """Whether git is about to write its index, as it is during a checkout, by the wall clock
        `wall_s`."""
        try:
            with self._open() as (own, _):
                status = own.status("index.lock")
        except (OSError, UntrustedError):
            return False
        return status is not None and abs(wall_s - status.st_mtime) < _LOCK_S

    def _watch(self, events: Events, folder: int, names: frozenset[str]) -> None:
        watch = events.add(folder)
        self.watches[watch] = self.watches.get(watch, frozenset()) | names

    def _read(self) -> Hashable:
        try:
            with self._open() as (own, shared):
                at = self._looked.at
                place = str(own.path)
                index = at(place, "index", folder=own.fd, most=_MAX_INDEX_BYTES, make=what_it_lists)
                head = at(place, "HEAD", folder=own.fd)
                try:
                    with _info(shared) as info:
                        return index, head, at(str(info.path), "exclude", folder=info.fd)
                except OSError as error:
                    return index, head, error.errno
        except UntrustedError as error:
            return str(error)
        except OSError as error:
            return error.errno

    @contextmanager
    def _open(self) -> Iterator[tuple[Directory, Directory]]:
        """Its own directory, and the one that it shares with others, if it does; else the same."""
        from cidx_ref.index.gitdir import open_git_directory, open_shared_directory

        with self._open_top() as above:
            if above.status(".git") is None:
                raise FileNotFoundError
            with open_git_directory(above) as own:
                self._require_owner(own)
                with open_shared_directory(own) as shared:
                    self._require_owner(shared)
                    yield own, shared

    def _require_owner(self, directory: Directory) -> None:
        # As a listing has it: somebody else's is not looked into.
        if os.fstat(directory.fd).st_uid not in self._trusted:
            raise UntrustedError("the git directory is another user's")


def _info(shared: Directory) -> Directory:
    descriptor = os.open("info", _OPEN_DIRECTORY, dir_fd=shared.fd)
    return Directory(descriptor, shared.path / "info")
