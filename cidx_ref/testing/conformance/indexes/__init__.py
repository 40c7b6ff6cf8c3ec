"""Checks of any daemon's index: loaded and let go, published while others ask, killed half-way,
fresh, and quick.

Each knows promises and nothing else.  Floors, from the ground up: `crowd`, and the checks.
"""

from __future__ import annotations

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.indexes import (
    caching,
    crashing,
    expiry,
    fresh,
    publishing,
    speed,
)

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = (
    *caching.CHECKS,
    *publishing.CHECKS,
    *crashing.CHECKS,
    *expiry.CHECKS,
    *fresh.CHECKS,
    *speed.CHECKS,
)
