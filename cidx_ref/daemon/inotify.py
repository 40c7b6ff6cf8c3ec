"""The kernel's inotify, bound thinly: watches on open folders, and what happened in them.

No rule of the watcher's is in here.  `Events` is the seam: the tests have one of their own.  The
binding needs libc and nothing else, and loads `ctypes` when it is opened: never in an idle daemon.
A folder is watched by its open descriptor, so that the kernel follows no path of the tree's.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import select
import struct
import termios
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

__all__ = [
    "ATTRIB", "CREATE", "DELETE", "DELETE_SELF", "EXHAUSTED", "IGNORED", "IS_FOLDER", "MODIFY",
    "MOVED_FROM", "MOVED_TO", "MOVE_SELF", "OVERFLOW", "UNMOUNT", "Event", "Events",
    "Inotify", "parse",
]  # fmt: skip

# linux/inotify.h
MODIFY, ATTRIB = 0x2, 0x4
MOVED_FROM, MOVED_TO = 0x40, 0x80
CREATE, DELETE = 0x100, 0x200
DELETE_SELF, MOVE_SELF = 0x400, 0x800
UNMOUNT, OVERFLOW, IGNORED = 0x2000, 0x4000, 0x8000
IS_FOLDER = 0x4000_0000
#: Of these errors the system is guilty, and not the folder: it has no more of something.
EXHAUSTED = frozenset((errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
_ONLY_FOLDER, _NO_LINK, _NO_UNLINKED = 0x0100_0000, 0x0200_0000, 0x0400_0000

_MASK = (
    MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
    | _ONLY_FOLDER | _NO_LINK | _NO_UNLINKED
)  # fmt: skip
_TOGETHER_MS = 10
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name


class Event(NamedTuple):
    """What happened in a folder: the `watch` on it, what (bits), and the name of the entry in it;
    "" where it happened to the folder itself."""

    watch: int
    mask: int
    name: str = ""


class Events(Protocol):
    """Watches, and what they have seen.  `wake` may be called from any thread; the rest by one at
    a time, but for `wait`, beside which others may run, except for `close`."""

    def add(self, folder: int) -> int:
        """Watch the folder that is open as `folder`; a folder that is watched has the same number
        again.  Raises `OSError`: ENOSPC where the system has no watches left."""

    def remove(self, watch: int) -> None:
        """Watch no more; what is known already may still be told."""

    def has_any(self) -> bool:
        """Whether there is something to read."""

    def read(self) -> list[Event]:
        """All that has happened by now, in its order.  Waits for nothing."""

    def wait(self, timeout_s: float | None) -> None:
        """Wait until there is something to read, or `wake` was called, or the time is over."""

    def wake(self) -> None:
        """End the wait, or the next one."""

    def close(self) -> None:
        """Give everything back."""


def parse(data: bytes) -> list[Event]:
    """The events in what was read.  One that is cut off is an overflow: something was lost."""
    events: list[Event] = []
    place = 0
    while place < len(data):
        begin = place + _HEAD.size
        if begin > len(data):
            return [*events, Event(-1, OVERFLOW)]
        watch, mask, _, length = _HEAD.unpack_from(data, place)
        place = begin + length
        if place > len(data):
            return [*events, Event(-1, OVERFLOW)]
        name = data[begin:place].partition(b"\0")[0]
        events.append(Event(watch, mask, os.fsdecode(name)))
    return events


class Inotify:
    """The real `Events`."""

    def __init__(self, libc: Any, descriptor: int) -> None:
        self._libc = libc
        self._descriptor = descriptor
        self._wakes = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._wakes, select.POLLIN)
        self._wake_poll = select.poll()
        self._wake_poll.register(self._wakes, select.POLLIN)

    @classmethod
    def open(cls) -> Inotify:
        """Raises `OSError`: EMFILE where the user has no instances left, ENOSYS without inotify."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        try:
            begin = libc.inotify_init1
        except AttributeError:
            raise OSError(errno.ENOSYS, "this system has no inotify") from None
        descriptor = begin(os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor < 0:
            raise _error()
        try:
            return cls(libc, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def fileno(self) -> int:
        return self._descriptor

    def add(self, folder: int) -> int:
        # The dot: without it the kernel would be asked not to follow the link that the name is.
        path = b"/proc/self/fd/%d/." % folder
        watch: int = self._libc.inotify_add_watch(self._descriptor, path, _MASK)
        if watch < 0:
            raise _error()
        return watch

    def remove(self, watch: int) -> None:
        self._libc.inotify_rm_watch(self._descriptor, watch)  # it may be gone: with its folder

    def has_any(self) -> bool:
        return self._waiting() > 0

    def read(self) -> list[Event]:
        # What is there now in one piece, so that a writer who never rests cannot hold the reader.
        waiting = self._waiting()
        return parse(os.read(self._descriptor, waiting)) if waiting else []

    def _waiting(self) -> int:
        """So many bytes can be read."""
        size = bytearray(4)
        fcntl.ioctl(self._descriptor, termios.FIONREAD, size)
        (waiting,) = struct.unpack("i", size)
        return int(waiting)

    def wait(self, timeout_s: float | None) -> None:
        ready = self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))
        if [descriptor for descriptor, _ in ready] == [self._descriptor]:
            # Events seldom come alone, and a thread that is woken for each takes the interpreter
            # from those that answer.
            self._wake_poll.poll(_TOGETHER_MS)
        with suppress(BlockingIOError):
            os.eventfd_read(self._wakes)

    def wake(self) -> None:
        if self._wakes >= 0:
            os.eventfd_write(self._wakes, 1)

    def close(self) -> None:
        descriptors = (self._descriptor, self._wakes)
        self._descriptor = self._wakes = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)


def _error() -> OSError:
    import ctypes

    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
