"""The files of the full cidx's full text: which there are, whether they are whole, and how they are
opened without a trace.

Each file of tantivy's ends in a footer with a checksum of all before it, so damage shows before an
engine sees a byte.  tantivy itself is not imported here.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cidx_ref.files import Directory
from cidx_ref.index.cidx.meta import DamagedError, TornError
from cidx_ref.index.cidx.tree import TEXT_META, Signature, open_quietly, read_whole, signature
from cidx_ref.index.links import links_to

__all__ = ["FIELDS", "TextFiles", "TextMeta", "check_sums", "opened_text", "text_names"]

#: The fields that are asked for, or shown.
FIELDS = {"path": ("text",), "content_raw": ("text",), "content": ("text",),
          "line_start": ("u64", "i64"), "line_end": ("u64", "i64")}  # fmt: skip
_STORED = ("path", "content_raw", "line_start", "line_end")
_ENDINGS = ("fast", "fieldnorm", "idx", "pos", "store", "term")
_MAX_META_BYTES = 1 << 24
_MAX_BYTES = 1 << 36
_MAX_SEGMENTS = 1024
_MAX_DOCUMENTS = 1 << 24
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
#: How long a footer is, and what marks one.
_END = struct.Struct("<II")
_MAGIC = 1337
_MAX_FOOTER_BYTES = 1 << 16


class TextMeta(NamedTuple):
    """`meta.json`, checked: its bytes, the files that it names, how many documents there are."""

    data: bytes
    names: tuple[str, ...]
    documents: int


class TextFiles(NamedTuple):
    """The open files of a full text, by their names, and what each was."""

    meta: TextMeta
    fds: dict[str, int]
    signatures: dict[str, Signature]

    @contextmanager
    def links(self) -> Iterator[Path]:
        """A directory in which an engine finds these very files, and may make its lock."""
        targets = {name: f"/proc/self/fd/{fd}" for name, fd in self.fds.items()}
        managed = json.dumps([TEXT_META, *self.fds]).encode()
        with links_to(targets, {TEXT_META: self.meta.data, ".managed.json": managed}) as links:
            yield links


def text_names(directory: Directory) -> tuple[str, ...]:
    """The files of the full text in `directory`.  Raises `DamagedError`."""
    return _parsed(read_whole(directory, TEXT_META, _MAX_META_BYTES)[0]).names


@contextmanager
def opened_text(directory: Directory) -> Iterator[TextFiles]:
    """The full text in `directory`, its files open.  Raises `DamagedError`, `TornError`."""
    data, found = read_whole(directory, TEXT_META, _MAX_META_BYTES)
    meta = _parsed(data)
    with ExitStack() as stack:
        fds: dict[str, int] = {}
        signatures = {TEXT_META: found}
        for name in meta.names:
            try:
                fds[name] = open_quietly(directory, name, _MAX_BYTES)
            except FileNotFoundError:
                raise TornError(f"{name}: missing") from None
            stack.callback(os.close, fds[name])
            signatures[name] = signature(os.fstat(fds[name]))
        yield TextFiles(meta, fds, signatures)


def check_sums(files: TextFiles) -> None:
    """Raises `DamagedError` for a file that is not what its footer says."""
    for name, fd in files.fds.items():
        size = os.fstat(fd).st_size
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) if size else _nothing(name) as data:
            if size < _END.size:
                raise DamagedError(f"{name}: too short")
            length, magic = _END.unpack_from(data, size - _END.size)
            start = size - _END.size - length
            if magic != _MAGIC or length > _MAX_FOOTER_BYTES or start < 0:
                raise DamagedError(f"{name}: its footer")
            try:
                footer = json.loads(data[start : size - _END.size])
                expected = footer["crc"]
            except (ValueError, RecursionError, TypeError, KeyError):
                raise DamagedError(f"{name}: its footer") from None
            with memoryview(data) as view, view[:start] as body:
                found = zlib.crc32(body)
            if type(expected) is not int or found != expected:
                raise DamagedError(f"{name}: its checksum")


def _nothing(name: str) -> mmap.mmap:
    raise DamagedError(f"{name}: empty")


def _parsed(data: bytes) -> TextMeta:
    try:
        document = json.loads(data)
        segments, schema = document["segments"], document["schema"]
        fields = {str(each["name"]): each for each in schema}
        named = [_segment(each) for each in segments]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"{TEXT_META}: {type(error).__name__}: {error}") from None
    _require(len(named) <= _MAX_SEGMENTS, "segments")
    for name, kinds in FIELDS.items():
        _require(fields.get(name, {}).get("type") in kinds, f"the field {name}")
    for name in _STORED:
        options = fields[name].get("options")
        _require(isinstance(options, dict) and options.get("stored") is True, f"{name} is not kept")
    names = tuple(name for names, _ in named for name in names)
    documents = sum(count for _, count in named)
    _require(len(set(names)) == len(names), "a segment twice")
    _require(documents <= _MAX_DOCUMENTS, "documents")
    return TextMeta(data, names, documents)


def _segment(said: dict[str, Any]) -> tuple[list[str], int]:
    """The files of a segment, and how many documents it has."""
    id_, count, deletes = said["segment_id"], said["max_doc"], said.get("deletes")
    is_one = isinstance(id_, str) and _UUID.fullmatch(id_) and type(count) is int and count >= 0
    _require(bool(is_one), "a segment")
    stem = id_.replace("-", "")
    names = [f"{stem}.{ending}" for ending in _ENDINGS]
    if deletes is not None:
        gone, stamp = deletes["num_deleted_docs"], deletes["opstamp"]
        is_less = type(gone) is type(stamp) is int and 0 <= gone <= count and stamp >= 0
        _require(is_less, "what is deleted")
        names.append(f"{stem}.{stamp}.del")
        count -= gone
    return names, count


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise DamagedError(f"{TEXT_META}: {problem}")
