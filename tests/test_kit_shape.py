"""Hits that no daemon that is right would give are found, and those of other manners are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cidx_ref.testing import Attach, Bench, Methods, NotTried, Target
from cidx_ref.testing.conformance.asking import Answer, Asker, Hit
from cidx_ref.testing.conformance.daemons import searching
from cidx_ref.testing.conformance.daemons.shape import look_at, not_shifted, once, shifts_in

pytestmark = pytest.mark.once

LINES = ["one = 1", "two = 2", "", "three = 3", "four = 4", "five = 5", "six = 6", "six = 6"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.py").write_text("\n".join(LINES) + "\n")
    (tmp_path / "beside.py").write_text("one = 1\n")
    return tmp_path / "p"


def hit(line: int | None, text: str = "", path: str = "a.py", **raw: object) -> Hit:
    return Hit(path, line, text, {"path": path, "line": line, "text": text, **raw})


def answer(*hits: Hit) -> Answer:
    return Answer(list(hits), [each.raw for each in hits])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (hit(1, path="b.py"), "finds b.py, which is no file of the project"),
        (hit(1, path="../beside.py"), r"finds \.\./beside.py, which is no file of the project"),
        (hit(9), "finds line 9 of a.py, which has the lines 1 to 8"),
        (hit(0), "finds line 0 of a.py"),
        (hit(1, "seven"), "finds a.py with the text 'seven', of which it has no word"),
    ],
)
def test_what_is_not_there_is_not_found(root: Path, found: Hit, said: str) -> None:
    with pytest.raises(AssertionError, match=f"'what' {said}"):
        look_at(root, found, "what")


def test_an_absolute_path_that_lies_beside_the_project_is_no_file_of_it(root: Path) -> None:
    look_at(root, hit(1, path=str(root / "a.py")), "what")
    with pytest.raises(AssertionError, match="no file of the project"):
        look_at(root, hit(1, path=str(root.parent / "beside.py")), "what")


@pytest.mark.parametrize(
    "hits",
    [
        [hit(1, "one", score=1), hit(2, "two", score=1), hit(1, "one", score=2)],
        [hit(None, ""), hit(None, "")],
        [hit(1, score=1), hit(1, score=1)],
    ],
)
def test_a_hit_that_stands_there_twice_is_found(hits: list[Hit]) -> None:
    with pytest.raises(AssertionError, match="more than once"):
        once(answer(*hits), "what")


@pytest.mark.parametrize(
    "hits",
    [
        [hit(1, "a class"), hit(1, "its first method")],
        [hit(1, "the same"), hit(1, "the same", "b.py")],
        [hit(None, "x", score=1), hit(None, "x", score=2)],
        [hit(1, id="chunk 1"), hit(1, id="chunk 2")],
    ],
)
def test_hits_that_are_told_apart_are_not_taken_for_one(hits: list[Hit]) -> None:
    once(answer(*hits), "what")


def shifted(root: Path, by: list[int], at: tuple[int, ...] = (1, 2, 4, 5, 6)) -> None:
    """The lines at `at` are shown, as lines that lie `by` further."""
    hits = [hit(n + more, f"  {LINES[n - 1]} ") for n, more in zip(at, by, strict=True)]
    not_shifted([*shifts_in(root, answer(*hits))])


@pytest.mark.parametrize("by", [1, 2, -2])
def test_lines_that_all_lie_beside_those_that_are_shown_are_found(root: Path, by: int) -> None:
    with pytest.raises(AssertionError, match=rf"all of 5 hits are \{by:+d} beside the line"):
        shifted(root, [by] * 5)


def test_lines_of_other_manners_are_not_blamed(root: Path) -> None:
    shifted(root, [0] * 5)
    shifted(root, [-1] * 5)  # from 0 on: found where it says 0
    shifted(root, [0, -1, -3, -4, -5])  # the file is the hit, and begins at 1
    shifted(root, [0, -1, -2, -2, -2])  # what it shows has two lines above it, where there are two
    shifted(root, [2, 1, 2, 1, 2])  # they begin at its end
    shifted(root, [2, 2, 2, 2, 2], (7, 8, 7, 8, 7))  # which of the two it shows is not known
    shifted(root, [2, 2, 2, 2, 2], (1, 2, 1, 2, 1))  # too few to tell


class Peer:
    """Which finds the same for every query."""

    def __init__(self, hits: list[dict[str, Any]]) -> None:
        self.hits = hits

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return {"results": self.hits}

    def close(self) -> None:
        pass


def searched(root: Path, path: str, hits: int, query: str = "q(query, limit)") -> None:
    said = {"path": "a.py", "line_start": 1, "snippet": ""}
    target = Target(
        Attach("/x", str(root)), questions=[("one", path)], methods=Methods(query=query)
    )
    asker = Asker(target, Peer([{**said, "id": n} for n in range(hits)]), root)
    searching._finds_the_files(Bench(target), asker, "QRY-1", "query")


def test_more_hits_than_were_asked_for_are_found_where_that_can_be_asked(root: Path) -> None:
    searched(root, "a.py", 5)
    searched(root, "a.py", 6, "q(query)")
    with pytest.raises(AssertionError, match="'one', with a limit of 5, finds 6"):
        searched(root, "a.py", 6)


def test_a_question_whose_file_is_not_there_is_no_fault_of_the_daemon(root: Path) -> None:
    with pytest.raises(NotTried, match=r"questions: b\.py is no file of"):
        searched(root, "b.py", 1)


def test_the_files_of_a_daemon_at_another_host_are_not_looked_at(tmp_path: Path) -> None:
    searched(tmp_path / "elsewhere", "a.py", 1)
