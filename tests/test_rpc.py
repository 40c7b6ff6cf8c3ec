"""What goes over the wire: one round trip, errors by class, and nothing else that can be reached
or held up (RPC-1 to RPC-5)."""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import struct
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import rpyc
from rpyc.core import brine, consts
from rpyc.core.stream import SocketStream
from rpyc.core.vinegar import GenericException

from cidx_ref import errors
from cidx_ref.client import DaemonClient
from cidx_ref.daemon.accept import SocketServer
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, DaemonUnavailableError, InternalError
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.sockets import address_of
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.testing.promises.report import RecordFigure

WAIT_S = 30.0
MODES = {"query": "semantic", "query_fts": "fts", "query_hybrid": "hybrid"}

VALUE, TUPLE, LOCAL, REMOTE = (
    consts.LABEL_VALUE,
    consts.LABEL_TUPLE,
    consts.LABEL_LOCAL_REF,
    consts.LABEL_REMOTE_REF,
)


class Embedder(HashingEmbedder):
    """The default embedder, which fails or waits where a test wants it to."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.id_error: BaseException | None = None
        super().__init__()
        self.entered = SYSTEM.event("entered")
        self.go_on = SYSTEM.event("go on")

    @property
    def id(self) -> str:
        if self.id_error is not None:
            raise self.id_error
        return self._id

    @id.setter  # noqa: A003
    def id(self, name: str) -> None:
        self._id = name

    def embed_query(self, text: str) -> Any:
        if self.error is not None:
            raise self.error
        if "slow" in text:
            self.entered.set()
            assert self.go_on.wait(WAIT_S)
        return super().embed_query(text)


Serve = Callable[..., CIDXDaemonService]


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def serve(embedder: Embedder) -> Iterator[Serve]:
    """`serve(project)` serves it by a whole daemon, in threads of this process."""
    with ExitStack() as stack:

        def start(project: Project) -> CIDXDaemonService:
            service = CIDXDaemonService(project.root, embedder=embedder)
            claim = Claim(project)
            assert claim.acquire(WAIT_S)
            daemon = Daemon(project, service, claim)
            stack.callback(finish, daemon, SYSTEM.thread(daemon.run, "daemon"))
            return service

        def finish(daemon: Daemon, thread: Thread) -> None:
            embedder.go_on.set()
            daemon.stop()
            thread.join(WAIT_S)
            assert not thread.is_alive()

        yield start


@pytest.fixture
def service(serve: Serve, project: Project) -> CIDXDaemonService:
    return serve(project)


@pytest.fixture
def client(service: CIDXDaemonService, project: Project) -> Iterator[DaemonClient]:
    with DaemonClient(project, start=False) as connected:
        yield connected


@contextmanager
def plain(project: Project, **config: Any) -> Iterator[Any]:
    """A plain RPyC client's connection."""
    stream = SocketStream(connect_socket(project.socket_path, WAIT_S))
    connection = rpyc.connect_stream(stream, config={"sync_request_timeout": WAIT_S, **config})
    try:
        yield connection
    finally:
        connection.close()


class Wire:
    """A connection of bare frames, which may say what no RPyC client would."""

    def __init__(self, project: Project) -> None:
        self.sock = connect_socket(project.socket_path, WAIT_S)
        self.sock.settimeout(WAIT_S)

    def send(self, message: int, seq: int, content: Any) -> None:
        data = bytes([message]) + brine.dump((seq, content))
        self.sock.sendall(struct.pack("!LB", len(data), 0) + data + b"\n")

    def receive(self) -> tuple[int, int, Any] | None:
        """The next message; None at the end."""
        frame = read_frame(self.sock)
        if not frame:
            return None
        seq, content = brine.load(frame[6:-1])
        return frame[5], seq, content

    def ask(self, handler: int, *boxed: Any) -> tuple[bool, Any]:
        """Whether the request was granted, and the boxed result or what was said instead."""
        self.send(consts.MSG_REQUEST, 7, (handler, (TUPLE, boxed)))
        answer = self.receive()
        assert answer is not None, "the connection was closed"
        message, _, content = answer
        return message == consts.MSG_REPLY, content

    def ask_and_answer(
        self, reply: Callable[[int, Any], Any], handler: int, *boxed: Any
    ) -> tuple[bool, Any, list[int]]:
        """Like `ask`, and what the server asks of us meanwhile is answered by `reply`."""
        asked: list[int] = []
        self.send(consts.MSG_REQUEST, 7, (handler, (TUPLE, boxed)))
        while message := self.receive():
            kind, seq, content = message
            if kind != consts.MSG_REQUEST:
                return kind == consts.MSG_REPLY, content, asked
            asked.append(content[0])
            if content[0] != consts.HANDLE_DEL:
                self.send(consts.MSG_REPLY, seq, reply(content[0], content[1][1]))
        raise AssertionError("the connection was closed")

    def root(self) -> Any:
        granted, (label, id_pack) = self.ask(consts.HANDLE_GETROOT)
        assert granted
        assert label == REMOTE
        return LOCAL, id_pack

    def close(self) -> None:
        self.sock.close()


def read_frame(sock: socket.socket) -> bytes:
    """One frame as it is; empty at the end of the stream."""

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size and (part := sock.recv(size - len(data))):
            data += part
        return data

    header = exactly(5)
    return header + exactly(struct.unpack("!LB", header)[0] + 1) if len(header) == 5 else b""


def value(content: Any) -> Any:
    return VALUE, content


@contextmanager
def relay(project: Project, seen: list[tuple[str, bytes]]) -> Iterator[Path]:
    """Has whoever connects to the project's socket talk to the one at the yielded path, and notes
    each frame, with who sent it."""
    behind = project.directory / "behind.sock"
    ends: list[socket.socket] = []
    threads: list[Thread] = []

    def pump(name: str, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while frame := read_frame(source):
                seen.append((name, frame))
                sink.sendall(frame)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            here, _ = front.accept()
            there = connect_socket(behind, WAIT_S)
            ends.extend((here, there))
            threads.append(SYSTEM.thread(lambda: pump("client", here, there), "pump"))
            threads.append(SYSTEM.thread(lambda: pump("daemon", there, here), "pump"))

    with listening(project.socket_path) as front:
        front.settimeout(WAIT_S)
        threads.append(SYSTEM.thread(accept, "accept"))
        try:
            yield behind
        finally:
            for thread in threads:
                thread.join(WAIT_S)
            for end in ends:
                end.close()


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        with address_of(path) as address:
            listener.bind(address)
        listener.listen(16)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def serving(service: CIDXDaemonService, listener: socket.socket) -> Iterator[None]:
    server = SocketServer(service, listener)
    thread = SYSTEM.thread(lambda: server.serve(lambda: True, 1.0), "server")
    try:
        yield
    finally:
        server.stop()
        thread.join(WAIT_S)
        server.close(WAIT_S)


# RPC-1


@pytest.mark.promise("RPC-1")
def test_a_query_is_one_request_and_one_reply_which_is_one_json_value(
    project: Project, figure: RecordFigure
) -> None:
    seen: list[tuple[str, bytes]] = []
    service = CIDXDaemonService(project.root)
    with (
        relay(project, seen) as behind,
        listening(behind) as listener,
        serving(service, listener),
        DaemonClient(project, start=False) as client,
    ):
        for mode in MODES.values():
            seen.clear()
            answer = client.query("retry", mode=mode, limit=5, languages=["python"])
            assert answer[0].path == "net/retry.py"
            gc.collect()  # a reference that is given back would be a message, too
            client.ping()
            frames = Counter(sender for sender, _ in seen)
            assert frames == {"client": 2, "daemon": 2}  # the ping's among them
            (_, reply), _ = (frame for frame in seen if frame[0] == "daemon")
            message, (label, text) = reply[5], brine.load(reply[6:-1])[1]
            assert (message, label) == (consts.MSG_REPLY, VALUE)
            assert json.loads(text)["answer"]["results"][0]["path"] == "net/retry.py"
            assert len(reply) <= len(text) + 32, "more than the answer was sent"
        figure("RPC-1", "messages a query, request and reply", 2)
    service.exposed_clear_cache()


# RPC-2

_CLASSES = [getattr(errors, name) for name in errors.__all__ if name != "from_kind"]


@pytest.mark.promise("RPC-2")
@pytest.mark.parametrize("cls", _CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_class_arrives_with_its_message_and_nothing_else(
    serve: Serve, embedder: Embedder, make_project: Any, project: Project, cls: type[CidxError]
) -> None:
    project.config_path.write_text('{"daemon": {"max_retries": 0}}')
    serve(project)
    message = "paths: 'naïve \U0001f600 \x00 %s {}': must not be so"
    embedder.error = cls(message)
    # A turn of events inside the daemon has no class of its own outside.
    expected = CidxError if cls is errors.GenerationGone else cls
    with DaemonClient(project, start=False) as client:
        with pytest.raises(CidxError) as caught:
            client.query("retry", mode="semantic")
        assert type(caught.value) is expected
        assert str(caught.value) == message
        assert client.ping()["pong"]
    with plain(project) as connection:
        with pytest.raises(GenericException) as remote:
            connection.root.query(str(project.root), "retry")
        assert type(remote.value).__name__ == f"cidx_ref.errors.{cls.__name__}"
        assert remote.value.args == (message,)
        assert remote.value.kind == cls.kind
        _assert_nothing_of_the_server_in(str(remote.value), project)
        assert connection.root.ping()["pong"]


@pytest.mark.promise("RPC-2")
@pytest.mark.parametrize("mode", ["semantic", "hybrid", None])
def test_an_unexpected_exception_arrives_as_an_internal_error_without_its_message(
    service: CIDXDaemonService,
    client: DaemonClient,
    embedder: Embedder,
    project: Project,
    mode: str | None,
) -> None:
    error = FileNotFoundError(2, "No such file", "/srv/private/model.bin")
    said = []
    if mode is None:
        embedder.id_error = error
        with pytest.raises(InternalError) as caught:
            client.diagnostics()
        said.append(str(caught.value))
        embedder.id_error = None
    elif mode == "semantic":
        embedder.error = error
        with pytest.raises(InternalError) as caught:
            client.query("retry", mode=mode)
        said.append(str(caught.value))
        with plain(project) as connection, pytest.raises(GenericException) as remote:
            connection.root.query(str(project.root), "retry")
        said.append(str(remote.value))
    else:
        embedder.error = error
        answer = client.query("retry", mode=mode)
        assert answer[0].path == "net/retry.py"
        said.append(answer.unavailable["semantic"])
    for text in said:
        assert "FileNotFoundError" in text
        assert "private" not in text
        _assert_nothing_of_the_server_in(text, project)


@pytest.mark.promise("RPC-2")
def test_what_rpyc_itself_refuses_names_no_path_line_or_address_either(
    service: CIDXDaemonService, project: Project
) -> None:
    with closing(Wire(project)) as wire:
        root = wire.root()
        for handler, args in (
            (consts.HANDLE_CALLATTR, (root, value("ping"), value((1, 2)), value(()))),
            (consts.HANDLE_CALLATTR, (root, value("query"), value(()), value(()))),
            (consts.HANDLE_GETATTR, (root, value("gate"))),
            (consts.HANDLE_GETATTR, (root, value(b"\xff"))),
            (consts.HANDLE_GETATTR, (value("a"),)),
            (consts.HANDLE_CALLATTR, (root, value("query"), value(("/", "x", 0)), value(()))),
            (99, ()),
        ):
            granted, said = wire.ask(handler, *args)
            assert not granted
            _assert_nothing_of_the_server_in(repr(said), project)


def _assert_nothing_of_the_server_in(text: str, project: Project) -> None:
    for telltale in ('File "', "Traceback (most", "site-packages", ".py", str(project.root)):
        assert telltale not in text
    assert not re.search(r"0x[0-9a-f]{6,}", text)


# RPC-3

HIDDEN = """
    __class__ __dict__ __globals__ __func__ __self__ __init__ __reduce_ex__ __getattribute__
    __setattr__ __code__ __module__ __subclasshook__ _rpyc_getattr _cache _connect _dispatch _serve
    gate config metrics health_monitor runtime on_shutdown shutdown_if_idle drain evict_expired
    cache_entry CacheEntry EXPOSED exposed_get_service_name get_service_name get_service_aliases
    exposed_exposed_query exposed_ on_connect append pop clear update setdefault extend insert
    remove sort popitem copy __setitem__ __delitem__ __iadd__ __ior__ __mul__ __sizeof__
    fromkeys mapping isdisjoint __setstate__ __reduce__ __wrapped__ __text_signature__
""".split()


@pytest.mark.promise("RPC-3")
def test_of_all_that_is_given_out_only_what_is_exposed_can_be_reached(
    service: CIDXDaemonService, project: Project
) -> None:
    with plain(project) as connection:
        root = connection.root
        answer = root.query(str(project.root), "retry")
        hits = answer["results"]
        for target in (root, root.query, answer, answer.get, hits, hits[0], iter(hits)):
            for name in HIDDEN:
                for ask in (
                    (consts.HANDLE_GETATTR, target, name),
                    (consts.HANDLE_GETATTR, target, name.encode()),
                    (consts.HANDLE_CALLATTR, target, name, (), ()),
                    (consts.HANDLE_CMP, target, 1, name),
                ):
                    with pytest.raises(AttributeError, match="cannot access"):
                        connection.sync_request(*ask)
        assert sorted(dir(root)) == sorted(CIDXDaemonService.EXPOSED)


@pytest.mark.promise("RPC-3")
def test_nothing_can_be_set_deleted_pickled_called_back_or_changed(
    service: CIDXDaemonService, project: Project
) -> None:
    called: list[Any] = []
    with plain(project, allow_all_attrs=True) as connection:
        root = connection.root
        answer = root.query(str(project.root), "retry")
        hits = answer["results"]
        before = str(answer)
        for attack in (
            lambda: setattr(root, "query", None),
            lambda: delattr(root, "query"),
            lambda: setattr(answer, "x", 1),
            lambda: hits.append(1),
            lambda: hits.pop(),
            lambda: hits.clear(),
            lambda: hits.sort(),
            lambda: answer.update({"x": 1}),
            lambda: answer.__setitem__("x", 1),
            lambda: answer.__delitem__("mode"),
            lambda: hits[0].pop("path"),
            lambda: connection.sync_request(consts.HANDLE_PICKLE, answer, 2),
            lambda: connection.sync_request(consts.HANDLE_OLDSLICING, hits, "pop", "pop", 0, 1, ()),
            lambda: connection.sync_request(consts.HANDLE_INSTANCECHECK, answer, ("x", 1, 1)),
            lambda: connection.sync_request(consts.HANDLE_CTXEXIT, root, None),
            lambda: connection.sync_request(consts.HANDLE_CALL, called.append, (1,), ()),
            lambda: connection.sync_request(consts.HANDLE_CALL, called, (1,), ()),
            lambda: connection.sync_request(consts.HANDLE_CALLATTR, called, "append", (1,), ()),
            lambda: connection.sync_request(consts.HANDLE_CALL, root, (), ()),
            lambda: connection.sync_request(consts.HANDLE_CALL, "text", (), ()),
            lambda: connection.sync_request(consts.HANDLE_BUFFITER, called, 5),
            lambda: connection.sync_request(consts.HANDLE_BUFFITER, root, 5),
        ):
            with pytest.raises((AttributeError, TypeError, KeyError)):
                attack()
        assert called == []
        assert str(answer) == before
        assert root.ping()["pong"]


@pytest.mark.promise("RPC-3")
def test_a_forged_reference_reaches_nothing(service: CIDXDaemonService, project: Project) -> None:
    with closing(Wire(project)) as wire:
        root = wire.root()
        name, type_id, _ = root[1]
        assert wire.ask(consts.HANDLE_CALLATTR, root, value("ping"), value(()), value(()))[0]
        for forged in (
            ("builtins.object", id(object), id(service.gate)),
            (name, type_id, id(service.gate)),
            (name, type_id, 0),
            ("cidx_ref.daemon.gate.Gate", id(type(service.gate)), id(service.gate)),
            (None, None, None),
            (),
            frozenset({1}),
            5,
            slice(1, 2),
        ):
            for handler, rest in (
                (consts.HANDLE_STR, ()),
                (consts.HANDLE_GETATTR, (value("close"),)),
                (consts.HANDLE_CALL, (value(()), value(()))),
                (consts.HANDLE_DEL, ()),
            ):
                granted, _ = wire.ask(handler, (LOCAL, forged), *rest)
                assert not granted
            granted, _ = wire.ask(consts.HANDLE_INSPECT, value(forged))
            assert not granted
        assert not service.gate.is_closed


@pytest.mark.promise("RPC-3")
def test_a_reference_of_the_client_that_claims_to_be_a_string_opens_no_door(
    service: CIDXDaemonService, project: Project
) -> None:
    """The server sees `isinstance(name, str)`, and what it then asks of the name, we answer."""
    liar = (REMOTE, ("builtins.str", 1, 2))

    def reply(asked: int, boxed: tuple[Any, ...]) -> Any:
        if asked == consts.HANDLE_HASH:
            return known_hash
        if asked == consts.HANDLE_CMP:
            return value(True)
        return value("get_service_name") if asked == consts.HANDLE_CALLATTR else liar

    for handler, rest in (
        (consts.HANDLE_GETATTR, ()),
        (consts.HANDLE_CALLATTR, (value(()), value(()))),
    ):
        with closing(Wire(project)) as wire:
            root = wire.root()
            known_hash = wire.ask(consts.HANDLE_HASH, value("query"))[1]
            granted, given, _ = wire.ask_and_answer(reply, handler, root, liar, *rest)
            assert not granted, f"was given {given!r}"


@pytest.mark.promise("RPC-3")
def test_neither_str_nor_repr_tells_an_address_in_memory(
    service: CIDXDaemonService, project: Project
) -> None:
    with plain(project) as connection:
        answer = connection.root.query(str(project.root), "retry")
        hits = answer["results"]
        for target in (
            connection.root,
            connection.root.query,
            answer.get,
            answer.get.__call__,
            iter(hits),
            iter(answer.items()),
            answer.keys(),
        ):
            for text in (str(target), repr(target)):
                assert not re.search(r"0x[0-9a-f]{4,}", text), text
        assert "net/retry.py" in str(hits)


@pytest.mark.promise("RPC-3", "QRY-5")
@pytest.mark.parametrize(
    ("method", "name", "claims"),
    [
        ("query_fts", "query", "builtins.str"),
        ("query_fts", "limit", "builtins.int"),
        ("query_fts", "paths", "builtins.str"),
        ("query_fts", "project_path", "builtins.str"),
        ("query_fts", "project_path", "pathlib.PosixPath"),
        ("index", "full", "builtins.bool"),
        ("index", "wait_s", "builtins.float"),
    ],
)
def test_a_reference_in_the_place_of_a_value_is_refused_by_name_whatever_it_claims(
    service: CIDXDaemonService, project: Project, method: str, name: str, claims: str
) -> None:
    """It is the client that would be asked what it is, while the index is pinned."""
    inside: list[int] = []

    def reply(asked: int, boxed: tuple[Any, ...]) -> Any:
        inside.append(len(service.gate.calls()))
        if asked == consts.HANDLE_INSPECT:
            return value((("__fspath__", ""), ("__len__", "")))
        if asked == consts.HANDLE_CALLATTR:
            return value(1.0 if claims == "builtins.float" else 1)
        return value("x") if asked in (consts.HANDLE_STR, consts.HANDLE_REPR) else value(True)

    good = {"project_path": value(str(project.root))}
    good |= {} if method == "index" else {"query": value("retry")}
    given = {**good, name: (REMOTE, (claims, 1, 2))}
    kwargs = (TUPLE, tuple((TUPLE, (value(key), boxed)) for key, boxed in given.items()))
    with closing(Wire(project)) as wire:
        granted, said, _ = wire.ask_and_answer(
            reply, consts.HANDLE_CALLATTR, wire.root(), value(method), value(()), kwargs
        )
    gc.collect()  # what it left unclosed is this test's fault, and not the next one's
    assert not granted
    assert said[0] == ("cidx_ref.errors", "BadArgumentError")
    assert said[1][0].startswith(f"{name}: ")
    assert set(inside) <= {0}
    assert service.health_monitor.get_health()["errors"] == 0


# RPC-4


@pytest.mark.promise("RPC-4")
@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
def test_a_slow_query_delays_nobody_else(
    service: CIDXDaemonService,
    client: DaemonClient,
    embedder: Embedder,
    project: Project,
    mode: str,
    figure: RecordFigure,
) -> None:
    answers: list[Any] = []

    def ask() -> None:
        with DaemonClient(project, start=False) as other:
            answers.append(other.query("slow retry", mode=mode))

    client.query("retry")
    slow = [SYSTEM.thread(ask, "slow") for _ in range(8)]
    assert embedder.entered.wait(WAIT_S)
    for other in MODES.values():
        assert client.query("retry", mode=other)[0].path == "net/retry.py"
    assert client.status()["running"]
    client.clear_cache()
    assert client.query("retry", mode=mode)[0].path == "net/retry.py"
    assert answers == []
    figure("RPC-4", f"queries answered past 8 stuck ones, {mode}", len(MODES) + 1)
    embedder.go_on.set()
    for thread in slow:
        thread.join(WAIT_S)
    assert [answer[0].path for answer in answers] == ["net/retry.py"] * 8


@pytest.mark.promise("RPC-4")
def test_a_pattern_made_to_backtrack_delays_nobody_else(
    serve: Serve, make_project: Any, figure: RecordFigure
) -> None:
    """`re` keeps the interpreter to itself for as long as a match takes."""
    project = make_project({f"{'a' * 60}/{n}.py": "retry = 1\n" for n in range(3)})
    serve(project)
    with DaemonClient(project, start=False) as client:
        client.index()

    def ask() -> None:
        with suppress(CidxError), DaemonClient(project, start=False) as other:
            other.query("retry", mode="fts", paths=["*?" * 7 + "z"])

    answered: list[float] = []
    with DaemonClient(project, start=False) as client:
        thread = SYSTEM.thread(ask, "greedy")
        while thread.is_alive() or not answered:
            started = perf_counter()
            client.query("retry", mode="fts")
            answered.append(perf_counter() - started)
        thread.join(WAIT_S)
    figure("RPC-4", "longest wait past a greedy pattern", max(answered) * 1000, "ms")
    assert max(answered) < 1.0


# RPC-5


@pytest.fixture
def nothing_left(service: CIDXDaemonService, project: Project) -> Iterator[None]:
    """Afterwards no call, pin, connection, thread or descriptor more than before."""
    with plain(project) as connection:  # whatever is opened once and kept
        connection.root.query_hybrid(str(project.root), "retry")
    _settle(service)
    service.exposed_clear_cache()
    gc.collect()
    threads, descriptors = set(SYSTEM.threads()), _descriptors()
    yield
    _settle(service)
    for thread in SYSTEM.threads():
        if thread not in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive(), thread.name
    assert service.gate.calls() == []
    assert service.cache_entry is None or service.cache_entry.pins == 0
    service.exposed_clear_cache()
    assert not _descriptors() - descriptors


def _settle(service: CIDXDaemonService) -> None:
    assert service.gate.wait_until_empty(WAIT_S)
    for thread in SYSTEM.threads():
        if thread.name == "connection":
            thread.join(WAIT_S)


def _descriptors() -> Counter[str]:
    """What this process holds open: sockets and pipes by kind, files by path."""
    held: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            held[os.readlink(f"/proc/self/fd/{fd}").split(":")[0]] += 1
    return held


@pytest.mark.promise("RPC-5")
@pytest.mark.parametrize("method", MODES)
def test_a_client_that_vanishes_in_a_query_leaves_nothing_behind(
    service: CIDXDaemonService,
    embedder: Embedder,
    project: Project,
    nothing_left: None,
    method: str,
) -> None:
    wires = [Wire(project) for _ in range(5)]
    args = value((str(project.root), "slow retry" if method != "query_fts" else "retry"))
    for wire in wires:
        root = wire.root()
        boxed = (root, value(method), args, value(()))
        wire.send(consts.MSG_REQUEST, 1, (consts.HANDLE_CALLATTR, (TUPLE, boxed)))
    if method != "query_fts":
        assert embedder.entered.wait(WAIT_S)
    for wire in wires:
        wire.close()
    embedder.go_on.set()


@pytest.mark.promise("RPC-5")
@pytest.mark.parametrize("when", ["at once", "asked about its callback", "in its callback"])
def test_a_client_that_vanishes_while_it_has_an_index_built_leaves_nothing_behind(
    service: CIDXDaemonService, project: Project, nothing_left: None, when: str
) -> None:
    (project.root / "new.py").write_text("def added_meanwhile():\n    pass\n")
    with closing(Wire(project)) as wire:
        root = wire.root()
        # A type that RPyC does not know is asked about; a function is not.
        name = "builtins.function" if when == "in its callback" else "client.Callback"
        callback = () if when == "at once" else ((REMOTE, (name, 1, 2)),)
        args = (TUPLE, (value(str(project.root)), *callback))
        boxed = (root, value("index"), args, value(()))
        wire.send(consts.MSG_REQUEST, 1, (consts.HANDLE_CALLATTR, (TUPLE, boxed)))
        if when != "at once":
            asked = wire.receive()
            assert asked is not None
            expected = consts.HANDLE_CALL if when == "in its callback" else consts.HANDLE_INSPECT
            assert asked[2][0] == expected
    _settle(service)
    if when != "asked about its callback":
        # Nobody waits for it, but it is the project's index, and it was asked for.
        found = service.exposed_query_fts(str(project.root), "added_meanwhile")["results"]
        assert [hit["path"] for hit in found] == ["new.py"]


@pytest.mark.promise("RPC-5")
def test_a_client_that_gives_up_waiting_does_so_after_its_timeout_and_can_ask_again(
    serve: Serve, embedder: Embedder, project: Project
) -> None:
    project.config_path.write_text('{"daemon": {"max_retries": 0}}')
    serve(project)
    with DaemonClient(project, start=False, timeout_s=1.0) as client:
        client.query("retry")
        started = perf_counter()
        with pytest.raises(DaemonUnavailableError, match="did not answer within 1 s"):
            client.query("slow retry", mode="semantic")
        assert perf_counter() - started < 1.8  # and not once more for a goodbye
        assert client.query("retry")[0].path == "net/retry.py"


@pytest.mark.promise("CACHE-7")
def test_a_query_that_failed_keeps_nothing_of_the_index_for_its_connection(
    service: CIDXDaemonService, embedder: Embedder, project: Project
) -> None:
    with plain(project) as connection:
        root, path = connection.root, str(project.root)
        root.query_fts(path, "retry")
        assert service.cache_entry is not None
        assert service.cache_entry.snapshot is not None
        vectors = weakref.ref(service.cache_entry.snapshot.semantic)
        embedder.error = CidxError("not today")
        with pytest.raises(GenericException, match="not today"):
            root.query(path, "retry")
        embedder.error = None  # whose traceback would keep it, too
        root.clear_cache()
        root.ping()
        gc.collect()
        assert vectors() is None


@pytest.mark.promise("RPC-5")
def test_a_daemon_that_has_ended_writes_to_nobody_elses_descriptor(project: Project) -> None:
    service = CIDXDaemonService(project.root)
    claim = Claim(project)
    assert claim.acquire(WAIT_S)
    daemon = Daemon(project, service, claim)
    thread = SYSTEM.thread(daemon.run, "daemon")
    daemon.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    pairs = [socket.socketpair() for _ in range(8)]  # which get the numbers that became free
    ends = [end for pair in pairs for end in pair]
    try:
        service.shutdown()
        for end in ends:
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(1)
    finally:
        for end in ends:
            end.close()
