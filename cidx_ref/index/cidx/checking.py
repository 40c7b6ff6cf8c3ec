"""The process in which an index of the full cidx is checked, and how it is started.

What came with a clone may make an engine end its process, or work without end: so that is another
one than the daemon's, and it has limits.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any, Protocol

from cidx_ref.errors import CidxError, GenerationGone, IndexUnusableError, from_kind
from cidx_ref.files import Directory
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.meta import TornError
from cidx_ref.index.limited import FailedError, Limits, run
from cidx_ref.interpreter import python_command, told_by
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Check", "check_apart", "check_here", "main"]

_LIMITS = Limits(
    stall_s=60.0, cpu_s=3600, wall_s=7200.0, memory_bytes=1 << 38, output_bytes=1 << 22
)


class Check(Protocol):
    """Checks the `found` index of the project at `root`, and writes its catalogue; the record."""

    def __call__(
        self,
        root: Path,
        found: tree.Tree,
        model: str | None,
        above: Directory,
        name: str,
        runtime: Runtime,
        *,
        is_last: bool,
    ) -> dict[str, Any]:
        """Raises `TornError`, `GenerationGone`, `IndexUnusableError`."""


def check_here(
    root: Path,
    found: tree.Tree,
    model: str | None,
    above: Directory,
    name: str,
    runtime: Runtime = SYSTEM,
    *,
    is_last: bool = False,
) -> dict[str, Any]:
    """In this process; see `Check`."""
    from cidx_ref.index.cidx.check import make_catalogue

    record = make_catalogue(root, found, above, name, runtime, is_last=is_last)
    if tree.look(root, model) != found:
        raise GenerationGone("it has changed while it was read")
    return record


def check_apart(
    root: Path,
    found: tree.Tree,
    model: str | None,
    above: Directory,
    name: str,
    runtime: Runtime = SYSTEM,
    *,
    is_last: bool = False,
) -> dict[str, Any]:
    """In a process of its own; see `Check`."""
    job = [str(root), found.generation, model or "", str(above.path), name, is_last]
    command, environment = python_command("cidx_ref.index.cidx.checking", json.dumps(job))
    try:
        output = run(command, cwd=Path("/"), env=environment, limits=_LIMITS, runtime=runtime)
    except FailedError as error:
        raise IndexUnusableError(f"checking the index failed: {error}") from None
    told = next(filter(None, map(told_by, reversed(output.splitlines()))), {})
    if "record" in told:
        return dict(told["record"])
    if "torn" in told:
        raise TornError(told["torn"])
    if "gone" in told:
        raise GenerationGone(told["gone"])
    raise from_kind(*told.get("error", ("index_unusable", "checking the index failed")))


def main(arguments: list[str]) -> dict[str, Any]:
    """What the process says of its job."""
    root, generation, model, path, name, is_last = json.loads(arguments[0])
    try:
        found = tree.look(Path(root), model or None)
        if found is None or found.generation != generation:
            return {"gone": "it has changed since it was looked at"}
        with Directory.open(Path(path)) as above:
            record = check_here(Path(root), found, model or None, above, name, is_last=is_last)
            return {"record": record}
    except TornError as error:
        return {"torn": str(error)}
    except GenerationGone as error:
        return {"gone": str(error)}
    except CidxError as error:
        return {"error": [error.kind, str(error)]}


if __name__ == "__main__":
    # All that is kept until the process ends would be gone through again and again: a sixth of it.
    gc.disable()
    said = json.dumps(main(sys.argv[1:]))
    sys.stdout.write(f"\n{said}\n")
