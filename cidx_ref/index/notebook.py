"""Notebooks (`.ipynb`, nbformat 3 and 4), read as their cells.

A line of a cell is counted within the cell, as its reader counts it.  Outputs, images and metadata
are no source, and are left out; what is no notebook, whatever its name, is for others to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeGuard

from cidx_ref.index import languages
from cidx_ref.index.chunk import Chunk, chunk

__all__ = ["MAX_FILE_BYTES", "Cell", "Notebook", "cell_of", "is_notebook", "read_notebook"]

#: A notebook may be larger than other files, because of what is left out of it.
MAX_FILE_BYTES = 8 << 20

_MAX_VALUES = 1 << 20  # JSON takes up to forty times its size in memory; this much is 100 MB
_MAX_NAME_CHARS = 40  # of a language
_JUPYTER = "python"  # what runs a notebook that says nothing
# The lines that IPython takes from Python: `%time f()`, `!ls`, `f?`.
# And `files = !ls`, `t = %timeit -o f()`.  A line that ends in a backslash goes on in the next.
_REST = r"(?:[^\n]*\\\n)*[^\n]*"
_MAGIC = re.compile(rf"(?m)^([ \t]*)(?:[%!?]{_REST}|[\w.]+\?{{1,2}}[ \t]*)$")
_ASSIGNED = re.compile(rf"(?m)^([^\n=!%]+=)[ \t]*(?:!|%[A-Za-z_]){_REST}$")
# Kernels that are not called what their language is.
_KERNELS = {
    "almond": "scala",
    "gophernotes": "go",
    "ihaskell": "haskell",
    "ijavascript": "javascript",
    "ir": "r",
    "iruby": "ruby",
    "xcpp": "cpp",
    "xr": "r",
}
# Of those that are about a whole cell, the ones that leave it in Python.
_WITHIN_PYTHON = frozenset("capture debug memit mprun prun time timeit".split())


@dataclass(frozen=True, slots=True)
class Cell:
    """`number` counts from 1 over all cells; `language` is "markdown" where it is prose."""

    number: int
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Notebook:
    language: str
    cells: list[Cell]

    @property
    def size_bytes(self) -> int:
        """Of what is read of it."""
        return sum(len(cell.text.encode()) for cell in self.cells)

    def chunks(self) -> list[Chunk]:
        """The pieces of each cell, named "cell 3", or "cell 3: Model.fit" where that is defined."""
        return [
            replace(piece, name=f"cell {cell.number}" + (piece.name and f": {piece.name}"))
            for cell in self.cells
            for piece in _pieces(cell)
        ]


def is_notebook(path: str) -> bool:
    """Whether the file at `path` is one by its name."""
    return path.lower().endswith(".ipynb")


def cell_of(path: str, name: str) -> str:
    """In a notebook, the cell that a piece of that name is of: lines are counted within it."""
    return name.partition(":")[0] if is_notebook(path) else ""


def read_notebook(text: str) -> Notebook | None:
    """The notebook that `text` is; None where it is none.

    Whatever is not as the format has it is left out.
    """
    if sum(map(text.count, "[{,")) > _MAX_VALUES:
        return None
    try:
        # The conversion of a long integer takes more than linear time, and no number is looked at.
        found = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "nbformat" not in found:
        return None
    cells = list(_raw_cells(found))
    language = _language(found, cells)
    read = (_cell(number, raw, language) for number, raw in enumerate(cells, 1))
    return Notebook(language, [cell for cell in read if cell is not None])


def _raw_cells(found: dict[str, Any]) -> Iterator[Any]:
    """The cells as they are stored."""
    worksheets = _list(found.get("worksheets"))  # until nbformat 3
    for sheet in [found, *worksheets]:
        yield from _list(sheet.get("cells")) if isinstance(sheet, dict) else ()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _cell(number: int, raw: Any, language: str) -> Cell | None:
    if not isinstance(raw, dict):
        return None
    kind = raw.get("cell_type")
    source = raw.get("input") if kind == "code" and "input" in raw else raw.get("source")
    lines = [source] if isinstance(source, str) else _list(source)
    text = "".join(line for line in lines if isinstance(line, str))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # JSON can say half a character, which nothing can store.
    text = text.encode("utf-8", "replace").decode()
    spoken = {"code": language, "raw": "text"}.get(
        kind if isinstance(kind, str) else "", "markdown"
    )
    return Cell(number, spoken, text)


def _language(found: dict[str, Any], cells: list[Any]) -> str:
    """The language of a notebook: by its metadata, or in nbformat 3 by its first cell of code."""
    metadata = _dict(found.get("metadata"))
    code = next((raw for raw in cells if _dict(raw).get("cell_type") == "code"), None)
    named = (
        _dict(metadata.get("language_info")).get("name"),
        _dict(metadata.get("kernelspec")).get("language"),
        _dict(code).get("language"),
    )
    said = list(filter(_is_name, named))
    # A kernel is called after its language and version (python3, julia-1.9), or after what its
    # environment is for, which says nothing.
    kernel = _dict(metadata.get("kernelspec")).get("name")
    names = [*said, *filter(_is_name, [kernel])]
    bare = [name.rstrip("0123456789.-") for name in names]
    spoken = chain(names, bare, (_KERNELS.get(name, "") for name in bare))
    known = next(filter(None, map(languages.known, spoken)), None)
    return known or ("text" if said else _JUPYTER)


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_CHARS


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pieces(cell: Cell) -> list[Chunk]:
    if cell.language != "python":
        return chunk(cell.text, cell.language)
    if cell.text.startswith("%%"):
        magic = cell.text[2:].split(maxsplit=1)[:1]
        if not _WITHIN_PYTHON.issuperset(magic):  # such as `%%bash`
            return chunk(cell.text, "text")
    assigned = _ASSIGNED.sub(lambda match: f"{match[1]} 0{_lines_of(match)}", cell.text)
    parsed = _MAGIC.sub(lambda match: f"{match[1]}pass{_lines_of(match)}", assigned)
    return chunk(cell.text, "python", parsed=parsed)


def _lines_of(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")
