"""A file as it is indexed: its language, and the pieces that it is cut into."""

from __future__ import annotations

from cidx_ref.index import languages
from cidx_ref.index.chunk import Chunk, chunk
from cidx_ref.index.notebook import is_notebook, read_notebook
from cidx_ref.index.scan import SourceFile

__all__ = ["cut"]


def cut(source: SourceFile) -> tuple[str, list[Chunk]]:
    """The language of a file, and the pieces of it."""
    notebook = read_notebook(source.text) if is_notebook(source.path) else None
    if notebook is not None:
        return notebook.language, notebook.chunks()
    language = languages.of(source.path, source.text.partition("\n")[0])
    return language, chunk(source.text, language)
