"""`python broken_load.py DEFECT COMMAND...`: a command of `cidx-ref` with a defect that shows under
load; `test_load` shows that the scenarios find each of them."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

from cidx_ref import cli
from cidx_ref.daemon import watching
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.framing import Channel, Stream
from cidx_ref.daemon.served import Served
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index import search
from cidx_ref.index.port import Search
from cidx_ref.index.source import GenerationSource
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.mutants import MUTANTS


def knows_only_the_storys_methods() -> None:
    """Only the story's methods, whose answers a client reads field by field."""
    CIDXDaemonService.EXPOSED -= {"call"}


def loads_for_each_query() -> None:
    """Whoever finds no load under way begins one, whatever is cached."""
    acquire = IndexCache._acquire

    def forget(self: IndexCache[Any]) -> Any:
        self.clear()
        return acquire(self)

    IndexCache._acquire = forget  # type: ignore[method-assign]


def leaks_for_each_query() -> None:
    answer, kept = search.answer, list[bytearray]()

    def leak(*arguments: Any) -> dict[str, Any]:
        kept.append(bytearray(200_000))
        return answer(*arguments)

    search.answer = leak  # type: ignore[assignment]


def serves_one_at_a_time() -> None:
    """The next client is accepted when the last has gone."""
    serve = SocketServer._serve

    def accept(self: SocketServer) -> None:
        sock, _ = self._listener.accept()
        self._connections[sock] = Channel(
            Stream(sock, self._runtime), self._runtime, self._receiving
        )
        serve(self, sock)

    SocketServer._accept = accept  # type: ignore[method-assign]


def looks_once_which_index_is_live() -> None:
    """Whatever is published later is not noticed."""
    GenerationSource.current = cache(GenerationSource.current)  # type: ignore[method-assign]


def stops_at_once() -> None:
    """What is in flight when it is told to stop is not answered."""
    CIDXDaemonService.drain = lambda self, timeout_s: None  # type: ignore[method-assign]
    SocketServer.close = lambda self, drain_s: None  # type: ignore[method-assign]


def stalls_now_and_then() -> None:
    """Once in a while nobody is answered for a second and a half."""
    turn = SYSTEM.lock("turn")

    def stall() -> None:
        while True:
            SYSTEM.sleep(2.0)
            with turn:
                SYSTEM.sleep(1.5)

    pin = IndexCache.pin

    @contextmanager
    def waiting(self: IndexCache[Any]) -> Iterator[Any]:
        if "stalling" not in self.__dict__:
            self.__dict__["stalling"] = SYSTEM.thread(stall, "stall")
        with turn:
            pass
        with pin(self) as snapshot:
            yield snapshot

    IndexCache.pin = waiting  # type: ignore[method-assign]


def claims_the_newest_generation() -> None:
    """The answer is of what was cached first, and its label of what is on disk."""
    looks_once_which_index_is_live()
    query = Served._search

    def label(self: Served, search: Search) -> dict[str, Any]:
        return {**query(self, search), "generation": self.index.describe()["generation"]}

    Served._search = label  # type: ignore[method-assign]


def mislabels_now_and_then() -> None:
    """Every seventh answer names the generation before its own; the first ones are right."""
    query, seen = Served._search, Counter[str]()

    def label(self: Served, search: Search) -> dict[str, Any]:
        found = query(self, search)
        own = found["generation"]
        seen[own] += 1
        before = list(seen)[max(list(seen).index(own) - 1, 0)]
        return {**found, "generation": before} if seen[own] > 20 and seen[own] % 7 == 0 else found

    Served._search = label  # type: ignore[method-assign]


def keeps_connections() -> None:
    """The thread of a client that has gone stays."""
    serve = SocketServer._serve

    def stay(self: SocketServer, sock: Any) -> None:
        serve(self, sock)
        SYSTEM.sleep(60.0)

    SocketServer._serve = stay  # type: ignore[method-assign]


def ceases_to_answer() -> None:
    """Who comes after the first waits, and longer than the session lasts."""
    answer, count = search.answer, itertools.count()

    def wait(*arguments: Any) -> dict[str, Any]:
        if next(count) > 5:
            SYSTEM.sleep(12.0)
        return answer(*arguments)

    search.answer = wait  # type: ignore[assignment]


def answers_something_else() -> None:
    answer = search.answer

    def wrong(*arguments: Any) -> dict[str, Any]:
        found = answer(*arguments)
        return {**found, "results": [{**hit, "path": "elsewhere.py"} for hit in found["results"]]}

    search.answer = wrong  # type: ignore[assignment]


def understands_nothing() -> None:
    """Semantic search finds something, and never what was meant."""
    answer = search.answer

    def wrong(snapshot: Any, asked: Search, *more: Any) -> dict[str, Any]:
        found = answer(snapshot, asked, *more)
        return {**found, "results": []} if asked.mode == "semantic" else found

    search.answer = wrong  # type: ignore[assignment]


def waits_long_until_changes_have_settled() -> None:
    watching.SETTLE_S = watching.AT_MOST_S = 3.0


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        knows_only_the_storys_methods,
        answers_something_else,
        ceases_to_answer,
        claims_the_newest_generation,
        leaks_for_each_query,
        loads_for_each_query,
        keeps_connections,
        looks_once_which_index_is_live,
        mislabels_now_and_then,
        serves_one_at_a_time,
        stalls_now_and_then,
        stops_at_once,
        understands_nothing,
        waits_long_until_changes_have_settled,
    )
}


#: Never left: a context that is collected would end its mutant.
_planted: list[AbstractContextManager[None]] = []


def plant(mutant: str) -> None:
    """One of the zoo, for as long as the process lives."""
    _planted.append(MUTANTS[mutant].planted())
    _planted[-1].__enter__()


if __name__ == "__main__":
    name = sys.argv[1]
    if name in MUTANTS:
        plant(name)
    else:
        DEFECTS[name]()
    raise SystemExit(cli.main(sys.argv[2:]))
