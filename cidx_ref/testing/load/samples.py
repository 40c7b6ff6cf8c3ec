"""What was measured: every value as it came, nothing put into buckets.

Locust rounds response times for its charts (147 ms and 154 ms become 150); a limit is not judged on
that.  Here each row keeps all its values, so a percentile is one of them.  Several processes fill
their own `Samples`; what came since the last report is handed over by `drain` and taken by `merge`.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cidx_ref.testing.figures import percentile

__all__ = ["ALL", "Row", "Samples"]

#: The name that stands for all rows together.
ALL = "*"


@dataclass
class Row:
    """One kind of call, or of figure.  Values are milliseconds unless the row's name says more."""

    values: array[float] = field(default_factory=lambda: array("d"))
    #: What went wrong, by message.
    failures: Counter[str] = field(default_factory=Counter)
    #: Of all answers.
    size_bytes: int = 0
    #: The most requests that went over the wire for one call.
    trips: int = 0

    @property
    def failed(self) -> int:
        return self.failures.total()

    def statistic(self, name: str, elapsed_s: float) -> float:
        """`count`, `failures`, `rps`, `trips`, `min`, `mean`, `max` or `p50`, `p99.9` and so on.

        Raises `ValueError` for any other name, and where there is no value to take it from.
        """
        if name in ("count", "failures", "rps", "trips"):
            counts = {"count": len(self.values), "failures": self.failed, "trips": self.trips}
            return float(counts[name]) if name in counts else len(self.values) / elapsed_s
        if not self.values:
            raise ValueError("no samples")
        if name in ("min", "max"):
            return (min if name == "min" else max)(self.values)
        if name == "mean":
            return math.fsum(self.values) / len(self.values)
        if name.startswith("p"):
            return percentile(self.values, float(name[1:]))
        raise ValueError(f"unknown statistic: {name}")


class Samples:
    """Rows by name; and facts, which are strings that processes tell the one that judges."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.facts: set[tuple[str, ...]] = set()

    def add(
        self,
        name: str,
        value: float,
        *,
        failure: str = "",
        size_bytes: int = 0,
        trips: int = 0,
    ) -> None:
        """One call.  One that failed has no latency worth the name, and only counts as failed."""
        row = self.rows.setdefault(name, Row())
        if failure:
            row.failures[failure] += 1
            return
        row.values.append(value)
        row.size_bytes += size_bytes
        row.trips = max(row.trips, trips)

    def row(self, name: str) -> Row | None:
        """The row of that name; for `ALL`, all calls (rows in brackets are figures) together."""
        if name != ALL:
            return self.rows.get(name)
        total = Row()
        for key, row in self.rows.items():
            total.failures.update(row.failures)  # a figure can fail, too
            if not key.startswith("("):
                total.values.extend(row.values)
                total.size_bytes += row.size_bytes
                total.trips = max(total.trips, row.trips)
        return total

    def calls(self) -> int:
        """How many calls were answered."""
        return sum(len(row.values) for name, row in self.rows.items() if not name.startswith("("))

    def drain(self) -> dict[str, Any]:
        """Everything since the last time, as plain data; it is forgotten here."""
        rows, self.rows = self.rows, {}
        facts, self.facts = self.facts, set()
        return {
            "rows": {
                name: [list(row.values), dict(row.failures), row.size_bytes, row.trips]
                for name, row in rows.items()
            },
            "facts": [list(fact) for fact in facts],
        }

    def merge(self, drained: Mapping[str, Any]) -> None:
        """Take in what another process drained."""
        for name, (values, failures, size_bytes, trips) in drained["rows"].items():
            row = self.rows.setdefault(name, Row())
            row.values.extend(values)
            row.failures.update(failures)
            row.size_bytes += size_bytes
            row.trips = max(row.trips, trips)
        self.facts.update(tuple(fact) for fact in drained["facts"])

    def values_since(self, name: str, start: int) -> array[float]:
        """The values of a row from that number on."""
        row = self.rows.get(name)
        return row.values[start:] if row is not None else array("d")

    def told(self, kind: str) -> Iterable[tuple[str, ...]]:
        """The facts of that kind, without it."""
        return [fact[1:] for fact in sorted(self.facts) if fact[0] == kind]
