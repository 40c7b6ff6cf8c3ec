"""A cache under judgement: what it has to have, what it may have, and how it is asked.

    class Adapter:                                  # of a cache that is somebody else's
        def __init__(self, source, *, ttl_s, runtime):
            self.cache = their.Cache(source.load, ttl=ttl_s, clock=runtime.monotonic)
        def get(self):                              # or `use`, a context manager
            return self.cache.get("index")
        def clear(self):
            self.cache.invalidate("index")

It hands out what `source.load` returned.  What it does not have is not asked of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from cidx_ref.testing.conformance.parts.judging import Broken, Unusable
from cidx_ref.testing.conformance.parts.source import Load, Source, Value
from cidx_ref.testing.ground import Runtime

__all__ = ["TTL_S", "Asked", "CacheLike", "MakeCache"]

#: How long what is judged keeps what it has.
TTL_S = 600.0

#: What a keyed cache is asked for.
KEY = "index"


class CacheLike(Protocol):
    """What a cache has: `use`, or `get`; each with one argument, a key, or with none.

    Beyond these it may have, and is judged by what it has:

    - `clear()`: forget what is cached;
    - `evict()`: the periodic check, which drops what nobody has used for the TTL.  Where there is
      none, a query is the check;
    - `start()`, `stop()` and `check_every_s`: a thread that makes this check by itself;
    - `not_offered`: promises that it does not make, by id, with the reason.
    """

    def use(self) -> AbstractContextManager[Any]:
        """The value, for as long as the block runs."""


#: `make_cache(source, *, ttl_s, runtime)`.
MakeCache = Callable[..., Any]


class Asked:
    """A cache of a source, and what the two were seen to do."""

    def __init__(
        self,
        make_cache: MakeCache,
        runtime: Runtime,
        *,
        ttl_s: float = TTL_S,
        fails: Callable[[], bool] = lambda: False,
        source: type[Source] = Source,
    ) -> None:
        self.runtime = runtime
        self.source = source(runtime, fails=fails)
        self.cache = make_cache(self.source, ttl_s=ttl_s, runtime=runtime)
        self.has = frozenset(
            name
            for name in ("use", "get", "clear", "evict", "start", "stop")
            if callable(getattr(self.cache, name, None))
        )
        if not self.has & {"use", "get"}:
            raise Unusable(f"{type(self.cache).__name__} has neither get() nor use()")
        self._ask = self.cache.use if "use" in self.has else self.cache.get
        self._key = (KEY,) if _wants_a_key(self._ask) else ()

    @property
    def in_use(self) -> bool:
        """It knows when a query ends."""
        return "use" in self.has

    def query(self, during: Callable[[], object] = lambda: None) -> Load:
        """One query, which does `during` half-way; the load that answered it."""
        before = len(self.source.loads)
        given = self._ask(*self._key)
        context = given if self.in_use else nullcontext(given)
        with context as value:
            assert value is not None, self._nothing(self.source.loads[before:])
            load = _load_of(value)
            value.use()
            during()
            self.runtime.step("in use")
            value.use()
        return load

    def _nothing(self, begun: Sequence[Load]) -> str:
        """What is said of None in the place of a value."""
        how = "use() gave" if self.in_use else "get() returned"
        loads = f"meanwhile {begun[-1]} was begun" if begun else "meanwhile no load was begun"
        return f"{how} None, and not what source.load returned, or its error ({loads})"

    def answer(self, blames: str) -> Load | None:
        """The same; None where the load failed.  What else is raised breaks `blames`."""
        try:
            return self.query()
        except (Broken, Unusable):
            raise
        except AssertionError as closed:
            raise Broken(blames, str(closed)) from closed
        except Exception as error:
            if _is_of_a_load(error, type(self.source.error())):
                return None
            raise Broken(blames, f"a query raised {type(error).__name__}: {error}") from error

    def clear(self) -> None:
        self.cache.clear()

    def evict(self) -> None:
        """The check, if there is one."""
        if "evict" in self.has:
            self.cache.evict()

    def loads_of(self, version: str) -> int:
        return sum(load.version == version for load in self.source.loads)


def _load_of(value: Any) -> Load:
    if not isinstance(value, Value):
        raise Unusable(f"it hands out {value!r}, and not what source.load returned")
    return value.load


def _is_of_a_load(error: BaseException | None, failed: type[Exception]) -> bool:
    """It is what a load raised, or was made of that."""
    while error is not None:
        if isinstance(error, failed):
            return True
        error = error.__cause__ or error.__context__
    return False


def _wants_a_key(ask: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(ask).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind in _BY_PLACE]
    if len(needed) > 1:
        raise Unusable(f"{getattr(ask, '__qualname__', ask)} takes more than a key")
    return bool(needed)


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def missing(asked: Asked, declared: Mapping[str, str]) -> dict[str, str]:
    """Of each promise about a cache that this one does not make: what it has not."""
    found = dict(declared)

    def lacks(what: str, *promises: str) -> None:
        for promise in promises:
            found.setdefault(promise, f"needs {what}")

    if not asked.in_use:
        lacks("use(), by which the cache knows when a query ends", "CACHE-6", "RPC-4")
    if not asked.source.asked:
        lacks("a cache that asks which version is live (source.current())", "CACHE-8")
    if not asked.has & {"clear", "evict"}:
        lacks("clear(), or evict()", "CACHE-7")
    if "clear" not in asked.has and not asked.source.asked:
        lacks("clear(), or a cache that asks which version is live", "CACHE-3")
    if not {"start", "stop"} <= asked.has or not hasattr(asked.cache, "check_every_s"):
        lacks("start(), stop() and check_every_s: a thread that checks by itself", "TTL-4")
    return found
