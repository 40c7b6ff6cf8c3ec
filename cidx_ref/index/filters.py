"""What a query may be restricted to.  Light: arguments are checked before numpy is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Filters", "patterns", "problem_with"]

_MAX_STARS = 3
_WILDCARDS = re.compile(r"[*?]+")


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
    # Each star of a segment goes back over the name once for each place of the one before, and
    # nobody else runs meanwhile: `re` holds the GIL.
    if any(part.count("*") > _MAX_STARS for part in _simplified(glob).split("/")):
        return f"more than {_MAX_STARS} stars between two slashes"
    try:
        patterns([glob])
    except (ValueError, re.error):
        return "not a pattern as in .gitignore"
    return None


def patterns(globs: Iterable[str]) -> Any:
    """`globs` as one `pathspec.GitIgnoreSpec`."""
    from pathspec import GitIgnoreSpec

    # A path may begin with what .gitignore takes for a comment or a negation.
    simple = map(_simplified, globs)
    return GitIgnoreSpec.from_lines("\\" + g if g[:1] in ("#", "!") else g for g in simple)


def _simplified(glob: str) -> str:
    """The same pattern with each run of wildcards as `??*`: `*?*?` would be tried in all ways."""
    if "\\" in glob or "[" in glob:  # where a wildcard may be none
        return glob
    return "/".join(
        part if part == "**" else _WILDCARDS.sub(_gathered, part) for part in glob.split("/")
    )


def _gathered(run: re.Match[str]) -> str:
    return "?" * run[0].count("?") + "*" * ("*" in run[0])
