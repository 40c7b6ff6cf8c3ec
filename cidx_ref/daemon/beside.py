"""Indexes that are asked for by name, beside the one that serves: each in a cache of its own.

Where the one that is asked for serves anyway, it is not loaded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cidx_ref.daemon.cache import IndexCache
from cidx_ref.errors import BadArgumentError, CidxError
from cidx_ref.index.port import Index, Loaded, Several, Source
from cidx_ref.runtime import Runtime

__all__ = ["Beside"]


class Beside:
    """The caches of the indexes beside `index`, which `cache` is of.  Thread-safe."""

    def __init__(
        self,
        index: Index,
        cache: IndexCache[Any],
        make: Callable[[Source[Any]], IndexCache[Any]],
        runtime: Runtime,
    ) -> None:
        self._index = index
        self._cache = cache
        self._make = make
        self._making = runtime.lock("beside")
        self._caches: dict[str, tuple[Source[Any], IndexCache[Any]]] = {}

    @contextmanager
    def pin(self, name: str) -> Iterator[Loaded]:
        """The snapshot of the index `name`; see `IndexCache.pin`.  Raises `BadArgumentError` where
        the index is the only one."""
        source, cache = self._of(name)
        with (self._cache if self._serves(source) else cache).pin() as loaded:
            yield loaded

    def clear(self) -> None:
        for _, cache in list(self._caches.values()):
            cache.clear()

    def evict_expired(self) -> None:
        for _, cache in list(self._caches.values()):
            cache.evict_expired()

    def set_ttl(self, minutes: float) -> None:
        for _, cache in list(self._caches.values()):
            cache.set_ttl(minutes)

    def _of(self, name: str) -> tuple[Source[Any], IndexCache[Any]]:
        with self._making:
            if name not in self._caches:
                if not isinstance(self._index, Several):
                    raise BadArgumentError("source: there is but one index here")
                source = self._index.source(name)
                self._caches[name] = source, self._make(source)
            return self._caches[name]

    def _serves(self, source: Source[Any]) -> bool:
        try:
            return source.current() == self._index.current()
        except CidxError:
            return False
