"""What `DaemonClient` returns is what its types say, key by key, of a real daemon's answers."""

from __future__ import annotations

import shutil
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Union, get_args, get_origin, is_typeddict

import pytest

from cidx_ref import reports
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, served

#: By method, the type of its results.
DECLARED: dict[str, type] = {
    "clear_cache": reports.CacheCleared,
    "diagnostics": reports.Diagnostics,
    "health": reports.Health,
    "index": reports.IndexReport,
    "metrics": reports.Metrics,
    "ping": reports.Ping,
    "skipped": reports.Skipped,
    "status": reports.Status,
}


def complaints(value: Any, declared: Any, where: str = "") -> Iterator[str]:
    """Where `value` is not what `declared` says: keys, required and not, and types."""
    if is_typeddict(declared):
        if type(value) is not dict:
            yield f"{where}: not a dictionary: {value!r}"
            return
        required: frozenset[str] = declared.__required_keys__
        hints = typing.get_type_hints(declared)
        yield from (f"{where}: no {key!r}" for key in sorted(required - value.keys()))
        yield from (f"{where}: {key!r} is not declared" for key in sorted(value.keys() - hints))
        for key in hints.keys() & value.keys():
            yield from complaints(value[key], hints[key], f"{where}.{key}")
        return
    yield from _of_a_plain_type(value, declared, where)


def _of_a_plain_type(value: Any, declared: Any, where: str) -> Iterator[str]:
    origin, arguments = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        if all(any(complaints(value, one, where)) for one in arguments):
            yield f"{where}: {value!r} is no {declared}"
    elif type(value) is not (origin or declared) and not (type(value) is int and declared is float):
        yield f"{where}: {value!r} is no {declared}"
    elif origin is dict:
        for key, item in value.items():
            yield from complaints(key, arguments[0], f"{where} key")
            yield from complaints(item, arguments[1], f"{where}[{key!r}]")
    elif origin is list:
        for number, item in enumerate(value):
            yield from complaints(item, arguments[0], f"{where}[{number}]")


def conforms(client: DaemonClient, method: str) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(client, method)()
    assert list(complaints(answer, DECLARED[method], method)) == []
    return answer


@contextmanager
def asked(project: Project) -> Iterator[tuple[CIDXDaemonService, DaemonClient]]:
    with served(project) as service, DaemonClient(project, start=False) as client:
        yield service, client


def test_every_method_that_returns_something_declares_what() -> None:
    names = {**vars(reports), "Answer": None}
    methods = {
        name: function.__annotations__["return"]
        for name, function in vars(DaemonClient).items()
        if not name.startswith("_") and callable(function)
    }
    assert methods.pop("query") == "Answer"
    assert {methods.pop("close"), methods.pop("shutdown")} == {"None"}
    assert {name: names[declared] for name, declared in methods.items()} == DECLARED


@pytest.mark.parametrize("method", DECLARED)
def test_an_answer_of_a_daemon_in_use_has_the_declared_keys_and_types(
    project: Project, method: str
) -> None:
    with asked(project) as (_, client):
        client.query("retry")
        conforms(client, method)


@pytest.mark.parametrize("method", DECLARED)
def test_so_has_one_of_a_daemon_without_an_index(make_project: MakeProject, method: str) -> None:
    with asked(make_project({"a.py": "def quokka(): pass\n"})) as (_, client):
        conforms(client, method)


def test_an_answer_in_this_process_has_them_too(project: Project) -> None:
    Config.init(project, enabled=False)
    with DaemonClient(project) as client:
        for method in DECLARED:
            conforms(client, method)


def test_the_keys_that_are_not_required_come_with_what_their_type_says(project: Project) -> None:
    optional = reports.Status.__optional_keys__
    with asked(project) as (_, client):
        assert not optional & conforms(client, "status").keys()
        client.query("retry")
        assert optional & conforms(client, "status").keys() == optional - {"index_problem"}
        live = project.generations / str(client.status()["generation"])
    for damage, generation in ((lambda: (live / "manifest.json").write_bytes(b"{}"), None),
                               (lambda: shutil.rmtree(live), "unusable")):  # fmt: skip
        damage()
        with asked(project) as (_, client):
            told = conforms(client, "status")
            assert told["generation"] == generation
            assert optional & told.keys() == {"index_problem"}
            conforms(client, "diagnostics")


def test_what_an_index_run_skips_removes_and_notes_is_declared(make_project: MakeProject) -> None:
    project = make_project({"a.py": "def quokka(): pass\n", "b.py": "x = '\0'\n"})
    with asked(project) as (_, client):
        assert conforms(client, "index")["changed"] is True
        again = conforms(client, "index")
        assert (again["changed"], again["removed"]) == (False, [])
        assert again["skipped"]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ({}, reports.Ping),
        ({"pong": True, "pid": 1, "version": "1", "project": None, "more": 1}, reports.Ping),
        ({"pong": 1, "pid": 1, "version": "1", "project": None}, reports.Ping),
        ({"pong": True, "pid": True, "version": "1", "project": None}, reports.Ping),
        ({"pong": True, "pid": 1, "version": "1", "project": 5}, reports.Ping),
        ({"p50": 1.0, "p95": "2", "p99": 3, "max": 4}, reports.Latency),
        ({"a": {"b": "c"}}, dict[str, dict[str, int]]),
        ([{"method": "x"}], list[reports.CallUnderWay]),
        ([], reports.Ping),
    ],
    ids=range(9),
)
def test_what_is_not_as_declared_is_noticed(value: Any, declared: Any) -> None:
    assert list(complaints(value, declared))


def test_what_is_as_declared_is_not_complained_of() -> None:
    ping = {"pong": True, "pid": 1, "version": "1", "project": None}
    assert list(complaints(ping, reports.Ping)) == []
    assert list(complaints({"p50": 1, "p95": 2.5, "p99": 3, "max": 4}, reports.Latency)) == []
