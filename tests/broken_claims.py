"""Claims that are broken on purpose, each in one way; `test_races` shows that the races find it."""

from __future__ import annotations

import os
import socket

from cidx_ref.daemon.claim import Claim
from cidx_ref.errors import DaemonUnavailableError
from cidx_ref.sockets import is_answered


class ProbeUnlinkBind(Claim):
    """The story's way: whoever does not answer is dead, and its socket is removed.

    But one that is starting has bound and does not listen yet.
    """

    def acquire(self, timeout_s: float = 30.0) -> bool:
        path = self._project.create_directory() / "daemon.sock"
        if is_answered(path):
            return False
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(os.fsencode(path))
        except OSError:  # already running
            self._listener.close()
            return False
        return True

    def listen(self) -> socket.socket:
        self._listener.listen()
        return self._listener

    def unlink(self) -> None:
        self._project.socket_path.unlink(missing_ok=True)

    def release(self) -> None:
        pass


class UnlinksAfterTheLock(Claim):
    """Gives the lock back first, and then removes the socket without a look whose it is.

    By then it may be the next one's.
    """

    def unlink(self) -> None:
        pass

    def release(self) -> None:
        self._inode = None
        super().release()
        # As if the processor had been taken away here; by itself that is too rare to wait for.
        self._runtime.sleep(0.02)
        self._project.socket_path.unlink(missing_ok=True)


class ForgetsTheLock(Claim):
    """Lets go of the lock as soon as it listens."""

    def listen(self) -> socket.socket:
        listener = super().listen()
        fd, self._lock = self._lock, -1
        os.close(fd)
        return listener


class IsDeaf(Claim):
    """Has the name, and a listener that it does not lead to."""

    def listen(self) -> socket.socket:
        super().listen().close()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(b"")  # a name of the kernel's own choice
        listener.listen()
        return listener


class RefusesStale(Claim):
    """Takes what a killed daemon left for a daemon: nobody ever serves again."""

    def acquire(self, timeout_s: float = 30.0) -> bool:
        return not self._project.socket_path.exists() and super().acquire(timeout_s)


class Raises(Claim):
    """Gives up where another one owns the project, instead of being content with it."""

    def acquire(self, timeout_s: float = 30.0) -> bool:
        if not super().acquire(timeout_s):
            raise DaemonUnavailableError("taken")
        return True
