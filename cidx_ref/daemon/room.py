"""How many connections the daemon has room for, by what the system lets this process have.

Each connection takes a descriptor and a thread.  The daemon itself needs some of both: for the
index that it has and the next one beside it, for an index run, for git, and for the reserve, from
which a daemon that has all the connections it can have still says what it does, and is stopped.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.errors import DaemonUnavailableError

__all__ = ["MAX_CONNECTIONS", "Room", "make_room"]

MAX_CONNECTIONS = 900
#: Connections that wait for, or have, a thread of the reserve.
_RESERVE = 32
#: Descriptors that connections leave for all else: a quarter of all, between these two.
_MIN_LEFT, _MAX_LEFT = 24, 128
#: What a daemon has open with a small index and no client.
_OWN_DESCRIPTORS = 20
_MIN_DESCRIPTORS, _WANTED_DESCRIPTORS = 48, 2048
#: With fewer tasks than that, there is no thread for a connection beside an index run.
_MIN_TASKS = 32


@dataclass(frozen=True, slots=True)
class Room:
    """So many `connections` at once, of which none takes a descriptor from number `descriptors` on
    (None: whichever), and so many more in `reserve`; `limited_by` names the system's limit that
    allows no more, and its value, or is None."""

    connections: int = MAX_CONNECTIONS
    reserve: int = _RESERVE
    descriptors: int | None = None
    limited_by: str | None = None


def make_room() -> Room:
    """The room that this process has, once its limit of descriptors is raised as far as it may be.

    Raises `DaemonUnavailableError` if there is not enough to serve anybody.
    """
    descriptors = _raise_descriptors(_WANTED_DESCRIPTORS)
    if descriptors < _MIN_DESCRIPTORS:
        raise _too_few(f"{descriptors} open files (ulimit -n)", _MIN_DESCRIPTORS)
    left = max(_MIN_LEFT, min(descriptors // 4, _MAX_LEFT))
    connections = descriptors - left - _OWN_DESCRIPTORS
    limited_by = f"{descriptors} open files (ulimit -n)"
    tasks, of = min(_tasks(), default=(2 * MAX_CONNECTIONS, ""))
    if tasks < _MIN_TASKS:
        raise _too_few(of, _MIN_TASKS)
    if tasks // 2 < connections:
        connections, limited_by = tasks // 2, of
    if connections >= MAX_CONNECTIONS:
        return Room(reserve=min(_RESERVE, left // 3), descriptors=descriptors - left)
    return Room(connections, min(_RESERVE, left // 3), descriptors - left, limited_by)


def _too_few(limit: str, needed: int) -> DaemonUnavailableError:
    return DaemonUnavailableError(
        f"cannot serve: there may be {limit} here, and a daemon needs {needed}: raise that limit"
    )


def _raise_descriptors(wanted: int) -> int:
    """How many this process may have open, after having asked for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in (soft, hard):
        hard = max(wanted, soft)
    if soft == resource.RLIM_INFINITY or soft >= min(wanted, hard):
        return min(soft, hard) if soft != resource.RLIM_INFINITY else wanted
    raised = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised


def _tasks() -> Iterator[tuple[int, str]]:
    """How many more threads and processes there may be, by each limit that there is, and its name.

    What others of the user have of `ulimit -u` is not known here.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:  # which does not bind root
        yield soft, f"{soft} threads and processes (ulimit -u)"
    for folder in _cgroups():
        with suppress(OSError, ValueError):  # "max"
            limit = int((folder / "pids.max").read_text("ascii"))
            used = int((folder / "pids.current").read_text("ascii"))
            yield limit - used, f"{limit} threads and processes (pids.max)"


def _cgroups() -> Iterator[Path]:
    """The control group that counts this process's threads, and those above it."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8", "replace").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or "pids" in controllers.split(","):
                root = Path("/sys/fs/cgroup", controllers)
                folder = root / path.strip("/")
                yield from (folder, *(p for p in folder.parents if p.is_relative_to(root)))
