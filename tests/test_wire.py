"""The protocol without rpyc, held against rpyc itself."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest
import rpyc
from hypothesis import example, given
from hypothesis import strategies as st
from rpyc.core import brine, consts
from rpyc.core.stream import SocketStream

from cidx_ref import wire
from cidx_ref.runtime import SYSTEM
from cidx_ref.wire import Caller, RemoteError, dump, load

TIMEOUT_S = 20.0

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-60, 200),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=6).map(tuple))


@pytest.mark.promise("RPC-1")
@given(VALUES)
@example(tuple(range(300)))
@example("x" * 255)
@example("x" * 256)
@example("é" * 200)
@example(10**300)
def test_what_is_dumped_and_loaded_is_brine(value: object) -> None:
    assert dump(value) == brine.dump(value)
    assert load(brine.dump(value)) == value


@given(st.binary(max_size=300))
def test_bytes_are_loaded_too(value: bytes) -> None:
    assert load(brine.dump((value,))) == (value,)


@given(VALUES, VALUES, st.complex_numbers(allow_nan=False))
def test_what_only_the_other_side_dumps_is_loaded_too(a: Any, b: Any, c: complex) -> None:
    value = (slice(a, b, c), c, NotImplemented, ..., slice(None))
    assert load(brine.dump(value)) == value


@given(st.frozensets(SCALARS, max_size=20))
def test_a_set_is_loaded_as_the_tuple_of_what_is_in_it(value: frozenset[Any]) -> None:
    assert load(brine.dump((value,))) == (tuple(value),)


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize(
    "data",
    [
        brine.dump((None,) * (wire.MAX_VALUES + 1)),
        brine.dump(((None,) * (wire.MAX_VALUES // 2),) * 3),
        b"\x15\xff\xff\xff\xff",
        b"\x10" * (wire.MAX_DEPTH + 1) + b"\x00",
        b"\x1a" * 100_000,
        b"\x08" * 100_000,
        b"\x19" * 100_000,
        b"\x14\xff" * 100_000,
        b"\x17" + struct.pack("!L", wire.MAX_DIGITS + 1) + b"1" * (wire.MAX_DIGITS + 1),
    ],
    ids=range(9),
)
def test_a_message_has_bounds(data: bytes) -> None:
    with pytest.raises(EOFError, match="cannot be read"):
        load(data)


def test_a_message_within_the_bounds_is_taken() -> None:
    deep: Any = 5
    for _ in range(wire.MAX_DEPTH):
        deep = (deep,)
    for value in ((None,) * wire.MAX_VALUES, deep, 10 ** (wire.MAX_DIGITS - 1)):
        assert load(brine.dump(value)) == value


@pytest.mark.promise("RPC-6")
@given(VALUES, st.data())
def test_what_is_cut_off_is_the_end_of_the_connection(value: object, data: Any) -> None:
    whole = brine.dump(value)
    with pytest.raises(EOFError):
        load(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.promise("RPC-6")
@given(st.binary(max_size=60))
@example(b"\x07")
@example(b"\x19")
@example(b"\x16\x01x")
@example(b"\x08\x0a\xff")
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with suppress(EOFError):
        load(data)


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x", object()])
def test_what_is_no_plain_value_is_not_sent(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        dump(value)


def test_the_numbers_are_those_of_rpyc() -> None:
    kinds = (consts.MSG_REQUEST, consts.MSG_REPLY, consts.MSG_EXCEPTION)
    assert kinds == (wire._REQUEST, wire._REPLY, wire._EXCEPTION)
    labels = (consts.LABEL_VALUE, consts.LABEL_TUPLE)
    assert labels == (wire._VALUE, wire._TUPLE)
    references = (consts.LABEL_LOCAL_REF, consts.LABEL_REMOTE_REF)
    assert references == (wire._OF_RECEIVER, wire._OF_SENDER)
    handlers = (consts.HANDLE_GETROOT, consts.HANDLE_CALLATTR)
    assert handlers == (wire._GET_ROOT, wire._CALL_ATTRIBUTE)
    assert rpyc.Channel.FRAME_HEADER.format == wire._FRAME.format


# Calls, to a stock server.


class _Service(rpyc.Service):  # type: ignore[misc]
    def exposed_echo(self, *values: str | None) -> str:
        return repr(values)

    def exposed_long(self, size: str) -> str:
        return "x" * int(size)

    def exposed_fail(self) -> None:
        raise ZeroDivisionError("by nothing")

    def exposed_reference(self) -> list[int]:
        return [1]


@contextmanager
def stock_server(*, compress: bool = False) -> Iterator[socket.socket]:
    """The other end of a stock RPyC server's connection."""
    ours, theirs = socket.socketpair()
    channel = rpyc.Channel(SocketStream(theirs), compress=compress)
    connection = _Service()._connect(channel, {"logger": None})
    thread = SYSTEM.thread(connection.serve_all, "stock")
    with closing(ours):
        yield ours
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


@pytest.mark.promise("RPC-1")
def test_calls_to_a_stock_server() -> None:
    with stock_server() as sock:
        caller = Caller(sock)
        for values in ((), ("a",), ("a", None, "é" * 1000)):
            assert caller.call("echo", *values, timeout_s=TIMEOUT_S) == repr(values)
        assert len(caller.call("long", "1000000", timeout_s=None)) == 1_000_000


@pytest.mark.promise("RPC-2")
def test_what_the_other_side_raises_is_one_error_and_the_next_call_is_answered() -> None:
    with stock_server() as sock:
        caller = Caller(sock)
        with pytest.raises(RemoteError, match=r"^ZeroDivisionError: by nothing"):
            caller.call("fail", timeout_s=TIMEOUT_S)
        with pytest.raises(RemoteError, match="AttributeError"):
            caller.call("unknown", timeout_s=TIMEOUT_S)
        assert caller.call("echo", timeout_s=TIMEOUT_S) == "()"


@pytest.mark.promise("RPC-6")
def test_what_the_other_side_raises_is_told_in_part() -> None:
    with stock_server() as sock, pytest.raises(RemoteError) as caught:
        Caller(sock).call("x" * 100_000, timeout_s=TIMEOUT_S)
    assert len(str(caught.value)) <= 1000


def test_an_answer_that_is_compressed_is_refused() -> None:
    with stock_server(compress=True) as sock, pytest.raises(EOFError):
        Caller(sock).call("long", "100000", timeout_s=TIMEOUT_S)


def test_an_answer_that_is_no_value_is_refused() -> None:
    with stock_server() as sock, pytest.raises(EOFError):
        Caller(sock).call("reference", timeout_s=TIMEOUT_S)


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00",
        struct.pack("!LB", 1 << 31, 0),
        struct.pack("!LB", 3, 0) + b"abc\n",
        struct.pack("!LB", 0, 0) + b"\n",
        struct.pack("!LB", 4, 1) + b"zzzz\n",
    ],
)
def test_a_server_that_speaks_something_else_is_the_end_of_the_connection(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            Caller(ours).call("echo", timeout_s=TIMEOUT_S)


def test_an_answer_that_does_not_come_in_time_is_a_timeout() -> None:
    with ExitStack() as stack:
        ours, theirs = map(stack.enter_context, map(closing, socket.socketpair()))
        with pytest.raises(TimeoutError):
            Caller(ours).call("echo", timeout_s=0.05)
        theirs.sendall(struct.pack("!LB", 10, 0) + b"half")
        with pytest.raises(TimeoutError):
            Caller(ours).call("echo", timeout_s=0.05)
