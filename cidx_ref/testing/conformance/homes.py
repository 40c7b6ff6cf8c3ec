"""Where the kit's processes have their directories, and what becomes of those of a killed one: what
still runs for it is ended, too (`scratch` says how it is known)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cidx_ref.testing.conformance.processes import Household
from cidx_ref.testing.ground import Scratch

__all__ = ["BENCH", "RUN", "home", "short", "sweep"]

#: Of a run, and of a bench.
RUN, BENCH = "cidx-verify-", "k"
#: So that a socket's path has room for what a target puts below it.
_MAX_CHARS = 40


def home(prefix: str, parent: Path | str | None = None) -> Scratch:
    """A directory of this process's own, until it is closed.  Raises `OSError`."""
    return Scratch(prefix, parent, end=_end)


def short() -> str:
    """Where sockets' paths have room: the temporary directory, if its own path is no long one."""
    default = tempfile.gettempdir()
    return default if len(default) <= _MAX_CHARS or not os.access("/tmp", os.W_OK) else "/tmp"


def sweep(places: Iterable[Path | str] | None = None) -> None:
    """End and remove what processes of this user have left that were killed."""
    for place in {tempfile.gettempdir(), short()} if places is None else places:
        for prefix in (RUN, BENCH):
            Scratch.sweep(prefix, place, _end)


def _end(path: Path) -> None:
    place = path.resolve()
    Household(place, place).end()
