"""What a load scenario is: users, what disturbs them, and what must hold meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import locust

from cidx_ref.project import Project
from cidx_ref.testing.load.corpus import Question
from cidx_ref.testing.load.session import Session
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
    #: Where the command line says nothing.
    users: ClassVar[int] = 20
    run_time_s: ClassVar[int] = 20
    #: Changes to the `daemon` block of the session's own daemon.
    config: ClassVar[dict[str, Any]] = {}
    #: Environment variables of the session's own daemon.  By default its embedder takes some time
    #: for a query, or queries that wait for each other would hardly show.
    daemon_environment: ClassVar[dict[str, str]] = {
        "CIDX_REF_EMBEDDER": "cidx_ref.testing.own.patient:patient"
    }
    #: It stops, kills or reconfigures the daemon, so it must not be somebody else's.
    needs_own_daemon: ClassVar[bool] = False
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

    def launch(self, project: Project) -> object:
        return self.session.launch(project)

    def pick(self, method: str = "query_fts") -> Question:
        """One of the session's questions that the method answers.  Raises `ValueError` if it
        answers none, as may be where `session.questions` were made of names."""
        fit = [question for question in self.session.questions if method in question.methods]
        if not fit:
            raise ValueError(f"no question for {method}: give --questions FILE")
        return random.choice(fit)

    def pick_any(self) -> tuple[str, Question]:
        """A method (semantic, full text and hybrid as they come), and a question for it."""
        method = random.choice(self.session.methods)
        return method, self.pick(method)

    def search(self) -> None:
        """Ask one question."""
        self.ask(*self.pick_any())
