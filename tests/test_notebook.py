"""Notebooks as their reader sees them: cells, with lines of their own, and no outputs."""

from __future__ import annotations

import base64
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index.analysis import embedded_text
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.chunk import MAX_PIECES, Chunk
from cidx_ref.index.cutting import cut
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.notebook import MAX_FILE_BYTES, Notebook, is_notebook, read_notebook
from cidx_ref.index.port import Search
from cidx_ref.index.scan import SourceFile, read_file
from cidx_ref.index.search import answer
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, write

pytestmark = pytest.mark.once

PICTURE = base64.b64encode(random.Random(1).randbytes(30_000)).decode()
MODEL = "class Model:\n    rate = 1\n\n    def fit(self, x):\n        return x\n"
OUTPUTS: list[dict[str, Any]] = [
    {
        "output_type": "display_data",
        "data": {"image/png": PICTURE, "text/plain": ["wombatfigure"]},
    },
    {"output_type": "stream", "name": "stdout", "text": ["wombatoutput\n"]},
]


def cell(source: object, kind: str = "code", **more: object) -> dict[str, Any]:
    extra = {"outputs": OUTPUTS, "execution_count": 1} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **extra, **more}


def notebook(*cells: object, metadata: object = None, **more: object) -> str:
    kernel = {"kernelspec": {"name": "python3", "language": "python"}}
    found = {"nbformat": 4, "nbformat_minor": 5, "cells": list(cells)}
    return json.dumps({**found, "metadata": kernel if metadata is None else metadata, **more})


def read(text: str) -> Notebook:
    found = read_notebook(text)
    assert found is not None
    return found


def chunks(*cells: object, **more: Any) -> list[Chunk]:
    return read(notebook(*cells, **more)).chunks()


def outline(found: list[Chunk]) -> list[tuple[str, int, int]]:
    return [(piece.name, piece.line_start, piece.line_end) for piece in found]


def test_what_a_cell_defines_is_known_by_its_kind_and_name() -> None:
    """The piece of a notebook's cell is called after the cell, and still defines what it does."""
    found = chunks(cell("RATE = 3\n\ndef fit(x):\n    return x\n"))
    assert [(piece.name, piece.kind, piece.defines) for piece in found] == [
        ("cell 1", "", ("RATE",)),
        ("cell 1: fit", "function", ("fit",)),
    ]


def test_cells_are_counted_from_one_and_their_lines_within_them() -> None:
    found = chunks(
        cell(["# Title\n", "\n", "About quokkas."], "markdown"),
        cell("import os\n\n\n" + MODEL),
        cell(["x = 1\n", "y = 2"]),
    )
    assert outline(found) == [
        ("cell 1: Title", 1, 3),
        ("cell 2", 1, 1),
        ("cell 2: Model", 4, 5),
        ("cell 2: Model.fit", 7, 8),
        ("cell 3", 1, 2),
    ]
    assert found[0].text == "# Title\n\nAbout quokkas."
    assert found[3].text == "    def fit(self, x):\n        return x"


def test_outputs_pictures_and_metadata_are_no_text_of_it() -> None:
    text = "".join(piece.text for piece in chunks(cell("plot()", metadata={"secret": "m"})))
    assert text == "plot()"


def test_notebooks_of_format_3_are_read_too() -> None:
    code = {
        "cell_type": "code",
        "input": ["def f():\n", "    1"],
        "language": "python",
        "outputs": [],
    }
    sheets = [{"cells": [cell("Words", "heading", level=2)]}, {"cells": [code, cell("more")]}]
    found = read(json.dumps({"nbformat": 3, "worksheets": sheets, "metadata": {"name": ""}}))
    assert found.language == "python"
    assert outline(found.chunks()) == [("cell 1", 1, 1), ("cell 2: f", 1, 2), ("cell 3", 1, 1)]


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({}, "python"),
        ({"language_info": {"name": "R"}}, "r"),
        ({"kernelspec": {"name": "julia-1.9", "language": "julia"}}, "julia"),
        ({"kernelspec": {"name": "python3"}}, "python"),
        ({"kernelspec": {"name": "bash"}}, "shell"),
        ({"kernelspec": {"name": "myenv"}}, "python"),
        ({"kernelspec": {"name": "conda-env-x-py", "language": ""}}, "python"),
        ({"kernelspec": {"name": "pyspark", "display_name": "PySpark"}}, "python"),
        ({"kernelspec": {"name": "ir"}}, "r"),
        ({"kernelspec": {"name": "xcpp17"}}, "cpp"),
        ({"kernelspec": {"name": "myenv", "language": "no such"}}, "text"),
        ({"language_info": {"name": "C++17"}, "kernelspec": {"language": "C++"}}, "cpp"),
        ({"language_info": {"name": "no such"}}, "text"),
        ({"language_info": {"name": "x" * 10**6}}, "python"),
        ({"language_info": ["python"], "kernelspec": {"language": 7}}, "python"),
        ([], "python"),
    ],
)
def test_the_language_is_what_the_notebook_says(metadata: object, language: str) -> None:
    assert read(notebook(cell("def f(): 1"), metadata=metadata)).language == language


def test_definitions_are_named_in_python_only() -> None:
    metadata = {"language_info": {"name": "julia"}}
    assert outline(chunks(cell("def f():\n    1"), metadata=metadata)) == [("cell 1", 1, 2)]
    assert outline(chunks(cell("def f():\n    1", "markdown"))) == [("cell 1", 1, 2)]


@pytest.mark.parametrize(
    "first",
    ["files = !ls", "x = !ls \\\n    -l", "a.b[0] = !ls -l | grep '='", "t = %timeit -o f()",
     "if x:\n    y = !ls",
     "(a, b) =  %sql select", "x: str = !ls", "!pip install \\\n    one \\\n    two",
     "%matplotlib inline", "!pip install x", "?print", "f?", "%%time", "%%timeit -n 10",
     "x = 'a' \\\n    % 1", "if x:\n    %time f()"],
)  # fmt: skip
def test_what_ipython_adds_to_python_hides_no_definition(first: str) -> None:
    (one, *_, last) = chunks(cell(f"{first}\n\ndef needle():\n    return 1\n"))
    assert (last.name, last.line_start) == ("cell 1: needle", first.count("\n") + 3)
    assert one.text.startswith(first), "the text itself is as it was"


def test_a_cell_in_another_language_is_text() -> None:
    assert outline(chunks(cell("%%bash\ndef f(): 1"))) == [("cell 1", 1, 2)]


@pytest.mark.parametrize(
    "odd",
    [None, 7, [], {}, "x", {"cell_type": 3, "source": "x"}, {"cell_type": [], "source": {}},
     {"source": [1, None, ["x"]]}, {"cell_type": "code", "input": 5}, cell({"a": 1}), cell([[]])],
)  # fmt: skip
def test_an_odd_cell_costs_itself_and_is_counted(odd: object) -> None:
    found = chunks(cell("one"), odd, cell("three"))
    assert [piece.name for piece in found if piece.text != "x"] == ["cell 1", "cell 3"]


def test_half_a_character_can_be_stored() -> None:
    (piece,) = chunks(cell("x = '\ud83d'  # \U0001f600"))
    assert piece.text == "x = '?'  # \U0001f600"


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "7", '"x"', "{}", '{"cells": []}', "[" * 10**6, '{"a":' * 10**6, "\ud800",
     '{"nbformat": 4, "cells": [', "9" * 10**6, "NaN", "[" + "[]," * 10**6 + "0]"],
    ids=lambda text: f"{text[:20]!a}",
)  # fmt: skip
def test_what_is_no_notebook_is_read_as_the_text_it_is(text: str) -> None:
    assert read_notebook(text) is None


def test_a_notebook_of_more_values_than_fit_in_memory_is_read_as_text() -> None:
    assert read_notebook('{"nbformat": 4, "cells": [' + "[]," * 600_000 + "0]}") is None


def test_a_notebook_of_very_many_cells_is_read_as_text() -> None:
    cells = [{"cell_type": "code", "source": f"f{n}()"} for n in range(MAX_PIECES + 1)]
    for count, is_read in [(MAX_PIECES, True), (MAX_PIECES + 1, False)]:
        text = json.dumps({"nbformat": 4, "cells": cells[:count]}, indent=1)
        _, pieces = cut(SourceFile("a.ipynb", text, "", False))
        assert (pieces[0].name == "cell 1") is is_read
        assert len(pieces) <= MAX_PIECES


@pytest.mark.parametrize("cells", ["7", "null", "{}", "[]", '"x"', "[[[[]]]]"])
@pytest.mark.parametrize("format_", ["4", "3", "null", "[]", "9" * 5000])
def test_a_notebook_without_cells_has_no_text(cells: str, format_: str) -> None:
    for key in ("cells", "worksheets"):
        found = read_notebook(f'{{"nbformat": {format_}, "{key}": {cells}}}')
        assert found is not None
        assert found.chunks() == []


KEYS = st.sampled_from(
    "nbformat cells worksheets cell_type source input metadata kernelspec language language_info "
    "name code".split()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
# Not `st.recursive`: it reads the source of its function, and warns, which fails, where this file
# has been edited since the tests began.
JSON: st.SearchStrategy[object] = st.deferred(
    lambda: SCALARS | st.lists(JSON, max_size=4) | st.dictionaries(KEYS, JSON, max_size=5)
)
#: Nearly as it should be, or nothing in them would be read.
CELLS = st.fixed_dictionaries(
    {
        "cell_type": st.sampled_from(["code", "markdown"]) | JSON,
        "source": st.text() | st.lists(st.text() | JSON) | JSON,
    },
    optional={"metadata": JSON, "language": JSON},
)


@settings(deadline=None)
@given(JSON | st.lists(CELLS | JSON, max_size=5))
def test_no_json_is_too_odd(found: object) -> None:
    text = json.dumps({"nbformat": 4, "cells": found, **(found if isinstance(found, dict) else {})})
    read_ = read_notebook(text)
    if read_ is not None:
        for piece in read_.chunks():
            piece.text.encode("utf-8")


@pytest.mark.parametrize(
    "source",
    ["%" * 2_000_000, " \t" * 1_000_000, "a" * 2_000_000, "?" * 2_000_000, "%%" + " " * 2_000_000,
     "a?" + " " * 2_000_000 + "b", "%\n" * 50_000, "x =" + " " * 2_000_000, "a = !\n" * 50_000,
     "= " * 1_000_000, "!\\\n" * 500_000, "!" + "\\" * 2_000_000],
    ids=lambda text: f"{text[:4]!a}",
)  # fmt: skip
def test_no_cell_takes_more_than_linear_time(source: str) -> None:
    text = notebook(cell(source))
    started = time.process_time()
    read(text).chunks()
    assert time.process_time() - started < 5


def size_of(text: str) -> int:
    return len(text.encode())


def test_a_notebook_may_be_larger_than_other_files_because_of_its_outputs(tmp_path: Path) -> None:
    figure = {"output_type": "display_data", "data": {"image/png": PICTURE}}
    large = notebook(cell("def needle(): 1", outputs=[figure]))
    assert size_of(large) > 30_000
    write(tmp_path, "a.ipynb", large)
    write(tmp_path, "b.ipynb", notebook(cell("x = 1\n" * 3000)))
    write(tmp_path, "c.ipynb", "{" + large)
    write(tmp_path, "d.json", large)
    write(tmp_path, "e.ipynb", notebook(cell("x", outputs=["x" * MAX_FILE_BYTES])))
    found = [read_file(tmp_path, f"{name}.ipynb", 10_000) for name in "abce"]
    assert isinstance(found[0], SourceFile)
    assert found[1:] == ["too large"] * 3
    assert read_file(tmp_path, "d.json", 10_000) == "too large"
    assert is_notebook("x/A.IPYNB")


def asked(project: Project, text: str, mode: str, **filters: Any) -> list[dict[str, Any]]:
    embedder = HashingEmbedder()
    generations = GenerationSource(project.generations, embedder)
    snapshot = generations.load(generations.current())
    try:
        results: list[dict[str, Any]] = answer(
            snapshot, Search(text, mode, 5, **filters), embedder
        )["results"]
        return results
    finally:
        snapshot.close()


@pytest.mark.promise("QRY-1", "QRY-2")
def test_a_cell_is_found_among_thousands_of_pieces(make_project: MakeProject) -> None:
    source = random.Random(2)
    names = [f"{source.choice('bcdfgk')}{source.choice('aeiou')}n{n}" for n in range(3000)]
    files = {
        f"s/{n}.py": "".join(f"def {name}(x):\n    return cell_value + x\n\n\n" for name in part)
        for n in range(60)
        if (part := names[n * 50 : n * 50 + 50])
    }
    prose_name = "cell 1: Convergence"
    prose = cell("# Convergence\n\nWhy quokkas converge.", "markdown")
    broken = '{"cells": "quokka_in_a_broken_one'
    project = make_project(
        {
            **files,
            "nb/a.ipynb": notebook(prose, cell("import os"), cell(MODEL)),
            "nb/b.ipynb": broken,
        }
    )
    report = bring_up_to_date(project, HashingEmbedder())
    assert report["chunks"] > 3000
    assert not bring_up_to_date(project, HashingEmbedder())["changed"]
    for mode in ("fts", "semantic", "hybrid"):
        best = asked(project, "Model.fit", mode)[0]
        assert (best["path"], best["name"]) == ("nb/a.ipynb", "cell 3: Model.fit")
        assert (best["line_start"], best["line_end"], best["language"]) == (4, 5, "python")
        assert asked(project, "why do quokkas converge", mode)[0]["name"] == prose_name
        assert asked(project, "quokka_in_a_broken_one", mode)[0]["path"] == "nb/b.ipynb"
        assert all(hit["path"] != "nb/a.ipynb" for hit in asked(project, "cell", mode))
        assert asked(project, "wombatfigure wombatoutput", mode) == [], "outputs are not indexed"


@pytest.mark.parametrize("mode", ["fts", "semantic", "hybrid"])
def test_cells_that_say_the_same_are_hits_of_their_own(
    make_project: MakeProject, mode: str
) -> None:
    """Each has a first line, which another one does not show again."""
    same = [cell("def quokka():\n    return 1\n") for _ in range(3)]
    project = make_project({"nb/a.ipynb": notebook(cell("import os"), *same)})
    bring_up_to_date(project, HashingEmbedder())
    found = [hit["name"] for hit in asked(project, "quokka", mode)]
    assert found == [f"cell {number}: quokka" for number in (2, 3, 4)]


def test_the_number_of_a_cell_is_not_embedded() -> None:
    assert embedded_text("a.ipynb", "cell 3: Model.fit", "x") == "a.ipynb Model.fit\nx"
    assert embedded_text("a.ipynb", "cell 3", "x") == "a.ipynb \nx"
