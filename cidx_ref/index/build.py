"""An index run: what has changed since the live generation is indexed, and the next one published.

A daemon has it done in a child process (`worker`).  A run costs what has changed: what is new is
written to a new segment, together with small ones (`plan`); what is gone is dead in its old one;
all else the new generation has of the one before (`assembly`).  Larger merges are runs of their
own.  What was written is loaded and asked before it is published, so a full disk or a broken engine
costs the run and not the index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import IndexingError, UntrustedError
from cidx_ref.index.base import Base, BaseFile, open_base
from cidx_ref.index.belongs import Rules
from cidx_ref.index.embed import Embedder
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.generated import why_by_text
from cidx_ref.index.generation import Generations
from cidx_ref.index.plan import SegmentSize, is_merge_due, taken_in
from cidx_ref.index.port import Progress
from cidx_ref.index.scan import Listing, SourceFile, SourceTree, list_files
from cidx_ref.index.skipped import SkippedFiles, save_skipped
from cidx_ref.keys import STATE_DIRECTORY, Key
from cidx_ref.mounts import write_problem
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from cidx_ref.index.assembly import Assembly
    from cidx_ref.index.writing import SegmentSink

__all__ = ["bring_up_to_date"]


def bring_up_to_date(
    project: Project,
    embedder: Embedder,
    *,
    full: bool = False,
    wait_s: float | None = None,
    max_file_size_bytes: int = 1_048_576,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    progress: Progress = lambda current, total, path, info: None,
    scanning: Callable[[], object] = lambda: None,
    announce: Callable[[str], object] = lambda generation: None,
    key: Key | None = None,
    keep_unverified: bool = False,
    verified: str = "",
    merge: bool = True,
    runtime: Runtime = SYSTEM,
) -> dict[str, Any]:
    """Publish a generation of what the project holds now, if that is not what the live one holds,
    and say what is in it.

    With `full`, everything is indexed anew. `scanning()` is called before files are looked at,
    `announce(generation)` just before a new one becomes live. `key` signs what is built (default:
    the account's); generations that it does not vouch for are removed in the end, except with
    `keep_unverified`, and named under `removed`. `skipped` counts what was left out, by reason
    (`skipped.read_skipped` has the list). `notes` says, a sentence each, what a user should know of
    the run. The files of the generation `verified` are known to be as they were written; those of
    any other are read, and if one is not, everything is indexed anew. Merges that are due are done
    in the end; without `merge`, `merge_due` says so. Raises `BusyError`, `IndexingError`,
    `UntrustedError`.
    """
    project.check()
    if (problem := write_problem(project)) is not None:
        raise IndexingError(f"cannot write the index: {problem}")
    try:
        project.create_directory(runtime)
        generations = Generations(project.generations, runtime, key=key)
        with generations.writing(wait_s):
            scanning()
            began = runtime.now().astimezone().isoformat(timespec="seconds")
            with generations.scratch() as scratch:
                found = list_files(project.root, scratch, runtime, None, rules)
            job = _Job(project, found, embedder, max_file_size_bytes, progress, runtime)
            report = job.run(generations, began, announce, full=full, verified=verified)
            while merge and report["merge_due"]:
                from cidx_ref.index.merging import merge_once

                verified = report["generation"]  # what is new was checked, the rest before
                report |= merge_once(generations, embedder, announce, runtime, verified=verified)
            removed = [] if keep_unverified else generations.remove_unverified()
            notes = [*found.notes, *_notes(generations.key)]
            try:
                save_skipped(project, job.skipped.as_dict(), generations.key, runtime)
            except (OSError, UntrustedError) as error:  # the index itself is live already
                notes.append(f"the list of skipped files was not kept: {error}")
        return {**report, "removed": removed, "notes": notes}
    except OSError as error:
        raise IndexingError(f"cannot write the index: {error.strerror or error}") from None


class _Job:
    def __init__(
        self,
        project: Project,
        listing: Listing,
        embedder: Embedder,
        max_bytes: int,
        progress: Progress,
        runtime: Runtime,
    ) -> None:
        self._root = project.root
        self._embedder = embedder
        self._max_bytes = max_bytes
        self._progress = progress
        self._runtime = runtime
        self._listing = listing
        self._paths = listing.paths
        self.skipped = SkippedFiles(listing.skipped)

    def run(
        self,
        generations: Generations,
        began: str,
        announce: Callable[[str], object],
        *,
        full: bool,
        verified: str,
    ) -> dict[str, Any]:
        """Publish what is to be published; what to report."""
        recipe = {"id": self._embedder.id, "dim": self._embedder.dim}
        base = None if full else open_base(generations, recipe, verified)
        with base or nullcontext(), closing(self._sources()) as sources:
            changes = _Changes(base, sources)
            if base is not None and changes.are_none():
                self._progress(len(self._paths), len(self._paths), "", "up to date")
                return self._report(base.manifest, base.sizes(), changed=False)
            # Not before: a run that finds nothing changed loads no engine.
            from cidx_ref.index.assembly import Assembly

            with Assembly(generations, base, recipe, self._runtime) as assembly:
                self._write(changes, assembly)
                manifest = assembly.finish(began, self.skipped.counts)
                assembly.check(self._embedder)
            generations.publish(assembly.generation, assembly.building, announce)
        self._progress(len(self._paths), len(self._paths), "", "done")
        return self._report(manifest, assembly.sizes(), changed=True)

    def _write(self, changes: _Changes, assembly: Assembly) -> None:
        from cidx_ref.index.writing import SegmentSink

        with SegmentSink(assembly.new_segment, self._embedder, self._runtime) as sink:
            added = sum(_add(source, assembly, sink) for source in changes.sources())
            assembly.drop(changes.gone())
            assembly.merge(taken_in(assembly.sizes(), added), sink)
            sink.finish()

    def _sources(self) -> Generator[SourceFile]:
        total = len(self._paths)
        with SourceTree(self._root) as tree:
            for number, path in enumerate(self._paths):
                self._progress(number, total, path, "")
                found = self._checked(tree.read(path, self._max_bytes))
                if isinstance(found, str):
                    self.skipped.add(path, found)
                else:
                    yield found

    def _checked(self, found: SourceFile | str) -> SourceFile | str:
        """What was read, or the reason to leave it out, which its text may be."""
        if isinstance(found, str):
            return found
        reason = why_by_text(found.path, found.text)
        is_exempt = reason is not None and reason in self._listing.exempt.get(found.path, ())
        return found if reason is None or is_exempt else reason

    def _report(
        self, manifest: dict[str, Any], sizes: list[SegmentSize], *, changed: bool
    ) -> dict[str, Any]:
        return {
            "generation": manifest["generation"],
            "changed": changed,
            **manifest["counts"],
            "skipped": dict(self.skipped.counts),
            "merge_due": is_merge_due(
                sizes, manifest["counts"]["chunks"], manifest["dead_documents"]
            ),
        }


class _Changes:
    """What of the files that are found now is not in the base as it is.  For one pass."""

    def __init__(self, base: Base | None, sources: Iterator[SourceFile]) -> None:
        self._unmet = {} if base is None else dict(base.by_path)
        self._new: Iterator[SourceFile] = filter(self._is_new, sources)

    def _is_new(self, source: SourceFile) -> bool:
        known = self._unmet.get(source.path)
        if known is None or known.file.digest != source.digest:
            return True
        del self._unmet[source.path]
        return False

    def are_none(self) -> bool:
        """Whether there are none, neither new files nor gone ones.  Asked first."""
        first = next(self._new, None)
        if first is None:
            return not self._unmet
        self._new = chain([first], self._new)
        return False

    def sources(self) -> Iterator[SourceFile]:
        """The files that are new, or are not what they were."""
        yield from self._new

    def gone(self) -> Collection[BaseFile]:
        """The files of the base that are not, or not as they were, after all others were met."""
        return self._unmet.values()


def _add(source: SourceFile, assembly: Assembly, sink: SegmentSink) -> int:
    """Add a file to vectors and full text; of how many chunks it is."""
    from cidx_ref.index.analysis import terms_of_chunk
    from cidx_ref.index.cutting import cut

    language, chunks = cut(source)
    terms = [terms_of_chunk(source.path, chunk.name, chunk.text) for chunk in chunks]
    identity = assembly.next_file_id()
    file = StoredFile(identity, source.path, language, source.digest, source.guessed, len(chunks))
    sink.add(file, chunks, terms)
    assembly.add(file, terms)
    return len(chunks)


def _notes(key: Key) -> list[str]:
    if key.problem is None:
        return []
    note = (
        f"no lasting key ({key.problem}): this index is good for as long as the daemon lives; "
        f"name a directory of yours in {STATE_DIRECTORY}"
    )
    return [note]
