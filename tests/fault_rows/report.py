"""What came of the rows: kept from run to run, and printed as a table.

A row that was interrupted goes on where it was, unless the code or the rows have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import cidx_ref
from fault_rows.trying import Job, Outcome

__all__ = ["Kept", "table", "verdict"]


class Kept:
    """The outcomes in a directory, a file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._code = _fingerprint()
        directory.mkdir(parents=True, exist_ok=True)

    def outcome(self, row: str) -> Outcome:
        """What this code has come to already."""
        try:
            known = json.loads(self._file(row).read_text("utf-8"))
            if known.pop("code") == self._code:
                return Outcome(**known)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Outcome()

    def note(self, job: Job) -> None:
        """Keep what has come of it so far."""
        text = json.dumps({**asdict(job.outcome), "code": self._code})
        new = self._file(job.row.name).with_suffix(".new")
        new.write_text(text, "utf-8")
        new.replace(self._file(job.row.name))

    def _file(self, row: str) -> Path:
        return self._directory / f"{row}.json"


def verdict(job: Job) -> str:
    """In a word, or in the machine's excuse."""
    out = job.outcome
    if out.broken:
        return "BROKEN"
    if out.not_here is not None:
        return f"not tried: {out.not_here}"
    return "kept" if out.tried >= job.cases else "not finished"


def table(jobs: Iterable[Job]) -> str:
    """Fault, cases, promises, verdict; below it each case that broke a promise."""
    jobs = list(jobs)
    wide = max((len(job.row.name) for job in jobs), default=0)
    lines = [f"{'row':{wide}}  {'cases':>15} {'time':>8}  verdict"]
    for job in jobs:
        cases = f"{job.outcome.tried:,}/{job.cases:,}"
        lines += [
            f"{job.row.name:{wide}}  {cases:>15} {job.outcome.seconds:6.1f} s  {verdict(job)}",
            f"{'':{wide}}    {job.row.fault}  [{', '.join(job.row.promises)}]",
        ]
        for number, what in job.outcome.broken:
            where = f"case {number}" if number >= 0 else "as a whole"
            lines.append(f"{'':{wide}}    {where}: {what}")
    cases_, bad = sum(job.outcome.tried for job in jobs), sum(len(j.outcome.broken) for j in jobs)
    seconds = sum(job.outcome.seconds for job in jobs)
    lines.append(f"{len(jobs)} rows, {cases_:,} cases, {bad} broken, {seconds / 60:.1f} minutes")
    return "\n".join(lines)


def _fingerprint() -> str:
    """Of the package and of the rows."""
    digest = hashlib.sha256()
    for folder in (Path(cidx_ref.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
