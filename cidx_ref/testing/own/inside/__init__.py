"""This package's own code in this process: checks of it that are `inside`, by promise.

What takes a certain order of threads, a watch that is turned by hand, or a look at every chunk, no
client of a daemon can show.  `searched` has the explorers and machines; the others are examples.
"""

from __future__ import annotations

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.own.inside import asked, fast, freshly, indexed, searched, watching

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = (
    *searched.CHECKS,
    *watching.CHECKS,
    *freshly.CHECKS,
    *indexed.CHECKS,
    *asked.CHECKS,
    *fast.CHECKS,
)
