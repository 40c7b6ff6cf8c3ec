"""What stands above a definition and belongs to it: comments, attributes, decorators."""

from __future__ import annotations

from collections.abc import Sequence

from cidx_ref.index.syntax import MAX_HEAD_LINES, Syntax

__all__ = ["first_line"]


def first_line(syntax: Syntax, lines: Sequence[str], number: int, floor: int) -> int:
    """The number of the first line of what belongs to the definition that the line `number` begins:
    none before `floor`."""
    first = number
    ends = tuple(end for _, end in syntax.comments)
    while first > floor:
        line = lines[first - 1].strip()
        if not line and first > floor + 1 and lines[first - 2].rstrip() == syntax.apart != "":
            first -= 1  # what documents it, and a blank line
            continue
        if syntax.heredoc and line == syntax.heredoc:
            begin = _begin_of_heredoc(syntax, lines, first - 1, floor)
        elif ends and line.endswith(ends):
            begin = _begin_of_comment(syntax, lines, first - 1, floor)
        elif line in (")", ")]", "})", "])"):
            begin = _begin_of_attribute(syntax, lines, first - 1, floor)
        else:
            begin = first - 1 if line and syntax.above.match(line) else -1
        if begin < 0:
            break
        first = begin
    return first


def _begin_of_comment(syntax: Syntax, lines: Sequence[str], last: int, floor: int) -> int:
    """Where the comment begins that ends in the line `last`; -1 if it is none.

    It cannot begin before the end of another one: so no line is looked at for two of them.
    """
    line = lines[last].strip()
    for begin, end in syntax.comments:
        if line.endswith(end):
            for first in range(last, floor - 1, -1):
                at = lines[first].find(begin)
                if at >= 0:
                    return first if not lines[first][:at].strip() else -1
                if first < last and lines[first].rstrip().endswith(end):
                    break
    return -1


def _begin_of_heredoc(syntax: Syntax, lines: Sequence[str], last: int, floor: int) -> int:
    for first in range(last - 1, floor - 1, -1):
        line = lines[first].strip()
        if line.endswith(syntax.heredoc):
            return first if syntax.above.match(line) else -1
    return -1


def _begin_of_attribute(syntax: Syntax, lines: Sequence[str], last: int, floor: int) -> int:
    for first in range(last - 1, max(floor, last - MAX_HEAD_LINES) - 1, -1):
        line = lines[first].strip()
        if not line:
            break
        if syntax.above.match(line):
            return first
    return -1
