"""A target that contradicts itself is told so at once, by the name of the field."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.kinds import KINDS
from cidx_ref.testing.conformance.target import (
    Attach,
    Beyond,
    Call,
    Cap,
    Faults,
    Methods,
    Spawn,
    Subjects,
    Target,
    TargetError,
    filled,
)

pytestmark = pytest.mark.once

TTL = {"env": {"TTL": "{ttl_s}"}}


def target(**said: Any) -> Target:
    return Target(said.pop("start", Spawn("otherd run {project}")), **said)


def test_what_is_right_is_taken_as_it_is_said() -> None:
    made = target(
        writer="otherd rebuild {project}",
        env={"OTHERD_TTL_S": "{ttl_s}", "HOME": "${HOME}"},
        files={"otherd.json": '{"ttl": {ttl_minutes}, "idle": {idle}, "x": {}}'},
        status={"pid": "os.pid", "loads": "reads"},
        capabilities={Cap.WRITER, Cap.LOADS, Cap.SHORT_TTL, Cap.IDLE, Cap.CONFIG, Cap.KILL},
    )
    assert made.offers(Cap.BASE, Cap.WRITER, Cap.KILL)
    assert not made.offers(Cap.FRESH)
    assert made.asks("idle")
    assert not made.asks("watch")


NOTHING = check("nothing", "SRV-1")(print)


def test_a_graceful_stop_needs_no_method_because_sigterm_is_one() -> None:
    assert target(methods=Methods(stop=""), capabilities={Cap.STOP}).offers(Cap.STOP)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no start": ({"start": "otherd"}, "start: 'otherd': must be Spawn"),
    "no command": ({"start": Spawn("")}, "Spawn: there is no command"),
    "half a command": ({"start": Spawn("otherd 'x")}, "Spawn: .*: not a command"),
    "no address": ({"start": Attach("")}, "Attach: there is no address"),
    "a bad pattern": ({"start": Spawn("x", ready="(")}, r"ready: '\(': not a regular expression"),
    "another bad one": ({"leaving": "["}, r"leaving: '\[': not a regular expression"),
    "no socket": ({"socket": ""}, "socket: there is none"),
    "a placeholder": ({"env": {"A": "{tt_s}"}}, r"env: A: \{tt_s\} is not one of .*\{ttl_s\}$"),
    "one in a command": ({"start": Spawn("x {projet}")}, r"perhaps \{project\}"),
    "a file elsewhere": ({"files": {"../x": ""}}, "files: '../x': must be a path in the project"),
    "text that is none": ({"env": {"A": 1}}, "env: .*: must map text to text"),
    "hits": ({"hits": None}, "hits: None: must be text"),
    "methods that are text": ({"methods": "search()"}, r"methods: 'search\(\)': must be Methods"),
    "no query": ({"methods": Methods(query="")}, "methods: there is no 'query'"),
    "parts that are text": ({"subjects": "x"}, "subjects: 'x': must be Subjects"),
    "a part": ({"subjects": Subjects(cache=3)}, "subjects: cache: 3: must be a function"),  # type: ignore[arg-type]
    "faults": ({"faults": "x"}, "faults: 'x': must be Faults"),
    "one check": ({"checks": 3}, "checks: 3: must be a list"),
    "a bare function": ({"checks": [print]}, r"checks\[0\]: .*: must be made by @check"),
    "a number": ({"questions": [3]}, r"questions\[0\]: 3: must be a query and a path"),
    "two letters": ({"questions": ["ab"]}, r"questions\[0\]: 'ab': must be a query and a path"),
    "patience": ({"start": Spawn("x", patience_s="5")}, "patience_s: '5': must be a number"),  # type: ignore[arg-type]
    "no number": ({"check_s": float("nan")}, "check_s: nan: must be seconds"),
    "hits of nothing": ({"path": "", "text": ""}, "hits: neither `path` nor `text`"),
    "decode": ({"decode": "json"}, "decode: 'json': must be a function"),
    "no Cap": ({"capabilities": ["KILL"]}, r"capabilities: .*'KILL'.*: must be a set of Cap"),
    "a name": ({"status": {"load": "x"}}, "status: 'load' is not one of .*perhaps loads"),
    "no reason": ({"not_offered": {"SRV-1": " "}}, "not_offered: SRV-1: there is no reason"),
    "a question": ({"questions": ["what"]}, r"questions\[0\]: 'what'"),
    "a writer": ({"capabilities": {Cap.WRITER}}, "Cap.WRITER: needs writer"),
    "loads": ({"capabilities": {Cap.LOADS}, "status": {"pid": "pid"}}, r'needs status\["loads"\]'),
    "a status": ({"capabilities": {Cap.STATUS}}, "Cap.STATUS: needs status"),
    "health": ({"capabilities": {Cap.HEALTH}}, "Cap.HEALTH: needs health"),
    "a TTL": ({"capabilities": {Cap.SHORT_TTL}}, r"Cap.SHORT_TTL: needs \{ttl_s\} or"),
    "idling": ({"capabilities": {Cap.IDLE}}, r"Cap.IDLE: needs \{ttl_s\} or"),
    "a configuration": ({"capabilities": {Cap.CONFIG}, **TTL}, "Cap.CONFIG: needs a file with"),
    "fresh": (
        {"capabilities": {Cap.FRESH}, "methods": Methods(query="q(query)", query_fts="f(query)",
                                                         query_hybrid="")},
        "Cap.FRESH: needs a query method",
    ),
    "a method": (
        {"capabilities": {Cap.CLEAR}, "methods": Methods(clear="")},
        "Cap.CLEAR: there is no method 'clear'",
    ),
    "an attached one is not killed": (
        {"start": Attach("/run/x.sock"), "capabilities": {Cap.KILL}},
        "Cap.KILL: not of a daemon that is attached to",
    ),
    "nor configured": (
        {"start": Attach("/run/x.sock"), "capabilities": {Cap.SHORT_TTL}, **TTL},
        "Cap.SHORT_TTL: not of a daemon that is attached to",
    ),
    "letters": ({"capabilities": "KILL"}, "capabilities: 'KILL': must be a set of Cap: BASE, "),
    "one Cap": ({"capabilities": Cap.KILL}, "capabilities: .*: must be a set of Cap"),
    "not even a list": ({"capabilities": None}, "capabilities: None: must be a set of Cap"),
    "an exit status": ({"start": Spawn("x", taken_status="4")}, "taken_status: '4': must be an ex"),  # type: ignore[arg-type]
    "another one": ({"start": Spawn("x", stopped_status=256)}, "stopped_status: 256: must be an"),
    "for ever": ({"start": Spawn("x", patience_s=float("inf"))}, "patience_s: inf: must be a numb"),
    "of bytes": ({"start": Spawn("x", ready=b"ready")}, "ready: b'ready': must be text"),  # type: ignore[arg-type]
    "a word that is none": ({"start": Spawn("'' x")}, "Spawn: \"'' x\": not a command: its first"),
    "a hole": ({"hits": "a..b"}, r"hits: 'a\.\.b': a part of it is empty"),
    "a dot too much": ({"line": "a."}, r"line: 'a\.': a part of it is empty"),
    "all of what": ({"hits": "results[]"}, r"hits: 'results\[\]': \[\] is all of an answer"),
    "a hole in a status": ({"status": {"pid": ".a"}}, r"status: pid: '\.a': a part of it is empty"),
    "no path": ({"metrics": {"loads": ""}}, "metrics: loads: there is no path"),
    "NUL in a value": ({"env": {"A": "a\0b"}}, r"env: .*: must map text to text, without NUL"),
    "a sign in a name": ({"env": {"A=B": "x"}}, r"env: .*and with names without '='"),
    "NUL in a path": ({"files": {"a\0": "x"}}, "files: .*: must map text to text: paths"),
    "a folder": ({"files": {"a/": "x"}}, "files: 'a/': must be a path in the project"),
    "here": ({"files": {".": "x"}}, r"files: '\.': must be a path in the project"),
    "braces": ({"files": {"{project}/x": ""}}, "files: .*: placeholders are replaced in its text"),
    "NUL in a command": ({"start": Spawn("a\0b")}, r"Spawn: command: 'a.x00b': must be a command"),
    "NUL in words": ({"writer": ["a", "\0"]}, "writer: .*: must be a command: .*without NUL"),
    "NUL in a socket": ({"socket": "a\0"}, "socket: 'a.x00': must be text that can be passed on"),
    "what no file name is": ({"socket": "\ud800"}, "socket: .*: must be text that can be"),
    "a length": (
        {"socket": "d/" * 50 + "d.sock"},
        r"socket: .*: its path has 124 bytes in a project of the kit's \(/tmp/.*\), .* most 107",
    ),
    "what is not replaced": ({"socket": "{ttl_s}.sock"}, r"socket: \{ttl_s\} is not replaced"),
    "a port": ({"start": Attach("tcp://h:70000")}, "Attach: .*must be the path of .* out of range"),
    "no port": ({"start": Attach("tcp://h")}, "Attach: 'tcp://h': .*: there is no port"),
    "port 0": ({"start": Attach("tcp://h:0")}, "Attach: .*: there is no port"),
    "no host": ({"start": Attach("tcp://:80")}, "Attach: .*: there is no host"),
    "nothing there": ({"start": Attach("tcp://")}, "Attach: 'tcp://': .*: there is no host"),
    "half of an IPv6": ({"start": Attach("tcp://[::1")}, "Attach: .*: Invalid IPv6 URL"),
    "a path behind": ({"start": Attach("tcp://h:80/x")}, "Attach: .*: there is more than ho"),
    "who": ({"start": Attach("tcp://me@h:80")}, "Attach: .*: there is more than host and port"),
    "a page": ({"start": Attach("http://h:80")}, "Attach: .*: must be the path of a so"),
    "no slashes": ({"start": Attach("localhost:80")}, "Attach: 'localhost:80': must be the"),
    "relative": ({"start": Attach("unix://a/b")}, "Attach: .*: unix:// has an absolute path"),
    "NUL in an address": ({"start": Attach("a\0")}, "Attach: address: .*: must be text th"),
    "no file": ({"questions": [("what", "")]}, r"questions\[0\]: .*: must be a query and a path"),
    "here again": ({"questions": [("what", "./a.py")]}, r"questions\[0\]: .*: 'a.py'"),
    "letters of a point": ({"faults": Faults(start="abc")}, "faults: start: 'abc': must be a list"),
    "points of nothing": ({"faults": Faults(stop=["a"])}, "faults: stop: there is no command"),
    "and of no writer": (
        {"faults": Faults(crash="x {point}", publish=["a"])},
        r"faults: publish: there is no command that dies there \(crash_writer\)",
    ),
    "a check twice": ({"checks": [NOTHING, NOTHING]}, r"checks\[1\]: 'nothing': another one has"),
    "a check of nothing": ({"checks": [check("a")(print)]}, r"checks\[0\]: \(\): @check needs ids"),
    "not a Cap": (
        {"checks": [check("a", "SRV-1", needs=["KILL"])(print)]},  # type: ignore[list-item]
        r"checks\[0\]: needs: .*: must be of Cap",
    ),
    "a check of text": ({"checks": [check("a", "SRV-1")("x")]}, r"'x': @check is for a function"),  # type: ignore[arg-type]
    "deep": ({"checks": [check("a", "SRV-1", deep=1)(print)]}, r"\[0\]: deep: 1: must be True or"),  # type: ignore[arg-type]
    "inside": ({"checks": [check("a", "SRV-1", inside="no")(print)]}, "inside: 'no': must be"),  # type: ignore[arg-type]
    "limit": ({"checks": [check("a", "SRV-1", limit_s=0)(print)]}, "limit_s: 0: must be a number"),
    "no limit": ({"checks": [check("a", "SRV-1", limit_s=inf)(print)]}, "limit_s: inf: must be a"),
    "alone": ({"checks": [check("a", "SRV-1", alone=None)(print)]}, "alone: None: must be True"),  # type: ignore[arg-type]
    "a fault": ({"faults": Faults(crash="x")}, r"faults: crash: 'x': \{point\} is missing"),
    "no gate": ({"faults": Faults(hold="{point}")}, r"hold: '{point}': \{gate\} is missing"),
    "a point": ({"faults": Faults(query=("a",))}, r"faults: query: \('a',\): must be the name"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_by_its_name(what: str) -> None:
    said, message = WRONG[what]
    with pytest.raises(TargetError, match=message) as told:
        target(**said)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search", "not of the form"),
        ("search(what)", "'what' is not one of"),
        ("search(query, limit=len(query))", "is no role or constant"),
        ("search(**query)", r"\*\* is not understood"),
        ("a.search(query)", "not of the form"),
        ("search(query)\0", "not of the form"),
        ("(" * 10_000, "not of the form"),
        ("search(query, {[]: 1})", "is no role or constant"),
        ("search(a=query, a=limit)", "'a' is given twice"),
        ("search()", "the role 'query' is missing"),
        ("search(limit)", "the role 'query' is missing"),
        ("search(query, progress)", "'progress' is not one of its roles: project, query, limit, f"),
        ("search(query, fresh)", r"'fresh' has no value each time, so .* by name \(fresh=fresh\)"),
        (3, "3: must be text"),
        (None, "None: must be text"),
    ],
)
def test_a_method_that_cannot_be_called_is_told(text: Any, message: str) -> None:
    with pytest.raises(TargetError, match=f"methods: query: .*{message}") as told:
        Methods(query=text)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"index": "rebuild(limit=limit)"},
            "index: .*: 'limit' is not one of its roles: project",
        ),
        ({"index": "rebuild(progress)"}, "index: .*: 'progress' has no value each time"),
        ({"stop": "quit(query)"}, "stop: .*: 'query' is not one of its roles: project$"),
        ({"query_fts": "find(project)"}, "query_fts: .*: the role 'query' is missing"),
    ],
)
def test_a_method_is_given_only_what_there_is_for_it(said: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Methods(**said)


@pytest.mark.parametrize(
    "address", ["/run/x.sock", "x.sock", "./a:80", "unix:///x", "tcp://h:80", "tcp://[::1]:80"]
)
def test_an_address_is_a_path_or_a_host_and_its_port(address: str) -> None:
    assert target(start=Attach(address)).start == Attach(address)


class Odd:
    """What has no text."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Long(list[Any]):
    def __repr__(self) -> str:
        return "a\nb" * 1000


#: Of every kind, and of none.
VALUES: tuple[Any, ...] = (
    *(None, True, 3, -1, 1.5, float("nan"), float("inf"), 10**400, 2j, "", "text", "a\0b", b"text"),
    *([], ["text"], [3], (), ("text", "text"), [None], Long(), set(), {3}, {"text"}, [[]]),
    *({}, {"text": "text"}, {"text": 3}, {3: "text"}, {"text": None}, {b"a": b"b"}, iter("ab")),
    *(print, dict, Spawn, Methods(), Subjects(), object(), Odd(), Cap.KILL, {Cap.KILL}),
)
#: Each kind of part, one that is right, and a target that has it.
PARTS: dict[type, tuple[Any, Callable[[Any], Target]]] = {
    Target: (target(), lambda part: part),
    Spawn: (Spawn("x"), lambda part: target(start=part)),
    Attach: (Attach("/x"), lambda part: target(start=part)),
    Methods: (Methods(), lambda part: target(methods=part)),
    Faults: (Faults(), lambda part: target(faults=part)),
    Subjects: (Subjects(), lambda part: target(subjects=part)),
    Beyond: (Beyond(), lambda part: target(beyond=part)),
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what the annotation of its field says."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, each) for each in arguments)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is collections.abc.Mapping:
        each = [fits(one, arguments[0]) for one in value] if isinstance(value, Mapping) else [False]
        return all(each) and all(fits(one, arguments[1]) for one in value.values())
    if origin in (collections.abc.Sequence, collections.abc.Iterable):
        kind = Sequence if origin is collections.abc.Sequence else Iterable
        is_list = isinstance(value, kind) and not isinstance(value, (str, bytes))
        return is_list and all(fits(one, arguments[0]) for one in value)
    if origin is tuple:
        return isinstance(value, Sequence) and len(value) == len(arguments)
    if hint is Any:
        return True
    if hint is float:
        hint = int | float
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_every_field_refuses_what_is_not_of_its_kind_by_its_name(kind: type) -> None:
    sound, targeted = PARTS[kind]
    hints = typing.get_type_hints(kind)
    assert hints.keys() == KINDS[kind].keys(), "each field is looked at"
    for name, hint in hints.items():
        for value in VALUES:
            try:
                targeted(replace(sound, **{name: value}))
            except TargetError as error:
                said = str(error)
                assert name in said or kind.__name__ in said, f"{name}={value!r}: {said}"
                assert "\n" not in said
                assert len(said) < 600
            else:
                assert fits(value, hint), f"{name} takes {value!r}"


def test_a_call_is_filled_by_roles() -> None:
    call = Methods(query="find(query, 7, top=limit, fresh=fresh, kind='x')").call("query")
    assert call.fill(query="a", limit=3) == (("a", 7), {"top": 3, "kind": "x"})
    assert call.takes("fresh")
    assert not call.takes("project")


def test_only_placeholders_are_replaced() -> None:
    text = '{"a": {ttl_s}, "b": {}, "c": "{project}{other}", "d": {"idle": {idle}}}'
    assert filled(text, ttl_s="3", project="/p", idle="true") == (
        '{"a": 3, "b": {}, "c": "/p{other}", "d": {"idle": true}}'
    )


def test_a_method_is_parsed_when_its_target_is_made_and_never_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    methods = Methods(query="looked_for_once(query)")
    monkeypatch.setattr(Call, "parse", None)
    assert methods.call("query").name == "looked_for_once"
