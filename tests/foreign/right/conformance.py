"""What the kit is told of rightd."""

import json
from pathlib import Path

from cidx_ref.testing import Cap, Methods, Spawn, Target

RIGHTD = str(Path(__file__).with_name("rightd.py"))

TARGET = Target(
    Spawn(
        ("{python}", RIGHTD, "serve", "{project}"),
        ready="rightd: serving",
        taken="rightd: already serving",
    ),
    writer=("{python}", RIGHTD, "index", "{project}"),
    socket=".right/sock",
    files={".right/config.json": '{"ttl_s": {ttl_s}, "stop_when_idle": {idle}}'},
    methods=Methods(
        query="query(query, limit=limit, fresh=fresh)",
        query_fts="",
        query_hybrid="",
        index="index()",
        clear="clear()",
        status="status()",
        health="",
        metrics="",
        ping="",
        stop="stop()",
    ),
    decode=json.loads,
    hits="hits",
    path="file",
    line="line",
    text="text",
    status={name: name for name in ("pid", "loads", "generation", "cached", "queries", "uptime_s")},
    capabilities={
        Cap.BASE,
        Cap.INDEX,
        Cap.WRITER,
        Cap.CLEAR,
        Cap.STATUS,
        Cap.LOADS,
        Cap.SHORT_TTL,
        Cap.IDLE,
        Cap.STOP,
        Cap.KILL,
        Cap.TAKEN,
        Cap.GONE,
        Cap.ERRORS,
        Cap.BY_VALUE,
        Cap.LIMITS,
        Cap.SPEED,
        Cap.MEMORY,
        Cap.FRESH,
        Cap.CONFIG,
    },
    not_offered={"FRESH-3": "a hit does not say that its file has changed"},
)
