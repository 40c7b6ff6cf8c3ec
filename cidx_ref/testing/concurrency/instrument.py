"""Code that makes its own locks, threads and clocks, under a scheduler's orders.

    with instrument(runtime, "their.cache"):
        cache = their.cache.Cache()      # its threading.Lock, time.monotonic, ... are the runtime's

As long as the block runs, what the named modules know of `threading`, `queue`, `time`, `datetime`,
`concurrent.futures` and `fcntl.flock` is the runtime's: by whatever name they have imported it, at
the top or within a function; as a default argument, a base class, or a lock that was made at
import.  Afterwards all is as it was, and what the code has bound at module level meanwhile is
undone, so that every schedule begins alike.

What cannot be put under a scheduler (other processes, sockets, signals, asyncio, locks that other
modules hold) is named at once, all of it, with what to do: `Uncontrolled`.  Under a runtime that is
no `Scheduler`, clocks are replaced and all else stays.

A module that is named stands for its submodules, too, as far as they are loaded.  What a module
calls in others is not touched: name those as well if they block or ask for the time.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.concurrency.library import active
from cidx_ref.testing.concurrency.library.patch import Patch, Uncontrolled

__all__ = ["Uncontrolled", "instrument", "instrumented", "looked_through", "modules_of"]

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def instrument(
    runtime: FakeRuntime, *modules: str | ModuleType, allow: Iterable[str] = ()
) -> Iterator[None]:
    """Have `modules` run under `runtime`, for as long as the block runs.

    `allow`: names of what would be refused and yet is harmless here (`"socket"`, because only
    `gethostname` is called; `"their.cache.LOCK"`).  Raises `Uncontrolled`.
    """
    with _in_force(Patch(_with_submodules(modules), frozenset(allow)), runtime, is_new=True):
        yield


@contextmanager
def _in_force(patch: Patch, runtime: FakeRuntime, *, is_new: bool) -> Iterator[None]:
    entered = active.enter(runtime)
    try:
        if is_new:
            patch.look()
        patch.apply()
        yield
    finally:
        patch.undo()
        active.leave(entered)


def instrumented(make: F, *modules: str | ModuleType, allow: Iterable[str] = ()) -> F:
    """`make`, for `check_cache` and the others, that has what it makes judged with `modules`
    instrumented."""

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        return make(*args, **kwargs)

    made.__dict__["instruments"] = (modules, tuple(allow))
    return made  # type: ignore[return-value]


@contextmanager
def modules_of(make: Callable[..., Any], runtime: FakeRuntime) -> Iterator[None]:
    """`instrument` as `instrumented` has said for `make`; nothing if it has not."""
    modules, allow = getattr(make, "instruments", ((), ()))
    if not modules:
        yield
        return
    patch = make.__dict__.get("patch")
    if patch is not None:
        with _in_force(patch, runtime, is_new=False):
            yield
        return
    with instrument(runtime, *modules, allow=allow):
        yield


@contextmanager
def looked_through(make: Callable[..., Any], runtime: FakeRuntime) -> Iterator[None]:
    """Have the modules of `make` looked through once, for all times that `modules_of` is entered
    while the block runs.  Raises `Uncontrolled`."""
    modules, allow = getattr(make, "instruments", ((), ()))
    if not modules:
        yield
        return
    patch = Patch(_with_submodules(modules), frozenset(allow))
    with _in_force(patch, runtime, is_new=True):
        pass
    make.__dict__["patch"] = patch
    try:
        yield
    finally:
        del make.__dict__["patch"]


def _with_submodules(modules: Iterable[str | ModuleType]) -> list[ModuleType]:
    found: dict[str, ModuleType] = {}
    for given in modules:
        module = import_module(given) if isinstance(given, str) else given
        found[module.__name__] = module
        prefix = f"{module.__name__}."
        loaded = sorted(name for name in sys.modules if name.startswith(prefix))
        found.update({n: m for n in loaded if isinstance(m := sys.modules[n], ModuleType)})
    return list(found.values())
