"""Which files are indexed, and for what reason the others are not.

Paths are relative to the project's root, with "/" between their parts, and decoded as `os` does
it: a name that is not UTF-8 holds surrogates, so that it can be opened again.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from cidx_ref.project import DIRECTORY

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = [
    "SourceFile",
    "list_paths",
    "read_file",
    "SYMLINK",
    "NOT_A_REGULAR_FILE",
    "TOO_LARGE",
    "BINARY",
    "UNREADABLE",
    "MISSING",
]

SYMLINK = "symlink"
NOT_A_REGULAR_FILE = "not a regular file"
TOO_LARGE = "too large"
BINARY = "binary"
UNREADABLE = "unreadable"
MISSING = "missing"

_WHY = {
    errno.ELOOP: SYMLINK,
    errno.ENOENT: MISSING,
    errno.ENOTDIR: MISSING,
    errno.ENXIO: NOT_A_REGULAR_FILE,  # a socket, or a device that nothing drives
    errno.ENODEV: NOT_A_REGULAR_FILE,
}
# Without O_NONBLOCK the opening of a FIFO waits for a writer.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BINARY_PREFIX_BYTES = 8192
_MAX_IGNORE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when it was read.

    `text` has "\\n" after every line and no byte order mark; `digest` is the hex BLAKE2b, of 16
    bytes, of the `size_bytes` raw bytes.
    """

    path: str
    text: str
    digest: str
    size_bytes: int


def list_paths(root: Path) -> list[str]:
    """The sorted paths below `root` that git tracks or would add; never those of the index itself.

    Where git has no answer, a walk that honours the `.gitignore` files takes its place.  Some of
    the paths may turn out to be no files.
    """
    listed = _listed_by_git(root)
    # An ignored folder of an enclosing repository is empty to git, yet somebody asked for it.
    if listed is None or (not listed and not (root / ".git").exists()):
        listed = _walked(root)
    own = DIRECTORY + "/"
    return sorted({path for path in listed if path != DIRECTORY and not path.startswith(own)})


def read_file(root: Path, path: str, max_bytes: int) -> SourceFile | str:
    """The file at `path` below `root`, or the reason (a constant of this module) to skip it.

    Never blocks on what is no regular file, follows no symlink at `path`, and reads at most
    `max_bytes` + 1 bytes.
    """
    try:
        data = _read(f"{os.fspath(root)}/{path}", max_bytes)
    except OSError as error:
        return _WHY.get(error.errno or 0, UNREADABLE)
    if data is None:
        return NOT_A_REGULAR_FILE
    if len(data) > max_bytes:
        return TOO_LARGE
    if b"\0" in data[:_BINARY_PREFIX_BYTES]:
        return BINARY
    text = _decoded(data, is_python=path.endswith((".py", ".pyi")))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(path, text, blake2b(data, digest_size=16).hexdigest(), len(data))


def _read(path: str, max_bytes: int) -> bytes | None:
    """What `path` holds, but at most one byte more than `max_bytes`; None if no regular file."""
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    finally:
        os.close(descriptor)


def _decoded(data: bytes, is_python: bool) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        declared = _decoded_as_declared(data) if is_python else None
        return data.decode("utf-8-sig", "replace") if declared is None else declared


def _decoded_as_declared(data: bytes) -> str | None:
    """`data` by the coding cookie of PEP 263; None where there is none that works."""
    import io
    import tokenize

    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        text.encode("utf-8")  # some codecs make lone surrogates, which nothing can store
    except (SyntaxError, LookupError, ValueError):
        return None
    return text


def _listed_by_git(root: Path) -> list[str] | None:
    """What `git ls-files` says; None where there is no git, no work tree, or git refuses."""
    # GIT_DIR and its like, set inside a hook, would point to some other repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]
    command += ["ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        result = subprocess.run(
            command,
            cwd=root,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    if result.returncode != 0:
        return None
    return [os.fsdecode(path) for path in result.stdout.split(b"\0") if path]


# The walk.  A folder is written "" or "folder/", and its rules are those of its own `.gitignore`
# before those of the folders above it.

_Rules = tuple[tuple[str, "GitIgnoreSpec"], ...]

# The ends of names that are matched, after which patterns see the kind of an entry and its end.
_FILE, _FOLDER, _EITHER = "\0f", "\0d", "\0?"


def _walked(root: Path) -> list[str]:
    files: list[str] = []
    todo: list[tuple[str, _Rules]] = [("", ())]
    while todo:
        folder, rules = todo.pop()
        try:
            with os.scandir(f"{os.fspath(root)}/{folder}") as entries:
                kinds = {entry.name: _kind(entry) for entry in entries}
        except OSError:
            continue
        if ".gitignore" in kinds:
            rules = ((folder, _rules_of(root, folder)), *rules)
        for name, kind in kinds.items():
            if kind and name != ".git" and not _is_ignored(folder + name + kind, rules):
                if kind == _FILE:
                    files.append(folder + name)
                else:
                    todo.append((f"{folder}{name}/", rules))
    return files


def _kind(entry: os.DirEntry[str]) -> str:
    """_FOLDER, _FILE (of which a symlink is one), or "" for what git does not see either."""
    if entry.is_dir(follow_symlinks=False):
        return _FOLDER
    return _FILE if entry.is_symlink() or entry.is_file(follow_symlinks=False) else ""


def _is_ignored(path: str, rules: _Rules) -> bool:
    """Whether the nearest `.gitignore` that has a say about `path`, which ends in a kind, says so.

    Nothing but the entry itself can match: its parents, being entered, are not ignored.
    """
    for folder, spec in rules:
        verdict = spec.check_file(_as_bytes(path[len(folder) :]), separators=()).include
        if verdict is not None:
            return verdict
    return False


def _as_bytes(path: str) -> str:
    """`path` with a character for each byte, as git matches bytes: `?` is half of an "é"."""
    # pathspec takes a line break for the end of a path; no pattern can tell it from another sign.
    return os.fsencode(path).decode("latin-1").replace("\n", "\ufffd")


def _rules_of(root: Path, folder: str) -> GitIgnoreSpec:
    """The patterns of the `.gitignore` in `folder`; none where git would not read it either."""
    import re

    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    try:
        data = _read(f"{os.fspath(root)}/{folder}.gitignore", _MAX_IGNORE_BYTES) or b""
    except OSError:
        data = b""
    patterns = []
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n"):
        try:
            patterns.append(GitIgnoreSpecPattern(_marked(line.removesuffix("\r"))))
        except (ValueError, re.error):  # to git, too, a bad pattern matches nothing
            continue
    return GitIgnoreSpec(patterns, backend="simple")


def _marked(line: str) -> str:
    """The pattern in `line` of a `.gitignore`, made to match names that end in a kind."""
    pattern = line.rstrip(" ")
    if pattern.endswith("\\") and pattern != line:
        pattern += " "  # this space was escaped
    if not pattern or pattern.startswith("#"):
        return ""
    kind = _FOLDER if pattern.endswith("/") else _EITHER
    pattern = pattern.removesuffix("/")
    if pattern.endswith("/**"):
        pattern += "/*"  # the same, with a last part that can hold the kind
    return pattern + kind
