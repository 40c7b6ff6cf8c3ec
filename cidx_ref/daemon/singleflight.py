"""Single-flight for work that many may ask for at once and that costs the same for all of them.

One call works at a time.  A caller that comes meanwhile waits, and shares the result of the next
call with all who wait: never that of a call which began before the caller came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from cidx_ref.runtime import Runtime

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Shares the calls of one function.  Thread-safe."""

    def __init__(self, work: Callable[[], T], runtime: Runtime) -> None:
        self._work = work
        self._changed = runtime.condition("single flight")
        self._begun = 0
        self._is_under_way = False
        #: The number of the call that returned last, and what it returned.
        self._last: tuple[int, T] | None = None

    def __call__(self) -> T:
        """What `work` returns in a call that began after this one did.  Raises what it raises, in
        the thread that worked; another caller then works itself."""
        with self._changed:
            came = self._begun
            while self._is_under_way:
                self._changed.wait()
                if self._last is not None and self._last[0] > came:
                    return self._last[1]
            self._is_under_way = True
            self._begun += 1
            number = self._begun
        try:
            result = self._work()
        except BaseException:
            self._end()
            raise
        self._end((number, result))
        return result

    def _end(self, last: tuple[int, T] | None = None) -> None:
        with self._changed:
            self._is_under_way = False
            if last is not None:
                self._last = last
            self._changed.notify_all()
