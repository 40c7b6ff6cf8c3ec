"""The installation: the files that the daemon runs from, and whether they are as they were.

A daemon outlives upgrades.  What it has imported stays as it was; what it has not imported yet, and
the child process of an index run, come from whatever lies at the same paths by then: nothing, or
another version.  So a few files that stand for the whole are remembered, and looked at again: each
second (`server`), after each load and before each scan (`Guarded`), and after each failure
(`Installation.guarded`).  Where one of them has changed, the daemon ends, and the call is told
`ReplacedError`: the client repeats it, and the next daemon answers.

Each package is replaced as a whole by whatever installs it, so two files stand for it: that which
an import of it begins with; and its `METADATA`, as a copy may leave alone what is equal.  Of this
package the first is `_version.py`: an edit of any other module, as in an editable installation,
replaces nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from cidx_ref import _version
from cidx_ref.errors import BadArgumentError, CidxError, ReplacedError, ShuttingDownError
from cidx_ref.index.port import Index, Loaded, Run, RunListener, RunOptions, Several, Source

__all__ = ["DEPENDENCIES", "DISTRIBUTIONS", "Guarded", "Installation"]

#: The packages whose absence or replacement ends a daemon, by the names that they are imported by.
DEPENDENCIES = ("hnswlib", "numpy", "re2", "rpyc", "snowballstemmer", "tantivy")

#: As which those are distributed that are imported by another name.
DISTRIBUTIONS = {"re2": "google_re2"}

_Identity = tuple[int, int, int, int]


class Installation:
    """Files, as they were when this was made.  Without any it never changes.  Thread-safe."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        found = ((path, _identity(path)) for path in paths)
        #: What was not there to begin with cannot go.
        self._known = {path: identity for path, identity in found if identity is not None}

    @classmethod
    def of_this_process(cls) -> Installation:
        """Interpreter, standard library, this package and what it depends on."""
        package = os.path.abspath(_version.__file__)  # noqa: PTH100
        begins = [path for name in DEPENDENCIES if (path := _begins_with(name)) is not None]
        places = {os.path.dirname(os.path.dirname(path)) for path in [package, *begins]}  # noqa: PTH120
        places |= {os.path.dirname(path) for path in begins}  # noqa: PTH120 - a module without a folder
        metadata = [path for place in sorted(places) for path in _metadata(place)]
        return cls(filter(None, [sys.executable, os.__file__, package, *begins, *metadata]))

    @property
    def paths(self) -> tuple[str, ...]:
        """What is looked at."""
        return tuple(self._known)

    def change(self) -> str | None:
        """What has happened to the first file that is not as it was; None while all are."""
        for path, identity in self._known.items():
            try:
                now = _identity(path)
            except OSError:  # a file system that does not answer says nothing of its files
                continue
            if now != identity:
                return f"{path} is gone" if now is None else f"{path} was replaced"
        return None

    def check(self) -> None:
        """Raise `ReplacedError` if there is a change."""
        if (change := self.change()) is not None:
            raise ReplacedError(f"the daemon ends, as {change}: the next daemon will answer")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Have what fails in the block, and can have failed through a change, say so.

        A user's mistake stays one.
        """
        try:
            yield
        except Exception as error:
            is_users = isinstance(error, CidxError) and not error.failure
            if not is_users or isinstance(error, ShuttingDownError):
                self.check()
            raise


class Guarded:
    """An index whose modules and child processes are of the installation that the daemon has begun
    with: what comes of another one is refused."""

    def __init__(self, index: Index, installation: Installation) -> None:
        self._index = index
        self._installation = installation

    def current(self) -> str:
        return self._index.current()

    def load(self, generation: str) -> Loaded:
        """Raises `ReplacedError` where it may have imported what was not meant to be together."""
        return _loaded(self._index, generation, self._installation)

    def source(self, name: str) -> Source[Loaded]:
        """See `port.Several`.  Raises `BadArgumentError` where the index is the only one."""
        if not isinstance(self._index, Several):
            raise BadArgumentError("source: there is but one index here")
        return _GuardedSource(self._index.source(name), self._installation)

    def is_made_here(self, generation: str) -> bool:
        index = self._index
        return not isinstance(index, Several) or index.is_made_here(generation)

    def describe(self) -> dict[str, Any]:
        return self._index.describe()

    def check(self) -> dict[str, Any]:
        return self._index.check()

    def skipped(self) -> dict[str, Any]:
        return self._index.skipped()

    def sweep(self) -> None:
        self._index.sweep()

    def begin_run(self, options: RunOptions) -> Run:
        """A run whose child, where there is one, is of this installation."""
        self._installation.check()
        return _GuardedRun(self._index.begin_run(options), self._installation)


class _GuardedSource:
    def __init__(self, source: Source[Loaded], installation: Installation) -> None:
        self._source = source
        self._installation = installation

    def current(self) -> str:
        return self._source.current()

    def load(self, generation: str) -> Loaded:
        return _loaded(self._source, generation, self._installation)


def _loaded(source: Source[Loaded], generation: str, installation: Installation) -> Loaded:
    loaded = source.load(generation)
    try:
        # After the load, which imports: what was intact afterwards, was intact all the while.
        installation.check()
    except BaseException:
        loaded.close()
        raise
    return loaded


class _GuardedRun:
    def __init__(self, run: Run, installation: Installation) -> None:
        self._run = run
        self._installation = installation

    def cancel(self) -> None:
        self._run.cancel()

    def run(self, listener: RunListener) -> dict[str, Any]:
        return self._run.run(_GuardedListener(listener, self._installation))


class _GuardedListener:
    def __init__(self, listener: RunListener, installation: Installation) -> None:
        self._listener = listener
        self._installation = installation

    def progress(self, current: int, total: int, path: str, info: str) -> None:
        self._listener.progress(current, total, path, info)

    def ready(self, generation: str) -> None:
        self._listener.ready(generation)

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        self._listener.listed(folders, files)

    def waiting(self) -> None:
        self._listener.waiting()

    def scanning(self) -> None:
        # The child has imported what it needs by now, and has looked at nothing yet.
        self._installation.check()
        self._listener.scanning()


def _identity(path: str) -> _Identity | None:
    """Of the file behind all links; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _begins_with(name: str) -> str | None:
    """The file that an import of the package `name` begins with.  Imports nothing."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


def _metadata(place: str) -> list[str]:
    """The files in which installers have left name and version, of those packages that count."""
    wanted = {*(DISTRIBUTIONS.get(name, name) for name in DEPENDENCIES), "cidx_ref"}
    try:
        names = os.listdir(place)
    except OSError:
        return []
    return [
        os.path.join(place, name, "METADATA")  # noqa: PTH118
        for name in sorted(names)
        if name.endswith(".dist-info") and name.partition("-")[0].lower() in wanted
    ]
