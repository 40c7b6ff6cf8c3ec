"""Whether a file is still as it was indexed: by its contents once, and then by what `stat` says.

What a file holds is compared with the digest in the index when it is first asked about.  The
verdict counts for as long as size, inode and times are the same: an edit in place with its old
time of modification put back shows in the time of change.  A file that has changed just before it
was read may change again within one tick of the file system's clock: it is compared anew.

Nothing is asked by a way that a link is on (TRUST-1), and the work for one answer is bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from cidx_ref.index.folders import Folders
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Staleness"]

_REMEMBERED = 10_000  # files
#: So many bytes are read for one answer; what would be more is judged by a later one.
_MAX_BYTES = 32 << 20
_RACY_NS = 50_000_000
_OPEN_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

#: Device, inode, kind and permissions, size, and times of modification and change.
_Identity = tuple[int, int, int, int, int, int]


class _Verdict(NamedTuple):
    digest: str
    identity: _Identity | None
    is_stale: bool


class Staleness:
    """Which files below `root` have changed since they were indexed.  Thread-safe."""

    def __init__(
        self,
        root: Path,
        runtime: Runtime = SYSTEM,
        *,
        remembered: int = _REMEMBERED,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._root = root
        self._runtime = runtime
        self._remembered = remembered
        self._max_bytes = max_bytes
        # One for all generations.  Only whole entries are put in and taken out: without a lock, two
        # threads may do the same work, and come to the same verdict.
        self._verdicts: dict[str, _Verdict] = {}

    def mark(self, hits: Sequence[dict[str, Any]], digests: Sequence[str]) -> None:
        """Put `stale` into those `hits` whose file is not as it was indexed, with the digest at the
        same place in `digests`.  Nothing where the project cannot be read at all."""
        digest_of = {hit["path"]: digest for hit, digest in zip(hits, digests, strict=True)}
        if not digest_of:
            return
        try:
            root = os.open(self._root, _OPEN_ROOT)
        except OSError:
            return
        try:
            stale = self._stale(root, digest_of)
        finally:
            os.close(root)
        for hit in hits if stale else ():
            if hit["path"] in stale:
                hit["stale"] = True

    def _stale(self, root: int, digest_of: dict[str, str]) -> set[str]:
        stale: set[str] = set()
        unknown: dict[str, _Identity] = {}
        ways: dict[str, bool] = {}
        for path, digest in digest_of.items():
            identity = _identity(root, path, ways)
            known = self._verdicts.get(path)
            if identity is None:  # gone, or there is something else in its place
                stale.add(path)
            elif known is None or known.digest != digest or known.identity != identity:
                unknown[path] = identity
            elif known.is_stale:
                stale.add(path)
        if unknown:
            stale |= self._read({path: digest_of[path] for path in unknown}, unknown)
        return stale

    def _read(self, digest_of: dict[str, str], identities: dict[str, _Identity]) -> set[str]:
        """Those of the files whose contents have another digest."""
        stale: set[str] = set()
        left = self._max_bytes
        with closing(Folders(self._root)) as folders:
            for path in sorted(digest_of):
                size = identities[path][3]
                if size > left:
                    continue
                left -= size
                began_ns = int(self._runtime.now().timestamp() * 1e9)
                digest = _digest(folders, path, size)
                is_stale = digest != digest_of[path]
                if is_stale:
                    stale.add(path)
                newest_ns = max(identities[path][4:])
                if newest_ns < began_ns - _RACY_NS:
                    self._remember(path, _Verdict(digest_of[path], identities[path], is_stale))
        return stale

    def _remember(self, path: str, verdict: _Verdict) -> None:
        if len(self._verdicts) >= self._remembered:
            self._verdicts.clear()
        self._verdicts[path] = verdict


def _identity(root: int, path: str, ways: dict[str, bool]) -> _Identity | None:
    """Of the regular file at `path`; None if there is none, or a link on the way to it.

    `ways` remembers, for one answer, the folders that were looked at.
    """
    if not _is_way(root, path[: path.rfind("/") + 1], ways):
        return None
    try:
        found = os.stat(path, dir_fd=root, follow_symlinks=False)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return (
        found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns,
        found.st_ctime_ns,
    )  # fmt: skip


def _is_way(root: int, folder: str, ways: dict[str, bool]) -> bool:
    """Whether `folder` and all above it are folders, and no links."""
    if not folder:
        return True
    known = ways.get(folder)
    if known is None:
        known = _is_way(root, folder[: folder.rfind("/", 0, -1) + 1], ways)
        try:
            # Without the slash, with which a link would be followed.
            found = os.stat(folder[:-1], dir_fd=root, follow_symlinks=False) if known else None
        except (OSError, ValueError):
            found = None
        known = ways[folder] = found is not None and stat.S_ISDIR(found.st_mode)
    return known


def _digest(folders: Folders, path: str, size: int) -> str | None:
    """Of the contents, as `scan` has it; None if they cannot be read, or there are more of them
    than `size` bytes by now."""
    folder, _, name = path.rpartition("/")
    try:
        data = folders.read(f"{folder}/" if folder else "", name, size)
    except OSError:
        return None
    if data is None or len(data) > size:
        return None
    return blake2b(data, digest_size=16).hexdigest()
