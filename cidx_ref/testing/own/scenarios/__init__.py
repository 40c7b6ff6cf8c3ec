"""The places where threads of this daemon meet, each as a scenario for `explore`.

The code is the daemon's own: the cache over an index of names, the gate, the eviction thread and
the service around them, the generations and the claim on the socket on a real file system.
Threads stand for clients, and, where what is shared is a file, for processes: a `flock` keeps out
another thread that opened the file itself just as it keeps out another process.
"""

from __future__ import annotations

from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.own.scenarios import (
    caching,
    claiming,
    letting,
    merging,
    serving,
    storing,
)

__all__ = ["SCENARIOS"]

#: All of them, but for what they have in common.
SCENARIOS: tuple[type[Scenario], ...] = tuple(
    found
    for module in (caching, letting, serving, storing, claiming, merging)
    for found in vars(module).values()
    if isinstance(found, type)
    and issubclass(found, Scenario)
    and found.promises
    and found.__module__ == module.__name__
    and not found.__name__.startswith("_")
)


def __getattr__(name: str) -> type[Scenario]:
    """A scenario by its name, in whatever module it is."""
    for scenario in SCENARIOS:
        if scenario.__name__ == name:
            return scenario
    raise AttributeError(name)
