"""The gate, admission control for calls: which are in flight, and whether more may come in.

Every call passes here.  Stopping is closing the gate and waiting until all have left (SRV-4); an
idle shutdown looks and closes in one step, so that no call slips in between (TTL-5).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from cidx_ref.errors import BusyError, ShuttingDownError
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Call", "Gate"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call under way."""

    method: str
    started: float


class Gate:
    """Counts calls in and out.  Thread-safe."""

    def __init__(self, runtime: Runtime = SYSTEM, *, max_calls: int = 256) -> None:
        self.max_calls = max_calls
        self._runtime = runtime
        self._left = runtime.condition("gate")
        self._calls: dict[int, Call] = {}
        self._numbers = count()
        self._closed = False
        # A daemon without any call so far is idle since it started.
        self._used_at = runtime.monotonic()

    @contextmanager
    def call(self, method: str, *, is_use: bool) -> Iterator[None]:
        """Be inside for as long as the block runs; `is_use`: it keeps the daemon from idling.

        Raises `ShuttingDownError` or `BusyError`.
        """
        with self._left:
            if self._closed:
                raise ShuttingDownError("the daemon is shutting down")
            # Only uses are limited: a full daemon can still be asked what it does, and be stopped.
            if is_use and len(self._calls) >= self.max_calls:
                raise BusyError(f"{self.max_calls} calls are under way already")
            number = next(self._numbers)
            self._calls[number] = Call(method, self._runtime.monotonic())
        try:
            yield
        finally:
            with self._left:
                del self._calls[number]
                if is_use:
                    self._used_at = self._runtime.monotonic()
                self._left.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Refuse all later calls."""
        with self._left:
            self._closed = True

    def reopen(self) -> None:
        """Let calls in again: the daemon was to be stopped, and could not be."""
        with self._left:
            self._closed = False

    def close_if_idle(self, idle_s: float) -> bool:
        """Close if no call is in flight and there was no use for `idle_s` seconds.

        True if this closed it, False also if it had been closed before.
        """
        with self._left:
            idle = self._runtime.monotonic() - self._used_at
            if self._closed or self._calls or idle < idle_s:
                return False
            self._closed = True
            return True

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until all have left; False if some have not after `timeout_s`."""
        with self._left:
            return self._left.wait_for(lambda: not self._calls, timeout_s)

    def calls(self) -> list[Call]:
        """Those inside now, the longest first."""
        with self._left:
            return list(self._calls.values())
