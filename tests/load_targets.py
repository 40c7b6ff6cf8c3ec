"""Daemons for load sessions, as targets: `--target load_targets:NAME`.

A name that is none of these is a defect of `broken_load`, in our own daemon.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cidx_ref.testing.conformance.target import Attach, Cap, Methods, Spawn, Target
from cidx_ref.testing.own.load import OwnTarget, own_target

_HERE = Path(__file__).parent

#: Somebody else's: other names, other places, answers as JSON.
OTHER = Target(
    Spawn(
        ("{python}", str(_HERE / "kit_daemons.py"), "{project}", "--style", "json"), ready="ready"
    ),
    socket=".otherd/otherd.sock",
    methods=Methods(
        query="query(query, limit)",
        query_fts="query_fts(query, limit)",
        query_hybrid="",
        index="rebuild()",
        clear="flush()",
        status="stats()",
        stop="quit()",
    ),
    decode=json.loads,
    hits="[]",
    line="line",
    text="text",
    env={"OTHERD_TTL_S": "{ttl_s}", "OTHERD_IDLE": "{idle}"},
    status={"loads": "disk_reads"},
    capabilities={
        *(Cap.INDEX, Cap.CLEAR, Cap.STATUS, Cap.LOADS, Cap.SHORT_TTL, Cap.IDLE, Cap.STOP),
        *(Cap.KILL, Cap.FTS),
    },
)
#: One that answers with the files of other questions, now and then.
MIXED = Target(
    Spawn((*OTHER.start.command, "--defect", "mixes_answers_up")),  # type: ignore[union-attr]
    **{name: getattr(OTHER, name) for name in OTHER.__dataclass_fields__ if name != "start"},
)
#: Nobody is there.
NOBODY = Target(Attach("/nowhere.sock"))


def __getattr__(name: str) -> OwnTarget:
    if name.startswith("_"):
        raise AttributeError(name)
    return own_target(sys.executable, "-P", str(_HERE / "broken_load.py"), name)
