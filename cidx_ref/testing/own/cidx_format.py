"""A small writer of the full cidx's format (version 11): its layout in one place.

`tests/test_cidx_format.py` compares what is written here with an index that the full cidx has made.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import tantivy
from numpy.typing import NDArray

MODEL = "voyage-code-3"
DIRECTORY = ".code-indexer"


class StandIn:
    """An embedder of words, in the place of a model: the same for every process."""

    def __init__(self, dim: int = 64, model: str = MODEL) -> None:
        self.dim = dim
        self.model = self.collection = model
        self.id = f"{model}-{dim}"

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.zeros(self.dim, np.float32)
        for word in text.lower().split():
            number = zlib.crc32(word.encode())
            vector[(number >> 1) % self.dim] += 1 if number & 1 else -1
        return vector

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.embed_query(text) for text in texts], np.float32)


@dataclass(frozen=True)
class Piece:
    """Some lines of a file, as both engines have them."""

    path: str
    line_start: int
    line_end: int
    text: str
    index: int = 0

    @property
    def id(self) -> str:
        return hashlib.md5(f"{self.path}:{self.index}".encode()).hexdigest()


def pieces_of(path: str, text: str, lines: int = 40, overlap: int = 6) -> Iterator[Piece]:
    """Windows that overlap, as the full cidx cuts: not at definitions."""
    every = text.split("\n")
    if every[-1] == "":
        del every[-1]
    start = index = 0
    while start < len(every):
        end = min(len(every), start + lines)
        yield Piece(path, start + 1, end, "\n".join(every[start:end]), index)
        if end == len(every):
            break
        start, index = end - overlap, index + 1


def blob_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def write_index(
    root: Path,
    files: Mapping[str, str],
    *,
    embedder: StandIn | None = None,
    by_file: bool = False,
    path_of: Callable[[str], str] = str,
    texts: bool = False,
    uuid_: str | None = None,
    lines: int = 40,
) -> list[Piece]:
    """Write `files` into `root`, and an index of them; what it is made of, in the order of labels.

    `by_file`: one document of the full text for each file.  `path_of` is how a path is written in
    the index.  `texts`: as of files that are not clean in git, with their texts.
    """
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    embedder = embedder or StandIn()
    pieces = [p for path, text in files.items() for p in pieces_of(path, text, lines)]
    own = root / DIRECTORY
    write_collection(
        own / "index" / embedder.model,
        pieces,
        embedder.embed_documents([p.text for p in pieces]),
        blobs={path: blob_hash(text.encode()) for path, text in files.items()},
        path_of=path_of,
        texts=texts,
        uuid_=uuid_,
    )
    write_empty_collection(own / "index" / "multimodal", dim=1536)
    if by_file:
        whole = [Piece(p, 1, max(1, t.count("\n")), t) for p, t in files.items()]
    write_fulltext(own / "tantivy_index", whole if by_file else pieces, path_of=path_of)
    return pieces


def quads(id_: str) -> str:
    return "/".join(id_[i : i + 2] for i in range(0, 8, 2))


def write_collection(
    directory: Path,
    pieces: Sequence[Piece],
    vectors: NDArray[np.float32],
    *,
    blobs: Mapping[str, str],
    path_of: Callable[[str], str] = str,
    texts: bool = False,
    uuid_: str | None = None,
    deleted: Collection[int] = (),
    first_label: int = 0,
    between: Callable[[], object] = lambda: None,
) -> None:
    """Write a collection as the full cidx publishes one: first the graph, and then, after
    `between`, what says what is in it."""
    directory.mkdir(parents=True, exist_ok=True)
    dim = vectors.shape[1]
    relative = []
    for piece, vector in zip(pieces, vectors, strict=True):
        name = f"{quads(piece.id)}/vector_{piece.id}.json"
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        point = _point(piece, vector, blobs.get(piece.path), path_of(piece.path), texts)
        _replace(directory / name, json.dumps(point, indent=2).encode())
        relative.append((piece.id, name))
    _replace(directory / "id_index.bin", id_index(relative))
    labels = np.arange(first_label, first_label + len(pieces))
    graph = hnswlib.Index(space="cosine", dim=dim)
    graph.init_index(max_elements=len(pieces), M=16, ef_construction=200)
    graph.add_items(vectors, labels, num_threads=1)
    for label in deleted:
        graph.mark_deleted(label)
    graph.save_index(str(directory / "hnsw_index.bin.tmp"))
    (directory / "hnsw_index.bin.tmp").rename(directory / "hnsw_index.bin")
    between()
    mapping = {str(label): piece.id for label, piece in zip(labels, pieces, strict=True)
               if label not in deleted}  # fmt: skip
    _replace(
        directory / "collection_meta.json",
        json.dumps(
            collection_meta(directory.name, dim, len(pieces), mapping, uuid_), indent=2
        ).encode(),
    )


def write_empty_collection(directory: Path, dim: int) -> None:
    """The one for images is there, with nothing in it."""
    directory.mkdir(parents=True, exist_ok=True)
    meta = collection_meta(directory.name, dim, 0, {}, None)
    del meta["hnsw_index"]
    (directory / "collection_meta.json").write_text(json.dumps(meta))


def collection_meta(
    name: str, dim: int, count: int, mapping: Mapping[str, str], uuid_: str | None
) -> dict[str, Any]:
    return {
        "name": name,
        "vector_size": dim,
        "created_at": "2026-11-22T11:38:19.995517",
        "quantization_range": {"min": -0.75, "max": 0.75},
        "unique_file_count": 1,
        "hnsw_index": {
            "version": 1,
            "index_rebuild_uuid": uuid_ or str(uuid.uuid4()),
            "vector_count": count,
            "vector_dim": dim,
            "M": 16,
            "ef_construction": 200,
            "space": "cosine",
            "last_rebuild": "2026-11-22T11:38:20.680713+00:00",
            "file_size_bytes": 0,
            "id_mapping": dict(mapping),
            "is_stale": False,
            "last_marked_stale": None,
        },
    }


def id_index(entries: Iterable[tuple[str, str]]) -> bytes:
    entries = list(entries)
    parts = [struct.pack("<I", len(entries))]
    for id_, path in entries:
        for text in (id_.encode(), path.encode()):
            parts += [struct.pack("<H", len(text)), text]
    return b"".join(parts)


def _point(
    piece: Piece, vector: NDArray[np.float32], blob: str | None, path: str, texts: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": piece.id,
        "vector": [round(float(x), 6) for x in vector],
        "metadata": {"language": "py", "type": "content"},
        "payload": {
            "path": path,
            "language": Path(piece.path).suffix.lstrip("."),
            "chunk_index": piece.index,
            "project_id": "project",
            "line_start": piece.line_start,
            "line_end": piece.line_end,
            "type": "content",
            "git_available": True,
        },
    }
    if texts:
        found["chunk_text"] = piece.text
    elif blob is not None:
        found["payload"]["git_blob_hash"] = found["git_blob_hash"] = blob
    return found


def write_fulltext(
    directory: Path, pieces: Iterable[Piece], *, path_of: Callable[[str], str] = str
) -> None:
    """Write a full text of these documents, or add them to what is there."""
    directory.mkdir(parents=True, exist_ok=True)
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("path", stored=True)
    builder.add_text_field("content")
    builder.add_text_field("content_raw", stored=True)
    builder.add_text_field("identifiers", stored=True)
    builder.add_unsigned_field("line_start", stored=True, indexed=True)
    builder.add_unsigned_field("line_end", stored=True, indexed=True)
    builder.add_text_field("language", stored=True)
    builder.add_facet_field("language_facet")
    index = tantivy.Index(builder.build(), str(directory))
    writer = index.writer(15_000_000, 1)
    for piece in pieces:
        document = tantivy.Document()
        language = Path(piece.path).suffix.lstrip(".")
        document.add_text("path", path_of(piece.path))
        document.add_text("content", piece.text)
        document.add_text("content_raw", piece.text)
        document.add_text("identifiers", " ".join(piece.text.split()))
        document.add_unsigned("line_start", piece.line_start)
        document.add_unsigned("line_end", piece.line_end)
        document.add_text("language", language)
        document.add_facet("language_facet", tantivy.Facet.from_string(f"/{language or 'txt'}"))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_bytes(data)
    beside.rename(path)
