"""Which segments an index run writes anew: what edits cost in the long run, what stays small."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index import plan
from cidx_ref.index.manifest import GRAPH, MATRIX, SEGMENT_FILES
from cidx_ref.index.plan import (
    MAX_CHUNKS,
    SegmentSize,
    due_merge,
    is_full_text_due,
    is_merge_due,
    taken_in,
)
from cidx_ref.index.segment import STORE_FILES
from cidx_ref.index.semantic import EXACT_UP_TO

pytestmark = pytest.mark.once

MATRIX_CHUNKS = 4096


def matrices(*sizes: int) -> list[SegmentSize]:
    return [SegmentSize(f"m{n}", size) for n, size in enumerate(sizes)]


def graphs(*sizes: int) -> list[SegmentSize]:
    return [SegmentSize(f"g{n}", size, 0, True) for n, size in enumerate(sizes)]


def test_what_is_known_without_numpy_is_what_the_engines_go_by() -> None:
    assert plan._MATRIX_CHUNKS == EXACT_UP_TO == MATRIX_CHUNKS
    assert set(SEGMENT_FILES) == set(STORE_FILES)
    assert {MATRIX, GRAPH}.isdisjoint(SEGMENT_FILES)


@pytest.mark.parametrize(
    ("sizes", "added", "taken"),
    [
        ([], 5, []),
        (matrices(64), 0, ["m0"]),
        (matrices(64), 1, ["m0"]),  # tiny
        (matrices(65), 1, []),
        (matrices(65), 32, []),
        (matrices(65), 33, ["m0"]),
        (matrices(200), 100, ["m0"]),
        (matrices(201), 100, []),
        (matrices(1, 200), 100, ["m0", "m1"]),  # what is taken counts for the next
        (matrices(900, 300, 100), 50, ["m2", "m1", "m0"]),
        (matrices(901, 300, 100), 50, ["m2", "m1"]),
        (matrices(2096), 2000, ["m0"]),  # as many as a matrix may have
        (matrices(2097), 2000, []),
        (matrices(10, 2090), 2000, ["m0"]),
        (matrices(10), 5000, []),  # it will be a graph, which is not to be larger than it must
        (graphs(10), 5000, []),
        ([*graphs(1), *matrices(1)], 1, ["m0"]),
        ([SegmentSize("m0", 4000, 3990)], 1, ["m0"]),  # only the living are written
    ],
)
def test_an_edit_takes_in_what_is_not_much_larger(
    sizes: list[SegmentSize], added: int, taken: list[str]
) -> None:
    assert taken_in(sizes, added) == taken


@pytest.mark.parametrize(
    ("sizes", "due"),
    [
        ([], []),
        (matrices(4096), []),
        (matrices(96, 4000), []),
        (matrices(97, 4000), ["m0", "m1"]),  # more than a search should look at
        ([SegmentSize("m0", 4096, 1), SegmentSize("m1", 1)], []),
        ([SegmentSize("m0", 1000, 200)], []),  # few are dead
        ([SegmentSize("m0", 1005, 201)], ["m0"]),
        ([SegmentSize("m0", 1006, 201)], []),  # not a fifth
        ([SegmentSize("g0", 5000, 999, True)], []),
        ([SegmentSize("g0", 5000, 1000, True)], ["g0"]),
        ([SegmentSize("g0", 5000, 1000, True), *matrices(100)], ["g0", "m0"]),
        # The graph itself is written anew, whatever else has room: else it is due for ever.
        ([SegmentSize("g0", 16000, 3200, True), *matrices(3500)], ["g0"]),
        ([SegmentSize("g0", 16000, 3200, True), *matrices(3100, 600)], ["g0", "m1"]),
        (graphs(8000, 8000, 8000), []),
        (graphs(8000, 8000, 8000, 8001), []),
        (graphs(8000, 7000, 6000, 8000), ["g2", "g1"]),
        (graphs(4100, 4200, 4300, 4400), ["g0", "g1", "g2"]),
        (graphs(30_000), []),  # a single file of so many chunks
    ],
)
def test_what_is_merged_and_when(sizes: list[SegmentSize], due: list[str]) -> None:
    assert sorted(due_merge(sizes)) == sorted(due)
    assert is_merge_due(sizes, 10_000, 0) is bool(due)


@pytest.mark.parametrize(
    ("live", "dead", "due"),
    [(0, 0, False), (0, 200, False), (0, 201, True), (804, 201, True), (805, 201, False)],
)
def test_a_full_text_of_which_a_fifth_is_dead_is_made_anew(live: int, dead: int, due: bool) -> None:
    assert is_full_text_due(live, dead) is due
    assert is_merge_due([], live, dead) is due


@dataclass
class Model:
    """What index runs make of segments, by the plan: as `build`, `writing` and `merging` do."""

    rng: random.Random
    segments: list[SegmentSize] = field(default_factory=list)
    written: int = 0
    named: int = 0

    def edit(self, added: int, killed: int) -> None:
        for _ in range(killed):
            alive = [n for n, segment in enumerate(self.segments) if segment.live]
            if alive:
                weights = [self.segments[n].live for n in alive]
                (n,) = self.rng.choices(alive, weights)
                self.segments[n] = replace(self.segments[n], dead=self.segments[n].dead + 1)
        self.segments = [segment for segment in self.segments if segment.live]
        self.write(taken_in(self.segments, added), added)

    def merge(self) -> None:
        """All merges that are due, which must come to an end."""
        for _ in range(20):
            if not (due := due_merge(self.segments)):
                return
            self.write(due, 0)
        raise AssertionError(f"merged for ever: {self.segments}")

    def write(self, names: Sequence[str], added: int) -> None:
        live = added + sum(segment.live for segment in self.segments if segment.id in names)
        self.written += live
        self.segments = [segment for segment in self.segments if segment.id not in names]
        for size in [MAX_CHUNKS] * (live // MAX_CHUNKS) + [live % MAX_CHUNKS]:
            if size:
                self.named += 1
                is_graph = size > MATRIX_CHUNKS
                self.segments.append(SegmentSize(f"s{self.named:06d}", size, 0, is_graph))

    @property
    def live(self) -> int:
        return sum(segment.live for segment in self.segments)

    def check(self) -> None:
        """However they came about, there are few of them, and none is too large or too empty."""
        plain = [segment.live for segment in self.segments if not segment.is_graph]
        assert sum(plain) <= MATRIX_CHUNKS, "more than a search should look at"
        assert len(plain) <= 2 * log2(MATRIX_CHUNKS), plain
        linked = [segment for segment in self.segments if segment.is_graph]
        assert all(segment.chunks <= MAX_CHUNKS for segment in linked)
        assert all(segment.dead * 5 < segment.chunks for segment in linked)
        assert len(linked) <= self.live / (MAX_CHUNKS // 2) + 4, linked


EDITS = st.lists(
    st.tuples(st.integers(1, 300) | st.integers(1, 3) | st.just(5000), st.integers(0, 400)),
    min_size=1,
    max_size=60,
)


@given(start=st.integers(0, 60_000), edits=EDITS, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_whatever_is_edited_segments_stay_few_and_merges_come_to_an_end(
    start: int, edits: list[tuple[int, int]], seed: int
) -> None:
    model = Model(random.Random(seed))
    model.edit(start, 0)
    for added, killed in edits:
        model.edit(added, min(killed, model.live))
        model.merge()
        model.check()


@pytest.mark.parametrize("start", [0, 1000, 100_000])
@pytest.mark.parametrize("added", [1, 20, 200])
@pytest.mark.parametrize("replaces", [False, True])
def test_n_edits_write_no_more_than_n_log_n_chunks(start: int, added: int, replaces: bool) -> None:
    model = Model(random.Random(1))
    model.edit(start, 0)
    model.merge()
    model.written = 0
    edits = 1500 if added < 200 else 400
    for _ in range(edits):
        model.edit(added, added if replaces else 0)
        model.merge()
    total = edits * added
    # Tiny segments are always taken in: a constant for each edit.  Where a fifth of what there was
    # has died, it is written anew, which has been paid for by five times as many edits.
    deaths = 5 * total if replaces else 0
    assert model.written <= 2 * total * log2(total) + 64 * edits + deaths
    if start == 100_000:
        assert model.written < edits * start / 20, "an edit costs what it changes"


@given(
    sizes=st.lists(
        st.builds(
            lambda n, chunks, dead, is_graph: SegmentSize(
                f"{n}", chunks, dead % (chunks + 1), is_graph
            ),
            st.integers(0, 999),
            st.integers(1, 20_000),
            st.integers(0, 20_000),
            st.booleans(),
        ),
        max_size=8,
        unique_by=lambda size: size.id,
    ),
    added=st.integers(0, 20_000),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_a_plan_depends_on_nothing_but_the_sizes(
    sizes: list[SegmentSize], added: int, seed: int
) -> None:
    shuffled = random.Random(seed).sample(sizes, len(sizes))
    before = list(sizes)
    taken = taken_in(sizes, added)
    assert taken_in(iter(shuffled), added) == taken
    due = due_merge(sizes)
    assert due_merge(sizes) == due
    assert bool(due_merge(shuffled)) is bool(due)
    assert sizes == before
    by_id = {size.id: size for size in sizes}
    assert len(set(taken)) == len(taken)
    assert not any(by_id[name].is_graph for name in taken)
    assert not taken or added + sum(by_id[name].live for name in taken) <= MATRIX_CHUNKS
    assert len(set(due)) == len(due)
    assert len(due) < 2 or sum(by_id[name].live for name in due) <= MAX_CHUNKS
