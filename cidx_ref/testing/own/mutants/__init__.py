"""The zoo: small broken variants of the daemon, each against one promise.

A mutant is a patch of the real code for as long as a block runs, never an edit in it.  Its
promise's searches (`searches`) or tests must find it; where they do not, either is worthless.
The story's own mistakes (docs/requirements.md has what is done instead) come first.  A module here
holds the mutants of one part of the daemon.
A downstream project can plant them too:

    with MUTANTS["touch_only_at_the_beginning"].planted():
        ...
"""

from cidx_ref.testing.own.mutants import (
    answers,
    cache,
    embedding,
    fresh,
    generations,
    increments,
    merges,
    scans,
    socket,
    speed,
    theirs,
    time,
    trust,
    watching,
    wire,
)
from cidx_ref.testing.own.mutants.registry import MUTANTS, Mutant

__all__ = [
    "MUTANTS",
    "Mutant",
    "answers",
    "cache",
    "embedding",
    "fresh",
    "generations",
    "increments",
    "merges",
    "scans",
    "socket",
    "speed",
    "theirs",
    "time",
    "trust",
    "watching",
    "wire",
]
