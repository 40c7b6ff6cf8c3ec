"""Small caches, as people write them: some right, in styles of their own, and the others each with
one defect.  They are made for `check_cache`: `make(source, *, ttl_s, runtime)`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from cachetools import TTLCache

from cidx_ref.testing.concurrency.instrument import instrumented


class Entry:
    def __init__(self, value: Any, version: str, now: float) -> None:
        self.value = value
        self.version = version
        self.used_at = now
        self.users = 0


class Pinned:
    """A right one: single-flight, reference counts, an epoch, a check of the live version."""

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        self.source, self.ttl_s, self.runtime = source, ttl_s, runtime
        self.lock = runtime.condition("cache")
        self.entry: Entry | None = None
        self.loading: object | None = None

    # Each of these is one thing that a defect changes.

    def now(self) -> float:
        return float(self.runtime.monotonic())

    def is_expired(self, entry: Entry) -> bool:
        return entry.users == 0 and self.now() - entry.used_at >= self.ttl_s

    def is_live(self, entry: Entry) -> bool:
        return bool(entry.version == self.source.current())

    def begin(self, entry: Entry) -> None:
        entry.users += 1
        entry.used_at = self.now()

    def end(self, entry: Entry) -> None:
        entry.users -= 1
        entry.used_at = self.now()

    def drop(self) -> Entry | None:
        entry, self.entry = self.entry, None
        self.loading = None
        return entry

    def may_install(self, ticket: object) -> bool:
        return self.loading is ticket

    def failed(self, error: BaseException) -> None:
        pass

    def close(self, entry: Entry | None) -> None:
        if entry is not None and entry.users == 0:
            entry.value.close()

    @contextmanager
    def use(self) -> Iterator[Any]:
        entry = self.take()
        try:
            yield entry.value
        finally:
            with self.lock:
                self.end(entry)
                unused = entry is not self.entry
            if unused:
                self.close(entry)

    def take(self) -> Entry:
        old = None
        with self.lock:
            while True:
                if self.entry is not None and self.is_live(self.entry):
                    self.begin(self.entry)
                    return self.entry
                if self.loading is None:
                    break
                self.lock.wait()
            old = self.entry
            self.entry = None
            ticket = self.loading = object()
            version = self.source.current()
        self.close(old)
        return self.load(ticket, version)

    def load(self, ticket: object, version: str) -> Entry:
        try:
            value = self.source.load(version)
        except BaseException as error:
            with self.lock:
                self.failed(error)
                if self.loading is ticket:
                    self.loading = None
                self.lock.notify_all()
            raise
        entry = Entry(value, version, self.now())
        with self.lock:
            self.begin(entry)
            if self.may_install(ticket):
                self.loading = None
                self.entry = entry
            self.lock.notify_all()
        return entry

    def clear(self) -> None:
        with self.lock:
            entry = self.drop()
            self.lock.notify_all()
        self.close(entry)

    def evict(self) -> None:
        with self.lock:
            if self.entry is None or not self.is_expired(self.entry):
                return
            entry = self.drop()
        self.close(entry)


class LooksAndLoads(Pinned):
    """Whoever finds nothing loads."""

    def take(self) -> Entry:
        with self.lock:
            if self.entry is not None and self.is_live(self.entry):
                self.begin(self.entry)
                return self.entry
            ticket = self.loading = object()
            version = self.source.current()
        return self.load(ticket, version)


class OutlivesTheTtl(Pinned):
    def is_expired(self, entry: Entry) -> bool:
        return entry.users == 0 and self.now() - entry.used_at > self.ttl_s


class ExpiresEarly(Pinned):
    def is_expired(self, entry: Entry) -> bool:
        return entry.users == 0 and self.now() - entry.used_at >= self.ttl_s - 0.5


class TouchedAtTheBeginning(Pinned):
    def end(self, entry: Entry) -> None:
        entry.users -= 1


class TouchedAtTheEnd(Pinned):
    """And then what is in use counts as old."""

    def is_expired(self, entry: Entry) -> bool:
        return self.now() - entry.used_at >= self.ttl_s


class ClosedInUse(Pinned):
    def close(self, entry: Entry | None) -> None:
        if entry is not None:
            entry.value.close()


class WallClock(Pinned):
    def now(self) -> float:
        return float(self.runtime.now().timestamp())


class RemembersFailures(Pinned):
    failure: BaseException | None = None

    def failed(self, error: BaseException) -> None:
        self.failure = error

    def take(self) -> Entry:
        if self.failure is not None:
            raise self.failure
        return super().take()


class LeavesALoadBehind(Pinned):
    """After a failed load, everybody waits for it."""

    def load(self, ticket: object, version: str) -> Entry:
        value = self.source.load(version)
        entry = Entry(value, version, self.now())
        with self.lock:
            self.begin(entry)
            if self.may_install(ticket):
                self.loading = None
                self.entry = entry
            self.lock.notify_all()
        return entry


class InstalledAfterAClear(Pinned):
    def may_install(self, ticket: object) -> bool:
        return True


class ClearsOnErrors(Pinned):
    @contextmanager
    def use(self) -> Iterator[Any]:
        try:
            with super().use() as value:
                yield value
        except Exception:
            self.clear()
            raise


class PinLeftByErrors(Pinned):
    @contextmanager
    def use(self) -> Iterator[Any]:
        entry = self.take()
        yield entry.value
        with self.lock:
            self.end(entry)
            unused = entry is not self.entry
        if unused:
            self.close(entry)


class LetsGoOfWhatItEvicts(Pinned):
    """A clear closes, and an eviction forgets to."""

    def evict(self) -> None:
        with self.lock:
            if self.entry is not None and self.is_expired(self.entry):
                self.drop()


class KeepsWhatItClears(Pinned):
    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        super().__init__(source, ttl_s=ttl_s, runtime=runtime)
        self.old: list[Entry | None] = []

    def close(self, entry: Entry | None) -> None:
        self.old.append(entry)


class NeverLooksAgain(Pinned):
    def is_live(self, entry: Entry) -> bool:
        return True


class OneAtATime(Pinned):
    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        super().__init__(source, ttl_s=ttl_s, runtime=runtime)
        self.reading = runtime.lock("reading")

    @contextmanager
    def use(self) -> Iterator[Any]:
        with self.reading, super().use() as value:
            yield value


class ReadAgainAfterTheLock(Pinned):
    """The entry is taken, and later taken from the cache once more."""

    @contextmanager
    def use(self) -> Iterator[Any]:
        with super().use():
            self.runtime.step("reads the entry again")
            yield self.entry.value  # type: ignore[union-attr]


class LostWakeUp(Pinned):
    """Whoever comes while another loads waits for a signal that came before."""

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        super().__init__(source, ttl_s=ttl_s, runtime=runtime)
        self.loaded = runtime.event("loaded")

    def take(self) -> Entry:
        while True:
            with self.lock:
                if self.entry is not None and self.is_live(self.entry):
                    self.begin(self.entry)
                    return self.entry
                if self.loading is None:
                    ticket = self.loading = object()
                    version = self.source.current()
                    break
            self.loaded.clear()
            self.loaded.wait()
        entry = self.load(ticket, version)
        self.loaded.set()
        return entry


# In other styles.


class Checking(Pinned):
    """A right one that checks by itself."""

    check_every_s = 60.0

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        super().__init__(source, ttl_s=ttl_s, runtime=runtime)
        self.stopping = runtime.event("stop")
        self.thread: Any = None

    def start(self) -> None:
        self.thread = self.runtime.thread(self.check, "eviction")

    def stop(self) -> None:
        self.stopping.set()

    def check(self) -> None:
        while not self.pause():
            with suppress(Exception):
                self.evict()

    def pause(self) -> bool:
        return bool(self.stopping.wait(self.check_every_s))


class ChecksOnce(Checking):
    """An error in a check ends the thread."""

    def check(self) -> None:
        with suppress(OSError):
            while not self.pause():
                self.evict()


class SleepsOn(Checking):
    """It is told to stop, and looks when it wakes up."""

    def pause(self) -> bool:
        self.runtime.sleep(self.check_every_s)
        return bool(self.stopping.is_set())


class NeverChecks(Checking):
    def check(self) -> None:
        self.stopping.wait()


class Tools:
    """A library's cache with a lock around it, which must be held to load: not renewed by use, and
    it never asks what is live."""

    not_offered = {"TTL-2": "its time to live counts from the load"}  # noqa: RUF012

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        self.cache: Any = TTLCache(4, ttl_s, timer=runtime.monotonic)
        self.lock = runtime.lock("cache")
        self.source = source

    def get(self, key: str) -> Any:
        with self.lock:
            try:
                return self.cache[key]
            except KeyError:
                return self.cache.setdefault(key, self.source.load())

    def clear(self) -> None:
        with self.lock:
            self.cache.clear()


class Recursive:
    """An RLock around everything, and expiry when it is asked."""

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        self.lock = threading.RLock()
        self.source, self.ttl_s, self.runtime = source, ttl_s, runtime
        self.value: Any = None
        self.used_at = 0.0

    def get(self) -> Any:
        with self.lock:
            now = self.runtime.monotonic()
            if self.value is None or now - self.used_at >= self.ttl_s or self.is_old():
                self.clear()
                self.value = self.source.load(self.source.current())
            self.used_at = now
            return self.value

    def is_old(self) -> bool:
        with self.lock:
            return bool(self.value.version != self.source.current())

    def clear(self) -> None:
        with self.lock:
            self.value = None


class Futures:
    """Single-flight without a lock: whoever puts its future into the dictionary loads."""

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        self.source, self.ttl_s, self.runtime = source, ttl_s, runtime
        self.futures: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        mine: Any = Future()
        mine.used_at = self.runtime.monotonic()
        found = self.futures.setdefault(key, mine)
        if found is not mine:
            if found.done() and self.runtime.monotonic() - found.used_at >= self.ttl_s:
                self.forget(key, found)
                return self.get(key)
            found.used_at = self.runtime.monotonic()
            return found.result()
        try:
            mine.set_result(self.source.load())
        except Exception as error:
            self.forget(key, mine)
            mine.set_exception(error)
        return mine.result()

    def forget(self, key: str, future: Any) -> None:
        if self.futures.get(key) is future:
            del self.futures[key]

    def clear(self) -> None:
        self.futures.clear()


class Missing:
    """Of those that answer None where they should not: they load once, and keep that."""

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        self.source = source
        self.lock = runtime.lock("cache")
        self.value: Any = None
        self.loading = False


class NoneAtFirst(Missing):
    """The value is for the next one who asks."""

    def get(self) -> Any:
        value, self.value = self.value, self.value or self.source.load()
        return value


class NoneIfCached(Missing):
    def get(self) -> Any:
        if self.value is None:
            self.value = self.source.load()
            return self.value
        return None


class NoneWhileLoading(Missing):
    """Nobody waits for a load of somebody else's."""

    def get(self) -> Any:
        with self.lock:
            if self.value is not None or self.loading:
                return self.value
            self.loading = True
        self.value = self.source.load()
        return self.value


class NoneForAFailure(Missing):
    def get(self) -> Any:
        with self.lock, suppress(Exception):
            self.value = self.value or self.source.load()
        return self.value


class CacheEntry:
    """As in the story."""

    def __init__(self) -> None:
        self.index: Any = None
        self.last_accessed = datetime.now()
        self.read_lock = threading.RLock()


class Story:
    """As in the story: the entry is read again, one reader at a time, on the wall clock."""

    def __init__(self, source: Any, *, ttl_s: float, runtime: Any) -> None:
        self.source, self.ttl = source, timedelta(seconds=ttl_s)
        self.cache_lock = threading.Lock()
        self.cache_entry: Any = None

    @contextmanager
    def use(self) -> Iterator[Any]:
        with self.cache_lock:
            if self.cache_entry is None:
                self.cache_entry = CacheEntry()
        with self.cache_entry.read_lock:
            if self.cache_entry.index is None:
                self.cache_entry.index = self.source.load()
            self.cache_entry.last_accessed = datetime.now()
            yield self.cache_entry.index

    def clear(self) -> None:
        with self.cache_lock:
            self.cache_entry = None

    def evict(self) -> None:
        with self.cache_lock:
            entry = self.cache_entry
            if entry is not None and datetime.now() - entry.last_accessed > self.ttl:
                self.cache_entry = None


def mine(make: Callable[..., Any]) -> Callable[..., Any]:
    """With this module's own locks and clocks under the scheduler."""
    return instrumented(make, __name__)
