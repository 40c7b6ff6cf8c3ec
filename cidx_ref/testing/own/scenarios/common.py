"""What the scenarios share: how long an index lives, where files are written, and a death."""

from __future__ import annotations

import os

__all__ = ["SCRATCH", "TTL_S", "Killed"]

TTL_S = 600.0

#: Files are written and synced thousands of times: in memory, where there is such a place.
SCRATCH = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


class Killed(BaseException):
    """Stands for SIGKILL: what the kernel does then (closing files) is done by `finally`."""
