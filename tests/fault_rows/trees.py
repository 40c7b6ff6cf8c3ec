"""Rows: what may lie in a tree, and what may become of it while it is read.

Each case makes a tree with plain files in it, and with what is no plain file, indexes it, and looks
at what was indexed, what was left out, and why.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError
from cidx_ref.files import Directory
from cidx_ref.index import folders, scan
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.skipped import read_skipped
from cidx_ref.keys import account_key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import git
from fault_rows.disk import in_memory
from fault_rows.table import Place, Trial, mutant, row

#: A run of a small tree takes no longer than this, whatever lies in it.
_RUN_S = 20.0
_MAX_BYTES = 1 << 16


def _word(number: int) -> str:
    return "zz" + "".join("bcdfghjklm"[int(digit)] for digit in f"{number:06}")


def _plain(path: Path, number: int) -> None:
    path.write_text(f"def {_word(number)}():\n    return {number}\n")


# What is no plain file: each makes one, and says why it is left out ("" where it may be either).


def _fifo(path: Path, random: Random) -> str:
    os.mkfifo(path)
    return "not a regular file"


def _device(path: Path, random: Random) -> str:
    minor = random.choice((3, 5, 8))  # null, zero, random
    try:
        os.mknod(path, 0o20644, os.makedev(1, minor))
    except PermissionError:
        os.mkfifo(path)
    return "not a regular file"


def _socket(path: Path, random: Random) -> str:
    with socket.socket(socket.AF_UNIX) as made, Directory.open(path.parent) as above:
        made.bind(os.fspath(above.engine_path / "s"))  # no longer a name can be bound
        above.rename("s", path.name)
    return "not a regular file"


def _link(path: Path, random: Random) -> str:
    targets = ("/etc/passwd", "/dev/zero", "..", ".", path.name, "nowhere", "/proc/self/mem")
    path.symlink_to(random.choice(targets))
    return "symlink"


def _loop(path: Path, random: Random) -> str:
    other = path.with_name(f"back{random.randrange(1 << 40)}")
    other.symlink_to(path)
    path.symlink_to(other)
    return "symlink"


def _sparse(path: Path, random: Random) -> str:
    with path.open("wb") as file:
        file.truncate(1 << random.choice((17, 32, 40)))
    return "too large"


def _line(path: Path, random: Random) -> str:
    """One line: a little too long to be read, or just not."""
    path.write_bytes(
        b"x" * random.choice((_MAX_BYTES + 1, 50 << 20 if random.random() < 0.05 else 1))
    )
    return "too large" if path.stat().st_size > 1 else ""


def _zeros(path: Path, random: Random) -> str:
    path.write_bytes(random.choice((b"\0", b"a\0b", b"\x7fELF\0\0")))
    return "binary"


def _odd_text(path: Path, random: Random) -> str:
    texts = (
        *(b"", b"\n" * 9_000, b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[2J", b"(" * 60_000),
        *(b"\xff" * 3_000, "\u202e\u2066".encode(), b"'''" + b"\\" * 999, b" " * 65_000),
    )
    path.write_bytes(random.choice(texts))
    return ""


def _folder(path: Path, random: Random) -> str:
    path.mkdir()
    path.chmod(random.choice((0, 0o700)))
    return ""


def _deep(path: Path, random: Random) -> str:
    depth = random.choice((50, 199, 450))
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    name = path.name
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd, name = inner, "d" * random.choice((1, 1, 30))
    os.close(fd)
    return ""


KINDS: list[Callable[[Path, Random], str]] = [
    _fifo, _device, _socket, _link, _loop, _sparse, _line, _zeros, _odd_text, _folder, _deep,
]  # fmt: skip


def _name(random: Random, suffix: str) -> bytes:
    """A name of any bytes that a name may have."""
    kind = random.randrange(4)
    if kind == 0:
        return b"plain%d" % random.randrange(1 << 30) + suffix.encode()
    raw = {
        1: random.randbytes(random.randint(1, 40)),
        2: random.choice((b"-rf", b" ", b"\n", b"\\", b"*", b"[a]", b"?", b"!x", b"#y", b"a\rb",
                          b"\x1b[31m", "e\u0301".encode(), b"\xff\xfe", b"con", b'"', b"$(x)")),
        3: b"n" * random.choice((200, 240)),
    }[kind]  # fmt: skip
    return (
        raw.translate(None, b"/\0").strip(b".")
        + b"%d" % random.randrange(1 << 20)
        + suffix.encode()
    )


class _Tree:
    """A tree of its own, and what of it must be found, and must be left out for which reason."""

    def __init__(self, root: Path, random: Random, *, in_git: bool) -> None:
        root.mkdir()
        self.root = root
        self.right: dict[str, int] = {}
        self.wrong: dict[str, str] = {}
        if in_git:
            git(root, "init", "-q")
        for folder in (".", "a", "a/b"):
            (root / folder).mkdir(exist_ok=True)
            for _ in range(4):
                name = os.fsdecode(_name(random, ".py"))
                path = root / folder / name
                if not path.exists():
                    number = random.randrange(1 << 19)
                    _plain(path, number)
                    self.right[self._relative(path)] = number
        for make in random.choices(KINDS, k=5):
            path = root / random.choice(("a", "a/b")) / os.fsdecode(_name(random, ".txt"))
            if not os.path.lexists(path) and (reason := make(path, random)):
                self.wrong[self._relative(path)] = reason

    def _relative(self, path: Path) -> str:
        return os.fspath(path.relative_to(self.root))

    def run(self, **options: Any) -> dict[str, Any]:
        began = SYSTEM.monotonic()
        report = bring_up_to_date(
            Project.at(self.root), HashingEmbedder(), max_file_size_bytes=_MAX_BYTES, **options
        )
        took = SYSTEM.monotonic() - began
        assert took < _RUN_S, f"a run took {took:.1f} s"
        return report

    def check_found(self, random: Random, gone: Collection[str] = (), among: int = 4) -> None:
        """Some of the plain files are found, by the word that only they hold, and nothing is that
        is not in the tree."""
        service = CIDXDaemonService(self.root)
        try:
            for path in random.sample(sorted(self.right), min(among, len(self.right))):
                word = _word(self.right[path])
                hits = service.exposed_query_fts(str(self.root), word)["results"]
                is_found = path in [hit["path"] for hit in hits]
                assert is_found is (path not in gone), f"{path!r}: {hits}"
            outside = service.exposed_query_literal(str(self.root), "root:x:0:0")["results"]
            assert not outside, f"from outside of the tree: {outside[0]['path']!r}"
        finally:
            service.exposed_clear_cache()

    def check_left_out(self) -> None:
        told = read_skipped(Project.at(self.root), account_key())["files"]
        reasons = {each["path"]: each["reason"] for each in told}
        for path, reason in self.wrong.items():
            found = reasons.get(path)
            # What is neither a file nor a link is not listed: git does not see it either.
            is_right = found == reason or (found is None and reason == "not a regular file")
            assert is_right, f"{path!r}: {found}, not {reason}"

    def remove(self) -> None:
        with Directory.open(self.root.parent) as above:
            above.remove(self.root.name)
        assert not self.root.exists()


@row(
    "a tree holds FIFOs, devices, sockets, loops of links, deep folders, sparse files of a "
    "terabyte, lines of any length, names of any bytes",
    *("TRUST-1", "QRY-2"),
    cases=300,
    sample=8,
)
@contextmanager
def trees(place: Place) -> Iterator[Trial]:
    def check(path: Path, number: int) -> None:
        random = Random(f"trees {number}")
        in_git = number % 2 == 1
        tree = _Tree(path / f"t{number}", random, in_git=in_git)
        report = tree.run()
        assert report["files"] >= len(tree.right), report
        tree.check_left_out()
        tree.check_found(random)
        assert tree.run()["changed"] is False, "a run that finds nothing to do publishes"
        tree.remove()

    with in_memory() as path:
        yield Trial(partial(check, path))


@mutant("trees", "what a link leads to is read")
@contextmanager
def _follows() -> Iterator[None]:
    following = folders._OPEN_FILE & ~os.O_NOFOLLOW
    with (
        patch.object(folders, "_OPEN_FILE", following),
        patch("cidx_ref.index.scan.stat.S_ISLNK", lambda mode: False),
        patch("cidx_ref.index.scan.stat.S_ISREG", lambda mode: True),
    ):
        yield


@mutant("trees", "a file is read however large it is")
@contextmanager
def _reads_all() -> Iterator[None]:
    as_source = scan._as_source

    def read(path: str, data: bytes, max_bytes: int) -> Any:
        return as_source(path, data[: 1 << 10], max_bytes)

    with patch.object(scan, "_as_source", read):
        yield


# Changes beneath a run.


def _become_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"# more\n" * 20_000)


#: What becomes of a file, or of what it lies in.
CHANGES: list[Callable[[Path], object]] = [
    Path.unlink,
    lambda path: path.rename(path.with_name("moved.py")),
    _grow,
    lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, 1 << 40),
    _become_a_fifo,
    _become_a_link,
    _become_a_folder,
    lambda path: shutil.rmtree(path.parent),
    lambda path: path.parent.rename(path.parent.with_name("moved-folder")),
]


@row(
    "files vanish, grow without end, move and become something else while they are read",
    *("FRESH-3", "TRUST-1"),
    cases=300,
    sample=8,
)
@contextmanager
def changing_trees(place: Place) -> Iterator[Trial]:
    def check(path: Path, number: int) -> None:
        random = Random(f"changing {number}")
        tree = _Tree(path / f"c{number}", random, in_git=number % 4 == 1)
        if number % 2:
            tree.run()
            for each in tree.right:
                with (tree.root / each).open("a") as file:
                    file.write("# edited\n")

        def beneath(current: int, total: int, name: str, info: str) -> None:
            # Just before that file is read.
            if name and random.random() < 0.5:
                with suppress(OSError):  # its folder is gone already
                    possible = CHANGES if "/" in name else CHANGES[:-2]  # the root stays
                    random.choice(possible)(tree.root / name)

        with suppress(CidxError):  # one clear error: the next run does it
            tree.run(progress=beneath)
            tree.check_found(random, tree.right, among=0)
        report = tree.run()
        gone = {each for each in tree.right if _is_gone(tree.root / each)}
        tree.check_found(random, gone)
        assert report["files"] >= len(tree.right) - len(gone), report
        assert sorted(os.listdir(tree.root / ".code-indexer/generations"))[1:] == ["current"]
        tree.remove()

    with in_memory() as path:
        yield Trial(partial(check, path))


@mutant("changing-trees", "what is in the place of a file by now is read, though it is a link")
@contextmanager
def _follows_late() -> Iterator[None]:
    with patch.object(folders, "_OPEN_FILE", folders._OPEN_FILE & ~os.O_NOFOLLOW):
        yield


def _is_gone(path: Path) -> bool:
    """Whether what is at `path` now is not what was there, or more than is read."""
    try:
        found = path.lstat()
    except OSError:
        return True
    return path.is_symlink() or not path.is_file() or not 0 < found.st_size <= _MAX_BYTES


@mutant("changing-trees", "what a file was when it was listed counts")
@contextmanager
def _as_listed() -> Iterator[None]:
    read = scan.SourceTree.read_with_status
    known: dict[str, Any] = {}

    def remembered(self: scan.SourceTree, path: str, max_bytes: int) -> Any:
        if path not in known:
            known[path] = read(self, path, max_bytes)
        return known[path]

    with patch.object(scan.SourceTree, "read_with_status", remembered):
        yield


# Many files.


@row(
    "a tree of 200,000 files, and one line of 16 MB",
    *("FRESH-5", "QRY-2"),
    cases=2,
    sample=1,
    patience_s=900.0,
)
@contextmanager
def many_files(place: Place) -> Iterator[Trial]:
    def check(path: Path, number: int) -> None:
        count = 200_000 if number else 400
        root = path / f"many{number}"
        root.mkdir()
        for folder in range(count // 200):
            (root / f"d{folder}").mkdir()
            for each in range(200):
                name = root / f"d{folder}" / f"f{each}.txt"
                # Most are too many to be worth a text: nine of ten are images, by their bytes.
                is_text = each % 10 == 0
                name.write_bytes(
                    f"{_word(folder * 20 + each // 10)}\n".encode() if is_text else b"\0"
                )
        (root / "long.txt").write_bytes(
            b"words and numbers 123 " * (((16 << 20) - 99) // 22 if number else 9)
        )
        project = Project.at(root)
        report = bring_up_to_date(
            project, HashingEmbedder(), max_file_size_bytes=1 << 24, processes=2 if number else 0
        )
        assert report["files"] == count // 10 + 1, report
        assert report["skipped"] == {"binary": count * 9 // 10}, report["skipped"]
        began = SYSTEM.monotonic()
        again = bring_up_to_date(project, HashingEmbedder(), max_file_size_bytes=1 << 24)
        took = SYSTEM.monotonic() - began
        assert again["changed"] is False
        assert took < 30, f"a run that finds nothing to do took {took:.1f} s"
        service = CIDXDaemonService(root)
        try:
            hits = service.exposed_query_fts(str(root), _word(count // 10 - 1))["results"]
        finally:
            service.exposed_clear_cache()
        assert [hit["path"] for hit in hits] == [f"d{count // 200 - 1}/f190.txt"]

    # In a directory that is removed here: the process that waits for this one has others to hear.
    with in_memory() as path:
        yield Trial(partial(check, path))
