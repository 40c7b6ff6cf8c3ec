"""The kit's pytest plugin: a test for each promise of a target, and nothing where none is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_verify import EXCUSE, MODULE

from cidx_ref.interpreter import python_command
from cidx_ref.testing.conformance import running

pytestmark = pytest.mark.once

PLUGIN = ("-p", "cidx_ref.testing.plugin", "-p", "no:cacheprovider")
ALL = (
    *PLUGIN,
    *("-p", "cidx_ref.testing.promises.report"),
    *("-p", "cidx_ref.testing.promises.gates"),
    *("-p", "cidx_ref.testing.own.planting"),
    *("-p", "xdist.plugin"),
)


@pytest.fixture(autouse=True)
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with targets, whose checks are their own ones only."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # The module below sets them, too, for other processes; here they are as before in the end.
    monkeypatch.setattr(running, "CHECK_MODULES", ())
    monkeypatch.setattr(running, "SUBJECTS", {})
    (pytester.path / "mine.py").write_text(
        "from cidx_ref.testing.conformance import running\n"
        "running.CHECK_MODULES, running.SUBJECTS = (), {}\n"
        f"{MODULE}"
        "LEFT = Target(Spawn('true'), checks=[serving], not_offered={'SRV-2': 'one is enough'})\n"
    )
    return pytester.path


def run(
    pytester: pytest.Pytester, *arguments: str, plugins: tuple[str, ...] = PLUGIN
) -> pytest.RunResult:
    if "-n" in arguments:
        return pytester.runpytest_subprocess(*plugins, *arguments)
    return pytester.runpytest_inprocess(*plugins, *arguments)


def test_each_promise_of_a_target_is_a_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--cidx-target=mine:GOOD", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "promises of mine:GOOD: 2, by 1 checks (quick)",
            "mine:GOOD::SRV-1 PASSED*",
            "mine:GOOD::SRV-2 PASSED*",
        ]
    )


def test_a_broken_promise_fails_in_words_without_a_traceback(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--cidx-target=mine:BAD", "--cidx-seed=7")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*mine:BAD SRV-3*",
            r"broken: it does not <serve> again \x1b[[]31m& again",
            "promised: after kill -9 *",
            "| kill -9",
            "| start",
            "replay: cidx-verify mine:BAD --only crashing --seed 7",
        ]
    )
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "judging.py" not in text
    assert "AssertionError" not in text


def test_what_came_to_no_verdict_fails_too(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--cidx-target=mine:FAILS")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["not tried: *TypeError: a bug*"])


def test_what_is_not_offered_is_skipped_with_the_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--cidx-target=mine:LEFT", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*not offered: one is enough"])
    result = run(pytester, "--cidx-target=mine:ATTACHED", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*not offered: needs a daemon that the kit starts*"])


def test_an_excuse_makes_an_expected_failure_and_a_stale_one_fails(
    pytester: pytest.Pytester, project: Path
) -> None:
    (project / "excuses.toml").write_text(EXCUSE)
    result = run(pytester, "--cidx-target=mine:BAD", "--cidx-excuses=excuses.toml", "-rx")
    result.assert_outcomes(passed=2, xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL mine:BAD::SRV-3*(excused: waits for its manager)"])
    (project / "excuses.toml").write_text(EXCUSE.replace("SRV-3", "SRV-1"))
    result = run(pytester, "--cidx-target=mine:GOOD", "--cidx-excuses=excuses.toml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the excuse of SRV-1 is stale: the promise is kept"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cidx-target=mine:NOPE"], "--cidx-target: mine:NOPE: mine has no 'NOPE'"),
        (["--cidx-target=mine:OWN"], "*MY-1 is no promise*"),
        (["--cidx-target=mine:GOOD", "--cidx-excuses=excuses.toml"], "*excuse of SRV-3 is stale*"),
        (["--cidx-target=mine:GOOD", "--cidx-excuses=none.toml"], "*none.toml: No such file*"),
        (["--cidx-target=mine:GOOD", "--cidx-promise=X-1"], "*unknown promise 'X-1'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_a_usage_error(
    pytester: pytest.Pytester, project: Path, arguments: list[str], said: str
) -> None:
    (project / "excuses.toml").write_text(EXCUSE)
    result = run(pytester, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_beside_the_other_plugins_verdicts_and_figures_come_into_the_report(
    pytester: pytest.Pytester, project: Path, workers: tuple[str, ...]
) -> None:
    (project / "promises.toml").write_text('[promises]\n"MY-1" = "an answer names its shard"\n')
    pytester.makeini("[pytest]\ncidx_promises = promises.toml\n")
    pytester.makepyfile("def test_it(): pass")
    options = ("--cidx-report=out/all", *workers)
    result = run(pytester, "--cidx-target=mine:BAD", *options, plugins=ALL)
    result.assert_outcomes(passed=3, failed=1)
    told = json.loads((project / "out/all.json").read_text("utf-8"))["promises"]
    rows = {row["id"]: row for row in told}
    assert [rows[f"SRV-{n}"]["verdict"] for n in (1, 3, 4)] == ["shown", "BROKEN", "not shown"]
    assert rows["SRV-1"]["figures"][0]["name"] == "p95 of 20 calls"
    assert rows["SRV-1"]["tried"] == {"calls": 20}
    result = run(pytester, "--cidx-target=mine:OWN", *options, plugins=ALL)
    result.assert_outcomes(passed=2)
    result = run(pytester, "--cidx-target=mine:BAD", "--cidx-promise=SRV-1", *options, plugins=ALL)
    result.assert_outcomes(passed=1, **({} if workers else {"deselected": 3}))


@pytest.mark.parametrize("plugins", [PLUGIN, ALL, tuple(reversed(ALL))], ids=["one", "all", "none"])
def test_help_shows_the_options(pytester: pytest.Pytester, plugins: tuple[str, ...]) -> None:
    plugins = PLUGIN if plugins[0] != "-p" else plugins
    said = run(pytester, "--help", plugins=plugins).stdout.str()
    for option in (
        "--cidx-target",
        "--cidx-excuses",
        "--cidx-deep",
        "--cidx-seed",
        "--cidx-promise",
    ):
        assert f"  {option}" in said, option
    assert "cidx_promises (string)" in said


MEASURED = """
import sys, time
import pytest
before = set(sys.modules)
status = pytest.main(sys.argv[1:])
new = sorted(name for name in sys.modules if "cidx_ref" in name)
heavy = sorted({"hypothesis", "rpyc", "numpy", "locust"} & set(sys.modules))
print("LOADED", int(status), *new, "HEAVY", *heavy)
"""


def test_a_run_that_does_not_use_it_loads_nothing_else(
    pytester: pytest.Pytester, project: Path
) -> None:
    pytester.makepyfile("def test_it(): pass")
    _, environment = python_command("pytest")
    command = [sys.executable, "-P", "-c", MEASURED, *PLUGIN, "-q"]
    said = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    loaded = next(line for line in said.stdout.splitlines() if line.startswith("LOADED"))
    assert (
        loaded
        == "LOADED 0 cidx_ref cidx_ref._version cidx_ref.testing cidx_ref.testing.plugin HEAVY"
    )
