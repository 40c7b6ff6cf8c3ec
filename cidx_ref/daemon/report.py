"""What the daemon says of itself: status and diagnostics.  It reads, and changes nothing."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from platform import python_version
from types import FrameType
from typing import TYPE_CHECKING, Any

from cidx_ref import __version__, limits
from cidx_ref.daemon import accept, framing
from cidx_ref.errors import CidxError, NoIndexError
from cidx_ref.index.generation import Generations, read_manifest

if TYPE_CHECKING:
    from cidx_ref.daemon.cache import CacheEntry
    from cidx_ref.daemon.service import CIDXDaemonService

__all__ = ["diagnostics", "identity", "status"]


def identity(service: CIDXDaemonService) -> dict[str, Any]:
    """Who answers."""
    project = service.project
    return {
        "pid": os.getpid(),
        "version": __version__,
        "project": str(project.root) if project is not None else None,
    }


def status(service: CIDXDaemonService) -> dict[str, Any]:
    """The story's keys and ours (OBS-1).  `generation`, `files`, `chunks` and the age are those of
    the index on disk; what is cached may be older until the next query."""
    entry = service.cache_entry
    return {
        "running": True,
        "cache_empty": entry is None,
        **identity(service),
        "uptime_seconds": round(service.uptime_s(), 3),
        "indexing": service.is_indexing,
        # Why an index is good for this daemon only; null where the account's key lasts.
        "key_problem": service.key.problem,
        **_index_on_disk(service),
        **(_cached(entry) if entry is not None else {}),
    }


def diagnostics(service: CIDXDaemonService) -> dict[str, Any]:
    """What is in flight and for how long, where each thread is, versions, limits, and whether the
    files on disk are what their manifest says, for which all of them are read."""
    now = service.runtime.monotonic()
    return {
        "in_flight": [
            {"method": call.method, "seconds": round(now - call.started, 3)}
            for call in service.gate.calls()
        ],
        "threads": _threads(service),
        "versions": _versions(),
        "limits": {
            "max_calls": service.gate.max_calls,
            "max_connections": accept.MAX_CONNECTIONS,
            "max_request_bytes": limits.MAX_REQUEST_BYTES,
            "frame_timeout_seconds": framing.FRAME_TIMEOUT_S,
            "max_query_chars": limits.MAX_TEXT_CHARS,
            "max_limit": limits.MAX_LIMIT,
        },
        "embedder": {"id": service.embedder.id, "dim": service.embedder.dim},
        "index_files": service.check_files(),
    }


def _cached(entry: CacheEntry[Any]) -> dict[str, Any]:
    snapshot = entry.snapshot
    has_fts = snapshot is not None and snapshot.fulltext is not None
    return {
        "semantic_cached": snapshot is not None and snapshot.semantic is not None,
        "fts_available": has_fts,
        "fts_cached": has_fts,
        "cached_generation": entry.generation,
        "last_accessed": entry.last_accessed.isoformat(),
        "access_count": entry.access_count,
        "ttl_minutes": entry.ttl_minutes,
    }


def _index_on_disk(service: CIDXDaemonService) -> dict[str, Any]:
    nothing = {"generation": None, "index_age_seconds": None, "files": 0, "chunks": 0}
    if service.project is None:
        return nothing
    generations = Generations(service.project.generations, service.runtime, key=service.key)
    try:
        generation = generations.current()
        manifest = read_manifest(generations.path(generation), service.key)
        made = datetime.fromisoformat(manifest["created_at"])
    except NoIndexError as error:
        return {**nothing, "index_problem": str(error)}
    except FileNotFoundError:
        problem = f"generation {generation} is missing: run `cidx-ref index`"
        return {**nothing, "generation": "unusable", "index_problem": problem}
    except (CidxError, OSError, ValueError) as error:
        problem = str(error) if isinstance(error, CidxError) else type(error).__name__
        return {**nothing, "generation": "unusable", "index_problem": problem}
    age = service.runtime.now().astimezone() - made
    return {
        "generation": generation,
        "index_age_seconds": round(age.total_seconds(), 3),
        **manifest["counts"],
    }


def _threads(service: CIDXDaemonService) -> list[dict[str, Any]]:
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
    for name in ("rpyc", "hnswlib", "tantivy", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "?"
    return found
