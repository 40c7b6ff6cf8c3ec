"""The daemon as a process: claim the project, serve it, let go of it.

Binding is the lock, and there is no PID file (SRV-2).  But bind alone is not enough: after a
`kill -9` the socket's file stays and no bind succeeds, and whoever probes and unlinks it may
unlink a daemon that is just starting.  So:

1.  An exclusive `flock` on `.code-indexer/daemon.lock` is held for life.  The kernel gives it back
    when the process ends, however it ends.  Not on the directory: other users may be able to open
    that, and who can open a file can lock it.
2.  Only its holder touches `daemon.sock`: it binds a temporary name, listens, and renames that
    over it.  So the path always leads to somebody who accepts, or to nobody.
3.  It unlinks the path on leaving, if it still is its own, before the lock goes.

Whoever finds the lock held and the socket answered has nothing to do.  Whoever finds it held and
the socket not answered sees a daemon coming or going, and waits for one or the other.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cidx_ref._version import __version__
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.daemon.log import logging_to
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import DaemonUnavailableError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.locks import try_lock
from cidx_ref.project import LOCK, Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.sockets import is_answered
from cidx_ref.steps import Step

__all__ = ["Claim", "Daemon", "serve", "start_daemon"]

_log = logging.getLogger("cidx_ref")

_CLAIM_TIMEOUT_S = 30.0
_CLAIM_POLL_S = 0.01
_WATCH_S = 1.0
DRAIN_S = 10.0
_LEFTOVER = re.compile(r"daemon\.sock\.\d+")


class Claim:
    """The right to serve a project, from `acquire` to `release`."""

    def __init__(self, project: Project, runtime: Runtime = SYSTEM) -> None:
        self._project = project
        self._runtime = runtime
        self._lock = -1
        self._inode: tuple[int, int] | None = None

    def acquire(self, timeout_s: float = _CLAIM_TIMEOUT_S) -> bool:
        """Become the project's one daemon; False if there is one that answers.

        Raises `UntrustedError`, and `DaemonUnavailableError` if another holds the project and does
        not answer for `timeout_s` seconds, or if the directory cannot be made.
        """
        deadline = self._runtime.monotonic() + timeout_s
        while not self._try():
            if is_answered(self._project.socket_path):
                return False
            if self._runtime.monotonic() >= deadline:
                raise DaemonUnavailableError(
                    f"another process holds {self._project.directory} and does not answer"
                )
            self._runtime.sleep(_CLAIM_POLL_S)
        return True

    def listen(self) -> socket.socket:
        """The listening socket, reachable at the project's path."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with self._project.open(runtime=self._runtime) as directory:
                self._listen_in(directory, listener)
        except BaseException:
            listener.close()
            raise
        return listener

    def _listen_in(self, directory: Directory, listener: socket.socket) -> None:
        name = self._project.socket_path.name
        temporary = f"{name}.{os.getpid()}"
        self._clear_leftovers(directory)
        try:
            listener.bind(os.fsencode(directory.engine_path / temporary))
            directory.chmod(temporary, 0o600)
            self._runtime.step(Step.BOUND)
            # Listening before it has the name: a probe must never find a daemon that is starting.
            listener.listen(socket.SOMAXCONN)
            self._runtime.step(Step.LISTENING)
            self._inode = _identity(directory.status(temporary))
            directory.rename(temporary, name)
            self._runtime.step(Step.REACHABLE)
        except BaseException:
            with suppress(OSError):
                directory.unlink(temporary)
            raise

    def _clear_leftovers(self, directory: Directory) -> None:
        """Remove the temporary sockets of starters that died."""
        for name in directory.names():
            if _LEFTOVER.fullmatch(name):
                directory.remove(name)

    def is_intact(self) -> bool:
        """False once the socket, the lock or the project is no longer where it was claimed
        (SRV-5)."""
        return self._found(self._project.socket_path) == self._inode and self._found(
            self._project.directory / LOCK
        ) == _identity(os.fstat(self._lock))

    def unlink(self) -> None:
        """Remove the socket's name, if it still is ours."""
        with (
            suppress(FileNotFoundError, UntrustedError),
            self._project.open(runtime=self._runtime) as directory,
        ):
            name = self._project.socket_path.name
            if self._inode is not None and _identity(directory.status(name)) == self._inode:
                self._runtime.step(Step.LEAVING)
                directory.unlink(name)
        self._inode = None

    def release(self) -> None:
        """Let the next daemon have the project."""
        self.unlink()
        self._runtime.step(Step.UNLINKED)
        fd, self._lock = self._lock, -1
        if fd >= 0:
            os.close(fd)

    def _try(self) -> bool:
        try:
            with self._project.open(create=True, runtime=self._runtime) as directory:
                fd = directory.open_for_append(LOCK)
            self._runtime.step(Step.LOCK_OPENED)
        except OSError as error:
            raise DaemonUnavailableError(f"{error.filename}: {error.strerror}") from None
        if try_lock(fd, self._project.directory / LOCK):
            self._lock = fd
            self._runtime.step(Step.CLAIMED)
            return True
        os.close(fd)
        return False

    @staticmethod
    def _found(path: Path) -> tuple[int, int] | None:
        try:
            return _identity(path.lstat())
        except OSError:
            return None


class Daemon:
    """One daemon: a claim, a service, a server and the eviction clockwork."""

    def __init__(
        self,
        project: Project,
        service: CIDXDaemonService,
        claim: Claim,
        *,
        runtime: Runtime = SYSTEM,
        watch_s: float = _WATCH_S,
    ) -> None:
        """`claim` must have been acquired."""
        self.service = service
        self._claim = claim
        self._watch_s = watch_s
        self._server = SocketServer(service, claim.listen(), runtime=runtime)
        self._eviction = CacheEvictionThread(service)
        self._reason = "asked to"
        if service.index is not None:
            service.index.sweep()
        service.on_shutdown = self.stop

    def run(self) -> None:
        """Serve until stopped, idle, or robbed of the socket; then drain (SRV-4)."""
        self._eviction.start()
        try:
            self._server.serve(self._watch, self._watch_s)
        finally:
            self._close()

    def stop(self, reason: str = "asked to") -> None:
        """Have `run` come to its end.  May be called from anywhere, also a signal handler."""
        self._reason = reason
        # The name first, before anybody is told that we stop: whoever then starts the next daemon
        # must find nobody here, and not one that answers for another millisecond.
        with suppress(OSError):  # a file system that has become read-only costs nobody an answer
            self._claim.unlink()
        self._server.stop()

    def _watch(self) -> bool:
        if self._claim.is_intact():
            return True
        self._reason = "the socket or the project is gone"
        return False

    def _close(self) -> None:
        _log.info("stopping: %s", self._reason)
        # Clients find nobody any more, and start the next daemon, which waits for the lock while we
        # answer those we have.
        self.service.gate.close()
        self.stop(self._reason)
        self._server.close_listener()
        self._eviction.stop()
        self.service.drain(DRAIN_S)
        self._server.close(DRAIN_S)
        self._claim.release()
        _log.info("stopped")


def serve(
    project: Project,
    on_ready: Callable[[str], None] = lambda state: None,
    runtime: Runtime = SYSTEM,
) -> None:
    """Be the project's daemon until it ends.

    `on_ready` is told "serving" once clients can connect, or "already running", and then there is
    nothing to do.  Raises `ConfigError`, `DaemonUnavailableError`.
    """
    claim = Claim(project, runtime)
    daemon: Daemon | None = None

    def on_signal(name: str) -> None:
        if daemon is None:
            sys.exit(0)  # through the `finally` below
        daemon.stop(name)

    with _signals(on_signal):
        try:
            if claim.acquire():
                with logging_to(project):
                    service = CIDXDaemonService(project.root, runtime=runtime)
                    daemon = Daemon(project, service, claim, runtime=runtime)
                    who = (project.root, __version__, os.getpid())
                    _log.info("serving %s: version %s, pid %d", *who)
                    on_ready("serving")
                    daemon.run()
                return
        except OSError as error:
            where = f"{error.filename2 or error.filename}: " if error.filename else ""
            raise DaemonUnavailableError(f"cannot serve: {where}{error.strerror}") from error
        finally:
            claim.release()
    on_ready("already running")


def start_daemon(config_path: Path | str) -> None:
    """The story's entry point: serve the project that `config_path` (`.code-indexer/config.json`)
    belongs to, in this thread.  Exits with status 0 if a daemon is running already."""
    project = Project.at(Path(config_path).absolute().parent.parent)

    def on_ready(state: str) -> None:
        if state == "already running":
            _log.info("Daemon already running")
            sys.exit(0)

    serve(project, on_ready)


@contextmanager
def _signals(on_signal: Callable[[str], None]) -> Iterator[None]:
    """Have SIGTERM and SIGINT reported, where this is the main thread (elsewhere Python cannot)."""

    def handle(number: int, frame: object) -> None:
        on_signal(signal.Signals(number).name)

    previous = {}
    with suppress(ValueError):
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if found is not None else None
