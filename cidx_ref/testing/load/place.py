"""Where a daemon under load is, what it serves, and how it is asked: as its target says.

    place = Place(target, "unix:///path/to/some.sock", Path("/path/to/project"))
    with place.connect() as asker:
        asker.query("lantern anchor", "query_fts")

A daemon at `--host`, or started by `--daemon`, of which no target says anything, is taken for one
that has the story's methods, as far as it has them; its answers may be lists, or have `results`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance.asking import Answer, Asker, Gone, address_at
from cidx_ref.testing.conformance.netrefs import by_value
from cidx_ref.testing.conformance.target import Attach, Cap, Methods, Peer, Spawn, Target
from cidx_ref.testing.load.connection import DaemonConnection, MeasuredConnection, trimmed
from cidx_ref.testing.load.corpus import METHODS, Question

__all__ = [
    *("STORY_METHODS", "Place"),
    *("able", "as_results", "attached", "modes_of", "project_at", "spawned", "story"),
]

#: The story's methods, whose arguments are given by name.
STORY_METHODS = Methods(
    **{
        mode: f"{mode}(project_path=project, query=query, limit=limit, fresh=fresh)"
        for mode in METHODS
    },
    index="index(project_path=project, full=full)",
    status="get_status()",
)
#: Of each mode, what offers it.
_OFFERED = {"query": Cap.BASE, "query_fts": Cap.FTS, "query_hybrid": Cap.HYBRID}
#: What has the methods, and is assumed to keep the story's promises of speed and memory.
_STORY_CAPS = {
    "query_fts": Cap.FTS,
    "query_hybrid": Cap.HYBRID,
    "index": Cap.INDEX,
    "clear_cache": Cap.CLEAR,
}
_LOADS = "cache.load"
#: Where the file of a hit is, in daemons that follow the story.
_PATHS = ("path", "file_path", "file", "filename")
_NO_METHOD = "has no method `query`: give --target"

_STORY_FILES = {
    ".code-indexer/config.json": '{"daemon": {"enabled": true, "ttl_minutes": {ttl_minutes}, '
    '"auto_shutdown_on_idle": {idle}, "watch": {watch}}}\n'
}


@dataclass(frozen=True)
class Place:
    """A daemon, as each process of a session knows it."""

    target: Target
    #: `unix:///path/to/some.sock` or `tcp://host:port`.
    host: str
    #: The directory that it serves.
    root: Path

    @property
    def modes(self) -> tuple[str, ...]:
        """Those that it offers."""
        return modes_of(self.target)

    @property
    def is_judged_by_content(self) -> bool:
        return bool(self.target.hits and self.target.path)

    def open(self, timeout_s: float) -> Peer:
        """A connection.  Raises `OSError`, `EOFError`."""
        if self.target.connect is None:
            return MeasuredConnection(self.host, timeout_s)
        return self.target.connect(self.host.removeprefix("unix://"), timeout_s)

    def asker(self, peer: Peer, timeout_s: float) -> Asker:
        return Asker(self.target, peer, self.root, timeout_s)

    def connect(self, timeout_s: float = 30.0) -> Asker:
        """A connection that is asked as the target says.  Raises `Gone`."""
        try:
            return self.asker(self.open(timeout_s), timeout_s)
        except (OSError, EOFError) as error:
            raise Gone(f"nobody accepts at {self.host}: {trimmed(error)}") from None

    def complaint(self, question: Question) -> Callable[[Answer], str | None] | None:
        """What tells whether an answer to `question` is right; None where it cannot be read."""
        return question.complaint if self.is_judged_by_content else None


def modes_of(target: Target) -> tuple[str, ...]:
    return tuple(mode for mode in METHODS if target.offers(_OFFERED[mode]))


def project_at(host: str, named: str | None = None) -> Path:
    """The directory that the daemon at `host` serves: as it was named, or else by the story's
    layout, two directories above its socket.  Raises `ValueError` if that cannot be told."""
    if named:
        return Path(named).absolute()
    scheme, _, path = host.partition("://")
    if scheme != "unix" or not path.startswith("/"):
        raise ValueError(f"host: {host!r}: not unix:///path/to/daemon.sock: give --project DIR")
    return Path(path).parent.parent


def attached(target: Target) -> Place:
    """Where the daemon is that is there already."""
    assert isinstance(target.start, Attach)
    root = Path(target.start.project).absolute()
    address = address_at(target, root)
    return Place(
        target, address if "://" in address else f"unix://{Path(address).absolute()}", root
    )


def story(host: str, named: str | None = None, caps: Iterable[Cap] | None = None) -> Place:
    """A daemon at `host` that has the story's methods; which of them, it is asked, unless `caps`
    says so.  Raises `OSError`, `EOFError`, and `ValueError` where it has none."""
    root = project_at(host, named)
    target = _story(Attach(host, str(root)))
    return Place(_able(target, host, caps), host, root)


def spawned(command: str, caps: Iterable[Cap] = ()) -> Target:
    """Any command that serves, as `--daemon` has it."""
    words = command if "{project}" in command else f"{command} serve --project {{project}}"
    offered = (*_STORY_CAPS.values(), Cap.STOP, Cap.KILL, Cap.SPEED, Cap.MEMORY)
    return replace(_story(Spawn(words)), files=_STORY_FILES, capabilities={*offered, *caps})


def able(place: Place) -> Place:
    """The same, of which is known what it can."""
    return replace(place, target=_able(place.target, place.host, None))


def _story(start: Spawn | Attach) -> Target:
    return Target(
        start,
        methods=STORY_METHODS,
        line="",
        text="",
        decode=as_results,
        status={"loads": _LOADS},
        connect=DaemonConnection,
    )


def _able(target: Target, host: str, caps: Iterable[Cap] | None) -> Target:
    offered = set(_asked(host) if caps is None else caps)
    if isinstance(target.start, Spawn):
        offered |= {Cap.KILL} | ({Cap.STOP} if caps is None else set())
    status = "get_metrics()" if Cap.LOADS in offered else STORY_METHODS.status
    return replace(target, methods=replace(STORY_METHODS, status=status), capabilities=offered)


def _asked(host: str) -> set[Cap]:
    """What the daemon at `host` has of the story, and of ours beyond it."""
    connection = DaemonConnection(host, 10.0)
    try:
        if not connection.has("query"):
            raise ValueError(f"host: {host}: {_NO_METHOD}")
        offered = {cap for method, cap in _STORY_CAPS.items() if connection.has(method)}
        with suppress(Exception):  # it has no such method, or counts nothing
            int(connection.call("get_metrics")["cache"]["load"])
            offered |= {Cap.STATUS, Cap.LOADS}
        if connection.gives_values:
            offered |= {Cap.BY_VALUE, Cap.LIMITS, Cap.FRESH}
    finally:
        connection.close()
    return {Cap.BASE, Cap.SPEED, Cap.MEMORY, *offered}


def as_results(answer: Any) -> Any:
    """A bare list of hits as one in `results`; and a hit's file as its `path`."""
    answer = by_value(answer)
    if isinstance(answer, (list, tuple)):
        answer = {"results": list(answer)}
    if isinstance(answer, dict) and isinstance(answer.get("results"), (list, tuple)):
        answer = {**answer, "results": [_with_path(hit) for hit in answer["results"]]}
    return answer


def _with_path(hit: Any) -> Any:
    if isinstance(hit, str):
        return {"path": hit}
    if not isinstance(hit, Mapping):
        return hit
    payload = hit.get("payload")
    places = (hit, payload) if isinstance(payload, Mapping) else (hit,)
    paths = (place[name] for place in places for name in _PATHS if name in place)
    return {**hit, "path": next(paths, "")}
