"""What a command line of `verify` asks for: its options, read and found usable.

Here belongs whatever is refused before anything runs: a name that leads to nothing, an excuse that
has expired, a file that cannot be written.  What is done about the rest is in `verify`.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cidx_ref.testing.conformance.mutants import Mutant, mutants_of
from cidx_ref.testing.conformance.named import UnusableError, module_named, target_named
from cidx_ref.testing.conformance.reports import check_writable
from cidx_ref.testing.conformance.running import Plan, all_checks, plan
from cidx_ref.testing.conformance.target import Target
from cidx_ref.testing.ground import SYSTEM, __version__
from cidx_ref.testing.promises.excuses import Excuse, check_excuses, read_excuses
from cidx_ref.testing.promises.registry import known_promises

__all__ = ["Asked", "make_parser", "read", "reports", "spelled"]

#: Checks at a time, unless it is said how many; and if it is.
_MOST_AT_ONCE, _MOST_CHECKS = 4, 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UnusableError(f"{message} (see {self.prog} --help)")


def make_parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description="Judge a daemon by its promises, as its project describes it in a Target.",
        epilog="Exit status: 0 all that was tried is kept; 3 something is broken, or could not be "
        "tried, or nothing was; 2 could not be run, or an excuse is stale; 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", help="module:NAME, or path/to/file.py:NAME"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add = parser.add_argument
    add("--list", action="store_true", help="list the checks, and what they need, and run none")
    add("--only", action="append", default=[], metavar="CHECK", help="run this check; repeatable")
    add("--promise", action="append", default=[], metavar="ID", help="judge this one; repeatable")
    add("--deep", action="store_true", help="try longer, and run the checks that take minutes")
    add("--seed", type=int, default=0, metavar="N", help="of what is drawn by chance (default: 0)")
    add(
        "--at-once",
        type=_count,
        default=min(_MOST_AT_ONCE, 1 + (os.cpu_count() or 1)),
        metavar="N",
        help="run so many checks at a time, but for those that measure (default: one more than"
        f" there are cores, at most {_MOST_AT_ONCE})",
    )
    add("--excuses", type=Path, metavar="FILE", help="what is known to be broken, and why (TOML)")
    add("--promises", type=Path, metavar="FILE", help="promises of your own (TOML)")
    add("--mutants", metavar="MODULE", help="plant its MUTANTS, and see that the checks kill them")
    add("--json", type=Path, metavar="FILE", help="write what was found as JSON")
    add("--junit", type=Path, metavar="FILE", help="write it as JUnit's XML")
    add("--html", type=Path, metavar="FILE", help="write it as one page that needs nothing else")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= _MOST_CHECKS:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 1 to {_MOST_CHECKS}")
    return int(text)


@dataclass
class Asked:
    """What the options ask for, read and found usable."""

    name: str
    target: Target
    promises: dict[str, str]
    excuses: list[Excuse]
    plan: Plan
    mutants: dict[str, Mutant]
    #: Those that importing all that has started.
    threads: list[str]


def read(options: argparse.Namespace) -> Asked:
    """Raises `ValueError` in one sentence for whatever cannot be used."""
    if options.target is None:
        raise UnusableError("name a TARGET: module:NAME, or path/to/file.py:NAME (see --help)")
    before = set(SYSTEM.threads())
    promises = known_promises(*([options.promises] if options.promises else []))
    excuses = read_excuses(options.excuses) if options.excuses else []
    check_excuses(excuses, promises, SYSTEM.now().date())
    target = target_named(options.target)
    _check_names(target)
    _check_promises(target, options.promise, promises)
    planned = plan(target, deep=options.deep, only=options.only, promises=options.promise)
    mutants = {}
    if options.mutants is not None:
        mutants = mutants_of(module_named(options.mutants), promises)
    check_writable(reports(options))  # last: what is refused has written nothing
    threads = [thread.name for thread in SYSTEM.threads() if thread not in before]
    return Asked(options.target, target, promises, excuses, planned, mutants, threads)


def reports(options: argparse.Namespace) -> dict[str, Path]:
    """The files that are to be written, by option."""
    named = {name: getattr(options, name) for name in ("json", "junit", "html")}
    return {name: path for name, path in named.items() if path is not None}


def spelled(options: argparse.Namespace) -> str:
    """The target, and what belongs to it, as one types them to see a finding again."""
    words = [options.target]
    if options.promises:
        words += ["--promises", str(options.promises)]
    return shlex.join(words)


def _check_names(target: Target) -> None:
    """What is found is told apart by them."""
    ours = {check.name for check in all_checks()}
    for number, check in enumerate(target.checks):
        if check.name in ours:
            raise UnusableError(f"checks[{number}]: {check.name!r}: the kit has one of that name")


def _check_promises(target: Target, asked: Sequence[str], known: Mapping[str, str]) -> None:
    named = [(f"check {check.name!r}", id_) for check in target.checks for id_ in check.promises]
    named += [("not_offered", id_) for id_ in target.not_offered]
    named += [("--promise", id_) for id_ in asked]
    for where, id_ in named:
        if id_ not in known:
            raise UnusableError(f"{where}: {id_} is no promise that is known (see --promises)")
