"""A command of ours with a fault in it: the process is killed, or told to end, at a step it passes,
or it is one of the zoo's mutants.

    python -m cidx_ref.testing.own.faulty --crash-at bound -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --term-at unlinked -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --crash-at swept:3 -- build DIR
    python -m cidx_ref.testing.own.faulty --mutant unlinks_without_a_look -- serve --project DIR

The command is `build DIR [--full]`, a writer of its own that prints what it built as one line of
JSON, or any command of `cidx-ref`.  Without an option nothing is broken.  Here belongs what makes
a process faulty; what is expected of the others then is in `lifecycle`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count

from cidx_ref.runtime import Runtime

__all__ = ["CrashPoint", "main"]


@dataclass(frozen=True)
class CrashPoint:
    """A step, at one of its passes, counted from 1; written `step:passes`."""

    step: str
    passes: int = 1

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        """Raises `ValueError` for what is neither `STEP` nor `STEP:N` with N above 0."""
        step, colon, number = text.partition(":")
        point = cls(step, int(number) if colon else 1)
        if not point.step or point.passes < 1:
            raise ValueError(text)
        return point

    def __str__(self) -> str:
        return f"{self.step}:{self.passes}"


class FaultyRuntime(Runtime):
    """Sends its own process a signal where it was told to, in whatever thread comes there."""

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[CrashPoint, signal.Signals, Iterator[int]]]] = {}

    def arm(self, point: CrashPoint, number: signal.Signals) -> None:
        passes = count(1)  # `next` of it is atomic
        self._points.setdefault(point.step, []).append((point, number, passes))

    def step(self, name: str) -> None:
        for point, number, passes in self._points.get(name, ()):
            if next(passes) == point.passes:
                # Not an exception or an exit: after kill -9 nothing of ours may run any more.
                os.kill(os.getpid(), number)


#: Brings a fault about, in a process that has this runtime.
Fault = Callable[[FaultyRuntime], object]


def main(argv: Sequence[str]) -> int:
    """Break this process as told, then run the command; return its exit status."""
    options = _parser().parse_args(argv)
    runtime = FaultyRuntime()
    for bring_about in options.faults:
        bring_about(runtime)
    if options.command[0] == "build":
        return _build(options.command[1:], runtime)
    from cidx_ref import cli

    return cli.main(options.command, runtime)


def _parser() -> argparse.ArgumentParser:
    """Every fault is an option that adds to `faults` what brings it about."""
    parser = argparse.ArgumentParser(prog="cidx_ref.testing.own.faulty")
    parser.set_defaults(faults=[])

    def signalled(number: signal.Signals) -> Callable[[str], Fault]:
        def parse(text: str) -> Fault:
            point = CrashPoint.parse(text)
            return lambda runtime: runtime.arm(point, number)

        return parse

    for option, number in (("--crash-at", signal.SIGKILL), ("--term-at", signal.SIGTERM)):
        parser.add_argument(
            option, dest="faults", action="append", type=signalled(number), metavar="STEP[:N]"
        )
    parser.add_argument("--mutant", dest="faults", action="append", type=_planting, metavar="NAME")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    return parser


def _planting(name: str) -> Fault:
    """Plants that mutant, for as long as the process lives; `ValueError` if there is none."""
    from cidx_ref.testing.own.mutants import MUTANTS

    if name not in MUTANTS:
        raise ValueError(name)
    planted = MUTANTS[name].planted()
    _planted.append(planted)
    return lambda runtime: planted.__enter__()


#: Never left: a context that is collected would end its mutant.
_planted: list[AbstractContextManager[None]] = []


def _build(arguments: Sequence[str], runtime: Runtime) -> int:
    # Not at the top: a daemon in the background forks before anything heavy is imported.
    from cidx_ref.errors import CidxError
    from cidx_ref.index.build import bring_up_to_date
    from cidx_ref.index.embedders import configured
    from cidx_ref.project import Project

    parser = argparse.ArgumentParser(prog="cidx_ref.testing.own.faulty build")
    parser.add_argument("directory")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args(arguments)
    try:
        project = Project.at(options.directory)
        report = bring_up_to_date(project, configured(), full=options.full, runtime=runtime)
    except CidxError as error:
        print(f"build: {error.kind}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
