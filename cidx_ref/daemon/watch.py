"""The watcher: keeps the index of a project fresh while it is in use, and knows how fresh it is.

The rules, from which everything below follows:

1.  Watching begins with a use of the index and ends when the index leaves the memory.  In between
    there is one thread, which waits for events, and a second one while a run takes place that it
    has asked for.  Otherwise there is no thread, no inotify and no watch.

2.  What has changed is *dirty*.  An index run, anybody's, takes what is dirty when it begins to
    scan (the kernel's queue is read first), and has it *in flight*.  A run that succeeds holds it;
    if the run fails, it is dirty again.  So what changes during a run is dirty after it.

3.  A run lists, and the folders that it names are armed before it looks at a file.  A folder that
    has changed since the run began was changed after it was listed, perhaps: it is dirty.

4.  A run begins when changes have *settled* (`Session.settled_s`), never while a run is scanning.
    What cannot change the index starts none (`relevance`).

5.  When events may have been lost, all may have changed: one run, and until it is over nothing is
    known (`pending` is None).  Where events cannot be had (no inotify, no watches left, a file
    system of another machine, the root is gone), there are runs at intervals until the next rest,
    and one soon after a use.

6.  A run that fails is tried again after a delay that grows.  Nothing raises out of the threads.

Decisions are made under one lock; runs are asked for, and waited for, outside of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from cidx_ref.daemon.inotify import Events, Inotify
from cidx_ref.daemon.relevance import Relevance
from cidx_ref.daemon.watched import RootLostError, WatchedTree
from cidx_ref.daemon.watching import (
    Ledger,
    Pause,
    Scan,
    Session,
    WatchListener,
    described,
    short,
    why_no_events,
    why_unseen,
)
from cidx_ref.mounts import kind_of as kind_of_file_system
from cidx_ref.runtime import SYSTEM, Runtime, Thread, get_ident

__all__ = ["Watch", "WatchListener"]

_RETRY_S, _MAX_RETRY_S = 1.0, 60.0


class Watch:
    """The watcher of one project.  Every method may be called from any thread."""

    def __init__(
        self,
        root: Path,
        run: Callable[[], object],
        *,
        runtime: Runtime = SYSTEM,
        listener: WatchListener = lambda event, detail="", seconds=0.0: None,
        events: Callable[[], Events] = Inotify.open,
        kind_of: Callable[[Path], str] = kind_of_file_system,
        asks: Callable[[], bool] = lambda: False,
        cancel: Callable[[], object] = lambda: None,
    ) -> None:
        """`run` takes part in an index run that tells `scanning`, `listed` and `done`, and returns
        when it is over, or raises; `cancel` ends one that nobody else waits for.  `asks`: whether
        the configuration asks for files that would be left out (`include`)."""
        self._root = Path(root)
        self._run = run
        self._cancel = cancel
        self._runtime = runtime
        self._ledger = Ledger(runtime, listener)
        self._open_events = events
        self._kind_of = kind_of
        self._asks = asks
        self._lock = runtime.lock("watch")
        self._session: Session | None = None
        self._is_closed = False
        self._runners: list[Thread] = []

    # What a service asks for.

    def use(self) -> None:
        """An index was used: begin to watch, if that is off.  Cheap: each query calls it."""
        session = self._session
        if self._is_closed or (session is not None and not session.is_to_hasten):
            return
        with self._lock:
            if self._session is not None:
                self._session.hasten()
            if self._session is not None or self._is_closed:
                return
            session = self._session = Session(self._runtime, self._ledger.now())
            try:
                session.thread = self._runtime.thread(lambda: self._live(session), "watch")
            except RuntimeError:  # the system has no threads left; the next use tries again
                self._session = None

    def rest(self) -> None:
        """The index is in memory no more: stop watching, and give everything back.

        A run that nobody else waits for is cancelled, and not waited for.
        """
        with self._lock:
            session, self._session = self._session, None
            if session is None:
                return
            session.has_ended = True
            session.waiter.wake()
            is_running = session.is_running
        if is_running:
            self._cancel()
        if session.thread is not None and session.thread.ident != get_ident():
            session.thread.join()
        self._ledger.note("rest")
        self._ledger.tell_all(self._lock)

    def close(self) -> None:
        """Rest, for good; returns when no thread of it is left."""
        self._is_closed = True
        self.rest()
        for runner in self._runners:
            if runner.ident != get_ident():
                runner.join()

    def doubt(self) -> None:
        """What the index depends on beside the files has changed, as if events had been lost."""
        with self._lock:
            if self._session is not None:
                self._session.doubt(self._runtime.monotonic())

    def pending(self) -> int | None:
        """How many files are known to have changed since the live index's scan began; None while
        that is not known.  Waits for nothing: each query asks."""
        session = self._session
        return None if session is None else session.pending

    def is_fresh(self) -> bool:
        """Whether the live index holds every change made before this call, by what the kernel has
        to tell by now; False while that is not known."""
        with self._lock:
            session = self._session
            if session is not None:
                self._drain(session)
            is_fresh = session is not None and session.is_fresh
        self._ledger.tell_all(self._lock)
        return is_fresh

    def describe(self) -> dict[str, Any]:
        """For a status, as plain data."""
        with self._lock:
            found = {**described(self._session), **self._ledger.describe()}
        self._ledger.tell_all(self._lock)
        return found

    # What index runs tell, each in its own thread; `run` says which one, where that is not so.

    def scanning(self, run: object | None = None) -> None:
        """A run is about to look at the files."""
        key = get_ident() if run is None else run
        with self._lock:
            session = self._session
            if session is not None:
                wall_s, now_s = self._runtime.now().timestamp(), self._runtime.monotonic()
                self._drain(session)
                session.begin_scan(key, wall_s, now_s)
        self._ledger.tell_all(self._lock)

    def listed(
        self,
        folders: Collection[str] | None,
        files: Collection[str] | None = None,
        run: object | None = None,
    ) -> None:
        """A run has listed: these folders may hold what changes the index, and are armed when this
        returns; None: there are too many.  `files`: all that were listed, if they are known."""
        key = get_ident() if run is None else run
        with self._lock:
            session = self._session
            if session is not None and session.mode != "scanning":
                self._guarded(session, lambda: self._arm(session, key, folders, files))
                session.count()
        self._ledger.tell_all(self._lock)

    def unread(self, found: dict[str, Any], run: object | None = None) -> None:
        """A run has skipped these: see `indexing.Observer`."""
        with self._lock:
            if self._session is not None:
                self._session.unread(get_ident() if run is None else run, found)

    def done(self, ok: bool, run: object | None = None) -> None:
        """A run is over.  `ok`: what it has found is live."""
        key = get_ident() if run is None else run
        with self._lock:
            session = self._session
            scan = session.scans.pop(key, None) if session is not None else None
            if session is not None and scan is not None:
                self._settle(session, scan, ok)
                session.count()
                session.waiter.wake()
        self._ledger.tell_all(self._lock)

    # Under the lock.

    def _drain(self, session: Session) -> None:
        """Read what the kernel has to tell by now."""
        if session.tree is not None and session.mode != "scanning":
            tree = session.tree
            self._guarded(session, lambda: self._take(session, tree))
            session.count()

    def _take(self, session: Session, tree: WatchedTree) -> None:
        changes = tree.changes()
        self._ledger.counts["events"] += changes.events
        if changes.is_overflown:
            self._ledger.counts["overflows"] += 1
            self._ledger.note("overflow")
            self._ledger.fall_back("events were lost")
            session.is_unsure = True
        if changes.paths or changes.is_overflown:
            is_first = session.first_s is None
            self._ledger.counts["coalesced"] += max(0, len(changes.paths) - is_first)
            session.dirty |= changes.paths
            session.note_change(self._runtime.monotonic())

    def _arm(
        self,
        session: Session,
        key: object,
        folders: Collection[str] | None,
        files: Collection[str] | None,
    ) -> None:
        if folders is None:
            self._fall_back(session, "the project has too many folders to be watched")
            return
        scan = session.scans.get(key)
        self._open(session)
        tree, relevance = session.tree, session.relevance
        if tree is None or relevance is None:  # there are no events
            return
        now_s, wall_s = self._runtime.monotonic(), self._runtime.now().timestamp()

        def is_recent(status: os.stat_result) -> bool:
            return scan is None or scan.is_recent(status, now_s, wall_s)

        relevance.listing(files)
        session.has_armed = True
        recent = tree.arm(folders, is_recent, scan.armed if scan is not None else ())
        self._take(session, tree)
        if recent:
            session.dirty |= recent
            session.note_change(now_s)
        if scan is not None:
            scan.has_listed = True
            scan.outsiders = relevance.outside(scan.paths - session.dirty)

    def _settle(self, session: Session, scan: Scan, ok: bool) -> None:
        if not ok:
            session.put_back(scan)
            return
        if scan.is_unsure and not scan.has_listed:
            session.is_unsure = True  # what it could not see may not be armed
            session.note_change(self._runtime.monotonic())
        elif scan.has_listed and session.mode == "starting":
            session.turn("watching", self._ledger.now())
            self._ledger.note("watching")
        if session.learn(scan):
            session.note_change(self._runtime.monotonic())
        if scan.first_s is not None:
            self._ledger.latencies.append(self._runtime.monotonic() - scan.first_s)

    def _open(self, session: Session) -> None:
        """Have events, if that is possible and there are none yet."""
        if session.tree is not None or session.has_ended or session.mode == "scanning":
            return
        if unseen := why_unseen(self._kind_of(self._root)):
            self._fall_back(session, unseen)
            return
        events = session.waiter = self._open_events()
        session.relevance = Relevance(self._root, self._runtime, self._asks)
        session.tree = WatchedTree(self._root, events, session.relevance)

    def _guarded(self, session: Session, do: Callable[[], object]) -> None:
        """`do` what needs events; scan where there are none to be had."""
        try:
            do()
        except OSError as error:
            self._fall_back(session, why_no_events(error))
        except RootLostError as error:
            self._fall_back(session, str(error))
        except Exception as error:  # a mistake in here must not end what keeps the index fresh
            self._warn("watching failed", error)
            self._fall_back(session, type(error).__name__)

    def _fall_back(self, session: Session, reason: str) -> None:
        reason = short(reason)
        self._ledger.fall_back(reason)
        session.turn("scanning", self._ledger.now(), reason)
        session.count()
        session.waiter.wake()
        self._ledger.note("scanning", reason)
        self._ledger.warn_once(f"changes are found by scans: {reason}")

    # The thread.

    def _live(self, session: Session) -> None:
        try:
            while not session.has_ended:
                try:
                    wait_s = self._turn(session)
                except Exception as error:
                    self._warn("the watcher failed", error)
                    wait_s = _MAX_RETRY_S
                if not session.has_ended:
                    session.waiter.wait(wait_s)
        finally:
            with self._lock:
                session.close()

    def _turn(self, session: Session) -> float | None:
        """One turn: what is due; returns for how long there is nothing to do but to wait."""
        with self._lock:
            if session.has_ended:
                return None
            if session.mode == "scanning":
                session.use(Pause(self._runtime))
            elif session.tree is None:
                self._guarded(session, lambda: self._open(session))
            self._drain(session)
            now_s = self._runtime.monotonic()
            due_s = self._due(session, now_s)
            is_due = due_s is not None and due_s <= now_s
            session.is_running = session.is_running or is_due
        self._ledger.tell_all(self._lock)
        if not is_due:
            return None if due_s is None else due_s - now_s
        try:
            runner = self._runtime.thread(lambda: self._ask(session), "watch run")
            with self._lock:
                self._runners = [*(each for each in self._runners if each.is_alive()), runner]
        except RuntimeError as error:
            self._has_run(session, now_s, error)
        return 0.0

    def _due(self, session: Session, now_s: float) -> float | None:
        """When a run is to be asked for; None: not before something happens."""
        if session.is_running or session.scans:
            return None
        if session.mode == "scanning":
            return max(session.next_scan_s, session.not_before_s)
        if session.mode == "starting":
            return max(now_s, session.not_before_s)
        settled_s = session.settled_s(now_s, self._runtime.now().timestamp())
        return None if settled_s is None else max(settled_s, session.not_before_s)

    # The thread of a run that was asked for.

    def _ask(self, session: Session) -> None:
        began_s = self._runtime.monotonic()
        problem: BaseException | None = None
        try:
            self._run()
        except BaseException as error:
            problem = error
        self._has_run(session, began_s, problem)

    def _has_run(self, session: Session, began_s: float, problem: BaseException | None) -> None:
        with self._lock:
            now_s = self._runtime.monotonic()
            session.is_running = False
            self._ledger.counts["runs"] += 1
            if problem is not None:
                session.retry(now_s, _RETRY_S, _MAX_RETRY_S)
                if session.mode != "scanning":
                    session.reason = short(f"{type(problem).__name__}: {problem}")
            elif not session.has_ended:
                session.forget_failure()
                if session.mode == "starting" and not session.has_armed:
                    self._fall_back(session, "the index run named no folders to be watched")
            session.plan_scans(now_s, now_s - began_s)
            session.waiter.wake()
            if problem is None:
                self._ledger.note("run", seconds=now_s - began_s)
            else:
                self._ledger.note("run_failed", short(problem))
                self._warn("an index run for what has changed failed", problem)
        self._ledger.tell_all(self._lock)

    def _warn(self, what: str, error: BaseException) -> None:
        self._ledger.warn_once(f"{what}: {type(error).__name__}", str(error))
