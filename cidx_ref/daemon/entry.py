"""An entry of the cache: one loaded generation, its reference count, and when it was last used."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["CacheEntry", "Cached"]


class Cached(Protocol):
    """What of a loaded index the cache needs to know; see `port.Loaded`."""

    @property
    def generation(self) -> str: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Cached)


class CacheEntry(Generic[S]):
    """One loaded generation, and who uses it since when.

    Made by `IndexCache`; of the story's fields, `last_accessed` and `ttl_minutes` may be assigned
    (a past `last_accessed` makes the entry that much older).
    """

    def __init__(
        self,
        project_path: Path | str,
        snapshot: S | None = None,
        *,
        ttl_minutes: float = 10,
        runtime: Runtime = SYSTEM,
    ) -> None:
        self.project_path = Path(project_path)
        self.snapshot = snapshot
        #: Kept when the snapshot is closed, so that what is said of the entry stays true.
        self.generation = snapshot.generation if snapshot is not None else ""
        self.ttl_minutes = ttl_minutes
        self.access_count = 0
        self.pins = 0
        self._runtime = runtime
        self._used_at = runtime.monotonic()

    @property
    def last_accessed(self) -> datetime:
        """When the entry was last used, as local wall-clock time; reckoned from the monotonic age
        (TTL-3), so a step of the wall clock moves it too."""
        return self._runtime.now() - timedelta(seconds=self.age_s(self._runtime.monotonic()))

    @last_accessed.setter
    def last_accessed(self, when: datetime) -> None:
        now = self._runtime.now()
        age = (now.astimezone() if when.tzinfo else now) - when
        self._used_at = self._runtime.monotonic() - age.total_seconds()

    def touch(self, now: float) -> None:
        self._used_at = now

    def inherit_age(self, other: CacheEntry[S]) -> None:
        """Be as old as `other`."""
        self._used_at = other._used_at

    def age_s(self, now: float) -> float:
        """Seconds since the entry was last used."""
        return now - self._used_at

    def is_expired(self, now: float) -> bool:
        """No query uses it, and its TTL has passed: `>=`, so it is gone *at* the TTL (TTL-1)."""
        return self.pins == 0 and self.age_s(now) >= self.ttl_minutes * 60
