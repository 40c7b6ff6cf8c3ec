"""The daemons of `kit_indexes.py`, as their project would describe them to the kit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cidx_ref.testing.conformance.target import Cap, Methods, Spawn, Target

__all__ = ["PLAIN", "indexes"]

_PROGRAM = str(Path(__file__).with_name("kit_indexes.py"))


def indexes(defect: str = "") -> Target:
    """With that defect, or right."""
    command = [sys.executable, _PROGRAM]
    broken = ["--defect", defect] if defect else []
    return Target(
        Spawn(
            [*command, "serve", "{project}", *broken],
            ready=r"^ready",
            taken=r"there is one",
            taken_status=3,
        ),
        writer=[*command, "write", "{project}", *broken],
        socket=".otherd/otherd.sock",
        env={"OTHERD_TTL_S": "{ttl_s}", "OTHERD_WATCH": "{watch}"},
        methods=Methods(
            query="search(query, limit, fresh=fresh)",
            query_fts="search_words(query, limit, fresh=fresh)",
            query_hybrid="",
            index="rebuild()",
            clear="flush()",
            status="stats()",
            stop="quit()",
            ping="",
        ),
        hits="[]",
        path="file",
        line="line",
        text="text",
        stale="changed",
        check_s=0.1,
        decode=json.loads,
        status={"pid": "pid", "loads": "reads", "cached": "cached"},
        capabilities=set(Cap)
        - {Cap.IDLE, Cap.HYBRID, Cap.ERRORS, Cap.LIMITS, Cap.HEALTH, Cap.METRICS, Cap.CONFIG}
        - {Cap.GONE},
    )


PLAIN = indexes()
