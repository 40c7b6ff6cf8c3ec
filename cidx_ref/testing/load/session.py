"""A load session as a scenario sees it: where its daemon is, what it is asked, what was measured.

What begins, judges and ends a session is in `run`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import gevent
import psutil
from locust.env import Environment

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Answer, Asker, Gone
from cidx_ref.testing.conformance.subject import Project
from cidx_ref.testing.conformance.target import Target
from cidx_ref.testing.ground import SYSTEM, peer_pid
from cidx_ref.testing.load.connection import open_socket
from cidx_ref.testing.load.corpus import METHODS, Question
from cidx_ref.testing.load.monitor import Reading, growth
from cidx_ref.testing.load.place import Place
from cidx_ref.testing.load.samples import Samples

__all__ = ["PatientClient", "RetryingClient", "Session"]

_RETRY_S = 0.02


class RetryingClient(Protocol):
    """Asks until it is answered, whatever becomes of daemons meanwhile."""

    def query(self, text: str, mode: str, limit: int) -> Answer: ...
    def close(self) -> None: ...


class PatientClient:
    """One that waits for the next daemon, which somebody else starts."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._asker: Asker | None = None

    def query(self, text: str, mode: str, limit: int) -> Answer:
        """Raises what the daemon answers as an error; `Gone`, `TimeoutError` if none answers."""
        deadline = SYSTEM.monotonic() + self._timeout_s
        while True:
            try:
                self._asker = self._asker or self._place.connect(self._timeout_s)
                return self._asker.query(text, mode, limit)
            except Gone:
                self.close()
                if SYSTEM.monotonic() >= deadline:
                    raise
                gevent.sleep(_RETRY_S)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.close()


class Session:
    """One run of one scenario, as one process sees it."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options = environment.parsed_options
        self.samples = Samples()
        self.questions: tuple[Question, ...] = ()
        #: Modes that answer any question.
        self.methods: tuple[str, ...] = METHODS
        self.readings: list[Reading] = []
        #: Whether the daemon was started for this session, and may be treated badly.
        self.owns_daemon = False
        #: Whether it is this package's, whose answers say more than others'.
        self.is_own = False
        self.is_over = False
        #: How long it is to last.
        self.run_time_s = 0.0
        #: Before the users came; see `sockets`.
        self.sockets_before = 0
        self._place: Place | None = None
        self._make_client: Callable[[Place, float], RetryingClient] = PatientClient
        self._started: float | None = None
        self._elapsed_s = 0.0  # when the users left

    @property
    def place(self) -> Place:
        """Where the daemon is.  Raises `RuntimeError` while there is none."""
        if self._place is None:
            raise RuntimeError("the session has no daemon yet")
        return self._place

    @property
    def host(self) -> str:
        """Empty before there is a daemon."""
        # Locust's own note of it is changed by every form that is sent.
        return self._place.host if self._place else ""

    @property
    def target(self) -> Target:
        return self.place.target

    @property
    def project(self) -> Path:
        """The directory that the daemon serves."""
        return self.place.root

    @property
    def is_beginning(self) -> bool:
        """Whether its daemon is not there yet."""
        return self._started is None and not self.is_over

    @property
    def elapsed_s(self) -> float:
        """How long users have been asking, or have asked."""
        if self._elapsed_s or self._started is None:
            return self._elapsed_s
        return time.perf_counter() - self._started

    def mode(self, preferred: str = "query_fts") -> str:
        """The mode, or another that the daemon has."""
        return preferred if preferred in self.place.modes else self.place.modes[0]

    def connect(self, timeout_s: float = 30.0) -> Asker:
        """A connection beside the users'.  Raises `Gone`."""
        return self.place.connect(timeout_s)

    def ask(self, role: str, timeout_s: float = 30.0, **roles: Any) -> Any:
        """One call of a method that the target names (`Methods`), on a connection of its own;
        raises what the daemon raises."""
        with self.connect(timeout_s) as asker:
            return asker.ask(role, **roles)

    def call(self, method: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
        """The same of a method by its own name."""
        with self.connect(timeout_s) as asker:
            return asker.call(method, **arguments)

    def query(self, text: str, mode: str = "query_fts", limit: int = 5) -> Answer:
        """One query, on a connection of its own; raises what the daemon raises."""
        with self.connect() as asker:
            return asker.query(text, mode, limit)

    def client(self, timeout_s: float = 30.0) -> RetryingClient:
        """A client that asks until it is answered."""
        return self._make_client(self.place, timeout_s)

    def write(self, edition: int) -> None:
        """Have the files of an edition in the project; see `conformance.corpus`."""
        Project(self.target, self.project).write(edition)

    def having(self, word: str) -> list[str]:
        """The files of the project that have the word of an edition."""
        if self.target.corpus is None:
            return list(corpus.CHANGING)
        return Project(self.target, self.project).has(word)

    def stop(self) -> None:
        """Have the session's own daemon stopped gracefully.  Raises `Gone`."""
        if not self.owns_daemon:
            raise RuntimeError("a daemon that was there already is not stopped")
        if self.target.methods.stop:
            self.ask("stop")
        elif pid := self.pid():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def sockets(self) -> int:
        """How many sockets the daemon's process has open; 0 where that is not known."""
        pid = self.pid()
        with suppress(psutil.Error):
            return len(psutil.Process(pid).net_connections("all")) if pid else 0
        return 0

    def figure(self, name: str, value: float, failure: str = "") -> None:
        """A figure of a scenario's, as a row in locust's charts and ours.  Rows in brackets are not
        counted as calls."""
        error = RuntimeError(failure) if failure else None
        self.environment.events.request.fire(
            request_type="FIGURE",
            name=name,
            response_time=value,
            response_length=0,
            exception=error,
            context={},
        )

    def pid(self) -> int:
        """The daemon's process; 0 if it cannot be told, or nobody answers."""
        try:
            with open_socket(self.host, 1.0) as sock:
                return peer_pid(sock) if self.host.startswith("unix") else 0
        except OSError:
            return 0

    def growth(self) -> dict[str, Any]:
        """How the daemon's process has grown; see `monitor.growth`."""
        return growth(self.readings)
