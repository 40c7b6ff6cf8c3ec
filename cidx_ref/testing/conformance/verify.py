"""The command line that judges a daemon (`cidx-verify`, `cidx-ref verify`), behind its door.

Here belong its options, what is said while it runs, and its exit status: 0 all that was tried is
kept; 3 something is broken, or could not be tried, or nothing was; 2 it could not be run, or an
excuse is stale; 130 interrupted.  What is run is in `running`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import NoReturn, TextIO

from hypothesis.configuration import set_hypothesis_home_dir

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.mutants import Mutant, Outcome, mutants_of, plant
from cidx_ref.testing.conformance.named import UnusableError, module_named, target_named
from cidx_ref.testing.conformance.planted import Planted
from cidx_ref.testing.conformance.reports import check_writable, write_all
from cidx_ref.testing.conformance.running import Plan, all_checks, needs, plan, verify
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.ground import SYSTEM, Scratch, __version__
from cidx_ref.testing.promises.excuses import Excuse, check_excuses, read_excuses, without_use
from cidx_ref.testing.promises.findings import Finding, Verdict
from cidx_ref.testing.promises.judgement import NOT_KEPT, UNUSABLE, Judgement
from cidx_ref.testing.promises.page import as_html
from cidx_ref.testing.promises.records import as_json, as_junit
from cidx_ref.testing.promises.registry import known_promises
from cidx_ref.testing.promises.table import COLOURS, lines
from cidx_ref.testing.promises.wording import one_line

__all__ = ["main", "verify"]

INTERRUPTED = 130
#: Checks at a time, unless it is said how many; and if it is.
_MOST_AT_ONCE, _MOST_CHECKS = 4, 64


def main(arguments: Sequence[str] | None = None, prog: str = "cidx-verify") -> int:
    """Judge the target that is named; return the exit status.  `SystemExit` ends `--help`."""
    _fill_streams()
    try:
        options = _parser(prog).parse_args(arguments)
        status = _list(options) if options.list else _judge(options)
        sys.stdout.flush()
        return status
    except ValueError as error:  # of names, excuses and promises
        _say(f"{prog}: {one_line(str(error))}")
        return UNUSABLE
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        _silence(sys.stdout)
        return NOT_KEPT
    except OSError as error:  # of standard output: a full disk, a terminal that is closed
        where = error.filename or "standard output"
        _say(f"{prog}: {where}: {error.strerror}")
        _silence(sys.stdout)
        return UNUSABLE
    except KeyboardInterrupt:
        _say(f"{prog}: interrupted")
        return INTERRUPTED


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # to whom?
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Have what it could not write, and what follows, come to nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fill_streams() -> None:
    """Have somewhere to write to, and no text that cannot be written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): there is nobody to be told
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as this runs
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale cannot show


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UnusableError(f"{message} (see {self.prog} --help)")


def _parser(prog: str) -> argparse.ArgumentParser:
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
class _Asked:
    """What the options ask for, read and found usable."""

    name: str
    target: Target
    promises: dict[str, str]
    excuses: list[Excuse]
    plan: Plan
    mutants: dict[str, Mutant]
    #: Those that importing all that has started.
    threads: list[str]


def _asked(options: argparse.Namespace) -> _Asked:
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
    check_writable(_reports(options))  # last: what is refused has written nothing
    threads = [thread.name for thread in SYSTEM.threads() if thread not in before]
    return _Asked(options.target, target, promises, excuses, planned, mutants, threads)


def _at_once(count: int, asked: _Asked) -> int:
    """How many are run at a time; 0 where processes of their own would wait for threads that these
    have not."""
    if not asked.threads:
        return count
    _say(
        f"importing the target has started threads ({', '.join(asked.threads)}), which processes of"
        " the checks would lack: checks run one by one, in this process"
    )
    return 0


def _reports(options: argparse.Namespace) -> dict[str, Path]:
    """The files that are to be written, by option."""
    named = {name: getattr(options, name) for name in ("json", "junit", "html")}
    return {name: path for name, path in named.items() if path is not None}


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


def _judge(options: argparse.Namespace) -> int:
    if options.mutants is not None:
        return _judge_mutants(options)
    asked = _asked(options)
    at_once = _at_once(options.at_once, asked)
    progress = _Progress(sys.stderr)
    began, began_s, interrupted = SYSTEM.now(), SYSTEM.monotonic(), False
    with _tidy():
        try:
            verify(
                asked.target,
                deep=options.deep,
                only=options.only,
                promises=options.promise,
                seed=options.seed,
                listener=progress,
                excuses=asked.excuses,
                name=_spelled(options),
                at_once=at_once,
            )
        except KeyboardInterrupt:
            interrupted = True
    progress.end()
    found = [f for check in asked.plan.checks for f in progress.findings.get(check.name, ())]
    findings = [*asked.plan.settled, *found]
    is_partial = options.only or options.promise
    left_out = asked.promises if is_partial else asked.plan.only_deep
    judgement = Judgement(
        target=asked.name,
        findings=findings,
        promises=asked.promises,
        began=began,
        seconds=SYSTEM.monotonic() - began_s,
        seed=options.seed,
        deep=options.deep,
        only_deep=asked.plan.only_deep,
        stale=[] if interrupted else without_use(asked.excuses, findings, left_out),
        interrupted=interrupted,
    )
    _report(judgement, options)
    return INTERRUPTED if interrupted else judgement.status


def _spelled(options: argparse.Namespace) -> str:
    """The target, and what belongs to it, as one types them to see a finding again."""
    words = [options.target]
    if options.promises:
        words += ["--promises", str(options.promises)]
    return shlex.join(words)


def _report(judgement: Judgement, options: argparse.Namespace) -> None:
    is_terminal = sys.stdout.isatty()
    width = get_terminal_size().columns if is_terminal else 100
    try:
        for line in lines(judgement, width, colour=is_terminal and "NO_COLOR" not in os.environ):
            print(line)
        sys.stdout.flush()
    finally:  # also where nobody reads that
        make = {"json": as_json, "junit": as_junit, "html": as_html}
        write_all((path, make[name](judgement)) for name, path in _reports(options).items())


def _judge_mutants(options: argparse.Namespace) -> int:
    """Plant the mutants; the status is that of broken promises if one survives."""
    for name in ("excuses", "promise", "html"):
        if getattr(options, name):
            raise UnusableError(f"--{name} is not for --mutants")
    asked = _asked(options)
    began, began_s, interrupted = SYSTEM.now(), SYSTEM.monotonic(), False
    width, came = max(map(len, asked.mutants)), list[Outcome]()
    tried = {"only": options.only, "deep": options.deep, "seed": options.seed}
    tried["at_once"] = _at_once(1, asked)
    with _tidy():
        try:
            for each in plant(asked.target, asked.mutants, **tried):
                came.append(each)
                verdict = "killed" if each.killed else "SURVIVED"
                said = one_line(each.words)
                print(f"{each.name:<{width}}  {each.promise:<8}  {verdict:<8}  {said}", flush=True)
        except KeyboardInterrupt:
            interrupted = True
            print("interrupted: what is not listed was not come to")
    seconds = SYSTEM.monotonic() - began_s
    planted = Planted(asked.name, came, began, seconds, options.seed, options.deep, interrupted)
    print(f"mutants: {planted.killed} of {len(asked.mutants)} killed", flush=True)
    make = {"json": planted.as_json, "junit": planted.as_junit}
    write_all((path, make[name]()) for name, path in _reports(options).items())
    return INTERRUPTED if interrupted else planted.status


def _temporary() -> Scratch:
    try:
        return Scratch("cidx-verify-")
    except OSError as error:
        raise UnusableError(f"there is no temporary directory: {error.strerror}") from None


@contextmanager
def _tidy() -> Iterator[None]:
    """Have SIGTERM, and a terminal that is closed, end what was started, as Ctrl-C does, and
    Hypothesis write nothing here."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # What is ignored stays so (`nohup`).
    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with _temporary() as home:
            set_hypothesis_home_dir(home)
            yield
    finally:
        set_hypothesis_home_dir(None)
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Progress:
    """What is said of a run while it goes on: on a terminal one line, written anew each time."""

    stream: TextIO
    #: By check.
    findings: dict[str, Sequence[Finding]] = field(default_factory=dict)
    _count: int = 0
    #: Those at work.
    _at: list[str] = field(default_factory=list)

    def started(self, check: str, number: int, count: int) -> None:
        self._count = count
        self._at.append(check)
        self._show()

    def finished(self, check: str, findings: Sequence[Finding]) -> None:
        self._at.remove(check)
        self.findings[check] = findings
        label = f"[{len(self.findings)}/{self._count}] {check}"
        said = ", ".join(f"{found.promise} {found.verdict}" for found in findings)
        bad = any(found.verdict in (Verdict.BROKEN, Verdict.NOT_TRIED) for found in findings)
        if not self.stream.isatty():
            seconds = max((found.seconds for found in findings), default=0.0)
            self._write(f"{label}: {one_line(said) or 'nothing'} ({seconds:.1f} s)\n")
        elif bad:  # the rest is in the table
            code = COLOURS[Verdict.BROKEN]
            self._write(f"\r\x1b[K\x1b[{code}m{label}: {one_line(said)}\x1b[0m\n")
        self._show()

    def _show(self) -> None:
        if self.stream.isatty() and self._at:
            at = f"[{len(self.findings) + 1}/{self._count}] {', '.join(self._at)}"
            self._write(f"\r\x1b[K{at} …"[: get_terminal_size().columns + 3])

    def end(self) -> None:
        if self.stream.isatty():
            self._write("\r\x1b[K")
        if self._at:  # one of them may hang
            with suppress(BrokenPipeError):  # Ctrl-C has ended `tee`, too
                self._write(f"at work: {', '.join(self._at)}\n")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:  # the reader has seen enough
            raise
        except OSError:  # a terminal that is closed: the run goes on
            _silence(self.stream)


def _list(options: argparse.Namespace) -> int:
    """The checks; with a target, what it does not offer of what they need."""
    target = target_named(options.target) if options.target else None
    checks = all_checks(target)
    settled = plan(target).settled if target else ()
    missing = {(found.check, found.promise): found.words for found in settled}
    for check in checks:
        where = " (in this process)" * check.inside + " (with --deep)" * check.deep
        print(f"{check.name}{where}: {', '.join(check.promises)}")
        for said in _needs(check, missing) if target else [needs(check, {Cap.BASE})]:
            if said:
                print(f"    {said}")
    print(f"{len(checks)} checks, {len({p for c in checks for p in c.promises})} promises")
    return 0


def _needs(check: Check, missing: dict[tuple[str, str], str]) -> list[str]:
    lacking = {p: missing[check.name, p] for p in check.promises if (check.name, p) in missing}
    if len(lacking) == len(check.promises) and len(set(lacking.values())) == 1:
        return [f"not offered: {next(iter(lacking.values()))}"]
    return [f"{promise} not offered: {reason}" for promise, reason in lacking.items()]


if __name__ == "__main__":
    raise SystemExit(main())
