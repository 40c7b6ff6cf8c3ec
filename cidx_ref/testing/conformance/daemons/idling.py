"""Leaving when idle: only where it is configured, not before the time, and not with work at hand.

How often a daemon looks is its own affair.  Where this machine is so busy that a client comes later
than the TTL allows, nothing is known of the daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cidx_ref.testing.conformance.asking import Gone
from cidx_ref.testing.conformance.bench import Bench, NotOffered, NotTried, raised
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import long_query
from cidx_ref.testing.conformance.holding import InFlight, can, gated
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon, NotStarted
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

#: How long it is waited for an end that nobody asks for: a look once a minute is often enough.
_UNASKED_S = 75.0
_TTL_S = 1.0
#: How long a report of an index run's progress takes.
_HOLD_S = 0.3
#: Of a daemon that is used again and again.
_USED_TTL_S = 2.0


@check("idle-shutdown", "TTL-5", needs={Cap.IDLE})
def idle_shutdown(bench: Bench) -> None:
    """Left alone it ends, also where nobody ever asked; and only if it is configured to.

    One that stays is watched until the others have left.
    """
    is_told = bench.target.asks("idle")
    stays = bench.start(bench.project(ttl_s=_TTL_S, idle=False)) if is_told else None
    never = bench.start(bench.project(ttl_s=_TTL_S, idle=True))
    asked = bench.start(bench.project(ttl_s=_TTL_S, idle=True))
    began = SYSTEM.monotonic()
    with bench.showing("TTL-5"):
        with suppress(Gone):  # it may have left as it should
            _ask_once(bench, asked)
        if stays is not None:
            _ask_once(bench, stays)
        patience_s = _UNASKED_S
        for daemon, which in ((asked, "asked once"), (never, "never asked")):
            assert end_of(daemon.pid, patience_s), (
                f"{which}, and left alone for {patience_s:.0f} s with a TTL of {_TTL_S:g} s, "
                "it is still there"
            )
            if not bench.deep:  # how often it looks is known now
                patience_s = min(_UNASKED_S, 10.0 + 3 * (SYSTEM.monotonic() - began))
        bench.figure("TTL-5", "until both had left", SYSTEM.monotonic() - began, "s")
        if stays is not None:
            is_there = stays.is_running and stays.is_accepting
            assert is_there, "left alone it ended, though it is not configured to"
        # Who comes now is served by the next one.
        with bench.daemon(asked.project, ttl_s=600.0) as following:
            _ask_once(bench, following)


def _ask_once(bench: Bench, daemon: Daemon) -> None:
    bench.index(daemon)
    with daemon.connect() as asker:
        asker.query("village")


@contextmanager
def _within(ttl_s: float, since: float, what: str) -> Iterator[None]:
    """A daemon that has left by then, though it was used at `since`, has left too early."""
    try:
        yield
    except Gone as gone:
        idle_s = SYSTEM.monotonic() - since
        if idle_s >= ttl_s:
            raise NotTried(
                f"this machine is too busy: the next use came {idle_s:.1f} s later"
            ) from None
        raise AssertionError(f"{what}, with a TTL of {ttl_s:g} s, it left: {gone}") from None


@contextmanager
def _may_leave(bench: Bench) -> Iterator[Daemon]:
    """One that ends when it is idle.  Where it does before anybody has asked it, that is too
    early; if it would come to serve otherwise."""
    try:
        with bench.daemon(index=False, ttl_s=_USED_TTL_S, idle=True) as daemon:
            yield daemon
    except NotStarted as error:
        try:
            with bench.daemon(index=False, ttl_s=_USED_TTL_S, idle=False):
                pass
        except NotStarted as other:
            raise NotTried(str(other)) from None
        raise AssertionError(
            f"with a TTL of {_USED_TTL_S:g} s, it has left before it could be asked: {error}"
        ) from None


@check("not-idle", "TTL-5", needs={Cap.IDLE})
def not_idle(bench: Bench) -> None:
    """Asked again and again within the TTL it stays, whether or not it has its index in memory."""
    every_s = _USED_TTL_S / 8
    with bench.showing("TTL-5"), _may_leave(bench) as daemon:
        is_loaded = True
        until = SYSTEM.monotonic() + bench.seconds(2.5 * _USED_TTL_S, 10 * _USED_TTL_S)
        used = SYSTEM.monotonic()
        with _within(_USED_TTL_S, used, "indexed"):
            bench.index(daemon)
        used = SYSTEM.monotonic()
        while SYSTEM.monotonic() < until:
            often = f"asked every {every_s:g} s"
            with _within(_USED_TTL_S, used, often), daemon.connect() as asker:
                asker.query("village")
                used = SYSTEM.monotonic()
                if is_loaded and bench.target.offers(Cap.CLEAR):
                    asker.ask("clear")
                is_loaded = not is_loaded
            bench.tried("TTL-5", 1, "uses")
            end_of(daemon.pid, every_s)


@check("idle-while-indexing", "TTL-5", needs={Cap.IDLE, Cap.INDEX})
def idle_while_indexing(bench: Bench) -> None:
    """An index run that takes longer than the TTL keeps it from leaving."""
    if not bench.target.methods.call("index").takes("progress"):
        with bench.showing("TTL-5"):
            raise NotOffered("needs an index that tells of its progress (progress=progress)")
    with bench.daemon(ttl_s=_TTL_S, idle=True, index=False) as daemon, bench.showing("TTL-5"):
        began = SYSTEM.monotonic()
        seen: list[bool] = []

        def hold(*_: object, **__: object) -> None:
            """Each report takes its time, and the run with it: not long, or nobody waits for it."""
            if SYSTEM.monotonic() - began < 4 * _TTL_S:
                end_of(daemon.pid, _HOLD_S)
            elif not seen:
                seen.append(daemon.is_accepting)

        with _within(_TTL_S, began, "indexing"), daemon.connect(60.0) as asker:
            asker.ask("index", progress=hold)
        if not seen:
            raise NotTried("its index does not take longer where reports of its progress do")
        assert seen[0], f"an index run takes {4 * _TTL_S:g} s, and meanwhile it has left"


@check("idle-while-asked", "TTL-5", needs={Cap.IDLE})
def idle_while_asked(bench: Bench) -> None:
    """A query that takes longer than the TTL keeps it from leaving, and is answered."""
    if can(bench, "hold"):
        _idle_while_held(bench)
        return
    with bench.daemon() as daemon, bench.showing("TTL-5"):
        long = long_query(bench, daemon, 3 * _TTL_S)
        if long is None:
            raise NotOffered(bench.too_quick(3 * _TTL_S))
    patience_s = max(60.0, 10 * long.seconds)
    with (
        bench.daemon(daemon.project, ttl_s=_TTL_S, idle=True, index=False) as short,
        bench.showing("TTL-5"),
    ):
        with _within(_TTL_S, SYSTEM.monotonic(), "just started"):
            asker = short.connect(patience_s)
            answered, is_there = bench.together(
                lambda: asker.query(long.text),
                lambda: _is_there(short, 2 * _TTL_S),
                timeout_s=2 * patience_s,
            )
            raised([answered, is_there])
        assert is_there, f"while a query of {long.seconds:.1f} s is in flight, it has left"
        found = frozenset(answered.paths)
        assert found == long.paths, f"it found {sorted(found)}, and {sorted(long.paths)} before"


def _idle_while_held(bench: Bench) -> None:
    """The same, of a query that is held; and from its end on it has the TTL again."""
    values: dict[str, Any] = {"ttl_s": _USED_TTL_S, "idle": True, "index": False}
    with gated(bench, "hold", **values) as (daemon, gate), bench.showing("TTL-5"):
        with _within(_USED_TTL_S, SYSTEM.monotonic(), "just started"):
            bench.index(daemon)
            held = InFlight(daemon, gate, "village")
        with held:
            for_s = 1.5 * _USED_TTL_S
            if bench.target.offers(Cap.CLEAR):  # or its index would keep it, too
                with suppress(TimeoutError), daemon.connect(for_s / 3) as asker:
                    asker.ask("clear")
            is_there = _is_there(daemon, for_s)
            assert is_there, f"a query is in flight for {for_s:g} s, and it has left"
            held.answered()
        ended = SYSTEM.monotonic()
        # To leave takes a while; and not so long that a daemon could which is right.
        has_left = end_of(daemon.pid, 0.75 * _USED_TTL_S)
        idle_s = SYSTEM.monotonic() - ended
        assert not has_left or idle_s >= _USED_TTL_S, (
            f"{idle_s:.1f} s after a query of {for_s:g} s it left, with a TTL of {_USED_TTL_S:g} s"
        )


def _is_there(daemon: Daemon, after_s: float) -> bool:
    end_of(daemon.pid, after_s)
    return daemon.is_accepting


CHECKS = [idle_shutdown, not_idle, idle_while_indexing, idle_while_asked]
