"""A judgement for programs: JSON, and JUnit's XML."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree as ET

from cidx_ref.testing.promises.findings import Finding, Measured, Verdict
from cidx_ref.testing.promises.judgement import Judgement, Row
from cidx_ref.testing.promises.wording import one_line, printable

__all__ = ["as_json", "as_junit"]


def as_json(judgement: Judgement) -> str:
    """One object; its `promises` have the verdict, and all findings that led to it."""
    document = {
        "kit": judgement.version,
        "target": judgement.target,
        "date": judgement.began.astimezone().isoformat(timespec="seconds"),
        "machine": judgement.machine,
        "seconds": round(judgement.seconds, 3),
        "seed": judgement.seed,
        "deep": judgement.deep,
        "interrupted": judgement.interrupted,
        "status": judgement.status,
        "sentence": judgement.sentence,
        "counts": {str(verdict): count for verdict, count in judgement.counts.items()},
        "stale_excuses": list(judgement.stale),
        "promises": [
            {"id": row.id, "promise": row.text, "verdict": str(row.verdict)}
            | {"findings": [_finding(finding) for finding in row.findings]}
            for row in judgement.rows
        ],
        "only_deep": list(judgement.only_deep),
        "unchecked": judgement.unchecked,
    }
    return json.dumps(document, indent=2) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "verdict": str(finding.verdict),
        "words": finding.words,
        "figures": [_figure(figure) for figure in finding.figures],
        "tried": dict(finding.tried),
        "trace": finding.trace,
        "replay": finding.replay,
        "seconds": round(finding.seconds, 3),
        "unfinished": finding.unfinished,
    }


def _figure(figure: Measured) -> dict[str, Any]:
    # JSON has no infinity, and no value that is none.
    value = figure.value if math.isfinite(figure.value) else None
    return {"name": figure.name, "value": value, "unit": figure.unit, "limit": figure.limit}


#: How JUnit calls what is not kept.
_ELEMENTS = {
    Verdict.BROKEN: "failure",
    Verdict.NOT_TRIED: "error",
    Verdict.EXCUSED: "skipped",
    Verdict.NOT_OFFERED: "skipped",
}


def as_junit(judgement: Judgement) -> str:
    """One test suite, with a test case for each promise."""
    rows = judgement.rows
    kinds = [_ELEMENTS.get(row.verdict, "") for row in rows]
    counts = {
        "tests": str(len(rows)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": f"{judgement.seconds:.3f}",
    }
    root = ET.Element("testsuites", {"name": "promises", **counts})
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": printable(judgement.target),
            **counts,
            "timestamp": judgement.began.isoformat(timespec="seconds"),
        },
    )
    for row in rows:
        _case(suite, row, judgement.target)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _case(suite: ET.Element, row: Row, target: str) -> None:
    finding = row.finding
    seconds = max(found.seconds for found in row.findings)
    case = ET.SubElement(
        suite,
        "testcase",
        {"classname": printable(target), "name": printable(row.id), "time": f"{seconds:.3f}"},
    )
    figures = [figure for found in row.findings for figure in found.figures]
    if figures:
        properties = ET.SubElement(case, "properties")
        for figure in figures:
            value = f"{figure.value} {figure.unit}".rstrip()
            attributes = {"name": printable(figure.name), "value": printable(value)}
            ET.SubElement(properties, "property", attributes)
    if kind := _ELEMENTS.get(row.verdict):
        told = ET.SubElement(case, kind, {"message": one_line(row.words)})
        if kind != "skipped":
            told.set("type", str(row.verdict))
            parts = (row.text, finding.trace, *map(one_line, row.beside), finding.replay)
            told.text = printable("\n".join(filter(None, parts)))
    elif row.text:
        said = [f"{row.text}: {one_line(row.words)}", *map(one_line, row.beside)]
        ET.SubElement(case, "system-out").text = printable("\n".join(said))
