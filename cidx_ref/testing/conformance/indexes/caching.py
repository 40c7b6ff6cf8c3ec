"""What is in memory: loaded once, anew after a failure, never stale, not for an error's sake; and
its memory given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cidx_ref.testing.conformance.asking import Asker, Refused, Unreadable
from cidx_ref.testing.conformance.bench import Bench, NotOffered, NotTried
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.editions import Reading
from cidx_ref.testing.conformance.indexes.crowd import (
    WHOLE,
    Crowd,
    Look,
    ballast,
    clears,
    loads,
    look,
    mode_of,
    publish,
    reading_at,
    rss_mb,
    telling_modes,
)
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Verdict

__all__ = ["CHECKS"]

_CLIENTS = 10
#: First queries around a publish, and how far apart they begin.
_FIRST, _APART_S = 12, 0.03
#: A cache that is not emptied in a check.
_LONG_S = 600.0
#: What stays of an index that was let go, at most: a share of it, and some noise.
_KEPT_SHARE, _NOISE_MB = 0.35, 3.0
_CYCLES = 12
_BALLAST_FILES = 600


@check("one-load", "CACHE-1", needs={Cap.LOADS})
def one_load(bench: Bench) -> None:
    """Many first queries at once make as many loads as one does; and later ones none."""
    until = SYSTEM.monotonic() + bench.seconds(3.0, 40.0)
    with bench.showing("CACHE-1"):
        project = bench.project(ttl_s=_LONG_S)
        ballast(project.root, 60)
        with bench.daemon(project, index=False) as daemon:
            bench.index(daemon)
        alone = _loads_of_first(bench, project, 1)
        if alone == 0 and _loads_of_first(bench, project, 1, restart=True) == 0:
            bench.says("CACHE-1", "it loads before it is asked")
        rounds = 0
        while not rounds or SYSTEM.monotonic() < until:
            many = _loads_of_first(bench, project, _CLIENTS)
            rounds += 1
            assert many <= alone, (
                f"{_CLIENTS} first queries at once made {many} loads, and one alone makes {alone}"
            )
        bench.tried("CACHE-1", rounds, f"rounds of {_CLIENTS} first queries at once")


def _loads_of_first(bench: Bench, project: Any, number: int, *, restart: bool = False) -> int:
    """How many loads so many first queries at once make; later ones make none."""
    with bench.daemon(project, index=False) as daemon, _clients(daemon, number) as askers:
        first = askers[0]
        if bench.target.offers(Cap.CLEAR) and not restart:
            first.query("lantern", mode_of(bench.target))
            first.ask("clear")
        before = loads(first)
        _all_at_once(bench, askers)
        made = loads(first) - before
        if not before + made:
            raise NotTried("it answers, and its count of loads is still 0: it counts none")
        _all_at_once(bench, askers)
        more = loads(first) - before - made
        assert not more, f"{number} queries within the TTL of the first ones made {more} more loads"
    return made


@contextmanager
def _clients(daemon: Daemon, number: int) -> Iterator[list[Asker]]:
    askers = [daemon.connect(30.0) for _ in range(number)]
    try:
        yield askers
    finally:
        for asker in askers:
            asker.close()


def _all_at_once(bench: Bench, askers: list[Asker]) -> None:
    def ask(asker: Asker) -> Callable[[], object]:
        return lambda: asker.query("lantern", mode_of(bench.target))

    for outcome in bench.together(*map(ask, askers)):
        if isinstance(outcome, Exception):
            raise outcome


@check("load-again", "CACHE-2")
def load_again(bench: Bench) -> None:
    """After a load that failed the next query tries again."""
    target = bench.target
    if not (target.offers(Cap.WRITER) or target.offers(Cap.INDEX)):
        raise _not_offered(bench, "CACHE-2", "needs a writer, or a method that indexes")
    with bench.showing("CACHE-2"):
        if target.beyond.damage is not None and target.offers(Cap.CLEAR):
            _damaged(bench)
        has_failed = False
        with bench.daemon(index=False) as daemon:
            with daemon.connect() as asker:
                for _ in range(3):
                    has_failed |= _fails(asker)
            if not has_failed and target.beyond.damage is None:
                raise NotTried("without an index no query fails, so that no load has failed")
            if target.offers(Cap.WRITER):
                bench.write_index(daemon.project)
            else:
                bench.index(daemon)
            with daemon.connect() as asker:
                try:
                    asker.query("lantern", mode_of(target))
                except Refused as error:
                    raise AssertionError(
                        f"a query fails for want of an index, and still does when there is one:"
                        f" {error}"
                    ) from None
        bench.tried("CACHE-2", 1, "failed loads, and a query after each")


def _fails(asker: Asker) -> bool:
    try:
        asker.query("lantern", mode_of(asker.target))
    except Refused:
        return True
    return False


def _damaged(bench: Bench) -> None:
    damage = bench.target.beyond.damage
    assert damage is not None
    with bench.daemon(ttl_s=_LONG_S) as daemon, daemon.connect() as asker:
        asker.query("lantern", mode_of(bench.target))
        for _ in range(2):
            mend = damage(daemon.project.root)
            asker.ask("clear")
            assert _fails(asker), "its index is unreadable, and a query does not say so"
            assert _fails(asker), "its index is unreadable, and the second query does not say so"
            mend()
            assert not _fails(asker), "its index was mended, and the next query fails all the same"
            bench.tried("CACHE-2", 1, "failed loads, and a query after each")


def _not_offered(bench: Bench, promise: str, words: str) -> NotOffered:
    bench.note(promise, Verdict.NOT_OFFERED, words)
    return NotOffered(words)


@check("no-stale-load", "CACHE-3", needs={Cap.CLEAR})
def no_stale_load(bench: Bench) -> None:
    """Clears, publishes and first queries at once; then it is asked in quiet."""
    target = bench.target
    if not (target.offers(Cap.INDEX) or target.offers(Cap.WRITER)):
        raise _not_offered(bench, "CACHE-3", "needs a method that indexes, or a writer")
    until = SYSTEM.monotonic() + bench.seconds(4.0, 60.0)
    with bench.showing("CACHE-3"), bench.daemon(ttl_s=_LONG_S) as daemon:
        reading = reading_at(bench, daemon)
        by_writer = not target.offers(Cap.INDEX)
        modes = telling_modes(daemon, reading)
        rounds = 0
        while rounds < 2 or SYSTEM.monotonic() < until:
            mode = modes[rounds % len(modes)]
            _loads_across(bench, daemon, reading, mode, by_writer=by_writer)
            publish(bench, daemon, by_writer=by_writer)
            with daemon.connect() as asker:
                if look(asker, reading, daemon.project.edition).state != WHOLE:
                    raise NotTried("a new index is not answered from in quiet, either")
            crowd = Crowd(daemon)
            with (
                crowd.asking(3, lambda a: [look(a, reading, daemon.project.edition)]),
                crowd.asking(1, clears, 0.002),
            ):
                edition = publish(bench, daemon, by_writer=by_writer)
            with daemon.connect() as asker:
                found = look(asker, reading, edition)
            rounds += 1
            assert found.state == WHOLE, (
                f"edition {edition} was indexed while queries loaded and the cache was emptied;"
                f" when all have ended, it is not what answers ({found.words})"
            )
        bench.tried("CACHE-3", rounds, "publishes during loads and clears")


def _loads_across(
    bench: Bench, daemon: Daemon, reading: Reading, mode: str, *, by_writer: bool
) -> None:
    """First queries, of new clients, that have begun when a new index is published, and end after
    it: what they load may be old, and must not stay."""
    old = daemon.project.edition
    daemon.project.write(old + 1)
    with daemon.connect() as asker:
        clears(asker)
    clients, published = _first_queries_around(
        daemon,
        lambda asker: look(asker, reading, old, mode),
        lambda: _index(bench, daemon, by_writer=by_writer),
    )
    for asker, one in clients:
        with asker:
            if one.began < published < one.ended:
                found = look(asker, reading, old + 1, mode)
                assert found.state == WHOLE, (
                    f"a client's first query had begun when edition {old + 1} was published, and"
                    f" ended after that; its next one still answers from before: {found.words}"
                )
                bench.tried("CACHE-3", 1, "loads across a publish")


def _index(bench: Bench, daemon: Daemon, *, by_writer: bool) -> None:
    if by_writer:
        bench.write_index(daemon.project)
    else:
        bench.index(daemon)


def _first_queries_around(
    daemon: Daemon, ask: Callable[[Asker], Look], publishes: Callable[[], None]
) -> tuple[list[tuple[Asker, Look]], float]:
    """New clients, one after the other, before it as well: what is loaded in the middle of a run
    may be neither.  What each has had, and when it was published."""
    clients: list[tuple[Asker, Look]] = []
    errors: list[Exception] = []

    def first() -> None:
        asker = daemon.connect(30.0)
        clients.append((asker, ask(asker)))

    def run() -> None:
        try:
            publishes()
        except Exception as error:
            errors.append(error)

    threads, running = [], None
    for number in range(_FIRST):
        threads.append(SYSTEM.thread(first, "client"))
        if number == _FIRST // 2:
            running = SYSTEM.thread(run, "run")
        SYSTEM.sleep(_APART_S)
    assert running is not None
    running.join(60.0)
    published = SYSTEM.monotonic()
    for thread in threads:
        thread.join(60.0)
    if errors:
        raise errors[0]
    return clients, published


@check("errors-keep", "CACHE-6", needs={Cap.LOADS}, spawns=False)
def errors_keep(bench: Bench) -> None:
    """A query that fails makes no load, and changes no answer."""
    with bench.showing("CACHE-6"), bench.daemon(ttl_s=_LONG_S) as daemon:
        with daemon.connect() as asker:
            wanted = asker.query("lantern anchor", mode_of(bench.target))
            before, failed = loads(asker), 0
            for bad in _BAD:
                failed += _bad_query(asker, bad)
            if not failed:
                raise NotTried("none of the queries that were tried to be bad failed")
            found = asker.query("lantern anchor", mode_of(bench.target))
            more = loads(asker) - before
        assert not more, f"{failed} queries failed, and {more} loads more were made"
        assert found.paths == wanted.paths, (
            f"before queries that failed it answers {wanted}, and after them {found}"
        )
        bench.tried("CACHE-6", failed, "queries that failed")


_BAD: tuple[dict[str, Any], ...] = (
    {"limit": "many"},
    {"limit": -1},
    {"text": None},
    {"text": 12},
    {"limit": None},
    {"text": ["lantern"]},
)


def _bad_query(asker: Asker, bad: dict[str, Any]) -> bool:
    given = {"text": "lantern", "limit": 5, **bad}
    try:
        asker.query(given["text"], mode_of(asker.target), given["limit"])
    except Refused:
        return True
    except Unreadable:
        return False
    return False


@check("memory-back", "CACHE-7", needs={Cap.MEMORY, Cap.CLEAR})
def memory_back(bench: Bench) -> None:
    """Index loaded and let go, again and again: what stays is little of what an index takes."""
    with bench.showing("CACHE-7"):
        project = bench.project(ttl_s=_LONG_S)
        ballast(project.root, 3 * _BALLAST_FILES if bench.deep else _BALLAST_FILES)
        with bench.daemon(project) as daemon:
            pid = daemon.pid
            if not daemon.is_local:
                raise NotTried("its process cannot be looked at")
            with daemon.connect(30.0) as asker:
                for _ in range(2):
                    asker.query("lantern", mode_of(bench.target))
                    asker.ask("clear")
                first, takes = rss_mb(pid), []
                for _ in range(_CYCLES):
                    asker.query("lantern", mode_of(bench.target))
                    takes.append(rss_mb(pid))
                    asker.ask("clear")
                last = rss_mb(pid)
        index = max(max(takes) - first, 0.0)
        limit = _NOISE_MB + _KEPT_SHARE * index
        bench.figure("CACHE-7", f"kept after {_CYCLES} loads and clears", last - first, "MB", limit)
        bench.figure("CACHE-7", "of an index of at most", index, "MB")
        bench.tried("CACHE-7", _CYCLES, "loads and clears")
        assert last - first <= limit, (
            f"after {_CYCLES} loads and clears it keeps {last - first:.1f} MB more,"
            f" where {limit:.1f} MB may be noise"
        )


CHECKS: tuple[Check, ...] = (one_load, load_again, no_stale_load, errors_keep, memory_back)
