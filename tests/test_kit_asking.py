"""Answers are read as the target says, whatever they are made of; errors are told apart."""

from __future__ import annotations

import json
import socket
from collections import OrderedDict, namedtuple
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import (
    Asker,
    Gone,
    Refused,
    Unreadable,
    connect,
    dig,
    open_socket,
    plain,
)
from cidx_ref.testing.conformance.indexes.crowd import loads
from cidx_ref.testing.conformance.lifecycle import RULES
from cidx_ref.testing.conformance.peer import address_at
from cidx_ref.testing.conformance.subject import _length
from cidx_ref.testing.conformance.target import Attach, Cap, Faults, Methods, Spawn, Target
from cidx_ref.testing.ground import SYSTEM

pytestmark = pytest.mark.once

METHODS = Methods(query="search(query, limit)", query_fts="", query_hybrid="")


class Remote(Exception):  # noqa: N818
    """As RPyC raises what the daemon did."""

    _remote_tb = "<traceback denied>"


class FakePeer:
    """Answers with what it is given, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((method, *args, kwargs))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        """There is nothing to close."""


def asker(answer: Any, root: Path = Path("/p"), **said: Any) -> Asker:
    target = Target(Attach("/run/x.sock"), methods=METHODS, **{"line": "line_start", **said})
    return Asker(target, FakePeer(answer), root)


HIT = {"path": "a.py", "line_start": 3, "snippet": "def a():"}
Row = namedtuple("Row", "path line_start snippet")


@dataclass
class Found:
    path: str
    line_start: int
    snippet: str


SHAPES: dict[str, tuple[Any, dict[str, Any]]] = {
    "the story's": ({"results": [HIT]}, {}),
    "a bare list": ([HIT], {"hits": "[]"}),
    "JSON": (json.dumps({"a": {"b": [HIT]}}), {"hits": "a.b", "decode": json.loads}),
    "rows": ([("a.py", 3, "def a():")], {"hits": "[]", "path": "0", "line": "1", "text": "2"}),
    "named rows": ([Row("a.py", 3, "def a():")], {"hits": "[]"}),
    "objects": ({"results": (Found("a.py", 3, "def a():"),)}, {}),
    "nested": (
        {"results": [{"file": {"name": "a.py"}, "at": [3], "text": ["def a():"]}]},
        {"path": "file.name", "line": "at.0", "text": "text.0"},
    ),
    "a generator": ((hit for hit in [HIT]), {"hits": "[]"}),
    "an absolute path": ({"results": [{**HIT, "path": "/p/a.py"}]}, {}),
    "a path from here": ({"results": [{**HIT, "path": "./a.py"}]}, {}),
    "a line as text": ({"results": [{**HIT, "line_start": "3"}]}, {}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_hits_are_read_in_any_shape(shape: str) -> None:
    answer, said = SHAPES[shape]
    [hit] = asker(answer, **said).query("x").hits
    assert (hit.path, hit.line, hit.text) == ("a.py", 3, "def a():")


UNREADABLE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no such key": ({"hits": []}, {}, "there is no 'results' in {'hits': ..}"),
    "no list": ({"results": 7}, {}, "'results' is no list of hits: 7"),
    "a text": ({"results": "a.py"}, {}, "no list of hits"),
    "a mapping": ({"results": {"a": 1}}, {}, "no list of hits"),
    "no path": ({"results": [{"line_start": 1}]}, {}, "there is no 'path' in"),
    "no line": ({"results": [{**HIT, "line_start": "x"}]}, {}, "'line_start' of a hit is 'x'"),
    "no line at all": ({"results": [{**HIT, "line_start": 1e999}]}, {}, "of a hit is inf, not a l"),
    "no JSON": ("{", {"decode": json.loads}, "is not decoded"),
    "too much": (iter(range(20_000)), {"hits": "[]"}, "more than 10000 items"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_not_as_the_target_says_is_unreadable(what: str) -> None:
    answer, said, message = UNREADABLE[what]
    with pytest.raises(Unreadable, match=message):
        asker(answer, **said).query("x")


TURNS: dict[str, tuple[Exception, type[Exception], str]] = {
    "an end": (EOFError("closed"), Gone, "search: EOFError: closed"),
    "a reset": (ConnectionResetError("reset"), Gone, "reset"),
    "no answer": (TimeoutError("expired"), TimeoutError, "search: no answer within 10 s"),
    "an error of the daemon": (type("Bad", (Remote,), {})("limit"), Refused, "Bad: limit"),
    "its own EOFError": (type("EOFError", (Remote, EOFError), {})("x"), Refused, "EOFError: x"),
    "it says that it leaves": (type("E", (Remote,), {})("Shutting down"), Gone, "Shutting down"),
    "a fault of the kit's": (AttributeError("x"), AttributeError, "x"),
}


@pytest.mark.parametrize("what", TURNS)
def test_errors_are_told_apart(what: str) -> None:
    raised, kind, message = TURNS[what]
    with pytest.raises(kind, match=message) as told:
        asker(raised).query("x")
    assert type(told.value) is kind


def test_an_error_in_the_place_of_an_answer_is_one() -> None:
    with pytest.raises(Refused, match="error: not indexed") as refused:
        asker({"error": "not indexed"}).query("x")
    assert (refused.value.kind, refused.value.message) == ("error", "not indexed")
    assert asker({"error": None, "results": []}).query("x").hits == []


def test_answers_without_hits_are_not_read() -> None:
    assert asker("as it is", hits="").query("x").raw == "as it is"


def test_all_that_an_answer_holds_becomes_plain_data() -> None:
    when = datetime(2020, 1, 2)
    data = OrderedDict(a=(1, {2}), b=Path("/x"), c=when, d=Found("a", 1, "b"))
    assert plain(data) == {
        "a": [1, [2]],
        "b": "/x",
        "c": str(when),
        "d": {"path": "a", "line_start": 1, "snippet": "b"},
    }
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(Unreadable, match="nested"):
        plain(nested)


def test_private_attributes_are_not_dug_for() -> None:
    with pytest.raises(Unreadable):
        dig(Found("a", 1, "b"), "__class__")


def test_nobody_there_is_gone(tmp_path: Path) -> None:
    target = Target(Attach(str(tmp_path / "none.sock")))
    with pytest.raises(Gone, match="nobody accepts at"):
        connect(target, tmp_path)


# The project.


def test_each_question_is_about_one_file() -> None:
    assert len(corpus.files(1)) == 20
    for query, path in corpus.QUESTIONS:
        for word in query.split():
            found = [name for name, text in corpus.files(1).items() if word in text]
            assert found == [path], word


def test_an_edition_has_its_word_in_two_files_and_no_other(tmp_path: Path) -> None:
    corpus.write(tmp_path, 1)
    kept = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    sizes = []
    for edition in (2, 3, 4):
        corpus.write(tmp_path, edition)
        texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
        having = {name for name, text in texts.items() if corpus.marker(edition) in text}
        assert having == set(corpus.CHANGING)
        assert not any(corpus.marker(edition - 1) in text for text in texts.values())
        assert all(corpus.COMMON in text for text in texts.values())
        sizes.append(len(texts["meadow.py"]))
    assert len(set(sizes)) == 3, "who looks at sizes only would see no change"
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == kept


def test_the_words_of_editions_are_plain_and_all_different() -> None:
    words = [corpus.marker(edition) for edition in range(8000)]
    assert len(set(words)) == 8000
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_a_daemon_that_has_not_come_to_those_before_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(1)
        with suppress(BlockingIOError):
            while True:
                stack.enter_context(open_socket(str(path), 0.0))
        with pytest.raises(BlockingIOError):
            open_socket(str(path), 0.05)
        taken: list[socket.socket] = []

        def take() -> None:
            SYSTEM.sleep(0.05)
            taken.append(listener.accept()[0])

        thread = SYSTEM.thread(take, "daemon")
        open_socket(str(path), 10.0).close()
        thread.join()
        for sock in taken:
            sock.close()


@pytest.mark.parametrize("role", ["status", "metrics"])
def test_a_count_that_is_none_is_an_answer_that_cannot_be_read(role: str) -> None:
    places: dict[str, Any] = {role: {"loads": "a.n"}}
    assert loads(asker({"a": {"n": 7}}, **places)) == 7
    for count in ("many", None, True, [7]):
        with pytest.raises(Unreadable, match=rf"^{role}: 'a\.n' is .*, not a number$"):
            loads(asker({"a": {"n": count}}, **places))


def test_a_socket_may_be_named_as_load_sessions_name_it(tmp_path: Path) -> None:
    assert address_at(Target(Attach("unix:///run/x.sock")), tmp_path) == "/run/x.sock"
    assert address_at(Target(Attach("tcp://h:80")), tmp_path) == "tcp://h:80"


def test_a_path_that_is_too_long_for_a_socket_is_named_where_nobody_accepts() -> None:
    assert _length("/" + "x" * 106) == ""
    assert _length("/" + "é" * 54).startswith(" (a path of 109 bytes; that of a Unix socket has at")


def test_points_are_for_what_dies_there() -> None:
    faults = Faults(terminate="otherd --at {point}", start=["bound"], stop=["unlinked"])
    target = Target(Spawn("otherd"), faults=faults, capabilities={Cap.KILL, Cap.STOP})
    assert RULES["terminate_during_start"].is_for(target)
    assert not RULES["kill_during_start"].is_for(target)
    assert not RULES["kill_during_stop"].is_for(target)
