"""How many answers are worked out at once, and that a permit is given back, whatever ends its
holder's work; all else is in the scenarios of `own/scenarios/letting.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from cidx_ref.daemon.semaphore import LARGE, FairSemaphore, Turns
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build


@pytest.mark.promise("RPC-4", "RPC-5")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_what_ends_badly_gives_its_permit_back(error: type[BaseException]) -> None:
    semaphore = FairSemaphore(2, FakeRuntime())
    for _ in range(3):
        with pytest.raises(error), semaphore.permit():
            raise error if semaphore.free == 1 else AssertionError("came in without a permit")
        assert semaphore.free == 2


@pytest.mark.promise("PERF-3")
@pytest.mark.parametrize(
    ("mode", "is_large", "together"),
    [("hybrid", False, 3), ("fts", False, 1), ("fts", True, 3), ("hybrid", True, 3)],
)
def test_as_many_are_worked_on_at_once_as_there_are_processors_and_of_quick_full_text_one(
    make_project: MakeProject,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    is_large: bool,
    together: int,
) -> None:
    project = make_project()
    build(project)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2})
    # In its time nothing takes long.
    service = CIDXDaemonService(project.root, runtime=FakeRuntime())
    answered = service.exposed_query(str(project.root), "retry")  # it is loaded from now on
    chunks = service._served.chunks if service._served is not None else 0
    assert answered["results"]
    assert chunks == service.exposed_get_status()["chunks"]
    monkeypatch.setattr("cidx_ref.daemon.semaphore.LARGE", chunks + 1 - is_large)
    semaphore = service._turns.of(mode, chunks)
    go_on = SYSTEM.event("go on")
    inside: list[str] = []
    answer = IndexSnapshot.answer

    def held(self: IndexSnapshot, *arguments: Any, **named: Any) -> Any:
        inside.append("somebody")
        assert go_on.wait(30.0)
        return answer(self, *arguments, **named)

    monkeypatch.setattr(IndexSnapshot, "answer", held)
    asked = json.dumps({"project_path": str(project.root), "query": "retry"})
    answers: list[str] = []
    askers = [
        SYSTEM.thread(lambda: answers.append(service.exposed_call(f"query_{mode}", asked)), f"{n}")
        for n in range(8)
    ]
    deadline = SYSTEM.monotonic() + 30.0
    while semaphore.waiting < 8 - together or len(inside) < together:
        assert SYSTEM.monotonic() < deadline, "they do not wait"
        SYSTEM.sleep(0.001)
    assert len(inside) == together
    go_on.set()
    for asker in askers:
        asker.join(30.0)
    assert len(inside) == len(answers) == 8
    assert all("answer" in json.loads(said) for said in answers)


class _Placing(FakeRuntime):
    """Notes who is to be where."""

    def __init__(self) -> None:
        super().__init__()
        self.placed: list[bool] = []

    def gather(self, *, together: bool) -> None:
        self.placed.append(together)


@pytest.mark.promise("PERF-3")
def test_those_who_wait_for_quick_full_text_go_on_where_it_is_worked_on() -> None:
    runtime = _Placing()
    turns = Turns(runtime)
    with turns.turn("fts", 10):
        for mode, chunks in (("fts", 10), ("fts", 0), ("fts", LARGE), ("hybrid", 10), ("fts", 10)):
            turns.turn(mode, chunks)
    turns.turn("fts", 10)
    runtime.advance(1.0)
    turns.turn("fts", 10)
    assert runtime.placed == [False, True, False, False, False, True, True, False]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
def test_threads_that_are_gathered_run_on_one_processor_and_what_they_start_on_any() -> None:
    every = os.sched_getaffinity(0)
    seen: list[tuple[set[int], int]] = []

    def look() -> None:
        seen.append((os.sched_getaffinity(0), os.sched_getscheduler(0)))

    def gathered() -> None:
        for together in (True, True, False):
            SYSTEM.gather(together=together)
            look()
            SYSTEM.thread(look, "started").join(30.0)

    for _ in range(2):
        SYSTEM.thread(gathered, "gathered").join(30.0)
    look()
    one = seen[0]
    assert len(one[0]) == 1
    assert one[0] < every
    usual = os.sched_getscheduler(0)
    assert one[1] == (os.SCHED_BATCH if usual == os.SCHED_OTHER else usual)
    free = every, usual
    assert seen == [*[one, free, one, free, free, free] * 2, free]


def test_a_main_thread_stays_where_it_is_for_all_others_go_by_it() -> None:
    """A service may be called in its user's own process, by any thread."""
    asked = (
        "import os; from cidx_ref.runtime import SYSTEM; every = os.sched_getaffinity(0);"
        "SYSTEM.gather(together=True); assert os.sched_getaffinity(0) == every"
    )
    subprocess.run([sys.executable, "-c", asked], check=True, timeout=60)


def test_where_threads_may_not_be_placed_they_run_where_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(pid: int, processors: object) -> None:
        raise PermissionError("a sandbox")

    monkeypatch.setattr("os.sched_setaffinity", refused)
    ran: list[bool] = []

    def gathered() -> None:
        SYSTEM.gather(together=True)
        SYSTEM.thread(lambda: ran.append(True), "started").join(30.0)

    SYSTEM.thread(gathered, "gathered").join(30.0)
    assert ran == [True]
