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

from cidx_ref.testing.conformance.asking import Answer, Gone
from cidx_ref.testing.conformance.netrefs import by_value
from cidx_ref.testing.conformance.target import Peer
from cidx_ref.testing.load.connection import (
    MeasuredConnection,
    RemoteError,
    WrongAnswerError,
    trimmed,
)
from cidx_ref.testing.load.corpus import Question
from cidx_ref.testing.load.place import Place, story

__all__ = ["Catch", "DaemonUser", "RpycClient", "RpycUser"]

#: Looks at an answer, and says what is wrong with it; None: nothing.
Catch = Callable[[Any], str | None]

CONNECT = "(connect)"


class RpycClient:
    """Calls, and reports each of them to locust.  Connects when it must."""

    def __init__(
        self,
        environment: Environment,
        connect: Callable[[], Peer],
        *,
        patience_s: float = 2.0,
    ) -> None:
        """`connect` makes a connection, or raises.  A call that is under way when the user is
        stopped is reported as failed if it has had no answer for `patience_s`, and else not at all.
        """
        self._environment = environment
        self._connect = connect
        self._patience_s = patience_s
        self._connection: Peer | None = None

    def connect(self) -> bool:
        """Connect if there is no connection; False if that failed, which was reported."""
        if self._connection is not None:
            return True
        with self.measured(CONNECT, kind="CONNECT") as event:
            self._connection = self._connect()
            event["response_length"] = _count(self._connection, "received_bytes")
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
        return self.do(
            name or method,
            lambda peer: by_value(peer.call(method, *args, **kwargs)),
            catch=catch,
            intended=intended,
        )

    def do(
        self,
        name: str,
        ask: Callable[[Peer], Any],
        *,
        catch: Catch | None = None,
        intended: float | None = None,
    ) -> Any:
        """What `ask` returns, as one call; or None if it raised, or `catch` found it wrong: both
        are reported."""
        with self.measured(name, intended=intended) as event:
            if not self.connect():
                raise ConnectionError("not connected")
            connection = self._connection
            assert connection is not None
            sent = _count(connection, "sent")
            received = _count(connection, "received_bytes")
            try:
                event["value"] = ask(connection)
            except (Gone, EOFError, OSError):  # a TimeoutError is one
                self.close()
                raise
            event["response_length"] = _count(connection, "received_bytes") - received
            event["context"]["trips"] = _count(connection, "sent") - sent
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


def _count(peer: Peer, name: str) -> int:
    """What a connection has counted; 0 where it does not."""
    return int(getattr(peer, name, 0))


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

    def _open(self) -> Peer:
        return self.connection_class(self.environment.host or self.host or "", self.timeout_s)


class DaemonUser(RpycUser):
    """A user of a daemon that is asked as its target says; without one, by the story's methods."""

    abstract = True
    #: Hits asked for.
    limit: ClassVar[int] = 5

    @property
    def place(self) -> Place:
        """Where the daemon is, and how it is asked."""
        if self._story is None:
            named = getattr(self.environment.parsed_options, "project", None)
            self._story = story(self.environment.host or self.host or "", named)
        return self._story

    @property
    def project(self) -> Path:
        """The directory that it serves."""
        return self.place.root

    _story: Place | None = None

    def ask(
        self,
        method: str,
        question: Question,
        *,
        catch: Callable[[Answer], str | None] | None = None,
        intended: float | None = None,
        name: str = "",
        fresh: bool = False,
    ) -> Answer | None:
        """One query in a mode that the target names.  The known file must be among the hits; or
        else it is as `catch` says."""
        place, timeout_s = self.place, self.timeout_s
        answer: Answer | None = self.client.do(
            name or method,
            lambda peer: place.asker(peer, timeout_s).query(
                question.text, method, self.limit, fresh=fresh
            ),
            catch=catch or place.complaint(question),
            intended=intended,
        )
        return answer

    def _open(self) -> Peer:
        return self.place.open(self.timeout_s)
