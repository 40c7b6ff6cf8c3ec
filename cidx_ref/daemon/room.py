"""How many connections the daemon has room for, by what the system lets this process have.

Each connection takes a descriptor and a thread.  The daemon itself needs some of both: for the
index that it has and the next one beside it, for an index run, for git, and for the reserve, from
which a daemon that has all the connections it can have still says what it does, and is stopped.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.errors import DaemonUnavailableError

__all__ = ["MAX_CONNECTIONS", "Room", "make_room", "shortage"]

MAX_CONNECTIONS = 900
#: Connections that wait for, or have, a thread of the reserve.
_RESERVE = 32
#: Descriptors that connections leave for all else: a quarter of all, between these two.
_MIN_LEFT, _MAX_LEFT = 24, 128
#: What a daemon has open with a small index and no client.
_OWN_DESCRIPTORS = 20
_MIN_DESCRIPTORS, _WANTED_DESCRIPTORS = 48, 2048
#: Of tasks, half is for index runs and git.
_MIN_TASKS = 32
#: What a daemon with a small index and few connections takes of the address space, and so does its
#: index run; and what one more takes.
_OWN_MB, _THREAD_MB, _FEW = 360, 10, 4
_MB = 1 << 20
_SHORTAGES = {
    errno.EAGAIN: "no more threads or processes can be started (ulimit -u)",
    errno.EMFILE: "too many open files (ulimit -n)",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "out of memory",
}


@dataclass(frozen=True, slots=True)
class Room:
    """So many `connections` at once, of which none takes a descriptor from number `descriptors` on
    (None: whichever), and so many more in `reserve`; `limited_by` names the system's limit that
    allows no more, and its value, or is None."""

    connections: int = MAX_CONNECTIONS
    reserve: int = _RESERVE
    descriptors: int | None = None
    limited_by: str | None = None


@dataclass(frozen=True, slots=True)
class _Limit:
    """What there may be of something, in words, and must be; and the connections that allows."""

    may_be: str
    there_is: int
    must_be: int
    connections: int


def make_room() -> Room:
    """The room that this process has, once its limit of descriptors is raised as far as it may be.

    Raises `DaemonUnavailableError` if there is not enough to serve anybody.
    """
    descriptors = _raise_descriptors(_WANTED_DESCRIPTORS)
    left = max(_MIN_LEFT, min(descriptors // 4, _MAX_LEFT))
    most = descriptors - left - _OWN_DESCRIPTORS
    files = _Limit(f"{descriptors} open files (ulimit -n)", descriptors, _MIN_DESCRIPTORS, most)
    limits = [files, *_tasks(), *_address_space()]
    for limit in limits:
        if limit.there_is < limit.must_be:
            raise DaemonUnavailableError(
                f"cannot serve: there may be {limit.may_be} here, and a daemon needs "
                f"{limit.must_be}: raise that limit"
            )
    tightest = min(limits, key=lambda limit: limit.connections)
    is_limited = tightest.connections < MAX_CONNECTIONS
    return Room(
        connections=min(tightest.connections, MAX_CONNECTIONS),
        reserve=min(_RESERVE, left // 3),
        descriptors=descriptors - left,
        limited_by=tightest.may_be if is_limited else None,
    )


def _raise_descriptors(wanted: int) -> int:
    """How many this process may have open, after having asked for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if raised > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised


def _tasks() -> Iterator[_Limit]:
    """Threads and processes.  What others of the user have of `ulimit -u` is not known here."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:  # which does not bind root
        yield _Limit(f"{soft} threads and processes (ulimit -u)", soft, _MIN_TASKS, soft // 2)
    for folder in _cgroups():
        with suppress(OSError, ValueError):  # "max"
            limit = int((folder / "pids.max").read_text("ascii"))
            left = limit - int((folder / "pids.current").read_text("ascii"))
            may_be = f"{limit} threads and processes (pids.max), {left} of them more"
            yield _Limit(may_be, left, _MIN_TASKS, left // 2)


def _cgroups() -> Iterator[Path]:
    """The control group that counts this process's threads, and those above it."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8", "replace").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or "pids" in controllers.split(","):
                root = Path("/sys/fs/cgroup", controllers)
                folder = root / path.strip("/")
                yield from (folder, *(p for p in folder.parents if p.is_relative_to(root)))


def _address_space() -> Iterator[_Limit]:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        has = soft // _MB
        more = (has - _OWN_MB) // _THREAD_MB
        yield _Limit(f"{has} MB of address space (ulimit -v)", has, _OWN_MB, _FEW + more)


def shortage(error: BaseException) -> str | None:
    """What the system had no more of, if that is what an error says."""
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return _SHORTAGES[error.errno]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _SHORTAGES[errno.EAGAIN]
    # A library that cannot be mapped is an `ImportError`.
    is_of_memory = "failed to map" in str(error) or "allocate memory" in str(error)
    return _SHORTAGES[errno.ENOMEM] if isinstance(error, MemoryError) or is_of_memory else None
