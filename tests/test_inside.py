"""Checks in this process: a project explores its own code, and what it finds is in the same table.

The project is `visits`, a counter whose threads meet; it has a promise of its own, and mutants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest

from cidx_ref.testing.concurrency.explore import Scenario, exhaustive, replay
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.conformance import running
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.mutants import Mutant, plant
from cidx_ref.testing.conformance.running import verify
from cidx_ref.testing.conformance.target import Attach, Cap, Spawn, Target
from cidx_ref.testing.conformance.verify import main
from cidx_ref.testing.promises.findings import Finding, Verdict

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _no_checks_but_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CHECK_MODULES", ())
    monkeypatch.setattr(running, "SUBJECTS", {})


class Visits:
    """The code that is judged."""

    def __init__(self, runtime: Any) -> None:
        self.lock = runtime.lock("visits")
        self.count = 0

    def note(self) -> None:
        with self.lock:
            self.count += 1


class TwoVisitors(Scenario):
    """Two come at once, and both are counted."""

    promises: ClassVar[frozenset[str]] = frozenset({"CACHE-1"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.visits = Visits(runtime)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.visits.note, "other": self.visits.note}

    def check(self) -> None:
        assert self.visits.count == 2, f"two came, and {self.visits.count} is counted"


@check("visits", "CACHE-1", inside=True)
def visits(bench: Bench) -> None:
    with bench.showing("CACHE-1"):
        found = exhaustive(TwoVisitors)
        bench.tried("CACHE-1", found.schedules, "schedules")


@check("visits-in-depth", "CACHE-2", inside=True)
def in_depth(bench: Bench) -> None:
    with bench.showing("CACHE-2"):
        assert not (bench.deep and DEEP_IS_BROKEN), "it took long to see this"


DEEP_IS_BROKEN = False


@contextmanager
def unlocked() -> Iterator[None]:
    def note(self: Visits) -> None:
        with self.lock:
            before = self.count
        with self.lock:
            self.count = before + 1

    with patch.object(Visits, "note", note):
        yield


def broken_in_depth() -> AbstractContextManager[Any]:
    return patch(f"{__name__}.DEEP_IS_BROKEN", True)


@contextmanager
def nothing() -> Iterator[None]:
    yield


TARGETS = [
    Target(Spawn("no-such-daemon"), checks=[visits, in_depth]),
    Target(Attach("/no/such/socket"), checks=[visits, in_depth]),
]


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize("target", TARGETS, ids=["Spawn", "Attach"])
def test_a_check_in_this_process_takes_no_daemon(target: Target) -> None:
    found = verify(target)
    assert [(f.promise, f.verdict) for f in found] == [
        ("CACHE-1", Verdict.KEPT),
        ("CACHE-2", Verdict.KEPT),
    ]
    assert found[0].tried["schedules"] > 1


def test_what_an_explorer_finds_is_told_in_words_with_its_steps_and_shown_again_by_one_line() -> (
    None
):
    with unlocked():
        found = only(verify(TARGETS[0], only=["visits"]))
        assert found.verdict is Verdict.BROKEN
        assert found.words == "two came, and 1 is counted"
        assert found.trace.splitlines()[0].split() == ["step", "thread", "does", "holds"]
        assert found.tried["schedules"] > 1
        program, schedule = found.replay.split(":", 1)[0], found.replay.split('"')[1]
        assert program == f"python -m cidx_ref.testing.concurrency.explore {__name__}"
        with pytest.raises(AssertionError, match="two came"):
            replay(TwoVisitors, schedule)
    replay(TwoVisitors, schedule)


def _raising(error: BaseException) -> Check:
    @check("raises", "CACHE-1", inside=True)
    def raises(bench: Bench) -> None:
        with bench.showing("CACHE-1"):
            raise error

    return raises


class Untouched(Scenario):
    """Nothing is switched at."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": lambda: None, "other": lambda: None}


@check("explores-nothing", "CACHE-1", inside=True)
def explores_nothing(bench: Bench) -> None:
    with bench.showing("CACHE-1"):
        exhaustive(Untouched)


class OfChance(TwoVisitors):
    """It depends on more than its schedule."""

    runs = 0

    def check(self) -> None:
        OfChance.runs += 1
        assert OfChance.runs != 3, "the third run"


@check("by-chance", "CACHE-1", inside=True)
def by_chance(bench: Bench) -> None:
    OfChance.runs = 0
    with bench.showing("CACHE-1"):
        exhaustive(OfChance)


@pytest.mark.parametrize(
    ("checked", "verdict", "words"),
    [
        (_raising(KeyError("k")), Verdict.BROKEN, "raised KeyError: 'k'"),
        (_raising(AssertionError("two\nassert 1 == 2")), Verdict.BROKEN, "two"),
        (explores_nothing, Verdict.NOT_TRIED, "Untouched: nothing was explored"),
        (by_chance, Verdict.NOT_TRIED, "could not be judged: not deterministic"),
    ],
    ids=["any error", "an assertion", "nothing explored", "by chance"],
)
def test_what_the_code_raises_is_found_and_what_no_explorer_can_judge_is_not_tried(
    checked: Check, verdict: Verdict, words: str
) -> None:
    found = only(verify(Target(Spawn("d"), checks=[checked])))
    assert (found.verdict, found.words[: len(words)]) == (verdict, words)


def test_a_daemons_error_of_that_kind_is_still_the_checks_own() -> None:
    @check("asks", "CACHE-1")
    def asks(bench: Bench) -> None:
        with bench.showing("CACHE-1"):
            raise KeyError("k")

    found = only(verify(Target(Spawn("d"), checks=[asks])))
    assert (found.verdict, found.words) == (
        Verdict.NOT_TRIED,
        "the check itself failed: KeyError: 'k'",
    )


def test_what_it_needs_that_is_not_offered_it_is_not_run_for() -> None:
    needing = check("needs", "CACHE-1", needs={Cap.CLEAR}, inside=True)(visits.run)
    assert only(verify(Target(Spawn("d"), checks=[needing]))).verdict is Verdict.NOT_OFFERED


def test_mutants_that_are_planted_in_this_process_are_judged_by_such_checks_and_no_others() -> None:
    @check("starts", "CACHE-1")
    def starts(bench: Bench) -> None:
        raise SystemExit("a daemon, in which it is not planted")

    target = Target(Spawn("d"), checks=[starts, visits, in_depth])
    mutants = {
        "unlocked": Mutant("CACHE-1", patch=unlocked),
        "nothing": Mutant("CACHE-1", patch=nothing),
        "shallow": Mutant("CACHE-2", patch=broken_in_depth),
        "deep": Mutant("CACHE-2", patch=broken_in_depth, deep=True),
    }
    assert [(came.name, came.killed, came.words) for came in plant(target, mutants)] == [
        ("unlocked", True, "visits: two came, and 1 is counted"),
        ("nothing", False, "not noticed by visits"),
        ("shallow", False, "not noticed by visits-in-depth"),
        ("deep", True, "visits-in-depth: it took long to see this"),
    ]


def shown(first: str) -> str:
    """The block of the page that begins so."""
    page = PAGE.read_text("utf-8")
    return first + page.split(f"```python\n{first}")[1].split("```")[0]


@pytest.fixture
def _the_shop_is_gone_again() -> Iterator[None]:
    yield
    sys.modules.pop("shop_of_a_test", None)


PAGE = Path(__file__).parents[1] / "docs/parts.md"


@pytest.mark.usefixtures("_the_shop_is_gone_again")
def test_a_project_of_two_files_has_it_all_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop_of_a_test.py").write_text(shown("# shop.py"))
    (tmp_path / "promises.toml").write_text('[promises]\nSHOP-1 = "what is paid is in the till"\n')
    options = ["shop_of_a_test:TARGET", "--promises", "promises.toml"]
    assert main([*options, "--list"]) == 0
    assert "till (in this process): SHOP-1\n" in capsys.readouterr().out
    assert main(options) == 0
    said = capsys.readouterr().out
    assert said.startswith("SHOP-1  kept ")
    assert "schedules" in said
    assert main([*options, "--mutants", "shop_of_a_test"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "hasty  SHOP-1    killed    till: 1 is in the till, and 3 was paid",
        "mutants: 1 of 1 killed",
    ]
