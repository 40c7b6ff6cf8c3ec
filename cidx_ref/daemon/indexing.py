"""Index runs: requests are coalesced, progress is passed on, and runs can be cancelled.

A request that arrives before a run has begun to scan gets what it asked for from that run, so it
shares it (coalescing).  What changes once the scan has begun the run may miss, so a later request
begins another run, which all share that come before *its* scan.  Writers are serialised by the
index itself, across processes; a run that waits for its turn has not begun to scan.  Of all runs
the first two are begun: one that is at work, and one that is ready to be the next.  However many
ask at once, there are no more processes than that.  For how long a request waits for another
writer is its own matter, and not the run's.

Each run has a thread of its own, so it belongs to no client: it ends when it is done, when it is
cancelled, or when the last request that waits for it has given up, unless one of them wanted it
kept.

A run may report that a *merge* is due, which is a run of its own that looks at no file.  It takes
place when there is no other run, and is cancelled by the next one: that begins when the merge has
ended, so it need not wait for the writers' lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from cidx_ref.errors import BusyError, CidxError, IndexingError, ShuttingDownError
from cidx_ref.index.port import Progress, Run, RunOptions
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.steps import Step

__all__ = ["IndexRuns", "NotOverError", "Observer"]

_log = logging.getLogger("cidx_ref")

#: So many runs are begun: a process takes 20 MB also where it does nothing but wait.
_AT_ONCE = 2

Event = tuple[int, int, str, str]
#: Has a generation loaded that is about to become live.
Prepare = Callable[[str], None]


class NotOverError(TimeoutError):
    """A run that somebody waits for takes longer than they would wait: no error of the run."""


class Observer(Protocol):
    """Is told of every run of this daemon, in the thread of the run.

    They may overlap: the next one begins to scan when the last one's process has let go of the
    writers' lock, which may be before the last one's thread hears that it is over.
    """

    def scanning(self) -> None:
        """A run is about to look at the files; see `port.RunListener`."""

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        """It has listed; see `port.RunListener`."""

    def unread(self, found: dict[str, Any]) -> None:
        """The run, which is about to be done, has skipped listed files for their size (`large`,
        beyond the `limit`), or as `binary`; some of them, if they are very many."""

    def done(self, ok: bool) -> None:
        """The run, which was scanning, is over; `ok`: what it has seen is live."""


class IndexRuns:
    """The index runs of one daemon.  Thread-safe."""

    def __init__(
        self,
        begin: Callable[[RunOptions], Run],
        prepared: Callable[[], AbstractContextManager[Prepare]],
        runtime: Runtime = SYSTEM,
        observer: Observer | None = None,
    ) -> None:
        """`begin` makes a run; `prepared` is entered for as long as one takes (see `succession`),
        and what it yields is called with each generation that is ready to be published."""
        self._observer = observer
        self._begin = begin
        self._prepared = prepared
        self._runtime = runtime
        self._changed = runtime.condition("index runs")
        self._runs: list[_SharedRun] = []
        self._is_closed = False
        #: The live generation, and when the scan began that last found it complete; None before.
        self.confirmed: tuple[str, datetime] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a run that is no merge."""
        with self._changed:
            return any(not run.options.merge for run in self._runs)

    def run(
        self,
        options: RunOptions,
        progress: Progress,
        *,
        timeout_s: float | None = None,
        keep: bool = False,
        unasked: bool = False,
    ) -> dict[str, Any]:
        """The report of a run that has scanned after this call.

        `progress` is called in this thread.  `keep`: the run goes on when nobody waits for it any
        more.  `unasked`: it is not for a request, so that this call does not count as one
        (`cancel_unasked`).  Raises what `port.Run.run` raises, `NotOverError` after `timeout_s`,
        and `BusyError` if another writer is still at work after `options.wait_s`.
        """
        now = self._runtime.monotonic()
        until = None if timeout_s is None else now + timeout_s
        busy_at = None if options.wait_s is None else now + options.wait_s
        shared = self._join(replace(options, wait_s=None), unasked)
        try:
            if busy_at is not None:
                self._wait_for_its_turn(shared, until, busy_at)
            self._follow(shared, progress, until)
        finally:
            self._leave(shared, keep=keep, unasked=unasked)
        if not shared.is_done:
            raise NotOverError
        if shared.error is not None:
            raise _again(shared.error) from None
        return dict(shared.report)

    def knows(self, generation: str) -> bool:
        """Whether the last run that has succeeded has left `generation`, or one that is under way
        makes it live; not so, if it was put there by somebody else."""
        if self.confirmed is not None and self.confirmed[0] == generation:
            return True  # the usual case, without the lock: each query asks
        with self._changed:
            is_confirmed = self.confirmed is not None and self.confirmed[0] == generation
            return is_confirmed or any(run.ready == generation for run in self._runs)

    def close(self, timeout_s: float) -> None:
        """Begin no more runs, end those that are under way, and wait until they have ended."""
        with self._changed:
            self._is_closed = True
        self.cancel()
        with self._changed:
            self._changed.wait_for(lambda: not self._runs, timeout_s)

    def cancel_unasked(self) -> None:
        """End those runs that no request waits for."""
        with self._changed:
            runs = [shared for shared in self._runs if shared.requests == 0]
            for shared in runs:
                shared.has_begun_to_scan = True  # so that no request joins it
        for shared in runs:
            self._cancel(shared)

    def cancel(self) -> None:
        """End all runs that are under way; each request gets `ShuttingDownError`."""
        with self._changed:
            runs = list(self._runs)
        for shared in runs:
            self._cancel(shared)

    def _join(self, options: RunOptions, unasked: bool) -> _SharedRun:
        with self._changed:
            if self._is_closed:
                raise ShuttingDownError("the daemon is stopping; the index stays as it was")
            merges = [run for run in self._runs if run.options.merge]
            joined = next((run for run in self._runs if run.is_open(options)), None)
            shared = joined or _SharedRun(options)
            shared.requests += not unasked
            shared.is_kept = shared.is_kept or unasked
            if joined is None:
                self._runs.append(shared)
        for merge in merges:
            self._cancel(merge)
        try:
            self._runtime.step(Step.RUN_ASKED)
            if joined is None:
                self._runtime.thread(lambda: self._execute(shared), "index run")
        except BaseException as error:
            if joined is None:
                self._end(shared, error)
            self._leave(shared, keep=False, unasked=unasked)
            raise
        return shared

    def _follow(self, shared: _SharedRun, progress: Progress, until: float | None) -> None:
        told = 0  # nothing was told before the scan, and later none can join
        while events := self._news(shared, told, until):
            told += len(events)
            for event in events:
                progress(*event)

    def _wait_for_its_turn(self, shared: _SharedRun, until: float | None, busy_at: float) -> None:
        """Wait until no other writer is in the way of a run; raises `BusyError` if one still is at
        `busy_at`.  Where none is known to be, the run may take its time, as long as it is before
        `until`."""
        with self._changed:
            while not (shared.is_done or shared.has_begun_to_scan):
                now = self._runtime.monotonic()
                is_behind = shared.is_waiting or not self._is_among_the_first(shared)
                if is_behind and now >= busy_at:
                    raise BusyError("another process is indexing this project")
                if until is not None and now >= until:
                    return
                ends = [end for end in (until, busy_at if is_behind else None) if end is not None]
                self._changed.wait(min(ends) - now if ends else None)

    def _news(self, shared: _SharedRun, told: int, until: float | None) -> list[Event]:
        """The events after number `told`; waits for one; none when run or time are over."""
        with self._changed:
            left = None if until is None else max(0.0, until - self._runtime.monotonic())
            self._changed.wait_for(lambda: shared.is_done or len(shared.events) > told, left)
            return shared.events[told:] if left != 0.0 or shared.is_done else []

    def _leave(self, shared: _SharedRun, *, keep: bool, unasked: bool) -> None:
        with self._changed:
            shared.requests -= not unasked
            shared.is_kept = shared.is_kept or keep
            is_unwanted = shared.requests == 0 and not (shared.is_done or shared.is_kept)
            shared.has_begun_to_scan = shared.has_begun_to_scan or is_unwanted
        if is_unwanted:
            self._cancel(shared)

    def _cancel(self, shared: _SharedRun) -> None:
        with self._changed:
            shared.is_cancelled = True
            run = shared.run
            self._changed.notify_all()  # it may not have begun
        if run is not None:
            run.cancel()

    # In the thread of the run.

    def _execute(self, shared: _SharedRun) -> None:
        error: BaseException | None = None
        try:
            with self._changed:
                self._changed.wait_for(lambda: shared.is_cancelled or self._may_begin(shared))
                if shared.is_cancelled:
                    raise ShuttingDownError("the daemon is stopping; the index stays as it was")
            run = self._begin(shared.options)
            with self._changed:
                shared.run, is_cancelled = run, shared.is_cancelled
            if is_cancelled:  # before there was anything to cancel
                run.cancel()
            with self._prepared() as prepare:
                shared.report = run.run(_Listener(self, shared, prepare))
        except BaseException as problem:
            error = problem
        if unread := shared.report.pop("unread", None):
            self._observe(lambda observer: observer.unread(unread))
        if shared.scanned_at is not None:
            # Before anybody is told that the run is over, who would ask what is pending.
            self._observe(lambda observer: observer.done(error is None))
        self._end(shared, error)
        if error is None and shared.report.get("merge_due"):
            self._begin_merge()

    def _may_begin(self, shared: _SharedRun) -> bool:
        return self._is_among_the_first(shared) and not self._merges_beside(shared)

    def _is_among_the_first(self, shared: _SharedRun) -> bool:
        return shared in self._runs[:_AT_ONCE]

    def _merges_beside(self, shared: _SharedRun) -> bool:
        return any(run.options.merge for run in self._runs if run is not shared)

    def _begin_merge(self) -> None:
        merge = _SharedRun(RunOptions(merge=True, keep_unverified=True))
        merge.has_begun_to_scan = merge.is_kept = True  # nobody joins it, and nobody waits for it
        with self._changed:
            if self._runs or self._is_closed:  # the next run says so again
                return
            self._runs.append(merge)
        try:
            self._runtime.thread(lambda: self._execute(merge), "merge")
        except RuntimeError as error:  # the system has no threads left
            self._end(merge, error)

    def _end(self, shared: _SharedRun, error: BaseException | None) -> None:
        with self._changed:
            shared.error, shared.is_done = error, True
            if error is None and shared.scanned_at is not None:
                self.confirmed = str(shared.report.get("generation")), shared.scanned_at
            if error is None and shared.options.merge and self.confirmed is not None:
                # A merge changes what the index is called, and not what is in it.
                self.confirmed = str(shared.report.get("generation")), self.confirmed[1]
            if shared.options.merge:
                _log.info("the merge %s", _outcome(shared))
            self._runs.remove(shared)
            self._changed.notify_all()

    def _close_to_others(self, shared: _SharedRun) -> None:
        with self._changed:
            shared.has_begun_to_scan, shared.scanned_at = True, self._runtime.now()
            self._changed.notify_all()
        self._observe(lambda observer: observer.scanning())
        self._runtime.step(Step.RUN_CLOSED)

    def _observe(self, tell: Callable[[Observer], object]) -> None:
        if self._observer is None:
            return
        try:
            tell(self._observer)
        except Exception:  # a bug in it costs no run, and nobody who waits for one
            _log.exception("an observer of index runs failed")

    def _note_that_it_waits(self, shared: _SharedRun) -> None:
        with self._changed:
            shared.is_waiting = True
            self._changed.notify_all()

    def _note(self, shared: _SharedRun, event: Event) -> None:
        with self._changed:
            shared.events.append(event)
            self._changed.notify_all()


class _SharedRun:
    """A run, and what the requests that wait for it share.  Guarded by the lock of `IndexRuns`."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.requests = 0
        self.run: Run | None = None
        #: Whether it has met another writer, and waits until that is done.
        self.is_waiting = False
        self.has_begun_to_scan = False
        self.is_cancelled = False
        self.is_kept = False
        self.scanned_at: datetime | None = None
        #: The generation that it makes live, once that is known.
        self.ready: str | None = None
        self.is_done = False
        self.events: list[Event] = []
        self.report: dict[str, Any] = {}
        self.error: BaseException | None = None

    def is_open(self, options: RunOptions) -> bool:
        """Whether a request with `options` gets from this run what it would from one of its own:
        the run may do more, for which the request would have to wait anyway."""
        is_closed = self.has_begun_to_scan or self.is_cancelled
        more = replace(
            options,
            full=options.full or self.options.full,
            keep_unverified=options.keep_unverified and self.options.keep_unverified,
        )
        return self.options == more and not is_closed


class _Listener:
    """What a run tells, in its own thread."""

    def __init__(self, runs: IndexRuns, shared: _SharedRun, prepare: Prepare) -> None:
        self._runs = runs
        self._shared = shared
        self._prepare = prepare

    def waiting(self) -> None:
        self._runs._note_that_it_waits(self._shared)

    def scanning(self) -> None:
        if not self._shared.options.merge:  # which looks at no file
            self._runs._close_to_others(self._shared)

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        self._runs._observe(lambda observer: observer.listed(folders, files))

    def progress(self, current: int, total: int, path: str, info: str) -> None:
        self._runs._note(self._shared, (current, total, path, info))

    def ready(self, generation: str) -> None:
        self._shared.ready = generation
        self._prepare(generation)


def _outcome(shared: _SharedRun) -> str:
    if shared.error is None:
        return "is done"
    # What has changed goes first, and the next run says that a merge is due.
    return "is put off" if shared.is_cancelled else f"failed: {shared.error}"


def _again(error: BaseException) -> BaseException:
    """What each request is told: one exception that many threads raise would mix up their
    tracebacks."""
    if not isinstance(error, Exception):  # the interruption belongs to the thread of the run
        return IndexingError("the index run was interrupted")
    return type(error)(*error.args) if isinstance(error, CidxError) else error
