"""Which index `adopt` takes: one of our format, or that of the full cidx, where it lies."""

from __future__ import annotations

from typing import Any

from cidx_ref.errors import CidxError, UntrustedError
from cidx_ref.index.cidx.theirs import TheirIndex
from cidx_ref.index.either import EitherIndex
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import read_manifest
from cidx_ref.index.ours import OurIndex
from cidx_ref.project import DIRECTORY, Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["adopt"]


def adopt(
    project: Project,
    *,
    source: str | None = None,
    wait_s: float | None = None,
    runtime: Runtime = SYSTEM,
) -> dict[str, Any]:
    """Check an index, take it, and say what it holds; see `adopt.adopt` and `TheirIndex.adopt`.

    `source` is "own" or "cidx"; None: ours, if one lies here that was not made here.
    """
    project.check()
    ours = OurIndex(project, runtime)
    theirs = TheirIndex(project.root, ours.embedder, ours.key, runtime)
    if source is None:
        source = "cidx" if theirs.lies_here() and not _waits_for_adoption(project) else "own"
    if source == "own":
        from cidx_ref.index.adopt import adopt as take

        return take(project, wait_s=wait_s, runtime=runtime)
    if ours.key.problem is not None:
        raise UntrustedError(f"an adopted index would be forgotten: {ours.key.problem}")
    taken = theirs.adopt()
    serves = EitherIndex(project, runtime, embedder=ours.embedder).describe()["source"]
    return {**taken, "source": serves}


def _waits_for_adoption(project: Project) -> bool:
    """Whether there is an index of our format that this account has not made."""
    in_the_tree = project.root / DIRECTORY / project.generations.name
    try:
        found = Generations(in_the_tree if in_the_tree.is_dir() else project.generations)
        generation = found.current()
    except (CidxError, OSError):
        return False
    try:
        read_manifest(found.path(generation), found.key)
    except (CidxError, OSError):
        return True
    return False
