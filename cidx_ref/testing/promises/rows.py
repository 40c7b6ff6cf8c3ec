"""What tests showed of each promise, as rows: of one run, or of several that become one table.

Here belong the report's files, in which nothing is lost that a run did not know of: promises of
another project keep their rows.  Who fills the rows is in `report`.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cidx_ref.testing.promises.registry import PROMISES

__all__ = [
    "BROKEN",
    "NOT_SHOWN",
    "SHOWN",
    "Figure",
    "ReportError",
    "Row",
    "merge",
    "read",
    "summary",
    "table",
    "write",
]

SHOWN, BROKEN, NOT_SHOWN = "shown", "BROKEN", "not shown"


class ReportError(ValueError):
    """A file that is no report; the message names it."""


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, int) else f"{self.value:.6g}"
        return f"{self.name}: {value} {self.unit}".rstrip()


@dataclass(frozen=True)
class Row:
    """All about one promise; its fields are the keys of the JSON report."""

    id: str
    promise: str
    tests: list[str]
    verdict: str
    figures: list[Figure]
    #: How many schedules, examples and so on were tried.
    tried: dict[str, int]
    #: The mutants, and whether each was killed.
    mutants: dict[str, bool]
    #: What all its tests took.
    seconds: float


def summary(rows: Sequence[Row]) -> str:
    count = Counter(row.verdict for row in rows)
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in (SHOWN, BROKEN, NOT_SHOWN))


def table(rows: Sequence[Row], width: int) -> Iterator[tuple[str, bool]]:
    """Lines for a terminal, and whether each is about a promise that is broken: of a promise one,
    one more for what was tried, and one for each figure."""
    indent = max((len(row.id) for row in rows), default=0) + 2

    def line(id_: str, promise: str, tests: str, time: str, mutants: str, verdict: str) -> str:
        tail = f"  {tests:>5}  {time:>7}  {mutants:>7}  {verdict:<{len(NOT_SHOWN)}}"
        # The last column stays free: some terminals break a line that fills it.
        room = max(width - indent - len(tail) - 1, 10)
        return f"{id_:<{indent}}{_cut(promise, room):<{room}}{tail}".rstrip()

    yield line("", "promise", "tests", "time", "mutants", ""), False
    for row in rows:
        tests, seconds = str(len(row.tests)), f"{row.seconds:.1f} s"
        is_broken = row.verdict == BROKEN
        yield line(row.id, row.promise, tests, seconds, _killed(row), row.verdict), is_broken
        for noted in filter(None, (_tried(row), *map(str, row.figures))):
            yield f"{'':<{indent}}{noted}", is_broken


def _killed(row: Row) -> str:
    """Mutants killed and planted."""
    return f"{sum(row.mutants.values())}/{len(row.mutants)}" if row.mutants else ""


def _tried(row: Row) -> str:
    counts = ", ".join(f"{count:,} {unit}" for unit, count in sorted(row.tried.items()))
    return f"tried: {counts}" if counts else ""


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 3] + "..."


def write(base: Path, rows: Sequence[Row]) -> None:
    """Write `base`.json and `base`.md, each whole or not at all."""
    document = {"python": platform.python_version(), "promises": [asdict(row) for row in rows]}
    for suffix, text in (
        (".json", json.dumps(document, indent=2, ensure_ascii=False) + "\n"),
        (".md", _markdown(rows)),
    ):
        # Not `with_suffix`, which would take "v1.2" for "v1" and a suffix.
        path = base.with_name(base.name + suffix)
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def read(path: Path) -> dict[str, Row]:
    """The rows of a report, by id.  Raises `ReportError`."""
    try:
        rows = json.loads(path.read_bytes())["promises"]
        return {
            row["id"]: Row(**{**row, "figures": [Figure(**figure) for figure in row["figures"]]})
            for row in rows
        }
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, LookupError) as error:
        why = " ".join(str(error).split())
        raise ReportError(
            f"{path}: no report of promises ({type(error).__name__}: {why})"
        ) from None


def merge(reports: Sequence[Mapping[str, Row]]) -> list[Row]:
    """One row for each promise of the kit, and for each other one that a report has.

    BROKEN if it was in any, shown if it was in one.  What was measured and tried is the last
    report's that has some.
    """
    others = {id_: row.promise for report in reports for id_, row in report.items()}
    merged = []
    for id_, promise in {**PROMISES, **others}.items():
        rows = [report[id_] for report in reports if id_ in report]
        verdicts = {row.verdict for row in rows}
        best = next((v for v in (BROKEN, SHOWN) if v in verdicts), NOT_SHOWN)
        tests = sorted({test for row in rows for test in row.tests})
        figures = next((row.figures for row in reversed(rows) if row.figures), [])
        tried = next((row.tried for row in reversed(rows) if row.tried), {})
        # One that survived in any run is on the loose.
        planted = [(name, killed) for row in rows for name, killed in row.mutants.items()]
        mutants = {name: (name, False) not in planted for name, _ in planted}
        seconds = max((row.seconds for row in rows), default=0.0)
        merged.append(Row(id_, promise, tests, best, figures, tried, mutants, seconds))
    return merged


def _markdown(rows: Sequence[Row]) -> str:
    lines = [
        f"Python {platform.python_version()}: {summary(rows)}",
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
