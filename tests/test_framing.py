"""What a message costs in calls of the system: each lets go of the interpreter (PERF-3)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from cidx_ref.daemon.framing import Channel, Receiving, Stream
from cidx_ref.runtime import SYSTEM
from cidx_ref.wire import Caller, dump

pytestmark = pytest.mark.promise("PERF-3", "RPC-1")


class Counted:
    """A socket, and how often it was read from and written to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, *arguments: Any) -> bytes:
        self.calls.append("recv")
        return self._sock.recv(*arguments)

    def send(self, *arguments: Any) -> int:
        self.calls.append("send")
        return self._sock.send(*arguments)


class _Endless:
    def timeleft(self) -> None:
        return None


@pytest.fixture
def ends() -> Iterator[tuple[Counted, socket.socket]]:
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(closing(each)) for each in socket.socketpair())
        theirs.settimeout(30.0)
        yield Counted(ours), theirs


def _frame(message: bytes) -> bytes:
    return Channel.FRAME_HEADER.pack(len(message), 0) + message + b"\n"


def _channel(sock: Counted) -> Channel:
    return Channel(Stream(sock, SYSTEM), SYSTEM, Receiving(SYSTEM))  # type: ignore[arg-type]


def test_a_call_is_waited_for_and_read_in_one_call_of_the_system(
    ends: tuple[Counted, socket.socket],
) -> None:
    ours, theirs = ends
    channel = _channel(ours)
    for number in range(3):
        theirs.sendall(_frame(b"%d" % number * 300))
        assert channel.poll(_Endless())
        assert channel.recv() == b"%d" % number * 300
        channel.send(b"answer")
        assert theirs.recv(100) == _frame(b"answer")
    assert ours.calls == ["recv", "send"] * 3


def test_messages_that_come_together_are_taken_one_after_the_other(
    ends: tuple[Counted, socket.socket],
) -> None:
    ours, theirs = ends
    channel = _channel(ours)
    messages = [b"first", b"second" * 2000, b"third", b"x" * 100]
    theirs.sendall(b"".join(map(_frame, messages)))
    theirs.shutdown(socket.SHUT_WR)
    taken = []
    for _ in messages:
        assert channel.poll(_Endless())
        taken.append(channel.recv())
    assert taken == messages
    with pytest.raises(EOFError, match="closed by peer"):
        channel.poll(_Endless())


def test_an_answer_is_read_by_the_client_in_one_call_of_the_system(
    ends: tuple[Counted, socket.socket],
) -> None:
    ours, theirs = ends
    caller = Caller(ours)  # type: ignore[arg-type]
    for number, content in ((1, ("x", 1, 2)), (2, "answer" * 1000)):
        label = 4 if number == 1 else 1  # of a reference, first of all, and then of a value
        theirs.sendall(_frame(bytes([2]) + dump((number, (label, content)))))
    assert caller.call("query", timeout_s=30.0) == "answer" * 1000
    assert ours.calls == ["recv"], "both answers were there"
