"""Which runtime is in force, and what a thing that is made under it is called in a trace."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.concurrency.scheduler import Scheduler

__all__ = ["Active", "active", "enter", "leave", "named", "scheduler"]

#: Frames of these files are no place in the code under test.
_HERE = str(Path(__file__).parent)


class Active:
    """A runtime in force, and how often each name was given under it."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime
        self.names: Counter[str] = Counter()
        #: What the code has put into `threading.excepthook`.
        self.excepthook: Callable[[Any], object] | None = None


_stack: list[Active] = []


def enter(runtime: FakeRuntime) -> Active:
    """Put `runtime` in force."""
    if _stack and _stack[-1].runtime is not runtime:
        raise RuntimeError("another runtime is in force: instrument for one at a time")
    made = Active(runtime)
    _stack.append(made)
    return made


def leave(entered: Active) -> None:
    _stack.remove(entered)


def active() -> Active:
    if not _stack:
        raise RuntimeError("used outside `instrument`: what was made within it ends with it")
    return _stack[-1]


def scheduler() -> Scheduler:
    """The scheduler in force."""
    runtime = active().runtime
    assert isinstance(runtime, Scheduler), "locks and threads stay as they are without a scheduler"
    return runtime


def named(kind: str, name: str = "") -> str:
    """A name for one that is made now: by `name`, or else by the line of code that makes it."""
    if not name:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
            frame = frame.f_back
        name = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    label = f"{kind} {name}"
    names = active().names
    names[label] += 1
    return label if names[label] == 1 else f"{label} #{names[label]}"
