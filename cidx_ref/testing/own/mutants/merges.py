"""Merges that are in the way, or that nobody noticed were none; and segments closed too early.

(CACHE-4, CACHE-7, FRESH-1, FRESH-2, FRESH-4, WRITE-1.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon.indexing import IndexRuns, _Listener, _SharedRun
from cidx_ref.errors import CidxError
from cidx_ref.index import merging
from cidx_ref.index.base import open_base
from cidx_ref.index.generation import Generations
from cidx_ref.index.loaded import LoadedSegments, SegmentKey
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("FRESH-1")
def a_merge_is_not_cancelled() -> Iterator[None]:
    """A newer change waits until a merge is over."""
    cancel = IndexRuns._cancel

    def spare(self: IndexRuns, shared: _SharedRun) -> None:
        if not shared.options.merge:
            cancel(self, shared)

    with patch.object(IndexRuns, "_cancel", spare):
        yield


@mutant("WRITE-1", "beside a merge|nobody does it")
def a_run_begins_beside_a_merge() -> Iterator[None]:
    """A run does not wait until the merge that it has cancelled is over."""
    with patch.object(IndexRuns, "_merges_beside", lambda self, shared: False):
        yield


@mutant("FRESH-2")
def a_merge_counts_as_a_look_at_the_files() -> Iterator[None]:
    """A merge is told as a scan: what has changed before it is taken to be in it."""

    def scanning(self: _Listener) -> None:
        self._runs._close_to_others(self._shared)

    with patch.object(_Listener, "scanning", scanning):
        yield


@mutant("FRESH-4")
def a_merge_overtakes_an_edit() -> Iterator[None]:
    """A merge that waits for a writer merges what was live before that has published."""
    writing = Generations.writing

    @contextmanager
    def note(self: Generations, *waiting: Any) -> Iterator[int]:
        with suppress(CidxError):
            vars(self)["before"] = self.current()
        with writing(self, *waiting) as lock_fd:
            yield lock_fd

    def of_before(generations: Generations, *arguments: Any) -> Any:
        with patch.object(generations, "current", lambda: vars(generations)["before"]):
            return open_base(generations, *arguments)

    with patch.object(Generations, "writing", note), patch.object(merging, "open_base", of_before):
        yield


@mutant("CACHE-4", "was closed while")
def a_segment_is_closed_with_its_first_generation() -> Iterator[None]:
    """A segment is closed by the first generation that gives it back, whoever else has it."""
    give_back = LoadedSegments.give_back

    def close(self: LoadedSegments, key: SegmentKey) -> None:
        segment, _ = self._segments[key]
        give_back(self, key)
        if key in self._segments:
            segment.close()

    with patch.object(LoadedSegments, "give_back", close):
        yield


@mutant("CACHE-7", "segment .* was closed 0 times", needs_switches=True)
def a_second_load_is_forgotten() -> Iterator[None]:
    """Of two that have read a segment at once, the second lets go of what it has read, open."""

    def take(self: LoadedSegments, key: SegmentKey, load: Callable[[], Any]) -> Any:
        known = self._again(key)
        if known is None:
            loaded = load()
            with self._lock:
                if key not in self._segments:
                    self._segments[key] = loaded, 1
                    return loaded
            known = self._again(key)
        return known

    with patch.object(LoadedSegments, "take", take):
        yield
