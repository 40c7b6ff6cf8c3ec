"""All scenarios.  `locust -f loadtests/locustfile.py Readers`, or choose one in the web UI."""

from __future__ import annotations

from cold import ColdHerd, Expiry
from editing import Edits
from faults import Churn, Crash
from reading import OpenLoop, Ramp, Readers
from soaking import Soak, SoakIndexing
from writing import ReadersAndWriter

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
