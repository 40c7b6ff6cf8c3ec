"""The zoo as such; and no mutant that no search is to find survives the tests of its promise.

The others are killed in `test_interleavings`.  Here each is planted in a pytest of its own (see
`planter`), which runs the tests that are marked with its promise until one fails; where that would
take long, first the one that `soonest` names, alone.  That they pass without it, the run that this
is a part of shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from soonest import SLOW, SOONEST

from cidx_ref.testing.own.mutants import MUTANTS, Mutant
from cidx_ref.testing.own.searches import searches_of
from cidx_ref.testing.promises.registry import PROMISES
from cidx_ref.testing.promises.report import RecordMutant

pytestmark = pytest.mark.once

TESTS = Path(__file__).parent
PATIENCE_S = 120.0
#: What these start are processes of their own, in which no mutant is planted.
LAST = (
    *("test_always_fresh.py", "test_cli.py", "test_lifecycle.py"),
    *("test_lifecycle_machine.py", "test_load.py"),
)

EVERY = [pytest.param(mutant, id=name) for name, mutant in MUTANTS.items()]
DIES = [
    pytest.param(
        mutant,
        id=name,
        marks=[pytest.mark.promise(mutant.promise), *[pytest.mark.deep] * (name in SLOW)],
    )
    for name, mutant in MUTANTS.items()
    if not (mutant.complaint and searches_of(mutant.promise))
]


@pytest.fixture(scope="module")
def planter() -> Iterator[Forking]:
    with Forking("planter", TESTS.parent) as made:
        yield made


@pytest.mark.parametrize("mutant", DIES)
def test_the_mutant_is_killed_by_the_tests_of_the_promise_that_it_breaks(
    mutant: Mutant, planted: RecordMutant, planter: Forking, tmp_path: Path
) -> None:
    def run(tests: list[str]) -> tuple[int, str]:
        return _run_with(mutant, tests, planter, tmp_path)

    death = _death(run, _files_that_name(mutant.promise), SOONEST.get(mutant.name))
    planted(mutant.promise, mutant.name, killed=bool(death.killer))
    assert death.status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), death.said
    assert death.killer, f"survives: {mutant.what}\n{death.said}"
    assert not death.wrong, death.wrong


@dataclass(frozen=True)
class Death:
    """Of a mutant, if there is a `killer`."""

    killer: str
    #: Of the tests, and what they said.
    status: int
    said: str
    #: What is wrong with the entry in `SOONEST`.
    wrong: str = ""


def _death(
    run: Callable[[list[str]], tuple[int, str]], files: list[str], soonest: str | None
) -> Death:
    """By the test that sees the mutant soonest, or where that does not, by all of `files`.

    The mutant is dead then as well, and what is wrong is the entry: it costs time at each run, and
    would not be found otherwise.
    """
    told = ""
    if soonest is not None:
        status, told = run([str(TESTS / soonest)])
        # There may be no such test, or it is not of this promise, or cannot be imported.
        if killer := _killer(status, told):
            return Death(killer, status, told)
    status, said = run(files)
    killer = _killer(status, said)
    if soonest is None:
        return Death(killer, status, said)
    wrong = f"tests/soonest.py: {soonest} does not see it, and {killer or 'nobody'} does\n{told}"
    return Death(killer, status, said, wrong)


def _killer(status: int, said: str) -> str:
    """The test that failed, in its body or in its fixtures."""
    if status != pytest.ExitCode.TESTS_FAILED:
        return ""
    # A module that cannot be imported has no "::".
    failed = re.search(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", said, re.MULTILINE)
    return failed[1] if failed else ""


def _run_with(
    mutant: Mutant, tests: list[str], planter: Forking, tmp_path: Path
) -> tuple[int, str]:
    """Those of `tests` that are marked with its promise, until one fails."""
    options = ["-x", "-q", "--tb=line", f"--basetemp={tmp_path}/in"]
    options += ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"]
    options += ["--cidx-promise", mutant.promise, "--cidx-mutant", mutant.name]
    said = tmp_path / "said"
    status = planter.run([*options, *tests], said, PATIENCE_S)
    return status, said.read_text("utf-8", "replace")


def _files_that_name(promise: str) -> list[str]:
    """The modules with tests of `promise`; the one that is most about it first, for it is the one
    to see the mutant soonest."""
    counts = {
        path: path.read_text("utf-8").count(f'"{promise}"')
        for path in sorted(TESTS.glob("test_*.py"))
        if path != Path(__file__)  # it would never end
    }
    found = [path for path in counts if counts[path]]
    found.sort(key=lambda path: (path.name in LAST, -counts[path]))
    assert found, f"no test names {promise}"
    return [str(path) for path in found]


def test_the_entries_of_who_sees_it_soonest_are_for_mutants_that_are_planted_here() -> None:
    assert SOONEST.keys() <= {str(each.id) for each in DIES}


def test_of_each_promise_of_a_slow_mutant_another_one_is_seen_by_default() -> None:
    assert {str(each.id) for each in DIES} >= SLOW
    by_default = {mutant.promise for name, mutant in MUTANTS.items() if name not in SLOW}
    assert {MUTANTS[name].promise for name in SLOW} <= by_default


KILLED = (1, "F\nFAILED tests/test_a.py::test_x[a - b] - assert 1 == 2\n1 failed\n")


def test_where_the_test_that_sees_it_soonest_does_no_other_is_run() -> None:
    asked: list[list[str]] = []

    def run(tests: list[str]) -> tuple[int, str]:
        asked.append(tests)
        return KILLED

    death = _death(run, ["all"], "test_a.py::test_x")
    assert (bool(death.killer), death.wrong) == (True, "")
    assert asked == [[str(TESTS / "test_a.py::test_x")]]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "1 passed"),
        (2, "ERROR tests/test_a.py - ImportError"),
        (4, "ERROR: not found: tests/test_a.py::test_x"),
        (5, "1 deselected"),
    ],
    ids=["passes", "cannot be imported", "is gone", "is of another promise"],
)
@pytest.mark.parametrize("all_", [KILLED, (0, "9 passed")], ids=["killed", "survives"])
def test_where_it_does_not_all_are_run_and_the_entry_is_told(
    status: int, said: str, all_: tuple[int, str]
) -> None:
    def run(tests: list[str]) -> tuple[int, str]:
        return all_ if tests == ["all"] else (status, said)

    death = _death(run, ["all"], "test_a.py::test_x")
    assert bool(death.killer) is (all_ is KILLED)
    assert "test_a.py::test_x does not see it" in death.wrong
    assert said in death.wrong
    assert _death(run, ["all"], None).wrong == ""


ASKS = """
import pytest
from cidx_ref.daemon.arguments import _refuse_unknown

@pytest.mark.promise("QRY-5")
def test_it():
    assert _refuse_unknown.__module__ == "cidx_ref.daemon.arguments", "it is there"
"""


def test_a_mutant_is_in_the_run_that_it_is_planted_in_and_in_none_that_follows(
    planter: Forking, tmp_path: Path
) -> None:
    mutant = MUTANTS["unknown_arguments_are_ignored"]
    test = tmp_path / "test_asks.py"
    test.write_text(ASKS)
    tests = ["-c", str(TESTS.parent / "pyproject.toml"), str(test)]
    status, said = _run_with(mutant, tests, planter, tmp_path)
    assert (status, "it is there" in said) == (1, True)
    status = planter.run(["-p", "no:cacheprovider", *tests], tmp_path / "out", PATIENCE_S)
    assert (status, "1 passed" in (tmp_path / "out").read_text()) == (0, True)


def test_a_run_that_takes_too_long_is_ended_and_the_next_one_is_as_any(
    planter: Forking, tmp_path: Path
) -> None:
    (tmp_path / "test_ever.py").write_text("def test_it():\n    while True: pass\n")
    with pytest.raises(TimeoutError):
        planter.run(["-p", "no:cacheprovider", str(tmp_path)], tmp_path / "out", 0.0)
    assert planter.run(["--version"], tmp_path / "out", PATIENCE_S) == 0
    assert planter.run(["--no-such-option"], tmp_path / "out", PATIENCE_S) == 4


ALONE = """
import os

def test_it(pytestconfig):
    assert not pytestconfig.pluginmanager.hasplugin("benchmark")
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ
"""


def test_a_run_looks_for_no_plugins_and_what_it_starts_does(
    planter: Forking, tmp_path: Path
) -> None:
    (tmp_path / "test_alone.py").write_text(ALONE)
    said = tmp_path / "out"
    assert planter.run(["-p", "no:cacheprovider", str(tmp_path)], said, PATIENCE_S) == 0, (
        said.read_text()
    )


@pytest.mark.parametrize("mutant", EVERY)
def test_what_a_mutant_changes_is_as_it_was_afterwards(mutant: Mutant) -> None:
    before = _patched()
    with mutant.planted():
        assert _patched() != before
    assert _patched() == before


def _patched() -> list[Any]:
    from os import path

    from cidx_ref import backend, client, config, errors, files, keys
    from cidx_ref.daemon import (
        accept,
        arguments,
        cache,
        claim,
        dispatch,
        entry,
        eviction,
        framing,
        freshness,
        gate,
        gitstate,
        health,
        indexing,
        outside,
        proxy,
        relevance,
        report,
        semaphore,
        served,
        server,
        service,
        succession,
        transport,
        watch,
        watched,
        watching,
    )
    from cidx_ref.index import (
        asking,
        assembly,
        build,
        engines,
        fulltext,
        generation,
        gitrun,
        graphs,
        live,
        loaded,
        making,
        merging,
        nearest,
        ours,
        phrases,
        search,
        seen,
        semantic,
        snapshot,
        snippet,
        source,
        stale,
        text,
        writing,
    )
    from cidx_ref.index import watched as watched_folders
    from cidx_ref.index.cidx import check, keeping, looks, rows, tree, words
    from cidx_ref.index.embedders import settings, web

    places: list[Any] = [
        accept.SocketServer,
        arguments,
        asking,
        asking.QueryVectors,
        assembly.Assembly,
        build,
        cache,
        claim,
        dispatch,
        entry.CacheEntry,
        indexing.IndexRuns,
        indexing._Listener,
        indexing._SharedRun,
        semaphore.FairSemaphore,
        freshness,
        stale,
        stale.Staleness,
        succession.Succession,
        cache.IndexCache,
        cache._Load,
        check,
        graphs,
        keeping.Keeping,
        looks,
        rows,
        tree.Tree,
        words.TextFiles,
        backend,
        backend.Remote,
        client,
        config.Config,
        errors.CidxError,
        eviction.CacheEvictionThread,
        files,
        files.Directory,
        framing.Channel,
        framing.Stream,
        fulltext.FullTextIndex,
        fulltext.FullTextWriter,
        gate.Gate,
        gitstate,
        outside.Outside,
        generation,
        generation.Generations,
        generation.Lease,
        live.LiveChunks,
        loaded.LoadedSegments,
        making,
        merging,
        nearest.Nearest,
        ours.OurIndex,
        health.HealthMonitor,
        health.Metrics,
        keys.Key,
        live.LiveChunks,
        path,
        phrases.Phrase,
        phrases.Phrases,
        proxy.RemoteCallback,
        report,
        search,
        engines.Engines,
        seen,
        seen.SeenFiles,
        semantic.SemanticIndex,
        settings,
        web.Endpoint,
        web.Key,
        web.Web,
        claim.Claim,
        server.Daemon,
        service.CIDXDaemonService,
        snapshot.IndexSnapshot,
        served.Served,
        freshness.Freshness,
        freshness.NoWatch,
        snippet.Probes,
        source.GenerationSource,
        text,
        transport,
        transport._Connection,
        gitrun.Git,
        relevance,
        relevance.Relevance,
        watch,
        watch.Watch,
        watched_folders._Looking,
        watched.WatchedTree,
        watching,
        watching.Scan,
        watching.Session,
        writing.SegmentSink,
    ]
    return [dict(vars(place)) for place in places]


def test_each_promise_has_a_mutant() -> None:
    broken = {mutant.promise for mutant in MUTANTS.values()}
    assert broken <= set(PROMISES)
    assert [id_ for id_ in PROMISES if id_ not in broken] == []


def test_each_mutant_says_in_one_sentence_what_is_wrong_with_it() -> None:
    for mutant in MUTANTS.values():
        assert mutant.what.endswith("."), mutant.name
