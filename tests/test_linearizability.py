"""Overlapping operations on a whole daemon, explained one by one; and the judge of that, judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.concurrency.history import (
    History,
    Operation,
    check_linearizable,
    final_states,
)
from cidx_ref.testing.conformance.parts.models import CacheState, cache_model
from cidx_ref.testing.own.fixtures import build, served, write
from cidx_ref.testing.own.models import generation_model
from cidx_ref.testing.promises.report import RecordTried

pytestmark = pytest.mark.once

WAIT_S = 60.0
RUNS = 3


class _Users:
    """What each client does until the one that indexes is done."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.history = History()
        self._done = SYSTEM.event("done")

    def index(self, daemon: DaemonClient) -> None:
        try:
            for _ in range(RUNS):
                self.history.call("writer", "index", lambda: daemon.index(full=True)["generation"])
                self.history.call("other process", "index", self._build_anew)
        finally:
            self._done.set()

    def query(self, daemon: DaemonClient) -> None:
        while not self._done.wait(0.002):
            name = f"reader {id(daemon):x}"
            self.history.call(name, "query", lambda: daemon.query("retry", limit=1).generation)

    def clear(self, daemon: DaemonClient) -> None:
        while not self._done.wait(0.05):
            self.history.call("clearer", "clear", daemon.clear_cache)

    def _build_anew(self) -> str:
        """As another process would: the daemon is not told."""
        write(self.project.root, "more.py", f"more = {len(self.history.operations)}\n")
        return build(self.project)


@pytest.mark.promise("CACHE-4", "CACHE-5", "CACHE-8", "WRITE-2")
def test_queries_index_runs_and_clears_of_many_clients_can_be_explained(
    project: Project, tried: RecordTried
) -> None:
    users = _Users(project)
    with served(project), ExitStack() as stack:
        threads = []
        first = build(project)
        for job in (users.query, users.query, users.clear, users.index):
            client = stack.enter_context(DaemonClient(project, start=False))
            threads.append(SYSTEM.thread(partial(job, client), "client"))
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
    operations = users.history.operations
    assert [o.name for o in operations].count("index") == 2 * RUNS, "an index run failed"
    assert len({o.result for o in operations if o.name == "query"}) > RUNS, "too few were noticed"
    check_linearizable(users.history, first, generation_model)
    for promise in ("CACHE-4", "CACHE-5", "CACHE-8", "WRITE-2"):
        tried(promise, len(operations), "operations")


# The judge.


def op(text: str) -> Operation:
    """`op("0-3 write 1")`."""
    instants, name, result = text.split()
    called, returned = map(int, instants.split("-"))
    return Operation(f"thread {called}", name, int(result), called, returned)


def register(state: int, operation: Operation) -> Iterator[int]:
    if operation.name == "write":
        yield operation.result
    elif operation.result == state:
        yield state


def states(*operations: str) -> set[int]:
    return final_states([op(text) for text in operations], [0], register)


@pytest.mark.parametrize(
    ("operations", "final"),
    [
        ([], {0}),
        (["0-1 write 1", "2-3 read 1"], {1}),
        (["0-1 write 1", "2-3 read 0"], set()),
        (["0-3 write 1", "1-2 read 0"], {1}),
        (["0-3 write 1", "1-2 read 1"], {1}),
        (["0-9 write 1", "1-2 read 1", "3-4 read 0"], set()),
        (["0-9 write 1", "1-2 read 0", "3-4 read 1"], {1}),
        (["0-3 write 1", "1-2 write 2"], {1, 2}),
        (["0-3 write 1", "1-2 write 2", "4-5 read 1"], {1}),
        (["0-1 read 7"], set()),
    ],
)
def test_known_histories_are_judged_right(operations: list[str], final: set[int]) -> None:
    assert states(*operations) == final


def test_several_states_to_begin_with() -> None:
    assert final_states([op("0-1 read 3")], [1, 2, 3], register) == {3}


OPERATION = st.tuples(st.sampled_from(["write", "read"]), st.integers(0, 2))


@given(
    st.lists(OPERATION, max_size=5).flatmap(
        lambda ops: st.tuples(
            st.just(ops), st.permutations(sorted([*range(len(ops)), *range(len(ops))]))
        )
    )
)
def test_the_search_finds_what_trying_every_order_finds(
    drawn: tuple[list[tuple[str, int]], Sequence[int]],
) -> None:
    made, instants = drawn
    operations = [
        Operation(
            str(n), name, result, instants.index(n), len(instants) - 1 - instants[::-1].index(n)
        )
        for n, (name, result) in enumerate(made)
    ]
    expected: set[int] = set()
    for order in permutations(operations):
        if all(a.called < b.returned for i, a in enumerate(order) for b in order[i + 1 :]):
            ends = {0}
            for operation in order:
                ends = {state for end in ends for state in register(end, operation)}
            expected |= ends
    assert final_states(operations, [0], register) == expected


def test_what_cannot_be_explained_is_shown() -> None:
    history = History()
    history.call("one", "write", lambda: 1)
    history.call("other", "read", lambda: 0)
    with pytest.raises(AssertionError) as caught:
        check_linearizable(history, 0, register)
    assert str(caught.value) == (
        "not linearizable:\n  [  0,   1] one: write -> 1\n  [  2,   3] other: read -> 0"
    )


def test_a_call_that_fails_is_not_recorded() -> None:
    history = History()
    with pytest.raises(ZeroDivisionError):
        history.call("one", "write", lambda: 1 / 0)
    assert history.operations == []


@pytest.mark.parametrize(
    ("answers", "explained"),
    [
        ([("query", ("g1", 1)), ("query", ("g1", 1))], True),
        ([("query", ("g1", 1)), ("query", ("g1", 2))], False),
        ([("query", ("g1", 1)), ("clear", True), ("query", ("g1", 2))], True),
        ([("query", ("g1", 1)), ("clear", True), ("query", ("g1", 1))], False),
        ([("query", ("g1", 1)), ("evict", False), ("query", ("g1", 1))], True),
        ([("query", ("g1", 1)), ("evict", True), ("query", ("g1", 1))], False),
        ([("publish", "g2"), ("query", ("g1", 1))], False),
        ([("query", ("g1", 1)), ("publish", "g2"), ("query", ("g2", 2))], True),
        ([("query", ("g1", 1)), ("publish", "g2"), ("query", ("g2", 1))], False),
        ([("query", None), ("query", ("g1", 2))], True),
        ([("query", ("g1", 1)), ("query", None)], False),
        ([("query", ("g1", 1)), ("clear", True), ("query", None)], True),
    ],
)
def test_the_model_of_the_cache_says_what_is_promised(
    answers: list[tuple[str, object]], explained: bool
) -> None:
    operations = [
        Operation("one", name, result, 2 * n, 2 * n + 1) for n, (name, result) in enumerate(answers)
    ]
    assert bool(final_states(operations, [CacheState("g1")], cache_model)) == explained
