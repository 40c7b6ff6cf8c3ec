"""A process that indexes files for an index run: one of several, so that all cores have work.

Segments do not depend on each other, so each of these processes writes its own.  It reads one line
of JSON, its job (`Job`), and answers with lines: a `block` of files is done; a `segment` is
complete; `done` or `error`.  The terms of a block's chunks, which all go into the one full text,
lie in a file.  It ends when its standard input does: so it dies with the process that began it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from cidx_ref.errors import CidxError, IndexingError
from cidx_ref.files import Directory, own_directory
from cidx_ref.index.changes import Look
from cidx_ref.index.cutting import indexed
from cidx_ref.index.embed import Embedder
from cidx_ref.index.embedders import configured
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.keeping import Keeping, Place
from cidx_ref.index.scan import Listing, SourceFile, SourceTree
from cidx_ref.index.seen import Seen, SeenFiles, Status
from cidx_ref.index.segment import SegmentWriter
from cidx_ref.index.writing import SegmentSink
from cidx_ref.runtime import SYSTEM

__all__ = ["Block", "Job", "Taken", "main"]

#: A path, the id that it gets, and the digest of the file that it is in the index, or "".
Task = tuple[str, int, str]


class Block(NamedTuple):
    """Some files, one after the other, and why the text of which does not leave it out."""

    number: int
    tasks: list[Task]
    exempt: dict[str, list[str]]


class Job(NamedTuple):
    """What a process is to do: the segments `first_segment`, and each one `stride` later, in the
    directory `building`; terms go to the directory `spool`."""

    root: str
    building: str
    spool: str
    embedder: str
    #: Where its vectors are kept, as `keeping.Place` has it; None: they are not.
    kept: list[str] | None
    max_bytes: int
    first_segment: int
    stride: int
    blocks: list[Block]


class Taken(NamedTuple):
    """What came of a file: `reason`, if it is left out; `file`, if it was not in the index as it
    is; and what to keep of it for later scans, unless `status` is None."""

    path: str
    status: Status | None
    seen: Seen
    reason: str
    file: StoredFile | None

    @classmethod
    def parse(cls, row: list[Any]) -> Taken:
        path, status, seen, reason, file = row
        return cls(
            path,
            None if status is None else Status(*status),
            Seen(*seen),
            reason,
            None if file is None else StoredFile(*file),
        )


class _Builder:
    def __init__(self, job: Job, embedder: Embedder, building: Directory, spool: Directory) -> None:
        self._job = job
        self._embedder = embedder
        self._building = building
        self._spool = spool
        self._next = job.first_segment

    def run(self) -> None:
        exempt = {
            path: frozenset(reasons)
            for block in self._job.blocks
            for path, reasons in block.exempt.items()
        }
        listing = Listing([], [], [], exempt)
        with (
            SourceTree(Path(self._job.root)) as tree,
            SegmentSink(self._new_segment, self._embedder) as sink,
        ):
            look = Look(tree, listing, SeenFiles(""), self._job.max_bytes)
            for block in self._job.blocks:
                self._take(block, look, sink)
            sink.finish()

    def _take(self, block: Block, look: Look, sink: SegmentSink) -> None:
        taken, spooled = [], []
        for path, file_id, digest in block.tasks:
            status, seen, found = look.take(path)
            reason, file = "", None
            if not isinstance(found, SourceFile):
                reason = found
            elif found.digest != digest:
                file, chunks, terms = indexed(found, file_id)
                sink.add(file, chunks, terms)
                spooled.append([file.id, terms])
            kept = None if status is None else Status.of(status)
            taken.append(Taken(path, kept, seen, reason, file))
        with self._spool.writer(f"{block.number}.json") as out:
            out.write(json.dumps(spooled).encode("ascii"))
        _say({"block": block.number, "taken": taken})

    @contextmanager
    def _new_segment(self) -> Iterator[SegmentWriter]:
        name = f"s{self._next:06d}-{os.urandom(3).hex()}"
        self._next += self._job.stride
        # One thread links: the other processes keep the other cores busy.
        with (
            self._building.make(name) as inner,
            SegmentWriter(inner, self._embedder.dim, threads=1) as writer,
        ):
            yield writer
            _say({"segment": name, "written": writer.save()})


def _say(message: dict[str, Any]) -> None:
    _said.write(json.dumps(message) + "\n")
    _said.flush()


#: Where the process that began this one reads; `main` has it to itself.
_said = sys.stdout


def _die_with_the_other_end() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> int:
    """Read a job, do it, and report it."""
    global _said
    # What an embedder prints must not come between the lines that are read.
    _said = os.fdopen(os.dup(1), "w", encoding="ascii")
    sys.stdout.flush()  # of what came before, as complaints
    os.dup2(2, 1)
    gc.set_threshold(1_000_000)  # as in `worker`
    line = sys.stdin.buffer.readline()
    try:
        job = Job(*json.loads(line))
        job = job._replace(blocks=[Block(*block) for block in job.blocks])
        SYSTEM.thread(_die_with_the_other_end, "parent watch")
        embedder = configured()
        if embedder.id != job.embedder:
            raise IndexingError(f"the embedder is {embedder.id!r}, not {job.embedder!r}")
        with (
            own_directory(Path(job.building)) as building,
            own_directory(Path(job.spool)) as spool,
            Keeping(embedder, Place(*job.kept)) if job.kept else nullcontext(embedder) as keeping,
        ):
            _Builder(job, keeping, building, spool).run()
    except CidxError as error:
        _say({"error": [error.kind, str(error)]})
        return 1
    except OSError as error:
        _say({"error": [IndexingError.kind, f"cannot write the index: {error.strerror}"]})
        return 1
    except Exception as error:  # a bug: its message may hold paths
        traceback.print_exc()
        _say({"error": [IndexingError.kind, f"{type(error).__name__}; see daemon.log"]})
        return 1
    _say({"done": True})
    return 0


if __name__ == "__main__":
    # Not through the interpreter's shutdown, which the thread that reads stdin might hold up.
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
