"""The generations on a real file system: threads stand for processes, as a `flock` keeps out each
that opened the file itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from errno import ENOSPC
from pathlib import Path
from typing import Any
from weakref import finalize

from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.manifest import FORMAT, damaged_files, read_manifest
from cidx_ref.keys import KEY_BYTES, Key
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.scenarios.common import SCRATCH, Killed

_KEY = Key(bytes(KEY_BYTES))


class _OnDisk(Scenario):
    """A project with one published generation."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        root = tempfile.mkdtemp(prefix="cidx-", dir=SCRATCH)
        # Also where a mutant does not let this object be made.
        self._remove_files = finalize(self, shutil.rmtree, root, ignore_errors=True)
        self.directory = Path(root, "generations")
        self.write()
        self.began = runtime.now()

    def write(self) -> str:
        """What an index run does, with one small file for an index."""
        generations = Generations(self.directory, self.runtime, key=_KEY)
        with generations.writing(), self.alone():
            generation, building = generations.begin()
            (building / "chunks").write_text(generation)
            self.runtime.step("written")
            generations.seal(building, _manifest(generation))
            generations.publish(generation, building)
        return generation

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield

    def read(self) -> str:
        """What a load does: the generation that it saw, whole."""
        generations = Generations(self.directory, self.runtime, key=_KEY)
        while True:
            generation = generations.current()
            self.runtime.step(f"has read that {generation} is live")
            try:
                with Lease(generations.path(generation), self.runtime) as lease:
                    manifest = read_manifest(lease.files, _KEY)
                    self.runtime.step("has read the manifest")
                    assert manifest["generation"] == generation
                    damaged = damaged_files(lease.files, manifest)
                    assert not damaged, f"{generation} is live, and not whole: {damaged}"
                    return generation
            except FileNotFoundError:
                assert generations.current() != generation, f"{generation} is live, and missing"

    def check(self) -> None:
        """The live generation is whole, and once nobody is at work nothing else is left."""
        live = self.read()
        Generations(self.directory, self.runtime, key=_KEY).sweep()
        assert sorted(os.listdir(self.directory)) == sorted([live, "current"]), "litter is left"

    def close(self) -> None:
        self._remove_files()


class TwoWriters(_OnDisk):
    """Two processes index: one after the other, and both are published."""

    promises = frozenset({"WRITE-1"})

    def __init__(self, runtime: Scheduler) -> None:
        self._writing: list[str] = []
        self.written: list[str] = []
        super().__init__(runtime)

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._writing.append("writer")
        assert len(self._writing) == 1, "two writers at once"
        yield
        assert len(self._writing) == 1, "two writers at once"
        self._writing.pop()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._write, "other": self._write}

    def _write(self) -> None:
        self.written.append(self.write())

    def check(self) -> None:
        super().check()
        assert self.read() == max(self.written)


class ReplacedDirectory(TwoWriters):
    """The directory of generations is removed, by somebody who has its lock, while two processes
    are about to index: they do not get in at once by a lock on a directory that is gone."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {**super().actors(), "remover": self._remove}

    def _remove(self) -> None:
        with Generations(self.directory, self.runtime, key=_KEY).writing():
            shutil.rmtree(self.directory)

    def check(self) -> None:
        if self.directory.exists():  # it was not the remover who came last
            _OnDisk.check(self)


class WriterAndReader(_OnDisk):
    """A generation is published while another process loads."""

    promises = frozenset({"WRITE-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"reader": self._read, "writer": self.write}

    def _read(self) -> None:
        seen = [self.read(), self.read()]
        assert seen == sorted(seen), f"went back in time: {seen}"
        # For a removal under way, perhaps, but not for the lock that a writer holds all along: that
        # is polled more rarely.
        waited = self.runtime.now() - self.began
        assert waited < timedelta(seconds=0.02), "a reader waited for a writer"


class DyingWriter(_OnDisk):
    """A writer is killed between any two of its steps, while another process loads."""

    promises = frozenset({"WRITE-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        for step in (
            *("begun", "written", "unsealed", "sealed"),
            *("renamed", "linked", "published", "half removed", "swept"),
        ):
            runtime.at(step, self._may_die)

    def _may_die(self) -> None:
        if self.runtime.current_thread == "writer" and self.runtime.branch("is killed"):
            raise Killed

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"writer": self._write, "reader": self.read}

    def _write(self) -> None:
        with suppress(Killed):
            self.write()

    def check(self) -> None:
        self.read()
        # The next writer finds nothing in its way, and clears up.
        assert self.write() == self.read()
        super().check()


class FullDisk(_OnDisk):
    """The disk is full at some step of a writer, which lives: nothing that it has written stays."""

    promises = frozenset({"WRITE-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        for step in ("written", "unsealed", "sealed", "renamed", "linked", "published"):
            runtime.at(step, self._may_be_full)

    def _may_be_full(self) -> None:
        if self.runtime.branch("the disk is full"):
            raise OSError(ENOSPC, os.strerror(ENOSPC))

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"writer": self._write}

    def _write(self) -> None:
        generations = Generations(self.directory, self.runtime, key=_KEY)
        with suppress(OSError), generations.writing(), generations.building() as (name, building):
            (building / "chunks").write_text(name)
            self.runtime.step("written")
            generations.seal(building, _manifest(name))
            generations.publish(name, building)

    def check(self) -> None:
        left = sorted(os.listdir(self.directory))
        assert left == sorted([self.read(), "current"]), f"half of it is left: {left}"


def _manifest(generation: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "generation": generation,
        "created_at": "2026-01-01T00:00:00+00:00",
        "embedder": {"id": "none", "dim": 1},
        "rules": "0" * 32,
        "space": "none",
        "counts": {"files": 1, "chunks": 1, "guessed": 0},
        "segments": {},
        "next_file": 1,
        "next_segment": 1,
        "dead_documents": 0,
        "skipped": {},
    }
