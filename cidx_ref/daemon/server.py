"""The daemon as a process: claim the project, serve it until the end, let go of it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cidx_ref._version import __version__
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.daemon.installation import Installation
from cidx_ref.daemon.log import logging_to
from cidx_ref.daemon.memory import be_frugal
from cidx_ref.daemon.room import Room, make_room, shortage
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.daemon.watch import Watch
from cidx_ref.errors import ConfigError, DaemonUnavailableError
from cidx_ref.index.port import Open
from cidx_ref.mounts import flagged
from cidx_ref.places import can_be_written, chosen_directory, is_gone, locate
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Daemon", "serve", "start_daemon"]

_log = logging.getLogger("cidx_ref")

_WATCH_S = 1.0
DRAIN_S = 10.0
#: What asks a process to end.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Within so many seconds clients have taken replies that were being sent when all calls had ended.
_TAKEN_S = 2.0


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
        room: Room | None = None,
    ) -> None:
        """`claim` must have been acquired."""
        self.service = service
        self._claim = claim
        self._watch_s = watch_s
        listener = claim.listen()
        try:
            self._server = SocketServer(service, listener, runtime=runtime, room=room)
        except BaseException:  # there are no threads, or no descriptors
            listener.close()
            raise
        service.room = room or service.room
        service.connections = lambda: self._server.connections
        service.address = claim.address
        self._project = project
        self._eviction = CacheEvictionThread(service, beside=self._leave_if_moved)
        self._reason = "asked to"
        if service.index is not None:
            service.index.sweep()
        service.on_shutdown = self.stop

    def run(self) -> None:
        """Serve until stopped, idle, or robbed of the socket or the installation; then drain
        (SRV-4)."""
        self._eviction.start()
        try:
            self._server.serve(self._watch, self._watch_s)
        finally:
            self._close()

    def stop(self, reason: str = "asked to") -> None:
        """Have `run` come to its end.  May be called from anywhere, also a signal handler."""
        self._reason = reason
        # The name first, before any client is told that this daemon stops: a client that then
        # starts the next daemon must not reach this one, which answers for another millisecond.
        with suppress(OSError):  # a file system that has become read-only costs no answer
            self._claim.unlink()
        self._server.stop()

    def _watch(self) -> bool:
        if not self._claim.is_intact():
            self._reason = "the socket or the project is gone"
            return False
        if self._project.places.is_read_only and can_be_written(self._project.root):
            self._reason = "the project's tree can be written now, and its daemon serves from there"
            return False
        if (change := self.service.installation.change()) is not None:
            self._reason = f"its installation has changed: {change}"
            return False
        return True

    def _leave_if_moved(self) -> None:
        """End where clients look for a daemon elsewhere, or where the project is gone, and socket
        and lock are not, because they lie elsewhere.

        Not in the thread that accepts: a network file system may take its time to answer.
        """
        if self._project.places.base is not None and is_gone(self._project.root):
            self.stop("the project is gone")
        with suppress(ConfigError):  # of which each client is told
            if self._belongs_elsewhere():
                self.stop("its files belong elsewhere now")

    def _belongs_elsewhere(self) -> bool:
        """By the user's setting, as it is now; or a daemon serves from the tree, that beside which
        this one is."""
        places = self._project.places
        if places.base is None:  # the tree keeps its daemon, whether it can be written or not
            return chosen_directory() is not None
        return locate(self._project.root) != places

    def _close(self) -> None:
        _log.info("stopping: %s", self._reason)
        # Clients find no daemon any more, and start the next one, which waits for the lock while
        # this one answers the calls that it has.
        self.service.gate.close()
        self.stop(self._reason)
        self._server.close_listener()
        self._eviction.stop()
        self.service.drain(DRAIN_S)
        self._server.close(_TAKEN_S)
        self._claim.release()
        _log.info("stopped")


def serve(
    project: Project,
    on_ready: Callable[[str], None] = lambda state: None,
    runtime: Runtime = SYSTEM,
    index: Open | None = None,
) -> None:
    """Be the project's daemon until it ends; `index` opens another kind of index than its own.

    `on_ready` is told "serving" once clients can connect, or "already running", and then there is
    nothing to do.  Raises `ConfigError`, `DaemonUnavailableError`.
    """
    # An answer makes hundreds of short-lived objects: a collection for each few of them would take
    # a tenth of its time.
    gc.set_threshold(5_000, 10, 10)
    be_frugal()
    installation = Installation.of_this_process()
    claim = Claim(project, runtime)
    daemon: Daemon | None = None

    def on_signal(name: str) -> None:
        if daemon is None:
            sys.exit(0)  # through the `finally` below
        daemon.stop(name)

    with _signals(on_signal):
        try:
            if claim.acquire():
                project = claim.project
                room = make_room()
                with logging_to(project, runtime):
                    service = CIDXDaemonService(
                        project.root,
                        runtime=runtime,
                        index=index,
                        installation=installation,
                        watch=Watch,
                    )
                    daemon = Daemon(project, service, claim, runtime=runtime, room=room)
                    who = (project.root, __version__, os.getpid(), _elsewhere(project))
                    _log.info("serving %s: version %s, pid %d%s", *who)
                    on_ready("serving")
                    daemon.run()
                return
        except OSError as error:
            where = f"{error.filename2 or error.filename}: " if error.filename else ""
            flag = flagged(claim.project.directory)
            why = f": {flag}" if flag is not None else ""
            raise DaemonUnavailableError(f"cannot serve: {where}{error.strerror}{why}") from error
        except (MemoryError, RuntimeError) as error:
            if (what := shortage(error)) is None:
                raise
            raise DaemonUnavailableError(f"cannot serve: {what}") from error
        finally:
            claim.release()
    on_ready("already running")


def _elsewhere(project: Project) -> str:
    if project.places.base is None:
        return ""
    index, running = project.index_directory, project.directory
    return f"; index in {index}, socket and log in {running}"


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
    """Have what asks to end reported, where this is the main thread (elsewhere Python cannot); but
    no interrupt and no hang-up that whoever started us ignores (`&`, `nohup`)."""

    def handle(number: int, frame: object) -> None:
        on_signal(signal.Signals(number).name)

    previous = {}
    with suppress(ValueError):
        for number in _ENDING:
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
