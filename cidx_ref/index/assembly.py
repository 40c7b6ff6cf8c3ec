"""A generation in the making: what it keeps of the one before, what is new, and its full text.

What is kept is not copied: a file of the new generation is the same file under a second name.  The
kernel counts the names, so that a segment leaves the disk with the last generation that has it.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cidx_ref.errors import CidxError, IndexingError, IndexUnusableError
from cidx_ref.files import Directory, own_directory
from cidx_ref.index.analysis import Terms, embedded_text
from cidx_ref.index.asking import failure
from cidx_ref.index.base import Base, BaseFile
from cidx_ref.index.embed import Embedder
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.fulltext import META, FullTextWriter, count_documents
from cidx_ref.index.generation import Generations
from cidx_ref.index.live import key_of
from cidx_ref.index.manifest import DEAD, FORMAT, GRAPH
from cidx_ref.index.plan import SegmentSize
from cidx_ref.index.recipe import cutting_rules
from cidx_ref.index.segment import Segment, SegmentWriter, Written
from cidx_ref.index.semantic import SPACE
from cidx_ref.index.snapshot import FULLTEXT, load_segment
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.writing import SegmentSink
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why
from cidx_ref.steps import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Assembly"]

#: The files of a full text that are written anew; all others are written once.
_REWRITTEN = (META, ".managed.json")


class Assembly:
    """The next generation after `base`, or the first one.  A context manager, for one thread.

    What has not been published when it is left is removed.
    """

    def __init__(
        self,
        generations: Generations,
        base: Base | None,
        recipe: Mapping[str, Any],
        runtime: Runtime = SYSTEM,
    ) -> None:
        """Begin it; writers only.  `recipe` is the embedder's `id` and `dim`."""
        self._generations = generations
        self._base = base
        self._recipe = dict(recipe)
        self._runtime = runtime
        before: Mapping[str, Any] = base.manifest if base is not None else {}
        self._kept: dict[str, Any] = dict(before.get("segments", {}))
        self._recorded: Mapping[str, Any] = before.get("files", {})
        self._next_file: int = before.get("next_file", 1)
        self._next_segment: int = before.get("next_segment", 1)
        self._dead_documents: int = before.get("dead_documents", 0)
        self._dead = {name: list(gone) for name, gone in base.dead.items()} if base else {}
        self._counts = Counter(before.get("counts", {}))
        self.written: dict[str, Written] = {}
        with ExitStack() as stack:
            self.generation, self.building = stack.enter_context(generations.building())
            #: What is open, until all is written.
            self._stack = stack.enter_context(ExitStack())
            within = own_directory(self.building, runtime=runtime)
            self._directory = self._stack.enter_context(within)
            self._whole = stack.pop_all()
        self._fulltext: FullTextWriter | None = None

    def __enter__(self) -> Assembly:
        return self

    def __exit__(self, *error: Any) -> None:
        self._whole.__exit__(*error)

    # What changes.

    def next_file_id(self) -> int:
        self._next_file += 1
        return self._next_file - 1

    @property
    def next_segment(self) -> int:
        return self._next_segment

    def include(self, written: Mapping[str, Written], next_segment: int) -> None:
        """Have segments that others have written into `building`."""
        self.written.update(written)
        self._next_segment = next_segment

    @contextmanager
    def new_segment(self, threads: int = -1) -> Iterator[SegmentWriter]:
        """Writes a segment of this generation."""
        name = f"s{self._next_segment:06d}-{secrets.token_hex(3)}"
        self._next_segment += 1
        with (
            self._directory.make(name) as inner,
            SegmentWriter(inner, self._recipe["dim"], threads) as writer,
        ):
            yield writer
            self.written[name] = writer.save()

    def add(self, file: StoredFile, terms: Sequence[Terms]) -> None:
        """Count a file that is added to a segment, and add it to the full text."""
        self._counts.update({"files": 1, "chunks": file.chunks, "guessed": file.guessed})
        self.add_terms(file, terms)

    def add_terms(self, file: StoredFile, terms: Sequence[Terms]) -> None:
        """Add a file to the full text."""
        for ordinal, each in enumerate(terms):
            self.fulltext.add(key=key_of(file.id, ordinal), file=file.id, terms=each)

    def drop(self, files: Iterable[BaseFile]) -> None:
        """Have these files be dead, in vectors and full text."""
        dropped = list(files)
        for each in dropped:
            self._dead.setdefault(each.segment, []).append(each.number)
            file = each.file
            self._counts.subtract({"files": 1, "chunks": file.chunks, "guessed": file.guessed})
        if dropped:
            self.fulltext.drop([each.file.id for each in dropped])
            self._forget_what_is_dead()

    def kept(self) -> list[SegmentSize]:
        """How large those segments of the base are that are kept, with what is dead by now."""
        every = [] if self._base is None else self._base.sizes(self._dead)
        return [size for size in every if size.id in self._kept]

    def sizes(self) -> list[SegmentSize]:
        """How large all segments are."""
        return self.kept() + [
            SegmentSize(name, written.chunks, 0, written.vectors == GRAPH)
            for name, written in self.written.items()
        ]

    def merge(self, names: Iterable[str], sink: SegmentSink) -> None:
        """Write what is alive in the segments `names` of the base anew."""
        for name in names:
            with closing(self._load(name)) as segment:
                sink.copy(segment, self._live_in(name, segment))
            self._dead.pop(name, None)
            del self._kept[name]

    def stored(self, name: str) -> Iterator[tuple[StoredFile, list[StoredChunk]]]:
        """The live files of the segment `name` of the base, with their chunks."""
        with closing(self._load(name)) as segment:
            store = segment.store
            for number in self._live_in(name, segment):
                yield store.files[number], [*map(store.read, store.chunks_of(number))]

    def _live_in(self, name: str, segment: Segment) -> list[int]:
        gone = set(self._dead.get(name, ()))
        return [number for number in range(len(segment.store.files)) if number not in gone]

    @property
    def fulltext(self) -> FullTextWriter:
        """Writes the full text, on from that of the base."""
        if self._fulltext is None:
            self._fulltext = self._begun(self._base)
        return self._fulltext

    def renew_fulltext(self) -> None:
        """Begin the full text anew: all live files must be added to it."""
        self._fulltext = self._begun(None)

    def _begun(self, base: Base | None) -> FullTextWriter:
        directory = self._stack.enter_context(self._directory.make(FULLTEXT))
        if base is not None:
            self._share(base, FULLTEXT, directory)
        return self._stack.enter_context(FullTextWriter(directory))

    # What becomes of it.

    def finish(self, created_at: str, skipped: Mapping[str, int]) -> dict[str, Any]:
        """Write all that is left, and seal it.  The manifest, which is `created_at` that time."""
        if self._fulltext is not None or self._base is None:  # of a project with no text, too
            self.fulltext.commit()
            self._dead_documents = _dead_documents(self.building / FULLTEXT / META)
        else:
            with self._directory.make(FULLTEXT) as inner:
                self._share(self._base, FULLTEXT, inner)
        for name in self._kept:
            with self._directory.make(name) as inner:
                assert self._base is not None
                self._share(self._base, name, inner)
        dead = {name: sorted(gone) for name, gone in self._dead.items() if gone}
        self._directory.create(DEAD, json.dumps(dead).encode("ascii"))
        self._runtime.step(Step.WRITTEN)
        manifest = {
            "format": FORMAT,
            "generation": self.generation,
            "created_at": created_at,
            "embedder": self._recipe,
            "rules": cutting_rules(),
            "space": SPACE,
            # Of what is counted first a `Counter` keeps the type, and a manifest has no bool.
            "counts": {name: int(self._counts[name]) for name in ("files", "chunks", "guessed")},
            "segments": {
                **self._kept,
                **{name: written._asdict() for name, written in self.written.items()},
            },
            "next_file": self._next_file,
            "next_segment": self._next_segment,
            "dead_documents": self._dead_documents,
            "skipped": dict(skipped),
        }
        self._stack.close()
        if self._base is not None:
            self._base.close()  # else the publish would not sweep it
        self._generations.seal(self.building, manifest, self._shared())
        return manifest

    def check(self, embedder: Embedder) -> None:
        """Load what is new, as a daemon would, and find known chunks in it.

        hnswlib reports no error on a full disk, so this is the only proof that what was written can
        be read.  Raises `IndexingError`.
        """
        try:
            within = own_directory(self.building, runtime=self._runtime)
            with within as made, made.sub(FULLTEXT) as inner:
                # tantivy would make it for others to write (`IndexSnapshot`).
                os.close(inner.open_for_append(".tantivy-meta.lock"))
            found = count_documents(self.building / FULLTEXT)
            if found != self._counts["chunks"]:
                raise IndexUnusableError(f"{found} documents, not {self._counts['chunks']}")
            for name, written in self.written.items():
                described, dim = written._asdict(), self._recipe["dim"]
                with closing(Segment(self.building / name, described, dim)) as segment:
                    if problem := segment.problem or _probe(segment, embedder):
                        raise IndexUnusableError(problem)
        except (CidxError, OSError) as error:
            raise IndexingError(f"the new index failed its check: {why(error)}") from None

    def _forget_what_is_dead(self) -> None:
        for name in [*self._kept]:
            assert self._base is not None
            if len(self._dead.get(name, ())) == len(self._base.files[name]):
                del self._kept[name]
                self._dead.pop(name, None)

    def _shared(self) -> dict[str, Any]:
        """What another generation has, too: whatever the base's manifest has of what is kept."""
        found = {}
        for name, recorded in self._recorded.items():
            folder, _, plain = name.rpartition("/")
            is_text = folder == FULLTEXT and (self._fulltext is None or plain not in _REWRITTEN)
            if (folder in self._kept or is_text) and (self.building / name).exists():
                found[name] = recorded
        return found

    def _share(self, base: Base, name: str, inner: Directory) -> None:
        prefix = f"{name}/"
        with base.lease.files.sub(name) as source:
            for each in self._recorded:
                if each.startswith(prefix):
                    inner.share(source, each.removeprefix(prefix))

    def _load(self, name: str) -> Segment:
        assert self._base is not None
        lease, dim = self._base.lease, self._recipe["dim"]
        segment = load_segment(lease.files, self._base.manifest, name, dim)
        if segment.problem:
            segment.close()
            raise IndexingError(segment.problem)
        return segment


def _probe(segment: Segment, embedder: Embedder) -> str | None:
    """What is wrong with the vectors of a segment, if anything is."""
    assert segment.vectors is not None
    count = len(segment.store)
    numbers = sorted({0, count // 2, count - 1} if count else ())
    known = [segment.store.read(number) for number in numbers]
    texts = [embedded_text(each.path, each.name, each.text) for each in known]
    try:
        vectors = _again(embedder, texts, segment.vectors_of(numbers)) if numbers else []
    except Exception as error:
        return f"embedder {embedder.id}: {failure(embedder, error)}"
    for number, vector in zip(numbers, vectors, strict=True):
        if not np.isfinite(vector).all():
            return f"chunk {number} has no vector"
        if not vector.any():
            continue
        # Its own place must hold its vector.  Through the graph, too, something must be found, but
        # not necessarily this chunk: many may be alike, and the search is approximate.
        stored = segment.vectors.rank(vector, 1, [number])
        if not stored or not stored[0][1] >= 0.99 or not segment.vectors.search(vector, 1):
            return f"chunk {number} is not found by its own vector"
    return None


def _again(
    embedder: Embedder, texts: Sequence[str], stored: NDArray[np.float32]
) -> Sequence[NDArray[np.float32]]:
    """The vectors of `texts` once more: of an embedder that is costly those that the run has kept.

    Where it has kept none, they are copies from a segment of before, which was checked when it was
    new: then what is `stored` shows that it can be read, and a merge needs no service.
    """
    if not getattr(embedder, "costly", False):
        return [*embedder.embed_documents(texts)]
    known = getattr(embedder, "known", lambda texts: [None] * len(texts))(texts)
    return [each if mine is None else mine for mine, each in zip(known, stored, strict=True)]


def _dead_documents(meta: Path) -> int:
    """How many documents of a full text are deleted and still counted."""
    segments = json.loads(meta.read_bytes())["segments"]
    return sum((each["deletes"] or {}).get("num_deleted_docs", 0) for each in segments)
