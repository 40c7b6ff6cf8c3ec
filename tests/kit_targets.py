"""The daemons of `kit_daemons`, as their author would describe them to the kit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance.target import Cap, Faults, Methods, Spawn, Target

PROGRAM = Path(__file__).with_name("kit_daemons.py")

#: What all of them offer.
OFFERED = frozenset(
    {
        *(Cap.INDEX, Cap.CLEAR, Cap.STOP, Cap.KILL, Cap.TAKEN, Cap.GONE, Cap.IDLE, Cap.SHORT_TTL),
        *(Cap.FTS, Cap.HYBRID, Cap.ERRORS, Cap.CONFIG, Cap.PRIVATE),
    }
)
#: Those whose answers are mappings.
REPORTING = frozenset({Cap.STATUS, Cap.LOADS, Cap.HEALTH, Cap.METRICS})

_COUNTS = {"queries": "counts.queries", "errors": "counts.errors"}


def target(
    style: str = "json",
    defect: str = "",
    slow: float = 0.0,
    *,
    gates: bool = False,
    **changes: Any,
) -> Target:
    """One of the daemons, described, with its `gates` if so; `changes` to what is said of it."""
    offered = OFFERED | (REPORTING if style != "value" else frozenset())
    offered |= {Cap.BY_VALUE} if style in ("value", "json") else frozenset()
    reports = {
        "status": {
            "pid": "os_pid",
            "loads": "disk_reads",
            "cached": "cached",
            "queries": "counts.queries",
            "uptime_s": "uptime",
        },
        "health": {"status": "state", "uptime_s": "uptime", "cached": "cached", **_COUNTS},
        "metrics": {"loads": "disk_reads", **_COUNTS},
    }
    # Values are pairs of a name and what it stands for, because RPyC copies no mapping.
    at = {"path": "0.1", "line": "1.1", "text": "2.1"} if style == "value" else {}
    command = [
        *("{python}", str(PROGRAM), "{project}", "--style", style),
        *("--defect", defect, "--slow", str(slow)),
    ]
    faults = Faults(
        hold=[*command, "--hold-at", "{point}", "{gate}"],
        fail=[*command, "--fail-at", "{point}", "{gate}"],
        query="search",
    )
    said: dict[str, Any] = {
        "socket": ".otherd/otherd.sock",
        "env": {"OTHERD_IDLE": "{idle}"},
        "files": {".otherd/config.json": '{"ttl_s": {ttl_s}, "more": {}}'},
        "methods": Methods(
            query="query(query, limit)",
            query_fts="query_fts(query=query, limit=limit)",
            query_hybrid="query_hybrid(query, limit=limit)",
            index="rebuild(progress=progress)",
            clear="flush()",
            status="stats()",
            health="stats()",
            metrics="stats()",
            ping="",
            stop="quit()",
        ),
        "hits": "[]",
        "path": "path",
        "line": "line",
        "text": "text",
        "decode": json.loads if style == "json" else None,
        "capabilities": offered,
        "faults": faults if gates else None,
        **(reports if style != "value" else {}),
        **at,
        **changes,
    }
    start = Spawn(command, ready=r"^ready at", taken="there is one", taken_status=3)
    return Target(said.pop("start", start), **said)
