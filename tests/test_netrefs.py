"""Answers of stock RPyC services, read as plain data."""

from __future__ import annotations

import enum
import itertools
from collections import Counter, OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import rpyc
from rpyc.utils.factory import connect_thread

from cidx_ref.testing.conformance import netrefs
from cidx_ref.testing.conformance.asking import plain
from cidx_ref.testing.conformance.netrefs import by_value

Pair = namedtuple("Pair", "path line")


@dataclass
class Hit:
    file: str
    line: int
    more: list[Any] = field(default_factory=list)

    @property
    def shown(self) -> str:
        return f"{self.file}:{self.line}"

    def open(self) -> None:
        raise AssertionError("a method was called")


@dataclass
class Hidden:
    """With stock settings, only the first is shown."""

    exposed_path: str
    line: int


class Name(str):
    __slots__ = ("language",)


class Level(enum.IntEnum):
    HIGH = 3


@dataclass(frozen=True)
class Fixed:
    name: str


class Around:
    def __init__(self) -> None:
        self.n = 1
        self.around = self


class Mistaken:
    n = 1

    @property
    def broken(self) -> None:
        raise ValueError("not yet")


class OnlyItems:
    """A sequence of the old kind."""

    def __getitem__(self, index: int) -> str:
        return ["a", "b"][index]


def countdown() -> Iterator[dict[str, int]]:
    yield from ({"n": n} for n in (2, 1))


def itself() -> list[Any]:
    around: list[Any] = [1]
    around.append({"back": around})
    return around


def deep(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels):
        inner = [inner]
    return inner


SHARED = {"n": 3}

#: What a service returns, and what its caller reads.
ANSWERS: dict[str, tuple[Any, Any]] = {
    "a dict": ({"n": 3}, {"n": 3}),
    "nothing in it": ([{}, [], ()], [{}, [], ()]),
    "its keys are tuples": ({("a", 1): [2]}, {("a", 1): [2]}),
    "dicts of other kinds": (
        [OrderedDict(a=1), Counter("aa"), UserDict(b=2), MappingProxyType({"c": 3})],
        [{"a": 1}, {"a": 2}, {"b": 2}, {"c": 3}],
    ),
    "nested": ({"results": [{"path": "a.py", "more": {"x": [1, (2, [3])]}}]},) * 2,
    "a tuple with a dict in it": (({"n": 3}, ("b", [4])),) * 2,
    "sets": ([{1, 2}, frozenset({"a"}), {frozenset({3})}],) * 2,
    "named tuples": ([Pair("a.py", 3)], [("a.py", 3)]),
    "a generator": (countdown, [{"n": 2}, {"n": 1}]),
    "views and queues": (
        [{"a": 1}.items(), {"a": 1}.keys(), deque([1, 2]), range(3)],
        [[("a", 1)], ["a"], [1, 2], [0, 1, 2]],
    ),
    "an old sequence": (OnlyItems(), ["a", "b"]),
    "text and numbers of other kinds": (
        [Name("json.py"), Level.HIGH, Path("/a/b"), date(2026, 1, 2), True, None],
        ["json.py", 3, "/a/b", "2026-01-02", True, None],
    ),
    "a decimal": ([Decimal("1.5"), bytearray(b"ab")], [1.5, b"ab"]),
    "the same twice is no cycle": ([SHARED, SHARED], [{"n": 3}, {"n": 3}]),
    "itself": (itself, [1, {"back": "..."}]),
}

#: The same of services that show public attributes.
OBJECTS: dict[str, tuple[Any, Any]] = {
    "an object": (
        [Hit("a.py", 3, [{"n": 1}])],
        [{"file": "a.py", "line": 3, "more": [{"n": 1}], "shown": "a.py:3"}],
    ),
    "a named tuple": ([Pair("a.py", 3)], [{"path": "a.py", "line": 3}]),
    "a namespace": (SimpleNamespace(results=[SimpleNamespace(n=1)]), {"results": [{"n": 1}]}),
    "one that raises": ([Mistaken()], [{"n": 1}]),
    "objects of themselves": (Around, {"n": 1, "around": "..."}),
    "a set of objects": (lambda: {Fixed("a")}, {"{'name': 'a'}"}),
}


def answered(value: Any, read: Callable[[Any], Any] = by_value, **settings: bool) -> Any:
    """What comes through, by value."""

    class Stock(rpyc.Service):  # type: ignore[misc]
        def exposed_get(self) -> Any:
            return value() if callable(value) else value

    connection = connect_thread(remote_service=Stock, remote_config=settings)
    try:
        return read(connection.root.get())
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_of_a_stock_service_is_read_as_what_it_is(kind: str) -> None:
    value, expected = ANSWERS[kind]
    found = answered(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_judged_is_read_alike_but_for_tuples_and_sets(kind: str) -> None:
    value, expected = ANSWERS[kind]
    assert answered(value, plain) == plain(expected)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_read_by_the_attributes_that_it_shows(kind: str) -> None:
    value, expected = OBJECTS[kind]
    assert answered(value, allow_public_attrs=True) == expected


def test_of_an_object_that_shows_some_attributes_those_are_read() -> None:
    assert answered([Hidden("a.py", 3)]) == [{"path": "a.py"}]


def test_what_shows_nothing_is_its_text() -> None:
    (found,) = answered([print])
    assert found == "<built-in function print>"


@pytest.mark.parametrize("value", [itertools.count, lambda: deep(200)])
def test_what_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(netrefs, "_MOST_PARTS", 500)
    with pytest.raises(ValueError, match=r"too (much|deep)"):
        answered(value)
