"""Broken writers and readers of generations (WRITE-1 to WRITE-3, FRESH-4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cidx_ref.errors import NoIndexError
from cidx_ref.files import Directory, own_directory
from cidx_ref.index import build, generation
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.ours import OurIndex
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("WRITE-1", "two writers at once", needs_switches=True)
def writers_do_not_lock() -> Iterator[None]:
    """The writers' lock is one of this process only."""

    def try_lock(self: Generations) -> Directory:
        return own_directory(self.directory, create=True)

    with patch.object(Generations, "_try_lock", try_lock):
        yield


@mutant("WRITE-1", "two writers at once", needs_switches=True)
def lock_on_a_directory_that_is_gone() -> Iterator[None]:
    """The lock may be on a directory that was replaced before it was locked."""
    with patch.object(os.path, "samestat", lambda one, other: True):
        yield


@mutant("WRITE-2", "is live, and missing", needs_switches=True)
def live_before_it_is_there() -> Iterator[None]:
    """The link is switched first, and then the generation gets its name."""

    def publish(self: Generations, generation: str, building: Path, *_: object) -> None:
        link = self.directory / ".building-link"
        link.symlink_to(generation)
        link.replace(self.directory / "current")
        self._runtime.step("published")
        building.rename(self.path(generation))
        with own_directory(self.directory) as directory:
            self._sweep(directory)

    with patch.object(Generations, "publish", publish):
        yield


@mutant("WRITE-2", "is live, and not whole", needs_switches=True)
def swept_under_a_reader() -> Iterator[None]:
    """Readers hold no lease: what is replaced is removed while they read it."""

    def init(self: Lease, directory: Path, runtime: Any = None) -> None:
        self.directory = directory
        self.files = own_directory(directory)

    with patch.object(Lease, "__init__", init):
        yield


@mutant("WRITE-2", "a reader waited for a writer", needs_switches=True)
def readers_wait_for_writers() -> Iterator[None]:
    """Which generation is live is read under the writers' lock."""
    current = Generations.current

    def wait(self: Generations) -> str:
        while (locked := self._try_lock()) is None:
            self._runtime.sleep(0.02)
        locked.close()
        return current(self)

    with patch.object(Generations, "current", wait):
        yield


@mutant("WRITE-3", "no index yet", needs_switches=True)
def unlinked_and_then_linked() -> Iterator[None]:
    """Between removing the old link and making the new one, there is no index."""

    def publish(self: Generations, generation: str, building: Path, *_: object) -> None:
        building.rename(self.path(generation))
        link = self.directory / "current"
        link.unlink(missing_ok=True)
        self._runtime.step("renamed")
        link.symlink_to(generation)
        with own_directory(self.directory) as directory:
            self._sweep(directory)

    with patch.object(Generations, "publish", publish):
        yield


@mutant("WRITE-3", "is live, and not whole")
def built_in_place() -> Iterator[None]:
    """A new index is written over the old one, file by file."""
    begin = Generations.begin

    def over(self: Generations) -> tuple[str, Path]:
        try:
            live = self.current()
        except NoIndexError:
            return begin(self)
        return live, self.path(live)

    def publish(self: Generations, generation: str, building: Path, *_: object) -> None:
        if building != self.path(generation):
            building.rename(self.path(generation))
            (self.directory / "current").symlink_to(generation)

    create = Directory.create

    def write_over(self: Directory, name: str, data: bytes) -> None:
        self.remove(name)
        create(self, name, data)

    with (
        patch.object(Generations, "begin", over),
        patch.object(Generations, "publish", publish),
        patch.object(Directory, "create", write_over),
    ):
        yield


@mutant("WRITE-3", "half of it is left")
def half_of_a_run_that_failed_stays() -> Iterator[None]:
    """What a run has written that fails lies there until somebody writes again."""

    @contextmanager
    def building(self: Generations) -> Iterator[tuple[str, Path]]:
        yield self.begin()

    with patch.object(Generations, "building", building):
        yield


@mutant("FRESH-4")
def what_was_whole_once_is_taken_to_be_so() -> Iterator[None]:
    """A run that meets damage of what was verified before it fails, as does each one after it."""
    with (
        patch.object(build, "_is_damaged", lambda generations: False),
        patch.object(OurIndex, "_run_has_failed", lambda self: None),
    ):
        yield


@mutant("WRITE-3", "litter is left")
def litter_is_left() -> Iterator[None]:
    """Nobody clears up after a writer that died."""
    remove = generation._remove

    def keep(directory: Directory, name: str) -> None:
        if not name.startswith(".building-0"):
            remove(directory, name)

    with patch.object(generation, "_remove", keep):
        yield
