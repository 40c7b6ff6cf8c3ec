"""Latency gates: a limit on the p95 of many calls, and what is said of it.

    finding = check_gate("PERF-2", "full text", lambda: [took_ms(ask) for _ in range(200)], 20.0)
    print(finding.words)    # kept: p95 3.2 ms of 200 calls, and the target is below 20 ms: ...

Without pytest; `gates` is the plugin that makes a fixture of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cidx_ref.testing.figures import percentile
from cidx_ref.testing.promises.findings import Finding, Measured, Verdict

__all__ = ["FEWEST", "Gate", "NothingMeasuredError", "check_gate", "measured"]

#: With fewer calls the p95 is the slowest of them.
FEWEST = 20


class NothingMeasuredError(ValueError):
    """What was measured is no list of times."""


@dataclass
class Gate:
    """A target, and the milliseconds that calls took."""

    name: str
    limit_ms: float
    times: list[float]

    def __post_init__(self) -> None:
        """Raises `NothingMeasuredError`."""
        self.times = list(self.times)
        if not self.times:
            raise NothingMeasuredError(f"{self.name}: nothing was measured: there is no sample")
        for value in self.times:
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise NothingMeasuredError(f"{self.name}: {value!r} is no time in milliseconds")

    def at(self, percent: float) -> float:
        return percentile(self.times, percent)

    @property
    def p95_ms(self) -> float:
        return self.at(95)

    @property
    def is_met(self) -> bool:
        return self.p95_ms < self.limit_ms

    @property
    def headroom(self) -> str:
        """How far from the target, in words."""
        p95_ms, limit_ms = self.p95_ms, self.limit_ms
        if not self.is_met:
            over_ms = p95_ms - limit_ms
            return f"{_ms(over_ms)} too much ({p95_ms / limit_ms:.3g} times the target)"
        if not p95_ms:
            return "too quick to be measured"
        return f"headroom {_ms(limit_ms - p95_ms)} ({limit_ms / p95_ms:.3g} times as quick)"

    @property
    def words(self) -> str:
        """Target, what was measured, and the headroom."""
        count = len(self.times)
        calls = f"{count} call{'' if count == 1 else 's'}"
        found = f"p95 {_ms(self.p95_ms)} of {calls}"
        if count < FEWEST:
            found = f"the slowest of {calls} {_ms(self.p95_ms)} (a p95 takes {FEWEST})"
        return f"{found}, and the target is below {_ms(self.limit_ms)}: {self.headroom}"

    def row(self) -> str:
        """A line of a table: target, p50, p95, p99, headroom."""
        p50, p95, p99 = (self.at(n) for n in (50, 95, 99))
        headroom = f"{self.limit_ms / (p95 or 1e-9):.0f}x" if self.is_met else "MISSED"
        figures = f"{self.limit_ms:>7.0f} {p50:>8.2f} {p95:>8.2f} {p99:>8.2f}"
        return f"{self.name:<44} {figures} {headroom:>9}"


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def measured(
    name: str, measure: Callable[[], Sequence[float]], limit_ms: float, attempts: int = 2
) -> Gate:
    """The first attempt that met the target, or else the last: the machine may be shared.

    `measure()` returns milliseconds, by call.  Raises `NothingMeasuredError`.
    """
    found = Gate(name, limit_ms, list(measure()))
    for _ in range(attempts - 1):
        if not found.is_met:
            found = Gate(name, limit_ms, list(measure()))
    return found


def check_gate(
    promise: str,
    name: str,
    measure: Callable[[], Sequence[float]],
    limit_ms: float,
    *,
    attempts: int = 2,
) -> Finding:
    """What a gate shows of a promise; nothing that was measured is nothing that was tried."""
    try:
        gate = measured(name, measure, limit_ms, attempts)
    except NothingMeasuredError as error:
        return Finding(promise, Verdict.NOT_TRIED, str(error), name)
    figure = Measured(f"{name}, p95", round(gate.p95_ms, 3), "ms", limit_ms)
    verdict = Verdict.KEPT if gate.is_met else Verdict.BROKEN
    return Finding(promise, verdict, f"{name}: {gate.words}", name, (figure,))
