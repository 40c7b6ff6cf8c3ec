"""Index runs: requests are coalesced, progress is passed on, and runs can be cancelled.

A request that arrives before a run has begun to scan gets what it asked for from that run, so it
shares it (coalescing).  What changes once the scan has begun the run may miss, so a later request
begins another run, which all share that come before *its* scan.  Writers are serialised by the
index itself, across processes; a run that waits for its turn has not begun to scan.

Each run has a thread of its own, so it belongs to no client: it ends when it is done, when it is
cancelled, or when the last request that waits for it has given up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from cidx_ref.errors import CidxError, IndexingError
from cidx_ref.index.port import Progress, Run, RunOptions
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.steps import Step

__all__ = ["IndexRuns"]

Event = tuple[int, int, str, str]
#: Has a generation loaded that is about to become live.
Prepare = Callable[[str], None]


class IndexRuns:
    """The index runs of one daemon.  Thread-safe."""

    def __init__(
        self,
        begin: Callable[[RunOptions], Run],
        prepared: Callable[[], AbstractContextManager[Prepare]],
        runtime: Runtime = SYSTEM,
    ) -> None:
        """`begin` makes a run; `prepared` is entered for as long as one takes (see `succession`),
        and what it yields is called with each generation that is ready to be published."""
        self._begin = begin
        self._prepared = prepared
        self._runtime = runtime
        self._changed = runtime.condition("index runs")
        self._runs: list[_SharedRun] = []

    @property
    def is_running(self) -> bool:
        return bool(self._runs)

    def run(self, options: RunOptions, progress: Progress) -> dict[str, Any]:
        """The report of a run that has scanned after this call.

        `progress` is called in this thread.  Raises what `port.Run.run` raises.
        """
        shared = self._join(options)
        try:
            self._follow(shared, progress)
        finally:
            self._leave(shared)
        if shared.error is not None:
            raise _again(shared.error) from None
        return dict(shared.report)

    def cancel(self) -> None:
        """End all runs that are under way; each request gets `ShuttingDownError`."""
        with self._changed:
            runs = list(self._runs)
        for shared in runs:
            self._cancel(shared)

    def _join(self, options: RunOptions) -> _SharedRun:
        with self._changed:
            joined = next((run for run in self._runs if run.is_open(options)), None)
            shared = joined or _SharedRun(options)
            shared.requests += 1
            if joined is None:
                self._runs.append(shared)
        try:
            self._runtime.step(Step.RUN_ASKED)
            if joined is None:
                self._runtime.thread(lambda: self._execute(shared), "index run")
        except BaseException as error:
            if joined is None:
                self._end(shared, error)
            self._leave(shared)
            raise
        return shared

    def _follow(self, shared: _SharedRun, progress: Progress) -> None:
        told = 0  # nothing was told before the scan, and later none can join
        while events := self._news(shared, told):
            told += len(events)
            for event in events:
                progress(*event)

    def _news(self, shared: _SharedRun, told: int) -> list[Event]:
        """The events after number `told`; waits for one; none when the run has ended."""
        with self._changed:
            self._changed.wait_for(lambda: shared.is_done or len(shared.events) > told)
            return shared.events[told:]

    def _leave(self, shared: _SharedRun) -> None:
        with self._changed:
            shared.requests -= 1
            is_unwanted = shared.requests == 0 and not shared.is_done
            shared.has_begun_to_scan = shared.has_begun_to_scan or is_unwanted
        if is_unwanted:
            self._cancel(shared)

    def _cancel(self, shared: _SharedRun) -> None:
        with self._changed:
            shared.is_cancelled = True
            run = shared.run
        if run is not None:
            run.cancel()

    # In the thread of the run.

    def _execute(self, shared: _SharedRun) -> None:
        error: BaseException | None = None
        try:
            run = self._begin(shared.options)
            with self._changed:
                shared.run, is_cancelled = run, shared.is_cancelled
            if is_cancelled:  # before there was anything to cancel
                run.cancel()
            with self._prepared() as prepare:
                shared.report = run.run(_Listener(self, shared, prepare))
        except BaseException as problem:
            error = problem
        self._end(shared, error)

    def _end(self, shared: _SharedRun, error: BaseException | None) -> None:
        with self._changed:
            shared.error, shared.is_done = error, True
            self._runs.remove(shared)
            self._changed.notify_all()

    def _close_to_others(self, shared: _SharedRun) -> None:
        with self._changed:
            shared.has_begun_to_scan = True
        self._runtime.step(Step.RUN_CLOSED)

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
        self.has_begun_to_scan = False
        self.is_cancelled = False
        self.is_done = False
        self.events: list[Event] = []
        self.report: dict[str, Any] = {}
        self.error: BaseException | None = None

    def is_open(self, options: RunOptions) -> bool:
        """Whether a request with `options` gets from this run what it would from one of its own.

        With a limit to its wait it does not: the run's time has begun before the request's, and it
        would be told of a writer that is at work no more.
        """
        is_closed = self.has_begun_to_scan or self.is_cancelled
        return self.options == options and options.wait_s is None and not is_closed


class _Listener:
    """What a run tells, in its own thread."""

    def __init__(self, runs: IndexRuns, shared: _SharedRun, prepare: Prepare) -> None:
        self._runs = runs
        self._shared = shared
        self._prepare = prepare

    def scanning(self) -> None:
        self._runs._close_to_others(self._shared)

    def progress(self, current: int, total: int, path: str, info: str) -> None:
        self._runs._note(self._shared, (current, total, path, info))

    def ready(self, generation: str) -> None:
        self._prepare(generation)


def _again(error: BaseException) -> BaseException:
    """What each request is told: one exception that many threads raise would mix up their
    tracebacks."""
    if not isinstance(error, Exception):  # the interruption belongs to the thread of the run
        return IndexingError("the index run was interrupted")
    return type(error)(*error.args) if isinstance(error, CidxError) else error
