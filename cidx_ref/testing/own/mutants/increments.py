"""Broken index runs over an index that is there (FRESH-4 and FRESH-5)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from unittest.mock import patch

from cidx_ref.files import Directory
from cidx_ref.index import build
from cidx_ref.index.assembly import Assembly
from cidx_ref.index.base import BaseFile
from cidx_ref.index.fulltext import FullTextWriter
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.loaded import LoadedSegments
from cidx_ref.index.segment import Segment
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.writing import SegmentSink
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("FRESH-4")
def gone_but_for_the_full_text() -> Iterator[None]:
    """What is dropped stays in the full text."""
    with patch.object(FullTextWriter, "drop", lambda self, files: None):
        yield


@mutant("FRESH-4")
def gone_but_for_the_vectors() -> Iterator[None]:
    """What is dropped is not noted as dead, so that it stays in its segment."""
    drop = Assembly.drop

    def forget(self: Assembly, files: Iterable[BaseFile]) -> None:
        before = {name: list(gone) for name, gone in self._dead.items()}
        drop(self, files)
        self._dead = before

    with patch.object(Assembly, "drop", forget):
        yield


@mutant("FRESH-4")
def the_dead_are_read_as_alive() -> Iterator[None]:
    """A reader counts without the dead, and searches as if there were none."""
    init = LiveChunks.__init__

    def all_alive(
        self: LiveChunks, segments: Mapping[str, Segment], dead: Mapping[str, Any] | None = None
    ) -> None:
        counted = LiveChunks.__new__(LiveChunks)
        init(counted, segments, dead)
        init(self, segments, {})
        self._count = len(counted)

    with patch.object(LiveChunks, "__init__", all_alive):
        yield


@mutant("FRESH-4")
def a_merge_loses_a_file() -> Iterator[None]:
    """The last live file of a segment is not in what that is merged into."""

    def lose(self: Assembly, names: Iterable[str], sink: SegmentSink) -> None:
        live = self._live_in
        with patch.object(self, "_live_in", lambda name, segment: live(name, segment)[:-1]):
            merge(self, names, sink)

    merge = Assembly.merge
    with patch.object(Assembly, "merge", lose):
        yield


@mutant("FRESH-4")
def a_merge_brings_back_the_dead() -> Iterator[None]:
    """A segment is merged with all that it ever had."""

    def every(self: Assembly, name: str, segment: Segment) -> list[int]:
        return list(range(len(segment.store.files)))

    with patch.object(Assembly, "_live_in", every):
        yield


@mutant("FRESH-4")
def a_merge_buries_the_living() -> Iterator[None]:
    """What was dead in a segment that is merged away is dead by its number in the new one, too."""
    merge, finish = Assembly.merge, Assembly.finish

    def keep(self: Assembly, names: Iterable[str], sink: SegmentSink) -> None:
        wanted = list(names)
        stale = [number for name in wanted for number in self._dead.get(name, ())]
        merge(self, wanted, sink)
        vars(self)["stale"] = stale

    def bury(self: Assembly, *arguments: Any) -> dict[str, Any]:
        for name, written in islice(self.written.items(), 1):
            stale = {number for number in vars(self).get("stale", ()) if number < written.files}
            self._dead.update({name: sorted(stale)})
        return finish(self, *arguments)

    with patch.object(Assembly, "merge", keep), patch.object(Assembly, "finish", bury):
        yield


@mutant("FRESH-4")
def the_old_full_text_is_kept_too() -> Iterator[None]:
    """A full text that is made anew goes on from the old one, and forgets nothing of it."""
    with patch.object(Assembly, "renew_fulltext", lambda self: self.fulltext):
        yield


@mutant("FRESH-5")
def every_run_begins_anew() -> Iterator[None]:
    """No run goes on from the index that is there."""
    with patch.object(build, "open_base", lambda *_: None):
        yield


@mutant("FRESH-5")
def what_is_kept_is_copied() -> Iterator[None]:
    """A file that two generations have is there twice."""

    def copy(self: Directory, source: Directory, name: str) -> None:
        shutil.copy2(source.engine_path / name, self.engine_path / name)

    with patch.object(Directory, "share", copy):
        yield


@mutant("FRESH-5")
def what_is_kept_is_hashed_again() -> Iterator[None]:
    """The checksum of each file is worked out by each run."""
    with patch.object(Assembly, "_shared", lambda self: {}):
        yield


@mutant("FRESH-5")
def every_edit_takes_all_in() -> Iterator[None]:
    """Whatever is added is written together with all that is small enough for a matrix."""

    merge = Assembly.merge

    def all_too(self: Assembly, names: Iterable[str], sink: SegmentSink) -> None:
        every = [] if self._base is None else self._base.sizes(self._dead)
        small = [size.id for size in every if size.id in self._kept and not size.is_graph]
        merge(self, dict.fromkeys([*names, *small]), sink)

    with patch.object(Assembly, "merge", all_too):
        yield


@mutant("FRESH-5")
def segments_are_not_shared_in_memory() -> Iterator[None]:
    """Each generation loads all of its segments."""
    take = IndexSnapshot._take

    def anew(self: IndexSnapshot, name: str, mismatch: str) -> Segment:
        self._segments = vars(self).setdefault("own", LoadedSegments())
        return take(self, name, mismatch)

    with patch.object(IndexSnapshot, "_take", anew):
        yield


@mutant("FRESH-5")
def nothing_dead_is_cleared_away() -> Iterator[None]:
    """No merge is ever due."""
    with patch.object(build, "is_merge_due", lambda *_: False):
        yield
