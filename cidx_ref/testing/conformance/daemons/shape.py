"""Whether an answer has the shape that promises give it: files and lines that exist, each hit once.

Here belongs what can be told of hits without knowing which are right.  How much of a file a hit
stands for, where in that its line is, and how much of its text is shown, is its daemon's affair.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.testing.conformance.asking import Answer, Hit

__all__ = ["Shift", "look_at", "not_shifted", "once", "shifts_in"]

#: So many hits, on as many different lines, are no chance.
_SHIFTED, _LINES = 5, 3


def look_at(root: Path, hit: Hit, query: str) -> None:
    """The file is there, and the line; and where the hit has a text, some of it is in the file."""
    lines = _lines_of(root, hit)
    assert lines is not None, f"{query!r} finds {hit.path}, which is no file of the project"
    if hit.line is not None:
        assert 1 <= hit.line <= len(lines), (
            f"{query!r} finds line {hit.line} of {hit.path}, which has the lines 1 to {len(lines)}"
        )
    # How much is shown, and how it is marked or shortened, is the daemon's own affair.
    shown = set(_words(hit.text))
    assert not shown or shown & set(_words("\n".join(lines))), (
        f"{query!r} finds {hit.path} with the text {hit.text!r}, of which it has no word"
    )


def _lines_of(root: Path, hit: Hit) -> list[str] | None:
    path = Path(os.path.normpath(root / hit.path))
    if not path.is_relative_to(os.path.normpath(root)) or not path.is_file():
        return None
    return path.read_text("utf-8", "replace").splitlines()


def _words(text: str) -> list[str]:
    return re.findall(r"\w{3,}", text)


def once(answer: Answer, query: str) -> None:
    """No hit stands there twice.  Two may begin at one line, if they show something else."""
    seen: list[object] = []
    for hit in answer.hits:
        is_told_apart = bool(hit.path and hit.line is not None and hit.text.strip())
        this = (hit.path, hit.line, hit.text) if is_told_apart else hit.raw
        where = hit.path if hit.line is None else f"line {hit.line} of {hit.path}"
        assert this not in seen, f"{query!r} finds {where} more than once: {answer}"
        seen.append(this)


@dataclass(frozen=True)
class Shift:
    """A hit whose text is one line of its file, which stands there once."""

    hit: Hit
    #: Where that line is.
    at: int


def shifts_in(root: Path, answer: Answer) -> Iterator[Shift]:
    """The hits of which it is known where the line stands that they show."""
    for hit in answer.hits:
        text = hit.text.strip()
        lines = [line.strip() for line in _lines_of(root, hit) or []]
        if hit.line is not None and text and lines.count(text) == 1:
            yield Shift(hit, lines.index(text) + 1)


def not_shifted(shifts: Sequence[Shift]) -> None:
    """A daemon that shows single lines, and of each says another number, shows what is not there.

    The number may be that of a whole piece of the file, which is not as far from each line of it.
    One that counts from 0 is found where it says so.
    """
    by = {shift.hit.line - shift.at for shift in shifts if shift.hit.line is not None}
    is_known = len(shifts) >= _SHIFTED and len({shift.at for shift in shifts}) >= _LINES
    if is_known and len(by) == 1 and not by & {0, -1}:
        hit, at = shifts[0].hit, shifts[0].at
        raise AssertionError(
            f"it finds line {hit.line} of {hit.path} with the text {hit.text!r}, which is line "
            f"{at}: all of {len(shifts)} hits are {by.pop():+d} beside the line that they show"
        )
