"""Why an index could not be written: what the system says, where engines say nothing of use."""

from __future__ import annotations

import errno
import os
import resource
import secrets
import signal

from cidx_ref.errors import IndexingError
from cidx_ref.files import Directory
from cidx_ref.index.manifest import BUILDING
from cidx_ref.places import INDEX_DIRECTORY, is_gone
from cidx_ref.project import Project
from cidx_ref.shown import why

__all__ = ["how_it_died", "not_written", "require_room"]

_TRIED_BYTES = 1 << 16
_MAX_TRIED_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def require_room(directory: Directory) -> None:
    """Raise the `OSError` that a file of some size in `directory` meets, if any: a full disk, a
    quota, a file system that has become read-only, a limit of this process.  Nothing stays."""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    beyond = most + 1 if 0 <= most < _MAX_TRIED_BYTES else 0
    name = f"{BUILDING}tried-{secrets.token_hex(3)}"  # which the next writer sweeps, if this dies
    try:
        directory.create(name, bytes(max(_TRIED_BYTES, beyond)))
    finally:
        directory.remove(name)


def not_written(error: OSError, project: Project) -> IndexingError:
    """The error of an index run of `project` that the system has stopped: what it said, where, and
    what to do."""
    if is_gone(project.root):
        return IndexingError("the project is gone: its directory was removed, or moved")
    said = f"cannot write the index: {error.strerror or why(error)}"
    if error.errno in (errno.EACCES, errno.EPERM):
        said += f" ({_where(project)}, which is to be your own, mode 700)"
        return IndexingError(f"{said}; the index stays as it was")
    if error.errno not in (*_FULL, errno.EROFS, errno.EIO, errno.EFBIG):
        return IndexingError(said)
    said += f" ({_where(project)}{_free(project) if error.errno in _FULL else ''})"
    if error.errno in _FULL:
        said += ": make room, and run `cidx-ref index` again"
    return IndexingError(f"{said}; the index stays as it was")


def how_it_died(status: int) -> str:
    """What an exit status says of an indexing process, as the end of a sentence."""
    said = f"died (exit status {status})"
    if status != -signal.SIGKILL:
        return said
    return (
        f"{said}: it was killed, by the system perhaps, for want of memory; with `exclude` or a "
        "smaller `max_file_size_bytes` it takes less"
    )


def _where(project: Project) -> str:
    if project.places.base is None:
        return "in " + os.fspath(project.generations.relative_to(project.root))
    return f"where the index lies, see {INDEX_DIRECTORY}"


def _free(project: Project) -> str:
    """How much is left, as far as the system says; a quota may be less."""
    for each in (project.generations, *project.generations.parents):
        try:
            found = os.statvfs(each)
        except OSError:
            continue
        if found.f_files and not found.f_favail:
            return ", no inodes left"
        return f", {found.f_bavail * found.f_frsize / 1e6:.1f} MB free"
    return ""
