"""The watched folders of a project: armed one by one, and what their events say has changed.

Which folders those are an index run says.  Each is opened component by component, through no link,
and watched by its descriptor (TRUST-1).  A folder that comes while its parent is watched is armed
before it is looked into, so that what is made in it meanwhile is seen twice rather than never; the
next run says whether it stays.

Paths are relative to the root; a folder is "" or ends in "/", and stands for anything in it.
Not thread-safe: guarded by the watcher's lock.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cidx_ref.daemon import inotify
from cidx_ref.daemon.inotify import Event, Events
from cidx_ref.daemon.outside import Outside
from cidx_ref.daemon.relevance import PATTERN_FILES, Relevance
from cidx_ref.index.folders import Folders

__all__ = ["Changes", "NoEventsError", "WatchedTree"]

#: Entries that are looked at, in folders that are new, for one reading of events.
_MAX_LOOKED_AT = 50_000
_APPEARS = inotify.CREATE | inotify.MOVED_TO
_VANISHES = inotify.DELETE | inotify.MOVED_FROM
#: After so many watches that it has ended, the queue is read: the kernel tells each of them.
_REMOVED_AT_ONCE = 4096
_ROOT_LEAVES = inotify.DELETE_SELF | inotify.MOVE_SELF


class NoEventsError(Exception):
    """The project's directory is not where it was, or a file system in it is not there any more, or
    is of a kind that makes no events."""


@dataclass(slots=True)
class Changes:
    """What has changed: `paths` that may matter, by `events`; `is_overflown`: others may have."""

    paths: set[str] = field(default_factory=set)
    events: int = 0
    is_overflown: bool = False
    room: int = 0


class WatchedTree:
    """The armed folders below `root`."""

    def __init__(
        self,
        root: Path,
        events: Events,
        relevance: Relevance,
        outside: Outside,
        why_unseen: Callable[[Path], str | None] = lambda path: None,
    ) -> None:
        """`why_unseen` says why changes in a folder make no events; None if they do."""
        self._root = root
        self._events = events
        self._relevance = relevance
        self._why_unseen = why_unseen
        #: The file systems of armed folders.
        self._devices: set[int] = set()
        self._unread: deque[Event] = deque()
        self._removed = 0
        self._watches: dict[str, int] = {}
        # A folder that is mounted at two places has one watch.
        self._folders: dict[int, set[str]] = {}
        self._below: dict[str, set[str]] = {}
        #: Events were lost: a name may be another folder's now, which no watch is on.
        self._is_doubtful = False
        self.outside = outside

    def __len__(self) -> int:
        return len(self._watches)

    def folders(self) -> frozenset[str]:
        """Those that are armed."""
        return frozenset(self._watches)

    def look_outside(self) -> set[str]:
        """What has changed that no event tells of."""
        if not self.outside.has_changed():
            return set()
        self._relevance.forget()
        # A mount has the name of the folder that it hides.
        self._is_doubtful = self._is_doubtful or self.outside.is_remounted
        return {Outside.MARK}

    def arm(
        self,
        folders: Iterable[str],
        is_recent: Callable[[os.stat_result], bool],
        unwanted: Iterable[str],
    ) -> set[str]:
        """Arm `folders`, those above them, and git's; disarm the `unwanted`, if they are none of
        them.  Returns the newly armed whose status `is_recent`, and what decides about other files
        in them.

        Raises `OSError` where the system gives no more watches, and `NoEventsError`.
        """
        wanted = _with_those_above(folders)
        before = self._doubt() if self._is_doubtful else frozenset()
        for folder in unwanted:
            if folder not in wanted:
                self._disarm(folder)
        recent = set()
        with closing(self._open()) as open_folders:
            for folder in sorted(wanted - self._watches.keys()):  # each after those above it
                status = self._arm(open_folders, folder)
                if status is not None and is_recent(status):
                    recent.add(folder)
                if status is not None:
                    recent |= self._deciding(open_folders.at(folder), folder, is_recent)
        for watch in before - self._folders.keys():
            self._remove(watch)
        if before:  # what was read meanwhile was watched by nobody
            self._relevance.forget()
        return recent | self.outside.arm(self._events, is_recent, self._folders)

    def has_events(self) -> bool:
        """Whether there are any that `changes` has not looked at."""
        return bool(self._unread) or self._events.has_any()

    def changes(self, room: int = _MAX_LOOKED_AT) -> Changes:
        """What has changed by now, by all events that are there.  Raises as `arm` does.

        In folders that are new, as many entries are looked at as there is `room` for.
        """
        found = Changes(room=room)
        self._relevance.begin()
        self._unread += self._events.read()
        while self._unread:
            event = self._unread.popleft()
            found.events += 1
            if event.mask & inotify.OVERFLOW:
                found.is_overflown = self._is_doubtful = True
                self._relevance.forget()
                continue
            if event.mask & inotify.UNMOUNT:
                self._unmounted(event.watch, found)
                continue
            if event.watch in self.outside:
                self._take_git(event, found)
            if event.mask & inotify.IGNORED:
                self._gone(event.watch)
            else:
                for folder in tuple(self._folders.get(event.watch, ())):
                    self._take(folder, event, found)
        return found

    # Events.

    def _unmounted(self, watch: int, found: Changes) -> None:
        folders = self._folders.get(watch, set())
        if "" in folders:
            raise NoEventsError("the project's file system was unmounted")
        found.paths |= folders or {Outside.MARK}
        self._is_doubtful = True  # what it has hidden has the same names

    def _take_git(self, event: Event, found: Changes) -> None:
        changed = self.outside.changed_by(event, self._events, self._folders)
        if changed:
            self._relevance.forget()
            found.paths |= changed

    def _take(self, folder: str, event: Event, found: Changes) -> None:
        name, mask = event.name, event.mask
        comes_or_goes = bool(mask & (_APPEARS | _VANISHES))
        if not name:
            self._take_own(folder, mask, found)
        elif name == ".git":
            # The folder becomes a repository, or is none any more; a file names another one.
            if comes_or_goes or not mask & inotify.IS_FOLDER:
                self._relevance.forget()
                found.paths.add(folder)
                self.outside.drop(folder, self._events, self._folders)
                if folder and not mask & _VANISHES:
                    self.outside.add(folder)
        elif mask & inotify.IS_FOLDER:
            self._take_folder(folder, name, mask, found)
        elif self._relevance.may_matter(folder, name, is_written=not comes_or_goes):
            found.paths.add(folder + name)
            self._relevance.note(folder + name, is_gone=bool(mask & _VANISHES))

    def _take_own(self, folder: str, mask: int, found: Changes) -> None:
        """What has happened to `folder` itself; all but this the folder above it tells."""
        if not folder and mask & _ROOT_LEAVES:
            raise NoEventsError("the project's directory was moved or removed")
        if mask & inotify.ATTRIB:  # such as its permissions
            found.paths.add(folder)

    def _take_folder(self, above: str, name: str, mask: int, found: Changes) -> None:
        folder = f"{above}{name}/"
        is_armed = folder in self._watches
        if mask & (_APPEARS | _VANISHES):
            self._relevance.forget_folder(folder)
        if mask & _VANISHES:
            if is_armed:
                self._disarm_all(folder)
                found.paths.add(folder)
        elif is_armed and mask & inotify.ATTRIB:
            found.paths.add(folder)
        elif is_armed or self._relevance.may_enter(above, name):
            self._enter(folder, found)

    def _enter(self, folder: str, found: Changes) -> None:
        """Arm a folder that has come, and all below it; what is in them has changed."""
        todo = [folder]
        with closing(self._open()) as open_folders:
            while todo and found.room > 0:
                folder = todo.pop()
                before = self._watches.get(folder)
                status = self._arm(open_folders, folder)
                if status is None:
                    continue
                if before is not None and self._watches[folder] == before:
                    continue  # the event told of a folder that has been entered since
                todo += self._look_into(open_folders, folder, found)

    def _look_into(self, open_folders: Folders, folder: str, found: Changes) -> list[str]:
        """The folders in a new folder; of its files it is noted that they have changed."""
        inner: list[str] = []
        try:
            with os.scandir(open_folders.at(folder)) as entries:
                for entry in entries:
                    found.room -= 1
                    if found.room <= 0:
                        found.is_overflown = True
                        break
                    self._look_at(folder, entry, inner, found)
        except OSError as error:
            if error.errno in inotify.EXHAUSTED:
                raise
            found.paths.add(folder)
        return inner

    def _look_at(
        self, folder: str, entry: os.DirEntry[str], inner: list[str], found: Changes
    ) -> None:
        if entry.name == ".git":
            found.paths.add(folder)
            self.outside.add(folder)
        elif entry.is_dir(follow_symlinks=False):
            if self._relevance.may_enter(folder, entry.name):
                inner.append(f"{folder}{entry.name}/")
        elif self._relevance.may_matter(folder, entry.name):
            found.paths.add(folder + entry.name)
            self._relevance.note(folder + entry.name, is_gone=False)

    # Watches.

    def _doubt(self) -> frozenset[int]:
        """Know no folder any more; returns the watches, of which most will be the same again."""
        watches = frozenset(self._folders)
        self._watches.clear()
        self._folders.clear()
        self._below.clear()
        self.outside.disarm(self._events)
        self._is_doubtful = False
        return watches

    def _open(self) -> Folders:
        try:
            return Folders(self._root)
        except OSError as error:
            if error.errno in inotify.EXHAUSTED:
                raise
            raise NoEventsError("the project's directory cannot be opened") from None

    def _arm(self, open_folders: Folders, folder: str) -> os.stat_result | None:
        """Watch `folder`: its status, read after that; None where there is no such folder that can
        be opened.  Where one appears, or its permissions change, the folder above tells it."""
        try:
            descriptor = open_folders.at(folder)
            watch = self._events.add(descriptor)
            status = os.fstat(descriptor)
        except OSError as error:
            if error.errno in inotify.EXHAUSTED:
                raise
            return None
        if status.st_dev not in self._devices:
            if why := self._why_unseen(self._root / folder):
                raise NoEventsError(why)
            self._devices.add(status.st_dev)
        if self._watches.get(folder, watch) != watch:
            self._unname(folder)
        self._watches[folder] = watch
        self._folders.setdefault(watch, set()).add(folder)
        if folder:
            self._below.setdefault(_above(folder), set()).add(folder)
        return status

    def _deciding(
        self, descriptor: int, folder: str, is_recent: Callable[[os.stat_result], bool]
    ) -> set[str]:
        """Those files in a newly armed folder that decide about others and whose status
        `is_recent`: an edit leaves the folder's as it is.  The listing has looked at others later.
        """
        from cidx_ref.index.defaults import NEIGHBOURS

        names = os.listdir(descriptor)
        if folder and ".git" in names:
            self.outside.add(folder)
        found = set()
        for name in names:
            if name not in PATTERN_FILES and name not in NEIGHBOURS:
                continue
            with suppress(FileNotFoundError):
                if is_recent(os.stat(name, dir_fd=descriptor, follow_symlinks=False)):
                    found.add(folder + name)
        return found

    def _disarm_all(self, folder: str) -> None:
        """Disarm `folder` and all below it."""
        self._disarm_below(folder)
        self._disarm(folder)

    def _disarm_below(self, folder: str) -> None:
        todo = list(self._below.get(folder, ()))
        while todo:
            folder = todo.pop()
            todo += self._below.get(folder, ())
            self._disarm(folder)

    def _disarm(self, folder: str) -> None:
        if folder in self._watches:
            watch = self._watches[folder]
            self._unname(folder)
            if watch not in self._folders and watch not in self.outside:
                self._remove(watch)

    def _remove(self, watch: int) -> None:
        self._events.remove(watch)
        self._removed += 1
        if self._removed % _REMOVED_AT_ONCE == 0:
            self._unread += self._events.read()

    def _unname(self, folder: str) -> None:
        watch = self._watches.pop(folder)
        if folder:
            self.outside.drop(folder, self._events, self._folders)
        names = self._folders[watch]
        names.discard(folder)
        if not names:
            del self._folders[watch]
        siblings = self._below.get(_above(folder))
        if folder and siblings is not None:
            siblings.discard(folder)
            if not siblings:
                del self._below[_above(folder)]

    def _gone(self, watch: int) -> None:
        """The kernel has ended a watch; after `_disarm` it is known no more."""
        for folder in tuple(self._folders.get(watch, ())):
            self._unname(folder)


def _above(folder: str) -> str:
    return folder[: folder[:-1].rfind("/") + 1]


def _with_those_above(folders: Iterable[str]) -> set[str]:
    found = {""}
    for folder in folders:
        while folder not in found:
            found.add(folder)
            folder = _above(folder)
    return found
