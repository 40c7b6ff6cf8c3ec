"""Building a generation of what a project holds, and publishing it: once, in this thread.

A daemon has it done in a child process (`worker`).  What was written is loaded and asked before it
is published, so a full disk or a broken engine costs the run and not the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import (
    CidxError,
    IndexingError,
    IndexUnusableError,
    NoIndexError,
    UntrustedError,
)
from cidx_ref.files import Directory, own_directory
from cidx_ref.index import languages
from cidx_ref.index.belongs import Rules
from cidx_ref.index.embed import Embedder
from cidx_ref.index.generated import why_by_text
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.manifest import FORMAT, damaged_files, read_manifest
from cidx_ref.index.port import Progress
from cidx_ref.index.scan import Listing, SourceFile, SourceTree, list_files
from cidx_ref.index.skipped import SkippedFiles, save_skipped
from cidx_ref.index.watched import watched_folders
from cidx_ref.keys import STATE_DIRECTORY, Key
from cidx_ref.mounts import write_problem
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime, Thread
from cidx_ref.steps import Step

if TYPE_CHECKING:
    from cidx_ref.index.chunk import Chunk
    from cidx_ref.index.snapshot import IndexSnapshot

__all__ = ["bring_up_to_date"]

_BATCH = 256  # chunks embedded at once


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
    listed: Callable[[list[str] | None], object] | None = None,
    announce: Callable[[str], object] = lambda generation: None,
    key: Key | None = None,
    keep_unverified: bool = False,
    runtime: Runtime = SYSTEM,
) -> dict[str, Any]:
    """Build and publish a generation of what the project holds now, and say what is in it.

    Without `full`, nothing is built when no file, and no part of the recipe, has changed since the
    live one. `scanning()` is called before files are looked at, `listed(folders)` (see
    `port.RunListener`) when it is known which they are, `announce(generation)` just before
    a new one becomes live. `key` signs what is built (default: the account's); generations that it
    does not vouch for are removed in the end, except with `keep_unverified`, and named under
    `removed`. `skipped` counts what was left out, by reason (`skipped.read_skipped` has the list).
    `notes` says, a sentence each, what a user should know of the run. Raises `BusyError`,
    `IndexingError`, `UntrustedError`.
    """
    project.check()
    if (problem := write_problem(project)) is not None:
        raise IndexingError(f"cannot write the index: {problem}")
    try:
        project.create_directory(runtime)
        generations = Generations(project.generations, runtime, key=key)
        with generations.writing(wait_s):
            scanning()
            with generations.scratch() as scratch:
                found = list_files(project.root, scratch, runtime, None, rules)
                if listed is not None:
                    listed(watched_folders(project.root, scratch, found, rules, runtime))
            job = _Job(project.root, found, embedder, max_file_size_bytes, progress, runtime)
            report = (None if full else job.unchanged(generations)) or job.build(
                generations, announce
            )
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
        root: Path,
        listing: Listing,
        embedder: Embedder,
        max_bytes: int,
        progress: Progress,
        runtime: Runtime,
    ) -> None:
        self._root = root
        self._embedder = embedder
        self._max_bytes = max_bytes
        self._progress = progress
        self._runtime = runtime
        self._listing = listing
        self._paths = listing.paths
        self.skipped = SkippedFiles(listing.skipped)

    def unchanged(self, generations: Generations) -> dict[str, Any] | None:
        """What to report of the live generation if it is up to date; else None."""
        from cidx_ref.index.store import FILES, read_files

        try:
            generation = generations.current()
            directory = generations.path(generation)
            manifest = read_manifest(directory, generations.key)
            # Before it is read: a flipped bit in it would be believed, or be an error that comes
            # again with each run.
            if FILES[0] in damaged_files(directory, manifest):
                return None
            known = {file["path"]: file["digest"] for file in read_files(directory)}
        except (NoIndexError, IndexUnusableError, UntrustedError, OSError):
            return None
        if manifest["embedder"] != self._recipe():
            return None
        for source in self._sources():
            if known.pop(source.path, None) != source.digest:
                return None
        if known or self._verify(directory, generation, generations.key) is not None:
            return None
        self._progress(len(self._paths), len(self._paths), "", "up to date")
        return self._report(manifest, changed=False)

    def build(self, generations: Generations, announce: Callable[[str], object]) -> dict[str, Any]:
        generation, building = generations.begin()
        with own_directory(building, runtime=self._runtime) as directory:
            contents = self._write(directory)
        self._runtime.step(Step.WRITTEN)
        manifest = {
            "format": FORMAT,
            "generation": generation,
            "created_at": self._runtime.now().astimezone().isoformat(timespec="seconds"),
            "embedder": self._recipe(),
            **contents,
            "skipped": dict(self.skipped.counts),
        }
        generations.seal(building, manifest)
        problem = self._verify(building, generation, generations.key)
        if problem is not None:
            raise IndexingError(f"the new index failed its check: {problem}")
        generations.publish(generation, building, announce)
        self._progress(len(self._paths), len(self._paths), "", "done")
        return self._report(manifest, changed=True)

    def _write(self, building: Directory) -> dict[str, Any]:
        """Write every file but the manifest; return what the manifest says of them."""
        from cidx_ref.index import snapshot
        from cidx_ref.index.fulltext import FullTextWriter
        from cidx_ref.index.semantic import SPACE, VectorWriter
        from cidx_ref.index.store import ChunkWriter

        guessed = 0
        vectors = VectorWriter(self._embedder.dim)
        feed = _VectorFeed(self._embedder, vectors.add, self._runtime)
        with (
            FullTextWriter(building, snapshot.FULLTEXT) as fulltext,
            ChunkWriter(building) as store,
        ):
            for source in self._sources(report=True):
                language, chunks = _cut(source)
                for number, piece in enumerate(chunks, start=store.chunk_count):
                    fulltext.add(
                        chunk=number,
                        file=store.file_count,
                        path=source.path,
                        name=piece.name,
                        text=piece.text,
                    )
                    feed.put(_embedded_text(source.path, piece.name, piece.text))
                store.add_file(source.path, language, source.digest, chunks)
                guessed += source.guessed
            feed.finish()
            vectors.save(building, snapshot.VECTORS)
            fulltext.commit()
            store.save()
        counts = {"files": store.file_count, "chunks": store.chunk_count, "guessed": guessed}
        return {"space": SPACE, "counts": counts}

    def _sources(self, report: bool = False) -> Iterator[SourceFile]:
        total = len(self._paths)
        self.skipped = SkippedFiles(self._listing.skipped)  # each pass counts anew
        with SourceTree(self._root) as tree:
            for number, path in enumerate(self._paths):
                if report:
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

    def _verify(self, directory: Path, generation: str, key: Key) -> str | None:
        """Load the generation as a daemon would, and find known chunks in it.

        Returns what is wrong.  hnswlib reports no error on a full disk, so this is the only proof
        that what was written can be read.
        """
        from cidx_ref.index.snapshot import IndexSnapshot

        try:
            with Lease(directory) as lease:
                snapshot = IndexSnapshot(generation, lease, self._embedder, key)
                try:
                    return next(iter(snapshot.unavailable.values()), None) or self._probe(snapshot)
                finally:
                    snapshot.close()
        except (CidxError, OSError) as error:
            return str(error)

    def _probe(self, snapshot: IndexSnapshot) -> str | None:
        import numpy as np

        count = len(snapshot.chunks)
        assert snapshot.semantic is not None
        for number in {0, count // 2, count - 1} if count else ():
            known = snapshot.chunks.read(number)
            text = _embedded_text(known.path, known.name, known.text)
            vector = self._embedder.embed_documents([text])[0]
            if not vector.any():
                continue
            # Its own place must hold its vector.  Through the graph, too, something must be found,
            # but not necessarily this chunk: many may be alike, and the search is approximate.
            only_this = np.arange(count) == number
            stored = snapshot.semantic.search(vector, 1, only_this)
            if not stored or not stored[0][1] >= 0.99 or not snapshot.semantic.search(vector, 1):
                return f"chunk {number} is not found by its own vector"
        return None

    def _recipe(self) -> dict[str, Any]:
        return {"id": self._embedder.id, "dim": self._embedder.dim}

    def _report(self, manifest: dict[str, Any], *, changed: bool) -> dict[str, Any]:
        return {
            "generation": manifest["generation"],
            "changed": changed,
            **manifest["counts"],
            "skipped": dict(self.skipped.counts),
        }


def _notes(key: Key) -> list[str]:
    if key.problem is None:
        return []
    note = (
        f"no lasting key ({key.problem}): this index is good for as long as the daemon lives; "
        f"name a directory of yours in {STATE_DIRECTORY}"
    )
    return [note]


def _cut(source: SourceFile) -> tuple[str, list[Chunk]]:
    """The language of a file, and the pieces of it."""
    from cidx_ref.index.chunk import chunk
    from cidx_ref.index.notebook import is_notebook, read_notebook

    notebook = read_notebook(source.text) if is_notebook(source.path) else None
    if notebook is not None:
        return notebook.language, notebook.chunks()
    language = languages.of(source.path, source.text.partition("\n")[0])
    return language, chunk(source.text, language)


def _embedded_text(path: str, name: str, text: str) -> str:
    """What is embedded of a chunk; the check must embed the same."""
    from cidx_ref.index.chunk import definition

    return f"{path} {definition(name)}\n{text}"


class _VectorFeed:
    """Embeds in batches, and links each batch in another thread: hnswlib releases the GIL for it,
    so the next files are read and cut at the same time."""

    def __init__(self, embedder: Embedder, add: Callable[[Any], None], runtime: Runtime) -> None:
        self._embedder = embedder
        self._add = add
        self._runtime = runtime
        self._pending: list[str] = []
        self._adding: Thread | None = None
        self._error: Exception | None = None

    def put(self, text: str) -> None:
        self._pending.append(text)
        if len(self._pending) >= _BATCH:
            self._flush()

    def finish(self) -> None:
        if self._pending:
            self._flush()
        self._join()

    def _flush(self) -> None:
        texts, self._pending = self._pending, []
        vectors = self._embed(texts)
        self._join()
        self._adding = self._runtime.thread(lambda: self._link(vectors), "vectors")

    def _embed(self, texts: list[str]) -> Any:
        import numpy as np

        try:
            vectors = np.asarray(self._embedder.embed_documents(texts), dtype=np.float32)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise IndexingError(f"embedder {self._embedder.id}: {reason}") from error
        wanted = (len(texts), self._embedder.dim)
        if vectors.shape != wanted:
            raise IndexingError(
                f"embedder {self._embedder.id}: vectors of shape {vectors.shape}, not {wanted}"
            )
        if not np.isfinite(vectors).all():
            raise IndexingError(f"embedder {self._embedder.id}: vectors that are not finite")
        return vectors

    def _join(self) -> None:
        if self._adding is not None:
            self._adding.join()
        if self._error is not None:
            raise IndexingError(f"embedder {self._embedder.id}: {self._error}")

    def _link(self, vectors: Any) -> None:
        try:
            self._add(vectors)
        except Exception as error:
            self._error = error
