"""What a test run showed of each promise: the marker, the fixture and the report.

Here belongs the pytest plugin that turns outcomes of tests into verdicts on promises; the
promises themselves are in `promises`, and what a test needs besides is in its own module.

    pytest -p cidx_ref.testing.report --cidx-report=reports/promises

Several runs (of several interpreters) become one table with

    python -m cidx_ref.testing.report reports/promises

A test says what it shows with `@pytest.mark.promise("CACHE-1")`, and may record what it measured
with the fixture `figure`.  Only tests that were executed count, so a skipped one shows nothing:

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

from cidx_ref.testing.promises import PROMISES

__all__ = ["RecordFigure", "figure"]

# Properties of a report are what pytest-xdist carries from a worker to the controller.
_PROMISE = "cidx_promise"
_FIGURE = "cidx_figure"
_REFUSED = "cidx_refused"

_SHOWN, _BROKEN, _NOT_SHOWN = "shown", "BROKEN", "not shown"


class RecordFigure(Protocol):
    """The type of the fixture `figure`."""

    def __call__(self, promise: str, name: str, value: float, unit: str = "") -> None: ...


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


@dataclass
class _Test:
    """What the reports on one test, one for each phase, said in sum."""

    outcomes: set[str] = field(default_factory=set)
    properties: list[tuple[str, object]] = field(default_factory=list)

    def add(self, report: pytest.TestReport) -> None:
        outcome = _outcome(report)
        if outcome:
            self.outcomes.add(outcome)
        # Each phase repeats the properties of the one before; the report on a crashed worker
        # has none.
        self.properties = report.user_properties or self.properties

    def shows(self, promise: str) -> bool:
        return (_PROMISE, promise) in self.properties

    def figures(self, promise: str) -> Iterator[_Figure]:
        for key, value in self.properties:
            if key == _FIGURE:
                of, name, number, unit = cast("tuple[str, str, float, str]", value)
                if of == promise:
                    yield _Figure(name, number, unit)


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

    Of each promise: BROKEN if it was in any, shown if it was in one.  Figures are the last
    report's that has some.  Returns 1 if any promise is broken.
    """
    base = Path(arguments[0])
    paths = sorted(base.parent.glob(f"{base.name}-*.json"))
    rows = _merge([_read(path) for path in paths])
    _write(base, rows)
    for path in paths:
        path.unlink()
        path.with_suffix(".md").unlink(missing_ok=True)
    width = get_terminal_size().columns
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
        if promise not in _ids(item):
            raise pytest.UsageError(f"a figure for {promise!r}, which {item.nodeid} does not show")
        if not math.isfinite(value):
            raise pytest.UsageError(f"{item.nodeid}: the figure {name!r} is {value}")
        # Numbers of NumPy and the like would not survive the way to the controller.
        number = value if type(value) is int else float(value)
        item.user_properties.append((_FIGURE, (promise, name, number, unit)))

    return record


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
    tests = {nodeid: test for nodeid, test in executed.items() if test.shows(id_)}
    return _Row(
        id=id_,
        promise=PROMISES[id_],
        tests=sorted(tests),
        verdict=_verdict(set().union(*(test.outcomes for test in tests.values()))),
        figures=[figure for _, test in sorted(tests.items()) for figure in test.figures(id_)],
    )


def _verdict(outcomes: set[str]) -> str:
    if "failed" in outcomes:
        return _BROKEN
    return _SHOWN if outcomes == {"passed"} else _NOT_SHOWN


def _summary(rows: Sequence[_Row]) -> str:
    count = Counter(row.verdict for row in rows)
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in (_SHOWN, _BROKEN, _NOT_SHOWN))


def _lines(row: _Row, width: int) -> Iterator[str]:
    """`row` for a terminal: one line, and one more for each figure."""
    indent = max(map(len, PROMISES)) + 2
    tail = f"  {len(row.tests):>4}  {row.verdict:<{len(_NOT_SHOWN)}}"
    # The last column stays free: some terminals break a line that fills it.
    room = max(width - indent - len(tail) - 1, 10)
    yield f"{row.id:<{indent}}{_cut(row.promise, room):<{room}}{tail}".rstrip()
    for measured in row.figures:
        yield f"{'':<{indent}}{measured}"


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
        merged.append(_Row(id_, promise, tests, best, figures))
    return merged


def _markdown(rows: Sequence[_Row]) -> str:
    lines = [
        f"Python {platform.python_version()}: {_summary(rows)}",
        "",
        "| id | promise | tests | verdict | figures |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for row in rows:
        figures = "; ".join(map(str, row.figures))
        cells = (row.id, row.promise, str(len(row.tests)), row.verdict, figures)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """`text` on one line, its bars escaped."""
    return " ".join(text.replace("|", r"\|").split())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
