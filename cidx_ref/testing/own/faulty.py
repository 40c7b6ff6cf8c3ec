"""A command of ours with a fault in it: the process is killed, told to end or held at a step it
passes, or an error is raised there; time goes on faster; or it is one of the zoo's mutants.

    python -m cidx_ref.testing.own.faulty --crash-at bound -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --term-at unlinked -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --crash-at swept:3 -- build DIR
    python -m cidx_ref.testing.own.faulty --hold-at searching GATE -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --fail-at checking GATE -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --ahead-by FILE -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --check-here -- serve --project DIR
    python -m cidx_ref.testing.own.faulty --mutant unlinks_without_a_look -- serve --project DIR

Who comes to the step of `--hold-at` while there is a file GATE renames it to GATE.held, and waits
until that is gone; at the step of `--fail-at` an error is raised for as long as there is a file
GATE.  `--ahead-by` adds the seconds that stand in FILE to the clock, once there is one.  With
`--check-here` an index of the full cidx is checked in this process, and not in one of its own; and
what does not fit is not waited for.

The command is `build DIR [--full]`, a writer of its own that prints what it built as one line of
JSON, `forked DIR` (see `forked`), or any command of `cidx-ref`.  Without an option nothing is
broken.  Here belongs what makes a process faulty; what is expected of the others then is in
`lifecycle`.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from cidx_ref.runtime import Runtime

__all__ = ["CrashPoint", "faulted", "main"]


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


#: How often it is looked whether a file is gone.
_LOOK_S = 0.005


class FaultyRuntime(Runtime):
    """Does at a step what it was told to, in whatever thread comes there."""

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[CrashPoint, signal.Signals, Iterator[int]]]] = {}
        self._gates: dict[str, list[Path]] = {}
        self._failing: dict[str, list[Path]] = {}
        self._ahead: Path | None = None

    def arm(self, point: CrashPoint, number: signal.Signals) -> None:
        passes = count(1)  # `next` of it is atomic
        self._points.setdefault(point.step, []).append((point, number, passes))

    def hold_at(self, step: str, gate: Path) -> None:
        self._gates.setdefault(step, []).append(gate)

    def fail_at(self, step: str, gate: Path) -> None:
        self._failing.setdefault(step, []).append(gate)

    def be_ahead_by(self, file: Path) -> None:
        self._ahead = file

    def monotonic(self) -> float:
        now = super().monotonic()
        if self._ahead is None:
            return now
        try:
            return now + float(self._ahead.read_text())
        except FileNotFoundError:
            return now

    def step(self, name: str) -> None:
        for point, number, passes in self._points.get(name, ()):
            if next(passes) == point.passes:
                # Not an exception or an exit: after kill -9 nothing of ours may run any more.
                os.kill(os.getpid(), number)
        for gate in self._gates.get(name, ()):
            self._wait_at(gate)
        if any(gate.exists() for gate in self._failing.get(name, ())):
            raise OSError(errno.EIO, "nobody thought of this", __file__)

    def _wait_at(self, gate: Path) -> None:
        held = gate.with_name(f"{gate.name}.held")
        try:
            gate.rename(held)  # of several that come at once, one is held
        except FileNotFoundError:
            return
        while held.exists():
            self.sleep(_LOOK_S)


#: Brings a fault about, in a process that has this runtime.
Fault = Callable[[FaultyRuntime], object]


def faulted(line: Sequence[str], *options: str) -> list[str]:
    """A command line of this module's with these faults, too."""
    at = line.index("--")
    return [*line[:at], *options, *line[at:]]


def main(argv: Sequence[str]) -> int:
    """Break this process as told, then run the command; return its exit status."""
    options = _parser().parse_args(argv)
    runtime = FaultyRuntime()
    for bring_about in options.faults:
        bring_about(runtime)
    if options.command[0] == "build":
        return _build(options.command[1:], runtime)
    if options.command[0] == "forked":
        from cidx_ref.testing.own import forked

        return forked.main(options.command[1:])
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
    for option, bring_about in (
        ("--hold-at", FaultyRuntime.hold_at),
        ("--fail-at", FaultyRuntime.fail_at),
    ):
        parser.add_argument(
            option,
            dest="faults",
            action=_AtGate,
            nargs=2,
            const=bring_about,
            metavar=("STEP", "GATE"),
        )
    parser.add_argument("--ahead-by", dest="faults", action="append", type=_ahead, metavar="FILE")
    parser.add_argument(
        "--check-here",
        dest="faults",
        action="append_const",
        const=_check_here,
        help="check what the full cidx wrote in this process, where the mutant is",
    )
    parser.add_argument("--mutant", dest="faults", action="append", type=_planting, metavar="NAME")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    return parser


class _AtGate(argparse.Action):
    """Two words that are one fault."""

    def __call__(self, parser: Any, options: Any, words: Any, option: Any = None) -> None:
        step, gate = words
        act: Any = self.const

        def bring_about(runtime: FaultyRuntime) -> None:
            if step in _NOT_OUR_STEPS:
                _NOT_OUR_STEPS.pop(step)(runtime)
            act(runtime, step, Path(gate))

        options.faults.append(bring_about)


def _ahead(file: str) -> Fault:
    return lambda runtime: runtime.be_ahead_by(Path(file))


def _check_here(runtime: FaultyRuntime) -> None:
    from cidx_ref.index.cidx import theirs
    from cidx_ref.index.cidx.checking import check_here
    from cidx_ref.index.either import EitherIndex

    defaults = EitherIndex.__init__.__kwdefaults__
    assert defaults is not None
    defaults["check"] = check_here
    vars(theirs)["_TRIES"] = 2


# Places that matter from outside, and are no steps: there is nothing to be explored at them.


def _step_in_each_search(runtime: FaultyRuntime) -> None:
    """`searching`: a query has its index pinned, and has not searched it yet."""
    from cidx_ref.index.snapshot import IndexSnapshot

    _step_before(IndexSnapshot, "answer", lambda: runtime.step("searching"))


def _step_in_each_check(runtime: FaultyRuntime) -> None:
    """`checking`: the eviction thread is about to look."""
    from cidx_ref.daemon.eviction import CacheEvictionThread

    _step_before(CacheEvictionThread, "_check_and_evict", lambda: runtime.step("checking"))


def _step_before(owner: type, name: str, step: Callable[[], None]) -> None:
    method = getattr(owner, name)

    def stepping(self: Any, *args: Any) -> Any:
        step()
        return method(self, *args)

    setattr(owner, name, stepping)


_NOT_OUR_STEPS: dict[str, Fault] = {
    "searching": _step_in_each_search,
    "checking": _step_in_each_check,
}


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
