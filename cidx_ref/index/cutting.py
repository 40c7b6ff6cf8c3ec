"""A file as it is indexed: its language, the pieces that it is cut into, and their terms."""

from __future__ import annotations

from cidx_ref.index import languages
from cidx_ref.index.analysis import Terms, terms_of_file
from cidx_ref.index.chunk import MAX_PIECES, Chunk, chunk
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.notebook import is_notebook, read_notebook
from cidx_ref.index.scan import SourceFile

__all__ = ["cut", "indexed"]


def indexed(source: SourceFile, file_id: int) -> tuple[StoredFile, list[Chunk], list[Terms]]:
    """A file as segments and full text have it."""
    language, chunks = cut(source)
    terms = terms_of_file(source.path, chunks)
    file = StoredFile(file_id, source.path, language, source.digest, source.guessed, len(chunks))
    return file, chunks, terms


def cut(source: SourceFile) -> tuple[str, list[Chunk]]:
    """The language of a file, and the pieces of it."""
    notebook = read_notebook(source.text) if is_notebook(source.path) else None
    if notebook is not None and len(pieces := notebook.chunks()) <= MAX_PIECES:
        return notebook.language, pieces
    language = languages.told_by(source.path, source.text)
    return language, chunk(source.text, language, path=source.path)
