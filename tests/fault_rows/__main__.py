"""`python -m fault_rows`: try rows, and print the table; exit status 1 if a promise was broken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fault_rows.report import Kept, table, verdict
from fault_rows.table import ROWS, Row, load
from fault_rows.trying import Job, Outcome, try_all

load()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        print(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    chosen = [row for name, row in ROWS.items() if not options.rows or name in options.rows]
    if options.list:
        print("\n".join(f"{row.name}: {row.fault} ({row.cases:,} cases)" for row in chosen))
        return 0
    if options.mutants:
        return _try_mutants(chosen, options.jobs)
    return _try_rows(chosen, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fault_rows", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    parser.add_argument("--list", action="store_true", help="say what rows there are, and end")
    parser.add_argument("--sample", action="store_true", help="few cases of each")
    parser.add_argument("--mutants", action="store_true", help="only see that rows catch mutants")
    parser.add_argument("--case", type=int, metavar="N", help="this one case of each row")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="at once (default: 2)")
    parser.add_argument("--anew", action="store_true", help="forget what was tried before")
    parser.add_argument("--out", type=Path, default=Path("reports/faults"), metavar="DIRECTORY")
    return parser.parse_args(arguments)


def _try_rows(rows: list[Row], options: argparse.Namespace) -> int:
    kept = None if options.sample or options.case is not None else Kept(options.out.absolute())
    jobs = [_job(row, options, kept) for row in rows]

    def noted(job: Job) -> None:
        if kept is not None:
            kept.note(job)

    def ended(job: Job) -> None:
        noted(job)
        if job.is_done:
            print(f"{job.row.name}: {verdict(job)} ({job.outcome.tried:,})", file=sys.stderr)

    try:
        try_all(jobs, options.jobs, noted, ended)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    print(table(jobs))
    if kept is not None:  # all that there is by now
        every = (Job(row, row.cases, outcome=kept.outcome(row.name)) for row in ROWS.values())
        tried = [job for job in every if job.outcome.tried]
        (options.out / "table.txt").write_text(f"{table(tried)}\n", "utf-8")
    return int(any(verdict(job) in ("BROKEN", "not finished") for job in jobs))


def _job(row: Row, options: argparse.Namespace, kept: Kept | None) -> Job:
    job = Job(row, row.sample if options.sample else row.cases)
    if options.case is not None:
        job.outcome.tried, job.cases = options.case, options.case + 1
    elif kept is not None and not options.anew:
        known = kept.outcome(row.name)
        job.outcome = known if not known.broken else Outcome()  # what was mended begins anew
    return job


def _try_mutants(rows: list[Row], at_once: int) -> int:
    jobs = [Job(row, row.sample, mutant) for row in rows for mutant in row.mutants]
    try_all(jobs, at_once)
    alive = [job.mutant for job in jobs if job.mutant and not job.outcome.broken]
    for one in alive:
        print(f"survives: {one.name}: {one.what}")
    print(f"{len(jobs) - len(alive)} of {len(jobs)} mutants are caught")
    return int(bool(alive))


if __name__ == "__main__":
    raise SystemExit(main())
