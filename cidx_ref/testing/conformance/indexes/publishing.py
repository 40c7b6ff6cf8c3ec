"""A new index, by the daemon or beside it, while others ask: what is answered then, and after it;
and that nobody waits for it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

from cidx_ref.testing.conformance.asking import Asker, Refused
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.busy import not_if_busy
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.editions import Reading
from cidx_ref.testing.conformance.indexes.crowd import (
    FAILED,
    HALF,
    WHOLE,
    Crowd,
    Look,
    ballast,
    clears,
    look,
    publish,
    reading_at,
    telling_modes,
)
from cidx_ref.testing.conformance.processes import Process
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Verdict

__all__ = ["CHECKS"]

_READERS = 3
_LONG_S = 600.0
#: An index run that is shorter tells nothing of who waits for it.
_RUN_S = 0.5
_BALLAST = (300, 1500, 5000)
#: A query waits for a run if it takes this share of it.
_WAITS_SHARE = 0.6
_TO_ITS_END = 0.9
_TRIES = 3
_WRITERS = 3
#: What a writer says that does not run because another one does.
_BUSY = re.compile(
    r"busy|lock|running|runs|another|progress|in use|temporarily unavailable", re.IGNORECASE
)


@check("one-generation", "CACHE-4", needs={Cap.CLEAR})
def one_generation(bench: Bench) -> None:
    """Queries while the cache is emptied again and again: each finds all that there is."""
    until = bench.seconds(2.5, 30.0)
    with bench.showing("CACHE-4"), bench.daemon(ttl_s=_LONG_S) as daemon:
        reading = reading_at(bench, daemon)
        edition = daemon.project.edition
        crowd = Crowd(daemon)
        with (
            crowd.asking(4, lambda a: [look(a, reading, edition)]),
            crowd.asking(1, clears),
        ):
            SYSTEM.sleep(until)
        crowd.must_not_have_failed()
        for one in crowd.looks:
            assert one.state == WHOLE, (
                f"while the cache was emptied, a query for what was there all the time: {one.words}"
            )
        bench.tried("CACHE-4", len(crowd.looks), "queries while the cache is emptied")


@check("index-is-answered", "CACHE-5", needs={Cap.INDEX})
def index_is_answered(bench: Bench) -> None:
    """Once `index` has returned, readers that never pause find what it has indexed."""
    _published(bench, "CACHE-5", by_writer=False)
    with bench.showing("CACHE-5"), bench.daemon(ttl_s=_LONG_S) as daemon:
        reading = reading_at(bench, daemon)
        _add_ballast(daemon, "first")
        began = SYSTEM.monotonic()
        bench.index(daemon)
        took_s = SYSTEM.monotonic() - began
        rounds = 6 if bench.deep else 3
        for number in range(rounds):
            # Somewhere in its middle part, each time in another one.
            share = 0.25 + 0.7 * (number + bench.random.random()) / rounds
            _add_ballast(daemon, f"more{'e' * number}")
            _index_beside_another(bench, daemon, reading, share * took_s)


def _add_ballast(daemon: Daemon, name: str) -> None:
    place = daemon.project.root / name
    place.mkdir()
    ballast(place, 150)


def _index_beside_another(bench: Bench, daemon: Daemon, reading: Reading, after_s: float) -> None:
    """A run is under way, and has looked at the files before they change, `after_s` seconds after
    its beginning; the next request is for what has changed since."""

    def run() -> None:
        with suppress(Exception):
            bench.index(daemon)

    first = SYSTEM.thread(run, "run")
    SYSTEM.sleep(after_s)
    edition = daemon.project.edition + 1
    daemon.project.write(edition)
    has_run = _indexes(bench, daemon)
    with daemon.connect(30.0) as asker:
        found = look(asker, reading, edition)
    first.join(60.0)
    if has_run:  # a daemon may refuse a second run
        assert found.state == WHOLE, (
            f"edition {edition} was written while an index run was under way, and another was asked"
            f" for; that has returned, and edition {edition} does not answer: {found.words}"
        )
        bench.tried("CACHE-5", 1, "runs beside another")


@check("other-writer", "CACHE-8", needs={Cap.WRITER})
def other_writer(bench: Bench) -> None:
    """Once a writer has ended, the next query finds what it has indexed."""
    _published(bench, "CACHE-8", by_writer=True)


def _published(bench: Bench, promise: str, *, by_writer: bool) -> None:
    """First with a warm cache and nobody else; then with readers."""
    until = SYSTEM.monotonic() + bench.seconds(3.0, 60.0)
    with bench.showing(promise), bench.daemon(ttl_s=_LONG_S) as daemon:
        reading = reading_at(bench, daemon)
        with daemon.connect(30.0) as asker:
            for _ in range(2):
                old = daemon.project.edition
                look(asker, reading, old)
                edition = publish(bench, daemon, by_writer=by_writer)
                _must_find(look(asker, reading, edition), old, "")
                bench.tried(promise, 1, "publishes")
        rounds = 0
        while rounds < 2 or SYSTEM.monotonic() < until:
            crowd, done = _with_readers(bench, daemon, reading, by_writer=by_writer)
            rounds += 1
            crowd.must_not_have_failed()
            edition = daemon.project.edition
            for one in crowd.looks:
                if one.began >= done and one.edition == edition:
                    _must_find(one, edition - 1, " with other readers")
            _note_halves(bench, crowd)
        bench.tried(promise, rounds, "publishes")


def _must_find(one: Look, old: int, where: str) -> None:
    assert one.state == WHOLE, (
        f"edition {old + 1} is indexed, and a query after that{where} does not answer from it:"
        f" {one.words}"
    )


def _with_readers(
    bench: Bench, daemon: Daemon, reading: Reading, *, by_writer: bool
) -> tuple[Crowd, float]:
    """A publish while readers ask for both editions; and when it was over."""
    old = daemon.project.edition
    crowd = Crowd(daemon)
    daemon.project.write(old + 1)
    with crowd.asking(
        _READERS, lambda a: [look(a, reading, old), look(a, reading, old + 1)], 0.002
    ):
        SYSTEM.sleep(0.05)
        if by_writer:
            bench.write_index(daemon.project)
        else:
            bench.index(daemon)
        done = SYSTEM.monotonic()
        SYSTEM.sleep(0.1)
    return crowd, done


def _note_halves(bench: Bench, crowd: Crowd) -> None:
    """An answer of half an edition: where one reader has two in a row, half an index is live; where
    it is alone, a query has gone from one index to the other."""
    if bench.target.offers(Cap.WATCH) and not bench.target.asks("watch"):
        return  # it may have read one file before the other one was written
    for mine in crowd.results:
        for edition in {one.edition for one in mine}:
            states = [one.state for one in mine if one.edition == edition]
            in_a_row = any(a == b == HALF for a, b in pairwise(states))
            if in_a_row:
                words = f"queries during a publish find half of edition {edition}"
                bench.note("WRITE-2", Verdict.BROKEN, words)
            elif HALF in states:
                words = f"a query at a publish finds edition {edition} in one of two files"
                bench.note("CACHE-4", Verdict.BROKEN, words)


@check("nobody-waits", "WRITE-2")
def nobody_waits(bench: Bench) -> None:
    """Queries while an index runs: none waits for it, none fails, none sees half of it."""
    target = bench.target
    if not (target.offers(Cap.INDEX) or target.offers(Cap.WRITER)):
        bench.note("WRITE-2", Verdict.NOT_OFFERED, "needs a method that indexes, or a writer")
        return
    with bench.showing("WRITE-2"), bench.daemon(ttl_s=_LONG_S) as daemon:
        reading = reading_at(bench, daemon)
        for number in range(2):  # in the second, with some files more, the run is longer
            ballast(daemon.project.root, 100 * (number + 1))
            _answered(bench, _run_with_readers(bench, daemon, reading, cold=True)[2])
        for files in _BALLAST:
            ballast(daemon.project.root, files)
            run_s, longest, crowd = _run_with_readers(bench, daemon, reading)
            _answered(bench, crowd)
            if run_s >= _RUN_S:
                break
        tries = 1
        while longest > _WAITS_SHARE * run_s and run_s >= _RUN_S and tries < _TRIES:
            ballast(daemon.project.root, files + tries * 400)
            run_s, longest, crowd = _run_with_readers(bench, daemon, reading)
            tries += 1
        bench.figure("WRITE-2", "longest query during an index run", longest, "s")
        bench.figure("WRITE-2", "the run", run_s, "s")
        if run_s >= _RUN_S and longest > _WAITS_SHARE * run_s:
            words = f"a query waits {longest:.1f} s while an index runs for {run_s:.1f} s"
            if longest < _TO_ITS_END * run_s:  # else it is released by the end, on any machine
                not_if_busy(words)
            raise AssertionError(words)


def _answered(bench: Bench, crowd: Crowd) -> None:
    crowd.must_not_have_failed()
    for one in crowd.looks:
        assert one.state != FAILED, f"a query while an index runs fails: {one.words}"
    _note_halves(bench, crowd)
    bench.tried("WRITE-2", len(crowd.looks), "queries during index runs")


def _run_with_readers(
    bench: Bench, daemon: Daemon, reading: Reading, *, cold: bool = False
) -> tuple[float, float, Crowd]:
    """What a run takes, and the longest query while it was under way.

    The files are written before: a daemon may read them by itself.  With `cold`, clients have
    nothing loaded: they come anew each time, and empty the cache if they can.
    """
    crowd = Crowd(daemon)
    old = daemon.project.edition
    daemon.project.write(old + 1)

    def ask(asker: Asker) -> list[Look]:
        return [look(asker, reading, old + 1)]

    def ask_cold(_: Asker) -> list[Look]:
        with daemon.connect(30.0) as asker:
            if bench.target.offers(Cap.CLEAR):
                clears(asker)
            # In this order: where the old one is gone, the new one is there.
            return [_either(look(asker, reading, old), look(asker, reading, old + 1))]

    with crowd.asking(2, ask_cold if cold else ask, 0.005):
        crowd.wait_for_answers()  # who comes late in the run cannot wait for much of it
        began = SYSTEM.monotonic()
        _index(bench, daemon)
        ended = SYSTEM.monotonic()
    spans = [min(one.ended, ended) - max(one.began, began) for one in crowd.looks]
    return ended - began, max(spans, default=0.0), crowd


def _either(old: Look, new: Look) -> Look:
    """Of two looks, the second after the first, what they say in sum."""
    if FAILED in (old.state, new.state) or WHOLE in (old.state, new.state):
        return old if old.state == FAILED else new
    return replace(new, state=FAILED, words=f"neither the old nor the new edition is {new.words}")


def _index(bench: Bench, daemon: Daemon) -> None:
    if bench.target.offers(Cap.INDEX):
        bench.index(daemon)
    else:
        bench.write_index(daemon.project)


@check("writers-take-turns", "WRITE-1", needs={Cap.WRITER})
def writers_take_turns(bench: Bench) -> None:
    """Several writers at once, and the daemon's own run: afterwards the index is whole and new."""
    until = SYSTEM.monotonic() + bench.seconds(3.0, 40.0)
    with bench.showing("WRITE-1"), bench.daemon(ttl_s=_LONG_S) as daemon:
        reading = reading_at(bench, daemon)
        modes = telling_modes(daemon, reading)
        rounds = 0
        while rounds < 2 or SYSTEM.monotonic() < until:
            daemon.project.write(daemon.project.edition + 1)
            writers = [_writer(bench, daemon) for _ in range(_WRITERS)]
            has_run = bench.target.offers(Cap.INDEX) and _indexes(bench, daemon)
            failed = [writer.tail()[-300:] for writer in writers if writer.wait(120.0)]
            for said in failed:
                assert _BUSY.search(said), f"of {_WRITERS} writers at once one fails: {said}"
            assert has_run or len(failed) < _WRITERS, (
                f"of {_WRITERS} writers at once none succeeds: {failed[0]}"
            )
            rounds += 1
            for mode in modes:  # each may have an index of its own
                with daemon.connect(30.0) as asker:
                    found = look(asker, reading, daemon.project.edition, mode)
                assert found.state == WHOLE, (
                    f"after {_WRITERS} writers at once, of which some say that they succeeded,"
                    f" edition {daemon.project.edition} is not what answers: {found.words}"
                )
            # A writer that finds another may refuse.  It must not have damaged anything.
            bench.write_index(daemon.project)
        bench.tried("WRITE-1", rounds, f"rounds of {_WRITERS} writers at once")


def _writer(bench: Bench, daemon: Daemon) -> Process:
    project = daemon.project
    return bench.household.start(project.command(bench.target.writer), project.environment())


def _indexes(bench: Bench, daemon: Daemon) -> bool:
    try:
        bench.index(daemon)
    except Refused as refused:
        if not _BUSY.search(str(refused)):
            raise AssertionError(f"an index run fails beside writers: {refused}") from None
        return False
    return True


CHECKS: tuple[Check, ...] = (
    one_generation,
    index_is_answered,
    other_writer,
    nobody_waits,
    writers_take_turns,
)
