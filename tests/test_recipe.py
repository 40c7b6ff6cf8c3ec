"""Which rules an index was made by: when they change, so does what was made by them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cidx_ref.index
from cidx_ref.index import recipe as module
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.recipe import cutting_rules, recipe
from cidx_ref.testing.own.fixtures import MakeProject

#: What they import that has no say: how files are found and stored, and how a query is read.
OTHERS = ("scan.py", "filelist.py", "query.py")
INDEX = Path(cidx_ref.index.__path__[0])


def imported(name: str) -> Iterator[str]:
    """The modules of `cidx_ref.index` that the module `name` imports, as files."""
    for node in ast.walk(ast.parse((INDEX / name).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cidx_ref.index"):
            below = (node.module or "").removeprefix("cidx_ref.index").lstrip(".")
            yield from [f"{below}.py"] if below else [f"{each.name}.py" for each in node.names]


def test_all_that_makes_pieces_terms_and_vectors_of_a_text_is_among_the_rules() -> None:
    left = ["cutting.py", "analysis.py", "embed.py"]
    met: set[str] = set()
    while left:
        name = left.pop()
        if name not in met and name not in OTHERS:
            met.add(name)
            left += imported(name)
    assert {name for name in module._CUTTING if name.endswith(".py")} >= met
    for name in (*module._CUTTING, *module._READING):
        assert (INDEX / name).is_file()


@pytest.mark.parametrize("rules", ["_READING", "_CUTTING"])
def test_each_byte_of_a_rule_counts(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> tuple[str, str]:
        return recipe(100), cutting_rules()

    texts = {name: (INDEX / name).read_bytes() for name in (*module._CUTTING, *module._READING)}
    monkeypatch.setattr("pkgutil.get_data", lambda package, name: texts[name])
    before = made()
    assert made() == before
    for name in getattr(module, rules):
        kept = texts[name]
        texts[name] = kept + b"#"
        assert made()[rules == "_CUTTING"] != before[rules == "_CUTTING"], name
        texts[name] = kept
    assert recipe(101) != recipe(100)


def test_without_sources_the_version_stands_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(package: str, name: str) -> bytes:
        raise FileNotFoundError(name)

    monkeypatch.setattr("pkgutil.get_data", refused)
    first = cutting_rules()
    assert cutting_rules() == first
    monkeypatch.setattr(module, "__version__", "99")
    assert cutting_rules() != first


@pytest.mark.promise("FRESH-4")
def test_an_index_that_was_made_by_other_rules_is_made_anew(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project({"a.py": "x = 1\n"})

    def run() -> bool:
        changed: bool = bring_up_to_date(project, HashingEmbedder())["changed"]
        return changed

    assert [run(), run()] == [True, False]
    monkeypatch.setattr(module, "_CUTTING", ("chunk.py",))
    assert [run(), run()] == [True, False]
