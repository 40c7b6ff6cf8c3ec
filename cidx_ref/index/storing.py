"""What is stored of the chunks of one segment, and how it is written.

Three files: `files.json` (one array a file), `chunks.npy` (one row a chunk) and `chunks.bin`: of
each chunk its name, what it defines, and, between line ends, its text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from cidx_ref.files import Directory
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.filelist import FILE_LIST, StoredFile, write_files
from cidx_ref.index.structure import KINDS

__all__ = [
    "FILES", "MAX_COLUMN", "ROW", "ROWS", "ROW_FORMAT", "TEXTS", "TEXT_CODEC", "ChunkWriter",
    "StoredChunk",
]  # fmt: skip

FILES = (FILE_LIST, "chunks.npy", "chunks.bin")
_, ROWS, TEXTS = FILES

ROW = np.dtype(
    [
        ("file", "<u4"),
        ("line_start", "<u4"),
        ("line_end", "<u4"),
        ("name_size", "<u4"),
        ("defines_size", "<u4"),
        ("text_size", "<u4"),
        ("offset", "<u8"),
        ("kind", "<u1"),
        ("column", "<u4"),
    ]
)
#: The same, for one row at a time.
ROW_FORMAT = struct.Struct("<6IQBI")
_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
TEXT_CODEC = ("utf-8", "surrogatepass")
MAX_COLUMN = 1 << 24  # of a line: no file that is indexed has more characters


class StoredChunk(NamedTuple):
    """One chunk, with all that a hit shows of it.  Lines are 1-based and inclusive.

    `kind`, `defines` and `column` are as in `chunk.Chunk`.

    A tuple, because a search makes some hundreds: a frozen dataclass takes four times as long.
    """

    path: str
    language: str
    name: str
    line_start: int
    line_end: int
    text: str
    kind: str = ""
    defines: tuple[str, ...] = ()
    column: int = 0


class ChunkWriter:
    """Writes the store of a new segment into `directory`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._texts = self._stack.enter_context(directory.writer(TEXTS))
        self._files: list[StoredFile] = []
        self._rows: list[tuple[int, ...]] = []
        self._offset = 0

    @property
    def file_count(self) -> int:
        return len(self._files)

    @property
    def chunk_count(self) -> int:
        return len(self._rows)

    def add_file(self, file: StoredFile, chunks: Iterable[Chunk | StoredChunk]) -> None:
        """Add a file; its chunks are numbered on from the last one."""
        number = len(self._files)
        begun = len(self._rows)
        for chunk in chunks:
            name, text = chunk.name.encode(*TEXT_CODEC), chunk.text.encode(*TEXT_CODEC)
            defines = "\n".join(chunk.defines).encode(*TEXT_CODEC)
            sizes = (len(name), len(defines), len(text))
            lines = (chunk.line_start, chunk.line_end)
            kind = _KIND_NUMBERS[chunk.kind]
            self._rows.append((number, *lines, *sizes, self._offset, kind, chunk.column))
            # With line ends around it: the lines of all texts are looked through in one piece.
            self._texts.write(name + defines + b"\n" + text + b"\n")
            self._offset += sum(sizes) + 2
        self._files.append(file._replace(chunks=len(self._rows) - begun))

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def save(self) -> None:
        """Write everything out."""
        self._stack.close()
        with self._directory.writer(ROWS) as file:
            np.save(file, np.array(self._rows, dtype=ROW))
        write_files(self._directory, self._files)
