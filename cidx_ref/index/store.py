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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index import languages
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.filelist import FILE_LIST, StoredFile, read_files, write_files
from cidx_ref.index.filters import Filters
from cidx_ref.index.matching import PathSet
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FILES", "ROW", "TEXT_CODEC", "ChunkStore", "ChunkWriter", "StoredChunk"]

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
    ]
)
_SCAN_BYTES = 4 << 20  # looked through at once, so that a long scan lets other threads in between
_STRETCH_BYTES = 1 << 16  # read and searched at once; more would not stay in a core's cache
_READ_SINGLY = 4  # chunks: to join so few takes longer
TEXT_CODEC = ("utf-8", "surrogatepass")


class StoredChunk(NamedTuple):
    """One chunk, with all that a hit shows of it.  Lines are 1-based and inclusive.

    A tuple, because a search makes some hundreds: a frozen dataclass takes four times as long.
    """

    path: str
    language: str
    name: str
    line_start: int
    line_end: int
    text: str


class ChunkWriter:
    """Writes the store of a new segment into `directory`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._texts = self._stack.enter_context(directory.writer(_TEXTS))
        self._files: list[StoredFile] = []
        self._rows: list[tuple[int, int, int, int, int, int]] = []
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
            self._rows.append(
                (number, chunk.line_start, chunk.line_end, len(name), len(text), self._offset)
            )
            self._texts.write(name + text)
            self._offset += len(name) + len(text)
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

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """The size of all names and texts."""
        return len(self._texts)

    def close(self) -> None:
        """Let go of the files; nothing may be read afterwards."""
        self._passing.clear()
        self._rows = np.empty(0, dtype=ROW)
        self._offsets = np.empty(0, dtype=np.uint64)
        if isinstance(self._texts, mmap.mmap):
            self._texts.close()

    def read(self, chunk: int) -> StoredChunk:
        file, line_start, line_end, name_size, text_size, offset = self._rows[chunk].item()
        middle = offset + name_size
        return StoredChunk(
            path=self.files[file].path,
            language=self.files[file].language,
            name=self._texts[offset:middle].decode(*TEXT_CODEC),
            line_start=line_start,
            line_end=line_end,
            text=self._texts[middle : middle + text_size].decode(*TEXT_CODEC),
        )

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
        for chunks in self._runs(allowed):
            end = self._end_of(chunks.stop - 1)
            position = self._find(wanted, int(self._offsets[chunks.start]), end)
            while position >= 0 and len(found) < k:
                chunk = int(np.searchsorted(self._offsets, position, side="right")) - 1
                after = self._end_of(chunk)
                inside = position + len(wanted) <= after
                if inside:
                    found.append(chunk)
                position = self._find(wanted, after if inside else position + 1, end)
            if len(found) >= k:
                break
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
        places = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        for passing in self._stretches(places):
            found += self._holding(passing, holds)
            if len(found) >= k:
                break
        return found[:k]

    def _holding(self, places: NDArray[np.intp], holds: Callable[[StoredChunk], bool]) -> list[int]:
        """Those of the chunks `places` of which `holds` is true: half of them is looked at by half,
        since where one of a hundred holds a word, reading each would take most of the time."""
        if len(places) <= _READ_SINGLY:
            return [n for n in places.tolist() if holds(self.read(n))]
        if not holds(self._joined(places)):
            return []
        middle = len(places) // 2
        return [*self._holding(places[:middle], holds), *self._holding(places[middle:], holds)]

    def _runs(self, allowed: NDArray[np.bool_] | None) -> Iterator[range]:
        """The chunks that `allowed` marks, those that lie side by side together."""
        marked = np.ones(len(self), np.bool_) if allowed is None else allowed
        edges = np.flatnonzero(np.diff(marked.view(np.int8), prepend=0, append=0)).tolist()
        yield from map(range, edges[::2], edges[1::2])

    def _stretches(self, places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """The chunks `places`, those together that lie within some `_STRETCH_BYTES` of text."""
        start = 0
        while start < len(places):
            until = self._offsets[places[start]] + np.uint64(_STRETCH_BYTES)
            after = np.searchsorted(self._offsets, until)
            stop = max(start + 1, int(np.searchsorted(places, after)))
            yield places[start:stop]
            start = stop

    def _joined(self, places: NDArray[np.intp]) -> StoredChunk:
        """The chunks `places` as one, without what lies between them."""
        # What a filter stops may have in each stretch what is looked for in the rest of it.
        texts, paths = [], []
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            first, last = int(run[0]), int(run[-1])
            texts.append(self._texts[int(self._offsets[first]) : self._end_of(last)])
            files = self.files[int(self._file_of[first]) : int(self._file_of[last]) + 1]
            paths += [file.path for file in files]
        text = b"\n".join(texts).decode(*TEXT_CODEC)
        return StoredChunk("\n".join(paths), "", "", 0, 0, text)

    def _end_of(self, chunk: int) -> int:
        """Where the name and the text of `chunk` end."""
        _, _, _, name_size, text_size, offset = self._rows[chunk].item()
        return int(offset + name_size + text_size)

    def _find(self, wanted: bytes, start: int, end: int) -> int:
        for begin in range(start, end, _SCAN_BYTES):
            stop = min(begin + _SCAN_BYTES + len(wanted), end)
            position = self._texts.find(wanted, begin, stop)
            if position >= 0:
                return position
        return -1

    def _numbers(self, filters: Filters) -> list[int]:
        """The numbers of the files that `filters` let through."""
        passed: Sequence[int] = range(len(self.files))
        if filters.languages:
            answers = languages.answering(filters.languages)
            passed = [n for n in passed if answers(self.files[n])]
        if filters.paths:
            passed = list(compress(passed, PathSet(filters.paths).select(self._paths(passed))))
        if filters.exclude_paths:
            outside = PathSet(filters.exclude_paths).select(self._paths(passed))
            passed = [n for n, is_excluded in zip(passed, outside, strict=True) if not is_excluded]
        return list(passed)

    def _paths(self, numbers: Iterable[int]) -> Iterator[str]:
        return (self.files[number].path for number in numbers)
