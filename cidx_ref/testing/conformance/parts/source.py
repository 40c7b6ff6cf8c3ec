"""What a cache caches, where only the cache is judged: values that know how they are treated.

A `Source` has a version that is live, and loads values of it.  Reading "the disk" consists of steps
of the runtime, so that a scheduler can let others in between.  A `Value` tells who uses it after it
was closed; a `Load` remembers what became of a value, and does not keep it alive.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

from cidx_ref.testing.ground import Runtime

__all__ = ["Load", "LoadFailed", "Source", "Value"]


class LoadFailed(Exception):  # noqa: N818 - what is said of a load, and no fault of the cache
    """What a load raises that was made to fail."""


class Load:
    """The `number`-th load (from 1) of a source, of what was live as `version`."""

    def __init__(self, version: str, number: int) -> None:
        self.version = version
        self.number = number
        self.closed = 0
        self.value: Callable[[], object | None] = lambda: None

    def is_gone(self, *, by_closing: bool = False) -> bool:
        """The value was closed, or nothing refers to it any more."""
        if by_closing:
            return bool(self.closed)
        if not self.closed and self.value() is not None:
            gc.collect()
        return bool(self.closed) or self.value() is None

    def __repr__(self) -> str:
        return f"load {self.number} of {self.version}"


class Value:
    """What a cache hands out."""

    def __init__(self, load: Load) -> None:
        self.load = load
        load.value = ref(self)
        #: What a cache calls it that knows values by another name.
        self.generation = load.version
        #: `close` raises this.
        self.failure: Exception | None = None

    @property
    def version(self) -> str:
        return self.load.version

    @property
    def number(self) -> int:
        return self.load.number

    @property
    def closed(self) -> int:
        """How often it was."""
        return self.load.closed

    def use(self) -> None:
        """Raises `AssertionError` once it is closed: a real index would crash."""
        assert not self.closed, f"load {self.number} was closed while somebody used it"

    def close(self) -> None:
        """Give its memory back; a cache that does not, and lets go of it, does so, too."""
        self.load.closed += 1
        if self.failure is not None:
            raise self.failure

    def __repr__(self) -> str:
        return f"<{self.load}>"


class Source:
    """Versions and their loads.  Any thread may call it."""

    #: What names of versions begin with.
    prefix = "v"

    def __init__(self, runtime: Runtime, *, fails: Callable[[], bool] = lambda: False) -> None:
        """`fails` is asked during each load whether it fails (`LoadFailed`)."""
        self._runtime = runtime
        self._fails = fails
        self.live = f"{self.prefix}1"
        #: Every load that was begun, in that order.
        self.loads: list[Load] = []
        #: How often the cache has asked which version is live.
        self.asked = 0

    def current(self) -> str:
        """The version that is live."""
        self.asked += 1
        live = self.live
        self._runtime.step("has read which is live")
        return live

    def load(self, version: str | None = None) -> Any:
        """A new value of `version`, by default of the one that is live."""
        version = self.live if version is None else version
        load = Load(version, len(self.loads) + 1)
        self.loads.append(load)
        self._runtime.step(f"load {version}")
        if self._fails():
            raise self.error()
        self.check_there(version)
        value = self.make(load)
        self._runtime.step(f"has read {version}")
        return value

    def publish(self) -> str:
        """Make a new version live, as another process would; return it."""
        number = int(self.live.removeprefix(self.prefix)) + 1
        self._runtime.step("publish")
        self.live = f"{self.prefix}{number}"
        return self.live

    # For those who have values, and errors, of another kind.

    def make(self, load: Load) -> Value:
        return Value(load)

    def error(self) -> Exception:
        return LoadFailed("damaged")

    def check_there(self, version: str) -> None:
        """Raise if `version` cannot be loaded any more."""
