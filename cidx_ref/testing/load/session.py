"""A load session as a scenario sees it: where its daemon is, what it is asked, what was measured.

What begins, judges and ends a session is in `run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust.env import Environment

from cidx_ref.launcher import start_process
from cidx_ref.project import Project
from cidx_ref.sockets import peer_pid
from cidx_ref.testing.load.connection import DaemonConnection, open_socket
from cidx_ref.testing.load.corpus import METHODS, Question
from cidx_ref.testing.load.monitor import Reading, growth
from cidx_ref.testing.load.samples import Samples
from cidx_ref.testing.load.target import project_at

__all__ = ["Session"]


class Session:
    """One run of one scenario, as one process sees it."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options = environment.parsed_options
        self.samples = Samples()
        self.questions: tuple[Question, ...] = ()
        #: Those that answer any question.
        self.methods: tuple[str, ...] = METHODS
        self.readings: list[Reading] = []
        #: Whether the daemon was started for this session, and may be treated badly.
        self.owns_daemon = False
        #: Starts the session's own daemon where a client finds none.
        self.launch: Callable[[Project], object] = start_process
        self.is_over = False
        #: Where the daemon is: locust's own note of it is changed by every form that is sent.
        self.host = ""
        self._started: float | None = None
        self._elapsed_s = 0.0  # when the users left

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

    @property
    def project(self) -> Path:
        """The directory that the daemon serves."""
        return project_at(self.host, self.options.project)

    def connect(self, timeout_s: float = 30.0) -> DaemonConnection:
        """A connection beside the users'.  Raises `OSError`, `EOFError`."""
        return DaemonConnection(self.host, timeout_s)

    def ask(self, method: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
        """One call on a connection of its own; raises what the daemon raises."""
        connection = self.connect(timeout_s)
        try:
            return connection.call(method, **arguments)
        finally:
            connection.close()

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
