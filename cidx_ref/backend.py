"""Backends: what answers a client's calls, and is a daemon or stands for one.

`Remote` is one connection to a daemon.  A call is one round trip of plain values (`wire`); only a
call with a callback needs RPyC itself, which is imported then.  `InProcess` is the daemon's service
in this process, for `enabled: false`.  Neither tries again: that is the client's part, and the kind
of the error says whether it is worth it.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import ECONNREFUSED, ENOENT, ENOTDIR, EPERM
from socket import SHUT_RDWR, socket
from typing import Any, Protocol

from cidx_ref.errors import BadArgumentError, BusyError, DaemonUnavailableError, from_kind
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.project import Project
from cidx_ref.shown import bounded, why
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.sockets import peer_pid
from cidx_ref.wire import Caller, NoAnswerError, RemoteError

__all__ = [
    "CONNECT_TIMEOUT_S",
    "Backend",
    "ConnectionLostError",
    "ForeignError",
    "InProcess",
    "NotListeningError",
    "Progress",
    "Remote",
    "decode",
    "encode",
    "foreign",
    "harmless",
    "listed",
    "patience",
    "understood",
]

#: `progress(current, total, path)`, and `info` as a fourth argument where there is some.
Progress = Callable[..., object]

CONNECT_TIMEOUT_S = 5.0
_NOBODY = (ECONNREFUSED, ENOENT, ENOTDIR)
#: Who it is, a daemon says at once, whatever it is busy with.
_IDENTITY_TIMEOUT_S = 10.0
#: For so long a daemon makes an answer fresh, unless it is told otherwise; and at most.
_FRESH_S, _MAX_FRESH_S = 60.0, 3600.0
#: The longest frame of an answer to a call with a callback, and the longest message of an error.
_MAX_REPORT_BYTES = 1 << 26
_MAX_ERROR_CHARS = 2000
_MAX_VERSION_CHARS = 100


#: What the answers have that a client counts on.
_NEEDED = {
    "index": {"files", "chunks", "changed", "generation", "guessed", "notes", "removed", "skipped"},
    "get_skipped": {"files", "counts"},
    "ping": {"pid", "version", "project"},
}


class ConnectionLostError(DaemonUnavailableError):
    """No daemon answers, or not any more; worth another try."""


class NotListeningError(ConnectionLostError):
    """Nobody listens at the socket, or there is none."""


class _TimedOutError(DaemonUnavailableError):
    """The daemon took too long; another try would, too."""


class ForeignError(DaemonUnavailableError):
    """What answers is no daemon of ours, or a broken one; another try would find it, too."""


class Backend(Protocol):
    """What a client asks.  For one call at a time."""

    #: What answers, for a message.
    who: str

    def call(
        self, method: str, arguments: str, callback: Progress | None, timeout_s: float | None
    ) -> str:
        """The outcome of a method, as JSON for `decode`; `timeout_s` None waits without end.

        Raises `DaemonUnavailableError`; `ConnectionLostError` where another try may help.
        """

    def has_ended(self) -> bool:
        """Whether the other end has ended the connection since the last call."""

    def close(self) -> None:
        """Let go of the daemon, or of the loaded index."""

    def leave(self) -> None:
        """In a forked child: let go of what belongs to the parent, which must not notice."""


class Remote:
    """A connection to a daemon.  For one call at a time, in the process that made it."""

    def __init__(self, project: Project) -> None:
        """Raises `UntrustedError`, `ConnectionLostError` and `DaemonUnavailableError`."""
        project.check()  # a link in the place of the socket leads to another project's daemon
        try:
            self._socket = connect_socket(project.socket_path, CONNECT_TIMEOUT_S)
        except PermissionError as error:  # which another try, or another daemon, would meet, too
            not_ours = f"cannot be asked: {error.strerror} (its socket is to be your own, mode 600)"
            why = error.strerror if error.errno == EPERM else not_ours
            raise DaemonUnavailableError(f"the daemon at {project.socket_path} {why}") from None
        except OSError as error:
            kind = NotListeningError if error.errno in _NOBODY else ConnectionLostError
            raise kind(f"cannot connect to the daemon: {error.strerror}") from None
        self.pid = peer_pid(self._socket)
        self.who = f"what answers at {project.socket_path} (pid {self.pid})"
        self._project = project
        self._caller = Caller(self._socket)
        #: The connection of a call with a callback, while there is such a call.
        self._second: socket | None = None

    def ask_identity(self, timeout_s: float) -> tuple[str, str | None]:
        """The daemon's version and project; a made-up version for a daemon of another kind.

        Raises as `call` does, and what the daemon answers.
        """
        try:
            patience_s = min(timeout_s, _IDENTITY_TIMEOUT_S)
            said = decode(self.call("ping", "{}", None, patience_s), self.who)
            version, project = said["version"], said["project"]
            if isinstance(version, str) and isinstance(project, str | None):
                return bounded(version, _MAX_VERSION_CHARS), project
        except ForeignError:  # it speaks RPyC, but does not know `call`
            pass
        except (IndexError, KeyError, TypeError):
            pass
        return "unknown", None

    def call(
        self, method: str, arguments: str, callback: Progress | None, timeout_s: float | None
    ) -> str:
        try:
            if callback is not None:
                return self._call_with(method, arguments, callback)
            return str(self._caller.call("call", method, arguments, timeout_s=timeout_s))
        except TimeoutError:
            from cidx_ref.processes import advice

            raise _TimedOutError(
                f"the daemon did not answer within {timeout_s:g} s{advice(self.pid)}"
            ) from None
        except RemoteError as error:
            kind, _, said = str(error).partition(": ")
            if kind == BusyError.__name__:  # it has not read the call
                raise BusyError(bounded(said, _MAX_ERROR_CHARS)) from None
            raise foreign(self.who, f"it raised {error}") from None
        except NoAnswerError as error:  # nor is it a daemon of another version
            raise ConnectionLostError(str(foreign(self.who, str(error)))) from None
        except (EOFError, OSError) as error:
            raise ConnectionLostError(f"the connection was lost: {self._fate(error)}") from None

    def _fate(self, error: Exception) -> str:
        from cidx_ref.processes import is_alive

        gone = f" (the daemon, pid {self.pid}, has ended: run the command again)"
        return f"{why(error)}{'' if is_alive(self.pid) else gone}"

    def _call_with(self, method: str, arguments: str, callback: Progress) -> str:
        """A call in which the daemon calls us: RPyC itself, over a connection of its own."""
        import rpyc
        from rpyc.core.stream import SocketStream

        class Stream(SocketStream):  # type: ignore[misc]
            def read(self, count: int) -> bytes:
                if count > _MAX_REPORT_BYTES:
                    raise NoAnswerError(f"a frame that is no answer ({count} bytes)")
                return bytes(super().read(count))

        self._second = sock = connect_socket(self._project.socket_path, CONNECT_TIMEOUT_S)
        channel = rpyc.Channel(Stream(sock), compress=False)
        connection = rpyc.connect_channel(channel, config={"sync_request_timeout": None})
        try:
            return str(connection.root.call(method, arguments, callback))
        except (EOFError, OSError):
            raise
        except BaseException as error:
            # What it raises comes as an error of any class, `SystemExit` among them; and what it
            # sends instead of an answer makes RPyC raise whatever it meets.
            if not isinstance(error, Exception) and not hasattr(error, "_remote_tb"):
                raise  # the user's Ctrl-C
            said = ", ".join(map(str, error.args))
            raise RemoteError(
                bounded(f"{type(error).__name__}: {said}", _MAX_ERROR_CHARS)
            ) from None
        finally:
            # The socket first: RPyC would ask the daemon to close, too, and wait for the answer,
            # while the daemon may be busy with our own call.  In a forked child the socket is
            # closed already, and this does nothing to the parent's.
            with suppress(OSError):
                sock.shutdown(SHUT_RDWR)
            with suppress(Exception):  # the goodbye cannot be sent
                connection.close()

    def has_ended(self) -> bool:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)  # nothing is sent that was not asked for
        return bool(poller.poll(0))

    def close(self) -> None:
        self._socket.close()

    def leave(self) -> None:
        # Closed, and not shut down, and without a goodbye: the parent has the same socket open.
        self._socket.close()
        if self._second is not None:
            self._second.close()


class InProcess:
    """The daemon's service in this process, for `enabled: false`.  Thread-safe."""

    who = "this process"

    def __init__(self, project: Project) -> None:
        from cidx_ref.daemon.service import CIDXDaemonService

        self._service = CIDXDaemonService(project.root)

    def call(
        self, method: str, arguments: str, callback: Progress | None, timeout_s: float | None
    ) -> str:
        return self._service.exposed_call(method, arguments, callback)

    def has_ended(self) -> bool:
        return False

    def close(self) -> None:
        self._service.exposed_clear_cache()

    def leave(self) -> None:
        # Its locks may be held, and its engines' threads are gone: not even a destructor may
        # run.
        _left.append(self)


#: What was left in a forked child, kept so that it is never destroyed.
_left: list[InProcess] = []


def encode(arguments: dict[str, Any]) -> str:
    """The arguments of a call, as JSON for `Backend.call`.  Raises `BadArgumentError`."""
    try:
        text = json.dumps(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgumentError(f"arguments: {error}") from None
    if len(text) > MAX_REQUEST_BYTES - 1024:  # room for the rest of the message
        raise BadArgumentError(f"arguments: {len(text)} bytes are too many")
    return text


def decode(text: str | bytes, who: str = "what answers") -> Any:
    """The outcome of `exposed_call`: the answer in `text`, or its error, which is raised;
    `ForeignError` where it is neither."""
    try:
        message = json.loads(text)
        if "error" not in message:
            return message["answer"]
        kind, said = message["error"]
        error = from_kind(str(kind), bounded(str(said), _MAX_ERROR_CHARS))
    except (LookupError, TypeError, ValueError, RecursionError) as problem:
        raise foreign(who, f"its answer has no meaning ({type(problem).__name__})") from None
    raise error


def understood(method: str, text: str, who: str) -> Any:
    """As `decode`; and `ForeignError`, too, where the answer to `method` has not what a client
    counts on.  That of a query is looked at where it is read (`results`)."""
    answer = decode(text, who)
    is_whole = isinstance(answer, dict) and answer.keys() >= _NEEDED.get(method, set())
    if is_whole or method.startswith("query"):
        return answer
    raise foreign(who, f"its answer to {method} has not what belongs there")


def foreign(who: str, what: str) -> ForeignError:
    """That `who` is no daemon of ours, which is seen by `what`."""
    said = f"{who} is no daemon of cidx-ref's, or is broken: {what}; `cidx-ref stop` ends it"
    return ForeignError(said)


def listed(name: str, value: Iterable[str]) -> list[str]:
    """An argument that is a list of strings, or one string.  Raises `BadArgumentError`."""
    if isinstance(value, str):
        return [value]
    try:
        return list(value)
    except TypeError:
        raise BadArgumentError(f"{name}: must be a list of strings") from None


def patience(timeout_s: object) -> float:
    """For how long the daemon waits with this `timeout_s`; it refuses what is no such time."""
    if not isinstance(timeout_s, int | float):
        return _FRESH_S
    return min(_MAX_FRESH_S, max(0.0, timeout_s))


def harmless(progress: Progress | None) -> Progress | None:
    """`progress`, as a plain function that never raises.

    RPyC knows the type `function` without asking the client for it, and the daemon need not know of
    an error in a user's callback.
    """
    if progress is None:
        return None
    callbacks = [progress]
    pid = os.getpid()

    def relay(*event: Any) -> None:
        for callback in callbacks:
            try:
                callback(*event)
            except Exception:
                callbacks.clear()
        if os.getpid() != pid:
            raise EOFError("forked in a callback: the call is the other process's")

    return relay
