"""The story's sample, as its project would describe it.

Hybrid queries are not offered: their answers have another shape than the others.
"""

from pathlib import Path

from cidx_ref.testing import Cap, Methods, Spawn, Target

PROGRAM = str(Path(__file__).with_name("daemon_service.py"))

TARGET = Target(
    Spawn(("{python}", PROGRAM, "serve", "{project}")),
    writer=("{python}", PROGRAM, "index", "{project}"),
    env={"PYTHONSAFEPATH": ""},  # its own modules lie beside it
    methods=Methods(
        query="query(project, query, limit=limit)",
        query_fts="query_fts(project, query, limit=limit)",
        query_hybrid="",
        index="index(project)",
        clear="clear_cache()",
        status="get_status()",
        health="",
        metrics="",
        ping="",
        stop="",
    ),
    hits="[]",
    path="path",
    line="line_start",
    text="snippet",
    status={"cached": "semantic_cached", "queries": "access_count"},
    capabilities={
        Cap.BASE,
        Cap.INDEX,
        Cap.WRITER,
        Cap.CLEAR,
        Cap.STATUS,
        Cap.KILL,
        Cap.TAKEN,
        Cap.FTS,
        Cap.ERRORS,
    },
)
