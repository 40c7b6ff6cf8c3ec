"""Clients that are slow, silent, deaf or greedy: each costs its own connection, and nobody else's.

The daemon is served in the process that tries, with time limits of a fraction of a second.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from random import Random
from typing import Any
from unittest.mock import patch

from rpyc.core import brine, consts

from cidx_ref.client import DaemonClient
from cidx_ref.daemon import accept, framing, reserve
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.framing import Channel, Stream
from cidx_ref.daemon.memory import be_frugal
from cidx_ref.daemon.reserve import Reserve
from cidx_ref.daemon.room import Room
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError
from cidx_ref.launcher import stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import connect
from fault_rows.table import Place, Trial, mutant, row

WAIT_S = 10.0
#: What the daemon's time limits are here, and when what they end has ended at the latest.
SHORT_S, LATE_S = 0.2, 4.0
#: Somebody else is answered within so many seconds, whatever the others do.
SOON_S = 2.0


def request(handler: int, *values: Any, sequence: int = 1) -> bytes:
    """A frame with a request in it, of plain values."""
    boxed = (consts.LABEL_TUPLE, tuple((consts.LABEL_VALUE, value) for value in values))
    data: bytes = bytes([consts.MSG_REQUEST]) + brine.dump((sequence, (handler, boxed)))
    return struct.pack("!LB", len(data), 0) + data + b"\n"


PING = request(consts.HANDLE_PING, "x")


def sample(place: Place) -> Project:
    """A small project, with an index."""
    from cidx_ref.testing.own.fixtures import SAMPLE, build, write

    root = place.path / "project"
    root.mkdir()
    for path, content in SAMPLE.items():
        write(root, path, content)
    project = Project.at(root)
    build(project)
    return project


@contextmanager
def hasty(place: Place, room: Room) -> Iterator[tuple[Project, CIDXDaemonService]]:
    """A daemon, and somebody who asks it from beginning to end."""
    from cidx_ref.testing.own.fixtures import served

    be_frugal()  # as a daemon is that has a process of its own
    project = sample(place)
    with (
        patch.object(framing, "FRAME_TIMEOUT_S", SHORT_S),
        patch.object(framing, "SEND_TIMEOUT_S", SHORT_S),
        served(project, room=room) as service,
    ):
        try:
            yield project, service
        finally:
            service.exposed_clear_cache()


class Neighbour:
    """Somebody else, over an old and over new connections."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._old = DaemonClient(project, start=False)

    def ask(self) -> None:
        """Be answered, and soon."""
        began = SYSTEM.monotonic()
        assert self._old.query("retry")[0].path == "net/retry.py"
        with DaemonClient(self._project, start=False) as new:
            assert new.query("retry", mode="fts")[0].path == "net/retry.py"
        took = SYSTEM.monotonic() - began
        assert took < SOON_S, f"somebody else was answered after {took:.1f} s"

    def close(self) -> None:
        self._old.close()


@contextmanager
def with_neighbour(
    place: Place, act: Callable[[ExitStack, Project, Random], None], name: str, room: Room
) -> Iterator[Trial]:
    """A row in which `act` does what must not be felt."""
    with hasty(place, room) as (project, service), closing(Neighbour(project)) as neighbour:
        neighbour.ask()

        def check(number: int) -> None:
            with ExitStack() as stack:
                act(stack, project, Random(f"{name} {number}"))
                neighbour.ask()
            until(lambda: service.connections() <= 1, "connections stayed")
            assert service.health_monitor.get_health()["errors"] == 0

        yield Trial(check, pids=(os.getpid(),))


def until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = SYSTEM.monotonic() + LATE_S
    while not holds():
        assert SYSTEM.monotonic() < deadline, otherwise
        SYSTEM.sleep(0.005)


def connected(stack: ExitStack, project: Project, count: int) -> list[socket.socket]:
    made = [
        stack.enter_context(closing(connect(project.socket_path, WAIT_S))) for _ in range(count)
    ]
    for sock in made:
        sock.settimeout(LATE_S)
    return made


def is_answered(sock: socket.socket) -> bool:
    """Whether a ping is answered; False if the connection is, or was, closed instead."""
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(PING)
        return len(sock.recv(1 << 12)) > 0
    return False


def is_closed(sock: socket.socket) -> bool:
    """Whether the daemon ends it in time, with whatever it still says before that."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def frames(random: Random) -> bytes:
    """The beginning of a frame, and not all of it."""
    whole = random.choice(
        [
            PING,
            request(consts.HANDLE_PING, "x" * random.randrange(100_000)),
            struct.pack("!LB", random.randrange(1, 1 << 21), random.randrange(2)),
            request(consts.HANDLE_GETROOT),
        ]
    )
    return whole[: random.randrange(1, len(whole))]


# Half-open.


@row("clients connect, send nothing or half a frame, and wait", "RPC-6", cases=150, sample=3)
@contextmanager
def half_open(place: Place) -> Iterator[Trial]:
    def act(stack: ExitStack, project: Project, random: Random) -> None:
        socks = connected(stack, project, random.randrange(2, 30))
        begun = socks[random.randrange(len(socks)) :]
        for sock in begun:
            sock.sendall(frames(random))
        for sock in begun:
            assert is_closed(sock), "half a frame was waited for without end"
        for sock in set(socks).difference(begun):
            assert is_answered(sock), "who has sent nothing yet was not answered any more"

    with with_neighbour(place, act, "half-open", Room(connections=40)) as trial:
        yield trial


@mutant("half-open", "a frame may take as long as it likes")
@contextmanager
def _no_deadline() -> Iterator[None]:
    read = Stream.read

    def patiently(self: Stream, count: int) -> bytes:
        with patch.object(framing, "FRAME_TIMEOUT_S", 1e6):
            return read(self, count)

    with patch.object(Stream, "read", patiently):
        yield


# Slow.


@row("clients send a byte now and then", "RPC-6", cases=60, sample=2)
@contextmanager
def slow(place: Place) -> Iterator[Trial]:
    def act(stack: ExitStack, project: Project, random: Random) -> None:
        socks = connected(stack, project, random.randrange(2, 12))
        ping = request(consts.HANDLE_PING, "x" * random.randrange(200, 1000))
        # In so many steps: within the time, or at least thrice of it.
        steps = {sock: random.choice([4, 200]) for sock in socks}
        sizes = {sock: -(-len(ping) // steps[sock]) for sock in socks}
        for step in range(200):
            for sock in socks:
                with suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(ping[step * sizes[sock] : (step + 1) * sizes[sock]])
            if step < 4 or step % 10 == 0:
                SYSTEM.sleep(0.01 if step < 4 else 4 * SHORT_S / 20)  # slow is what they are to be
        for sock in socks:
            if steps[sock] == 4:
                assert sock.recv(1), "who was in time was not answered"
            else:
                assert is_closed(sock), "a frame was waited for byte by byte"

    with with_neighbour(place, act, "slow", Room(connections=40)) as trial:
        yield trial


@mutant("slow", "each piece of a frame has all the time again")
@contextmanager
def _renewed() -> Iterator[None]:
    wait = Stream._wait

    def anew(self: Stream, deadline: float, ready: int) -> None:
        wait(self, self._runtime.monotonic() + framing.FRAME_TIMEOUT_S, ready)

    with patch.object(Stream, "_wait", anew):
        yield


# Silent.


@row("clients ask something, or nothing, and then are silent", "RPC-6", cases=100, sample=3)
@contextmanager
def silent(place: Place) -> Iterator[Trial]:
    def act(stack: ExitStack, project: Project, random: Random) -> None:
        asked_s, never_s = accept.CROWDED_IDLE_S, accept._NEVER_ASKED_S
        with DaemonClient(project, start=False) as patient:
            patient.ping()
            socks = connected(stack, project, 7)
            asking = [sock for sock in socks if random.random() < 0.5]
            assert all(map(is_answered, asking))
            until_silent(asked_s if len(asking) == len(socks) else never_s)
            # There is room for eight, and they are there: who comes is answered all the same.
            with DaemonClient(project, start=False) as new:
                assert new.query("retry")[0].path == "net/retry.py"
            until_silent(asked_s)
            more = connected(stack, project, 8)
            assert all(map(is_answered, more)), "those who were silent kept their places"
            until_silent(asked_s)
            assert patient.query("retry")[0].path == "net/retry.py"

    with (
        patch.object(accept, "CROWDED_IDLE_S", SHORT_S),
        patch.object(accept, "_NEVER_ASKED_S", SHORT_S / 2),
        with_neighbour(place, act, "silent", Room(connections=8, reserve=4)) as trial,
    ):
        yield trial


def until_silent(seconds: float) -> None:
    """Nothing but time makes a client one that is silent for long."""
    SYSTEM.sleep(seconds + 0.02)


@mutant("silent", "silence has no end")
@contextmanager
def _for_ever() -> Iterator[None]:
    with patch.object(SocketServer, "_end_longest_silent", lambda self, asked_s, never_s: False):
        yield


# Never reading.


@row("clients ask for large answers, and never read", "RPC-6", cases=120, sample=3)
@contextmanager
def never_reading(place: Place) -> Iterator[Trial]:
    def act(stack: ExitStack, project: Project, random: Random) -> None:
        size = random.randrange(100_000, 1_000_000)
        flood(connected(stack, project, random.randrange(1, 6)), lambda: large(size))

    with with_neighbour(place, act, "never-reading", Room(connections=40)) as trial:
        yield trial


def large(size: int) -> bytes:
    return request(consts.HANDLE_PING, "x" * size)


def flood(socks: list[socket.socket], frame: Callable[[], bytes]) -> None:
    """Send frames over each, as fast as it takes them, until the daemon has ended it."""
    rest = dict.fromkeys(socks, b"")
    numbers = {sock.fileno(): sock for sock in socks}
    poller = select.poll()
    for sock in socks:
        sock.setblocking(False)
        poller.register(sock, select.POLLOUT)
    deadline = SYSTEM.monotonic() + LATE_S
    while rest:
        assert SYSTEM.monotonic() < deadline, f"{len(rest)} floods are answered without end"
        for number, _ in poller.poll(100):
            sock = numbers[number]
            try:
                rest[sock] = rest[sock] or frame()
                rest[sock] = rest[sock][sock.send(rest[sock]) :]
            except BlockingIOError:
                continue
            except OSError:
                poller.unregister(sock)
                del rest[sock]


@mutant("never-reading", "a reply may take as long as it likes")
@contextmanager
def _patient_write() -> Iterator[None]:
    write = Stream.write

    def patiently(self: Stream, data: bytes) -> None:
        with patch.object(framing, "SEND_TIMEOUT_S", 1e6):
            write(self, data)

    with patch.object(Stream, "write", patiently):
        yield


# Flooding.


@row("clients ask without end, and never read an answer", "RPC-6", cases=120, sample=3)
@contextmanager
def flooding(place: Place) -> Iterator[Trial]:
    def act(stack: ExitStack, project: Project, random: Random) -> None:
        asked = b"".join(
            random.choice([PING, request(consts.HANDLE_GETROOT), request(99, "what is this")])
            for _ in range(random.randrange(1, 50))
        )
        flood(connected(stack, project, random.randrange(5, 15)), lambda: asked)

    with with_neighbour(place, act, "flooding", Room(connections=40)) as trial:
        yield trial


@mutant("flooding", "replies are kept until the client reads them")
@contextmanager
def _kept() -> Iterator[None]:
    kept: list[bytes] = []

    def keep(self: Channel, data: bytes) -> None:
        kept.append(data)

    # The neighbour is told by the old way: its answers are longer.
    send = Channel.send
    with patch.object(
        Channel, "send", lambda self, data: (send if len(data) > 500 else keep)(self, data)
    ):
        yield


# The limit of connections.


@row("all connections are taken", "RPC-6", "SRV-4", "OBS-1", cases=60, sample=2)
@contextmanager
def connection_limit(place: Place) -> Iterator[Trial]:
    from cidx_ref.testing.own.fixtures import served

    project = sample(place)
    # To connect once more is what every client does that was silent for too long; on a machine that
    # is busy it may be so without its doing, and again.
    project.config_path.write_text('{"daemon": {"max_retries": 2, "retry_delays_ms": [10, 10]}}')

    def check(number: int) -> None:
        random = Random(f"connection-limit {number}")
        count = random.randrange(2, 12)
        with (
            served(project, room=Room(connections=count, reserve=random.randrange(8, 32))),
            ExitStack() as stack,
        ):
            assert all(map(is_answered, connected(stack, project, count)))
            if number % 2:
                stack.enter_context(greedy(project))  # and none from here: shares are by process
            for sock in connected(stack, project, 0 if number % 2 else random.randrange(5, 60)):
                with suppress(BrokenPipeError):  # it is closed already
                    sock.sendall(random.choice([b"", PING, PING, frames(random)]))
            for _ in range(random.randrange(1, 4)):
                asked_at_the_limit(project, random)
            began = SYSTEM.monotonic()
            assert stop(project), "there is no daemon to be stopped, it is said"
            assert SYSTEM.monotonic() - began < SOON_S, "to stop it took long"

    yield Trial(check, pids=(os.getpid(),))


#: Asks without end, in so many processes with so many connections each, which are made anew
#: whenever they are ended; says so.
GREEDY = """
import os, socket, sys, threading
path, ping = sys.argv[1], bytes.fromhex(sys.argv[2])
processes, connections = map(int, sys.argv[3:])
def ask():
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                while True:
                    sock.sendall(ping)
                    if not sock.recv(4096): break
        except OSError:
            pass
for _ in range(processes):
    if os.fork() == 0:
        for _ in range(connections):
            threading.Thread(target=ask).start()
        break
else:
    print("asking", flush=True)
    os.wait()
"""


@contextmanager
def greedy(project: Project, processes: int = 1, connections: int = 40) -> Iterator[None]:
    """Other processes ask for as much as they can get."""
    line = [sys.executable, "-c", GREEDY, str(project.socket_path), PING.hex()]
    with (
        patch.object(reserve, "_SHORT_STAY_S", SHORT_S),
        subprocess.Popen(
            [*line, str(processes), str(connections)], stdout=subprocess.PIPE, process_group=0
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"asking\n"
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def asked_at_the_limit(project: Project, random: Random) -> None:
    began = SYSTEM.monotonic()
    with DaemonClient(project, start=False) as client:
        for method in random.sample(["ping", "status", "health", "metrics", "diagnostics"], 3):
            assert getattr(client, method)(), method
        refused: list[Callable[[], object]] = [client.index, client.clear_cache, client.skipped]
        said = said_by(random.choice([*refused, lambda: client.query("retry")]))
        assert said.startswith("BusyError: the daemon has "), said
    took = SYSTEM.monotonic() - began
    assert took < SOON_S, f"a full daemon answered after {took:.1f} s"


def said_by(act: Callable[[], object]) -> str:
    try:
        return f"done, with {act()}"
    except CidxError as error:
        return f"{type(error).__name__}: {error}"


@mutant("connection-limit", "who comes then is closed unheard")
@contextmanager
def _unheard() -> Iterator[None]:
    with patch.object(Reserve, "take", lambda self, sock, why: sock.close()):
        yield


@mutant("connection-limit", "who comes again and again is served like others")
@contextmanager
def _no_shares() -> Iterator[None]:
    with patch.object(Reserve, "_taken_by_now", lambda self: defaultdict(float)):
        yield


@mutant("connection-limit", "the reserve does everything")
@contextmanager
def _everything() -> Iterator[None]:
    with patch.object(reserve, "_Narrowed", lambda service, why: service):
        yield


@mutant("connection-limit", "who was answered by the reserve may stay")
@contextmanager
def _stay() -> Iterator[None]:
    with patch.object(reserve._BriefChannel, "_is_over", lambda self, since: False):
        yield
