"""An index that is nothing but names: for tests of what keeps, shares, closes and renews one.

A `FakeIndex` has the whole of the daemon's port (`index.port`).  Its reading of the disk consists
of steps of the runtime, so that a scheduler can let others in between; a `FakeSnapshot` tells which
thread uses it after it was closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.succession import Succession
from cidx_ref.errors import GenerationGone, IndexUnusableError, NoIndexError, ShuttingDownError
from cidx_ref.index.port import RunListener, RunOptions, Search
from cidx_ref.runtime import Runtime
from cidx_ref.testing.conformance.parts.source import Load, Source, Value

__all__ = ["MERGE_S", "CacheRig", "FakeIndex", "FakeRun", "FakeSnapshot", "RiggedCache"]

#: So long a merge takes: less than a watcher waits until changes have settled.
MERGE_S = 0.1


class FakeSnapshot(Value):
    """One load of a source."""

    def search(self) -> None:
        """Raises `AssertionError` once the snapshot is closed: a real one would crash."""
        self.use()

    @property
    def count(self) -> int:
        return 1

    @property
    def unavailable(self) -> dict[str, str]:
        return {}

    def answer(self, search: Search) -> dict[str, Any]:
        """No hits; `generation` and `mode` are those of the search."""
        self.search()
        return {"results": [], "mode": search.mode, "generation": self.generation, "took_ms": 0.0}


class FakeIndex(Source):
    """Generations g1, g2, ... on no disk.  The last one published is live.

    A load that fails raises `IndexUnusableError`.
    """

    prefix = "g"

    def __init__(self, runtime: Runtime, *, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__(runtime, fails=fails)
        #: Written, and not live yet: what an index run is about to publish.
        self.sealed = ""
        self.is_there = True
        self.snapshots: list[FakeSnapshot] = []
        #: Held by a writer: one at a time.
        self.writing = runtime.lock("writers")
        #: How often an index run has looked at the files.
        self.scans = 0
        #: How often files were saved, and how many of these each generation holds.
        self.saved = 0
        self.held = {"g1": 0}
        #: So many merges are to be done.
        self.merges_due = 0
        #: What an index run lists.
        self.files: list[str] = []

    @property
    def begun(self) -> list[str]:
        """The generations of which a load was begun, in that order."""
        return [load.version for load in self.loads]

    def current(self) -> str:
        is_there, live = self.is_there, super().current()
        if not is_there:
            raise NoIndexError("no index")
        return live

    def load(self, version: str | None = None) -> FakeSnapshot:
        snapshot: FakeSnapshot = super().load(version)
        return snapshot

    def make(self, load: Load) -> FakeSnapshot:
        snapshot = FakeSnapshot(load)
        self.snapshots.append(snapshot)
        return snapshot

    def error(self) -> Exception:
        return IndexUnusableError("damaged")

    def check_there(self, version: str) -> None:
        # As on disk: a generation that was replaced, and that nobody has open, is removed.
        if version not in (self.live, self.sealed) and not self._is_open(version):
            raise GenerationGone(version)

    def seal(self, held: int | None = None) -> str:
        """Write a new generation, as an index run does before it publishes; return it.

        It holds so many saves, by default all there were."""
        self.sealed = f"g{int(self.live[1:]) + 1}"
        self.held[self.sealed] = self.saved if held is None else held
        return self.sealed

    def publish(self, held: int | None = None) -> str:
        """Make a new generation live, as a finished index run does; return it."""
        self.seal(held)
        self._runtime.step("publish")
        self.live, self.sealed = self.sealed, ""
        return self.live

    def describe(self) -> dict[str, Any]:
        return {"generation": self.live, "index_age_seconds": 0.0, "files": 0, "chunks": 0}

    def check(self) -> dict[str, Any]:
        return {}

    def skipped(self) -> dict[str, Any]:
        return {"counts": {}, "files": []}

    def sweep(self) -> None:
        pass

    def begin_run(self, options: RunOptions) -> FakeRun:
        return FakeRun(self, self._runtime, options)

    def _is_open(self, generation: str) -> bool:
        return any(s.generation == generation and not s.closed for s in self.snapshots)


class FakeRun:
    """An index run of a `FakeIndex`: it scans, and publishes the next generation; or a merge, which
    publishes again what is live, and takes `MERGE_S`.

    The report of a scan has, as `scan`, its number (from 1).
    """

    def __init__(
        self,
        index: FakeIndex,
        runtime: Runtime,
        options: RunOptions = RunOptions(),  # noqa: B008 - it is frozen
    ) -> None:
        self._index = index
        self._options = options
        self._runtime = runtime
        self._is_cancelled = False
        self._cancelled = runtime.event("cancelled") if options.merge else None

    def run(self, listener: RunListener) -> dict[str, Any]:
        with self._index.writing:
            listener.scanning()
            report = self._scan(listener) if self._cancelled is None else self._merge(listener)
        return {**report, "merge_due": self._index.merges_due > 0}

    def _scan(self, listener: RunListener) -> dict[str, Any]:
        self._index.scans += 1
        scan = self._index.scans
        if self._options.watch:
            listener.listed([""], self._index.files)
        held = self._index.saved
        self._runtime.step(f"scan {scan}")
        if self._is_cancelled:
            raise ShuttingDownError("cancelled")
        listener.ready(self._index.seal(held))
        listener.progress(1, 1, "", "done")
        return {"generation": self._index.publish(held), "scan": scan}

    def _merge(self, listener: RunListener) -> dict[str, Any]:
        held = self._index.held[self._index.live]
        assert self._cancelled is not None
        if self._cancelled.wait(MERGE_S):
            raise ShuttingDownError("cancelled")
        listener.ready(self._index.seal(held))
        self._index.merges_due -= 1
        return {"generation": self._index.publish(held)}

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._cancelled is not None:
            self._cancelled.set()


class CacheRig:
    """A cache over a `FakeIndex`, and what the two were seen to do."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        ttl_s: float = 600.0,
        fails: Callable[[], bool] = lambda: False,
        index: type[FakeIndex] = FakeIndex,
        source: FakeIndex | None = None,
    ) -> None:
        self.runtime = runtime
        self.source = index(runtime, fails=fails) if source is None else source
        #: What the cache told its listener, in that order.
        self.events: list[tuple[str, str]] = []
        #: How often memory was given back.
        self.freed = 0
        self.cache: IndexCache[FakeSnapshot] = IndexCache(
            "project",
            self.source,
            ttl_minutes=ttl_s / 60,
            runtime=runtime,
            listener=self._listen,
            on_free=self._on_free,
        )
        self.succession = Succession(
            self.cache, self.source, runtime=runtime, listener=self._listen
        )

    def query(self, search: Callable[[], object] = lambda: None) -> FakeSnapshot:
        """One query, which does `search` half-way; the snapshot that answered it."""
        with self.cache.pin() as snapshot:
            assert snapshot is not None, "what was pinned is gone"
            snapshot.search()
            search()
            self.runtime.step("search")
            snapshot.search()
        return snapshot

    def answer(self) -> tuple[str, int] | None:
        """One query, as `models.cache_model` reads it; None if its load failed."""
        try:
            snapshot = self.query()
        except IndexUnusableError:
            return None
        return snapshot.generation, snapshot.number

    def publish(self) -> str:
        """An index run of another process; one writer at a time."""
        with self.source.writing:
            return self.source.publish()

    def index(self) -> tuple[str, int | None]:
        """An index run of the daemon's own, which has loaded what it publishes before it does:
        the generation, and which load that was, if there was one."""
        with self.succession.prepared() as prepare, self.source.writing:
            prepare(self.source.seal())
            generation = self.source.publish()
            loads = [s.number for s in self.source.snapshots if s.generation == generation]
        return generation, min(loads, default=None)

    @property
    def cached(self) -> FakeSnapshot | None:
        entry = self.cache.entry
        return entry.snapshot if entry is not None else None

    def check_nothing_is_left(self) -> None:
        """When nobody is inside: no pin, no load, and every snapshot that is not cached closed
        once, its memory given back (CACHE-7)."""
        entry = self.cache.entry
        assert entry is None or entry.pins == 0, f"{entry.pins} pins are left"
        assert not self.cache.is_loading, "a load is left that nobody is at"
        for snapshot in self.source.snapshots:
            wanted = 0 if entry is not None and snapshot is entry.snapshot else 1
            assert snapshot.closed == wanted, f"{snapshot} was closed {snapshot.closed} times"
        closed = sum(snapshot.closed for snapshot in self.source.snapshots)
        assert self.freed == closed, f"{closed} closed, memory given back {self.freed} times"

    def _listen(self, event: str, generation: str, seconds: float = 0.0) -> None:
        self.events.append((event, generation))

    def _on_free(self) -> None:
        self.freed += 1


class RiggedCache:
    """The cache of a rig, for the kit's scenarios."""

    def __init__(self, source: FakeIndex, *, ttl_s: float, runtime: Runtime) -> None:
        self.rig = CacheRig(runtime, ttl_s=ttl_s, source=source)
        self.use = self.rig.cache.pin
        self.clear = self.rig.cache.clear
        self.evict = self.rig.cache.evict_expired
