"""What could belong to the index: what git tracks or would add in a checkout, and in those inside.

A submodule that is checked out is listed with its parent, by a guarded listing of its own (`git`);
so is a repository inside that `include` names.  Where git has no answer, or only a part of it, a
walk takes its place.  What is left out of all that is the matter of `belongs`.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from cidx_ref.files import own_directory
from cidx_ref.index.folders import Folders
from cidx_ref.index.git import GitListing, list_checkout
from cidx_ref.index.limited import Limits
from cidx_ref.index.matching import Folder, PathSet
from cidx_ref.index.walk import walk, walk_included
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["NOT_CHECKED_OUT", "OWN_REPOSITORY", "TOO_MANY", "Candidates", "Rules", "find_files"]

_MAX_INSIDE = 256
_MAX_DEPTH = 8
_MAX_NOTES = 20  # of repositories inside
#: For so long git is asked about the repositories inside; then they are walked.
_INSIDE_S = 30.0
_SCRATCH = "inside"

NOT_CHECKED_OUT = "submodule that is not checked out (git submodule update --init)"
OWN_REPOSITORY = "a repository of its own (search in it, or name it in include)"
TOO_MANY = (
    f"a repository beyond {_MAX_INSIDE} of them, or {_MAX_DEPTH} deep in each other (search in it)"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the project's configuration says of its files: patterns as in `.gitignore`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(slots=True)
class Candidates:
    """Paths relative to the root, not to be trusted: of files that git tracks, and of `others`.

    `checkouts` are the repositories inside that were listed; `left` are those that were not, with
    the reason.  Both end in "/".  `notes` are sentences for the user.
    """

    tracked: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    checkouts: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_files(
    root: Path,
    scratch: Path,
    runtime: Runtime = SYSTEM,
    limits: Limits | None = None,
    rules: Rules = Rules(),
) -> Candidates:
    """What git tracks or would add below `root`, and what `rules` include.

    `scratch` is an empty directory of the caller's, by its absolute path.  Raises `OSError` if it
    cannot be written.
    """
    return _Search(root, scratch, runtime, limits, rules).run()


class _Search:
    def __init__(
        self, root: Path, scratch: Path, runtime: Runtime, limits: Limits | None, rules: Rules
    ) -> None:
        self._root = root
        self._scratch = scratch
        self._runtime = runtime
        self._limits = limits
        self._rules = rules
        self._exclude = PathSet(rules.exclude).top()
        self._found = Candidates()
        self._todo: deque[tuple[str, int]] = deque()  # repositories inside, and how deep they are
        self._count = 0
        self._may_repeat = False  # whether what was found may have a path twice
        self._until: float | None = None
        self._absent = [0, 0, 0]  # files, and folders that are gone and there, of sparse checkouts
        self._notes: list[str] = []  # of repositories inside

    def run(self) -> Candidates:
        listed = list_checkout(self._root, self._scratch, self._runtime, self._limits)
        self._found.notes += listed.notes
        self._take("", listed, depth=0)
        # An ignored folder of an enclosing repository is empty to git, yet the user asked for it.
        is_empty = not (listed.tracked or listed.new or listed.nested or listed.links)
        if not listed.complete or (is_empty and not os.path.lexists(self._root / ".git")):
            self._walk("", listed, self._found.notes)
        self._go_inside()
        if self._rules.include:
            self._may_repeat = True
            self._include(PathSet(self._rules.include).top())
        self._found.notes += [*self._notes[:_MAX_NOTES], *self._more_notes()]
        if self._may_repeat:
            self._found.tracked = list({*self._found.tracked})
            self._found.others = list({*self._found.others}.difference(self._found.tracked))
        return self._found

    def _include(self, include: Folder) -> None:
        """Add what is included, and the repositories inside that are."""
        others = self._found.others
        for depth in range(1, _MAX_DEPTH + 2):
            notes: list[str] = []
            walked = walk_included(self._root, notes, include, self._found.checkouts)
            named = [path for path in walked.repositories if self._found.left.get(path) != TOO_MANY]
            if not named:
                break
            for path in named:
                self._found.left.pop(path, None)
            self._todo += [(path, depth) for path in named]
            self._go_inside()
        others += walked.files
        self._found.notes += notes

    def _go_inside(self) -> None:
        while self._todo:
            self._may_repeat = True  # an index can have a submodule, and paths below it
            folder, depth = self._todo.popleft()
            if _enter(self._exclude, folder).is_whole:
                self._found.left[folder] = OWN_REPOSITORY  # which the patterns, being first, hide
            elif self._count == _MAX_INSIDE or depth > _MAX_DEPTH:
                self._found.left[folder] = TOO_MANY
            elif folder not in self._found.checkouts:
                self._count += 1
                self._found.checkouts.add(folder)
                self._list(folder, depth)

    def _list(self, folder: str, depth: int) -> None:
        """List the repository in `folder`, which no link led to a moment ago: if one does now, its
        names may come from elsewhere, but no file is opened by them."""
        now = self._runtime.monotonic()
        self._until = self._until or now + _INSIDE_S
        listed = GitListing()
        if now < self._until:
            with own_directory(self._scratch, runtime=self._runtime) as scratch:
                scratch.make(_SCRATCH).close()
                try:
                    listed = list_checkout(
                        self._root / folder,
                        self._scratch / _SCRATCH,
                        self._runtime,
                        self._limits,
                        within=self._root,
                    )
                finally:
                    scratch.remove(_SCRATCH)
        else:
            listed.say(
                f"{folder} was walked: to ask git about the repositories inside took more than "
                f"{_INSIDE_S:g} s"
            )
        self._notes += listed.notes
        self._take(folder, listed, depth)
        if not listed.complete:
            self._walk(folder, listed, self._notes)

    def _take(self, above: str, listed: GitListing, depth: int) -> None:
        """Add what git says of the repository in the folder `above`."""
        found = self._found
        found.tracked += _below(above, listed.tracked)
        found.others += _below(above, listed.new)
        found.left |= dict.fromkeys(_below(above, listed.nested), OWN_REPOSITORY)
        plain: list[str] = []
        if listed.sparse or (listed.links and listed.complete):
            with suppress(OSError), closing(Folders(self._root)) as folders:
                self._take_sparse(folders, _below(above, listed.sparse))
                links = _below(above, listed.links if listed.complete else [])
                plain = [f"{link}/" for link in links if self._take_link(folders, link, depth)]
        if plain:  # which git does not look into
            self._may_repeat = True
            walked = walk(self._root, self._runtime, self._notes, start=above, only=plain)
            found.others += walked.files
            found.left |= dict.fromkeys(walked.repositories, OWN_REPOSITORY)

    def _take_sparse(self, folders: Folders, paths: list[str]) -> None:
        """Count what is not there; a file that is there counts as any other."""
        for above, group in groupby(paths, key=lambda path: path.rpartition("/")[0]):
            here = list(group)
            try:
                there = set(os.listdir(folders.at(above + "/" if above else "")))
            except OSError:
                there = set()
            if here[0][-1:] == "/":  # alone in its group, which is the folder itself
                self._absent[2 if there else 1] += 1
                continue
            present = [path for path in here if path.rpartition("/")[2] in there]
            self._found.tracked += present
            self._absent[0] += len(here) - len(present)

    def _take_link(self, folders: Folders, link: str, depth: int) -> bool:
        """Add a submodule: what is there in its place.  True if that is a folder like others."""
        try:
            names = os.listdir(folders.at(link + "/"))
        except OSError as error:
            if error.errno == errno.ELOOP:  # which is told when it is read
                self._found.tracked.append(link)
                return False
            names = []
        if ".git" in names:
            self._todo.append((link + "/", depth + 1))
        elif not names:
            self._found.left[link + "/"] = NOT_CHECKED_OUT
        return bool(names) and ".git" not in names

    def _walk(self, start: str, listed: GitListing, notes: list[str]) -> None:
        self._may_repeat = True
        modules = [f"{path}/" for path in _below(start, listed.links)]
        walked = walk(self._root, self._runtime, notes, start=start, modules=modules)
        found = self._found
        found.others += walked.files
        found.checkouts |= walked.modules
        found.left |= dict.fromkeys(walked.repositories, OWN_REPOSITORY)
        found.left |= dict.fromkeys(walked.absent, NOT_CHECKED_OUT)

    def _more_notes(self) -> list[str]:
        more = len(self._notes) - _MAX_NOTES
        notes = [f"{more} more of such notes about repositories inside"] if more > 0 else []
        files, folders, partial = self._absent
        what = _count(files, "tracked file")
        if folders:
            of = _count(folders, "folder")
            what = f"{what}, and those of {of}," if files else f"the tracked files of {of}"
        said = []
        if files or folders:
            said.append(f"{what} {'is' if (files, folders) == (1, 0) else 'are'} not checked out")
        if partial:  # only objects tell which files there are, and those are not read
            verb = "that is there" if partial == 1 else "that are there"
            said.append(
                f"tracked files of {_count(partial, 'folder')} {verb} may not be checked out"
            )
        if said:
            notes.append(
                f"{'; '.join(said)} (sparse checkout, or marked skip-worktree): "
                "git sparse-checkout disable"
            )
        return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _below(above: str, paths: list[str]) -> list[str]:
    return [above + path for path in paths] if above else paths


def _enter(folder: Folder, path: str) -> Folder:
    for name in path[:-1].split("/"):
        folder = folder[name]
    return folder
