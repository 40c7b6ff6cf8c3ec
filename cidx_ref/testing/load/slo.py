"""Service level objectives: what a session must show to pass.

An objective is written `row:statistic<limit`, for example

    query_fts:p95<20        the slowest twentieth of full-text queries begins below 20 ms
    *:failures<=0           no call failed
    (outage):max<3000       a figure that a scenario takes

`row` is a method's name, the name of a figure, or `*` for all.  A row that has no samples fails
each of its objectives: nothing was shown.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cidx_ref.testing.load.samples import Samples

__all__ = ["BASE", "VARIABLE", "Slo", "Verdict", "asked_for", "effective", "parse_all"]

#: Of the environment; what is in it holds unless the command line says otherwise of the same.
VARIABLE = "CIDX_LOAD_SLO"

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_STATISTIC = r"count|failures|rps|trips|min|mean|max|p(?:\d{1,2}(?:\.\d+)?|100)"
_SLO = re.compile(rf"\s*(.+?)\s*:\s*({_STATISTIC})\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*")


@dataclass(frozen=True)
class Slo:
    """One objective."""

    row: str
    statistic: str
    operator: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Raises `ValueError`, which says what an objective looks like."""
        match = _SLO.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r}: must be like query_fts:p95<20 or *:failures<=0, with one of count, "
                "failures, rps, trips, min, mean, max or a percentile, and one of <, <=, >, >="
            )
        row, statistic, sign, limit = match.groups()
        return cls(row, statistic, sign, float(limit))

    def __str__(self) -> str:
        return f"{self.row}:{self.statistic}{self.operator}{self.limit:.15g}"

    def judge(self, samples: Samples, elapsed_s: float) -> Verdict:
        """`elapsed_s`: how long it was measured, for rates."""
        row = samples.row(self.row)
        is_count = self.statistic in ("count", "failures")
        if row is None or not (row.values or (row.failures and is_count)):
            return Verdict(self, None, False)
        if self.statistic == "trips" and not row.trips:  # the shipped client's are not counted
            return Verdict(self, None, False)
        try:
            measured = row.statistic(self.statistic, elapsed_s)
        except ValueError:
            return Verdict(self, None, False)
        return Verdict(self, measured, _OPERATORS[self.operator](measured, self.limit))


@dataclass(frozen=True)
class Verdict:
    """An objective, and what was measured; None: there were no samples."""

    slo: Slo
    measured: float | None
    ok: bool


#: What holds for every session.
BASE = (Slo("*", "count", ">", 0), Slo("*", "failures", "<=", 0))


def parse_all(texts: Iterable[str]) -> list[Slo]:
    """Several, each text with one or more, separated by semicolons or commas."""
    texts = [texts] if isinstance(texts, str) else texts
    parts = [part for text in texts for part in re.split("[;,]", text) if part.strip()]
    return [Slo.parse(part) for part in parts]


def asked_for(texts: Iterable[str]) -> list[Slo]:
    """Those of the environment, and after them those of the command line."""
    return parse_all([os.environ.get(VARIABLE, ""), *texts])


def effective(*layers: Iterable[Slo]) -> list[Slo]:
    """All of them; of several for the same statistic of a row, that of the last layer counts."""
    chosen: dict[tuple[str, str], Slo] = {}
    for layer in layers:
        chosen.update({(slo.row, slo.statistic): slo for slo in layer})
    return list(chosen.values())
