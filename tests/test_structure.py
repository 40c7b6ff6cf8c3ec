"""What a chunk is, and what it defines: how an index keeps it, and how it is asked for by name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref import CIDXDaemonService
from cidx_ref.files import Directory
from cidx_ref.index.analysis import terms_of_file
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import ChunkWriter, StoredChunk
from cidx_ref.index.structure import KINDS, names_by_piece
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, build

pytestmark = pytest.mark.once

NAMES = st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=8)
CHUNKS = st.builds(
    Chunk,
    st.text(max_size=8),
    st.integers(1, 9),
    st.integers(10, 20),
    st.text(max_size=30),
    st.sampled_from(KINDS),
    st.lists(NAMES, max_size=4).map(tuple),
)


@settings(deadline=None)
@given(st.lists(st.lists(CHUNKS, max_size=4), max_size=4))
def test_a_store_gives_back_what_a_chunk_is_and_what_it_defines(files: list[list[Chunk]]) -> None:
    expected = []
    with TemporaryDirectory() as made:
        path = Path(made)
        with Directory.open(path) as directory, ChunkWriter(directory) as writer:
            for number, chunks in enumerate(files):
                file = StoredFile(number + 1, f"{number}.py", "python", "0" * 32, False, 0)
                writer.add_file(file, chunks)
                expected += [
                    StoredChunk(
                        file.path, "python", one.name, one.line_start, one.line_end, one.text,
                        one.kind, one.defines,
                    )
                    for one in chunks
                ]  # fmt: skip
            writer.save()
        with closing(ChunkStore(path)) as store:
            assert [store.read(number) for number in range(len(store))] == expected


@given(
    st.lists(st.tuples(st.integers(0, 30), NAMES), max_size=30),
    st.lists(st.integers(1, 6), max_size=8),
    st.integers(0, 3),
)
def test_each_name_is_defined_by_the_first_piece_that_has_its_line(
    named: list[tuple[int, str]], sizes: list[int], overlap: int
) -> None:
    named.sort(key=lambda each: each[0])
    spans, end = [], 0
    for size in [*sizes, 40]:
        start = max(0, end - overlap)
        spans.append((start, start + size + overlap))
        end = start + size + overlap
    found = names_by_piece(named, spans)
    for place, (span, names) in enumerate(zip(spans, found, strict=True)):
        before = max((end for _, end in spans[:place]), default=0)
        own = [name for line, name in named if before <= line < span[1]]
        assert names == tuple(dict.fromkeys(own))


def symbols(path: str, *chunks: Chunk) -> list[str]:
    return [terms.symbol for terms in terms_of_file(path, chunks)]


def test_a_chunk_is_asked_for_by_what_it_defines_and_by_nothing_that_it_merely_holds() -> None:
    assert symbols(
        "src/parse_url.py",
        Chunk("", 1, 2, "import os\nMAX_SIZE = 3", "", ("MAX_SIZE", "maxSize", "Low")),
        Chunk("Outer.inner", 3, 4, "def inner(): call()", "method", ("inner",)),
        Chunk("Outer.inner", 5, 6, "more of it", "method"),
    ) == ["maxsize low =MAX_SIZE =maxSize =Low .parseurl .=parse_url", "inner =inner", ""]


def test_only_the_first_chunk_is_called_after_its_file_and_less_so_if_it_defines_something() -> (
    None
):
    nothing, more = Chunk("", 4, 5, "import os"), Chunk("", 6, 7, "run()")
    assert symbols("src/parse_url.py", nothing, more) == ["parseurl =parse_url", ""]
    assert symbols("src/a\udcff b.py", nothing, more) == ["a b", ""]
    assert symbols("src/a\udcff.py", nothing, more) == ["a", ""]
    named = Chunk("f", 1, 2, "", "function", ("f",))
    assert symbols("src/parse_url.py", named, more) == ["f =f .parseurl .=parse_url", ""]
    assert symbols("box/__init__.py", nothing) == ["init =__init__ .box .=box"]
    assert symbols("box/index.js", named) == ["f =f .index .box .=index .=box"]
    assert symbols("index.js", named) == ["f =f .index .=index"]


MODES = {"fts": "exposed_query_fts", "semantic": "exposed_query", "hybrid": "exposed_query_hybrid"}


def ask(project: Project, text: str, mode: str) -> list[dict[str, Any]]:
    found = getattr(CIDXDaemonService(project.root), MODES[mode])(str(project.root), text)
    hits: list[dict[str, Any]] = found["results"]
    return hits


@pytest.mark.parametrize("mode", MODES)
def test_a_hit_says_what_kind_of_thing_it_is(make_project: MakeProject, mode: str) -> None:
    project = make_project(
        {"a.py": "def wombat():\n    return 1\n\n\nclass Quokka:\n    x = wombat()\n"}
    )
    build(project)
    assert {(hit["name"], hit["kind"]) for hit in ask(project, "wombat", mode)} == {
        ("wombat", "function"),
        ("Quokka", "class"),
    }


def test_a_constant_is_found_where_it_is_defined_and_not_where_it_is_used(
    make_project: MakeProject,
) -> None:
    users = {
        f"use{n}.py": f"def user{n}():\n    return WOMBAT_LIMIT + WOMBAT_LIMIT * {n}\n"
        for n in range(20)
    }
    settings = "import os\n\nRATE = 3\nWOMBAT_LIMIT = int(os.environ['LIMIT'])\nNAME = 'x'\n"
    project = make_project({**users, "zsettings.py": settings})
    build(project)
    assert ask(project, "WOMBAT_LIMIT", "hybrid")[0]["path"] == "zsettings.py"
