"""Where a file is cut into the pieces that a search can find.

Lines are what "\\n" ends, numbered from 1: not what `str.splitlines` makes of a form feed.
Python is cut at its definitions, and every other language at gaps between its lines.  A line that
is longer than a piece should be, as of data and of what a program wrote, is cut, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

__all__ = ["MAX_CHARS", "MAX_LINES", "MAX_LINE_CHARS", "Chunk", "chunk", "definition"]

MAX_LINES = 100  # a Python definition that is longer is cut into windows
_PYTHON_WINDOW = 80
_TEXT_WINDOW = 50
_OVERLAP = 10
_GAP_REACH = 15  # lines at the end of a window among which a gap is looked for
_FEW_LINES = 3
MAX_LINE_CHARS = 2000  # a line of more is cut
MAX_CHARS = 12_000  # of a chunk: as much as the longest definitions have that are written by hand
_WORD_REACH = 256  # characters at the end of a piece among which the end of a word is looked for

# A name and lines: from the first number, counted from 0, to before the second.
_Span = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines `line_start` to `line_end`, counted from 1 and inclusive, joined by "\\n".

    `name` is the definition they are of, such as "Class.method", or "".  Of a line that is too long
    there are several, which make the line when they are put together.
    """

    name: str
    line_start: int
    line_end: int
    text: str


def chunk(text: str, language: str, *, parsed: str | None = None) -> list[Chunk]:
    """The pieces of `text` in the order of their lines; every line that is not blank is in one.

    Only the windows that a long definition or a long stretch of text is cut into may overlap.
    `parsed` is what may be parsed, line by line, where `text` itself is not Python.
    """
    lines = text.split("\n")
    spans = _python_spans(text, lines) if language == "python" else None
    if spans is None and parsed is not None:
        spans = _python_spans(parsed, lines)
    if spans is None:
        spans = [("", start, end) for start, end in _text_windows(lines)]
    trimmed = ((name, *_trimmed(lines, start, end)) for name, start, end in spans)
    found = [
        Chunk(name, start + 1, end, "\n".join(lines[start:end]))
        for name, start, end in trimmed
        if start < end
    ]
    if max(map(len, lines)) <= MAX_LINE_CHARS and all(len(one.text) <= MAX_CHARS for one in found):
        return found
    return list(_of_bounded_size(found))


def definition(name: str) -> str:
    """What the chunk called `name` defines, without the number of a notebook's cell."""
    return "" if name.startswith("cell ") and ":" not in name else name.rpartition(": ")[2]


def _of_bounded_size(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """`chunks`, without overlaps, and those that are too long in pieces."""
    done = 0  # lines
    for whole in chunks:
        start = max(whole.line_start, done + 1)
        lines = whole.text.split("\n")[start - whole.line_start :]
        done = max(done, whole.line_end)
        yield from _pieces(whole.name, start, lines)


def _pieces(name: str, number: int, lines: list[str]) -> Iterator[Chunk]:
    """Chunks of the `lines`, the first of which has this `number`."""
    first, size = 0, 0
    for place, line in enumerate(lines):
        is_long = len(line) > MAX_LINE_CHARS
        if is_long or size + len(line) > MAX_CHARS:
            yield from _stretch(name, number, lines, first, place)
            first, size = place, 0
        if is_long:
            if line.strip():
                at = number + place
                yield from (Chunk(name, at, at, piece) for piece in _cut(line))
            first = place + 1
        else:
            size += len(line) + 1
    yield from _stretch(name, number, lines, first, len(lines))


def _stretch(name: str, number: int, lines: list[str], first: int, last: int) -> Iterator[Chunk]:
    start, end = _trimmed(lines, first, last)
    if start < end:
        yield Chunk(name, number + start, number + end - 1, "\n".join(lines[start:end]))


def _cut(line: str) -> Iterator[str]:
    """Pieces of `line`, cut where words end if one does."""
    start = 0
    while len(line) - start > MAX_LINE_CHARS:
        full = start + MAX_LINE_CHARS
        places = range(full, full - _WORD_REACH, -1)
        end = next((i for i in places if not _is_within_word(line[i - 1 : i + 1])), full)
        yield line[start:end]
        start = end
    yield line[start:]


def _is_within_word(around: str) -> bool:
    """Whether both characters are of a word."""
    return around.replace("_", "a").isalnum()


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
