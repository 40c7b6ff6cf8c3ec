"""Indexes of several segments, made cheaply: limits are lowered, and a small segment is a graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cidx_ref.index import plan, semantic
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import GRAPH, MATRIX, read_manifest
from cidx_ref.keys import Key
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import write

__all__ = [
    "KINDS",
    "graphs",
    "in_segments",
    "indexed",
    "live",
    "nothing_tiny",
    "segment",
]

#: Of the vectors of the segments that `in_segments` makes, in their order.
KINDS = [GRAPH, GRAPH, MATRIX, MATRIX]


@contextmanager
def graphs() -> Iterator[None]:
    """Whatever is written has a graph, however small it is."""
    with patch.object(semantic, "EXACT_UP_TO", 0):
        yield


@contextmanager
def nothing_tiny() -> Iterator[None]:
    """No segment is taken into a new one only because it is tiny."""
    with patch.object(plan, "_TINY", 0):
        yield


def indexed(project: Project, **options: Any) -> dict[str, Any]:
    """Index what has changed, without merges."""
    return bring_up_to_date(project, HashingEmbedder(), merge=False, **options)


def in_segments(project: Project, key: Key | None = None) -> Path:
    """Index `project`, which holds the sample, in two graphs and two matrices, with a dead file in
    the first of each; the generation."""
    root = project.root
    with nothing_tiny():
        with graphs():
            indexed(project, key=key)
            write(root, "more/graph.py", "def in_the_second_graph():\n    return 2\n")
            indexed(project, key=key)
        for n in range(6):
            write(root, f"more/matrix{n}.py", f"def in_the_first_matrix_{n}():\n    return {n}\n")
        indexed(project, key=key)
        write(root, "more/matrix0.py", "def in_the_second_matrix():\n    return 'two'\n")
        write(root, "README.md", "# Sample\n\nAuthentication, retries, and what was added.\n")
        indexed(project, key=key)  # two chunks: five are more than twice as many, and stay
    found = live(project)
    described = read_manifest(found, key)["segments"].values()
    assert [each["vectors"] for each in described] == KINDS
    return found


def live(project: Project) -> Path:
    """Where the live generation lies."""
    generations = Generations(project.generations)
    return generations.path(generations.current())


def segment(generation: Path, number: int = 0) -> Path:
    """One of a generation's segments."""
    return sorted(generation.glob("s[0-9]*"))[number]
