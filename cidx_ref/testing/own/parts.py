"""Parts of our own daemon, for the kit: `check_cache(make_cache)`, `check_claim(make_claim)`."""

from __future__ import annotations

from typing import Any

from cidx_ref.config import Config
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime
from cidx_ref.testing.conformance.parts.source import Source

__all__ = ["OwnCache", "make_cache", "make_claim"]

CHECK_EVERY_S = 60.0


class OwnCache:
    """The cache, and the thread that checks it."""

    check_every_s = CHECK_EVERY_S

    def __init__(self, source: Source, *, ttl_s: float, runtime: Runtime) -> None:
        # Of the port the cache asks for these two: its versions are our generations.
        port: Any = source
        cache: IndexCache[Any] = IndexCache("/", port, ttl_minutes=ttl_s / 60, runtime=runtime)
        self.use = cache.pin
        self.clear = cache.clear
        self.evict = cache.evict_expired
        self._eviction = CacheEvictionThread(_Checked(cache, runtime), CHECK_EVERY_S)
        self.start = self._eviction.start
        self.stop = self._eviction.stop


class _Checked:
    """What of the service the eviction thread asks."""

    def __init__(self, cache: IndexCache[Any], runtime: Runtime) -> None:
        self.runtime = runtime
        self.config = Config()
        self.evict_expired = cache.evict_expired

    def reload_config(self) -> None:
        pass

    def shutdown_if_idle(self) -> bool:
        return False


def make_cache(source: Source, *, ttl_s: float, runtime: Runtime) -> OwnCache:
    return OwnCache(source, ttl_s=ttl_s, runtime=runtime)


def make_claim(place: Any, runtime: Runtime) -> Claim:
    return Claim(Project.at(place.root), runtime)
