"""The index is not there, or about to go."""

from __future__ import annotations

import random
import time
from importlib import import_module
from typing import Any, ClassVar

import gevent

from cidx_ref.testing.conformance.asking import Gone
from cidx_ref.testing.conformance.indexes.crowd import loads
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.load import Scenario, Session, task
from cidx_ref.testing.load.started import is_own


def until_next(period_s: float, offset_s: float = 0.0) -> float:
    """Seconds until the clock that all processes share is at a multiple of the period."""
    return period_s - (SYSTEM.monotonic() - offset_s) % period_s


class ColdHerd(Scenario):
    """Everyone at once, every second, on a daemon that has just been told to forget its index.

    Shows that whoever comes while the index is loaded waits for that load, and begins none.  It is
    told when all that were asked are answered.

    Objectives: one load a round, every query below 3 s.
    """

    slos = ("(loads a round):max<=1", "(loads a round):count>=2", "*:max<3000")
    needs = frozenset({Cap.CLEAR, Cap.LOADS})
    warms_up = False
    period_s = 1.0
    #: How many users of this process wait for an answer.
    asking: ClassVar[int] = 0

    def wait_time(self) -> float:
        return until_next(self.period_s)

    @task
    def search_at_once(self) -> None:
        ColdHerd.asking += 1
        try:
            self.search()
        finally:
            ColdHerd.asking -= 1

    @classmethod
    def disturb(cls, session: Session) -> None:
        before = -1
        while True:
            gevent.sleep(until_next(cls.period_s, cls.period_s / 2))
            # Or a load may be under way, and what it finds is not to be kept.
            while cls.asking and until_next(cls.period_s) > cls.period_s / 10:
                gevent.sleep(cls.period_s / 100)
            if cls.asking:
                continue
            with session.connect() as asker:
                now = loads(asker)
                if before >= 0 and now > before:
                    session.figure("(loads a round)", now - before)
                before = now
                asker.ask("clear")


class Expiry(Scenario):
    """Traffic with pauses about as long as the TTL, which is one second here, so that the index is
    evicted and the daemon leaves while the next queries come; or it is told to stop.

    Shows that clients find the next daemon, and no query is lost; with our own also that one which
    takes longer than the TTL, "(long query)", is answered, also if the daemon is told to stop
    meanwhile.  "(daemons)" is how many there were.

    Objectives: nothing fails, at least 2 daemons, at least 2 long queries.
    """

    slos = ("(daemons):max>=2",)
    needs = frozenset({Cap.SHORT_TTL, Cap.STOP})
    values: ClassVar[dict[str, Any]] = {"ttl_s": 1.0, "idle": True}
    config: ClassVar[dict[str, Any]] = {
        "ttl_minutes": 1 / 60,
        "eviction_check_interval_seconds": 0.2,
        "auto_shutdown_on_idle": True,
        # Evicted and stopped again and again, a client may meet several who are leaving.
        "max_retries": 10,
    }
    needs_own_daemon = True
    ends_daemon = True
    connects_at_once = False
    patience_s = 10.0
    period_s = 2.5

    def wait_time(self) -> float:
        if self.is_busy_time():
            return random.uniform(0.05, 0.15)
        return until_next(self.period_s) + random.uniform(0.0, 0.3)

    @classmethod
    def is_busy_time(cls) -> bool:
        """The busy part of each period is another length, and so is the pause: 1.1 to 1.7 s."""
        number, since = divmod(SYSTEM.monotonic(), cls.period_s)
        return since < 0.8 + 0.1 * (number % 7)

    @classmethod
    def objectives(cls, target: Target | None = None) -> tuple[str, ...]:
        own = ("(long query):count>=2",) if target is None or is_own(target) else ()
        return (*super().objectives(target), *own)

    @task
    def search(self) -> None:
        self.ask_and_retry(*self.pick_any())

    @classmethod
    def disturb(cls, session: Session) -> None:
        watching = gevent.spawn(cls._watch, session)
        stops = True
        try:
            while True:
                gevent.sleep(until_next(cls.period_s, 1.0))
                if session.is_own:
                    cls._ask_for_long(session, stops=stops)
                elif stops:
                    cls._stop(session)
                stops = not stops
                gevent.sleep(cls.period_s)
        finally:
            watching.kill()

    @classmethod
    def _watch(cls, session: Session) -> None:
        while True:
            if pid := session.pid():
                session.samples.facts.add(("daemon", str(pid)))
            gevent.sleep(0.2)

    @classmethod
    def _stop(cls, session: Session) -> None:
        try:
            session.stop()
        except Gone:  # it was on the way out
            return

    @classmethod
    def _ask_for_long(cls, session: Session, *, stops: bool) -> None:
        patient = import_module("cidx_ref.testing.own.patient")
        client = session.client()
        try:
            client.query("copy a tree", "query_fts", 1)  # starts one if there is none
            asker = session.connect()
        finally:
            client.close()
        stopping = gevent.Greenlet(cls._stop, session)
        if stops:
            stopping.start_later(patient.LONG_S / 3)
        started, failure = time.perf_counter(), ""
        try:
            asker.query(f"copy a tree {patient.PATIENTLY}", "query")
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        finally:
            asker.close()
            stopping.kill()
        session.figure("(long query)", (time.perf_counter() - started) * 1000, failure)

    @classmethod
    def settle(cls, session: Session) -> None:
        session.figure("(daemons)", len(list(session.samples.told("daemon"))))
