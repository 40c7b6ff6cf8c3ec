"""What the kit is told of otterd."""

from pathlib import Path

from cidx_ref.testing import Cap, Methods, Spawn, Target

OTTERD = str(Path(__file__).with_name("otterd.py"))

TARGET = Target(
    Spawn(
        ("{python}", OTTERD, "run", "{project}"),
        ready=r"swimming in",
        taken=r"has its otter",
        taken_status=3,
    ),
    writer=("{python}", OTTERD, "rebuild", "{project}"),
    socket=".otter/run/otter.sock",
    env={"OTTER_TTL_S": "{ttl_s}", "OTTER_IDLE": "{idle}"},
    methods=Methods(
        query="search(query, top=limit)",
        query_fts="exact(query, top=limit)",
        query_hybrid="",
        index="rebuild()",
        clear="flush()",
        status="stats()",
        health="",
        metrics="",
        ping="",
        stop="quit()",
    ),
    hits="[]",
    path="path",
    line="line",
    text="text",
    status={
        "pid": "os_pid",
        "loads": "disk_reads",
        "queries": "asked",
        "generation": "raft",
        "cached": "aboard",
        "uptime_s": "up_s",
    },
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
        Cap.FTS,
        Cap.ERRORS,
    },
)
