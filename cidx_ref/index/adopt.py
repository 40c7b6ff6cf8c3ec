"""Taking an index that was not made on this account: checked for all that would be believed, and
then signed with the account's key.

An index says where its chunks lie and how its graph is linked, and the engines believe it: hnswlib
follows a link out of its memory.  So chunks, texts and graph are checked here, with numpy and
nothing else, before an engine sees a byte of them; the full text, whose files are tantivy's own
matter, is made anew.  What cannot be checked is what it says: a hit of an adopted index shows the
text that its maker wrote.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import closing
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cidx_ref.errors import IndexingError, IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.files import Directory, is_plain, own_directory
from cidx_ref.index.analysis import terms_of_file
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.fulltext import FullTextWriter
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.graphs import GraphError, check_graph
from cidx_ref.index.live import key_of
from cidx_ref.index.manifest import (
    DEAD,
    GRAPH,
    MATRIX,
    damaged_files,
    is_engine_lock,
    parse_manifest,
    read_dead,
    unlisted,
)
from cidx_ref.index.snapshot import FULLTEXT
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import FILES, MAX_COLUMN, ROW, TEXT_CODEC
from cidx_ref.index.structure import KINDS
from cidx_ref.index.unwritable import not_written
from cidx_ref.index.vocabulary import WORDS, WordWriter
from cidx_ref.keys import Key
from cidx_ref.mounts import write_problem
from cidx_ref.project import DIRECTORY, Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["adopt"]

_MAX_FILE_BYTES = 1 << 28
_MAX_ID = 1 << 40  # with the number of a chunk, it must go into 64 bits (`live.key_of`)
_MAX_SEGMENT = 10**11  # of twelve digits, in a name (`manifest.is_segment_id`): there is room
_FILES, _ROWS, _TEXTS = FILES


def adopt(
    project: Project,
    *,
    wait_s: float | None = None,
    key: Key | None = None,
    runtime: Runtime = SYSTEM,
) -> dict[str, Any]:
    """Check the live generation of `project`, publish a copy that is signed with `key` (default:
    the account's), and say what it holds.

    Where the index lies elsewhere, the generation in the tree is taken, if there is one.

    Nothing unchecked is loaded into an engine.  Raises `NoIndexError` where there is none of our
    format, `IndexUnusableError` naming what is wrong with it, `BusyError`, `UntrustedError`, and
    `IndexingError` if the copy cannot be written.
    """
    project.check()
    if (problem := write_problem(project)) is not None:
        raise IndexingError(f"cannot write the index: {problem}")
    found = Generations(_source(project), runtime, key=key)
    if not found.directory.is_dir():
        raise NoIndexError("this project has no index to adopt: run `cidx-ref index`")
    generations = Generations(project.generations, runtime, key=key)
    if generations.key.problem is not None:
        raise UntrustedError(f"an adopted index would be forgotten: {generations.key.problem}")
    try:
        project.create_directory(runtime)
        with generations.writing(wait_s), generations.building() as (generation, building):
            manifest = _taken(found, building, runtime)
            # The full text was made anew, without what is dead.
            ours = {**manifest, "generation": generation, "dead_documents": 0}
            generations.seal(building, ours)
            generations.publish(generation, building)
    except OSError as error:
        raise not_written(error, project) from None
    counts = manifest["counts"]
    return {"generation": generation, "files": counts["files"], "chunks": counts["chunks"]}


def _source(project: Project) -> Path:
    """The directory of generations that one is taken from."""
    in_the_tree = project.root / DIRECTORY / project.generations.name
    try:
        return in_the_tree if in_the_tree.is_dir() else project.generations
    except OSError as error:  # another user's
        raise UntrustedError(f"{in_the_tree}: {error.strerror}: adopt a copy of your own") from None


def _taken(found: Generations, building: Path, runtime: Runtime) -> dict[str, Any]:
    """Check the live generation that was found, and copy it; its manifest."""
    try:
        with Lease(found.path(found.current()), runtime) as lease:
            manifest = _checked(lease.files)
            _copy(lease.files, manifest, building, runtime)
    except OSError as error:
        raise IndexUnusableError(why(error)) from None
    return manifest


def _copy(directory: Directory, manifest: dict[str, Any], building: Path, runtime: Runtime) -> None:
    """Write what was checked once more; words and full text, which cannot be, are made of the
    texts."""
    dead = read_dead(directory, manifest)
    with (
        own_directory(building, runtime=runtime) as target,
        target.make(FULLTEXT) as inner,
        FullTextWriter(inner) as fulltext,
    ):
        target.create(DEAD, directory.read(DEAD, _MAX_FILE_BYTES))
        for name, described in manifest["segments"].items():
            with directory.sub(name) as found, target.make(name) as made:
                for each in (*FILES, described["vectors"]):
                    made.create(each, found.read(each, _MAX_FILE_BYTES))
                words = WordWriter()
                with closing(ChunkStore(building / name)) as store:
                    _add_texts(store, set(dead.get(name, ())), words, fulltext)
                words.save(made)
            described["worded"] = described["chunks"]
        fulltext.commit()


def _add_texts(
    store: ChunkStore, dead: set[int], words: WordWriter, fulltext: FullTextWriter
) -> None:
    for number, file in enumerate(store.files):
        chunks = map(store.read, store.chunks_of(number))
        for ordinal, terms in enumerate(terms_of_file(file.path, chunks)):
            words.add(terms)
            if number not in dead:
                fulltext.add(key=key_of(file.id, ordinal), file=file.id, terms=terms)


def _checked(directory: Directory) -> dict[str, Any]:
    """The manifest, without its digest, of a generation in which everything is as it must be."""
    manifest = parse_manifest(directory)
    del manifest["digest"]
    folders = (FULLTEXT, *manifest["segments"])
    for name in chain.from_iterable(unlisted(directory, manifest, f) for f in ("", *folders)):
        # Nor are locks taken over, which tantivy leaves where it reads.
        expected = name in folders or is_engine_lock(name)
        _require(expected, f"{name}: not in the manifest")
    for name, problem in damaged_files(directory, manifest).items():
        raise IndexUnusableError(f"{name}: {problem}")
    _require(DEAD in manifest["files"], f"{DEAD}: not in the manifest")
    dead = read_dead(directory, manifest)
    ids: set[int] = set()
    paths: set[str] = set()
    live = Counter[str]()
    for name in manifest["segments"]:
        files = _check_segment(directory, manifest, name)
        own = {file.id for file in files}
        _require(len(own) == len(files) and own.isdisjoint(ids), f"{name}: an id twice")
        ids |= own
        gone = set(dead.get(name, ()))
        kept = [file for number, file in enumerate(files) if number not in gone]
        alive = {file.path for file in kept}
        # An index run would go on from one of the two, and the other would be found for ever.
        _require(len(alive) == len(kept) and alive.isdisjoint(paths), f"{name}: a path twice")
        paths |= alive
        chunks, guessed = sum(f.chunks for f in kept), sum(f.guessed for f in kept)
        live.update(files=len(kept), chunks=chunks, guessed=guessed)
    _require(all(i < manifest["next_file"] for i in ids), "an id that is still to come")
    _require(manifest["next_file"] < _MAX_ID, "the next id")
    _require(manifest["next_segment"] < _MAX_SEGMENT, "the next segment")
    counts = manifest["counts"]
    is_whole = (counts["files"], counts["chunks"]) == (live["files"], live["chunks"])
    _require(is_whole, f"not {counts['chunks']} chunks of {counts['files']} files")
    # A run counts on from it, and must not come below zero.
    _require(counts["guessed"] == live["guessed"], f"not {counts['guessed']} of them guessed")
    return manifest


def _check_segment(directory: Directory, manifest: dict[str, Any], name: str) -> list[StoredFile]:
    described, dim = manifest["segments"][name], manifest["embedder"]["dim"]
    for each in (*FILES, WORDS, described["vectors"]):
        _require(f"{name}/{each}" in manifest["files"], f"{name}/{each}: not in the manifest")
    with directory.sub(name) as inner:
        files = _check_store(inner, described["files"], described["chunks"])
        data = _mapped(inner, described["vectors"])
        if described["vectors"] == MATRIX:
            _require(len(data) == 4 * dim * described["chunks"], f"{MATRIX}: its size")
            _require(bool(np.isfinite(data.view("<f4")).all()), f"{MATRIX}: not finite")
        else:
            _check_graph(data, described["chunks"], dim)
    return files


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise IndexUnusableError(f"not adopted: {problem}")


def _mapped(directory: Directory, name: str) -> NDArray[np.uint8]:
    """The bytes of a file, mapped; its checksum has been seen."""
    fd = directory.open_regular(name)
    with open(fd, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)


# The store.


def _check_store(directory: Directory, files: int, chunks: int) -> list[StoredFile]:
    try:
        listed = json.loads(directory.read(_FILES, _MAX_FILE_BYTES))
        _require(isinstance(listed, list) and len(listed) == files, f"{_FILES}: not {files} files")
        found = [_checked_file(file) for file in listed]
    except (ValueError, RecursionError) as error:
        raise IndexUnusableError(f"not adopted: {_FILES}: {error}") from None
    # Its header is compared, and not read: numpy would parse it as Python.
    header, rows = _header_of_rows(chunks), _mapped(directory, _ROWS)
    size = len(header) + chunks * ROW.itemsize
    is_whole = len(rows) == size and rows[: len(header)].tobytes() == header
    _require(is_whole, f"{_ROWS}: not {chunks} rows")
    table = rows[len(header) :].view(ROW)
    _check_rows(table, files, _mapped(directory, _TEXTS))
    expected = np.repeat(np.arange(files), [file.chunks for file in found])
    _require(bool(np.array_equal(table["file"], expected)), f"{_ROWS}: chunks of other files")
    return found


def _header_of_rows(chunks: int) -> bytes:
    described = {"descr": np.lib.format.dtype_to_descr(ROW), "fortran_order": False}
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {**described, "shape": (chunks,)})
    return stream.getvalue()


def _checked_file(row: Any) -> StoredFile:
    kinds = [int, str, str, str, bool, int]
    is_file = isinstance(row, list) and [type(value) for value in row] == kinds
    _require(is_file, f"{_FILES}: an entry that is no file")
    file = StoredFile(*row)
    is_counted = 0 < file.id < _MAX_ID and 0 <= file.chunks < 1 << 20
    _require(is_counted, f"{_FILES}: {file.path!r}: a number")
    _require(all(map(is_plain, file.path.split("/"))), f"{_FILES}: {file.path!r}: no path")
    return file


def _check_rows(rows: NDArray[Any], files: int, texts: NDArray[np.uint8]) -> None:
    parts = [rows[part].astype(np.uint64) for part in ("name_size", "defines_size", "text_size")]
    # A line end before the text, and one after it.
    sizes = np.sum(parts, axis=0, dtype=np.uint64) + np.uint64(2)
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(sizes)])
    _require(bool(np.all(rows["file"] < files)), f"{_ROWS}: a chunk of no file")
    _require(bool(np.all(rows["kind"] < len(KINDS))), f"{_ROWS}: an unknown kind")
    _require(
        bool(np.all((rows["line_start"] >= 1) & (rows["line_start"] <= rows["line_end"]))),
        f"{_ROWS}: lines that do not exist",
    )
    _require(
        bool(np.array_equal(rows["offset"], ends[:-1])) and int(ends[-1]) == len(texts),
        f"{_ROWS}: texts that do not follow each other",
    )
    before = (rows["offset"] + parts[0] + parts[1]).astype(np.int64)
    between = np.concatenate([texts[before], texts[ends[1:].astype(np.int64) - 1]])
    _require(bool(np.all(between == ord("\n"))), f"{_TEXTS}: texts without line ends between them")
    _require(bool(np.all(rows["column"] < MAX_COLUMN)), f"{_ROWS}: a column that no line has")
    for row in rows:
        start = int(row["offset"])
        middle = start + int(row["name_size"])
        begin = middle + int(row["defines_size"])
        end = begin + 1 + int(row["text_size"])
        try:
            for one, other in (start, middle), (middle, begin), (begin + 1, end):
                texts[one:other].tobytes().decode(*TEXT_CODEC)
            lines = int(np.count_nonzero(texts[begin + 1 : end] == ord("\n")))
            _require(
                int(row["line_end"]) - int(row["line_start"]) == lines,
                f"{_ROWS}: more lines than the text has, or fewer",
            )
        except UnicodeDecodeError:
            raise IndexUnusableError(f"not adopted: {_TEXTS}: not UTF-8") from None


# The graph.


def _check_graph(data: NDArray[np.uint8], count: int, dim: int) -> None:
    """Each label is that of a chunk, and nothing is marked deleted: that is not our way."""
    try:
        check_graph(data, count, dim, most_label=count - 1)
    except GraphError as problem:
        raise IndexUnusableError(f"not adopted: {GRAPH}: {problem}") from None
