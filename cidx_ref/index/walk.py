"""The walk: which files lie below a root, where git cannot say it.

A folder is written "" or "folder/", and its rules are those of its own `.gitignore` before those of
the folders above it.  A repository of its own is not entered, unless it is known to be a part.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cidx_ref.files import is_plain
from cidx_ref.index.folders import Folders, read_regular
from cidx_ref.index.gitdir import is_checkout
from cidx_ref.index.matching import Folder, IgnoreRules
from cidx_ref.project import DIRECTORY
from cidx_ref.runtime import Runtime

__all__ = [
    "MAX_PATTERNS_BYTES",
    "Patience",
    "RuleFiles",
    "Walked",
    "read_patterns",
    "walk",
    "walk_included",
]

MAX_PATTERNS_BYTES = 1 << 20  # of one file
_PATTERNS_S = 3.0
_MAX_DEPTH = 200
_MAX_MODULES = 1_000
_MODULE_PATH = re.compile(rb"^[ \t]*path[ \t]*=[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)

#: Files of patterns, the nearest one first, each with the folder that it lies in.
RuleFiles = tuple[tuple[str, IgnoreRules], ...]


@dataclass(slots=True)
class Walked:
    """The `files` below a root, and the `repositories` of their own, which were not entered.

    `modules`: the submodules that were entered.  `absent`: those that are not checked out.
    """

    files: list[str] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)


class Patience:
    """Until when patterns of the tree are tried: a tree may have any."""

    def __init__(self, runtime: Runtime) -> None:
        self.is_over = False
        self._runtime = runtime
        self._until = runtime.monotonic() + _PATTERNS_S

    def verdict(self, path: str, is_folder: bool, rules: RuleFiles) -> bool | None:
        """What the nearest of `rules` that has a say about `path` says: its last pattern does.

        Nothing but the entry itself can match: its parents, being entered, are not ignored.  None
        if none has a say, or the time is over.
        """
        self.is_over = self.is_over or self._runtime.monotonic() >= self._until
        if not self.is_over:
            for folder, ignore in rules:
                verdict = ignore.verdict(_as_bytes(path[len(folder) :]), is_folder)
                if verdict is not None:
                    return verdict
        return None

    def notes(self, files: str) -> list[str]:
        """What is to be said, if anything, of the patterns in `files`."""
        late = (
            f"the patterns in {files} took more than {_PATTERNS_S:g} s, and were left out from "
            "then on: simplify them"
        )
        return [late] if self.is_over else []


def walk(
    root: Path,
    runtime: Runtime,
    notes: list[str],
    *,
    start: str = "",
    modules: Iterable[str] = (),
    only: Iterable[str] = (),
) -> Walked:
    """What is below the folder `start` of `root`, and is not ignored; if `only` names folders below
    it, no more than what is in those.

    Submodules are those that `.gitmodules` names, and `modules`, which end in "/", as `only` does.
    One in which files lie, but no `.git`, is a folder like others.
    """
    walking = _Walk(runtime, start, modules, only)
    _visit(root, walking.todo, walking.visit, notes)
    notes += walking.patience.notes(".gitignore")
    walking.found.absent |= walking.expected - walking.found.modules - walking.plain
    return walking.found


def walk_included(root: Path, notes: list[str], include: Folder, inside: Collection[str]) -> Walked:
    """What `include` matches, ignored or not; not in repositories of their own, but for those that
    are `inside`.  The others are found where they are matched as a whole."""
    walking = _Including(include, inside)
    _visit(root, walking.todo, walking.visit, notes)
    return walking.found


def read_patterns(folder: int, name: str) -> bytes:
    """The file of patterns `name` in the open `folder`, which is nothing where it is no file."""
    try:
        data = read_regular(folder, name, MAX_PATTERNS_BYTES) or b""
    except OSError:
        data = b""
    return data.removeprefix(b"\xef\xbb\xbf")


T = TypeVar("T")


def _visit(
    root: Path,
    todo: list[tuple[str, T]],
    visit: Callable[[int, str, T], None],
    notes: list[str],
) -> None:
    """Visit the folders in `todo`, to which each visit may add some."""
    too_deep = 0
    with suppress(FileNotFoundError, NotADirectoryError), closing(Folders(root)) as folders:
        while todo:
            folder, state = todo.pop()
            names = folder.split("/")[:-1]
            if len(names) > _MAX_DEPTH:
                too_deep += 1
                continue
            with suppress(OSError):
                visit(folders.find(names), folder, state)
    if too_deep:
        notes.append(
            f"{too_deep} directories were not walked, being more than {_MAX_DEPTH} levels deep: "
            "remove them, or search in one of them"
        )


class _Walk:
    """A walk that honours the `.gitignore` files."""

    def __init__(
        self, runtime: Runtime, start: str, modules: Iterable[str], only: Iterable[str]
    ) -> None:
        self.found = Walked()
        self.todo: list[tuple[str, RuleFiles]] = [(start, ())]
        self.patience = Patience(runtime)
        self.expected = set(modules)
        self.plain: set[str] = set()  # those expected that are plain folders
        self._start = start
        self._only = set(only)
        self._ways = {way for folder in self._only for way in _folders_above(folder)}
        self._wanted = self._only | self._ways

    def visit(self, descriptor: int, folder: str, rules: RuleFiles) -> None:
        kinds = _kinds(descriptor)
        if not self._may_enter(descriptor, folder, kinds):
            return
        rules = self._rules_in(descriptor, folder, kinds, rules)
        is_way = folder in self._ways
        for name, is_folder in kinds.items():
            if is_folder is None or name in (".git", DIRECTORY):
                continue
            if not is_way:
                self._add(folder + name, is_folder, rules)
            elif is_folder and f"{folder}{name}/" in self._wanted:
                self.todo.append((f"{folder}{name}/", rules))

    def _rules_in(
        self, descriptor: int, folder: str, kinds: dict[str, bool | None], rules: RuleFiles
    ) -> RuleFiles:
        """What holds in `folder`, where `rules` do above it; and note what it expects below."""
        if folder in self.found.modules:
            rules = ()  # what the parent ignores is the parent's matter
        # In other folders it names nothing to git either: it came with a copy of something.
        is_top = folder == self._start or folder in self.expected
        if ".gitmodules" in kinds and is_top and not self._only:
            self.expected |= _modules_of(descriptor, folder)
        if ".gitignore" in kinds and not self.patience.is_over:
            text = read_patterns(descriptor, ".gitignore").decode("latin-1")
            rules = ((folder, IgnoreRules(text)), *rules)
        return rules

    def _may_enter(self, descriptor: int, folder: str, kinds: dict[str, bool | None]) -> bool:
        """Whether the open `folder` is a part of what is walked."""
        if folder in self.expected:
            if ".git" in kinds:
                self.found.modules.add(folder)
            elif kinds:
                self.plain.add(folder)
            return True
        if ".git" in kinds and folder != self._start and is_checkout(descriptor):
            self.found.repositories.append(folder)
            return False
        return True

    def _add(self, path: str, is_folder: bool, rules: RuleFiles) -> None:
        is_module = is_folder and f"{path}/" in self.expected
        if not is_module and self.patience.verdict(path, is_folder, rules):
            return
        if is_folder:
            self.todo.append((f"{path}/", rules))
        else:
            self.found.files.append(path)


class _Including:
    """A walk to what some patterns match."""

    def __init__(self, include: Folder, inside: Collection[str]) -> None:
        self.found = Walked()
        self.todo: list[tuple[str, Folder]] = [("", include)]
        self._inside = inside

    def visit(self, descriptor: int, folder: str, state: Folder) -> None:
        kinds = _kinds(descriptor)
        if folder in self._inside:
            state = state.pass_by(folder[:-1])
        elif ".git" in kinds and folder and is_checkout(descriptor):
            if state.is_whole:
                self.found.repositories.append(folder)
            return
        for name, is_folder in kinds.items():
            if name in (".git", DIRECTORY):
                continue
            if is_folder and not state[name].is_beside:
                self.todo.append((f"{folder}{name}/", state[name]))
            elif is_folder is False and state.holds(name):
                self.found.files.append(folder + name)


def _kinds(descriptor: int) -> dict[str, bool | None]:
    """The names in an open directory, each with whether it is a folder."""
    with os.scandir(descriptor) as entries:
        return {entry.name: _is_folder(entry) for entry in entries}


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """False for a file, of which a symlink is one; None for what git does not see either."""
    if entry.is_dir(follow_symlinks=False):
        return True
    return False if entry.is_symlink() or entry.is_file(follow_symlinks=False) else None


def _modules_of(descriptor: int, folder: str) -> set[str]:
    """Where the submodules are that `.gitmodules` in the open `folder` names."""
    text = read_patterns(descriptor, ".gitmodules")
    paths = [os.fsdecode(path.strip(b'" \t')) for path in _MODULE_PATH.findall(text)]
    plain = [path for path in paths if all(map(is_plain, path.split("/")))]
    return {f"{folder}{path}/" for path in plain[:_MAX_MODULES]}


def _folders_above(folder: str) -> Iterable[str]:
    """ "" and the other folders that `folder` lies in."""
    cut = 0
    while cut < len(folder):
        yield folder[:cut]
        cut = folder.index("/", cut) + 1


def _as_bytes(path: str) -> str:
    """`path` with a character for each byte, as git matches bytes: `?` is half of an "é"."""
    return os.fsencode(path).decode("latin-1")
