"""Where the full cidx's index lies below `.code-indexer`, opened and never touched.

What lies there is anybody's (README, "Who is trusted with what"): directories are opened from
descriptors, no link is followed, files must be regular and not too large.  Nothing is made, changed
or locked; and what is read keeps its time of access, where the system allows that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, is_plain
from cidx_ref.places import DIRECTORY

__all__ = [
    "FULLTEXT",
    "GRAPH",
    "IDS",
    "INDEX",
    "META",
    "TEXT_META",
    "Job",
    "Signature",
    "Tree",
    "as_signature",
    "collection_of",
    "open_quietly",
    "read_whole",
    "signature",
    "statuses",
]

INDEX = "index"
FULLTEXT = "tantivy_index"
#: Of a collection: what says what is in it, the graph, and where the points lie.
META, GRAPH, IDS = "collection_meta.json", "hnsw_index.bin", "id_index.bin"
TEXT_META = "meta.json"
_MAX_COLLECTIONS = 64
_GONE = (0, 0, 0, 0, 0)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: What a file was when it was looked at: device, inode, size, times of modification and change.
Signature = tuple[int, int, int, int, int]


def signature(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def as_signature(said: Sequence[int]) -> Signature:
    """One that was written as JSON, which has lists."""
    device, inode, size, modified, changed = said
    return device, inode, size, modified, changed


@dataclass(frozen=True, slots=True)
class Tree:
    """What of an index is there: a collection (None: none that has vectors), and a full text.

    `files` says of each file that makes a generation, by its path here, what it was; `refused`, by
    engine, what must not be used.  `watched` are those files more that a refusal of a check hangs
    on, and `others` the collections with vectors that are another model's.
    """

    collection: str | None
    has_text: bool
    files: dict[str, Signature] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    watched: dict[str, Signature] = field(default_factory=dict)
    others: tuple[str, ...] = field(default=(), compare=False)
    #: A name that is another one as soon as one of the files is.
    generation: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        every = (self.files, self.refused, self.watched)
        said = repr((self.collection, *(sorted(each.items()) for each in every)))
        name = f"cidx-{blake2b(said.encode(), digest_size=8).hexdigest()}"
        object.__setattr__(self, "generation", name)

    @property
    def newest_ns(self) -> int:
        """When the newest of them was written."""
        return max((each[3] for each in self.files.values()), default=0)


class Job(NamedTuple):
    """An index that is to be checked: the one that was `found` in the project at `root`, for the
    `model`; its catalogue goes into a new directory `name` in `above`.

    `is_last`: two files that do not fit are damage, and no reason to look again.
    """

    root: Path
    found: Tree
    model: str | None
    above: Directory
    name: str
    is_last: bool = False


def collection_of(model: str) -> str:
    """What the collection of a model is called."""
    return model.replace("/", "_").replace(":", "_")


def look(
    root: Path,
    model: str | None = None,
    watched: Iterable[str] = (),
    seen: dict[str, Signature] | None = None,
) -> Tree | None:
    """What lies in the project at `root`; None if there is no index of the full cidx.

    The collection is that of `model`; else the one with most vectors.  `watched` are paths that are
    looked at, too.  `seen` is told of each folder and file that was asked for, by its path below
    `.code-indexer`, what it was: of a folder, before anything in it.  Raises `OSError`, and
    `UntrustedError` for a `.code-indexer` that must not be used.
    """
    files: dict[str, Signature] = {}
    refused: dict[str, str] = {}
    collection: str | None = None
    others: tuple[str, ...] = ()
    seen = {} if seen is None else seen
    with ExitStack() as stack:
        own = _opened(stack, root)
        if own is None:
            return None
        seen[""] = _now(own)
        try:
            collection, others = _collection(own, model, files, seen)
        except UntrustedError as error:
            refused["semantic"] = str(error)
        try:
            _text(own, files, seen)
        except UntrustedError as error:
            refused["fts"] = str(error)
        beside = _statuses(own, watched)
    has_text = f"{FULLTEXT}/{TEXT_META}" in files
    if not files and not refused:
        return None
    return Tree(collection, has_text, files, refused, beside, others)


def statuses(root: Path, paths: Iterable[str]) -> dict[str, Signature]:
    """What the files at `paths` below `.code-indexer` are; all zero of what is not there."""
    with ExitStack() as stack:
        own = _opened(stack, root)
        return _statuses(own, paths) if own is not None else {}


@contextmanager
def opened(root: Path, *names: str) -> Iterator[Directory]:
    """The directory that `names` lead to below `.code-indexer`.  Raises `FileNotFoundError`."""
    with ExitStack() as stack:
        found = _opened(stack, root)
        for name in names:
            inner = _sub(found, name) if found is not None else None
            found = stack.enter_context(inner) if inner is not None else None
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/".join(names))
        yield found


def open_quietly(directory: Directory, name: str, at_most: int) -> int:
    """A descriptor of the regular file `name`, which is the user's, and has no more bytes."""
    found = directory.check(name, stat.S_IFREG)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    fd = _open(name, _OPEN, directory.fd)
    try:
        now = os.fstat(fd)
        if not stat.S_ISREG(now.st_mode):
            raise UntrustedError(f"{directory.path / name} is not a regular file")
        if now.st_size > at_most:
            raise UntrustedError(f"{directory.path / name} is larger than {at_most} bytes")
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_whole(directory: Directory, name: str, at_most: int) -> tuple[bytes, Signature]:
    """All of a file, and what it was."""
    fd = open_quietly(directory, name, at_most)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        return file.read(found.st_size), signature(found)


def _now(directory: Directory) -> Signature:
    return signature(os.fstat(directory.fd))


def _text(own: Directory, files: dict[str, Signature], seen: dict[str, Signature]) -> None:
    text = _sub(own, FULLTEXT)
    if text is not None:
        with text:
            seen[FULLTEXT] = _now(text)
            meta = text.status(TEXT_META)
        if meta is not None:
            path = f"{FULLTEXT}/{TEXT_META}"
            files[path] = seen[path] = signature(meta)


def _collection(
    own: Directory, model: str | None, files: dict[str, Signature], seen: dict[str, Signature]
) -> tuple[str | None, tuple[str, ...]]:
    """The collection that is meant, and the others.  Raises `UntrustedError` where there is but a
    part of one."""
    index = _sub(own, INDEX)
    if index is None:
        return None, ()
    with index:
        seen[INDEX] = _now(index)
        wanted = collection_of(model) if model else None
        found: dict[str, dict[str, Signature]] = {}
        halves: list[str] = []
        for name in sorted(os.listdir(index.fd))[:_MAX_COLLECTIONS]:
            each = _signatures(index, name, seen)
            if GRAPH in each and META in each:
                found[name] = each
            elif GRAPH in each or IDS in each:  # one without vectors has but its description
                missing = META if GRAPH in each else GRAPH
                halves.append(f"{INDEX}/{name}/{missing}: missing")
    if not found:
        if halves:
            raise UntrustedError(halves[0])
        return None, ()
    best = max(found, key=lambda name: (name == wanted, found[name][GRAPH][2], name))
    files.update({f"{INDEX}/{best}/{name}": each for name, each in found[best].items()})
    return best, tuple(name for name in found if name != best)


def _signatures(index: Directory, name: str, seen: dict[str, Signature]) -> dict[str, Signature]:
    """Of the files of a collection; none where it is no directory, or has nothing in it."""
    found = index.status(name) if is_plain(name) else None
    if found is None or not stat.S_ISDIR(found.st_mode):
        return {}
    with Directory(_open(name, _OPEN_DIRECTORY, index.fd), index.path / name) as inner:
        inner.require_own()
        seen[f"{INDEX}/{name}"] = _now(inner)
        every = {each: inner.status(each) for each in (META, GRAPH, IDS)}
    there = {each: signature(status) for each, status in every.items() if status is not None}
    seen.update({f"{INDEX}/{name}/{each}": found for each, found in there.items()})
    return there


def _statuses(own: Directory, paths: Iterable[str]) -> dict[str, Signature]:
    seen: dict[str, Signature] = {}
    for path in paths:
        with ExitStack() as stack, suppress(OSError):
            seen[path] = _GONE
            seen[path] = _on_the_way(stack, own, path.split("/"))
    return seen


def _on_the_way(stack: ExitStack, folder: Directory, names: list[str]) -> Signature:
    """What the last of `names` is, or the first of them that is no directory."""
    for number, name in enumerate(names):
        found = folder.status(name)
        if found is None:
            return _GONE
        if number == len(names) - 1 or not stat.S_ISDIR(found.st_mode):
            return signature(found)
        fd = _open(name, _OPEN_DIRECTORY, folder.fd)
        folder = stack.enter_context(Directory(fd, folder.path / name))
    return _GONE


def _opened(stack: ExitStack, root: Path) -> Directory | None:
    with Directory.open(root) as above:
        own = _sub(above, DIRECTORY)
    return stack.enter_context(own) if own is not None else None


def _sub(above: Directory, name: str) -> Directory | None:
    """The directory `name`; None if there is none.  To list it leaves no trace in it."""
    found = above.check(name, stat.S_IFDIR)
    if found is None:
        return None
    with suppress(FileNotFoundError):
        inner = Directory(_open(name, _OPEN_DIRECTORY, above.fd), above.path / name)
        try:
            inner.require_own()
        except BaseException:
            inner.close()
            raise
        return inner
    return None


def _open(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=folder)
    except PermissionError:  # another user's
        return os.open(name, flags, dir_fd=folder)
