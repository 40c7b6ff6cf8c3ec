"""Where a project is, where its files are, and the making of `.code-indexer/`.

What lies in a project's directory may have come with a clone, so none of it is believed: which
root is taken depends on who owns it, and what is ours is opened by `Project.open` only.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.errors import BadArgumentError, UntrustedError
from cidx_ref.files import Directory, owner_name
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import escape

__all__ = ["DIRECTORY", "Project"]

DIRECTORY = ".code-indexer"
LOG, LOCK, SKIPPED = "daemon.log", "daemon.lock", "skipped.json"
#: What is ours in it, each with what it must be; anything else there belongs to other programs.
_OURS = {
    ".gitignore": stat.S_IFREG,
    "config.json": stat.S_IFREG,
    "daemon.lock": stat.S_IFREG,
    "daemon.log": stat.S_IFREG,
    "daemon.log.1": stat.S_IFREG,
    "daemon.log.2": stat.S_IFREG,
    "daemon.sock": stat.S_IFSOCK,
    "generations": stat.S_IFDIR,
    "skipped.json": stat.S_IFREG,
}
#: The full cidx's files: other programs may have a reason to read where these are.
_OF_CIDX = ("index", "tantivy_index")


def _warn(message: str) -> None:
    warnings.warn(escape(message), stacklevel=4)


@dataclass(frozen=True, slots=True)
class Project:
    """A repository, by its resolved root directory."""

    root: Path

    @classmethod
    def at(cls, directory: str | os.PathLike[str]) -> Project:
        """The project whose root is `directory`; `BadArgumentError` where that is no directory."""
        try:
            root = Path(directory).resolve(strict=True)
            if root.is_dir() and os.fspath(directory):  # "" is an unset variable, not a directory
                return cls(root)
        except (OSError, ValueError, RuntimeError):  # ValueError: an embedded NUL
            pass
        raise BadArgumentError(f"project: not a directory: {os.fspath(directory)!r}")

    @classmethod
    def around(
        cls,
        directory: str | os.PathLike[str],
        *,
        consent: bool = True,
        notice: Callable[[str], object] = _warn,
    ) -> Project:
        """The project that `directory` lies in.

        That is the nearest ancestor, itself included, that belongs to the user and has a
        `.code-indexer/`, or is the root of a git checkout; else the directory itself.  A root of
        somebody else's on the way is passed over, of which `notice` is told: what lies there
        would decide what is searched, and who answers.  With `consent` the directory was named by
        the user, and is taken from any owner; without, `UntrustedError` says how to name it.
        """
        start = cls.at(directory).root
        passed_over: list[str] = []
        for root in (start, *start.parents):
            if (mark := _mark(root)) is None:
                continue
            owner = _stranger(root, mark)
            if owner is None or (consent and root == start):
                for message in passed_over:
                    notice(message)
                return cls(root)
            passed_over.append(f"{root} belongs to {owner_name(owner)}, and is passed over")
        return cls._by_itself(start, passed_over, consent=consent, notice=notice)

    @classmethod
    def _by_itself(
        cls,
        start: Path,
        passed_over: list[str],
        *,
        consent: bool,
        notice: Callable[[str], object],
    ) -> Project:
        owner = start.stat().st_uid
        if not consent and owner != os.geteuid():
            who = passed_over[0].partition(", and")[0] if passed_over else ""
            who = who or f"{start} belongs to {owner_name(owner)}"
            raise UntrustedError(f"{who}: name it with --project DIR if it shall be searched")
        for message in passed_over:
            notice(message)
        return cls(start)

    @property
    def directory(self) -> Path:
        return self.root / DIRECTORY

    @property
    def config_path(self) -> Path:
        return self.directory / "config.json"

    @property
    def socket_path(self) -> Path:
        return self.directory / "daemon.sock"

    @property
    def log_path(self) -> Path:
        return self.directory / LOG

    @property
    def generations(self) -> Path:
        return self.directory / "generations"

    def open(self, *, create: bool = False, runtime: Runtime = SYSTEM) -> Directory:
        """`.code-indexer/`, opened, with nothing in it that must not be used.

        With `create` it is made if need be, ignores itself in git, and is closed to other users.
        Raises `FileNotFoundError`, `UntrustedError`, or another `OSError`.
        """
        with Directory.open(self.root, runtime) as root:
            directory = root.sub(DIRECTORY, create=create)
        try:
            for name, kind in _OURS.items():
                directory.check(name, kind)
            if create:
                _prepare(directory)
        except BaseException:
            directory.close()
            raise
        return directory

    def check(self) -> None:
        """Raise `UntrustedError` if something in `.code-indexer/` must not be used."""
        try:
            with suppress(FileNotFoundError):
                self.open().close()
        except OSError as error:
            raise UntrustedError(f"{error.filename}: {error.strerror}") from None

    def create_directory(self, runtime: Runtime = SYSTEM) -> Path:
        """Make `.code-indexer/`, which ignores itself in git; return it."""
        self.open(create=True, runtime=runtime).close()
        return self.directory


def _prepare(directory: Directory) -> None:
    if not any(directory.status(name) for name in _OF_CIDX):
        directory.make_private()
    if directory.status(".gitignore") is None:
        with suppress(FileExistsError):  # another starter was quicker
            directory.create(".gitignore", b"*\n")


def _mark(root: Path) -> os.stat_result | None:
    """What makes `root` the root of a project, if anything does: the entry itself, link or not."""
    for name in (DIRECTORY, ".git"):
        with suppress(OSError):
            found = (root / name).lstat()
            if name == ".git" or not stat.S_ISREG(found.st_mode):
                return found
    return None


def _stranger(root: Path, mark: os.stat_result) -> int | None:
    """The other user who made `root`, or the mark in it, a project; None if the user did both."""
    owners = (root.stat().st_uid, mark.st_uid)
    return next((owner for owner in owners if owner != os.geteuid()), None)
