"""This package's daemon as `conformance.lifecycle` wants one: its commands, steps and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from cidx_ref.interpreter import python_command
from cidx_ref.project import Project
from cidx_ref.testing.conformance.lifecycle import Command, Target

__all__ = ["OwnTarget"]


class OwnTarget(Target):
    """The daemon and the writer of this checkout, with faults as `own.faulty` makes them."""

    start_points: ClassVar[Sequence[str]] = (
        *("lock opened", "claimed"),
        *("bound", "listening", "reachable"),
    )
    sweep_points: ClassVar[Sequence[str]] = ("swept:1", "swept:2")
    stop_points: ClassVar[Sequence[str]] = ("leaving", "unlinked")
    publish_points: ClassVar[Sequence[str]] = (
        *("sealed", "renamed", "linked", "published"),
        *("swept:1", "swept:2", "swept:3"),
    )
    is_fresh: ClassVar[bool] = True

    def start(self, root: Path) -> Command:
        """Starts a daemon in the background, and ends with status 0 once one accepts."""
        return python_command("cidx_ref", "start", "--project", str(root))

    def serve(self, root: Path, *, crash_at: str = "", term_at: str = "") -> Command:
        """A daemon in the foreground."""
        return self.command("serve", "--project", str(root), crash_at=crash_at, term_at=term_at)

    def build(self, root: Path, *, crash_at: str = "", full: bool = False) -> Command:
        """A writer of its own, which brings the index up to date, or with `full` makes it anew."""
        return self.command("build", str(root), *(["--full"] if full else []), crash_at=crash_at)

    def command(self, *arguments: str, crash_at: str = "", term_at: str = "") -> Command:
        """`arguments` as a command of `cidx_ref.testing.own.faulty`."""
        given = {"--crash-at": crash_at, "--term-at": term_at}
        faults = [part for pair in given.items() for part in pair if pair[1]]
        return python_command("cidx_ref.testing.own.faulty", *faults, "--", *arguments)

    def sockets(self, root: Path) -> list[str]:
        """The names in the project's directory that are a daemon's socket, or may become one."""
        return sorted(path.name for path in Project(root).directory.glob("daemon.sock*"))

    def halves(self, root: Path) -> list[str]:
        """What lies among the generations and is not a whole one, or not yet one."""
        entries = {entry.name: entry for entry in Project(root).generations.glob("*")}
        entries.pop("current", None)
        return sorted(
            name
            for name, entry in entries.items()
            if name.startswith(".") or not (entry / "manifest.json").is_file()
        )
