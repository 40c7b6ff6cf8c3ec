"""The cache: one project's index in memory.  Loaded once (single-flight), shared, renewed, evicted.

The rules, from which everything below follows:

1.  A *snapshot* is one generation of the index, loaded.  It never changes.  A query *pins* the
    entry that holds it (a reference count), searches outside any lock, and unpins it.  So a query
    sees one generation from beginning to end (CACHE-4), and readers never wait for one another.  A
    clear, an eviction or a publish in the meantime only takes the entry out of the cache; the
    snapshot is closed by the last query that unpins it.

2.  There is at most one entry, and at most one *load* that may become the entry.  A query that
    needs the same generation meanwhile waits for that load and shares its outcome (CACHE-1), an
    error too; a query that comes later does not, and tries again (CACHE-2).

3.  A load is installed only if it still is *the* load.  A clear, or a query that finds a newer
    generation on disk, takes that place away: the queries that asked before may use a stale result,
    but it never gets into the cache (CACHE-3).

4.  An index run of this very daemon may offer a *successor* (see `succession`), which the first
    query that finds its generation live takes for the entry, so no query waits for a load (PERF-5).
    A clear takes its place away, as it does a load's.

5.  Time is read once per operation, from a monotonic clock.  Every use renews the entry, when it
    begins and when it ends.  An entry is expired when no query uses it and none has for the TTL.

What an index is and where it lies, this module does not know: see `index.port`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from cidx_ref.daemon.entry import Cached, CacheEntry
from cidx_ref.errors import CidxError, GenerationGone
from cidx_ref.index.port import Source
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.steps import Step

__all__ = ["CacheListener", "IndexCache", "Successor"]

_log = logging.getLogger("cidx_ref")

S = TypeVar("S", bound=Cached)


class CacheListener(Protocol):
    """Is told what happens to the cache, each thing once (OBS-3); never called under the lock."""

    def __call__(self, event: str, generation: str, seconds: float = 0.0) -> None:
        """`event`: hit, load, load_failed, evict, clear or replace; `seconds`: how long it took."""


class _Load(Generic[S]):
    """A load under way: who waits for it, and then what came of it."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.waiters = 0
        self.done = False
        self.entry: CacheEntry[S] | None = None
        self.error: BaseException | None = None


class Successor(Generic[S]):
    """An entry that is to replace another one, as soon as its generation is live."""

    def __init__(self, entry: CacheEntry[S], predecessor: CacheEntry[S]) -> None:
        self.entry = entry
        self.predecessor = predecessor
        self.has_succeeded = False


class IndexCache(Generic[S]):
    """The index of one project.  Every method may be called from any thread."""

    def __init__(
        self,
        project_path: Path | str,
        source: Source[S],
        *,
        ttl_minutes: float = 10,
        runtime: Runtime = SYSTEM,
        listener: CacheListener = lambda event, generation, seconds=0.0: None,
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_free` is called after a snapshot was closed, so that its memory can be given back
        to the system (CACHE-7)."""
        self.project_path = Path(project_path)
        self._source = source
        self._ttl_minutes = ttl_minutes
        self._runtime = runtime
        self._tell = listener
        self._on_free = on_free
        self._changed = runtime.condition("cache")
        self._entry: CacheEntry[S] | None = None
        self._load: _Load[S] | None = None
        self._successor: Successor[S] | None = None

    @property
    def entry(self) -> CacheEntry[S] | None:
        return self._entry

    @property
    def is_loading(self) -> bool:
        return self._load is not None

    def set_ttl(self, minutes: float) -> None:
        """Let entries live for `minutes`, the present one included."""
        with self._changed:
            self._ttl_minutes = minutes
            if self._entry is not None:
                self._entry.ttl_minutes = minutes

    @contextmanager
    def pin(self) -> Iterator[S]:
        """The snapshot of the live generation, loaded if need be, for as long as the block runs.

        Raises what `Source.load` raises.
        """
        entry = self._acquire()
        try:
            assert entry.snapshot is not None, "pinned, and closed"
            yield entry.snapshot
        finally:
            self._release(entry)

    def clear(self) -> bool:
        """Forget the entry, and let no load under way become one; False if there was nothing."""
        with self._changed:
            entry, self._entry = self._entry, None
            load, self._load = self._load, None
            self._successor = None
            unused = _unused(entry)
        cleared = entry or load
        if cleared is not None:
            self._tell("clear", cleared.generation)
        self.close(unused)
        return cleared is not None

    def evict_expired(self) -> bool:
        """Drop the entry if its TTL has passed and no query uses it; True if it was dropped."""
        with self._changed:
            entry = self._entry
            if entry is None or not entry.is_expired(self._runtime.monotonic()):
                return False
            self._entry = None
        self._tell("evict", entry.generation)
        self.close(entry)
        return True

    # A pin is taken and given back by these two.  `_acquire` decides under the lock, and loads
    # outside it; it goes round again only when the generation it settled on was removed under it.

    def _acquire(self) -> CacheEntry[S]:
        while True:
            with self._changed:
                # Asked under the lock, though it reads a link on disk (some microseconds): asked
                # before it, a slow thread would come with yesterday's answer, and put a load of
                # the old generation in the place of the new one.
                generation = self._source.current()
                self._succeed(generation)
                entry = self._entry
                if entry is not None and entry.generation == generation:
                    self._begin_use(entry)
                    break
                load = self._load
                leads = load is None or load.generation != generation
                if load is None or leads:
                    load = self._load = _Load(generation)
                else:
                    # Here, and not when the waiting begins: the leader counts the waiters when it
                    # is done, and one that it missed would use the entry without a pin.
                    load.waiters += 1
            try:
                return self._lead(load) if leads else self._follow(load)
            except GenerationGone:
                continue
        self._tell("hit", generation)
        return entry

    def _release(self, entry: CacheEntry[S]) -> None:
        with self._changed:
            entry.pins -= 1
            entry.touch(self._runtime.monotonic())
            unused = entry if entry.pins == 0 and entry is not self._entry else None
        self.close(unused)

    def _lead(self, load: _Load[S]) -> CacheEntry[S]:
        snapshot: S | None = None
        try:
            started = self._runtime.monotonic()
            snapshot = self._source.load(load.generation)
            self._runtime.step(Step.LOADED)
            entry = CacheEntry(self.project_path, snapshot, runtime=self._runtime)
            self._begin_use(entry)  # which nobody else has yet
        except BaseException as error:
            with self._changed:
                load.done, load.error = True, error
                if self._load is load:
                    self._load = None
                self._changed.notify_all()
            self._close_snapshot(snapshot)
            self._tell("load_failed", load.generation)
            raise
        replaced = None
        with self._changed:
            # The waiters' pins are taken for them: between here and their waking up, nothing
            # else would keep the snapshot open if it is cleared at once.
            entry.pins += load.waiters
            entry.access_count += load.waiters
            load.done, load.entry = True, entry
            self._changed.notify_all()  # they go on when this is done, however it ends
            if self._load is load:
                self._load = None
                if self._is_live(entry.generation):
                    replaced = self._install(entry)
            unused = _unused(replaced)
        self._tell("load", entry.generation, self._runtime.monotonic() - started)
        if replaced is not None:
            self._tell("replace", replaced.generation)
        self.close(unused)
        return entry

    # For an index run of this daemon: see `succession`.

    def hold(self, *, other_than: str) -> CacheEntry[S] | None:
        """The entry, with one more pin until `let_go`, which does not renew its age.  None where
        there is none, or it is of the generation `other_than`."""
        with self._changed:
            self._look()
            entry = self._entry
            if entry is None or entry.generation == other_than:
                return None
            entry.pins += 1
            return entry

    def offer(self, successor: Successor[S]) -> None:
        """Have `successor` take over, if its predecessor still is the entry."""
        with self._changed:
            if successor.predecessor is self._entry:
                self._successor = successor

    def withdraw(self, successor: Successor[S]) -> None:
        """Install `successor` if its generation is live; forget it otherwise."""
        with self._changed:
            if self._successor is successor:
                self._look()
                self._successor = None

    def let_go(self, entry: CacheEntry[S]) -> None:
        """Give up what `hold` gave."""
        with self._changed:
            entry.pins -= 1
            unused = _unused(entry) if entry is not self._entry else None
        self.close(unused)

    def _look(self) -> None:
        """Let a successor take over whose generation has become live.  Locked."""
        with suppress(Exception):  # no index: nothing has become live
            self._succeed(self._source.current())

    def _succeed(self, generation: str) -> None:
        """Make the successor the entry, if it is of `generation`, which is live.  Locked."""
        successor = self._successor
        if successor is None or successor.predecessor is not self._entry:
            return
        if successor.entry.generation == generation:
            # No query has used it yet: its TTL goes on from the last one (TTL-1).
            successor.entry.inherit_age(successor.predecessor)
            self._install(successor.entry)
            self._successor = None
            successor.has_succeeded = True

    def _install(self, entry: CacheEntry[S]) -> CacheEntry[S] | None:
        """Make `entry` the entry; what it replaces.  Locked."""
        replaced, self._entry = self._entry, entry
        entry.ttl_minutes = self._ttl_minutes
        return replaced

    def _is_live(self, generation: str) -> bool:
        try:
            return self._source.current() == generation
        except Exception:  # of any kind: the load has its entry
            return False

    def _follow(self, load: _Load[S]) -> CacheEntry[S]:
        try:
            self._runtime.step(Step.JOINED)
            with self._changed:
                while not load.done:
                    self._changed.wait()
        except BaseException:  # interrupted: leave no pin behind
            self._leave(load)
            raise
        if load.error is not None:
            raise _again(load.error) from None
        assert load.entry is not None
        self._tell("hit", load.generation)
        return load.entry

    def _leave(self, load: _Load[S]) -> None:
        with self._changed:
            load.waiters -= 1
            entry = load.entry
            if entry is not None:
                entry.pins -= 1
            unused = _unused(entry) if entry is not self._entry else None
        self.close(unused)

    def _begin_use(self, entry: CacheEntry[S]) -> None:
        entry.touch(self._runtime.monotonic())
        entry.pins += 1
        entry.access_count += 1

    def close(self, entry: CacheEntry[S] | None) -> None:
        """Close what no query uses any more, nor can come to use.  Never under the lock: it takes
        milliseconds."""
        if entry is not None:
            snapshot, entry.snapshot = entry.snapshot, None
            self._close_snapshot(snapshot)

    def _close_snapshot(self, snapshot: S | None) -> None:
        if snapshot is None:
            return
        try:
            snapshot.close()
            self._on_free()
        except Exception:  # the query that happens to unpin it last cannot help it
            _log.exception("generation %s could not be closed", snapshot.generation)


def _unused(entry: CacheEntry[S] | None) -> CacheEntry[S] | None:
    return entry if entry is not None and entry.pins == 0 else None


def _again(error: BaseException) -> BaseException:
    """What those who waited are told of a load that failed with `error`."""
    if isinstance(error, CidxError):
        # A new exception: one instance raised by many threads would mix up their tracebacks, and
        # keep their frames, with the snapshots in them, alive.
        return type(error)(*error.args)
    if isinstance(error, Exception):
        return error
    # The interrupt belongs to the loading thread; the waiting threads try again.
    return GenerationGone("the load was interrupted")
