"""Watches that know what they are told, a service with one of them over an index of names, and an
index whose runs take no process: for what is asked of freshness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.ours import OurIndex
from cidx_ref.index.port import RunListener, RunOptions
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime, Thread
from cidx_ref.steps import Step
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fake_index import FakeIndex

__all__ = ["WAIT_S", "Desk", "OwnRuns", "ReadingWatch", "ToldWatch", "own_runs"]

#: So long is waited for another thread, which takes no time.
WAIT_S = 60.0


class ToldWatch:
    """A watch that knows what a test tells it, and remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.known: int | None = None
        self.fresh = False
        self.failed: str | None = None
        self.run: Callable[[], object] = lambda: None
        self.cancel: Callable[[], object] = lambda: None
        self.on_pending: Callable[[], object] = lambda: None

    def make(self, root: Path, run: Callable[[], object], **options: Any) -> ToldWatch:
        self.run, self.cancel = run, options["cancel"]
        return self

    def use(self) -> None:
        self.told.append("use")

    def rest(self) -> None:
        self.told.append("rest")

    def scanning(self) -> None:
        self.told.append("scanning")

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        self.told.append(f"listed {folders}")

    def unread(self, found: dict[str, Any]) -> None:
        """Nothing is known by it."""

    def done(self, ok: bool) -> None:
        self.told.append(f"done {ok}")

    def doubt(self) -> None:
        self.told.append("doubt")

    def pending(self) -> int | None:
        self.on_pending()
        return self.known

    def failure(self) -> str | None:
        return self.failed

    def is_fresh(self, timeout_s: float = -1) -> bool:
        return self.fresh

    def is_unchanged(self) -> bool:
        return self.is_fresh()

    def describe(self) -> dict[str, Any]:
        return {
            "mode": "watching", "since": "2026-01-01T12:00:00+00:00", "folders": 1,
            "pending": self.known, "reason": None, "last_fallback": None, "runs": 1, "events": 2,
            "coalesced": 0, "overflows": 0, "seconds_last": None, "seconds_p50": None,
            "seconds_p95": None,
        }  # fmt: skip

    def close(self) -> None:
        self.told.append("close")


class ReadingWatch(ToldWatch):
    """A watch that knows what has changed by reading all files whenever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[str, bytes] | None = None
        self._seen: dict[str, bytes] = {}

    def make(self, root: Path, run: Callable[[], object], **options: Any) -> ToldWatch:
        self._root = root
        return super().make(root, run, **options)

    def scanning(self) -> None:
        self._seen = self._read()

    def done(self, ok: bool) -> None:
        if ok:
            self._live = self._seen

    def pending(self) -> int | None:
        live, now = self._live, self._read()
        return None if live is None else len(dict(live.items() ^ now.items()))

    def is_fresh(self, timeout_s: float = -1) -> bool:
        return self.pending() == 0

    def _read(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self._root.glob("*.py"))}


class OwnRuns(OurIndex):
    """Our index, but for its runs: they take place in the thread that asks."""

    def begin_run(self, options: RunOptions) -> Any:
        return _OwnRun(self._project, options)


class _OwnRun:
    def __init__(self, project: Project, options: RunOptions) -> None:
        self._project = project
        self._options = options

    def run(self, listener: RunListener) -> dict[str, Any]:
        return bring_up_to_date(
            self._project,
            HashingEmbedder(),
            scanning=listener.scanning,
            listed=listener.listed if self._options.watch else None,
            announce=listener.ready,
            progress=listener.progress,
        )

    def cancel(self) -> None:
        pass


def own_runs(project: Project, runtime: Runtime) -> OwnRuns:
    """Opens one, as a service does."""
    return OwnRuns(project, runtime)


class Desk:
    """A service over an index that is nothing but names."""

    def __init__(self, project: Project, watch: ToldWatch | None = None) -> None:
        self.runtime = FakeRuntime()
        self.index = FakeIndex(self.runtime)
        self.watch = watch
        self.service = CIDXDaemonService(
            project.root,
            runtime=self.runtime,
            index=lambda project, runtime: self.index,
            watch=None if watch is None else watch.make,
        )
        self._root = str(project.root)
        self._joined = SYSTEM.event("joined")
        self.runtime.at(Step.RUN_ASKED, self._joined.set)

    def ask(self, **options: Any) -> dict[str, Any]:
        return self.service.exposed_query(self._root, "text", **options)

    def begin(self, ask: Callable[[], object]) -> tuple[Thread, list[Any]]:
        """Call `ask` in a thread; and what comes of it."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(ask())
            except Exception as error:
                outcome.append(error)

        return SYSTEM.thread(run, "asking"), outcome

    def begin_run(self, ask: Callable[[], object]) -> tuple[Thread, list[Any]]:
        """The same, and wait until it has joined an index run, or has begun one."""
        self._joined.clear()
        begun = self.begin(ask)
        assert self._joined.wait(WAIT_S)
        return begun
