"""Whether this machine is too busy for a time to say something of a daemon."""

from __future__ import annotations

import os

from cidx_ref.testing.conformance.bench import NotTried
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.ground import SYSTEM

__all__ = ["not_if_busy"]

#: Processes that want to run, for each core;
_LOAD = 2.0
#: and by how many milliseconds something is late that takes one: p95.
_LATE_MS = 4.0
_TIMES = 200


def not_if_busy(missed: str) -> None:
    """Raises `NotTried` for a time that was `missed`, where it may be the machine's fault."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    if load > _LOAD * cores:
        raise NotTried(
            f"{missed}; but this machine is too busy: a load of {load:.0f} on {cores} cores"
        )
    if (late := _lateness_ms()) > _LATE_MS:
        raise NotTried(f"{missed}; but this machine is too busy: it is {late:.0f} ms late at p95")


def _lateness_ms() -> float:
    late = []
    for _ in range(_TIMES):
        began = SYSTEM.monotonic()
        SYSTEM.sleep(0.0005)
        while (passed := SYSTEM.monotonic() - began) < 0.001:
            pass
        late.append((passed - 0.001) * 1000)
    return percentile(late, 95)
