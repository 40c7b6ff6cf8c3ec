"""The cache and the index runs, over an index of names: where their threads meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cidx_ref.daemon import indexing
from cidx_ref.index.port import RunOptions
from cidx_ref.steps import Step
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.conformance.parts import cache_scenarios as general
from cidx_ref.testing.conformance.parts.asking import Asked
from cidx_ref.testing.conformance.parts.cache_scenarios import CacheScenario
from cidx_ref.testing.own.fake_index import CacheRig, FakeIndex, RiggedCache
from cidx_ref.testing.own.scenarios.common import TTL_S, unprepared


class _Cache(CacheScenario):
    """Our own cache over an index of names, in the kit's scenarios and in those below; beside what
    its users see, nothing may be left in it."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime, RiggedCache)

    def ask(self) -> Asked:
        asked = Asked(RiggedCache, self.runtime, fails=self.fails, source=FakeIndex)
        self.rig: CacheRig = asked.cache.rig
        return asked

    def verify(self) -> None:
        super().verify()
        self.rig.check_nothing_is_left()


class TwoQueries(_Cache, general.TwoQueries):
    """Two queries find nothing cached: one loads, and the other shares it."""


class ThreeQueries(_Cache, general.ThreeQueries):
    """So do three."""


class FailingLoad(_Cache, general.FailingLoad):
    """Two queries find nothing cached, and the first load fails."""


class InterruptedLoad(_Cache, general.InterruptedLoad):
    """The thread that loads is interrupted, and no other."""


class InterruptedWaiter(InterruptedLoad):
    """A thread that waits for a load is interrupted: it leaves no pin."""

    def set_up(self) -> None:
        super().set_up()
        self.runtime.at("joined", self._may_interrupt)

    def fails(self) -> bool:
        return False

    def _may_interrupt(self) -> None:
        if self.runtime.branch("is interrupted"):
            self.interrupted = self.runtime.current_thread
            raise general.Interruption


class PublishAndTwoQueries(_Cache, general.PublishAndTwoQueries):
    """A publish while two queries come, nothing being cached."""


class ReadersTogether(_Cache, general.ReadersTogether):
    """Two queries search at the same time."""

    promises = frozenset({"SRV-1", "RPC-4"})


class QueryAndClear(_Cache, general.QueryAndClear):
    """A clear while a query loads."""


class QueriesAndClear(_Cache, general.QueriesAndClear):
    """A clear while two queries share a load, or while one of them has its result in use."""


class QueryAndPublish(_Cache, general.QueryAndPublish):
    """A publish while a query loads the old generation."""

    promises = frozenset({"CACHE-3", "CACHE-5", "CACHE-8"})


class WarmQueryAndPublish(_Cache, general.WarmQueryAndPublish):
    """The same with the old generation cached."""

    promises = frozenset({"CACHE-5", "CACHE-8"})


class QueryAndIndexRun(WarmQueryAndPublish):
    """The same where the index run is the daemon's own: it has loaded what it publishes, and no
    query loads anything."""

    promises = frozenset({"CACHE-1", "CACHE-5", "PERF-5"})

    def set_up(self) -> None:
        self.loaded_by: list[str] = []
        super().set_up()

    def fails(self) -> bool:
        self.loaded_by.append(self.runtime.current_thread)
        return False

    def _index(self) -> None:
        generation, _ = self.rig.index()
        answered = self.rig.query().generation
        assert answered == generation, f"index published {generation}, then {answered} answered"

    def verify(self) -> None:
        super().verify()
        assert self.rig.source.begun == ["g1", "g2"], f"loads: {self.rig.source.begun}"
        assert self.loaded_by[1:] == ["index"], "a query had to load"


class QueryAndTwoIndexRuns(_Cache):
    """Two index runs of the daemon, of which the second is ready before the first is over."""

    promises = frozenset({"CACHE-1", "PERF-5"})

    def set_up(self) -> None:
        super().set_up()
        self.rig.query()

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"one": self.rig.index, "two": self.rig.index, "query": self.rig.query}

    def verify(self) -> None:
        super().verify()
        assert self.rig.source.begun == ["g1", "g2", "g3"], f"loads: {self.rig.source.begun}"
        cached = self.rig.cached
        assert cached is not None
        assert cached.generation == "g3", f"{cached} is cached"


class ClearAndIndexRun(QueryAndClear):
    """A clear during an index run: what the run has loaded must not be cached either."""

    def set_up(self) -> None:
        super().set_up()
        self.rig.query()

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"index": self.rig.index, "clear": self._clear}


class FailingIndexRun(_Cache):
    """An index run that has loaded its generation, and then does not publish it: nothing has
    changed, and nothing is left."""

    promises = frozenset({"CACHE-3", "CACHE-7"})

    def set_up(self) -> None:
        super().set_up()
        self.rig.query()

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"query": self.rig.query, "index": self._index, "eviction": self._evict}

    def _index(self) -> None:
        with self.rig.succession.prepared() as prepare:
            prepare(self.rig.source.seal())

    def _evict(self) -> None:
        self.runtime.advance(TTL_S)
        self.rig.cache.evict_expired()

    def verify(self) -> None:
        super().verify()
        cached = self.rig.cached
        assert cached is None or cached.generation == "g1", f"{cached} was never published"


class TwoIndexRequests(_Cache):
    """Two requests for an index run, and a third when the first has what it asked for.

    Each gets a run that has scanned after the request; those that come before a scan share it.
    """

    promises = frozenset({"CACHE-5"})
    is_large = True

    def set_up(self) -> None:
        super().set_up()
        self.runs = indexing.IndexRuns(self.rig.source.begin_run, unprepared, self.runtime)
        self.requests = 0

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"one": self._twice, "other": self._once}

    def _twice(self) -> None:
        self._once()
        self._once()

    def _once(self) -> None:
        before = self.rig.source.scans
        self.requests += 1
        report = self.runs.run(RunOptions(), lambda *event: None)
        assert report["scan"] > before, "a request was given a run that had scanned before"
        live = self.rig.source.live
        assert int(live[1:]) >= int(report["generation"][1:]), "it has returned, and is not live"

    def verify(self) -> None:
        super().verify()
        assert not self.runs.is_running, "a run is left"
        assert self.rig.source.scans <= self.requests, "more runs than requests"


class SharedIndexRun(TwoIndexRequests):
    """Two requests arrive while another writer is at work: one run does for both."""

    def set_up(self) -> None:
        super().set_up()
        self.joined = 0
        self.kept_off = False
        self.runtime.at(Step.RUN_ASKED, self._count)

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"one": self._once, "other": self._once, "writer": self._write}

    def _count(self) -> None:
        self.joined += 1

    def _write(self) -> None:
        with self.rig.source.writing:
            self.kept_off = self.rig.source.scans == 0
            while self.kept_off and self.joined < 2:
                self.runtime.sleep(1.0)

    def verify(self) -> None:
        super().verify()
        if self.kept_off:
            assert self.rig.source.scans == 1, "two requests before the scan made two runs"


class QueryAndEviction(_Cache, general.QueryAndEviction):
    """The TTL passes while a query searches, and the cache is checked."""


class ManyOperations(_Cache, general.ManyOperations):
    """Queries, an index run, a clear, an eviction and failing loads, judged for linearizability:
    each query answers from the live generation, loaded no more often than it must be."""

    promises = frozenset({"CACHE-1", "CACHE-2", "CACHE-3", "CACHE-5", "CACHE-8"})
    is_large = True

    def threads(self) -> dict[str, Callable[[], object]]:
        return {
            "client": lambda: self._do("client", "query", "query"),
            "writer": lambda: self._do("writer", "query", "publish", "query"),
            "keeper": lambda: self._do("keeper", "clear", "query", "evict"),
        }

    def operations(self) -> dict[str, Callable[[], Any]]:
        return {**super().operations(), "index": self.rig.index}

    def evict(self) -> bool:
        self.runtime.advance(TTL_S)
        return self.rig.cache.evict_expired()


class IndexRuns(ManyOperations):
    """Fewer of them, with index runs of the daemon's own."""

    is_large = False

    def threads(self) -> dict[str, Callable[[], object]]:
        return {
            "client": lambda: self._do("client", "query"),
            "writer": lambda: self._do("writer", "index", "query"),
            "keeper": lambda: self._do("keeper", "clear"),
        }
