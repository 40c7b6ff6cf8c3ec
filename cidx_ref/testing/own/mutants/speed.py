"""What is slow, or grows (PERF-1 to PERF-4, PERF-6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.served import Served
from cidx_ref.index import search, writing
from cidx_ref.index.fulltext import FullTextIndex
from cidx_ref.index.loaded import LoadedSegments
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.writing import SegmentSink
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("PERF-1")
def loaded_for_each_query() -> Iterator[None]:
    """Whoever is done with the index forgets it."""
    release = IndexCache._release

    def forget(self: IndexCache[Any], entry: Any) -> None:
        release(self, entry)
        self.clear()

    with patch.object(IndexCache, "_release", forget):
        yield


@mutant("PERF-2")
def ten_milliseconds_more() -> Iterator[None]:
    """Full text takes ten milliseconds longer than it need."""
    find = FullTextIndex.search

    def slow(self: FullTextIndex, *arguments: Any) -> Any:
        SYSTEM.sleep(0.010)
        return find(self, *arguments)

    with patch.object(FullTextIndex, "search", slow):
        yield


@mutant("PERF-3")
def lock_around_the_search() -> Iterator[None]:
    """One query searches at a time."""
    find = Served._search

    def alone(self: Served, *arguments: Any) -> Any:
        with self.freshness._beginning:
            return find(self, *arguments)

    with patch.object(Served, "_search", alone):
        yield


@mutant("PERF-4")
def answers_are_kept() -> Iterator[None]:
    """Every answer is remembered, and none of them used."""
    kept: list[Any] = []
    answer = search.answer

    def keep(*arguments: Any) -> Any:
        kept.append(answer(*arguments))
        return kept[-1]

    with patch.object(search, "answer", keep):
        yield


@mutant("PERF-6")
def everything_is_loaded_anew() -> Iterator[None]:
    """A publish loads all of the index, also what is in memory."""
    load = GenerationSource.load

    def anew(self: GenerationSource, generation: str) -> IndexSnapshot:
        self._segments = LoadedSegments()
        return load(self, generation)

    with patch.object(GenerationSource, "load", anew):
        yield


@mutant("PERF-6")
def a_segment_takes_all_there_is() -> Iterator[None]:
    """What is written at once is one segment, however large."""

    def room(self: SegmentSink, chunks: int) -> Any:
        with patch.object(writing, "MAX_CHUNKS", 1 << 30):
            return room_for(self, chunks)

    room_for = SegmentSink._room_for
    with patch.object(SegmentSink, "_room_for", room):
        yield
