"""The store of vectors under the names by which the story's code asks for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cidx_ref.errors import IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.check import checked_graph
from cidx_ref.index.cidx.meta import DamagedError
from cidx_ref.index.semantic import load_graph
from cidx_ref.shown import why

__all__ = ["FilesystemVectorStore"]

_MAX_BYTES = 1 << 37


class FilesystemVectorStore:
    """The vectors that the full cidx keeps for the project at `project_path`.

    Who makes one names the project, and so needs no adoption; what lies there is checked all the
    same, before it is loaded.
    """

    def __init__(self, project_path: Path | str, model: str | None = None) -> None:
        """`model`: whose collection is meant; None: the one with most vectors."""
        self.project_path = Path(project_path)
        self._model = model

    def _load_hnsw_index(self) -> Any:
        """The graph, as hnswlib has it: `knn_query` gives labels and distances.

        Raises `NoIndexError`, `IndexUnusableError`.
        """
        return self._with_collection(_loaded)

    def _load_id_mapping(self) -> dict[int, str]:
        """By label, the id of the point.  Raises `NoIndexError`, `IndexUnusableError`."""
        mapping: dict[int, str] = self._with_collection(lambda c: checked_graph(c)[1].ids)
        return mapping

    def _with_collection(self, do: Any) -> Any:
        try:
            found = tree.look(self.project_path, self._model)
            if found is not None and "semantic" in found.refused:
                raise UntrustedError(found.refused["semantic"])
            if found is None or found.collection is None:
                raise NoIndexError("there are no vectors of the full cidx here")
            with tree.opened(self.project_path, tree.INDEX, found.collection) as collection:
                return do(collection)
        except (DamagedError, OSError, UntrustedError) as error:
            raise IndexUnusableError(f"the full cidx's index: {why(error)}") from None


def _loaded(collection: Directory) -> Any:
    graph, described, _ = checked_graph(collection)
    fd = tree.open_quietly(collection, tree.GRAPH, _MAX_BYTES)
    try:
        return load_graph(Path(f"/proc/self/fd/{fd}"), described.dim, len(graph))
    finally:
        os.close(fd)
