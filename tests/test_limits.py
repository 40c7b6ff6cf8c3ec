"""Whatever a connection sends, or does not, costs that connection and nobody else (RPC-6)."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from time import perf_counter
from typing import Any

import pytest
from rpyc.core import brine, consts, vinegar

from cidx_ref.client import DaemonClient
from cidx_ref.daemon import framing
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BadArgumentError, BusyError
from cidx_ref.interpreter import python_command
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.testing.own.fixtures import served
from cidx_ref.testing.promises.report import RecordFigure

pytestmark = pytest.mark.once

WAIT_S = 30.0
#: So long after its time has come, a connection that is to be dropped has been.
DROPPED_S = 5.0
HEADER = struct.Struct("!LB")


@pytest.fixture
def service(project: Project) -> Iterator[CIDXDaemonService]:
    """Of a whole daemon, in threads of this process."""
    with served(project) as made:
        yield made


@pytest.fixture
def neighbour(service: CIDXDaemonService, project: Project) -> Iterator[Callable[[], None]]:
    """`neighbour()` has somebody else's query answered, over an old and over a new connection."""
    with DaemonClient(project, start=False) as old:

        def ask() -> None:
            started = perf_counter()
            assert old.query("retry")[0].path == "net/retry.py"
            with DaemonClient(project, start=False) as new:
                assert new.query("retry", mode="fts")[0].path == "net/retry.py"
            assert perf_counter() - started < 5.0

        ask()
        yield ask
        ask()
    assert service.gate.calls() == []
    assert service.health_monitor.get_health()["errors"] == 0


@contextmanager
def connected(project: Project) -> Iterator[socket.socket]:
    with closing(connect_socket(project.socket_path, WAIT_S)) as sock:
        sock.settimeout(WAIT_S)
        yield sock


def is_dropped(sock: socket.socket) -> bool:
    """Reads whatever still comes, until the end; raises `TimeoutError` if it does not."""
    sock.settimeout(DROPPED_S)
    with suppress(ConnectionResetError):
        while sock.recv(1 << 16):
            pass
    return True


def frame(data: bytes, *, compressed: bool = False) -> bytes:
    return HEADER.pack(len(data), compressed) + data + b"\n"


def message(kind: int, seq: Any, content: Any) -> bytes:
    dumped: bytes = brine.dump((seq, content))
    return bytes([kind]) + dumped


def request(handler: Any, *boxed: Any) -> bytes:
    args = (consts.LABEL_TUPLE, boxed)
    return frame(message(consts.MSG_REQUEST, 1, (handler, args)))


def value(content: Any) -> Any:
    return consts.LABEL_VALUE, content


PING = request(consts.HANDLE_PING, value("x"))


def inflated_ping(size: int) -> bytes:
    """A compressed frame that is a request as good as any, but for its size."""
    echoed = (consts.LABEL_TUPLE, (value("x" * size),))
    ping = message(consts.MSG_REQUEST, 1, (consts.HANDLE_PING, echoed))
    return frame(zlib.compress(ping), compressed=True)


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "ones": b"\xff" * 4096,
    "4 GiB announced": HEADER.pack(0xFFFFFFFF, 0),
    "64 MiB and a byte announced": HEADER.pack((1 << 26) + 1, 0),
    "one byte too many": frame(bytes(MAX_REQUEST_BYTES + 1)),
    "damaged zlib": frame(b"this is not zlib", compressed=True),
    "zlib bomb": inflated_ping(1 << 26),
    "small zlib bomb": inflated_ping(MAX_REQUEST_BYTES),
    "no message": frame(b"\x09"),
    "message without content": frame(b"\x01"),
    "unknown tag": frame(b"\x01\x4f\x4f\x4f"),
    "content of three": frame(b"\x01" + brine.dump((1, 2, 3))),
    "deeply nested": frame(b"\x01" + b"\x10" * 500_000),
    "deeply nested, 255 wide": frame(b"\x01" + b"\x14\xff" * 200_000),
    "deeply nested sets": frame(b"\x01" + b"\x1a\x10" * 200_000),
    "four thousand million items announced": frame(b"\x01\x15\xff\xff\xff\xff"),
    "a number of a million digits": frame(b"\x01\x17\x00\x0f\x00\x00" + b"9" * 983_040),
    "a reply nobody asked for": frame(message(consts.MSG_REPLY, 1, 5)),
    "an error nobody asked for": frame(message(consts.MSG_EXCEPTION, 1, 5)),
}


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_costs_its_sender_the_connection(
    neighbour: Callable[[], None],
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(framing, "FRAME_TIMEOUT_S", 1000)  # at once, that is
    with connected(project) as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(GARBAGE[name])
        assert is_dropped(sock)


@pytest.mark.promise("RPC-6")
def test_a_request_of_nonsense_is_answered_with_an_error(
    neighbour: Callable[[], None], project: Project
) -> None:
    nonsense = [
        frame(message(consts.MSG_REQUEST, 1, content))
        for content in (None, (), (1, 2, 3), (99, value(())), (None, value(())), ("1", value(())),
                        (slice(1), value(())), (consts.HANDLE_PING, (77, ())),
                        (consts.HANDLE_PING, value(5)), (consts.HANDLE_CALL, value(())),
                        (consts.HANDLE_GETATTR, (consts.LABEL_LOCAL_REF, ("x", 1, 2))))
    ]  # fmt: skip
    with connected(project) as sock:
        for data in nonsense:
            sock.sendall(data)
            size, _ = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))
            answer = sock.recv(size + 1, socket.MSG_WAITALL)
            assert answer[0] == consts.MSG_EXCEPTION
        sock.sendall(PING)
        assert sock.recv(HEADER.size, socket.MSG_WAITALL)


@pytest.mark.promise("RPC-6")
def test_a_frame_as_big_as_allowed_is_taken(
    neighbour: Callable[[], None], project: Project
) -> None:
    overhead = len(PING) - HEADER.size - 2
    with connected(project) as sock:
        whole = request(consts.HANDLE_PING, value("x" * (MAX_REQUEST_BYTES - overhead - 8)))
        assert MAX_REQUEST_BYTES - 16 < len(whole) - HEADER.size - 1 <= MAX_REQUEST_BYTES
        sock.sendall(whole)
        size, _ = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))
        assert abs(size - len(whole)) < 16


@pytest.mark.promise("RPC-6", "QRY-4")
@pytest.mark.parametrize("letter", ["x", "é", "漢", "\U0001f600", '"', "\udcff"], ids=ascii)
def test_the_longest_query_is_taken_whatever_it_is_made_of(
    service: CIDXDaemonService, project: Project, letter: str
) -> None:
    with DaemonClient(project, start=False) as client:
        client.query("retry " + letter * 99_994, mode="fts")


@pytest.mark.promise("RPC-6", "QRY-5")
@pytest.mark.parametrize("length", [100_001, 3_000_000])
def test_a_query_that_is_too_long_is_refused_by_name_however_long_it_is(
    service: CIDXDaemonService, project: Project, length: int
) -> None:
    project.config_path.write_text('{"daemon": {"max_retries": 0}}')
    with DaemonClient(project, start=False) as client:
        with pytest.raises(BadArgumentError, match=r"^query: "):
            client.query("x" * length)
        assert client.ping()["pong"]


@pytest.mark.promise("RPC-6")
def test_half_frames_of_many_share_a_bounded_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "_MAX_RECEIVED_BYTES", 300_000)
    project.config_path.write_text('{"daemon": {"max_retries": 0}}')
    paths = ["x" * 900] * 100

    def is_received() -> bool:
        """Whether a large message is read, to be refused for what is in it."""
        try:
            with DaemonClient(project, start=False) as client:
                client.query("retry", exclude_paths=paths)
        except BadArgumentError:
            return True
        except BusyError:
            return False
        raise AssertionError("it is neither refused nor read")

    with served(project), DaemonClient(project, start=False) as client:
        assert is_received()
        with connected(project) as one, connected(project) as other:
            for sock in (one, other):
                sock.sendall(HEADER.pack(120_000, 0) + b"x" * 60_000)
            deadline = SYSTEM.monotonic() + DROPPED_S
            while is_received():  # the daemon may not have read yet what it was sent
                assert SYSTEM.monotonic() < deadline, "there is room for all"
            assert client.query("retry")[0].path == "net/retry.py", "small ones count for nothing"
        # Those are gone, and what they held is given back.
        deadline = SYSTEM.monotonic() + DROPPED_S
        while not is_received():
            assert SYSTEM.monotonic() < deadline, "what they held is not given back"


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize("begun", [b"\x00", PING[:-1], frame(b"x" * 1000)[:500]], ids=len)
def test_a_frame_that_does_not_end_costs_the_connection_after_a_while(
    neighbour: Callable[[], None],
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    begun: bytes,
) -> None:
    monkeypatch.setattr(framing, "FRAME_TIMEOUT_S", 0.2)
    with connected(project) as sock, connected(project) as silent:
        sock.sendall(begun)
        assert is_dropped(sock)
        # Between frames a client may be silent for as long as it likes.
        silent.sendall(PING)
        assert silent.recv(1)


@pytest.mark.promise("RPC-6")
def test_an_endless_drip_of_bytes_costs_the_connection_after_a_while(
    neighbour: Callable[[], None], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "FRAME_TIMEOUT_S", 0.5)
    with connected(project) as sock:
        sock.sendall(HEADER.pack(MAX_REQUEST_BYTES, 0))
        started = perf_counter()
        with suppress(BrokenPipeError, ConnectionResetError):
            while perf_counter() - started < DROPPED_S:
                sock.sendall(b"x")
                SYSTEM.sleep(0.02)  # slow is what it is to be
        assert perf_counter() - started < DROPPED_S
        assert is_dropped(sock)


@pytest.mark.promise("RPC-6")
def test_a_reader_that_never_reads_costs_the_connection_after_a_while(
    neighbour: Callable[[], None],
    service: CIDXDaemonService,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(framing, "SEND_TIMEOUT_S", 0.2)
    big = request(consts.HANDLE_PING, value("x" * 500_000))
    with connected(project) as sock:

        def send_and_never_read() -> None:
            for _ in range(100):
                sock.sendall(big)

        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_and_never_read()


@pytest.mark.promise("RPC-6")
def test_a_thousand_connections_opened_and_dropped_leave_nothing(
    neighbour: Callable[[], None], project: Project, figure: RecordFigure
) -> None:
    threads = set(SYSTEM.threads())  # not their numbers, which are used again
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1000):
        with connected(project) as sock:
            if number % 3 == 1:
                sock.sendall(PING)
            elif number % 3 == 2:
                sock.sendall(PING[:4])
        if number % 250 == 0:
            neighbour()
    with connected(project) as last:  # accepted after all the others
        last.sendall(PING)
        assert last.recv(1)
    for thread in SYSTEM.threads():
        if thread not in threads:
            thread.join(WAIT_S)
    left = len(os.listdir("/proc/self/fd")) - before
    figure("RPC-6", "descriptors left by 1000 dropped connections", left)
    assert left <= 0


_STARVE = """
import resource, sys
from cidx_ref.cli import main
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(["serve", "--project", sys.argv[2]]))
"""


@pytest.mark.promise("RPC-6", "SRV-1")
def test_a_daemon_out_of_descriptors_goes_on_serving_those_it_has(project: Project) -> None:
    limit = 48
    command, environment = python_command("cidx_ref")
    daemon = subprocess.Popen(
        [sys.executable, *command[1 : command.index("-m")], "-c", _STARVE,
         str(limit), str(project.root)],
        env=environment, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = SYSTEM.monotonic() + WAIT_S
        while not project.socket_path.exists() and SYSTEM.monotonic() < deadline:
            SYSTEM.sleep(0.01)  # nothing tells us that the other process listens
        with DaemonClient(project, start=False) as client, ExitStack() as stack:
            assert client.query("retry")[0].path == "net/retry.py"
            greedy = [stack.enter_context(connected(project)) for _ in range(2 * limit)]
            greedy[0].sendall(PING)
            assert greedy[0].recv(1)
            for _ in range(20):
                assert client.query("retry")[0].path == "net/retry.py"
            stack.close()
            # Those that wait for their turn, closed long since, are before it in the queue.
            with DaemonClient(project, start=False) as late:
                assert late.query("retry")[0].path == "net/retry.py"
            assert daemon.poll() is None
            client.shutdown()
    finally:
        daemon.kill()
        daemon.wait(WAIT_S)


@pytest.mark.promise("RPC-6")
def test_errors_under_made_up_names_are_not_remembered(
    neighbour: Callable[[], None], project: Project
) -> None:
    """RPyC makes a class of each name, and keeps it for as long as the process lives."""
    own = consts.LABEL_REMOTE_REF, ("builtins.list", 1, 2)
    with connected(project) as sock:

        def receive() -> tuple[int, int]:
            size, _ = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))
            data = sock.recv(size + 1, socket.MSG_WAITALL)
            return data[0], brine.load(data[1:-1])[0]

        for number in range(100):
            sock.sendall(request(consts.HANDLE_CMP, own, own, value("__eq__")))
            raised = (("made.up", f"Error{number}"), (), (), "")
            while (received := receive())[0] == consts.MSG_REQUEST:
                sock.sendall(frame(message(consts.MSG_EXCEPTION, received[1], raised)))
            assert received[0] == consts.MSG_EXCEPTION
    assert not [name for name in vinegar._generic_exceptions_cache if "made.up" in name]


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize("where", ["arguments", "languages"])
def test_an_endless_list_of_the_clients_is_not_read_to_its_end(
    neighbour: Callable[[], None], project: Project, where: str
) -> None:
    endless = (consts.LABEL_REMOTE_REF, ("builtins.list_iterator", 1, 2))
    at_most, item = 1500, "x" * 20_000
    taken = 0
    with connected(project) as sock:

        def receive() -> tuple[int, int, Any]:
            size, _ = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))
            data = sock.recv(size + 1, socket.MSG_WAITALL)
            seq, content = brine.load(data[1:-1])
            return data[0], seq, content

        sock.sendall(request(consts.HANDLE_GETROOT))
        root = (consts.LABEL_LOCAL_REF, receive()[2][1])
        named = (consts.LABEL_TUPLE, ((consts.LABEL_TUPLE, (value("languages"), endless)),))
        sock.sendall(
            request(consts.HANDLE_CALLATTR, root, value("query_fts"), endless, value(()))
            if where == "arguments"
            else request(consts.HANDLE_CALLATTR, root, value("query_fts"),
                         value((str(project.root), "retry")), named)
        )  # fmt: skip
        while (received := receive())[0] == consts.MSG_REQUEST and taken < at_most:
            _, seq, (handler, (_, boxed)) = received
            if handler == consts.HANDLE_CALLATTR and boxed[1] == value("__next__"):
                taken += 1
                sock.sendall(frame(message(consts.MSG_REPLY, seq, value(item))))
            elif handler != consts.HANDLE_DEL:
                is_hint = boxed[1:2] == (value("__length_hint__"),)
                reply = value(0) if is_hint else endless
                sock.sendall(frame(message(consts.MSG_REPLY, seq, reply)))
    assert received[0] == consts.MSG_EXCEPTION
    assert taken * len(item) < 2 * MAX_REQUEST_BYTES


@pytest.mark.promise("RPC-6")
def test_answers_that_are_never_given_back_are_not_kept_without_end(
    neighbour: Callable[[], None], project: Project
) -> None:
    """A plain client holds its answers by reference, and the server for it."""
    with connected(project) as sock:

        def ask(*args: Any) -> tuple[int, Any] | None:
            with suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(request(*args))
                header = sock.recv(HEADER.size, socket.MSG_WAITALL)
                if len(header) == HEADER.size:
                    data = sock.recv(HEADER.unpack(header)[0] + 1, socket.MSG_WAITALL)
                    return data[0], brine.load(data[1:-1])[1]
            return None

        granted = ask(consts.HANDLE_GETROOT)
        assert granted is not None
        root = (consts.LABEL_LOCAL_REF, granted[1][1])
        for _ in range(20_000):
            answer = ask(consts.HANDLE_CALLATTR, root, value("ping"), value(()), value(()))
            if answer is None or answer[0] != consts.MSG_REPLY:
                break
        else:
            raise AssertionError("20,000 answers are held")
