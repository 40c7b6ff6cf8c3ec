"""Checks in processes of their own, several at once.

Here belong those processes: forked, so that a target need not be imported anew or pickled; and
ended with the run, whatever ends that.  What a check does to its process is nothing to another.
Which checks there are, and what a finding is, is elsewhere (`running`).
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["run_at_once"]

_FORK = multiprocessing.get_context("fork")
_INTERRUPTS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

#: Runs one check, and raises nothing that the check or its target does.
Run = Callable[[Check], list[Finding]]


def run_at_once(
    checks: Sequence[Check], run: Run, count: int, begun: Callable[[Check], object]
) -> Generator[tuple[Check, list[Finding]], None, None]:
    """Run `count` at a time, and give each with its findings when it has ended.

    Those that measure (`Check.alone`) come last, with nothing beside them.  Who closes it ends what
    is at work, and waits for that.
    """
    yield from _lanes([check for check in checks if not check.alone], run, count, begun)
    yield from _lanes([check for check in checks if check.alone], run, 1, begun)


def _lanes(
    checks: Sequence[Check], run: Run, count: int, begun: Callable[[Check], object]
) -> Iterator[tuple[Check, list[Finding]]]:
    left = list(reversed(checks))
    at_work: dict[Any, tuple[Check, BaseProcess]] = {}
    try:
        while left or at_work:
            while left and len(at_work) < count:
                check = left.pop()
                begun(check)
                _start(check, run, at_work)
            for ready in wait(list(at_work)):
                check, process = at_work.pop(ready)
                yield check, _found(ready, check, process)
    finally:
        for _, process in at_work.values():
            process.terminate()
        for answer, (_, process) in at_work.items():
            process.join()
            answer.close()


def _start(check: Check, run: Run, at_work: dict[Any, tuple[Check, BaseProcess]]) -> None:
    answer, to_answer = _FORK.Pipe(duplex=False)
    # An interrupt comes when the process is known here, and there when it can be told of one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        process = _FORK.Process(target=_work, args=(check, run, to_answer, before))
        process.start()
        at_work[answer] = check, process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        to_answer.close()


def _work(check: Check, run: Run, answer: Connection, mask: Iterable[int]) -> None:
    """What such a process does."""
    # Ctrl-C and a closed terminal reach all of them at once.  The run passes on what is for it, as
    # SIGTERM, once: a second interrupt would come while what was started is being ended.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ignore)
    signal.signal(signal.SIGTERM, _interrupt)
    with suppress(KeyboardInterrupt, BrokenPipeError):  # nobody waits for it any more
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        answer.send(run(check))


# Functions, and not SIG_IGN: what a check starts would be deaf as well.
def _ignore(number: int, frame: object) -> None:
    pass


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, _ignore)
    raise KeyboardInterrupt


def _found(answer: Any, check: Check, process: BaseProcess) -> list[Finding]:
    """What a process has sent that has ended, or is about to."""
    try:
        found: list[Finding] = answer.recv()
    except EOFError:
        process.join()
        words = f"its process {_end(process.exitcode or 0)} without a verdict"
        found = [Finding(id_, Verdict.NOT_TRIED, words, check.name) for id_ in check.promises]
    process.join()
    answer.close()
    return found


def _end(status: int) -> str:
    return f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"
