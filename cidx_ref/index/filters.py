"""What a query may be restricted to.  Light: arguments are checked before numpy is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cidx_ref.braces import alternatives
from cidx_ref.globs import Part, is_literal, parse

__all__ = ["Filters", "normal", "problem_with", "spelled", "too_much"]

# What the globs of one query may cost together: a new filter takes a pass over all paths of the
# index, beside which other clients get half of a processor.  With 33,000 files that is some 20 ms
# of processor time, and at most 80 with all that is allowed here (`benchmarks/test_bounded.py`).
_MAX_CHARS = 16_384
_MAX_WILD_CHARS = 4_096
_MAX_AFFIXES = 24
_MAX_REGEXES = 4

_HERE = re.compile(r"\A(?:\./)++")
#: A path of another system: a backslash before a letter means nothing else in a pattern.
_FROM_ELSEWHERE = re.compile(r"(?:[^\\/\[]|\\(?=\w))*+")


@dataclass(frozen=True, slots=True)
class Filters:
    """What may be found.  Empty means: anything.

    `languages` are canonical names; `paths` and `exclude_paths` are patterns as in .gitignore
    (`*.py`, `src/`, `tests/**/test_*.py`), which may have braces (`*.{ts,js}`), matched with the
    path relative to the project.  What has a path that is a pattern, too, is meant by it (`named`).
    """

    languages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.languages or self.paths or self.exclude_paths)


def normal(glob: str, root: str = "") -> str:
    """`glob` as it goes on from the project's root, where it begins at a dot, or with `root`, the
    project's own path; and with slashes for the backslashes of a path from elsewhere."""
    if _FROM_ELSEWHERE.fullmatch(glob):
        glob = glob.replace("\\", "/")
    if root and f"{glob}/".startswith(f"{root}/"):
        glob = glob.removeprefix(root) or "/"
    # What is in braces is seen to when it is known what they stand for.
    return _HERE.sub("/", glob) if "{" in glob else _without_dots(glob)


def spelled(glob: str, most_chars: int = _MAX_CHARS) -> list[str]:
    """The patterns as in .gitignore that `glob` stands for, of which one must match.

    Raises `ValueError` with the reason where it stands for none, or more than so many characters.
    """
    found = [_without_dots(each) for each in alternatives(glob, most_chars) if each.strip()]
    if not found:
        raise ValueError("its braces stand for nothing")
    return found


def problem_with(glob: str) -> str | None:
    """Why `glob` cannot be used; None if it can."""
    try:
        for pattern in spelled(glob):
            parse(pattern)
    except ValueError as problem:
        return f"not a pattern as in .gitignore: {problem}"
    return None


def too_much(globs: Sequence[str]) -> str | None:
    """Why `globs`, all those of one query, are more work than a query may make; None if not."""
    much = f"more than {_MAX_CHARS} characters: name folders instead of their files"
    left = _MAX_CHARS
    patterns: list[str] = []
    for glob in globs if sum(map(len, globs)) <= _MAX_CHARS else ():
        try:
            patterns += (found := alternatives(glob, _MAX_CHARS))
        except ValueError as problem:
            return f"{problem}: name folders instead of their files"
        left -= sum(map(len, found))
        if left < 0:
            break
    if left < 0 or len(patterns) < len(globs):
        return much
    wild = [pattern for pattern in patterns if not is_literal(pattern)]
    if sum(map(len, wild)) > _MAX_WILD_CHARS:
        return f"more than {_MAX_WILD_CHARS} characters in patterns with wildcards"
    kinds = [part.kind for pattern in wild for part in _parts(pattern) if part.text]
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


def _without_dots(pattern: str) -> str:
    """`pattern` without names that are a dot or two, or nothing.  Raises `ValueError` where it
    leads out of the project."""
    names = pattern.split("/")
    if "//" not in pattern and pattern != "/" and not {".", ".."} & {*names}:
        return pattern
    kept: list[str] = []
    for name in names:
        if name == "..":
            if not kept or not is_literal(kept[-1]):
                raise ValueError("its .. leads to nowhere in the project")
            kept.pop()
        elif name not in ("", "."):
            kept.append(name)
    if not kept:
        return "/**"
    return "/" + "/".join(kept) + "/" * (names[-1] in ("", ".", ".."))
