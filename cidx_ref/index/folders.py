"""Open directories below a root: the way to whatever lies in a tree that may be anybody's.

Each is found by its name in the one above, through no link (TRUST-1).  A folder is written "" or
"folder/", and the names in a path are not trusted either.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from cidx_ref.files import is_plain

__all__ = ["Folders", "read_found", "read_regular"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK the opening of a FIFO waits for a writer.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_OPEN_DIRECTORIES = 64


class Folders:
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

    def at(self, folder: str) -> int:
        """As `find`, by a path that is not trusted: ELOOP, too, where it leads out of the tree."""
        names = folder.split("/")[:-1]
        if not all(is_plain(name) and name.lower() != ".git" for name in names):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), folder)
        return self.find(names)

    def read(self, folder: str, name: str, max_bytes: int) -> bytes | None:
        """At most `max_bytes` + 1 bytes of a regular file; None if it is none.

        Raises `OSError`: ELOOP for a link.
        """
        return read_regular(self.at(folder), name, max_bytes)

    def _push(self, depth: int, descriptor: int) -> None:
        if len(self._open) == _MAX_OPEN_DIRECTORIES:  # beyond that, the last one only
            os.close(self._open.pop()[1])
        self._open.append((depth, descriptor))


def read_found(folder: int, name: str, max_bytes: int) -> tuple[os.stat_result, bytes] | None:
    """The file `name` in the open `folder`, of any owner: what it was before it was read, and at
    most one byte more than `max_bytes`.

    None if it is no regular file.  Follows no link, and waits for nothing.
    """
    if not is_plain(name):
        raise OSError(errno.EINVAL, "not a plain name", name)
    descriptor = os.open(name, _OPEN_FILE, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            data: bytes | None = file.read(max_bytes + 1)
        if data is None:  # a file of the system's, or of a FUSE, that would have to be waited for
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), name)
        return status, data
    finally:
        os.close(descriptor)


def read_regular(folder: int, name: str, max_bytes: int) -> bytes | None:
    """As `read_found`, the content only."""
    found = read_found(folder, name, max_bytes)
    return None if found is None else found[1]


def _open_folder(name: str, above: int) -> int:
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=above)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise
