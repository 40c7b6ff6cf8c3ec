"""Which folders to watch: those in which something can change what is indexed.

They are the folders of listed files, those above them, and all others that are neither left out as
a whole nor ignored: an empty folder gets its first file later.  Where a folder is left out for what
lies in it (a `.git`, a `pyvenv.cfg`), or is empty, it is watched all the same, and nothing below
it.  When in doubt a folder is watched: that costs a run too many, and a folder that is missed would
cost an answer.  A folder is written "" or "folder/".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from cidx_ref.index.belongs import EXCLUDED, IGNORED
from cidx_ref.index.checkouts import Rules
from cidx_ref.index.defaults import MARKING_FOLDER, why_named
from cidx_ref.index.folders import Folders
from cidx_ref.index.git import COULD_NOT_LIST, list_ignored
from cidx_ref.index.matching import Folder, IgnoreRules, PathSet
from cidx_ref.index.ownignores import OwnIgnores, as_bytes
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
_MAX_ASKING = 500  # lines of one `.cidxignore`; of more, each may ask for anything


def watched_folders(
    root: Path,
    scratch: Path,
    listing: Listing,
    rules: Rules,
    runtime: Runtime = SYSTEM,
    *,
    at_most: int = _MAX_FOLDERS,
) -> list[str] | None:
    """The folders below `root` to watch, sorted; None if they are more than `at_most`, or too deep.

    `scratch` is as `list_files` has left it, which has made `listing` by `rules`.
    """
    with_files = _with_files(listing.paths, at_most)
    if with_files is None:
        return None
    # What has held git up would do so again, for as long.
    has_failed = any(note.startswith(COULD_NOT_LIST) for note in listing.notes)
    ignored = None if has_failed else list_ignored(root, scratch, runtime)
    looking = _Looking(with_files, listing, ignored, runtime)
    todo = [_Place("", PathSet(rules.include).top())]
    found: list[str] = []
    with suppress(OSError), closing(Folders(root)) as folders:
        while todo:
            place = todo.pop()
            with suppress(OSError):  # it is gone, or closed to us: then no file of it is indexed
                descriptor = folders.at(place.folder)
                if place.inside:
                    todo += looking.look_into(descriptor, place)
                else:
                    inner = looking.enter(descriptor, place)
                    if inner and place.folder.count("/") >= _MAX_DEPTH:
                        return None
                    todo += inner
                found.append(place.folder)
            if len(found) + len(todo) > at_most:
                return None
    return sorted(found)


class _Place(NamedTuple):
    """A folder to watch: what `include` has in it, and each `.cidxignore` asks for below it; the
    files of patterns that hold in it, asking for folders or ignoring them.

    `inside`: it is left out for what is in it (1), or lies in one that is (2).
    """

    folder: str
    include: Folder
    asked: tuple[Folder, ...] = ()
    asking: RuleFiles = ()
    ignoring: RuleFiles = ()
    inside: int = 0

    def below(self, name: str) -> _Place:
        asked = tuple(folder[_as_bytes(name)] for folder in self.asked)
        return self._replace(
            folder=f"{self.folder}{name}/", include=self.include[name], asked=asked
        )

    @property
    def is_asked_into(self) -> bool:
        """Whether anything in it, however deep, may be asked for."""
        return not (self.include.is_beside and all(folder.is_beside for folder in self.asked))


class _Looking:
    def __init__(
        self, with_files: set[str], listing: Listing, ignored: list[str] | None, runtime: Runtime
    ) -> None:
        self._with_files = with_files
        left_out = [each for each in listing.skipped if each[0].endswith("/")]
        #: Whatever comes to lie in them.
        self._for_good = {path for path, reason in left_out if reason in (EXCLUDED, IGNORED)}
        self._for_good.update(ignored or ())
        self._for_now = {path for path, _ in left_out}.difference(self._for_good)
        # Git has said what is ignored, or else the files of patterns have to.
        self._is_told = ignored is not None
        self._patience = Patience(runtime)

    def enter(self, descriptor: int, place: _Place) -> list[_Place]:
        """The folders to watch that lie in that of `place`, which is open."""
        kinds = _kinds(descriptor)
        place = self._with_rules(descriptor, place, kinds)
        found = []
        for name, is_folder in kinds.items():
            if not is_folder or name.lower() in (".git", DIRECTORY):
                continue
            inner = place.below(name)
            if (
                inner.folder in self._with_files
                or inner.is_asked_into
                or not self._is_left_out(place, name)
            ):
                found.append(inner)
            elif inner.folder in self._for_now and why_named(place.folder, name) is None:
                found.append(inner._replace(inside=1))
        return found

    def look_into(self, descriptor: int, place: _Place) -> list[_Place]:
        """The folders that may decide about that of `place`, which they lie in."""
        # In a vendor/ it may be the `.cargo-checksum.json` in each of them.
        is_each = f"/{place.folder}".endswith("/vendor/")
        if place.inside > 1:
            return []
        return [
            place.below(name)._replace(inside=2)
            for name, is_folder in _kinds(descriptor).items()
            if is_folder and name.lower() != ".git" and (is_each or f"{name}/" == MARKING_FOLDER)
        ]

    def _with_rules(self, descriptor: int, place: _Place, names: Iterable[str]) -> _Place:
        """With what the files of patterns say that lie in it."""
        folder = place.folder
        if not self._is_told and folder and ".git" in names:
            place = place._replace(ignoring=())  # what its parent ignores is the parent's matter
        if not self._is_told and ".gitignore" in names:
            text = read_patterns(descriptor, ".gitignore").decode("latin-1")
            place = place._replace(ignoring=((folder, IgnoreRules(text)), *place.ignoring))
        if ".cidxignore" in names:
            own = OwnIgnores(folder, as_bytes(read_patterns(descriptor, ".cidxignore")))
            place = place._replace(
                asked=(*place.asked, _asked(own)),
                asking=((folder, own.asking(False)), *place.asking),
            )
        return place

    def _is_left_out(self, place: _Place, name: str) -> bool:
        path = place.folder + name
        if f"{path}/" in self._for_good:
            return True
        if not self._is_told and self._patience.verdict(path, True, place.ignoring):
            return True
        if f"{path}/" not in self._for_now and why_named(place.folder, name) is None:
            return False
        is_asked_for = place.asking and self._patience.verdict(path, True, place.asking) is False
        return not (is_asked_for or (place.asking and self._patience.is_over))


def _kinds(descriptor: int) -> dict[str, bool]:
    """The names in an open folder, each with whether it is a folder."""
    with os.scandir(descriptor) as entries:
        return {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}


def _asked(own: OwnIgnores) -> Folder:
    """What lines of a `.cidxignore` ask for within what is left out."""
    lines = own.placed
    if len(lines) > _MAX_ASKING:
        return PathSet(["*"]).top()
    kept = []
    for line in lines:
        with suppress(ValueError):  # it can match nothing
            PathSet([line])
            kept.append(line)
    return PathSet(kept).top()


def _as_bytes(name: str) -> str:
    """`name` with a character for each byte, as patterns match bytes."""
    return os.fsencode(name).decode("latin-1")


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
