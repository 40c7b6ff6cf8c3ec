"""Rows of what answers at a project's socket and is no daemon of ours, or a broken one.

Each case is a process that listens there and answers honestly up to some moment; and a command, or
a call of the library, that meets it.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from itertools import product
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from rpyc.core import brine, consts

from cidx_ref import backend, cli, commands, launcher, wire
from cidx_ref._version import __version__
from cidx_ref.client import DaemonClient
from cidx_ref.errors import CidxError, DaemonUnavailableError, from_kind
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from fault_rows.table import Place, Trial, mutant, row

#: Seconds: what a client waits for, here; and what a case may take, a few tries and waits included.
_PATIENCE_S, _BOUND_S = 0.3, 5.0
_HEADER = struct.Struct("!LB")
_MAX_LINE_CHARS = 4100

Act = Callable[[socket.socket, int], None]


# What it says instead of an answer: to a connection, and to a request of this number.


def frame(message: bytes, *, compressed: bool = False) -> bytes:
    data = zlib.compress(message) if compressed else message
    return _HEADER.pack(len(data), compressed) + data + b"\n"


def message(kind: int, sequence: Any, content: Any) -> bytes:
    return bytes([kind]) + bytes(brine.dump((sequence, content)))


def reply(content: Any, label: int = consts.LABEL_VALUE) -> Act:
    def act(sock: socket.socket, sequence: int) -> None:
        sock.sendall(frame(message(consts.MSG_REPLY, sequence, (label, content))))

    return act


def raising(module: str, name: str, *arguments: Any) -> Act:
    content = (module, name), arguments, (), "Traceback: /srv/secret.py"

    def act(sock: socket.socket, sequence: int) -> None:
        sock.sendall(frame(message(consts.MSG_EXCEPTION, sequence, content)))

    return act


def raw(data: bytes, *, closing: bool = False) -> Act:
    def act(sock: socket.socket, sequence: int) -> None:
        sock.sendall(data)
        if closing:
            sock.shutdown(socket.SHUT_RDWR)

    return act


def of(kind: int, content: Any, *, other: int = 0, compressed: bool = False) -> Act:
    def act(sock: socket.socket, sequence: int) -> None:
        sock.sendall(frame(message(kind, sequence + other, content), compressed=compressed))

    return act


def endless(sock: socket.socket, sequence: int) -> None:
    sock.sendall(_HEADER.pack((1 << 28) - 1, 0))
    while True:
        sock.sendall(b"\x02" * 1000)
        SYSTEM.sleep(0.01)


def drip(sock: socket.socket, sequence: int) -> None:
    for byte in frame(message(consts.MSG_REPLY, sequence, (consts.LABEL_VALUE, "x" * 1000))):
        sock.sendall(bytes([byte]))
        SYSTEM.sleep(0.05)


_VALUE = consts.LABEL_VALUE
#: What is no message of RPyC's, or none that answers: at any moment.
PROTOCOL: dict[str, Act] = {
    "text": raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "garbage": raw(bytes(Random(1).randbytes(4096)), closing=True),
    "silence": lambda sock, sequence: None,
    "end": raw(b"", closing=True),
    "a frame that is cut off": raw(_HEADER.pack(1000, 0) + b"\x02", closing=True),
    "4 GiB announced": raw(_HEADER.pack(0xFFFFFFFF, 0)),
    "nothing announced": raw(_HEADER.pack(0, 0) + b"\n"),
    "no end": endless,
    "slowly": drip,
    "a message that is cut off": raw(frame(b"\x02\x11\x51")),
    "a message of one byte": raw(frame(b"\x02")),
    "deep tuples": raw(frame(b"\x02" + b"\x10" * 100_000)),
    "many values": raw(frame(b"\x02\x15\x00\xff\xff\xff" + b"\x51" * 100_000)),
    "another kind": of(9, (_VALUE, "{}")),
    "another number": of(consts.MSG_REPLY, (_VALUE, "{}"), other=7),
    "a request": of(consts.MSG_REQUEST, (consts.HANDLE_CLOSE, (consts.LABEL_TUPLE, ()))),
    "no label": of(consts.MSG_REPLY, "{}"),
    "another label": reply("{}", 77),
    "compressed": of(consts.MSG_REPLY, (_VALUE, "{}"), compressed=True),
    "a reference": reply(("builtins.dict", 1, 2), consts.LABEL_REMOTE_REF),
    "no reference": reply(5, consts.LABEL_REMOTE_REF),
    "an error": raising("builtins", "AttributeError", "cannot access 'call'"),
    "an error of a class that is none": raising("no.such", "Thing\n\x1b[2J" * 1000, "x" * 100_000),
    "an exit": raising("builtins", "SystemExit", 0),
    "an interrupt": raising("builtins", "KeyboardInterrupt"),
    "an error that is none": of(consts.MSG_EXCEPTION, 5),
    "an error of numbers": of(consts.MSG_EXCEPTION, ((1, 2), 3, 4, 5)),
    "an end of iteration": of(consts.MSG_EXCEPTION, consts.EXC_STOP_ITERATION),
}

_PING = {"pong": True, "pid": 1, "version": __version__, "project": None}
_HIT = {"path": "a.py", "line_start": 1, "line_end": 1, "language": "python", "score": 1.0,
        "snippet": "x"}  # fmt: skip
_ANSWER = {"results": [_HIT], "mode": "fts", "generation": "1", "took_ms": 1.0}
_REPORT = {"files": 1, "chunks": 1, "changed": True, "generation": "1", "guessed": 0, "notes": [],
           "removed": [], "skipped": {}, "took_ms": 1.0}  # fmt: skip


def _answers() -> Iterator[Any]:
    """What an answer may be by mistake: wrong in one place each."""
    yield from (5, None, [], "x", True, {}, {"x": {}}, {"results": [], "mode": 1})
    wrong: Any
    for right, wrong in product((_PING, _ANSWER, _REPORT), (None, 5, "x", [], {}, [[]], [5], -1e9)):
        for name in right:
            yield {**right, name: wrong}
    for name, wrong in product(_HIT, (None, 5, "x\x1b[2J\n", [], {})):
        yield {**_ANSWER, "results": [{**_HIT, name: wrong}]}
    yield {**_ANSWER, "results": [{**_HIT, "marks": [[0]]}]}
    yield {**_ANSWER, "results": [{**_HIT, "marks": 5}]}
    yield {"files": [{"path": 5, "reason": []}], "counts": {"binary": "x"}}
    yield {"files": [5], "counts": []}
    yield {"files": {"a": 1}, "counts": {}}


#: What is in a value that is no answer of ours: where one is expected, that is not for the root.
TEXTS: list[Any] = [
    5, None, b"{}", True, (), 1.5, "", "{", "[", "5", "null", "[]", '"error"', "NaN", "1e999",
    '{"answer"', '{"error": 5}', '{"error": []}', '{"error": ["a"]}', '{"error": [1, 2, 3]}',
    '{"error": [[], {}]}', '{"error": {"a": 1}}', '{"error": null}', "[" * 100_000,
    '{"answer": ' + "[" * 900 + "]" * 900 + "}", '{"answer": {"a": ' * 300 + "1" + "}}" * 300,
    '{"answer": ' + "9" * 5000 + "}", '{"error": ["busy", "x"]}', '{"error": ["no_index", "x"]}',
    '{"error": ["shutting_down", "x"]}', '{"error": ["internal", "\\u001b[2J\\n"]}', "\x00" * 1000,
    json.dumps({"error": ["bad_argument", "x" * 1_000_000]}),
    *(json.dumps({"answer": answer}) for answer in _answers()),
]  # fmt: skip

COMMANDS = "query status health metrics diagnose ping stop index clear-cache skipped start".split()
CALLS = "query status health metrics diagnostics ping index clear_cache skipped".split()
#: Those that a daemon takes as long for as it needs.
_WITHOUT_END = ("index",)
_NEVER_DONE = ("silence", "no end", "slowly", "4 GiB announced")


class Case(NamedTuple):
    """Answers honestly before `stage`, and then `says`; meets `command`."""

    stage: str
    says: str
    act: Act
    command: str
    as_json: bool
    by_library: bool


def _cases() -> list[Case]:
    said = [(stage, name, act) for stage in ("root", "ping", "call")
            for name, act in PROTOCOL.items()]  # fmt: skip
    for stage in ("ping", "call"):
        said += [(stage, str(text)[:80], reply(text)) for text in TEXTS]
    meets = [(command, as_json, False) for command in COMMANDS for as_json in (False, True)]
    meets += [(call, False, True) for call in CALLS]
    found = [Case(*what, *how) for what, how in product(said, meets)]
    return [
        case
        for case in found
        if not (case.stage == "call" and case.says in _NEVER_DONE and case.command in _WITHOUT_END)
    ]


#: Of which each catches one of the mutants: stage, what is said, command, by library.
_TELLING = {
    ("root", "an error", "status", True),
    ("ping", "silence", "status", True),
    ("call", '{"answer": {"files": [5], "counts": []}}', "skipped", False),
    ("call", "[]", "status", True),
}


def _is_telling(case: Case) -> bool:
    return (case.stage, case.says, case.command, case.by_library) in _TELLING


CASES = _cases()
Random(14).shuffle(CASES)
CASES.sort(key=_is_telling, reverse=True)


# The false daemon.


def _serve(listener: socket.socket, case: Case, project: Project) -> None:
    while True:
        sock, _ = listener.accept()
        SYSTEM.thread(lambda sock=sock: _answer(sock, case, project), "connection")  # type: ignore[misc]


def _answer(sock: socket.socket, case: Case, project: Project) -> None:
    with suppress(OSError, EOFError):
        while True:
            size, _ = _HEADER.unpack(_read(sock, _HEADER.size))
            data = _read(sock, size + 1)
            sequence, (handler, boxed) = wire.load(data[1:-1])
            stage, honest = _honest(handler, boxed, project)
            (case.act if stage == case.stage else honest)(sock, sequence)


def _honest(handler: int, boxed: Any, project: Project) -> tuple[str, Act]:
    if handler == consts.HANDLE_GETROOT:
        return "root", reply(("a.Service", 1, 2), consts.LABEL_REMOTE_REF)
    if handler == consts.HANDLE_INSPECT:
        return "inspect", reply((("call", ""),))
    if "ping" in repr(boxed):
        said = {**_PING, "pid": os.getpid(), "project": str(project.root)}
        return "ping", reply(json.dumps({"answer": said}))
    return "call", reply(json.dumps({"answer": {}}))


def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


@contextmanager
def _listening(case: Case, project: Project) -> Iterator[None]:
    """Such a daemon in a process of its own, which the clients here may end."""
    project.socket_path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(project.socket_path))
        pid = os.fork()
        if pid == 0:
            try:
                listener.listen()  # here, or it would be this process that clients see
                _serve(listener, case, project)
            finally:
                os._exit(0)
    try:
        until = SYSTEM.monotonic() + 10
        while not _answers_at(project) and SYSTEM.monotonic() < until:
            SYSTEM.sleep(0.001)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answers_at(project: Project) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(project.socket_path)) == 0


# What becomes of it.


@row(
    "what answers at the socket is no daemon of ours, or a broken one",
    "RPC-2",
    "SRV-2",
    cases=3_000,
    sample=40,
)
@contextmanager
def false_daemons(place: Place) -> Iterator[Trial]:
    root = place.path / "project"
    (root / ".code-indexer").mkdir(parents=True, mode=0o700)
    (root / "a.py").write_text("x = 1\n")
    (root / ".code-indexer" / "config.json").write_text(
        '{"daemon": {"max_retries": 1, "retry_delays_ms": [1]}}'
    )
    project = Project.at(root)

    def check(number: int) -> None:
        case = CASES[number]
        began = SYSTEM.monotonic()
        with _listening(case, project):
            if case.by_library:
                _call(case, project)
            else:
                _run(case, project)
        took_s = SYSTEM.monotonic() - began
        assert took_s < _BOUND_S, f"{_named(case)}: took {took_s:.1f} s"

    with _impatient():
        yield Trial(check)


@contextmanager
def _impatient() -> Iterator[None]:
    """Waits are short; and no daemon can be started, which takes longer than all the rest."""

    def start(project: Project, *rest: object, **options: object) -> str:
        raise DaemonUnavailableError("no daemon can be started here")

    defaults: Any = DaemonClient.__init__.__kwdefaults__
    with (
        patch.dict(defaults, timeout_s=_PATIENCE_S),
        patch.object(launcher, "start_process", start),
        patch.object(launcher, "CONNECT_TIMEOUT_S", _PATIENCE_S),
        patch.object(launcher, "_STOP_TIMEOUT_S", 1.0),
    ):
        yield


#: What `stop` says after a second, before it has an outcome.
_WAITED_FOR = re.compile(r"^cidx-ref: the daemon \(pid \d+\) answers what is in flight, .*\n")


def _named(case: Case) -> str:
    how = "library" if case.by_library else f"command{' --json' * case.as_json}"
    return f"{case.says!r} at {case.stage}, {how} {case.command}"


def _run(case: Case, project: Project) -> None:
    arguments = [case.command, "--project", str(project.root)]
    arguments += ["--json"] * case.as_json + ["x"] * (case.command == "query")
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main(arguments)
    except BaseException as error:
        raise AssertionError(f"{_named(case)}: {type(error).__name__}: {error}") from error
    said = _WAITED_FOR.sub("", err.getvalue()) if case.command == "stop" else err.getvalue()
    if status == commands.FAILED:
        (line,) = said.splitlines() if said.count("\n") == 1 else [""]
        assert line.startswith("cidx-ref: "), f"{_named(case)}: said {said[:300]!r}"
        assert line.isprintable(), f"{_named(case)}: {line[:300]!r}"
        assert len(line) < _MAX_LINE_CHARS, f"{_named(case)}: {len(line)} characters"
    else:
        is_empty = case.command == "query" and '"results": []' in case.says
        assert status == 0 or is_empty, f"{_named(case)}: status {status}: {said[:300]}"
    assert "Traceback" not in said, f"{_named(case)}: {said[:300]}"
    if case.as_json:
        with _named_failure(case):
            json.loads(out.getvalue() or "{}")


def _call(case: Case, project: Project) -> None:
    with _named_failure(case), suppress(CidxError):
        with DaemonClient(project, start=False) as client:
            method = getattr(client, case.command)
            answer = method("x") if case.command == "query" else method()
        assert case.command == "query" or isinstance(answer, dict), f"answered {answer!r}"


@contextmanager
def _named_failure(case: Case) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        raise AssertionError(f"{_named(case)}: {type(error).__name__}: {error}") from error


# What is broken on purpose.


@mutant("false-daemons", "an answer is taken for what it should be")
@contextmanager
def _believed() -> Iterator[None]:
    def decode(text: str, who: str = "") -> Any:
        told = json.loads(text)
        if "error" in told:
            raise from_kind(*told["error"])
        return told["answer"]

    with patch.object(backend, "decode", decode):
        yield


@mutant("false-daemons", "what is raised at the other end is raised here")
@contextmanager
def _raised_here() -> Iterator[None]:
    class NeverError(Exception):
        pass

    with patch.object(backend, "RemoteError", NeverError):
        yield


@mutant("false-daemons", "a command that meets what it did not foresee ends in a traceback")
@contextmanager
def _unguarded() -> Iterator[None]:
    def fail(error: Exception) -> CidxError:
        raise error

    with patch.object(cli, "_unforeseen", fail):
        yield


@mutant("false-daemons", "an answer has as long as it takes")
@contextmanager
def _patient() -> Iterator[None]:
    def until(self: Any, deadline: float | None) -> None:
        self._sock.settimeout(_BOUND_S + 0.5)

    with patch.object(wire.Caller, "_until", until):
        yield
