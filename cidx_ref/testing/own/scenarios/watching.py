"""The watcher among those that meet it: edits, questions, a user's run and the watcher's own.

They are no part of `SCENARIOS`: so many schedules as of those take minutes here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from cidx_ref.daemon import inotify
from cidx_ref.daemon.freshness import Freshness, NoWatch
from cidx_ref.daemon.indexing import IndexRuns
from cidx_ref.daemon.watch import Watch
from cidx_ref.errors import BusyError
from cidx_ref.index.port import RunOptions
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.fake_index import FakeIndex
from cidx_ref.testing.own.scenarios.common import SCRATCH, unprepared
from cidx_ref.testing.own.watches import FakeEvents

__all__ = ["AFailingRun", "EditsAndMerges", "EditsAndQuestions", "TwoSavers"]

EDITS = 2
#: The folder was made before, whatever the time is.
LATER_S = 100 * 365 * 86_400.0
#: Longer than a merge, and shorter than it takes a change to settle.
PAUSE_S = 0.15


class Events(FakeEvents):
    """Waits as the scheduler has it."""

    def __init__(self, root: Path, runtime: Scheduler) -> None:
        super().__init__(root)
        self._told = runtime.event("events")

    def emit(self, folder: str, name: str, mask: int = inotify.MODIFY) -> None:
        super().emit(folder, name, mask)
        self._told.set()

    def wait(self, timeout_s: float | None) -> None:
        self._told.wait(timeout_s)
        self._told.clear()

    def wake(self) -> None:
        self._told.set()


class _Watched(Scenario):
    """Of a folder of its own."""

    promises = frozenset({"FRESH-1", "FRESH-2"})
    is_large = True

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        runtime.step_wall_clock(LATER_S)
        self.root = Path(mkdtemp(prefix="cidx-watch-", dir=SCRATCH))
        self.events = Events(self.root, runtime)

    def close(self) -> None:
        rmtree(self.root, ignore_errors=True)


class EditsAndQuestions(_Watched):
    """A file is saved twice while the watcher watches, a user has the index run, and somebody asks
    whether it is fresh: "yes" means that what was saved before is live.  In the end all is live,
    though nobody asks for it."""

    fails = False

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.saved = self.live = self.runs = 0
        self.changed = runtime.condition("live")
        self.writing = runtime.lock("writer")
        self.watch = Watch(
            self.root,
            self._run,
            runtime=runtime,
            events=lambda: self.events,
            kind_of=lambda path: "ext4",
        )

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"editor": self._edit, "asker": self._ask, "user": self._index}

    def _edit(self) -> None:
        for _ in range(EDITS):
            self.runtime.step("about to save")
            self.saved += 1  # and the kernel tells it before the call returns
            self.events.emit("", "a.py")

    def _ask(self) -> None:
        self.watch.use()
        for _ in range(2):
            saved = self.saved
            if self.watch.is_fresh():
                assert self.live >= saved, f"fresh, with {self.live} live of {saved}"
        with self.changed:
            done = self.changed.wait_for(lambda: self.live == self.saved == EDITS, 1000)
        self.watch.close()
        assert done, f"{self.live} live of {self.saved}, and nobody goes on"

    def _index(self) -> None:
        with suppress(BusyError):
            self._run()

    def _run(self) -> None:
        ok = False
        with self.writing:  # across processes, writers take turns
            try:
                self.watch.scanning()
                self.watch.listed([""])
                seen = self.saved
                self.runtime.step("looked")
                self.runs += 1
                if self.fails and self.runs == 2:
                    raise BusyError("the disk is full")
                with self.changed:
                    self.live = max(self.live, seen)
                    self.changed.notify_all()
                ok = True
            finally:
                self.watch.done(ok)

    def check(self) -> None:
        assert self.events.is_closed or not self.events.armed


class AFailingRun(EditsAndQuestions):
    """As before, but the second run fails."""

    fails = True


class EditsAndMerges(_Watched):
    """A file is saved twice, and queries want it fresh, while the watcher has it indexed and merges
    are due: "fresh" holds what was saved before the query, an index holds what was saved before the
    time that it is told to be from, no query waits for a merge, and in the end all is live."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.index = FakeIndex(runtime)
        self.index.files, self.index.merges_due = ["a.py"], 2
        self.saved_at: list[datetime] = []
        self.watch = Watch(
            self.root,
            lambda: self.freshness.run(),
            runtime=runtime,
            events=lambda: self.events,
            kind_of=lambda path: "ext4",
            cancel=lambda: self.runs.cancel_unasked(),
        )
        self.runs = IndexRuns(self.index.begin_run, unprepared, runtime, self.watch)
        self.freshness = Freshness(
            self.runs,
            self.watch,
            self.index.current,
            lambda: True,
            lambda: RunOptions(watch=True),
            runtime=runtime,
        )

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"editor": self._edit, "asker": self._ask}

    def _edit(self) -> None:
        for _ in range(EDITS):
            self.runtime.sleep(PAUSE_S)
            self.saved_at.append(self.runtime.now())
            self.index.saved += 1
            self.events.emit("", "a.py")

    def _ask(self) -> None:
        for _ in range(3):
            self.runtime.sleep(PAUSE_S)
            saved, began_s = self.index.saved, self.runtime.monotonic()
            said = self.freshness.before(fresh=True)
            assert said["fresh"], said
            held = self.index.held[self.index.live]
            assert held >= saved, f"fresh, with {held} live of {saved}"
            assert self.runtime.monotonic() == began_s, "a query waited for a merge"
        # A merge that is due is due again after each run that it has yielded to.
        self.runtime.sleep(100.0)
        self.freshness.close()

    def check(self) -> None:
        held = self.index.held[self.index.live]
        assert held == self.index.saved == EDITS, f"{held} live of {EDITS}, and nobody goes on"
        assert self.index.merges_due == 0, "a merge is due, and nobody does it"
        assert self.runs.confirmed is not None
        generation, at = self.runs.confirmed
        assert generation == self.index.live
        assert sum(saved_at < at for saved_at in self.saved_at) <= held


class TwoSavers(Scenario):
    """Two save a file each, and ask for a fresh answer, where nothing is watched: each answer holds
    what its asker has saved before."""

    promises = frozenset({"FRESH-2"})
    is_large = True

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.index = FakeIndex(runtime)
        self.runs = IndexRuns(self.index.begin_run, unprepared, runtime)
        self.freshness = Freshness(
            self.runs,
            NoWatch(),
            self.index.current,
            lambda: False,
            RunOptions,
            runtime=runtime,
        )

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._save_and_ask, "other": self._save_and_ask}

    def _save_and_ask(self) -> None:
        self.index.saved += 1
        saved = self.index.saved
        said = self.freshness.before(fresh=True)
        assert said["fresh"], said
        held = self.index.held[self.index.live]
        assert held >= saved, f"fresh, with {held} live of {saved}"
