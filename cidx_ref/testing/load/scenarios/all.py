"""All scenarios: what locust is given where no file of one's own is."""

from __future__ import annotations

from cidx_ref.testing.load.scenarios.cold import ColdHerd, Expiry
from cidx_ref.testing.load.scenarios.editing import Edits
from cidx_ref.testing.load.scenarios.faults import Churn, Crash
from cidx_ref.testing.load.scenarios.reading import OpenLoop, Ramp, Readers
from cidx_ref.testing.load.scenarios.soaking import Soak, SoakIndexing
from cidx_ref.testing.load.scenarios.writing import ReadersAndWriter

__all__ = [
    "Churn",
    "ColdHerd",
    "Crash",
    "Edits",
    "Expiry",
    "OpenLoop",
    "Ramp",
    "Readers",
    "ReadersAndWriter",
    "Soak",
    "SoakIndexing",
]
