"""What a test run showed of each promise: the marker, the fixture and the report.

Here belongs the pytest plugin that turns outcomes of tests into verdicts on promises; the
promises themselves are in `registry`, rows and merging in `rows`.

    pytest -p cidx_ref.testing.promises.report --cidx-report=reports/promises

Several runs (of several interpreters) become one table with

    python -m cidx_ref.testing.promises.report reports/promises

A test says what it shows with `@pytest.mark.promise("CACHE-1")`.  It may record what it measured
with the fixture `figure`, how much it tried with `tried`, and what came of a mutant with `planted`.
Only tests that were executed count, so a skipped one shows nothing:

- BROKEN: a test of the promise failed, in its setup or teardown as much as in its body;
- shown: at least one was executed, and all that were passed;
- not shown: anything else.  An expected failure is no proof, and next to one nothing else is.
"""

from __future__ import annotations

import argparse
import glob
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, NoReturn, Protocol, cast

import pytest

from cidx_ref.testing.plugin import add_promise_options, plug_in
from cidx_ref.testing.promises.picking import promises_of, shown_by
from cidx_ref.testing.promises.rows import (
    BROKEN,
    NOT_SHOWN,
    SHOWN,
    Figure,
    ReportError,
    Row,
    merge,
    read,
    summary,
    table,
    write,
)

__all__ = ["RecordFigure", "RecordMutant", "RecordTried", "figure", "planted", "tried"]

# Properties of a report are what pytest-xdist carries from a worker to the controller.
_PROMISE = "cidx_promise"
FIGURE = "cidx_figure"
TRIED = "cidx_tried"
_PLANTED = "cidx_planted"
_REFUSED = "cidx_refused"


class RecordFigure(Protocol):
    """The type of the fixture `figure`."""

    def __call__(self, promise: str, name: str, value: float, unit: str = "") -> None: ...


class RecordTried(Protocol):
    """The type of the fixture `tried`."""

    def __call__(self, promise: str, count: int, unit: str) -> None: ...


class RecordMutant(Protocol):
    """The type of the fixture `planted`."""

    def __call__(self, promise: str, mutant: str, *, killed: bool) -> None: ...


@dataclass
class _Test:
    """What the reports on one test, one for each phase, said in sum."""

    outcomes: set[str] = field(default_factory=set)
    properties: list[tuple[str, object]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, report: pytest.TestReport) -> None:
        outcome = _outcome(report)
        if outcome:
            self.outcomes.add(outcome)
        # Each phase repeats the properties of the one before; the report on a crashed worker
        # has none.
        self.properties = report.user_properties or self.properties
        self.seconds += report.duration

    def shows(self, promise: str) -> bool:
        return (_PROMISE, promise) in self.properties

    def recorded(self, key: str, promise: str) -> Iterator[Any]:
        """What a fixture recorded under `key` for `promise`."""
        for found, value in self.properties:
            if found == key:
                of, *rest = cast("tuple[Any, ...]", value)
                if of == promise:
                    yield rest


class _Ledger:
    """The plugin of the process that reports: the only one, or the controller of pytest-xdist."""

    def __init__(self, base: Path | None, table: bool, promises: Mapping[str, str]) -> None:
        self.base = base
        self.promises = promises
        self.table = table
        self.tests: dict[str, _Test] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests.setdefault(report.nodeid, _Test()).add(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A worker that crashed has no output.
        refused = getattr(node, "workeroutput", {}).get(_REFUSED)
        if refused:
            raise pytest.UsageError(refused)

    def pytest_sessionfinish(self) -> None:
        # Not with the summary, which a run without a terminal reporter does not have.
        if self.base:
            write(self.base, self.rows())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        rows = self.rows()
        if self.table:
            terminalreporter.section("promises")
            width = terminalreporter.config.get_terminal_writer().fullwidth
            for line, is_broken in table(rows, width):
                terminalreporter.write_line(line, red=is_broken)
        terminalreporter.write_line(f"promises: {summary(rows)}")

    def rows(self) -> list[Row]:
        executed = {nodeid: test for nodeid, test in self.tests.items() if test.outcomes}
        return [_row(id_, text, executed) for id_, text in self.promises.items()]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ReportError(f"{message} (see --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge the reports NAME-*.json into NAME.json and NAME.md, and print the table.

    What was merged is removed, so that no later table shows it again.  Returns 1 if any promise is
    broken, and 2, with nothing written or removed, if there is no report or one cannot be read.
    """
    parser = _Parser(
        prog="python -m cidx_ref.testing.promises.report",
        description="Make one table of the reports of several test runs: NAME-*.json become "
        "NAME.json and NAME.md, and are removed.",
        epilog="Exit status: 0; 1 a promise is broken; 2 it could not be done.",
    )
    parser.add_argument("name", metavar="NAME", help="as in --cidx-report=NAME-py312")
    try:
        base = Path(parser.parse_args(arguments).name)
        paths = sorted(base.parent.glob(f"{glob.escape(base.name)}-*.json"))
        if not paths:
            raise ReportError(f"no reports {base}-*.json")
        reports = [read(path) for path in paths]
        rows = merge(reports)
        write(base, rows)
    except ReportError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{parser.prog}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    kept = read(base.with_name(base.name + ".json"))
    for path, report in zip(paths, reports, strict=True):
        if report.keys() <= kept.keys():
            path.unlink()
            path.with_suffix(".md").unlink(missing_ok=True)
    for line, _ in table(rows, get_terminal_size().columns):
        print(line)
    print(f"promises: {summary(rows)}")
    return int(any(row.verdict == BROKEN for row in rows))


def pytest_addoption(parser: pytest.Parser) -> None:
    add_promise_options(parser)
    group = parser.getgroup("cidx", "promises")
    group.addoption(
        "--cidx-report",
        metavar="PATH",
        help="write what was shown of each promise to PATH.json and PATH.md, and print it",
    )
    group.addoption(
        "--cidx-table", action="store_true", help="print what was shown of each promise"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(*ids): this test shows these promises")
    if config.getoption("cidx_promise"):
        plug_in(config, "cidx_ref.testing.promises.picking")
    if hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    base = _base(config)
    table = bool(base or config.getoption("cidx_table"))
    config.pluginmanager.register(_Ledger(base, table, promises_of(config)), "cidx-promises")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    try:
        for item in items:
            item.user_properties.extend((_PROMISE, id_) for id_ in shown_by(item))
    except pytest.UsageError as error:
        output = getattr(config, "workeroutput", None)
        if output is None:
            raise
        # A worker of pytest-xdist cannot refuse for all; it runs nothing and tells the controller.
        output[_REFUSED] = str(error)
        items.clear()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> RecordFigure:
    """Records a measured figure for one of the promises the test is marked with.

    `figure("PERF-1", "p95, 10 readers", 41.5, "ms")`; any number of them for a promise.
    """
    item: pytest.Item = request.node

    def record(promise: str, name: str, value: float, unit: str = "") -> None:
        if not math.isfinite(value):
            raise pytest.UsageError(f"{item.nodeid}: the figure {name!r} is {value}")
        # Numbers of NumPy and the like would not survive the way to the controller.
        number = value if type(value) is int else float(value)
        _record(item, FIGURE, promise, name, number, unit)

    return record


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> RecordTried:
    """Records how much was tried for one of the promises the test is marked with.

    `tried("CACHE-1", 374, "schedules")`; counts of one unit are added up.
    """

    def record(promise: str, count: int, unit: str) -> None:
        _record(request.node, TRIED, promise, int(count), unit)

    return record


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> RecordMutant:
    """Records whether a mutant of one of the promises the test is marked with was killed.

    `planted("CACHE-1", "everybody_loads", killed=True)`.
    """

    def record(promise: str, mutant: str, *, killed: bool) -> None:
        _record(request.node, _PLANTED, promise, mutant, bool(killed))

    return record


def _record(item: pytest.Item, key: str, promise: str, *values: object) -> None:
    if promise not in shown_by(item):
        raise pytest.UsageError(f"a figure for {promise!r}, which {item.nodeid} does not show")
    item.user_properties.append((key, (promise, *values)))


def _base(config: pytest.Config) -> Path | None:
    """Where the report goes, without suffix.  Its directory is made now, or refused early."""
    option = config.getoption("cidx_report")
    if not option:
        return None
    path = Path(option)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--cidx-report={option}: {error.strerror}") from error
    return path.with_suffix("") if path.suffix in {".json", ".md"} else path


def _outcome(report: pytest.TestReport) -> str | None:
    """What `report` adds to the verdict; nothing if the test was skipped or is not done yet."""
    if report.failed:
        return "failed"
    if hasattr(report, "wasxfail"):
        return "xfailed"
    return "passed" if report.passed and report.when == "call" else None


def _row(id_: str, promise: str, executed: dict[str, _Test]) -> Row:
    tests = {nodeid: test for nodeid, test in sorted(executed.items()) if test.shows(id_)}

    def recorded(key: str) -> Iterator[Any]:
        return (values for test in tests.values() for values in test.recorded(key, id_))

    counts: Counter[str] = Counter()
    for count, unit in recorded(TRIED):
        counts[unit] += count
    return Row(
        id=id_,
        promise=promise,
        tests=list(tests),
        verdict=_verdict(set().union(*(test.outcomes for test in tests.values()))),
        figures=[Figure(*values) for values in recorded(FIGURE)],
        tried=dict(counts),
        mutants=dict(recorded(_PLANTED)),
        seconds=round(sum(test.seconds for test in tests.values()), 3),
    )


def _verdict(outcomes: set[str]) -> str:
    if "failed" in outcomes:
        return BROKEN
    return SHOWN if outcomes == {"passed"} else NOT_SHOWN


if __name__ == "__main__":
    raise SystemExit(main())
