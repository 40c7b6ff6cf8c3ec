"""Daemons that believe what the full cidx has written, or leave a trace in it (TRUST-1, TRUST-2),
or do not see that it has written anew (CACHE-4, CACHE-8, FRESH-3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

from cidx_ref.index import graphs
from cidx_ref.index.cidx import check, looks, rows, tree
from cidx_ref.index.cidx.keeping import Keeping
from cidx_ref.index.cidx.words import TextFiles
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("TRUST-1")
def a_full_text_is_opened_where_it_lies() -> Iterator[None]:
    """tantivy makes its lock in the directory of the full cidx."""

    @contextmanager
    def in_place(self: TextFiles) -> Iterator[Path]:
        fd = next(iter(self.fds.values()))
        yield Path(f"/proc/self/fd/{fd}").resolve().parent

    with patch.object(TextFiles, "links", in_place):
        yield


@mutant("TRUST-2")
def whatever_the_full_cidx_wrote_is_taken() -> Iterator[None]:
    """An index of the full cidx is used without having been adopted."""
    with patch.object(Keeping, "is_adopted", PropertyMock(return_value=True)):
        yield


@mutant("TRUST-2")
def links_in_a_graph_are_believed() -> Iterator[None]:
    """Where the links of a graph lead is not looked at."""
    look = graphs._check_links

    def believe(records: Any, count: int, most: int, **options: Any) -> Any:
        return look(records, 1 << 32, most, **options)

    with patch.object(graphs, "_check_links", believe):
        yield


@mutant("CACHE-8")
def what_the_full_cidx_publishes_is_not_seen() -> Iterator[None]:
    """A generation is known by its collection only."""
    named = PropertyMock(return_value="cidx-always")
    with patch.object(tree.Tree, "generation", named):
        yield


@mutant("CACHE-8")
def a_look_counts_for_ever() -> Iterator[None]:
    """What the full cidx writes is not looked for once there was a look."""
    with patch.object(looks, "_are", lambda seen: True):
        yield


@mutant("CACHE-4")
def a_graph_and_its_description_are_taken_as_they_are_met() -> Iterator[None]:
    """A new graph with an old description is not noticed."""
    with patch.object(check, "same_vector", lambda found, stored: True):
        yield


@mutant("FRESH-3")
def the_working_tree_has_every_version() -> Iterator[None]:
    """The text of a point is read from the file as it is now, whatever it was."""
    with patch.object(rows, "is_version", lambda point, now: now.data is not None):
        yield
