"""Where a project is, where its files are, and the making of `.code-indexer/`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.errors import BadArgumentError

__all__ = ["DIRECTORY", "Project"]

DIRECTORY = ".code-indexer"


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
    def around(cls, directory: str | os.PathLike[str]) -> Project:
        """The project that `directory` lies in.

        That is the nearest ancestor that has a `.code-indexer/`, else the git root, else the
        directory itself.
        """
        start = cls.at(directory).root
        ancestors = (start, *start.parents)
        indexed = (root for root in ancestors if (root / DIRECTORY).is_dir())
        in_git = (root for root in ancestors if (root / ".git").exists())
        return cls(next(indexed, None) or next(in_git, start))

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
        return self.directory / "daemon.log"

    @property
    def generations(self) -> Path:
        return self.directory / "generations"

    def create_directory(self) -> Path:
        """Make `.code-indexer/`, which ignores itself in git; return it."""
        self.directory.mkdir(exist_ok=True)
        ignore = self.directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        return self.directory
