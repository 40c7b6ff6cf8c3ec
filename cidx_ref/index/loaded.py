"""What is in memory of a project's segments: each once, for all generations that have it.

A publish loads what is new.  What a generation shares with one that is loaded is neither read nor
hashed again: its checksum was verified when it was loaded, and a segment never changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cidx_ref.files import Directory
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:  # an idle daemon has no engines
    from cidx_ref.index.segment import Segment

__all__ = ["LoadedSegments", "Verified"]

#: A segment's id, and the checksums of its files: what decides whether two are the same.
SegmentKey = tuple[str, tuple[str, ...]]


class LoadedSegments:
    """The segments that are in memory, with reference counts.  Thread-safe."""

    def __init__(self, runtime: Runtime = SYSTEM) -> None:
        self._lock = runtime.lock("segments")
        self._segments: dict[SegmentKey, tuple[Segment, int]] = {}
        self.verified = Verified()

    def take(self, key: SegmentKey, load: Callable[[], Segment]) -> Segment:
        """The segment, loaded if it is not in memory; `give_back` must follow."""
        if (known := self._again(key)) is not None:
            return known
        # Not under the lock: a query that gives back the last reference must not wait for a load.
        loaded = load()
        with self._lock:
            if key not in self._segments:
                self._segments[key] = loaded, 1
                return loaded
        loaded.close()  # another load was first
        return self.take(key, load)

    def give_back(self, key: SegmentKey) -> None:
        with self._lock:
            segment, count = self._segments[key]
            if count > 1:
                self._segments[key] = segment, count - 1
                return
            del self._segments[key]
            if not self._segments:
                self.verified.forget()
        segment.close()

    def _again(self, key: SegmentKey) -> Segment | None:
        with self._lock:
            if key not in self._segments:
                return None
            segment, count = self._segments[key]
            self._segments[key] = segment, count + 1
            return segment


class Verified:
    """Files of which the checksum was verified, for as long as they are the same files.

    For the full text, whose files are no part of a segment.  Thread-safe.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, tuple[int, ...]]] = {}

    def holds(self, directory: Directory, name: str, recorded: dict[str, Any]) -> bool:
        """Whether the file `name` of `directory` is one that was noted, and is as it was."""
        known = self._known.get(name)
        return known is not None and known == (recorded["sha256"], _identity(directory, name))

    def note(self, directory: Directory, recorded: Mapping[str, dict[str, Any]]) -> None:
        """Have the files of `directory` that are `recorded` be the ones that are known."""
        self._known = {
            name: (each["sha256"], _identity(directory, name)) for name, each in recorded.items()
        }

    def forget(self) -> None:
        self._known = {}


def _identity(directory: Directory, name: str) -> tuple[int, ...]:
    # Not the time at which it was changed: that a new generation has it, too, is such a change.
    try:
        found = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
