"""How this package runs itself in another process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

__all__ = ["frugal", "python_command"]

#: Of what a library takes for each core by default.  A multiplication of ours takes a millisecond:
#: more threads make none of them faster, and take hundreds of megabytes of the address space.  And
#: glibc keeps what has been freed in up to eight heaps a core, of 64 MB of address space each.
_FRUGAL = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def python_command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run `module` with this interpreter, from any directory.

    `-P`: nothing is imported from the working directory, where a repository may have a `json/`.
    """
    environment = frugal(os.environ)
    if search := environment.get("PYTHONPATH"):
        parts = [os.path.abspath(part) for part in search.split(os.pathsep) if part]  # noqa: PTH100
        environment["PYTHONPATH"] = os.pathsep.join(parts)
    return [sys.executable, "-P", "-m", module, *arguments], environment


def frugal(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which libraries take little; what the user has set in it counts."""
    return {**_FRUGAL, **environment}
