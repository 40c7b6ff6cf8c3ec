"""Whether the right file is found: the twenty questions, and repositories in other languages."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loaded import loaded_of

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.project import Project

pytestmark = pytest.mark.once


def _questions() -> list[tuple[str, str]]:
    path = Path(__file__).with_name("questions.py")
    spec = importlib.util.spec_from_file_location("questions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.STDLIB_QUESTIONS)


@pytest.fixture(scope="module")
def service(stdlib: Project) -> CIDXDaemonService:
    return CIDXDaemonService(stdlib.root)


def _paths(service: CIDXDaemonService, question: str, limit: int) -> list[str]:
    assert service.project is not None
    answer = service.exposed_query_hybrid(str(service.project.root), question, limit=limit)
    return [hit["path"] for hit in answer["results"]]


@pytest.mark.promise("QRY-3")
def test_the_first_question_has_its_file_in_the_top_three(service: CIDXDaemonService) -> None:
    assert "shlex.py" in _paths(service, "split a string with shell-like syntax", 3)


@pytest.mark.promise("QRY-3")
def test_of_twenty_questions_at_least_sixteen_have_their_file_in_the_top_five(
    service: CIDXDaemonService, figure: Any
) -> None:
    questions = _questions()
    assert len(questions) == 20
    missed = [
        question
        for question, files in questions
        if not set(files.split("|")) & set(_paths(service, question, 5))
    ]
    figure("QRY-3", "of twenty questions, file in the top five", 20 - len(missed))
    assert len(missed) <= 4, missed


def _script(names: list[str]) -> str:
    """A function of three lines for each of `names`: several of them are one piece."""
    return "\n\n".join(f"function {name}(jar) {{\n  return jar;\n}}" for name in names) + "\n"


NAMES = ["shake", "pourOut", "unscrewRustyCover", "label", *(f"stack{n}" for n in range(20))]


@pytest.fixture(scope="module")
def jars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    told = "".join(f'  note("unscrew rusty covers, cover {n}");\n' for n in range(9))
    jar = f"function report(jar) {{\n{told}}}\n\n{_script(NAMES)}"
    others = {f"lib/p{n}.js": _script([f"p{n}Cover{m}" for m in range(60)]) for n in range(700)}
    files = {"lib/jar.js": jar, **others}
    with loaded_of(tmp_path_factory.mktemp("jars"), files.items()) as snapshot:
        assert len(snapshot.chunks) > 2000
        yield snapshot


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts"])
def test_of_a_file_the_piece_comes_first_that_defines_what_is_asked_for(
    jars: IndexSnapshot, mode: str
) -> None:
    found = answer(jars, Search("unscrew a rusty cover", mode, 10), HashingEmbedder())
    first = found["results"][0]
    assert first["path"] == "lib/jar.js"
    assert "function unscrewRustyCover" in first["snippet"]
