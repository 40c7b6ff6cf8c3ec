"""The cache and the index runs, over an index of names: where their threads meet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cidx_ref.daemon import indexing
from cidx_ref.errors import (
    IndexUnusableError,
)
from cidx_ref.index.port import RunOptions
from cidx_ref.steps import Step
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.history import History, check_linearizable
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.conformance.parts.models import CacheState, cache_model
from cidx_ref.testing.own.fake_index import CacheRig
from cidx_ref.testing.own.scenarios.common import TTL_S, unprepared


class _Cache(Scenario):
    """A cache, cold at first, whose loads do not fail."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig = CacheRig(runtime, ttl_s=TTL_S)

    def check(self) -> None:
        self.rig.check_nothing_is_left()


class TwoQueries(_Cache):
    """Two queries find nothing cached: one loads, and the other shares it."""

    promises = frozenset({"CACHE-1"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.rig.query, "other": self.rig.query}

    def check(self) -> None:
        super().check()
        assert self.rig.source.begun == ["g1"], f"loads: {self.rig.source.begun}"


class ThreeQueries(TwoQueries):
    """So do three."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {**super().actors(), "third": self.rig.query}


class FailingLoad(_Cache):
    """Two queries find nothing cached, and the first load fails: whoever shared it is told, and
    the next query tries again."""

    promises = frozenset({"CACHE-2"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig = CacheRig(runtime, ttl_s=TTL_S, fails=lambda: len(self.rig.source.begun) == 1)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._query, "other": self._query}

    def _query(self) -> None:
        with suppress(IndexUnusableError):
            self.rig.query()

    def check(self) -> None:
        super().check()
        assert self.rig.query().generation == "g1"


class InterruptedLoad(_Cache):
    """The thread that loads is interrupted, and nobody else: whoever waited loads instead."""

    promises = frozenset({"CACHE-2"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig = CacheRig(runtime, ttl_s=TTL_S, fails=self._interrupt)
        self.interrupted = ""

    def _interrupt(self) -> bool:
        if len(self.rig.source.begun) == 1:
            self.interrupted = self.runtime.current_thread
            raise _Interruption
        return False

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._query, "other": self._query}

    def _query(self) -> None:
        try:
            self.rig.query()
        except _Interruption:
            thread = self.runtime.current_thread
            assert thread == self.interrupted, f"{thread} was interrupted, too"


class _Interruption(BaseException):
    """As KeyboardInterrupt and SystemExit are."""


class InterruptedWaiter(InterruptedLoad):
    """A thread that waits for a load is interrupted: it leaves no pin."""

    def __init__(self, runtime: Scheduler) -> None:
        _Cache.__init__(self, runtime)
        runtime.at("joined", self._may_interrupt)

    def _may_interrupt(self) -> None:
        if self.runtime.branch("is interrupted"):
            self.interrupted = self.runtime.current_thread
            raise _Interruption


class PublishAndTwoQueries(_Cache):
    """A publish while two queries come, nothing being cached: of the new generation there is one
    load, whoever comes late with what was live before."""

    promises = frozenset({"CACHE-1"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.rig.query, "other": self.rig.query, "index": self._index}

    def _index(self) -> None:
        self.rig.source.publish()
        self.rig.query()

    def check(self) -> None:
        super().check()
        assert self.rig.source.begun.count("g2") == 1, f"loads: {self.rig.source.begun}"


class ReadersTogether(_Cache):
    """Two queries search at the same time: each waits, half-way, until the other is there."""

    promises = frozenset({"SRV-1", "RPC-4"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig.query()
        self.arrived = {name: runtime.event(f"arrival of {name}") for name in ("one", "other")}

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "one": lambda: self.rig.query(lambda: self._meet("one", "other")),
            "other": lambda: self.rig.query(lambda: self._meet("other", "one")),
        }

    def _meet(self, me: str, whom: str) -> None:
        self.arrived[me].set()
        self.arrived[whom].wait()


class QueryAndClear(_Cache):
    """A clear while a query loads: the load must not be installed."""

    promises = frozenset({"CACHE-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.begun_before_clear = 0

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self.rig.query, "clear": self._clear}

    def _clear(self) -> None:
        self.begun_before_clear = len(self.rig.source.begun)
        self.rig.cache.clear()

    def check(self) -> None:
        super().check()
        cached = self.rig.cached
        assert cached is None or cached.number > self.begun_before_clear, (
            "a load that was begun before the clear is cached after it"
        )


class QueriesAndClear(QueryAndClear):
    """A clear while two queries share a load, or while one of them has its result in use."""

    promises = frozenset({"CACHE-3", "CACHE-4"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self.rig.query, "other": self.rig.query, "clear": self._clear}


class QueryAndPublish(_Cache):
    """A publish while a query loads the old generation: whoever asks after it gets the new one,
    and it stays."""

    promises = frozenset({"CACHE-3", "CACHE-5", "CACHE-8"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self.rig.query, "index": self._index}

    def _index(self) -> None:
        generation = self.rig.source.publish()
        answered = self.rig.query().generation
        assert answered == generation, f"index published {generation}, then {answered} answered"

    def check(self) -> None:
        super().check()
        cached = self.rig.cached
        assert cached is not None
        assert cached.generation == "g2", f"{cached} replaced the new generation"


class WarmQueryAndPublish(QueryAndPublish):
    """The same with the old generation cached."""

    promises = frozenset({"CACHE-5", "CACHE-8"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig.query()


class QueryAndIndexRun(WarmQueryAndPublish):
    """The same where the index run is the daemon's own: it has loaded what it publishes, and no
    query loads anything."""

    promises = frozenset({"CACHE-1", "CACHE-5", "PERF-5"})

    def __init__(self, runtime: Scheduler) -> None:
        _Cache.__init__(self, runtime)
        self.loaded_by: list[str] = []
        self.rig = CacheRig(runtime, ttl_s=TTL_S, fails=self._note)
        self.rig.query()

    def _note(self) -> bool:
        self.loaded_by.append(self.runtime.current_thread)
        return False

    def _index(self) -> None:
        generation, _ = self.rig.index()
        answered = self.rig.query().generation
        assert answered == generation, f"index published {generation}, then {answered} answered"

    def check(self) -> None:
        super().check()
        assert self.rig.source.begun == ["g1", "g2"], f"loads: {self.rig.source.begun}"
        assert self.loaded_by[1:] == ["index"], "a query had to load"


class QueryAndTwoIndexRuns(_Cache):
    """Two index runs of the daemon, of which the second is ready before the first is over."""

    promises = frozenset({"CACHE-1", "PERF-5"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig.query()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.rig.index, "two": self.rig.index, "query": self.rig.query}

    def check(self) -> None:
        super().check()
        assert self.rig.source.begun == ["g1", "g2", "g3"], f"loads: {self.rig.source.begun}"
        cached = self.rig.cached
        assert cached is not None
        assert cached.generation == "g3", f"{cached} is cached"


class ClearAndIndexRun(QueryAndClear):
    """A clear during an index run: what the run has loaded must not be cached either."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig.query()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"index": self.rig.index, "clear": self._clear}


class FailingIndexRun(_Cache):
    """An index run that has loaded its generation, and then does not publish it: nothing has
    changed, and nothing is left."""

    promises = frozenset({"CACHE-3", "CACHE-7"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig.query()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self.rig.query, "index": self._index, "eviction": self._evict}

    def _index(self) -> None:
        with self.rig.succession.prepared() as prepare:
            prepare(self.rig.source.seal())

    def _evict(self) -> None:
        self.runtime.advance(TTL_S)
        self.rig.cache.evict_expired()

    def check(self) -> None:
        super().check()
        cached = self.rig.cached
        assert cached is None or cached.generation == "g1", f"{cached} was never published"


class TwoIndexRequests(_Cache):
    """Two requests for an index run, and a third when the first has what it asked for.

    Each gets a run that has scanned after the request; those that come before a scan share it.
    """

    promises = frozenset({"CACHE-5"})
    is_large = True

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.runs = indexing.IndexRuns(self.rig.source.begin_run, unprepared, runtime)
        self.asked = 0

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._twice, "other": self._once}

    def _twice(self) -> None:
        self._once()
        self._once()

    def _once(self) -> None:
        before = self.rig.source.scans
        self.asked += 1
        report = self.runs.run(RunOptions(), lambda *event: None)
        assert report["scan"] > before, "a request was given a run that had scanned before"
        live = self.rig.source.live
        assert int(live[1:]) >= int(report["generation"][1:]), "it has returned, and is not live"

    def check(self) -> None:
        super().check()
        assert not self.runs.is_running, "a run is left"
        assert self.rig.source.scans <= self.asked, "more runs than requests"


class SharedIndexRun(TwoIndexRequests):
    """Two requests arrive while another writer is at work: one run does for both."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.joined = 0
        self.kept_off = False
        runtime.at(Step.RUN_ASKED, self._count)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._once, "other": self._once, "writer": self._write}

    def _count(self) -> None:
        self.joined += 1

    def _write(self) -> None:
        with self.rig.source.writing:
            self.kept_off = self.rig.source.scans == 0
            while self.kept_off and self.joined < 2:
                self.runtime.sleep(1.0)

    def check(self) -> None:
        super().check()
        if self.kept_off:
            assert self.rig.source.scans == 1, "two requests before the scan made two runs"


class QueryAndEviction(_Cache):
    """The TTL passes while a query searches, and the cache is checked."""

    promises = frozenset({"TTL-2"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig.query()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self._query, "eviction": self.rig.cache.evict_expired}

    def _query(self) -> None:
        self.rig.query(lambda: self.runtime.advance(TTL_S))


class ManyOperations(_Cache):
    """Queries, an index run, a clear, an eviction and failing loads, judged for linearizability:
    each query answers from the live generation, loaded no more often than it must be."""

    promises = frozenset({"CACHE-1", "CACHE-2", "CACHE-3", "CACHE-5", "CACHE-8"})
    is_large = True

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rig = CacheRig(runtime, ttl_s=TTL_S, fails=lambda: runtime.branch("the load fails"))
        self.history = History()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "client": lambda: self._do("client", "query", "query"),
            "writer": lambda: self._do("writer", "query", "publish", "query"),
            "keeper": lambda: self._do("keeper", "clear", "query", "evict"),
        }

    def _do(self, thread: str, *names: str) -> None:
        do: dict[str, Callable[[], Any]] = {
            "query": self.rig.answer,
            "publish": self.rig.source.publish,
            "index": self.rig.index,
            "clear": self.rig.cache.clear,
            "evict": self._evict,
        }
        for name in names:
            self.history.call(thread, name, do[name])

    def _evict(self) -> bool:
        self.runtime.advance(TTL_S)
        return self.rig.cache.evict_expired()

    def check(self) -> None:
        super().check()
        check_linearizable(self.history, CacheState("g1"), cache_model)


class IndexRuns(ManyOperations):
    """Fewer of them, with index runs of the daemon's own."""

    is_large = False

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "client": lambda: self._do("client", "query"),
            "writer": lambda: self._do("writer", "index", "query"),
            "keeper": lambda: self._do("keeper", "clear"),
        }
