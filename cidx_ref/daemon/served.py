"""One project as a service has it: its index, what of it is in memory, index runs, and the watch.

Made once, with the project of the first call; here is how the parts are put together, and nothing
of how they work.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Protocol

from cidx_ref.config import Config
from cidx_ref.daemon.beside import Beside
from cidx_ref.daemon.cache import CacheListener, IndexCache
from cidx_ref.daemon.freshness import Freshness, MakeWatch, NoWatch
from cidx_ref.daemon.indexing import IndexRuns
from cidx_ref.daemon.memory import give_back
from cidx_ref.daemon.singleflight import SingleFlight
from cidx_ref.daemon.succession import Succession
from cidx_ref.errors import NoIndexError
from cidx_ref.index.port import Index, RunOptions, Search, Several, Source
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime

__all__ = ["Served"]

_log = logging.getLogger("cidx_ref")

_MADE_ELSEWHERE = (
    "the full cidx's index is as fresh as it was made there: `cidx-ref index` makes one of ours"
)


class Configured(Protocol):
    """Who has the configuration."""

    config: Config

    def reload_config(self) -> None:
        """Take over what has changed in it."""


class Served:
    """What answers for one project.  Thread-safe."""

    def __init__(
        self,
        project: Project,
        index: Index,
        configured: Configured,
        *,
        make_watch: MakeWatch | None,
        listener: CacheListener,
        runtime: Runtime,
    ) -> None:
        self.project = project
        self.index = index
        #: What `index.check` says: it may read all files, and once for all who ask at a time.
        self.check = SingleFlight(index.check, runtime)
        self._configured = configured
        self._has_watch = make_watch is not None
        self._for_runs = configured.config.for_runs()

        def cache_of(source: Source[Any]) -> IndexCache[Any]:
            return IndexCache(
                project.root,
                source,
                ttl_minutes=self._configured.config.ttl_minutes,
                runtime=runtime,
                listener=listener,
                on_free=self._on_free,
            )

        self.cache = cache_of(index)
        self._beside = Beside(index, self.cache, cache_of, runtime)
        succession = Succession(self.cache, index, runtime=runtime, listener=listener)
        watch = None
        if make_watch is not None:
            watch = make_watch(
                project.root,
                lambda: self.freshness.run(),
                cancel=lambda: self.runs.cancel_unasked(),
                asks=lambda: bool(configured.config.include),
                runtime=runtime,
                listener=_log_of_watch,
            )
        self.runs = IndexRuns(index.begin_run, succession.prepared, runtime, watch)
        self.freshness = Freshness(
            self.runs,
            watch or NoWatch(),
            self._live,
            self._is_watch_wanted,
            self._unasked_options,
            runtime=runtime,
        )

    @property
    def chunks(self) -> int:
        """How many there are in what is loaded."""
        entry = self.cache.entry
        loaded = entry.snapshot if entry is not None else None
        return 0 if loaded is None else int(loaded.count)

    def answer(self, search: Search, when: dict[str, Any]) -> Any:
        """The answer, and how fresh it is; `when` is as in `Freshness.before`.

        What is not ours is not watched, and as fresh as it is made elsewhere.
        """
        if search.source == "cidx":
            with self._beside.pin(search.source) as loaded:
                return {**loaded.answer(search), "pending": None}
        with self.freshness.answering():
            said = self.freshness.before(**when)
            if self.freshness.is_unchanged():
                search = replace(search, is_unchanged=True)
            answer: Any = self._search(search)
        if not isinstance(answer, dict):  # of an index of another kind; the client says so
            return answer
        if when.get("fresh") and answer.get("source") == "cidx":
            said = {**said, "fresh": False, "fresh_problem": _MADE_ELSEWHERE}
        at = self.freshness.indexed_at(answer.get("generation"), answer.get("indexed_at"))
        return {**said, **answer, "indexed_at": at}

    def _search(self, search: Search) -> dict[str, Any]:
        """The answer; it says so itself if what the watch knows is of another generation."""
        with self.cache.pin() if not search.source else self._beside.pin(search.source) as loaded:
            if self.freshness.is_of_another(loaded.generation):
                return {**loaded.answer(replace(search, is_unchanged=False)), "pending": None}
            answer: dict[str, Any] = loaded.answer(search)
            return answer

    def options(self, **asked: Any) -> RunOptions:
        """Of an index run, by the configuration as it is now."""
        self._configured.reload_config()
        config = self._configured.config
        return RunOptions(**config.for_runs(), watch=self._is_watch_wanted(), **asked)

    def follow_config(self) -> None:
        """Do by the configuration as it has become."""
        config = self._configured.config
        self.cache.set_ttl(config.ttl_minutes)
        self._beside.set_ttl(config.ttl_minutes)
        if config.for_runs() != self._for_runs:
            self._for_runs = config.for_runs()
            self.freshness.doubt()
        if not config.watch:
            self.freshness.rest()

    def clear(self) -> None:
        """Forget the loaded index."""
        self.cache.clear()
        self._beside.clear()
        self.freshness.rest()

    def evict_expired(self) -> bool:
        """Evict the cached index if its TTL has passed."""
        is_evicted = self.cache.evict_expired()
        self._beside.evict_expired()
        # None may have come of a load, either; and a query may be about to begin one.
        is_used = self.cache.is_loading or self.freshness.is_answering
        if self.cache.entry is None and not is_used:
            self.freshness.rest()
        return is_evicted

    def _live(self) -> str:
        """The live generation, by a look at its manifest.  Raises `NoIndexError` if that is not of
        ours: to watch a project is to index it, which nobody has asked for."""
        generation = self.index.current()
        if isinstance(self.index, Several) and not self.index.is_made_here(generation):
            raise NoIndexError(_MADE_ELSEWHERE)
        if problem := self.index.describe().get("index_problem"):
            raise NoIndexError(problem)
        return generation

    def _is_watch_wanted(self) -> bool:
        return self._has_watch and self._configured.config.watch

    def _unasked_options(self) -> RunOptions:
        return self.options(keep_unverified=True)  # a user has to ask for a removal

    def _on_free(self) -> None:
        give_back()
        # A generation that was replaced may go from the disk, too, once no reader has it.
        self.index.sweep()


def _log_of_watch(event: str, detail: str = "", seconds: float = 0.0) -> None:
    _log.info("watch: %s%s (%.1f ms)", event, detail and f": {detail}", seconds * 1000)
