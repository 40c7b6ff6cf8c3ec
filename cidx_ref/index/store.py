"""The chunks of one segment, open for reading: what each is, where it lies, and its text.

What is stored of them is `storing`'s.  A daemon with a hundred thousand chunks holds no Python
object for any of them.  Files and chunks are numbered from 0 within their segment; of a file, which
has an id that no other file of the index ever has, all chunks lie side by side.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.index import languages
from cidx_ref.index.filelist import read_files
from cidx_ref.index.filters import Filters
from cidx_ref.index.matching import PathSet
from cidx_ref.index.storing import ROW, ROW_FORMAT, ROWS, TEXT_CODEC, TEXTS, StoredChunk
from cidx_ref.index.structure import KINDS
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChunkStore"]

_SCAN_BYTES = 1 << 18  # of all texts, looked through at once for what stands in them
_PREFIX_BYTES = 16  # of what is looked for, that are compared in all places at once
_SPARSE = 8  # where more places than one in so many are left, each chunk is looked at
_STRETCH_BYTES = 1 << 16  # read and searched at once; more would not stay in a core's cache
_READ_SINGLY = 4  # chunks: to join so few takes longer


class ChunkStore:
    """The store of one segment, open for reading.  Thread-safe."""

    def __init__(self, directory: Path) -> None:
        try:
            self.files = read_files(directory)
            # As a plain array: one of numpy's memmap type takes twice as long to index.
            self._rows = np.asarray(np.load(directory / ROWS, mmap_mode="r"))
            if self._rows.dtype != ROW:
                raise ValueError("chunks.npy: rows of another kind")
            with (directory / TEXTS).open("rb") as file:
                size = file.seek(0, 2)
                self._texts = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else b""
        except (OSError, ValueError, TypeError) as error:
            raise IndexUnusableError(f"chunk store: {why(error)}") from None
        # In one piece: a column of the table would be copied for every search in it.
        self._offsets = self._rows["offset"].astype(np.int64)
        # And copies in any case: a view keeps the file open.
        self._file_of = self._rows["file"].copy()
        # Of one chunk, a view gives a number in a third of the time that its array takes.
        self._files_one_by_one = self._file_of.data
        self._offsets_one_by_one = self._offsets.data
        self._name_sizes = self._rows["name_size"].copy().data
        self._defines_sizes = self._rows["defines_size"].copy().data
        self._row_bytes: memoryview | bytes = self._rows.view(np.uint8).data
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
        wanted = np.asarray(positions, np.int64)
        chunks = np.searchsorted(self._offsets, wanted, side="right") - 1
        rows = self._rows[chunks]
        before = rows["name_size"].astype(np.int64) + rows["defines_size"] + 1
        return chunks, rows["offset"].astype(np.int64) + before

    def blocks(self, allowed: NDArray[np.bool_] | None, size: int) -> Iterator[tuple[int, int]]:
        """Stretches of `texts` with the chunks that `allowed` marks and no others, some `size`
        bytes each, and none that ends within a chunk."""
        for first, last in _runs(allowed, len(self)):
            start = first
            while start < last:
                begin = int(self._offsets[start])
                until = begin + size
                stop = min(last, max(start + 1, int(np.searchsorted(self._offsets, until))))
                end = int(self._offsets[stop]) if stop < len(self) else len(self._texts)
                yield begin, end
                start = stop

    def close(self) -> None:
        """Let go of the files; nothing may be read afterwards."""
        self._passing.clear()
        self._rows = np.empty(0, dtype=ROW)
        self._row_bytes = b""
        self._offsets = np.empty(0, dtype=np.int64)
        if isinstance(self._texts, mmap.mmap):
            self._texts.close()

    def read(self, chunk: int) -> StoredChunk:
        file_number, line_start, line_end, *sizes, offset, kind, column = self._row(chunk)
        file = self.files[file_number]
        name_size, defines_size, text_size = sizes
        middle = offset + name_size
        begin = middle + defines_size + 1
        texts = self._texts
        defines: tuple[str, ...] = ()
        if defines_size:
            defines = tuple(texts[middle : begin - 1].decode(*TEXT_CODEC).split("\n"))
        return StoredChunk(
            file.path,
            file.language,
            texts[offset:middle].decode(*TEXT_CODEC),
            line_start,
            line_end,
            texts[begin : begin + text_size].decode(*TEXT_CODEC),
            KINDS[kind],
            defines,
            column,
        )

    def _row(self, chunk: int) -> tuple[int, ...]:
        # Of one row, numpy makes an array first.
        return ROW_FORMAT.unpack_from(self._row_bytes, chunk * ROW_FORMAT.size)

    def name_of(self, chunk: int) -> str:
        offset = self._offsets_one_by_one[chunk]
        return self._texts[offset : offset + self._name_sizes[chunk]].decode(*TEXT_CODEC)

    def file_and_names(self, chunk: int) -> tuple[int, str]:
        """The number of the file that `chunk` is part of; its qualified name, or "", and behind
        that, a line each, what it defines."""
        offset, size = self._offsets_one_by_one[chunk], self._name_sizes[chunk]
        told = self._texts[offset : offset + size + self._defines_sizes[chunk]]
        if len(told) > size:
            told = told[:size] + b"\n" + told[size:]
        return self._files_one_by_one[chunk], told.decode(*TEXT_CODEC)

    def kind_of(self, chunk: int) -> str:
        return KINDS[int(self._rows[chunk]["kind"])]

    def place_of(self, chunk: int) -> tuple[str, int]:
        """Path and first line of `chunk`."""
        file, line_start, *_ = self._row(chunk)
        return self.files[file].path, line_start

    def file_of(self, chunk: int) -> int:
        """The number of the file that `chunk` is part of."""
        return self._files_one_by_one[chunk]

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

    def raw(self, chunk: int) -> bytes:
        """Name and text of `chunk` as they are stored, one after the other: far cheaper than
        `read`, for ruling chunks out."""
        return self._texts[int(self._offsets[chunk]) : self._end_of(chunk)]

    def find_literally(
        self, needle: str, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[int]:
        """The first `k` of the chunks that `allowed` marks which hold `needle` as it stands."""
        return list(islice(self._with_bytes(needle.encode(*TEXT_CODEC), allowed), k))

    def marks_of(self, needle: str, *, any_case: bool) -> NDArray[np.bool_]:
        """Which chunks hold the first bytes of `needle`, dead ones too; a few more may be marked.

        With `any_case`, ASCII letters of either case are as good as the small ones of `needle`.
        """
        marks = np.zeros(len(self), dtype=np.bool_)
        wanted = needle.encode(*TEXT_CODEC)[:_PREFIX_BYTES]
        for chunks in self._holding_first_bytes(wanted, any_case=any_case):
            marks[chunks] = True
        return marks

    def _with_bytes(self, wanted: bytes, allowed: NDArray[np.bool_] | None) -> Iterator[int]:
        """The chunks that `allowed` marks which hold `wanted`, by all texts."""
        last = -1
        first = wanted[:_PREFIX_BYTES]
        for chunks in self._holding_first_bytes(first, any_case=False, allowed=allowed):
            for chunk in chunks.tolist():
                if chunk > last:  # the last one may go on into this stretch
                    last = chunk
                    if (allowed is None or allowed[chunk]) and wanted in self.raw(chunk):
                        yield chunk

    def _holding_first_bytes(
        self, wanted: bytes, *, any_case: bool, allowed: NDArray[np.bool_] | None = None
    ) -> Iterator[NDArray[np.intp]]:
        """The chunks in which `wanted` begins, stretch by stretch of all texts that have a chunk
        that `allowed` marks."""
        if not wanted or not self._texts:
            return
        texts = np.frombuffer(self._texts, np.uint8)
        for start in range(0, len(texts), _SCAN_BYTES):
            within = slice(*self._between(start, start + _SCAN_BYTES))
            if allowed is not None and not allowed[within].any():
                continue
            places = _places(texts[start : start + _SCAN_BYTES + len(wanted) - 1], wanted, any_case)
            yield np.unique(np.searchsorted(self._offsets, places + start, "right") - 1)

    def _between(self, start: int, end: int) -> tuple[int, int]:
        """The first chunk that has any of the bytes from `start` to `end`, and the one after the
        last one that has."""
        first, after = np.searchsorted(self._offsets, (start, end - 1), "right")
        return int(first) - 1, int(after)

    def _end_of(self, chunk: int) -> int:
        """Where what is stored of `chunk` ends, and that of the next one begins."""
        following = chunk + 1
        return int(self._offsets[following]) if following < len(self) else len(self._texts)

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

    def _stretches(self, places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """The chunks `places`, those together that lie within some `_STRETCH_BYTES` of text."""
        start = 0
        while start < len(places):
            until = self._offsets[places[start]] + _STRETCH_BYTES
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


def _places(text: NDArray[np.uint8], wanted: bytes, any_case: bool) -> NDArray[np.intp]:
    """Where in `text` the bytes `wanted` stand, and maybe more places: comparing all at once takes
    a third of the time of looking for one after the other, and other threads run on."""
    size = len(text) - len(wanted) + 1
    if size <= 0:
        return np.empty(0, np.intp)
    small = text | np.uint8(0x20) if any_case else text

    def seen(byte: int) -> NDArray[np.uint8]:
        return small if 0x61 <= byte <= 0x7A else text

    here = seen(wanted[0])[:size] == wanted[0]
    if len(wanted) > 1:
        here &= seen(wanted[1])[1 : size + 1] == wanted[1]
    places = np.flatnonzero(here)
    for number, byte in enumerate(wanted[2:], 2):
        if not len(places) or len(places) * _SPARSE > size:
            break
        places = places[seen(byte)[places + number] == byte]
    return places


def _runs(allowed: NDArray[np.bool_] | None, count: int) -> list[tuple[int, int]]:
    """From which to before which of `count` places all are allowed."""
    if allowed is None:
        return [(0, count)] if count else []
    steps = np.flatnonzero(np.diff(allowed, prepend=False, append=False))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
