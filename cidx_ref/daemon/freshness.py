"""How fresh an answer is: the watch on the project, and what a query that wants it fresh waits for.

The rules:

1.  A query answers at once from what is live, and says how many files are known to have changed
    since (`pending`; None while that is not known).  That is asked before the index is pinned: a
    publish in between makes it too large a number, never too small a one.
2.  A query with `fresh` is answered from an index that holds every change made before the call: at
    once, if the watch knows that nothing has changed; else after a run that has begun to scan after
    the call (FRESH-2; `indexing` shares no other).  If that takes too long, or fails, the answer
    comes from what is live, and says so.  What the watch knows is of the generation that the last
    run has left: of one that was put in its place, as from a backup, nothing is known.
3.  The watch begins with the first query, by a run that scans.  That query waits for it, but not
    for long (FRESH-1).  It ends when no index is in memory any more.  Watching is no use (TTL-5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from cidx_ref.daemon.indexing import IndexRuns, NotOverError
from cidx_ref.daemon.log import in_words
from cidx_ref.errors import CidxError, ReplacedError
from cidx_ref.index.port import RunOptions
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Freshness", "MakeWatch", "NoWatch", "WatchListener", "Watching"]

_log = logging.getLogger("cidx_ref")

#: For so long the first query waits for the run that the watch begins with.
FIRST_LOOK_S = 1.0
_CLOSE_S = 5.0
#: What of a watch's description belongs to the status; the rest are counters.
_OF_STATUS = ("mode", "since", "folders", "pending", "reason", "last_fallback")


class Watching(Protocol):
    """A watch on one project, which has index runs made.  Thread-safe."""

    def use(self) -> None:
        """An index was used: begin to watch, if that is off and possible.  Cheap."""

    def rest(self) -> None:
        """No index is in memory any more: stop watching, and give everything back."""

    def scanning(self) -> None: ...
    def listed(self, folders: list[str] | None, files: list[str]) -> None: ...
    def unread(self, found: dict[str, Any]) -> None: ...
    def done(self, ok: bool) -> None:
        """See `indexing.Observer`."""

    def doubt(self) -> None:
        """What the index depends on beside the files has changed."""

    def pending(self) -> int | None:
        """How many files are known to have changed since the live index's scan began; None while
        that is not known."""

    def failure(self) -> str | None:
        """Why the last index run that the watch asked for failed, if it has."""

    def is_fresh(self, timeout_s: float = -1) -> bool:
        """Whether nothing that was changed before this call is missing from the live index; False
        while that is not known, as where that takes longer than `timeout_s`."""

    def is_unchanged(self) -> bool:
        """As `is_fresh`, as far as files are concerned; waits for nothing."""

    def describe(self) -> dict[str, Any]:
        """What `status` and `metrics` say of it, as plain data."""

    def close(self) -> None:
        """Stop for good."""


class WatchListener(Protocol):
    """Is told what happens to a watch."""

    def __call__(self, event: str, detail: str = "", seconds: float = 0.0) -> None: ...


class MakeWatch(Protocol):
    """Makes the watch on the project at `root`."""

    def __call__(
        self,
        root: Path,
        run: Callable[[], object],
        *,
        cancel: Callable[[], object],
        asks: Callable[[], bool],
        runtime: Runtime,
        listener: WatchListener,
    ) -> Watching:
        """`run` brings the index up to date, and returns when it is; `cancel` ends a run that
        nobody else waits for.  `asks`: whether the configuration asks for files that would be left
        out."""


class NoWatch:
    """Where nothing is watched: nothing is known of what has changed."""

    def use(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def scanning(self) -> None:
        pass

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        pass

    def unread(self, found: dict[str, Any]) -> None:
        pass

    def done(self, ok: bool) -> None:
        pass

    def doubt(self) -> None:
        pass

    def pending(self) -> int | None:
        return None

    def failure(self) -> str | None:
        return None

    def is_fresh(self, timeout_s: float = -1) -> bool:
        return False

    def is_unchanged(self) -> bool:
        return False

    def describe(self) -> dict[str, Any]:
        nothing: dict[str, Any] = dict.fromkeys(_OF_STATUS)
        return {**nothing, "mode": "off", "folders": 0}

    def close(self) -> None:
        pass


class Freshness:
    """What a service's queries say of how fresh they are.  Thread-safe."""

    def __init__(
        self,
        runs: IndexRuns,
        watch: Watching,
        current: Callable[[], str],
        is_wanted: Callable[[], bool],
        options: Callable[[], RunOptions],
        *,
        runtime: Runtime = SYSTEM,
    ) -> None:
        """`current` says which generation is live, or raises if none is of ours; `is_wanted` is
        whether the project is to be watched; `options` are those of the runs that queries and the
        watch ask for."""
        self._runs = runs
        self._watch = watch
        self._current = current
        self._is_wanted = is_wanted
        self._options = options
        self._runtime = runtime
        self._beginning = runtime.lock("freshness")
        self._is_watched = False
        self._answering = 0

    def run(self) -> dict[str, Any]:
        """One index run, for the watch.  Raises what `IndexRuns.run` raises."""
        return self._runs.run(self._options(), _ignore, unasked=True)

    def before(self, *, fresh: bool = False, timeout_s: float = 60.0) -> dict[str, Any]:
        """What an answer says that is given from now on; waits where `fresh` asks for it.

        Nothing is said, and no index made, where there is none of ours.
        """
        if not self._is_watched and (fresh or self._is_wanted()) and self._live() is None:
            return {"pending": None}  # there is nothing to keep up to date, which the load says
        is_first = self._begin()
        if fresh:
            problem = self._freshen(timeout_s)
            said = {} if problem is None else {"fresh_problem": problem}
            return {"pending": self._watch.pending(), "fresh": problem is None, **said}
        if is_first:
            problem = self._wait_for_a_run(self._options(), FIRST_LOOK_S)
            if problem is not None:
                _log.info("the first query does not wait for the first look: %s", problem)
        pending = self._watch.pending()
        # Else it is a matter of a moment.
        failure = self.failure() if pending else None
        return {"pending": pending, **({"fresh_problem": failure} if failure else {})}

    def failure(self) -> str | None:
        """That index runs fail, and why; None where they do not."""
        failure = self._watch.failure() if self._is_watched else None
        return None if failure is None else f"the last index run failed: {failure}"

    def is_unchanged(self) -> bool:
        """Whether the watch knows that nothing has changed since the live index's scan began.

        One call of the system, where a look at the files of ten hits is thirty: after each of them
        a thread waits for the interpreter's lock, which ten readers share.
        """
        return self._is_watched and self._watch.is_unchanged()

    def is_of_another(self, generation: str) -> bool:
        """Whether what the watch knows is not of `generation`, which answers: somebody else has put
        that there.  Then the watch has a run made."""
        if not self._is_watched or self._runs.confirmed is None or self._runs.knows(generation):
            return False
        if self._live() != generation:
            return False  # a run has replaced it since it was pinned
        self._watch.doubt()
        return True

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While a query is answered, the watch that it may just have begun does not rest."""
        with self._beginning:
            self._answering += 1
        try:
            yield
        finally:
            with self._beginning:
                self._answering -= 1

    @property
    def is_answering(self) -> bool:
        return self._answering > 0

    def indexed_at(self, generation: str | None, made_at: str | None) -> str | None:
        """When the scan began that the answer from `generation` is complete by: a run that has
        found nothing to do moves it on."""
        confirmed = self._runs.confirmed
        if confirmed is None or confirmed[0] != generation:
            return made_at
        return confirmed[1].astimezone().isoformat(timespec="milliseconds")

    def rest(self) -> None:
        """No index is in memory any more."""
        self._is_watched = False
        self._watch.rest()

    def doubt(self) -> None:
        """The configuration of index runs has changed."""
        self._watch.doubt()

    def close(self) -> None:
        """Stop watching, and end the runs that only the watch wants: no call is in flight."""
        self._runs.close(_CLOSE_S)
        self._watch.close()

    def status(self) -> dict[str, Any]:
        """What `status` says of the watch."""
        said = self._watch.describe()
        return {name: said.get(name) for name in _OF_STATUS}

    def counts(self) -> dict[str, Any]:
        """What `metrics` says of it."""
        return {k: v for k, v in self._watch.describe().items() if k not in _OF_STATUS}

    def _live(self) -> str | None:
        """Which generation is live; None if none is of ours."""
        try:
            return self._current()
        except CidxError:
            return None

    def _begin(self) -> bool:
        """Have the project watched, if it is to be; whether it was not before."""
        if self._is_watched:
            self._watch.use()
            return False
        if not self._is_wanted():
            return False
        with self._beginning:
            is_first, self._is_watched = not self._is_watched, True
        self._watch.use()
        return is_first

    def _freshen(self, timeout_s: float) -> str | None:
        """Have every change that was made before this call be live; or why it is not."""
        until_s = self._runtime.monotonic() + timeout_s
        options = self._options()  # first: by another configuration, nothing is fresh
        if self._watch.is_fresh(timeout_s):
            live = self._live()
            if live is not None and self._runs.knows(live):
                return None
        left_s = max(0.0, until_s - self._runtime.monotonic())
        return self._wait_for_a_run(options, left_s, timeout_s)

    def _wait_for_a_run(
        self, options: RunOptions, timeout_s: float, said_s: float | None = None
    ) -> str | None:
        """Why there is none after `timeout_s`, or `said_s`, in which other waiting is included."""
        try:
            # What the watch has begun with is shared; and it goes on if this takes too long.
            self._runs.run(options, _ignore, timeout_s=timeout_s, keep=options.watch)
        except NotOverError:
            return f"the index run was not over after {said_s or timeout_s:g} s"
        except ReplacedError:
            raise
        except (CidxError, OSError) as error:
            _log.warning("an index run for a query failed: %s", error)
            return in_words(error)
        except Exception as error:  # a bug
            _log.exception("an index run for a query failed")
            return in_words(error)
        return None


def _ignore(current: int, total: int, path: str, info: str) -> None:
    pass
