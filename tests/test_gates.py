"""The gates and aims of the benchmarks: they fail when they should; and what cannot flake about
latency: what is held, imported and sent."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import load_targets
import pytest
import sides
from clients import measured
from rpyc.utils.factory import unix_connect

from cidx_ref.client import DaemonClient
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import IndexUnusableError
from cidx_ref.index import build, merging
from cidx_ref.index.assembly import Assembly
from cidx_ref.index.fulltext import FullTextIndex
from cidx_ref.index.nearest import Nearest
from cidx_ref.index.source import GenerationSource
from cidx_ref.interpreter import python_command
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime, get_ident
from cidx_ref.testing.conformance.latency import check_latency
from cidx_ref.testing.conformance.target import Target
from cidx_ref.testing.own.fixtures import served
from cidx_ref.testing.own.mutants import MUTANTS
from cidx_ref.testing.promises.latency import check_gate

pytestmark = pytest.mark.once

PLUGINS = ("-p", "cidx_ref.testing.promises.report", "-p", "cidx_ref.testing.promises.gates")

GATED = """
import pytest
attempts = []

@pytest.mark.promise("PERF-2")
def test_it(gate):
    def measure():
        attempts.append(1)
        return [ATTEMPTS[len(attempts) - 1]] * 100
    gate("PERF-2", "fts", measure, 20)
"""


def gated(pytester: pytest.Pytester, attempts: list[float], *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(f"ATTEMPTS = {attempts}\n{GATED}")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester.runpytest_subprocess(*PLUGINS, "-p", "no:randomly", *arguments)


@pytest.mark.once
@pytest.mark.parametrize(
    ("attempts", "arguments", "passed"),
    [
        ([1.0], (), True),
        ([30.0, 10.0], (), True),
        ([30.0, 30.0], (), False),
        ([20.0, 20.0], (), False),
        ([30.0, 30.0], ("--gate=warn",), True),
        ([30.0, 30.0], ("--gate=off",), True),
        ([30.0], ("--gate-scale=2",), True),
        ([50.0, 50.0], ("--gate-scale=2",), False),
    ],
)
def test_a_gate_fails_when_a_second_attempt_misses_it_too(
    pytester: pytest.Pytester, attempts: list[float], arguments: tuple[str, ...], passed: bool
) -> None:
    result = gated(pytester, attempts, *arguments)
    result.assert_outcomes(passed=passed, failed=not passed, warnings=None)
    if not passed:
        limit_ms = 40 if "--gate-scale=2" in arguments else 20
        times = f"{attempts[-1] / limit_ms:.3g} times the target"
        said = f"fts: p95 {attempts[-1]:g} ms of 100 calls, and the target is below {limit_ms} ms: "
        said += f"{attempts[-1] - limit_ms:g} ms too much ({times})"
        lines = [line for line in result.outlines if line.startswith("PERF-2: ")]
        assert lines == [f"PERF-2: the gate is missed: {said}"]
        assert "assert" not in str(result.stdout)


BELOW = "and the target is below 20 ms"
OVER = "1480 ms too much (75 times the target)"
ROOM = "headroom 17 ms (6.67 times as quick)"


@pytest.mark.once
@pytest.mark.parametrize(
    ("times", "limit_ms", "verdict", "words"),
    [
        ([3.0] * 100, 20, "kept", f"p95 3 ms of 100 calls, {BELOW}: {ROOM}"),
        ([1.0] * 94 + [25.0] * 6, 20, "broken",
         f"p95 25 ms of 100 calls, {BELOW}: 5 ms too much (1.25 times the target)"),
        ([3.0], 20, "kept", f"the slowest of 1 call 3 ms (a p95 takes 20), {BELOW}: {ROOM}"),
        ([1.0, 1500], 20, "broken",
         f"the slowest of 2 calls 1500 ms (a p95 takes 20), {BELOW}: {OVER}"),
        ([0.0] * 20, 20, "kept", f"p95 0 ms of 20 calls, {BELOW}: too quick to be measured"),
        ([], 20, "not tried", "nothing was measured: there is no sample"),
        ([1.0, float("nan")], 20, "not tried", "nan is no time in milliseconds"),
        ([1.0, -1.0], 20, "not tried", "-1.0 is no time in milliseconds"),
    ],
)  # fmt: skip
def test_a_gate_without_pytest_says_target_measured_and_headroom(
    times: list[float], limit_ms: float, verdict: str, words: str
) -> None:
    attempts: list[int] = []

    def measure() -> list[float]:
        attempts.append(1)
        return times

    found = check_gate("PERF-2", "fts", measure, limit_ms)
    assert (str(found.verdict), found.words) == (verdict, f"fts: {words}")
    assert len(attempts) == (2 if verdict == "broken" else 1)


ODD = """
import pytest
pytestmark = pytest.mark.promise("PERF-2")

def test_one_sample(gate):
    gate("PERF-2", "fts", lambda: [3.0], 20)

def test_no_sample(gate):
    gate("PERF-2", "fts", lambda: [], 20)
"""


@pytest.mark.once
def test_a_gate_of_one_sample_is_judged_and_one_of_none_is_one_line(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(ODD)
    result = pytester.runpytest_subprocess(*PLUGINS, "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines([r"^fts: nothing was measured: there is no sample$"])
    assert "Traceback" not in str(result.stdout) + str(result.stderr)


@pytest.mark.once
def test_what_is_slower_than_it_need_be_is_said(pytester: pytest.Pytester) -> None:
    result = gated(pytester, [12.0])
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*BudgetWarning: fts: p95 12.00 ms, above 5 ms*"])


@pytest.mark.once
def test_gates_and_aims_are_tables_and_files(pytester: pytest.Pytester) -> None:
    aims = (
        "def test_aims(aim):\n    aim('ratio', 1.5, 1.25)\n    aim('rate', 9, 8, at_least=True)\n"
    )
    pytester.makepyfile(f"ATTEMPTS = [2.0]\n{GATED}\n{aims}")
    result = pytester.runpytest_subprocess(*PLUGINS, "-p", "no:randomly")
    result.stdout.re_match_lines(
        [r"fts +20 +2\.00 +2\.00 +2\.00 +10x", r"ratio +1\.5 +<= 1\.25 +MISSED", r"rate +9 +>= 8$"]
    )
    found = json.loads((pytester.path / "reports/bench.json").read_text())
    assert found["gates"][0]["times"] == [2.0] * 100
    assert [aim["missed"] for aim in found["aims"]] == [True, False]
    assert (pytester.path / "reports/fts.svg").read_text().startswith("<svg ")


# What is deliberately slowed down is seen.


@pytest.mark.promise("PERF-1", "PERF-2")
@pytest.mark.parametrize("mode", ["fts", "semantic"])
def test_no_answer_takes_ten_times_as_long_as_the_bare_server(
    project: Project, tmp_path: Path, mode: str
) -> None:
    assert ratio_to_the_bare_server(project, tmp_path, mode) < 10


def test_ten_milliseconds_more_in_a_search_are_seen_in_that_ratio(
    project: Project, tmp_path: Path
) -> None:
    with MUTANTS["ten_milliseconds_more"].planted():
        assert ratio_to_the_bare_server(project, tmp_path, "fts") > 10


def ratio_to_the_bare_server(project: Project, tmp_path: Path, mode: str) -> float:
    """The least of six, each a ratio of medians: what others do beside it slows some of them.

    It is 4.3 to 4.8 on two cores: the daemon shares an interpreter with its client here, so that a
    mutant can be planted.  The aim, of a daemon in a process of its own, is 1.25 (`test_floor`).
    """
    with ExitStack() as stack:
        stack.enter_context(served(project))
        client = stack.enter_context(DaemonClient(project, start=False))
        socket = stack.enter_context(sides.bare_server(project, tmp_path / "bare.sock"))
        connection = stack.enter_context(closing(unix_connect(socket)))
        bare = getattr(connection.root, mode)
        ratios = []
        for _ in range(6):
            floor = measured(lambda text: bare("retry"), 30)[1]
            ours = measured(lambda text: client.query("retry", mode=mode), 30)[1]
            ratios.append(sides.ratio([ours], [floor]))
    return min(ratios)


# What cannot flake.


class _Watched(Runtime):
    """Knows how many locks each thread holds."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}

    def lock(self, name: str) -> Any:
        return _WatchedLock(self, SYSTEM.lock(name))

    def condition(self, name: str) -> Any:
        return _WatchedLock(self, SYSTEM.condition(name))


class _WatchedLock:
    def __init__(self, runtime: _Watched, inner: Any) -> None:
        self._runtime = runtime
        self._inner = inner

    def __enter__(self) -> object:
        entered = self._inner.__enter__()
        self._count(1)
        return entered

    def __exit__(self, *error: object) -> None:
        self._count(-1)
        self._inner.__exit__(*error)

    def _count(self, change: int) -> None:
        held = self._runtime.held
        held[get_ident()] = held.get(get_ident(), 0) + change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.promise("RPC-4", "PERF-3")
def test_no_lock_is_held_while_an_engine_searches(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = _Watched()
    searched: list[int] = []
    for engine in (Nearest, FullTextIndex):

        def watched(self: Any, *arguments: Any, search: Callable[..., Any] = engine.search) -> Any:
            searched.append(runtime.held.get(get_ident(), 0))
            return search(self, *arguments)

        monkeypatch.setattr(engine, "search", watched)
    service = CIDXDaemonService(project.root, runtime=runtime)
    for ask in (service.exposed_query, service.exposed_query_fts, service.exposed_query_hybrid):
        assert ask(str(project.root), "retry")["results"]
    service.exposed_clear_cache()
    assert len(searched) >= 4
    assert not any(searched)
    assert max(runtime.held.values()) == 0


@pytest.mark.promise("PERF-5", "WRITE-2")
def test_nothing_is_built_in_the_process_of_the_daemon(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(*_: object, **__: object) -> None:
        raise AssertionError("built in the daemon's process")

    monkeypatch.setattr(build, "bring_up_to_date", here)
    monkeypatch.setattr(merging, "merge_once", here)
    monkeypatch.setattr(Assembly, "__init__", here)
    with served(project), DaemonClient(project, start=False) as client:
        assert client.index(full=True)["changed"] is True


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Of each load in this process: the generation, and which was live when it began."""
    seen: list[tuple[str, str]] = []
    load = GenerationSource.load

    def seen_loading(self: GenerationSource, generation: str) -> Any:
        seen.append((generation, self.current()))
        return load(self, generation)

    monkeypatch.setattr(GenerationSource, "load", seen_loading)
    return seen


@pytest.mark.promise("PERF-1", "PERF-3", "CACHE-1")
def test_thirty_two_clients_in_every_mode_make_one_load(
    project: Project, loads: list[tuple[str, str]]
) -> None:
    found: list[str] = []

    def ask() -> None:
        with DaemonClient(project, start=False) as client:
            modes = ("semantic", "fts", "hybrid")
            found.extend(client.query("retry", mode=mode)[0].path for mode in modes)

    with served(project):
        for thread in [SYSTEM.thread(ask, f"client {number}") for number in range(32)]:
            thread.join()
    assert found == ["net/retry.py"] * 96
    assert len(loads) == 1


@pytest.mark.promise("PERF-4")
def test_a_thousand_queries_leave_no_object_behind(project: Project) -> None:
    service = CIDXDaemonService(project.root)
    methods = (service.exposed_query, service.exposed_query_fts, service.exposed_query_hybrid)

    def ask(times: int) -> int:
        for number in range(times):
            methods[number % 3](str(project.root), "retry")
        gc.collect()
        return len(gc.get_objects())

    ask(1000)  # of which the metrics remember the last thousand
    before = ask(3)
    assert ask(999) - before < 50
    service.exposed_clear_cache()


@pytest.mark.promise("PERF-5", "CACHE-1")
def test_what_an_index_run_publishes_is_loaded_before_it_is_live(
    project: Project, loads: list[tuple[str, str]]
) -> None:
    with served(project), DaemonClient(project, start=False) as client:
        old = client.query("retry").generation
        new = client.index(full=True)["generation"]
        assert client.query("retry").generation == new
        cache = client.metrics()["cache"]
    assert loads == [(old, old), (new, old)]
    assert (cache["load"], cache["replace"], cache["evict"]) == (2, 1, 0)


@pytest.mark.promise("PERF-5", "CACHE-7")
def test_an_index_run_loads_nothing_where_nothing_is_cached(
    project: Project, loads: list[tuple[str, str]]
) -> None:
    with served(project), DaemonClient(project, start=False) as client:
        client.index(full=True)
        assert client.status()["cache_empty"] is True
    assert loads == []


@pytest.mark.promise("PERF-5", "CACHE-2")
def test_an_index_run_publishes_what_the_daemon_cannot_load_and_the_query_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(project), DaemonClient(project, start=False) as client:
        client.query("retry")

        def fail(self: GenerationSource, generation: str) -> None:
            raise IndexUnusableError(f"cannot load {generation}")

        monkeypatch.setattr(GenerationSource, "load", fail)
        new = client.index(full=True)["generation"]
        with pytest.raises(IndexUnusableError, match=new):
            client.query("retry")
        monkeypatch.undo()
        assert client.query("retry").generation == new


HEAVY = {"rpyc", "numpy", "hnswlib", "tantivy", "hypothesis", "pytest", "asyncio", "gevent"}


@pytest.mark.promise("PERF-1")
def test_a_query_from_the_shell_imports_nothing_heavy(project: Project) -> None:
    with served(project):
        command, environment = python_command(
            "cidx_ref", "query", "retry", "--json", "--project", str(project.root)
        )
        done = subprocess.run(
            [command[0], "-X", "importtime", *command[1:]],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
    assert json.loads(done.stdout)["results"][0]["path"] == "net/retry.py"
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert imported & HEAVY == set()
    assert "cidx_ref" in imported
    assert sys.executable in command[0]


# Gates for any daemon.

LIMITS_MS = {"query": 1000.0, "query_fts": 1000.0, "query_hybrid": 1000.0}


@pytest.mark.once
@pytest.mark.parametrize(
    ("target", "limits_ms", "verdicts", "words"),
    [
        (load_targets.OTHER, LIMITS_MS, "kept, kept, not offered", "needs hybrid search (Cap.HYB"),
        (load_targets.OTHER, {"query_fts": 1e-6}, "broken", "times the target)"),
        (load_targets.WRONG, {"query": 1000.0}, "broken", " did not find elsewhere.py"),
        (load_targets.NOBODY, {"query": 1000.0}, "not tried", "nobody accepts at /nowhere.sock"),
    ],
)
def test_latencies_of_any_target_are_judged_with_limits_of_its_own(
    target: Target, limits_ms: dict[str, float], verdicts: str, words: str
) -> None:
    found = check_latency(target, limits_ms, calls=40)
    assert ", ".join(str(finding.verdict) for finding in found) == verdicts
    assert words in found[-1].words
