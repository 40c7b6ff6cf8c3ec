"""A fair semaphore, which nobody holds for long: how many queries are worked on at once.

An interpreter runs one thread at a time.  Where ten threads answer at once, each that leaves the
interpreter for an engine waits for the other nine before it comes back, several times an answer:
together they take longer than in turn, and some far longer than others.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from math import inf

from cidx_ref.runtime import SYSTEM, Event, Runtime

__all__ = ["LARGE", "PATIENCE_S", "FairSemaphore", "Turns"]

#: Most answers take a tenth of it.
PATIENCE_S = 0.02
#: Chunks from which on tantivy takes half of a full-text answer.
LARGE = 50_000
_A_WHILE_S = 1.0  # for which it counts that some had to wait


class _Permit:
    """One who wants to be let in, or was at `since`."""

    __slots__ = ("granted", "since")

    def __init__(self) -> None:
        self.since = 0.0
        self.granted: Event | None = None  # made where somebody has to wait


class FairSemaphore:
    """Lets so many in at once, who have waited longest.  Thread-safe.

    A permit that is held for `patience_s` while others wait is taken back, and its holder goes on
    without one: a slow answer delays nobody (RPC-4), whatever it waits for.
    """

    def __init__(
        self, permits: int = 0, runtime: Runtime = SYSTEM, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Without a number of `permits`, there are as many as processors, or two."""
        # While one query is in the interpreter, others are in engines.
        self._permits = permits or max(2, len(os.sched_getaffinity(0)))
        self._runtime = runtime
        self._patience_s = patience_s
        self._lock = runtime.lock("semaphore")
        # What is held is counted, and nothing else; and what waits is granted before it leaves its
        # place: an interrupt at any place loses neither a permit nor somebody who waits.
        self._held: dict[_Permit, None] = {}  # in the order in which they were granted
        self._waiting: deque[_Permit] = deque()

    @property
    def free(self) -> int:
        """How many permits nobody holds."""
        return self._permits - len(self._held)

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return len(self._waiting)

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold a permit while the block runs; wait for it until it is there."""
        permit = _Permit()
        try:
            self._take(permit)
            yield
        finally:
            self._give_back(permit)

    def _take(self, permit: _Permit) -> None:
        with self._lock:
            if self.free > 0 and not self._waiting:
                self._grant(permit)
                return
            granted = permit.granted = self._runtime.event("permit")
            self._waiting.append(permit)
        while not (granted.wait(self._patience_s) or permit.since):
            with self._lock:
                self._let_in()

    def _give_back(self, permit: _Permit) -> None:
        with self._lock:
            self._held.pop(permit, None)  # or it has been taken back
            if permit in self._waiting:  # an exception ended its waiting
                self._waiting.remove(permit)
            self._let_in()

    def _let_in(self) -> None:
        """Grant what can be granted; for that, what has been held for long is taken back."""
        if not self._waiting:
            return
        missing = max(0, len(self._waiting) - self.free)
        for permit in self._held_for_long()[:missing]:
            del self._held[permit]
        while self._waiting and self.free > 0:
            self._grant(self._waiting[0])
            self._waiting.popleft()

    def _held_for_long(self) -> list[_Permit]:
        overdue = self._runtime.monotonic() - self._patience_s
        return [permit for permit in self._held if permit.since <= overdue]

    def _grant(self, permit: _Permit) -> None:
        permit.since = self._runtime.monotonic()
        self._held[permit] = None
        if permit.granted is not None:
            permit.granted.set()


class Turns:
    """Whose turn it is, of all queries of a daemon.  Thread-safe.

    Full text of a small index is nearly all Python, and two at once are in each other's way; who
    asks a graph, or tantivy for words of many chunks, is out of the interpreter meanwhile.  Where
    some wait for it, their threads go on on one processor: on any other, each would fetch from the
    cache of the last one what all of them use.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._crowded_at = -inf  # when one last had to wait for quick full text
        self._quick = FairSemaphore(1, runtime)
        self._fulltext = FairSemaphore(runtime=runtime)
        self._others = FairSemaphore(runtime=runtime)

    def of(self, mode: str, chunks: int) -> FairSemaphore:
        """What a query in `mode` waits for, of an index with so many chunks."""
        if mode != "fts":
            return self._others
        return self._fulltext if chunks >= LARGE else self._quick

    def turn(self, mode: str, chunks: int) -> AbstractContextManager[None]:
        """Wait for a turn, and have it while the block runs."""
        semaphore = self.of(mode, chunks)
        # Of what is not loaded yet, engines may be about to start threads of their own.
        is_quick = semaphore is self._quick and chunks > 0
        now = self._runtime.monotonic()
        if is_quick and not semaphore.free:
            self._crowded_at = now
        self._runtime.gather(together=is_quick and now - self._crowded_at < _A_WHILE_S)
        return semaphore.permit()
