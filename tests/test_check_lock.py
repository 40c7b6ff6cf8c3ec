"""`check_lock` finds what is wrong with a lock, and nothing else."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
import small_locks
from small_locks import maker

from cidx_ref.testing.concurrency.instrument import instrumented
from cidx_ref.testing.conformance.parts import shell
from cidx_ref.testing.conformance.parts.lock import LOCK_PROMISES, check_lock
from cidx_ref.testing.conformance.parts.replaying import replay
from cidx_ref.testing.promises.findings import Finding, Verdict

pytestmark = pytest.mark.once


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {finding.promise: finding.verdict for finding in findings}


DEFECTS: dict[str, tuple[str, str]] = {
    "Open": ("WRITE-1", "were inside together"),
    "KeptByErrors": ("WRITE-1", "deadlock"),
    "Swallows": ("WRITE-1", "the lock swallows what is raised"),
    "LostWakeUp": ("WRITE-1", "deadlock"),
    "NotifiedBeforeTheWait": ("WRITE-1", "deadlock|were inside together"),
    "TakenByWhoGaveUp": ("WRITE-1", "deadlock|not free any more|did not get it"),
    "Hasty": ("WRITE-1", "gave up after 0.1 s, and was given 1 s"),
    "Overtaken": ("WRITE-1", "overtaken by a reader that came later"),
    "WritesTogether": ("WRITE-1", "were inside together"),
    "ReaderTellsNobody": ("WRITE-1", "deadlock"),
    "ReaderKeptByErrors": ("WRITE-1", "deadlock"),
    "WritesOverReaders": ("WRITE-2", "came in while .* was reading"),
    "ReadersOneByOne": ("RPC-4", "one reader at a time"),
}
#: When the first of two writers leaves, a reader comes in to the second.
BESIDES = {"WritesTogether": {"WRITE-2"}}
READERS = ("Shared", "WritersFirst")


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_by_its_promise_alone(name: str) -> None:
    promise, words = DEFECTS[name]
    found = check_lock(maker(name))
    broken = [finding for finding in found if finding.verdict is Verdict.BROKEN]
    assert {finding.promise for finding in broken} == {promise, *BESIDES.get(name, ())}
    assert re.search(words, broken[0].words)
    assert "step" in broken[0].trace
    assert Verdict.NOT_TRIED not in verdicts(found).values()


@pytest.mark.parametrize("name", ["Token", "Bell", "Tickets", *READERS])
def test_a_right_lock_of_any_style_is_not_blamed(name: str) -> None:
    found = verdicts(check_lock(maker(name)))
    other = Verdict.KEPT if name in READERS else Verdict.NOT_OFFERED
    assert found == {"WRITE-1": Verdict.KEPT, "WRITE-2": other, "RPC-4": other}


@pytest.mark.parametrize("make", [small_locks.real, small_locks.recursive])
def test_the_librarys_own_locks_are_right(make: Any) -> None:
    assert verdicts(check_lock(instrumented(make, small_locks)))["WRITE-1"] is Verdict.KEPT


def test_what_is_no_lock_is_not_tried_and_that_is_said() -> None:
    found = check_lock(lambda runtime: object())
    assert set(verdicts(found).values()) == {Verdict.NOT_TRIED}
    assert "object has neither read() and write(), nor acquire()" in found[0].words


def test_a_lock_that_keeps_nobody_out_is_broken() -> None:
    assert verdicts(check_lock(lambda runtime: nullcontext()))["WRITE-1"] is Verdict.BROKEN


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (small_locks.token, r"Token\.tokens: .* instrumented\(make, 'small_locks'\)"),
        (small_locks.real, r"lock: of the real library"),
        (lambda runtime: small_locks.Shared(), r"Shared\.bell: of the real library"),
    ],
)
def test_a_lock_that_no_scheduler_controls_is_named_at_once(make: Any, words: str) -> None:
    found = check_lock(make)
    assert set(verdicts(found).values()) == {Verdict.NOT_TRIED}
    assert re.search(words, found[0].words)


def test_what_is_not_offered_is_not_looked_at() -> None:
    found = check_lock(maker("WritesOverReaders"), not_offered={"WRITE-2": "dirty reads are fine"})
    assert verdicts(found)["WRITE-2"] is Verdict.NOT_OFFERED
    assert {finding.promise: finding.words for finding in found}[
        "WRITE-2"
    ] == "dirty reads are fine"
    assert set(verdicts(found)) == set(LOCK_PROMISES)


def test_a_finding_is_seen_again_by_its_replay_line(capsys: pytest.CaptureFixture[str]) -> None:
    make = instrumented(small_locks.kept_by_errors, small_locks)
    finding = check_lock(make)[0]
    command, schedule = finding.replay.split('"')[:2]
    *_, kind, made, trial = command.split()
    assert (kind, made, trial) == ("lock", "small_locks:kept_by_errors", "WriterThatRaises")
    options = ["--instrument", "small_locks"]
    assert shell.main([kind, made, trial, schedule, *options]) == 3
    assert "deadlock" in capsys.readouterr().out
    assert "deadlock" in replay("lock", make, trial, schedule)
    assert shell.main([kind, "small_locks:token", trial, schedule, *options]) == 0
    assert capsys.readouterr().out == "not broken\n"


def test_from_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--instrument", "small_locks"]
    assert shell.main(["lock", "small_locks:token", *options]) == 0
    assert "WRITE-1  kept: nothing that was tried broke it (" in capsys.readouterr().out
    assert shell.main(["lock", "small_locks:kept_by_errors", *options]) == 3
    assert "to see it again: python -m cidx_ref" in capsys.readouterr().out
    for wrong in (["nowhere:x"], ["small_locks:nothing"], ["small_locks:token", "NoTrial"]):
        assert shell.main(["lock", *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
