"""Rows of what is said to a daemon over its socket: frames, arguments, floods.

Each row has one real daemon, which is the same in the end: as large, with as many threads and
descriptors, and a log in which what was written at its start still stands.
"""

from __future__ import annotations

import copy
import json
import logging
import operator
import pickle
import re
import socket
import string
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import product
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from frames import Raw, in_brine, request, value
from rpyc.core import brine, consts, protocol
from rpyc.utils.classic import obtain
from rpyc.utils.factory import unix_connect

from cidx_ref.daemon import dispatch, framing, log, told, transport, values
from cidx_ref.daemon.log import logging_to
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index import text as text_module
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.query import _Lazy
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from fault_rows.table import ROWS, Place, Trial, mutant, row

_HEADER = struct.Struct("!LB")
_WAIT_S = 20.0
#: What an honest client waits for at most, on a machine that does other things as well.
_SOON_S = 5.0
_MAX_ERROR_BYTES = 6_000
_RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \S+ .")
_TEXT = "def retry_on_disconnect(call):\n    return call()\n"


class Served:
    """A project whose daemon serves, in a process of its own."""

    def __init__(self, project: Project, pid: int) -> None:
        self.project = project
        self.pid = pid
        self.root = str(project.root)
        #: What no error may have in it, in whatever letters.
        self.secrets = re.compile(
            rf"{re.escape(str(Path(transport.__file__).parent))}|site-packages|Traceback \(most"
            rf"|File \"|\.py\"?[,:] ?(?:line )?\d|0x[0-9a-f]{{6,}}"
        )

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_WAIT_S)
        sock.connect(str(self.project.socket_path))
        return sock

    def check_told(self, content: Any) -> None:
        """An error that a client was told is short, and names nothing of the daemon's."""
        text = repr(content)
        assert len(text) < _MAX_ERROR_BYTES, f"an error of {len(text)} characters: {text[:200]}"
        found = self.secrets.search(text)
        assert not found, f"an error names {found and found[0]!r}: {text[:1000]}"

    def check_honest_client(self) -> None:
        began = SYSTEM.monotonic()
        with Client(self) as client:
            given = {"project_path": self.root, "query": "retry"}
            kind, content = client.call("call", "query", json.dumps(given))
            assert kind == consts.MSG_REPLY, f"a query is answered by {content}"
            hits = json.loads(content[1])["answer"]["results"]
            assert hits[0]["path"] == "retry.py", f"a query finds {hits}"
        took_s = SYSTEM.monotonic() - began
        assert took_s < _SOON_S, f"an honest client waits {took_s:.1f} s"

    def check_log(self) -> None:
        """A record is a line, and what was written first is there still."""
        lines = []
        for end in (".2", ".1", ""):
            path = self.project.directory / f"daemon.log{end}"
            lines += path.read_text("utf-8").splitlines() if path.exists() else []
        for line in lines:
            assert _RECORD.match(line), f"a line of the log is no record: {line[:200]!r}"
        assert any(" serving " in line for line in lines), "the log has lost its beginning"


@contextmanager
def served(place: Place) -> Iterator[Served]:
    root = place.path / "project"
    root.mkdir()
    (root / "retry.py").write_text(_TEXT)
    project = Project.at(root)
    bring_up_to_date(project, HashingEmbedder())
    command = [*place.command, "serve", "--project", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=place.environment) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline() == b"serving\n"
            made = Served(project, daemon.pid)
            _warm(made)
            yield made
        finally:
            daemon.terminate()
            try:
                daemon.wait(_WAIT_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                raise


def _warm(daemon: Served) -> None:
    """Until it has all that it ever has: the index, a watch, a heap for each of many threads."""
    daemon.check_honest_client()
    with Client(daemon) as client:
        for method, text in product(("query", "query_hybrid", "query_regex"), ("retry", "[:]")):
            client.call(method, daemon.root, text)
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(daemon)) for _ in range(16)]
        for _ in range(5):
            _ask_at_once(clients, [_of_one_word(Random(0), daemon.root)] * len(clients))


class Client:
    """A client that speaks RPyC by hand, and answers what it is asked with anything."""

    def __init__(self, daemon: Served, answer: Callable[[], Any] = lambda: value(None)) -> None:
        self._sock = daemon.connect()
        self._answer = answer
        self._sequence = 0
        kind, content = self.ask(consts.HANDLE_GETROOT)
        assert kind == consts.MSG_REPLY
        self.root = consts.LABEL_LOCAL_REF, content[1]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._sock.close()

    def call(self, method: str, /, *args: Any, **kwargs: Any) -> tuple[int, Any]:
        named = tuple(kwargs.items())
        boxed = (self.root, value(method), value(args), value(named))
        return self.ask(consts.HANDLE_CALLATTR, *boxed)

    def ask(self, handler: int, *boxed: Any) -> tuple[int, Any]:
        """Kind and content of the answer.  Raises `EOFError` where the connection is ended."""
        self._sequence += 1
        self.send(request(handler, *boxed, sequence=self._sequence))
        while True:
            kind, (sequence, content) = read_message(self._sock)
            if kind != consts.MSG_REQUEST:
                assert sequence == self._sequence, f"an answer to {sequence}"
                return kind, content
            answer = in_brine((sequence, self._answer()))
            self.send(bytes([consts.MSG_REPLY]) + answer)

    def send(self, message: bytes) -> None:
        self._sock.sendall(frame(message))


def frame(message: bytes, *, compressed: bool = False) -> bytes:
    data = zlib.compress(message, 1) if compressed else message
    return _HEADER.pack(len(data), compressed) + data + b"\n"


def read_message(sock: socket.socket) -> tuple[int, Any]:
    size, _ = _HEADER.unpack(_read(sock, _HEADER.size))
    data = _read(sock, size + 1)
    return data[0], brine.load(data[1:-1])


def _read(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


# Hostile frames.


class Frames:
    """Makes what is sent: whole messages with something wrong in them, and valid ones whose bytes
    were changed."""

    def __init__(self, random: Random, root: Any, path: str) -> None:
        self._random = random
        self._root = root
        self._path = path

    def __call__(self) -> bytes:
        return self._random.choice(
            [self._odd, self._odd, self._odd, self._changed, self._changed, self._bytes,
             self._misframed]
        )()  # fmt: skip

    def _valid(self) -> bytes:
        given = json.dumps({"project_path": self._path, "query": "retry"})
        method, args = self._random.choice(
            [("ping", ()), ("get_status", ()), ("query_fts", (self._path, "retry")),
             ("call", ("query", given)), ("get_metrics", ())]
        )  # fmt: skip
        boxed = (self._root, value(method), value(args), value(()))
        return request(consts.HANDLE_CALLATTR, *boxed, sequence=self._number())

    def _number(self) -> int:
        return self._random.choice([1, 2, 0, -1, 1 << 40])

    def _odd(self) -> bytes:
        kind = self._random.choice([1, 1, 1, 1, 1, 2, 3, 0, 4, 255])
        handler = self._random.choice([*range(1, 21), *range(1, 21), self._anything()])
        boxed = tuple(self._boxed() for _ in range(self._random.randrange(5)))
        content = handler, (self._random.choice([2, 2, 2, 2, 1, 3, 4, 5]), boxed)
        message = self._random.choice(
            [(self._number(), content)] * 6 + [(self._anything(), content), content, boxed]
        )
        return frame(bytes([kind]) + in_brine(message), compressed=self._random.random() < 0.1)

    def _boxed(self, depth: int = 0) -> Any:
        label = self._random.choice([1, 1, 1, 2, 3, 4, 9, self._anything(1)])
        known = self._random.choice([self._root, value(self._random.choice(_NAMES))])
        forged = (label, self._id()) if label in (3, 4) else (label, self._anything())
        if depth < 4 and self._random.random() < 0.2:
            return 2, tuple(self._boxed(depth + 1) for _ in range(self._random.randrange(3)))
        return self._random.choice([known, known, known, forged])

    def _id(self) -> Any:
        name = self._random.choice(["builtins.list", "builtins.str", "a.b", "", "x" * 2000])
        numbers = self._random.choice([0, 1, -1, 1 << 60]), self._random.choice([0, 7, 1 << 70])
        return self._random.choice([(name, *numbers), (name, *numbers), self._anything()])

    def _anything(self, depth: int = 0) -> Any:
        if depth < 4 and self._random.random() < 0.4:
            items = [self._anything(depth + 1) for _ in range(self._random.randrange(4))]
            inner = in_brine(tuple(items))
            return inner if self._random.random() < 0.8 else Raw(b"\x1a" + inner)
        return self._random.choice(
            [None, True, 0, -1, 1 << 70, 10**900, 1.5, float("nan"), 1j, "", "x", "é\ud7ff",
             "x" * 20_000, b"", b"\xff" * 300, slice(1, 2), NotImplemented, Ellipsis, (),
             self._random.choice(_NAMES), Raw(b"\x10" * 100), Raw(b"\x16\x04+ 1 "),
             Raw(b"\x08\x0a\xff"), Raw(b"\x15\xff\xff\xff\xff"), Raw(b"\x17\x00\x01\x00\x00")]
        )  # fmt: skip

    def _changed(self) -> bytes:
        data = bytearray(frame(self._valid()))
        for _ in range(self._random.choice([1, 1, 1, 2, 5, 20])):
            at = self._random.randrange(len(data) + 1)
            change = self._random.randrange(5)
            if change == 0:
                data[at : at + 1] = self._random.randbytes(1)
            elif change == 1:
                del data[at : at + self._random.choice([1, 2, 40])]
            elif change == 2:
                data[at:at] = self._random.randbytes(self._random.choice([1, 4, 100]))
            elif change == 3:
                data[at:at] = data[: self._random.randrange(len(data) + 1)]
            else:
                data[at : at + 1] = self._random.choice([b"\x00", b"\xff", b"\x10", b"\x1a"])
        return bytes(data)

    def _bytes(self) -> bytes:
        data = self._random.randbytes(self._random.choice([1, 5, 6, 40, 1000]))
        return self._random.choice([data, frame(b"\x01" + data), frame(data)])

    def _misframed(self) -> bytes:
        message = self._valid()
        size = self._random.choice([0, 1, len(message) - 1, len(message) + 1, 1 << 20, 1 << 31])
        flag = self._random.choice([0, 1, 2, 255])
        return _HEADER.pack(max(size, 0), flag) + message + b"\n"


_NAMES = [
    *sorted(CIDXDaemonService.EXPOSED - {"shutdown", "index"}), "exposed_ping", "__class__", "get",
    "n" * 20_000, "__getitem__", "__format__", "__eq__", "__reduce_ex__", "gate", "__dict__",
    "__call__",
]  # fmt: skip


def _too_large(random: Random, root: Any) -> bytes:
    size = MAX_REQUEST_BYTES + random.choice([1, 100_000])
    boxed = (root, value("query"), value(("x" * size, "x")), value(()))
    call = request(consts.HANDLE_CALLATTR, *boxed)
    return frame(call, compressed=random.random() < 0.5)


@row(
    "frames with anything in them: valid ones changed, odd ones, garbage, too large ones",
    "RPC-6",
    "RPC-3",
    "RPC-2",
    cases=20_000,
    sample=200,
)
@contextmanager
def hostile_frames(place: Place) -> Iterator[Trial]:
    with served(place) as daemon:

        def check(number: int) -> None:
            random = ROWS["hostile-frames"].random(number)
            with Client(daemon) as client:
                is_large = number % 100 == 7
                make = Frames(random, client.root, daemon.root)
                sent = _too_large(random, client.root) if is_large else b"".join(
                    make() for _ in range(random.choice([1, 1, 2, 5]))
                )  # fmt: skip
                if number % 50 == 3:
                    long = request(consts.HANDLE_GETATTR, client.root, value("n" * 20_000))
                    sent = frame(long) + sent
                answers = list(_answers(client._sock, sent))
            for kind, content in answers:
                if kind == consts.MSG_EXCEPTION:
                    daemon.check_told(content)
            if is_large:
                said = repr(answers)
                assert "is too large: at most" in said, f"of what is too large it says {said}"
            if number % 200 == 199:
                daemon.check_honest_client()
                daemon.check_log()

        yield Trial(check, pids=(daemon.pid,))


def _answers(sock: socket.socket, sent: bytes) -> Iterator[tuple[int, Any]]:
    """What comes until the connection is ended, for which nothing more is sent."""
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
    try:
        while True:
            kind, message = read_message(sock)
            assert type(message) is tuple, f"a message is {message!r}"
            assert len(message) == 2, f"a message is {message!r}"
            yield kind, message[1]
    except (EOFError, ConnectionResetError):
        return
    except TimeoutError:
        raise AssertionError(f"after {sent[:200]!r} it neither answers nor ends") from None


@mutant("hostile-frames", "what is too large ends the connection without a word")
@contextmanager
def _wordless() -> Iterator[None]:
    def pass_over(self: framing.Channel, size: int, compressed: int) -> bytes:
        self._refuse(f"a frame of {size} bytes")

    with (
        patch.object(framing.Channel, "_pass_over", pass_over),
        patch.object(framing, "_too_large", lambda size, data: data),
    ):
        yield


@mutant("hostile-frames", "an error is told with its traceback")
@contextmanager
def _traced() -> Iterator[None]:
    stock = protocol.Connection._box_exc
    settings = {**transport._PROTOCOL, "include_local_traceback": True}

    def box(self: Any, typ: Any, val: Any, tb: Any) -> Any:
        return stock(self, typ, val, val.__traceback__)

    with (
        patch.object(transport, "_PROTOCOL", settings),
        patch.object(transport._Connection, "_box_exc", box),
    ):
        yield


@mutant("hostile-frames", "an error echoes all of what was sent")
@contextmanager
def _echoing() -> Iterator[None]:
    with (
        patch.object(told, "_said", lambda argument: argument),
        patch.object(transport, "shown", lambda value: repr(value)),
    ):
        yield


# What a plain RPyC client tries.

#: With something that it was given.
_TRIED: dict[str, Callable[[Any], object]] = {
    "x.y = 1": lambda x: setattr(x, "y", 1),
    "del x.y": lambda x: delattr(x, "y"),
    "x.y": lambda x: x.y,
    "obtain(x)": obtain,
    "copy(x)": copy.copy,
    "deepcopy(x)": copy.deepcopy,
    "pickle": pickle.dumps,
    "f'{x}'": lambda x: f"{x}",
    "f'{x:>10}'": lambda x: f"{x:>10}",
    "str": str,
    "repr": repr,
    "x + []": lambda x: operator.add(x, []),
    "[] + x": lambda x: operator.add([], x),
    "x += x": lambda x: operator.iconcat(x, x),  # type: ignore[no-untyped-call]
    "x * 2": lambda x: x * 2,
    "x | {}": lambda x: x | {},
    "{} | x": lambda x: {} | x,
    "-x": operator.neg,
    "x[0]": lambda x: x[0],
    "x[0] = 1": lambda x: operator.setitem(x, 0, 1),
    "del x[0]": lambda x: operator.delitem(x, 0),
    "x['x']": lambda x: x["x"],
    "x[long]": lambda x: x["x" * 50_000],
    "x[::-1]": lambda x: x[::-1],
    "x[[]]": lambda x: x[[]],
    "hash": hash,
    "x < x": lambda x: x < x,
    "x == x": lambda x: x == x,
    "x != 1": lambda x: x != 1,
    "with x": lambda x: x.__enter__(),
    "x.__exit__": lambda x: x.__exit__(None, None, None),
    "x()": lambda x: x(),
    "x(1, a=1)": lambda x: x(1, a=1),
    "x(self=1)": lambda x: x(self=1),
    "x(long=1)": lambda x: x(**{"x" * 50_000: 1}),
    "iter": lambda x: list(iter(x)),
    "next": next,
    "len": len,
    "bool": bool,
    "in": lambda x: 1 in x,
    "reversed": lambda x: list(reversed(x)),
    "sorted": sorted,
    "dir": dir,
    "vars": vars,
    "type": type,
    "isinstance": lambda x: isinstance(x, dict),
    "x.append": lambda x: x.append(1),
    "x.clear": lambda x: x.clear(),
    "x.update": lambda x: x.update({}),
    "x.long": lambda x: getattr(x, "x" * 50_000),
    "x.__class__": lambda x: x.__class__.__mro__,
    "x.__dict__": lambda x: x.__dict__,
    "json": json.dumps,
    "int": int,
    "float": float,
    "range": lambda x: range(x),
    "x.index": lambda x: x.index("x" * 50_000),
    "x.get": lambda x: x.get(),
}
_GIVEN: dict[str, Callable[[Any, Any], Any]] = {
    "the root": lambda root, answer: root,
    "a method": lambda root, answer: root.query,
    "an answer": lambda root, answer: answer,
    "its hits": lambda root, answer: answer["results"],
    "a hit": lambda root, answer: answer["results"][0],
    "its keys": lambda root, answer: answer.keys(),
    "an iterator": lambda root, answer: iter(answer["results"]),
    "a method of it": lambda root, answer: answer.get,
}
_ATTEMPTS = list(product(_TRIED, _GIVEN))
Random(14).shuffle(_ATTEMPTS)


@row(
    "what a plain client tries with what it was given",
    "RPC-3",
    "RPC-2",
    cases=len(_ATTEMPTS),
    sample=150,
)
@contextmanager
def plain_clients(place: Place) -> Iterator[Trial]:
    with served(place) as daemon:
        connection = unix_connect(str(daemon.project.socket_path))
        connection._config["sync_request_timeout"] = _WAIT_S
        answer = connection.root.query_fts(daemon.root, "retry")
        before = str(answer)

        def check(number: int) -> None:
            what, name = _ATTEMPTS[number]
            given = _GIVEN[name](connection.root, answer)
            raised: Exception | None = None
            try:
                _TRIED[what](given)
            except Exception as error:
                raised = error
            if raised is not None:
                daemon.check_told(raised.args)
                said = " ".join(map(str, raised.args))
                is_in_words = len(re.findall(r"[A-Za-z]{2,}", said)) > 2
                is_usual = isinstance(raised, StopIteration) or (
                    isinstance(raised, KeyError) and name in ("an answer", "a hit")
                )
                assert is_in_words or is_usual, f"{what} of {name} says {raised!r}"
            assert str(answer) == before, f"{what} of {name} has changed the answer"

        try:
            yield Trial(check, pids=(daemon.pid,))
        finally:
            connection.close()


@mutant("plain-clients", "a request that is not taken is told by its number")
@contextmanager
def _by_number() -> Iterator[None]:
    perform = transport._Connection._perform

    def by_number(self: Any, raw: Any) -> Any:
        if raw[0] not in self._HANDLERS:
            raise KeyError(raw[0])
        return perform(self, raw)

    with patch.object(transport._Connection, "_perform", by_number):
        yield


@mutant("plain-clients", "an answer can be changed")
@contextmanager
def _changeable() -> Iterator[None]:
    methods = {
        kind: names | {"append", "clear", "update"} for kind, names in values.REACHABLE.items()
    }
    with patch.object(transport, "REACHABLE", methods):
        yield


# Argument lists.


class Arguments:
    """Makes argument lists, most of them wrong in one place or two."""

    def __init__(self, random: Random, path: str) -> None:
        self._random = random
        self._path = path

    def named(self) -> dict[str, Any]:
        right = {"project_path": self._path, "query": "retry"}
        given = right if self._random.random() < 0.8 else {}
        for _ in range(self._random.choice([0, 1, 1, 2, 4])):
            name = self._random.choice(_ARGUMENTS)
            is_likely = self._random.random() < 0.5
            given[name] = self._likely(name) if is_likely else self.anything()
        return given

    def _likely(self, name: str) -> Any:
        likely: dict[str, list[Any]] = {
            "limit": [1, 0, 1000, 1001, True, 1.0],
            "languages": [("python",), "python", ("pyhton",), ()],
            "paths": [("*.py",), "/../x", ("[",), ("{a,b}" * 30,), ("*a" * 50,), ("",)],
            "exclude_paths": [("x/" * 500,), "\x00", ("a",) * 1001],
            "timeout_s": [0.05, -1, float("inf"), 3601],
            "fresh": [False],
            "project_path": [self._path, f"{self._path}/.", "/", ".", "", "x" * 5000, "a\x00b"],
            "query": ["retry", "", '"' * 9000, "x " * 40_000, "\x00", "(" * 2000, "\\", "a\nb\n"],
        }
        return self._random.choice(likely.get(name, [True, 0, "x"]))

    def anything(self, depth: int = 0) -> Any:
        if depth < 3 and self._random.random() < 0.2:
            return tuple(self.anything(depth + 1) for _ in range(self._random.randrange(4)))
        return self._random.choice(
            [None, True, False, 0, 1, -1, 1 << 70, 10**400, 1.5, float("nan"), float("-inf"), "",
             "x", "x" * 3000, "\n2026-01-01 00:00:00,000 INFO x forged", "\x1b[2J", "é" * 300, (),
             self._random.choice(_WORDS)]
        )  # fmt: skip

    def as_json(self) -> Any:
        """The arguments as `call` takes them, or what is none of that."""
        kind = self._random.randrange(12)
        if kind < 8:
            return json.dumps(self.named())
        return self._random.choice(
            ["", "{", "[]", "null", "5", '"x"', "[" * 3000, '{"a":' * 900, "{" + '"a":1,' * 3000,
             '{"limit": NaN}', '{"limit": 1e999}', '{"limit": ' + "9" * 5000 + "}", "\ufeff{}",
             '{"self": 1}', '{"service": 1, "method": 2}', '{"callback": 5}', "{}" * 50,
             self.anything()]
        )  # fmt: skip


_ARGUMENTS = [
    "project_path", "query", "limit", "languages", "paths", "exclude_paths", "explain", "fresh",
    "timeout_s", "ignore_case", "self", "method", "callback", "arguments_json", "kwargs", "full",
    "wait_s", "keep_unverified", "extra", "", "x" * 2000, "a\nb", "__class__", "project",
]  # fmt: skip
#: A few: of words that it is asked for, a daemon remembers thousands.
_WORDS = ["".join(Random(seed).choices(string.printable, k=20)) for seed in range(40)]
_METHODS = sorted(CIDXDaemonService.EXPOSED)
#: What these do would be done; so they are never given what they take.
_NEVER_RIGHT = ("index", "shutdown")


@row(
    "argument lists of anything, to every method, by a plain call and by `call`",
    "QRY-5",
    "RPC-2",
    cases=20_000,
    sample=200,
)
@contextmanager
def argument_lists(place: Place) -> Iterator[Trial]:
    with served(place) as daemon:
        clients: list[Client] = []

        def check(number: int) -> None:
            random = ROWS["argument-lists"].random(number)
            make = Arguments(random, daemon.root)
            method = random.choice(_METHODS)
            if not clients:
                clients.append(Client(daemon))
            began = SYSTEM.monotonic()
            try:
                _check_call(daemon, clients[0], random, make, method)
            except EOFError:
                clients.pop()._sock.close()
                raise AssertionError(f"{method} costs its client the connection") from None
            took_s = SYSTEM.monotonic() - began
            assert took_s < _SOON_S, f"{method} takes {took_s:.1f} s"
            if number % 200 == 199:
                daemon.check_honest_client()
                daemon.check_log()
                _check_health(daemon, clients[0])
                clients.pop()._sock.close()  # and with it all the answers that it was lent

        try:
            for number in range(-400, 0):  # until it has imported all that it ever does
                check(number)
            yield Trial(check, pids=(daemon.pid,))
        finally:
            for client in clients:
                client._sock.close()


def _check_call(
    daemon: Served, client: Client, random: Random, make: Arguments, method: str
) -> None:
    wrong = {"no_such": 1} if method in _NEVER_RIGHT else {}
    if random.random() < 0.5 and method != "call":
        args = tuple(make.anything() for _ in range(random.choice([0, 0, 0, 1, 3])))
        kind, content = client.call(method, *args, **{**make.named(), **wrong})
        if kind == consts.MSG_EXCEPTION:
            _check_refusal(daemon, method, content)
    else:
        text = json.dumps({**make.named(), **wrong}) if wrong else make.as_json()
        name = random.choice([method] * 9 + [make.anything(), "call", "exposed_ping", "gate"])
        _check_outcome(daemon, *client.call("call", name, text), f"call({name!r}, {text!r:.200})")


def _check_outcome(daemon: Served, kind: int, content: Any, call: str) -> None:
    assert kind == consts.MSG_REPLY, f"{call} raises {content}"
    said = json.loads(content[1])
    if "error" in said:
        daemon.check_told(said)
        assert said["error"][0] in ("bad_argument", "no_index"), f"{call}: {said}"


def _check_refusal(daemon: Served, method: str, content: Any) -> None:
    daemon.check_told(content)
    (module, name), arguments, *_ = content
    is_ours = module == "cidx_ref.errors" and name in ("BadArgumentError", "NoIndexError")
    is_pythons = (module, name) == ("builtins", "TypeError") and method in arguments[0]
    assert is_ours or is_pythons, f"{method} raises {module}.{name}{arguments}"


def _check_health(daemon: Served, client: Client) -> None:
    _, content = client.call("call", "get_health", "{}")
    health = json.loads(content[1])["answer"]
    assert health["errors"] == 0, f"bad arguments count as failures: {health}"


@mutant("argument-lists", "whatever JSON names is passed on")
@contextmanager
def _unbound() -> Iterator[None]:
    def answer(service: Any, method: Any, text: Any, callback: Any) -> Any:
        return getattr(service, f"exposed_{method}")(**json.loads(text))

    with patch.object(dispatch, "_answer", answer):
        yield


@mutant("argument-lists", "an error has all of what was given in it")
@contextmanager
def _quoting() -> Iterator[None]:
    def quote(self: CIDXDaemonService, method: str, error: Exception) -> None:
        error.args = (f"{error.args[0]}: of {'x' * 10_000}",)

    with (
        patch.object(CIDXDaemonService, "_note", quote),
        patch.object(told, "message", lambda error, project: str(error)),
        patch.object(told, "_said", lambda argument: argument),
    ):
        yield


# Floods.


@row(
    "a client that provokes the same lines of the log, thousands of times",
    "OBS-3",
    "RPC-6",
    cases=200,
    sample=20,
)
@contextmanager
def log_flooding(place: Place) -> Iterator[Trial]:
    with served(place) as daemon:

        def check(number: int) -> None:
            long = "limit\n2026-01-01 00:00:00,000 INFO x forged " + "y" * 300
            given = {"project_path": daemon.root, "query": "x", "limit": long}
            text = json.dumps(given)
            with Client(daemon) as client:
                for _ in range(250):
                    client.call("call", "query", text)
            for _ in range(10):
                with closing(daemon.connect()) as sock:
                    list(_answers(sock, frame(b"\x01" + b"\x10" * 5000)))
            daemon.check_log()
            assert not (daemon.project.directory / "daemon.log.1").exists(), "the log is flooded"

        yield Trial(check, pids=(daemon.pid,))


@mutant("log-flooding", "a line is written as often as it is provoked")
@contextmanager
def _unbounded() -> Iterator[None]:
    with patch.object(log, "_BURST_BYTES", 1 << 40):
        yield


@row(
    "names, messages and tracebacks with anything in them, written to the log",
    "OBS-3",
    "TRUST-1",
    cases=1_500,
    sample=100,
)
@contextmanager
def log_lines(place: Place) -> Iterator[Trial]:
    root = place.path / "project"
    root.mkdir()
    project = Project.at(root)
    logger = logging.getLogger("cidx_ref")

    def check(number: int) -> None:
        random = ROWS["log-lines"].random(number)
        text = "".join(random.choice(_SIGNS) for _ in range(random.choice([1, 10, 1000, 30_000])))
        path = project.directory / "daemon.log"
        path.unlink(missing_ok=True)
        with logging_to(project):
            logger.info("of %s", text)
            try:
                raise ValueError(text) from OSError(2, text, text)
            except ValueError:
                logger.exception("%s failed", text)
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) == 2, f"two records are {len(lines)} lines"
        for line in lines:
            assert _RECORD.match(line), f"a line of the log is no record: {line[:200]!r}"
            assert line.isprintable(), f"a line of the log has signs in it: {line[:200]!r}"
            assert len(line) < _MAX_LINE_CHARS, f"a line of {len(line)} characters"
        assert f"{__file__}:" in lines[1], "the traceback is not in the line"

    yield Trial(check)


_SIGNS = "\n\r\x1b\x00\u2028\x85\x0b\udcff\u202exé漢0: []"
_MAX_LINE_CHARS = 50_000


@mutant("log-lines", "a record is written as Python has it")
@contextmanager
def _as_it_is() -> Iterator[None]:
    with patch.object(log._Formatter, "format", logging.Formatter.format):
        yield


@mutant("log-lines", "a record is as long as what is in it")
@contextmanager
def _in_full() -> Iterator[None]:
    with patch.object(log, "bounded", lambda text, most: text):
        yield


_MAX_GROWN_KB = 20_000


@row(
    "queries with two megabytes of patterns, or of one word, one after the other and at once",
    "PERF-4",
    "RPC-6",
    cases=200,
    sample=12,
)
@contextmanager
def dear_queries(place: Place) -> Iterator[Trial]:
    with served(place) as daemon:
        before = _anonymous_kb(daemon.pid)

        def check(number: int) -> None:
            random = ROWS["dear-queries"].random(number)
            with ExitStack() as stack:
                clients = [stack.enter_context(Client(daemon)) for _ in range(24)]
                make = _of_patterns if number % 4 == 3 else _of_one_word
                _ask_at_once(clients, [make(random, daemon.root) for _ in clients])
            until = SYSTEM.monotonic() + 2  # until its threads have ended
            while (grown := _anonymous_kb(daemon.pid) - before) > _MAX_GROWN_KB:
                assert SYSTEM.monotonic() < until, f"{grown} kB are kept of {number + 1} cases"
                SYSTEM.sleep(0.05)

        yield Trial(check, pids=(daemon.pid,))


def _ask_at_once(clients: list[Client], arguments: list[str]) -> None:
    """Each in a thread of the daemon's."""
    for client, text in zip(clients, arguments, strict=True):
        boxed = (client.root, value("call"), value(("query_fts", text)), value(()))
        client.send(request(consts.HANDLE_CALLATTR, *boxed))
    for client in clients:
        kind, content = read_message(client._sock)
        assert kind == consts.MSG_REPLY, f"a query is answered by {content}"


def _of_one_word(random: Random, root: str) -> str:
    return json.dumps({"project_path": root, "query": f"w{random.random()}{'qX' * 49_000}"})


def _of_patterns(random: Random, root: str) -> str:
    number = random.randrange(1 << 40)
    paths = [f"{number}/{at}/{'b' * 2000}/*" for at in range(900)]
    return json.dumps({"project_path": root, "query": "x", "paths": paths})


def _anonymous_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    return int(found[1]) if found else 0


@mutant("dear-queries", "what is known of a query holds itself until the collector comes")
@contextmanager
def _held() -> Iterator[None]:
    def get(self: Any, instance: Any, owner: type) -> Any:
        made = instance.__dict__[self._name] = self._make(instance)
        return made

    with patch.object(_Lazy, "__get__", get):
        yield


@mutant("dear-queries", "what is made of a word is kept, however long it is")
@contextmanager
def _all_of_a_word() -> Iterator[None]:
    with patch.object(text_module, "_MAX_KEPT_CHARS", 1 << 30):
        yield
