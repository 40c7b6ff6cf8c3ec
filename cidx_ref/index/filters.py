"""What a query may be restricted to.  Light: arguments are checked before numpy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from cidx_ref.index.globs import is_literal, parse

__all__ = ["Filters", "problem_with"]

#: A pattern is tried on each path in time that grows with its length.
_MAX_PATTERN_CHARS = 256


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
    if is_literal(glob):
        return None
    if len(glob) > _MAX_PATTERN_CHARS:
        return f"a pattern of more than {_MAX_PATTERN_CHARS} characters"
    return None if parse(glob, has_signs=False) else "not a pattern as in .gitignore"
