"""The checks of starts and of indexes find what is wrong with a daemon, and blame none that is
right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from indexes_target import indexes

from cidx_ref.testing.conformance.bench import judged
from cidx_ref.testing.conformance.indexes import CHECKS, expiry
from cidx_ref.testing.conformance.lives import CHECKS as LIVES
from cidx_ref.testing.conformance.target import Spawn
from cidx_ref.testing.promises.findings import Verdict
from cidx_ref.testing.promises.registry import PROMISES

pytestmark = pytest.mark.once

BY_NAME = {check.name: check for check in (*CHECKS, *LIVES)}
DEEP = pytest.mark.deep

#: Of each defect: the check that finds it, and the promise that it breaks there.
DEFECTS: list[tuple[str, str, str, pytest.MarkDecorator | None]] = [
    ("asks_and_binds", "start-races", "SRV-2", None),
    ("a_socket_is_a_daemon", "start-races", "SRV-2", DEEP),
    ("a_socket_is_a_daemon", "start-after-kill", "SRV-3", None),
    ("is_slow_to_start", "start-after-kill", "SRV-3", DEEP),
    ("everybody_loads", "one-load", "CACHE-1", None),
    ("remembers_a_failure", "load-again", "CACHE-2", None),
    ("installs_what_is_stale", "no-stale-load", "CACHE-3", None),
    ("takes_it_twice", "one-generation", "CACHE-4", None),
    ("answers_from_two", "index-is-answered", "CACHE-4", DEEP),
    ("never_looks", "index-is-answered", "CACHE-5", None),
    ("looks_when_it_has_indexed", "other-writer", "CACHE-8", None),
    ("errors_empty_the_cache", "errors-keep", "CACHE-6", None),
    ("keeps_what_it_clears", "memory-back", "CACHE-7", None),
    ("lives_for_ever", "ttl-passes", "TTL-1", DEEP),
    ("is_gone_too_early", "ttl-passes", "TTL-1", DEEP),
    ("counts_from_the_load", "use-renews", "TTL-2", DEEP),
    ("never_checks", "eviction-checks", "TTL-4", DEEP),
    ("sleeps_through_a_stop", "eviction-checks", "TTL-4", DEEP),
    ("waits_for_the_index", "nobody-waits", "WRITE-2", DEEP),
    ("takes_away_first", "nobody-waits", "WRITE-2", DEEP),
    ("writes_in_place", "nobody-waits", "WRITE-2", DEEP),
    ("writes_in_place", "killed-writer", "WRITE-3", None),
    ("takes_away_first", "killed-writer", "WRITE-3", DEEP),
    ("writers_do_not_wait", "writers-take-turns", "WRITE-1", DEEP),
    ("watches_nothing", "saved-is-found", "FRESH-1", DEEP),
    ("fresh_is_a_word", "fresh-is-fresh", "FRESH-2", None),
    ("says_nothing_of_changes", "changed-is-said", "FRESH-3", None),
    ("keeps_what_is_gone", "piecemeal-is-whole", "FRESH-4", None),
    ("all_anew", "cost-of-a-change", "FRESH-5", DEEP),
    ("is_slow", "warm-query", "PERF-1", DEEP),
    ("is_slow", "warm-full-text", "PERF-2", DEEP),
    ("lets_one_search", "ten-readers", "PERF-3", DEEP),
    ("remembers_answers", "flat-memory", "PERF-4", DEEP),
    ("is_slow_at_a_publish", "speed-at-publish", "PERF-5", DEEP),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These daemons look at their caches ten times a second."""
    monkeypatch.setattr(expiry, "_AT_LAST_S", 3.0)


@pytest.mark.parametrize(
    ("defect", "check", "promise"),
    [
        pytest.param(
            defect,
            check,
            promise,
            marks=[pytest.mark.promise(promise), *([marks] if marks else [])],
            id=f"{defect}-{promise}",
        )
        for defect, check, promise, marks in DEFECTS
    ],
)
def test_the_defect_is_found_and_counts_against_its_promise(
    defect: str, check: str, promise: str
) -> None:
    found = judged(BY_NAME[check], indexes(defect))
    broken = {one.promise: one.words for one in found if one.verdict is Verdict.BROKEN}
    assert broken.keys() == {promise}, found


@pytest.mark.parametrize("name", ["start-races", "start-after-kill"])
def test_a_daemon_that_leaves_parent_and_session_is_not_blamed(name: str) -> None:
    right = indexes()
    assert isinstance(right.start, Spawn)
    program, *arguments = right.start.command[1:]
    command = [sys.executable, "-P", str(Path(__file__).with_name("detached.py"))]
    start = replace(right.start, command=[*command, program, *arguments], taken_status=0)
    found = judged(BY_NAME[name], replace(right, start=start))
    assert {one.verdict for one in found} == {Verdict.KEPT}, found


@pytest.mark.deep
@pytest.mark.parametrize("check", BY_NAME.values(), ids=BY_NAME)
def test_a_daemon_without_one_is_blamed_for_nothing(check: object) -> None:
    found = judged(check, indexes())  # type: ignore[arg-type]
    assert {one.verdict for one in found} == {Verdict.KEPT}, found


def test_each_check_finds_a_defect() -> None:
    found = {check for _, check, _, _ in DEFECTS}
    assert found | {"lifecycle"} == set(BY_NAME)
    assert {promise for _, _, promise, _ in DEFECTS} <= set(PROMISES)
