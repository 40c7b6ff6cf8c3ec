"""What a collection says of itself: `collection_meta.json` and `id_index.bin`, read with doubt.

Every value is checked for type and range before any is used; what two files say must fit.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cidx_ref.files import is_plain

__all__ = ["DamagedError", "Described", "TornError", "parse_ids", "parse_meta", "plain_path"]

_MAX_DIM = 1 << 16
_MAX_COUNT = 1 << 26
_MAX_LABEL_DIGITS = 10
_MAX_ID_CHARS = 256
_MAX_PATH_CHARS = 4096
_COUNT, _SIZE = struct.Struct("<I"), struct.Struct("<H")


class DamagedError(Exception):
    """What is wrong with a file, in a few words that name it."""


class TornError(DamagedError):
    """Two files do not belong together: one of them may just be about to be replaced."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the graph of a collection is said to be: `ids` has, by label, the id of a point."""

    dim: int
    count: int
    ids: dict[int, str]
    rebuilt: str
    is_stale: bool


def parse_meta(data: bytes) -> Described:
    """`collection_meta.json`.  Raises `DamagedError`."""
    try:
        document = json.loads(data)
        graph = document["hnsw_index"]
        dim, count = graph["vector_dim"], graph["vector_count"]
        mapping, space = graph["id_mapping"], graph["space"]
        rebuilt, size = graph.get("index_rebuild_uuid"), document["vector_size"]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"collection_meta.json: {type(error).__name__}: {error}") from None
    _require(type(dim) is int and 0 < dim <= _MAX_DIM and size == dim, "dimensions")
    _require(type(count) is int and 0 <= count <= _MAX_COUNT, "the number of vectors")
    _require(space == "cosine", "the space is not cosine")
    _require(isinstance(mapping, dict), "id_mapping")
    _require(all(map(_is_label, mapping)), "id_mapping has what is no label")
    _require(all(map(_is_id, mapping.values())), "id_mapping has what is no id")
    ids = dict(zip(map(int, mapping), mapping.values(), strict=True))
    _require(len(set(ids.values())) == len(ids), "id_mapping has an id twice")
    return Described(dim, count, ids, str(rebuilt), graph.get("is_stale") is True)


def parse_ids(data: bytes) -> dict[str, str]:
    """`id_index.bin`: by id, where its point lies in the collection.  Raises `DamagedError`."""
    found: dict[str, str] = {}
    size_at = _SIZE.unpack_from
    try:
        (count,) = _COUNT.unpack_from(data)
        at = _COUNT.size
        for _ in range(count):
            begin = at + _SIZE.size
            end = begin + size_at(data, at)[0]
            start = end + _SIZE.size
            at = start + size_at(data, end)[0]
            found[data[begin:end].decode()] = data[start:at].decode()
    except (struct.error, UnicodeDecodeError):
        raise DamagedError("id_index.bin: it ends too soon, or is not text") from None
    if at != len(data) or len(found) != count:
        raise DamagedError("id_index.bin: more or less than it says")
    every = f"/{'/'.join(found.values())}/"  # of all names at once
    if found and any(odd in every for odd in ("//", "/./", "/../", "\0")):
        raise DamagedError("id_index.bin: a path that leads elsewhere")
    return found


@lru_cache(maxsize=1 << 16)  # the points of a file lie anywhere
def plain_path(path: object, prefixes: tuple[str, ...]) -> str | None:
    """`path` relative to the project, where it is that or begins with one of `prefixes`; None for
    what leads elsewhere."""
    if not isinstance(path, str) or not 0 < len(path) <= _MAX_PATH_CHARS:
        return None
    for prefix in prefixes if path.startswith("/") else ():
        if path.startswith(prefix):
            path = path.removeprefix(prefix)
            break
    path = path.removeprefix("./")
    names = path.split("/")
    return path if all(map(is_plain, names)) and names[0] not in (".git", "") else None


def codebase(config: bytes | None) -> str | None:
    """Where the full cidx has met the project, by its `config.json`: what absolute paths in its
    index begin with.  Nothing is looked for there."""
    try:
        found: Any = json.loads(config or b"{}").get("codebase_dir")
    except (ValueError, RecursionError, AttributeError):
        return None
    is_meant = isinstance(found, str) and found.startswith("/") and len(found) > 1
    return found if is_meant and len(found) <= _MAX_PATH_CHARS else None


def _is_label(key: str) -> bool:
    return len(key) <= _MAX_LABEL_DIGITS and key.isascii() and key.isdecimal()


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise DamagedError(f"collection_meta.json: {problem}")
