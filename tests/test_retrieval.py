"""Whether the right file is found: the twenty questions, and repositories in other languages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.daemon.service import CIDXDaemonService
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
