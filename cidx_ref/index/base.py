"""The generation that an index run goes on from: what is in it, read without an engine.

A run that finds nothing changed loads neither numpy nor an engine, which would take longer than
its scan.
"""

from __future__ import annotations

import stat
from typing import Any, NamedTuple

from cidx_ref.errors import IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.index.filelist import FILE_LIST, StoredFile, parse_files
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.manifest import (
    DEAD,
    FULLTEXT,
    GRAPH,
    damaged_files,
    is_intact,
    missized_files,
    read_dead,
    read_manifest,
    unnamed_files,
)
from cidx_ref.index.plan import SegmentSize
from cidx_ref.index.recipe import cutting_rules

__all__ = ["Base", "BaseFile", "open_base"]

_MAX_LIST_BYTES = 1 << 30


class BaseFile(NamedTuple):
    """A live file, and its place: its number in a segment."""

    segment: str
    number: int
    file: StoredFile


class Base:
    """A generation, held by a lease.  A context manager; for one thread."""

    def __init__(
        self, generation: str, lease: Lease, manifest: dict[str, Any], *, verified: bool
    ) -> None:
        """Unless it is `verified`, all its files are read, to see whether they are what the
        manifest says.  Raises `IndexUnusableError` if they are not, `UntrustedError` where
        something else lies among those of the full text."""
        self.generation = generation
        self.lease = lease
        self.manifest = manifest
        check = missized_files if verified else damaged_files
        if wrong := unnamed_files(manifest) or check(lease.files, manifest):
            raise IndexUnusableError(f"{next(iter(wrong))} is damaged")
        with lease.files.sub(FULLTEXT) as inner:
            # Not only what the manifest names: tantivy opens its locks by their names, too.
            for name in inner.names():
                inner.check(name, stat.S_IFREG)
        self._require_intact(DEAD)
        self.dead = read_dead(lease.files, manifest)
        self.files: dict[str, list[StoredFile]] = {}
        #: The live files, by path.
        self.by_path: dict[str, BaseFile] = {}
        for name in manifest["segments"]:
            self._read(name)

    def _read(self, name: str) -> None:
        path = f"{name}/{FILE_LIST}"
        self._require_intact(path)
        try:
            with self.lease.files.sub(name) as inner:
                listed = parse_files(inner.read(FILE_LIST, _MAX_LIST_BYTES))
        except (OSError, UntrustedError, ValueError, TypeError) as error:
            raise IndexUnusableError(f"{path}: {error}") from None
        self.files[name] = listed
        gone = set(self.dead.get(name, ()))
        for number, file in enumerate(listed):
            if number not in gone:
                self.by_path[file.path] = BaseFile(name, number, file)

    def _require_intact(self, name: str) -> None:
        if not is_intact(self.lease.files, self.manifest, name):
            raise IndexUnusableError(f"{name} is damaged")

    def sizes(self, dead: dict[str, list[int]] | None = None) -> list[SegmentSize]:
        """How large the segments are, if `dead` is what is dead in them."""
        dead = self.dead if dead is None else dead
        return [
            SegmentSize(
                name,
                described["chunks"],
                sum(self.files[name][number].chunks for number in dead.get(name, ())),
                described["vectors"] == GRAPH,
            )
            for name, described in self.manifest["segments"].items()
        ]

    def close(self) -> None:
        self.lease.close()

    def __enter__(self) -> Base:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_base(generations: Generations, recipe: dict[str, Any], verified: str) -> Base | None:
    """The live generation, if it can be gone on from: it was made here, with the same `recipe` and
    by the same rules, and is as it was written.

    `verified` is a generation the files of which need not be read to know that.
    """
    try:
        generation = generations.current()
        lease = Lease(generations.path(generation))
    except (NoIndexError, IndexUnusableError, UntrustedError, OSError):
        return None
    try:
        manifest = read_manifest(lease.files, generations.key)
        if manifest["embedder"] == recipe and manifest["rules"] == cutting_rules():
            return Base(generation, lease, manifest, verified=generation == verified)
    except (NoIndexError, IndexUnusableError, UntrustedError, OSError):
        pass
    except BaseException:
        lease.close()
        raise
    lease.close()
    return None
