"""Editions of files under load: how far their writer is, and what an answer may say then.

Nothing here needs locust, so that it can be tried without a session.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Answer

__all__ = ["Edition", "complaint", "generation_of"]


@dataclass(frozen=True)
class Edition:
    """How far the writer is, as it tells all processes in a file beside the project."""

    #: The last edition that is indexed,
    indexed: int
    #: the files that have its word,
    paths: tuple[str, ...]
    #: and the last one of which files were written.
    written: int

    @staticmethod
    def place(project: Path) -> Path:
        return project.with_name(f"{project.name}.edition")

    def save(self, project: Path) -> None:
        place = self.place(project)
        new = place.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)), "utf-8")
        new.replace(place)

    @classmethod
    def now(cls, project: Path) -> Edition | None:
        """None before the first is indexed."""
        try:
            said = json.loads(cls.place(project).read_bytes())
        except FileNotFoundError:
            return None
        return cls(said["indexed"], tuple(said["paths"]), said["written"])


def complaint(answer: Answer, before: Edition, after: Edition, *, is_exact: bool) -> str | None:
    """What is wrong with an answer to a query for the word of the edition that was indexed when it
    was asked; None: nothing.  `is_exact`: other files than those with the word are not found."""
    found = sorted(set(answer.paths) & set(before.paths))
    word = f"{corpus.marker(before.indexed)!r} of edition {before.indexed}"
    if len(found) == len(before.paths):
        return None
    if after.written == before.indexed:
        return f"{word} was indexed, and is found in {found}, not in {sorted(before.paths)}"
    if found and is_exact:
        return f"half an index: {word} is found in {found} only"
    return None


def generation_of(raw: Any) -> str:
    """What an answer calls the index that it is from; empty where it does not."""
    return str(raw.get("generation", "")) if isinstance(raw, dict) else ""
