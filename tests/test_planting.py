"""A mutant is there for as long as the session lasts, and only the tests of a promise see it."""

from __future__ import annotations

import pytest

from cidx_ref.daemon import arguments
from cidx_ref.testing.own import mutants

pytestmark = pytest.mark.once

PLUGINS = ("-p", "cidx_ref.testing.own.planting", "-p", "xdist.plugin", "-p", "no:cacheprovider")
MUTANT = "unknown_arguments_are_ignored"
XDIST = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is installed takes its time to load, and may print."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, source: str, *args: str) -> pytest.RunResult:
    pytester.makepyfile(f"import pytest\npromise = pytest.mark.promise\n{source}")
    if "-n" in args:
        return pytester.runpytest_subprocess(*PLUGINS, *args)
    # What is imported in there is not there afterwards: the mutants must have been imported here.
    assert mutants.MUTANTS
    return pytester.runpytest_inprocess(*PLUGINS, *args)


LOOKS = """
from cidx_ref.daemon.arguments import _refuse_unknown
home = _refuse_unknown.__module__
def test_one(): assert home == "cidx_ref.testing.own.mutants.answers"
def test_two(): assert home == "cidx_ref.testing.own.mutants.answers"
"""
THREE = """
@promise("SRV-1")
def test_one(): pass
class TestTwo:
    pytestmark = promise("SRV-2", "SRV-1")
    def test_two(self): pass
@promise("SRV-3")
def test_three(): assert False
def test_none(): assert False
"""


@XDIST
def test_a_mutant_is_planted_before_the_tests_are_imported_and_gone_at_the_end(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    before = arguments._refuse_unknown
    run(pytester, LOOKS, "--cidx-mutant", MUTANT, *workers).assert_outcomes(passed=2)
    assert arguments._refuse_unknown is before
    run(pytester, LOOKS, *workers).assert_outcomes(failed=2)


def test_a_mutant_is_gone_after_a_run_that_failed_or_was_refused_too(
    pytester: pytest.Pytester,
) -> None:
    before = arguments._refuse_unknown
    for source in ("def test_it(): assert False\n", "syntax error\n"):
        assert run(pytester, source, "--cidx-mutant", MUTANT).ret != pytest.ExitCode.OK
        assert arguments._refuse_unknown is before


@XDIST
def test_only_tests_of_the_promises_asked_for_are_run(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    def outcomes(*args: str) -> dict[str, int]:
        found = run(pytester, THREE, *args, *workers).parseoutcomes()
        return {name: found[name] for name in ("passed", "failed") if name in found}

    assert outcomes("--cidx-promise", "SRV-2") == {"passed": 1}
    assert outcomes("--cidx-promise=SRV-2", "--cidx-promise=SRV-3") == {"passed": 1, "failed": 1}
    assert outcomes() == {"passed": 2, "failed": 2}


def test_what_is_not_run_is_deselected_and_where_nothing_is_left_the_status_says_so(
    pytester: pytest.Pytester,
) -> None:
    run(pytester, THREE, "--cidx-promise", "SRV-1").assert_outcomes(passed=2, deselected=2)
    none = run(pytester, THREE, "--cidx-promise", "SRV-4")
    assert none.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--cidx-mutant", "no_such_mutant", "unknown mutant 'no_such_mutant'; * print(*MUTANTS)*"),
        ("--cidx-mutant", "", "unknown mutant ''; *"),
        ("--cidx-promise", "SRV-99", "unknown promise 'SRV-99'"),
        ("--cidx-promise", "srv-1", "unknown promise 'srv-1'"),
    ],
    ids=["mutant", "no name", "promise", "other case"],
)
@XDIST
def test_an_unknown_name_is_refused_before_any_test_runs(
    pytester: pytest.Pytester, workers: tuple[str, ...], option: str, name: str, said: str
) -> None:
    result = run(pytester, THREE, f"{option}={name}", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option}: {said}"])
    assert MUTANT not in str(result.stderr), "there are many"
    assert "::" not in str(result.stdout), "nothing has run"


def test_with_a_mutant_planted_what_takes_long_or_runs_elsewhere_comes_last(
    pytester: pytest.Pytester,
) -> None:
    source = """
@pytest.fixture
def stdlib(): pass
@pytest.fixture
def running(): pass
def test_far(running): pass
def test_long(stdlib): pass
def test_short(): pass
"""
    for options, order in (
        ((), ["far", "long", "short"]),
        (("--cidx-mutant", MUTANT), ["short", "far", "long"]),
    ):
        lines = run(pytester, source, "-v", *options).outlines
        ran = [line.split("::test_")[1].split()[0] for line in lines if "::test_" in line]
        assert ran == order
