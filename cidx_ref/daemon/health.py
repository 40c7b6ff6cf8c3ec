"""How the daemon is: health over a recent window, and counters of all that ever happened.

Both are told by the service; neither decides anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["HealthMonitor", "Metrics"]

WINDOW_S = 300.0
#: So many failures of the daemon's own within the window, and it is degraded (the story's ten).
DEGRADED_AT = 10
_KEPT = 1000  # latencies a method, newest last, that percentiles are taken from


@dataclass(slots=True)
class _Second:
    """What was noted within a second of `began`."""

    began: float
    queries: int = 0
    failures: int = 0


class Watched(Protocol):
    """What of the daemon's service its health is about."""

    @property
    def cache_entry(self) -> object | None: ...


class HealthMonitor:
    """The story's health, judged over the last five minutes (OBS-2).  Thread-safe.

    What counts as an error is the daemon's own failure, never a user's mistake: see
    `CidxError.failure`.
    """

    def __init__(
        self,
        daemon_service: Watched,
        *,
        runtime: Runtime = SYSTEM,
        problem: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`problem` says what is wrong with the daemon now, whatever its calls came to."""
        self.daemon_service = daemon_service
        self._problem = problem
        self.query_count = 0
        self.error_count = 0
        self._runtime = runtime
        self._started = runtime.monotonic()
        self._lock = runtime.lock("health")
        #: Of each second in which there was something: when it began, queries, failures.
        self._recent: deque[_Second] = deque()

    def record_query(self, duration: float) -> None:
        """A query was processed, in `duration` seconds, whatever came of it."""
        with self._lock:
            self.query_count += 1
            self._note(is_error=False)

    def record_error(self, error: BaseException) -> None:
        """A query, or anything else, failed through the daemon's fault."""
        with self._lock:
            self.error_count += 1
            self._note(is_error=True)

    def get_health(self) -> dict[str, Any]:
        """`queries_processed` and `errors` count from the start; `status`, `error_rate` and the
        `recent_` figures are about the window of `window_seconds`; what is wrong with the daemon
        now (`problem`) degrades it, too."""
        problem = self._problem()
        with self._lock:
            self._forget()
            failed = sum(second.failures for second in self._recent)
            recent = sum(second.queries for second in self._recent)
            return {
                "status": "degraded" if problem or failed >= DEGRADED_AT else "healthy",
                "problem": problem,
                "uptime_seconds": round(self._runtime.monotonic() - self._started, 3),
                "queries_processed": self.query_count,
                "errors": self.error_count,
                "error_rate": min(1.0, failed / max(1, recent)),
                "cache_active": self.daemon_service.cache_entry is not None,
                "window_seconds": WINDOW_S,
                "recent_queries": recent,
                "recent_errors": failed,
            }

    def _note(self, *, is_error: bool) -> None:
        now = self._runtime.monotonic()
        # By the second: an entry for each query would be megabytes in a daemon under load.
        if not self._recent or now - self._recent[-1].began >= 1.0:
            self._recent.append(_Second(now))
        if is_error:
            self._recent[-1].failures += 1
        else:
            self._recent[-1].queries += 1
        self._forget()

    def _forget(self) -> None:
        horizon = self._runtime.monotonic() - WINDOW_S
        while self._recent and self._recent[0].began <= horizon:
            self._recent.popleft()


class Metrics:
    """Counts every call, hit, load and eviction once (OBS-3).  Thread-safe."""

    def __init__(self, runtime: Runtime = SYSTEM) -> None:
        self._lock = runtime.lock("metrics")
        self._calls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._latencies: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._cache: Counter[str] = Counter()
        self._load_seconds = 0.0

    def count_call(self, method: str, outcome: str, seconds: float) -> None:
        """`outcome`: "ok" or the kind of the error."""
        with self._lock:
            self._calls[method][outcome] += 1
            self._latencies[method].append(seconds * 1000)

    def count_cache(self, event: str, seconds: float = 0.0) -> None:
        with self._lock:
            self._cache[event] += 1
            if event == "load":
                self._load_seconds += seconds

    def report(self) -> dict[str, Any]:
        """Counts since the start; `latency_ms` over the last 1000 calls of each method."""
        with self._lock:
            events = ("hit", "load", "load_failed", "evict", "clear", "replace")
            return {
                "calls": {method: dict(outcomes) for method, outcomes in self._calls.items()},
                "cache": {event: self._cache[event] for event in events},
                "load_seconds": round(self._load_seconds, 6),
                "latency_ms": {
                    method: _percentiles(sorted(kept)) for method, kept in self._latencies.items()
                },
            }


def _percentiles(values: list[float]) -> dict[str, float]:
    def at(share: float) -> float:
        return round(values[min(len(values) - 1, int(share * len(values)))], 3)

    return {"p50": at(0.50), "p95": at(0.95), "p99": at(0.99), "max": round(values[-1], 3)}
