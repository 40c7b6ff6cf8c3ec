"""How long a check may take: what ends one that does not end.

Here belongs the end that a check is given where it runs, in the midst of whatever it does, so that
it tidies up and what it has found counts.  What does not hear that is ended with its process, if it
has one of its own (`at_once`).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from cidx_ref.testing.ground import SYSTEM

__all__ = ["Overdue", "overdue", "within"]

#: What is left of another's time when it is over here: 0 would be none.
_AT_ONCE_S = 1e-6
#: An alarm takes no more.
_MOST_S = 1e9


class Overdue(KeyboardInterrupt):
    """The time is over.  An interrupt: what tidies up behind one does so here, and what catches
    errors does not take it for one."""


def overdue(seconds: float) -> str:
    """What is said of it."""
    return f"it does not end within {seconds:g} s"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have the block raise `Overdue` when so long has passed; but in the main thread only, and not
    where somebody else's alarm comes sooner (of a test's own time limit)."""

    def end(number: int, frame: object) -> None:
        raise Overdue(overdue(seconds))

    theirs_s, every_s = signal.getitimer(signal.ITIMER_REAL)
    if 0 < theirs_s <= seconds:
        yield
        return
    try:
        before = signal.signal(signal.SIGALRM, end)
    except ValueError:  # of another thread no signal is handled
        yield
        return
    began = SYSTEM.monotonic()
    signal.setitimer(signal.ITIMER_REAL, min(seconds, _MOST_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if theirs_s:
            left_s = max(theirs_s - (SYSTEM.monotonic() - began), _AT_ONCE_S)
            signal.setitimer(signal.ITIMER_REAL, left_s, every_s)
