"""What a filter costs, at 150,000 chunks, whatever share of the files it lets through: when it is
first used, and from then on (PERF-1, PERF-2)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
from clients import TEXTS
from repositories import Repository

from cidx_ref.client import DaemonClient
from cidx_ref.testing.own.fixtures import end_daemon
from cidx_ref.testing.promises.gates import CheckGate

CALLS = 100
LIMITS_MS = {"semantic": 100.0, "fts": 20.0}

PACKAGES = ["asyncio", "json", "email", "unittest", "http", "logging", "xml", "ctypes", "importlib"]
MODULES = [
    "ast",
    "argparse",
    "calendar",
    "cgi",
    "codecs",
    "copy",
    "csv",
    "difflib",
    "glob",
    "heapq",
]

#: How a pattern for some share of seven copies of a tree is made; each makes another one each time.
Make = Callable[[random.Random], dict[str, Any]]
FILTERS: dict[str, Make] = {
    "one file": lambda made: {"paths": [f"copy{made.randint(0, 6)}/{made.choice(MODULES)}.py"]},
    "1 in 100": lambda made: {"paths": [f"copy*/{made.choice(PACKAGES)}/*.p{made.choice('yz')}*"]},
    "a seventh": lambda made: {"paths": [f"/copy{made.randint(0, 6)}/", _none(made)]},
    "a half": lambda made: {"paths": [f"**/[{''.join(made.sample('abcdefghijklm', 6))}]*.py"]},
    "99 in 100": lambda made: {"exclude_paths": [f"{made.choice(PACKAGES)}/", _none(made)]},
    "a language": lambda made: {"languages": ["python"], "exclude_paths": [_none(made)]},
}


def _none(made: random.Random) -> str:
    return f"no-such-{made.getrandbits(40)}"


@pytest.fixture(scope="module")
def daemon(large: Repository) -> Iterator[DaemonClient]:
    try:
        with DaemonClient(large.project) as connected:
            connected.query("warm up")
            yield connected
    finally:
        end_daemon(large.project)


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("use", ["first use", "then"])
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=pytest.mark.promise("PERF-2" if mode == "fts" else "PERF-1"))
        for mode in LIMITS_MS
    ],
)
def test_a_query_behind_a_filter(
    daemon: DaemonClient, gate: CheckGate, mode: str, use: str, kind: str
) -> None:
    made = random.Random(kind)
    always = FILTERS[kind](made)
    rounds = itertools.count()

    def once() -> float:
        filters = always if use == "then" else FILTERS[kind](made)
        text = TEXTS[next(rounds) % len(TEXTS)]
        began = perf_counter()
        daemon.query(text, mode=mode, **filters)
        return (perf_counter() - began) * 1000

    def measure() -> list[float]:
        once()
        return [once() for _ in range(CALLS if use == "then" else CALLS // 5)]

    promise = "PERF-2" if mode == "fts" else "PERF-1"
    gate(promise, f"{mode} behind a filter, {kind}, {use}", measure, LIMITS_MS[mode])
