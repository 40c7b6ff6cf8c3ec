"""Running a program that others may hold up: under limits, and not beyond this process's life."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import selectors
import signal
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["MAX_TOLD_BYTES", "FailedError", "HeldUpError", "Limits", "run"]

#: What a pipe holds, so that writing it waits for nobody.
MAX_TOLD_BYTES = (1 << 16) - 1

_KEPT_STDERR_BYTES = 4096
_POLL_S = 0.05
#: A program is started by a shell that becomes it when it is told to: tied and limited by then.  If
#: this process has died meanwhile, the shell reads the end of its input, and ends.
_WHEN_TOLD = ["/bin/sh", "-c", 'read -r _ && exec "$@"', "sh"]


class FailedError(Exception):
    """A program did not do what it was started for; why, in a few words."""


class HeldUpError(FailedError):
    """It was ended, having reached one of its limits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may take before it is ended.

    `stall_s`: seconds without running at all, as at a FIFO.  `cpu_s`: whole seconds of processor
    time (git takes two for 400,000 files).  `wall_s`: seconds in all.  `memory_bytes` of address
    space, `output_bytes` of standard output.
    """

    stall_s: float = 1.5
    cpu_s: int = 3
    wall_s: float = 60.0
    memory_bytes: int = 1 << 32
    output_bytes: int = 1 << 28


def run(
    command: list[str],
    *,
    cwd: Path,
    env: dict[str, str],
    limits: Limits,
    runtime: Runtime = SYSTEM,
    fine: Collection[int] = (),
    told: bytes = b"",
) -> bytes:
    """What `command` prints, its program being named by its absolute path.

    Its input is `told`, of `MAX_TOLD_BYTES` at most; it has a process group of its own, all of
    which ends with it.  Raises `FailedError`, with the last line of its standard error, if it does
    not end with status 0, or one that is `fine`.
    """
    assert len(told) <= MAX_TOLD_BYTES
    with _started(command, cwd, env, limits, told) as process:
        output, errors = _collect(process, limits, runtime)
        with suppress(subprocess.TimeoutExpired):  # it has closed both pipes: it is ending
            process.wait(limits.stall_s)
    if process.returncode == -signal.SIGXCPU:
        raise HeldUpError(f"it took {limits.cpu_s} s of processor time")
    if process.returncode != 0 and process.returncode not in fine:
        last = (errors.splitlines() or [b""])[-1]
        raise FailedError(os.fsdecode(last[:200]) or f"exit status {process.returncode}")
    return output


@contextmanager
def _started(
    command: list[str], cwd: Path, env: dict[str, str], limits: Limits, told: bytes
) -> Iterator[subprocess.Popen[bytes]]:
    """The running program; at the end its process group is killed if it still runs."""
    lifeline, ours = os.pipe()
    try:
        with subprocess.Popen(
            [*_WHEN_TOLD, *command],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[lifeline],  # kept open there when this process closes all, in any order
            start_new_session=True,
        ) as process:
            try:
                _tie(process.pid, lifeline)
                _limit(process.pid, limits)
                _tell(process, told)
                yield process
            finally:
                if process.poll() is None:  # so its id is not another's yet
                    os.killpg(process.pid, signal.SIGKILL)
    except OSError as error:
        raise FailedError(f"it could not be run: {error.strerror}") from None
    finally:
        os.close(lifeline)
        os.close(ours)


def _tie(pid: int, lifeline: int) -> None:
    """Have the process group `pid` end when this process does, however it does.

    When the other end of the pipe `lifeline` closes, the kernel sends the group a SIGIO, which ends
    a program that has not asked for it.  Else a program that waits at a FIFO would stay for ever.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -pid)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)


def _limit(pid: int, limits: Limits) -> None:
    for what, most in (
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),  # it would be written to `cwd`
    ):
        _, hard = resource.prlimit(pid, what)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, what, (soft, hard))


def _tell(process: subprocess.Popen[bytes], told: bytes) -> None:
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(b"\n" + told)


def _collect(
    process: subprocess.Popen[bytes], limits: Limits, runtime: Runtime
) -> tuple[bytes, bytes]:
    """All of its output, and the end of what it complains of."""
    output, errors = bytearray(), b""
    watch = _Watch(process.pid, runtime, limits)
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in (ready := selector.select(_POLL_S)):
                if not (data := os.read(key.fd, 1 << 16)):
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    output += data
                else:
                    errors = (errors + data)[-_KEPT_STDERR_BYTES:]
            watch.check(has_output=bool(ready))
            if len(output) > limits.output_bytes:
                raise HeldUpError(f"it printed more than {limits.output_bytes} bytes")
    return bytes(output), errors


class _Watch:
    """Whether a process gets on."""

    def __init__(self, pid: int, runtime: Runtime, limits: Limits) -> None:
        self._pid = pid
        self._runtime = runtime
        self._limits = limits
        self._began_at = self._moved_at = runtime.monotonic()
        self._seen: str | None = None

    def check(self, *, has_output: bool) -> None:
        """Raises `HeldUpError` if it does not."""
        now = self._runtime.monotonic()
        seen = None if has_output else _sleep_of(self._pid)
        if seen is None or seen != self._seen:
            self._seen, self._moved_at = seen, now
        if now - self._moved_at >= self._limits.stall_s:
            raise HeldUpError(f"it waited for {self._limits.stall_s:g} s without end")
        if now - self._began_at >= self._limits.wall_s:
            raise HeldUpError(f"it took more than {self._limits.wall_s:g} s")


def _sleep_of(pid: int) -> str | None:
    """Which of its sleeps the process is in: the same answer twice, and it has not run between.

    None while it runs, waits for a disk, or has ended.
    """
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        asleep = re.search(r"^State:\s+S", status, re.MULTILINE)
        switches = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
        if asleep and switches:
            return switches[1]
    return None
