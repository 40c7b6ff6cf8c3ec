"""Linearizability: whether what overlapping operations answered can be explained one by one.

A `History` records when each operation was called, when it returned, and what.  It is
*linearizable* (Herlihy and Wing, 1990) if every operation can be given one instant between the two
such that, taken in the order of these instants, each answers what the model says.  So a promise
like "once `index` has returned, every later query sees it" is judged over any overlap there was.

The search is Wing and Gong's, with Lowe's memory of what was tried ("Testing for
linearizability", 2017).  It is exponential in how many operations overlap, which are few here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

__all__ = [
    "History",
    "Model",
    "NotLinearizable",
    "Operation",
    "check_linearizable",
    "final_states",
]

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")

#: `model(state, operation)`: the states that `operation`, answered as it was, can lead to; none if
#: it cannot be answered so in `state`.
Model = Callable[[S, "Operation"], Iterable[S]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: between the instants `called` and `returned`, `name` answered `result`."""

    thread: str
    name: str
    result: Any
    called: int
    returned: int

    def __str__(self) -> str:
        return f"[{self.called:>3}, {self.returned:>3}] {self.thread}: {self.name} -> {self.result}"


class History:
    """What was called and answered, from any number of threads."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        # One `next` is one step of the interpreter, so no two threads are told the same instant.
        self._instants = count()

    def call(self, thread: str, name: str, do: Callable[[], T]) -> T:
        """Do it, and record it with what it returned.  One that raises is not recorded: have `do`
        return what stands for the error if the model is to judge it."""
        called = next(self._instants)
        result = do()
        operation = Operation(thread, name, result, called, next(self._instants))
        self.operations.append(operation)
        return result


class NotLinearizable(AssertionError):  # noqa: N818 - its name in the field
    """No order of the operations explains what they answered.  Its text has them all."""

    def __init__(self, history: History) -> None:
        super().__init__(f"not linearizable:\n{_listed(history.operations)}")
        self.history = history


def check_linearizable(history: History, initial: S, model: Model[S]) -> None:
    """Raises `NotLinearizable`, an `AssertionError`, if no order explains `history`.

    It raises, where the other checks return findings, because it is what a scenario's `check` does
    at its end: which promise that breaks is the scenario's to say.
    """
    if not final_states(history.operations, [initial], model):
        raise NotLinearizable(history)


def final_states(operations: Sequence[Operation], initial: Iterable[S], model: Model[S]) -> set[S]:
    """The states in which a linearization of `operations` can end; none: there is no such."""
    found: set[S] = set()
    everything = frozenset(range(len(operations)))
    seen = {(everything, state) for state in initial}
    ahead = list(seen)
    while ahead:
        pending, state = ahead.pop()
        if not pending:
            found.add(state)
            continue
        # Whatever returned before another was called comes before it.
        horizon = min(operations[number].returned for number in pending)
        for number in pending:
            if operations[number].called < horizon:
                for following in model(state, operations[number]):
                    node = pending - {number}, following
                    if node not in seen:
                        seen.add(node)
                        ahead.append(node)
    return found


def _listed(operations: Sequence[Operation]) -> str:
    return "\n".join(f"  {operation}" for operation in sorted(operations, key=lambda o: o.called))
