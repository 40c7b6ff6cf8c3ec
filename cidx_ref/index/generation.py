"""The directory of generations: ids, manifests, publishing, leases, sweeping.  No engine in here.

    generations/000007-3fa9c1/...    one complete, immutable index; manifest.json written last
    .../s000012-84be02/...           a segment of it, which others may have, too
    generations/current              a symbolic link to the live one, replaced by a rename
    generations/.building-...        what a writer is at, or what is left of one that died

Writers hold an exclusive `flock` on the directory itself, so they run one at a time across
processes (WRITE-1), and the kernel takes the lock back from one that dies.  Readers hold a shared
`flock` on the generation they use, so that a sweep leaves it alone.  A crash between any two
steps leaves `current` at the old generation or the new one, both whole; there is no clean-up to
be missed, because the next writer sweeps (WRITE-3).

All of it may have come with a clone.  So a generation counts only if its manifest carries a digest
that the account's key makes, and names itself; nothing is reached through a link, except that
`current` is read, and taken for a plain name.  What does not verify is neither loaded nor swept,
until the user asks for an index run.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import nlargest
from pathlib import Path
from typing import Any

from cidx_ref.errors import (
    BusyError,
    CidxError,
    IndexUnusableError,
    NoIndexError,
    UntrustedError,
)
from cidx_ref.files import Directory, own_directory
from cidx_ref.index.manifest import (
    BUILDING,
    DIGEST,
    MANIFEST,
    is_engine_lock,
    not_ours,
    read_manifest,
    written_manifest,
)
from cidx_ref.index.unwritable import require_room
from cidx_ref.keys import Key, account_key
from cidx_ref.locks import try_lock
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.steps import Step

__all__ = ["Generations", "Lease"]

_CURRENT = "current"
_ID = re.compile(r"(\d{6,12})-[0-9a-f]{6}")
#: Counting stops here: what came with a clone may have any number.
_MAX_NUMBER = 10**11
#: So many entries of a kind are looked at by a sweep; what came with a clone may have any number.
_MAX_SWEPT = 256
_POLL_S = 0.02


class Lease:
    """A generation that may not be removed until `close`.  Closing twice does nothing."""

    def __init__(self, directory: Path, runtime: Runtime = SYSTEM) -> None:
        """Raises `FileNotFoundError` if the generation is gone, `OSError` if it cannot be read,
        `UntrustedError` if it must not be."""
        self.directory = directory
        with _opened(directory.parent, runtime) as generations:
            self.files = generations.sub(directory.name)
        try:
            runtime.step(Step.OPENED)
            # A sweep holds it exclusively while it deletes; then the manifest is gone when we get
            # it.
            runtime.flock(self.files.fd, fcntl.LOCK_SH)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.files.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Generations:
    """The generations of one project.  Thread-safe; other processes may be at work, too."""

    def __init__(
        self, directory: Path, runtime: Runtime = SYSTEM, *, key: Key | None = None
    ) -> None:
        """`key` signs what is sealed, and tells ours from others; default: the account's."""
        self.directory = directory
        self.key = key or account_key()
        self._runtime = runtime
        self._link = directory / _CURRENT

    def current(self) -> str:
        """The id of the live generation: one `readlink`.  Raises `NoIndexError`."""
        # By its path, because each query asks: through whatever links that leads, what comes of
        # it is a plain name, which is opened from descriptors.
        try:
            generation = os.readlink(self._link)
        except (FileNotFoundError, NotADirectoryError):
            raise NoIndexError("this project has no index yet: run `cidx-ref index`") from None
        except OSError as error:
            if error.errno == errno.EINVAL:  # no link
                raise not_ours(_CURRENT) from None
            raise IndexUnusableError(
                f"generations/{_CURRENT} cannot be read: {error.strerror}"
            ) from None
        if not _ID.fullmatch(generation):
            raise not_ours(generation)
        return generation

    def path(self, generation: str) -> Path:
        """Where `generation` lies; `NoIndexError` for what is no generation's id."""
        if not _ID.fullmatch(generation):
            raise not_ours(generation)
        return self.directory / generation

    @contextmanager
    def writing(
        self, wait_s: float | None = None, waiting: Callable[[], object] = lambda: None
    ) -> Iterator[int]:
        """Be the one writer, after waiting `wait_s` seconds at most (None: for as long as it
        takes), of which `waiting` is told.  Raises `BusyError`.  What dead writers left is swept on
        entering.

        Yields the descriptor that has the lock: a process that helps to write must have it open,
        so that the next writer waits for its end, too.
        """
        deadline = None if wait_s is None else self._runtime.monotonic() + wait_s
        is_told = False
        while (locked := self._try_lock()) is None:
            if not is_told:
                waiting()
                is_told = True
            if deadline is not None and self._runtime.monotonic() >= deadline:
                raise BusyError("another process is indexing this project")
            self._runtime.sleep(_POLL_S)
        try:
            self._sweep(locked)
            yield locked.fd
        finally:
            locked.close()

    def begin(self) -> tuple[str, Path]:
        """A new generation's id, and the empty directory to build it in.  Writers only."""
        with self._opened() as directory:
            found = [int(m[1]) for name in directory.names() if (m := _ID.fullmatch(name))]
            number = max((n for n in found if n < _MAX_NUMBER), default=0) + 1
            generation = f"{number:06d}-{secrets.token_hex(3)}"
            name = f"{BUILDING}{generation}"
            directory.make(name).close()
        self._runtime.step(Step.BEGUN)
        return generation, self.directory / name

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty directory for as long as the block runs.  Writers only: what is left of one that
        dies is swept by the next."""
        name = f"{BUILDING}scratch-{secrets.token_hex(3)}"  # which nothing is in the way of
        with self._opened() as directory:
            directory.make(name).close()
            try:
                yield self.directory / name
            finally:
                directory.remove(name)

    @contextmanager
    def building(self) -> Iterator[tuple[str, Path]]:
        """`begin`, and what has not been published when the block is left is removed: on a full
        disk, nobody may write for days.  Writers only.

        Raises `OSError` where nothing can be written there, whatever the block has raised.
        """
        generation, building = self.begin()
        try:
            yield generation, building
        except CidxError:
            # An engine that cannot write says so in words of its own, or that it was killed.
            with self._opened() as directory, directory.sub(building.name) as inner:
                require_room(inner)
            raise
        finally:
            with self._opened() as directory:
                directory.remove(building.name)

    def seal(
        self, building: Path, manifest: dict[str, Any], shared: dict[str, Any] | None = None
    ) -> None:
        """Write the manifest, with size and checksum of every file, sign it, and put all of it on
        disk.  Raises `IndexingError` for a manifest that could not be read again.

        `shared` are the files that another generation has, too, as its manifest has them: they are
        on disk, and are not read again.
        """
        shared = shared or {}
        files = [path for path in sorted(building.rglob("*")) if path.is_file()]
        names = {path.relative_to(building).as_posix(): path for path in files}
        manifest["files"] = {
            name: shared.get(name) or _described(names[name])
            for name in names
            # A thread of tantivy's, which looks for changes, may make one after the commit.
            if not is_engine_lock(name)
        }
        manifest[DIGEST] = self.key.digest(manifest)
        self._runtime.step(Step.UNSEALED)
        with own_directory(building, runtime=self._runtime) as directory:
            directory.create(MANIFEST, written_manifest(manifest))
            directory.make_durable(shared.keys())
        self._runtime.step(Step.SEALED)

    def publish(
        self,
        generation: str,
        building: Path,
        announce: Callable[[str], object] = lambda generation: None,
    ) -> None:
        """Make a sealed generation the live one, and remove what no reader uses.  Writers only.

        `announce(generation)` is called just before it is live: it can be loaded by then.
        """
        with self._opened() as directory:
            directory.rename(building.name, self.path(generation).name)
            try:
                self._runtime.step(Step.RENAMED)
                announce(generation)
                link = f"{BUILDING}link-{secrets.token_hex(3)}"
                directory.symlink(generation, link)
                self._runtime.step(Step.LINKED)
                _make_way(directory, _CURRENT)
                directory.rename(link, _CURRENT)
                directory.sync()
                self._runtime.step(Step.PUBLISHED)
            except Exception:
                # What is not live, nobody needs; and on a full disk it may be long until somebody
                # writes again.
                self._sweep(directory)
                raise
            self._sweep(directory)

    def sweep(self, wait_s: float = 0.0) -> bool:
        """Remove what no reader uses; False if a writer is at work after `wait_s`, which may have
        swept before the last reader was gone."""
        if self.directory.is_dir():
            try:
                with self.writing(wait_s):
                    pass
            except BusyError:
                return False
        return True

    def remove_unverified(self) -> list[str]:
        """Remove what looks like a generation and the key does not vouch for, unless a reader uses
        it, or it is live; the ids of what was removed.  Writers only, and only where the user asked
        for it."""
        with self._opened() as directory:
            live = _live(directory)
            foreign = [
                name
                for name in directory.names()
                if _ID.fullmatch(name) and name != live and self._is_foreign(directory, name)
            ]
            for name in foreign:
                self._remove_unused(directory, name)
            left = set(directory.names())
        return [name for name in foreign if name not in left]

    def _sweep(self, directory: Directory) -> None:
        # Only under the writers' lock: whatever is being built then is a dead writer's.
        live = _live(directory)
        names = directory.names()
        for name in [name for name in names if name.startswith(BUILDING)][:_MAX_SWEPT]:
            _remove(directory, name)
            self._runtime.step(Step.SWEPT)
        # Ours have the highest numbers of all that were there when they were made (`begin`).
        numbers = {
            name: int(match[1])
            for name in names
            if name != live and (match := _ID.fullmatch(name)) and int(match[1]) <= _MAX_NUMBER
        }
        for name in nlargest(_MAX_SWEPT, numbers, key=numbers.__getitem__):
            if not self._is_foreign(directory, name):
                self._remove_unused(directory, name)
            self._runtime.step(Step.SWEPT)

    def _is_foreign(self, directory: Directory, name: str) -> bool:
        """Whether `name` has a manifest, and the key does not vouch for it.

        What has none is half removed, or was never whole.
        """
        try:
            with directory.sub(name) as generation:
                if generation.status(MANIFEST) is None:
                    return False
                read_manifest(generation, self.key)
        except (IndexUnusableError, NoIndexError, UntrustedError):
            return True
        except OSError:
            return False
        return False

    def _remove_unused(self, directory: Directory, name: str) -> None:
        try:
            lease = directory.sub(name)
        except (OSError, UntrustedError):  # a file or a link of that name is no generation
            _remove(directory, name)
            return
        with lease:
            if try_lock(lease.fd, lease.path):
                # The manifest first: half a generation must never look like a whole one.
                _remove(lease, MANIFEST)
                self._runtime.step(Step.HALF_REMOVED)
                _remove(directory, name)
            # Else it is in use; a later sweep gets it.

    def _opened(self) -> Directory:
        return _opened(self.directory, self._runtime)

    def _try_lock(self) -> Directory | None:
        """The directory, locked until it is closed; None while another writer has it."""
        with own_directory(self.directory.parent, runtime=self._runtime) as above:
            directory = above.sub(self.directory.name, create=True)
        is_locked = False
        try:
            self._runtime.step(Step.DIRECTORY_OPENED)
            directory.make_private()
            is_locked = try_lock(directory.fd, self.directory)
        finally:
            if not is_locked:
                directory.close()
        return directory if is_locked else None


def _opened(generations: Path, runtime: Runtime) -> Directory:
    """The directory of generations; it, and what it lies in, must be the user's own."""
    with own_directory(generations.parent, runtime=runtime) as above:
        return above.sub(generations.name)


def _live(directory: Directory) -> str | None:
    """What `current` names, if anything."""
    try:
        return directory.readlink(_CURRENT)
    except OSError:
        return None


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size_bytes": path.stat().st_size, "sha256": checksum}


def _make_way(directory: Directory, name: str) -> None:
    """Remove what is called `name` and is no link: it is no generation, and in the way."""
    found = directory.status(name)
    if found is not None and not stat.S_ISLNK(found.st_mode):
        _remove(directory, name)


def _remove(directory: Directory, name: str) -> None:
    """Remove what is there, as far as possible: an entry that cannot be removed stops no run."""
    directory.remove(name)
