"""What a run prints: its progress, and lines for a reader who may have gone.

Here belong the streams.  One that is closed, or full, ends a run that only prints; where files are
to be written, it goes on for their sake, and the loss is told at its end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from shutil import get_terminal_size
from typing import TextIO

from cidx_ref.testing.promises.findings import Finding, Verdict
from cidx_ref.testing.promises.table import COLOURS
from cidx_ref.testing.promises.wording import one_line

__all__ = ["Output", "Progress", "fill_streams", "say", "silence"]


def say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # to whom?
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Have what it could not write, and what follows, come to nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fill_streams() -> None:
    """Have somewhere to write to, and no text that cannot be written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): there is nobody to be told
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as this runs
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale cannot show


class Output:
    """Standard output, a line at a time."""

    def __init__(self, *, goes_on: bool) -> None:
        self._goes_on = goes_on
        self._lost: OSError | None = None

    def line(self, text: str) -> None:
        """Raises `OSError` where it cannot be written, and nothing is to go on without it."""
        try:
            print(text, flush=True)
        except OSError as error:
            if not self._goes_on:
                raise
            self._lost = self._lost or error
            silence(sys.stdout)

    def end(self) -> None:
        """Raises the `OSError` that has come meanwhile."""
        if self._lost is not None:
            raise self._lost


@dataclass
class Progress:
    """What is said of a run while it goes on: on a terminal one line, written anew each time."""

    stream: TextIO
    goes_on: bool
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
        except OSError as error:
            silence(self.stream)
            # A reader who has seen enough; of a terminal that is closed the run goes on.
            if isinstance(error, BrokenPipeError) and not self.goes_on:
                raise
