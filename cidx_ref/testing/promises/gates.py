"""Gates and aims: what is measured, what it is held against, and the tables at the end.

A pytest plugin, with the fixtures `gate` and `aim`.

A *gate* is a promise: p95 of many calls below a limit, in the second attempt at the latest, because
the machine is shared.  An *aim* is where this project wants to be, measured against its own floor
in the same run; one that is missed is listed, and fails nothing.

    pytest -p cidx_ref.testing.promises.gates benchmarks --gate=warn --gate-scale=2

`reports/bench.json` has the raw data, `reports/*.svg` the histograms.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from cidx_ref.testing.promises import charts
from cidx_ref.testing.promises.latency import Gate, NothingMeasuredError, measured
from cidx_ref.testing.promises.report import RecordFigure

__all__ = ["BudgetWarning", "CheckGate", "RecordAim", "Results", "aim", "gate", "results"]

#: Below this nobody notices anything; above it, something has become slower than it need be.
SOFT_MS = 5.0


class BudgetWarning(UserWarning):
    """Something is slower than it need be, or a gate was missed where that only warns."""


@dataclass
class Aim:
    name: str
    value: float
    #: None: nothing is aimed at, and the figure is only shown.
    limit: float | None
    unit: str
    at_least: bool

    @property
    def missed(self) -> bool:
        if self.limit is None:
            return False
        return self.value < self.limit if self.at_least else self.value > self.limit

    def row(self) -> str:
        aim = "" if self.limit is None else f"{'>=' if self.at_least else '<='} {self.limit:g}"
        verdict = "MISSED" if self.missed else ""
        return f"{self.name:<56} {self.value:>10.4g} {self.unit:<9} {aim:>9} {verdict:>7}".rstrip()


@dataclass
class Results:
    gates: list[Gate] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    #: Whatever else belongs into the JSON file.
    notes: dict[str, Any] = field(default_factory=dict)
    #: SVG documents, by the name of their file.
    charts: dict[str, str] = field(default_factory=dict)


_RESULTS = pytest.StashKey[Results]()


class CheckGate(Protocol):
    def __call__(
        self,
        promise: str,
        name: str,
        measure: Callable[[], list[float]],
        limit_ms: float,
        attempts: int = 2,
    ) -> None: ...


class RecordAim(Protocol):
    def __call__(
        self,
        name: str,
        value: float,
        limit: float | None = None,
        unit: str = "",
        *,
        at_least: bool = False,
    ) -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gates")
    group.addoption(
        "--gate",
        choices=("fail", "warn", "off"),
        default="fail",
        help="what a missed gate does (default: fail)",
    )
    group.addoption(
        "--gate-scale",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply every limit, for a machine that is known to be slow",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Said, and nothing more, also where warnings are errors.
    config.addinivalue_line("filterwarnings", f"default::{__name__}.{BudgetWarning.__name__}")
    config.stash[_RESULTS] = Results()


@pytest.fixture
def results(pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash[_RESULTS]


@pytest.fixture
def gate(pytestconfig: pytest.Config, results: Results, figure: RecordFigure) -> CheckGate:
    """`gate("PERF-1", "semantic", measure, 100)`: `measure()` returns milliseconds, by call."""
    mode = pytestconfig.getoption("gate")
    scale = pytestconfig.getoption("gate_scale")

    def check(
        promise: str,
        name: str,
        measure: Callable[[], list[float]],
        limit_ms: float,
        attempts: int = 2,
    ) -> None:
        try:
            found = measured(name, measure, limit_ms * scale, attempts)
        except NothingMeasuredError as error:
            pytest.fail(str(error), pytrace=False)
        results.gates.append(found)
        figure(promise, f"{name}, p95", round(found.p95_ms, 2), unit="ms")
        if SOFT_MS * scale <= found.p95_ms and found.is_met:
            soft = f"{name}: p95 {found.p95_ms:.2f} ms, above {SOFT_MS * scale:g} ms"
            warnings.warn(soft, BudgetWarning, stacklevel=2)
        if not found.is_met and mode != "off":
            _miss(f"{promise}: the gate is missed: {name}: {found.words}", mode)

    return check


def _miss(message: str, mode: str) -> None:
    if mode == "warn":
        warnings.warn(message, BudgetWarning, stacklevel=3)
    else:
        pytest.fail(message, pytrace=False)


@pytest.fixture
def aim(results: Results) -> RecordAim:
    """`aim("fts, ours / bare", 1.18, 1.25)`: at most so much, or with `at_least` no less."""

    def record(
        name: str,
        value: float,
        limit: float | None = None,
        unit: str = "",
        *,
        at_least: bool = False,
    ) -> None:
        results.aims.append(Aim(name, value, limit, unit, at_least))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    results = terminalreporter.config.stash[_RESULTS]
    if results.gates:
        terminalreporter.section("gates")
        head = f"{'':<44} {'gate':>7} {'p50':>8} {'p95':>8} {'p99':>8} {'headroom':>9}"
        terminalreporter.write_line(f"{head}   (ms)")
        for gate in results.gates:
            terminalreporter.write_line(gate.row())
    if results.aims:
        terminalreporter.section("aims")
        for aim in results.aims:
            terminalreporter.write_line(aim.row(), yellow=aim.missed)
    if results.gates or results.aims:
        _write(terminalreporter.config.rootpath / "reports", results)


def _write(directory: Path, results: Results) -> None:
    directory.mkdir(exist_ok=True)
    document = {
        "gates": [vars(gate) for gate in results.gates],
        "aims": [{**vars(aim), "missed": aim.missed} for aim in results.aims],
        **results.notes,
    }
    (directory / "bench.json").write_text(json.dumps(document, indent=1))
    drawn = {g.name: charts.histogram(g.name, g.times, "ms") for g in results.gates}
    for name, chart in {**drawn, **results.charts}.items():
        file = "".join(c if c.isalnum() else "-" for c in name)
        (directory / f"{file}.svg").write_text(chart)
