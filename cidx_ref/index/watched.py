"""Which folders to watch: those in which something can change what is indexed.

They are the folders of listed files, those above them, and all others that are neither left out as
a whole nor ignored: an empty folder gets its first file later.  When in doubt a folder is watched:
that costs a run too many, and a folder that is missed would cost an answer.  A folder is written ""
or "folder/".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from cidx_ref.index.checkouts import Rules
from cidx_ref.index.defaults import why_named
from cidx_ref.index.folders import Folders
from cidx_ref.index.git import COULD_NOT_LIST, list_ignored
from cidx_ref.index.matching import Folder, IgnoreRules, PathSet
from cidx_ref.index.scan import Listing
from cidx_ref.index.walk import Patience, RuleFiles, read_patterns
from cidx_ref.project import DIRECTORY
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["watched_folders"]

#: More than so many are not watched: the system has some ten thousand watches for a user.
_MAX_FOLDERS = 50_000
# Paths in an index are anybody's: each may be a thousand folders deep.
_MAX_CHARS = 1 << 24
_MAX_DEPTH = 200


def watched_folders(
    root: Path,
    scratch: Path,
    listing: Listing,
    rules: Rules,
    runtime: Runtime = SYSTEM,
    *,
    at_most: int = _MAX_FOLDERS,
) -> list[str] | None:
    """The folders below `root` to watch, sorted; None if they are more than `at_most`.

    `scratch` is as `list_files` has left it, which has made `listing` by `rules`.
    """
    with_files = _with_files(listing.paths, at_most)
    if with_files is None:
        return None
    # What has held git up would do so again, for as long.
    has_failed = any(note.startswith(COULD_NOT_LIST) for note in listing.notes)
    ignored = None if has_failed else list_ignored(root, scratch, runtime)
    left_out = {path for path, _ in listing.skipped if path.endswith("/")}.union(ignored or ())
    # Git has said what is ignored, or else the files of patterns have to.
    patience = Patience(runtime) if ignored is None else None
    looking = _Looking(with_files, left_out, patience)
    todo: list[_Place] = [("", PathSet(rules.include).top(), ())]
    found: list[str] = []
    with suppress(OSError), closing(Folders(root)) as folders:
        while todo:
            folder, include, ignoring = todo.pop()
            with suppress(OSError):  # it is gone, or closed to us: then no file of it is indexed
                todo += looking.enter(folders.at(folder), folder, include, ignoring)
                found.append(folder)
            if len(found) + len(todo) > at_most:
                return None
    return sorted(found)


#: A folder, what is included in it, and the patterns that hold in it.
_Place = tuple[str, Folder, RuleFiles]


class _Looking:
    def __init__(self, with_files: set[str], left_out: set[str], patience: Patience | None) -> None:
        self._with_files = with_files
        self._left_out = left_out
        self._patience = patience

    def enter(
        self, descriptor: int, folder: str, include: Folder, ignoring: RuleFiles
    ) -> Iterable[_Place]:
        """The folders to watch that lie in the open `folder`."""
        if folder.count("/") >= _MAX_DEPTH:
            return []
        if self._patience is not None:
            text = read_patterns(descriptor, ".gitignore").decode("latin-1")
            ignoring = ((folder, IgnoreRules(text)), *ignoring) if text else ignoring
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [
            (f"{folder}{name}/", include[name], ignoring)
            for name in names
            if name.lower() not in (".git", DIRECTORY)
            and (
                f"{folder}{name}/" in self._with_files
                or not include[name].is_beside
                or not self._is_left_out(folder, name, ignoring)
            )
        ]

    def _is_left_out(self, above: str, name: str, ignoring: RuleFiles) -> bool:
        path = above + name
        if f"{path}/" in self._left_out or why_named(above, name) is not None:
            return True
        return self._patience is not None and bool(self._patience.verdict(path, True, ignoring))


def _with_files(paths: Iterable[str], at_most: int) -> set[str] | None:
    """The folders that `paths` lie in, however deep; None if they are more than `at_most`."""
    found: set[str] = set()
    chars = 0
    for path in paths:
        folder = path[: path.rfind("/") + 1]
        while folder and folder not in found:
            found.add(folder)
            chars += len(folder)
            if len(found) > at_most or chars > _MAX_CHARS:
                return None
            folder = folder[: folder.rfind("/", 0, -1) + 1]
    return found
