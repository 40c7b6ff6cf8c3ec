"""Checks run one by one: what one of them meets neither hides nor becomes what another finds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from cidx_ref.testing.conformance import at_once, overdue, running
from cidx_ref.testing.conformance.bench import Bench, NotTried, judged
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.mutants import Mutant, plant
from cidx_ref.testing.conformance.running import UnknownNameError, plan, verify
from cidx_ref.testing.conformance.target import Attach, Cap, Spawn, Subjects, Target
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.excuses import Excuse
from cidx_ref.testing.promises.findings import Finding, Verdict, by_promise

pytestmark = pytest.mark.once


@check("keeps", "SRV-1", "SRV-2")
def keeps(bench: Bench) -> None:
    with bench.showing("SRV-1", "SRV-2"):
        pass


@check("breaks", "SRV-2", "SRV-3")
def breaks(bench: Bench) -> None:
    with bench.showing("SRV-2"):
        raise AssertionError("two of them served")


@check("fails", "SRV-4")
def fails(bench: Bench) -> None:
    raise TypeError("a bug\nof the check")


@check("silent", "SRV-5")
def silent(bench: Bench) -> None:
    pass


@check("lost", "CACHE-1")
def lost(bench: Bench) -> None:
    pass


@check("deep", "CACHE-2", "SRV-1", deep=True)
def in_depth(bench: Bench) -> None:
    with bench.showing("CACHE-2", "SRV-1"):
        pass


@check("indexes", "CACHE-5", needs={Cap.INDEX, Cap.CLEAR})
def indexes(bench: Bench) -> None:
    raise NotImplementedError


@check("asks", "QRY-1", spawns=False)
def asks(bench: Bench) -> None:
    with bench.showing("QRY-1"):
        pass


CHECKS = [keeps, breaks, fails, silent, lost, in_depth, indexes, asks]


def target(*checks: Check, **options: Any) -> Target:
    return Target(Spawn("otherd"), checks=checks or CHECKS, **options)


@pytest.fixture(autouse=True)
def _no_checks_but_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CHECK_MODULES", ())
    monkeypatch.setattr(running, "SUBJECTS", {})


def on_a_bench(check: Check, target: Target, *, deep: bool, seed: int) -> list[Finding]:
    if check.name == "lost":
        raise OSError("no space left")
    return judged(check, target, deep=deep, seed=seed)


def judge(subject: Target, **options: Any) -> list[Finding]:
    return verify(subject, judge=on_a_bench, **options)


def verdicts(findings: Sequence[Finding]) -> list[tuple[str, str, Verdict]]:
    return [(found.check, found.promise, found.verdict) for found in findings]


def test_every_check_comes_to_its_own_verdict_whatever_the_others_meet() -> None:
    found = judge(target())
    assert verdicts(found) == [
        ("indexes", "CACHE-5", Verdict.NOT_OFFERED),
        ("keeps", "SRV-1", Verdict.KEPT),
        ("keeps", "SRV-2", Verdict.KEPT),
        ("breaks", "SRV-2", Verdict.BROKEN),
        ("breaks", "SRV-3", Verdict.NOT_TRIED),
        ("fails", "SRV-4", Verdict.NOT_TRIED),
        ("silent", "SRV-5", Verdict.NOT_TRIED),
        ("lost", "CACHE-1", Verdict.NOT_TRIED),
        ("asks", "QRY-1", Verdict.KEPT),
    ]
    words = {f.promise: f.words for f in found}
    assert words["CACHE-5"] == "needs a method that empties the cache, and a method that indexes"
    assert words["SRV-3"], "why it is not tried"
    assert "TypeError: a bug\nof the check" in words["SRV-4"]
    assert words["SRV-5"]
    assert words["CACHE-1"].startswith("the check itself failed: OSError: no space left (test_r")


def test_an_interrupt_is_no_finding() -> None:
    def interrupted(bench: Bench) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(target(check("stops", "SRV-1")(interrupted)))


@pytest.mark.parametrize("error", [SystemExit(0), pytest.fail.Exception("no")])
def test_whatever_a_check_raises_the_next_one_is_run(error: BaseException) -> None:
    def raises(bench: Bench) -> None:
        raise error

    found = judge(target(check("raises", "SRV-4")(raises), keeps))
    assert [f.verdict for f in found] == [Verdict.NOT_TRIED, Verdict.KEPT, Verdict.KEPT]
    assert type(error).__name__ in found[0].words


def test_a_finding_names_its_check_and_one_command_that_shows_it_again() -> None:
    found = judge(target(breaks), name="mine:TARGET", seed=7, deep=True)[0]
    assert found.replay == "cidx-verify mine:TARGET --only breaks --seed 7 --deep"


def test_checks_in_depth_are_run_when_asked_for_in_general_or_by_name() -> None:
    assert "deep" not in {f.check for f in judge(target())}
    assert plan(target()).only_deep == ("CACHE-2",), "SRV-1 is tried by another check, too"
    assert ("deep", "CACHE-2", Verdict.KEPT) in verdicts(judge(target(), deep=True))
    assert {f.check for f in judge(target(), only=["deep"])} == {"deep"}


def test_only_what_is_asked_for_is_run_and_reported() -> None:
    assert verdicts(judge(target(), promises=["SRV-2"])) == [
        ("keeps", "SRV-2", Verdict.KEPT),
        ("breaks", "SRV-2", Verdict.BROKEN),
    ]
    assert {f.check for f in judge(target(), only=["keeps", "asks"])} == {"keeps", "asks"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": ["keps"]}, "there is no check 'keps' (is it 'keeps'?)"),
        ({"promises": ["SRV-2", "X-1"]}, "no check is about 'X-1'"),
    ],
)
def test_an_unknown_name_is_refused_before_anything_runs(options: Any, said: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        judge(target(), **options)
    assert str(refused.value) == said


def test_what_the_target_does_not_promise_is_neither_run_nor_judged() -> None:
    reasons = {"SRV-2": "one daemon for all", "SRV-3": "not yet", "SRV-4": "no"}
    found = judge(target(keeps, breaks, fails, not_offered=reasons))
    assert [(f.check, f.promise, f.words) for f in found if f.verdict is Verdict.NOT_OFFERED] == [
        ("keeps", "SRV-2", "one daemon for all"),
        ("breaks", "SRV-2", "one daemon for all"),
        ("breaks", "SRV-3", "not yet"),
        ("fails", "SRV-4", "no"),
    ]
    assert [f for f in found if f.verdict is not Verdict.NOT_OFFERED] == [found[-1]]
    assert (found[-1].promise, found[-1].verdict) == ("SRV-1", Verdict.KEPT)


def test_an_attached_daemon_is_only_asked() -> None:
    found = judge(Target(Attach("/run/otherd.sock"), checks=CHECKS))
    tried = {f.check for f in found if f.verdict is not Verdict.NOT_OFFERED}
    assert tried == {"asks"}
    assert "Spawn" in next(f.words for f in found if f.check == "keeps")


def test_an_excuse_is_applied_to_what_is_broken_only() -> None:
    excuses = [Excuse("SRV-2", "known"), Excuse("SRV-1", "not broken")]
    found = judge(target(keeps, breaks), excuses=excuses)
    assert [(f.promise, f.verdict) for f in found] == [
        ("SRV-1", Verdict.KEPT),
        ("SRV-2", Verdict.KEPT),
        ("SRV-2", Verdict.EXCUSED),
        ("SRV-3", Verdict.NOT_TRIED),
    ]
    assert found[2].words == "two of them served (excused: known)"


def test_a_listener_is_told_of_each_check() -> None:
    told: list[object] = []

    class Listener:
        def started(self, check: str, number: int, count: int) -> None:
            told.append((check, number, count))

        def finished(self, check: str, findings: Sequence[Finding]) -> None:
            told.append((check, [str(f.verdict) for f in findings]))

    judge(target(keeps, fails), listener=Listener())
    assert told == [
        ("keeps", 1, 2),
        ("keeps", ["kept", "kept"]),
        ("fails", 2, 2),
        ("fails", ["not tried"]),
    ]


@pytest.mark.parametrize("start", [Spawn("otherd"), Attach("/run/otherd.sock")])
def test_at_once_they_find_the_same_in_the_same_order(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def run_at_once(checks: Sequence[Check], run: Any, count: int, begun: Any) -> Any:
        counts.append(count)
        return at_once.run_at_once(list(reversed(checks)), run, count, begun)

    monkeypatch.setattr(running, "run_at_once", run_at_once)
    subject = Target(start, checks=CHECKS)
    found = judge(subject, at_once=3)
    assert [replace(f, seconds=0) for f in found] == [replace(f, seconds=0) for f in judge(subject)]
    assert counts == [1 if isinstance(start, Attach) else 3]


def test_a_mutant_may_bring_a_check_that_the_target_has_not() -> None:
    mutants = {
        "brings": Mutant("SRV-2", target=target(breaks)),
        "next": Mutant("SRV-2", target=target(keeps)),
    }
    came = list(plant(target(keeps), mutants, judge=on_a_bench))
    assert [(each.name, each.killed) for each in came] == [("brings", True), ("next", False)]


def test_parts_of_a_daemon_are_judged_like_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_cache(make: Callable[[], str], *, seed: int = 0) -> list[Finding]:
        return [Finding("CACHE-1", Verdict.BROKEN, f"{make()} with seed {seed}", trace="a; b")]

    monkeypatch.setattr(running, "check_cache", check_cache, raising=False)
    monkeypatch.setattr(running, "CACHE_PROMISES", ("CACHE-1", "CACHE-3"), raising=False)
    table = {"cache": ("running", "check_cache", "CACHE_PROMISES")}
    monkeypatch.setattr(running, "SUBJECTS", table)
    found = judge(target(asks, subjects=Subjects(cache=lambda: "a cache")), seed=3)
    assert verdicts(found) == [
        ("cache", "CACHE-1", Verdict.BROKEN),
        ("cache", "CACHE-3", Verdict.NOT_TRIED),
        ("asks", "QRY-1", Verdict.KEPT),
    ]
    assert found[0].words == "a cache with seed 3"
    absent = judge(target(asks))
    assert verdicts(absent)[0] == ("cache", "CACHE-1", Verdict.NOT_OFFERED)
    assert "Subjects.cache" in absent[0].words


@check("dies", "SRV-1", "SRV-2", "SRV-3")
def dies(bench: Bench) -> None:
    os._exit(0)


def test_of_a_check_that_ends_its_process_only_what_is_wanted_is_said() -> None:
    left_out = target(dies, not_offered={"SRV-3": "some day"})
    (found,) = verify(left_out, promises=["SRV-1"], only=["dies"], at_once=1, name="m:T")
    assert (found.promise, found.verdict) == ("SRV-1", Verdict.NOT_TRIED)
    assert found.replay == "cidx-verify m:T --only dies --seed 0"


@contextmanager
def raises_at_its_end() -> Iterator[None]:
    yield
    raise RuntimeError("not back")


@check("within", "SRV-2", inside=True)
def within(bench: Bench) -> None:
    with bench.showing("SRV-2"):
        pass


@check("dies-within", "SRV-3", inside=True)
def dies_within(bench: Bench) -> None:
    os._exit(9)


def test_a_mutant_that_cannot_be_planted_or_tried_is_told_and_others_are_judged() -> None:
    def raises() -> Any:
        raise RuntimeError("not now")

    mutants = {
        "raises": Mutant("SRV-2", patch=raises),
        "no context": Mutant("SRV-2", patch=lambda: 3),  # type: ignore[arg-type, return-value]
        "raises later": Mutant("SRV-2", patch=raises_at_its_end),
        "dies": Mutant("SRV-3", patch=nullcontext),
        "harmless": Mutant("SRV-2", patch=nullcontext),
    }
    came = list(plant(target(within, dies_within), mutants, at_once=1))
    assert not any(each.killed for each in came)
    assert {each.name: each.words for each in came} == {
        "raises": "not noticed by within (its patch failed: RuntimeError: not now)",
        "no context": "not noticed by within (its patch failed: TypeError: "
        "'int' object does not support the context manager protocol)",
        "raises later": "not noticed by within (its patch failed: RuntimeError: not back)",
        "dies": "not noticed by dies-within (its process ended with status 9 without a verdict)",
        "harmless": "not noticed by within",
    }


def shown_first(bench: Bench, *ids: str) -> None:
    with bench.showing(*ids):
        pass


def raises_behind_it(bench: Bench) -> None:
    shown_first(bench, "SRV-1")
    raise TypeError("a bug")


def leaves_behind_it(bench: Bench) -> None:
    shown_first(bench, "SRV-1")
    raise SystemExit(0)


def dies_behind_it(bench: Bench) -> None:
    shown_first(bench, "SRV-1")
    os._exit(0)


def cannot_show_it(bench: Bench) -> None:
    raise NotTried("no query takes long enough")


def cannot_show_more(bench: Bench) -> None:
    shown_first(bench, "SRV-1")
    raise NotTried("no query takes long enough")


@pytest.mark.parametrize(
    ("run", "at_once", "verdict"),
    [
        (fails.run, 0, Verdict.NOT_TRIED),
        (raises_behind_it, 0, Verdict.NOT_TRIED),
        (leaves_behind_it, 0, Verdict.NOT_TRIED),
        (dies_behind_it, 1, Verdict.NOT_TRIED),
        (cannot_show_it, 0, Verdict.KEPT),
        (cannot_show_more, 0, Verdict.KEPT),
        (silent.run, 0, Verdict.KEPT),
    ],
)
def test_what_another_check_kept_is_not_kept_where_one_did_not_come_to_its_end(
    run: Callable[[Bench], None], at_once: int, verdict: Verdict
) -> None:
    other = check("other", "SRV-1")(run)
    found = by_promise(judge(target(keeps, other), at_once=at_once))
    assert found["SRV-1"][0].verdict is verdict
    assert found["SRV-2"][0].verdict is Verdict.KEPT


def test_what_was_seen_to_be_broken_stays_so_where_the_check_fails_later() -> None:
    def sees_and_fails(bench: Bench) -> None:
        bench.note("SRV-1", Verdict.BROKEN, "two of them")
        raise pytest.fail.Exception("no")

    found = judge(target(check("other", "SRV-1", "SRV-2")(sees_and_fails)))
    assert [(each.verdict, each.unfinished) for each in found] == [
        (Verdict.BROKEN, False),
        (Verdict.NOT_TRIED, True),
    ]


def hangs(bench: Bench) -> None:
    shown_first(bench, "SRV-1")
    with bench.showing("SRV-2"):
        left_s, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left_s <= 300
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # until then nothing is in a hurry
        SYSTEM.event("never set").wait()


def sees_and_hangs(bench: Bench) -> None:
    bench.note("SRV-1", Verdict.BROKEN, "two of them")
    hangs(bench)


@pytest.mark.parametrize("at_once", [0, 1])
def test_a_check_that_does_not_end_is_ended_and_what_it_saw_counts(at_once: int) -> None:
    slow = [
        check("hangs", "SRV-1", "SRV-2")(hangs),
        check("sees", "SRV-1", "SRV-2")(sees_and_hangs),
    ]
    found = judge(target(*slow, keeps), at_once=at_once)
    assert verdicts(found) == [
        ("hangs", "SRV-1", Verdict.NOT_TRIED),
        ("hangs", "SRV-2", Verdict.NOT_TRIED),
        ("sees", "SRV-1", Verdict.BROKEN),
        ("sees", "SRV-2", Verdict.NOT_TRIED),
        ("keeps", "SRV-1", Verdict.KEPT),
        ("keeps", "SRV-2", Verdict.KEPT),
    ]
    assert found[1].words == "the check was ended: it does not end within 300 s"
    assert found[1].unfinished
    assert "in hangs" in found[1].trace, "where it was"


def test_a_part_that_does_not_end_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "check_cache", lambda make: make(), raising=False)
    monkeypatch.setattr(running, "CACHE_PROMISES", ("CACHE-1",), raising=False)
    monkeypatch.setattr(
        running, "SUBJECTS", {"cache": ("running", "check_cache", "CACHE_PROMISES")}
    )
    monkeypatch.setattr(running, "within", lambda seconds: overdue.within(0.01))
    never = SYSTEM.event("never set")
    found = judge(target(asks, subjects=Subjects(cache=never.wait)))
    assert found[0].words == "the check was ended: it does not end within 0.01 s"
    assert (found[0].promise, found[0].unfinished) == ("CACHE-1", True)


@pytest.mark.parametrize("at_once", [0, 1])
def test_a_limit_may_be_longer_than_anybody_waits(at_once: int) -> None:
    found = judge(target(replace(keeps, limit_s=1e9)), at_once=at_once, deep=True)
    assert [each.verdict for each in found] == [Verdict.KEPT, Verdict.KEPT]


def test_in_depth_a_check_may_take_ten_times_as_long() -> None:
    one = replace(keeps, limit_s=7)
    assert [plan(target(one), deep=deep).checks[0].limit_s for deep in (False, True)] == [7, 70]


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """The alarms of a test's own time limit."""
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    yield heard
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_somebody_elses_alarm_goes_on_behind_the_checks(alarms: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 900, 7)
    with overdue.within(500):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 500
    left_s, every_s = signal.getitimer(signal.ITIMER_REAL)
    assert 800 < left_s <= 900
    assert every_s == 7
    signal.raise_signal(signal.SIGALRM)
    assert alarms, "its handler is there again"


def test_somebody_elses_alarm_that_comes_sooner_is_left_alone(alarms: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 400)
    with overdue.within(500):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 400
        signal.raise_signal(signal.SIGALRM)
    assert alarms
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 0


def test_a_check_in_another_thread_has_no_limit() -> None:
    found: list[Finding] = []
    thread = SYSTEM.thread(lambda: found.extend(judge(target(keeps))), "judge")
    thread.join()
    assert [each.verdict for each in found] == [Verdict.KEPT, Verdict.KEPT]
