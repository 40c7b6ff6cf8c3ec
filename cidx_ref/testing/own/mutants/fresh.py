"""Answers that are less fresh than they say (FRESH-1 to FRESH-3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon.freshness import Freshness, NoWatch
from cidx_ref.daemon.indexing import IndexRuns, _SharedRun
from cidx_ref.index import stale
from cidx_ref.index.port import RunOptions
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("FRESH-1")
def unknown_is_nothing() -> Iterator[None]:
    """Where nobody knows what has changed, nothing has."""
    with patch.object(NoWatch, "pending", lambda self: 0):
        yield


@mutant("FRESH-1")
def first_come_first_served() -> Iterator[None]:
    """The first query is answered from what yesterday's daemon has left."""
    begin = Freshness._begin

    def as_any_other(self: Freshness) -> bool:
        begin(self)
        return False

    with patch.object(Freshness, "_begin", as_any_other):
        yield


@mutant("FRESH-2")
def any_run_will_do() -> Iterator[None]:
    """A query that wants it fresh takes the run that is under way, whatever it has looked at."""

    def is_open(self: _SharedRun, options: RunOptions) -> bool:
        return self.options == options and not self.is_cancelled

    with patch.object(_SharedRun, "is_open", is_open):
        yield


@mutant("FRESH-2")
def waiting_is_enough() -> Iterator[None]:
    """Whoever has waited is told that the answer is fresh, whatever came of it."""
    wait = Freshness._wait_for_a_run

    def trust(self: Freshness, options: RunOptions, *seconds: float) -> None:
        wait(self, options, *seconds)

    with patch.object(Freshness, "_wait_for_a_run", trust):
        yield


@mutant("FRESH-2")
def a_new_configuration_is_left_to_the_next_change() -> Iterator[None]:
    """What is to be indexed has changed, and what the watch knows of files counts as fresh."""
    with patch.object(Freshness, "doubt", lambda self: None):
        yield


@mutant("FRESH-2")
def any_generation_will_do() -> Iterator[None]:
    """What the watch knows is taken for true of whatever is live."""
    with patch.object(IndexRuns, "knows", lambda self, generation: True):
        yield


@mutant("FRESH-2")
def fresh_is_a_word() -> Iterator[None]:
    """A query that wants it fresh is answered from what is live, and told that this is fresh."""
    with patch.object(Freshness, "_freshen", lambda self, timeout_s: None):
        yield


@mutant("FRESH-3")
def only_the_time_of_modification() -> Iterator[None]:
    """A file with its old size and time of modification is what it was."""
    identity = stale._identity

    def by_mtime(*arguments: Any) -> Any:
        found = identity(*arguments)
        return found and (0, 0, *found[2:5], found[4])

    with patch.object(stale, "_identity", by_mtime):
        yield


@mutant("FRESH-3")
def a_change_is_nobodys_business() -> Iterator[None]:
    """Hits do not say that their file has changed."""
    with patch.object(stale.Staleness, "mark", lambda self, hits, digests: None):
        yield
