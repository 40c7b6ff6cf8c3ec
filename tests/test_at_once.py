"""Checks in processes of their own: how many at a time, what comes of one that dies, and an end."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest

from cidx_ref.testing.conformance.at_once import run_at_once
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.promises.findings import Finding, Verdict

pytestmark = pytest.mark.once

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 30.0


def make(name: str, *, alone: bool = False) -> Check:
    return Check(name, ("SRV-1", "SRV-2"), frozenset(), lambda bench: None, alone=alone)


def keeps(check: Check) -> list[Finding]:
    return [Finding("SRV-1", Verdict.KEPT, check.name)]


def judge(
    checks: Sequence[Check], run: Callable[[Check], list[Finding]], count: int
) -> dict[str, list[Finding]]:
    return {check.name: found for check, found in run_at_once(checks, run, count, lambda check: 0)}


def test_so_many_run_at_a_time_and_each_gives_its_own_findings() -> None:
    meeting = FORK.Barrier(3)
    met = [make(f"{n}") for n in range(6)]

    def run(check: Check) -> list[Finding]:
        meeting.wait(PATIENCE_S)  # else it raises, and the check has no findings of its own
        return keeps(check)

    found = judge(met, run, 3)
    assert {name: each[0].words for name, each in found.items()} == {
        str(n): str(n) for n in range(6)
    }


def test_no_more_run_than_that_and_nothing_beside_what_measures() -> None:
    at_work, most = FORK.Semaphore(2), FORK.Value("i", 0)
    checks = [make("a"), make("slow", alone=True), make("b"), make("slower", alone=True), make("c")]
    begun: list[str] = []

    def run(check: Check) -> list[Finding]:
        assert at_work.acquire(block=False), "a third one runs"
        if check.alone:
            assert at_work.acquire(block=False), "something runs beside what measures"
            at_work.release()
        with most.get_lock():
            most.value += 1
        at_work.release()
        return keeps(check)

    ended = run_at_once(checks, run, 2, lambda check: begun.append(check.name))
    said = [check.name for check, found in ended if found]
    assert most.value == 5
    assert begun == ["a", "b", "c", "slow", "slower"]
    assert said[-2:] == ["slow", "slower"]


@pytest.mark.parametrize(
    ("die", "said"),
    [
        (lambda: os._exit(7), "its process ended with status 7 without a verdict"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL),
         "its process was killed by signal 9 without a verdict"),
    ],
    ids=["exits", "is killed"],
)  # fmt: skip
def test_a_check_that_ends_its_process_is_not_tried_and_others_are(
    die: Callable[[], Any], said: str
) -> None:
    def run(check: Check) -> list[Finding]:
        if check.name == "dies":
            die()
        return keeps(check)

    found = judge([make("keeps"), make("dies"), make("keeps too")], run, 2)
    assert found["dies"] == [
        Finding(id_, Verdict.NOT_TRIED, said, "dies") for id_ in ("SRV-1", "SRV-2")
    ]
    assert [found[name][0].verdict for name in ("keeps", "keeps too")] == [Verdict.KEPT] * 2


def test_who_listens_no_more_ends_those_at_work_which_may_tidy_up(tmp_path: Any) -> None:
    at_work = FORK.Semaphore(0)

    def run(check: Check) -> list[Finding]:
        if check.name == "quick":
            assert at_work.acquire(timeout=PATIENCE_S)
            return keeps(check)
        (tmp_path / "pid").write_text(str(os.getpid()))
        try:
            at_work.release()
            signal.pause()
        finally:
            # A second interrupt, as of a terminal, does not come between.
            os.kill(os.getpid(), signal.SIGINT)
            (tmp_path / "tidy").touch()
        return []

    checks = [make("long"), make("quick"), make("not begun")]
    begun: list[str] = []
    with closing(run_at_once(checks, run, 2, lambda check: begun.append(check.name))) as running:
        assert next(running)[0].name == "quick"
    assert (tmp_path / "tidy").exists()
    assert end_of(int((tmp_path / "pid").read_text()), 0)
    assert begun == ["long", "quick"]
