"""Where a file is cut into the pieces that a search can find.

Lines are what "\\n" ends, numbered from 1: not what `str.splitlines` makes of a form feed.
Python is cut at its definitions, and every other language at gaps between its lines.  A line that
is longer than a piece should be, as of data and of what a program wrote, is cut, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

__all__ = [
    "MAX_CHARS",
    "MAX_LINES",
    "MAX_LINE_CHARS",
    "MAX_PIECES",
    "MIN_OVERLAP",
    "Chunk",
    "chunk",
    "definition",
]

MAX_LINES = 100  # a Python definition that is longer is cut into windows
_PYTHON_WINDOW = 80
_TEXT_WINDOW = 50
_OVERLAP = 10
_GAP_REACH = 15  # lines at the end of a window among which a gap is looked for
_FEW_LINES = 3
MAX_LINE_CHARS = 2000  # a line of more is cut
MAX_CHARS = 12_000  # of a chunk: as much as the longest definitions have that are written by hand
MAX_PIECES = 8192  # of a file, but for those of long lines: half of what a segment may have
_WORD_REACH = 256  # characters at the end of a piece among which the end of a word is looked for
# Characters that a piece has of the one before it, as many as any phrase has that people look for.
# Not fewer than the first; up to the second if a word or a line begins there.
MIN_OVERLAP = 200
_MAX_OVERLAP = 300

# A name and lines: from the first number, counted from 0, to before the second.
_Span = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines `line_start` to `line_end`, counted from 1 and inclusive, joined by "\\n".

    `name` is the definition they are of, such as "Class.method", or "".  Of what is too long there
    are several, and the first or the last of their lines may be a part of a line: `column` is how
    many characters of the first line come before the text.
    """

    name: str
    line_start: int
    line_end: int
    text: str
    column: int = 0


def chunk(text: str, language: str, *, parsed: str | None = None) -> list[Chunk]:
    """The pieces of `text` in the order of their lines; every line that is not blank is in one.

    Only the pieces that a long definition, a long stretch of text or a long line is cut into may
    overlap.
    `parsed` is what may be parsed, line by line, where `text` itself is not Python.  A text of more
    than `MAX_PIECES` has larger ones, without names.
    """
    lines = text.split("\n")
    spans = _python_spans(text, lines) if language == "python" else None
    if spans is None and parsed is not None:
        spans = _python_spans(parsed, lines)
    if spans is None:
        spans = [("", start, end) for start, end in _text_windows(lines)]
    trimmed = ((name, *_trimmed(lines, start, end)) for name, start, end in spans)
    spans = [(name, start, end) for name, start, end in trimmed if start < end]
    if len(spans) > MAX_PIECES:
        spans = _joined(spans, lines)
    found = [Chunk(name, start + 1, end, "\n".join(lines[start:end])) for name, start, end in spans]
    return _of_bounded_size(found)


def _joined(spans: list[_Span], lines: list[str]) -> list[_Span]:
    """The spans, with as many in one as are not too long together."""
    before = list(accumulate((len(line) + 1 for line in lines), initial=0))
    joined: list[_Span] = []
    for _, start, end in spans:
        if joined and before[end] - before[joined[-1][1]] <= MAX_CHARS:
            start = joined.pop()[1]
        joined.append(("", start, end))
    return joined


def definition(name: str) -> str:
    """What the chunk called `name` defines, without the number of a notebook's cell."""
    return "" if name.startswith("cell ") and ":" not in name else name.rpartition(": ")[2]


def _of_bounded_size(chunks: Iterable[Chunk]) -> list[Chunk]:
    """`chunks`, and those that are too long in pieces; in the order of their lines."""
    found: list[Chunk] = []
    cut = 0  # the last line of those that were cut, which are not cut again in the next window
    for whole in chunks:
        if _is_too_long(whole.text):
            found += _pieces(whole, max(0, cut + 1 - whole.line_start))
            cut = max(cut, whole.line_end)
        else:
            found.append(whole)
    # A window's overlap may begin before the last piece of the one before it.
    return sorted(found, key=lambda one: one.line_start)


def _is_too_long(text: str) -> bool:
    if len(text) <= MAX_LINE_CHARS:
        return False
    return len(text) > MAX_CHARS or max(map(len, text.split("\n"))) > MAX_LINE_CHARS


def _pieces(whole: Chunk, first: int) -> Iterator[Chunk]:
    """Pieces of `whole` from its line `first`, counted from 0.

    Each begins with the end of what is before it, unless a blank line is between them.
    """
    text, lines = whole.text, whole.text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    before = starts[first] - 1  # where the piece before this one ends
    for start, end in _cuts(text, lines, starts, first):
        between = text[max(0, before) : start]
        begin = start if between.count("\n") > 1 or between.strip() else _overlap(text, start)
        first_line = bisect_right(starts, begin) - 1
        number, column = whole.line_start + first_line, begin - starts[first_line]
        last = whole.line_start + bisect_right(starts, end - 1) - 1
        yield Chunk(whole.name, number, last, text[begin:end], column=column)
        before = end


def _cuts(text: str, lines: list[str], starts: list[int], first: int) -> Iterator[tuple[int, int]]:
    """Where the pieces of `text` begin and end before they overlap, without those that are blank.

    `starts` is where each of the `lines` begins, and where one after them would.
    """
    begun = first
    for place in range(first, len(lines) + 1):
        is_long = place < len(lines) and len(lines[place]) > MAX_LINE_CHARS
        full = starts[min(place + 1, len(lines))] - starts[begun] > MAX_CHARS - _MAX_OVERLAP
        if is_long or full or place == len(lines):
            start, end = _trimmed(lines, begun, place)
            if start < end:
                yield starts[start], starts[end] - 1
            begun = place
        if is_long:
            stretches = _stretches(text, starts[place], starts[place + 1] - 1)
            yield from ((start, end) for start, end in stretches if text[start:end].strip())
            begun = place + 1


def _stretches(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Those of a long line from `start` to `end`, cut between words if there is such a place."""
    while end - start > MAX_LINE_CHARS - _MAX_OVERLAP:
        full = start + MAX_LINE_CHARS - _MAX_OVERLAP
        cut = next((i for i in range(full, full - _WORD_REACH, -1) if _may_cut(text, i)), full)
        yield start, cut
        start = cut
    yield start, end


def _overlap(text: str, start: int) -> int:
    """Where a piece begins, for what lies across its `start` to be in it as a whole."""
    near = start - MIN_OVERLAP
    far = max(0, start - _MAX_OVERLAP)
    if near <= 0:
        return 0
    line = text.rfind("\n", far, near) + 1
    return line or next((i for i in range(near, far, -1) if _may_cut(text, i)), near)


def _may_cut(text: str, place: int) -> bool:
    """Whether neither a word nor a run of punctuation goes on there."""
    before, after = text[place - 1], text[place]
    return before.isspace() or after.isspace() or _is_of_word(before) != _is_of_word(after)


def _is_of_word(character: str) -> bool:
    return character == "_" or character.isalnum()


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
