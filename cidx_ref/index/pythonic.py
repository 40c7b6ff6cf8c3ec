"""The outline of Python, by the interpreter's own parser.

It comes with the interpreter, knows each syntax that the interpreter knows, and a file that it
cannot parse is none that runs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from cidx_ref.index.structure import INNER, OWNER, Definition, Outline

if TYPE_CHECKING:
    import ast

__all__ = ["python_outline"]

# The parser of Python 3.11 takes the square of what stands in one f-string: 9 s for 800 KB.
_LARGE = 1 << 17
_WITHIN = re.compile(r"\s+(?:async\s+def|def|class)\s")
_LONG_FSTRING = re.compile(r"\b(?:[fF][rR]?|[rR][fF])(?:\"{3}|'{3})")


def python_outline(text: str, lines: list[str]) -> Outline | None:
    """The outline of `text`, which is `lines`; None if this is not Python."""
    import ast
    import warnings

    if len(text) > _LARGE and _LONG_FSTRING.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the strings of a source file
            # A lone "\r" ends a line to the parser, but not here.
            tree = ast.parse(text.replace("\r\n", "\n").replace("\r", " "))
        found = _Finder(lines)
        found.look(tree.body, "", 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Outline(found.definitions, sorted(found.names, key=lambda each: each[0]))


class _Finder:
    """The functions and classes of a file, outer ones first, but none that are in a function: of
    those the names are known, as are the variables of the module and its classes."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        #: The lines, from 1 on, that may begin a definition within another one.
        self._inner = [number for number, line in enumerate(lines, 1) if _WITHIN.match(line)]
        self.definitions: list[Definition] = []
        self.names: list[tuple[int, str]] = []

    def look(self, body: Iterable[ast.stmt | ast.excepthandler], prefix: str, floor: int) -> None:
        """Look at `body`, in what is called `prefix`.

        `floor` is the line at which the comments of the first definition may begin.
        """
        import ast

        for node in body:
            end = node.end_lineno or node.lineno
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._add(node, prefix, floor)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.names += ((node.lineno - 1, name) for t in targets for name in _names(t))
            elif type(node).__name__ == "TypeAlias":  # since Python 3.12
                self.names.append((node.lineno - 1, vars(node)["name"].id))
            else:  # such as `if` or `try`
                children = ast.iter_child_nodes(node)
                bodies = (c.body if isinstance(c, ast.match_case) else [c] for c in children)
                parts = chain.from_iterable(bodies)
                inner = (each for each in parts if isinstance(each, ast.stmt | ast.excepthandler))
                self.look(inner, prefix, floor)
            floor = end

    def _add(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        prefix: str,
        floor: int,
    ) -> None:
        import ast

        name, end = prefix + node.name, node.end_lineno or node.lineno
        is_class = isinstance(node, ast.ClassDef)
        kind = "class" if is_class else "method" if prefix else "function"
        self.definitions.append(Definition(name, kind, _first_line(node, self._lines, floor), end))
        self.names.append((node.lineno - 1, node.name))
        if is_class:
            self.look(node.body, name + ".", node.lineno)
        else:
            at = bisect_right(self._inner, node.lineno)
            if at < len(self._inner) and self._inner[at] <= end:  # most have none, and are large
                self._add_names_within(node)

    def _add_names_within(self, node: ast.stmt) -> None:
        import ast

        for each in islice(ast.walk(node), 1, None):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.names.append((each.lineno - 1, INNER + each.name))


def _names(target: ast.expr) -> Iterator[str]:
    """The variables that an assignment to `target` defines."""
    import ast

    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        # Of something that is defined elsewhere, perhaps with another value.
        yield INNER + target.attr
        yield OWNER + target.value.id
    elif isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _names(each)


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
