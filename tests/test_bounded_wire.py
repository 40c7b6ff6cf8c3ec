"""What a peer sends is read and served in a time that grows no faster than its size (RPC-6).

The attacks are legal frames of RPyC.  They cost a stock server the interpreter's lock for seconds
to hours, a thread for ever, or memory without end.  The long search for more of them is in
`benchmarks/test_bounded_wire.py`.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import pytest
from frames import (
    Raw,
    Scripted,
    equal_hashes,
    frozenset_of,
    in_brine,
    nested,
    references,
    request,
    value,
)
from rpyc.core import consts
from rpyc.utils.factory import unix_connect

from cidx_ref.client import DaemonClient
from cidx_ref.daemon import framing, transport
from cidx_ref.daemon.proxy import RemoteObject
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.project import Project
from cidx_ref.sockets import address_of
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.testing.own.fixtures import served
from cidx_ref.testing.promises.report import RecordFigure
from cidx_ref.wire import MAX_DEPTH, MAX_VALUES

pytestmark = pytest.mark.once

WAIT_S = 30.0
#: Of processor time for one frame; a fiftieth of it is what they take.
BOUND_S = 1.0

TUPLE, LOCAL, REMOTE = consts.LABEL_TUPLE, consts.LABEL_LOCAL_REF, consts.LABEL_REMOTE_REF
REPLY, EXCEPTION = consts.MSG_REPLY, consts.MSG_EXCEPTION


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    """A connection to a daemon of an empty project."""
    with closing(Scripted(CIDXDaemonService(tmp_path))) as made:
        yield made


@contextmanager
def plain(project: Project) -> Iterator[Any]:
    """A plain RPyC client's connection to the project's daemon, which is served meanwhile."""
    with served(project), address_of(project.socket_path) as address:
        connection = unix_connect(address)
        connection._config["sync_request_timeout"] = WAIT_S
        try:
            yield connection
        finally:
            connection.close()


def error(answer: tuple[int, Any] | None) -> str:
    """The message of an answer that is an exception."""
    assert answer is not None, "cost its connection"
    kind, content = answer
    assert kind == EXCEPTION
    return " ".join(map(str, content[1]))


def wide(depth: int, count: int) -> Raw:
    return nested(depth, Raw(b"\x15" + count.to_bytes(4, "big") + b"\x51" * count))


def keywords(names: tuple[Any, ...]) -> Any:
    return value(tuple((name, None) for name in names))


# What is handed over as something else, or refused in words.


@pytest.mark.promise("RPC-6")
def test_a_frozenset_arrives_as_a_tuple(scripted: Scripted) -> None:
    sent = frozenset_of((3, 1, 2))
    assert scripted.hand(request(consts.HANDLE_PING, value(sent))) == (REPLY, value((3, 1, 2)))
    inner = request(consts.HANDLE_PING, (TUPLE, (value("a"), value(frozenset_of(((), ()))))))
    assert scripted.hand(inner) == (REPLY, value(("a", ((), ()))))


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (value((None,) * MAX_VALUES), f"more than {MAX_VALUES} values"),
        (value(frozenset_of(equal_hashes(MAX_VALUES))), f"more than {MAX_VALUES} values"),
        (value(nested(MAX_DEPTH, 5)), f"nested deeper than {MAX_DEPTH}"),
        (value(Raw(b"\x1a" * MAX_DEPTH + b"\x02")), f"nested deeper than {MAX_DEPTH}"),
        (value(Raw(b"\x08" * MAX_DEPTH + b"\x01")), f"nested deeper than {MAX_DEPTH}"),
        (value(Raw(b"\x17\x00\x00\x10\x00" + b"1" * 4096)), "a number of 4096 digits"),
        (value(Raw(b"\x1a\x51")), "a int in the place of a tuple"),
        (value(Raw(b"\x08\x51")), "a int in the place of a bytes"),
        (value(Raw(b"\x19\x02")), "cannot be read"),
        (value(Raw(b"\x07")), "cannot be read"),
        (value(Raw(b"\x16\x01x")), "cannot be read"),
        ((True, 5), "a label must be a number"),
        (("1", 5), "a label must be a number"),
        ((77, 5), "label 77"),
        ((TUPLE, "ab"), "label 2"),
        ((LOCAL, (1, 2)), "a reference must be"),
        ((LOCAL, frozenset_of(equal_hashes(3))), "a reference must be"),
        ((REMOTE, ("", "", "")), "a reference must be"),
        ((REMOTE, (b"x", 1, 2)), "a reference must be"),
        ((REMOTE, ("x" * 1001, 1, 2)), "a reference must be"),
    ],
    ids=range(20),
)
def test_what_is_not_taken_is_refused_in_words_and_the_connection_lives_on(
    scripted: Scripted, argument: Any, said: str
) -> None:
    assert said in error(scripted.hand(request(consts.HANDLE_PING, argument)))
    assert scripted.hand(request(consts.HANDLE_PING, value("x"))) == (REPLY, value("x"))
    assert scripted.asked == []


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize(
    "names", [(1,), ("a", 1), (b"a",), (None,), ((),), (frozenset_of((1,)),)], ids=str
)
def test_the_name_of_a_keyword_argument_must_be_a_string(
    scripted: Scripted, names: tuple[Any, ...]
) -> None:
    call = scripted.root(), value("ping"), value(()), keywords(names)
    assert "keyword arguments" in error(scripted.hand(request(consts.HANDLE_CALLATTR, *call)))


@pytest.mark.promise("RPC-3", "RPC-6")
def test_what_is_not_offered_is_refused_in_words(project: Project) -> None:
    with plain(project) as connection:
        with pytest.raises(AttributeError, match=r"^request setattr: not taken here"):
            connection.root.x = 1
        with pytest.raises(AttributeError, match=r"^request delattr: not taken here"):
            del connection.root.x
        with pytest.raises(AttributeError, match=r"^request 99: not taken here"):
            connection.sync_request(99)
        assert connection.root.ping()["pong"]


# What a peer could have the server ask, of itself or of the peer.


@pytest.mark.promise("RPC-5", "RPC-6")
@pytest.mark.parametrize("where", ["count", "id", "id in a tuple"])
def test_nothing_is_asked_of_a_client_while_the_books_are_locked(
    scripted: Scripted, where: str
) -> None:
    """It would answer with a reference, which is looked up under the same lock: for ever."""
    root, own = scripted.root(), (REMOTE, ("builtins.int", 1, 2))
    asked = {
        "count": (consts.HANDLE_DEL, root, own),
        "id": (consts.HANDLE_INSPECT, own),
        "id in a tuple": (consts.HANDLE_INSPECT, (TUPLE, (own, value(1), value(2)))),
    }[where]

    scripted.answer = lambda handler, boxed: value(True)
    assert error(scripted.hand(request(*asked)))
    assert set(scripted.asked) <= {consts.HANDLE_DEL}
    assert scripted.hand(request(consts.HANDLE_PING, value("x"))) == (REPLY, value("x"))


@pytest.mark.promise("RPC-6")
def test_arguments_that_are_something_of_the_clients_are_not_read(scripted: Scripted) -> None:
    taken: list[Any] = []

    def answer(handler: int, boxed: Any) -> Any:
        taken.append(boxed)
        assert len(taken) < 10
        return (
            (REMOTE, ("builtins.list_iterator", 1, 2)) if handler != consts.HANDLE_DEL else value(0)
        )

    scripted.answer = answer
    content = consts.HANDLE_PING, (REMOTE, ("builtins.list", 1, 2))
    message = bytes([consts.MSG_REQUEST]) + in_brine((1, content))
    assert "must be a tuple" in error(scripted.hand(message))
    assert scripted.asked == [consts.HANDLE_DEL]


@pytest.mark.promise("RPC-3", "RPC-6")
def test_no_class_and_no_module_is_looked_up_under_a_name_of_the_clients(
    scripted: Scripted,
) -> None:
    seen: list[int] = []

    def answer(handler: int, boxed: Any) -> Any:
        seen.append(handler)
        return value((("__len__", ""), (5, 5), ("__iter__", ""), 5))

    scripted.answer = answer
    before = len(RemoteObject.__subclasses__())
    for number in range(50):
        name = f"cidx_ref.daemon.transport.{number}"
        ping = request(consts.HANDLE_PING, (REMOTE, (name, number, number % 2)))
        assert scripted.hand(ping) == (REPLY, (LOCAL, (name, number, number % 2)))
    assert set(seen) == {consts.HANDLE_INSPECT, consts.HANDLE_DEL}
    assert len(RemoteObject.__subclasses__()) <= before + 1
    assert scripted._connection._netref_classes_cache == {}


@pytest.mark.promise("RPC-6")
def test_so_many_objects_of_a_clients_are_held_at_once_and_no_more(scripted: Scripted) -> None:
    allowed = references(transport.MAX_REMOTES)
    assert scripted.hand(request(consts.HANDLE_PING, (TUPLE, allowed))) is not None
    for _ in range(3):
        too_many = request(consts.HANDLE_PING, (TUPLE, references(transport.MAX_REMOTES + 1)))
        assert "objects of a client's" in error(scripted.hand(too_many))
        scripted.serve()
        # What was held for a request is given back with it, one by one and all of it.
        assert scripted.asked.count(consts.HANDLE_DEL) % transport.MAX_REMOTES == 0
        assert scripted.hand(request(consts.HANDLE_PING, (TUPLE, allowed))) is not None
    assert scripted.asked.count(consts.HANDLE_DEL) == 7 * transport.MAX_REMOTES


@pytest.mark.promise("RPC-6")
def test_a_client_that_answers_no_question_is_left(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_UNANSWERED", 100)
    ping = request(consts.HANDLE_PING, references(1)[0])
    granted = 0
    while scripted.hand(ping) is not None and granted < 1000:
        granted += 1
    assert granted == 101
    assert scripted.closed


@pytest.mark.promise("RPC-6")
def test_requests_within_one_another_have_a_bound(scripted: Scripted) -> None:
    """Each asks the client for something, which asks in its turn before it answers."""
    ask = request(consts.HANDLE_HASH, (REMOTE, ("a.b", 1, 2)))

    def answer(handler: int, boxed: Any) -> Any:
        if handler == consts.HANDLE_INSPECT:
            scripted._incoming.append(ask)
        return value(None)

    scripted.answer = answer
    assert scripted.hand(ask) is not None
    scripted.serve()
    assert scripted.asked.count(consts.HANDLE_INSPECT) == transport.MAX_NESTED


@pytest.mark.promise("RPC-6")
def test_what_a_client_names_is_shown_in_part(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="cidx_ref")
    long = "n" * 100_000 + "\n"
    made_up = type(long, (Exception,), {})

    def fail(*event: Any) -> None:
        raise made_up

    with plain(project) as connection:
        for ask in (
            (consts.HANDLE_GETATTR, connection.root, long),
            (consts.HANDLE_GETATTR, connection.root, long.encode()),
            (consts.HANDLE_CMP, connection.root, 1, long),
        ):
            with pytest.raises(AttributeError) as caught:
                connection.sync_request(*ask)
            assert len(caught.value.args[0]) < 1000
        connection.root.index(str(project.root), fail, full=True)
    with served(project), closing(connect_socket(project.socket_path, WAIT_S)) as sock:
        reply = bytes([REPLY]) + in_brine((1, (77, long)))
        sock.sendall(framing.Channel.FRAME_HEADER.pack(len(reply), 0) + reply + b"\n")
        sock.settimeout(WAIT_S)
        assert sock.recv(1) == b""
    told = [record.getMessage() for record in caplog.records]
    assert any("callback failed" in line for line in told)
    assert any("connection dropped" in line for line in told)
    assert max(map(len, told)) < 1000
    assert not [line for line in told if "\n" in line]


# What it costs.


def slow_name(scripted: Scripted) -> bytes:
    return request(consts.HANDLE_PING, (REMOTE, ("a." * 900_000, 1, 2)))


def call_of_ping(scripted: Scripted, args: Any, kwargs: Any) -> bytes:
    return request(consts.HANDLE_CALLATTR, scripted.root(), value("ping"), args, kwargs)


def ping(argument: Any) -> Callable[[Scripted], bytes]:
    return lambda scripted: request(consts.HANDLE_PING, argument)


#: Each fills the largest frame that is taken, or as much of it as is wanted.
ATTACKS: dict[str, Callable[[Scripted], bytes]] = {
    "a frozenset of equal hashes": ping(value(frozenset_of(equal_hashes(80_000)))),
    "keyword names of equal hashes": lambda scripted: call_of_ping(
        scripted, value(()), keywords(equal_hashes(60_000))
    ),
    "ids of equal hashes": ping((TUPLE, references(40_000))),
    "a name of a million parts": slow_name,
    "wide and deep": ping(value(wide(60, 1_900_000))),
    "wide and deep, and not a value": ping((TUPLE, (value(wide(60, 1_900_000)), references(1)[0]))),
    "numbers of many digits": ping(value((Raw(b"\x17\x00\x00\x10\xcc" + b"9" * 4300),) * 480)),
    "an id that is a large set": lambda scripted: request(
        consts.HANDLE_INSPECT, value(frozenset_of(equal_hashes(80_000)))
    ),
    "a key that is a large set": lambda scripted: request(
        consts.HANDLE_CALLATTR,
        scripted.given(
            consts.HANDLE_CALLATTR, scripted.root(), value("ping"), value(()), value(())
        ),
        value("get"),
        value((frozenset_of(equal_hashes(80_000)),)),
        value(()),
    ),
}


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_known_to_take_hours_takes_some_hundredths_of_a_second(
    scripted: Scripted, name: str, figure: RecordFigure
) -> None:
    message = ATTACKS[name](scripted)
    assert len(message) < MAX_REQUEST_BYTES
    scripted.answer = lambda handler, boxed: value(())
    assert error(scripted.hand(message))
    figure("RPC-6", f"CPU of {name}", scripted.took_s * 1000, "ms")
    assert scripted.took_s < BOUND_S
    assert scripted.hand(request(consts.HANDLE_PING, value("x"))) == (REPLY, value("x"))


LONG = "n\n" * 200_000
#: Arguments of `query` by the shipped client's way, in the place of good ones.
DEAR: dict[str, dict[str, Any]] = {
    "a path of many turns": {"project_path": "/tmp/../" * 200_000},
    "a path of many parts": {"project_path": "/a" * 900_000},
    "a long name": {LONG: 1},
    "a long limit": {"limit": LONG},
    "a deep limit": {"limit": [[[[[1] * 50_000]]]]},
    "many names": {f"name{number}": 1 for number in range(90_000)},
    "a long pattern": {"paths": [LONG]},
}


@pytest.mark.promise("RPC-6", "QRY-5")
@pytest.mark.parametrize("name", DEAR)
def test_arguments_are_refused_soon_and_briefly(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="cidx_ref")
    service = CIDXDaemonService(tmp_path)
    given = {"project_path": str(tmp_path), "query": "x", **DEAR[name]}
    text = json.dumps(given)
    assert len(text) < MAX_REQUEST_BYTES
    began = thread_time()
    kind, said = json.loads(service.exposed_call("query", text))["error"]
    assert thread_time() - began < BOUND_S
    assert kind == "bad_argument"
    assert len(said) < 1000
    told = [record.getMessage() for record in caplog.records]
    assert told
    assert all(len(line) < 1000 and "\n" not in line for line in told)


@pytest.mark.promise("RPC-6", "QRY-5")
def test_a_method_that_is_none_is_named_briefly(tmp_path: Path) -> None:
    service = CIDXDaemonService(tmp_path)
    for method in (LONG, 5, ["ping"], None):
        kind, said = json.loads(service.exposed_call(method))["error"]
        assert kind == "bad_argument"
        assert said.startswith("method: ")
        assert len(said) < 1000


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize("name", list(ATTACKS)[:3])
def test_an_honest_client_does_not_wait_for_a_hostile_one(
    project: Project, scripted: Scripted, name: str, figure: RecordFigure
) -> None:
    message = ATTACKS[name](scripted)
    with served(project), DaemonClient(project, start=False) as honest:
        assert honest.query("retry")
        with closing(connect_socket(project.socket_path, WAIT_S)) as hostile:
            header = framing.Channel.FRAME_HEADER.pack(len(message), 0)
            hostile.sendall(header + message + b"\n")
            began = perf_counter()
            assert honest.query("retry")[0].path == "net/retry.py"
            waited = perf_counter() - began
    figure("RPC-6", f"wait beside {name}", waited * 1000, "ms")
    assert waited < BOUND_S


# What plain clients do is as it was.


@pytest.mark.promise("RPC-3", "RPC-5")
def test_lists_and_callbacks_are_given_back_without_the_collectors_help(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_REMOTES", 10)

    class Numbered(list[str]):
        """Of a type that the server does not know, and asks about."""

    told: list[Any] = []

    def tell(*event: Any) -> Any:
        told.append(event)
        return object()  # of which the server is given one each time

    with plain(project) as connection:
        root, path = connection.root, str(project.root)
        gc.collect()
        gc.disable()
        try:
            for number in range(30):
                languages: Any = ["python"] if number % 2 else Numbered(["python"])
                found = root.query_fts(path, "retry", languages=languages, paths=iter(["net/"]))
                assert {hit["path"] for hit in found["results"]} == {"net/retry.py"}
                if number == 0:
                    assert root.index(path, tell, full=True)["status"] == "completed"
                if number % 3 == 0:
                    with pytest.raises(Exception, match="languages: "):
                        root.query_fts(path, "retry", languages=[object(), languages])
            root.ping()
            held = len(connection._local_objects._dict)
        finally:
            gc.enable()
    assert told
    assert held <= 2, "the last ones"


@pytest.mark.promise("RPC-3")
def test_a_clients_own_objects_are_compared_by_the_client(project: Project) -> None:
    class Like:
        def __init__(self, path: str) -> None:
            self.path = path

        def __eq__(self, hit: object) -> bool:
            return bool(hit["path"] == self.path)  # type: ignore[index]

        __hash__ = None  # type: ignore[assignment]

    with plain(project) as connection:
        connection._config["allow_all_attrs"] = True
        hits = connection.root.query_fts(str(project.root), "retry session")["results"]
        paths = [hit["path"] for hit in hits]
        for path in paths:
            assert hits.index(Like(path)) == paths.index(path)
            assert hits.count(Like(path)) == paths.count(path)
        assert Like("nowhere") not in hits
        with pytest.raises(TypeError, match="no hash"):
            hits[0].get(Like("x"))


@pytest.mark.promise("RPC-6", "QRY-5")
@pytest.mark.parametrize("unit", ["[],", "[[[]]],", '{"a":[]},', '"[",', '"\\"', '"[\\"', "\\"])
def test_json_of_many_lists_and_objects_is_refused_before_it_is_parsed(
    tmp_path: Path, unit: str
) -> None:
    service = CIDXDaemonService(tmp_path)
    text = '{"limit": [' + unit * (1_900_000 // len(unit)) + "0]}"
    began = thread_time()
    kind, said = json.loads(service.exposed_call("query", text))["error"]
    assert thread_time() - began < 0.2
    assert kind == "bad_argument"
    if unit.startswith(("[", "{")):
        assert "more than 1000 lists and objects" in said


@pytest.mark.promise("RPC-6", "QRY-4")
def test_a_query_may_hold_any_number_of_brackets(project: Project) -> None:
    service = CIDXDaemonService(project.root)
    for text in ("[" * 50_000, '["{' * 20_000, "\\[" * 20_000, '"' * 5 + "[{" * 20_000):
        given = {"project_path": str(project.root), "query": text}
        assert "answer" in json.loads(service.exposed_call("query_fts", json.dumps(given)))
    service.exposed_clear_cache()
