"""`check_cache` finds what is wrong with a cache, and nothing else, whoever wrote it."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import small_caches
from small_caches import mine

from cidx_ref.testing.conformance.parts import shell
from cidx_ref.testing.conformance.parts.cache import CACHE_PROMISES, check_cache, check_ttl
from cidx_ref.testing.conformance.parts.lock import check_lock
from cidx_ref.testing.own.mutants import MUTANTS, Mutant
from cidx_ref.testing.own.parts import make_cache
from cidx_ref.testing.promises.findings import Finding, Verdict

MakeCache = Callable[..., Any]


pytestmark = pytest.mark.once


def verdicts(findings: list[Finding], verdict: Verdict) -> set[str]:
    return {finding.promise for finding in findings if finding.verdict is verdict}


def broken(findings: list[Finding]) -> set[str]:
    return verdicts(findings, Verdict.BROKEN)


#: A cache, what it breaks, and what is seen.
DEFECTS: dict[str, tuple[str, str]] = {
    "LooksAndLoads": ("CACHE-1", "queries at once loaded 2 times"),
    "LostWakeUp": ("CACHE-1", "deadlock: .* waits for event loaded"),
    "RemembersFailures": ("CACHE-2", "fails without a new load"),
    "LeavesALoadBehind": ("CACHE-2", "deadlock"),
    "InstalledAfterAClear": ("CACHE-3", "begun before the clear is cached after it"),
    "ClosedInUse": ("CACHE-4", "was closed while somebody used it"),
    "ReadAgainAfterTheLock": ("CACHE-4", "a query raised AttributeError"),
    "ClearsOnErrors": ("CACHE-6", "a query that failed changed what later ones find"),
    "PinLeftByErrors": ("CACHE-6", "a query that failed changed what later ones find"),
    "KeepsWhatItClears": ("CACHE-7", "neither closed nor let go of"),
    "LetsGoOfWhatItEvicts": ("CACHE-7", "after a check not closed, as others are"),
    "NeverLooksAgain": ("CACHE-8", "v2 was published, then v1 answered"),
    "OutlivesTheTtl": ("TTL-1", "still there at a check 600 s after its last use"),
    "ExpiresEarly": ("TTL-1", "gone 599.5 s after it was used"),
    "TouchedAtTheBeginning": ("TTL-2", "after a use had ended"),
    "TouchedAtTheEnd": ("TTL-2", "evicted|gone 0 s after a use had ended"),
    "WallClock": ("TTL-3", "a step of the wall clock changed what is cached"),
    "ChecksOnce": ("TTL-4", "no check after one in which closing a value has failed"),
    "SleepsOn": ("TTL-4", "told to stop, the thread that checks sleeps on"),
    "NeverChecks": ("TTL-4", "outlives the TTL"),
    "OneAtATime": ("RPC-4", "one query at a time"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_by_its_promise_with_the_shortest_way_there(name: str) -> None:
    promise, words = DEFECTS[name]
    found = check_cache(getattr(small_caches, name), promises=[promise])
    assert broken(found) == {promise}
    finding = found[0]
    assert re.search(words, finding.words)
    assert finding.trace or promise == "TTL-4"
    assert len(finding.trace.splitlines()) < 60
    assert f"small_caches:{name}" in finding.replay
    assert sum(finding.tried.values()) > 0


@pytest.mark.parametrize(
    ("name", "promise", "said"),
    [
        ("NoneAtFirst", "CACHE-1", "asked for the first time, "),
        ("NoneIfCached", "CACHE-1", "asked for the second time, "),
        ("NoneWhileLoading", "CACHE-1", ""),
        ("NoneForAFailure", "CACHE-2", ""),
    ],
)
def test_none_in_the_place_of_a_value_is_called_so(name: str, promise: str, said: str) -> None:
    found = check_cache(getattr(small_caches, name), promises=[promise])[0]
    began = "load 1 of v1 was" if name in ("NoneAtFirst", "NoneForAFailure") else "no load was"
    assert found.words == (
        f"{'could not be judged: ' * bool(said)}{said}get() returned None, and not what "
        f"source.load returned, or its error (meanwhile {began} begun)"
    )
    assert found.verdict is (Verdict.NOT_TRIED if said else Verdict.BROKEN)


@pytest.mark.deep
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_breaks_nothing_else(name: str) -> None:
    assert broken(check_cache(getattr(small_caches, name))) == {DEFECTS[name][0]}


@pytest.mark.deep
@pytest.mark.parametrize("make", [small_caches.Pinned, make_cache])
def test_a_right_cache_is_not_blamed_in_depth_either(make: MakeCache) -> None:
    found = check_cache(make, deep=True, seed=7)
    assert not broken(found), [f for f in found if f.verdict is Verdict.BROKEN]


#: A cache that is right, and what it does not offer.
RIGHT: dict[str, tuple[MakeCache, set[str]]] = {
    "Checking": (small_caches.Checking, set()),
    "ours": (make_cache, set()),
    "Tools": (
        small_caches.Tools,
        {"CACHE-6", "CACHE-8", "RPC-4", "TTL-2", "TTL-4"},
    ),
    "Recursive": (mine(small_caches.Recursive), {"CACHE-6", "RPC-4", "TTL-4"}),
    "Futures": (mine(small_caches.Futures), {"CACHE-6", "CACHE-8", "RPC-4", "TTL-4"}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_cache_of_any_style_is_not_blamed(name: str) -> None:
    make, absent = RIGHT[name]
    found = check_cache(make)
    assert not broken(found), [f for f in found if f.verdict is Verdict.BROKEN]
    assert verdicts(found, Verdict.NOT_OFFERED) == absent
    assert verdicts(found, Verdict.KEPT) == set(CACHE_PROMISES) - absent
    assert Counter(finding.promise for finding in found) == Counter(CACHE_PROMISES)
    for finding in found:
        assert finding.words
        assert bool(finding.tried) == (finding.verdict is Verdict.KEPT)


def test_the_storys_own_cache_breaks_what_it_is_known_to_break() -> None:
    found = check_cache(mine(small_caches.Story))
    assert broken(found) == {
        *("CACHE-3", "CACHE-4", "RPC-4"),
        *("TTL-1", "TTL-2", "TTL-3"),
    }


def test_a_cache_whose_locks_no_scheduler_controls_is_named_at_once() -> None:
    found = check_cache(small_caches.Recursive)
    assert {finding.verdict for finding in found} == {Verdict.NOT_TRIED}
    assert "Recursive.lock: of the real library" in found[0].words
    assert "instrumented(make, 'small_caches')" in found[0].words


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda source, ttl_s, runtime: object(), "object has neither get() nor use()"),
        (lambda source, ttl_s, runtime: Hands(3), "it hands out 3, and not what source.load"),
        (lambda source: object(), "unexpected keyword argument"),
    ],
)
def test_what_is_no_cache_is_not_tried_and_that_is_said(make: MakeCache, words: str) -> None:
    found = check_cache(make)
    assert {finding.verdict for finding in found} == {Verdict.NOT_TRIED}
    assert words in found[0].words


@pytest.mark.parametrize("judge", [check_cache, check_lock])
def test_a_part_that_ends_the_interpreter_is_not_tried_and_ends_nothing(judge: Any) -> None:
    found = judge(lambda *_, **__: sys.exit(0))
    assert {finding.verdict for finding in found} == {Verdict.NOT_TRIED}
    assert "could not be judged: SystemExit: 0" in found[0].words


class Hands:
    def __init__(self, value: object) -> None:
        self.value = value

    def get(self) -> object:
        return self.value


def test_what_is_declared_not_to_be_offered_is_not_looked_at() -> None:
    reasons = {"TTL-1": "it lives until noon", "CACHE-3": "clears are rare"}
    found = check_cache(small_caches.InstalledAfterAClear, not_offered=reasons)
    assert not broken(found)
    assert {f.promise: f.words for f in found if f.promise in reasons} == reasons


def test_one_broken_promise_hides_no_other() -> None:
    class Both(small_caches.OutlivesTheTtl, small_caches.InstalledAfterAClear):
        pass

    class Three(Both, small_caches.ReadAgainAfterTheLock):
        pass

    assert broken(check_cache(Both)) == {"TTL-1", "CACHE-3"}
    assert broken(check_cache(Three)) == {"TTL-1", "CACHE-3", "CACHE-4"}


@pytest.mark.parametrize("name", ["OutlivesTheTtl", "InstalledAfterAClear", "SleepsOn"])
def test_a_finding_is_seen_again_by_its_replay_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    promise, words = DEFECTS[name]
    finding = check_cache(getattr(small_caches, name), promises=[promise])[0]
    arguments = shlex.split(finding.replay)[3:]
    assert shell.main(arguments) == 3
    assert re.search(words, capsys.readouterr().out)
    arguments[1] = "small_caches:Checking"
    assert shell.main(arguments) == 0
    assert capsys.readouterr().out == "not broken\n"


def test_the_same_is_found_each_time() -> None:
    def found() -> list[tuple[str, str, str, object]]:
        told = check_cache(mine(small_caches.Story), promises=["CACHE-3", "CACHE-4", "TTL-1"])
        return [(f.promise, f.words, f.trace, f.tried) for f in told]

    assert found() == found()


def test_the_part_about_time_alone() -> None:
    found = check_ttl(small_caches.OutlivesTheTtl)
    assert broken(found) == {"TTL-1"}
    assert {finding.promise for finding in found} == {f"TTL-{n}" for n in (1, 2, 3, 4)}
    assert {finding.check for finding in found} == {"ttl"}


#: Mutants of our own cache of which its users see nothing, or only those of the whole daemon.
UNSEEN = {
    "interrupted_waiter_leaves_a_pin": "there is no telling when a thread waits",
    **dict.fromkeys(
        ("successor_outlives_a_clear", "successor_succeeds_unpublished", "successor_is_left_open"),
        "an index run of the daemon's own",
    ),
    **dict.fromkeys(
        ("a_segment_is_closed_with_its_first_generation", "a_second_load_is_forgotten"),
        "what a value is made of",
    ),
    **dict.fromkeys(
        (
            "what_the_full_cidx_publishes_is_not_seen",
            "a_look_counts_for_ever",
            "a_graph_and_its_description_are_taken_as_they_are_met",
        ),
        "what is read of a disk",
    ),
    "memory_is_kept": "what the allocator does",
    "slow_answers_count_for_ever": "before a query comes to the cache",
    "error_ends_the_clockwork": "an error in a check that is not of a value",
    "checks_late": "when within the first interval a check comes",
}


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=name)
        for name, mutant in MUTANTS.items()
        if mutant.promise in CACHE_PROMISES and name not in UNSEEN
    ],
)
def test_a_mutant_of_our_own_cache_is_caught_by_its_promise(mutant: Mutant) -> None:
    # In depth is looked for threads that are interrupted, and in a second or two.
    is_rare = mutant.name == "interruption_is_shared"
    with mutant.planted():
        found = check_cache(make_cache, promises=[mutant.promise], deep=is_rare)
    assert broken(found) == {mutant.promise}
