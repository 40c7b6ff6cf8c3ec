"""What an index run writes, here or in other processes: begun when there is something to write.

A run that finds nothing changed makes nothing, and loads no engine: so nothing that does is
imported at the top.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidx_ref.index.base import Base, BaseFile
from cidx_ref.index.embed import Embedder
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.generation import Generations
from cidx_ref.index.plan import taken_in
from cidx_ref.index.scan import SourceFile
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from cidx_ref.index.analysis import Terms
    from cidx_ref.index.assembly import Assembly
    from cidx_ref.index.builder import Taken
    from cidx_ref.index.writing import SegmentSink

__all__ = ["Helpers", "Making", "is_worth_it"]

_MANY_BYTES = 4 << 20  # of files to be read: some seconds of work
_MANY_FILES = 128


def is_worth_it(size_bytes: int, files: int) -> bool:
    """Whether it pays to start processes, each of which takes a third of a second to begin."""
    return size_bytes >= _MANY_BYTES and files >= _MANY_FILES


@dataclass(frozen=True, slots=True)
class Helpers:
    """So many processes, for files of at most `max_bytes`; `lock_fd` has the writers' lock."""

    count: int
    lock_fd: int
    max_bytes: int


class Making:
    """The next generation after `base`.  A context manager, for one thread.

    What has not been published when it is left is removed.
    """

    def __init__(
        self,
        root: Path,
        generations: Generations,
        base: Base | None,
        embedder: Embedder,
        runtime: Runtime = SYSTEM,
    ) -> None:
        self._root = root
        self._generations = generations
        self._base = base
        self._embedder = embedder
        self._runtime = runtime
        self._stack = ExitStack()
        self._begun: tuple[Assembly, SegmentSink] | None = None
        self._added = 0
        #: Whether any file has been added.
        self.has_added = False

    def __enter__(self) -> Making:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, source: SourceFile) -> None:
        """Index a file."""
        from cidx_ref.index.cutting import indexed

        assembly, sink = self._begin()
        file, chunks, terms = indexed(source, assembly.next_file_id())
        sink.add(file, chunks, terms)
        self.add_taken(file, terms)

    def taken(
        self,
        helpers: Helpers,
        files: Sequence[tuple[str, str]],
        exempt: Mapping[str, frozenset[str]],
    ) -> Iterator[tuple[Taken, list[Terms]]]:
        """What comes of `files`, each a path and the digest of what is in the index, or "", in
        other processes; what `add_taken` must be told of."""
        from cidx_ref.index.builder import Job
        from cidx_ref.index.parallel import Builders

        assembly, _ = self._begin()
        tasks = [(path, assembly.next_file_id(), digest) for path, digest in files]
        with self._generations.scratch() as spool:
            job = Job(
                root=str(self._root),
                building=str(assembly.building),
                spool=str(spool),
                embedder=self._embedder.id,
                kept=getattr(self._embedder, "place", None),
                max_bytes=helpers.max_bytes,
                first_segment=assembly.next_segment,
                stride=helpers.count,
                blocks=[],
            )
            with Builders(job, helpers.count, helpers.lock_fd) as builders:
                yield from builders.take(tasks, exempt)
            assembly.include(builders.written, builders.next_segment)

    def add_taken(self, file: StoredFile, terms: Sequence[Terms]) -> None:
        """Add a file that is in a segment to the full text."""
        self._begin()[0].add(file, terms)
        self._added += file.chunks
        self.has_added = True

    def complete(self, gone: Collection[BaseFile]) -> Assembly:
        """Drop what is gone, and write small segments anew together with what was added."""
        assembly, sink = self._begin()
        assembly.drop(gone)
        # What other processes have written is complete, and takes nothing in.
        alone = 0 if assembly.written else self._added
        assembly.merge(taken_in(assembly.kept(), alone), sink)
        sink.finish()
        return assembly

    def _begin(self) -> tuple[Assembly, SegmentSink]:
        if self._begun is None:
            from cidx_ref.index.assembly import Assembly
            from cidx_ref.index.writing import SegmentSink

            recipe = {"id": self._embedder.id, "dim": self._embedder.dim}
            assembly = self._stack.enter_context(
                Assembly(self._generations, self._base, recipe, self._runtime)
            )
            sink = SegmentSink(assembly.new_segment, self._embedder, self._runtime)
            self._begun = assembly, self._stack.enter_context(sink)
        return self._begun
