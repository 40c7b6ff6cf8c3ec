"""What a daemon says of itself and of its work, key by key: plain dictionaries, as JSON has them.

`DaemonClient`'s methods return these.  The daemon makes them (`daemon.report`, `daemon.health`,
`daemon.service`); `tests/test_results.py` holds each against the answers of a real one.  They are
types only: a client does not import this module, which would cost each query two milliseconds.
Durations and ages are in the unit that the key names.
"""

# Without `from __future__ import annotations`: `NotRequired` is not seen in a string, and the set
# of required keys would be wrong at run time.
from typing import NotRequired, TypedDict

__all__ = [
    "CacheCleared",
    "CacheEvents",
    "CallUnderWay",
    "Diagnostics",
    "Embedding",
    "Health",
    "IndexFiles",
    "IndexReport",
    "Latency",
    "Limits",
    "Metrics",
    "Ping",
    "Skipped",
    "SkippedFile",
    "Status",
    "ThreadPlace",
    "Watch",
    "WatchCounts",
    "WatchFallback",
]


class _Identity(TypedDict):
    """Who answers; `project` is the resolved root, None where there is none yet."""

    pid: int
    version: str
    project: str | None


class Ping(_Identity):
    """Who answers, of `DaemonClient.ping`."""

    pong: bool


class WatchFallback(TypedDict):
    """Why, and when (ISO 8601), a watch had no events to go by."""

    reason: str
    at: str


class Watch(TypedDict):
    """Whether the project is watched.

    `mode` is "off", "starting", "watching", or "scanning" where the files have to be looked at from
    time to time: `reason` says why.  `since` is when that began, and `last_fallback` what was the
    last reason to scan.  `folders` are watched.  `pending` files are known to have changed since
    the live index was made; it is None while that is not known.
    """

    mode: str
    since: str | None
    folders: int
    pending: int | None
    reason: str | None
    last_fallback: WatchFallback | None


class Status(_Identity):
    """What is cached and how old the index is, of `DaemonClient.status`.

    `generation`, `files`, `chunks`, `model` (the embedder's id, or the full cidx's collection) and
    `index_age_seconds` are those of the index on disk; what is cached may be older until the next
    query.  `generation` is None without an index, and "unusable"
    for a damaged one; `index_problem` says why.  `key_problem` says why an index is good for this
    daemon only; None where the account's key lasts.  `address` is a path that every RPyC client can
    connect to while this daemon runs, `index_directory` what `generations/` lies in, and `log` the
    daemon's log; they are None where there is no project yet, as `watch` is.  `skipped` counts what
    the last index run left out, by reason.  `source` says whose index serves: "own", "cidx" (the
    full cidx's) or None; `cidx` what is known of the full cidx's, None where none lies here.  The
    other keys that are not required are there while an
    index is cached.  `last_accessed` is local time in ISO 8601.
    """

    running: bool
    address: str | None
    index_directory: str | None
    log: str | None
    cache_empty: bool
    uptime_seconds: float
    indexing: bool
    key_problem: str | None
    generation: str | None
    index_age_seconds: float | None
    model: str | None
    files: int
    chunks: int
    skipped: dict[str, int]
    source: str | None
    cidx: dict[str, object] | None
    watch: Watch | None
    index_problem: NotRequired[str]
    semantic_cached: NotRequired[bool]
    fts_available: NotRequired[bool]
    fts_cached: NotRequired[bool]
    cached_generation: NotRequired[str]
    last_accessed: NotRequired[str]
    access_count: NotRequired[int]
    ttl_minutes: NotRequired[float]


class Health(TypedDict):
    """Whether the daemon is well, of `DaemonClient.health`.

    `status` is "healthy" or "degraded".  `queries_processed` and `errors` count from the start;
    `status`, `error_rate` (0 to 1) and the `recent_` figures are about the last `window_seconds`.
    `problem` says what is wrong now, such as that the daemon's installation has been replaced.
    """

    status: str
    problem: str | None
    uptime_seconds: float
    queries_processed: int
    errors: int
    error_rate: float
    cache_active: bool
    window_seconds: float
    recent_queries: int
    recent_errors: int


class CacheEvents(TypedDict):
    """How often each thing has happened to the cache since the start."""

    hit: int
    load: int
    load_failed: int
    evict: int
    clear: int
    replace: int


class Latency(TypedDict):
    """Percentiles of the last 1000 calls of a method, in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class WatchCounts(TypedDict, total=False):
    """What the watch has done since the start: index runs it has asked for, events, those that came
    while others settled, and overflows of the kernel's queue.  The seconds are those from the first
    event to the index that has it.  Nothing where there is no watch."""

    runs: int
    events: int
    coalesced: int
    overflows: int
    seconds_last: float | None
    seconds_p50: float | None
    seconds_p95: float | None


class Metrics(TypedDict):
    """Counts since the daemon's start, of `DaemonClient.metrics`.

    `calls` is by method and outcome ("ok", or the kind of the error); `latency_ms` by method;
    `load_seconds` is the time that all loads took together.
    """

    calls: dict[str, dict[str, int]]
    cache: CacheEvents
    load_seconds: float
    watch: WatchCounts
    latency_ms: dict[str, Latency]


class CallUnderWay(TypedDict):
    """A call that has not been answered yet, and its age."""

    method: str
    seconds: float


class ThreadPlace(TypedDict):
    """A thread of the daemon's, and the innermost place of the package's own in its stack."""

    name: str
    at: str


class Limits(TypedDict):
    """What the daemon takes at most.

    `connections_limited_by` names the system's limit, and its value, that leaves it with fewer
    connections than it would take; a connection that asks for nothing is ended after
    `idle_seconds`, or sooner if others want its place.
    """

    max_calls: int
    max_connections: int
    connections_limited_by: str | None
    idle_seconds: float
    max_request_bytes: int
    frame_timeout_seconds: float
    max_query_chars: int
    max_limit: int


class Embedding(TypedDict):
    """The embedder, and the number of its dimensions."""

    id: str
    dim: int


class IndexFiles(TypedDict, total=False):
    """Whether the live generation's files are what its manifest says; each damaged one, and why.

    `matches_manifest` is None without an index; there are no keys at all without a project.
    """

    generation: str | None
    matches_manifest: bool | None
    damaged: dict[str, str]


class Diagnostics(TypedDict):
    """What is in flight, where each thread is, versions, limits and files, of
    `DaemonClient.diagnostics`."""

    in_flight: list[CallUnderWay]
    connections: int
    threads: list[ThreadPlace]
    versions: dict[str, str]
    limits: Limits
    embedder: Embedding
    index_files: IndexFiles


class SkippedFile(TypedDict):
    """A file that is not in the index, or a folder as a whole (its path ends in "/"), and why."""

    path: str
    reason: str


class Skipped(TypedDict):
    """What the last index run left out, of `DaemonClient.skipped`.

    `counts` is by reason, and counts all; `files`, sorted by path, has the first 5,000.
    """

    counts: dict[str, int]
    files: list[SkippedFile]


class CacheCleared(TypedDict):
    """Of `DaemonClient.clear_cache`: "cache cleared"."""

    status: str


class IndexReport(TypedDict):
    """What the index holds after a run, and what the run did, of `DaemonClient.index`.

    `changed` is False where the index was up to date already.  `guessed` counts the files whose
    encoding nothing told, and which were decoded by a guess.  `skipped` counts what was left out,
    by reason (`DaemonClient.skipped` has the list).  `removed` names the generations that this
    account had not made and the run has removed.  `notes` has what a user should know of the run, a
    sentence each.
    """

    status: str
    project: str
    generation: str
    changed: bool
    files: int
    chunks: int
    guessed: int
    skipped: dict[str, int]
    removed: list[str]
    notes: list[str]
    took_ms: float
