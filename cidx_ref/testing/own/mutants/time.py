"""Broken clocks, and what goes by them (TTL-1 to TTL-5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.entry import CacheEntry
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.daemon.gate import Gate
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("TTL-1", "is it due")
def alive_at_the_ttl() -> Iterator[None]:
    """At its TTL an entry is still alive."""

    def is_expired(self: CacheEntry[Any], now: float) -> bool:
        return self.pins == 0 and self.age_s(now) > self.ttl_minutes * 60

    with patch.object(CacheEntry, "is_expired", is_expired):
        yield


@mutant("TTL-1", "is it due")
def gone_before_the_ttl() -> Iterator[None]:
    """Ages are rounded: an entry is gone half a second before its TTL."""
    with patch.object(CacheEntry, "age_s", lambda self, now: round(now - self._used_at + 0.01)):
        yield


@mutant("TTL-2", "is it due")
def touch_only_at_the_beginning() -> Iterator[None]:
    """A query renews the entry when it begins (the story's own): after a long one it is old."""

    def release(self: IndexCache[Any], entry: CacheEntry[Any]) -> None:
        with self._changed:
            entry.pins -= 1
            unused = entry if entry.pins == 0 and entry is not self._entry else None
        self.close(unused)

    with patch.object(IndexCache, "_release", release):
        yield


@mutant("TTL-2", "closed while somebody used it|evicted in use", needs_switches=True)
def evicted_in_use() -> Iterator[None]:
    """An entry is evicted by its age, whoever uses it (the story's own)."""

    def is_expired(self: CacheEntry[Any], now: float) -> bool:
        return self.age_s(now) >= self.ttl_minutes * 60

    with patch.object(CacheEntry, "is_expired", is_expired):
        yield


@mutant("TTL-3", "is it due|evicted in use")
def ttl_by_the_wall_clock() -> Iterator[None]:
    """Ages are taken from `datetime.now()` (the story's own)."""

    def seconds(entry: CacheEntry[Any]) -> float:
        return entry._runtime.now().timestamp()

    def touch(self: CacheEntry[Any], now: float) -> None:
        self._used_at = seconds(self)

    with (
        patch.object(CacheEntry, "touch", touch),
        patch.object(CacheEntry, "age_s", lambda self, now: seconds(self) - self._used_at),
    ):
        yield


@mutant("TTL-4", "60 s to stop")
def waits_on_a_fresh_event() -> Iterator[None]:
    """The eviction thread sleeps on an event that nobody sets (the story's own)."""

    def run(self: CacheEvictionThread) -> None:
        while not self._stopped.is_set():
            self._check_and_evict()
            self.daemon_service.runtime.event("fresh").wait(self._interval_s())

    with patch.object(CacheEvictionThread, "run", run):
        yield


@mutant("TTL-4", r"checks at \[0.0, 250.0\]")
def error_ends_the_clockwork() -> Iterator[None]:
    """After an error in a check there are no more checks."""

    def run(self: CacheEvictionThread) -> None:
        while not self._stopped.is_set():
            try:
                self._check_and_evict()
            except OSError:
                return
            self._stopped.wait(self._interval_s())

    with patch.object(CacheEvictionThread, "run", run):
        yield


@mutant("TTL-4", r"checks at \[250.0")
def checks_late() -> Iterator[None]:
    """The first check comes after an interval, and so do all others."""
    run = CacheEvictionThread.run

    def late(self: CacheEvictionThread) -> None:
        self._stopped.wait(self._interval_s())
        run(self)

    with patch.object(CacheEvictionThread, "run", late):
        yield


@mutant("TTL-5", "stopped with a query in flight", needs_switches=True)
def shutdown_with_a_query_in_flight() -> Iterator[None]:
    """Where the cache is empty, the daemon shuts down (the story's own)."""

    def shut_down(self: CIDXDaemonService) -> bool:
        if self.on_shutdown is None or self.cache_entry is not None:
            return False
        self.gate.close()
        self.on_shutdown("idle")
        return True

    with patch.object(CIDXDaemonService, "shutdown_if_idle", shut_down):
        yield


@mutant("TTL-5", "stopped with a query in flight", needs_switches=True)
def looks_and_then_closes() -> Iterator[None]:
    """Between seeing that nobody is inside and closing the gate, somebody comes in."""
    close_if_idle = Gate.close_if_idle

    def close(self: Gate, idle_s: float) -> bool:
        if not close_if_idle(self, idle_s):
            return False
        self.reopen()
        self.close()
        return True

    with patch.object(Gate, "close_if_idle", close):
        yield


@mutant("TTL-5", "not configured to shut down")
def idles_unasked() -> Iterator[None]:
    """The daemon shuts down whether it is configured to or not."""

    def check(self: CacheEvictionThread) -> None:
        self.daemon_service.evict_expired()
        self.daemon_service.shutdown_if_idle()

    with patch.object(CacheEvictionThread, "_check_and_evict", check):
        yield


@mutant("TTL-5", "a daemon that nobody asks")
def never_asked_is_never_idle() -> Iterator[None]:
    """Idleness counts from the first query, so a daemon that nobody asks stays for ever."""
    init = Gate.__init__

    def unused(self: Gate, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._used_at = float("inf")

    with patch.object(Gate, "__init__", unused):
        yield


@mutant("TTL-5", "a second before the TTL had passed")
def idle_since_it_started() -> Iterator[None]:
    """No use renews anything: the daemon is idle a TTL after its start."""
    with _use_noted(lambda gate, began, before: before):
        yield


@mutant("TTL-5", "a second before the TTL had passed")
def idle_since_a_call_began() -> Iterator[None]:
    """A call renews when it begins, and not when it ends."""
    with _use_noted(lambda gate, began, before: began):
        yield


@contextmanager
def _use_noted(when: Callable[[Gate, float, float], float]) -> Iterator[None]:
    call = Gate.call

    @contextmanager
    def noting(self: Gate, method: str, *, is_use: bool) -> Iterator[None]:
        began, before = self._runtime.monotonic(), self._used_at
        try:
            with call(self, method, is_use=is_use):
                yield
        finally:
            self._used_at = when(self, began, before)

    with patch.object(Gate, "call", noting):
        yield
