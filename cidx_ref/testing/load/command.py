"""Runs scenarios one after the other, each in a locust of its own, and prints one table of all.

    python -m cidx_ref.testing.load --target conformance:TARGET --seconds 20 Readers Crash

Each leaves `NAME.html` and `NAME.json` in the directory `--out`, and there is a `summary.json` of
all.  Options after `--` are locust's.  Exit status: 0 if all that the daemon offers passed, 3 if
one failed, 2 if none could be run.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cidx_ref.testing.load import WITHOUT_LOCUST
from cidx_ref.testing.load.report import save

__all__ = ["main"]

_FAILED = 3
_UNABLE = 2
#: Those that come with the package.
_SCENARIOS = Path(__file__).parent / "scenarios" / "all.py"


def main(argv: Sequence[str] | None = None) -> int:
    ours, locusts = _split(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="python -m cidx_ref.testing.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target", metavar="MODULE:TARGET", help="the daemon (default: cidx-ref's own)"
    )
    parser.add_argument(
        "-f", "--locustfile", type=Path, default=_SCENARIOS, help="default: the kit's scenarios"
    )
    parser.add_argument("--seconds", type=int, help="default: each scenario's own")
    parser.add_argument("--out", type=Path, default=Path("reports/load"))
    parser.add_argument(
        "scenarios", nargs="+", metavar="SCENARIO", help=f"of the kit's: {', '.join(_names())}"
    )
    options = parser.parse_args(ours)
    if find_spec("locust") is None:
        print(f"{parser.prog}: {WITHOUT_LOCUST}", file=sys.stderr)
        return _UNABLE
    found = _run_all(options, locusts)
    save({"scenarios": found}, str(options.out / "summary.json"))
    ran = [each for each in found if "not_offered" not in each]
    if len(found) > 1 or ran:
        print(_table(found))
    if not ran:
        return _UNABLE
    return 0 if all(each["passed"] for each in ran) else _FAILED


def _names() -> list[str]:
    """Read, and not imported: that would replace what blocks in this process."""
    for node in ast.parse(_SCENARIOS.read_text("utf-8")).body:
        if isinstance(node, ast.Assign):
            return list(ast.literal_eval(node.value))
    return []


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def _run_all(options: argparse.Namespace, more: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name in options.scenarios:
        each = _run(name, options, more)
        if each["status"] in (1, _UNABLE) and not each["is_written"]:
            raise SystemExit(_UNABLE)  # why was said: a name or an option that cannot be used
        found.append(each)
    return found


def _run(name: str, options: argparse.Namespace, more: Sequence[str]) -> dict[str, Any]:
    options.out.mkdir(parents=True, exist_ok=True)
    written = options.out / f"{name}.json"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "locust", "-f", str(options.locustfile), "--headless"]
    command += ["--html", str(options.out / f"{name}.html"), "--summary", str(written)]
    # Without its log and its tables: what matters is in ours, and warnings come all the same.
    command += ["--skip-log-setup", "--only-summary", *more, name]
    if options.target:
        command += ["--target", options.target]
    if options.seconds:
        command += ["--run-time", str(options.seconds)]
    print(f"=== {name}", flush=True)
    process = subprocess.Popen(command)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it has been told, too, and ends what it has begun
        raise
    found: dict[str, Any] = json.loads(written.read_bytes()) if written.is_file() else {}
    nothing = {"scenario": name, "rows": {}, "objectives": [], "is_written": bool(found)}
    passed = bool(found.get("passed")) and status == 0
    return {**nothing, **found, "passed": passed, "status": status}


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{'scenario':<20}{'verdict':<9}{'calls':>7}{'failed':>7}{'/s':>8}{'p95 ms':>9}  missed"
    ]
    for each in found:
        if words := each.get("not_offered"):
            lines.append(f"{each['scenario']:<20}{words}")
            continue
        row = each["rows"].get("all calls", {})
        missed = ", ".join(verdict["slo"] for verdict in each["objectives"] if not verdict["ok"])
        lines.append(
            f"{each['scenario']:<20}{'passed' if each['passed'] else 'FAILED':<9}"
            f"{row.get('count', 0):>7}{row.get('failures', 0):>7}"
            f"{row.get('rps') or 0:>8.1f}{row.get('p95') or 0:>9.1f}  {missed}"
        )
    return "\n".join(lines)
