"""Time that stands still until a test moves it, and places where a test can step in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cidx_ref.testing.ground import Runtime

__all__ = ["FakeRuntime"]


class FakeRuntime(Runtime):
    """The real locks and threads, on a clock of the test's own.

    Monotonic and wall-clock time begin at fixed values and move with `advance` (both) and
    `step_wall_clock` (the latter only).  Sleeping takes no time but the clock's.  `at` has a
    function called whenever the code passes the step of that name; it may raise.
    """

    def __init__(self) -> None:
        self._time_s = 1000.0
        self._wall = datetime(2026, 1, 1, 12, 0, 0)
        self._hooks: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)
        self.steps: list[str] = []
        #: What was about to change the file system: kind and name of each operation.
        self.operations: list[str] = []
        self._fails_at, self._failure, self._dies = 0, BaseException(), False

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._time_s += seconds
        self._wall += timedelta(seconds=seconds)

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or back, as an administrator or NTP would."""
        self._wall += timedelta(seconds=seconds)

    def at(self, step: str, hook: Callable[[], object]) -> None:
        """Call `hook` at every pass of `step`, in the thread that passes it."""
        self._hooks[step].append(hook)

    def fail_at(self, number: int, error: BaseException, *, dies: bool = False) -> None:
        """Raise `error` before the operation of that number (from 1) on files.

        With `dies` before all later ones, too: what a process that has died would run in `finally`
        changes no file.
        """
        self._fails_at, self._failure, self._dies = number, error, dies

    def operation(self, kind: str, path: Path) -> None:
        self.operations.append(f"{kind} {path.name}")
        done = len(self.operations)
        if done == self._fails_at or (self._dies and done > self._fails_at > 0):
            raise self._failure

    def monotonic(self) -> float:
        return self._time_s

    def now(self) -> datetime:
        return self._wall

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def step(self, name: str) -> None:
        self.steps.append(name)
        for hook in tuple(self._hooks.get(name, ())):
            hook()
