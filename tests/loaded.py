"""An index in memory, as a search has it: of a project that was indexed, or of files that are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import build, write

__all__ = ["loaded", "loaded_of"]


@contextmanager
def loaded(project: Project) -> Iterator[IndexSnapshot]:
    """The live generation of `project`, closed in the end."""
    source = GenerationSource(project.generations, HashingEmbedder())
    with closing(source.load(source.current())) as snapshot:
        yield snapshot


@contextmanager
def loaded_of(root: Path, files: Iterable[tuple[str, str]]) -> Iterator[IndexSnapshot]:
    """That of a project of `files`, paths and texts, which is made at `root`."""
    for path, text in files:
        write(root, path, text)
    project = Project.at(root)
    build(project)
    with loaded(project) as snapshot:
        yield snapshot
