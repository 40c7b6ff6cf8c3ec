"""An index that goes on from run to run is what one built anew is, and costs what has changed
(FRESH-4, FRESH-5)."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from cidx_ref.index import making
from cidx_ref.index.plan import SegmentSize
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.own.edits import PATHS, Write, content, put
from cidx_ref.testing.own.inside.examples import examples
from cidx_ref.testing.own.lives import (
    Life,
    Run,
    no_probes,
    nothing_left_open,
    scratch,
    small_segments,
)
from cidx_ref.testing.own.turns import leave_something_dead, on_disk, overtake_a_merge

__all__ = ["CHECKS", "life_of"]

_FILES = 60


@contextmanager
def life_of(beginning: Path) -> Iterator[Life]:
    """A tree of a few files, which is indexed in small segments."""
    for number, path in enumerate(PATHS[:8]):
        put(beginning, path, content(path, 40 + number % 2, 2 + number % 4))
    with (
        nothing_left_open(),
        scratch() as place,
        small_segments(),
        Life(place, beginning, has_git=False) as life,
    ):
        yield life


def _edits_and_merges(root: Path) -> None:
    """What is gone is in no answer; merged, the index says what one built anew says."""
    with life_of(root) as life:
        leave_something_dead(life)
        life.check()
        life.compact()
        Write("a.py", 2, 3)(life.root)
        life.step(Run())


def _a_merge_waits(root: Path) -> None:
    """A merge that waits for a writer merges what that has published."""
    with life_of(root) as life:
        leave_something_dead(life)
        overtake_a_merge(life)


def _damaged(root: Path) -> None:
    """A run that meets damage of what was verified before it indexes all anew."""

    def every(sizes: Iterable[SegmentSize], *_: object) -> list[str]:
        return [size.id for size in sizes]

    with life_of(root) as life:
        life.run()
        life.reload()
        generation = life.snapshot.generation
        for path in life.project.index_directory.rglob("vectors.*"):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0x40
            path.write_bytes(data)
        Write("a.py", 2, 3)(life.root)
        with patch.object(making, "taken_in", every):
            life.run(verified=generation)
        life.check()


# What a run costs.


@contextmanager
def _large(beginning: Path) -> Iterator[Life]:
    """A tree with some files, indexed and loaded; segments are as large as they are."""
    for number in range(_FILES):
        Write(f"many/m{number:03}.py", number % 64, 3)(beginning)
    with (
        no_probes(),
        scratch() as place,
        Life(place, beginning, has_git=False) as life,
    ):
        life.run()
        life.reload()
        life.embedder.texts.clear()
        yield life


def _one_edit(root: Path) -> None:
    """A run for one file embeds, writes and hashes what is new; the rest is shared."""
    digest, hashed = hashlib.file_digest, Counter[int]()

    def noted(file: Any, name: str) -> Any:
        found = os.fstat(file.fileno())
        hashed[found.st_ino] += found.st_size
        return digest(file, name)

    with _large(root) as life:
        for seed in (1, 2):  # the second time the new segment takes in a small one
            before, old = on_disk(life.project), life.snapshot.manifest["segments"]
            hashed.clear()
            Write("many/m007.py", seed, 3)(life.root)
            with patch.object(hashlib, "file_digest", noted):
                life.run(verified=life.snapshot.generation)
            size = sum(before.values())
            again = sum(number for inode, number in hashed.items() if inode in before)
            life.reload()
            texts = len(life.embedder.texts)
            assert texts == 3, f"for three chunks of one file {texts} were embedded"
            life.embedder.texts.clear()
            segments = life.snapshot.manifest["segments"]
            added = [each["chunks"] for name, each in segments.items() if name not in old]
            assert added == [3], f"for three chunks the new segments have {added}"
            written = sum(
                number for inode, number in on_disk(life.project).items() if inode not in before
            )
            assert written < 0.5 * size, f"beside {size} bytes a run for one file writes {written}"
            assert again < 0.25 * size, f"of {size} bytes a run for one file hashes {again} again"
        first = life.snapshot.chunks.parts[0].segment
        Write("many/m008.py", 5, 3)(life.root)
        life.run()
        life.reload()
        parts = [part.segment for part in life.snapshot.chunks.parts]
        assert any(part is first for part in parts), "what is in memory was loaded again"


def _many_edits(root: Path) -> None:
    """After many edits the index is at most half as large again as what is alive."""
    random = Random(1)
    for number in range(30):
        Write(f"many/m{number:03}.py", number % 64, 3)(root)
    with (
        no_probes(),
        scratch() as place,
        small_segments(most=128, matrix=32, dead_share=5),
        Life(place, root, has_git=False) as life,
    ):
        life.run()
        for _ in range(25):
            Write(f"many/m{random.randrange(30):03}.py", random.randrange(64), 3)(life.root)
            life.run()
        life.reload()
        manifest = life.snapshot.manifest
        alive = manifest["counts"]["chunks"]
        dead = sum(each["chunks"] for each in manifest["segments"].values()) - alive
        assert dead <= alive / 2, f"beside {alive} chunks that are alive there are {dead} dead ones"


CHECKS: tuple[Check, ...] = (
    examples("own-edits", "FRESH-4", _edits_and_merges),
    examples("own-edits-in-depth", "FRESH-4", _a_merge_waits, _damaged, deep=True),
    examples("own-cost-of-a-run", "FRESH-5", _one_edit),
    examples("own-cost-of-many-runs", "FRESH-5", _many_edits, deep=True),
)
