"""The git directory of a checkout that may be hostile, opened, and small files of it.

What lies there is anybody's: directories are opened from descriptors, no link in the place of one
is followed, and only regular files are read, up to a size.  What a listing takes from it is the
matter of `git`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index.folders import read_regular
from cidx_ref.shown import owner_name

__all__ = [
    "find_top",
    "is_checkout",
    "open_below",
    "open_git_directory",
    "open_shared_directory",
    "read_below",
    "require_owner",
]

_MAX_POINTER_BYTES = 1 << 13  # of a file that names a directory
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def find_top(root: Path) -> Path | None:
    """The nearest of `root` and its ancestors that has `.git`, of whatever kind; None without.

    One that cannot be used is not passed over: what lies further out is another repository.
    """
    for directory in (root, *root.parents):
        with suppress(OSError):
            os.lstat(directory / ".git")
            return directory
    return None


def is_checkout(folder: int) -> bool:
    """Whether the open directory `folder` is the top of a checkout, with a `.git` that is one."""
    above = Directory(folder, Path())  # which is not closed here
    try:
        with open_git_directory(above) as own:
            return own.status("HEAD") is not None
    except (OSError, UntrustedError):
        found = above.status(".git")
        return found is not None and stat.S_ISLNK(found.st_mode)


def open_git_directory(above: Directory) -> Directory:
    """What `.git` in the open directory `above` is, or names; not trusted.

    Raises `OSError` where there is none, `UntrustedError` where it is broken.
    """
    try:
        return open_below(above, ".git")
    except NotADirectoryError:  # a link is none either
        named = _read_pointer(above, ".git", b"gitdir: ") or ""
    try:
        with open_below(above, named) as own:
            os.stat("HEAD", dir_fd=own.fd, follow_symlinks=False)
            return open_below(own, ".")
    except OSError as error:
        reason = f"names no git directory ({error.strerror}): repair it"
        raise UntrustedError(f"{above.path}/.git {reason}") from None


def open_shared_directory(own: Directory) -> Directory:
    """What the git directory `own` shares with others, being a linked worktree's; else itself.  Not
    trusted.  Raises as `open_git_directory` does."""
    return open_below(own, _read_pointer(own, "commondir", b"") or ".")


def open_below(start: Directory, path: str) -> Directory:
    """The directory at `path`, seen from `start`; its last name must be no link."""
    return Directory(os.open(path, _OPEN_DIRECTORY, dir_fd=start.fd), start.path / path)


def _read_pointer(directory: Directory, name: str, prefix: bytes) -> str | None:
    """The path in the file `name`, after `prefix`; None if there is no such file."""
    data = read_below(directory, name, _MAX_POINTER_BYTES)
    if data is None:
        return None
    path = data.removeprefix(prefix).rstrip(b"\r\n")
    if not data.startswith(prefix) or not path or b"\0" in path:
        raise UntrustedError(f"{directory.path / name} names no directory: repair it")
    return os.fsdecode(path)


def read_below(directory: Directory, name: str, max_bytes: int) -> bytes | None:
    """The regular file `name`; None if there is none.  Raises `UntrustedError` for all else."""
    path = directory.path / name
    try:
        if os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_size > max_bytes:
            raise UntrustedError(f"{path} is larger than {max_bytes} bytes")
        data = read_regular(directory.fd, name, max_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UntrustedError(f"{path} is a symbolic link, and is not followed") from None
        raise UntrustedError(f"{path} cannot be read: {error.strerror}") from None
    if data is None:
        raise UntrustedError(f"{path} is not a regular file: remove it")
    return data  # but for a byte, if the file has grown meanwhile


def require_owner(directory: Directory, trusted: set[int]) -> None:
    owner = os.fstat(directory.fd).st_uid
    if owner not in trusted:
        raise UntrustedError(
            f"{directory.path} belongs to {owner_name(owner)}, and is not used: "
            "search a copy of your own"
        )
