"""The command line that judges a daemon (`cidx-verify`, `cidx-ref verify`), behind its door.

Here belong what is done for its options, and its exit status: 0 all that was tried is kept; 3
something is broken, or could not be tried, or nothing was; 2 it could not be run, or an excuse is
stale; 130 interrupted.  What is asked for is in `arguments`, what is printed in `printed`, and what
is run in `running`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size

from hypothesis.configuration import set_hypothesis_home_dir

from cidx_ref.testing.conformance.arguments import Asked, make_parser, read, reports, spelled
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.homes import RUN, home, sweep
from cidx_ref.testing.conformance.mutants import Outcome, plant
from cidx_ref.testing.conformance.named import UnusableError, target_named
from cidx_ref.testing.conformance.planted import Planted
from cidx_ref.testing.conformance.printed import Output, Progress, fill_streams, say, silence
from cidx_ref.testing.conformance.reports import write_all
from cidx_ref.testing.conformance.running import all_checks, needs, plan, verify
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM, Scratch
from cidx_ref.testing.promises.excuses import without_use
from cidx_ref.testing.promises.judgement import NOT_KEPT, UNUSABLE, Judgement
from cidx_ref.testing.promises.page import as_html
from cidx_ref.testing.promises.records import as_json, as_junit
from cidx_ref.testing.promises.table import lines
from cidx_ref.testing.promises.wording import one_line

__all__ = ["main", "verify"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, prog: str = "cidx-verify") -> int:
    """Judge the target that is named; return the exit status.  `SystemExit` ends `--help`."""
    fill_streams()
    try:
        options = make_parser(prog).parse_args(arguments)
        status = _list(options) if options.list else _judge(options)
        sys.stdout.flush()
        return status
    except ValueError as error:  # of names, excuses and promises
        say(f"{prog}: {one_line(str(error))}")
        return UNUSABLE
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        silence(sys.stdout)
        return NOT_KEPT
    except OSError as error:  # of standard output: a full disk, a terminal that is closed
        where = error.filename or "standard output"
        say(f"{prog}: {where}: {error.strerror}")
        silence(sys.stdout)
        return UNUSABLE
    except KeyboardInterrupt:
        say(f"{prog}: interrupted")
        return INTERRUPTED


def _at_once(count: int, asked: Asked) -> int:
    """How many are run at a time; 0 where processes of their own would wait for threads that these
    have not."""
    if not asked.threads:
        return count
    say(
        f"importing the target has started threads ({', '.join(asked.threads)}), which processes of"
        " the checks would lack: checks run one by one, in this process"
    )
    return 0


def _judge(options: argparse.Namespace) -> int:
    if options.mutants is not None:
        return _judge_mutants(options)
    asked = read(options)
    at_once = _at_once(options.at_once, asked)
    progress = Progress(sys.stderr, goes_on=bool(reports(options)))
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
                name=spelled(options),
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


def _report(judgement: Judgement, options: argparse.Namespace) -> None:
    is_terminal = sys.stdout.isatty()
    width = get_terminal_size().columns if is_terminal else 100
    output = Output(goes_on=True)
    try:
        for line in lines(judgement, width, colour=is_terminal and "NO_COLOR" not in os.environ):
            output.line(line)
    finally:  # also where it is interrupted
        make = {"json": as_json, "junit": as_junit, "html": as_html}
        write_all((path, make[name](judgement)) for name, path in reports(options).items())
    output.end()


def _judge_mutants(options: argparse.Namespace) -> int:
    """Plant the mutants; the status is that of broken promises if one survives."""
    for name in ("excuses", "promise", "html"):
        if getattr(options, name):
            raise UnusableError(f"--{name} is not for --mutants")
    asked = read(options)
    began, began_s, interrupted = SYSTEM.now(), SYSTEM.monotonic(), False
    width, came = max(map(len, asked.mutants)), list[Outcome]()
    output = Output(goes_on=bool(reports(options)))
    tried = {"only": options.only, "deep": options.deep, "seed": options.seed}
    tried["at_once"] = _at_once(1, asked)
    with _tidy():
        try:
            for each in plant(asked.target, asked.mutants, **tried):
                came.append(each)
                verdict = "killed" if each.killed else "SURVIVED"
                said = one_line(each.words)
                output.line(f"{each.name:<{width}}  {each.promise:<8}  {verdict:<8}  {said}")
        except KeyboardInterrupt:
            interrupted = True
            output.line("interrupted: what is not listed was not come to")
    seconds = SYSTEM.monotonic() - began_s
    planted = Planted(asked.name, came, began, seconds, options.seed, options.deep, interrupted)
    output.line(f"mutants: {planted.killed} of {len(asked.mutants)} killed")
    make = {"json": planted.as_json, "junit": planted.as_junit}
    write_all((path, make[name]()) for name, path in reports(options).items())
    output.end()
    return INTERRUPTED if interrupted else planted.status


def _scratch() -> Scratch:
    try:
        return home(RUN)
    except OSError as error:
        raise UnusableError(f"there is no temporary directory: {error.strerror}") from None


@contextmanager
def _tidy() -> Iterator[None]:
    """Have SIGTERM, and a terminal that is closed, end what was started, as Ctrl-C does, and
    Hypothesis write nothing here.  What a run left that was killed goes first."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # What is ignored stays so (`nohup`).
    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    sweep()
    try:
        scratch = _scratch()
        try:
            set_hypothesis_home_dir(scratch.path)
            yield
        finally:
            scratch.close()
    finally:
        set_hypothesis_home_dir(None)
        for number, handler in before.items():
            signal.signal(number, handler)


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
