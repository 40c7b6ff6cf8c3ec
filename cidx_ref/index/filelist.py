"""`files.json`: which files a segment has, one JSON array each.  Read without an engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cidx_ref.files import Directory

__all__ = ["FILE_LIST", "StoredFile", "parse_files", "read_files", "write_files"]

FILE_LIST = "files.json"


class StoredFile(NamedTuple):
    """A file as it was when it was indexed; `digest` and `guessed` as in `scan.SourceFile`.

    No other file of the index, nor a later version of this one, ever has the same `id`.
    """

    id: int
    path: str
    language: str
    digest: str
    guessed: bool
    chunks: int


def write_files(directory: Directory, files: Sequence[StoredFile]) -> None:
    with directory.writer(FILE_LIST) as file:
        file.write(json.dumps(files).encode("ascii"))


def read_files(directory: Path) -> list[StoredFile]:
    """The files of the segment in `directory`.  Raises `OSError`, `ValueError`, `TypeError`."""
    return parse_files((directory / FILE_LIST).read_bytes())


def parse_files(data: bytes) -> list[StoredFile]:
    return [StoredFile(*row) for row in json.loads(data)]
