"""The way to files that may have come with a clone: from a directory's descriptor, by plain names.

Everything under a project is opened from here (README, "Who is trusted with what").  A `Directory`
is an open descriptor; each of its methods takes *one* plain name and looks it up there, following
no link, so that nothing outside is read, written or removed.  What is made is made exclusively, and
is for its owner alone: files 0600, directories 0700.  What is found must be what it should be and
belong to the user; else it is refused by name (`UntrustedError`), at once.

Every change of the file system that this package makes itself goes through here, and is told the
runtime before (`Operation`): so a test can have the n-th one fail, or the process die before it,
for every n.  What an engine writes in files of its own counts as one operation.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from cidx_ref.errors import UntrustedError
from cidx_ref.runtime import SYSTEM, Runtime, get_ident
from cidx_ref.shown import owner_name
from cidx_ref.steps import Operation

__all__ = ["Directory", "Operation", "is_plain", "own_directory"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK the opening of a FIFO waits for a writer.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Why a file gets no second name, where it may have a copy: the file system has no such thing, or
#: it lies on another one, or has as many names as it may have.
_NO_SECOND_NAME = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
_MAKE_FILE = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Directory:
    """An open directory.  A context manager; closing twice does nothing.

    Raises `OSError`, with the whole path in it, for what the system refuses, and `UntrustedError`
    for what is there and must not be used.  Thread-safe until it is closed.
    """

    def __init__(self, fd: int, path: Path, runtime: Runtime = SYSTEM) -> None:
        """Take over the descriptor `fd`; `path` is what the directory is called in messages.

        `runtime` is told of operations, those in directories within this one, too.
        """
        self.fd = fd
        self.path = path
        self._runtime = runtime

    @classmethod
    def open(cls, path: Path, runtime: Runtime = SYSTEM) -> Directory:
        """The directory at `path`, which the caller trusts: links in it are followed."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path, runtime)

    @property
    def engine_path(self) -> Path:
        """A name for what wants a path (the engines), by which the open directory is reached."""
        return Path(f"/proc/self/fd/{self.fd}")

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # Looking.

    def names(self) -> list[str]:
        """What is in it, sorted."""
        return sorted(os.listdir(self.fd))

    def status(self, name: str) -> os.stat_result | None:
        """What the entry `name` itself is; None if there is none."""
        with suppress(FileNotFoundError), _told(self.path, name):
            return os.stat(_plain(name), dir_fd=self.fd, follow_symlinks=False)
        return None

    def check(self, name: str, kind: int) -> os.stat_result | None:
        """The entry `name`, which must be of `kind` (`stat.S_IFREG` and its like) and the user's.

        None if there is none.  Raises `UntrustedError`.
        """
        found = self.status(name)
        if found is not None:
            self._require(name, found, kind)
        return found

    def sub(self, name: str, *, create: bool = False) -> Directory:
        """The directory `name` in this one, which must be the user's own; made if `create`."""
        with _told(self.path, name):
            if create:
                with suppress(FileExistsError):
                    self._mkdir(name)
            found = os.stat(_plain(name), dir_fd=self.fd, follow_symlinks=False)
            self._require(name, found, stat.S_IFDIR)
            fd = os.open(name, _OPEN_DIRECTORY, dir_fd=self.fd)
        inner = Directory(fd, self.path / name, self._runtime)
        try:
            inner.require_own()
        except BaseException:
            inner.close()
            raise
        return inner

    def readlink(self, name: str) -> str:
        with _told(self.path, name):
            return os.readlink(_plain(name), dir_fd=self.fd)

    def open_regular(self, name: str) -> int:
        """A descriptor for reading the regular file `name` of the user's; opening never waits."""
        with _told(self.path, name):
            found = os.stat(_plain(name), dir_fd=self.fd, follow_symlinks=False)
            self._require(name, found, stat.S_IFREG)
            return os.open(name, _OPEN_FILE, dir_fd=self.fd)

    def read(self, name: str, max_bytes: int) -> bytes:
        """All of the regular file `name`; `UntrustedError` if it is larger than `max_bytes`."""
        fd = self.open_regular(name)
        with open(fd, "rb") as file:
            size = os.fstat(fd).st_size
            if size > max_bytes:
                raise UntrustedError(
                    f"{self.path / name} is larger than {max_bytes} bytes, and is not read"
                )
            return file.read(size)

    # Changing.

    def create(self, name: str, data: bytes, *, mode: int = 0o600) -> None:
        """Make the file `name`, which must not exist, with `data` in it, and put it on disk."""
        with self.writer(name) as file:
            file.write(data)
            if mode != 0o600:
                self._about_to(Operation.CHMOD, name)
                os.fchmod(file.fileno(), mode)
            self._about_to(Operation.SYNC, name)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def writer(self, name: str) -> Iterator[IO[bytes]]:
        """Make the file `name`, which must not exist, for the block to write; not put on disk."""
        with _told(self.path, name):
            self._about_to(Operation.CREATE, name)
            fd = os.open(_plain(name), os.O_WRONLY | os.O_EXCL | _MAKE_FILE, 0o600, dir_fd=self.fd)
            with open(fd, "wb") as file:
                self._about_to(Operation.WRITE, name)
                yield file

    def replace(self, name: str, data: bytes, *, mode: int = 0o600) -> None:
        """Put `data` into the file `name`, and on disk: a concurrent reader sees the old contents
        or the new, and so does who comes after a crash: beside it, half of the new one may lie."""
        temporary = f".{name}.{os.getpid()}.{get_ident()}"
        self.remove(temporary)
        try:
            with _told(self.path, name):
                self.create(temporary, data, mode=mode)
                self.rename(temporary, name)
                self.sync()
        except BaseException:
            with suppress(OSError):
                self.unlink(temporary)
            raise

    def open_for_append(self, name: str) -> int:
        """A descriptor that writes to the end of the file `name`, made if there is none.

        Refused if the file has a second name: then it is somewhere else, too.
        """
        self.check(name, stat.S_IFREG)
        with _told(self.path, name):
            self._about_to(Operation.CREATE, name)
            fd = os.open(
                _plain(name), os.O_WRONLY | os.O_APPEND | _MAKE_FILE, 0o600, dir_fd=self.fd
            )
        try:
            found = os.fstat(fd)
            self._require(name, found, stat.S_IFREG)
            if found.st_nlink > 1:
                raise UntrustedError(f"{self.path / name} is a hard link: remove it")
            if stat.S_IMODE(found.st_mode) != 0o600:
                os.fchmod(fd, 0o600)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def touch(self, name: str) -> os.stat_result:
        """Have the file `name`, made if there is none, say what the time is by its file system."""
        with open(self.open_for_append(name), "ab") as file:
            self._about_to(Operation.WRITE, name)
            os.utime(file.fileno())
            return os.fstat(file.fileno())

    def symlink(self, target: str, name: str) -> None:
        with _told(self.path, name):
            self._about_to(Operation.SYMLINK, name)
            os.symlink(target, _plain(name), dir_fd=self.fd)

    def link(self, old: str, new: str) -> None:
        """Give the file `old` the second name `new`, which must not exist."""
        with _told(self.path, new):
            self._about_to(Operation.LINK, new)
            places = {"src_dir_fd": self.fd, "dst_dir_fd": self.fd}
            os.link(_plain(old), _plain(new), **places, follow_symlinks=False)

    def share(self, source: Directory, name: str) -> None:
        """Have the file `name` of `source` here, too: the same file, or, where the file system
        does not let it have two names, a copy, put on disk."""
        with _told(self.path, name):
            self._about_to(Operation.LINK, name)
            places = {"src_dir_fd": source.fd, "dst_dir_fd": self.fd}
            try:
                os.link(_plain(name), name, **places, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in _NO_SECOND_NAME:
                    raise
        with open(source.open_regular(name), "rb") as old, self.writer(name) as new:
            shutil.copyfileobj(old, new, 1 << 20)
            self._about_to(Operation.SYNC, name)
            new.flush()
            os.fsync(new.fileno())

    def rename(self, old: str, new: str) -> None:
        with _told(self.path, new):
            self._about_to(Operation.RENAME, new)
            os.rename(_plain(old), _plain(new), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def unlink(self, name: str) -> None:
        with _told(self.path, name):
            self._about_to(Operation.UNLINK, name)
            os.unlink(_plain(name), dir_fd=self.fd)

    def make(self, name: str) -> Directory:
        """A new directory `name`, which must not exist."""
        with _told(self.path, name):
            self._mkdir(name)
        return self.sub(name)

    def chmod(self, name: str, mode: int) -> None:
        """Set the permissions of `name`, which is no link."""
        with _told(self.path, name):
            self._about_to(Operation.CHMOD, name)
            os.chmod(_plain(name), mode, dir_fd=self.fd)

    def engine_writes(self, name: str) -> Path:
        """Where an engine may write the file or directory `name` by itself, with a path."""
        with _told(self.path, name):
            self._about_to(Operation.ENGINE, name)
            return self.path / _plain(name)

    def _mkdir(self, name: str) -> None:
        self._about_to(Operation.MKDIR, name)
        os.mkdir(_plain(name), 0o700, dir_fd=self.fd)

    def _about_to(self, kind: Operation, name: str) -> None:
        self._runtime.operation(kind, self.path / name)

    def remove(self, name: str) -> None:
        """Remove what is called `name`, and all below it, as far as possible."""
        found = self.status(name)
        if found is None:
            return
        with suppress(OSError):
            if stat.S_ISDIR(found.st_mode):
                self._remove_tree(name)
            else:
                self.unlink(name)

    def _remove_tree(self, name: str) -> None:
        # Not by recursion, which has an end before a tree has: each directory below is moved up to
        # this one, and then is one without directories.
        moved = count()
        left = [name]
        while left:
            this = left.pop()
            fd = os.open(this, _OPEN_DIRECTORY, dir_fd=self.fd)
            with Directory(fd, self.path / this, self._runtime) as inner, os.scandir(fd) as entries:
                for entry in list(entries):
                    if not entry.is_dir(follow_symlinks=False):
                        inner.unlink(entry.name)
                        continue
                    left.append(f".building-removed-{os.getpid()}-{next(moved)}")
                    self._about_to(Operation.RENAME, left[-1])
                    os.rename(entry.name, left[-1], src_dir_fd=fd, dst_dir_fd=self.fd)
            self._about_to(Operation.RMDIR, this)
            os.rmdir(this, dir_fd=self.fd)

    def sync(self) -> None:
        """Put its entries on disk."""
        with _told(self.path):
            self._about_to(Operation.SYNC, "")
            os.fsync(self.fd)

    def make_durable(self, but: Collection[str] = ()) -> None:
        """Close all files in it, and in directories within, to other users, and put them on disk.

        `but` are files, by their paths from here, with which that was done.  For what an engine has
        written.  Raises `UntrustedError` for anything but files and directories.
        """
        for name in self.names():
            found = self.status(name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                within = f"{name}/"
                with self.sub(name) as inner:
                    inner.make_private()
                    inner.make_durable(
                        {path.removeprefix(within) for path in but if path.startswith(within)}
                    )
                continue
            if name in but:
                continue
            with open(self.open_regular(name), "rb") as file, _told(self.path, name):
                self._about_to(Operation.SYNC, name)
                os.fchmod(file.fileno(), 0o600)
                os.fsync(file.fileno())
        self.sync()

    def require_own(self) -> None:
        """Raise `UntrustedError` if another user owns it."""
        _require_owner(self.path, os.fstat(self.fd))

    def make_private(self) -> None:
        """Keep every other user out."""
        if os.fstat(self.fd).st_mode & 0o077:
            self._about_to(Operation.CHMOD, "")
            os.fchmod(self.fd, 0o700)

    def _require(self, name: str, found: os.stat_result, kind: int) -> None:
        if stat.S_IFMT(found.st_mode) == kind and found.st_uid == os.geteuid():
            return  # nearly always, and then nothing asks for the path
        path = self.path / name
        if stat.S_IFMT(found.st_mode) != kind:
            what = _KINDS.get(stat.S_IFMT(found.st_mode), "an unknown thing")
            raise UntrustedError(
                f"{path} is {what}, not {_KINDS[kind]}, and is not followed or used: remove it"
            )
        _require_owner(path, found)


_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a regular file",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def own_directory(path: Path, *, create: bool = False, runtime: Runtime = SYSTEM) -> Directory:
    """The directory at `path`, the last name of which must be a directory of the user's own."""
    with Directory.open(path.parent, runtime) as above:
        return above.sub(path.name, create=create)


def is_plain(name: str) -> bool:
    """Whether `name` is one component of a path that stays where it is."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _require_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise UntrustedError(
            f"{path} belongs to {owner_name(found.st_uid)}, and is not used: "
            "remove it, search a copy of your own, or have its index elsewhere "
            '(README, "An index elsewhere")'
        )


def _plain(name: str) -> str:
    if not is_plain(name):
        raise OSError(errno.EINVAL, "not a plain name", name)
    return name


@contextmanager
def _told(path: Path, name: str = "") -> Iterator[None]:
    """Have an `OSError` name the whole path: of `name` in the directory at `path`."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path / name), None
        raise
