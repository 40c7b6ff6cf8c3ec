"""The contents of files as they were committed: blobs of a repository that may be hostile.

Git runs on a private directory, as for a listing (`index.git`), and borrows the objects of the
repository: by their hashes, nothing else is asked for.  What comes back counts only if it has that
hash.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha1, sha256
from pathlib import Path

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, own_directory
from cidx_ref.index.git import configuration_of, find_program, make_private
from cidx_ref.index.gitdir import (
    find_top,
    open_below,
    open_git_directory,
    open_shared_directory,
    require_owner,
)
from cidx_ref.index.gitrun import Git
from cidx_ref.index.limited import FailedError, Limits
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.scratch import Scratch

__all__ = ["AT_ONCE", "Committed", "blob_hash"]

#: So many are asked for at once.
AT_ONCE = 256
_MAX_BLOBS = 1 << 16
_LIMITS = Limits(cpu_s=20, output_bytes=1 << 29)


def blob_hash(data: bytes, *, like: str) -> str:
    """What git calls a file with this content, by the algorithm of the hash `like`."""
    algorithm = sha256 if len(like) > 40 else sha1
    return algorithm(b"blob %d\0" % len(data) + data).hexdigest()


class Committed:
    """The blobs of the repository at `root`: so many in all, and no more once git has failed."""

    def __init__(self, root: Path, runtime: Runtime = SYSTEM) -> None:
        self._root = root
        self._runtime = runtime
        self._left = _MAX_BLOBS

    def read(self, hashes: Collection[str]) -> dict[str, bytes]:
        """By hash, those of the blobs that the repository has.

        None where there is no repository of the user's, or git fails.
        """
        wanted = sorted(hashes)[: self._left]
        top = find_top(self._root) if wanted else None
        if top is None:
            return {}
        self._left -= len(wanted)
        found: dict[str, bytes] = {}
        try:
            for each in self._read_from(top, wanted):
                found.update(each)
        except (OSError, UntrustedError, FailedError):
            self._left = 0  # what there is of them by now
        return found

    def _read_from(self, top: Path, wanted: list[str]) -> Iterator[Iterable[tuple[str, bytes]]]:
        with Scratch("cidx-ref-") as scratch, Directory.open(top) as above:
            trusted = {os.geteuid(), self._root.stat().st_uid}
            require_owner(above, trusted)
            with open_git_directory(above) as own, open_shared_directory(own) as common:
                require_owner(own, trusted)
                require_owner(common, trusted)
                with open_below(common, "objects") as objects:
                    require_owner(objects, trusted)
                    git = _borrowing(scratch, self._root, top, common, objects, self._runtime)
                    for start in range(0, len(wanted), AT_ONCE):
                        yield _read(git, wanted[start : start + AT_ONCE])


def _borrowing(
    scratch: Path, root: Path, top: Path, common: Directory, objects: Directory, runtime: Runtime
) -> Git:
    make_private(
        scratch, {"HEAD": b"ref: refs/heads/none\n", "config": configuration_of(common)}, runtime
    )
    with (
        own_directory(scratch, runtime=runtime) as made,
        made.sub("objects") as own,
        own.make("info") as info,
    ):
        # By its descriptor: the very directory that was looked at.
        info.create("alternates", f"/proc/{os.getpid()}/fd/{objects.fd}\n".encode())
    return Git(find_program(), root, top, scratch, runtime, _LIMITS)


def _read(git: Git, wanted: list[str]) -> Iterator[tuple[str, bytes]]:
    output = git.read(
        ["cat-file", "--batch"], told="".join(f"{each}\n" for each in wanted).encode()
    )
    at = 0
    while (end := output.find(b"\n", at)) >= 0:
        name, *said = output[at:end].split(b" ")
        at = end + 1
        if len(said) != 2 or not said[1].isdigit():  # "missing"
            continue
        data = output[at : at + int(said[1])]
        at += int(said[1]) + 1
        called = os.fsdecode(name)
        if said[0] == b"blob" and called in wanted and blob_hash(data, like=called) == called:
            yield called, data
