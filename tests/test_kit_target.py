"""A target that contradicts itself is told so at once, by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from cidx_ref.testing.conformance.target import (
    Attach,
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
    "no Cap": ({"capabilities": {"KILL"}}, "capabilities: 'KILL': must be of Cap"),
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
    ],
)
def test_a_method_that_cannot_be_called_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Methods(query=text)


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
