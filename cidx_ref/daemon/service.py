"""What the daemon offers: the exposed methods, and the parts they are made of.

One instance serves one project and all its clients.  Every call takes the same way, from top to
bottom: arguments are checked, without a lock (QRY-5); the gate lets it in; a query waits for its
turn; the work is done, for a query with the snapshot pinned; the outcome is counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from cidx_ref.config import Config
from cidx_ref.daemon import arguments, dispatch, entry, report, told
from cidx_ref.daemon.freshness import MakeWatch
from cidx_ref.daemon.gate import Gate
from cidx_ref.daemon.health import HealthMonitor, Metrics
from cidx_ref.daemon.installation import Guarded, Installation
from cidx_ref.daemon.progress import relay
from cidx_ref.daemon.room import Room, shortage
from cidx_ref.daemon.semaphore import Turns
from cidx_ref.daemon.served import Served
from cidx_ref.daemon.transport import ExposedService
from cidx_ref.errors import BadArgumentError, CidxError, InternalError
from cidx_ref.index.catalog import open_index
from cidx_ref.index.embed import Embedder
from cidx_ref.index.port import Index, Open, Search
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["CIDXDaemonService"]

_log = logging.getLogger("cidx_ref")


class CIDXDaemonService(ExposedService):
    """The story's service (docs/requirements.md).  Thread-safe; one for all connections."""

    CacheEntry: ClassVar[type] = entry.CacheEntry  # where the story has it

    EXPOSED = frozenset(
        {
            *("query", "query_fts", "query_hybrid", "query_literal", "query_regex"),
            "index",
            "get_status",
            "get_health",
            "get_metrics",
            "get_diagnostics",
            "get_skipped",
            "clear_cache",
            "ping",
            "shutdown",
            "call",
        }
    )

    def __init__(
        self,
        project: Path | str | None = None,
        *,
        embedder: Embedder | None = None,
        index: Open | None = None,
        runtime: Runtime = SYSTEM,
        max_calls: int = 256,
        installation: Installation | None = None,
        watch: MakeWatch | None = None,
    ) -> None:
        """Serve `project`; without one, the project of the first query or index.

        `index`, a function of project and runtime, opens another kind of index than the project's
        own (see `index.port`); `embedder` is for our own, by default the configured one.  With
        `installation`, the service is stopped when a call shows that it has changed.  `watch` makes
        what watches the project while it is in use; without it, nothing does.

        Raises `BadArgumentError` and `ConfigError`.
        """
        self.runtime = runtime
        self.config = Config()
        self.gate = Gate(runtime, max_calls=max_calls)
        self._turns = Turns(runtime)
        self.metrics = Metrics(runtime)
        self.installation = installation or Installation()
        self.health_monitor = HealthMonitor(self, runtime=runtime, problem=self._problem)
        #: Called when the daemon is to stop; without it, there is no daemon around this service.
        self.on_shutdown: Callable[[str], None] | None = None
        #: What a client connects to; None where there is no daemon around this service.
        self.address: str | None = None
        #: How many connections there can be at once, and are.
        self.room = Room()
        self.connections: Callable[[], int] = lambda: 0
        self._open_index = index or partial(open_index, embedder=embedder)
        self._make_watch = watch
        self._started = runtime.monotonic()
        self._adopting = runtime.lock("adopt")
        self._served: Served | None = None
        if project is not None:
            self._serve_only(Project.at(project))

    # The exposed methods: the story's, with its parameters and result keys.

    def exposed_query(
        self, /, project_path: Any, query: Any, limit: Any = 10, **kwargs: Any
    ) -> dict[str, Any]:
        """Semantic search.  `languages`, `paths` and `exclude_paths` filter in every mode.

        With `fresh`, the answer is from an index that holds every change made before the call, for
        which `timeout_s` is waited at most; `fresh` and `fresh_problem` say what came of it.  With
        `explain`, each hit has `signals`: what made its score.
        """
        return self._query("query", "semantic", project_path, query, limit, kwargs)

    def exposed_query_fts(
        self, /, project_path: Any, query: Any, limit: Any = 10, **kwargs: Any
    ) -> dict[str, Any]:
        """Full-text search."""
        return self._query("query_fts", "fts", project_path, query, limit, kwargs)

    def exposed_query_hybrid(
        self, /, project_path: Any, query: Any, limit: Any = 10, **kwargs: Any
    ) -> dict[str, Any]:
        """Candidates of both, ranked together."""
        return self._query("query_hybrid", "hybrid", project_path, query, limit, kwargs)

    def exposed_query_literal(
        self, /, project_path: Any, query: Any, limit: Any = 10, **kwargs: Any
    ) -> dict[str, Any]:
        """The lines in which a text stands as it is; with `ignore_case`, in whatever case."""
        return self._query("query_literal", "literal", project_path, query, limit, kwargs)

    def exposed_query_regex(
        self, /, project_path: Any, query: Any, limit: Any = 10, **kwargs: Any
    ) -> dict[str, Any]:
        """The lines in which a regular expression matches, in RE2's syntax."""
        return self._query("query_regex", "regex", project_path, query, limit, kwargs)

    def exposed_index(
        self, /, project_path: Any, callback: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Bring the index up to date, in a child process; queries go on meanwhile.

        `full` builds anew what has not changed, too.  `wait_s` is how long another writer is
        waited for (default: until it is done), then it is `BusyError`.  Indexes that this account
        has not made are removed in the end, and named under `removed`; not so with
        `keep_unverified`.  `callback(current, total,
        path)` is told of the progress, with `info` as a fourth argument where there is some.
        """

        with self._counted("index"):
            options = arguments.index_options(callback, kwargs)
            project = self._admit(project_path)
            with self.gate.call("index", is_use=True):
                return self._run_index(project, callback, options)

    def exposed_get_status(self, /) -> dict[str, Any]:
        """The story's figures; and who the daemon is, and how old the index."""
        with self._call("get_status"):
            return report.status(self)

    def exposed_get_health(self, /) -> dict[str, Any]:
        with self._call("get_health"):
            return self.health_monitor.get_health()

    def exposed_get_metrics(self, /) -> dict[str, Any]:
        with self._call("get_metrics"):
            watch = self._served.freshness.counts() if self._served is not None else {}
            return {**self.metrics.report(), "watch": watch}

    def exposed_get_diagnostics(self, /) -> dict[str, Any]:
        """What is in flight and for how long, where each thread is, versions, limits, and whether
        the files on disk still match their manifest (which reads all of them)."""
        with self._call("get_diagnostics"):
            return report.diagnostics(self)

    def exposed_get_skipped(self, /) -> dict[str, Any]:
        """What the last index run left out: path and reason, and counts by reason."""
        with self._call("get_skipped"):
            return report.skipped(self)

    def exposed_clear_cache(self, /) -> dict[str, Any]:
        """Forget the loaded index."""
        with self._call("clear_cache"):
            if self._served is not None:
                self._served.clear()
            return {"status": "cache cleared"}

    def exposed_ping(self, /) -> dict[str, Any]:
        """Who answers.  A client compares `version` before it asks for anything else."""
        with self._call("ping"):
            return {"pong": True, **report.identity(self)}

    def exposed_shutdown(self, /) -> dict[str, Any]:
        """Stop the daemon: what is in flight is answered first."""
        with self._call("shutdown"):
            self.shutdown("asked to")
            return {"status": "shutting down", "pid": os.getpid()}

    def exposed_call(self, /, method: Any, arguments_json: Any = "{}", callback: Any = None) -> str:
        """Any other exposed method, its arguments and its outcome by value, in one round trip.

        Returns JSON: `{"answer": ...}`, or `{"error": [kind, message]}` (RPC-1, RPC-2).
        """
        return dispatch.call(self, method, arguments_json, callback)

    # What the eviction thread and the server need.

    @property
    def cache_entry(self) -> entry.CacheEntry[Any] | None:
        """The cached index, or None."""
        return self._served.cache.entry if self._served is not None else None

    @property
    def project(self) -> Project | None:
        return self._served.project if self._served is not None else None

    def _problem(self) -> str | None:
        failure = self._served.freshness.failure() if self._served is not None else None
        return self.installation.change() or failure

    @property
    def is_indexing(self) -> bool:
        return self._served is not None and self._served.runs.is_running

    def watch_status(self) -> dict[str, Any] | None:
        """What is said of the watch; None while there is no project."""
        return self._served.freshness.status() if self._served is not None else None

    def check_index(self) -> dict[str, Any]:
        """What diagnostics say of the index."""
        return self._served.check() if self._served is not None else {}

    def uptime_s(self) -> float:
        """Seconds since this service was made."""
        return self.runtime.monotonic() - self._started

    @property
    def index(self) -> Index | None:
        """The index of the project; None while there is no project."""
        return self._served.index if self._served is not None else None

    def evict_expired(self) -> bool:
        """Evict the cached index if its TTL has passed."""
        return self._served is not None and self._served.evict_expired()

    def shutdown_if_idle(self) -> bool:
        """Stop the daemon if it has been idle for a TTL, with nothing cached or in flight."""
        if self.on_shutdown is None or self.cache_entry is not None:
            return False
        if not self.gate.close_if_idle(self.config.ttl_s):
            return False
        try:
            self.on_shutdown("idle")
        except BaseException:
            self.gate.reopen()
            raise
        return True

    def shutdown(self, reason: str = "asked to") -> None:
        """Let no new call in, and have the daemon stopped."""
        # In this order: as long as its socket has a name, a daemon takes calls.
        if self.on_shutdown is not None:
            self.on_shutdown(reason)
        self.gate.close()

    def drain(self, timeout_s: float) -> None:
        """Wait for what is in flight; an index run that takes longer is cancelled, and says so.
        One that no call waits for is not waited for."""
        if not self.gate.wait_until_empty(timeout_s):
            if self._served is not None:
                self._served.runs.cancel()
            self.gate.wait_until_empty(timeout_s)
        if self._served is not None:
            self._served.freshness.close()

    def reload_config(self) -> None:
        """Take over what has changed in config.json; a bad file is logged and changes nothing."""
        if self._served is None:
            return
        try:
            config = Config.load(self._served.project.config_path)
        except CidxError as error:
            _log.error("configuration not taken over: %s", error)
            return
        if config != self.config:
            _log.info("configuration changed: %s", config)
            self.config = config
            self._served.follow_config()

    # The way of a call.

    @contextmanager
    def _counted(self, method: str) -> Iterator[None]:
        """Count the call in the block, and note its error."""
        started = self.runtime.monotonic()
        outcome, was_processed = "ok", True
        try:
            with self.installation.guarded():
                yield
        except CidxError as error:
            outcome, was_processed = error.kind, error.failure
            self._note(method, error)
            if (said := told.message(error, self.project)) == str(error):
                raise
            raise type(error)(said) from None
        except Exception as error:
            outcome = InternalError.kind
            _log.exception("%s failed", method)
            self.health_monitor.record_error(error)
            # Without its message: that may hold paths, and the log has it.
            what = shortage(error) or type(error).__name__
            raise InternalError(f"{method}: {what}; see daemon.log") from None
        finally:
            seconds = self.runtime.monotonic() - started
            self.metrics.count_call(method, outcome, seconds)
            if was_processed and method.startswith("query"):
                self.health_monitor.record_query(seconds)

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        """A call without arguments, which is no use of the index: counted, and in the gate."""
        with self._counted(method), self.gate.call(method, is_use=False):
            yield

    def _note(self, method: str, error: CidxError) -> None:
        if error.failure:
            _log.error("%s failed: %s", method, error)
            self.health_monitor.record_error(error)
            if (change := self.installation.change()) is not None:
                self.shutdown(f"its installation has changed: {change}")
        else:
            _log.info("%s refused: %s: %s", method, error.kind, error)

    def _query(
        self, method: str, mode: str, project_path: Any, query: Any, limit: Any, extra: Any
    ) -> dict[str, Any]:
        with self._counted(method):
            search = Search(**arguments.search_options(query, limit, extra, mode, project_path))
            when = arguments.freshness_options(extra)
            served = self._admit(project_path)
            with self.gate.call(method, is_use=True), self._turns.turn(mode, served.chunks):
                answer: dict[str, Any] = served.answer(search, when)
                return answer

    def _run_index(self, served: Served, callback: Any, options: dict[str, Any]) -> dict[str, Any]:
        started = self.runtime.monotonic()
        progress = relay(callback, self.runtime)
        try:
            built = served.runs.run(served.options(**options), progress or _ignore)
        finally:
            if progress is not None:
                progress.close()
        seconds = self.runtime.monotonic() - started
        _log.info("index of %s: %s in %.2f s", served.project.root, built, seconds)
        return report.of_run(served.project, built, seconds)

    # The project.

    def _admit(self, project_path: Any) -> Served:
        """What is served, if that is what `project_path` names; else `BadArgumentError`."""
        served = self._served
        # The usual case, without asking the file system.
        is_usual = served is not None and type(project_path) is str
        if served is not None and is_usual and project_path == str(served.project.root):
            return served
        arguments.check_path(project_path)
        asked = Project.at(project_path)
        if served is None:
            return self._serve_only(asked)
        if asked != served.project and not served.project.is_at(str(asked.root)):
            raise BadArgumentError(
                f"project_path: {arguments.shown(str(project_path))} is not what this daemon serves"
            )
        return served

    def _serve_only(self, project: Project) -> Served:
        with self._adopting:
            if self._served is None:
                self.config = Config.load(project.config_path)
                self._served = Served(
                    project,
                    Guarded(self._open_index(project, self.runtime), self.installation),
                    self,
                    make_watch=self._make_watch,
                    listener=self._on_cache_event,
                    runtime=self.runtime,
                )
        return self._admit(project.root)

    def _on_cache_event(self, event: str, generation: str, seconds: float = 0.0) -> None:
        self.metrics.count_cache(event, seconds)
        if event != "hit":
            _log.info("cache: %s of generation %s (%.1f ms)", event, generation, seconds * 1000)


def _ignore(current: int, total: int, path: str, info: str) -> None:
    pass
