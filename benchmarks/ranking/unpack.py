"""How an archive from elsewhere becomes a directory: nothing of it comes to lie outside."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

__all__ = ["MAX_BYTES", "MAX_FILES", "UnsafeArchiveError", "unpack"]

MAX_FILES = 50_000
MAX_BYTES = 1 << 30


class UnsafeArchiveError(Exception):
    """The archive has what no archive of source needs; nothing of it should be used."""


def unpack(archive: Path, target: Path, max_bytes: int = MAX_BYTES) -> None:
    """Write the files of a tar archive below `target`, which is made, without the one directory
    that all of them may lie in.

    Links, devices and the like are left out, so that no path can lead through one; modes and owners
    are not taken over.  Raises `UnsafeArchiveError` for a path that leads outside, before anything
    is written, and for what is too large or damaged.
    """
    try:
        with tarfile.open(archive) as tar:
            files = _files(tar, max_bytes)
            tops = {path.parts[0] for path, _ in files}
            is_nested = len(tops) == 1 and all(len(path.parts) > 1 for path, _ in files)
            target.mkdir()
            for path, member in files:
                place = target.joinpath(*path.parts[1 if is_nested else 0 :])
                place.parent.mkdir(parents=True, exist_ok=True)
                _write(tar, member, place)
    # A path that is a file and a directory is an `OSError`, and so is a damaged archive at times.
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise UnsafeArchiveError(f"{archive.name}: {error}") from error


def _files(tar: tarfile.TarFile, max_bytes: int) -> list[tuple[PurePosixPath, tarfile.TarInfo]]:
    """Every regular file and its path, all of which are checked."""
    files = []
    size = 0
    for count, member in enumerate(tar):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\0" in member.name:
            raise UnsafeArchiveError(f"{tar.name!r} has the path {member.name!r}")
        if member.isreg() and path.parts:
            files.append((path, member))
            size += member.size
        if count >= MAX_FILES or size > max_bytes:
            raise UnsafeArchiveError(f"{tar.name!r} is too large")
    return files


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None, "a regular file has content"
    with content, place.open("wb") as file:
        shutil.copyfileobj(content, file)
