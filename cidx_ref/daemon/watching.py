"""What a watcher knows from a use to the next rest: plain state, and how it changes.

Guarded by the lock of `watch.Watch`, which makes the decisions; see there for the rules.  It is
not taken for reading `pending`, `mode` and `has_ended`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Protocol

from cidx_ref.daemon.inotify import Events
from cidx_ref.daemon.ledger import short
from cidx_ref.daemon.log import in_words
from cidx_ref.daemon.looked import has_changed_since
from cidx_ref.daemon.outside import Outside
from cidx_ref.daemon.relevance import Relevance
from cidx_ref.daemon.watched import Changes, NoEventsError, WatchedTree
from cidx_ref.runtime import Runtime, Thread

__all__ = [
    "AT_MOST_S",
    "MAX_RETRY_S",
    "OFF",
    "SETTLE_S",
    "Pause",
    "Scan",
    "Session",
    "Waiter",
    "tree_of",
    "why_no_events",
    "why_unseen",
]

SETTLE_S, AT_MOST_S = 0.2, 1.0
_RETRY_S, MAX_RETRY_S = 1.0, 60.0
#: So many changes while git has its index locked are a checkout, which is waited for, so long.
_CHECKOUT_FILES, _CHECKOUT_S = 100, 10.0
#: Between two scans: at least so long, so many times what the last one took, at most so long.
_SCAN_S, _SCAN_TIMES, _MAX_SCAN_S = 2.0, 20.0, 60.0
_SOON_S, _SOON_TIMES = 0.5, 2.0  # the same for a scan that an index was used before
#: A run that follows another one within so long comes after a pause: what one takes, or so many
#: times that where files change all the while, but never longer.
_FOLLOWS_S, _PAUSE_TIMES, _MAX_PAUSE_S = 2.0, 4.0, 5.0
#: So far may the wall clock move against the monotonic one before it counts as having been set.
_STEP_S = 0.05
#: So long after the last look at what no event tells of, a use has it looked at again.
_LOOK_S = 1.0

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


def why_unseen(kind: str, what: str = "the project") -> str | None:
    """Why changes in `what`, on a file system of this kind, make no events; None if they do."""
    if _UNSEEN.fullmatch(kind):
        return f"{what} is on a file system without events ({kind})"
    return None


def why_no_events(error: OSError | NoEventsError) -> str:
    """What to say, and to do, about events that cannot be had."""
    if isinstance(error, NoEventsError):
        return str(error)
    return _WHY.get(error.errno or 0, f"no events can be had: {error.strerror}")


#: What is said of a watcher that is off.
OFF: dict[str, Any] = {
    "mode": "off", "since": None, "folders": 0, "pending": None, "reason": None,
}  # fmt: skip


def tree_of(
    root: Path,
    events: Events,
    relevance: Relevance,
    runtime: Runtime,
    kind_of: Callable[[Path], str],
) -> WatchedTree:
    """The folders below `root`, none of them armed."""

    def unseen(folder: Path) -> str | None:
        return why_unseen(kind_of(folder), f"the folder {folder.relative_to(root)}")

    return WatchedTree(root, events, relevance, Outside(root, runtime), unseen)


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
        """Whether what has this `status` may have changed since the run began; it is `now_s`,
        by the wall clock `wall_s`."""
        if abs((wall_s - self._wall_s) - (now_s - self._now_s)) > _STEP_S:
            return True  # the wall clock has been set meanwhile
        return has_changed_since(status, self._wall_s)


class Session:
    """A watcher from a use to a rest."""

    def __init__(self, runtime: Runtime, since: str) -> None:
        self.mode = "starting"
        self.since = since
        self.reason: str | None = None
        #: Of the last index run, if it failed.
        self.failure: str | None = None
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
        #: What no event tells of is to be looked at, and was looked at.
        self.is_to_look = False
        self._looked_s = 0.0
        self._delay_s = 0.0
        self._ended_s, self._pause_s, self._pause_times = float("-inf"), 0.0, 0.0
        self.thread: Thread | None = None

    def describe(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "since": self.since,
            "folders": len(self.tree) if self.tree else 0,
            "pending": self.pending,
            "reason": self.reason,
        }

    @property
    def is_fresh(self) -> bool:
        in_flight = any(scan.paths or scan.is_unsure for scan in self.scans.values())
        return self.mode == "watching" and not (self.is_unsure or self.dirty or in_flight)

    def has_events(self) -> bool:
        """Whether the kernel has something to tell."""
        return self.tree is not None and self.tree.has_events()

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

    def take(self, changes: Changes, now_s: float) -> None:
        """Have what has changed be dirty."""
        self.is_unsure = self.is_unsure or changes.is_overflown
        if changes.paths or changes.is_overflown:
            self.dirty |= changes.paths
            self.note_change(now_s)

    def note_change(self, now_s: float) -> None:
        self.first_s = now_s if self.first_s is None else self.first_s
        self.last_s = now_s

    def doubt(self, now_s: float) -> None:
        self.is_unsure = True
        self.note_change(now_s)
        self.count()
        self.waiter.wake()

    def due_s(self, now_s: float, wall_s: float) -> float | None:
        """When a run is to be asked for; None: not before something happens."""
        if self.is_running or self.scans:
            return None
        if self.mode == "scanning":
            return max(self.next_scan_s, self.not_before_s)
        if self.mode == "starting":
            return max(now_s, self.not_before_s)
        settled_s = self.settled_s(now_s, wall_s)
        return None if settled_s is None else max(settled_s, self.not_before_s)

    def settled_s(self, now_s: float, wall_s: float) -> float | None:
        """When what is dirty may be indexed, for all that is known now; None where nothing is.

        That is 0.2 s after the last change, and at most 1 s after the first, but for a checkout: a
        run in the middle of it would have to be followed by another one.
        """
        if self.first_s is None:
            return None
        due_s = min(self.last_s + SETTLE_S, self.first_s + AT_MOST_S)
        is_many = len(self.dirty) >= _CHECKOUT_FILES and now_s < self.first_s + _CHECKOUT_S
        outside = self.tree.outside if self.tree is not None else None
        if due_s <= now_s and is_many and outside is not None and outside.is_locked(wall_s):
            return now_s + SETTLE_S
        return due_s

    def is_to_hasten(self, now_s: float) -> bool:
        """Whether a use makes the next scan come sooner; or a look at what no event tells of."""
        if self.mode == "scanning":
            return self._soon_s < self.next_scan_s
        return self.mode == "watching" and now_s >= self._looked_s + _LOOK_S

    def hasten(self, now_s: float) -> None:
        """An index is used: what has changed by now should be found soon."""
        if not self.is_to_hasten(now_s):
            return
        if self.mode == "scanning":
            self.next_scan_s = self._soon_s
        else:
            self.is_to_look, self._looked_s = True, now_s
        self.waiter.wake()

    def look_outside(self, tree: WatchedTree, now_s: float) -> None:
        """Have be dirty what has changed that no event tells of."""
        self.is_to_look, self._looked_s = False, now_s
        changed = tree.look_outside() - self.dirty
        if changed:
            self.dirty |= changed
            self.note_change(now_s)

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
            self.tree.outside.look()
        before = self.scans.get(key)
        self.scans[key] = Scan(self.dirty, self.is_unsure, self.first_s, armed, wall_s, now_s)
        self.dirty, self.is_unsure, self.first_s = set(), False, None
        if before is not None:  # which has never ended
            self.put_back(before)
        self.count()

    def hold(self, scan: Scan, now_s: float) -> None:
        """What `scan` had in flight is live, and what it says of files that it left out is
        known; some of them are dirty by that."""
        is_dirty = False
        if scan.is_unsure and not scan.has_listed:
            is_dirty = self.is_unsure = True  # what it could not see may not be armed
        if self.relevance is not None:
            self.relevance.remember(scan.outsiders)
            changed = self.relevance.remember_unread(scan.unread)
            self.dirty |= changed
            is_dirty = is_dirty or bool(changed)
        if is_dirty:
            self.note_change(now_s)

    def unread(self, key: Hashable, found: dict[str, Any]) -> None:
        """The run `key` has skipped these."""
        if key in self.scans:
            self.scans[key].unread = found

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

    def retry(self, now_s: float, problem: BaseException) -> None:
        """A run has failed: the next one comes later, each time more so."""
        self._delay_s = min(MAX_RETRY_S, max(_RETRY_S, 2 * self._delay_s))
        self.not_before_s = now_s + self._delay_s
        self.failure = short(in_words(problem))
        if self.mode != "scanning":
            self.reason = self.failure

    def forget_failure(self) -> None:
        self._delay_s = self.not_before_s = 0.0
        self.failure = None
        if self.mode != "scanning":
            self.reason = None

    def close(self) -> None:
        self.waiter.close()
        self.tree = self.relevance = None
