"""What a check shows: a note of each promise, and how that becomes a finding.

Here belongs what is made of what is raised: a fault of what is judged, a turn of events that the
check knows, or its own end before its time.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cidx_ref.testing.concurrency.explore import Counterexample, NothingExplored
from cidx_ref.testing.conformance.asking import Gone, Refused, Unreadable
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.overdue import Overdue
from cidx_ref.testing.conformance.parts.judging import in_words, is_judged, reason
from cidx_ref.testing.conformance.subject import NotStarted, WriterFailed
from cidx_ref.testing.promises.findings import Finding, Measured, Verdict

__all__ = ["NotOffered", "NotTried", "Notes", "Told"]

#: What counts against a promise where it is raised while that is shown.
_FAULTS = (
    AssertionError,
    Gone,
    NotStarted,
    OSError,  # a TimeoutError is one
    EOFError,
    Refused,
    Unreadable,
    WriterFailed,
)
#: Of a check that does not end, so many calls are shown, its own first.
_FRAMES = 12


class NotOffered(Exception):  # noqa: N818 - a turn of events
    """The target does not have what is to be shown; the words say what is missing."""


class NotTried(Exception):  # noqa: N818 - a turn of events
    """It cannot be shown here; the words say why."""


@dataclass
class _Noted:
    """What is known of one promise so far."""

    verdict: Verdict | None = None
    words: str = ""
    trace: str = ""
    replay: str = ""
    figures: list[Measured] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)

    def note(self, verdict: Verdict, words: str = "", trace: str = "") -> None:
        order = list(Verdict)
        # What was broken once stays so.
        if self.verdict is None or order.index(verdict) < order.index(self.verdict):
            self.verdict, self.words, self.trace = verdict, words or self.words, trace or self.trace


class Told(Exception):  # noqa: N818 - a turn of events
    """A check has ended, and it is noted why."""


class Notes:
    """What is known so far of each promise."""

    def __init__(self, *, inside: bool = False) -> None:
        # What runs in this process is the project's own code, whatever it raises.
        self._faults: tuple[type[Exception], ...] = (Exception,) if inside else _FAULTS
        self._notes: dict[str, _Noted] = {}

    @contextmanager
    def showing(self, *promises: str) -> Iterator[None]:
        """While the block runs, what the daemon does wrong counts against `promises`; where it
        comes to its end, they were kept there."""
        notes = [self._note(promise) for promise in promises]
        try:
            yield
        except NotOffered as said:
            self._end(notes, Verdict.NOT_OFFERED, str(said))
        except NotTried as said:
            self._end(notes, Verdict.NOT_TRIED, str(said))
        except NothingExplored as nothing:
            self._end(notes, Verdict.NOT_TRIED, str(nothing))
        except Counterexample as found:
            self._tell(notes, found)
        except self._faults as error:
            self._end(notes, Verdict.BROKEN, _worded(error), _traced(error))
        for note in notes:
            note.note(Verdict.KEPT)

    def _tell(self, notes: list[_Noted], found: Counterexample) -> None:
        """What an explorer has found; of what it cannot judge, why."""
        for note in notes:
            note.tried["schedules"] += found.tried
        if not is_judged(found.error):
            self._end(notes, Verdict.NOT_TRIED, reason(found.error))
        for note in notes:
            note.replay = note.replay or found.replay_line
        self._end(notes, Verdict.BROKEN, in_words(found.error), found.table)

    def _end(self, notes: list[_Noted], verdict: Verdict, words: str, trace: str = "") -> None:
        for note in notes:
            note.note(verdict, words, trace)
        raise Told

    def note(self, promise: str, verdict: Verdict, words: str = "", trace: str = "") -> None:
        """What is known of a promise, for a check that goes on after it."""
        self._note(promise).note(verdict, words, trace)

    def says(self, promise: str, words: str) -> None:
        """What is said of a promise that was kept."""
        self._note(promise).words = words

    def figure(
        self, promise: str, name: str, value: float, unit: str = "", limit: float | None = None
    ) -> None:
        """Attach a measured figure to the finding; it judges nothing by itself."""
        self._note(promise).figures.append(Measured(name, value, unit, limit))

    def tried(self, promise: str, count: int, unit: str) -> None:
        """Add to how many schedules, examples, rounds and so on were tried."""
        self._note(promise).tried[unit] += count

    def trace(self, promise: str, text: str) -> None:
        """Attach the steps that led to what was found."""
        self._note(promise).trace = text

    def _note(self, promise: str) -> _Noted:
        return self._notes.setdefault(promise, _Noted())

    def findings(self, check: Check, error: BaseException | None, seconds: float) -> list[Finding]:
        """What the check found of each promise that it is about, or has noted."""
        found = []
        is_cut_short = error is not None and not isinstance(error, (NotTried, NotOffered))
        for promise in dict.fromkeys((*check.promises, *self._notes)):
            note = self._note(promise)
            # What it has kept so far is not all that the check would have shown.
            is_open = note.verdict is None or (is_cut_short and note.verdict is Verdict.KEPT)
            if is_open:
                note.verdict = Verdict.NOT_TRIED
                note.words, note.trace = _unreached(error), _traced(error)
            assert note.verdict is not None
            found.append(
                Finding(
                    promise,
                    note.verdict,
                    note.words,
                    check.name,
                    tuple(note.figures),
                    note.trace,
                    note.replay,
                    tried=dict(note.tried),
                    seconds=seconds,
                    unfinished=is_open and is_cut_short,
                )
            )
        return found


def _unreached(error: BaseException | None) -> str:
    if error is None:
        return "the check came to its end before it"
    if isinstance(error, (NotTried, NotOffered)):
        return str(error)
    if isinstance(error, _FAULTS):
        return f"it did not come to that: {_worded(error)}"
    if isinstance(error, Overdue):
        return f"the check was ended: {error}"
    return f"the check itself failed: {type(error).__name__}: {error}"


def _worded(error: BaseException) -> str:
    """The error in one sentence; of a check's own assertion, its words."""
    text = str(error).strip()
    if isinstance(error, AssertionError):
        return text.partition("\nassert ")[0] or "an assertion failed"
    if isinstance(error, Refused):
        return f"it was refused: {text}"
    if not isinstance(error, _FAULTS):
        return in_words(error)
    return text or type(error).__name__


def _traced(error: BaseException | None) -> str:
    """Where in the check; the notes of an error, where it has some, instead."""
    if error is None:
        return ""
    if notes := getattr(error, "__notes__", None):
        return "\n".join(notes)
    if isinstance(error, Overdue):  # from the check to where it was, without the alarm
        return "".join(traceback.format_tb(error.__traceback__)[1:-1][:_FRAMES])
    return "" if isinstance(error, _FAULTS) else "".join(traceback.format_exception(error)[-4:])
