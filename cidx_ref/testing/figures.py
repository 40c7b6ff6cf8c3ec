"""How figures are taken from many measurements: the same for gates, load and benchmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["percentile"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile, which is one of the values; `ValueError` if there are none."""
    if not values:
        raise ValueError("no samples")
    at = max(math.ceil(percent / 100 * len(values)), 1) - 1
    return float(sorted(values)[at])
