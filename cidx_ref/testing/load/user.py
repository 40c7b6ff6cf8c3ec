"""A user for locust that speaks RPyC.

    class Mine(RpycUser):
        host = "unix:///path/to/some.sock"  # or tcp://host:port

        @task
        def look(self):
            self.client.call("get_status", catch=lambda answer: None if answer else "empty")

Each user has a connection of its own, so none waits for another's answer.  Each call is one
`request` event: the method's name, its latency in milliseconds, the size of the answer in bytes,
and what was raised, without the remote traceback.  Connecting is a row of its own, "(connect)".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import locust  # before rpyc: gevent must have replaced what blocks
from locust.env import Environment

from cidx_ref.client import DaemonClient
from cidx_ref.launcher import start_process
from cidx_ref.project import Project
from cidx_ref.testing.conformance.netrefs import by_value
from cidx_ref.testing.load.connection import (
    DaemonConnection,
    MeasuredConnection,
    RemoteError,
    WrongAnswerError,
    trimmed,
)
from cidx_ref.testing.load.corpus import Question
from cidx_ref.testing.load.target import project_at

__all__ = ["Catch", "DaemonUser", "RpycClient", "RpycUser"]

#: Looks at an answer, and says what is wrong with it; None: nothing.
Catch = Callable[[Any], str | None]

CONNECT = "(connect)"


class RpycClient:
    """Calls, and reports each of them to locust.  Connects when it must."""

    def __init__(
        self,
        environment: Environment,
        connect: Callable[[], MeasuredConnection],
        *,
        patience_s: float = 2.0,
    ) -> None:
        """`connect` makes a connection, or raises.  A call that is under way when the user is
        stopped is reported as failed if it has had no answer for `patience_s`, and else not at all.
        """
        self._environment = environment
        self._connect = connect
        self._patience_s = patience_s
        self._connection: MeasuredConnection | None = None

    def connect(self) -> bool:
        """Connect if there is no connection; False if that failed, which was reported."""
        if self._connection is not None:
            return True
        with self.measured(CONNECT, kind="CONNECT") as event:
            self._connection = self._connect()
            event["response_length"] = self._connection.received_bytes
        return self._connection is not None

    def call(
        self,
        method: str,
        *args: Any,
        catch: Catch | None = None,
        name: str = "",
        intended: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """The answer by value, or None if there was an error or `catch` found it wrong: both are
        reported.

        `name` is the row's, by default the method's.  `intended`, on `time.perf_counter`, is when
        the call should have begun, and its latency counts from there.
        """
        with self.measured(name or method, intended=intended) as event:
            if not self.connect():
                raise ConnectionError("not connected")
            connection = self._connection
            assert connection is not None
            sent, received = connection.sent, connection.received_bytes
            try:
                event["value"] = by_value(connection.call(method, *args, **kwargs))
            except (EOFError, OSError, TimeoutError):
                self.close()
                raise
            event["response_length"] = connection.received_bytes - received
            event["context"]["trips"] = connection.sent - sent
            event["catch"] = catch
        return event["value"] if event["exception"] is None else None

    @contextmanager
    def measured(
        self, name: str, *, kind: str = "RPYC", intended: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Report what the block does as one `request` event, and swallow what it raises."""
        event: dict[str, Any] = {"exception": None, "response_length": 0, "context": {}}
        event.update(value=None, catch=None)
        started = time.perf_counter() if intended is None else intended
        ended = None
        try:
            yield event
            ended = time.perf_counter()  # what the check takes is not the daemon's
            event["exception"] = _wrong(event["catch"], event["value"])
        except Exception as error:
            event["exception"] = RemoteError(trimmed(error))
        except BaseException:  # the user is stopped
            self.close()  # in the middle of an answer: nothing can follow on this connection
            waited_s = time.perf_counter() - started
            if waited_s >= self._patience_s:  # or nobody would see that it was never answered
                event["exception"] = RemoteError("no answer when the session ended")
                self._report(kind, name, waited_s * 1000, event)
            raise
        took_s = (ended or time.perf_counter()) - started
        self._report(kind, name, took_s * 1000, event)

    def _report(self, kind: str, name: str, took_ms: float, event: dict[str, Any]) -> None:
        self._environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=took_ms,
            response_length=event["response_length"],
            exception=event["exception"],
            context=event["context"],
        )

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _wrong(catch: Catch | None, answer: Any) -> WrongAnswerError | None:
    try:
        complaint = catch(answer) if catch is not None else None
    except Exception as error:  # of a form that the check did not foresee
        complaint = f"its check raised {trimmed(error)}"
    return WrongAnswerError(f"wrong answer: {complaint}") if complaint else None


class RpycUser(locust.User):  # type: ignore[misc]
    """A user with a connection to an RPyC service at `host`."""

    abstract = True
    #: Seconds until a call counts as failed.
    timeout_s: ClassVar[float] = 30.0
    connection_class: ClassVar[type[MeasuredConnection]] = MeasuredConnection
    #: Seconds without an answer after which a call that the session's end cuts off has failed.
    patience_s: ClassVar[float] = 2.0
    #: Connect before the first call.
    connects_at_once: ClassVar[bool] = True

    client: RpycClient

    def on_start(self) -> None:
        self.client = RpycClient(self.environment, self._open, patience_s=self.patience_s)
        if self.connects_at_once:
            self.client.connect()

    def on_stop(self) -> None:
        self.client.close()

    def _open(self) -> MeasuredConnection:
        return self.connection_class(self.environment.host or self.host or "", self.timeout_s)


class DaemonUser(RpycUser):
    """A user of a daemon that speaks the story's methods, ours or any other."""

    abstract = True
    connection_class = DaemonConnection
    #: Hits asked for.
    limit: ClassVar[int] = 5

    project: Path

    def on_start(self) -> None:
        self._shipped: DaemonClient | None = None
        host = self.environment.host or self.host or ""
        named = getattr(self.environment.parsed_options, "project", None)
        self.project = project_at(host, named)
        super().on_start()

    def on_stop(self) -> None:
        super().on_stop()
        self.let_go()

    def ask(
        self,
        method: str,
        question: Question,
        *,
        catch: Catch | None = None,
        intended: float | None = None,
        name: str = "",
        **options: Any,
    ) -> Any:
        """One query, with more `options`.  The known file must be among the hits; or else it is as
        `catch` says."""
        return self.client.call(
            method,
            project_path=str(self.project),
            query=question.text,
            limit=self.limit,
            catch=catch or question.complaint,
            intended=intended,
            name=name,
            **options,
        )

    def ask_and_retry(self, method: str, question: Question) -> None:
        """One query by the shipped client, which starts a daemon where none answers, and tries
        again; all it does until it has an answer is one call."""
        with self.client.measured(method) as event:
            if self._shipped is None:
                self._shipped = DaemonClient(
                    Project.at(self.project), timeout_s=self.timeout_s, launch=self.launch
                )
            mode = {"query": "semantic", "query_fts": "fts", "query_hybrid": "hybrid"}[method]
            answer = self._shipped.query(question.text, mode=mode, limit=self.limit)
            event["value"] = {"results": [{"path": hit.path} for hit in answer]}
            event["catch"] = question.complaint

    def launch(self, project: Project) -> object:
        """Start the daemon of `project` where the shipped client finds none."""
        return start_process(project)

    def let_go(self) -> None:
        """Close the shipped client's connection."""
        shipped, self._shipped = self._shipped, None
        if shipped is not None:
            shipped.close()
