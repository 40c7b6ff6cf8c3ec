"""Where a file is cut into the pieces that a search can find.

Lines are what "\\n" ends, numbered from 1: not what `str.splitlines` makes of a form feed.
Python is cut at its definitions, and every other language at gaps between its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

__all__ = ["MAX_LINES", "Chunk", "chunk"]

MAX_LINES = 100  # a Python definition that is longer is cut into windows
_PYTHON_WINDOW = 80
_TEXT_WINDOW = 50
_OVERLAP = 10
_GAP_REACH = 15  # lines at the end of a window among which a gap is looked for
_FEW_LINES = 3

# A name and lines: from the first number, counted from 0, to before the second.
_Span = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines `line_start` to `line_end`, counted from 1 and inclusive, joined by "\\n".

    `name` is the definition they are of, such as "Class.method", or "".
    """

    name: str
    line_start: int
    line_end: int
    text: str


def chunk(text: str, language: str) -> list[Chunk]:
    """The pieces of `text` in the order of their lines; every line that is not blank is in one.

    Only the windows that a long definition or a long stretch of text is cut into may overlap.
    """
    lines = text.split("\n")
    spans = _python_spans(text, lines) if language == "python" else None
    if spans is None:
        spans = [("", start, end) for start, end in _text_windows(lines)]
    trimmed = ((name, *_trimmed(lines, start, end)) for name, start, end in spans)
    return [
        Chunk(name, start + 1, end, "\n".join(lines[start:end]))
        for name, start, end in trimmed
        if start < end
    ]


def _trimmed(lines: list[str], start: int, end: int) -> tuple[int, int]:
    """The span without the blank lines at its ends."""
    while start < end and not lines[start].strip():
        start += 1
    while start < end and not lines[end - 1].strip():
        end -= 1
    return start, end


def _text_windows(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Windows that end at a gap if one is near, and otherwise overlap."""
    start, last = _trimmed(lines, 0, len(lines))
    while last - start > _TEXT_WINDOW:
        full = start + _TEXT_WINDOW
        gaps = (end for end in range(full, full - _GAP_REACH, -1) if _is_gap(lines[end - 1]))
        end = next(gaps, None)
        yield start, end or full
        start, _ = _trimmed(lines, end or full - _OVERLAP, last)
    yield start, last


def _is_gap(line: str) -> bool:
    """Whether a blank line, or the end of an outermost block in braces."""
    return line in ("}", "};") or not line.strip()


def _python_spans(text: str, lines: list[str]) -> list[_Span] | None:
    """The spans of the definitions and of what lies between them; None if this is not Python."""
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the strings of a source file
            # A lone "\r" ends a line to the parser, but not here.
            tree = ast.parse(text.replace("\r\n", "\n").replace("\r", " "))
        definitions = list(_definitions(tree.body, "", lines, 0))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    runs = _with_small_rests_joined(_runs(definitions, len(lines)), lines)
    return [
        (name, *window)
        for name, start, end in runs
        for window in _python_windows(lines, start, end)
    ]


def _definitions(
    body: Iterable[ast.stmt | ast.excepthandler], prefix: str, lines: list[str], floor: int
) -> Iterator[_Span]:
    """The functions and classes in `body`, outer ones first, but none that are in a function.

    `floor` is the line at which the comments of the first of them may begin.
    """
    import ast

    for node in body:
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = prefix + node.name
            yield name, _first_line(node, lines, floor), end
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, name + ".", lines, node.lineno)
        else:  # such as `if` or `try`
            children = ast.iter_child_nodes(node)
            inner = (child for child in children if isinstance(child, ast.stmt | ast.excepthandler))
            yield from _definitions(inner, prefix, lines, floor)
        floor = end


def _first_line(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, lines: list[str], floor: int
) -> int:
    """Where the comments right above `node` begin, or its decorators, or itself."""
    first = min(part.lineno for part in (node, *node.decorator_list)) - 1
    column = node.col_offset  # a deeper comment belongs to what is above it
    while first > floor and lines[first - 1].find("#") == column == _indent(lines[first - 1]):
        first -= 1
    return first


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _runs(definitions: list[_Span], length: int) -> list[tuple[int, _Span]]:
    """The stretches of lines that belong to the same innermost definition, with its number.

    Number 0 is the module, which has no name.
    """
    owners = [0] * length
    for number, (_, start, end) in enumerate(definitions, 1):
        owners[start:end] = [number] * (end - start)
    names = ["", *(name for name, _, _ in definitions)]
    runs = []
    start = 0
    for owner, same in groupby(owners):
        end = start + len(list(same))
        runs.append((owner, (names[owner], start, end)))
        start = end
    return runs


def _with_small_rests_joined(runs: list[tuple[int, _Span]], lines: list[str]) -> list[_Span]:
    """The runs, but a few lines between two definitions go to the one before them.

    The first lines of a class or module stay by themselves, however few, and so do the last lines
    of the module.
    """
    joined: list[_Span] = []
    seen: set[int] = set()
    for place, (owner, (name, start, end)) in enumerate(runs):
        filled = sum(1 for line in lines[start:end] if line.strip())
        if owner in seen and filled < _FEW_LINES and place < len(runs) - 1:
            before, first, _ = joined.pop()
            joined.append((before, first, end))
        else:
            joined.append((name, start, end))
        if filled:
            seen.add(owner)
    return joined


def _python_windows(lines: list[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = _trimmed(lines, start, end)
    if end - start > MAX_LINES:
        while end - start > _PYTHON_WINDOW:
            yield start, start + _PYTHON_WINDOW
            start, _ = _trimmed(lines, start + _PYTHON_WINDOW - _OVERLAP, end)
    yield start, end
