"""Many files at once: processes that index them (`builder`), and this one, which has the full text.

Files are dealt out in blocks, one process after the other, and what comes back is taken in the
order of the blocks: so the same files make the same index, whichever process is faster.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cidx_ref.errors import IndexingError, from_kind
from cidx_ref.files import own_directory
from cidx_ref.index.analysis import Terms
from cidx_ref.index.builder import Block, Job, Taken, Task
from cidx_ref.index.segment import Written
from cidx_ref.index.unwritable import how_it_died
from cidx_ref.interpreter import python_command, told_by

__all__ = ["Builders"]

_BLOCK_FILES = 64
_MAX_SPOOL_BYTES = 1 << 31


class Builders:
    """Processes that index files.  A context manager: they have ended when it is left."""

    def __init__(self, job: Job, count: int, lock_fd: int) -> None:
        """`job` says all but which blocks; `lock_fd` has the writers' lock, which the processes
        keep until they have ended: nobody else may write before."""
        self._job = job
        self._count = count
        self._lock_fd = lock_fd
        self._running: list[subprocess.Popen[bytes]] = []
        self.written: dict[str, Written] = {}
        #: The number that the next segment may have.
        self.next_segment = job.first_segment

    def __enter__(self) -> Builders:
        return self

    def __exit__(self, *error: Any) -> None:
        for process in self._running:
            process.kill()  # which has ended, if all went well
        for process in self._running:
            process.communicate()

    def take(
        self, tasks: Sequence[Task], exempt: Mapping[str, frozenset[str]]
    ) -> Iterator[tuple[Taken, list[Terms]]]:
        """What comes of each of `tasks`, in their order, with the terms of its chunks.

        Raises the error of a process, `IndexingError` if one died.
        """
        blocks = [
            _block(number, tasks[start : start + _BLOCK_FILES], exempt)
            for number, start in enumerate(range(0, len(tasks), _BLOCK_FILES))
        ]
        for place in range(self._count):
            self._start(place, blocks[place :: self._count])
        for block in blocks:
            message = self._next(self._running[block.number % self._count], "block")
            taken = [Taken.parse(row) for row in message["taken"]]
            terms = self._spooled(block.number)
            for each in taken:
                yield each, terms.get(each.file.id, []) if each.file is not None else []
        for process in self._running:
            self._next(process, "done")

    def _start(self, place: int, blocks: list[Block]) -> None:
        first = self._job.first_segment + place
        job = self._job._replace(first_segment=first, stride=self._count, blocks=blocks)
        command, environment = python_command("cidx_ref.index.builder")
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd="/",
            pass_fds=[self._lock_fd],
        )
        self._running.append(process)
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(job).encode("ascii") + b"\n")
            process.stdin.flush()
        except BrokenPipeError:  # it has died, which shows when it is to be read
            pass

    def _next(self, process: subprocess.Popen[bytes], kind: str) -> dict[str, Any]:
        """The next message of that kind; what comes before it is noted."""
        assert process.stdout is not None
        for line in process.stdout:
            if (message := told_by(line)) is None:
                continue
            if "error" in message:
                raise from_kind(*message["error"])
            if "segment" in message:
                name = message["segment"]
                self.written[name] = Written(*message["written"])
                self.next_segment = max(self.next_segment, int(name[1:].partition("-")[0]) + 1)
            if kind in message:
                return message
        raise IndexingError(f"an indexing process {how_it_died(process.wait())}")

    def _spooled(self, number: int) -> dict[int, list[Terms]]:
        name = f"{number}.json"
        with own_directory(Path(self._job.spool)) as spool:
            rows = json.loads(spool.read(name, _MAX_SPOOL_BYTES))
            spool.unlink(name)
        return {file_id: [Terms(*each) for each in terms] for file_id, terms in rows}


def _block(number: int, tasks: Sequence[Task], exempt: Mapping[str, frozenset[str]]) -> Block:
    of_these = {path: sorted(exempt[path]) for path, _, _ in tasks if path in exempt}
    return Block(number, list(tasks), of_these)
