"""Checks of any daemon: serving, stopping, searching, refusing, connections, limits, what it says.

Each knows promises and nothing else.  Floors, from the ground up: `sought`, and the checks.
"""

from __future__ import annotations

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.daemons import (
    connections,
    hostile,
    idling,
    observing,
    reach,
    refusing,
    searching,
    serving,
    stopping,
    trusting,
)

__all__ = ["CHECKS"]

#: In the order in which they are run: what everybody has first.
CHECKS: tuple[Check, ...] = (
    *serving.CHECKS,
    *idling.CHECKS,
    *searching.CHECKS,
    *refusing.CHECKS,
    *connections.CHECKS,
    *reach.CHECKS,
    *hostile.CHECKS,
    *stopping.CHECKS,
    *observing.CHECKS,
    *trusting.CHECKS,
)
