"""The points of a collection: of each a file of JSON, with its vector and what a hit shows of it.

A file has twenty kilobytes, nearly all of them the vector, which the graph has, too.  So only the
end of it is read; all of it where the end says too little, and of a sample, whose vectors must be
those of the graph.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cidx_ref.files import Directory
from cidx_ref.index.cidx.beneath import Beneath
from cidx_ref.index.cidx.meta import DamagedError, TornError, plain_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Point", "SAMPLE", "read_points", "same_vector"]

#: So many vectors are compared with those of the graph.
SAMPLE = 512
_TAIL_BYTES = 2048  # of a text that is there, too, four times as much
_MAX_BYTES = 1 << 23
_MAX_LINES = 1 << 31
_MAX_TEXT_CHARS = 1 << 20
_COSINE = 0.999  # the file has six digits of each number, the graph a float
_DECODER = json.JSONDecoder()
_BLOB = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
#: What the end of the vector is of, as the first thing in what is read; then its closing bracket.
_OF_NUMBERS = b"-+0123456789.eE, \t\r\n"
_AFTER_VECTOR = re.compile(rb'\]\s*+,\s*+(?=")')


class Point(NamedTuple):
    """What a point says of the lines that it stands for.

    `text` is there where the file was not clean in git; `blob` and `sha256` are of all of the file.
    """

    path: str
    line_start: int
    line_end: int
    blob: str
    sha256: str
    text: str | None


def read_points(
    collection: Directory,
    places: Sequence[str],
    prefixes: tuple[str, ...],
    sampled: Iterable[int],
) -> Iterator[tuple[Point, NDArray[np.float32] | None]]:
    """The points at `places`, in that order; of those `sampled` with their vectors.

    Raises `TornError` for one that is not there, `DamagedError`.
    """
    wanted = set(sampled)
    with closing(Beneath(collection.engine_path)) as below:
        for number, place in enumerate(places):
            try:
                fd = below.open(place)
            except FileNotFoundError:
                raise TornError(f"{_name(place)}: missing") from None
            except OSError as error:
                raise DamagedError(f"{_name(place)}: {error.strerror}") from None
            try:
                yield _read(fd, place, prefixes, with_vector=number in wanted)
            finally:
                os.close(fd)


def _name(place: str) -> str:
    return place.rpartition("/")[2]


def same_vector(found: NDArray[np.float32], stored: NDArray[np.float32]) -> bool:
    """Whether `found` is what the graph has as `stored`, which has the length one."""
    if found.shape != stored.shape or not np.isfinite(found).all():
        return False
    length = float(np.linalg.norm(found))
    if not length or not np.any(stored):
        return not length and not np.any(stored)
    return bool(np.dot(found, stored) / length > _COSINE)


def _read(
    fd: int, place: str, prefixes: tuple[str, ...], *, with_vector: bool
) -> tuple[Point, NDArray[np.float32] | None]:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
        raise DamagedError(f"{_name(place)}: no file of a point")
    document = None
    if not with_vector:
        size = found.st_size
        document = _by_its_end(fd, size, _TAIL_BYTES) or _by_its_end(fd, size, 4 * _TAIL_BYTES)
    try:
        if document is None:
            document = json.loads(os.pread(fd, found.st_size, 0))
        vector = np.array(document["vector"], np.float32) if with_vector else None
        return _point(document, prefixes), vector
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError) as e:
        raise DamagedError(f"{_name(place)}: {type(e).__name__}: {e}") from None


def _by_its_end(fd: int, size: int, most: int) -> dict[str, Any] | None:
    """What follows the vector; None where that does not begin within the last bytes."""
    if size <= most:
        return None
    tail = os.pread(fd, most, size - most)
    begun = _AFTER_VECTOR.match(tail, end := tail.find(b"]"))
    if end < 0 or begun is None or tail[:end].translate(None, _OF_NUMBERS):
        return None
    try:
        text = "{" + tail[begun.end() :].decode()
        document, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    is_all = end == len(text) or text[end:].isspace()
    return document if is_all and "payload" in document else None


def _point(document: dict[str, Any], prefixes: tuple[str, ...]) -> Point:
    payload = document["payload"]
    start, end = payload["line_start"], payload["line_end"]
    if not (type(start) is type(end) is int and 1 <= start <= end < _MAX_LINES):
        raise ValueError("lines that do not exist")
    path = plain_path(payload["path"], prefixes)
    if path is None:
        raise ValueError("a path that leads elsewhere")
    text = document.get("chunk_text", payload.get("chunk_text"))
    if text is not None and not (isinstance(text, str) and len(text) <= _MAX_TEXT_CHARS):
        raise ValueError("a text that is none")
    blob = payload.get("git_blob_hash") or document.get("git_blob_hash") or ""
    digest = _SHA256.fullmatch(str(payload.get("file_hash")))
    is_blob = isinstance(blob, str) and _BLOB.fullmatch(blob)
    return Point(path, start, end, blob if is_blob else "", digest[1] if digest else "", text)
