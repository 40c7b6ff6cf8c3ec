"""What a query may be restricted to.  Light: arguments are checked before numpy is imported."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Filters"]


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
