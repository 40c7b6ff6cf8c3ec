"""Repositories of any size, made of real source."""

from __future__ import annotations

from pathlib import Path

from cidx_ref.project import Project


def synthetic(root: Path, chunks: int, stdlib: Project) -> Project:
    """A repository of about so many chunks: the standard library's files, copied and renamed as
    often as need be, each copy with words of its own."""
    root.mkdir()
    sources = sorted(path for path in stdlib.root.rglob("*.py") if path.stat().st_size < 60_000)
    texts = [path.read_text("utf-8", "replace") for path in sources]
    have, number = 0, 0
    while have < chunks:
        text = texts[number % len(texts)]
        word = f"copy{number // len(texts)}"
        (root / f"{word}_{sources[number % len(texts)].stem}_{number}.py").write_text(
            text.replace("self", word)
        )
        have += max(1, text.count("\ndef ") + text.count("\n    def ") + text.count("\nclass "))
        number += 1
    return Project.at(root)
