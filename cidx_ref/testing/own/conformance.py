"""This package's daemon as a target of the kit, through the same door as any other.

    cidx-ref verify cidx_ref.testing.own.conformance:TARGET

Its commands are those of `faulty`, which breaks nothing unless it is told to.  Answers come by
value, as the shipped client has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cidx_ref.project import Project
from cidx_ref.testing.conformance.peer import RpycPeer
from cidx_ref.testing.conformance.target import (
    Beyond,
    Cap,
    Faults,
    Methods,
    Spawn,
    Subjects,
    Target,
)
from cidx_ref.testing.own.checks import CHECKS
from cidx_ref.testing.own.parts import make_cache, make_claim

__all__ = ["TARGET", "OwnPeer", "defective", "mutated", "plainly"]

_ASKED = "project_path=project, query=query, limit=limit, fresh=fresh"


class OwnPeer(RpycPeer):
    """Asks by `call`, whose answers come by value in one message."""

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if args:  # as a stranger's client would
            return super().call(method, *args, **kwargs)
        callback = kwargs.pop("callback", None)
        said = json.loads(super().call("call", method, json.dumps(kwargs), callback))
        if error := said.get("error"):
            raise OwnError(*error)
        answer = said["answer"]
        return {**answer, **_sums(answer)} if method == "get_metrics" else answer


class OwnError(Exception):
    """What the daemon answered in the place of an answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _sums(metrics: dict[str, Any]) -> dict[str, Any]:
    calls = {name: counts for name, counts in metrics["calls"].items() if name.startswith("query")}
    total = sum(sum(counts.values()) for counts in calls.values())
    well = sum(counts.get("ok", 0) for counts in calls.values())
    return {"queries": total, "errors": total - well}


def sockets(root: Path) -> list[str]:
    """The names in the project's directory that are a daemon's socket, or may become one."""
    return sorted(path.name for path in Project(root).directory.glob("daemon.sock*"))


def halves(root: Path) -> list[str]:
    """What lies among the generations and is not a whole one, or not yet one."""
    entries = {entry.name: entry for entry in Project(root).generations.glob("*")}
    entries.pop("current", None)
    return sorted(
        name
        for name, entry in entries.items()
        if name.startswith(".") or not (entry / "manifest.json").is_file()
    )


def damage(root: Path) -> Callable[[], None]:
    """Have the live generation's manifest be none, until what is returned is called."""
    manifest = Project(root).generations / "current" / "manifest.json"
    text = manifest.read_bytes()
    manifest.write_bytes(b"{")

    def mend() -> None:
        manifest.write_bytes(text)

    return mend


def _command(*words: str, faults: Sequence[str] = (), program: Sequence[str] = ()) -> list[str]:
    program = program or ("-m", "cidx_ref.testing.own.faulty")
    return ["{python}", "-P", "-X", "utf8", *program, *faults, "--", *words]


_SERVE = ("serve", "--project", "{project}")
_BUILD = ("build", "{project}")
_CRASH, _TERM = ("--crash-at", "{point}"), ("--term-at", "{point}")
_HOLD, _FAIL = ("--hold-at", "{point}", "{gate}"), ("--fail-at", "{point}", "{gate}")

_CONFIG = """{"daemon": {
    "ttl_minutes": {ttl_minutes},
    "auto_shutdown_on_idle": {idle},
    "eviction_check_interval_seconds": 0.1,
    "watch": {watch}
}}
"""


def _made(program: Sequence[str] = (), faults: Sequence[str] = ()) -> dict[str, Any]:
    """The commands, with another program or with faults of its own."""

    def command(*words: str, point: Sequence[str] = ()) -> list[str]:
        return _command(*words, faults=[*faults, *point], program=program)

    return {
        "start": Spawn(command(*_SERVE), ready=r"^serving", taken=r"^already running"),
        "writer": command(*_BUILD),
        "launcher": command("start", "--project", "{project}"),
        "faults": Faults(
            crash=command(*_SERVE, point=_CRASH),
            terminate=command(*_SERVE, point=_TERM),
            crash_writer=command(*_BUILD, point=_CRASH),
            hold=command(*_SERVE, point=_HOLD),
            fail=command(*_SERVE, point=_FAIL),
            query="searching",
            start=("lock opened", "claimed", "bound", "listening", "reachable"),
            sweep=("swept:1", "swept:2"),
            stop=("leaving", "unlinked"),
            publish=(
                *("sealed", "renamed", "linked", "published"),
                *("swept:1", "swept:2", "swept:3"),
            ),
        ),
    }


TARGET = Target(
    **_made(),
    files={".code-indexer/config.json": _CONFIG},
    methods=Methods(
        query=f"query({_ASKED})",
        query_fts=f"query_fts({_ASKED})",
        query_hybrid=f"query_hybrid({_ASKED})",
        index="index(project_path=project, callback=progress)",
    ),
    connect=OwnPeer,
    stale="stale",
    check_s=0.1,
    status={
        "pid": "pid",
        "generation": "generation",
        "uptime_s": "uptime_seconds",
        "project": "project",
    },
    health={
        "status": "status",
        "queries": "queries_processed",
        "errors": "errors",
        "error_rate": "error_rate",
        "cached": "cache_active",
        "uptime_s": "uptime_seconds",
    },
    metrics={
        "queries": "queries",
        "errors": "errors",
        "hits": "cache.hit",
        "loads": "cache.load",
        "evictions": "cache.evict",
    },
    capabilities=set(Cap),
    subjects=Subjects(cache=make_cache, claim=make_claim),
    checks=CHECKS,
    beyond=Beyond(sockets=sockets, halves=halves, processes=True, exact=True, damage=damage),
)


def mutated(mutant: str, target: Target = TARGET) -> Target:
    """The daemon and the writer with one of the zoo's mutants in them."""
    return replace(target, **_made(faults=("--mutant", mutant)))


def plainly(target: Target = TARGET) -> Target:
    """Asked as a stranger's client would: answers come by reference, errors as exceptions."""
    kept = {name: path for name, path in target.metrics.items() if path.startswith("cache.")}
    capabilities = set(target.capabilities) - {Cap.BY_VALUE}
    return replace(target, connect=None, metrics=kept, capabilities=capabilities)


def defective(program: str, defect: str, target: Target = TARGET) -> Target:
    """The daemon and the writer as another program starts them, which is told of a defect."""
    return replace(target, **_made(program=(program, defect), faults=()))
