"""What is promised of a cache, as a model of a few lines that knows nothing of any code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cidx_ref.testing.concurrency.history import Operation

__all__ = ["CacheState", "cache_model"]


class CacheState(NamedTuple):
    """A live generation, and perhaps a load of it: the `cached`-th there was."""

    live: str
    cached: int | None = None
    #: Every load that was ever cached: a load that was dropped does not come back.
    used: frozenset[int] = frozenset()


def cache_model(state: CacheState, operation: Operation) -> Iterator[CacheState]:
    """How a cache answers one by one:

    - `publish` -> g: from now on g is live, and what was cached is of no use any more (CACHE-5);
    - `index` -> (g, n): so it is, and perhaps the load n of it is cached;
    - `clear`, and `evict` -> True: nothing is cached any more (CACHE-3); `evict` -> None: perhaps;
    - `query` -> (g, n): g is live (CACHE-5, CACHE-8), and n is what is cached (CACHE-1), or where
      nothing is, a new load;
    - `query` -> None: it failed to load, which only happens where nothing is cached, and changes
      nothing (CACHE-2).
    """
    name, result = operation.name, operation.result
    if name == "publish":
        yield state._replace(live=result, cached=None)
    elif name == "index":
        live, load = result
        yield state._replace(live=live, cached=None)
        if load is not None and load not in state.used:
            yield CacheState(live, load, state.used | {load})
    elif name == "clear" or (name == "evict" and result):
        yield state._replace(cached=None)
    elif name == "evict":
        yield state
        if result is None:
            yield state._replace(cached=None)
    else:
        yield from _query(state, result)


def _query(state: CacheState, result: tuple[str, int] | None) -> Iterator[CacheState]:
    if result is None:
        if state.cached is None:
            yield state
    elif result == (state.live, state.cached):
        yield state
    elif result[0] == state.live and state.cached is None and result[1] not in state.used:
        yield state._replace(cached=result[1], used=state.used | {result[1]})
