"""The zoo as such; and no mutant of a promise without a search survives the tests of its promise.

The others are killed in `test_interleavings`.  Here each is planted in a pytest of its own, which
runs the tests that are marked with its promise until one fails.  That they pass without it, the
run that this is a part of shows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    pytest.param(mutant, id=name, marks=pytest.mark.promise(mutant.promise))
    for name, mutant in MUTANTS.items()
    if not searches_of(mutant.promise)
]


@pytest.mark.parametrize("mutant", DIES)
def test_the_mutant_is_killed_by_the_tests_of_the_promise_that_it_breaks(
    mutant: Mutant, planted: RecordMutant, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", f"--basetemp={tmp_path}/in"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"]
    command += ["--cidx-promise", mutant.promise, "--cidx-mutant", mutant.name]
    done = subprocess.run(
        [*command, *_files_that_name(mutant.promise)],
        cwd=TESTS.parent,
        # It reports to us, and is no worker of whoever runs us.
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
    # A test, in its body or in its fixtures: a module that cannot be imported has no "::".
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+::.*)", done.stdout, re.MULTILINE)
    killed = done.returncode == pytest.ExitCode.TESTS_FAILED and bool(failed)
    planted(mutant.promise, mutant.name, killed=killed)
    assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), done.stdout
    assert killed, f"survives: {mutant.what}\n{done.stdout}"


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
        health,
        indexing,
        proxy,
        relevance,
        report,
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
        assembly,
        build,
        fulltext,
        generation,
        gitrun,
        live,
        loaded,
        making,
        merging,
        nearest,
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

    places: list[Any] = [
        accept.SocketServer,
        arguments,
        assembly.Assembly,
        build,
        cache,
        claim,
        dispatch,
        entry.CacheEntry,
        indexing.IndexRuns,
        indexing._Listener,
        indexing._SharedRun,
        freshness,
        stale,
        stale.Staleness,
        succession.Succession,
        cache.IndexCache,
        cache._Load,
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
        generation,
        generation.Generations,
        generation.Lease,
        live.LiveChunks,
        loaded.LoadedSegments,
        making,
        merging,
        nearest.Nearest,
        health.HealthMonitor,
        health.Metrics,
        keys.Key,
        live.LiveChunks,
        path,
        proxy.RemoteCallback,
        report,
        search,
        search._Engines,
        seen,
        seen.SeenFiles,
        semantic.SemanticIndex,
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
