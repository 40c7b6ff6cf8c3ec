"""Functions by what is said above them: the first sentence of a comment asks for its function.

The comments are taken out of the tree before it is indexed, so that a sentence is not found as
itself.  The questions on repositories ask for files; here it is seen whether the right place in a
file is shown, in each language that has its comments above its functions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from cidx_ref.index.languages import of
from cidx_ref.index.outlines import outline_of
from cidx_ref.index.purpose import purpose
from ranking.judge import DEPTH

__all__ = ["Documented", "Hit", "Marks", "marks", "strip", "table"]

#: Of one repository: more would count no more, for each language counts alike.
QUESTIONS = 100
_MAX_BYTES = 1 << 20
_SENTENCE = range(4, 31)  # words

_IS_COMMENT = re.compile(r"\s*(//|/\*|\*|--|\{-|-\}|#(?![!\[]|include|define|if|el|end|pragma))")
_SIGNS = re.compile(r"^[\s/*#{!|<-]+|[\s*}-]*(\*/|-\})\s*$")
_MARKUP = re.compile(r"<[^<>]*>|\{@\w+ |[`{}]")
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z<@])|\s[@\\]\w+|\s#+ ")

#: Path, first line and last line.
Hit = tuple[str, int, int]


class Documented(NamedTuple):
    """A function, and what its comment says of it."""

    text: str
    path: str
    #: The line that begins it, counted from 1.
    line: int


class Marks(NamedTuple):
    """Of one repository: how many were asked for, MRR@10, and how often the first hit in the right
    file was the right one."""

    questions: int
    mrr: float
    first_in_file: float


def strip(root: Path) -> list[Documented]:
    """Take the comments above functions out of all files below `root`, and ask for some of them."""
    found: dict[str, list[Documented]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_BYTES:
            for each in _stripped(path, path.relative_to(root).as_posix()):
                found[each.text].append(each)
    # What is said of two is a question with two answers; and tests, documents are not looked for.
    once = [each for (each, *more) in found.values() if not more and not purpose(each.path)]
    Random(1).shuffle(once)
    return once[:QUESTIONS]


def _stripped(path: Path, relative: str) -> Iterator[Documented]:
    try:
        text = path.read_text("utf-8")
    except ValueError:
        return
    language = of(relative, text[:80].split("\n")[0])
    lines = text.split("\n")
    outline = None if language in ("python", "markdown") else outline_of(language, text, lines)
    changed = False
    for each in outline.definitions if outline is not None else ():
        head = next((n for n in range(each.start, each.end) if not _is_above(lines[n])), each.start)
        above = range(each.start, head)
        said = _sentence(lines[n] for n in above if _IS_COMMENT.match(lines[n]))
        for n in above:
            if _IS_COMMENT.match(lines[n]):
                lines[n], changed = "", True
        simple = each.name.rpartition(".")[2]
        said = said.removeprefix(f"{simple} ")  # as in Go
        is_asked = each.kind in ("function", "method") and len(said.split()) in _SENTENCE
        if is_asked and simple.lower() not in said.lower():
            yield Documented(said, relative, head + 1)
    if changed:
        path.write_text("\n".join(lines), "utf-8")


def _is_above(line: str) -> bool:
    """Whether a line before that of the name: a comment, an attribute, or blank."""
    return not line.strip() or bool(_IS_COMMENT.match(line)) or line.strip()[0] in "@[#"


def _sentence(comment: Iterable[str]) -> str:
    text = " ".join(_SIGNS.sub("", line.strip()) for line in comment)
    return _END.split(" ".join(_MARKUP.sub("", text).split()))[0]


def marks(asked: Sequence[Documented], ask: Callable[[str, int], Sequence[Hit]]) -> Marks:
    """What `ask` finds for them: of a text and a number the first hits."""
    reciprocal, is_first = 0.0, []
    for one in asked:
        hits = [(hit[0] == one.path, _is_there(hit, one)) for hit in ask(one.text, DEPTH)]
        place = next((n for n, (_, is_right) in enumerate(hits, 1) if is_right), 0)
        reciprocal += 1 / place if place else 0
        is_first += [is_right for in_file, is_right in hits if in_file][:1]
    return Marks(len(asked), reciprocal / max(1, len(asked)), sum(is_first) / max(1, len(is_first)))


def _is_there(hit: Hit, one: Documented) -> bool:
    path, first, last = hit
    return path == one.path and first <= one.line <= last


def table(found: Mapping[str, Mapping[str, Marks]]) -> str:
    """By repository and mode; the means are those of repositories."""
    modes = list(next(iter(found.values()), {}))
    head = "".join(f"{mode:>10}{'in file':>10}" for mode in modes)
    lines = [
        "functions by their comments: MRR@10, and how often the first hit in their file has them",
        f"{'':<18}{'questions':>10}{head}",
    ]
    for name, by_mode in found.items():
        count = max(each.questions for each in by_mode.values())
        lines.append(f"{name:<18}{count:>10}{_cells(by_mode.values())}")
    columns = [[by_mode[mode] for by_mode in found.values()] for mode in modes]
    return "\n".join([*lines, f"{'all':<28}{_cells(map(_mean, columns))}"])


def _cells(of: Iterable[Marks]) -> str:
    return "".join(f"{each.mrr:>10.3f}{each.first_in_file:>10.3f}" for each in of)


def _mean(column: Sequence[Marks]) -> Marks:
    sums = [sum(each) for each in zip(*column, strict=True)]
    return Marks(int(sums[0]), sums[1] / len(column), sums[2] / len(column))
