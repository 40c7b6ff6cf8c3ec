"""The process in which an index of the full cidx is checked, and how it is started.

What came with a clone may make an engine end its process, or work without end: so that is another
one than the daemon's, and it has limits.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cidx_ref.errors import CidxError, GenerationGone, IndexUnusableError, from_kind
from cidx_ref.files import Directory
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.meta import TornError
from cidx_ref.index.limited import FailedError, Limits, run
from cidx_ref.interpreter import python_command, told_by, without_secrets
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Check", "check_apart", "check_here", "main"]

_LIMITS = Limits(
    stall_s=60.0, cpu_s=3600, wall_s=7200.0, memory_bytes=1 << 38, output_bytes=1 << 22
)


#: Does a job, and returns the record.  Raises `TornError`, `GenerationGone`, `IndexUnusableError`.
Check = Callable[[tree.Job, Runtime], dict[str, Any]]


def check_here(job: tree.Job, runtime: Runtime = SYSTEM) -> dict[str, Any]:
    """In this process; see `Check`."""
    from cidx_ref.index.cidx.check import make_catalogue

    record = make_catalogue(job, runtime)
    if tree.look(job.root, job.model, job.found.watched) != job.found:
        raise GenerationGone("it has changed while it was read")
    return record


def check_apart(job: tree.Job, runtime: Runtime = SYSTEM) -> dict[str, Any]:
    """In a process of its own; see `Check`."""
    found = job.found
    told: dict[str, Any] = {
        "root": str(job.root),
        "generation": found.generation,
        "model": job.model,
        "watched": list(found.watched),
        "above": str(job.above.path),
        "name": job.name,
        "is_last": job.is_last,
    }
    command, environment = python_command("cidx_ref.index.cidx.checking", json.dumps(told))
    try:
        env = without_secrets(environment)
        output = run(command, cwd=Path("/"), env=env, limits=_LIMITS, runtime=runtime)
    except FailedError as error:
        raise IndexUnusableError(f"checking the index failed: {error}") from None
    said = next(filter(None, map(told_by, reversed(output.splitlines()))), {})
    if "record" in said:
        return dict(said["record"])
    if "torn" in said:
        raise TornError(said["torn"])
    if "gone" in said:
        raise GenerationGone(said["gone"])
    raise from_kind(*said.get("error", ("index_unusable", "checking the index failed")))


def main(arguments: list[str]) -> dict[str, Any]:
    """What the process says of its job."""
    told = json.loads(arguments[0])
    root, model = Path(told["root"]), told["model"]
    try:
        found = tree.look(root, model, told["watched"])
        if found is None or found.generation != told["generation"]:
            return {"gone": "it has changed since it was looked at"}
        with Directory.open(Path(told["above"])) as above:
            job = tree.Job(root, found, model, above, told["name"], told["is_last"])
            return {"record": check_here(job)}
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
