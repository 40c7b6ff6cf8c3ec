"""Which files are indexed, and for what reason the others are not.

Paths are relative to the project's root, with "/" between their parts, and decoded as `os` does
it: a name that is not UTF-8 holds surrogates, so that it can be opened again.

No path is trusted, whether it comes from git's index or from a walk: each is opened component by
component, through no link (TRUST-1).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from cidx_ref.files import is_plain, read_regular
from cidx_ref.index import git
from cidx_ref.index.decode import decode
from cidx_ref.index.limited import Limits
from cidx_ref.index.matching import IgnoreRules
from cidx_ref.index.notebook import MAX_FILE_BYTES, is_notebook, read_notebook
from cidx_ref.project import DIRECTORY
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = [
    "Listing",
    "SourceFile",
    "SourceTree",
    "list_files",
    "read_file",
    "SYMLINK",
    "NOT_A_REGULAR_FILE",
    "TOO_LARGE",
    "BINARY",
    "UNREADABLE",
    "MISSING",
    "OUTSIDE",
    "INTERNAL",
]

SYMLINK = "symlink"
NOT_A_REGULAR_FILE = "not a regular file"
TOO_LARGE = "too large"
BINARY = "binary"
UNREADABLE = "unreadable"
MISSING = "missing"
OUTSIDE = "not a path in the project"
INTERNAL = "inside .git or .code-indexer"

_WHY = {
    errno.ELOOP: SYMLINK,
    errno.ENOENT: MISSING,
    errno.ENOTDIR: MISSING,
    errno.ENXIO: NOT_A_REGULAR_FILE,  # a socket, or a device that nothing drives
    errno.ENODEV: NOT_A_REGULAR_FILE,
}
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_PATH_BYTES = 4095  # what the system takes in one piece
_MAX_OPEN_DIRECTORIES = 64
_MAX_DEPTH = 200  # of the walk
_MAX_IGNORE_BYTES = 1 << 20
_PATTERNS_S = 3.0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when it was read.

    `text` has "\\n" after every line and no byte order mark; `digest` is the hex BLAKE2b, of 16
    bytes, of the `size_bytes` raw bytes; `guessed` says that nothing but a guess told the encoding.
    """

    path: str
    text: str
    digest: str
    size_bytes: int
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The sorted `paths` of a project; some may turn out to be no files.

    `notes`: sentences for the user, about what was refused or failed, and what was done instead.
    """

    paths: list[str]
    notes: list[str]


def list_files(
    root: Path, scratch: Path, runtime: Runtime = SYSTEM, limits: Limits | None = None
) -> Listing:
    """What git tracks or would add below `root`; never what is of the index itself.

    Where git has no answer, or only a part of it, a walk that honours the `.gitignore` files takes
    its place.  `scratch` is an empty directory of the caller's, by its absolute path.  Raises
    `OSError` if it cannot be written.
    """
    listed = git.list_checkout(root, scratch, runtime, limits)
    paths, notes = {*listed.paths}, listed.notes
    # An ignored folder of an enclosing repository is empty to git, yet the user asked for it.
    if not listed.complete or (not paths and not os.path.lexists(root / ".git")):
        paths.update(_walked(root, notes, runtime))
    own = DIRECTORY + "/"
    paths = {path for path in paths if path != DIRECTORY and not path.startswith(own)}
    return Listing(sorted(paths), notes)


class SourceTree:
    """The files below a root.  A context manager; for one thread at a time.

    Directories on the way to the last file stay open, so that files which are read in the order of
    their paths cost little more than their own opening.
    """

    def __init__(self, root: Path) -> None:
        """Raises `OSError` if `root` cannot be opened."""
        self._folders = _Folders(root)
        self._above = ""  # of the last path: "", or it ends in "/"
        self._names: list[str] = []
        self._refused: str | None = None

    def __enter__(self) -> SourceTree:
        return self

    def __exit__(self, *error: object) -> None:
        self._folders.close()

    def read(self, path: str, max_bytes: int) -> SourceFile | str:
        """The file at `path`, or the reason (a constant of this module) to skip it.

        Never blocks on what is no regular file, follows no link in any component of `path`, and
        reads at most `max_bytes` + 1 bytes; of a notebook more, of which its cells may have
        `max_bytes`.
        """
        above, slash, name = path.removesuffix("/").rpartition("/")
        if above + slash != self._above:
            self._turn_to(above + slash)
        if refused := self._refused or _refusal(name, first=not self._names):
            return refused
        try:
            folder = self._folders.find(self._names)
            most = max(max_bytes, MAX_FILE_BYTES) if is_notebook(name) else max_bytes
            data = None if path.endswith("/") else read_regular(folder, name, most)
        except OSError as error:
            return _WHY.get(error.errno or 0, UNREADABLE)
        if data is None:
            return NOT_A_REGULAR_FILE
        return _as_source(path, data, max_bytes)

    def _turn_to(self, above: str) -> None:
        self._above = above
        self._names = above.split("/")[:-1]
        refusals = (_refusal(name, first=not place) for place, name in enumerate(self._names))
        self._refused = next(filter(None, refusals), None)
        if len(os.fsencode(above)) > _MAX_PATH_BYTES:
            self._refused = UNREADABLE


def read_file(root: Path, path: str, max_bytes: int) -> SourceFile | str:
    """One file, as `SourceTree.read` has it.  Raises `OSError` if `root` cannot be opened."""
    with SourceTree(root) as tree:
        return tree.read(path, max_bytes)


def _refusal(name: str, *, first: bool) -> str | None:
    """Why a path with the component `name` may not be looked at, whatever it is; None if it may."""
    if not is_plain(name):
        return OUTSIDE
    # In any case, as git has it: some file systems make no difference.
    lower = name.lower()
    return INTERNAL if lower == ".git" or (first and lower == DIRECTORY) else None


def _as_source(path: str, data: bytes, max_bytes: int) -> SourceFile | str:
    is_large = len(data) > max_bytes
    if is_large and not (is_notebook(path) and len(data) <= MAX_FILE_BYTES):
        return TOO_LARGE
    decoded = decode(data)
    if decoded is None:
        return BINARY
    text, guessed = decoded
    if is_large:
        notebook = read_notebook(text)
        if notebook is None or notebook.size_bytes > max_bytes:
            return TOO_LARGE
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(path, text, blake2b(data, digest_size=16).hexdigest(), len(data), guessed)


class _Folders:
    """Open directories below a root, each found by its name in the one above, through no link.

    Those on the way to the last one stay open, and are used again so far as the next way is the
    same: with sorted paths most directories are opened once.
    """

    def __init__(self, root: Path) -> None:
        # The way to the root itself is the user's, who may have come by links.
        self._open = [(0, os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]  # by depth
        self._names: list[str] = []

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop()[1])

    def find(self, names: list[str]) -> int:
        """The descriptor of the directory that `names` lead to, good until the next call.

        Raises `OSError`: ELOOP for a link on the way.
        """
        if names == self._names and self._open[-1][0] == len(names):
            return self._open[-1][1]
        pairs = zip(self._names, names, strict=False)
        differs = next((i for i, (old, new) in enumerate(pairs) if old != new), len(names))
        while self._open[-1][0] > differs:
            os.close(self._open.pop()[1])
        self._names = names
        for depth in range(self._open[-1][0], len(names)):
            self._push(depth + 1, _open_folder(names[depth], self._open[-1][1]))
        return self._open[-1][1]

    def _push(self, depth: int, descriptor: int) -> None:
        if len(self._open) == _MAX_OPEN_DIRECTORIES:  # beyond that, the last one only
            os.close(self._open.pop()[1])
        self._open.append((depth, descriptor))


def _open_folder(name: str, above: int) -> int:
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=above)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise


# The walk.  A folder is written "" or "folder/", and its rules are those of its own `.gitignore`
# before those of the folders above it.

_Rules = tuple[tuple[str, IgnoreRules], ...]


class _Walk:
    """A walk: what it has found, what is left to do, and until when patterns are tried."""

    def __init__(self, runtime: Runtime) -> None:
        self.files: list[str] = []
        self.todo: list[tuple[str, _Rules]] = [("", ())]
        self.runtime = runtime
        self.is_late = False
        self._until = runtime.monotonic() + _PATTERNS_S

    def ignores(self, path: str, is_folder: bool, rules: _Rules) -> bool:
        """Whether `rules` say so; no more once their time is over: a tree may have any."""
        self.is_late = self.is_late or self.runtime.monotonic() >= self._until
        return not self.is_late and _is_ignored(path, is_folder, rules)


def _walked(root: Path, notes: list[str], runtime: Runtime) -> list[str]:
    walk = _Walk(runtime)
    too_deep = 0
    with suppress(FileNotFoundError, NotADirectoryError), closing(_Folders(root)) as folders:
        while walk.todo:
            folder, rules = walk.todo.pop()
            names = folder.split("/")[:-1]
            if len(names) > _MAX_DEPTH:
                too_deep += 1
                continue
            with suppress(OSError):
                _list_folder(folders.find(names), folder, rules, walk)
    if too_deep:
        notes.append(
            f"{too_deep} directories were not walked, being more than {_MAX_DEPTH} levels deep: "
            "remove them, or search in one of them"
        )
    if walk.is_late:
        notes.append(
            f"the patterns in .gitignore took more than {_PATTERNS_S:g} s, and were left out from "
            "then on: simplify them"
        )
    return walk.files


def _list_folder(descriptor: int, folder: str, rules: _Rules, walk: _Walk) -> None:
    """Add what is in the open directory `folder`, and is not ignored, to the walk."""
    with os.scandir(descriptor) as entries:
        kinds = {entry.name: _is_folder(entry) for entry in entries}
    if ".gitignore" in kinds and not walk.is_late:
        rules = ((folder, _rules_of(descriptor)), *rules)
    for name, is_folder in kinds.items():
        path = folder + name
        if is_folder is None or name == ".git" or walk.ignores(path, is_folder, rules):
            continue
        if is_folder:
            walk.todo.append((f"{path}/", rules))
        else:
            walk.files.append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """False for a file, of which a symlink is one; None for what git does not see either."""
    if entry.is_dir(follow_symlinks=False):
        return True
    return False if entry.is_symlink() or entry.is_file(follow_symlinks=False) else None


def _is_ignored(path: str, is_folder: bool, rules: _Rules) -> bool:
    """Whether the nearest `.gitignore` that has a say about `path` says so: its last pattern does.

    Nothing but the entry itself can match: its parents, being entered, are not ignored.
    """
    for folder, ignore in rules:
        verdict = ignore.verdict(_as_bytes(path[len(folder) :]), is_folder)
        if verdict is not None:
            return verdict
    return False


def _as_bytes(path: str) -> str:
    """`path` with a character for each byte, as git matches bytes: `?` is half of an "é"."""
    return os.fsencode(path).decode("latin-1")


def _rules_of(folder: int) -> IgnoreRules:
    """The patterns of the `.gitignore` in `folder`, which is open; none where git would not read it
    either."""
    try:
        data = read_regular(folder, ".gitignore", _MAX_IGNORE_BYTES) or b""
    except OSError:
        data = b""
    return IgnoreRules(data.removeprefix(b"\xef\xbb\xbf").decode("latin-1"))
