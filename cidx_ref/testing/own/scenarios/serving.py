"""The gate, the eviction thread, and the service around them: where their threads meet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, cast

from cidx_ref.config import Config
from cidx_ref.daemon.beside import Beside
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.daemon.freshness import Freshness, NoWatch
from cidx_ref.daemon.indexing import IndexRuns
from cidx_ref.daemon.served import Served
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import (
    ShuttingDownError,
)
from cidx_ref.index.port import RunOptions
from cidx_ref.project import Project
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.fake_index import CacheRig
from cidx_ref.testing.own.scenarios.common import TTL_S, unprepared


def _served(rig: CacheRig) -> Served:
    """What the cache of `rig` is a part of, without any of the others, and with no watch."""
    served = object.__new__(Served)
    served.project = Project.at("/")  # whose name no error has in it
    served.cache = cast("IndexCache[Any]", rig.cache)
    served._beside = Beside(rig.source, served.cache, lambda source: served.cache, rig.runtime)
    served.runs = IndexRuns(rig.source.begin_run, unprepared, rig.runtime)
    served.freshness = Freshness(
        served.runs,
        NoWatch(),
        rig.source.current,
        lambda: False,
        RunOptions,
        runtime=rig.runtime,
    )
    return served


class _Service(CIDXDaemonService):
    """The real service, but for its index, which is one of names, and its configuration."""

    def __init__(self, runtime: Scheduler, **config: Any) -> None:
        super().__init__(runtime=runtime)
        self.config = Config(**config)
        self.rig = CacheRig(runtime, ttl_s=self.config.ttl_s)
        self._served = _served(self.rig)
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
