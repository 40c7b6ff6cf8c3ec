"""Which index a project has: the one place that knows all implementations of the port."""

from __future__ import annotations

from cidx_ref.index.either import EitherIndex
from cidx_ref.index.embed import Embedder
from cidx_ref.index.port import Index
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["open_index"]


def open_index(
    project: Project, runtime: Runtime = SYSTEM, *, embedder: Embedder | None = None
) -> Index:
    """The index of `project`, be there one yet or not.  Raises `ConfigError`."""
    return EitherIndex(project, runtime, embedder=embedder)
