"""What a watcher has counted, measured, logged and told, in all its sessions.

Guarded by the lock of `watch.Watch`.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Protocol

from cidx_ref.daemon.watched import Changes
from cidx_ref.runtime import Lock, Runtime
from cidx_ref.shown import escape

__all__ = ["Ledger", "WatchListener", "short"]

_log = logging.getLogger("cidx_ref")

_MAX_REASON = 200
_LATENCIES = 300


class WatchListener(Protocol):
    """Is told what happens to the watcher; never called under its lock, from any thread."""

    def __call__(self, event: str, detail: str = "", seconds: float = 0.0) -> None:
        """`event`: watching, scanning (`detail`: why), run (`seconds`: how long), run_failed
        (`detail`: why), overflow or rest."""


class Ledger:
    """What a watcher has counted, measured, logged and told, in all its sessions."""

    def __init__(self, runtime: Runtime, tell: WatchListener) -> None:
        self.counts = dict.fromkeys(("runs", "events", "coalesced", "overflows"), 0)
        #: Seconds from the first of some changes to the index that holds them.
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.last_fallback: dict[str, str] | None = None
        self._runtime = runtime
        self._tell = tell
        self._untold: list[tuple[str, str, float]] = []
        self._logged: set[str] = set()

    def take(self, changes: Changes, *, is_first: bool) -> None:
        """Count them.  `is_first`: nothing was dirty before."""
        self.counts["events"] += changes.events
        if changes.is_overflown:
            self.counts["overflows"] += 1
            self.note("overflow")
            self.fall_back("events were lost")
        self.counts["coalesced"] += max(0, len(changes.paths) - is_first)

    def now(self) -> str:
        return self._runtime.now().astimezone().isoformat(timespec="seconds")

    def note(self, event: str, detail: str = "", seconds: float = 0.0) -> None:
        """To be told when the lock is free."""
        self._untold.append((event, detail, seconds))

    def fall_back(self, reason: str) -> None:
        """Events were lost, or there are none to be had."""
        self.last_fallback = {"reason": reason, "at": self.now()}

    def tell_all(self, lock: Lock) -> None:
        """Tell what was noted under `lock`, which is free."""
        with lock:
            untold, self._untold = self._untold, []
        for event, detail, seconds in untold:
            try:
                self._tell(event, detail, seconds)
            except Exception as error:  # must not hold up an index run, or a query
                self.warn_once(f"the watcher's listener failed: {type(error).__name__}", str(error))

    def warn_once(self, kind: str, detail: str = "") -> None:
        """Log it, unless something of this kind was logged before."""
        if kind not in self._logged:
            self._logged.add(kind)
            _log.warning("%s%s", kind, f": {short(detail)}" if detail else "")

    def warn_of(self, what: str, error: BaseException) -> None:
        """The same, of an error."""
        self.warn_once(f"{what}: {type(error).__name__}", str(error))

    def describe(self) -> dict[str, Any]:
        return {"last_fallback": self.last_fallback, **self.counts, **_seconds_of(self.latencies)}


def short(text: object) -> str:
    """`text`, which may hold names of the tree's choice, for one line."""
    return escape(str(text))[:_MAX_REASON]


def _seconds_of(latencies: deque[float]) -> dict[str, float | None]:
    ordered = sorted(latencies)

    def part(share: float) -> float | None:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    last = latencies[-1] if latencies else None
    return {"seconds_last": last, "seconds_p50": part(0.5), "seconds_p95": part(0.95)}
