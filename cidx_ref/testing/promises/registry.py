"""The promises, by id: the one list that tests, the report and the mutants refer to.

What the story asks of each, and where it is not taken literally, is in docs/requirements.md.
A project adds promises of its own, in a file:

    [promises]
    "MY-1" = "an answer names the shard that it is from"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cidx_ref.testing.promises.reading import read_toml

__all__ = ["PROMISES", "PromisesError", "known_promises"]

_ID = re.compile(r"[A-Za-z][\w.-]*")

PROMISES: dict[str, str] = {
    "SRV-1": "serves RPyC on .code-indexer/daemon.sock, many clients at once",
    "SRV-2": "binding is the lock, no PID file: of any number of starters at the same moment, on a free, stale or live path, exactly one serves and is reachable; the others exit 0",
    "SRV-3": "after kill -9 the next start serves within a second",
    "SRV-4": "stop and SIGTERM answer what is in flight, refuse what is new, remove only their own socket, exit 0",
    "SRV-5": "a daemon whose socket or project was moved, removed or taken over notices and exits",
    "CACHE-1": "an index is loaded once per TTL period and generation, whatever arrives at once",
    "CACHE-2": "a failed load is reported, not remembered: the next query tries again",
    "CACHE-3": "a clear, eviction or publish during a load never installs the stale result",
    "CACHE-4": "a query sees one generation from beginning to end",
    "CACHE-5": "once index has returned, every later query answers from the new generation",
    "CACHE-6": "a query error leaves the cache as it was",
    "CACHE-7": "eviction and clear give the memory back to the system",
    "CACHE-8": "an index rebuilt by another process is picked up by the next query",
    "TTL-1": "alive strictly before the TTL; gone at the first check at or after it",
    "TTL-2": "every use renews, at its end as well as its beginning; an entry in use is never evicted",
    "TTL-3": "steps of the wall clock change nothing",
    "TTL-4": "a check every eviction_check_interval_seconds; an error in it is logged and the next one runs; stop wakes it at once",
    "TTL-5": "idle shutdown only when configured, never with a query or an index in flight (a run that only the watcher wants is cancelled, not waited for); a daemon nobody ever asked counts as idle too; a client that arrives during it is served by the next daemon",
    "WRITE-1": "writers of a project run one at a time, across processes",
    "WRITE-2": "queries neither wait for a running index nor see half of it",
    "WRITE-3": "a crash at any instant leaves the old or the new generation, whole, and no litter after the next start",
    "QRY-1": "semantic search: the nearest chunks, best first, each hit pointing at lines that exist",
    "QRY-2": "full-text search: code-aware, ranked, filters exact",
    "QRY-3": "hybrid: both at once (the time of the slower, not the sum), fused; where one engine cannot answer, the other's answer, and it says so",
    "QRY-4": "any text is a legal query; none raises, none silently matches nothing because of its punctuation",
    "QRY-5": "a bad argument is refused by name before any lock is taken",
    "RPC-1": "one round trip, by value",
    "RPC-2": "every error class survives the trip, with its message, without the server's traceback or paths",
    "RPC-3": "nothing but the exposed methods can be reached from a connection",
    "RPC-4": "a slow query delays nobody else",
    "RPC-5": "a client that vanishes mid-call leaves no pin, lock, thread or descriptor behind",
    "RPC-6": "garbage, oversized, slow or endless input costs the sender its connection and nobody anything else",
    "OBS-1": "status is accurate (the story's keys, and pid, version, generation, age of the index)",
    "OBS-2": "health is accurate: the story's keys, judged over a recent window",
    "OBS-3": "metrics count every call, hit, load and eviction once; the log tells what happened and why",
    "PERF-1": "warm semantic query < 100 ms at p95, embedding excluded",
    "PERF-2": "warm full-text query < 20 ms at p95",
    "PERF-3": "10 and more readers at once, within PERF-1 and PERF-2",
    "PERF-4": "memory flat over 1000 queries",
    "PERF-5": "PERF-1 to PERF-3 while an index runs and across its publish",
    "PERF-6": "no gap above 50 ms at a publish of our own index, at any size",
    "FRESH-1": "while a daemon runs, a change is queryable within a second of being saved, without a command; one that starts scans first, and lets its first query wait for that at most a second",
    "FRESH-2": "fresh never answers from before the call",
    "FRESH-3": "no answer shows a line that its generation does not hold, and a hit whose file changed says so",
    "FRESH-4": "an incremental index, merged, equals a full one",
    "FRESH-5": "the cost of a run is that of the change",
    "TRUST-1": "the tree decides nothing: whatever lies in it, nothing outside is read, written, removed, connected to or run, and nothing hangs",
    "TRUST-2": "an index answers only if this account made it, or took it after checking",
    "TRUST-3": "another local user can neither read the text, answer, block, nor be answered",
    "TRUST-4": "a new process is a new client: no answer is another process's",
    "CFG-1": "configuration as in the story, validated",
}


class PromisesError(ValueError):
    """A file of promises that cannot be used; the message names it, and what is wrong."""


def known_promises(*paths: Path) -> dict[str, str]:
    """All promises: those above, and behind them those of the files.  Raises `PromisesError`."""
    known = dict(PROMISES)
    for path in paths:
        for id_, text in _read(path).items():
            if id_ in PROMISES:
                raise PromisesError(f"{path}: {id_} is a promise of the kit: choose another id")
            if known.setdefault(id_, text) != text:
                raise PromisesError(f"{path}: {id_} is another promise in another file")
    return known


def _read(path: Path) -> Mapping[str, str]:
    try:
        document = read_toml(path)
    except ValueError as error:
        raise PromisesError(f"{path}: {error}") from None
    own = document.pop("promises", None)
    if document or not isinstance(own, dict) or not own:
        raise PromisesError(f"{path}: it has one table, [promises], of ids and texts")
    for id_, text in own.items():
        if not _ID.fullmatch(id_):
            raise PromisesError(f"{path}: {id_!r} is no id: a letter, then letters, digits, - . _")
        if not isinstance(text, str) or not text.strip():
            raise PromisesError(f"{path}: {id_} has no text")
    return {id_: " ".join(text.split()) for id_, text in own.items()}
