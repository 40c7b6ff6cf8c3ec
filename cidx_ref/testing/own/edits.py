"""Edits of a tree, each a small value that is called with the tree's root, so that a script of them
can be drawn, printed and shrunk; and what is in the files that they write."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.testing.own.fixtures import git

__all__ = [
    "IGNORES", "KINDS", "MAX_BYTES", "PATHS", "WORD", "Become", "CheckOut", "Copy", "Delete",
    "Edit", "EditUnseen", "Ignore", "Mode", "Move", "Swap", "Touch", "Write", "content", "file_at",
    "make_history", "put", "word",
]  # fmt: skip

MAX_BYTES = 6000  # a file that is larger is too large

PATHS = (
    "a.py",
    "b.py",
    "sub/c.py",
    "notes.md",
    "sub/deep/d.txt",
    "book.ipynb",
    os.fsdecode(b"n\xff.py"),
    "app.js",
    "sub/e.py",
    "sub/deep/f.py",
    "src/g.py",
    "src/h.md",
)
IGNORES = ("*.md\n", "sub/\n", "a.py\n*.ipynb\n", "!a.py\n", "*\n", "")


# What is in a file.


def word(seed: int, part: int) -> str:
    """A word that stands in one part of one content, and is one term."""
    letters = "bdfgkmnp"
    return f"q{letters[seed // 8 % 8]}{letters[seed % 8]}{letters[part % 8]}k"


WORD = re.compile(r"\bq[bdfgkmnp]{3}k\b")


def content(path: str, seed: int, parts: int) -> bytes:
    """Text for the file at `path`, in which each of `parts` is a chunk with a word of its own."""
    words = [word(seed, part) for part in range(parts)]
    if path.endswith(".ipynb"):
        cells = [
            {
                "cell_type": "code",
                "metadata": {},
                "outputs": [],
                "source": f"def {each}():\n    1\n",
            }
            for each in words
        ]
        document = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        return json.dumps(document).encode()
    if path.endswith(".py"):
        return "\n\n".join(f"def {each}():\n    return 'common'\n" for each in words).encode()
    return "\n".join(f"{each} common\n" + "filler line\n" * 48 for each in words).encode()


# Edits.


def put(root: Path, path: str, data: bytes) -> None:
    """Have `data` be in the file at `path`, whatever is in its way."""
    target = _cleared(root, path)
    target.write_bytes(data)


def _cleared(root: Path, path: str) -> Path:
    """The place `path`, with nothing there and directories above."""
    *above, name = path.split("/")
    here = root
    for each in above:
        here /= each
        if here.is_symlink() or (here.exists() and not here.is_dir()):
            here.unlink()
        here.mkdir(exist_ok=True)
    _remove(here / name)
    return here / name


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def file_at(root: Path, path: str) -> Path | None:
    """The file at `path`, if it is one."""
    target = root / path
    return target if target.is_file() and not target.is_symlink() else None


@dataclass(frozen=True)
class Write:
    path: str
    seed: int
    parts: int

    def __call__(self, root: Path) -> None:
        put(root, self.path, content(self.path, self.seed, self.parts))


@dataclass(frozen=True)
class Delete:
    path: str

    def __call__(self, root: Path) -> None:
        _remove(_cleared(root, self.path))


@dataclass(frozen=True)
class Move:
    old: str
    new: str

    def __call__(self, root: Path) -> None:
        if self.old != self.new and (found := file_at(root, self.old)):
            data = found.read_bytes()
            target = _cleared(root, self.new)
            if found.is_file():  # it was not in the way
                found.rename(target)
            else:
                target.write_bytes(data)


@dataclass(frozen=True)
class Copy:
    old: str
    new: str

    def __call__(self, root: Path) -> None:
        if self.old != self.new and (found := file_at(root, self.old)):
            put(root, self.new, found.read_bytes())


@dataclass(frozen=True)
class Swap:
    """Two files change places: sizes, inodes and times are those of files that were there."""

    one: str
    other: str

    def __call__(self, root: Path) -> None:
        one, other = file_at(root, self.one), file_at(root, self.other)
        if one is not None and other is not None and one != other:
            beside = root / "beside.tmp"
            one.rename(beside)
            other.rename(one)
            beside.rename(other)


@dataclass(frozen=True)
class Touch:
    path: str

    def __call__(self, root: Path) -> None:
        if found := file_at(root, self.path):
            found.touch()


@dataclass(frozen=True)
class EditUnseen:
    """One word becomes another one in its place, and the time of the change is put back."""

    path: str
    seed: int

    def __call__(self, root: Path) -> None:
        if found := file_at(root, self.path):
            before = found.stat()
            new = word(self.seed, 0).encode()
            data = re.sub(rb"q[bdfgkmnp]{3}k", new, found.read_bytes())
            with found.open("r+b") as file:  # the same inode
                file.write(data)
            os.utime(found, ns=(before.st_atime_ns, before.st_mtime_ns))


@dataclass(frozen=True)
class Mode:
    path: str
    mode: int

    def __call__(self, root: Path) -> None:
        if found := file_at(root, self.path):
            found.chmod(self.mode)


@dataclass(frozen=True)
class Become:
    """A file, or what is in its place, becomes something else."""

    path: str
    kind: str

    def __call__(self, root: Path) -> None:
        _BECOME[self.kind](_cleared(root, self.path))


def _large(target: Path) -> None:
    target.write_bytes(content("x.py", 63, 1) * (MAX_BYTES // 10))


_BECOME: dict[str, Callable[[Path], object]] = {
    "empty": lambda target: target.write_bytes(b""),
    "blank": lambda target: target.write_bytes(b"\n\n"),
    "binary": lambda target: target.write_bytes(b"\x00\x01\x02" * 40),
    "too large": _large,
    "generated": lambda target: target.write_bytes(
        b"# Code generated by protoc. DO NOT EDIT.\n" + content("x.py", 62, 1)
    ),
    "in another encoding": lambda target: target.write_bytes(
        "# \u00fcber, fa\u00e7ade, na\u00efve\n".encode("latin-1") + content("x.py", 61, 2)
    ),
    "a link": lambda target: target.symlink_to("/etc/hostname"),
    "a link to nothing": lambda target: target.symlink_to("nowhere"),
    "a FIFO": lambda target: os.mkfifo(target),
    "a directory": lambda target: put(target.parent, f"{target.name}/in.py", b"qbbbk = 1\n"),
    "a checkout": lambda target: (target / ".git").mkdir(parents=True),
}
KINDS = tuple(_BECOME)


@dataclass(frozen=True)
class Ignore:
    name: str  # .gitignore, or our own
    lines: str

    def __call__(self, root: Path) -> None:
        if self.lines:
            put(root, self.name, self.lines.encode())
        else:
            _remove(root / self.name)


@dataclass(frozen=True)
class CheckOut:
    """A commit is checked out, over whatever was edited; nothing where there is no repository."""

    number: int

    def __call__(self, root: Path) -> None:
        if (root / ".git").is_dir():
            subprocess.run(
                ["git", "checkout", "--quiet", "--force", f"at{self.number}"],
                cwd=root,
                check=False,  # a directory may be in the way of a file
                capture_output=True,
            )


Edit = Write | Delete | Move | Copy | Swap | Touch | EditUnseen | Mode | Become | Ignore | CheckOut


def make_history(root: Path) -> None:
    """A repository with three commits, `at0` to `at2`, that have little in common."""
    git(root, "init", "--quiet", "--template=")
    for number in range(3):
        for place, path in enumerate(PATHS):
            if (place + number) % 3:
                put(
                    root, path, content(path, 40 + 3 * number + place % 2, 2 + (place + number) % 4)
                )
            else:
                Delete(path)(root)
        Ignore(".gitignore", ("*.md\n", "sub/\n", "")[number])(root)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", f"number {number}")
        git(root, "tag", f"at{number}")
