"""Merges among the index runs of a daemon, and the segments that its generations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from cidx_ref.daemon import indexing
from cidx_ref.index.loaded import LoadedSegments
from cidx_ref.index.port import Run, RunListener, RunOptions
from cidx_ref.runtime import Runtime
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.fake_index import CacheRig, FakeIndex, FakeSnapshot
from cidx_ref.testing.own.scenarios.common import TTL_S, unprepared


class _UnderWay:
    """A run that is noted for as long as it takes."""

    def __init__(self, run: Run, noted: list[RunOptions], options: RunOptions) -> None:
        self._run = run
        self._noted = noted
        self._options = options

    def run(self, listener: RunListener) -> dict[str, Any]:
        self._noted.append(self._options)
        try:
            return self._run.run(listener)
        finally:
            self._noted.remove(self._options)

    def cancel(self) -> None:
        self._run.cancel()


class RunsAndMerges(Scenario):
    """Files are saved and indexed twice, by two clients, and merges are due.

    A request is given no merge, and waits for none; a merge is never beside another run; what it
    publishes holds what was live before; and in the end it has been done.
    """

    promises = frozenset({"CACHE-5", "WRITE-1"})
    is_large = True

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.index = FakeIndex(runtime)
        self.index.merges_due = 1
        self.runs = indexing.IndexRuns(self._begin, unprepared, runtime)
        self.under_way: list[RunOptions] = []
        #: What nobody hears of whom it would be told: a merge has no client.
        self.complaints: list[str] = []

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._save_and_index, "other": self._save_and_index}

    def _begin(self, options: RunOptions) -> Run:
        if any(options.merge or other.merge for other in self.under_way):
            self.complaints.append("a run has begun beside a merge")
        return _UnderWay(self.index.begin_run(options), self.under_way, options)

    def _save_and_index(self) -> None:
        self.index.saved += 1
        saved, began_s = self.index.saved, self.runtime.monotonic()
        report = self.runs.run(RunOptions(), lambda *event: None)
        assert "scan" in report, "a request was given a merge"
        # Nothing else takes any time here.
        assert self.runtime.monotonic() == began_s, "a request waited for a merge"
        live = self.index.live
        held = self.index.held[live]
        assert held >= saved, f"save {saved} is indexed, and {live} holds {held}"

    def check(self) -> None:
        assert not self.complaints, self.complaints[0]
        assert not self.runs.is_running, "a run is left"
        assert not self.under_way, "a merge is left"
        assert self.index.merges_due == 0, "a merge is due, and nobody does it"


class _FakeSegment:
    """A segment in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class _Segmented(FakeIndex):
    """Each generation has a segment of its own, and one that all of them have."""

    has_own = True

    def __init__(self, runtime: Runtime, *, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__(runtime, fails=fails)
        self.loaded = LoadedSegments(runtime)
        self.read: list[_FakeSegment] = []

    def load(self, version: str | None = None) -> FakeSnapshot:
        generation = version or self.live
        names = ("shared", generation) if self.has_own else ("shared",)
        taken = {name: self._take(name) for name in names}
        try:
            snapshot = super().load(generation)
        except BaseException:
            self._give_back(names)
            raise
        search, close = snapshot.search, snapshot.close

        def search_all() -> None:
            search()
            closed = [name for name, segment in taken.items() if segment.closed]
            assert not closed, f"segment {closed} was closed while somebody searched {generation}"

        def close_all() -> None:
            close()
            self._give_back(names)

        vars(snapshot).update(search=search_all, close=close_all, segments=taken)
        return snapshot

    def _take(self, name: str) -> _FakeSegment:
        return cast("_FakeSegment", self.loaded.take((name, ()), lambda: self._read(name)))

    def _read(self, name: str) -> Any:
        segment = _FakeSegment(name)
        self.read.append(segment)
        self._runtime.step(f"read segment {name}")
        return segment

    def _give_back(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.loaded.give_back((name, ()))


class SegmentsOfTwoGenerations(Scenario):
    """An index run while a query searches: what the two generations share is loaded once, stays
    for as long as one of them is in memory, and is closed once."""

    promises = frozenset({"CACHE-4", "CACHE-7"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig = CacheRig(runtime, ttl_s=TTL_S, index=_Segmented)
        self.rig.query()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self.rig.query, "index": self._index}

    def _index(self) -> None:
        self.rig.index()
        self.rig.query()

    def check(self) -> None:
        self.rig.check_nothing_is_left()
        self._check_segments()
        read = [segment.name for segment in self._source.read]
        assert sorted(read) == ["g1", "g2", "shared"], f"read: {read}"

    @property
    def _source(self) -> _Segmented:
        assert isinstance(self.rig.source, _Segmented)
        return self.rig.source

    def _check_segments(self) -> None:
        cached = self.rig.cached
        kept = list(vars(cached)["segments"].values()) if cached is not None else []
        for segment in self._source.read:
            wanted = 0 if segment in kept else 1
            assert segment.closed == wanted, (
                f"segment {segment.name} was closed {segment.closed} times"
            )


class _Shared(_Segmented):
    """All generations have the same segment, and no other."""

    has_own = False


class SegmentsReadTwice(SegmentsOfTwoGenerations):
    """Two queries and a clear: two may read the same segment at once, and one of them is kept."""

    def __init__(self, runtime: Scheduler) -> None:
        Scenario.__init__(self, runtime)
        self.rig = CacheRig(runtime, ttl_s=TTL_S, index=_Shared)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.rig.query, "other": self.rig.query, "clear": self.rig.cache.clear}

    def check(self) -> None:
        self.rig.check_nothing_is_left()
        self._check_segments()
