"""What a daemon says of itself: as far as the target says where, it must be so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Asker, Refused, Unreadable, dig
from cidx_ref.testing.conformance.bench import Bench, NotOffered
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import refusals
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Attach, Cap
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

_QUERIES = 7
#: What is evicted is looked for this often and this long.
_EVICTED_S = 75.0


class _Report:
    """A report of the daemon's, by the names that the target gives its places."""

    def __init__(self, asker: Asker, role: str, places: Mapping[str, str]) -> None:
        self._asker, self._role, self._places = asker, role, places

    def has(self, name: str) -> bool:
        return name in self._places

    def read(self) -> dict[str, Any]:
        said = self._asker.ask(self._role)
        return {name: dig(said, place) for name, place in self._places.items()}

    def place(self, name: str) -> str:
        return f"{self._role}: {self._places[name]!r}"

    def number(self, said: Mapping[str, Any], name: str) -> float:
        value = said[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unreadable(f"{self.place(name)} is {value!r}, not a number")
        return value


@contextmanager
def _reporting(
    bench: Bench, promise: str, role: str, **daemon: Any
) -> Iterator[tuple[Daemon, Asker, _Report]]:
    places: Mapping[str, str] = getattr(bench.target, role)
    with (
        bench.daemon(**daemon) as running,
        bench.showing(promise),
        running.connect(30.0) as asker,
    ):
        yield running, asker, _Report(asker, role, places)


# The status.


@check("status", "OBS-1", needs={Cap.STATUS}, spawns=False)
def status(bench: Bench) -> None:
    """Who it is, what it serves, how long it is there, how much it was asked."""
    with _reporting(bench, "OBS-1", "status") as (daemon, asker, report):
        asker.query("village")
        said = report.read()
        if report.has("pid") and daemon.pid:
            assert said["pid"] == daemon.pid, (
                f"{report.place('pid')} is {said['pid']!r}; the process is {daemon.pid}"
            )
        if report.has("project"):
            _is_of(report, said, daemon.project.root)
        if report.has("ttl_s") and bench.target.asks("ttl_s") | bench.target.asks("ttl_minutes"):
            ttl_s = report.number(said, "ttl_s")
            assert abs(ttl_s - daemon.project.ttl_s) < 1.0, (
                f"{report.place('ttl_s')} is {ttl_s:g}, configured to {daemon.project.ttl_s:g}"
            )
        if report.has("uptime_s"):
            _counts_time(bench, "OBS-1", report, daemon)
        if report.has("queries"):
            _counts(bench, "OBS-1", asker, report, "queries")
        bench.tried("OBS-1", len(said), "figures")


def _is_of(report: _Report, said: Mapping[str, Any], root: Path) -> None:
    there = Path(str(said["project"]))
    is_that = there.exists() and there.samefile(root)
    assert is_that, f"{report.place('project')} is {said['project']!r}; it serves {str(root)!r}"


def _counts_time(bench: Bench, promise: str, report: _Report, daemon: Daemon) -> None:
    began = SYSTEM.monotonic()
    first = report.number(report.read(), "uptime_s")
    end_of(daemon.pid or 1, 0.5)
    between = SYSTEM.monotonic()
    second = report.number(report.read(), "uptime_s")
    least, most = between - began - 1.5, SYSTEM.monotonic() - began + 1.5
    # Whole seconds are enough.
    is_so = first >= 0 and least <= second - first <= most
    assert is_so, (
        f"{report.place('uptime_s')} went from {first:g} to {second:g} in {between - began:.1f} s"
    )
    if not isinstance(bench.target.start, Attach):
        assert first <= bench.age_s + 1.5, (
            f"{report.place('uptime_s')} is {first:g}, and it was started {bench.age_s:.0f} s ago"
        )


def _counts(
    bench: Bench, promise: str, asker: Asker, report: _Report, name: str, by: int = _QUERIES
) -> None:
    before = report.number(report.read(), name)
    for _ in range(_QUERIES):
        asker.query("village")
    after = report.number(report.read(), name)
    assert after - before == by, (
        f"{report.place(name)} went from {before:g} to {after:g} with {_QUERIES} queries"
    )
    bench.tried(promise, _QUERIES, "queries")


@check("status-of-cache", "OBS-1", needs={Cap.STATUS, Cap.CLEAR}, spawns=False)
def status_of_cache(bench: Bench) -> None:
    """Whether an index is in memory."""
    with _reporting(bench, "OBS-1", "status") as (_, asker, report):
        if not report.has("cached"):
            raise NotOffered('needs status["cached"]')
        for _ in range(2):
            asker.query("village")
            said = report.read()["cached"]
            assert said, f"{report.place('cached')} is {said!r} after a query"
            asker.ask("clear")
            said = report.read()["cached"]
            assert not said, f"{report.place('cached')} is {said!r} after a clear"


@check("status-of-index", "OBS-1", needs={Cap.STATUS, Cap.INDEX})
def status_of_index(bench: Bench) -> None:
    """Which generation answers: the same until there is another one."""
    with _reporting(bench, "OBS-1", "status") as (daemon, asker, report):
        if not report.has("generation"):
            raise NotOffered('needs status["generation"]')
        seen = []
        for edition in (2, 3):
            asker.query(corpus.COMMON)
            seen.append(report.read()["generation"])
            asker.query(corpus.COMMON)
            assert report.read()["generation"] == seen[-1], (
                f"{report.place('generation')} changes, and nothing was indexed"
            )
            daemon.project.write(edition)
            bench.index(daemon)
        asker.query(corpus.COMMON)
        seen.append(report.read()["generation"])
        assert len(set(map(str, seen))) == len(seen), (
            f"{report.place('generation')} is {seen} for three editions, indexed one after another"
        )


# Health, and metrics.


@check("health", "OBS-2", needs={Cap.HEALTH}, spawns=False)
def health(bench: Bench) -> None:
    """Its figures, and that it is well after queries that were answered."""
    with _reporting(bench, "OBS-2", "health") as (daemon, asker, report):
        asker.query("village")
        first = report.read()
        if report.has("queries"):
            _counts(bench, "OBS-2", asker, report, "queries")
        if report.has("uptime_s"):
            _counts_time(bench, "OBS-2", report, daemon)
        said = report.read()
        for name in ("errors", "status"):
            if report.has(name):
                assert said[name] == first[name], (
                    f"{report.place(name)} went from {first[name]!r} to {said[name]!r} while "
                    "every query was answered"
                )
        if report.has("error_rate"):
            rate = report.number(said, "error_rate")
            assert 0 <= rate <= 1, f"{report.place('error_rate')} is {rate:g}"
        if report.has("cached"):
            assert said["cached"], f"{report.place('cached')} is {said['cached']!r} after a query"
        bench.tried("OBS-2", len(said), "figures")


@check("metrics", "OBS-3", needs={Cap.METRICS}, spawns=False)
def metrics(bench: Bench) -> None:
    """Every query is counted once; so is every error."""
    with _reporting(bench, "OBS-3", "metrics") as (_, asker, report):
        asker.query("village")
        if report.has("queries"):
            _counts(bench, "OBS-3", asker, report, "queries")
        if report.has("errors") and bench.target.offers(Cap.ERRORS):
            before = report.number(report.read(), "errors")
            refused = _refused(asker)
            after = report.number(report.read(), "errors")
            assert after - before == refused, (
                f"{report.place('errors')} went from {before:g} to {after:g} with {refused} "
                "queries that were refused"
            )
        bench.tried("OBS-3", len(report.read()), "figures")


def _refused(asker: Asker) -> int:
    method, count = asker.target.methods.call("query").name, 0
    for _, args, kwargs, _ in refusals(asker):
        try:
            asker.call(method, *args, **kwargs)
        except Refused:
            count += 1
    return count


@check("metrics-of-cache", "OBS-3", needs={Cap.METRICS, Cap.CLEAR}, spawns=False)
def metrics_of_cache(bench: Bench) -> None:
    """Every load and every hit is counted once."""
    with _reporting(bench, "OBS-3", "metrics") as (_, asker, report):
        if not (report.has("loads") or report.has("hits")):
            raise NotOffered('needs metrics["loads"] or metrics["hits"]')
        asker.query("village")
        if report.has("hits"):
            _counts(bench, "OBS-3", asker, report, "hits")
        for _ in range(3):
            before = report.read()
            asker.ask("clear")
            for _ in range(3):
                asker.query("village")
            after = report.read()
            for name, by in (("loads", 1), ("hits", 2)):
                if report.has(name):
                    more = report.number(after, name) - report.number(before, name)
                    assert more == by, (
                        f"{report.place(name)} has {more:g} more, and not {by}, after a clear and "
                        "3 queries"
                    )


@check("metrics-of-evictions", "OBS-3", needs={Cap.METRICS, Cap.SHORT_TTL})
def metrics_of_evictions(bench: Bench) -> None:
    """An eviction is counted once."""
    with _reporting(bench, "OBS-3", "metrics", ttl_s=1.0) as (daemon, asker, report):
        if not report.has("evictions"):
            raise NotOffered('needs metrics["evictions"]')
        asker.query("village")
        before = report.number(report.read(), "evictions")
        until = SYSTEM.monotonic() + _EVICTED_S
        while (after := report.number(report.read(), "evictions")) == before:
            assert SYSTEM.monotonic() < until, (
                f"{report.place('evictions')} is still {before:g}, {_EVICTED_S:g} s after a query "
                "with a TTL of a second"
            )
            end_of(daemon.pid, 0.2)
        end_of(daemon.pid, 2.0)  # nothing is there to be evicted again
        after = report.number(report.read(), "evictions")
        assert after - before == 1, (
            f"{report.place('evictions')} went from {before:g} to {after:g}; one index was there"
        )


CHECKS = [
    *(status, status_of_cache, status_of_index),
    *(health, metrics, metrics_of_cache, metrics_of_evictions),
]
