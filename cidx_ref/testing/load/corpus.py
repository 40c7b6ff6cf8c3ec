"""Real source to search, questions about it, and the files that answer them.

The source is a part of the interpreter's standard library.  For other projects, questions come from
a file, or are made of names that stand in one file only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cidx_ref.testing.conformance.asking import Answer

__all__ = ["METHODS", "STDLIB", "Question", "copy_source", "derive_questions", "read_questions"]

#: Semantic, full text, hybrid.
METHODS = ("query", "query_fts", "query_hybrid")

_STDLIB_PARTS = (
    *("json", "urllib", "http", "argparse.py", "bisect.py", "configparser.py", "contextlib.py"),
    *("csv.py", "difflib.py", "fractions.py", "gettext.py", "graphlib.py", "heapq.py", "queue.py"),
    *("secrets.py", "selectors.py", "shlex.py", "shutil.py", "statistics.py", "tarfile.py"),
    *("tempfile.py", "textwrap.py", "timeit.py"),
)
_TEXT_BYTES = 200_000  # of one file, at most
_FILES = 400


@dataclass(frozen=True)
class Question:
    """A query, and the file that must be among its hits."""

    text: str
    path: str
    #: Those that can be relied on to find it.
    methods: tuple[str, ...] = METHODS

    def complaint(self, answer: Answer) -> str | None:
        """What is wrong with an answer to this question; None if it is right."""
        if self.path in answer.paths:
            return None
        return f"{self.text!r} did not find {self.path}"


#: About the part of the standard library; each is answered in each mode.
STDLIB = tuple(
    Question(text, path)
    for text, path in (
        ("split a string with shell-like syntax", "shlex.py"),
        ("break a long paragraph into lines of at most a given width", "textwrap.py"),
        ("differences between two lists of lines as a unified diff", "difflib.py"),
        ("median and standard deviation of a sample", "statistics.py"),
        ("rational numbers", "fractions.py"),
        ("create a temporary directory", "tempfile.py"),
        ("copy a whole directory tree recursively", "shutil.py"),
        ("extract all members of a tar archive", "tarfile.py"),
        ("may a crawler fetch this url robots.txt", "urllib/robotparser.py"),
        ("parse a JSON document", "json/decoder.py"),
        ("translation of a message in a catalog", "gettext.py"),
        ("measure execution time of small code snippets", "timeit.py"),
        ("topological order of a graph", "graphlib.py"),
        ("section and option of a configuration file", "configparser.py"),
    )
)


def copy_source(target: Path, source: Path | None = None) -> None:
    """Copy `source` to `target`; without one, the part of the standard library."""
    ignore = shutil.ignore_patterns("__pycache__")
    if source is not None:
        shutil.copytree(source, target, ignore=ignore, symlinks=True)
        return
    target.mkdir(parents=True)
    library = Path(sysconfig.get_path("stdlib"))
    for part in _STDLIB_PARTS:
        if (library / part).is_dir():
            shutil.copytree(library / part, target / part, ignore=ignore)
        else:
            shutil.copy(library / part, target / part)


def read_questions(path: Path) -> tuple[Question, ...]:
    """From a JSON file: `[["text", "file"], ...]`.  Raises `ValueError`, `OSError`."""
    try:
        pairs = json.loads(path.read_bytes())
        found = tuple(Question(text, file) for text, file in pairs)
    except (TypeError, ValueError):
        found = ()
    if not found or not all(
        isinstance(part, str) for each in found for part in (each.text, each.path)
    ):
        raise ValueError(f"{path}: must be JSON, [[query, file], ...]")
    return found


def derive_questions(root: Path, count: int = 20) -> tuple[Question, ...]:
    """Long names that stand in one file of a project only, and these files.

    Full text finds them; what a daemon's model makes of a name is for the daemon to show.
    """
    where: dict[str, set[str]] = {}
    for path in islice(_texts(root), _FILES):
        text = (root / path).read_text("utf-8", "ignore")[:_TEXT_BYTES]
        for name in set(re.findall(r"\b[a-z]+_[a-z]+_[a-z_]{4,}\b", text)):
            where.setdefault(name, set()).add(path)
    unique = sorted((path, name) for name, (path, *more) in where.items() if not more)
    by_file = {path: name for path, name in unique}  # noqa: C416 - one for each file
    return tuple(Question(name, path) for path, name in islice(by_file.items(), count))


def _texts(root: Path) -> Iterator[str]:
    keep: Callable[[str], bool] = lambda name: not name.startswith(".")  # noqa: E731
    for directory, below, files in os.walk(root):
        below[:] = sorted(filter(keep, below))
        for name in sorted(filter(keep, files)):
            if name.endswith((".py", ".c", ".rs", ".go", ".js", ".ts", ".java", ".rb")):
                yield str((Path(directory) / name).relative_to(root))
