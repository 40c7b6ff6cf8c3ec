"""`time` and `datetime` on a fake runtime's clock.

Dates that come from here are the library's own: only asking for the time is different.
"""

from __future__ import annotations

import datetime as library
import time
from typing import Any

from cidx_ref.testing.concurrency.library.active import active
from cidx_ref.testing.concurrency.scheduler import Scheduler

__all__ = ["TIME", "Date", "DateTime"]

_NS = 1_000_000_000


def _wall() -> library.datetime:
    """Local wall-clock time, without a zone."""
    runtime = active().runtime
    if isinstance(runtime, Scheduler):
        runtime.point("clock")
    return runtime.now()


def _time() -> float:
    return _wall().timestamp()


def _monotonic() -> float:
    return active().runtime.monotonic()


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    active().runtime.sleep(seconds)


#: By their names in `time`.
TIME: dict[str, Any] = {
    "time": _time,
    "time_ns": lambda: round(_time() * _NS),
    "monotonic": _monotonic,
    "monotonic_ns": lambda: round(_monotonic() * _NS),
    "perf_counter": _monotonic,
    "perf_counter_ns": lambda: round(_monotonic() * _NS),
    "sleep": _sleep,
    "localtime": lambda s=None: time.localtime(_time() if s is None else s),
    "gmtime": lambda s=None: time.gmtime(_time() if s is None else s),
    "ctime": lambda s=None: time.ctime(_time() if s is None else s),
}


class _Same(type):
    """Instances of the library's class are instances of ours."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class DateTime(library.datetime, metaclass=_Same):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return library.datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: library.tzinfo | None = None) -> Any:
        wall = _wall()
        return wall if tz is None else wall.astimezone(tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _wall().astimezone(library.timezone.utc).replace(tzinfo=None)  # noqa: UP017

    @classmethod
    def today(cls) -> Any:
        return _wall()

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: library.tzinfo | None = None) -> Any:
        return library.datetime.fromtimestamp(timestamp, tz)

    @classmethod
    def utcfromtimestamp(cls, timestamp: float) -> Any:
        when = library.datetime.fromtimestamp(timestamp, library.timezone.utc)  # noqa: UP017
        return when.replace(tzinfo=None)

    @classmethod
    def combine(cls, *args: Any, **kwargs: Any) -> Any:
        return library.datetime.combine(*args, **kwargs)

    @classmethod
    def strptime(cls, *args: Any) -> Any:
        return library.datetime.strptime(*args)

    @classmethod
    def fromisoformat(cls, text: str) -> Any:
        return library.datetime.fromisoformat(text)


class Date(library.date, metaclass=_Same):
    def __new__(cls, *args: Any) -> Any:
        return library.date(*args)

    @classmethod
    def today(cls) -> Any:
        return _wall().date()

    @classmethod
    def fromtimestamp(cls, timestamp: float) -> Any:
        return library.date.fromtimestamp(timestamp)

    @classmethod
    def fromisoformat(cls, text: str) -> Any:
        return library.date.fromisoformat(text)
