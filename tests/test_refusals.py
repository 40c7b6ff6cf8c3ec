"""What a client tries and may not is refused in words, and what is harmless is allowed."""

from __future__ import annotations

import copy
import json
import operator
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from frames import Scripted, in_brine, request, value
from rpyc.core import consts
from rpyc.utils.classic import obtain
from rpyc.utils.factory import unix_connect

from cidx_ref.daemon import transport
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BadArgumentError
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.project import Project
from cidx_ref.sockets import address_of
from cidx_ref.sockets import connect as connect_socket
from cidx_ref.testing.own.fixtures import served

WAIT_S = 30.0
_MAX_CHARS = 1500

READ_ONLY = "can be read"
OFFERED = "the service offers call, clear_cache,"


@contextmanager
def plain(project: Project) -> Iterator[Any]:
    """A plain RPyC client's connection to the project's daemon, which is served meanwhile."""
    with served(project), address_of(project.socket_path) as address:
        connection = unix_connect(address)
        connection._config["sync_request_timeout"] = WAIT_S
        with closing(connection):
            yield connection


def enter(answer: Any) -> None:
    with answer:
        pass


#: By what the refusal says: what is tried with the root, an answer and its hits.
REFUSED: list[tuple[str, Callable[[Any, Any, Any], object]]] = [
    ("no attribute can be set", lambda root, answer, hits: setattr(root, "x", 1)),
    ("no attribute can be set", lambda root, answer, hits: setattr(answer, "x", 1)),
    ("no attribute can be deleted", lambda root, answer, hits: delattr(root, "x")),
    (OFFERED, lambda root, answer, hits: root.search("x")),
    (OFFERED, lambda root, answer, hits: root.__doc__),
    ("a method can be called", lambda root, answer, hits: root.query.__doc__),
    ("a method can be called", lambda root, answer, hits: f"{root.query}"),
    (r"root\.call\(method", lambda root, answer, hits: obtain(answer)),
    (r"root\.call\(method", lambda root, answer, hits: copy.copy(answer)),
    (r"root\.call\(method", lambda root, answer, hits: copy.deepcopy(hits)),
    (r"root\.call\(method", lambda root, answer, hits: pickle.dumps(root)),
    (r"list\(it\) is a copy", lambda root, answer, hits: operator.add(hits, [])),
    (r"list\(it\) is a copy", lambda root, answer, hits: hits * 2),
    (r"list\(it\) is a copy", lambda root, answer, hits: hits.append(1)),
    (r"list\(it\) is a copy", lambda root, answer, hits: operator.setitem(hits, 0, 1)),
    (r"list\(it\) is a copy", lambda root, answer, hits: sorted([hits, hits])),
    (r"dict\(it\) is a copy", lambda root, answer, hits: answer | {}),
    (r"dict\(it\) is a copy", lambda root, answer, hits: answer.update(x=1)),
    (r"dict\(it\) is a copy", lambda root, answer, hits: operator.delitem(answer, "mode")),
    (r"dict\(it\) is a copy", lambda root, answer, hits: answer < 1),
    (r"dict\(it\) is a copy", lambda root, answer, hits: answer()),
    ("unsupported format string", lambda root, answer, hits: f"{answer:>10}"),
    ("unhashable type: 'dict'", lambda root, answer, hits: hash(answer)),
    ("context manager", lambda root, answer, hits: enter(answer)),
    ("not callable", lambda root, answer, hits: root()),
    ("missing 2 required", lambda root, answer, hits: root.query()),
]


@pytest.mark.promise("RPC-3")
def test_what_may_not_be_done_is_refused_in_words_that_say_what_may(project: Project) -> None:
    with plain(project) as connection:
        root = connection.root
        answer = root.query(str(project.root), "retry")
        for words, attempt in REFUSED:
            with pytest.raises((AttributeError, TypeError), match=words) as caught:
                attempt(root, answer, answer["results"])
            assert "KeyError" not in repr(caught.value)
        assert root.ping()["pong"]


@pytest.mark.promise("RPC-3")
def test_an_answer_can_be_formatted_and_the_service_compared(project: Project) -> None:
    with plain(project) as connection:
        root = connection.root
        answer = root.query(str(project.root), "retry")
        hits = answer["results"]
        assert f"{answer}" == str(answer)
        assert "net/retry.py" in f"{hits} {hits[0]}"
        assert "mode" in f"{answer.keys()}"
        assert root == root
        assert root != 1
        assert root.query != 1
        with pytest.raises(TypeError):
            format(hits, ">1000000000")


@pytest.mark.promise("RPC-3")
@pytest.mark.parametrize("handler", [consts.HANDLE_STR, consts.HANDLE_DEL, consts.HANDLE_INSPECT])
def test_an_object_that_was_not_given_is_named_as_such(tmp_path: Path, handler: int) -> None:
    with closing(Scripted(CIDXDaemonService(tmp_path))) as scripted:
        unknown: Any = ("builtins.dict", 1, 2)
        boxed = (
            value(unknown)
            if handler == consts.HANDLE_INSPECT
            else (consts.LABEL_LOCAL_REF, unknown)
        )
        answers = [scripted.hand(request(handler, boxed))]
        if handler == consts.HANDLE_DEL:  # of a value, which was never given out
            answers.append(scripted.hand(request(handler, value("x"))))
        for answer in answers:
            assert answer is not None
            assert answer[1][0] == ("builtins", "LookupError")
            assert "was not given, or has let go of" in answer[1][1][0]


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize("method", ["query", "query_regex", "index", "ping", "get_status"])
def test_self_is_an_unknown_argument_like_any_other(project: Project, method: str) -> None:
    service = CIDXDaemonService(project.root)
    given = {"project_path": str(project.root), "self": 1}
    given |= {} if method == "index" else {"query": "x"}
    if method in ("ping", "get_status"):
        given = {"self": 1}
    kind, said = json.loads(service.exposed_call(method, json.dumps(given)))["error"]
    assert kind == "bad_argument"
    assert "self" in said
    with pytest.raises((BadArgumentError, TypeError), match="self"):
        getattr(service, f"exposed_{method}")(**given)


LONG = "x" * 1_000_000


@pytest.mark.promise("RPC-2", "RPC-6")
def test_no_error_echoes_all_of_what_was_sent(project: Project) -> None:
    with plain(project) as connection:
        root = connection.root
        path = str(project.root)
        answer = root.query(path, "retry")
        for attempt in (
            lambda: answer[LONG],
            lambda: answer[LONG.encode()],
            lambda: answer[(LONG, (LONG,) * 100)[0:1]],
            lambda: answer["results"].index(LONG),
            lambda: root.ping(**{LONG: 1}),
            lambda: root.query(path, "x", **{LONG: 1}),
            lambda: root.query(path, "x", limit=LONG),
            lambda: root.query(path, "x", limit=10**900),
            lambda: root.query(path, "x", languages=[LONG]),
            lambda: root.query(LONG, "x"),
            lambda: root.query(path + "/" + "x" * 4000, "x"),
            lambda: root.index(path, wait_s=LONG),
            lambda: getattr(root, LONG),
            lambda: setattr(root, LONG, LONG),
        ):
            with pytest.raises(Exception) as caught:
                attempt()
            assert len(repr(caught.value.args)) < _MAX_CHARS
        for method, given in (
            (LONG, "{}"),
            ("ping", json.dumps({LONG: 1})),
            ("query", json.dumps({"project_path": path, "query": "x", LONG: 1})),
            ("query", json.dumps({"project_path": LONG, "query": "x"})),
            ("query", LONG),
            ("query_regex", json.dumps({"project_path": path, "query": "(" * 90_000})),
            ("query_literal", json.dumps({"project_path": path, "query": "a\n" * 40_000})),
        ):
            assert len(root.call(method, given)) < _MAX_CHARS


# Limits of a connection: its client is told, and then left.


@pytest.mark.promise("RPC-6")
@pytest.mark.parametrize("text", ["x" * 3_000_000, "x" * 8_000_000], ids=["3 MB", "8 MB"])
@pytest.mark.parametrize("compress", [True, False])
def test_a_message_that_is_too_large_is_answered_by_why(
    project: Project, text: str, compress: bool
) -> None:
    with plain(project) as connection:
        connection._channel.compress = compress
        with pytest.raises(
            ValueError, match=f"is too large: at most {MAX_REQUEST_BYTES} are taken"
        ):
            connection.root.query(str(project.root), text)
        with pytest.raises(EOFError):
            connection.root.ping()


@pytest.mark.promise("RPC-6")
def test_what_is_no_message_is_not_waited_for(project: Project) -> None:
    with served(project), closing(connect_socket(project.socket_path, WAIT_S)) as sock:
        sock.settimeout(5)  # less than a frame may take
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionResetError):  # some of it was not read
            assert sock.recv(100) == b""


@pytest.mark.promise("RPC-6")
def test_a_large_message_without_a_number_is_passed_over_and_ends_the_connection(
    project: Project,
) -> None:
    size = MAX_REQUEST_BYTES + 1
    with served(project), closing(connect_socket(project.socket_path, WAIT_S)) as sock:
        sock.settimeout(WAIT_S)
        sock.sendall(struct.pack("!LB", size, 0) + b"\xff" * (size + 1))
        assert sock.recv(100) == b""


@pytest.mark.promise("RPC-6")
def test_a_client_is_told_that_it_holds_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_REFERENCES", 20)
    with closing(Scripted(CIDXDaemonService(tmp_path))) as scripted:
        call = (scripted.root(), value("ping"), value(()), value(()))
        for _ in range(30):
            scripted.hand(request(consts.HANDLE_CALLATTR, *call))
            if scripted.closed:
                break
        assert scripted.closed
        kind, content = scripted.said[-1]
        assert kind == consts.MSG_EXCEPTION
        assert "references held at once: let go of answers" in content[1][0]


@pytest.mark.promise("RPC-6")
def test_a_client_is_told_that_it_answers_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_UNANSWERED", 5)
    with closing(Scripted(CIDXDaemonService(tmp_path))) as scripted:
        ask = request(consts.HANDLE_PING, (consts.LABEL_REMOTE_REF, ("builtins.list", 1, 2)))
        while scripted.hand(ask) is not None:
            pass
        assert "questions left unanswered" in scripted.said[-1][1][1][0]


class Panic(BaseException):
    """An engine's: pyo3's is no Exception either."""


@pytest.mark.promise("RPC-2")
@pytest.mark.parametrize("method", ["ping", "call"])
def test_a_panic_is_told_without_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    service = CIDXDaemonService(tmp_path)

    def panic(*args: object) -> None:
        raise Panic("called `unwrap()` on an `Err` value: /srv/private")

    monkeypatch.setattr("cidx_ref.daemon.report.identity", panic)
    given = value(()) if method == "ping" else value(("ping",))
    with closing(Scripted(service)) as scripted:
        call = (scripted.root(), value(method), given, value(()))
        answer = scripted.hand(request(consts.HANDLE_CALLATTR, *call))
        assert answer is not None
        assert "Panic; see daemon.log" in repr(answer)
        assert "private" not in repr(answer)
        assert in_brine(answer[1])  # which can be sent
