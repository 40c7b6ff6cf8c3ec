"""What a mutant is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant", "mutant"]


@dataclass(frozen=True)
class Mutant:
    """One broken variant."""

    name: str
    #: The promise that it breaks, and whose searches must say so.
    promise: str
    #: What is wrong with it.
    what: str
    #: What a search must say that finds it, as a regular expression; what only dies some way, of
    #: an accident in the mutant for example, is not found.  Empty: it is for the tests to find.
    complaint: str
    #: It takes a switch between threads in the right place to see it.
    needs_switches: bool
    planted: Callable[[], AbstractContextManager[None]]


#: By name.
MUTANTS: dict[str, Mutant] = {}

_Plant = Callable[[], Iterator[None]]


def mutant(
    promise: str, complaint: str = "", *, needs_switches: bool = False
) -> Callable[[_Plant], _Plant]:
    """The decorated function plants the mutant of its name; its docstring says what is wrong."""

    def register(plant: _Plant) -> _Plant:
        name, what = plant.__name__, " ".join((plant.__doc__ or "").split())
        made = contextmanager(plant)
        MUTANTS[name] = Mutant(name, promise, what, complaint, needs_switches, made)
        return plant

    return register
