"""The project's socket, however long its path is, and the credentials of the peer behind it.

A Unix socket's address has room for 107 bytes.  Longer paths are reached through the open
directory, as /proc/self/fd/N/daemon.sock.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "address_of",
    "check_peer",
    "connect",
    "is_addressable",
    "is_answered",
    "is_trusted",
    "peer",
    "peer_pid",
]

_ADDRESS_BYTES = 108  # with the NUL at its end
_MAX_ADDRESS_BYTES = 100  # of 107: room for the temporary name's suffix


@contextmanager
def address_of(path: Path) -> Iterator[bytes]:
    """An address by which `path` can be bound or connected to while the block runs."""
    direct = os.fsencode(path)
    if len(direct) <= _MAX_ADDRESS_BYTES:
        yield direct
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield os.fsencode(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def is_addressable(path: Path) -> bool:
    """Whether a program that knows nothing of `address_of` can connect to `path`."""
    return len(os.fsencode(path)) < _ADDRESS_BYTES


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A socket connected to the daemon at `path`, blocking.

    Raises `OSError`; `PermissionError` with `EPERM` if another user listens there (`check_peer`).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with address_of(path) as address:
            sock.connect(address)
        sock.settimeout(None)
        check_peer(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def peer(sock: socket.socket) -> tuple[int, int]:
    """The process at the other end of a connected socket, and its user.

    They are those that connected, or began to listen.  Of another container, the process is 0.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, _ = struct.unpack("iII", credentials)
    return pid, uid


def peer_pid(sock: socket.socket) -> int:
    """The process that listens at the other end of a connected socket."""
    return peer(sock)[0]


def is_trusted(uid: int) -> bool:
    """True for the user this process runs as, and for root, who could do as it likes anyway."""
    return uid in (os.geteuid(), 0)


def check_peer(sock: socket.socket) -> None:
    """Raise `PermissionError` (`EPERM`) if the other end is another user's, and not root's.

    Wherever it lies, the socket may belong to another user, who would be told each query.
    """
    _, uid = peer(sock)
    if not is_trusted(uid):
        raise PermissionError(
            errno.EPERM, f"belongs to user {uid}, and this is user {os.geteuid()}: it is not asked"
        )


def is_answered(path: Path) -> bool:
    """True if a process listens at `path`, whichever user owns it; or may, where we may not ask."""
    try:
        connect(path, timeout_s=1.0).close()
    except BlockingIOError:  # the backlog is full: the daemon listens, and is busy
        return True
    except OSError as error:
        # Another user listens, or the socket is closed to us: who asks it is told so.
        return error.errno in (errno.EPERM, errno.EACCES)
    return True
