"""Exclusive locks between processes: a `flock` on what can still be found by its name.

The kernel takes such a lock back from a process that dies, however it dies.  A user who
may open a file may lock it, so what is locked must be the account's alone (`files`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["try_lock"]


def try_lock(fd: int, path: Path) -> bool:
    """Hold the open file or directory `fd` exclusively until it is closed.

    False if another process, or another descriptor, does; and if `path` leads to something else by
    now: it may have been replaced between opening and locking, and a lock on what no other process
    can find keeps none out.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False
