"""What a load scenario is: users, what disturbs them, and what must hold meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import locust

from cidx_ref.testing.conformance.target import Attach, Cap, Target
from cidx_ref.testing.load.corpus import METHODS, Question
from cidx_ref.testing.load.place import Place, modes_of
from cidx_ref.testing.load.session import RetryingClient, Session
from cidx_ref.testing.load.slo import parse_all
from cidx_ref.testing.load.user import DaemonUser

__all__ = ["Scenario"]


class Scenario(DaemonUser):
    """A user of a daemon, and what its session is judged on.

    The docstring of a subclass says what it shows.  One scenario is run at a time.  What users do
    is told locust as ever, by `@task`, or here by `tasks = (Scenario.search,)`.
    """

    abstract = True

    #: Objectives, beside those that hold for every session; see `cidx_ref.testing.load.slo`.
    slos: ClassVar[tuple[str, ...]] = ()
    #: Those of a daemon that offers something.  Of a mode that it has not, they are left out.
    promised: ClassVar[Mapping[Cap, tuple[str, ...]]] = {}
    #: What the daemon must offer.
    needs: ClassVar[frozenset[Cap]] = frozenset()
    #: Where the command line says nothing.
    users: ClassVar[int] = 20
    run_time_s: ClassVar[int] = 20
    #: How the session's daemon is configured, where its target has a way: its `{ttl_s}`, `{idle}`
    #: and `{watch}`.
    values: ClassVar[dict[str, Any]] = {}
    #: Of our own: changes to the `daemon` block of its configuration,
    config: ClassVar[dict[str, Any]] = {}
    #: and environment variables.  None: with an embedder that takes some time for a query.
    daemon_environment: ClassVar[dict[str, str] | None] = None
    #: It stops or kills the daemon, or changes its files, so it must not be somebody else's.
    needs_own_daemon: ClassVar[bool] = False
    #: It ends the daemon, and then another is started.
    ends_daemon: ClassVar[bool] = False
    #: A first query is answered before the users come.
    warms_up: ClassVar[bool] = True
    #: How many users there are when; without one, all of them at once.
    shape: ClassVar[type[locust.LoadTestShape] | None] = None
    #: Set when the session begins, for all scenarios.
    session: ClassVar[Session]

    wait_time: Callable[[], float] = locust.between(0.05, 0.15)

    @classmethod
    def disturb(cls, session: Session) -> None:
        """Run once beside the users, in the leading process, until they stop.  May raise, which
        fails the session."""

    @classmethod
    def settle(cls, session: Session) -> None:
        """Called in the leading process when the users are gone: the place for last figures."""

    @classmethod
    def also_missing(cls, target: Target) -> str:
        """What it needs beside what `needs` names, in words; empty if it is there."""
        return ""

    @classmethod
    def missing(cls, target: Target) -> str:
        """What the target would have to offer; empty if it is all there."""
        if cls.needs_own_daemon and isinstance(target.start, Attach):
            return "needs a daemon that the kit starts (Spawn): it would harm the daemon there"
        lacking = [
            f"{cap.value} (Cap.{cap.name})"
            for cap in Cap
            if cap in cls.needs and not target.offers(cap)
        ]
        if more := cls.also_missing(target):
            lacking.append(more)
        return f"needs {', and '.join(lacking)}" if lacking else ""

    @classmethod
    def objectives(cls, target: Target | None = None) -> tuple[str, ...]:
        """Those of a session on that target; without one, all."""
        if target is None:
            return (*cls.slos, *(slo for slos in cls.promised.values() for slo in slos))
        found = [slo for cap, slos in cls.promised.items() if target.offers(cap) for slo in slos]
        absent = set(METHODS) - set(modes_of(target))
        return (*cls.slos, *(str(s) for s in parse_all(found) if s.row not in absent))

    @property
    def place(self) -> Place:
        return self.session.place

    def pick(self, method: str = "query_fts") -> Question:
        """One of the session's questions that the method answers.  Raises `ValueError` if it
        answers none, as may be where `session.questions` were made of names."""
        fit = [question for question in self.session.questions if method in question.methods]
        if not fit:
            raise ValueError(f"no question for {method}: give --questions FILE")
        return random.choice(fit)

    def pick_any(self) -> tuple[str, Question]:
        """A mode (semantic, full text and hybrid as they come), and a question for it."""
        method = random.choice(self.session.methods)
        return method, self.pick(method)

    def search(self) -> None:
        """Ask one question."""
        self.ask(*self.pick_any())

    def on_start(self) -> None:
        self._retrying: RetryingClient | None = None
        super().on_start()

    def on_stop(self) -> None:
        super().on_stop()
        self.let_go()

    def ask_and_retry(self, method: str, question: Question) -> None:
        """One query by a client that tries again, with the next daemon; all it does until it has an
        answer is one call."""
        with self.client.measured(method) as event:
            if self._retrying is None:
                self._retrying = self.session.client(self.timeout_s)
            event["value"] = self._retrying.query(question.text, method, self.limit)
            event["catch"] = self.place.complaint(question)

    def let_go(self) -> None:
        """Close that client's connection."""
        client, self._retrying = self._retrying, None
        if client is not None:
            client.close()
