"""Retrieval: the first sentence of each docstring as a query, its function as what should be found.

The docstrings are taken out of what is indexed.  Ranking was chosen on the queries of odd number;
what is reported here is the even ones.  A change in ranking is seen here, and in nothing else so
well.

Places are counted in three ways: among the functions that had such a docstring, as
DECISIONS.md does; among all chunks, as whoever asks the daemon sees them, where a test or a class
may come first; and that of the first hit in the right file.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import _pytest
import hypothesis
import pytest

from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.testing.promises.gates import RecordAim
from cidx_ref.testing.promises.report import RecordFigure

QUERIES = 800
DEPTH = 10
#: Hits asked for, so that enough functions are among them.
ASKED_FOR = 100
Hit = dict[str, Any]
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module | ast.ClassDef


@dataclass(frozen=True)
class Question:
    text: str
    path: str
    #: The line of the function's `def`, in the stripped file as in the original.
    line: int


def strip(source: Path, target: Path) -> Iterator[Question]:
    """Copy `source` without its docstrings, line by line, and yield what they asked."""
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        try:
            text = path.read_text("utf-8")
            tree = ast.parse(text)
        except (ValueError, SyntaxError):
            continue
        lines = text.split("\n")
        for node in ast.walk(tree):
            if isinstance(node, Documented) and ast.get_docstring(node, clean=False):
                yield from _asked(node, relative.as_posix())
                _blank(lines, node.body[0])
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("\n".join(lines), "utf-8")


def _asked(node: Documented, path: str) -> Iterator[Question]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(node.body) > 1:
        said = " ".join((ast.get_docstring(node) or "").split())
        sentence = re.split(r"(?<=[.!?])\s", said)[0]
        if len(sentence.split()) >= 4 and len(sentence) < 200:
            yield Question(sentence, path, node.lineno)


def _blank(lines: list[str], docstring: ast.stmt) -> None:
    first, last = docstring.lineno - 1, (docstring.end_lineno or docstring.lineno) - 1
    indent = lines[first][: docstring.col_offset]
    if indent.strip() == "" and lines[last][docstring.end_col_offset :].strip() == "":
        for number in range(first, last + 1):
            lines[number] = ""
        lines[first] = f"{indent}..." if indent else ""


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("what", ["standard library", "hypothesis", "pytest"])
def test_functions_are_found_by_their_docstrings(
    stdlib: Project, tmp_path: Path, aim: RecordAim, figure: RecordFigure, what: str
) -> None:
    packages = {"hypothesis": hypothesis.__file__, "pytest": _pytest.__file__}
    source = Path(packages[what]).parent if what in packages else stdlib.root
    questions = list(strip(source, tmp_path / "stripped"))
    functions = defaultdict(list)
    for question in questions:
        functions[question.path].append(question.line)
    Random(1).shuffle(questions)
    asked = questions[::2][:QUERIES]
    project = Project.at(tmp_path / "stripped")
    embedder = HashingEmbedder()
    bring_up_to_date(project, embedder)
    generations = GenerationSource(project.generations, embedder)
    snapshot = generations.load(generations.current())
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for mode in ("semantic", "fts", "hybrid"):
        ranks = defaultdict(list)
        for q in asked:
            hits = answer(snapshot, Search(q.text, mode, ASKED_FOR), embedder)["results"]
            documents = [hit for hit in hits if _holds(hit, functions[hit["path"]])]
            ranks["functions"].append(_rank(_is_function(hit, q) for hit in documents))
            ranks["all chunks"].append(_rank(_is_function(hit, q) for hit in hits))
            ranks["files"].append(_rank(hit["path"] == q.path for hit in hits))
        for among, places in ranks.items():
            mrr = sum(1 / place for place in places if place) / len(asked)
            recall = sum(place > 0 for place in places) / len(asked)
            wanted = (what, among, mode) == ("standard library", "functions", "hybrid")
            label = f"{what}, {among}, {mode}"
            aim(f"{label}: MRR@{DEPTH}", mrr, 0.42 if wanted else None, at_least=True)
            aim(f"{label}: recall@{DEPTH}", recall)
            found[among][mode] = mrr
    snapshot.close()
    shown = round(found["functions"]["hybrid"], 3)
    figure("QRY-3", f"{what}, functions, MRR@{DEPTH}, hybrid", shown)
    for among, by_mode in found.items():
        best = max(by_mode["semantic"], by_mode["fts"])
        label = f"{what}, {among}: hybrid / better of its parts"
        aim(label, by_mode["hybrid"] / best, 1, at_least=True)


def _rank(rights: Iterable[bool]) -> int:
    """The place of the first that is right among the first `DEPTH`, from 1; 0 if none is."""
    return next((rank for rank, right in enumerate(islice(rights, DEPTH), 1) if right), 0)


def _is_function(hit: Hit, question: Question) -> bool:
    return hit["path"] == question.path and _holds(hit, [question.line])


def _holds(hit: Hit, lines: list[int]) -> bool:
    return any(hit["line_start"] <= line <= hit["line_end"] for line in lines)
