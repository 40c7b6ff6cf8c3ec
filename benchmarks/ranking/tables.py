"""What is printed of the marks: means by language and by kind, and how two runs differ.

A mean is over questions, each of which counts alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ranking.questions import KINDS, PARTS

__all__ = ["differences", "means", "table"]

#: One question with its marks, as it stands in the JSON file.
Record = Mapping[str, Any]
Marks = dict[str, float]


def means(records: Iterable[Record], field: str, marks: str = "ndcg") -> dict[str, Marks]:
    """By the value of `field`: of each system that answered all of its questions the mean."""
    groups: defaultdict[str, list[Mapping[str, float]]] = defaultdict(list)
    for record in records:
        groups[record[field]].append(record[marks])
    return {name: _mean(group) for name, group in groups.items()}


def _mean(group: Sequence[Mapping[str, float]]) -> Marks:
    shared = [system for system in group[0] if all(system in marks for marks in group)]
    return {system: sum(marks[system] for marks in group) / len(group) for system in shared}


def table(report: Mapping[str, Any]) -> str:
    """Both halves, as far as they were asked."""
    return "\n".join(line for part in PARTS for line in _part(report, part))


def differences(report: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """How much better `report` is than `before`, on the questions that both have."""
    old = {_key(record): record for record in before["questions"]}
    both = [(record, old[_key(record)]) for record in report["questions"] if _key(record) in old]
    changed = [{**now, "ndcg": _minus(now["ndcg"], then["ndcg"])} for now, then in both]
    lines = []
    for part in PARTS:
        held = [record for record in changed if record["part"] == part]
        if held:
            lines += ["", f"{part}: the difference on {len(held)} questions"]
            lines += _rows(held, ">+10.3f")
    return "\n".join(lines)


def _key(record: Record) -> tuple[str, str]:
    return record["repository"], record["text"]


def _minus(now: Mapping[str, float], then: Mapping[str, float]) -> Marks:
    return {system: now[system] - then[system] for system in now if system in then}


def _part(report: Mapping[str, Any], part: str) -> Iterator[str]:
    records = [record for record in report["questions"] if record["part"] == part]
    held = {name: one for name, one in report["repositories"].items() if one["part"] == part}
    missing = [f"{name}: {one['skipped']}" for name, one in held.items() if "skipped" in one]
    if not held:
        return
    yield ""
    count = len(held) - len(missing)
    yield f"{part}: NDCG@10 by file, {count} of {len(held)} repositories, {len(records)} questions"
    yield from (f"  skipped {line}" for line in missing)
    if not records:
        return
    yield from _rows(records, ">10.3f")
    by_file = means(records, "part", "ndcg_of_files")[part]
    yield _row("all, among files", len(records), by_file, ">10.3f")
    yield from _signals(records)
    for name, one in held.items():
        yield from (f"  not in the index: {name}: {path}" for path in one.get("not_indexed", []))


def _signals(records: Sequence[Record]) -> Iterator[str]:
    """What each signal brings: how much lower the mean is without it."""
    modes = records[0].get("ndcg_without", {})
    if not modes:
        return
    yield ""
    yield f"{'what brings':<18}{'':>10}" + "".join(f"{mode:>10}" for mode in modes)
    for signal in next(iter(modes.values())):
        brought = [
            sum(r["ndcg"][mode] - r["ndcg_without"][mode][signal] for r in records) / len(records)
            for mode in modes
        ]
        yield f"{signal:<18}{'':>10}" + "".join(f"{each:>+10.3f}" for each in brought)


def _rows(records: Sequence[Record], form: str) -> Iterator[str]:
    every = means(records, "part")
    systems = next(iter(every.values()))
    yield f"{'':<18}{'questions':>10}" + "".join(f"{system:>10}" for system in systems)
    languages = means(records, "language")
    kinds = means(records, "kind")
    ordered = {**languages, **{kind: kinds[kind] for kind in KINDS if kind in kinds}}
    for name, marks in ordered.items():
        count = sum(name in (record["language"], record["kind"]) for record in records)
        yield _row(name, count, marks, form)
    for marks in every.values():
        yield _row("all", len(records), marks, form)


def _row(name: str, count: int, marks: Marks, form: str) -> str:
    return f"{name:<18}{count:>10}" + "".join(f"{mark:{form}}" for mark in marks.values())
