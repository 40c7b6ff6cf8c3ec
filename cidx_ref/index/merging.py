"""A merge: segments are written anew as one, without what is dead; or the full text is.

Nothing is found that was not found before, and nothing less, so a merge can wait, and can be given
up at any time: a newer change goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cidx_ref.index.analysis import terms_of_file
from cidx_ref.index.assembly import Assembly
from cidx_ref.index.base import Base, open_base
from cidx_ref.index.embed import Embedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.plan import due_merge, is_full_text_due, is_merge_due
from cidx_ref.index.unwritable import not_written
from cidx_ref.index.writing import SegmentSink
from cidx_ref.keys import Key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["merge_once", "merge_segments"]


def merge_once(
    generations: Generations,
    embedder: Embedder,
    announce: Callable[[str], object] = lambda generation: None,
    runtime: Runtime = SYSTEM,
    *,
    verified: str = "",
) -> dict[str, Any]:
    """Publish a generation in which one merge that is due has been done; what changes in the
    report of an index run.  Writers only.  `verified`: see `open_base`.  Raises `IndexingError`."""
    recipe = {"id": embedder.id, "dim": embedder.dim}
    base = open_base(generations, recipe, verified)
    if base is None:
        return {"merge_due": False}
    with base:
        before = base.manifest
        counts, dead_documents = before["counts"], before["dead_documents"]
        if not is_merge_due(base.sizes(), counts["chunks"], dead_documents):
            return {"generation": base.generation, "merge_due": False}
        with Assembly(generations, base, recipe, runtime) as assembly:
            if is_full_text_due(counts["chunks"], dead_documents):
                assembly.renew_fulltext()
                _add_all(base, assembly)
            with SegmentSink(assembly.new_segment, embedder, runtime) as sink:
                assembly.merge(due_merge(base.sizes()), sink)
                sink.finish()
            manifest = assembly.finish(before["created_at"], before["skipped"])
            assembly.check(embedder)
            generations.publish(assembly.generation, assembly.building, announce)
    due = is_merge_due(assembly.sizes(), counts["chunks"], manifest["dead_documents"])
    return {"generation": manifest["generation"], "merge_due": due}


def merge_segments(
    project: Project,
    embedder: Embedder,
    *,
    wait_s: float | None = None,
    waiting: Callable[[], object] = lambda: None,
    scanning: Callable[[], object] = lambda: None,
    announce: Callable[[str], object] = lambda generation: None,
    key: Key | None = None,
    verified: str = "",
    runtime: Runtime = SYSTEM,
) -> dict[str, Any]:
    """`merge_once`, as a run of its own; see `build.bring_up_to_date`.

    Raises `BusyError`, `IndexingError`, `UntrustedError`.
    """
    try:
        generations = Generations(project.generations, runtime, key=key)
        with generations.writing(wait_s, waiting):
            scanning()
            return merge_once(generations, embedder, announce, runtime, verified=verified)
    except OSError as error:
        raise not_written(error, project) from None


def _add_all(base: Base, assembly: Assembly) -> None:
    """Add all live chunks to the full text, from the texts that are stored."""
    for name in base.files:
        for file, chunks in assembly.stored(name):
            assembly.add_terms(file, terms_of_file(file.path, chunks))
