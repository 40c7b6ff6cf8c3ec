"""What a session found, as a table, as JSON, and as a part of locust's report."""

from __future__ import annotations

import html
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cidx_ref.testing.load.samples import ALL, Row, Samples
from cidx_ref.testing.load.slo import Verdict

__all__ = [
    "append_to_html",
    "check_place",
    "measured",
    "save",
    "save_not_offered",
    "summary",
    "table",
    "with_table",
]

_STATISTICS = ("p50", "p95", "p99", "max")


def summary(
    scenario: type,
    samples: Samples,
    verdicts: Sequence[Verdict],
    elapsed_s: float,
    *,
    cpu: Mapping[str, float],
    warnings: Sequence[str],
    growth: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole outcome as plain data; times in milliseconds."""
    total = samples.row(ALL)
    assert total is not None
    rows = {**{name: samples.rows[name] for name in sorted(samples.rows)}, "all calls": total}
    return {
        "scenario": scenario.__name__,
        "description": inspect.cleandoc(scenario.__doc__ or ""),
        "passed": bool(verdicts) and all(verdict.ok for verdict in verdicts),
        "elapsed_s": round(elapsed_s, 3),
        "rows": {name: _row(row, elapsed_s) for name, row in rows.items()},
        "failures": {
            name: dict(row.failures) for name, row in samples.rows.items() if row.failures
        },
        "objectives": [
            {"slo": str(verdict.slo), "measured": verdict.measured, "ok": verdict.ok}
            for verdict in verdicts
        ],
        "locust_cpu": dict(cpu),
        "warnings": list(warnings),
        "growth": dict(growth),
    }


def _row(row: Row, elapsed_s: float) -> dict[str, float | None]:
    def at(name: str) -> float | None:
        return round(row.statistic(name, max(elapsed_s, 1e-9)), 3) if row.values else None

    found: dict[str, float | None] = {name: at(name) for name in _STATISTICS}
    size = row.size_bytes / len(row.values) if row.values else 0.0
    counts = {"count": len(row.values), "failures": row.failed, "trips": row.trips}
    return {**counts, "rps": at("rps"), **found, "mean_bytes": round(size)}


def table(found: Mapping[str, Any]) -> str:
    """The outcome for people to read."""
    heading = f"{'row':<24}{'calls':>8}{'failed':>7}{'/s':>8}"
    heading += "".join(f"{name:>9}" for name in _STATISTICS) + f"{'bytes':>8}"
    lines = [f"{found['scenario']}, {found['elapsed_s']:.1f} s (times in ms)", heading]
    for name, row in found["rows"].items():
        line = f"{name:<24}{row['count']:>8}{row['failures']:>7}{_cell(row['rps']):>8}"
        line += "".join(f"{_cell(row[key]):>9}" for key in _STATISTICS)
        lines.append(line + f"{row['mean_bytes']:>8}")
    for name, failures in found["failures"].items():
        for message, times in list(failures.items())[:5]:
            lines.append(f"  {times} x {name}: {message[:150]}")
    shares = ", ".join(f"{who} {share:.0%}" for who, share in found["locust_cpu"].items())
    lines.append(f"locust's share of a processor: {shares}")
    lines += [f"{name}: {_grown(found['growth'][name])}" for name in _watched(found["growth"])]
    lines += [f"WARNING: {warning}" for warning in found["warnings"]]
    lines += [_objective(each) for each in found["objectives"]]
    lines.append(f"{found['scenario']}: {'passed' if found['passed'] else 'FAILED'}")
    return "\n".join(lines)


def _objective(each: Mapping[str, Any]) -> str:
    verdict = "ok  " if each["ok"] else "FAIL"
    return f"{verdict}  {each['slo']:<36}{measured(each['measured'])}"


def measured(value: float | None) -> str:
    """What an objective was judged on."""
    return "no samples" if value is None else f"{value:.4g}"


def _watched(growth: Mapping[str, Any]) -> list[str]:
    return [name for name in ("rss_kb", "threads", "descriptors") if name in growth]


def _grown(line: Mapping[str, Any]) -> str:
    text = f"{line['first']:g} -> {line['last']:g}"
    if line["per_1000_calls"] is None:
        return text
    return f"{text}, {line['per_1000_calls']:+g} +- {line['error']:g} per 1000 calls"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def check_place(path: str) -> None:
    """Raises `OSError` if `save` could not write there."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if Path(path).is_dir() or not os.access(Path(path).parent, os.W_OK):
            raise OSError(f"{path}: cannot be written")


def save(found: Mapping[str, Any], path: str) -> None:
    """As JSON; nothing without a path."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def save_not_offered(scenario: str, words: str, path: str) -> None:
    """Of a session that was not run, why."""
    save({"scenario": scenario, "not_offered": words.removeprefix(f"{scenario}: ")}, path)


def append_to_html(path: Path, found: Mapping[str, Any]) -> None:
    """Put the table under locust's charts, in the report it has written."""
    if path.is_file():
        path.write_text(with_table(path.read_text("utf-8"), found), "utf-8")


def with_table(page: str, found: Mapping[str, Any]) -> str:
    """A page of HTML, and at its end what the scenario shows, and the table."""
    block = f"<pre style='margin:2em'>{html.escape(found['description'])}\n\n"
    block += f"{html.escape(table(found))}</pre>"
    head, end, tail = page.rpartition("</body>")
    return f"{head}{block}{end}{tail}" if end else page + block
