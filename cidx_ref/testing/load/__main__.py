"""Runs scenarios one after the other, each in a locust of its own, and prints one table of all.

    python -m cidx_ref.testing.load -f loadtests/locustfile.py --seconds 20 Readers Crash

Each leaves `NAME.html` and `NAME.json` in the directory `--out`, and there is a `summary.json` of
all.  Options after `--` are locust's.  Exit status: 0 if all passed, else 3.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cidx_ref.testing.load.report import save

__all__ = ["main"]

_FAILED = 3
_INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    ours, locusts = _split(argv)
    parser = argparse.ArgumentParser(prog="cidx_ref.testing.load", description=__doc__)
    parser.add_argument("-f", "--locustfile", type=Path, default=Path("loadtests/locustfile.py"))
    parser.add_argument("--seconds", type=int, help="default: each scenario's own")
    parser.add_argument("--out", type=Path, default=Path("reports/load"))
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO")
    options = parser.parse_args(ours)
    try:
        found = [_run(name, options, locusts) for name in options.scenarios]
    except KeyboardInterrupt:
        return _INTERRUPTED
    save({"scenarios": found}, str(options.out / "summary.json"))
    print(_table(found))
    return 0 if all(each["passed"] for each in found) else _FAILED


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def _run(name: str, options: argparse.Namespace, more: Sequence[str]) -> dict[str, Any]:
    options.out.mkdir(parents=True, exist_ok=True)
    written = options.out / f"{name}.json"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "locust", "-f", str(options.locustfile), "--headless"]
    command += ["--html", str(options.out / f"{name}.html"), "--summary", str(written)]
    # Without its log and its tables: what matters is in ours, and warnings come all the same.
    command += ["--skip-log-setup", "--only-summary", *more, name]
    if options.seconds:
        command += ["--run-time", str(options.seconds)]
    print(f"=== {name}", flush=True)
    process = subprocess.Popen(command)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it has been told, too, and ends what it has begun
        raise
    if not written.is_file():
        return {"scenario": name, "passed": False, "status": status, "rows": {}, "objectives": []}
    found: dict[str, Any] = json.loads(written.read_bytes())
    return {**found, "passed": found["passed"] and status == 0, "status": status}


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{'scenario':<20}{'verdict':<9}{'calls':>7}{'failed':>7}{'/s':>8}{'p95 ms':>9}  missed"
    ]
    for each in found:
        row = each["rows"].get("all calls", {})
        missed = ", ".join(verdict["slo"] for verdict in each["objectives"] if not verdict["ok"])
        lines.append(
            f"{each['scenario']:<20}{'passed' if each['passed'] else 'FAILED':<9}"
            f"{row.get('count', 0):>7}{row.get('failures', 0):>7}"
            f"{row.get('rps') or 0:>8.1f}{row.get('p95') or 0:>9.1f}  {missed}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
