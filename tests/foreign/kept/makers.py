"""What the kit is told of the larder: what a cache is called with, and that it makes its own locks.

python -m cidx_ref.testing.conformance.parts cache makers:cellar
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import larder

from cidx_ref.testing import instrumented


class Cache:
    """A cache of the larder, by the kit's names."""

    def __init__(self, kind: Callable[..., Any], load: Callable[[], Any], ttl_s: float) -> None:
        self.cache = kind(load, ttl_s)

    def use(self) -> AbstractContextManager[Any]:
        borrowed: AbstractContextManager[Any] = self.cache.borrow()
        return borrowed

    def clear(self) -> None:
        self.cache.drop()

    def evict(self) -> None:
        self.cache.tidy()


class ReadersAndWriters:
    """A library of the larder, by the kit's names."""

    def __init__(self, kind: Callable[[], Any]) -> None:
        library = kind()
        self.read = library.reading
        self.write = library.writing


class Claim:
    def __init__(self, kind: Callable[[str], Any], directory: str) -> None:
        claim = kind(directory)
        self.acquire = claim.claim
        self.release = claim.release


def _cache(name: str) -> Callable[..., Any]:
    def make_cache(source: Any, *, ttl_s: float, runtime: object) -> Cache:
        return Cache(getattr(larder, name), source.load, ttl_s)

    return instrumented(make_cache, larder)


def _lock(name: str) -> Callable[..., Any]:
    return instrumented(lambda runtime: getattr(larder, name)(), larder)


def _library(name: str) -> Callable[..., Any]:
    return instrumented(lambda runtime: ReadersAndWriters(getattr(larder, name)), larder)


MAKERS: dict[str, Callable[..., Any]] = {
    **{
        name: _cache(name)
        for name in (
            *("Cellar", "Lingering", "Almanac", "Snatching", "Double", "Grudging", "Haunted"),
        )
    },
    **{name: _lock(name) for name in ("Token", "Clumsy", "Drowsy")},
    **{name: _library(name) for name in ("Library", "Crowded")},
}


def flag(place: Any) -> Claim:
    return Claim(larder.Flag, str(place.root))


def pid_file(place: Any) -> Claim:
    return Claim(larder.PidFile, str(place.root))


MAKERS |= {"Flag": flag, "PidFile": pid_file}
