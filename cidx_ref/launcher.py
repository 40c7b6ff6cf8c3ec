"""Starting and stopping daemons: each returns once the other process is ready, or gone.

A daemon is started as a double fork, so that it is no child of the process that wanted it.  It is
stopped by a graceful shutdown: it answers what is in flight first (SRV-4), and `stop` waits for the
end of its process.  A query that finds a daemon imports nothing of this.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from cidx_ref._version import __version__
from cidx_ref.backend import CONNECT_TIMEOUT_S, ConnectionLostError, Remote, decode
from cidx_ref.errors import DaemonUnavailableError, ShuttingDownError, UntrustedError
from cidx_ref.interpreter import python_command
from cidx_ref.project import LOCK, Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import escape
from cidx_ref.sockets import connect, is_answered, peer_pid

__all__ = ["is_claimed", "start_process", "stop"]

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 40.0
_STOP_POLL_S = 0.01
_MAX_LINE_BYTES = 500


#: What runs a module of this package: see `interpreter.python_command`.
Command = Callable[..., tuple[list[str], dict[str, str]]]


def start_process(project: Project, command: Command = python_command) -> str:
    """Start the project's daemon in the background; return once it accepts connections.

    `command` gives command line and environment for a module and its arguments.  Returns "serving"
    or "already running".  Raises what kept it from starting, a `CidxError`, and
    `DaemonUnavailableError` if it is not ready within a minute or dies.
    """
    import subprocess  # which `stop` does not need

    ready, told = os.pipe()
    # What it says before it can write a log.  In memory: there may be no directory for it.
    errors = os.memfd_create("errors")
    try:
        line, environment = command(
            "cidx_ref", "serve", "--project", str(project.root), "--ready-fd", str(told)
        )
        with open(os.devnull, "r+b") as nothing:
            # The process we start forks the daemon and ends, so that no process has to wait for the
            # daemon.
            subprocess.run(
                line,
                pass_fds=(told,),
                stdin=nothing,
                stdout=nothing,
                stderr=errors,
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
        if not said:
            why = _last_line(errors) or f"see {project.log_path}"
            raise DaemonUnavailableError(f"the daemon died while starting: {why}")
    except FileNotFoundError as error:
        raise DaemonUnavailableError(
            f"no daemon can be started: {error.filename} is gone; if cidx-ref was installed anew, "
            "start this program again"
        ) from None
    finally:
        os.close(errors)
        os.close(ready)
        if told >= 0:
            os.close(told)
    return str(decode(said))


def _last_line(fd: int) -> str:
    """The last line of what was written to an open file; it is shown, so escaped and cut."""
    size = os.fstat(fd).st_size
    end = os.pread(fd, _MAX_LINE_BYTES, max(0, size - _MAX_LINE_BYTES))
    lines = end.decode("utf-8", "replace").strip().splitlines()
    return escape(lines[-1])[:_MAX_LINE_BYTES] if lines else ""


def stop(project: Project, runtime: Runtime = SYSTEM) -> bool:
    """Stop the project's daemon, of whatever version, and wait until its process has ended.

    It answers what is in flight first (SRV-4).  False if none runs.  Raises
    `DaemonUnavailableError` if it has not ended after 40 seconds, or is not ours to end.
    """
    deadline = runtime.monotonic() + _STOP_TIMEOUT_S
    is_between = False
    while True:
        try:
            remote = Remote(project)
            break
        except ConnectionLostError:
            # One that is coming will answer; one that is going has been told to, by another client.
            if not is_claimed(project):
                return is_between
            is_between = True
            if runtime.monotonic() >= deadline:
                raise DaemonUnavailableError(
                    f"a process holds {project.directory}, and neither answers nor ends"
                ) from None
            runtime.sleep(_STOP_POLL_S)
    with closing(remote):
        _tell(remote, project)
    while _is_alive(remote.pid) and not _is_a_host(remote.pid, project):
        if runtime.monotonic() >= deadline:
            raise DaemonUnavailableError(f"the daemon (pid {remote.pid}) does not stop")
        runtime.sleep(_STOP_POLL_S)
    return True


def _tell(remote: Remote, project: Project) -> None:
    """Have the daemon stop, if it has not been told to by another client."""
    try:
        if remote.ask_identity(CONNECT_TIMEOUT_S)[0] == __version__:
            remote.call("shutdown", "{}", None, CONNECT_TIMEOUT_S)
        else:
            _terminate(remote.pid)
    except ShuttingDownError:
        pass
    except ConnectionLostError:
        # One that stops has no name any more; one that has takes no call, and hears a signal.
        if _is_listening(remote.pid, project):
            _terminate(remote.pid)


def _is_listening(pid: int, project: Project) -> bool:
    with suppress(OSError), closing(connect(project.socket_path, CONNECT_TIMEOUT_S)) as sock:
        return peer_pid(sock) == pid
    return False


def is_claimed(project: Project) -> bool:
    """Whether a process holds the project: a daemon that serves it, that is coming, or going."""
    try:
        with project.open() as directory, open(directory.open_regular(LOCK), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, UntrustedError):
        return False
    return False


def _terminate(pid: int) -> None:
    """By a signal: what the methods of another version are called is not known."""
    # A process in another container is seen as 0, and a signal to 0 would reach our own group.
    if pid <= 1 or pid == os.getpid():
        raise DaemonUnavailableError(f"the daemon (pid {pid}) cannot be ended from here")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise DaemonUnavailableError(f"the daemon (pid {pid}) is not ours to stop") from None


def _is_a_host(pid: int, project: Project) -> bool:
    """True if the daemon is gone and its process is not: it was a thread of this very program, or
    its process cannot be seen from here."""
    return pid in (0, os.getpid()) and not is_answered(project.socket_path)


def _is_alive(pid: int) -> bool:
    if pid == 0:  # of another container, and not to be seen
        return True
    try:
        os.kill(pid, 0)
        # A process that has ended and was not waited for (a zombie) still has its id.
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # gone between the two; or a system without /proc
        return not Path("/proc/self/stat").exists()
    except PermissionError:
        return True
