"""The directory of generations: ids, manifests, publishing, leases, sweeping.  No engine in here.

    generations/000007-3fa9c1/...    one complete, immutable index; manifest.json written last
    generations/current              a symbolic link to the live one, replaced by a rename
    generations/.building-...        what a writer is at, or what is left of one that died

Writers hold an exclusive `flock` on the directory itself, so they run one at a time across
processes (WRITE-1), and the kernel takes the lock back from one that dies.  Readers hold a shared
`flock` on the generation they use, so that a sweep leaves it alone.  A crash between any two
steps leaves `current` at the old generation or the new one, both whole; there is no clean-up to
be missed, because the next writer sweeps (WRITE-3).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cidx_ref.errors import BusyError, IndexUnusableError, NoIndexError
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["FORMAT", "MANIFEST", "Generations", "Lease", "damaged_files", "read_manifest"]

FORMAT = 1
MANIFEST = "manifest.json"
_CURRENT = "current"
_BUILDING = ".building-"
_ID = re.compile(r"(\d{6,})-[0-9a-f]{6}")
_POLL_S = 0.02
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Lease:
    """A generation that may not be removed until `close`.  Closing twice does nothing."""

    def __init__(self, directory: Path, runtime: Runtime = SYSTEM) -> None:
        """Raises `FileNotFoundError` if the generation is gone, `OSError` if it cannot be read."""
        self.directory = directory
        self._fd = os.open(directory, _OPEN_DIRECTORY)
        runtime.step("opened")
        # A sweep holds it exclusively while it deletes; then the manifest is gone when we get it.
        runtime.flock(self._fd, fcntl.LOCK_SH)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Generations:
    """The generations of one project.  Thread-safe; other processes may be at work, too."""

    def __init__(self, directory: Path, runtime: Runtime = SYSTEM) -> None:
        self.directory = directory
        self._runtime = runtime
        self._link = directory / _CURRENT

    def current(self) -> str:
        """The id of the live generation: one `readlink`.  Raises `NoIndexError`."""
        try:
            return os.readlink(self._link)
        except (FileNotFoundError, NotADirectoryError):
            raise NoIndexError("this project has no index yet: run `cidx-ref index`") from None
        except OSError as error:
            raise IndexUnusableError(
                f"generations/{_CURRENT} cannot be read: {error.strerror}"
            ) from None

    def path(self, generation: str) -> Path:
        """Where `generation` lies; `IndexUnusableError` for what is no generation's id."""
        if not _ID.fullmatch(generation):
            raise IndexUnusableError(f"generations/{_CURRENT} points at {generation!r}")
        return self.directory / generation

    @contextmanager
    def writing(self, wait_s: float | None = None) -> Iterator[None]:
        """Be the one writer, after waiting `wait_s` seconds at most (None: for as long as it
        takes).  Raises `BusyError`.  What dead writers left is swept on entering."""
        deadline = None if wait_s is None else self._runtime.monotonic() + wait_s
        while (fd := self._try_lock()) is None:
            if deadline is not None and self._runtime.monotonic() >= deadline:
                raise BusyError("another process is indexing this project")
            self._runtime.sleep(_POLL_S)
        try:
            self._sweep()
            yield
        finally:
            os.close(fd)

    def begin(self) -> tuple[str, Path]:
        """A new generation's id, and the empty directory to build it in.  Writers only."""
        numbers = [int(m[1]) for name in self._names() if (m := _ID.fullmatch(name))]
        generation = f"{max(numbers, default=0) + 1:06d}-{secrets.token_hex(3)}"
        building = self.directory / f"{_BUILDING}{generation}"
        building.mkdir()
        self._runtime.step("begun")
        return generation, building

    def seal(self, building: Path, manifest: dict[str, Any]) -> None:
        """Write the manifest, with size and checksum of every file, and put all of it on disk."""
        files = [path for path in sorted(building.rglob("*")) if path.is_file()]
        manifest["files"] = {
            path.relative_to(building).as_posix(): {
                "size_bytes": path.stat().st_size,
                "sha256": _sha256(path),
            }
            for path in files
        }
        path = building / MANIFEST
        self._runtime.step("unsealed")
        path.write_text(json.dumps(manifest, indent=1), encoding="ascii")
        for written in (*files, path, *{file.parent for file in files}, building):
            _sync(written)
        self._runtime.step("sealed")

    def publish(
        self,
        generation: str,
        building: Path,
        announce: Callable[[str], object] = lambda generation: None,
    ) -> None:
        """Make a sealed generation the live one, and remove those nobody uses.  Writers only.

        `announce(generation)` is called just before it is live: it can be loaded by then.
        """
        building.rename(self.path(generation))
        self._runtime.step("renamed")
        announce(generation)
        link = self.directory / f"{_BUILDING}link"
        link.symlink_to(generation)
        self._runtime.step("linked")
        if not self._link.is_symlink():  # whatever it is, it is no generation, and in the way
            _remove(self._link)
        link.replace(self._link)
        _sync(self.directory)
        self._runtime.step("published")
        self._sweep()

    def sweep(self) -> None:
        """Remove what nobody uses, unless a writer is at work: it will do it."""
        if self.directory.is_dir():
            with suppress(BusyError), self.writing(wait_s=0):
                pass

    def _sweep(self) -> None:
        # Only under the writers' lock: whatever is being built then is a dead writer's.
        live = os.readlink(self._link) if self._link.is_symlink() else None
        for name in self._names():
            if name.startswith(_BUILDING):
                _remove(self.directory / name)
            elif _ID.fullmatch(name) and name != live:
                self._remove_unused(self.directory / name)
            self._runtime.step("swept")

    def _remove_unused(self, directory: Path) -> None:
        try:
            lease = os.open(directory, _OPEN_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # a file or a link of that name is nobody's generation
            _remove(directory)
            return
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The manifest first: half a generation must never look like a whole one.
            _remove(directory / MANIFEST)
            self._runtime.step("half removed")
            _remove(directory)
        except BlockingIOError:
            pass  # in use; a later sweep gets it
        finally:
            os.close(lease)

    def _names(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def _try_lock(self) -> int | None:
        """The writers' lock, as the descriptor that holds it; None while another has it."""
        self.directory.mkdir(exist_ok=True)
        fd = os.open(self.directory, _OPEN_DIRECTORY)
        self._runtime.step("directory opened")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have been replaced between open and flock: a lock on a directory that nobody
            # can find any more keeps nobody out.
            if os.path.samestat(os.fstat(fd), self.directory.stat()):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return None


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of the generation in `directory`.

    Raises `FileNotFoundError` if there is none, `IndexUnusableError` if it is not ours to read.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError):
        raise IndexUnusableError(f"{MANIFEST} is damaged: run `cidx-ref index --full`") from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise IndexUnusableError(f"{MANIFEST}: format {found!r}, this version reads {FORMAT}")
    if not _has_shape(manifest, _SHAPE):
        raise IndexUnusableError(f"{MANIFEST} is damaged: run `cidx-ref index --full`")
    return manifest  # type: ignore[no-any-return]


#: What a manifest holds; `...` stands for any key.
_SHAPE: dict[Any, Any] = {
    "generation": str,
    "created_at": str,
    "embedder": {"id": str, "dim": int},
    "space": str,
    "counts": {"files": int, "chunks": int},
    "skipped": {...: int},
    "files": {...: {"size_bytes": int, "sha256": str}},
}


def _has_shape(value: Any, shape: Any) -> bool:
    if isinstance(shape, type):
        return isinstance(value, shape)
    if not isinstance(value, dict):
        return False
    if ... in shape:
        return all(_has_shape(item, shape[...]) for item in value.values())
    return all(name in value and _has_shape(value[name], inner) for name, inner in shape.items())


def damaged_files(directory: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """The files that are not what the manifest says, each with what is wrong with it."""
    problems = {}
    for name, recorded in manifest["files"].items():
        path = directory / name
        try:
            if path.stat().st_size != recorded["size_bytes"]:
                problems[name] = "wrong size"
            elif _sha256(path) != recorded["sha256"]:
                problems[name] = "wrong checksum"
        except FileNotFoundError:
            problems[name] = "missing"
        except (OSError, ValueError) as error:  # ValueError: no file can have that name
            problems[name] = getattr(error, "strerror", None) or "unreadable"
    return problems


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove(path: Path) -> None:
    """Remove whatever is there, as far as it goes: what cannot be removed keeps nobody waiting."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
