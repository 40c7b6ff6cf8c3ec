"""An index run loads what it publishes before it does, and hands it over (PERF-5); one thread.

What other threads can do in between, `scenarios` has: `QueryAndIndexRun` and those after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from cidx_ref.errors import IndexUnusableError
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fake_index import CacheRig

TTL_S = 600.0


class Rig(CacheRig):
    """Whose loads take two seconds, and fail when told to; it keeps what its listener was told."""

    def __init__(self, fake: FakeRuntime) -> None:
        super().__init__(fake, ttl_s=TTL_S, fails=self._take_two_seconds)
        self.fake = fake
        self.breaks = False
        self.told: list[tuple[str, str, float]] = []

    def _take_two_seconds(self) -> bool:
        self.fake.advance(2)
        return self.breaks

    def _listen(self, event: str, generation: str, seconds: float = 0.0) -> None:
        super()._listen(event, generation, seconds)
        self.told.append((event, generation, seconds))

    @property
    def pins(self) -> int:
        assert self.cache.entry is not None
        return self.cache.entry.pins

    def closed(self) -> list[int]:
        return [snapshot.closed for snapshot in self.source.snapshots]


@pytest.fixture
def warm(fake: FakeRuntime) -> Rig:
    """With g1 cached."""
    rig = Rig(fake)
    rig.query()
    rig.told.clear()
    return rig


@pytest.mark.promise("PERF-5", "OBS-3")
def test_the_first_query_after_a_publish_takes_what_the_index_run_has_loaded(warm: Rig) -> None:
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        assert warm.query().generation == "g1"
        warm.source.publish()
        entry = warm.cache.entry
        assert warm.query().generation == "g2"
        assert warm.cache.entry is not entry
        assert warm.closed() == [0, 0], "to close the old one is the run's, and no query's"
    assert warm.closed() == [1, 0]
    assert warm.source.begun == ["g1", "g2"]
    assert warm.told == [
        ("load", "g2", 2.0),
        ("hit", "g1", 0.0),
        ("hit", "g2", 0.0),
        ("replace", "g1", 0.0),
    ]
    assert warm.cache.entry is not None
    assert warm.cache.entry.project_path == warm.cache.project_path
    warm.check_nothing_is_left()


@pytest.mark.promise("PERF-5", "TTL-1")
def test_where_no_query_comes_the_run_itself_hands_over_and_the_ttl_holds(warm: Rig) -> None:
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        warm.cache.set_ttl(5)
        warm.source.publish()
    assert warm.cached is warm.source.snapshots[1]
    assert (warm.closed(), warm.pins) == ([1, 0], 0)
    assert warm.told == [("load", "g2", 2.0), ("replace", "g1", 0.0)]
    warm.fake.advance(297)  # and the load has taken 2 since the last query
    assert not warm.cache.evict_expired()
    warm.fake.advance(1)
    assert warm.cache.evict_expired()
    warm.check_nothing_is_left()


@pytest.mark.promise("PERF-5", "CACHE-7")
def test_where_nothing_is_cached_nothing_is_loaded(fake: FakeRuntime) -> None:
    rig = Rig(fake)
    with rig.succession.prepared() as prepare:
        prepare(rig.source.seal())
        rig.source.publish()
    assert (rig.source.begun, rig.told, rig.cached) == ([], [], None)


def test_a_run_has_one_successor(warm: Rig) -> None:
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        prepare(warm.source.seal())
        assert warm.pins == 1
        warm.source.publish()
    assert warm.source.begun == ["g1", "g2"]
    warm.check_nothing_is_left()


@pytest.mark.promise("TTL-2")
def test_the_old_entry_is_in_use_until_the_run_is_over(warm: Rig) -> None:
    held = warm.cache.pin()
    held.__enter__()
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        assert warm.pins == 2
        held.__exit__(None, None, None)
        warm.fake.advance(2 * TTL_S)
        assert not warm.cache.evict_expired()
    assert warm.pins == 0
    assert warm.cache.evict_expired()
    warm.check_nothing_is_left()


@pytest.mark.promise("CACHE-4")
def test_a_query_that_is_longer_than_the_run_keeps_its_generation(warm: Rig) -> None:
    old = warm.source.snapshots[0]
    with warm.cache.pin() as snapshot:
        assert warm.index() == ("g2", 2)
        assert snapshot is old
        assert old.closed == 0
    assert old.closed == 1
    warm.check_nothing_is_left()


def drop_nothing(rig: Rig) -> None:
    pass


def clear(rig: Rig) -> None:
    assert rig.cache.clear()


def overtake(rig: Rig) -> None:
    """Another process publishes something else, and a query has it loaded."""
    rig.source.publish()
    rig.source.publish()
    assert rig.query().generation == "g3"


def lose_the_index(rig: Rig) -> None:
    rig.source.is_there = False


@pytest.mark.promise("CACHE-3", "CACHE-7")
@pytest.mark.parametrize(
    ("meanwhile", "cached", "told"),
    [
        (drop_nothing, "g1", []),
        (clear, None, [("clear", "g1")]),
        (overtake, "g3", [("load", "g3"), ("replace", "g1")]),
        (lose_the_index, "g1", []),
    ],
)
def test_what_was_not_published_is_closed_and_cached_by_nobody(
    warm: Rig, meanwhile: Callable[[Rig], None], cached: str | None, told: list[tuple[str, str]]
) -> None:
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        successor = warm.source.snapshots[1]
        meanwhile(warm)
    assert successor.closed == 1
    assert (warm.cached.generation if warm.cached else None) == cached
    events = [(event, generation) for event, generation, _ in warm.told]
    assert events == [("load", "g2"), *told, ("evict", "g2")]
    assert warm.told[-1][2] == 0.0
    warm.check_nothing_is_left()


@pytest.mark.promise("CACHE-3")
def test_after_a_clear_what_was_loaded_before_it_is_not_taken_though_it_is_published(
    warm: Rig,
) -> None:
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        warm.cache.clear()
        warm.source.publish()
        assert warm.query().number == 3
    assert warm.cached is warm.source.snapshots[2]
    warm.check_nothing_is_left()


@pytest.mark.promise("CACHE-2", "OBS-3")
def test_a_generation_that_cannot_be_loaded_is_the_next_query_s_to_report(
    warm: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    warm.breaks = True
    with warm.succession.prepared() as prepare:
        prepare(warm.source.seal())
        warm.source.publish()
        with pytest.raises(IndexUnusableError):
            warm.query()
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.WARNING, "generation g2 cannot be loaded before its publish: damaged")
    ]
    assert [(e, g) for e, g, _ in warm.told] == [("load_failed", "g2")] * 2
    warm.breaks = False
    assert warm.query().generation == "g2"
    warm.check_nothing_is_left()


class Interruption(BaseException):
    pass


@pytest.mark.promise("CACHE-7")
def test_a_run_that_is_interrupted_while_it_loads_leaves_everything_as_it_was(warm: Rig) -> None:
    def interrupt() -> None:
        raise Interruption

    warm.fake.at("load g2", interrupt)
    with warm.succession.prepared() as prepare, pytest.raises(Interruption):
        prepare(warm.source.seal())
    assert warm.query().generation == "g1"
    warm.check_nothing_is_left()
