"""Succession: an index run loads what it is about to publish, beside the entry that is in use.

So no query waits for a load (PERF-5).  A publish, step by step:

1.  The child process has a sealed generation, gives it its name (`Step.RENAMED`), says `ready`, and
    waits (`index.worker`, `index.generation`).
2.  The thread of the run hears it (`index.child`, `indexing`), and calls `prepare`: the entry in
    use is held, the new generation loaded, and offered to the cache as the entry's successor.
3.  The child is told to go on, and makes the generation live (`Step.PUBLISHED`).
4.  The first query that finds it live takes the successor for its entry (`cache`).
5.  When the run is over, the successor is settled: it has taken over, or takes over now, or is
    closed.  The entry that it has replaced is closed once no query uses it.

A clear, a load of something else, or another run's successor takes its place away before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from cidx_ref.daemon.cache import CacheListener, IndexCache, Successor
from cidx_ref.daemon.entry import Cached, CacheEntry
from cidx_ref.index.port import Source
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Succession"]

_log = logging.getLogger("cidx_ref")

S = TypeVar("S", bound=Cached)


class Succession(Generic[S]):
    """Successors for the entry of `cache`, loaded from the same `source`.  Thread-safe."""

    def __init__(
        self,
        cache: IndexCache[S],
        source: Source[S],
        *,
        runtime: Runtime = SYSTEM,
        listener: CacheListener = lambda event, generation, seconds=0.0: None,
    ) -> None:
        self._cache = cache
        self._source = source
        self._runtime = runtime
        self._tell = listener

    @contextmanager
    def prepared(self) -> Iterator[Callable[[str], None]]:
        """For as long as an index run takes: what it yields loads a generation that is about to
        become live, if the cache is in use at all.

        It raises nothing: a generation that cannot be loaded is the next query's to report.
        """
        held: list[CacheEntry[S]] = []
        offered: list[Successor[S]] = []

        def prepare(generation: str) -> None:
            predecessor = None if held else self._cache.hold(other_than=generation)
            if predecessor is None:
                return
            # Held until the run is over, so that to close it, which takes long, falls to the run,
            # and not to the query that happens to be first.
            held.append(predecessor)
            if (entry := self._loaded(generation)) is not None:
                offered.append(Successor(entry, predecessor))
                self._cache.offer(offered[0])

        try:
            yield prepare
        finally:
            for successor in offered:
                self._settle(successor)
            for entry in held:
                self._cache.let_go(entry)

    def _loaded(self, generation: str) -> CacheEntry[S] | None:
        started = self._runtime.monotonic()
        try:
            snapshot = self._source.load(generation)
        except Exception as error:
            _log.warning("generation %s cannot be loaded before its publish: %s", generation, error)
            self._tell("load_failed", generation)
            return None
        try:
            self._tell("load", generation, self._runtime.monotonic() - started)
            return CacheEntry(self._cache.project_path, snapshot, runtime=self._runtime)
        except BaseException:  # interrupted
            snapshot.close()
            raise

    def _settle(self, successor: Successor[S]) -> None:
        self._cache.withdraw(successor)
        if successor.has_succeeded:
            self._tell("replace", successor.predecessor.generation)
        else:
            self._tell("evict", successor.entry.generation)
            self._cache.close(successor.entry)
