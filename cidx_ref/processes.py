"""Other processes, as this one sees them: whether one lives, and what to do about one that hangs.

By /proc, as nothing else says it of a process that is no child.  Imported where something is amiss.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["advice", "has_our_mounts", "holder", "is_alive"]


def is_alive(pid: int) -> bool:
    """Whether the process has not ended; one that was not waited for (a zombie) has."""
    if pid == 0:  # of another container, and not to be seen
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the latter of a number that none can have
        return False
    except PermissionError:
        return True
    state = _state(pid)
    if state is None:  # gone between the two; or a system without /proc
        return not Path("/proc/self/stat").exists()
    return state not in ("Z", "X")


def advice(pid: int) -> str:
    """What a user can do about a process that does not answer, to follow a sentence that says so;
    nothing about one that cannot be seen."""
    if pid <= 0 or not is_alive(pid):
        return ""
    if _state(pid) == "T":
        return (
            f": its process is stopped; `kill -CONT {pid}` has it go on, `kill -KILL {pid}` ends it"
        )
    return f": `kill -KILL {pid}` ends its process, and the next command starts another"


def holder(path: Path) -> int:
    """The process that has locked the file; 0 if none has, or the system does not tell."""
    try:
        found = path.stat()
        lines = Path("/proc/locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for words in map(str.split, lines):
        if words[1:2] == ["FLOCK"] and device in words:
            return int(words[words.index(device) - 1])
    return 0


def has_our_mounts(pid: int) -> bool:
    """Whether a path leads the process to where it leads this one; not where that cannot be seen,
    as of a process in another container."""
    try:
        return pid > 0 and Path(f"/proc/{pid}/ns/mnt").samefile("/proc/self/ns/mnt")
    except OSError:
        return False


def _state(pid: int) -> str | None:
    """The letter that the kernel has for it, `T` for one that is stopped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        return text.rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
