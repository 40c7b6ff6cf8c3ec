"""The story's Task 6 and its integration tests, as written, with the full cidx's own index.

The real project is the one that the full cidx has indexed, where that is to be had, and else one
that is written here in its format.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from rpyc.utils.factory import unix_connect
from test_cidx_format import FIXTURE
from test_story import (  # noqa: F401 - they are run here, too
    test_fts_caching,
    test_hybrid_parallel_execution,
    test_real_index_caching,
)
from theirs import SOURCE, adopted, new_uuid

import cidx_ref
from cidx_ref.daemon.entry import CacheEntry
from cidx_ref.index.either import EitherIndex
from cidx_ref.project import Project
from cidx_ref.testing.own.cidx_format import DIRECTORY, StandIn, write_index
from cidx_ref.testing.own.fixtures import served

pytestmark = pytest.mark.once

EMBEDDER = StandIn(1024)


@pytest.fixture(scope="module", params=["written here", "the full cidx's"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("real")
    if request.param == "written here":
        write_index(root, {**SOURCE, "auth/test.py": "def function():\n    authentication\n" * 400},
                    embedder=EMBEDDER)  # fmt: skip
        found = root
    else:
        if not FIXTURE.exists():
            pytest.skip("the full cidx's own index is not here")
        with tarfile.open(FIXTURE) as archive:
            archive.extractall(root, filter="data")
        found = root / "smallproj"
    adopted(found, EMBEDDER)
    return Project.at(found)


# The tests of the story are those of `test_story`, with these fixtures in the place of its own.


@pytest.fixture
def stdlib(real: Project) -> Project:
    return real


@pytest.fixture
def start_test_daemon(real: Project, daemon: Any) -> Callable[[], Any]:
    def start() -> Any:
        new_uuid(real.root)  # the full cidx has published: the first query checks, and loads
        return daemon

    return start


@pytest.fixture
def daemon(real: Project) -> Iterator[Any]:
    """A plain RPyC connection to a daemon of that project."""
    opened = partial(EitherIndex, embedder=EMBEDDER)
    with served(real, index=lambda project, runtime: opened(project, runtime)):
        connection = unix_connect(str(real.socket_path))
        yield connection
        connection.close()


@pytest.mark.promise("CACHE-1")
def test_task_6_the_index_is_loaded_by_the_names_of_the_store(real: Project) -> None:
    class Service:
        def _load_indexes(self, entry: Any) -> None:
            """Load HNSW and ID mapping indexes."""
            from cidx_ref import FilesystemVectorStore

            vector_store = FilesystemVectorStore(entry.project_path)
            entry.hnsw_index = vector_store._load_hnsw_index()
            entry.id_mapping = vector_store._load_id_mapping()

    class Entry:
        project_path = real.root
        hnsw_index: Any = None
        id_mapping: Any = None

    Service()._load_indexes(Entry)
    assert Entry.hnsw_index.get_current_count() == len(Entry.id_mapping)
    label = next(iter(Entry.id_mapping))
    vector = Entry.hnsw_index.get_items([label])[0]
    _, distances = Entry.hnsw_index.knn_query(np.array(vector, np.float32), k=1)
    assert distances[0][0] < 1e-5
    assert list((real.root / DIRECTORY / "index").rglob(f"vector_{Entry.id_mapping[label]}.json"))
    assert CacheEntry is cidx_ref.CacheEntry


@pytest.mark.promise("QRY-1", "QRY-2")
def test_every_hit_points_at_lines_that_exist(
    real: Project, daemon: Any, figure: Callable[..., None]
) -> None:
    hits = 0
    for text in ("queue", "heap push item", "retry", "def", "thread lock", '"import"'):
        for ask in (daemon.root.query, daemon.root.query_fts, daemon.root.query_hybrid):
            answer = ask(str(real.root), text)
            assert answer["source"] == "cidx"
            for hit in answer["results"]:
                lines = (real.root / hit["path"]).read_text().removesuffix("\n").split("\n")
                assert 1 <= hit["line_start"] <= hit["line_end"] <= len(lines)
                shown = "\n".join(lines[hit["line_start"] - 1 : hit["line_end"]])
                assert hit["snippet"] in shown
                hits += 1
    assert hits > 20
    figure("QRY-1", "hits in the full cidx's index that were looked up", hits)
