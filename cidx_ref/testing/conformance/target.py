"""What a project says of its daemon, so that it can be judged: how it is started, where it listens,
what its methods are called, how its answers are read, and what it offers.

    TARGET = Target(
        Spawn("otherd run {project}", ready=r"ready at", taken=r"there is one", taken_status=3),
        socket=".otherd/otherd.sock",
        methods=Methods(query="search(query, limit)", index="rebuild()", stop="quit()"),
        hits="[]", path="file", line="line", text="text",
        capabilities={Cap.BASE, Cap.INDEX, Cap.STOP, Cap.KILL},
    )

Nothing here starts or asks anything: `subject` and `asking` do.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from cidx_ref.testing.conformance.calls import Call, TargetError, call_of
from cidx_ref.testing.promises.wording import shown

__all__ = [
    "HEALTH_NAMES",
    "MAX_SOCKET_BYTES",
    "METRICS_NAMES",
    "PLACEHOLDERS",
    "STATUS_NAMES",
    "Attach",
    "Beyond",
    "Call",
    "Cap",
    "Faults",
    "Methods",
    "Peer",
    "Spawn",
    "Subjects",
    "Target",
    "TargetError",
    "filled",
    "words",
]


class Cap(StrEnum):
    """What a target offers.  A promise that needs what is not declared is "not offered", and the
    value here is what is said to be missing."""

    BASE = "it can be connected to and asked"
    #: `Methods.index` brings the index up to date and returns when it has.
    INDEX = "a method that indexes"
    #: `Target.writer` does the same in a process of its own.
    WRITER = "a writer beside the daemon"
    CLEAR = "a method that empties the cache"
    #: `Target.status["pid"]` and whatever else of `status` is named.
    STATUS = "a status"
    #: `Target.status["loads"]`, or `metrics["loads"]`, counts what was loaded from disk.
    LOADS = "a count of loads in its status or metrics"
    #: `{ttl_s}` or `{ttl_minutes}` in `Target.env` or `files` decides how long a cache lives.
    SHORT_TTL = "a cache whose time to live can be set to a second"
    #: `{idle}` there (`true` or `false`) has it end once it is idle for as long.
    IDLE = "a shutdown when idle"
    #: SIGTERM ends it gracefully; so does a method, where `Methods.stop` names one.
    STOP = "a graceful stop"
    #: It may be killed by SIGKILL: a `Spawn`'s only.
    KILL = "a daemon that may be killed"
    #: A second start finds the first and ends (`Spawn.taken`).
    TAKEN = "a second start that finds the first"
    #: It ends by itself when its socket is removed.
    GONE = "a daemon that notices that its socket is gone"
    FTS = "full-text search"
    HYBRID = "hybrid search"
    #: Bad arguments are refused by their name.
    ERRORS = "errors that name a bad argument"
    #: Answers come by value, in one message each way.
    BY_VALUE = "answers by value"
    #: What peers can do to it is bounded: size, time and number.
    LIMITS = "limits for hostile peers"
    HEALTH = "a report of its health"
    METRICS = "metrics"
    #: A query takes `fresh`, and then never answers from before the call.
    FRESH = "fresh answers"
    #: A run of an index that is there takes what the change takes.
    INCREMENTAL = "index runs for what has changed only"
    #: Saved files are indexed without a command.
    WATCH = "a watch of the files"
    #: The latency that PERF-1 to PERF-3 name.
    SPEED = "latencies that are promised"
    #: Memory stays as it is over many queries, and is given back on a clear.
    MEMORY = "memory that is bounded"
    #: A configuration in the project, whose bad values are refused (`Target.files`).
    CONFIG = "a configuration that is validated"
    #: Other users of the machine can neither ask it, nor answer in its place.
    PRIVATE = "a socket that is its user's alone"
    #: `Target.connect` is a client of the project's own, and not an adapter for the kit.
    FORKS = "a client that may be used across a fork"


@dataclass(frozen=True)
class Spawn:
    """A daemon that is started, and ended, by the kit.  Its command may have the placeholders that
    `Target.env` names.  It may serve in the foreground, or in the background and end with status 0.

    Nothing is printed that the kit needs unless `ready` or `taken` say so: without `ready`, it is
    ready when its socket accepts.
    """

    #: One command line, as a shell would split it; or its words.
    command: str | Sequence[str]
    #: A pattern (`re.search`) of a line of its output by which it says that it accepts.
    ready: str = ""
    #: The same for a start that found another daemon; without it, by its exit alone.
    taken: str = ""
    #: The exit status of such a start.
    taken_status: int = 0
    #: The exit status of one that was stopped gracefully.
    stopped_status: int = 0
    #: Seconds within which it accepts.
    patience_s: float = 30.0


@dataclass(frozen=True)
class Attach:
    """A daemon that is there already: asked, and never stopped, killed or reconfigured."""

    #: The path of its socket (`unix:///path`, too), or `tcp://host:port`.
    address: str
    #: What it serves.
    project: str = "."


class Peer(Protocol):
    """A connection to a daemon.  `asking.RpycPeer` is the usual one; a daemon that speaks something
    else needs one of its own, some ten lines.  Each call raises what the daemon answers as an
    error, and `ConnectionError`, `EOFError` or `TimeoutError` where there is no answer."""

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Methods:
    """The methods, each as `name(role, name=role)`, with the roles `project` (its directory, as
    text), `query`, `limit`, `progress` (a callback), `fresh` and `full` (bool).  By default they
    are the story's.  An empty one is not there."""

    query: str = "query(project, query, limit=limit, fresh=fresh)"
    query_fts: str = "query_fts(project, query, limit=limit, fresh=fresh)"
    query_hybrid: str = "query_hybrid(project, query, limit=limit, fresh=fresh)"
    index: str = "index(project)"
    clear: str = "clear_cache()"
    status: str = "get_status()"
    health: str = "get_health()"
    metrics: str = "get_metrics()"
    ping: str = "ping()"
    stop: str = "shutdown()"

    def __post_init__(self) -> None:
        """Raises `TargetError`, which names the field."""
        for name in self.__dataclass_fields__:
            text = getattr(self, name)
            if not isinstance(text, str):
                raise TargetError(f"methods: {name}: {shown(text)}: must be text")
            if text:
                self.call(name)

    def call(self, role: str) -> Call:
        """How that one is called.  Raises `ValueError`, also where it is not there."""
        text = getattr(self, role)
        if not text:
            raise ValueError(f"methods: there is no {role!r}")
        return call_of(role, text)


@dataclass(frozen=True)
class Faults:
    """Where the daemon, and its writer, can be made to die: commands with `{point}`, which end
    themselves when they come to that point, by SIGKILL or (`terminate`) by SIGTERM.

        Faults(
            crash="otherd-faulty --crash-at {point} run {project}",
            start=("claimed", "bound"), stop=("unlinked",),
        )

    Or where it can be held, or made to fail: commands with `{point}` and `{gate}`, the path of a
    file that is not there at first.
    """

    #: The daemon's command.
    crash: str | Sequence[str] = ""
    terminate: str | Sequence[str] = ""
    #: The writer's.
    crash_writer: str | Sequence[str] = ""
    #: The daemon's: who comes to that point while there is a file at `{gate}` renames it to
    #: `{gate}.held`, and waits until that is gone.
    hold: str | Sequence[str] = ""
    #: The daemon's: for as long as there is a file at `{gate}`, an error is raised at that point
    #: that nobody has thought of, and whose message has the path of a source file.
    fail: str | Sequence[str] = ""
    #: The points that every start passes which does not come too late, in their order;
    start: Sequence[str] = ()
    #: those that one passes if there is something to sweep;
    sweep: Sequence[str] = ()
    #: those of every graceful stop;
    stop: Sequence[str] = ()
    #: and those of a writer that has something to write.
    publish: Sequence[str] = ()
    #: For `hold` and `fail`: a point that every query passes which has an index to search, however
    #: often it was asked before.
    query: str = ""


@dataclass(frozen=True)
class Subjects:
    """Parts of the daemon that can be judged in this process (`check_cache`, `check_claim`,
    `check_lock`): the functions that make one."""

    cache: Callable[..., Any] | None = None
    claim: Callable[..., Any] | None = None
    lock: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Beyond:
    """What a target states that no promise does: its life is judged by that, too."""

    #: Of a project, the names of the sockets that are its daemon's, or may become so: when none is
    #: starting there is one while it serves, and else none.
    sockets: Callable[[Path], Sequence[str]] | None = None
    #: The names of what a writer has left half done.
    halves: Callable[[Path], Sequence[str]] | None = None
    #: Whatever it has started ends with it.
    processes: bool = False
    #: It answers from what was indexed, and from nothing that was saved since.
    exact: bool = False
    #: Makes the index of a project unreadable, and returns what mends it.
    damage: Callable[[Path], Callable[[], None]] | None = None


#: What `Target.status`, `health` and `metrics` may name.
STATUS_NAMES = ("pid", "loads", "generation", "cached", "queries", "uptime_s", "ttl_s", "project")
HEALTH_NAMES = ("status", "queries", "errors", "error_rate", "cached", "uptime_s")
METRICS_NAMES = ("queries", "errors", "hits", "loads", "evictions")
#: What is put in the place of `{name}`; see `Target.env`.
PLACEHOLDERS = (
    "project",
    "python",
    "socket",
    "ttl_s",
    "ttl_minutes",
    "idle",
    "watch",
    "point",
    "gate",
)

#: Of a Unix socket's path, on Linux.
MAX_SOCKET_BYTES = 107

_PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")


def filled(text: str, **values: str) -> str:
    """`text` with each `{name}` of `values` replaced; other braces stay as they are."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def words(command: str | Sequence[str]) -> list[str]:
    """The words of a command, as a shell would split it.  Raises `ValueError`."""
    return shlex.split(command) if isinstance(command, str) else list(command)


@dataclass(frozen=True)
class Target:
    """A daemon under test, as its project describes it.  What it says is checked at once."""

    start: Spawn | Attach
    #: Where its socket is: in the project, or absolute (`{project}`).  A `Spawn`'s only.
    socket: str = field(default=".code-indexer/daemon.sock", kw_only=True)
    methods: Methods = field(default_factory=Methods, kw_only=True)
    #: A command that indexes, in a process of its own, and ends.
    writer: str | Sequence[str] = field(default="", kw_only=True)
    #: Environment of daemon and writer, beside the inherited one.  Placeholders: `{project}`,
    #: `{python}`, `{socket}`, `{ttl_s}`, `{ttl_minutes}`, `{idle}` (`true`, `false`), `{watch}`
    #: (the same); commands may have them, too.
    env: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    #: Files that each project has before its daemon is started, by path: their text, with the same
    #: placeholders.  Other braces stay.
    files: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    #: The list of hits in an answer: a dotted path of keys or attributes; `[]` is the answer
    #: itself; empty: answers have none, and are not judged by what they say.
    hits: str = field(default="results", kw_only=True)
    #: The same in a hit: the file's path (relative or absolute), its line, some of its text.  An
    #: integer is an index.  Empty: there is none.
    path: str = field(default="path", kw_only=True)
    line: str = field(default="line_start", kw_only=True)
    text: str = field(default="snippet", kw_only=True)
    #: Makes plain data of what a call returns, before it is read (`json.loads`).
    decode: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    #: Where an answer says that it is none, as the story's `{"error": "..."}`: a dotted path.  What
    #: is found there, and is not empty, is taken as an error.
    error: str = field(default="error", kw_only=True)
    #: A pattern of the errors (kind and message) by which a daemon says that it is about to end.
    leaving: str = field(default=r"shutting.?down", kw_only=True)
    #: Of the status, where these are: `STATUS_NAMES`, each a dotted path.
    status: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    #: The same of the report of its health: `HEALTH_NAMES`,
    health: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    #: and of its metrics: `METRICS_NAMES`.
    metrics: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    capabilities: Iterable[Cap] = field(default=frozenset({Cap.BASE}), kw_only=True)
    #: Promises that it does not make, by id, with the reason.
    not_offered: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    #: How it is connected to; by default over RPyC.
    connect: Callable[[str, float], Peer] | None = field(default=None, kw_only=True)
    #: Makes the files of a project's edition n (from 1) in a directory, with the words of
    #: `corpus`; by default `corpus.write`.
    corpus: Callable[[Path, int], None] | None = field(default=None, kw_only=True)
    #: What it is asked: the query, and a file that must be found; by default `corpus.QUESTIONS`,
    #: which an attached daemon does not know.
    questions: Sequence[tuple[str, str]] = field(default=(), kw_only=True)
    faults: Faults | None = field(default=None, kw_only=True)
    subjects: Subjects = field(default_factory=Subjects, kw_only=True)
    #: Checks of its own (`checks.check`), which run like the kit's.
    checks: Sequence[Any] = field(default=(), kw_only=True)
    #: A command that starts one in the background, and ends with status 0 once it accepts.
    launcher: str | Sequence[str] = field(default="", kw_only=True)
    #: In a hit: whether its file has changed since it was indexed.
    stale: str = field(default="", kw_only=True)
    #: Seconds between two looks at the age of its cache, as it is configured; 0: it is not said.
    check_s: float = field(default=0.0, kw_only=True)
    beyond: Beyond = field(default_factory=Beyond, kw_only=True)

    def __post_init__(self) -> None:
        """Raises `TargetError`, which names the field."""
        # By name: what is said of a declaration stands above what is declared.
        problem: Callable[[Target], str] = import_module(f"{__package__}.declared").problem
        given: Any = self.capabilities
        if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
            given = tuple(given)  # which is looked at more than once
        object.__setattr__(self, "capabilities", given)
        if said := problem(self):
            raise TargetError(said)
        object.__setattr__(self, "capabilities", frozenset({Cap.BASE, *given}))

    def offers(self, *caps: Cap) -> bool:
        return set(caps) <= set(self.capabilities)

    def asks(self, placeholder: str) -> bool:
        """Whether `{placeholder}` is somewhere in what starts it."""
        token = f"{{{placeholder}}}"
        commands = [words(self.writer)]
        if isinstance(self.start, Spawn):
            commands.append(words(self.start.command))
        return any(
            token in text for text in (*chain(*commands), *self.env.values(), *self.files.values())
        )
