"""The report says of each promise what the run showed, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.testing.promises.registry import PROMISES
from cidx_ref.testing.promises.report import main

pytestmark = pytest.mark.once

PLUGIN = ("-p", "cidx_ref.testing.promises.report", "-p", "xdist.plugin", "-p", "no:cacheprovider")
XDIST = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is installed takes its time to load, and may print."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, source: str, *args: str) -> pytest.RunResult:
    pytester.makepyfile(f"import os\nimport pytest\npromise = pytest.mark.promise\n{source}")
    if "-n" in args:
        return pytester.runpytest_subprocess(*PLUGIN, *args)
    return pytester.runpytest_inprocess(*PLUGIN, *args)


def rows(pytester: pytest.Pytester, source: str, *args: str) -> dict[str, dict[str, Any]]:
    """The JSON report on `source`, by id."""
    run(pytester, source, "--cidx-report=out/promises", *args)
    document = json.loads((pytester.path / "out/promises.json").read_text("utf-8"))
    return {row["id"]: row for row in document["promises"]}


def summary(shown: int, broken: int) -> str:
    rest = len(PROMISES) - shown - broken
    return f"promises: {shown} shown, {broken} BROKEN, {rest} not shown"


def verdict(pytester: pytest.Pytester, source: str, *args: str) -> str:
    """The verdict on SRV-1, the only promise that `source` has to do with."""
    report = rows(pytester, source, *args)
    assert {row["verdict"] for id_, row in report.items() if id_ != "SRV-1"} == {"not shown"}
    said: str = report["SRV-1"]["verdict"]
    return said


PASSES = "@promise('SRV-1')\ndef test_passes(): pass\n"
FAILS = "@promise('SRV-1')\ndef test_fails(): assert False\n"
SKIPPED = "@promise('SRV-1')\ndef test_skipped(): pytest.skip()\n"
XFAILED = "@promise('SRV-1')\n@pytest.mark.xfail\ndef test_xfailed(): assert False\n"
XPASSED = "@promise('SRV-1')\n@pytest.mark.xfail(strict=False)\ndef test_xpassed(): pass\n"
SETUP_FAILS = """
@pytest.fixture
def broken():
    raise OSError
@promise('SRV-1')
def test_setup(broken): pass
"""
TEARDOWN_FAILS = """
@pytest.fixture
def broken():
    yield
    raise OSError
@promise('SRV-1')
def test_teardown(broken): pass
"""
FIGURES = """
@promise('CACHE-1', 'PERF-1')
def test_measures(figure):
    figure('CACHE-1', 'loads under 32 clients', 1)
    figure('PERF-1', 'p95 | warm', 41.5, unit='ms')
    figure('PERF-1', 'p99', 60.25, unit='ms')
"""


@XDIST
def test_a_passing_test_shows_its_promise(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    assert verdict(pytester, PASSES + SKIPPED, *workers) == "shown"


@pytest.mark.parametrize(
    "source", [FAILS, SETUP_FAILS, TEARDOWN_FAILS], ids=["body", "setup", "teardown"]
)
@XDIST
def test_a_failure_in_any_phase_breaks_the_promise_whatever_else_passed(
    pytester: pytest.Pytester, source: str, workers: tuple[str, ...]
) -> None:
    assert verdict(pytester, PASSES + source, *workers) == "BROKEN"


def test_a_test_that_kills_its_worker_breaks_the_promise(pytester: pytest.Pytester) -> None:
    source = PASSES + "@promise('SRV-1')\ndef test_dies(): os._exit(1)\n"
    assert verdict(pytester, source, "-n", "1", "--max-worker-restart=0") == "BROKEN"


@pytest.mark.parametrize(
    "source", ["def test_of_nothing(): pass", SKIPPED], ids=["unmarked", "skipped"]
)
def test_a_promise_without_an_executed_test_is_not_shown(
    pytester: pytest.Pytester, source: str
) -> None:
    report = rows(pytester, source)
    assert report["SRV-1"]["verdict"] == "not shown"
    assert report["SRV-1"]["tests"] == []


def test_a_deselected_test_shows_nothing(pytester: pytest.Pytester) -> None:
    assert verdict(pytester, PASSES, "-k", "other") == "not shown"


@pytest.mark.parametrize("source", [XFAILED, XPASSED], ids=["xfailed", "xpassed"])
def test_what_is_expected_to_fail_keeps_a_promise_from_being_shown(
    pytester: pytest.Pytester, source: str
) -> None:
    assert verdict(pytester, PASSES + source) == "not shown"


def test_marks_of_module_class_and_test_add_up_and_each_counts_once(
    pytester: pytest.Pytester,
) -> None:
    source = """
pytestmark = promise('SRV-1')
@promise('SRV-2')
class TestIt:
    @promise('SRV-1', 'SRV-3')
    def test_it(self, figure): figure('SRV-1', 'starts', 1)
"""
    report = rows(pytester, source)
    tests = {id_: row["tests"] for id_, row in report.items() if row["tests"]}
    (source_file,) = pytester.path.glob("*.py")
    its = [f"{source_file.name}::TestIt::test_it"]
    assert tests == {"SRV-1": its, "SRV-2": its, "SRV-3": its}
    assert len(report["SRV-1"]["figures"]) == 1


@pytest.mark.parametrize("workers", [(), ("-n", "1"), ("-n", "2")], ids=["alone", "one", "two"])
def test_an_unknown_promise_is_refused_by_name(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    source = "def test_fine(): pass\n@promise('SRV-1', 'SRV-99')\ndef test_wrong(): pass\n"
    result = run(pytester, source, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown promise 'SRV-99' at *.py::test_wrong*"])
    assert result.parseoutcomes() == {}


@XDIST
def test_figures_arrive_with_their_promise(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    report = rows(pytester, FIGURES, *workers)
    assert report["CACHE-1"]["figures"] == [
        {"name": "loads under 32 clients", "value": 1, "unit": ""}
    ]
    assert report["PERF-1"]["figures"] == [
        {"name": "p95 | warm", "value": 41.5, "unit": "ms"},
        {"name": "p99", "value": 60.25, "unit": "ms"},
    ]


def test_a_figure_of_a_test_that_was_then_skipped_is_not_reported(
    pytester: pytest.Pytester,
) -> None:
    source = (
        "@promise('SRV-1')\ndef test_it(figure):\n    figure('SRV-1', 'n', 1)\n    pytest.skip()\n"
    )
    assert rows(pytester, source)["SRV-1"]["figures"] == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("figure('SRV-2', 'n', 1)", "*a figure for 'SRV-2', which *::test_it does not show*"),
        ("figure('SRV-1', 'n', float('nan'))", "*the figure 'n' is nan*"),
    ],
    ids=["unmarked", "nan"],
)
def test_a_figure_for_an_unmarked_promise_or_of_no_value_is_an_error(
    pytester: pytest.Pytester, call: str, message: str
) -> None:
    result = run(pytester, f"@promise('SRV-1')\ndef test_it(figure): {call}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize("option", ["new/dir/v1.2", "new/dir/v1.2.json", "new/dir/v1.2.md"])
def test_both_reports_are_written_where_the_option_says(
    pytester: pytest.Pytester, option: str
) -> None:
    leaves = "def test_leaves(monkeypatch): os.chdir('/')\n"
    run(pytester, FIGURES + leaves, f"--cidx-report={option}")
    written = sorted(path.name for path in (pytester.path / "new/dir").iterdir())
    assert written == ["v1.2.json", "v1.2.md"]


def test_the_markdown_has_a_row_for_each_promise_and_its_bars_are_escaped(
    pytester: pytest.Pytester,
) -> None:
    report = rows(pytester, FIGURES)
    lines = (pytester.path / "out/promises.md").read_text("utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(report)
    (row,) = (line for line in table if line.startswith("| PERF-1 |"))
    assert row.endswith(r"| shown | p95 \| warm: 41.5 ms; p99: 60.25 ms |")


def test_the_table_fits_the_terminal(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    lines = run(pytester, FIGURES + FAILS, "--cidx-table").outlines
    table = lines[next(n for n, line in enumerate(lines) if "= promises =" in line) :]
    table = table[: table.index(summary(2, 1)) + 1]
    assert len(table) == len(PROMISES) + 4 + 2
    assert table[1].split() == ["promise", "tests", "time", "mutants"]
    assert max(map(len, table)) <= 72
    (at,) = (n for n, line in enumerate(table) if line.startswith("CACHE-1 "))
    assert table[at].split()[-4:] == ["1", "0.0", "s", "shown"]
    assert table[at + 1].strip() == "loads under 32 clients: 1"


def test_without_an_option_one_line_is_printed_and_nothing_written(
    pytester: pytest.Pytester,
) -> None:
    result = run(pytester, PASSES)
    said = [line for line in result.outlines if "promises" in line]
    assert said == [summary(1, 0)]
    assert not list(pytester.path.glob("**/*.md"))


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ("raise KeyboardInterrupt", summary(1, 0)),
        ("assert False", summary(1, 1)),
    ],
    ids=["interrupt", "first failure"],
)
def test_an_interrupted_run_reports_what_was_executed(
    pytester: pytest.Pytester, stop: str, said: str
) -> None:
    source = f"""{PASSES}
@promise('SRV-2')
def test_stops(): {stop}
@promise('SRV-3')
def test_after(): pass
"""
    pytester.makepyfile(f"import pytest\npromise = pytest.mark.promise\n{source}")
    result = pytester.runpytest_subprocess(*PLUGIN, "-x", "--cidx-report=promises")
    result.stdout.fnmatch_lines([said])
    assert "| SRV-3 |" in (pytester.path / "promises.md").read_text("utf-8")


def test_a_report_that_cannot_be_written_is_refused_before_any_test_runs(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "file").touch()
    result = run(pytester, PASSES, "--cidx-report=file/promises")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--cidx-report=file/promises: *"])


TRIES = """
@promise('CACHE-1', 'CACHE-3')
def test_searches(tried):
    tried('CACHE-1', 1200, 'schedules')
    tried('CACHE-1', 34, 'schedules')
    tried('CACHE-1', 5, 'examples')
    tried('CACHE-3', 7, 'runs')
@promise('CACHE-1')
def test_searches_more(tried): tried('CACHE-1', 1000, 'schedules')
@promise('CACHE-1')
@pytest.mark.parametrize('killed', [True, False])
def test_mutant(planted, killed): planted('CACHE-1', f'mutant {killed}', killed=killed)
"""


@XDIST
def test_what_was_tried_is_added_up_and_mutants_are_counted(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    report = rows(pytester, TRIES, *workers)
    assert report["CACHE-1"]["tried"] == {"schedules": 2234, "examples": 5}
    assert report["CACHE-1"]["mutants"] == {"mutant True": True, "mutant False": False}
    assert report["CACHE-3"]["tried"] == {"runs": 7}
    assert report["CACHE-3"]["mutants"] == {}
    assert report["CACHE-1"]["seconds"] > 0


def test_the_table_says_what_was_tried_and_killed(pytester: pytest.Pytester) -> None:
    lines = run(pytester, TRIES, "--cidx-table").outlines
    (at,) = (n for n, line in enumerate(lines) if line.startswith("CACHE-1 "))
    assert lines[at].split()[-2:] == ["1/2", "shown"]
    assert lines[at + 1].strip() == "tried: 5 examples, 2,234 schedules"


@pytest.mark.parametrize("record", ["tried('SRV-2', 1, 'runs')", "planted('SRV-2', 'x', killed=1)"])
def test_what_a_test_does_not_show_it_cannot_count(pytester: pytest.Pytester, record: str) -> None:
    source = f"@promise('SRV-1')\ndef test_it(tried, planted): {record}\n"
    assert verdict(pytester, source) == "BROKEN"


def test_the_marker_is_registered(pytester: pytest.Pytester) -> None:
    assert run(pytester, PASSES, "--strict-markers").ret == pytest.ExitCode.OK


def test_several_reports_become_one_and_the_worst_verdict_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(name: str, verdicts: dict[str, str]) -> None:
        rows = [
            {
                "id": id_,
                "promise": PROMISES[id_],
                "tests": [f"{name}::{id_}"],
                "verdict": verdict,
                "figures": [{"name": name, "value": 1, "unit": "ms"}],
                "tried": {"schedules": len(name)} if id_ == "SRV-1" else {},
                "mutants": {"first": True, "second": name == "two"},
                "seconds": float(verdict == "shown"),
            }
            for id_, verdict in verdicts.items()
        ]
        path = tmp_path / f"all-{name}.json"
        path.write_text(json.dumps({"python": name, "promises": rows}))

    report("one", {"SRV-1": "shown", "SRV-2": "BROKEN", "SRV-3": "not shown"})
    report("two", {"SRV-1": "shown", "SRV-2": "shown", "SRV-3": "shown"})
    assert main([str(tmp_path / "all")]) == 1
    rows = {row["id"]: row for row in json.loads((tmp_path / "all.json").read_text())["promises"]}
    assert [rows[f"SRV-{n}"]["verdict"] for n in (1, 2, 3, 4)] == [
        "shown",
        "BROKEN",
        "shown",
        "not shown",
    ]
    assert rows["SRV-1"]["tests"] == ["one::SRV-1", "two::SRV-1"]
    assert [figure["name"] for figure in rows["SRV-1"]["figures"]] == ["two"]
    assert rows["SRV-1"]["tried"] == {"schedules": 3}
    assert rows["SRV-1"]["mutants"] == {"first": True, "second": False}, "it survived in one"
    assert rows["SRV-2"]["seconds"] == 1.0
    assert f"promises: 2 shown, 1 BROKEN, {len(PROMISES) - 3} not shown" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.json", "all.md"]
    assert main([str(tmp_path / "all")]) == 2, "what was merged is gone"
    assert json.loads((tmp_path / "all.json").read_text())["promises"], "and what came of it is not"


def _report_of(path: Path, **promises: str) -> None:
    rows = [
        {
            "id": id_.replace("_", "-"),
            "promise": text,
            "tests": ["test_it"],
            "verdict": "shown",
            "figures": [],
            "tried": {},
            "mutants": {},
            "seconds": 0.5,
        }
        for id_, text in promises.items()
    ]
    path.write_text(json.dumps({"python": "3.11", "promises": rows}))
    path.with_suffix(".md").write_text("as text")


def test_promises_of_another_project_keep_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _report_of(tmp_path / "a-one.json", MY_1="an answer names its shard", SRV_1="x")
    _report_of(tmp_path / "a-v1.2.json", MY_2="a shard has a name")
    assert main([str(tmp_path / "a")]) == 0
    told = json.loads((tmp_path / "a.json").read_text("utf-8"))["promises"]
    own = [(row["id"], row["promise"], row["verdict"]) for row in told if "MY" in row["id"]]
    assert own == [
        ("MY-1", "an answer names its shard", "shown"),
        ("MY-2", "a shard has a name", "shown"),
    ]
    assert "MY-2" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.md"]


@pytest.mark.parametrize("text", ["{}", "[", '{"promises": [{"id": "MY-1"}]}', '{"promises": 3}'])
def test_what_is_no_report_is_named_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    _report_of(tmp_path / "a-one.json", MY_1="an answer names its shard")
    (tmp_path / "a-two.json").write_text(text)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([str(tmp_path / "a")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a-two.json: no report of promises (" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_that_cannot_be_written_removes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _report_of(tmp_path / "a-one.json", MY_1="an answer names its shard")
    (tmp_path / "a.md").mkdir()
    assert main([str(tmp_path / "a")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "a-one.json").exists()


def test_a_report_whose_rows_are_not_in_the_table_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _report_of(tmp_path / "a-one.json", MY_1="an answer names its shard")
    _report_of(tmp_path / "a-two.json")
    monkeypatch.setattr("cidx_ref.testing.promises.report.merge", lambda reports: [])
    main([str(tmp_path / "a")])
    assert (tmp_path / "a-one.json").exists()
    assert not (tmp_path / "a-two.json").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_is_printed_and_nothing_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    assert "NAME" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "required: NAME"), (["a", "b"], "unrecognized arguments: b"), (["a"], "no reports a-*."),
     (["--nope"], "required: NAME"), (["none/a"], "no reports none/a-*.json")],
)  # fmt: skip
def test_other_arguments_are_one_line_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


OWN = """
@promise('MY-1')
def test_own(figure, tried, planted):
    figure('MY-1', 'shards', 3)
    tried('MY-1', 5, 'answers')
    planted('MY-1', 'nameless', killed=True)
@promise('SRV-1')
def test_other(): pass
"""


@XDIST
def test_promises_of_ones_own_are_in_the_report(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makefile(".toml", promises='[promises]\n"MY-1" = "an answer names its shard"\n')
    pytester.makeini("[pytest]\ncidx_promises = promises.toml\n")
    report = rows(pytester, OWN, *workers)
    assert list(report)[-1] == "MY-1"
    row = report["MY-1"]
    assert (row["promise"], row["verdict"]) == ("an answer names its shard", "shown")
    assert (row["tried"], row["mutants"]) == ({"answers": 5}, {"nameless": True})
    assert row["figures"] == [{"name": "shards", "value": 3, "unit": ""}]
    result = run(pytester, OWN, "--cidx-promise", "MY-1")
    result.assert_outcomes(passed=1, deselected=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "No such file"),
        ("[promises", "not TOML"),
        ("x = 1", "it has one table, [[]promises[]]"),
        ('[promises]\n"SRV-1" = "mine"', "SRV-1 is a promise of the kit"),
        ('[promises]\n"MY 1" = "mine"', "'MY 1' is no id"),
        ('[promises]\n"MY-1" = 5', "MY-1 has no text"),
    ],
)
def test_a_file_of_promises_that_cannot_be_used_is_refused(
    pytester: pytest.Pytester, text: str, said: str
) -> None:
    if text:
        pytester.makefile(".toml", promises=text)
    pytester.makeini("[pytest]\ncidx_promises = promises.toml\n")
    result = run(pytester, PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*cidx_promises: *promises.toml: {said}*"])
