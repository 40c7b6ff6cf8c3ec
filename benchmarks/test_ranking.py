"""Retrieval: the first sentence of each docstring as a query, its function as what should be found.

The docstrings are taken out of what is indexed.  Ranking was chosen on the queries of odd number;
what is reported here is the even ones.  A change in ranking is seen here, and in nothing else so
well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import hypothesis
import pytest

from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.search import Search, answer
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.testing.gates import RecordAim
from cidx_ref.testing.report import RecordFigure

QUERIES = 800
DEPTH = 10
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
@pytest.mark.parametrize("what", ["standard library", "hypothesis"])
def test_functions_are_found_by_their_docstrings(
    stdlib: Project, tmp_path: Path, aim: RecordAim, figure: RecordFigure, what: str
) -> None:
    package = Path(hypothesis.__file__).parent
    source = stdlib.root if what == "standard library" else package
    questions = list(strip(source, tmp_path / "stripped"))
    Random(1).shuffle(questions)
    asked = questions[::2][:QUERIES]
    project = Project.at(tmp_path / "stripped")
    embedder = HashingEmbedder()
    bring_up_to_date(project, embedder)
    generations = GenerationSource(project.generations, embedder)
    snapshot = generations.load(generations.current())
    found = {}
    for mode in ("semantic", "fts", "hybrid"):
        ranks = [
            _rank(answer(snapshot, Search(q.text, mode, DEPTH), embedder)["results"], q)
            for q in asked
        ]
        found[mode] = sum(1 / rank for rank in ranks if rank) / len(asked)
        recall = sum(rank > 0 for rank in ranks) / len(asked)
        limit = 0.42 if mode == "hybrid" and what == "standard library" else None
        aim(f"{what}, {mode}: MRR@{DEPTH}, {len(asked)} queries", found[mode], limit, at_least=True)
        aim(f"{what}, {mode}: recall@{DEPTH}", recall)
    snapshot.close()
    figure("QRY-3", f"{what}, MRR@{DEPTH}, hybrid", round(found["hybrid"], 3))
    best = max(found["semantic"], found["fts"])
    aim(f"{what}: hybrid / the better of its parts, MRR", found["hybrid"] / best, 1, at_least=True)


def _rank(hits: list[dict[str, object]], question: Question) -> int:
    """The place of the question's function among the hits, from 1; 0 if it is not there."""
    for rank, hit in enumerate(hits, 1):
        inside = hit["line_start"] <= question.line <= hit["line_end"]  # type: ignore[operator]
        if hit["path"] == question.path and inside:
            return rank
    return 0
