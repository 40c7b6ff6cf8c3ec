"""The real threads that scheduled runs are made of, each with a baton that lets it go on."""

from __future__ import annotations

from collections.abc import Callable

from cidx_ref.testing.ground import SYSTEM, Lock

__all__ = ["ThreadPool", "Worker"]

_JOIN_S = 10.0


class Worker:
    """A real thread that runs one task after another.  Its baton is what it waits for."""

    def __init__(self) -> None:
        self.baton = SYSTEM.lock("baton")
        self.baton.acquire()
        self.job: Callable[[], Lock] | None = None
        self.thread = SYSTEM.thread(self._run, "scheduled")

    def _run(self) -> None:
        while True:
            self.baton.acquire()
            job, self.job = self.job, None
            if job is None:
                return
            # Last of all: from here on another thread runs, and may give this worker a new job.
            job().release()


class ThreadPool:
    """The threads that runs are made of: starting them anew costs more than a whole run."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        #: One of them is stuck: it is not waited for.
        self.is_stuck = False

    def take(self) -> Worker:
        if self._idle:
            return self._idle.pop()
        worker = Worker()
        self._workers.append(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        self._idle.append(worker)

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.job = None  # of a run that was never begun
            worker.baton.release()
        for worker in self._workers:
            worker.thread.join(0 if self.is_stuck else _JOIN_S)
