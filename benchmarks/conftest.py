"""What every benchmark here measures: a real daemon, on a real repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter

import pytest
from repositories import Repository, copies, small_files

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import end_daemon


@pytest.fixture
def client(stdlib: Project, running: Callable[[Project], int]) -> Iterator[DaemonClient]:
    """Of a daemon that serves the standard library, and has it loaded."""
    running(stdlib)
    with DaemonClient(stdlib, start=False) as connected:
        assert connected.status()["chunks"] >= 9000
        connected.query("warm up")
        yield connected


@pytest.fixture(scope="session")
def moderate(tmp_path_factory: pytest.TempPathFactory, stdlib: Project) -> Repository:
    """A checkout of some 21,000 chunks, for those who change files in it."""
    return _built(copies(tmp_path_factory.mktemp("moderate") / "tree", 1, stdlib), times=3)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory, stdlib: Project) -> Repository:
    """A checkout of some 150,000 chunks, for those who change files in it."""
    return _built(copies(tmp_path_factory.mktemp("large") / "tree", 7, stdlib), times=1)


@pytest.fixture(scope="session")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A checkout of 33,000 files, of one chunk each."""
    return _built(small_files(tmp_path_factory.mktemp("many") / "tree", 33_000), times=1)


def _built(project: Project, times: int) -> Repository:
    """With an index, which was built anew so many times."""
    taken = []
    try:
        with DaemonClient(project) as client:
            for _ in range(times):
                began = perf_counter()
                chunks = client.index(full=True)["chunks"]
                taken.append(perf_counter() - began)
    finally:
        end_daemon(project)
    return Repository(project, chunks, median(taken))
