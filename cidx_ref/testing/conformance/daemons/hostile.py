"""Hostile input: it costs its sender the connection, and nobody anything else."""

from __future__ import annotations

import random
import select
import socket
import struct
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import Question, must_be_right, sound
from cidx_ref.testing.conformance.peer import open_socket
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

#: Until when a sender of what nobody can take must have lost its connection.
_LOST_S = 65.0
#: As much as nobody wants to hear; and what is sent of it, because this machine has to have room.
_ENDLESS_BYTES, _SENT_BYTES = 1 << 30, 128 << 20
_DRIP_S = 0.5
#: What a small frame is inflated to, and how much more memory that may take.
_INFLATED_BYTES, _MORE_BYTES = 128 << 20, 64 << 20
_HEAD = "!LB"


def _garbage(sock: socket.socket) -> None:
    """A frame's head and bytes that mean nothing."""
    data = random.Random(1).randbytes(1000)
    sock.sendall(struct.pack(_HEAD, len(data), 0) + data + b"\n")


def _plain_garbage(sock: socket.socket) -> None:
    """Another protocol: which has the head of a frame of a gigabyte and more."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)


def _oversized(sock: socket.socket) -> None:
    """The head of a frame of four gigabytes."""
    sock.sendall(struct.pack(_HEAD, 0xFFFF_FFF0, 0) + b"x" * 4096)


def _endless(sock: socket.socket) -> None:
    """A frame that goes on and on."""
    sock.sendall(struct.pack(_HEAD, _ENDLESS_BYTES, 0))
    block = b"x" * (1 << 20)
    sock.settimeout(_LOST_S)
    for _ in range(_SENT_BYTES >> 20):
        sock.sendall(block)


def _half(sock: socket.socket) -> None:
    """A frame that stops."""
    sock.sendall(struct.pack(_HEAD, 1000, 0) + b"\0" * 10)


def _dripping(sock: socket.socket) -> None:
    """A frame of which a byte comes now and then."""
    sock.sendall(struct.pack(_HEAD, 1000, 0))
    until = SYSTEM.monotonic() + _LOST_S
    while SYSTEM.monotonic() < until:
        sock.sendall(b"\0")
        SYSTEM.sleep(_DRIP_S)
    raise TimeoutError


_ATTACKS: dict[str, Callable[[socket.socket], None]] = {
    "bytes that mean nothing": _garbage,
    "another protocol": _plain_garbage,
    "a frame of 4 GiB": _oversized,
    "a frame without an end": _endless,
    "half a frame": _half,
    "a byte now and then": _dripping,
}


@check("hostile-input", "RPC-6", needs={Cap.LIMITS}, spawns=False)
def hostile_input(bench: Bench) -> None:
    """Each sender loses its connection in time; others are answered meanwhile."""
    with bench.daemon() as daemon, bench.showing("RPC-6"):
        with daemon.connect() as asker:
            questions = sound(bench, asker, 5)
        if daemon.is_local:
            _inflates_nothing(bench, daemon)
        with ExitStack() as stack:
            senders = {
                name: stack.enter_context(open_socket(daemon.address, 5.0)) for name in _ATTACKS
            }
            outcomes = bench.together(
                *(lambda n=name: _attack(senders[n], _ATTACKS[n]) for name in senders),
                lambda: _others_are_answered(daemon, questions, 2.0),
                timeout_s=3 * _LOST_S,
            )
            *lost, answered = outcomes
            if isinstance(answered, Exception):
                raise answered
            for name, outcome in zip(_ATTACKS, lost, strict=True):
                assert outcome is True, (
                    f"who sends {name} still has its connection after {_LOST_S:g} s"
                )
        bench.tried("RPC-6", len(_ATTACKS), "senders")
        bench.tried("RPC-6", answered, "answers meanwhile")
        _others_are_answered(daemon, questions, 0.0)


def _attack(sock: socket.socket, send: Callable[[socket.socket], None]) -> bool:
    """Whether the connection has ended in time."""
    deadline = SYSTEM.monotonic() + _LOST_S
    try:
        send(sock)
    except TimeoutError:
        return False
    except OSError:
        return True
    poller = select.poll()
    poller.register(sock, select.POLLIN | select.POLLHUP)
    sock.setblocking(False)
    while (left_s := deadline - SYSTEM.monotonic()) > 0:
        if not poller.poll(left_s * 1000):
            return False
        try:
            # It may be told, before it is dropped.
            if not sock.recv(1 << 16):
                return True
        except BlockingIOError:
            continue
        except OSError:
            return True
    return False


def _others_are_answered(daemon: Daemon, questions: list[Question], seconds: float) -> int:
    count, until = 0, SYSTEM.monotonic() + seconds
    while not count or SYSTEM.monotonic() < until:
        for question in questions:
            try:
                with daemon.connect() as asker:
                    answer = asker.query(question[0])
            except Exception as error:
                raise AssertionError(
                    f"beside hostile clients, another is not served: {error}"
                ) from None
            must_be_right(answer, question)
            count += 1
    return count


def _inflates_nothing(bench: Bench, daemon: Daemon) -> None:
    """A small frame that becomes a large one takes no memory."""
    before = _most_memory(daemon)
    with open_socket(daemon.address, 5.0) as sock, suppress(OSError):
        data = _bomb()
        sock.sendall(struct.pack(_HEAD, len(data), 1) + data + b"\n")
        sock.settimeout(_LOST_S)
        sock.recv(1)  # it is told, or dropped
    more = _most_memory(daemon) - before
    bench.figure("RPC-6", "memory for a frame that is inflated", more / (1 << 20), "MiB")
    assert more < _MORE_BYTES, (
        f"a frame of {len(data) >> 10} KiB, inflated, takes {more >> 20} MiB of its memory"
    )


def _bomb() -> bytes:
    deflate = zlib.compressobj()
    block = bytes(1 << 20)
    parts = [deflate.compress(block) for _ in range(_INFLATED_BYTES >> 20)]
    return b"".join([*parts, deflate.flush()])


def _most_memory(daemon: Daemon) -> int:
    """The most that it has had, in bytes."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


@check("many-connections", "RPC-6", needs={Cap.LIMITS}, spawns=False)
def many_connections(bench: Bench) -> None:
    """Hundreds of connections that say nothing do not keep another client out."""
    with bench.daemon() as daemon, bench.showing("RPC-6"):
        with daemon.connect() as asker:
            questions = sound(bench, asker, 5)
        count = 600 if bench.deep else 300
        with ExitStack() as stack:
            opened = 0
            for _ in range(count):
                # It may refuse some: that is its own affair.
                with suppress(OSError):
                    stack.enter_context(open_socket(daemon.address, 1.0))
                    opened += 1
            bench.tried("RPC-6", opened, "silent connections")
            _others_are_answered(daemon, questions, 0.0)


CHECKS = [hostile_input, many_connections]
