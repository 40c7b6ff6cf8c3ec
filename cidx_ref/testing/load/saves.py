"""Files that are saved under load, each save with a word of its own; what an answer may say then.

Nothing here needs locust, so that it can be tried without a session.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance.asking import Answer, Unreadable, dig

__all__ = ["FILES", "common", "complaint", "held", "place", "save", "save_in", "says", "word"]

#: The file with this number has the same name, and the same word, in each save.
FILES = 8

_LETTERS = "bdfgkmnprt"


def word(number: int) -> str:
    """One term, which nothing else has."""
    return "zanzi" + "".join(_LETTERS[int(digit)] for digit in f"{number:05}")


def place(number: int) -> str:
    """The file that this save is of."""
    return f"edited_{number % FILES}.py"


def common(path: str) -> str:
    """The word that stands in each save of a file."""
    return word(90_000 + int(re.findall(r"\d+", path)[-1]))


def save(root: Path, number: int) -> None:
    """As an editor does: what is read is the save before, or this one."""
    path = place(number)
    new = root.parent / "being-saved"
    new.write_text(
        f"def {common(path)}():\n    return '{word(number)}'  # save {number}\n", "utf-8"
    )
    new.replace(root / path)


def save_in(text: str) -> int | None:
    """The number of the save that a text is of; None if it does not say."""
    found = re.findall(r"# save (\d+)", text)
    return int(found[0]) if found else None


def held(root: Path, path: str) -> int:
    """The save that a file holds."""
    number = save_in((root / path).read_text("utf-8"))
    assert number is not None
    return number


def complaint(
    answer: Answer, path: str, before: int, after: int, *, stale: str, is_fresh: bool
) -> str | None:
    """What is wrong with an answer to a query for the word of `path`, which held the save `before`
    when it was asked, and `after` when it had its answer; None: nothing.  `stale`: where a hit
    says that its file no longer holds it (`Target.stale`); `is_fresh`: it was asked to be fresh."""
    hits = [hit for hit in answer.hits if hit.path == path]
    if not hits:
        return f"{path} is not found"
    for hit in hits:
        found = save_in(hit.text)
        if found is None:  # the daemon shows another line, or none
            continue
        if found > after:
            return f"{path}: save {found} is found, and it is {after} that was saved"
        is_stale = says(hit.raw, stale)
        if is_stale and found == before == after:
            return f"{path}: save {found} is called stale, and it is what the file holds"
        if found < before and stale and not is_stale:
            return f"{path}: save {found} is not called stale, though {before} was saved"
        if found < before and is_fresh:
            return f"{path}: save {found} is called fresh, though {before} was saved"
    return None


def says(raw: Any, path: str) -> bool:
    try:
        return bool(path and dig(raw, path))
    except Unreadable:  # what is not said is not so
        return False
