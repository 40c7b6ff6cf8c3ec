"""The pages beside the code: they have what the code has, and the code cites no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cidx_ref.testing.promises.registry import PROMISES

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]


def text_of(page: str) -> str:
    """The page, with every run of white space as one space: lines may break anywhere."""
    return " ".join((ROOT / page).read_text("utf-8").split())


def titled(title: str, page: str) -> bool:
    return f"**{title}" in page or f"## {title} " in page


def test_every_promise_has_one_row_in_the_requirements_and_every_row_is_a_promise() -> None:
    page = (ROOT / "docs/requirements.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z]+-[0-9]+) \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(PROMISES)


def test_a_quoted_title_leads_somewhere() -> None:
    titles = re.findall(r'"(.+?)"', text_of("docs/requirements.md"))
    found = text_of("DECISIONS.md") + text_of("README.md")
    assert len(titles) > 20
    assert [title for title in titles if not titled(title, found)] == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "DECISIONS.md", "docs/requirements.md"]
)
def test_a_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", text_of(page))
    assert links
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_an_environment_that_is_named_exists(page: str) -> None:
    named = re.findall(r"tox -e ([a-z,]+)", text_of(page))
    assert named
    config = (ROOT / "tox.ini").read_text("utf-8")
    assert [e for es in named for e in es.split(",") if f"[testenv:{e}]" not in config] == []


#: How comments and docstrings name an entry of a page.
CITED = re.compile(r'(README|DECISIONS|docs/requirements)(?:\.md)?, "([^"]+)"')
#: What is not in the repository.
ELSEWHERE = re.compile(r"\bdesign,? section|\bthe design\b|\.\./shared|\bstory\.md\b")


def test_the_code_cites_only_what_is_in_the_repository() -> None:
    folders = ("cidx_ref", "tests", "benchmarks", "loadtests")
    sources = [source for folder in folders for source in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    cited = set()
    for source in set(sources) - {Path(__file__)}:
        lines = source.read_text("utf-8").splitlines()
        text = " ".join(line.strip(" #:") for line in lines)
        assert not ELSEWHERE.search(text), source
        cited |= {(page, title, source) for page, title in CITED.findall(text)}
    assert cited
    assert [at for at in cited if not titled(at[1], text_of(f"{at[0]}.md"))] == []
