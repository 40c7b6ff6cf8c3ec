"""The zoo as mutants of the kit: our own daemon with each of them in it must not pass.

    cidx-ref verify cidx_ref.testing.own.conformance:TARGET --mutants cidx_ref.testing.own.zoo

A mutant of the cache or the claim is planted in this process, where all schedules are tried; any
other in a daemon, from outside.  What no door shows is in `UNSEEN`, with the reason: there the
tests of this package must see it.
"""

from __future__ import annotations

from cidx_ref.testing.conformance.mutants import Mutant
from cidx_ref.testing.own import mutants as own
from cidx_ref.testing.own.conformance import mutated

__all__ = ["MUTANTS", "UNSEEN"]

#: Planted in this process, whatever module they are in.
_PARTS = frozenset({"cache", "time"})

_INSIDE = "how our index is made: no door shows it"
_LARGE = "it takes an index of a hundred thousand chunks to be seen"
_ENGINE = "it takes an engine that is missing, which no target can be asked for"
_FILTERS = "filters are no role of the kit's methods"
_LOG = "the log has a layout of its own"
_CLIENT = "it is in the shipped client, and the kit asks by one of its own"
_ACCOUNT = "it takes a second account"
_WATCH = "it takes a race with the watch that is made in this process"

#: By name, why the kit does not see it.
UNSEEN: dict[str, str] = {}


def _is_of_a_part(mutant: own.Mutant) -> bool:
    return mutant.planted.__module__.rsplit(".", 1)[-1] in _PARTS


#: By name.
MUTANTS: dict[str, Mutant] = {
    name: Mutant(mutant.promise, patch=mutant.planted)
    if _is_of_a_part(mutant)
    else Mutant(mutant.promise, target=mutated(name))
    for name, mutant in own.MUTANTS.items()
    if name not in UNSEEN
}
