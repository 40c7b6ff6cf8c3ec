"""What the daemon says of itself: status and diagnostics.  It reads, and changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from platform import python_version
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from cidx_ref import limits
from cidx_ref._version import __version__
from cidx_ref.daemon import accept, framing
from cidx_ref.daemon.room import Room
from cidx_ref.index.port import ENGINES, Index
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime

if TYPE_CHECKING:
    from cidx_ref.daemon.entry import CacheEntry
    from cidx_ref.daemon.gate import Gate
__all__ = ["diagnostics", "identity", "of_run", "skipped", "status"]


class Told(Protocol):
    """What of the daemon's service is told."""

    runtime: Runtime
    gate: Gate
    address: str | None
    room: Room
    connections: Callable[[], int]

    @property
    def project(self) -> Project | None: ...
    @property
    def index(self) -> Index | None: ...
    @property
    def cache_entry(self) -> CacheEntry[Any] | None: ...
    @property
    def is_indexing(self) -> bool: ...
    def uptime_s(self) -> float: ...
    def check_index(self) -> dict[str, Any]: ...
    def watch_status(self) -> dict[str, Any] | None: ...


_NO_INDEX: dict[str, Any] = {
    "key_problem": None,
    "generation": None,
    "index_age_seconds": None,
    "model": None,
    "files": 0,
    "chunks": 0,
    "skipped": {},
}
#: What an index run reports, where it says nothing of it.
_NOT_TOLD = {"changed": True, "files": 0, "chunks": 0, "guessed": 0, "skipped": {}, "removed": [],
             "notes": []}  # fmt: skip


def identity(service: Told) -> dict[str, Any]:
    """Who answers."""
    project = service.project
    return {
        "pid": os.getpid(),
        "version": __version__,
        "project": str(project.root) if project is not None else None,
    }


def status(service: Told) -> dict[str, Any]:
    """The story's keys and ours (OBS-1).  `generation`, `files`, `chunks` and the age are those of
    the index on disk; what is cached may be older until the next query."""
    entry = service.cache_entry
    return {
        "running": True,
        "cache_empty": entry is None,
        **identity(service),
        **_places(service),
        "uptime_seconds": round(service.uptime_s(), 3),
        "indexing": service.is_indexing,
        "watch": service.watch_status(),
        "source": None,
        "cidx": None,
        **(_NO_INDEX if service.index is None else service.index.describe()),
        **(_cached(entry) if entry is not None else {}),
    }


def diagnostics(service: Told) -> dict[str, Any]:
    """What is in flight and for how long, where each thread is, versions, limits, and whether the
    files on disk are what their manifest says, for which all of them are read."""
    now = service.runtime.monotonic()
    return {
        "in_flight": [
            {"method": call.method, "seconds": round(now - call.started, 3)}
            for call in service.gate.calls()
        ],
        "connections": service.connections(),
        "threads": _threads(service),
        "versions": _versions(),
        "limits": {
            "max_calls": service.gate.max_calls,
            "max_connections": service.room.connections,
            "connections_limited_by": service.room.limited_by,
            "idle_seconds": accept.IDLE_S,
            "max_request_bytes": limits.MAX_REQUEST_BYTES,
            "frame_timeout_seconds": framing.FRAME_TIMEOUT_S,
            "max_query_chars": limits.MAX_TEXT_CHARS,
            "max_limit": limits.MAX_LIMIT,
        },
        **service.check_index(),
    }


def of_run(project: Project, built: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The report of an index run that took so long."""
    return {
        "status": "completed",
        "project": str(project.root),
        **_NOT_TOLD,
        **{name: value for name, value in built.items() if name != "merge_due"},
        "took_ms": round(seconds * 1000, 3),
    }


def skipped(service: Told) -> dict[str, Any]:
    """What the last index run left out."""
    return {"counts": {}, "files": []} if service.index is None else service.index.skipped()


def _places(service: Told) -> dict[str, str | None]:
    if service.project is None:
        return {"address": None, "index_directory": None, "log": None}
    found = service.project.whereabouts()
    return {**found, "address": service.address or found["address"]}


def _cached(entry: CacheEntry[Any]) -> dict[str, Any]:
    missing = entry.snapshot.unavailable if entry.snapshot is not None else ENGINES
    return {
        "semantic_cached": "semantic" not in missing,
        "fts_available": "fts" not in missing,
        "fts_cached": "fts" not in missing,
        "cached_generation": entry.generation,
        "last_accessed": entry.last_accessed.isoformat(),
        "access_count": entry.access_count,
        "ttl_minutes": entry.ttl_minutes,
    }


def _threads(service: Told) -> list[dict[str, Any]]:
    names = {thread.ident: thread.name for thread in service.runtime.threads()}
    return [
        {"name": names.get(ident, "?"), "at": _where(frame)}
        for ident, frame in sys._current_frames().items()
    ]


def _where(frame: FrameType | None) -> str:
    """The innermost place of our own in a stack, and what the thread does there."""
    inner = frame.f_code.co_name if frame is not None else "?"
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("cidx_ref"):
        frame = frame.f_back
    if frame is None:
        return inner
    name = frame.f_globals["__name__"]
    return f"{name}:{frame.f_lineno} {frame.f_code.co_name} > {inner}"


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": python_version(), "cidx-ref": __version__}
    for name in ("rpyc", "hnswlib", "tantivy", "google-re2", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "?"
    return found
