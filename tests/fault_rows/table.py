"""What a row of the table is; and the register of all rows and of the mutants that they catch.

A row is a function that sets up what all its cases share and yields a `Trial`:

    @row("a client sends half a frame, and waits", "RPC-6", cases=300, sample=3)
    @contextmanager
    def half_open(place: Place) -> Iterator[Trial]:
        with daemon(place) as (socket, pid):
            def check(number: int) -> None:
                ...
            yield Trial(check, pids=(pid,))

A case is known by its number, from 0 on, from which all follows that is random in it; so a case
that has failed can be tried again, alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from random import Random

from cidx_ref.places import INDEX_DIRECTORY, STATE_DIRECTORY

__all__ = [
    "MUTANTS",
    "ROWS",
    "Mutant",
    "NotHereError",
    "Place",
    "Row",
    "Trial",
    "load",
    "mutant",
    "row",
]

#: What is no module of rows.
_FRAME = frozenset({"__main__", "planted", "report", "table", "trying"})
#: Of an environment, what a program that is started here must not see.
_OF_THE_TESTS = ("PYTEST_", "COV_", "CIDX_")


class NotHereError(Exception):
    """What a row needs and this machine does not have, in words; raised by its set-up."""


@dataclass(frozen=True)
class Place:
    """Where a row does its work; the directory is empty, and removed when the row is done."""

    path: Path
    #: The mutant that is planted, `row:function`; None if there is none.
    planted: str | None = None

    @property
    def command(self) -> list[str]:
        """What runs `cidx-ref`, with the mutant in it; for the environment below."""
        module = ["cidx_ref"] if self.planted is None else ["fault_rows.planted", self.planted]
        return [sys.executable, "-P", "-m", *module]

    @property
    def environment(self) -> dict[str, str]:
        """This process's, but with a state directory of the row's own, and our modules in reach."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(_OF_THE_TESTS)}
        state = self.path.with_name(f"{self.path.name}.state")
        places = {STATE_DIRECTORY: str(state), INDEX_DIRECTORY: ""}
        return {**own, **places, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}


@dataclass(frozen=True)
class Trial:
    """What a row's cases share, once it is set up."""

    #: Tries the case of this number; `AssertionError`: a promise is broken, and how.
    check: Callable[[int], None]
    #: Processes that have in the end the memory, threads and descriptors that they had before.
    pids: tuple[int, ...] = ()


Open = Callable[[Place], AbstractContextManager[Trial]]
Plant = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Mutant:
    """A guard that is broken on purpose: the row sees it within its sample."""

    name: str
    what: str
    plant: Plant


@dataclass(frozen=True)
class Row:
    """A fault, the promises that hold in spite of it, and how many cases are tried."""

    name: str
    fault: str
    promises: tuple[str, ...]
    cases: int
    sample: int
    open: Open
    #: Seconds that a case may take before it counts as one that hangs.
    patience_s: float = 60.0
    mutants: list[Mutant] = field(default_factory=list)

    def random(self, number: int) -> Random:
        """Of the case of this number."""
        return Random(f"{self.name} {number}")


ROWS: dict[str, Row] = {}
#: By `row:function`, as a process is told which one to plant.
MUTANTS: dict[str, Mutant] = {}


def row(
    fault: str, *promises: str, cases: int, sample: int, patience_s: float = 60.0
) -> Callable[[Open], Open]:
    """Register the decorated function as the row of its name (dashes for underscores)."""

    def register(open_: Open) -> Open:
        name = getattr(open_, "__name__", "").replace("_", "-")
        assert name not in ROWS, f"there are two rows {name}"
        ROWS[name] = Row(name, fault, promises, cases, sample, open_, patience_s)
        return open_

    return register


def mutant(row_name: str, what: str) -> Callable[[Plant], Plant]:
    """Register the decorated function, which plants it, as a mutant that the row catches.

    The row may stand below it in its module.
    """

    def register(plant: Plant) -> Plant:
        name = getattr(plant, "__name__", "").strip("_")
        MUTANTS[f"{row_name}:{name}"] = Mutant(f"{row_name}:{name}", what, plant)
        return plant

    return register


def load() -> dict[str, Row]:
    """All rows, each with its mutants."""
    for found in iter_modules([str(Path(__file__).parent)]):
        if found.name not in _FRAME:
            import_module(f"fault_rows.{found.name}")
    for row_ in ROWS.values():
        row_.mutants[:] = _mutants_of(row_.name)
    known = {one.name for row_ in ROWS.values() for one in row_.mutants}
    assert known == MUTANTS.keys(), f"of no row: {MUTANTS.keys() - known}"
    return ROWS


def _mutants_of(name: str) -> Iterator[Mutant]:
    return (one for key, one in MUTANTS.items() if key.partition(":")[0] == name)
