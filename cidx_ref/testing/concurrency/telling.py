"""How a schedule that breaks a scenario is told: as a table, and by a line that shows it again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cidx_ref.testing.concurrency.scheduler import Step

__all__ = ["described", "module_of", "parsed", "replay_line", "table"]

#: So many steps are shown, the last ones.
_ROWS = 100


def described(
    scenario: Callable[..., object],
    schedule: Mapping[int, int],
    trace: Sequence[Step],
    error: BaseException | None,
    switches: int,
) -> str:
    name = getattr(scenario, "__qualname__", "")
    causes = "".join(f"\n  because of {c!r}" for c in _causes(error))
    return "\n".join(
        (
            f"{name}: {type(error).__name__}: {error}{causes}",
            *table(trace),
            f"context switches: {switches}; to see it again:",
            f"    {replay_line(scenario, schedule)}",
        )
    )


def replay_line(scenario: Callable[..., object], schedule: Mapping[int, int]) -> str:
    """One line for a shell."""
    line = " ".join(f"{number}:{answer}" for number, answer in sorted(schedule.items()))
    # What makes scenarios of something that it was given knows its own way back to it.
    own: Callable[[str], str] | None = getattr(scenario, "replay_line", None)
    if own is not None:
        return own(line)
    name = f"{module_of(scenario)}:{getattr(scenario, '__qualname__', '')}"
    return f'python -m cidx_ref.testing.concurrency.explore {name} "{line}"'


def module_of(made: Callable[..., object]) -> str:
    """What it can be imported from: of a program that was run, the name of its file."""
    module = made.__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).stem if module == "__main__" and file else module


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """What it was made from, though it was raised `from None`."""
    while error is not None and (error := error.__cause__ or error.__context__) is not None:
        yield error


def table(trace: Sequence[Step]) -> Iterator[str]:
    threads = max(map(len, ("thread", *(step.thread for step in trace))))
    actions = max(map(len, ("does", *(step.action for step in trace))))
    yield f"{'step':>6}  {'thread':<{threads}}  {'does':<{actions}}  holds"
    before = ""
    if len(trace) > _ROWS:
        yield f"{'...':>6}  ({len(trace) - _ROWS} steps)"
    for number, step in list(enumerate(trace, 1))[-_ROWS:]:
        is_last = number == len(trace) or trace[number].thread != step.thread
        if step.action == "clock" and not is_last and step.thread == before:
            continue  # where nothing happened between looking at the clock and going on
        name = "" if step.thread == before else step.thread
        holds = ", ".join(step.holds)
        yield f"{number:>6}  {name:<{threads}}  {step.action:<{actions}}  {holds}".rstrip()
        before = step.thread


def parsed(line: str) -> dict[int, int]:
    """A schedule, as `replay_line` wrote it.  Raises `ValueError`."""
    try:
        pairs = [pair.split(":") for pair in line.split()]
        return {int(number): int(answer) for number, answer in pairs}
    except ValueError:
        raise ValueError(f"a schedule is like '12:1 30:1', not {line!r}") from None
