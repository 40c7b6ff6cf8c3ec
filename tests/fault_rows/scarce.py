"""Machines that give a daemon little: few descriptors, few threads, a small address space.

It works, with room for fewer clients, or says at once what it needs.  Each case is a real daemon.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from unittest.mock import patch

from cidx_ref.client import DaemonClient
from cidx_ref.daemon import reserve, server
from cidx_ref.daemon.room import Room
from cidx_ref.errors import BusyError, CidxError
from cidx_ref.launcher import stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from fault_rows.clients import connected, is_answered, sample
from fault_rows.table import NotHereError, Place, Trial, mutant, row

#: A daemon that cannot serve says so, and one that is full, within so many seconds.
AT_ONCE_S = 5.0


class Starved:
    """The project's daemon, a process that may have little."""

    def __init__(self, place: Place, project: Project, limit: Callable[[], None]) -> None:
        self._project = project
        self.error = ""
        self._process = subprocess.Popen(
            [*place.command, "serve", "--project", str(project.root)],
            env=place.environment, preexec_fn=limit, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "serving\n":
            _, self.error = self._process.communicate()
            assert self._process.returncode == 2, f"status {self._process.returncode}: {self.error}"
            assert self.error.count("\n") == 1, f"not one line: {self.error}"

    def try_all(self, random: Random) -> None:
        """What a user does, also while all connections are taken."""
        with DaemonClient(self._project, start=False) as client:
            room = client.diagnostics()["limits"]["max_connections"]
            mode = random.choice(["semantic", "fts", "hybrid"])
            answer = client.query("retry", mode=mode)
            assert answer[0].path == "net/retry.py"
            assert not answer.unavailable, f"an engine is missing: {answer.unavailable}"
            client.index(full=True)
        with ExitStack() as stack:
            taken = connected(stack, self._project, min(2 * room, room + 100))
            assert all(map(is_answered, taken[:room])), f"no room for {room}"
            self._ask_when_full()
        until_it_answers(self._project)

    def _ask_when_full(self) -> None:
        began = SYSTEM.monotonic()
        with DaemonClient(self._project, start=False) as client:
            assert client.status()["running"]
            with suppress(BusyError):  # or one of those that were not answered has gone
                client.query("retry")
        took = SYSTEM.monotonic() - began
        assert took < AT_ONCE_S, f"a full daemon answered after {took:.1f} s"

    def stop(self) -> None:
        """End it, in good order."""
        began = SYSTEM.monotonic()
        try:
            stop(self._project)
            took = SYSTEM.monotonic() - began
            assert took < AT_ONCE_S, f"to stop it took {took:.1f} s"
        finally:
            self._process.kill()
            self._process.communicate()


def until_it_answers(project: Project) -> None:
    """Those who have gone have left room."""
    with DaemonClient(project, start=False) as client:
        assert client.query("retry")[0].path == "net/retry.py"


@contextmanager
def starving(
    place: Place, name: str, said: str, impose: Callable[[int, Random], Callable[[], None]]
) -> Iterator[Trial]:
    """A row in which each case has a limit of its own: `impose` gives what a process does to have
    it, and `said` is what is said where it is too low.  The first is one with which it works."""
    project = sample(place)
    project.config_path.write_text('{"daemon": {"max_retries": 2, "retry_delays_ms": [100, 500]}}')

    def check(number: int) -> None:
        random = Random(f"{name} {number}")
        daemon = Starved(place, project, impose(number, random))
        if daemon.error:
            assert number, daemon.error
            assert said in daemon.error, daemon.error
            assert "raise that limit" in daemon.error, daemon.error
            return
        try:
            daemon.try_all(random)
        except CidxError as error:
            raise AssertionError(f"{type(error).__name__}: {error}") from None
        finally:
            daemon.stop()

    yield Trial(check)


# Descriptors.


@row("a daemon may have few files open", "RPC-6", "SRV-1", "SRV-4", cases=24, sample=1)
@contextmanager
def few_descriptors(place: Place) -> Iterator[Trial]:
    def impose(number: int, random: Random) -> Callable[[], None]:
        soft = random.choice([random.randrange(24, 80), random.randrange(60, 400), 256, 1024])
        hard = random.choice([soft, soft, 2 * soft])
        pair = (soft, hard) if number else (64, 64)
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, pair)

    with starving(place, "few-descriptors", "(ulimit -n)", impose) as trial:
        yield trial


@mutant("few-descriptors", "the room is the same, whatever the limits")
@contextmanager
def _room_for_all() -> Iterator[None]:
    with patch.object(server, "make_room", Room):
        yield


# Threads.


@row("a daemon may have few threads", "RPC-6", "SRV-1", "SRV-4", cases=24, sample=1)
@contextmanager
def few_threads(place: Place) -> Iterator[Trial]:
    with control_group() as group:

        def impose(number: int, random: Random) -> Callable[[], None]:
            return group(random.randrange(24, 150) if number else 60)

        with starving(place, "few-threads", "(pids.max)", impose) as trial:
            yield trial


@contextmanager
def control_group() -> Iterator[Callable[[int], Callable[[], None]]]:
    """`group(n)` gives what a process does to be, with all that it starts, n tasks at most."""
    # The limit of a user's processes does not bind root, and counts those of everybody else.
    for base in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        own = base / f"cidx-faults-{os.getpid()}"
        with suppress(OSError):
            own.mkdir()
            break
    else:
        raise NotHereError("control groups that may be made")
    try:
        if not (own / "pids.max").exists():
            raise NotHereError("a control group that counts tasks")

        def group(tasks: int) -> Callable[[], None]:
            (own / "pids.max").write_text(str(tasks))
            return lambda: void((own / "cgroup.procs").write_text(str(os.getpid())))

        yield group
    finally:
        # What has ended is in it until it is waited for.
        with suppress(ChildProcessError):
            while (own / "cgroup.procs").read_text():
                os.waitpid(-1, 0)
        own.rmdir()


def void(_: object) -> None:
    """What `preexec_fn` is to return."""


@mutant("few-threads", "whom no thread can be started for is closed unheard")
@contextmanager
def _unheard() -> Iterator[None]:
    # With room for all, each thread is taken by a connection.
    with (
        patch.object(server, "make_room", Room),
        patch.object(reserve.Reserve, "take", lambda self, sock, why: sock.close()),
    ):
        yield


# Address space.


@row("a daemon may have a small address space", "SRV-1", "WRITE-3", cases=24, sample=1)
@contextmanager
def small_address_space(place: Place) -> Iterator[Trial]:
    def impose(number: int, random: Random) -> Callable[[], None]:
        size = (random.randrange(150, 700) if number else 400) << 20
        return lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))

    with starving(place, "small-address-space", "(ulimit -v)", impose) as trial:
        yield trial


@mutant("small-address-space", "a thread of BLAS for each core, and a heap for each thread")
@contextmanager
def _lavish() -> Iterator[None]:
    from cidx_ref import interpreter

    lavish = {"OPENBLAS_NUM_THREADS": "64", "MALLOC_ARENA_MAX": "64"}
    with (
        patch.object(interpreter, "_ONE_THREAD", lavish),
        patch.object(interpreter, "_FEW_HEAPS", {}),
    ):
        yield
