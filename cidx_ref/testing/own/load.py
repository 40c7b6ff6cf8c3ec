"""This package's daemon as load sessions have it: on a copy of real source, with a slow embedder.

Its clients are the shipped one where a scenario wants an answer through stops and crashes: that one
starts a daemon where it finds none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cidx_ref.client import DaemonClient
from cidx_ref.interpreter import python_command
from cidx_ref.launcher import start_process
from cidx_ref.project import Project
from cidx_ref.testing.conformance.asking import Answer, Hit
from cidx_ref.testing.conformance.target import Cap, Spawn, Target
from cidx_ref.testing.load.connection import DaemonConnection
from cidx_ref.testing.load.place import STORY_METHODS

__all__ = ["ENVIRONMENT", "OWN", "OwnTarget", "ShippedClient", "launching", "own_target"]

#: By default its embedder takes some time for a query, or queries that wait for each other would
#: hardly show.
ENVIRONMENT = {"CIDX_REF_EMBEDDER": "cidx_ref.testing.own.patient:patient"}

_MODES = {"query": "semantic", "query_fts": "fts", "query_hybrid": "hybrid"}


@dataclass(frozen=True)
class OwnTarget(Target):
    """Also one of which the daemon is another program, `command`, that takes the arguments of
    `cidx-ref`: so that one can be tried that has a defect."""

    command: Sequence[str] = ()


def own_target(*command: str) -> OwnTarget:
    """Without a command, the daemon that is installed."""
    return OwnTarget(
        Spawn(("{python}", "-P", "-m", "cidx_ref", "serve", "--project", "{project}")),
        methods=replace(STORY_METHODS, status="get_metrics()"),
        files={".code-indexer/config.json": '{"daemon": {"ttl_minutes": {ttl_minutes}}}\n'},
        status={"loads": "cache.load"},
        stale="stale",
        connect=DaemonConnection,
        capabilities={
            *(Cap.INDEX, Cap.CLEAR, Cap.STATUS, Cap.LOADS, Cap.SHORT_TTL, Cap.IDLE, Cap.STOP),
            *(Cap.KILL, Cap.FTS, Cap.HYBRID, Cap.BY_VALUE, Cap.LIMITS, Cap.FRESH, Cap.WATCH),
            *(Cap.SPEED, Cap.MEMORY),
        },
        command=command,
    )


OWN = own_target()


def launching(command: Sequence[str], environment: Mapping[str, str]) -> Callable[[Project], str]:
    """What starts daemons by `command`, followed by the arguments of `cidx-ref`, with `environment`
    beside their own.  Without a command, it is this package's."""

    def instead(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        ours, inherited = python_command(module, *arguments)
        return [*command, *arguments] if command else ours, {**inherited, **environment}

    return lambda project: start_process(project, instead)


class ShippedClient:
    """The shipped client, asked as all daemons are."""

    def __init__(self, root: Path, timeout_s: float, launch: Callable[[Project], object]) -> None:
        self._client = DaemonClient(Project.at(root), timeout_s=timeout_s, launch=launch)

    def query(self, text: str, mode: str, limit: int) -> Answer:
        answer = self._client.query(text, mode=_MODES[mode], limit=limit)
        return Answer([Hit(hit.path, hit.line_start, hit.snippet) for hit in answer], None)

    def close(self) -> None:
        self._client.close()
