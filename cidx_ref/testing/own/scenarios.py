"""The places where threads of this daemon meet, each as a scenario for `explore`.

The code is the daemon's own: the cache over an index of names, the gate, the eviction thread and
the service around them, the generations and the claim on the socket on a real file system.
Threads stand for clients, and, where what is shared is a file, for processes: a `flock` keeps out
another thread that opened the file itself just as it keeps out another process.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from weakref import finalize

from cidx_ref.config import Config
from cidx_ref.daemon import indexing
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.daemon.server import Claim
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import (
    IndexUnusableError,
    ShuttingDownError,
)
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.manifest import FORMAT, damaged_files, read_manifest
from cidx_ref.index.port import RunOptions
from cidx_ref.keys import KEY_BYTES, Key
from cidx_ref.project import Project
from cidx_ref.sockets import is_answered
from cidx_ref.steps import Step
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.history import History, check_linearizable
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.fake_index import CacheRig
from cidx_ref.testing.own.models import CacheState, cache_model

TTL_S = 600.0

#: Files are written and synced thousands of times: in memory, where there is such a place.
_SCRATCH = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


# The cache.


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


@contextmanager
def _unprepared() -> Iterator[Callable[[str], None]]:
    """In the place of the succession, which has scenarios of its own."""
    yield lambda generation: None


class TwoIndexRequests(_Cache):
    """Two requests for an index run, and a third when the first has what it asked for.

    Each gets a run that has scanned after the request; those that come before a scan share it.
    """

    promises = frozenset({"CACHE-5"})
    is_large = True

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.runs = indexing.IndexRuns(self.rig.source.begin_run, _unprepared, runtime)
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


# The gate, the eviction thread, and the service around them.


class IndexRuns(ManyOperations):
    """Fewer of them, with index runs of the daemon's own."""

    is_large = False

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "client": lambda: self._do("client", "query"),
            "writer": lambda: self._do("writer", "index", "query"),
            "keeper": lambda: self._do("keeper", "clear"),
        }


class _Service(CIDXDaemonService):
    """The real service, but for its index, which is one of names, and its configuration."""

    def __init__(self, runtime: Scheduler, **config: Any) -> None:
        super().__init__(runtime=runtime)
        self.config = Config(**config)
        self.rig = CacheRig(runtime, ttl_s=self.config.ttl_s)
        self._cache = cast("IndexCache[Any]", self.rig.cache)
        self.stopped: list[str] = []
        self.on_shutdown = self.stopped.append
        self.before_check: Callable[[], object] = lambda: None

    def query(self, search: Callable[[], object] = lambda: None) -> None:
        """One query, as `exposed_query` has it served.  It may be refused, but not stopped."""
        with (
            suppress(ShuttingDownError),
            self._counted("query"),
            self.gate.call("query", is_use=True),
        ):
            self.rig.query(search)
            assert self.stopped == [], "the daemon was stopped with a query in flight"

    def reload_config(self) -> None:
        self.before_check()


class _Served(Scenario):
    """A service that was asked once, long ago: its index is cached, and its TTL has passed."""

    config: ClassVar[dict[str, Any]] = {}

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.service = _Service(runtime, **self.config)
        self.service.query()
        runtime.advance(TTL_S)
        self.began = runtime.monotonic()

    def elapsed_s(self) -> float:
        return self.runtime.monotonic() - self.began

    def check(self) -> None:
        self.service.rig.check_nothing_is_left()
        assert self.service.gate.calls() == [], "a call is left"


class QueryAndIdleShutdown(_Served):
    """A query arrives while the daemon finds that it is idle: it is answered, and nothing is
    stopped under it; or it is refused, and the client goes to the next daemon."""

    promises = frozenset({"TTL-5"})

    def actors(self) -> dict[str, Callable[[], object]]:
        tick = CacheEvictionThread(self.service)._check_and_evict
        return {"query": self.service.query, "eviction": tick}

    def check(self) -> None:
        super().check()
        refused = self.service.metrics.report()["calls"]["query"].get(ShuttingDownError.kind, 0)
        assert bool(refused) <= bool(self.service.stopped), "refused, and yet not stopping"


class LongQueryAndIdleShutdown(QueryAndIdleShutdown):
    """The query takes longer than the TTL: it is in flight, so nothing is idle."""

    def actors(self) -> dict[str, Callable[[], object]]:
        def query() -> None:
            self.service.query(lambda: self.runtime.advance(TTL_S))

        return {**super().actors(), "query": query}


class RecentUse(_Served):
    """A query that took its time: the daemon is idle a TTL after its end, and not before."""

    promises = frozenset({"TTL-5"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"daemon": self._live}

    def _live(self) -> None:
        tick = CacheEvictionThread(self.service)._check_and_evict
        self.service.query(lambda: self.runtime.sleep(TTL_S / 2))
        self.service.rig.cache.clear()  # so that it is not what is cached that keeps the daemon
        self.runtime.sleep(TTL_S - 1)
        tick()
        assert self.service.stopped == [], "stopped a second before the TTL had passed"
        self.runtime.sleep(1)
        tick()
        assert self.service.stopped == ["idle"], "the TTL has passed since the last use"


class IndexAndIdleShutdown(_Served):
    """An index run takes longer than the TTL."""

    promises = frozenset({"TTL-5"})

    def actors(self) -> dict[str, Callable[[], object]]:
        tick = CacheEvictionThread(self.service)._check_and_evict
        return {"index": self._index, "eviction": tick}

    def _index(self) -> None:
        with (
            suppress(ShuttingDownError),
            self.service._counted("index"),
            self.service.gate.call("index", is_use=True),
        ):
            self.runtime.advance(TTL_S)
            self.runtime.step("indexing")
            assert self.service.stopped == [], "the daemon was stopped with an index in flight"


class IdleClock(Scenario):
    """A daemon that nobody asks, by its own clockwork: idle at the first check at or after the
    TTL, and not before; and only if it is configured to."""

    promises = frozenset({"TTL-4", "TTL-5"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.service = _Service(runtime, eviction_check_interval_seconds=250)
        self.eviction = CacheEvictionThread(self.service)
        self.began = runtime.monotonic()
        self.stopped_at = -1.0
        self.service.on_shutdown = self._on_shutdown
        self.checked_at: list[float] = []
        self.service.before_check = lambda: self.checked_at.append(self._elapsed_s())

    def _elapsed_s(self) -> float:
        return self.runtime.monotonic() - self.began

    def _on_shutdown(self, reason: str) -> None:
        self.stopped_at = self._elapsed_s()
        self.service.stopped.append(reason)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"daemon": self._daemon}

    def _daemon(self) -> None:
        self.eviction.start()
        self.runtime.sleep(1000)
        self.eviction.stop()

    def check(self) -> None:
        assert self.checked_at[:4] == [0, 250, 500, 750], f"checks at {self.checked_at}"
        assert self.service.stopped == ["idle"], "a daemon that nobody asks is never idle"
        assert self.stopped_at == 750, f"stopped after {self.stopped_at} s"
        assert self._elapsed_s() == 1000, "stopping the clockwork took time"


class NeverIdle(IdleClock):
    """The same, configured never to shut down."""

    promises = frozenset({"TTL-5"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.service.config = Config(
            eviction_check_interval_seconds=250, auto_shutdown_on_idle=False
        )

    def check(self) -> None:
        assert self.service.stopped == [], "not configured to shut down, and yet it does"


class StopOfTheClockwork(Scenario):
    """The eviction thread is told to stop, wherever it is: it ends at once."""

    promises = frozenset({"TTL-4"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.eviction = CacheEvictionThread(_Service(runtime))
        self.began = runtime.monotonic()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"eviction": self.eviction.run, "stop": self.eviction.stop}

    def check(self) -> None:
        took = self.runtime.monotonic() - self.began
        assert took == 0, f"it took {took:g} s to stop"


class FailingCheck(IdleClock):
    """A check fails: the next one runs as if nothing had been."""

    promises = frozenset({"TTL-4"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        note = self.service.before_check

        def check() -> None:
            note()
            if len(self.checked_at) == 2:
                raise OSError("the configuration cannot be read")

        self.service.before_check = check


class QueryAndStop(_Served):
    """The daemon is told to stop while a query runs: what is in flight is answered, what is new
    is refused, and stopping waits for the one and not any longer."""

    promises = frozenset({"SRV-4"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"query": self._query, "stop": self._stop}

    def _query(self) -> None:
        # In flight is what came in before; whoever it is told of may be stopped then.
        self.service.query(lambda: self.runtime.sleep(3.0))

    def _stop(self) -> None:
        self.service.on_shutdown = lambda reason: None
        self.service.shutdown()
        self.service.drain(10.0)
        assert self.service.gate.calls() == [], "stopped, with a call in flight"

    def check(self) -> None:
        super().check()
        assert self.elapsed_s() <= 3.0, f"stopping took {self.elapsed_s()} s, the query 3 s"
        calls = self.service.metrics.report()["calls"]["query"]
        assert set(calls) <= {"ok", ShuttingDownError.kind}
        self.service.query()
        calls = self.service.metrics.report()["calls"]["query"]
        assert calls.get(ShuttingDownError.kind, 0) >= 1, "it still takes queries"


# The generations, on a real file system.


class _Killed(BaseException):
    """Stands for SIGKILL: what the kernel does then (closing files) is done by `finally`."""


_KEY = Key(bytes(KEY_BYTES))


class _OnDisk(Scenario):
    """A project with one published generation."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        root = tempfile.mkdtemp(prefix="cidx-", dir=_SCRATCH)
        # Also where a mutant does not let this object be made.
        self._remove_files = finalize(self, shutil.rmtree, root, ignore_errors=True)
        self.directory = Path(root, "generations")
        self.write()
        self.began = runtime.now()

    def write(self) -> str:
        """What an index run does, with one small file for an index."""
        generations = Generations(self.directory, self.runtime, key=_KEY)
        with generations.writing(), self.alone():
            generation, building = generations.begin()
            (building / "chunks").write_text(generation)
            self.runtime.step("written")
            generations.seal(building, _manifest(generation))
            generations.publish(generation, building)
        return generation

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield

    def read(self) -> str:
        """What a load does: the generation that it saw, whole."""
        generations = Generations(self.directory, self.runtime, key=_KEY)
        while True:
            generation = generations.current()
            self.runtime.step(f"has read that {generation} is live")
            try:
                with Lease(generations.path(generation), self.runtime) as lease:
                    manifest = read_manifest(lease.files, _KEY)
                    self.runtime.step("has read the manifest")
                    assert manifest["generation"] == generation
                    damaged = damaged_files(lease.files, manifest)
                    assert not damaged, f"{generation} is live, and not whole: {damaged}"
                    return generation
            except FileNotFoundError:
                assert generations.current() != generation, f"{generation} is live, and missing"

    def check(self) -> None:
        """The live generation is whole, and once nobody is at work nothing else is left."""
        live = self.read()
        Generations(self.directory, self.runtime, key=_KEY).sweep()
        assert sorted(os.listdir(self.directory)) == sorted([live, "current"]), "litter is left"

    def close(self) -> None:
        self._remove_files()


class TwoWriters(_OnDisk):
    """Two processes index: one after the other, and both are published."""

    promises = frozenset({"WRITE-1"})

    def __init__(self, runtime: Scheduler) -> None:
        self._writing: list[str] = []
        self.written: list[str] = []
        super().__init__(runtime)

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._writing.append("writer")
        assert len(self._writing) == 1, "two writers at once"
        yield
        assert len(self._writing) == 1, "two writers at once"
        self._writing.pop()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._write, "other": self._write}

    def _write(self) -> None:
        self.written.append(self.write())

    def check(self) -> None:
        super().check()
        assert self.read() == max(self.written)


class ReplacedDirectory(TwoWriters):
    """The directory of generations is removed, by somebody who has its lock, while two processes
    are about to index: they do not get in at once by a lock on a directory that is gone."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {**super().actors(), "remover": self._remove}

    def _remove(self) -> None:
        with Generations(self.directory, self.runtime, key=_KEY).writing():
            shutil.rmtree(self.directory)

    def check(self) -> None:
        if self.directory.exists():  # it was not the remover who came last
            _OnDisk.check(self)


class WriterAndReader(_OnDisk):
    """A generation is published while another process loads."""

    promises = frozenset({"WRITE-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"reader": self._read, "writer": self.write}

    def _read(self) -> None:
        seen = [self.read(), self.read()]
        assert seen == sorted(seen), f"went back in time: {seen}"
        # For a removal under way, perhaps, but not for the lock that a writer holds all along: that
        # is polled more rarely.
        waited = self.runtime.now() - self.began
        assert waited < timedelta(seconds=0.02), "a reader waited for a writer"


class DyingWriter(_OnDisk):
    """A writer is killed between any two of its steps, while another process loads."""

    promises = frozenset({"WRITE-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        for step in (
            *("begun", "written", "unsealed", "sealed"),
            *("renamed", "linked", "published", "half removed", "swept"),
        ):
            runtime.at(step, self._may_die)

    def _may_die(self) -> None:
        if self.runtime.current_thread == "writer" and self.runtime.branch("is killed"):
            raise _Killed

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"writer": self._write, "reader": self.read}

    def _write(self) -> None:
        with suppress(_Killed):
            self.write()

    def check(self) -> None:
        self.read()
        # The next writer finds nothing in its way, and clears up.
        assert self.write() == self.read()
        super().check()


def _manifest(generation: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "generation": generation,
        "created_at": "2026-01-01T00:00:00+00:00",
        "embedder": {"id": "none", "dim": 1},
        "space": "none",
        "counts": {"files": 1, "chunks": 1},
        "skipped": {},
    }


# The claim on the socket, on a real file system, with real sockets.


class _OnSocket(Scenario):
    """A project that daemons claim.  Whoever has it stays, and can be reached."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.root = Path(tempfile.mkdtemp(prefix="cidx-", dir=_SCRATCH))
        self._remove_files = finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        self.project = Project.at(self.root)
        self.owners: dict[str, tuple[Claim, socket.socket]] = {}
        self.turned_away: list[str] = []
        self.began = runtime.monotonic()

    def start(self, name: str) -> None:
        """Be a daemon of that name, or find that there is one."""
        claim = Claim(self.project, self.runtime)
        if not claim.acquire():
            self.turned_away.append(name)
            return
        listener = claim.listen()
        self.owners[name] = claim, listener
        self.runtime.step("serving")
        self.check_reachable()

    def check_reachable(self) -> None:
        """There is one owner, and the path leads to it."""
        assert len(self.owners) == 1, f"owners: {list(self.owners)}"
        for name, (claim, _) in self.owners.items():
            assert claim.is_intact(), f"{name} has lost the path"
        assert is_answered(self.project.socket_path), "there is an owner, and nobody answers"

    def leave(self, name: str) -> None:
        """Stop in good order, as a daemon does."""
        claim, listener = self.owners.pop(name)
        claim.unlink()
        self.runtime.step("unlinked")
        listener.close()
        claim.release()

    def die(self, name: str) -> None:
        """Be killed: the kernel closes what was open, and removes nothing."""
        claim, listener = self.owners.pop(name)
        listener.close()
        os.close(claim._lock)

    def starter(self, name: str) -> Callable[[], None]:
        return lambda: self.start(name)

    def close(self) -> None:
        for name in list(self.owners):
            self.leave(name)
        self._remove_files()


class TwoStarters(_OnSocket):
    """Two daemons are started at once: one serves, the other finds it."""

    promises = frozenset({"SRV-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.starter("one"), "other": self.starter("other")}

    def check(self) -> None:
        self.check_reachable()
        assert len(self.turned_away) == len(self.actors()) - 1


class TwoStartersAfterAKill(TwoStarters):
    """The same where a daemon was killed, and its socket's name is left."""

    promises = frozenset({"SRV-2", "SRV-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.start("killed")
        self.die("killed")

    def check(self) -> None:
        super().check()
        took = self.runtime.monotonic() - self.began
        assert took < 1.0, f"it took {took} s until somebody served"


class ThreeStarters(TwoStarters):
    """Three are started at once."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {**super().actors(), "third": self.starter("third")}


class ReplacedProject(_OnSocket):
    """`.code-indexer/` is removed, by somebody who has its lock, while two daemons are started:
    they do not both serve, each with a lock on another directory of that name."""

    promises = frozenset({"SRV-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "one": self.starter("one"),
            "other": self.starter("other"),
            "remover": self._remove,
        }

    def _remove(self) -> None:
        claim = Claim(self.project, self.runtime)
        if claim.acquire():
            shutil.rmtree(self.project.directory)
            self.project.create_directory()
            os.close(claim._lock)

    def check(self) -> None:
        self.check_reachable()


class ClientAndStarter(_OnSocket):
    """A client tries the path while a daemon is started: where there is a name, somebody
    answers."""

    promises = frozenset({"SRV-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"client": self._try, "daemon": self.starter("daemon")}

    def _try(self) -> None:
        for _ in range(3):
            self.runtime.step("tries the path")
            if self.project.socket_path.exists():
                assert is_answered(self.project.socket_path), "a name, and nobody answers"

    def check(self) -> None:
        self.check_reachable()


class StarterAndLeaver(_OnSocket):
    """A daemon is started while another leaves: if it comes to serve, it keeps the path."""

    promises = frozenset({"SRV-4"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.start("old")

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"old": lambda: self.leave("old"), "new": self.starter("new")}

    def check(self) -> None:
        if self.turned_away:
            assert not self.owners
        else:
            self.check_reachable()


class StarterAndKilled(StarterAndLeaver):
    """A daemon is started while another is killed."""

    promises = frozenset({"SRV-3"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"old": self._die, "new": self.starter("new")}

    def _die(self) -> None:
        self.runtime.step("is killed")
        self.die("old")


class DyingStarter(_OnSocket):
    """A daemon is killed between any two steps of its start, while another is started: the other
    serves if it finds nobody, and the next start finds one or becomes one, at once."""

    promises = frozenset({"SRV-2", "SRV-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.claim = Claim(self.project, runtime)
        self.has_died = False
        for step in ("claimed", "bound", "listening", "reachable"):
            runtime.at(step, self._may_die)

    def _may_die(self) -> None:
        is_mortal = self.runtime.current_thread == "mortal" and not self.has_died
        if is_mortal and self.runtime.branch("is killed"):
            self.has_died = True
            raise _Killed

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"mortal": self._start_and_die, "other": self.starter("other")}

    def _start_and_die(self) -> None:
        try:
            if self.claim.acquire():
                self.owners["mortal"] = self.claim, self.claim.listen()
        except _Killed:
            # What SIGKILL leaves, and our exception on its way has removed.
            self.project.socket_path.with_name("daemon.sock.1").touch()
            os.close(self.claim._lock)
            self.start("next")

    def check(self) -> None:
        self.check_reachable()
        left = [path.name for path in self.project.directory.glob("daemon.sock.*")]
        assert left == [], "what a daemon that died has left is not cleared away"
        took = self.runtime.monotonic() - self.began
        assert took < 1.0, f"it took {took} s until somebody served"


class Robbed(_OnSocket):
    """The socket or the project is moved, removed or taken over under a daemon: it notices, and
    on leaving removes nothing that is not its own."""

    promises = frozenset({"SRV-4", "SRV-5"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.start("daemon")
        self.robbed: list[str] = []
        self.thief: socket.socket | None = None

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"thief": self._rob}

    def _rob(self) -> None:
        path = self.project.socket_path
        for what, do in {
            "the socket is moved": lambda: path.rename(path.with_name("moved")),
            "the socket is removed": lambda: path.unlink(missing_ok=True),
            "the project is moved": lambda: self.project.directory.rename(self.root / "moved"),
            "the socket is taken over": self._take_over,
        }.items():
            if self.runtime.branch(what):
                self.robbed.append(what)
                with suppress(FileNotFoundError):  # moved before
                    do()

    def _take_over(self) -> None:
        self.project.create_directory()
        self.thief = socket.socket(socket.AF_UNIX)
        temporary = self.project.directory / "new"
        self.thief.bind(str(temporary))
        self.thief.listen()
        temporary.rename(self.project.socket_path)

    def check(self) -> None:
        claim, _ = self.owners["daemon"]
        assert claim.is_intact() == (not self.robbed), f"{self.robbed}, and it did not notice"
        self.leave("daemon")
        if self.thief is not None:
            assert is_answered(self.project.socket_path), "removed somebody else's socket"
        else:
            assert not self.project.socket_path.exists(), "left its socket behind"

    def close(self) -> None:
        super().close()
        if self.thief is not None:
            self.thief.close()


#: All of them, but for what they have in common.
SCENARIOS: tuple[type[Scenario], ...] = tuple(
    found
    for found in vars().values()
    if isinstance(found, type) and issubclass(found, Scenario) and found.promises
)
