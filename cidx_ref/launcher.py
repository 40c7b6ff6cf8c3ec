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
from math import inf
from typing import TYPE_CHECKING

from cidx_ref._version import __version__
from cidx_ref.backend import CONNECT_TIMEOUT_S, ConnectionLostError, Remote, decode
from cidx_ref.errors import DaemonUnavailableError, ShuttingDownError, UntrustedError
from cidx_ref.interpreter import python_command
from cidx_ref.places import LOCK
from cidx_ref.processes import advice, holder, is_alive
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import escape, why
from cidx_ref.sockets import connect, is_answered, peer_pid

if TYPE_CHECKING:
    import subprocess

__all__ = ["is_claimed", "require_answer", "start_process", "stop"]

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 40.0
#: Within so many seconds a process has ended that has closed all it had.
_EXIT_S = 1.0
_STOP_POLL_S = 0.01
#: After so many a stop says what it waits for.
_SILENT_S = 1.0
_MAX_LINE_BYTES = 500


#: What runs a module of this package: see `interpreter.python_command`.
Command = Callable[..., tuple[list[str], dict[str, str]]]


def start_process(
    project: Project, command: Command = python_command, timeout_s: float = _START_TIMEOUT_S
) -> str:
    """Start the project's daemon in the background; return once it accepts connections.

    `command` gives command line and environment for a module and its arguments.  Returns "serving"
    or "already running".  Raises what kept it from starting, a `CidxError`; `ConnectionLostError`
    if it was killed, which is worth another try; and `DaemonUnavailableError` if it dies of
    itself, or is not ready after `timeout_s`, and then is ended.
    """
    import subprocess  # which `stop` does not need

    deadline = SYSTEM.monotonic() + timeout_s
    ready, told = _pipe()
    # What it says before it can write a log.  In memory: there may be no directory for it.
    errors = os.memfd_create("errors")
    process: subprocess.Popen[bytes] | None = None
    try:
        line, environment = command(
            "cidx_ref", "serve", "--project", str(project.root), "--ready-fd", str(told)
        )
        with open(os.devnull, "r+b") as nothing:
            # The process we start forks the daemon and ends, so that no process has to wait for the
            # daemon.  Both are of one group, and of no terminal.
            process = subprocess.Popen(
                line,
                pass_fds=(told,),
                stdin=nothing,
                stdout=nothing,
                stderr=errors,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        os.close(told)
        told = -1
        said = _read(ready, deadline)
        if said is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise DaemonUnavailableError(
                f"the daemon was not ready within {timeout_s:g} s, and was ended{_log_of(project)}"
            )
        if not said:
            raise _died(project, process, _last_line(errors).removeprefix("cidx-ref: "))
    except FileNotFoundError as error:
        anew = "; if cidx-ref was installed anew, start this program again"
        raise DaemonUnavailableError(
            f"no daemon can be started: {error.filename} is gone"
            f"{anew if error.filename != os.devnull else ''}"
        ) from None
    except OSError as error:
        raise DaemonUnavailableError(f"no daemon can be started: {why(error)}") from None
    finally:
        if process is not None:
            # It has ended, or else it hangs, or we were interrupted.
            process.kill()
            process.wait()
        os.close(errors)
        os.close(ready)
        if told >= 0:
            os.close(told)
    return str(decode(said))


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the standard streams', which a new process gets others for,
    though these may be closed here."""
    ends = os.pipe()
    try:
        ready, told = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    return ready, told


def _read(ready: int, deadline: float) -> bytes | None:
    """What the daemon says once it is ready; nothing if it has died, None if it says nothing."""
    poller = select.poll()  # and not select(), which takes no descriptor above 1023
    poller.register(ready, select.POLLIN)
    left_s = max(0.0, deadline - SYSTEM.monotonic())
    return os.read(ready, 65_536) if poller.poll(left_s * 1000) else None


def _died(
    project: Project, process: subprocess.Popen[bytes], last_words: str
) -> DaemonUnavailableError:
    from subprocess import TimeoutExpired

    status = 0  # of a process that has forked the daemon, whose own we do not know
    with suppress(TimeoutExpired):
        status = process.wait(_EXIT_S)
    if last_words:
        return DaemonUnavailableError(f"the daemon died while starting: {last_words}")
    # Killed, most likely, by whomever: the next one need not be.
    how = (
        f"died while starting (exit status {status})" if status > 0 else "was killed while starting"
    )
    return ConnectionLostError(f"the daemon {how}{_log_of(project)}")


def _log_of(project: Project) -> str:
    return f": see {project.log_path}" if project.log_path.exists() else ""


def _last_line(fd: int) -> str:
    """The last line of what was written to an open file; it is shown, so escaped and cut."""
    size = os.fstat(fd).st_size
    end = os.pread(fd, _MAX_LINE_BYTES, max(0, size - _MAX_LINE_BYTES))
    lines = end.decode("utf-8", "replace").strip().splitlines()
    return escape(lines[-1])[:_MAX_LINE_BYTES] if lines else ""


def stop(
    project: Project,
    runtime: Runtime = SYSTEM,
    *,
    tell: Callable[[str], object] = str,
) -> bool:
    """Stop the project's daemon, of whatever version, and wait until its process has ended.

    It answers what is in flight first (SRV-4); where that takes longer than a second, `tell`
    is told, once.  False if none runs.  Raises
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
                pid = holder(project.directory / LOCK)
                raise DaemonUnavailableError(
                    f"a process holds {project.directory}, and neither answers nor ends"
                    f"{advice(pid)}"
                ) from None
            runtime.sleep(_STOP_POLL_S)
    with closing(remote):
        _tell(remote, project)
    say_at = runtime.monotonic() + _SILENT_S
    while is_alive(remote.pid) and not _is_a_host(remote.pid, project):
        if runtime.monotonic() >= say_at:
            tell(f"the daemon (pid {remote.pid}) answers what is in flight, and then ends")
            say_at = inf
        if runtime.monotonic() >= deadline:
            raise DaemonUnavailableError(
                f"the daemon (pid {remote.pid}) does not stop{advice(remote.pid)}"
            )
        runtime.sleep(_STOP_POLL_S)
    return True


def require_answer(project: Project) -> None:
    """Raise `DaemonUnavailableError` where what listens at the project's socket does not answer."""
    ends = suppress(ConnectionLostError, ShuttingDownError)
    with ends, closing(Remote(project)) as remote:
        remote.ask_identity(CONNECT_TIMEOUT_S)


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
