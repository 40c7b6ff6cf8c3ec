"""What is kept of an index that was checked: its chunks as our searches have them, where points and
documents lead to, and a record of what was looked at, signed with the account's key.

It lies with the user's state, a directory for each generation; nothing of it is in the tree.  It
is made once, and read by every load after that.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from hashlib import blake2b
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from cidx_ref.errors import IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index.cidx.rows import FileRows
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.segment import Segment
from cidx_ref.index.storing import ChunkWriter
from cidx_ref.index.structure import INNER
from cidx_ref.index.text import joined_words, symbols, words
from cidx_ref.index.vocabulary import WordWriter
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Catalogue", "CatalogueWriter"]

_TABLES = ("labels", "segments", "starts", "documents", "symbols", "named")
_MAX_BYTES = 1 << 34
#: Of a symbol's hash; one less than the highest is the highest: the next one is asked for, too.
_HASH_BYTES, _HIGHEST = 8, (1 << 64) - 2


class CatalogueWriter:
    """Writes a catalogue into an empty directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._store = self._stack.enter_context(ChunkWriter(directory))
        # Pairs: of a label, a document and the hash of a symbol with a chunk.
        self._labels, self._of_labels = array("q"), array("q")
        self._documents, self._of_documents = array("q"), array("q")
        self._symbols, self._named = bytearray(), array("q")

    def __enter__(self) -> CatalogueWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def chunk_count(self) -> int:
        return self._store.chunk_count

    @property
    def file_count(self) -> int:
        return self._store.file_count

    def add(self, rows: FileRows) -> None:
        """Add a version of a file."""
        first = self._store.chunk_count
        id_ = self._store.file_count + 1
        version = rows.version
        file = StoredFile(id_, rows.path, rows.language, version.digest, version.guessed, 0)
        self._store.add_file(file, rows.chunks)
        for label, number in rows.labels:
            self._labels.append(label)
            self._of_labels.append(first + number)
        for document, own in rows.documents:
            self._documents.extend([document] * len(own))
            self._of_documents.extend([first + number for number in own])
        for number, each in enumerate(rows.chunks, first):
            for name in each.defines:
                if name.startswith(INNER):  # of Python these are not known here
                    continue
                called = _called(name)
                self._symbols += called
                self._named.extend([number] * (len(called) // _HASH_BYTES))

    def save(self, places: int, documents: Sequence[tuple[int, int]]) -> None:
        """Write everything out: there are so many `places` for labels, and `documents` are segment
        and number of each, by its number here."""
        self._store.save()
        WordWriter().save(self._directory)
        labels = np.full(places, -1, np.int64)
        labels[np.array(self._labels, np.int64)] = self._of_labels
        tables: dict[str, NDArray[Any]] = {
            "labels": labels,
            **_of_documents(
                np.array(documents, np.int64).reshape(-1, 2),
                np.array(self._documents, np.int64),
                np.array(self._of_documents, np.int64),
            ),
        }
        hashes = np.minimum(np.frombuffer(self._symbols, "<u8"), np.uint64(_HIGHEST))
        order = np.argsort(hashes, kind="stable")
        tables["symbols"] = hashes[order]
        tables["named"] = np.array(self._named, np.int64)[order]
        for name, table in tables.items():
            with self._directory.writer(f"{name}.npy") as file:
                np.save(file, table, allow_pickle=False)


def _of_documents(
    addresses: NDArray[np.int64], documents: NDArray[np.int64], chunks: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Where the documents of each segment begin; by document, where its chunks do; and those."""
    segments, numbers = addresses.T
    sizes = np.zeros(segments.max(initial=-1) + 1, np.int64)
    np.maximum.at(sizes, segments, numbers + 1)
    firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    places = (firsts[segments] + numbers)[documents]
    counts = np.bincount(places, minlength=int(firsts[-1]))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    every = chunks[np.argsort(places, kind="stable")]
    return {"segments": firsts, "starts": starts, "documents": every}


class Catalogue:
    """A catalogue in memory.  Thread-safe."""

    def __init__(self, directory: Directory, record: dict[str, Any]) -> None:
        """Raises `IndexUnusableError`, `FileNotFoundError`."""
        self.record = record
        described = {"files": record["files"], "chunks": record["chunks"], "worded": 0}
        tables = {name: _table(directory, f"{name}.npy") for name in _TABLES}
        #: By label, the chunk of its point; -1 where there is none.
        self.chunk_of_label: NDArray[np.int64] = tables["labels"]
        self._segments = tables["segments"].tolist()
        # Looked up one by one, which takes numpy twenty times as long.
        self._starts = tables["starts"].data
        self._documents = tables["documents"].data
        self._symbols = tables["symbols"]
        self._named = tables["named"]
        self.segment = Segment(directory.engine_path, described, None)
        self.chunks = LiveChunks({"cidx": self.segment})

    def chunks_of(self, segment: int, number: int) -> list[int]:
        """The chunks of a document of the full text."""
        place = self._segments[segment] + number
        start, stop = self._starts[place], self._starts[place + 1]
        if stop == start + 1:
            return [self._documents[start]]
        return self._documents[start:stop].tolist()

    def called(self, wanted: Iterable[str]) -> list[int]:
        """The chunks that define one of these symbols, each once."""
        found: dict[int, None] = {}
        for symbol in wanted:
            hash_ = np.uint64(_hash(symbol))
            start, stop = np.searchsorted(self._symbols, [hash_, hash_ + np.uint64(1)])
            found.update(dict.fromkeys(self._named[start:stop].tolist()))
        return list(found)

    def close(self) -> None:
        """Let go of the files; nothing may be read afterwards."""
        self.segment.close()


def _table(directory: Directory, name: str) -> NDArray[Any]:
    try:
        table: NDArray[Any] = np.load(BytesIO(directory.read(name, _MAX_BYTES)), allow_pickle=False)
        return table
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise IndexUnusableError(f"{name}: {why(error)}") from None


@lru_cache(maxsize=1 << 14)
def _called(name: str) -> bytes:
    """The hashes of the symbols of a name that is defined."""
    is_one = name.isascii() and name.isidentifier()  # as most are: one word
    return b"".join(
        map(_digest, symbols([name] if is_one else [*words(name), *joined_words(name)]))
    )


def _digest(symbol: str) -> bytes:
    return blake2b(symbol.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()


def _hash(symbol: str) -> int:
    return min(int.from_bytes(_digest(symbol), "little"), _HIGHEST)
