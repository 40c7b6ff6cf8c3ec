"""An index run: what has changed since the live generation is indexed, and the next one published.

A daemon has it done in a child process (`worker`).  A run costs what has changed: what is new is
written to a new segment, together with small ones (`plan`); what is gone is dead in its old one;
all else the new generation has of the one before (`assembly`).  Larger merges are runs of their
own.  What was written is loaded and asked before it is published, so a full disk or a broken engine
costs the run and not the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from cidx_ref.errors import CidxError, IndexingError, UntrustedError
from cidx_ref.index.base import BaseFile, open_base
from cidx_ref.index.belongs import Rules
from cidx_ref.index.changes import Look
from cidx_ref.index.embed import LEXICAL, Embedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.making import Helpers, Making, is_worth_it
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.index.plan import SegmentSize, is_merge_due
from cidx_ref.index.port import Progress
from cidx_ref.index.recipe import recipe
from cidx_ref.index.scan import BINARY, TOO_LARGE, Listing, SourceTree, list_files
from cidx_ref.index.seen import Seen, SeenFiles
from cidx_ref.index.skipped import SkippedFiles, save_skipped
from cidx_ref.index.unwritable import not_written
from cidx_ref.index.watched import watched_folders
from cidx_ref.keys import STATE_DIRECTORY, Key
from cidx_ref.mounts import write_problem
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why

__all__ = ["bring_up_to_date"]

_MAX_UNREAD = 1_000  # of each kind
_MAX_MERGES = 64  # one after the other; what is due then, is due in the next run


def bring_up_to_date(
    project: Project,
    embedder: Embedder,
    *,
    full: bool = False,
    wait_s: float | None = None,
    max_file_size_bytes: int = 1_048_576,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    progress: Progress = lambda current, total, path, info: None,
    waiting: Callable[[], object] = lambda: None,
    scanning: Callable[[], object] = lambda: None,
    listed: Callable[[list[str] | None, list[str]], object] | None = None,
    announce: Callable[[str], object] = lambda generation: None,
    key: Key | None = None,
    keep_unverified: bool = False,
    verified: str = "",
    merge: bool = True,
    processes: int = 0,
    runtime: Runtime = SYSTEM,
) -> dict[str, Any]:
    """Publish a generation of what the project holds now, if that is not what the live one holds,
    and say what is in it.

    With `full`, everything is indexed anew. `waiting()` is called if another writer is at work,
    which is waited for, `wait_s` seconds at most; `scanning()` before files are looked at,
    `listed(folders, files)` (see `port.RunListener`) when it is known which they are, and
    `announce(generation)` just before a new one becomes live. `key` signs what is built (default:
    the account's); generations that it does not vouch for are removed in the end, except with
    `keep_unverified`, and named under `removed`; with it, an index of another model than the
    default is not replaced, either, for nobody has asked for that. `skipped` counts what was left
    out, by reason (`skipped.read_skipped` has the list); with `listed`, `unread` names files that
    were skipped for their size, with its `limit`, or as binary. `notes` says, a sentence each, what
    a user should know of the run. The files of the generation `verified` are known to be as they
    were written; those of any other are read, and if one is not, everything is indexed anew; so it
    is if one of `verified` turns out not to be. Merges that are due are done in the end; without
    `merge`, `merge_due` says so. Many files are indexed by so many `processes` at once, which have
    the configured embedder; 0: by this one. Raises `BusyError`, `IndexingError`, `UntrustedError`.
    """
    project.check()
    if (problem := write_problem(project)) is not None:
        raise IndexingError(f"cannot write the index: {problem}")
    try:
        project.create_directory(runtime)
        generations = Generations(project.generations, runtime, key=key)
        with generations.writing(wait_s, waiting) as lock_fd:
            _require_own_model(generations, embedder, is_asked=not keep_unverified)
            scanning()
            began = runtime.now().astimezone().isoformat(timespec="seconds")
            kind = recipe(max_file_size_bytes)
            seen = SeenFiles.load(project, generations.key, recipe=kind, runtime=runtime)
            with generations.scratch() as scratch:
                found = list_files(project.root, scratch, runtime, None, rules)
                if listed is not None:
                    folders = watched_folders(project.root, scratch, found, rules, runtime)
                    listed(folders, found.paths)
            job = _Job(
                project, generations, found, seen, embedder, max_file_size_bytes, progress, runtime
            )
            helpers = Helpers(processes, lock_fd, max_file_size_bytes) if processes else None
            run = partial(job.run, began, announce, helpers, merge=merge)
            with job.keeping():
                try:
                    report = run(full=full, verified=verified)
                except (CidxError, OSError):
                    # What was said to be as it was written may have been damaged since.  Whichever
                    # engine has met that, and however it has put it: the files tell.
                    if not verified or not _is_damaged(generations):
                        raise
                    report = run(full=True, verified="")
            removed = [] if keep_unverified else generations.remove_unverified()
            notes = [*found.notes, *_notes(generations.key)]
            try:
                save_skipped(project, job.skipped.as_dict(), generations.key, runtime)
            except (OSError, UntrustedError) as error:  # the index itself is live already
                notes.append(f"the list of skipped files was not kept: {why(error)}")
            try:
                seen.save(project, generations.key, runtime=runtime)
            except (OSError, UntrustedError) as error:
                notes.append(f"what was read was not kept, and will be read again: {why(error)}")
        unread = {} if listed is None else {"unread": job.unread()}
        return {**report, **unread, "removed": removed, "notes": notes}
    except OSError as error:
        raise not_written(error, project) from None


class _Job:
    """One run, from a listing to the next generation."""

    def __init__(
        self,
        project: Project,
        generations: Generations,
        listing: Listing,
        seen: SeenFiles,
        embedder: Embedder,
        max_bytes: int,
        progress: Progress,
        runtime: Runtime,
    ) -> None:
        self._root = project.root
        self._generations = generations
        self._listing = listing
        self._seen = seen
        self._embedder: Embedder = embedder
        self._recipe = {"id": embedder.id, "dim": embedder.dim}
        self._max_bytes = max_bytes
        self._tell = progress
        self._runtime = runtime
        self.skipped = SkippedFiles(listing.skipped)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Have what a costly embedder makes in the block kept, until a block ends well."""
        if not getattr(self._embedder, "costly", False):
            yield
            return
        # Not at the top: it loads numpy, which a run that finds nothing changed does not.
        from cidx_ref.index.keeping import Keeping, forget, place_of

        beside = self._generations.directory.parent
        place = place_of(beside, self._generations.key, self._embedder)
        with Keeping(self._embedder, place, self._runtime) as self._embedder:
            yield
        forget(beside, self._runtime)

    def run(
        self,
        began: str,
        announce: Callable[[str], object],
        helpers: Helpers | None,
        *,
        merge: bool,
        full: bool,
        verified: str,
    ) -> dict[str, Any]:
        """Publish what is to be published; what to report."""
        report = self._index(began, announce, helpers, full=full, verified=verified)
        for _ in range(_MAX_MERGES if merge else 0):
            if not report["merge_due"]:
                break
            from cidx_ref.index.merging import merge_once

            verified = report["generation"]  # what is new was checked, the rest before
            report |= merge_once(
                self._generations, self._embedder, announce, self._runtime, verified=verified
            )
        return report

    def _index(
        self,
        began: str,
        announce: Callable[[str], object],
        helpers: Helpers | None,
        *,
        full: bool,
        verified: str,
    ) -> dict[str, Any]:
        self.skipped = SkippedFiles(self._listing.skipped)
        generations = self._generations
        base = None if full else open_base(generations, self._recipe, verified)
        with base or nullcontext(), SourceTree(self._root) as tree:
            look = Look(tree, self._listing, self._seen, self._max_bytes)
            #: The files of the base that have not been met as they were.
            unmet = {} if base is None else dict(base.by_path)
            todo, size_bytes = [], 0
            for path, known in look.look():
                if not self._is_met(path, known, unmet):
                    todo.append(path)
                    size_bytes += look.size_bytes
            with Making(self._root, generations, base, self._embedder, self._runtime) as making:
                if helpers is not None and is_worth_it(size_bytes, len(todo)):
                    self._take_at_once(helpers, todo, unmet, making)
                else:
                    self._take(look, todo, unmet, making)
                if base is not None and not making.has_added and not unmet:
                    self._progress(len(self._listing.paths), "", "up to date")
                    return self._report(base.manifest, base.sizes(), changed=False)
                assembly = making.complete(unmet.values())
                manifest = assembly.finish(began, self.skipped.counts)
                assembly.check(self._embedder)
                generations.publish(assembly.generation, assembly.building, announce)
        self._progress(len(self._listing.paths), "", "done")
        return self._report(manifest, assembly.sizes(), changed=True)

    def _is_met(self, path: str, known: Seen | None, unmet: dict[str, BaseFile]) -> bool:
        """Whether nothing is to be done about a file, of which that is known without reading it."""
        if known is None:
            return False
        if known.reason:
            self.skipped.add(path, known.reason)
            return True
        return self._is_as_it_was(path, known.digest, unmet)

    def _is_as_it_was(self, path: str, digest: str, unmet: dict[str, BaseFile]) -> bool:
        if path not in unmet or unmet[path].file.digest != digest:
            return False
        del unmet[path]
        return True

    def _take(
        self, look: Look, todo: list[str], unmet: dict[str, BaseFile], making: Making
    ) -> None:
        """Read the files `todo`, and index what is not as it was."""
        done = len(self._listing.paths) - len(todo)
        for number, path in enumerate(todo, start=done):
            self._progress(number, path, "")
            found = look.read(path)
            if isinstance(found, str):
                self.skipped.add(path, found)
            elif not self._is_as_it_was(path, found.digest, unmet):
                making.add(found)

    def _take_at_once(
        self, helpers: Helpers, todo: list[str], unmet: dict[str, BaseFile], making: Making
    ) -> None:
        """The same, by several processes."""
        done = len(self._listing.paths) - len(todo)
        digests = [unmet[path].file.digest if path in unmet else "" for path in todo]
        for number, (taken, terms) in enumerate(
            making.taken(helpers, list(zip(todo, digests, strict=True)), self._listing.exempt), done
        ):
            self._progress(number, taken.path, "")
            if taken.status is not None:
                self._seen.put(taken.path, taken.status, taken.seen)
            if taken.reason:
                self.skipped.add(taken.path, taken.reason)
            elif taken.file is None:
                del unmet[taken.path]
            else:
                making.add_taken(taken.file, terms)

    def unread(self) -> dict[str, Any]:
        """What was skipped for its size, or as binary: see `daemon.indexing.Observer`."""
        return {
            "limit": self._max_bytes,
            "large": self.skipped.by_reason(TOO_LARGE, _MAX_UNREAD),
            "binary": self.skipped.by_reason(BINARY, _MAX_UNREAD),
        }

    def _progress(self, current: int, path: str, info: str) -> None:
        self._tell(current, len(self._listing.paths), path, info)

    def _report(
        self, manifest: dict[str, Any], sizes: list[SegmentSize], *, changed: bool
    ) -> dict[str, Any]:
        counts = manifest["counts"]
        return {
            "generation": manifest["generation"],
            "changed": changed,
            **counts,
            "skipped": dict(self.skipped.counts),
            "merge_due": is_merge_due(sizes, counts["chunks"], manifest["dead_documents"]),
        }


def _require_own_model(generations: Generations, embedder: Embedder, *, is_asked: bool) -> None:
    """Raise `IndexingError` where the live index is another model's, which may have been paid for:
    a daemon that somebody has started without the setting must not replace it unasked."""
    if is_asked:
        return
    try:
        directory = generations.path(generations.current())
        made_by = str(read_manifest(directory, generations.key)["embedder"]["id"])
    except (CidxError, OSError):
        return
    if made_by != embedder.id and not made_by.startswith(LEXICAL):
        raise IndexingError(
            f"the index was made with embedder {made_by!r}, this daemon has {embedder.id!r}: "
            "only `cidx-ref index` makes it anew"
        )


def _is_damaged(generations: Generations) -> bool:
    """Whether any file of the live generation is not what its manifest says."""
    try:
        directory = generations.path(generations.current())
        return bool(damaged_files(directory, read_manifest(directory, generations.key)))
    except (CidxError, OSError):
        return True


def _notes(key: Key) -> list[str]:
    if key.problem is None:
        return []
    note = (
        f"no lasting key ({key.problem}): this index is good for as long as the daemon lives; "
        f"name a directory of yours in {STATE_DIRECTORY}"
    )
    return [note]
