"""What kind of file system a path is on, and whether an index or a daemon may be there.

A `flock` on a network file system may hold on one machine only, and then there are two writers, or
two daemons.  So such file systems are recognised and refused by name (README, "An index
elsewhere").  This reads the kernel's list of mounts, and the flags of a directory: when a daemon
starts and when a build begins, and for no query.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from pathlib import Path

from cidx_ref.places import DIRECTORY, INDEX_DIRECTORY
from cidx_ref.project import Project

__all__ = ["flagged", "kind_of", "network_problem", "write_problem"]

_MOUNTS = Path("/proc/self/mountinfo")
# Not 9p and virtiofs: by them machines within a machine see its local disks.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|afs|ceph|glusterfs|lustre|beegfs|fhgfs|gpfs|wekafs|ncpfs|coda|orangefs|"
    r"pvfs2|panfs|"
    r"fuse\.(sshfs|glusterfs|ceph|ceph-fuse|lustre|beegfs|s3fs|gcsfuse|goofys|rclone|davfs|"
    r"mount\.davfs|gvfsd-fuse|blobfuse2?|mountpoint-s3|seaweedfs|kbfs|onedriver|ossfs|cosfs|"
    r"curlftpfs|juicefs|JuiceFS|mfs|moosefs|smbnetfs|afpfs)|davfs"
)


#: The system takes 4,096 bytes; what engines call their files has to be in it.
_MAX_PATH_BYTES = 3_900
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS, where a `long` has 64 bits
_FLAGS = {0x10: ("immutable", "i"), 0x20: ("append-only", "a")}


def flagged(directory: Path) -> str | None:
    """That a flag keeps the directory from being written, by root, too, and how it is taken off;
    None if there is no such flag, or the file system does not say."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        told = fcntl.ioctl(fd, _GET_FLAGS, bytes(8))
    except OSError:
        return None
    finally:
        os.close(fd)
    flags = int.from_bytes(told[:4], sys.byteorder)
    for flag, (name, letter) in _FLAGS.items():
        if flags & flag:
            return f"{directory} is {name}: `chattr -{letter}` lets it be written"
    return None


def kind_of(path: Path, mounts: str | None = None) -> str:
    """The kind of the file system that `path` is on, or will be; "" if the system does not say.

    `mounts` is the text of the list of mounts; default: the system's.
    """
    device = _device(path)
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
        except OSError:
            return ""
    for line in mounts.splitlines():
        # Number, parent, device, and then of any length; after " - " the kind.
        fields, _, rest = line.partition(" - ")
        if fields.split(" ", 3)[2:3] == [device]:
            return rest.partition(" ")[0]
    return ""


def network_problem(project: Project) -> str | None:
    """Why no lock of the project's can be relied on; None if they can."""
    for directory in dict.fromkeys((project.directory, project.index_directory)):
        kind = kind_of(directory)
        if _NETWORK.fullmatch(kind):
            return (
                f"{directory} is on a network file system ({kind}), where locks may hold on one "
                f"machine only: {_remedy()}"
            )
    return None


def write_problem(project: Project) -> str | None:
    """Why no index of the project can be written; None if it can."""
    if len(os.fsencode(project.generations)) > _MAX_PATH_BYTES:
        return f"its path is too long: {_remedy()}"
    if project.places.is_read_only:
        there = _unwritable(project.root)
        if (flag := flagged(there)) is not None:
            return f"{flag}; or {_remedy()}"
        return f"{there} {_why(there, kind_of(there))}: {_remedy()}"
    return network_problem(project) or flagged(project.generations)


def _unwritable(root: Path) -> Path:
    """The part of a tree that cannot be written: all of it, or `.code-indexer/` only."""
    tree = root / DIRECTORY
    return tree if tree.exists() and os.access(root, os.W_OK, effective_ids=True) else root


def _remedy() -> str:
    return (
        f"name a directory on a local disk in {INDEX_DIRECTORY}, and the index goes there "
        '(README, "An index elsewhere")'
    )


def _why(directory: Path, kind: str) -> str:
    named = f" ({kind})" if kind else ""
    try:
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return f"is on a read-only file system{named}"
    except OSError:
        pass
    return f"cannot be written by you (its file system: {kind or 'unknown'})"


def _device(path: Path) -> str:
    """The device of `path`, or of what is above it if it is not there, as the list has it."""
    for each in (path, *path.parents):
        try:
            number = each.stat().st_dev
        except OSError:
            continue
        return f"{os.major(number)}:{os.minor(number)}"
    return ""
