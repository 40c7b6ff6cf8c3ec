"""What a test run showed of each promise: the marker, the fixture and the report.

Here belongs the pytest plugin that turns outcomes of tests into verdicts on promises; the
promises themselves are in `promises`, and what a test needs besides is in its own module.

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

import json
import math
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Protocol, cast

import pytest

from cidx_ref.testing.promises.registry import PROMISES

__all__ = ["RecordFigure", "RecordMutant", "RecordTried", "figure", "planted", "tried"]

# Properties of a report are what pytest-xdist carries from a worker to the controller.
_PROMISE = "cidx_promise"
_FIGURE = "cidx_figure"
_TRIED = "cidx_tried"
_PLANTED = "cidx_planted"
_REFUSED = "cidx_refused"

_SHOWN, _BROKEN, _NOT_SHOWN = "shown", "BROKEN", "not shown"


class RecordFigure(Protocol):
    """The type of the fixture `figure`."""

    def __call__(self, promise: str, name: str, value: float, unit: str = "") -> None: ...


class RecordTried(Protocol):
    """The type of the fixture `tried`."""

    def __call__(self, promise: str, count: int, unit: str) -> None: ...


class RecordMutant(Protocol):
    """The type of the fixture `planted`."""

    def __call__(self, promise: str, mutant: str, *, killed: bool) -> None: ...


@dataclass(frozen=True)
class _Figure:
    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, int) else f"{self.value:.6g}"
        return f"{self.name}: {value} {self.unit}".rstrip()


@dataclass(frozen=True)
class _Row:
    """All about one promise; its fields are the keys of the JSON report."""

    id: str
    promise: str
    tests: list[str]
    verdict: str
    figures: list[_Figure]
    #: How many schedules, examples and so on were tried.
    tried: dict[str, int]
    #: The mutants, and whether each was killed.
    mutants: dict[str, bool]
    #: What all its tests took.
    seconds: float


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

    def __init__(self, base: Path | None, table: bool) -> None:
        self.base = base
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
            _write(self.base, self.rows())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        rows = self.rows()
        if self.table:
            terminalreporter.section("promises")
            width = terminalreporter.config.get_terminal_writer().fullwidth
            terminalreporter.write_line(_header(width))
            for row in rows:
                for line in _lines(row, width):
                    terminalreporter.write_line(line, red=row.verdict == _BROKEN)
        terminalreporter.write_line(f"promises: {_summary(rows)}")

    def rows(self) -> list[_Row]:
        executed = {nodeid: test for nodeid, test in self.tests.items() if test.outcomes}
        return [_row(id_, executed) for id_ in PROMISES]


def main(arguments: Sequence[str]) -> int:
    """Merge the reports NAME-*.json into NAME.json and NAME.md, NAME being the one argument, print
    the table, and remove what was merged, so that no later table shows it again.

    Of each promise: BROKEN if it was in any, shown if it was in one.  What was measured and tried
    is the last report's that has some.  Returns 1 if any promise is broken.
    """
    base = Path(arguments[0])
    paths = sorted(base.parent.glob(f"{base.name}-*.json"))
    rows = _merge([_read(path) for path in paths])
    _write(base, rows)
    for path in paths:
        path.unlink()
        path.with_suffix(".md").unlink(missing_ok=True)
    width = get_terminal_size().columns
    print(_header(width))
    print("\n".join(line for row in rows for line in _lines(row, width)))
    print(f"promises: {_summary(rows)}")
    return int(any(row.verdict == _BROKEN for row in rows))


def pytest_addoption(parser: pytest.Parser) -> None:
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
    if hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    base = _base(config)
    table = bool(base or config.getoption("cidx_table"))
    config.pluginmanager.register(_Ledger(base, table), "cidx-promises")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    try:
        for item in items:
            item.user_properties.extend((_PROMISE, id_) for id_ in _ids(item))
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
        _record(item, _FIGURE, promise, name, number, unit)

    return record


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> RecordTried:
    """Records how much was tried for one of the promises the test is marked with.

    `tried("CACHE-1", 374, "schedules")`; counts of one unit are added up.
    """

    def record(promise: str, count: int, unit: str) -> None:
        _record(request.node, _TRIED, promise, int(count), unit)

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
    if promise not in _ids(item):
        raise pytest.UsageError(f"a figure for {promise!r}, which {item.nodeid} does not show")
    item.user_properties.append((key, (promise, *values)))


def _ids(item: pytest.Item) -> list[str]:
    """The promises `item` is marked with, by itself, its class or its module; each once."""
    ids = dict.fromkeys(id_ for mark in item.iter_markers("promise") for id_ in mark.args)
    for id_ in ids:
        if id_ not in PROMISES:
            raise pytest.UsageError(f"unknown promise {id_!r} at {item.nodeid}")
    return list(ids)


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


def _row(id_: str, executed: dict[str, _Test]) -> _Row:
    tests = {nodeid: test for nodeid, test in sorted(executed.items()) if test.shows(id_)}

    def recorded(key: str) -> Iterator[Any]:
        return (values for test in tests.values() for values in test.recorded(key, id_))

    counts: Counter[str] = Counter()
    for count, unit in recorded(_TRIED):
        counts[unit] += count
    return _Row(
        id=id_,
        promise=PROMISES[id_],
        tests=list(tests),
        verdict=_verdict(set().union(*(test.outcomes for test in tests.values()))),
        figures=[_Figure(*values) for values in recorded(_FIGURE)],
        tried=dict(counts),
        mutants=dict(recorded(_PLANTED)),
        seconds=round(sum(test.seconds for test in tests.values()), 3),
    )


def _verdict(outcomes: set[str]) -> str:
    if "failed" in outcomes:
        return _BROKEN
    return _SHOWN if outcomes == {"passed"} else _NOT_SHOWN


def _summary(rows: Sequence[_Row]) -> str:
    count = Counter(row.verdict for row in rows)
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in (_SHOWN, _BROKEN, _NOT_SHOWN))


_INDENT = max(map(len, PROMISES)) + 2


def _header(width: int) -> str:
    return _line(width, "", "promise", "tests", "time", "mutants", "")


def _lines(row: _Row, width: int) -> Iterator[str]:
    """`row` for a terminal: one line, one more for what was tried, and one for each figure."""
    tests, seconds = str(len(row.tests)), f"{row.seconds:.1f} s"
    yield _line(width, row.id, row.promise, tests, seconds, _killed(row), row.verdict)
    for noted in filter(None, (_tried(row), *map(str, row.figures))):
        yield f"{'':<{_INDENT}}{noted}"


def _line(
    width: int, id_: str, promise: str, tests: str, time: str, mutants: str, verdict: str
) -> str:
    tail = f"  {tests:>5}  {time:>7}  {mutants:>7}  {verdict:<{len(_NOT_SHOWN)}}"
    # The last column stays free: some terminals break a line that fills it.
    room = max(width - _INDENT - len(tail) - 1, 10)
    return f"{id_:<{_INDENT}}{_cut(promise, room):<{room}}{tail}".rstrip()


def _killed(row: _Row) -> str:
    """Mutants killed and planted."""
    return f"{sum(row.mutants.values())}/{len(row.mutants)}" if row.mutants else ""


def _tried(row: _Row) -> str:
    counts = ", ".join(f"{count:,} {unit}" for unit, count in sorted(row.tried.items()))
    return f"tried: {counts}" if counts else ""


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 3] + "..."


def _write(base: Path, rows: Sequence[_Row]) -> None:
    document = {"python": platform.python_version(), "promises": [asdict(row) for row in rows]}
    for suffix, text in (
        (".json", json.dumps(document, indent=2, ensure_ascii=False) + "\n"),
        (".md", _markdown(rows)),
    ):
        # Not `with_suffix`, which would take "v1.2" for "v1" and a suffix.
        base.with_name(base.name + suffix).write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, _Row]:
    rows = json.loads(path.read_bytes())["promises"]
    return {
        row["id"]: _Row(**{**row, "figures": [_Figure(**figure) for figure in row["figures"]]})
        for row in rows
    }


def _merge(reports: Sequence[dict[str, _Row]]) -> list[_Row]:
    merged = []
    for id_, promise in PROMISES.items():
        rows = [report[id_] for report in reports if id_ in report]
        verdicts = {row.verdict for row in rows}
        best = next((v for v in (_BROKEN, _SHOWN) if v in verdicts), _NOT_SHOWN)
        tests = sorted({test for row in rows for test in row.tests})
        figures = next((row.figures for row in reversed(rows) if row.figures), [])
        tried = next((row.tried for row in reversed(rows) if row.tried), {})
        # One that survived in any run is on the loose.
        planted = [(name, killed) for row in rows for name, killed in row.mutants.items()]
        mutants = {name: (name, False) not in planted for name, _ in planted}
        seconds = max((row.seconds for row in rows), default=0.0)
        merged.append(_Row(id_, promise, tests, best, figures, tried, mutants, seconds))
    return merged


def _markdown(rows: Sequence[_Row]) -> str:
    lines = [
        f"Python {platform.python_version()}: {_summary(rows)}",
        "",
        "| id | promise | tests | seconds | mutants killed | verdict | tried, and measured |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        noted = "; ".join(filter(None, (_tried(row), *map(str, row.figures))))
        tests, seconds = str(len(row.tests)), f"{row.seconds:.1f}"
        cells = (row.id, row.promise, tests, seconds, _killed(row), row.verdict, noted)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """`text` on one line, its bars escaped."""
    return " ".join(text.replace("|", r"\|").split())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
