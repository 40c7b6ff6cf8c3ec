"""Progress on its way to a callback, which may fail, block or never return, and harms nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from cidx_ref.daemon.proxy import RemoteCallback
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Mailbox", "relay"]

_log = logging.getLogger("cidx_ref")
_GRACE_S = 1.0

Event = tuple[int, int, str, str]


class Mailbox:
    """Calls `callback` in a thread of its own, with the newest event, while newer ones replace
    each other; the last one (current == total) always gets there if the callback is able."""

    def __init__(self, callback: Callable[..., object], runtime: Runtime = SYSTEM) -> None:
        self._callback = callback
        self._changed = runtime.condition("progress")
        self._newest: Event | None = None
        self._closed = False
        self._thread = runtime.thread(self._deliver, "progress")

    def __call__(self, current: int, total: int, path: str, info: str) -> None:
        with self._changed:
            self._newest = (current, total, path, info)
            self._changed.notify_all()

    def close(self) -> None:
        """Give the callback a second to take the last event; then leave it to itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_GRACE_S)

    def _deliver(self) -> None:
        while (event := self._next()) is not None:
            try:
                call(self._callback, event)
            except Exception as error:
                _log.info("progress callback failed, and is not called again: %r", error)
                return

    def _next(self) -> Event | None:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._closed)
            event, self._newest = self._newest, None
            return event


def call(callback: Callable[..., object], event: Event) -> None:
    # By position, and `info` only when there is some: `print` is a fine callback.
    callback(*(event if event[3] else event[:3]))


def relay(callback: Any, runtime: Runtime = SYSTEM) -> RemoteCallback | Mailbox | None:
    """What takes events to `callback`, wherever it is, until it is closed; None where there is
    none."""
    if callback is None:
        return None
    if RemoteCallback.is_remote(callback):
        return RemoteCallback(callback)
    return Mailbox(callback, runtime)
