"""The manifest of a generation: what it says of itself, and whether that is to be believed.

It is the last file that is written of a generation, names every other one with size and checksum,
and carries a digest that only the account's key makes.  A manifest may have come with a clone, so
each of its values is checked for type and range before any is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cidx_ref.errors import IndexingError, IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.files import Directory, is_plain, own_directory
from cidx_ref.keys import Key, account_key
from cidx_ref.shown import shown, why

__all__ = [
    "BUILDING",
    "DEAD",
    "DIGEST",
    "FORMAT",
    "FULLTEXT",
    "GRAPH",
    "MANIFEST",
    "MATRIX",
    "SEGMENT_FILES",
    "damaged_files",
    "is_engine_lock",
    "is_intact",
    "is_segment_id",
    "missized_files",
    "not_ours",
    "parse_manifest",
    "read_dead",
    "read_manifest",
    "unlisted",
    "unnamed_files",
    "written_manifest",
]

FORMAT = 7
MANIFEST = "manifest.json"
DIGEST = "digest"
#: Which files of its segments a generation has no more.
DEAD = "dead.json"
#: The folder of the full text.
FULLTEXT = "fulltext"
#: What the name of a generation that is being built begins with.
BUILDING = ".building-"
#: The vectors of a segment: all of them one after the other, or with a graph.
MATRIX, GRAPH = VECTOR_FILES = ("vectors.f32", "vectors.hnsw")
#: What else a segment has; named here for those that load no engine.
SEGMENT_FILES = ("files.json", "chunks.npy", "chunks.bin", "words.txt")
_MAX_DEAD_BYTES = 1 << 24
_MAX_MANIFEST_BYTES = 1 << 20  # some thousands of files


def read_manifest(directory: Path | Directory, key: Key | None = None) -> dict[str, Any]:
    """The manifest of the generation in `directory`, which `key` (default: the account's) vouches
    for.

    Raises `FileNotFoundError` if there is none, `NoIndexError` if it was not made here or is of
    another format.
    """
    if isinstance(directory, Path):
        try:
            with own_directory(directory) as opened:
                return read_manifest(opened, key)
        except UntrustedError as error:
            raise NoIndexError(str(error)) from None
    manifest = parse_manifest(directory)
    digest = manifest.pop(DIGEST)
    if not (key or account_key()).vouches_for(manifest, digest):
        raise not_ours(directory.path.name)
    return manifest


def parse_manifest(directory: Directory) -> dict[str, Any]:
    """The manifest in `directory`, with all values in their ranges and the digest still in it:
    whether that is ours, the caller must look."""
    name = directory.path.name
    try:
        manifest = json.loads(directory.read(MANIFEST, _MAX_MANIFEST_BYTES))
    except FileNotFoundError:
        raise
    except (OSError, UntrustedError, ValueError, RecursionError):
        raise not_ours(name) from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if type(found) is int and found != FORMAT:
        raise NoIndexError(
            f"the index here is of format {found}, this version makes {FORMAT}: "
            "run `cidx-ref index`"
        )
    problem = _problem_with(manifest, _SHAPE, MANIFEST)
    if problem is None and manifest["generation"] != name.removeprefix(BUILDING):
        problem = f"{MANIFEST}: generation: {shown(manifest['generation'])}"
    if problem is not None:
        raise not_ours(name, problem)
    return manifest  # type: ignore[no-any-return]


def written_manifest(manifest: dict[str, Any]) -> bytes:
    """A signed manifest as it is on disk.  Raises `IndexingError` if it could not be read again."""
    text = json.dumps(manifest, indent=1).encode("ascii")
    problem = _problem_with(manifest, _SHAPE, MANIFEST)
    if problem is None and len(text) > _MAX_MANIFEST_BYTES:
        problem = f"{MANIFEST}: it is larger than {_MAX_MANIFEST_BYTES} bytes"
    if problem is not None:
        raise IndexingError(
            f"the new index could not be read again ({problem}): run `cidx-ref index --full`"
        )
    return text


def not_ours(name: str, problem: str = "") -> NoIndexError:
    return NoIndexError(
        f"the index here ({shown(name.removeprefix(BUILDING))}) was not made by this account, "
        f"or was changed since{problem and f' ({problem})'}: `cidx-ref index` makes a new one, "
        "`cidx-ref adopt` checks this one and takes it"
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _is_checksum(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_rules(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def _is_time(value: Any) -> bool:
    from datetime import datetime

    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_dim(value: Any) -> bool:
    return _is_count(value) and 0 < value <= 1 << 16


def _is_file_name(name: Any) -> bool:
    """A plain name, or one in a plain directory."""
    parts = name.split("/")
    return len(parts) <= 2 and all(map(is_plain, parts)) and name.isprintable()


def _is_vectors(value: Any) -> bool:
    return value in VECTOR_FILES


def is_segment_id(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"s[0-9]{6,12}-[0-9a-f]{6}", value) is not None


#: What a manifest holds; a function says what a value must be, and as a key what the keys must be.
_SHAPE: dict[Any, Any] = {
    "format": _is_count,
    "generation": str,
    "created_at": _is_time,
    "embedder": {"id": str, "dim": _is_dim},
    "space": str,
    "counts": {"files": _is_count, "chunks": _is_count, "guessed": _is_count},
    "rules": _is_rules,
    "segments": {
        is_segment_id: {
            "files": _is_count,
            "chunks": _is_count,
            "vectors": _is_vectors,
            "worded": _is_count,
        }
    },
    "next_file": _is_count,
    "next_segment": _is_count,
    "dead_documents": _is_count,
    "skipped": {str: _is_count},
    "files": {_is_file_name: {"size_bytes": _is_count, "sha256": _is_checksum}},
    DIGEST: _is_checksum,
}


def _problem_with(value: Any, shape: Any, where: str) -> str | None:
    """What in `value` is not as `shape` says, by its name; None if nothing is."""
    if not isinstance(shape, dict):
        fits = isinstance(value, shape) if isinstance(shape, type) else shape(value)
        return None if fits else f"{where}: {shown(value)}"
    if not isinstance(value, dict):
        return f"{where}: {shown(value)}"
    first = next(iter(shape))
    if isinstance(first, str):
        missing = next((name for name in shape if name not in value), None)
        if missing is not None:
            return f"{where}: no {missing!r}"
        inner = [(value[name], shape[name], f"{where}: {name}") for name in shape]
    else:
        bad = next((name for name in value if _problem_with(name, first, "")), None)
        if bad is not None:
            return f"{where}: {shown(bad)}"
        inner = [(item, shape[first], f"{where}: {shown(name)}") for name, item in value.items()]
    return next(filter(None, (_problem_with(*each) for each in inner)), None)


def damaged_files(
    directory: Path | Directory, manifest: dict[str, Any], within: str | None = None
) -> dict[str, str]:
    """The files that are not what the manifest says, each with what is wrong with it.

    Of those in the directory `within` only, or outside all if that is "".
    """
    if isinstance(directory, Path):
        with own_directory(directory) as opened:
            return damaged_files(opened, manifest, within)
    found = {
        name: _what_is_wrong(directory, name, recorded)
        for name, recorded in manifest["files"].items()
        if within is None or name.rpartition("/")[0] == within
    }
    return {name: problem for name, problem in found.items() if problem is not None}


def unnamed_files(manifest: dict[str, Any]) -> list[str]:
    """The files without which a generation is none, and of which its manifest says nothing."""
    needed = [DEAD, f"{FULLTEXT}/meta.json"]
    for name, described in manifest["segments"].items():
        needed += [f"{name}/{each}" for each in (*SEGMENT_FILES, described["vectors"])]
    return [name for name in needed if name not in manifest["files"]]


def is_engine_lock(name: str) -> bool:
    """Whether the file `name` of a generation is a lock of tantivy's: no part of the index, and
    made by readers, too."""
    return re.fullmatch(rf"{FULLTEXT}/\.tantivy-.*\.lock", name) is not None


def is_intact(directory: Directory, manifest: dict[str, Any], name: str) -> bool:
    """Whether the file `name` is what the manifest says."""
    recorded = manifest["files"].get(name)
    return recorded is not None and _what_is_wrong(directory, name, recorded) is None


def missized_files(directory: Directory, manifest: dict[str, Any]) -> list[str]:
    """The files that are missing, or not as large as the manifest says: no file is read."""
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in manifest["files"]:
        by_folder[name.rpartition("/")[0]].append(name)
    found = []
    for folder, names in by_folder.items():
        try:
            with directory.sub(folder) if folder else nullcontext(directory) as inner:
                for name in names:
                    status = inner.status(name.rpartition("/")[2])
                    recorded = manifest["files"][name]["size_bytes"]
                    if status is None or status.st_size != recorded:
                        found.append(name)
        except (OSError, UntrustedError):
            found += names
    return found


def read_dead(directory: Directory, manifest: dict[str, Any]) -> dict[str, list[int]]:
    """By segment, the numbers of the files in it that the generation has no more.

    It must have been verified that the manifest vouches for it; raises `IndexUnusableError`.
    """
    try:
        dead = json.loads(directory.read(DEAD, _MAX_DEAD_BYTES))
        for name, numbers in dead.items():
            count = manifest["segments"][name]["files"]
            if not all(type(number) is int and 0 <= number < count for number in numbers):
                raise ValueError(f"{name}: no such file")
            if not isinstance(numbers, list) or len(set(numbers)) != len(numbers):
                raise ValueError(f"{name}: a file twice")
    except (OSError, UntrustedError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise IndexUnusableError(f"{DEAD}: {why(error)}") from None
    except RecursionError:
        raise IndexUnusableError(f"{DEAD}: nested too deeply") from None
    return dead  # type: ignore[no-any-return]


def unlisted(directory: Directory, manifest: dict[str, Any], within: str = "") -> list[str]:
    """What lies in `directory`, or in its directory `within`, and is not in the manifest."""
    if within:
        with directory.sub(within) as inner:
            found = [f"{within}/{name}" for name in inner.names()]
    else:
        found = [name for name in directory.names() if name != MANIFEST]
    listed = manifest["files"].keys()
    return [name for name in found if name not in listed]


def _what_is_wrong(directory: Directory, name: str, recorded: dict[str, Any]) -> str | None:
    above, _, plain = name.rpartition("/")
    try:
        if above:
            with directory.sub(above) as inner:
                return _what_is_wrong(inner, plain, recorded)
        with open(directory.open_regular(plain), "rb") as file:
            if os.fstat(file.fileno()).st_size != recorded["size_bytes"]:
                return "wrong size"
            if hashlib.file_digest(file, "sha256").hexdigest() != recorded["sha256"]:
                return "wrong checksum"
    except FileNotFoundError:
        return "missing"
    except UntrustedError:
        return "not a file of ours"
    except (OSError, ValueError) as error:  # ValueError: no file can have that name
        return getattr(error, "strerror", None) or "unreadable"
    return None
