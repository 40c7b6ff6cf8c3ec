"""How a process is over time: memory, threads and descriptors, and whether they grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

__all__ = ["Reading", "Slope", "growth", "slope"]

#: Share of the readings, from the first, that are not looked at: caches fill, threads start, and
#: a daemon may keep what it needs to judge its health of the last minutes.
_WARM_UP = 0.5
_FEWEST = 5
#: The readings of so many stretches are one point each, where there are more than twice as many:
#: those that follow each other say much the same, and as so many points would look sure of it.
_STRETCHES = 30


@dataclass(frozen=True)
class Reading:
    """One look at a process."""

    pid: int
    #: Answers its clients have had by then.
    calls: int
    rss_kb: float
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Slope:
    """A straight line's slope by least squares, and its standard error."""

    value: float
    error: float

    def surely_above(self) -> float:
        """What it is above with some certainty (two standard errors); not below 0."""
        return max(0.0, self.value - 2 * self.error)


def slope(xs: Sequence[float], ys: Sequence[float]) -> Slope | None:
    """None if there are too few points, or all are at one place."""
    n = len(xs)
    if n < _FEWEST:
        return None
    mean_x, mean_y = math.fsum(xs) / n, math.fsum(ys) / n
    spread = math.fsum((x - mean_x) ** 2 for x in xs)
    if spread == 0:
        return None
    value = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    rest = math.fsum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return Slope(value, math.sqrt(rest / (n - 2) / spread))


def growth(readings: Sequence[Reading]) -> dict[str, Any]:
    """For `rss_kb`, `threads` and `descriptors`: first, last, and slope with its error for each
    1000 calls, over the readings of the last process, without its warm-up."""
    if not readings:
        return {}
    of_last = [reading for reading in readings if reading.pid == readings[-1].pid]
    kept = of_last[int(len(of_last) * _WARM_UP) :]
    thousands = [reading.calls / 1000 for reading in kept]
    found: dict[str, Any] = {"readings": len(kept), "calls": kept[-1].calls - kept[0].calls}
    for name in ("rss_kb", "threads", "descriptors"):
        values = [float(getattr(reading, name)) for reading in kept]
        line = slope(_means(thousands), _means(values))
        found[name] = {
            "first": values[0],
            "last": values[-1],
            "per_1000_calls": round(line.value, 4) if line else None,
            "error": round(line.error, 4) if line else None,
            "surely_above": round(line.surely_above(), 4) if line else None,
        }
    return found


def _means(values: Sequence[float]) -> Sequence[float]:
    """The means of `_STRETCHES` stretches as long as each other; the values, if they are few."""
    if len(values) <= 2 * _STRETCHES:
        return values
    bounds = [len(values) * n // _STRETCHES for n in range(_STRETCHES + 1)]
    return [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
