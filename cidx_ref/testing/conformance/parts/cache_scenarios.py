"""Where the threads of a cache meet: scenarios over any cache, each about one or two promises.

What is seen is what a user of the cache sees: which load answers, how many there were, and whether
a value was closed while it was used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from cidx_ref.testing.concurrency.history import History, NotLinearizable, check_linearizable
from cidx_ref.testing.conformance.parts.asking import TTL_S, Asked
from cidx_ref.testing.conformance.parts.judging import Broken, PartScenario
from cidx_ref.testing.conformance.parts.models import CacheState, cache_model
from cidx_ref.testing.conformance.parts.source import Load

__all__ = ["CACHE_SCENARIOS", "DEEP_CACHE_SCENARIOS", "CacheScenario"]

Actors = dict[str, Callable[[], object]]


class CacheScenario(PartScenario):
    """A cache, cold at first, whose loads do not fail."""

    blames = "CACHE-1"
    #: The promise that a query breaks which raises, or whose value is closed while it is used.
    raising: ClassVar[str] = "CACHE-4"

    def set_up(self) -> None:
        self.asked = self.ask()

    def ask(self) -> Asked:
        return Asked(self.make, self.runtime, fails=self.fails)

    def fails(self) -> bool:
        """Whether a load fails, asked in each."""
        return False

    def query(self) -> Load | None:
        return self.asked.answer(self.raising)

    def loads(self) -> list[Load]:
        return self.asked.source.loads


class TwoQueries(CacheScenario):
    """Two queries find nothing cached: one loads, and the other shares it."""

    promises = frozenset({"CACHE-1"})
    raising = "CACHE-1"

    def threads(self) -> Actors:
        return {"one": self.query, "other": self.query}

    def verify(self) -> None:
        self.loaded_at_most(1)

    def loaded_at_most(self, limit: int) -> None:
        loads = self.loads()
        if len(loads) > limit:
            raise Broken("CACHE-1", f"queries at once loaded {len(loads)} times, not {limit}")


class ThreeQueries(TwoQueries):
    """So do three."""

    def threads(self) -> Actors:
        return {**super().threads(), "third": self.query}


class TwoQueriesAfterTheTTL(TwoQueries):
    """What was cached has expired: there is one load more."""

    def set_up(self) -> None:
        super().set_up()
        self.query()
        self.runtime.advance(TTL_S)
        self.asked.evict()

    def verify(self) -> None:
        self.loaded_at_most(2)


class TwoQueriesAfterAClear(TwoQueries):
    needs = frozenset({"clear"})

    def set_up(self) -> None:
        super().set_up()
        self.query()
        self.asked.clear()

    def verify(self) -> None:
        self.loaded_at_most(2)


class PublishAndTwoQueries(TwoQueries):
    """A publish while two queries come: of the new version there is one load, whoever comes late
    with what was live before."""

    needs = frozenset({"current"})
    raising = "CACHE-4"

    def threads(self) -> Actors:
        return {**super().threads(), "index": self._index}

    def _index(self) -> None:
        self.asked.source.publish()
        self.query()

    def verify(self) -> None:
        new = self.asked.loads_of(self.asked.source.live)
        if new > 1:
            raise Broken("CACHE-1", f"a version was loaded {new} times, once it was live")


class FailingLoad(CacheScenario):
    """Two queries find nothing cached, and the first load fails: the next query tries again."""

    promises = frozenset({"CACHE-2"})
    blames = raising = "CACHE-2"

    def fails(self) -> bool:
        return len(self.loads()) == 1

    def threads(self) -> Actors:
        return {"one": self.query, "other": self.query}

    def verify(self) -> None:
        if self.query() is None:
            raise Broken("CACHE-2", "a load failed, and the query after it failed, too")


class InterruptedLoad(CacheScenario):
    """The thread that loads is interrupted, and no other: who waited for it loads instead."""

    promises = frozenset({"CACHE-2"})
    blames = raising = "CACHE-2"

    def set_up(self) -> None:
        super().set_up()
        self.interrupted = ""

    def fails(self) -> bool:
        if len(self.loads()) == 1:
            self.interrupted = self.runtime.current_thread
            raise Interruption
        return False

    def threads(self) -> Actors:
        return {"one": self._query, "other": self._query}

    def _query(self) -> None:
        try:
            self.query()
        except Interruption:
            thread = self.runtime.current_thread
            if thread != self.interrupted:
                raise Broken("CACHE-2", f"{thread} was interrupted, too") from None


class Interruption(BaseException):
    """As KeyboardInterrupt and SystemExit are."""


class QueryAndClear(CacheScenario):
    """A clear while a query loads: the load must not be cached."""

    promises = frozenset({"CACHE-3", "CACHE-4"})
    blames = "CACHE-4"
    needs = frozenset({"clear"})

    def set_up(self) -> None:
        super().set_up()
        self.begun_before_clear = 0

    def threads(self) -> Actors:
        return {"query": self.query, "clear": self._clear}

    def _clear(self) -> None:
        self.begun_before_clear = len(self.loads())
        self.asked.clear()

    def verify(self) -> None:
        load = self.query()
        if load is not None and load.number <= self.begun_before_clear:
            raise Broken("CACHE-3", "a load that was begun before the clear is cached after it")


class QueriesAndClear(QueryAndClear):
    """A clear while two queries share a load, or while one of them has its result in use."""

    def threads(self) -> Actors:
        return {"query": self.query, "other": self.query, "clear": self._clear}


class WarmQueryAndClear(QueryAndClear):
    """A clear while a query finds something cached, or has it in use."""

    def set_up(self) -> None:
        super().set_up()
        self.query()


class QueryAndPublish(CacheScenario):
    """A publish while a query loads the old version: what is asked after it gets the new one, and
    it stays."""

    promises = frozenset({"CACHE-3", "CACHE-8"})
    blames = "CACHE-8"
    needs = frozenset({"current"})

    def threads(self) -> Actors:
        return {"query": self.query, "index": self._index}

    def _index(self) -> None:
        version = self.asked.source.publish()
        load = self.query()
        if load is not None and load.version != version:
            raise Broken("CACHE-8", f"{version} was published, then {load.version} answered")

    def verify(self) -> None:
        before = len(self.loads())
        load = self.query()
        if load is not None and load.version != self.asked.source.live:
            raise Broken("CACHE-8", f"{load.version} answers, long after another was published")
        if len(self.loads()) > before:
            raise Broken("CACHE-3", "an old load replaced the new version: it is loaded again")


class WarmQueryAndPublish(QueryAndPublish):
    """The same with the old version cached."""

    def set_up(self) -> None:
        super().set_up()
        self.query()


class QueryAndPublishWithAClear(CacheScenario):
    """A publish whose writer then clears the cache, while a query loads the old version."""

    promises = frozenset({"CACHE-3"})
    blames = "CACHE-3"
    needs = frozenset({"clear"})

    def threads(self) -> Actors:
        return {"query": self.query, "index": self._index}

    def _index(self) -> None:
        self.asked.source.publish()
        self.asked.clear()

    def verify(self) -> None:
        load = self.query()
        if load is not None and load.version != self.asked.source.live:
            raise Broken(
                "CACHE-3", "a load of what was live before the publish is cached after the clear"
            )


class QueryAndEviction(CacheScenario):
    """The TTL passes while a query is under way, and the cache is checked."""

    promises = frozenset({"TTL-2"})
    blames = "TTL-2"
    needs = frozenset({"evict", "use"})

    def set_up(self) -> None:
        super().set_up()
        self.query()

    def threads(self) -> Actors:
        return {"query": self._query, "eviction": self.asked.evict}

    def _query(self) -> None:
        try:
            self.asked.query(lambda: self.runtime.advance(TTL_S))
        except AssertionError as closed:
            raise Broken("TTL-2", f"evicted in use: {closed}") from closed

    def verify(self) -> None:
        self.query()
        if len(self.loads()) > 1:
            raise Broken("TTL-2", "evicted while a query used it: it had to be loaded again")


class QueryAndExpiry(CacheScenario):
    """A query comes when the TTL has passed, and so does the check."""

    promises = frozenset({"CACHE-4"})
    blames = "CACHE-4"
    needs = frozenset({"evict"})

    def set_up(self) -> None:
        super().set_up()
        self.query()
        self.runtime.advance(TTL_S)

    def threads(self) -> Actors:
        return {"query": self.query, "eviction": self.asked.evict}


class ReadersTogether(CacheScenario):
    """Two queries use what is cached at the same time: each waits until the other is there."""

    promises = frozenset({"RPC-4"})
    blames = "RPC-4"
    needs = frozenset({"use"})

    def set_up(self) -> None:
        super().set_up()
        self.query()
        self.arrived = {name: self.runtime.event(f"arrival of {name}") for name in ("one", "other")}

    def threads(self) -> Actors:
        return {
            "one": lambda: self.asked.query(lambda: self._meet("one", "other")),
            "other": lambda: self.asked.query(lambda: self._meet("other", "one")),
        }

    def _meet(self, me: str, whom: str) -> None:
        self.arrived[me].set()
        if not self.arrived[whom].wait(60.0):
            raise Broken("RPC-4", "one query at a time: another one waits until it has ended")


class ManyOperations(CacheScenario):
    """Queries, a publish, clears, evictions and failing loads, judged for linearizability."""

    promises = frozenset({"CACHE-1", "CACHE-2", "CACHE-3", "CACHE-8"})
    blames = "CACHE-1"
    needs = frozenset({"clear", "evict", "current"})

    #: What a history that nothing explains is laid to.
    suspected: ClassVar[str] = "CACHE-3"

    def set_up(self) -> None:
        super().set_up()
        self.history = History()

    def fails(self) -> bool:
        return self.runtime.branch("the load fails")

    def threads(self) -> Actors:
        return {
            "client": lambda: self._do("client", "query", "query"),
            "writer": lambda: self._do("writer", "publish", "query"),
            "keeper": lambda: self._do("keeper", "clear", "query", "evict"),
        }

    def operations(self) -> dict[str, Callable[[], Any]]:
        """What a thread may do, by name; see `models.cache_model`."""
        return {
            "query": self._answer,
            "publish": self.asked.source.publish,
            "clear": self.asked.clear,
            "evict": self.evict,
        }

    def _do(self, thread: str, *names: str) -> None:
        do = self.operations()
        for name in names:
            self.history.call(thread, name, do[name])

    def _answer(self) -> tuple[str, int] | None:
        load = self.query()
        return None if load is None else (load.version, load.number)

    def evict(self) -> bool | None:
        """None: it is not known whether there was anything to drop."""
        self.runtime.advance(TTL_S)
        self.asked.evict()
        return None

    def verify(self) -> None:
        try:
            check_linearizable(
                self.history, CacheState(f"{self.asked.source.prefix}1"), cache_model
            )
        except NotLinearizable as wrong:
            raise Broken(self.suspected, str(wrong)) from wrong


#: Those that are always run.
CACHE_SCENARIOS: tuple[type[CacheScenario], ...] = (
    *(TwoQueries, TwoQueriesAfterTheTTL, TwoQueriesAfterAClear, PublishAndTwoQueries),
    *(FailingLoad, QueryAndClear, QueriesAndClear, WarmQueryAndClear),
    *(QueryAndPublish, WarmQueryAndPublish, QueryAndPublishWithAClear),
    *(QueryAndEviction, QueryAndExpiry, ReadersTogether),
)
#: Those that take longer.
DEEP_CACHE_SCENARIOS: tuple[type[CacheScenario], ...] = (
    *(ThreeQueries, InterruptedLoad, ManyOperations),
)
