"""Which changes may change the index: what starts a run, and what never does.

The watcher does not know all rules (`index.belongs` has them), and errs on one side only: a path of
which it is not sure starts a run.  None is started by

-   what can never belong, by its name: `.git`, `.code-indexer`, folders like `node_modules`;
-   a path that was not listed, and that the nearest `.gitignore` with a say plainly ignores;
-   a path that changed before a run looked, and was not listed: it is remembered, until it comes
    anew, or something changes that decides about other files, as files of patterns do;
-   a file that is written, and that the last run has skipped for its size, or as binary, while that
    is still so (a log that grows).

The last three take the listed files; where those are not known, such a path starts a run.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cidx_ref.index.folders import Folders
from cidx_ref.project import DIRECTORY
from cidx_ref.runtime import Runtime

if TYPE_CHECKING:
    from cidx_ref.index.walk import RuleFiles

__all__ = ["PATTERN_FILES", "Relevance"]

#: Files whose text decides about others.
PATTERN_FILES = frozenset(
    (".gitignore", ".gitattributes", ".cidxignore", ".gitmodules", "CACHEDIR.TAG")
)

_MAX_REMEMBERED = 10_000  # paths
_MAX_CHAINS = 5_000  # folders
_MAX_PATTERNS_BYTES = 1 << 16
_HEAD_BYTES = 4096
# Of one look at what has changed.  Patterns may be anybody's; the lock is held meanwhile.
_PATTERNS_S = 0.1


class Relevance:
    """What is known of one project's paths.  Not thread-safe: guarded by the watcher's lock."""

    def __init__(self, root: Path, runtime: Runtime, asks: Callable[[], bool]) -> None:
        """`asks`: whether the configuration asks for files that would be left out (`include`)."""
        self._root = root
        self._runtime = runtime
        self._asks = asks
        self._files: frozenset[str] | None = None
        self._sorted: list[str] = []
        self._outsiders: dict[str, None] = {}
        #: Names that were not listed, and have gone again: as of an editor's temporary files.
        self.fleeting: set[str] = set()
        self._chains: dict[str, _Chain] = {}  # by folder
        self._large: frozenset[str] = frozenset()  # what the last run has skipped
        self._binary: frozenset[str] = frozenset()
        self._limit = 0  # bytes, beyond which a file is too large
        #: Of those, what has been written since a run has listed.
        self._passed_over: set[str] = set()
        self._seen_now: dict[str, bool] = {}  # whether they still are so, in this look
        self._until = 0.0

    def begin(self) -> None:
        """Look at what has changed by now: patterns are tried for a while only."""
        self._until = self._runtime.monotonic() + _PATTERNS_S
        self._seen_now.clear()

    def listing(self, files: Collection[str] | None) -> None:
        """A run has listed these files; None: they are not known."""
        self._files = None if files is None else frozenset(files)  # each change is looked up
        self._sorted = sorted(files or ())
        self._passed_over.clear()  # it looks at them now
        if self._files is not None:
            self.fleeting -= self._files
            for path in self._files.intersection(self._outsiders):
                del self._outsiders[path]

    def forget(self) -> None:
        """Something has changed that decides about other files."""
        self._outsiders.clear()
        self._chains.clear()

    def forget_folder(self, folder: str) -> None:
        """`folder` comes or goes, with the patterns in it."""
        if folder in self._chains:  # which it is if one below it is
            self._chains.clear()

    def outside(self, paths: Iterable[str]) -> list[str]:
        """Those of `paths`, all changed before the last listing, that were not listed; one that was
        not there comes anew when it comes."""
        files = self._files
        if files is None:
            return []
        return sorted(path for path in paths if path not in files)[:_MAX_REMEMBERED]

    def remember(self, outsiders: Iterable[str]) -> None:
        """These do not belong, by a run that has looked at them."""
        for path in outsiders:
            self._outsiders[path] = None
        while len(self._outsiders) > _MAX_REMEMBERED:
            del self._outsiders[next(iter(self._outsiders))]

    def remember_unread(self, found: dict[str, Any]) -> set[str]:
        """A run has skipped these: see `indexing.Observer`.  Returns what was written while it took
        place, and was passed over for what an earlier one had said, which this one does not."""
        self._large = frozenset(found.get("large", ()))
        self._binary = frozenset(found.get("binary", ()))
        self._limit = found.get("limit", 0)
        return {path for path in self._passed_over if path not in self._large | self._binary}

    def may_matter(self, folder: str, name: str, *, is_written: bool = False) -> bool:
        """Whether the file `name` in `folder`, which has changed, may change the index.

        `is_written`: that it was there before, and still is, so that only its text has changed.
        """
        path = folder + name
        if name in PATTERN_FILES or (not is_written and _is_neighbour(name)):
            self.forget()
            return True
        if name == DIRECTORY:
            return False
        files = self._files
        if not is_written:  # what it was does not count
            self._outsiders.pop(path, None)
        if files is not None and path in files:
            return not (is_written and self._is_passed_over(folder, name))
        return path not in self._outsiders and not self._is_ignored(folder, name, is_folder=False)

    def _is_passed_over(self, folder: str, name: str) -> bool:
        """Whether a listed file that is written was skipped, and still would be."""
        path = folder + name
        if path not in self._large and path not in self._binary:
            return False
        if path not in self._seen_now:
            # Once in a look is enough: all that it hears of has happened by now.
            is_late = self._runtime.monotonic() >= self._until
            self._seen_now[path] = not is_late and self._is_unreadable(folder, name)
        if self._seen_now[path]:
            self._passed_over.add(path)
        return self._seen_now[path]

    def _is_unreadable(self, folder: str, name: str) -> bool:
        """Whether a file is surely too large, or surely binary, without reading much of it."""
        from cidx_ref.index.decode import is_surely_binary
        from cidx_ref.index.notebook import is_notebook

        try:
            with closing(Folders(self._root)) as folders:
                if folder + name in self._binary:
                    return is_surely_binary(folders.read(folder, name, _HEAD_BYTES) or b"")
                status = os.stat(name, dir_fd=folders.at(folder), follow_symlinks=False)
                return status.st_size > self._limit and not is_notebook(name)
        except OSError:
            return False

    def note(self, path: str, *, is_gone: bool) -> None:
        """The file at `path`, which may matter, has gone, or has changed otherwise."""
        if not is_gone or self._files is None or path in self._files:
            self.fleeting.discard(path)
        elif len(self.fleeting) < _MAX_REMEMBERED:
            self.fleeting.add(path)

    def may_enter(self, folder: str, name: str) -> bool:
        """Whether anything in the folder `name` in `folder` may belong to the index."""
        if name.lower() == ".git" or name == DIRECTORY:
            return False
        if self._is_on_the_way(f"{folder}{name}/"):
            return True
        from cidx_ref.index.defaults import why_named

        # By the name alone, so for good; unless somebody asks for it all the same.
        if why_named(folder, name):
            return self._asks() or self._chain(folder).may_ask
        return not self._is_ignored(folder, name, is_folder=True)

    def _is_on_the_way(self, folder: str) -> bool:
        """Whether anything in `folder` was listed, as what git tracks is, there or not."""
        place = bisect_left(self._sorted, folder)
        return place < len(self._sorted) and self._sorted[place].startswith(folder)

    def _is_ignored(self, folder: str, name: str, *, is_folder: bool) -> bool:
        """Whether a `.gitignore` plainly says so.  That no folder above is ignored is known: it
        would not be watched; or what is tracked in it is listed, and what is not starts a run."""
        if self._files is None or self._runtime.monotonic() >= self._until or self._asks():
            return False
        chain = self._chain(folder)
        if chain.is_unsure or chain.may_ask:
            return False
        path = os.fsencode(folder + name).decode("latin-1")  # as git matches bytes
        for above, rules in chain.rules:
            verdict = rules.verdict(path[len(above) :], is_folder)
            if verdict is not None:
                return verdict
        return False

    def _chain(self, folder: str) -> _Chain:
        """The patterns that hold in `folder`."""
        if folder not in self._chains:
            if len(self._chains) >= _MAX_CHAINS:
                self._chains.clear()
            try:
                with closing(Folders(self._root)) as folders:
                    self._read_way(folders, folder)
            except OSError:
                return _UNSURE
        return self._chains[folder]

    def _read_way(self, folders: Folders, folder: str) -> None:
        above = _Chain()
        for each in _way(folder):
            if each not in self._chains:
                self._chains[each] = _read(folders, each, above)
            above = self._chains[each]


class _Chain(NamedTuple):
    """The `rules` of the files of patterns that hold in a folder, the nearest first.

    `is_unsure`: there may be others; `may_ask`: a `.cidxignore` may ask for what they ignore.
    """

    rules: RuleFiles = ()
    is_unsure: bool = False
    may_ask: bool = False


_UNSURE = _Chain(is_unsure=True, may_ask=True)


def _read(folders: Folders, folder: str, above: _Chain) -> _Chain:
    """What holds in `folder`, where `above` holds in the folder above it."""
    try:
        there = folders.at(folder)
        chain = above._replace(
            # What is in a repository of its own is not its parent's to ignore.
            is_unsure=above.is_unsure or (bool(folder) and _is_in(there, ".git")),
            may_ask=above.may_ask or _may_ask(folders, folder),
        )
        if chain.is_unsure or not _is_in(there, ".gitignore"):
            return chain
        data = folders.read(folder, ".gitignore", _MAX_PATTERNS_BYTES)
    except OSError:
        return _UNSURE
    if data is None or len(data) > _MAX_PATTERNS_BYTES:
        return chain._replace(is_unsure=True)
    from cidx_ref.index.matching import IgnoreRules

    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    own = (os.fsencode(folder).decode("latin-1"), IgnoreRules(text))
    return chain._replace(rules=(own, *chain.rules))


def _may_ask(folders: Folders, folder: str) -> bool:
    """Whether a `.cidxignore` in `folder` may have a line that begins with "!", in any encoding."""
    try:
        data = folders.read(folder, ".cidxignore", _MAX_PATTERNS_BYTES)
    except FileNotFoundError:
        return False
    return data is not None and (b"!" in data or len(data) > _MAX_PATTERNS_BYTES)


def _is_neighbour(name: str) -> bool:
    from cidx_ref.index.defaults import NEIGHBOURS

    return name in NEIGHBOURS


def _is_in(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _way(folder: str) -> Iterable[str]:
    """ "", the folders above `folder`, and itself."""
    yield ""
    place = folder.find("/") + 1
    while place:
        yield folder[:place]
        place = folder.find("/", place) + 1
