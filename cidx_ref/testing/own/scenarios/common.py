"""What the scenarios share: how long an index lives, where files are written, and a death."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SCRATCH", "TTL_S", "Killed", "unprepared"]

TTL_S = 600.0

#: Files are written and synced thousands of times: in memory, where there is such a place.
SCRATCH = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


class Killed(BaseException):
    """Stands for SIGKILL: what the kernel does then (closing files) is done by `finally`."""


@contextmanager
def unprepared() -> Iterator[Callable[[str], None]]:
    """In the place of the succession, which has scenarios of its own."""
    yield lambda generation: None
