"""Broken claims on the socket, and broken ways to serve it (SRV-1 to SRV-5)."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.gate import Gate
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.places import LOCK
from cidx_ref.sockets import address_of, is_answered
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("SRV-1", "3 connections made 3 loads")
def service_class_instead_of_an_instance() -> Iterator[None]:
    """Each connection has a service, and so a cache, of its own (the story's own)."""
    serve = SocketServer._serve

    def serve_anew(self: SocketServer, sock: socket.socket) -> None:
        shared = self._service
        assert isinstance(shared, CIDXDaemonService)
        assert shared.project is not None
        own = CIDXDaemonService(shared.project.root, runtime=shared.runtime)
        with patch.object(self, "_service", own):
            serve(self, sock)

    with patch.object(SocketServer, "_serve", serve_anew):
        yield


@mutant("SRV-1", "one query at a time")
def rlock_as_read_lock() -> Iterator[None]:
    """Readers share a lock "for concurrent reads", which admits one (the story's own)."""
    pin = IndexCache.pin

    @contextmanager
    def exclusive(self: IndexCache[Any]) -> Iterator[Any]:
        lock = self.__dict__.setdefault("read_lock", self._runtime.lock("read lock"))
        with lock, pin(self) as snapshot:
            yield snapshot

    with patch.object(IndexCache, "pin", exclusive):
        yield


@contextmanager
def _closed_on_failure() -> Iterator[socket.socket]:
    with ExitStack() as stack:
        yield stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        stack.pop_all()


def _unlocked(claim: Claim) -> int:
    """The file that the lock should be on."""
    with claim._project.open(create=True) as directory:
        return directory.open_for_append(LOCK)


@mutant("SRV-2", "owners: ", needs_switches=True)
def probe_unlink_bind() -> Iterator[None]:
    """Whoever finds the socket unanswered removes it and binds it anew: two do so at once, and a
    daemon that has bound and does not listen yet looks dead."""

    def acquire(self: Claim, timeout_s: float = 30.0) -> bool:
        path = self._project.create_directory() / "daemon.sock"
        if is_answered(path):
            return False
        self._runtime.step("nobody answers")
        path.unlink(missing_ok=True)
        self._lock = _unlocked(self)
        return True

    def listen(self: Claim) -> socket.socket:
        with _closed_on_failure() as listener:
            with address_of(self._project.socket_path) as address:
                listener.bind(address)
            self._runtime.step("bound")
            listener.listen()
        self._inode = self._found(self._project.socket_path)
        return listener

    with patch.object(Claim, "acquire", acquire), patch.object(Claim, "listen", listen):
        yield


@mutant("SRV-2", "a name, and nobody answers", needs_switches=True)
def named_before_it_listens() -> Iterator[None]:
    """The socket gets its name before it accepts: a client is refused by a daemon that is there."""

    def listen(self: Claim) -> socket.socket:
        path = self._project.socket_path
        temporary = path.with_name(f"{path.name}.new")
        with _closed_on_failure() as listener:
            with address_of(temporary) as address:
                listener.bind(address)
            self._inode = self._found(temporary)
            temporary.rename(path)
            self._runtime.step("reachable")
            listener.listen()
        return listener

    with patch.object(Claim, "listen", listen):
        yield


@mutant("SRV-3", r"owners: \[\]")
def a_name_is_taken_for_a_daemon() -> Iterator[None]:
    """Where the bind would fail there is "a daemon already" (the story's own): after a kill -9
    there never is one again."""
    acquire = Claim.acquire

    def give_up(self: Claim, timeout_s: float = 30.0) -> bool:
        return not self._project.socket_path.exists() and acquire(self, timeout_s)

    with patch.object(Claim, "acquire", give_up):
        yield


@mutant("SRV-3", "Livelock")
def lock_file_instead_of_flock() -> Iterator[None]:
    """The lock is a file that is removed in good order: nobody does it for the dead."""
    release = Claim.release

    def try_(self: Claim) -> bool:
        directory = self._project.create_directory()
        try:
            (directory / "lock").touch(exist_ok=False)
        except FileExistsError:
            return False
        self._lock = _unlocked(self)
        return True

    def remove(self: Claim) -> None:
        (self._project.directory / "lock").unlink(missing_ok=True)
        release(self)

    with patch.object(Claim, "_try", try_), patch.object(Claim, "release", remove):
        yield


@mutant("SRV-4", "removed somebody else's socket")
def unlinks_without_a_look() -> Iterator[None]:
    """On leaving it removes the socket's name, whoever has it now."""

    def unlink(self: Claim) -> None:
        self._project.socket_path.unlink(missing_ok=True)

    with patch.object(Claim, "unlink", unlink):
        yield


@mutant("SRV-4", "has lost the path", needs_switches=True)
def lock_is_given_back_first() -> Iterator[None]:
    """The lock goes before the name, which may be the next daemon's by then."""

    def release(self: Claim) -> None:
        fd, self._lock = self._lock, -1
        if fd >= 0:
            os.close(fd)
        self._runtime.step("lock given back")
        self._project.socket_path.unlink(missing_ok=True)

    with (
        patch.object(Claim, "release", release),
        patch.object(Claim, "unlink", lambda self: None),
    ):
        yield


@mutant("SRV-4", "stopped, with a call in flight")
def stops_under_a_query() -> Iterator[None]:
    """Stopping does not wait for what is in flight."""
    with patch.object(CIDXDaemonService, "drain", lambda self, timeout_s: None):
        yield


@mutant("SRV-4", "stopping took 10.0 s")
def lost_wake_up() -> Iterator[None]:
    """Who leaves last tells nobody: stopping takes all the time it has."""
    call = Gate.call

    @contextmanager
    def silent(self: Gate, method: str, *, is_use: bool) -> Iterator[None]:
        with (
            patch.object(self._left, "notify_all", lambda: None),
            call(self, method, is_use=is_use),
        ):
            yield

    with patch.object(Gate, "call", silent):
        yield


@mutant("SRV-4", "it still takes queries")
def late_calls_are_let_in() -> Iterator[None]:
    """A gate that is closed lets calls in."""
    with patch.object(Gate, "close", lambda self: None):
        yield


@mutant("SRV-5", "it did not notice")
def looks_whether_there_is_a_socket() -> Iterator[None]:
    """Any socket at the path is taken for its own."""

    def is_intact(self: Claim) -> bool:
        return self._project.socket_path.exists()

    with patch.object(Claim, "is_intact", is_intact):
        yield


@mutant("SRV-5", "it did not notice")
def does_not_look() -> Iterator[None]:
    """Once bound, always bound."""
    with patch.object(Claim, "is_intact", lambda self: True):
        yield


@mutant("SRV-2", "owners: |has lost the path", needs_switches=True)
def claims_a_directory_that_is_gone() -> Iterator[None]:
    """The lock may be on a directory that was replaced before it was locked."""

    def try_(self: Claim) -> bool:
        with self._project.open(create=True) as directory:
            fd = directory.open_for_append(LOCK)
        self._runtime.step("lock opened")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._lock = fd
        return True

    with patch.object(Claim, "_try", try_):
        yield


@mutant("SRV-3", "not cleared away", needs_switches=True)
def leftovers_stay() -> Iterator[None]:
    """The temporary sockets of starters that were killed are never removed."""
    with patch.object(Claim, "_clear_leftovers", lambda self, directory: None):
        yield


@mutant("SRV-5", "goes on without its socket")
def the_watch_is_blind() -> Iterator[None]:
    """A daemon that was robbed notices, and stays."""
    with patch.object(Daemon, "_watch", lambda self: True):
        yield
