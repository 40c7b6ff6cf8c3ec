"""Broken caches (CACHE-1 to CACHE-8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon import cache, indexing
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.indexing import IndexRuns
from cidx_ref.daemon.succession import Succession
from cidx_ref.errors import GenerationGone
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("CACHE-1", r"queries at once loaded 2 times|loads: \['g1', 'g1'", needs_switches=True)
def everybody_loads() -> Iterator[None]:
    """Whoever finds a load under way begins one of their own."""

    def follow(self: IndexCache[Any], load: Any) -> Any:
        self._leave(load)
        return self._lead(cache._Load(load.generation))

    with patch.object(IndexCache, "_follow", follow):
        yield


@mutant("CACHE-1", "loaded 2 times, once it was live|not linearizable", needs_switches=True)
def disk_is_asked_before_the_lock() -> Iterator[None]:
    """Which generation is live is read before the lock is taken: a slow thread comes with
    yesterday's answer, and takes the place of the load of the new generation."""

    def acquire(self: IndexCache[Any]) -> Any:
        while True:
            generation = self._source.current()
            with self._changed:
                entry, load = self._entry, self._load
                if entry is not None and entry.generation == generation:
                    self._begin_use(entry)
                    return entry
                leads = load is None or load.generation != generation
                if load is None or leads:
                    load = self._load = cache._Load(generation)
                else:
                    load.waiters += 1
            with suppress(GenerationGone):
                return self._lead(load) if leads else self._follow(load)

    with patch.object(IndexCache, "_acquire", acquire):
        yield


@mutant("CACHE-2", "a load is left that nobody is at|the query after it failed, too")
def failed_load_is_remembered() -> Iterator[None]:
    """A load that failed stays where it was, and every later query shares its outcome."""
    lead = IndexCache._lead

    def remember(self: IndexCache[Any], load: Any) -> Any:
        try:
            return lead(self, load)
        except Exception:
            self._load = load
            raise

    with patch.object(IndexCache, "_lead", remember):
        yield


@mutant("CACHE-2", "was interrupted, too", needs_switches=True)
def interruption_is_shared() -> Iterator[None]:
    """Those who wait for a load are interrupted with the thread that loads."""
    with patch.object(cache, "_again", lambda error: error):
        yield


@mutant("CACHE-2", "pins are left", needs_switches=True)
def interrupted_waiter_leaves_a_pin() -> Iterator[None]:
    """Who is interrupted while waiting for a load leaves behind the pin that was taken for it."""
    with patch.object(IndexCache, "_leave", lambda self, load: None):
        yield


@mutant("CACHE-3", "begun before the clear is cached after it", needs_switches=True)
def stored_after_a_clear() -> Iterator[None]:
    """A clear forgets what is cached, and not what is about to be (the story's `index`)."""

    def clear(self: IndexCache[Any]) -> bool:
        with self._changed:
            entry, self._entry = self._entry, None
            unused = cache._unused(entry)
        self.close(unused)
        return entry is not None

    with patch.object(IndexCache, "clear", clear):
        yield


@mutant("CACHE-3", "replaced the new version", needs_switches=True)
def stored_after_a_publish() -> Iterator[None]:
    """A load is installed over whatever was cached meanwhile."""
    lead = IndexCache._lead

    def insist(self: IndexCache[Any], load: Any) -> Any:
        entry = lead(self, load)
        with self._changed:
            replaced, self._entry = self._entry, entry
            unused = cache._unused(replaced) if replaced is not entry else None
        self.close(unused)
        return entry

    with patch.object(IndexCache, "_lead", insist):
        yield


@mutant("CACHE-3", "begun before the clear is cached after it", needs_switches=True)
def successor_outlives_a_clear() -> Iterator[None]:
    """A clear forgets the entry, and not what an index run has ready to take its place."""
    clear = IndexCache.clear

    def keep(self: IndexCache[Any]) -> bool:
        successor: Any = self._successor
        try:
            return clear(self)
        finally:
            self._successor = successor

    def succeed(self: IndexCache[Any], generation: str) -> None:
        ready = self._successor
        entry = ready.entry if ready is not None else None
        if ready is not None and entry is not None and entry.generation == generation:
            self._install(entry)
            ready.has_succeeded = True
            self._successor = None

    with patch.multiple(IndexCache, clear=keep, _succeed=succeed):
        yield


@mutant("CACHE-3", "was never published|is cached, not")
def successor_succeeds_unpublished() -> Iterator[None]:
    """At the end of an index run, what it has loaded is cached, whatever became of the run."""
    withdraw = IndexCache.withdraw

    def insist(self: IndexCache[Any], successor: Any) -> None:
        self._succeed(successor.entry.generation)
        withdraw(self, successor)

    with patch.object(IndexCache, "withdraw", insist):
        yield


@mutant("CACHE-5", "a run that had scanned before")
def late_request_shares_a_run() -> Iterator[None]:
    """A request shares a run that has looked at the files before."""
    with patch.object(IndexRuns, "_close_to_others", lambda self, shared: None):
        yield


@mutant("CACHE-5", "made two runs")
def each_request_makes_a_run() -> Iterator[None]:
    """Requests that arrive while a writer is waited for make a run each."""
    with patch.object(indexing._SharedRun, "is_open", lambda self, options: False):
        yield


@mutant("CACHE-7", "was closed 0 times|: closed 0")
def successor_is_left_open() -> Iterator[None]:
    """What an index run has loaded, and nobody takes, is forgotten as it is."""
    settle = Succession._settle

    def forget(self: Succession[Any], successor: Any) -> None:
        self._cache.withdraw(successor)
        if successor.has_succeeded:
            settle(self, successor)

    with patch.object(Succession, "_settle", forget):
        yield


@mutant("PERF-5", "loads: .*'g2'.*'g2'|a query had to load", needs_switches=True)
def first_query_loads_what_was_published() -> Iterator[None]:
    """An index run has nothing ready: at its publish, everybody waits for a load."""
    with patch.object(Succession, "_loaded", lambda self, generation: None):
        yield


@mutant("CACHE-4", r"use\(\) gave None", needs_switches=True)
def entry_is_read_again_after_the_lock() -> Iterator[None]:
    """A query takes the entry, and later takes it from the cache once more (the story's own)."""
    pin = IndexCache.pin

    @contextmanager
    def read_again(self: IndexCache[Any]) -> Iterator[Any]:
        with pin(self):
            self._runtime.step("reads the entry again")
            yield self._entry.snapshot if self._entry is not None else None

    with patch.object(IndexCache, "pin", read_again):
        yield


@mutant("CACHE-4", "pinned, and closed|closed while somebody used it", needs_switches=True)
def closed_by_whoever_clears() -> Iterator[None]:
    """What is taken out of the cache is closed at once, whoever searches it."""
    with patch.object(cache, "_unused", lambda entry: entry):
        yield


@mutant("CACHE-4", "pinned, and closed|closed while somebody used it", needs_switches=True)
def waiters_pin_when_they_wake() -> Iterator[None]:
    """A waiter's pin is not taken for it: between the end of the load and its waking up, nothing
    keeps the snapshot open."""
    follow = IndexCache._follow

    def pin_late(self: IndexCache[Any], load: Any) -> Any:
        entry = follow(self, load)
        with self._changed:
            self._begin_use(entry)
        return entry

    none = property(lambda load: 0, lambda load, count: None)
    with (
        patch.object(cache._Load, "waiters", none, create=True),
        patch.object(IndexCache, "_follow", pin_late),
    ):
        yield


@mutant("CACHE-5", "g2 was published, then g1 answered")
def entry_is_used_unseen() -> Iterator[None]:
    """What is cached is used without a look at what is live; `index` does not tell."""
    with _unseen():
        yield


@mutant("CACHE-8", "then g1 answered")
def other_writers_are_not_noticed() -> Iterator[None]:
    """Only an index run of the daemon's own would make it load anew."""
    with _unseen():
        yield


@contextmanager
def _unseen() -> Iterator[None]:
    acquire = IndexCache._acquire

    def take(self: IndexCache[Any]) -> Any:
        with self._changed:
            if self._entry is not None:
                self._begin_use(self._entry)
                return self._entry
        return acquire(self)

    with patch.object(IndexCache, "_acquire", take):
        yield


@mutant("CACHE-6", "not a new load|is not what is cached|None is cached, not")
def query_error_clears_the_cache() -> Iterator[None]:
    """Whatever goes wrong in a query, the index is loaded anew."""
    pin = IndexCache.pin

    @contextmanager
    def clearing(self: IndexCache[Any]) -> Iterator[Any]:
        try:
            with pin(self) as snapshot:
                yield snapshot
        except Exception:
            self.clear()
            raise

    with patch.object(IndexCache, "pin", clearing):
        yield


@mutant("CACHE-6", "pins are left|closed 0")
def query_error_leaves_a_pin() -> Iterator[None]:
    """A pin is only given back where the query succeeds."""

    @contextmanager
    def leaking(self: IndexCache[Any]) -> Iterator[Any]:
        entry = self._acquire()
        yield entry.snapshot
        self._release(entry)

    with patch.object(IndexCache, "pin", leaking):
        yield


@mutant("CACHE-7", "closed 0")
def evicted_and_not_closed() -> Iterator[None]:
    """Eviction forgets the entry, and leaves the rest to the garbage collector."""
    evict = IndexCache.evict_expired

    def forget(self: IndexCache[Any]) -> bool:
        with patch.object(self, "close", lambda entry: None):
            return evict(self)

    with patch.object(IndexCache, "evict_expired", forget):
        yield


@mutant("CACHE-7", "memory given back 0 times")
def memory_is_kept() -> Iterator[None]:
    """A closed snapshot's memory stays with the allocator."""
    with patch.object(IndexCache, "_close_snapshot", lambda self, s: s and s.close()):
        yield
