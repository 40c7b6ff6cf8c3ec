"""What decides which files belong from outside of the watched folders.

Watched are the git directories: of the checkout that the project is, or is a folder of, and of the
repositories in watched folders.  All else is few and changes seldom, and is looked at: before each
run, when somebody wants an answer fresh, and now and then while the index is used:

-   what lies in the folders above the project: `.git`, and the `.gitignore` files of its checkout;
-   the user's own configuration of git, what it includes, and the file of patterns that it names;
-   which file systems are mounted in the project: a mount makes no event.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Hashable, Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cidx_ref.daemon.gitstate import GitState
from cidx_ref.daemon.inotify import IGNORED, Event, Events
from cidx_ref.daemon.looked import LookedAt, digest
from cidx_ref.files import Directory
from cidx_ref.index.folders import Folders
from cidx_ref.runtime import Runtime

__all__ = ["Outside"]

_MOUNTS = Path("/proc/self/mountinfo")
_SYSTEM_CONFIG = "/etc/gitconfig"
_MAX_CONFIGS = 64
#: In the list of mounts a path has these written as octal numbers.
_ESCAPES = str.maketrans({" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"})


class Outside:
    """What there is of that.  A folder is "" or ends in "/"; "" stands for the checkout that the
    project is, or is a folder of.  Not thread-safe: guarded by the watcher's lock."""

    #: What a change of it is called among paths; of a repository inside, after its folder.
    MARK = ".git/"

    def __init__(self, root: Path, runtime: Runtime) -> None:
        self._root = root
        self._real = os.path.realpath(root)
        self._looked = LookedAt(runtime)
        self._repositories: dict[str, GitState] = {}
        #: Which of them a watch is for: a linked worktree shares a directory with others.
        self._watches: dict[int, set[str]] = {}
        self._unarmed: set[str] = set()
        self._top: Path | None = None
        self._seen: tuple[Hashable, ...] | None = None
        #: By the last look, other file systems are mounted in the project.
        self.is_remounted = False
        #: A run may be listing.
        self._is_listing = False

    def look(self) -> None:
        """A run is about to list: what changes from now on, has changed."""
        top = self._find_top()
        if "" not in self._repositories or top != self._top:
            self._top = top
            self.add("")
        self._seen = self._read()
        for repository in self._repositories.values():
            repository.look()
        self._is_listing = True

    def listed(self) -> None:
        """The run has listed, and what has happened meanwhile is known."""
        self._is_listing = False

    def has_changed(self) -> bool:
        """Whether anything that is not watched has changed since `look`."""
        now = self._read()
        self.is_remounted = self._seen is not None and now[-1] != self._seen[-1]
        return now != self._seen

    # Of the git directories.

    def __contains__(self, watch: int) -> bool:
        return watch in self._watches

    def add(self, folder: str) -> None:
        """`folder` is the top of a repository now, or of another one."""
        repository = GitState(
            lambda: self._open(folder), self._looked, (os.geteuid(), self._owner())
        )
        if folder in self._repositories:  # what it had watched goes when the new one is armed
            repository.watches = self._repositories[folder].watches
        self._repositories[folder] = repository
        self._unarmed.add(folder)

    def drop(self, folder: str, events: Events, used: Container[int] = ()) -> None:
        """`folder` is none any more.  Watches that are `used` otherwise stay."""
        repository = self._repositories.pop(folder, None)
        if repository is not None:
            self._unarmed.discard(folder)
            self._forget(folder, repository.watches, events, used)

    def disarm(self, events: Events) -> None:
        """Give the watches back; those inside are found again where their folders are armed."""
        for folder in [*self._repositories]:
            if folder:
                self.drop(folder, events)
        if (own := self._repositories.get("")) is not None:
            self._forget("", own.watches, events, ())
            own.watches = {}
            self._unarmed.add("")

    def arm(
        self, events: Events, is_recent: Callable[[os.stat_result], bool], used: Container[int] = ()
    ) -> set[str]:
        """Watch those that are not watched yet; the marks of those that have changed since `look`,
        or, being new, while that `is_recent`.  Raises `OSError` if the system has no watches left.
        """
        changed = set()
        while self._unarmed:
            folder = self._unarmed.pop()
            repository = self._repositories[folder]
            self._arm(folder, events, used)
            if repository.has_changed(is_recent if folder else None):
                changed.add(folder + self.MARK)
        return changed

    def changed_by(self, event: Event, events: Events, used: Container[int] = ()) -> set[str]:
        """The marks of those that have changed by an event in what they watch."""
        changed = set()
        for folder in tuple(self._watches.get(event.watch, ())):
            repository = self._repositories[folder]
            if event.mask & IGNORED:  # the kernel has ended it
                repository.watches.pop(event.watch, None)
                continue
            before = repository.watches
            if repository.is_told(event, events, in_doubt=self._is_listing):
                changed.add(folder + self.MARK)
            self._note(folder, before, events, used)
        if event.mask & IGNORED:
            self._watches.pop(event.watch, None)
        return changed

    def is_locked(self, wall_s: float) -> bool:
        """See `GitState.is_locked`, of the project's own."""
        own = self._repositories.get("")
        return own is not None and own.is_locked(wall_s)

    def _arm(self, folder: str, events: Events, used: Container[int]) -> None:
        before = self._repositories[folder].watches
        try:
            self._repositories[folder].arm(events)
        finally:
            self._note(folder, before, events, used)

    def _note(
        self, folder: str, before: Iterable[int], events: Events, used: Container[int]
    ) -> None:
        """Note which watches `folder` has now, and give back what it had `before`."""
        now = self._repositories[folder].watches
        for watch in now:
            self._watches.setdefault(watch, set()).add(folder)
        self._forget(folder, [watch for watch in before if watch not in now], events, used)

    def _forget(
        self, folder: str, watches: Iterable[int], events: Events, used: Container[int]
    ) -> None:
        for watch in watches:
            folders = self._watches.get(watch, set())
            folders.discard(folder)
            if not folders and self._watches.pop(watch, None) is not None and watch not in used:
                events.remove(watch)

    def _open(self, folder: str) -> Directory:
        if not folder:
            return Directory.open(self._top or self._root)
        with closing(Folders(self._root)) as folders:
            return Directory(os.dup(folders.at(folder)), self._root / folder)

    def _owner(self) -> int:
        with suppress(OSError):
            return self._root.stat().st_uid
        return os.geteuid()

    # What is looked at.

    def _find_top(self) -> Path | None:
        """As a listing finds it."""
        above = (self._root, *self._root.parents)
        return next((each for each in above if os.path.lexists(each / ".git")), None)

    def _read(self) -> tuple[Hashable, ...]:
        return self._above(), self._users_own(), self._mounts()

    def _above(self) -> Hashable:
        """What decides in the folders above the project, up to the top of its checkout."""
        found: list[Hashable] = []
        for folder in (self._root, *self._root.parents):
            if folder != self._root:
                found.append(self._looked.at(f"{folder}/.gitignore"))
            try:
                git = os.lstat(folder / ".git")
            except OSError:
                continue
            if folder != self._root:  # whose own the watch on it tells
                found.append((str(folder), git.st_dev, git.st_ino))
            break
        else:
            return ()  # the project is in no checkout, where nobody reads these
        return tuple(found)

    def _users_own(self) -> Hashable:
        found: dict[str, Hashable] = {}
        todo = _configurations()
        while todo and len(found) < _MAX_CONFIGS:
            path = todo.pop()
            if path in found:
                continue
            read = self._looked.at(path, follow=True, make=partial(_named, path))
            found[path] = read
            if isinstance(read, _Named):
                todo += read.paths
        return tuple(found.items())

    def _mounts(self) -> Hashable:
        point = self._real.translate(_ESCAPES)
        try:
            text = _MOUNTS.read_text("utf-8", "surrogateescape")
        except OSError:
            return None
        if point not in text:
            return ()
        lines = text.splitlines()
        return tuple(line for line in lines if f"{line.split(' ', 5)[4]}/".startswith(f"{point}/"))


class _Named(NamedTuple):
    """What a file holds, and the files that it names, should it be a configuration of git."""

    held: bytes
    paths: tuple[str, ...]


def _configurations() -> list[str]:
    """Where git looks for the user's configuration, and for their patterns."""
    get = os.environ.get
    home = get("HOME", "")
    xdg = get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    found = [f"{xdg}/git/ignore", get("GIT_CONFIG_GLOBAL", ""), get("GIT_CONFIG_SYSTEM", "")]
    found += [f"{xdg}/git/config", f"{home}/.gitconfig" if home else "", _SYSTEM_CONFIG]
    return [path for path in found if path.startswith("/")]


def _named(at: str, data: bytes) -> _Named:
    """What the file `at` holds.  What it names is read more widely than git does: a file too many
    costs a run when it changes."""
    paths = []
    for line in data.splitlines():
        name, _, value = line.partition(b"=")
        if name.rpartition(b"]")[2].strip().lower() not in (b"excludesfile", b"path"):
            continue
        plain = value.split(b" #")[0].split(b" ;")[0].strip().strip(b'"')
        if not plain or b"\0" in plain:
            continue
        with suppress(RuntimeError):  # the home of somebody who is not known
            paths.append(str(Path(at).parent / Path(os.fsdecode(plain)).expanduser()))
    return _Named(digest(data), tuple(paths[:_MAX_CONFIGS]))
