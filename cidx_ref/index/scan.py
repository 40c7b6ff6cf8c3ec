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
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from cidx_ref.files import is_plain
from cidx_ref.index.belongs import judge
from cidx_ref.index.checkouts import Rules, find_files
from cidx_ref.index.decode import decode
from cidx_ref.index.folders import Folders, read_found
from cidx_ref.index.limited import Limits
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
#: How a name begins that may have to be refused.
_SUSPECT = frozenset(("", "."))
_MAX_PATH_BYTES = 4095  # what the system takes in one piece


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
    `skipped`: what does not belong, sorted, each with the reason; a folder that is left out as a
    whole is one entry, which ends in "/".  `exempt`: by path, reasons for which a file's text does
    not leave it out (see `generated`).
    """

    paths: list[str]
    notes: list[str]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    exempt: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False)


def list_files(
    root: Path,
    scratch: Path,
    runtime: Runtime = SYSTEM,
    limits: Limits | None = None,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
) -> Listing:
    """What belongs to the index of `root`, by names and patterns: docs/what-is-indexed.md.

    Never what is of the index itself.  `scratch` is an empty directory of the caller's, by its
    absolute path.  Raises `OSError` if it cannot be written.
    """
    found = find_files(root, scratch, runtime, limits, rules)
    belonging = judge(root, found, rules, runtime)
    return Listing(
        sorted(belonging.paths),
        [*found.notes, *belonging.notes],
        sorted(belonging.skipped.items()),
        belonging.exempt,
    )


class _RefusedError(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


class SourceTree:
    """The files below a root.  A context manager; for one thread at a time.

    Directories on the way to the last file stay open, so that files which are read in the order of
    their paths cost little more than their own opening.
    """

    def __init__(self, root: Path) -> None:
        """Raises `OSError` if `root` cannot be opened."""
        self._folders = Folders(root)
        self._above = ""  # of the last path: "", or it ends in "/"
        self._names: list[str] = []
        self._refused: str | None = None
        self._folder: int | None = None  # open, for as long as no other one is looked for

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
        return self.read_with_status(path, max_bytes)[1]

    def read_with_status(
        self, path: str, max_bytes: int
    ) -> tuple[os.stat_result | None, SourceFile | str]:
        """As `read`, with what the file was before it was read; None if it was not read."""
        try:
            folder, name = self._find(path)
            most = max(max_bytes, MAX_FILE_BYTES) if is_notebook(name) else max_bytes
            found = read_found(folder, name, most)
        except _RefusedError as refused:
            return None, refused.reason
        except OSError as error:
            return None, _WHY.get(error.errno or 0, UNREADABLE)
        if found is None:
            return None, NOT_A_REGULAR_FILE
        status, data = found
        return status, _as_source(path, data, max_bytes)

    def stat(self, path: str) -> os.stat_result | str:
        """What the regular file at `path` is, or the reason to skip it: the one that `read` has,
        which may find more.  As careful as `read`, and opens no file."""
        try:
            folder, name = self._find(path)
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except _RefusedError as refused:
            return refused.reason
        except OSError as error:
            return _WHY.get(error.errno or 0, UNREADABLE)
        if stat.S_ISREG(found.st_mode):
            return found
        return SYMLINK if stat.S_ISLNK(found.st_mode) else NOT_A_REGULAR_FILE

    def _find(self, path: str) -> tuple[int, str]:
        """The open folder that `path` lies in, and its name there.

        Raises `OSError`, and `_RefusedError` for what is not to be looked at.
        """
        cut = path.rfind("/", 0, -1) + 1
        if path[:cut] != self._above:
            self._turn_to(path[:cut])
        if self._refused is not None:
            raise _RefusedError(self._refused)
        name = path[cut:]
        is_suspect = name[-1:] == "/" or name[:1] in _SUSPECT or "\0" in name
        if is_suspect and (refused := _refusal(name.removesuffix("/"), first=not cut)):
            raise _RefusedError(refused)
        if self._folder is None:
            self._folder = self._folders.find(self._names)
        if name[-1:] == "/":
            raise _RefusedError(NOT_A_REGULAR_FILE)
        return self._folder, name

    def _turn_to(self, above: str) -> None:
        self._above, self._folder = above, None
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
