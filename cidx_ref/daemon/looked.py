"""What small files hold, without reading them again where their status tells that they are as they
were; and what a time of change on a file system is worth.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Hashable
from hashlib import blake2b

from cidx_ref.runtime import Runtime

__all__ = ["LookedAt", "digest", "has_changed_since"]

#: The clock of a file system may be behind by a tick; that of FAT, which has even seconds, by two.
_COARSE_S, _VERY_COARSE_S = 0.1, 2.1
_MAX_BYTES = 1 << 20
_MAX_KNOWN = 100_000
# Without O_NONBLOCK the opening of a FIFO waits for a writer.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def has_changed_since(status: os.stat_result, wall_s: float) -> bool:
    """Whether what has this `status` may have changed at `wall_s` or later."""
    changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    coarse_s = _COARSE_S if changed_ns % 10**9 else _VERY_COARSE_S
    return changed_ns / 1e9 >= wall_s - coarse_s


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


class LookedAt:
    """Files that were looked at before.  Not thread-safe: guarded by the watcher's lock."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        #: By place: the status, and what the file held, which is believed of that status.
        self._known: dict[Hashable, tuple[tuple[int, ...], Hashable]] = {}

    def at(
        self,
        place: str,
        name: str | None = None,
        *,
        folder: int | None = None,
        follow: bool = False,
        most: int = _MAX_BYTES,
        make: Callable[[bytes], Hashable] = digest,
    ) -> Hashable:
        """What `make` makes of the file at `place`, or `name` in the open `folder`; None if there
        is none.  One that is no regular file, too large or closed to us stands for itself."""
        path = place if name is None else name
        try:
            found = os.stat(path, dir_fd=folder, follow_symlinks=follow)
            now = _identity(found)
            known = self._known.get((place, name))
            if known is not None and known[0] == now:
                return known[1]
            if not stat.S_ISREG(found.st_mode) or found.st_size > most:
                return now
            descriptor = os.open(path, _OPEN | (0 if follow else os.O_NOFOLLOW), dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.errno
        return self._read((place, name), descriptor, most, make)

    def _read(
        self, key: Hashable, descriptor: int, most: int, make: Callable[[bytes], Hashable]
    ) -> Hashable:
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return _identity(status)
            found = make(file.read(most + 1))
        # What was written a moment ago can be written again with the same times.
        if not has_changed_since(status, self._runtime.now().timestamp()):
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = _identity(status), found
        return found


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip
