"""From the shell: judge a part, or see one finding again.

Exit status: 0 nothing is broken; 3 something is, or nothing could be tried; 2 it could not be run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cidx_ref.testing.concurrency.instrument import instrumented
from cidx_ref.testing.conformance.parts.cache import check_cache, check_ttl
from cidx_ref.testing.conformance.parts.claim import check_claim
from cidx_ref.testing.conformance.parts.lock import check_lock
from cidx_ref.testing.conformance.parts.replaying import replay
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["main"]

_CHECKS: dict[str, Callable[..., list[Finding]]] = {
    "cache": check_cache,
    "ttl": check_ttl,
    "lock": check_lock,
    "claim": check_claim,
}
_BAD = {Verdict.BROKEN, Verdict.NOT_TRIED}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status.  `SystemExit` ends `--help`, and what cannot be parsed."""
    parser = argparse.ArgumentParser(f"python -m {__package__}", description=__doc__)
    parser.add_argument("kind", choices=sorted(_CHECKS))
    parser.add_argument("make", help="MODULE:FUNCTION that makes one")
    parser.add_argument("trial", nargs="?", help="see what this one finds again")
    parser.add_argument("what", nargs="?", default="", help="the schedule or the steps of it")
    parser.add_argument(
        "--instrument",
        action="append",
        default=[],
        metavar="MODULE",
        help="have this module's own locks, threads and clocks under the scheduler; repeatable",
    )
    parser.add_argument("--deep", action="store_true", help="try longer")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn by chance")
    given = parser.parse_args(arguments)
    try:
        make = _named(given.make)
        if given.instrument:
            make = instrumented(make, *given.instrument)
        if given.trial is not None:
            return _replayed(given.kind, make, given.trial, given.what)
        found = _CHECKS[given.kind](make, deep=given.deep, seed=given.seed)
    except (ImportError, AttributeError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for finding in found:
        print("\n".join(_lines(finding)))
    return 3 if {finding.verdict for finding in found} & _BAD else 0


def _named(text: str) -> Callable[..., Any]:
    module, _, name = text.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    made: Callable[..., Any] = getattr(import_module(module), name)
    return made


def _replayed(kind: str, make: Callable[..., Any], trial: str, what: str) -> int:
    said = replay(kind, make, trial, what)
    print(said or "not broken")
    return 3 if said else 0


def _lines(finding: Finding) -> list[str]:
    tried = ", ".join(f"{number} {unit}" for unit, number in finding.tried.items())
    said = f"{finding.words} ({tried})" if tried else finding.words
    lines = [f"{finding.promise:<8} {finding.verdict.value}: {said}"]
    lines += [f"    {line}" for line in finding.trace.splitlines()]
    return [*lines, *([f"    to see it again: {finding.replay}"] if finding.replay else [])]
