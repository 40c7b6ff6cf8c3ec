"""The watcher: keeps the index of a project fresh while it is in use, and knows how fresh it is.

The rules, from which everything below follows:

1.  Watching begins with a use of the index and ends when the index leaves the memory.  In between
    there is one thread, which waits for events, and a second one while a run takes place that it
    has asked for.  Otherwise there is no thread, no inotify and no watch.

2.  What has changed is *dirty*.  An index run, anybody's, takes what is dirty when it begins to
    scan (the kernel's queue is read first), and has it *in flight*.  A run that succeeds holds it;
    if the run fails, it is dirty again.  So what changes during a run is dirty after it.

3.  A run lists, and the folders that it names are armed before it looks at a file.  A folder that
    has changed since the run began was changed after it was listed, perhaps: it is dirty.  So is
    what decides about others, in such a folder and elsewhere (`outside`).

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
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cidx_ref.daemon.inotify import Events, Inotify
from cidx_ref.daemon.ledger import Ledger, WatchListener, short
from cidx_ref.daemon.relevance import Relevance
from cidx_ref.daemon.watched import NoEventsError, WatchedTree
from cidx_ref.daemon.watching import (
    MAX_RETRY_S,
    OFF,
    Pause,
    Scan,
    Session,
    tree_of,
    why_no_events,
    why_unseen,
)
from cidx_ref.mounts import kind_of as kind_of_file_system
from cidx_ref.runtime import SYSTEM, Runtime, Thread, get_ident

__all__ = ["Watch", "WatchListener"]


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
        session, now_s = self._session, self._runtime.monotonic()
        if self._is_closed or (session is not None and not session.is_to_hasten(now_s)):
            return
        if not self._lock.acquire(blocking=session is None):
            return  # something is going on, and the next use hastens
        try:
            if self._session is not None:
                self._session.hasten(now_s)
            if self._session is not None or self._is_closed:
                return
            session = self._session = Session(self._runtime, self._ledger.now())
            try:
                session.thread = self._runtime.thread(lambda: self._live(session), "watch")
            except RuntimeError:  # the system has no threads left; the next use tries again
                self._session = None
        finally:
            self._lock.release()

    def rest(self) -> None:
        """The index is in memory no more: stop watching, and give everything back.  A run that
        nobody else waits for is cancelled, and not waited for."""
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

    def failure(self) -> str | None:
        """Why the last index run failed, if it has.  Waits for nothing."""
        return getattr(self._session, "failure", None)

    def is_fresh(self, timeout_s: float = -1) -> bool:
        """Whether the live index holds every change made before this call, by what the kernel has
        to tell by now, and by a look at what no event tells of; False while that is not known, as
        where somebody is at work for `timeout_s` (negative: without end)."""
        if not self._lock.acquire(timeout=timeout_s):
            return False
        try:
            session = self._session
            if session is not None and self._drain(session, outside=True):
                session.waiter.wake()  # what was read here wakes nobody
            is_fresh = session is not None and session.is_fresh
        finally:
            self._lock.release()
        self._ledger.tell_all(self._lock)
        return is_fresh

    def is_unchanged(self) -> bool:
        """As `is_fresh`, of the files alone; each query asks.  Waits for nothing, reads nothing."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            session = self._session
            return session is not None and session.is_fresh and not session.has_events()
        finally:
            self._lock.release()

    def describe(self) -> dict[str, Any]:
        """For a status, as plain data."""
        with self._locked() as session:
            said = OFF if session is None else session.describe()
            return {**said, **self._ledger.describe()}

    # What index runs tell, each in its own thread; `run` says which one, where that is not so.

    def scanning(self, run: object | None = None) -> None:
        """A run is about to look at the files."""
        key = get_ident() if run is None else run
        with self._locked() as session:
            if session is not None:
                wall_s, now_s = self._runtime.now().timestamp(), self._runtime.monotonic()
                self._drain(session, outside=True)
                session.begin_scan(key, wall_s, now_s)

    def listed(
        self,
        folders: Collection[str] | None,
        files: Collection[str] | None = None,
        run: object | None = None,
    ) -> None:
        """A run has listed: these folders may hold what changes the index, and are armed when this
        returns; None: there are too many.  `files`: all that were listed, if they are known."""
        key = get_ident() if run is None else run
        with self._locked() as session:
            if session is not None and session.mode != "scanning":
                self._guarded(session, lambda: self._arm(session, key, folders, files))
                session.count()

    def unread(self, found: dict[str, Any], run: object | None = None) -> None:
        """A run has skipped these: see `indexing.Observer`."""
        with self._lock:
            if self._session is not None:
                self._session.unread(get_ident() if run is None else run, found)

    def done(self, ok: bool, run: object | None = None) -> None:
        """A run is over.  `ok`: what it has found is live."""
        key = get_ident() if run is None else run
        with self._locked() as session:
            scan = session.scans.pop(key, None) if session is not None else None
            if session is not None and scan is not None:
                self._settle(session, scan, ok)
                session.count()
                session.waiter.wake()

    @contextmanager
    def _locked(self) -> Iterator[Session | None]:
        """The lock; what was noted under it is told after it."""
        with self._lock:
            yield self._session
        self._ledger.tell_all(self._lock)

    # Under the lock.

    def _drain(self, session: Session, *, outside: bool) -> bool:
        """Read what the kernel has to tell by now; and look `outside`, of which it tells nothing.
        Returns whether there was a change."""
        tree, before = session.tree, (session.last_s, len(session.dirty), session.mode)
        if tree is not None and session.mode != "scanning":
            self._guarded(session, lambda: self._take(session, tree))
            if outside and session.mode != "scanning":
                now_s = self._runtime.monotonic()
                self._guarded(session, lambda: session.look_outside(tree, now_s))
            session.count()
        return before != (session.last_s, len(session.dirty), session.mode)

    def _take(self, session: Session, tree: WatchedTree) -> None:
        changes = tree.changes()
        self._ledger.take(changes, is_first=session.first_s is None)
        session.take(changes, self._runtime.monotonic())

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
        tree.outside.listed()
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
        now_s = self._runtime.monotonic()
        session.forget_failure()
        session.hold(scan, now_s)
        if scan.has_listed and session.mode == "starting":
            session.turn("watching", self._ledger.now())
            self._ledger.note("watching")
        if scan.first_s is not None:
            self._ledger.latencies.append(now_s - scan.first_s)

    def _open(self, session: Session) -> None:
        """Have events, if that is possible and there are none yet."""
        if session.tree is not None or session.has_ended or session.mode == "scanning":
            return
        if unseen := why_unseen(self._kind_of(self._root)):
            self._fall_back(session, unseen)
            return
        events = session.waiter = self._open_events()
        session.relevance = Relevance(self._root, self._runtime, self._asks)
        session.tree = tree_of(self._root, events, session.relevance, self._runtime, self._kind_of)

    def _guarded(self, session: Session, do: Callable[[], object]) -> None:
        """`do` what needs events; scan where there are none to be had."""
        try:
            do()
        except (OSError, NoEventsError) as error:
            self._fall_back(session, why_no_events(error))
        except Exception as error:  # a mistake in here must not end what keeps the index fresh
            self._ledger.warn_of("watching failed", error)
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
                    self._ledger.warn_of("the watcher failed", error)
                    wait_s = MAX_RETRY_S
                if not session.has_ended:
                    self._wait(session, wait_s)
        finally:
            with self._lock:
                session.close()

    def _wait(self, session: Session, wait_s: float | None) -> None:
        try:
            session.waiter.wait(wait_s)
        except Exception as error:
            self._ledger.warn_of("the watcher cannot wait for events", error)
            with self._locked():
                self._fall_back(session, f"events cannot be waited for: {error}")

    def _turn(self, session: Session) -> float | None:
        """One turn: what is due; returns for how long there is nothing to do but to wait."""
        with self._locked():
            if session.has_ended:
                return None
            if session.mode == "scanning":
                session.use(Pause(self._runtime))
            elif session.tree is None:
                self._guarded(session, lambda: self._open(session))
            self._drain(session, outside=session.is_to_look)
            now_s = self._runtime.monotonic()
            due_s = session.due_s(now_s, self._runtime.now().timestamp())
            is_due = due_s is not None and due_s <= now_s
            session.is_running = session.is_running or is_due
        if not is_due:
            return None if due_s is None else due_s - now_s
        try:
            runner = self._runtime.thread(lambda: self._ask(session), "watch run")
            with self._lock:
                self._runners = [*(each for each in self._runners if each.is_alive()), runner]
        except RuntimeError as error:
            self._has_run(session, now_s, error)
        return 0.0

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
        with self._locked():
            now_s = self._runtime.monotonic()
            session.is_running = False
            self._ledger.counts["runs"] += 1
            if problem is not None:
                session.retry(now_s, problem)
                self._ledger.note("run_failed", short(problem))
                self._ledger.warn_of("an index run for what has changed failed", problem)
            else:
                session.forget_failure()
                if session.mode == "starting" and not (session.has_ended or session.has_armed):
                    self._fall_back(session, "the index run named no folders to be watched")
                self._ledger.note("run", seconds=now_s - began_s)
            session.plan_scans(now_s, now_s - began_s)
            session.waiter.wake()
