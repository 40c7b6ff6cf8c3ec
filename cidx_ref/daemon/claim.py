"""The claim on a project: of any number of daemons that start, exactly one serves it.

Binding is the lock, and there is no PID file (SRV-2).  But bind alone is not enough: after a
`kill -9` the socket's file stays and no bind succeeds, and a starter that probes and unlinks it may
unlink the socket of a daemon that is just starting.  So:

1.  An exclusive `flock` on `.code-indexer/daemon.lock` is held for life.  The kernel gives it back
    when the process ends, however it ends.  Not on the directory: other users may be able to open
    that, and who can open a file can lock it.
2.  Only its holder touches `daemon.sock`: it binds a temporary name, listens, and renames that
    over it.  So the path always leads to a daemon that accepts, or to none.
3.  It unlinks the path on leaving, if it still is its own, before the lock goes.
4.  Where the tree cannot be written, socket and lock lie elsewhere (`places`), and a tree may come
    to be written, or not, while a daemon serves.  So who has one lock looks whether a daemon serves
    from the other place, and lets go then: of two who do so, one at least sees the other.

A starter that finds the lock held and the socket answered has nothing to do.  One that finds the
lock held and the socket not answered sees a daemon coming or going, and waits until it is clear
which.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from itertools import count
from pathlib import Path

from cidx_ref.errors import DaemonUnavailableError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.locks import try_lock
from cidx_ref.mounts import flagged, network_problem
from cidx_ref.places import LOCK, is_served, other
from cidx_ref.processes import advice, holder
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.sockets import is_addressable, is_answered
from cidx_ref.steps import Step

__all__ = ["Claim"]

_TIMEOUT_S = 30.0
_POLL_S = 0.01
_LEFTOVER = re.compile(r"daemon\.sock\.\d+")


class Claim:
    """The right to serve a project, from `acquire` to `release`."""

    def __init__(self, project: Project, runtime: Runtime = SYSTEM) -> None:
        self._project = project
        self._runtime = runtime
        self._lock = -1
        self._kept = -1
        self._inode: tuple[int, int] | None = None

    @property
    def project(self) -> Project:
        """The project, with the places that it is claimed at."""
        return self._project

    def acquire(self, timeout_s: float = _TIMEOUT_S) -> bool:
        """Become the project's one daemon; False if there is one that answers.

        Raises `UntrustedError`, and `DaemonUnavailableError` if another holds the project and does
        not answer for `timeout_s` seconds, or if the directory cannot be made.
        """
        if (problem := network_problem(self._project)) is not None:
            raise DaemonUnavailableError(f"cannot serve: {problem}")
        if not Path("/proc/self/fd").exists():
            raise DaemonUnavailableError(
                "cannot serve: /proc is not mounted (mount -t proc proc /proc)"
            )
        deadline = self._runtime.monotonic() + timeout_s
        while not self._try():
            if is_answered(self._project.socket_path):
                return False
            if self._runtime.monotonic() >= deadline:
                held = self._served_elsewhere() or self._project.directory
                raise DaemonUnavailableError(
                    f"another process holds {held} and does not answer"
                    + advice(holder(held / LOCK))
                )
            self._runtime.sleep(_POLL_S)
            self._project = self._project.anew()
        return True

    @property
    def address(self) -> str:
        """A path that every program of the user's can connect to while this is held.

        It is the socket's own, unless that is too long for an address: then it leads through this
        process's descriptor of the directory.
        """
        path = self._project.socket_path
        return f"/proc/{os.getpid()}/fd/{self._kept}/{path.name}" if self._kept >= 0 else str(path)

    def listen(self) -> socket.socket:
        """The listening socket, reachable at the project's path."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with self._project.open(runtime=self._runtime) as directory:
                self._listen_in(directory, listener)
                if not is_addressable(self._project.socket_path):
                    self._kept = os.dup(directory.fd)
        except BaseException:
            listener.close()
            raise
        return listener

    def _listen_in(self, directory: Directory, listener: socket.socket) -> None:
        name = self._project.socket_path.name
        self._clear_leftovers(directory)
        # What is left of that kind is somebody else's, and stays.
        numbered = (f"{name}.{number}" for number in count(os.getpid()))
        temporary = next(each for each in numbered if directory.status(each) is None)
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
                found = directory.status(name)
                if found is not None and stat.S_ISSOCK(found.st_mode):
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
        with suppress(OSError):  # nothing can be written there any more: the next one replaces it
            self.unlink()
        self._runtime.step(Step.UNLINKED)
        held, self._kept, self._lock = (self._kept, self._lock), -1, -1
        for fd in held:
            if fd >= 0:
                os.close(fd)

    def _try(self) -> bool:
        try:
            with self._project.open(create=True, runtime=self._runtime) as directory:
                fd = directory.open_for_append(LOCK)
            self._runtime.step(Step.LOCK_OPENED)
        except OSError as error:
            if is_served(self._project.directory):  # by one that is about to end
                return False
            raise DaemonUnavailableError(self._refused(error)) from None
        if try_lock(fd, self._project.directory / LOCK) and not self._is_amiss():
            self._lock = fd
            self._runtime.step(Step.CLAIMED)
            return True
        os.close(fd)
        return False

    def _refused(self, error: OSError) -> str:
        at = Path(str(error.filename))
        said = f"{at}: {error.strerror}"
        if isinstance(error, FileNotFoundError):  # the project is gone
            return said
        return f"{said}: {flagged(at.parent) or self._project.remedy(at)}"

    def _is_amiss(self) -> bool:
        """Whether this is not the place any more, or another daemon serves from the other one."""
        is_there = self._project.anew().places == self._project.places
        return not is_there or self._served_elsewhere() is not None

    def _served_elsewhere(self) -> Path | None:
        """The other place, if a daemon serves from there."""
        there = other(self._project.root, self._project.places)
        return there if there is not None and is_served(there) else None

    @staticmethod
    def _found(path: Path) -> tuple[int, int] | None:
        try:
            return _identity(path.lstat())
        except OSError:
            return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if found is not None else None
