"""What a watcher knows from a use to the next rest: plain state, and how it changes.

Guarded by the lock of `watch.Watch`, which makes the decisions; see there for the rules.  It is
not taken for reading `pending`, `mode` and `has_ended`.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections import deque
from collections.abc import Hashable
from typing import Any, Protocol

from cidx_ref.daemon.relevance import Relevance
from cidx_ref.daemon.watched import WatchedTree
from cidx_ref.runtime import Lock, Runtime, Thread
from cidx_ref.shown import escape

__all__ = [
    "AT_MOST_S",
    "SETTLE_S",
    "Ledger",
    "Pause",
    "Scan",
    "Session",
    "Waiter",
    "WatchListener",
    "described",
    "short",
    "why_no_events",
    "why_unseen",
]

_log = logging.getLogger("cidx_ref")

SETTLE_S, AT_MOST_S = 0.2, 1.0
#: So many changes while git has its index locked are a checkout, which is waited for, so long.
_CHECKOUT_FILES, _CHECKOUT_S = 100, 10.0
#: Between two scans: at least so long, so many times what the last one took, at most so long.
_SCAN_S, _SCAN_TIMES, _MAX_SCAN_S = 2.0, 20.0, 60.0
_SOON_S, _SOON_TIMES = 0.5, 2.0  # the same for a scan that an index was used before
#: A run that follows another one within so long comes after a pause: what one takes, or so many
#: times that where files change all the while, but never longer.
_FOLLOWS_S, _PAUSE_TIMES, _MAX_PAUSE_S = 2.0, 4.0, 5.0
_MAX_REASON = 200
_LATENCIES = 300
#: So far may the wall clock move against the monotonic one before it counts as having been set.
_STEP_S = 0.05
#: The clock of a file system may be behind by a tick; that of FAT, which has even seconds, by two.
_COARSE_S, _VERY_COARSE_S = 0.1, 2.1

# Where another machine, or a program, changes files of which the kernel hears nothing.
_UNSEEN = re.compile(
    r"nfs\d?|cifs|smb\w*|afs|ceph|glusterfs|lustre|beegfs|fhgfs|gpfs|wekafs|ncpfs|coda|orangefs|"
    r"pvfs2|panfs|davfs|9p|virtiofs|vboxsf|vmhgfs|prl_fs|fuse(?:\..*)?"
)
_WHY = {
    errno.ENOSPC: "no inotify watches are left: raise fs.inotify.max_user_watches",
    errno.EMFILE: "no inotify instances or descriptors are left: raise "
    "fs.inotify.max_user_instances, or the limit of open files",
}


def why_unseen(kind: str) -> str | None:
    """Why changes on a file system of this kind make no events; None if they do."""
    if _UNSEEN.fullmatch(kind):
        return f"the project is on a file system without events ({kind})"
    return None


def why_no_events(error: OSError) -> str:
    """What to say, and to do, about events that cannot be had."""
    return _WHY.get(error.errno or 0, f"no events can be had: {error.strerror}")


class Waiter(Protocol):
    """What the thread waits on: see `inotify.Events`."""

    def wait(self, timeout_s: float | None) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Pause:
    """A `Waiter` where there are no events."""

    def __init__(self, runtime: Runtime) -> None:
        self._woken = runtime.event("watch woken")

    def wait(self, timeout_s: float | None) -> None:
        self._woken.wait(timeout_s)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        """Nothing is to be given back."""


class Scan:
    """A run that has begun to scan: what it has in flight, and how it goes."""

    def __init__(
        self,
        paths: set[str],
        is_unsure: bool,
        first_s: float | None,
        armed: frozenset[str],
        wall_s: float,
        now_s: float,
    ) -> None:
        self.paths = paths
        self.is_unsure = is_unsure
        #: When the first of the changes in flight was seen.
        self.first_s = first_s
        #: The folders that were armed when it began.
        self.armed = armed
        self.has_listed = False
        self.outsiders: list[str] = []
        #: The listed files that it has skipped for their size, or as binary.
        self.unread: dict[str, Any] = {}
        self._wall_s = wall_s
        self._now_s = now_s

    def is_recent(self, status: os.stat_result, now_s: float, wall_s: float) -> bool:
        """Whether the folder of this `status` may have changed since the run began; it is `now_s`,
        by the wall clock `wall_s`."""
        if abs((wall_s - self._wall_s) - (now_s - self._now_s)) > _STEP_S:
            return True  # the wall clock has been set meanwhile
        changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
        coarse_s = _COARSE_S if changed_ns % 10**9 else _VERY_COARSE_S
        return changed_ns / 1e9 >= self._wall_s - coarse_s


class Session:
    """A watcher from a use to a rest."""

    def __init__(self, runtime: Runtime, since: str) -> None:
        self.mode = "starting"
        self.since = since
        self.reason: str | None = None
        self.has_ended = False
        self.pending: int | None = None
        self.waiter: Waiter = Pause(runtime)
        self.tree: WatchedTree | None = None
        self.relevance: Relevance | None = None
        self.dirty: set[str] = set()
        #: Anything may have changed, or some folder may not be armed.
        self.is_unsure = True
        #: A run has named folders.
        self.has_armed = False
        self.scans: dict[Hashable, Scan] = {}
        #: When the first of what is dirty was seen, and the last.
        self.first_s: float | None = None
        self.last_s = 0.0
        #: A run has been asked for, and has not returned.
        self.is_running = False
        self.not_before_s = self.next_scan_s = 0.0
        self._soon_s = 0.0
        self._delay_s = 0.0
        self._ended_s, self._pause_s, self._pause_times = float("-inf"), 0.0, 0.0
        self.thread: Thread | None = None

    @property
    def is_fresh(self) -> bool:
        in_flight = any(scan.paths or scan.is_unsure for scan in self.scans.values())
        return self.mode == "watching" and not (self.is_unsure or self.dirty or in_flight)

    def count(self) -> None:
        """Have `pending` say what is known now."""
        scans = self.scans.values()
        if self.mode != "watching" or self.is_unsure or any(scan.is_unsure for scan in scans):
            self.pending = None
            return
        paths = self.dirty.union(*(scan.paths for scan in scans))
        # Of a folder that is dirty as a whole it is known only that something has changed.
        fleeting = self.relevance.fleeting if self.relevance is not None else ()
        files = sum(path[-1:] not in ("", "/") and path not in fleeting for path in paths)
        self.pending = files or int(bool(paths))

    def turn(self, mode: str, since: str, reason: str | None = None) -> None:
        self.mode, self.since, self.reason = mode, since, reason

    def use(self, waiter: Waiter) -> None:
        """Wait on `waiter` instead, and on nothing else; in the thread that waits."""
        if self.tree is not None or not isinstance(self.waiter, Pause):
            self.waiter.close()
            self.waiter, self.tree, self.relevance = waiter, None, None
            self.dirty, self.first_s = set(), None

    def note_change(self, now_s: float) -> None:
        self.first_s = now_s if self.first_s is None else self.first_s
        self.last_s = now_s

    def doubt(self, now_s: float) -> None:
        self.is_unsure = True
        self.note_change(now_s)
        self.count()
        self.waiter.wake()

    def settled_s(self, now_s: float, wall_s: float) -> float | None:
        """When what is dirty may be indexed, for all that is known now; None where nothing is.

        That is 0.2 s after the last change, and at most 1 s after the first, but for a checkout: a
        run in the middle of it would have to be followed by another one.
        """
        if self.first_s is None:
            return None
        due_s = min(self.last_s + SETTLE_S, self.first_s + AT_MOST_S)
        is_many = len(self.dirty) >= _CHECKOUT_FILES and now_s < self.first_s + _CHECKOUT_S
        if due_s <= now_s and is_many and self.tree is not None and self.tree.git.is_locked(wall_s):
            return now_s + SETTLE_S
        return due_s

    @property
    def is_to_hasten(self) -> bool:
        """Whether a use makes the next scan come sooner."""
        return self.mode == "scanning" and self._soon_s < self.next_scan_s

    def hasten(self) -> None:
        """An index is used: what has changed by now should be found soon."""
        if self.is_to_hasten:
            self.next_scan_s = self._soon_s
            self.waiter.wake()

    def plan_scans(self, now_s: float, took_s: float) -> None:
        """A run that took so long is over: when the next one comes, where there are no events."""
        pause_s = min(_MAX_SCAN_S, max(_SCAN_S, _SCAN_TIMES * took_s))
        self.next_scan_s = now_s + pause_s
        self._soon_s = now_s + min(pause_s, max(_SOON_S, _SOON_TIMES * took_s))
        if self.mode == "watching":
            self._pause(now_s, took_s)

    def _pause(self, now_s: float, took_s: float) -> None:
        """Have what changes again and again cost a part of the machine, and not all of it."""
        times = 0.0
        if now_s - took_s - self._ended_s < self._pause_s + _FOLLOWS_S:
            is_busy = self.first_s is not None
            times = min(_PAUSE_TIMES, max(1.0, 2 * self._pause_times)) if is_busy else 1.0
        self._ended_s, self._pause_times = now_s, times
        self._pause_s = min(_MAX_PAUSE_S, times * took_s)
        self.not_before_s = max(self.not_before_s, now_s + self._pause_s)

    def begin_scan(self, key: Hashable, wall_s: float, now_s: float) -> None:
        """Put what is dirty in flight."""
        armed = frozenset[str]()
        if self.tree is not None:
            armed = self.tree.folders()
            self.tree.git.look()
        before = self.scans.get(key)
        self.scans[key] = Scan(self.dirty, self.is_unsure, self.first_s, armed, wall_s, now_s)
        self.dirty, self.is_unsure, self.first_s = set(), False, None
        if before is not None:  # which has never ended
            self.put_back(before)
        self.count()

    def unread(self, key: Hashable, found: dict[str, Any]) -> None:
        """The run `key` has skipped these."""
        if key in self.scans:
            self.scans[key].unread = found

    def learn(self, scan: Scan) -> bool:
        """What a run that has succeeded says of the files that it left out; whether some of them
        are dirty by that."""
        if self.relevance is None:
            return False
        self.relevance.remember(scan.outsiders)
        changed = self.relevance.remember_unread(scan.unread)
        self.dirty |= changed
        return bool(changed)

    def put_back(self, scan: Scan) -> None:
        """What `scan` had in flight is dirty again."""
        self.dirty |= scan.paths
        if self.relevance is not None:  # nobody knows what it has made of those
            changed = self.relevance.remember_unread({})
            self.dirty |= changed
            if changed and self.first_s is None:
                self.first_s = scan._now_s
        self.is_unsure = self.is_unsure or scan.is_unsure
        if scan.first_s is not None:
            self.first_s = min(scan.first_s, self.first_s or scan.first_s)

    def retry(self, now_s: float, first_s: float, most_s: float) -> None:
        """A run has failed: the next one comes later, each time more so."""
        self._delay_s = min(most_s, max(first_s, 2 * self._delay_s))
        self.not_before_s = now_s + self._delay_s

    def forget_failure(self) -> None:
        self._delay_s = self.not_before_s = 0.0
        if self.mode != "scanning":
            self.reason = None

    def close(self) -> None:
        self.waiter.close()
        self.tree = self.relevance = None


def described(session: Session | None) -> dict[str, Any]:
    """For a status, as plain data; None where nothing is watched."""
    return {
        "mode": "off" if session is None else session.mode,
        "since": None if session is None else session.since,
        "folders": len(session.tree) if session is not None and session.tree else 0,
        "pending": None if session is None else session.pending,
        "reason": None if session is None else session.reason,
    }


class WatchListener(Protocol):
    """Is told what happens to the watcher; never called under its lock, from any thread."""

    def __call__(self, event: str, detail: str = "", seconds: float = 0.0) -> None:
        """`event`: watching, scanning (`detail`: why), run (`seconds`: how long), run_failed
        (`detail`: why), overflow or rest."""


class Ledger:
    """What a watcher has counted, measured, logged and told, in all its sessions."""

    def __init__(self, runtime: Runtime, tell: WatchListener) -> None:
        self.counts = dict.fromkeys(("runs", "events", "coalesced", "overflows"), 0)
        #: Seconds from the first of some changes to the index that holds them.
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.last_fallback: dict[str, str] | None = None
        self._runtime = runtime
        self._tell = tell
        self._untold: list[tuple[str, str, float]] = []
        self._logged: set[str] = set()

    def now(self) -> str:
        return self._runtime.now().astimezone().isoformat(timespec="seconds")

    def note(self, event: str, detail: str = "", seconds: float = 0.0) -> None:
        """To be told when the lock is free."""
        self._untold.append((event, detail, seconds))

    def fall_back(self, reason: str) -> None:
        """Events were lost, or there are none to be had."""
        self.last_fallback = {"reason": reason, "at": self.now()}

    def tell_all(self, lock: Lock) -> None:
        """Tell what was noted under `lock`, which is free."""
        with lock:
            untold, self._untold = self._untold, []
        for event, detail, seconds in untold:
            try:
                self._tell(event, detail, seconds)
            except Exception as error:  # must not hold up an index run, or a query
                self.warn_once(f"the watcher's listener failed: {type(error).__name__}", str(error))

    def warn_once(self, kind: str, detail: str = "") -> None:
        """Log it, unless something of this kind was logged before."""
        if kind not in self._logged:
            self._logged.add(kind)
            _log.warning("%s%s", kind, f": {short(detail)}" if detail else "")

    def describe(self) -> dict[str, Any]:
        return {"last_fallback": self.last_fallback, **self.counts, **_seconds_of(self.latencies)}


def short(text: object) -> str:
    """`text`, which may hold names of the tree's choice, for one line."""
    return escape(str(text))[:_MAX_REASON]


def _seconds_of(latencies: deque[float]) -> dict[str, float | None]:
    ordered = sorted(latencies)

    def part(share: float) -> float | None:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    last = latencies[-1] if latencies else None
    return {"seconds_last": last, "seconds_p50": part(0.5), "seconds_p95": part(0.95)}
