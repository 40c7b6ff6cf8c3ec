"""Stopping: what is in flight is answered, what is new is refused, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from cidx_ref.testing.conformance.asking import Answer, Asker, Gone, Refused
from cidx_ref.testing.conformance.bench import Bench, NotTried, raised
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import Long, Question, long_query, right, sound
from cidx_ref.testing.conformance.holding import InFlight, can, gated
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

#: How long a daemon may take to leave.
_LEAVE_S = 20.0
#: Long enough to be in the daemon when it is stopped.
_LONG_S = 0.3
#: To be there at once, however busy the machine is.
_SHORT_TEXT = 64_000
_ROUNDS = 3
#: Within which it refuses what is new.
_LATE_S = 5.0


def _stop(daemon: Daemon) -> None:
    """Ask it to end, and do not wait."""
    if not daemon.target.methods.stop:
        daemon.signal(signal.SIGTERM)
        return
    with daemon.connect() as asker:
        try:
            asker.ask("stop")
        except Gone:
            return  # it was quicker than its own answer


def _terminate(daemon: Daemon) -> None:
    daemon.signal(signal.SIGTERM)


def _ways(bench: Bench) -> dict[str, Callable[[Daemon], None]]:
    ways: dict[str, Callable[[Daemon], None]] = {}
    if bench.target.methods.stop:
        ways["its stop method"] = _stop
    return {**ways, "SIGTERM": _terminate}


@check("stop", "SRV-4", needs={Cap.STOP})
def stop(bench: Bench) -> None:
    """By its method and by SIGTERM: it ends with its status, and its socket goes with it."""
    wanted = bench.spawn.stopped_status
    for way, end in _ways(bench).items():
        with bench.daemon() as daemon, bench.showing("SRV-4"):
            with daemon.connect() as asker:
                asker.query("village")
                end(daemon)
                # An open connection keeps nobody from leaving.
                status = daemon.wait(_LEAVE_S)
            assert status in (None, wanted), f"after {way}, its status is {status}, not {wanted}"
            assert not os.path.lexists(daemon.address), f"after {way}, its socket is still there"
            bench.tried("SRV-4", 1, "ends")


@check("stop-with-clients", "SRV-4", needs={Cap.STOP})
def stop_with_clients(bench: Bench) -> None:
    """While clients keep on asking: each has a right answer, a refusal or a closed connection; and
    the daemon comes to its end."""
    for way, end in _ways(bench).items():
        with bench.daemon() as daemon, bench.showing("SRV-4"):
            with daemon.connect() as asker:
                questions = sound(bench, asker, 8)

            asked = _stopped_among_clients(bench, daemon, questions, end)
            try:
                daemon.wait(_LEAVE_S)
            except TimeoutError:
                raise AssertionError(
                    f"after {way}, it is there for {_LEAVE_S:g} s, because clients ask"
                ) from None
            bench.tried("SRV-4", asked, "clients")


def _stopped_among_clients(
    bench: Bench, daemon: Daemon, questions: list[Question], end: Callable[[Daemon], None]
) -> int:
    """How many connections asked, until there were no more."""
    is_stopped = SYSTEM.event("stopped")
    until = SYSTEM.monotonic() + _LEAVE_S

    def ask(number: int) -> int:
        count = 0
        while SYSTEM.monotonic() < until:
            query, path = questions[(number + count) % len(questions)]
            try:
                with daemon.connect() as asker:
                    answer = asker.query(query)
            except (Gone, Refused):
                if is_stopped.is_set():
                    return count
                raise
            assert path in answer.paths, f"while it leaves, {query!r} finds {answer}, not {path}"
            count += 1
        raise AssertionError(f"asked to end, it goes on to answer for {_LEAVE_S:g} s")

    def leave() -> None:
        end_of(daemon.pid, 0.2)
        is_stopped.set()
        end(daemon)

    *asked, left = bench.together(*(partial(ask, number) for number in range(4)), leave)
    raised((left, *asked))
    return sum(asked)


@check("stop-in-flight", "SRV-4", needs={Cap.STOP})
def stop_in_flight(bench: Bench) -> None:
    """Queries that were asked well before the stop are answered, and rightly."""
    if can(bench, "hold"):
        _stop_while_held(bench)
        return
    for way, end in _ways(bench).items():
        with bench.showing("SRV-4"):
            found = _round(bench, way, end)
            # On a machine that is busy a query may come in late; not every time.
            for _ in range(_ROUNDS - 1):
                if isinstance(found, AssertionError):
                    found = _round(bench, way, end)
            if isinstance(found, AssertionError):
                raise found
            bench.tried("SRV-4", found, "in flight")


def _stop_while_held(bench: Bench) -> None:
    """The same, of a query that is held; and what is new is refused meanwhile."""
    project = bench.project()
    for way, end in _ways(bench).items():
        with gated(bench, "hold", project) as (daemon, gate), bench.showing("SRV-4"):
            late = daemon.connect(_LATE_S)
            question = sound(bench, late, 1)[0]
            with InFlight(daemon, gate, question[0]) as held:
                # A way to end may wait for what is in flight.
                leaving = SYSTEM.thread(partial(_leave, end, daemon), "leaving")
                _refuses(late, way)
                answer = _answered(held, way)
            is_right = answer is None or right(answer, question)
            assert is_right, f"in flight at {way}, {question[0]!r} finds {answer}"
            leaving.join(_LEAVE_S)
            daemon.wait(_LEAVE_S)
            bench.tried("SRV-4", 1, "in flight")


def _answered(held: InFlight, way: str) -> Answer | None:
    """Nothing for a reference that was returned, and is of a daemon that has left."""
    try:
        return held.answered()
    except (Gone, Refused, TimeoutError) as error:
        if isinstance(error, Gone) and held.has_returned and not error.is_told:
            return None
        raise AssertionError(f"in flight at {way}, a query has no answer: {error}") from None


def _leave(end: Callable[[Daemon], None], daemon: Daemon) -> None:
    with suppress(Exception):  # whether it leaves is seen from outside
        end(daemon)


def _refuses(late: Asker, way: str) -> None:
    """Who comes now has no answer; before the daemon has heard of its end, it may have one."""
    until = SYSTEM.monotonic() + _LATE_S
    while SYSTEM.monotonic() < until:
        try:
            late.query("village")
        except (Gone, Refused, TimeoutError):
            return
        SYSTEM.sleep(0.01)
    raise AssertionError(
        f"after {way}, with a query in flight, it answers new ones for {_LATE_S:g} s"
    )


def _round(bench: Bench, way: str, end: Callable[[Daemon], None]) -> int | AssertionError:
    """How many queries were in flight at the stop and were answered; or what is wrong."""
    with bench.daemon() as daemon:
        long = long_query(bench, daemon, _LONG_S, _SHORT_TEXT)
        if long is None:
            raise NotTried(bench.too_quick(_LONG_S))
        try:
            answered = _stopped_meanwhile(bench, daemon, long, way, end)
        except AssertionError as error:
            return error
    return answered or AssertionError(
        f"of queries that were asked {long.seconds / 2:.2f} s before {way}, none is answered"
    )


def _stopped_meanwhile(
    bench: Bench, daemon: Daemon, long: Long, way: str, end: Callable[[Daemon], None]
) -> int:
    """How many of two long queries were answered; the others were refused as too late."""
    patience_s = max(_LEAVE_S, 10 * long.seconds)
    askers = [daemon.connect(patience_s) for _ in range(2)]

    def ask(number: int) -> Answer | None:
        try:
            return askers[number].query(long.text)
        except Gone:
            # A reference that was returned, and is of a daemon that has left.
            if askers[number].returned:
                return None
            raise

    def leave() -> None:
        # Until it is surely there, and not yet done.
        end_of(daemon.pid, long.seconds / 2)
        end(daemon)

    *asked, left = bench.together(lambda: ask(0), lambda: ask(1), leave, timeout_s=2 * patience_s)
    raised([left])
    answered = sum(_is_answered(outcome, long, way) for outcome in asked)
    daemon.wait(patience_s)
    return answered


def _is_answered(outcome: Answer | Exception | None, long: Long, way: str) -> bool:
    """Whether a query that was in flight was answered; or else told that it is too late."""
    if outcome is None:
        return True
    if isinstance(outcome, Answer):
        assert frozenset(outcome.paths) == long.paths, (
            f"in flight at the stop, a query found {outcome}, and {sorted(long.paths)} before"
        )
        return True
    if isinstance(outcome, Refused) or (isinstance(outcome, Gone) and outcome.is_told):
        return False
    if isinstance(outcome, (Gone, TimeoutError)):
        raise AssertionError(
            f"a query of {long.seconds:.2f} s, asked {long.seconds / 2:.2f} s before {way}, "
            f"has no answer: {outcome}"
        )
    raise outcome


@check("stop-leaves-others", "SRV-4", needs={Cap.STOP})
def stop_leaves_others(bench: Bench) -> None:
    """A socket in the place of its own is another daemon's, and stays."""
    with bench.daemon() as daemon, bench.showing("SRV-4"):
        path = Path(daemon.address)
        with daemon.connect() as asker, socket.socket(socket.AF_UNIX) as other:
            asker.query("village")
            other.bind(str(path.with_name("o.sock")))
            other.listen()
            inode = path.with_name("o.sock").stat().st_ino
            path.with_name("o.sock").replace(path)
            # Over the connection, because the path leads elsewhere; it may have noticed by itself.
            if bench.target.methods.stop:
                with suppress(Gone):
                    asker.ask("stop")
            else:
                _terminate(daemon)
            daemon.wait(_LEAVE_S)
            there = path.stat().st_ino if os.path.lexists(path) else 0
            assert there == inode, "when it was stopped, it removed another daemon's socket"


CHECKS = [stop, stop_with_clients, stop_in_flight, stop_leaves_others]
