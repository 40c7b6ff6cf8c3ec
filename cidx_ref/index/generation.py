"""The directory of generations: ids, manifests, publishing, leases, sweeping.  No engine in here.

    generations/000007-3fa9c1/...    one complete, immutable index; manifest.json written last
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
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cidx_ref.errors import BusyError, IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.files import Directory, is_plain, own_directory
from cidx_ref.keys import Key, account_key
from cidx_ref.locks import try_lock
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import shown
from cidx_ref.steps import Step

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Generations",
    "Lease",
    "damaged_files",
    "parse_manifest",
    "read_manifest",
    "unlisted",
]

FORMAT = 2
MANIFEST = "manifest.json"
_CURRENT = "current"
_BUILDING = ".building-"
_DIGEST = "digest"
_ID = re.compile(r"(\d{6,12})-[0-9a-f]{6}")
#: Counting stops here: what came with a clone may have any number.
_MAX_NUMBER = 10**11
_MAX_MANIFEST_BYTES = 1 << 16  # some tens of files
#: So many entries are looked at by a sweep; what came with a clone may have any number.
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
        runtime.step(Step.OPENED)
        # A sweep holds it exclusively while it deletes; then the manifest is gone when we get it.
        runtime.flock(self.files.fd, fcntl.LOCK_SH)

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
        # By its path, because each query asks: whatever links that may lead through, what comes of
        # it is a plain name, which is opened from descriptors.
        try:
            generation = os.readlink(self._link)
        except (FileNotFoundError, NotADirectoryError):
            raise NoIndexError("this project has no index yet: run `cidx-ref index`") from None
        except OSError as error:
            if error.errno == errno.EINVAL:  # no link
                raise _not_ours(_CURRENT) from None
            raise IndexUnusableError(
                f"generations/{_CURRENT} cannot be read: {error.strerror}"
            ) from None
        if not _ID.fullmatch(generation):
            raise _not_ours(generation)
        return generation

    def path(self, generation: str) -> Path:
        """Where `generation` lies; `NoIndexError` for what is no generation's id."""
        if not _ID.fullmatch(generation):
            raise _not_ours(generation)
        return self.directory / generation

    @contextmanager
    def writing(self, wait_s: float | None = None) -> Iterator[None]:
        """Be the one writer, after waiting `wait_s` seconds at most (None: for as long as it
        takes).  Raises `BusyError`.  What dead writers left is swept on entering."""
        deadline = None if wait_s is None else self._runtime.monotonic() + wait_s
        while (locked := self._try_lock()) is None:
            if deadline is not None and self._runtime.monotonic() >= deadline:
                raise BusyError("another process is indexing this project")
            self._runtime.sleep(_POLL_S)
        try:
            self._sweep(locked)
            yield
        finally:
            locked.close()

    def begin(self) -> tuple[str, Path]:
        """A new generation's id, and the empty directory to build it in.  Writers only."""
        with self._opened() as directory:
            found = [int(m[1]) for name in directory.names() if (m := _ID.fullmatch(name))]
            number = max((n for n in found if n < _MAX_NUMBER), default=0) + 1
            generation = f"{number:06d}-{secrets.token_hex(3)}"
            name = f"{_BUILDING}{generation}"
            directory.make(name).close()
        self._runtime.step(Step.BEGUN)
        return generation, self.directory / name

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty directory for as long as the block runs.  Writers only: what is left of one that
        dies is swept by the next."""
        name = f"{_BUILDING}scratch"
        with self._opened() as directory:
            directory.make(name).close()
            try:
                yield self.directory / name
            finally:
                directory.remove(name)

    def seal(self, building: Path, manifest: dict[str, Any]) -> None:
        """Write the manifest, with size and checksum of every file, sign it, and put all of it on
        disk."""
        files = [path for path in sorted(building.rglob("*")) if path.is_file()]
        manifest["files"] = {
            path.relative_to(building).as_posix(): {
                "size_bytes": path.stat().st_size,
                "sha256": _sha256(path),
            }
            for path in files
        }
        manifest[_DIGEST] = self.key.digest(manifest)
        self._runtime.step(Step.UNSEALED)
        with own_directory(building, runtime=self._runtime) as directory:
            directory.create(MANIFEST, json.dumps(manifest, indent=1).encode("ascii"))
            directory.make_durable()
        self._runtime.step(Step.SEALED)

    def publish(
        self,
        generation: str,
        building: Path,
        announce: Callable[[str], object] = lambda generation: None,
    ) -> None:
        """Make a sealed generation the live one, and remove those nobody uses.  Writers only.

        `announce(generation)` is called just before it is live: it can be loaded by then.
        """
        with self._opened() as directory:
            directory.rename(building.name, self.path(generation).name)
            self._runtime.step(Step.RENAMED)
            announce(generation)
            link = f"{_BUILDING}link"
            directory.symlink(generation, link)
            self._runtime.step(Step.LINKED)
            _make_way(directory, _CURRENT)
            directory.rename(link, _CURRENT)
            directory.sync()
            self._runtime.step(Step.PUBLISHED)
            self._sweep(directory)

    def sweep(self) -> None:
        """Remove what nobody uses, unless a writer is at work: it will do it."""
        if self.directory.is_dir():
            with suppress(BusyError), self.writing(wait_s=0):
                pass

    def remove_unverified(self) -> list[str]:
        """Remove what looks like a generation and the key does not vouch for, unless somebody uses
        it; the ids of what was removed.  Writers only, and only where the user asked for it."""
        with self._opened() as directory:
            foreign = [
                name
                for name in directory.names()
                if _ID.fullmatch(name) and self._is_foreign(directory, name)
            ]
            for name in foreign:
                self._remove_unused(directory, name)
            left = set(directory.names())
        return [name for name in foreign if name not in left]

    def _sweep(self, directory: Directory) -> None:
        # Only under the writers' lock: whatever is being built then is a dead writer's.
        try:
            live = directory.readlink(_CURRENT)
        except OSError:
            live = None
        for name in directory.names()[:_MAX_SWEPT]:
            if name.startswith(_BUILDING):
                _remove(directory, name)
            elif _ID.fullmatch(name) and name != live and not self._is_foreign(directory, name):
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
        except (OSError, UntrustedError):  # a file or a link of that name is nobody's generation
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
        self._runtime.step(Step.DIRECTORY_OPENED)
        directory.make_private()
        if try_lock(directory.fd, self.directory):
            return directory
        directory.close()
        return None


def _opened(generations: Path, runtime: Runtime) -> Directory:
    """The directory of generations; it, and what it lies in, must be the user's own."""
    with own_directory(generations.parent, runtime=runtime) as above:
        return above.sub(generations.name)


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
    digest = manifest.pop(_DIGEST)
    if not (key or account_key()).vouches_for(manifest, digest):
        raise _not_ours(directory.path.name)
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
        raise _not_ours(name) from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if type(found) is int and found != FORMAT:
        raise NoIndexError(
            f"the index here is of format {found}, this version makes {FORMAT}: "
            "run `cidx-ref index`"
        )
    problem = _problem_with(manifest, _SHAPE, MANIFEST)
    if problem is None and manifest["generation"] != name.removeprefix(_BUILDING):
        problem = f"{MANIFEST}: generation: {shown(manifest['generation'])}"
    if problem is not None:
        raise _not_ours(name, problem)
    return manifest  # type: ignore[no-any-return]


def _not_ours(name: str, problem: str = "") -> NoIndexError:
    return NoIndexError(
        f"the index here ({shown(name.removeprefix(_BUILDING))}) was not made by this account, "
        f"or was changed since{problem and f' ({problem})'}: `cidx-ref index` makes a new one, "
        "`cidx-ref adopt` checks this one and takes it"
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _is_checksum(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


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


#: What a manifest holds; a function says what a value must be, and as a key what the keys must be.
_SHAPE: dict[Any, Any] = {
    "format": _is_count,
    "generation": str,
    "created_at": _is_time,
    "embedder": {"id": str, "dim": _is_dim},
    "space": str,
    "counts": {"files": _is_count, "chunks": _is_count},
    "skipped": {str: _is_count},
    "files": {_is_file_name: {"size_bytes": _is_count, "sha256": _is_checksum}},
    _DIGEST: _is_checksum,
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


def damaged_files(directory: Path | Directory, manifest: dict[str, Any]) -> dict[str, str]:
    """The files that are not what the manifest says, each with what is wrong with it."""
    if isinstance(directory, Path):
        with own_directory(directory) as opened:
            return damaged_files(opened, manifest)
    found = {
        name: _what_is_wrong(directory, name, recorded)
        for name, recorded in manifest["files"].items()
    }
    return {name: problem for name, problem in found.items() if problem is not None}


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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_way(directory: Directory, name: str) -> None:
    """Remove what is called `name` and is no link: it is no generation, and in the way."""
    found = directory.status(name)
    if found is not None and not stat.S_ISLNK(found.st_mode):
        _remove(directory, name)


def _remove(directory: Directory, name: str) -> None:
    """Remove whatever is there, as far as it goes: what cannot be removed keeps nobody waiting."""
    directory.remove(name)
