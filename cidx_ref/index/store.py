"""The chunks of one segment: what each is, where it lies, and its text.

Three files: `files.json` (one array a file), `chunks.npy` (one row a chunk, memory-mapped) and
`chunks.bin` (names and texts, memory-mapped).  A daemon with a hundred thousand chunks holds no
Python object for any of them.  Files and chunks are numbered from 0 within their segment; of a
file, which has an id that no other file of the index ever has, all chunks lie side by side.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.filelist import FILE_LIST, StoredFile, read_files, write_files
from cidx_ref.index.filters import Filters
from cidx_ref.index.matching import PathSet
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FILES", "MAX_COLUMN", "ROW", "TEXT_CODEC", "ChunkStore", "ChunkWriter", "StoredChunk"]

FILES = (FILE_LIST, "chunks.npy", "chunks.bin")
_, _ROWS, _TEXTS = FILES

ROW = np.dtype(
    [
        ("file", "<u4"),
        ("line_start", "<u4"),
        ("line_end", "<u4"),
        ("name_size", "<u4"),
        ("text_size", "<u4"),
        ("offset", "<u8"),
        ("column", "<u4"),
    ]
)
_SCAN_BYTES = 4 << 20  # looked through at once, so that a long scan lets other threads in between
_STRETCH_BYTES = 1 << 16  # read and searched at once; more would not stay in a core's cache
TEXT_CODEC = ("utf-8", "surrogatepass")
MAX_COLUMN = 1 << 24  # of a line: no file that is indexed has more characters


class StoredChunk(NamedTuple):
    """One chunk, with all that a hit shows of it.  Lines are 1-based and inclusive.

    `column` is as in `chunk.Chunk`.  A tuple, because a search makes some hundreds: a frozen
    dataclass takes four times as long.
    """

    path: str
    language: str
    name: str
    line_start: int
    line_end: int
    text: str
    column: int = 0


class ChunkWriter:
    """Writes the store of a new segment into `directory`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._texts = self._stack.enter_context(directory.writer(_TEXTS))
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
            lines = chunk.line_start, chunk.line_end
            sizes = len(name), len(text)
            self._rows.append((number, *lines, *sizes, self._offset, chunk.column))
            # With line ends around it: the lines of all texts are looked through in one piece.
            self._texts.write(name + b"\n" + text + b"\n")
            self._offset += len(name) + len(text) + 2
        self._files.append(file._replace(chunks=len(self._rows) - begun))

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def save(self) -> None:
        """Write everything out."""
        self._stack.close()
        with self._directory.writer(_ROWS) as file:
            np.save(file, np.array(self._rows, dtype=ROW))
        write_files(self._directory, self._files)


class ChunkStore:
    """The store of one segment, open for reading.  Thread-safe."""

    def __init__(self, directory: Path) -> None:
        try:
            self.files = read_files(directory)
            # As a plain array: one of numpy's memmap type takes twice as long to index.
            self._rows = np.asarray(np.load(directory / _ROWS, mmap_mode="r"))
            with (directory / _TEXTS).open("rb") as file:
                size = file.seek(0, 2)
                self._texts = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else b""
        except (OSError, ValueError, TypeError) as error:
            raise IndexUnusableError(f"chunk store: {why(error)}") from None
        # In one piece: a column of the table would be copied for every search in it.
        self._offsets = np.ascontiguousarray(self._rows["offset"])
        self._file_of = np.ascontiguousarray(self._rows["file"])
        #: Of each file the number of its first chunk, and after the last one, of all.
        self.firsts = np.searchsorted(self._file_of, np.arange(len(self.files) + 1))
        #: The ids of the files.
        self.ids = np.fromiter((file.id for file in self.files), np.int64, len(self.files))
        self._passing: dict[Filters, NDArray[np.bool_]] = {}
        #: What `lines` has worked out, if it was asked.
        self.cut_lines: Any = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """The size of all names and texts."""
        return len(self._texts)

    @property
    def texts(self) -> bytes | mmap.mmap:
        """The names and texts of all chunks, with a line end after each."""
        return self._texts

    @property
    def rows(self) -> NDArray[np.void]:
        """One `ROW` for each chunk."""
        return self._rows

    def chunks_at(self, positions: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """In which chunks these places of `texts` are, and where the text of each begins: a place
        before that is in its name."""
        wanted = np.asarray(positions, np.uint64)
        chunks = np.searchsorted(self._offsets, wanted, side="right") - 1
        rows = self._rows[chunks]
        return chunks, (rows["offset"] + rows["name_size"] + np.uint64(1)).astype(np.int64)

    def blocks(self, allowed: NDArray[np.bool_] | None, size: int) -> Iterator[tuple[int, int]]:
        """Stretches of `texts` with the chunks that `allowed` marks and no others, some `size`
        bytes each, and none that ends within a chunk."""
        for first, last in _runs(allowed, len(self)):
            start = first
            while start < last:
                begin = int(self._offsets[start])
                until = np.uint64(begin + size)
                stop = min(last, max(start + 1, int(np.searchsorted(self._offsets, until))))
                end = int(self._offsets[stop]) if stop < len(self) else len(self._texts)
                yield begin, end
                start = stop

    def close(self) -> None:
        """Let go of the files; nothing may be read afterwards."""
        self._passing.clear()
        self._rows = np.empty(0, dtype=ROW)
        self._offsets = np.empty(0, dtype=np.uint64)
        if isinstance(self._texts, mmap.mmap):
            self._texts.close()

    def read(self, chunk: int) -> StoredChunk:
        file, line_start, line_end, name_size, text_size, offset, column = self._rows[chunk].item()
        middle = offset + name_size + 1
        return StoredChunk(
            path=self.files[file].path,
            language=self.files[file].language,
            name=self._texts[offset : middle - 1].decode(*TEXT_CODEC),
            line_start=line_start,
            line_end=line_end,
            text=self._texts[middle : middle + text_size].decode(*TEXT_CODEC),
            column=column,
        )

    def name_of(self, chunk: int) -> str:
        row = self._rows[chunk]
        offset = int(row["offset"])
        return self._texts[offset : offset + int(row["name_size"])].decode(*TEXT_CODEC)

    def place_of(self, chunk: int) -> tuple[str, int]:
        """Path and first line of `chunk`."""
        file, line_start, *_ = self._rows[chunk].item()
        return self.files[file].path, line_start

    def file_of(self, chunk: int) -> int:
        """The number of the file that `chunk` is part of."""
        return int(self._file_of[chunk])

    def chunks_of(self, file: int) -> range:
        return range(int(self.firsts[file]), int(self.firsts[file + 1]))

    def chunks_in(self, files: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which chunks are parts of the files that `files` marks."""
        marked: NDArray[np.bool_] = files[self._file_of]
        return marked

    def passing(self, filters: Filters) -> NDArray[np.bool_]:
        """Which files `filters` let through."""
        known = self._passing.get(filters)
        if known is None:
            known = np.zeros(len(self.files), dtype=np.bool_)
            known[self._numbers(filters)] = True
            if len(self._passing) >= 64:
                self._passing.clear()
            self._passing[filters] = known
        return known

    def find_literally(
        self, needle: str, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[int]:
        """The first `k` of the chunks that `allowed` marks which hold `needle` as it stands."""
        wanted = needle.encode(*TEXT_CODEC)
        found: list[int] = []
        position = self._find(wanted, 0)
        while position >= 0 and len(found) < k:
            chunk = int(np.searchsorted(self._offsets, position, side="right")) - 1
            row = self._rows[chunk]
            end = int(row["offset"]) + int(row["name_size"]) + 1 + int(row["text_size"])
            inside = position + len(wanted) <= end
            if inside and (allowed is None or allowed[chunk]):
                found.append(chunk)
            position = self._find(wanted, end if inside else position + 1)
        return found

    def scan(
        self,
        holds: Callable[[StoredChunk], bool],
        k: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[int]:
        """The first `k` of the chunks that `allowed` marks of which `holds` is true; all texts are
        read for it.

        `holds` is first asked of many chunks joined into one, so it must be true of the whole
        wherever it is true of a part.
        """
        found: list[int] = []
        for chunks in self._stretches():
            passing = [n for n in chunks if allowed[n]] if allowed is not None else chunks
            if passing and holds(self._joined(chunks)):
                found += [n for n in passing if holds(self.read(n))]
            if len(found) >= k:
                break
        return found[:k]

    def _stretches(self) -> Iterator[range]:
        """All chunks, in stretches of some `_STRETCH_BYTES` of text."""
        start = 0
        while start < len(self):
            until = self._offsets[start] + np.uint64(_STRETCH_BYTES)
            stop = max(start + 1, int(np.searchsorted(self._offsets, until)))
            yield range(start, stop)
            start = stop

    def _joined(self, chunks: range) -> StoredChunk:
        first, last = self._rows[chunks.start].item(), self._rows[chunks.stop - 1].item()
        paths = [file.path for file in self.files[first[0] : last[0] + 1]]
        end = last[5] + last[3] + 1 + last[4]
        text = self._texts[first[5] : end].decode(*TEXT_CODEC)
        return StoredChunk("\n".join(paths), "", "", first[1], last[2], text)

    def _find(self, wanted: bytes, start: int) -> int:
        for begin in range(start, len(self._texts), _SCAN_BYTES):
            position = self._texts.find(wanted, begin, begin + _SCAN_BYTES + len(wanted))
            if position >= 0:
                return position
        return -1

    def _numbers(self, filters: Filters) -> list[int]:
        """The numbers of the files that `filters` let through."""
        passed: Sequence[int] = range(len(self.files))
        if filters.languages:
            spoken = set(filters.languages)
            passed = [n for n in passed if self.files[n].language in spoken]
        if filters.paths:
            passed = list(compress(passed, PathSet(filters.paths).select(self._paths(passed))))
        if filters.exclude_paths:
            outside = PathSet(filters.exclude_paths).select(self._paths(passed))
            passed = [n for n, is_excluded in zip(passed, outside, strict=True) if not is_excluded]
        return list(passed)

    def _paths(self, numbers: Iterable[int]) -> Iterator[str]:
        return (self.files[number].path for number in numbers)


def _runs(allowed: NDArray[np.bool_] | None, count: int) -> list[tuple[int, int]]:
    """From which to before which of `count` places all are allowed."""
    if allowed is None:
        return [(0, count)] if count else []
    steps = np.flatnonzero(np.diff(allowed, prepend=False, append=False))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
