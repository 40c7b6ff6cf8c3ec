"""What a query may be restricted to.  Light: arguments are checked before numpy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cidx_ref.globs import Part, is_literal, parse

__all__ = ["Filters", "problem_with", "too_much"]

# What the globs of one query may cost together: a new filter takes a pass over all paths of the
# index, beside which other clients get half of a processor.  With 33,000 files that is some 20 ms
# of processor time, and at most 80 with all that is allowed here (`benchmarks/test_bounded.py`).
_MAX_CHARS = 16_384
_MAX_WILD_CHARS = 4_096
_MAX_AFFIXES = 24
_MAX_REGEXES = 4


@dataclass(frozen=True, slots=True)
class Filters:
    """What may be found.  Empty means: anything.

    `languages` are canonical names; `paths` and `exclude_paths` are patterns as in .gitignore
    (`*.py`, `src/`, `tests/**/test_*.py`), matched with the path relative to the project.
    """

    languages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.languages or self.paths or self.exclude_paths)


def problem_with(glob: str) -> str | None:
    """Why `glob` cannot be used; None if it can."""
    try:
        parse(glob)
    except ValueError as problem:
        return f"not a pattern as in .gitignore: {problem}"
    return None


def too_much(globs: Sequence[str]) -> str | None:
    """Why `globs`, all those of one query, are more work than a query may make; None if not."""
    if sum(map(len, globs)) > _MAX_CHARS:
        return f"more than {_MAX_CHARS} characters: name folders instead of their files"
    wild = [glob for glob in globs if not is_literal(glob)]
    if sum(map(len, wild)) > _MAX_WILD_CHARS:
        return f"more than {_MAX_WILD_CHARS} characters in patterns with wildcards"
    kinds = [part.kind for glob in wild for part in _parts(glob) if part.text]
    if kinds.count("ending") + kinds.count("beginning") > _MAX_AFFIXES:
        return f"more than {_MAX_AFFIXES} endings (*.py) and beginnings (test_*): name folders"
    if kinds.count("regex") > _MAX_REGEXES:
        return (
            f"more than {_MAX_REGEXES} names with several wildcards (test_*.py, [ab].c): "
            "name folders, or endings (*.py)"
        )
    return None


def _parts(glob: str) -> list[Part]:
    try:
        return [part for found in parse(glob) for part in found.parts]
    except ValueError:  # `problem_with` says it better
        return []
