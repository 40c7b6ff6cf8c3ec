"""The client: connects, starts a daemon where none answers, tries again, decodes the answers.

It imports nothing of the daemon or the index, and rpyc only where a callback needs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EPERM
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from cidx_ref import __version__
from cidx_ref.config import Config
from cidx_ref.errors import (
    BadArgumentError,
    BusyError,
    CidxError,
    DaemonUnavailableError,
    ShuttingDownError,
    from_kind,
)
from cidx_ref.interpreter import python_command
from cidx_ref.limits import MAX_REQUEST_BYTES, check_length
from cidx_ref.project import Project
from cidx_ref.results import Answer
from cidx_ref.runtime import SYSTEM, Runtime, get_ident
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.sockets import is_answered, peer_pid
from cidx_ref.wire import Caller

__all__ = ["DaemonClient", "connect", "start_process", "stop"]

#: `progress(current, total, path)`, and `info` as a fourth argument where there is some.
Progress = Callable[..., object]

T = TypeVar("T")

_START_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 40.0
_STOP_POLL_S = 0.01
_METHODS = {"hybrid": "query_hybrid", "semantic": "query", "fts": "query_fts"}


def connect(
    project: str | os.PathLike[str] | None = None,
    *,
    start: bool = True,
    timeout_s: float = 30.0,
    runtime: Runtime = SYSTEM,
) -> DaemonClient:
    """A client of the daemon of the project around `project` (default: the working directory);
    with `start`, one is started if none answers.

    A root of another user's is passed over, with a warning, unless `project` names it.
    `timeout_s` bounds every call but `index`.  Where the configuration says `enabled: false`, the
    client answers in this process.  Raises `DaemonUnavailableError`, `ConfigError`,
    `BadArgumentError` and `UntrustedError`.
    """
    found = Project.around("." if project is None else project, consent=project is not None)
    return DaemonClient(found, start=start, timeout_s=timeout_s, runtime=runtime)


class DaemonClient:
    """One connection to one project's daemon.

    A lost connection is made anew, and the call repeated, as often as the configuration's
    `max_retries` says.  Thread-safe, but one call at a time: use one client a thread to have
    them answered at once.  Any method raises `DaemonUnavailableError` if all tries fail.

    After a fork the child's client makes a connection of its own with its next call, also if the
    fork was in the middle of one.  That call ends in the parent only.
    """

    def __init__(
        self,
        project: Project,
        *,
        start: bool = True,
        timeout_s: float = 30.0,
        runtime: Runtime = SYSTEM,
    ) -> None:
        project.check()
        self.project = project
        self.config = Config.load(project.config_path)
        self._start = start
        self._timeout_s = timeout_s
        self._runtime = runtime
        self._lock = runtime.lock("client")
        self._caller: int | None = None
        self._backend: _Backend | None = None
        _clients.add(self)
        self._retrying(lambda: None)

    def query(
        self,
        text: str,
        *,
        mode: str = "hybrid",
        limit: int = 10,
        languages: Iterable[str] = (),
        paths: Iterable[str] = (),
        exclude_paths: Iterable[str] = (),
    ) -> Answer:
        """Search.  `mode` is "hybrid", "semantic" or "fts"; `languages` are names like "python",
        `paths` and `exclude_paths` patterns as in .gitignore.

        Raises `NoIndexError`, `IndexUnusableError`, `BadArgumentError`.
        """
        if mode not in _METHODS:
            raise BadArgumentError(f"mode: {mode!r}: must be one of {', '.join(_METHODS)}")
        check_length(text)
        filters = {"languages": languages, "paths": paths, "exclude_paths": exclude_paths}
        arguments = {
            "project_path": str(self.project.root),
            "query": text,
            "limit": limit,
            **{name: _listed(name, value) for name, value in filters.items() if value},
        }
        return Answer.from_dict(self._call(_METHODS[mode], arguments))

    def index(
        self,
        *,
        progress: Progress | None = None,
        full: bool = False,
        wait_s: float | None = None,
        keep_unverified: bool = False,
    ) -> dict[str, Any]:
        """Bring the index up to date, and return what it then holds.

        Once this has returned, every later query answers from it.  Indexes here that this account
        has not made are removed, and named under `removed`, except with `keep_unverified`; `notes`
        has what a user should know of the run, a sentence each.  Raises `BusyError` if another
        writer is not done after `wait_s` seconds (None: wait for it), `IndexingError`.
        """
        arguments = {
            "project_path": str(self.project.root),
            "full": full,
            "wait_s": wait_s,
            "keep_unverified": keep_unverified,
        }
        answer: dict[str, Any] = self._call("index", arguments, progress)
        return answer

    def status(self) -> dict[str, Any]:
        return dict(self._call("get_status", {}))

    def health(self) -> dict[str, Any]:
        return dict(self._call("get_health", {}))

    def metrics(self) -> dict[str, Any]:
        return dict(self._call("get_metrics", {}))

    def diagnostics(self) -> dict[str, Any]:
        return dict(self._call("get_diagnostics", {}))

    def clear_cache(self) -> dict[str, Any]:
        return dict(self._call("clear_cache", {}))

    def ping(self) -> dict[str, Any]:
        return dict(self._call("ping", {}))

    def shutdown(self) -> None:
        """Stop the daemon, and wait until its process has ended.

        It answers what is in flight first.  Does nothing if there is none.
        """
        with self._one_call():
            self._drop()
            stop(self.project, self._runtime)

    def close(self) -> None:
        """End the connection; the daemon lives on."""
        with self._one_call():
            self._drop()

    def __enter__(self) -> DaemonClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _call(
        self, method: str, arguments: dict[str, Any], progress: Progress | None = None
    ) -> Any:
        timeout_s = None if method == "index" else self._timeout_s
        text, callback = _encode(arguments), _harmless(progress)

        def ask() -> Any:
            assert self._backend is not None
            return _decode(self._backend.call(method, text, callback, timeout_s))

        # An index run has waited for a busy writer already; and whoever has a daemon stopped means
        # its index run, too.
        return self._retrying(ask, if_refused=method != "index")

    def _retrying(self, ask: Callable[[], T], *, if_refused: bool = True) -> T:
        worth_another_try: tuple[type[CidxError], ...] = (_ConnectionLostError,)
        if if_refused:
            worth_another_try += (BusyError, ShuttingDownError)
        pid = os.getpid()
        with self._one_call():
            for delay_s in self._delays():
                try:
                    if self._backend is None:
                        self._backend = self._connect()
                    return ask()
                except (BusyError, DaemonUnavailableError, ShuttingDownError) as error:
                    if not isinstance(error, BusyError):
                        self._drop()
                    if delay_s is None or not isinstance(error, worth_another_try):
                        raise
                    if os.getpid() != pid:  # forked in a callback, which has returned
                        raise
                self._runtime.sleep(delay_s)
        raise AssertionError("the last delay is None")

    @contextmanager
    def _one_call(self) -> Iterator[None]:
        if self._caller == get_ident():
            raise BusyError("a call of this client is under way: a callback needs one of its own")
        with self._lock:
            self._caller = get_ident()
            try:
                yield
            finally:
                self._caller = None

    def _delays(self) -> Iterator[float | None]:
        """Seconds to wait after each try that failed; None after the last."""
        yield from (delay / 1000 for delay in self.config.delays_ms())
        yield None

    def _connect(self) -> _Backend:
        if not self.config.enabled and self._start:
            return _InProcess(self.project)
        try:
            remote, version = self._handshake()
        except (_ConnectionLostError, ShuttingDownError) as error:  # nobody there, or just going
            if self._start:
                return self._start_and_connect()
            if isinstance(error, ShuttingDownError):
                raise
            raise DaemonUnavailableError(f"no daemon is running for {self.project.root}") from None
        if version == __version__:
            return remote
        # Replaced, not talked to: what its answers mean is anybody's guess.
        remote.close()
        if not self._start:
            raise DaemonUnavailableError(
                f"the daemon that runs is of version {version}, this is {__version__}"
            )
        stop(self.project, self._runtime)
        return self._start_and_connect()

    def _handshake(self) -> tuple[_Remote, str]:
        remote = _Remote(self.project)
        try:
            version, root = remote.ask_identity(self._timeout_s)
            if version == __version__ and root != str(self.project.root):
                # Its directory was moved here, and it has not noticed yet that it must go.
                raise _ConnectionLostError(f"the daemon that answers serves {root}")
            return remote, version
        except BaseException:
            remote.close()
            raise

    def _start_and_connect(self) -> _Backend:
        start_process(self.project)
        remote, version = self._handshake()
        if version != __version__:
            remote.close()
            raise DaemonUnavailableError(f"a daemon of version {version} was started meanwhile")
        return remote

    def _drop(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def _begin_anew(self) -> None:
        """In a new process, whose only thread this is: the lock's owner may be in the old one."""
        backend, self._backend = self._backend, None
        self._lock, self._caller = self._runtime.lock("client"), None
        if backend is not None:
            backend.leave()


#: All there are, for when the process forks.
_clients: WeakSet[DaemonClient] = WeakSet()


def _after_fork() -> None:
    # In the child, which has one thread yet: no other can be in a call.
    for client in list(_clients):
        client._begin_anew()


os.register_at_fork(after_in_child=lambda: _after_fork())


class _ConnectionLostError(DaemonUnavailableError):
    """Nobody answers, or not any more; worth another try."""


class _TimedOutError(DaemonUnavailableError):
    """The daemon took too long; another try would, too."""


class _Backend(Protocol):
    def call(
        self, method: str, arguments: str, callback: Progress | None, timeout_s: float | None
    ) -> str: ...
    def close(self) -> None: ...
    def leave(self) -> None:
        """In a new process: let go of what is the old one's, which must not notice."""


class _Remote:
    """A connection to a daemon."""

    def __init__(self, project: Project) -> None:
        project.check()  # a link in the place of the socket leads to another project's daemon
        try:
            self._socket = connect_socket(project.socket_path, _CONNECT_TIMEOUT_S)
        except PermissionError as error:  # and another try, or another daemon, would meet it, too
            why = error.strerror if error.errno == EPERM else f"cannot be asked: {error.strerror}"
            raise DaemonUnavailableError(f"the daemon at {project.socket_path} {why}") from None
        except OSError as error:
            raise _ConnectionLostError(f"cannot connect to the daemon: {error.strerror}") from None
        self.pid = peer_pid(self._socket)
        self._project = project
        self._caller = Caller(self._socket)
        #: What a call with a callback goes over, while there is one.
        self._second: socket | None = None

    def ask_identity(self, timeout_s: float) -> tuple[str, str | None]:
        """The daemon's version and project; of one that is not ours to understand, anything."""
        try:
            said = _decode(self.call("ping", "{}", None, timeout_s))
            return str(said["version"]), said["project"]
        except CidxError:
            raise
        except Exception as error:  # it speaks RPyC, but does not know `call`
            return f"unknown ({type(error).__name__})", None

    def call(
        self, method: str, arguments: str, callback: Progress | None, timeout_s: float | None
    ) -> str:
        try:
            if callback is not None:
                return self._call_with(method, arguments, callback)
            return str(self._caller.call("call", method, arguments, timeout_s=timeout_s))
        except TimeoutError:
            raise _TimedOutError(f"the daemon did not answer within {timeout_s:g} s") from None
        except (EOFError, OSError) as error:
            raise _ConnectionLostError(f"the connection was lost: {error}") from None

    def _call_with(self, method: str, arguments: str, callback: Progress) -> str:
        """A call in which the daemon calls us: RPyC itself, over a connection of its own."""
        import rpyc
        from rpyc.core.stream import SocketStream

        self._second = sock = connect_socket(self._project.socket_path, _CONNECT_TIMEOUT_S)
        channel = rpyc.Channel(SocketStream(sock), compress=False)
        connection = rpyc.connect_channel(channel, config={"sync_request_timeout": None})
        try:
            return str(connection.root.call(method, arguments, callback))
        finally:
            # The socket first: RPyC would ask the daemon to close, too, and wait for an answer from
            # one that may be busy with our own question.  In a fork it is closed, and this does
            # nothing to the parent's.
            with suppress(OSError):
                sock.shutdown(SHUT_RDWR)
            with suppress(Exception):  # the goodbye cannot be sent
                connection.close()

    def close(self) -> None:
        self._socket.close()

    def leave(self) -> None:
        # Closed, and neither shut down nor said goodbye to: the parent has it open.
        self._socket.close()
        if self._second is not None:
            self._second.close()


class _InProcess:
    """The daemon's service in this process, for `enabled: false`."""

    def __init__(self, project: Project) -> None:
        from cidx_ref.daemon.service import CIDXDaemonService

        self._service = CIDXDaemonService(project.root)

    def call(
        self, method: str, arguments: str, callback: Progress | None, timeout_s: float | None
    ) -> str:
        return self._service.exposed_call(method, arguments, callback)

    def close(self) -> None:
        self._service.exposed_clear_cache()

    def leave(self) -> None:
        # Its locks may be held, and its engines' threads are gone: it is not even destroyed.
        _left.append(self)


_left: list[_InProcess] = []


def start_process(project: Project) -> str:
    """Start the project's daemon in the background; return once it accepts connections.

    Returns "serving" or "already running".  Raises what kept it from starting.
    """
    import select
    import subprocess

    ready, told = os.pipe()
    try:
        command, environment = python_command(
            "cidx_ref", "serve", "--project", str(project.root), "--ready-fd", str(told)
        )
        with open(os.devnull, "r+b") as nothing:
            # The process we start forks the daemon and ends, so that nobody has to wait for it.
            subprocess.run(
                command,
                pass_fds=(told,),
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                env=environment,
                cwd="/",
                check=False,
            )
        os.close(told)
        told = -1
        poller = select.poll()  # and not select(), which takes no descriptor above 1023
        poller.register(ready, select.POLLIN)
        if not poller.poll(_START_TIMEOUT_S * 1000):
            raise DaemonUnavailableError(f"the daemon was not ready within {_START_TIMEOUT_S:g} s")
        said = os.read(ready, 65_536)
    finally:
        os.close(ready)
        if told >= 0:
            os.close(told)
    if not said:
        raise DaemonUnavailableError(f"the daemon died while starting; see {project.log_path}")
    return str(_decode(said))


def stop(project: Project, runtime: Runtime = SYSTEM) -> bool:
    """Stop the project's daemon, of whatever version, and wait until its process has ended.

    It answers what is in flight first (SRV-4).  False if none runs.  Raises
    `DaemonUnavailableError` if it does not end, or is not ours to end.
    """
    try:
        remote = _Remote(project)
    except _ConnectionLostError:
        return False
    try:
        # Lost, or shutting down: somebody else has told it to stop, too.
        with suppress(_ConnectionLostError, ShuttingDownError):
            if remote.ask_identity(_CONNECT_TIMEOUT_S)[0] == __version__:
                remote.call("shutdown", "{}", None, _CONNECT_TIMEOUT_S)
            else:
                _terminate(remote.pid)
    finally:
        remote.close()
    deadline = runtime.monotonic() + _STOP_TIMEOUT_S
    while _is_alive(remote.pid) and not _is_a_host(remote.pid, project):
        if runtime.monotonic() >= deadline:
            raise DaemonUnavailableError(f"the daemon (pid {remote.pid}) does not stop")
        runtime.sleep(_STOP_POLL_S)
    return True


def _terminate(pid: int) -> None:
    """By a signal: what the methods of another version are called is not known."""
    import signal

    # 0 is what a process in another container is seen as; to kill it would be to kill our group.
    if pid <= 1 or pid == os.getpid():
        raise DaemonUnavailableError(f"a daemon of another version (pid {pid}) cannot be ended")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise DaemonUnavailableError(f"the daemon (pid {pid}) is not ours to stop") from None


def _is_a_host(pid: int, project: Project) -> bool:
    """True if the daemon is gone though its process is not: it was a thread of this very program;
    or its process cannot be seen from here."""
    return pid in (0, os.getpid()) and not is_answered(project.socket_path)


def _listed(name: str, value: Iterable[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    try:
        return list(value)
    except TypeError:
        raise BadArgumentError(f"{name}: must be a list of strings") from None


def _encode(arguments: dict[str, Any]) -> str:
    try:
        text = json.dumps(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgumentError(f"arguments: {error}") from None
    if len(text) > MAX_REQUEST_BYTES - 1024:  # room for what goes around it
        raise BadArgumentError(f"arguments: {len(text)} bytes are too many")
    return text


def _decode(text: str | bytes) -> Any:
    message = json.loads(text)
    if "error" in message:
        raise from_kind(*message["error"])
    return message["answer"]


def _harmless(progress: Progress | None) -> Progress | None:
    """`progress`, as a plain function that never raises: RPyC knows the type `function` without
    asking, and a callback's error is none of the daemon's business."""
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


def _is_alive(pid: int) -> bool:
    if pid == 0:  # of another container, and not to be seen
        return True
    try:
        os.kill(pid, 0)
        # A process that has ended but that nobody has waited for still has its id.
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # gone between the two; or a system without /proc
        return not Path("/proc/self/stat").exists()
    except PermissionError:
        return True
