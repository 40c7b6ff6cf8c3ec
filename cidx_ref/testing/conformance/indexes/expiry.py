"""How long a cache lives, seen from outside: by the loads that queries make.

A moment at the client is not one at the daemon.  What must have happened by then is told apart from
what may have: a query lies between its being sent and its answer.
"""

from __future__ import annotations

from contextlib import suppress

from cidx_ref.testing.conformance.asking import Asker, Unreadable, dig
from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.indexes.crowd import loads, mode_of
from cidx_ref.testing.conformance.starts import looks
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Verdict

__all__ = ["CHECKS"]

_TTL_S = 1.5
#: Within which it has been looked, after the TTL, in most daemons;
_CHECKED_S = 1.5
#: and in all, as the story says: once in a minute.
_AT_LAST_S = 63.0
_TRIES = 4
_STOP_S = 5.0


@check("ttl-passes", "TTL-1", needs={Cap.SHORT_TTL, Cap.LOADS})
def ttl_passes(bench: Bench) -> None:
    """Left alone it goes, and not before."""
    with (
        bench.daemon(ttl_s=_TTL_S) as daemon,
        daemon.connect(30.0) as asker,
        bench.showing("TTL-1"),
    ):
        _alive_before(bench, asker)
        _gone_after(bench, asker)


@check("use-renews", "TTL-2", needs={Cap.SHORT_TTL, Cap.LOADS})
def use_renews(bench: Bench) -> None:
    """Used again and again it stays."""
    with (
        bench.daemon(ttl_s=_TTL_S) as daemon,
        daemon.connect(30.0) as asker,
        bench.showing("TTL-2"),
    ):
        _renewed(bench, asker)


def _query(asker: Asker) -> tuple[float, float]:
    began = SYSTEM.monotonic()
    asker.query("lantern", mode_of(asker.target))
    return began, SYSTEM.monotonic()


def _renewed(bench: Bench, asker: Asker) -> None:
    """Over three times its TTL, with uses in between that are closer together than that."""
    for _ in range(_TRIES):
        sent, _ = _query(asker)
        before, until, widest = loads(asker), sent + 2.5 * _TTL_S, 0.0
        while SYSTEM.monotonic() < until:
            SYSTEM.sleep(0.4 * _TTL_S)
            before_it = sent
            sent, answered = _query(asker)
            widest = max(widest, answered - before_it)
        more = loads(asker) - before
        if widest < 0.9 * _TTL_S:  # else this machine was busy, and it may have passed
            assert not more, (
                f"used every {widest:.1f} s at least, with a TTL of {_TTL_S:g} s,"
                f" it was loaded {more} times more"
            )
            bench.tried("TTL-2", 1, "times the TTL, with uses in between")
            return
    raise NotTried("this machine is too busy")


def _alive_before(bench: Bench, asker: Asker) -> None:
    for _ in range(_TRIES):
        # Loaded and used at once, where it was gone: that a use renews is another promise.
        SYSTEM.sleep(_TTL_S + _CHECKED_S)
        sent, _ = _query(asker)
        before = loads(asker)
        SYSTEM.sleep(0.6 * _TTL_S)
        _, answered = _query(asker)
        if answered - sent < 0.95 * _TTL_S:
            more = loads(asker) - before
            assert not more, (
                f"{answered - sent:.2f} s after its last use, with a TTL of {_TTL_S:g} s,"
                " it is loaded anew"
            )
            return
    raise NotTried("this machine is too busy")


def _gone_after(bench: Bench, asker: Asker) -> None:
    for wait_s in (_TTL_S + _CHECKED_S, _TTL_S + _AT_LAST_S):
        _query(asker)
        before = loads(asker)
        SYSTEM.sleep(wait_s)
        _query(asker)
        if loads(asker) > before:
            bench.tried("TTL-1", 1, "times the TTL, alone")
            return
    raise AssertionError(
        f"{wait_s:.0f} s after its last use, with a TTL of {_TTL_S:g} s, it is still there"
    )


@check("eviction-checks", "TTL-4", needs={Cap.SHORT_TTL, Cap.LOADS, Cap.STOP})
def eviction_checks(bench: Bench) -> None:
    """It looks by itself, again and again; and a stop does not wait for the next look."""
    if not bench.target.check_s:
        words = "needs the interval at which it looks (Target.check_s)"
        bench.note("TTL-4", Verdict.NOT_OFFERED, words)
        return
    with bench.showing("TTL-4"), bench.daemon(ttl_s=1.0) as daemon:
        if "cached" in {**bench.target.status, **bench.target.health}:
            with daemon.connect(30.0) as asker:
                for _ in range(2):
                    _query(asker)
                    _let_go(asker)
                    bench.tried("TTL-4", 1, "evictions that no query made")
        began = SYSTEM.monotonic()
        daemon.stop()
        took = SYSTEM.monotonic() - began
        bench.figure("TTL-4", "a stop between two looks", took, "s", _STOP_S)
        assert took < _STOP_S, f"a stop takes {took:.1f} s: does it wait for the next look?"


def _let_go(asker: Asker) -> None:
    for _ in looks(1.0 + _AT_LAST_S):
        SYSTEM.sleep(1.5)  # longer than the TTL: to be asked for its status may count as a use
        if not _is_cached(asker):
            return
    raise AssertionError(f"{_AT_LAST_S:.0f} s after its TTL it is in memory, and nobody looks")


def _is_cached(asker: Asker) -> bool:
    with suppress(Unreadable):
        if "cached" in asker.target.status:
            return bool(asker.status("cached"))
        return bool(dig(asker.ask("health"), asker.target.health["cached"]))
    return False


CHECKS: tuple[Check, ...] = (ttl_passes, use_renews, eviction_checks)
