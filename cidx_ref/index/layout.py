"""How the lines of a file are shared out among pieces: by its outline, or by its gaps.

A definition has a piece of its own.  What is small is joined with what is next to it, so that a
file of getters, or of constants, is not hundreds of pieces; what is long is cut into windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from cidx_ref.index.structure import Outline

__all__ = ["MAX_LINES", "Span", "by_gaps", "laid_out", "trimmed"]

MAX_LINES = 100  # a definition that is longer is cut into windows
_WINDOW = 80
_TEXT_WINDOW = 50
_OVERLAP = 10
_GAP_REACH = 15  # lines at the end of a window among which a gap is looked for
_FEW_LINES = 3
#: A definition of so many lines is small: at first, and where there are too many pieces.
_SMALL = (2, 4, 6, 9, 14, 20)
_MAX_JOINED = 60  # lines of what is joined
#: Pieces that are not too many: some, and more for more lines.
_FREE, _LINES_A_PIECE = 5, 80
#: Of which as many as fit are joined, however few there are.
_VALUES = frozenset(("constant", "variable", "field", "type", "macro"))


class Span(NamedTuple):
    """Lines, counted from 0, from `start` to before `end`, and what they are of."""

    name: str
    kind: str
    start: int
    end: int


class _Run(NamedTuple):
    """Lines that belong to the same innermost definition, by its number; 0 is the file."""

    owner: int
    start: int
    end: int
    filled: int
    is_joined: bool = False


def laid_out(outline: Outline, lines: Sequence[str], *, sparing: bool) -> list[Span]:
    """The spans of the definitions of a file and of what lies between them.

    With `sparing`, small ones are joined.
    """
    outer = _outer(outline)
    runs = _with_small_rests_joined(_runs(outline, lines), sparing=sparing)
    if sparing:
        kinds = ["", *(each.kind for each in outline.definitions)]
        most = max(_FREE, len(lines) // _LINES_A_PIECE)
        for small in _SMALL:
            runs = _joined(runs, small, kinds, outer)
            if len(runs) <= most:
                break
    owners = [("", ""), *((each.name, each.kind) for each in outline.definitions)]
    return [
        Span(*owners[run.owner], *window)
        for run in runs
        for window in _windows(lines, run.start, run.end)
    ]


def _runs(outline: Outline, lines: Sequence[str]) -> list[_Run]:
    """The stretches of lines that belong to the same innermost definition."""
    filled = list(accumulate((1 if line.strip() else 0 for line in lines), initial=0))
    runs: list[_Run] = []
    open_ = [(0, len(lines))]
    at = 0

    def until(end: int) -> None:
        nonlocal at
        if end > at:
            runs.append(_Run(open_[-1][0], at, end, filled[end] - filled[at]))
            at = end

    for number, each in enumerate(outline.definitions, 1):
        while len(open_) > 1 and open_[-1][1] <= each.start:
            until(open_[-1][1])
            open_.pop()
        until(each.start)
        open_.append((number, each.end))
    while open_:
        until(open_[-1][1])
        open_.pop()
    return runs


def _outer(outline: Outline) -> list[int]:
    """Of each definition the number of the one that it is in; 0 is the file."""
    outer, open_ = [0], [(0, 1 << 62)]
    for number, each in enumerate(outline.definitions, 1):
        while open_[-1][1] <= each.start:
            open_.pop()
        outer.append(open_[-1][0])
        open_.append((number, each.end))
    return outer


def _with_small_rests_joined(runs: list[_Run], *, sparing: bool) -> list[_Run]:
    """The runs, but a few lines between two definitions go to the one before them.

    The first lines of a class or module stay by themselves, however few, and so do the last lines
    of the module, unless they only end something.
    """
    joined: list[_Run] = []
    seen: set[int] = set()
    for place, run in enumerate(runs):
        is_last = place == len(runs) - 1 and not (sparing and run.owner)
        if run.owner in seen and run.filled < _FEW_LINES and not is_last:
            before = joined.pop()
            joined.append(before._replace(end=run.end, filled=before.filled + run.filled))
        else:
            joined.append(run)
        if run.filled:
            seen.add(run.owner)
    return joined


def _joined(runs: list[_Run], small: int, kinds: list[str], outer: list[int]) -> list[_Run]:
    """The runs, with small neighbours of the same container in one, and with its head."""
    found: list[_Run] = []
    for run in runs:
        before = found[-1] if found else None
        if before is None or before.filled + run.filled > _MAX_JOINED:
            found.append(run)
            continue
        owner = _common_owner(before, run, small, kinds, outer)
        if owner is None:
            found.append(run)
        else:
            filled = before.filled + run.filled
            found[-1] = _Run(owner, before.start, run.end, filled, True)
    return found


def _common_owner(
    before: _Run, run: _Run, small: int, kinds: list[str], outer: list[int]
) -> int | None:
    """Of what the lines of both are a part, if they may be one piece; else None."""
    one, other = before.owner, run.owner
    if not run.filled or not before.filled:
        return one if before.filled else other
    if not _is_small(run, small, kinds):
        return None
    if one == outer[other] and (one or before.is_joined):
        return one
    if one == other:
        return one
    return outer[one] if outer[one] == outer[other] and _is_small(before, small, kinds) else None


def _is_small(run: _Run, small: int, kinds: list[str]) -> bool:
    is_value = kinds[run.owner] in _VALUES
    return run.filled <= (max(small, _FEW_LINES) if is_value else small)


def _windows(lines: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = trimmed(lines, start, end)
    if end - start > MAX_LINES:
        while end - start > _WINDOW:
            yield start, start + _WINDOW
            start, _ = trimmed(lines, start + _WINDOW - _OVERLAP, end)
    yield start, end


def by_gaps(lines: Sequence[str]) -> Iterator[Span]:
    """Windows that end at a gap if one is near, and otherwise overlap."""
    start, last = trimmed(lines, 0, len(lines))
    while last - start > _TEXT_WINDOW:
        full = start + _TEXT_WINDOW
        gaps = (end for end in range(full, full - _GAP_REACH, -1) if _is_gap(lines[end - 1]))
        end = next(gaps, None)
        yield Span("", "", start, end or full)
        start, _ = trimmed(lines, end or full - _OVERLAP, last)
    yield Span("", "", start, last)


def _is_gap(line: str) -> bool:
    """Whether a blank line, or the end of an outermost block in braces."""
    return line.rstrip("\r") in ("}", "};") or not line.strip()


def trimmed(lines: Sequence[str], start: int, end: int) -> tuple[int, int]:
    """The span without the blank lines at its ends."""
    while start < end and not lines[start].strip():
        start += 1
    while start < end and not lines[end - 1].strip():
        end -= 1
    return start, end
