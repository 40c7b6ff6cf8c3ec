"""Checks in processes of their own: how many at a time, what comes of one that dies, and an end."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import tempfile
import threading  # noqa: TID251 - what a project may leave
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import kit_targets
import pytest

from cidx_ref.testing.conformance import at_once
from cidx_ref.testing.conformance.at_once import run_at_once
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.homes import RUN, home
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Finding, Verdict

pytestmark = pytest.mark.once

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 30.0


def make(name: str, **options: Any) -> Check:
    return Check(name, ("SRV-1", "SRV-2"), frozenset(), lambda bench: None, **options)


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
        Finding(id_, Verdict.NOT_TRIED, said, "dies", unfinished=True) for id_ in ("SRV-1", "SRV-2")
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


class Unspeakable(str):
    def __reduce__(self) -> Any:
        raise TypeError("not me")


def test_what_cannot_be_passed_on_is_said_in_words(capfd: Any) -> None:
    def run(check: Check) -> list[Finding]:
        return [Finding("SRV-1", Verdict.BROKEN, Unspeakable("x"))]

    said = "what it found cannot be passed on: TypeError: not me"
    assert [found.words for found in judge([make("odd")], run, 1)["odd"]] == [said] * 2
    assert capfd.readouterr().err == ""


def test_a_check_that_closes_all_files_is_not_tried(capfd: Any) -> None:
    def run(check: Check) -> list[Finding]:
        os.closerange(3, 1024)
        return keeps(check)

    said = "its process ended with status 1 without a verdict"
    assert judge([make("closes")], run, 1)["closes"][0].words == said
    assert capfd.readouterr().err == ""


def test_a_process_that_a_check_leaves_is_not_waited_for() -> None:
    go, gone = os.pipe()

    def run(check: Check) -> list[Finding]:
        if not os.fork():
            os.close(gone)
            os.read(go, 1)
            os._exit(0)
        os._exit(3)

    try:
        said = "its process ended with status 3 without a verdict"
        assert judge([make("leaves")], run, 1)["leaves"][0].words == said
    finally:
        os.close(gone)
        os.close(go)


def test_a_thread_that_a_check_leaves_is_not_waited_for(monkeypatch: Any) -> None:
    monkeypatch.setattr(at_once, "_LINGER_S", 0.0)

    def run(check: Check) -> list[Finding]:
        threading.Thread(target=threading.Event().wait).start()
        return keeps(check)

    assert judge([make("leaves")], run, 1)["leaves"] == keeps(make("leaves"))


def _until_it_is_deaf(check: Check, at_work: Any) -> list[Finding]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    at_work.send(os.getpid())
    while True:
        signal.pause()


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_one_that_does_not_end_when_it_is_told_is_ended(again: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(at_once, "_TIDY_S", PATIENCE_S if again else 0.0)
    monkeypatch.setattr(at_once, "_HASTY_S", 0.0)
    here, there = FORK.Pipe(duplex=False)

    def run(check: Check) -> list[Finding]:
        if check.name == "deaf":
            return _until_it_is_deaf(check, there)
        return keeps(check)

    running = run_at_once([make("deaf"), make("quick")], run, 2, lambda check: 0)
    assert next(running)[0].name == "quick"
    pid = here.recv()
    if again:

        def interrupted(*_: object) -> None:
            monkeypatch.undo()
            monkeypatch.setattr(at_once, "_HASTY_S", 0.0)
            raise KeyboardInterrupt

        monkeypatch.setattr(at_once, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            running.close()
    else:
        running.close()
    assert end_of(pid, 0)


def _started_and_deaf(check: Check, at_work: Any) -> list[Finding]:
    """All that may outlive it: what it started, what it forked, and a directory."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGTERM])
    with Bench(kit_targets.target(), home=Path(tempfile.gettempdir())) as bench:
        started = bench.household.start(["sleep", "60"])
        if not (forked := os.fork()):
            SYSTEM.sleep(60)  # to be ended before
            os._exit(0)
        at_work.send([bench.directory, started.pid, forked, os.getpid()])
        if check.name == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    return []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hangs", "it does not end within 0.05 s, nor when it is told to"),
        ("dies", "its process was killed by signal 9 without a verdict"),
    ],
)
def test_all_that_was_started_ends_with_a_check_that_does_not_tidy_up(
    name: str, said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where nobody else sweeps
    monkeypatch.setattr(at_once, "_TIDY_S", 0.0)
    here, there = FORK.Pipe(duplex=False)

    class Clock:
        """Time passes when it is at work."""

        def monotonic(self) -> float:
            return 1e9 if name == "hangs" and here.poll() else 0.0

    monkeypatch.setattr(at_once, "SYSTEM", Clock())
    check = make(name, limit_s=0.05)
    found = judge(
        [check, make("keeps")],
        lambda check: keeps(check) if check.name == "keeps" else _started_and_deaf(check, there),
        1,
    )
    assert found["keeps"] == keeps(make("keeps"))
    assert {(each.words, each.unfinished) for each in found[name]} == {(said, True)}
    directory, *pids = here.recv()
    assert all(end_of(pid, PATIENCE_S) for pid in pids)
    assert not directory.exists()


def test_a_run_that_is_killed_ends_those_at_work_too_and_leaves_no_directory(
    tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    here, there = FORK.Pipe(duplex=False)

    def run(check: Check) -> list[Finding]:
        try:
            there.send(os.getpid())
            signal.pause()
        finally:
            (tmp_path / "tidy").touch()
        return []

    def judge_at_home() -> None:
        there.send(home(RUN).path)
        judge([make("long")], run, 1)

    run_of_all = FORK.Process(target=judge_at_home)
    run_of_all.start()
    where, pid = here.recv(), here.recv()
    assert where.parent == tmp_path
    run_of_all.kill()
    run_of_all.join()
    assert end_of(pid, PATIENCE_S)
    assert (tmp_path / "tidy").exists()
    assert not where.exists()


@pytest.mark.parametrize("starts", ["fork", "pidfd_open"])
def test_where_there_is_no_process_for_a_check_others_are_judged(
    starts: str, monkeypatch: Any
) -> None:
    start, names = getattr(os, starts), iter(["first", "second", "third"])

    def starting(*args: Any) -> Any:
        if next(names) == "second":
            return start(*args)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, starts, starting)
    found = judge([make("first"), make("second"), make("third")], keeps, 1)
    said = "there is no process for it: Resource temporarily unavailable"
    assert [each.words for each in found["first"] + found["third"]] == [said] * 4
    assert found["second"] == keeps(make("second"))
    assert not multiprocessing.active_children()


def test_where_processes_are_scarce_fewer_run_at_a_time_and_all_are_judged(
    monkeypatch: Any,
) -> None:
    fork, calls = os.fork, count(1)

    def forking() -> int:
        if next(calls) == 3:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    monkeypatch.setattr(os, "fork", forking)
    checks, begun = [make(f"{n}") for n in range(5)], list[str]()
    pairs = run_at_once(checks, keeps, 4, lambda check: begun.append(check.name))
    assert {check.name: found for check, found in pairs} == {
        check.name: keeps(check) for check in checks
    }
    assert begun == ["0", "1", "2", "3", "4"]


def test_an_interrupt_that_another_thread_takes_comes_when_the_check_is_known() -> None:
    """A mask is of one thread, and Python handles in the main one what another one takes."""
    known: list[str] = []

    def begun(check: Check) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.read(taken, 1)
        for _ in range(1000):  # where Python looks for what it has to handle
            pass
        known.append(check.name)

    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    taken, told = os.pipe()
    os.set_blocking(told, False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    told_before = signal.set_wakeup_fd(told)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(run_at_once([make("one")], keeps, 1, begun))
    finally:
        signal.set_wakeup_fd(told_before)
        signal.signal(signal.SIGINT, before)
        os.close(taken)
        os.close(told)
        over.set()
        other.join()
    assert known == ["one"]
