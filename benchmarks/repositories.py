"""Repositories of any size, made of real source."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from clients import TEXTS

from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import git

__all__ = ["Repository", "check_in", "copies", "small_files", "synthetic"]


@dataclass(frozen=True)
class Repository:
    """A git checkout with an index, how many chunks that has, and the seconds a full build took."""

    project: Project
    chunks: int
    full_s: float


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


def copies(root: Path, count: int, stdlib: Project) -> Project:
    """So many copies of the standard library in a git checkout, folders and all, each with words of
    its own."""
    ignore = shutil.ignore_patterns(".code-indexer")
    for number in range(count):
        copy = root / f"copy{number}"
        shutil.copytree(stdlib.root, copy, ignore=ignore, symlinks=True)
        for path in copy.rglob("*.py") if number else ():
            text = path.read_text("utf-8", "surrogateescape")
            path.write_text(text.replace("self", copy.name), "utf-8", "surrogateescape")
    check_in(root)
    return Project.at(root)


def small_files(root: Path, count: int) -> Project:
    """So many files of one function each in a git checkout, a hundred to a folder.  They hold what
    the clients ask for."""
    for number in range(count):
        path = root / f"part{number // 1000}" / f"folder{number // 100 % 10}" / f"file{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'def small_{number}():\n    """{TEXTS[number % len(TEXTS)]}"""\n')
    check_in(root)
    return Project.at(root)


def check_in(root: Path) -> None:
    """Make a checkout of `root`, or commit what has changed in it."""
    if not (root / ".git").exists():
        git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=as it is")
