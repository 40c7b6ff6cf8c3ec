"""Opening a file that lies some folders down, with one call, and through no link (TRUST-1).

`openat2` looks at each part of a path as `Folders` does, which opens one folder after the other:
of a hundred thousand files in nearly as many folders that is what reading them would take.  Where
the kernel has no such call, or a sandbox forbids it, `Folders` does it.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cidx_ref.index.folders import Folders

__all__ = ["Beneath"]

_OPENAT2 = 437  # on every machine that has it
_NO_SYMLINKS, _BENEATH = 0x04, 0x08
_HOW = struct.Struct("=QQQ")  # flags, mode, how names are resolved
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Call = Callable[[int, bytes, int], int]


class Beneath:
    """Opens files below a root, without a trace where the system allows that."""

    def __init__(self, root: Path, call: Call | None = None) -> None:
        """`call` is openat2's part: descriptor, path, flags; by default the kernel's."""
        self._folders = Folders(root)
        self._root = self._folders.find([])
        self._call: Call | None = call or _openat2()

    def close(self) -> None:
        self._folders.close()

    def open(self, path: str) -> int:
        """A descriptor of the file at `path`, whose parts are plain names.  Never waits.

        Raises `OSError`: ELOOP for a link.
        """
        if self._call is not None:
            try:
                return self._call(self._root, os.fsencode(path), _FLAGS | os.O_NOATIME)
            except OSError as error:
                if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG):
                    self._call = None  # forbidden, or the files are another user's
                elif error.errno != errno.EAGAIN:
                    raise
        folder, _, name = path.rpartition("/")
        found = self._folders.find(folder.split("/") if folder else [])
        with suppress(PermissionError):
            return os.open(name, _FLAGS | os.O_NOATIME, dir_fd=found)
        return os.open(name, _FLAGS, dir_fd=found)  # another user's


def _openat2() -> Call | None:
    try:
        import ctypes

        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (ImportError, OSError, AttributeError):
        return None
    number, size = ctypes.c_long(_OPENAT2), ctypes.c_size_t(_HOW.size)
    made: dict[int, bytes] = {}

    def call(folder: int, path: bytes, flags: int) -> int:
        how = made.get(flags)
        if how is None:
            how = made[flags] = _HOW.pack(flags, 0, _NO_SYMLINKS | _BENEATH)
        descriptor: int = syscall(number, folder, path, how, size)
        if descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fsdecode(path))
        return descriptor

    return call
