"""The eviction thread: checks at intervals whether the cache has expired or the daemon is idle."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from cidx_ref.config import Config
from cidx_ref.runtime import Runtime, Thread

__all__ = ["CacheEvictionThread"]

_log = logging.getLogger("cidx_ref")


class Evicted(Protocol):
    """What of the daemon's service is checked."""

    runtime: Runtime
    config: Config

    def reload_config(self) -> None: ...
    def evict_expired(self) -> bool: ...
    def shutdown_if_idle(self) -> bool: ...


class CacheEvictionThread:
    """Checks every `check_interval` seconds; by default as often as the configuration says.

    An error in a check is logged, and the next check runs (TTL-4).
    """

    def __init__(
        self,
        daemon_service: Evicted,
        check_interval: float | None = None,
        *,
        beside: Callable[[], object] = lambda: None,
    ) -> None:
        """`beside` is called before each check."""
        self.daemon_service = daemon_service
        self.check_interval = check_interval
        self._beside = beside
        self._stopped = daemon_service.runtime.event("eviction stop")
        self._thread: Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and not self._stopped.is_set()

    def start(self) -> None:
        self._thread = self.daemon_service.runtime.thread(self.run, "eviction")

    def run(self) -> None:
        """Check now and then, until `stop`."""
        while not self._stopped.is_set():
            try:
                self._check_and_evict()
            except Exception:
                _log.exception("eviction check failed")
            # On the stop event itself, so that stopping does not wait for the interval to end.
            self._stopped.wait(self._interval_s())

    def stop(self) -> None:
        """End the thread, at once, and wait until it has ended."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _interval_s(self) -> float:
        if self.check_interval is not None:
            return self.check_interval
        return self.daemon_service.config.eviction_check_interval_seconds

    def _check_and_evict(self) -> None:
        service = self.daemon_service
        self._beside()
        service.reload_config()
        service.evict_expired()
        if service.config.auto_shutdown_on_idle:
            service.shutdown_if_idle()
