"""Index runs of a daemon: shared before the scan, never after it, and cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.daemon.indexing import IndexRuns
from cidx_ref.errors import BusyError, IndexingError, ShuttingDownError
from cidx_ref.index.generation import Generations
from cidx_ref.index.port import RunListener, RunOptions
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.steps import Step
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import served

WAIT_S = 60.0


class Held:
    """A run that does what the test says: it scans when it may, and ends when it may."""

    def __init__(self, number: int, options: RunOptions = RunOptions()) -> None:  # noqa: B008
        self.number = number
        self.may_scan, self.may_end = SYSTEM.event("scan"), SYSTEM.event("end")
        self.has_scanned = SYSTEM.event("scanned")
        self.error: BaseException | None = None
        self.options = options
        self.merge_due = False
        #: Whether another process has the writers' lock when it begins.
        self.is_behind = False

    def run(self, listener: RunListener) -> dict[str, Any]:
        if self.is_behind:
            listener.waiting()
        assert self.may_scan.wait(WAIT_S)
        listener.scanning()
        self.has_scanned.set()
        listener.progress(0, 1, "a.py", "")
        assert self.may_end.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        listener.progress(1, 1, "", "done")
        due = {"merge_due": True} if self.merge_due else {}
        return {"generation": f"g{self.number}", **due}

    def cancel(self) -> None:
        self.error = ShuttingDownError("cancelled")
        self.go()

    def go(self) -> None:
        self.may_scan.set()
        self.may_end.set()


class Bench:
    """Index runs, those that were begun, and the requests that wait for them."""

    def __init__(self) -> None:
        self.begun: list[Held] = []
        self.outcomes: dict[str, Any] = {}
        self.told: dict[str, list[tuple[int, int, str, str]]] = {}
        self.runtime = FakeRuntime()
        self.runs = IndexRuns(self.begin, self.prepared, self.runtime)
        #: Whether another process is at work.
        self.has_other_writer = False
        self._changed = SYSTEM.condition("bench")
        self._asked = 0
        self._threads: list[Thread] = []
        self.runtime.at(Step.RUN_ASKED, self._note)

    def begin(self, options: RunOptions) -> Held:
        with self._changed:
            self.begun.append(Held(len(self.begun) + 1, options))
            self.begun[-1].is_behind = self.has_other_writer
            self._changed.notify_all()
            return self.begun[-1]

    @contextmanager
    def prepared(self) -> Iterator[Any]:
        yield lambda generation: None

    def _note(self) -> None:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def ask(self, name: str, **options: Any) -> None:
        """Ask in a thread; returns when the request has joined a run, or has begun one."""
        asked = self._asked
        self.told[name] = []
        self._threads.append(SYSTEM.thread(lambda: self._ask(name, options), name))
        with self._changed:
            assert self._changed.wait_for(lambda: self._asked > asked, WAIT_S)

    def _ask(self, name: str, options: dict[str, Any]) -> None:
        def progress(*event: Any) -> None:
            self.told[name].append(event)

        try:
            self.outcomes[name] = self.runs.run(RunOptions(**options), progress)
        except BaseException as error:
            self.outcomes[name] = error

    def held(self, number: int) -> Held:
        """The run of that number, once it was begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= number, WAIT_S)
        return self.begun[number - 1]

    def joined(self, name: str) -> None:
        """Wait until the request of that name has its outcome."""
        self._threads[list(self.told).index(name)].join(WAIT_S)
        assert name in self.outcomes

    def wake(self) -> None:
        """Have those who wait look at the clock: theirs has been moved by the test."""
        with self.runs._changed:
            self.runs._changed.notify_all()

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        assert not self.runs.is_running


@pytest.mark.promise("CACHE-5")
def test_requests_before_the_scan_share_a_run_and_a_later_one_has_the_next() -> None:
    bench = Bench()
    bench.ask("one")
    bench.ask("two")
    first = bench.held(1)
    first.may_scan.set()
    assert first.has_scanned.wait(WAIT_S)
    bench.ask("late")
    bench.ask("as late")
    assert bench.runs.is_running
    bench.held(2).go()
    first.go()
    bench.finish()
    assert [bench.outcomes[name]["generation"] for name in ("one", "two")] == ["g1", "g1"]
    assert [bench.outcomes[name]["generation"] for name in ("late", "as late")] == ["g2", "g2"]
    assert len(bench.begun) == 2
    for told in bench.told.values():
        assert told == [(0, 1, "a.py", ""), (1, 1, "", "done")], "each is told all, in order"


@pytest.mark.promise("CACHE-5")
def test_a_request_for_something_else_has_a_run_of_its_own() -> None:
    bench = Bench()
    bench.ask("quick")
    bench.ask("full", full=True)
    bench.held(1).go()
    bench.held(2).go()
    bench.finish()
    assert {o["generation"] for o in bench.outcomes.values()} == {"g1", "g2"}


@pytest.mark.promise("CACHE-5", "FRESH-5")
@pytest.mark.parametrize("more", [{"full": True}, {"keep_unverified": False}])
def test_a_request_shares_a_run_that_does_what_it_asks_for_and_more(more: dict[str, bool]) -> None:
    """The watch, say, asks for one when a user who has just saved a file has had one begun."""
    bench = Bench()
    asked = {"full": False, "keep_unverified": True}
    bench.ask("more", **(asked | more))
    bench.ask("less", **asked)
    first = bench.held(1)
    first.may_scan.set()
    assert first.has_scanned.wait(WAIT_S)
    bench.ask("late", **asked)
    first.go()
    bench.held(2).go()
    bench.finish()
    told = {name: outcome["generation"] for name, outcome in bench.outcomes.items()}
    assert told == {"more": "g1", "less": "g1", "late": "g2"}


@pytest.mark.promise("CACHE-5")
@pytest.mark.parametrize("less", [{"full": False}, {"keep_unverified": True}, {"include": ("x",)}])
def test_a_request_shares_no_run_that_does_less(less: dict[str, Any]) -> None:
    bench = Bench()
    asked = {"full": True, "keep_unverified": False}
    bench.ask("less", **(asked | less))
    bench.ask("more", **asked)
    bench.held(1).go()
    bench.held(2).go()
    bench.finish()
    assert {o["generation"] for o in bench.outcomes.values()} == {"g1", "g2"}


def test_an_error_is_told_to_each_that_asked_and_to_none_after() -> None:
    bench = Bench()
    bench.ask("one")
    bench.ask("two")
    failing = bench.held(1)
    failing.error = IndexingError("no space")
    failing.go()
    bench.finish()
    for name in ("one", "two"):
        assert isinstance(bench.outcomes[name], IndexingError)
    assert bench.outcomes["one"] is not bench.outcomes["two"], "each has a traceback of its own"
    bench.ask("next")
    bench.held(2).go()
    bench.finish()
    assert bench.outcomes["next"] == {"generation": "g2"}


@pytest.mark.promise("CACHE-5", "RPC-5")
def test_a_request_that_is_interrupted_before_its_run_has_a_thread_leaves_nothing() -> None:
    """Else the run would be open for ever, and whoever came later would wait for it."""
    bench = Bench()
    interruptions = [KeyboardInterrupt]

    def interrupt() -> None:
        if interruptions:
            raise interruptions.pop()

    bench.runtime.at(Step.RUN_ASKED, interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.runs.run(RunOptions(), lambda *event: None)
    assert not bench.runs.is_running
    bench.ask("next")
    bench.held(1).go()
    bench.finish()
    assert bench.outcomes["next"] == {"generation": "g1"}


@pytest.mark.promise("CACHE-5", "RPC-5")
def test_a_request_that_is_interrupted_when_it_has_joined_keeps_no_run_alive() -> None:
    bench = Bench()
    bench.ask("one")
    held = bench.held(1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    bench.runtime.at(Step.RUN_ASKED, interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.runs.run(RunOptions(), lambda *event: None)
    assert [shared.requests for shared in bench.runs._runs] == [1]
    held.go()
    bench.finish()
    assert bench.outcomes["one"] == {"generation": "g1"}


def _busy(outcome: Any) -> bool:
    is_busy = isinstance(outcome, BusyError)
    return is_busy and str(outcome) == "another process is indexing this project"


@pytest.mark.promise("CACHE-5", "WRITE-1")
def test_a_request_waits_for_another_writer_for_as_long_as_it_would_from_when_it_asked() -> None:
    """All share one run, in which each of them waits for as long as it has said, or without end."""
    bench = Bench()
    bench.has_other_writer = True
    bench.ask("without end")
    bench.ask("long", wait_s=5.0)
    bench.ask("not at all", wait_s=0.0)
    bench.joined("not at all")
    bench.runtime.advance(2.0)
    bench.ask("late", wait_s=4.0)
    bench.runtime.advance(3.5)
    bench.wake()
    bench.joined("long")
    assert bench.outcomes.keys() == {"not at all", "long"}
    assert all(_busy(outcome) for outcome in bench.outcomes.values())
    bench.held(1).go()
    bench.finish()
    assert bench.outcomes["without end"] == bench.outcomes["late"] == {"generation": "g1"}
    assert len(bench.begun) == 1


@pytest.mark.promise("WRITE-1")
def test_a_request_that_does_not_wait_is_answered_where_no_writer_is_known_to_be_at_work() -> None:
    """However long the process takes to begin."""
    bench = Bench()
    bench.ask("one", wait_s=0.0)
    bench.held(1)
    bench.runtime.advance(60.0)
    bench.wake()
    bench.held(1).go()
    bench.finish()
    assert bench.outcomes["one"] == {"generation": "g1"}


@pytest.mark.promise("RPC-5", "WRITE-1")
def test_a_run_that_nobody_waits_for_any_more_since_it_was_busy_is_cancelled() -> None:
    bench = Bench()
    bench.has_other_writer = True
    bench.ask("one", wait_s=0.0)
    bench.joined("one")
    assert _busy(bench.outcomes["one"])
    held = bench.held(1)
    assert held.may_end.wait(WAIT_S)
    assert isinstance(held.error, ShuttingDownError)
    bench.runs.close(WAIT_S)
    bench.finish()


@pytest.mark.promise("CACHE-5", "WRITE-1")
def test_of_however_many_runs_two_are_begun_and_the_others_wait_for_their_turn() -> None:
    """One is at work, and one is ready to be the next: a process takes memory while it waits."""
    bench = Bench()
    limits = range(1, 51)  # each wants something else, so none shares a run
    for number in limits:
        bench.ask(f"{number}", max_file_size_bytes=number)
    bench.ask("busy", wait_s=0.0)
    bench.joined("busy")
    assert _busy(bench.outcomes["busy"])
    for number in limits:
        held = bench.held(number)
        ready = bench.held(min(number + 1, 50))
        assert len(bench.begun) == ready.number
        held.go()
    bench.finish()
    asked = {bench.outcomes[f"{held.options.max_file_size_bytes}"]["generation"]: held.number
             for held in bench.begun}  # fmt: skip
    assert asked == {f"g{number}": number for number in limits}


@pytest.mark.promise("SRV-4")
def test_runs_that_are_not_begun_are_cancelled_with_those_that_are() -> None:
    bench = Bench()
    for number in range(1, 6):
        bench.ask(f"{number}", max_file_size_bytes=number)
    bench.held(2)
    bench.runs.close(WAIT_S)
    bench.finish()
    assert all(isinstance(o, ShuttingDownError) for o in bench.outcomes.values())
    assert len(bench.begun) == 2


def test_a_run_that_cannot_begin_is_an_error_of_those_who_asked() -> None:
    def refuse(options: RunOptions) -> Held:
        raise OSError("no more processes")

    runs = IndexRuns(refuse, Bench().prepared)
    with pytest.raises(OSError, match="no more processes"):
        runs.run(RunOptions(), lambda *event: None)
    assert not runs.is_running


@pytest.mark.promise("SRV-4")
def test_cancelling_ends_every_run_and_says_so() -> None:
    bench = Bench()
    bench.ask("one")
    bench.ask("full", full=True)
    bench.held(2)
    bench.runs.cancel()
    bench.finish()
    assert all(isinstance(o, ShuttingDownError) for o in bench.outcomes.values())


@pytest.mark.promise("RPC-5")
def test_a_run_that_no_request_waits_for_any_more_is_cancelled() -> None:
    bench = Bench()
    held: list[Held] = []

    def begin(options: RunOptions) -> Held:
        held.append(bench.begin(options))
        return held[0]

    def give_up(*event: object) -> None:
        raise KeyboardInterrupt

    runs = IndexRuns(begin, bench.prepared)
    asking = SYSTEM.thread(lambda: _swallow(runs, give_up), "asking")
    bench.held(1).may_scan.set()
    asking.join(WAIT_S)
    assert held[0].may_end.wait(WAIT_S)
    assert isinstance(held[0].error, ShuttingDownError)


def _swallow(runs: IndexRuns, progress: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        runs.run(RunOptions(), progress)


@pytest.mark.promise("CACHE-5", "WRITE-1")
def test_clients_that_ask_while_another_writer_is_at_work_share_one_build(project: Project) -> None:
    """Over the socket, with real builds: two before the scan, and a third after it."""
    runtime = FakeRuntime()
    changed = SYSTEM.condition("asked")
    asked: list[str] = []

    def note() -> None:
        with changed:
            asked.append("asked")
            changed.notify_all()

    runtime.at(Step.RUN_ASKED, note)
    reports: dict[str, Any] = {}

    def index(name: str) -> None:
        with DaemonClient(project, start=False) as client:
            reports[name] = client.index(full=True)

    with served(project, runtime=runtime):
        with Generations(project.generations).writing():
            threads = [SYSTEM.thread(partial(index, name), name) for name in ("one", "two")]
            with changed:
                assert changed.wait_for(lambda: len(asked) == 2, WAIT_S)
        for thread in threads:
            thread.join(WAIT_S)
        index("third")
    assert reports["one"]["generation"] == reports["two"]["generation"]
    numbers = [int(reports[name]["generation"][:6]) for name in ("one", "third")]
    assert numbers == [2, 3], "two builds for three requests"


def test_a_request_that_does_not_wait_is_not_kept_by_one_that_does(project: Project) -> None:
    with served(project), Generations(project.generations).writing():
        waiting = SYSTEM.thread(lambda: _index(project, wait_s=0.5), "waiting")
        with DaemonClient(project, start=False) as client, pytest.raises(BusyError):
            client.index(wait_s=0)
        waiting.join(WAIT_S)
        assert not waiting.is_alive()


def _index(project: Project, **options: Any) -> None:
    with DaemonClient(project, start=False) as client, pytest.raises(BusyError):
        client.index(**options)


class Told:
    """An observer that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def scanning(self) -> None:
        self.told.append("scanning")

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        self.told.append(folders)

    def unread(self, found: dict[str, Any]) -> None:
        self.told.append(found)

    def done(self, ok: bool) -> None:
        self.told.append(ok)


def test_an_observer_is_told_of_each_run_before_who_asked_is() -> None:
    bench, told = Bench(), Told()
    bench.runs = IndexRuns(bench.begin, bench.prepared, bench.runtime, told)
    bench.ask("one")
    first = bench.held(1)
    first.may_scan.set()
    assert first.has_scanned.wait(WAIT_S)
    assert told.told == ["scanning"]
    first.go()
    bench.finish()
    assert told.told == ["scanning", True]
    bench.ask("two")
    bench.held(2).error = IndexingError("no space")
    bench.held(2).go()
    bench.finish()
    assert told.told[2:] == ["scanning", False]


def test_an_observer_hears_nothing_of_a_run_that_has_looked_at_nothing() -> None:
    def refuse(options: RunOptions) -> Held:
        raise OSError("no more processes")

    told = Told()
    runs = IndexRuns(refuse, Bench().prepared, observer=told)
    with pytest.raises(OSError, match="no more processes"):
        runs.run(RunOptions(), lambda *event: None)
    assert told.told == []


def test_an_observer_that_fails_costs_no_run() -> None:
    class Broken(Told):
        def scanning(self) -> None:
            raise ZeroDivisionError

        def done(self, ok: bool) -> None:
            raise ZeroDivisionError

    bench = Bench()
    bench.runs = IndexRuns(bench.begin, bench.prepared, bench.runtime, Broken())
    bench.ask("one")
    bench.held(1).go()
    bench.finish()
    assert bench.outcomes["one"] == {"generation": "g1"}


def test_an_observer_is_told_what_a_run_has_skipped_and_whoever_asked_for_it_is_not() -> None:
    class Skipping(Held):
        def run(self, listener: RunListener) -> dict[str, Any]:
            listener.scanning()
            return {"generation": "g1", "unread": {"large": ["a.log"]}}

    told = Told()
    runs = IndexRuns(lambda options: Skipping(1), Bench().prepared, observer=told)
    assert runs.run(RunOptions(), lambda *event: None) == {"generation": "g1"}
    assert told.told == ["scanning", {"large": ["a.log"]}, True]


def test_an_observer_is_told_what_a_run_has_listed() -> None:
    class Listing(Held):
        def run(self, listener: RunListener) -> dict[str, Any]:
            listener.scanning()
            listener.listed(["", "a/"], ["a/b.py"])
            return {"generation": "g1"}

    told = Told()
    runs = IndexRuns(lambda options: Listing(1), Bench().prepared, observer=told)
    assert runs.run(RunOptions(watch=True), lambda *event: None) == {"generation": "g1"}
    assert told.told == ["scanning", ["", "a/"], True]
    alone = IndexRuns(lambda options: Listing(1), Bench().prepared)
    assert alone.run(RunOptions(watch=True), lambda *event: None) == {"generation": "g1"}


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("keep", [True, False])
def test_who_has_waited_long_enough_leaves_and_a_kept_run_goes_on(keep: bool) -> None:
    bench = Bench()
    with pytest.raises(TimeoutError):
        bench.runs.run(RunOptions(), lambda *event: None, timeout_s=0.02, keep=keep)
    held = bench.held(1)
    assert isinstance(held.error, ShuttingDownError) is not keep
    if keep:
        assert bench.runs.is_running
        bench.ask("joins it")
        held.go()
        bench.finish()
        assert bench.outcomes["joins it"] == {"generation": "g1"}
    bench.runs.close(WAIT_S)
    assert not bench.runs.is_running


def test_who_waits_with_a_limit_is_told_what_came_of_it_in_time() -> None:
    bench = Bench()
    told: list[Any] = []
    soon = SYSTEM.thread(lambda: bench.held(1).go(), "soon")
    report = bench.runs.run(RunOptions(), lambda *event: told.append(event), timeout_s=WAIT_S)
    soon.join(WAIT_S)
    assert report == {"generation": "g1"}
    assert told == [(0, 1, "a.py", ""), (1, 1, "", "done")]


def test_the_time_is_over_also_where_there_is_always_something_new() -> None:
    bench = Bench()

    def slowly(*event: object) -> None:
        bench.runtime.advance(1.0)

    soon = SYSTEM.thread(lambda: bench.held(1).may_scan.set(), "soon")
    with pytest.raises(TimeoutError):
        bench.runs.run(RunOptions(), slowly, timeout_s=1.0)
    soon.join(WAIT_S)
    bench.runs.close(WAIT_S)


def test_what_is_not_for_a_request_is_not_one() -> None:
    bench = Bench()
    outcome: list[Any] = []

    def unasked() -> None:
        try:
            outcome.append(bench.runs.run(RunOptions(), lambda *event: None, unasked=True))
        except ShuttingDownError as error:
            outcome.append(error)

    thread = SYSTEM.thread(unasked, "unasked")
    held = bench.held(1)
    assert [shared.requests for shared in bench.runs._runs] == [0]
    bench.ask("one")
    bench.runs.cancel_unasked()
    assert held.error is None, "a request waits for it, too"
    held.go()
    bench.finish()
    thread.join(WAIT_S)
    assert outcome == [{"generation": "g1"}]
    thread = SYSTEM.thread(unasked, "unasked")
    bench.held(2)
    bench.runs.cancel_unasked()
    thread.join(WAIT_S)
    assert isinstance(outcome[1], ShuttingDownError)


@pytest.mark.promise("SRV-4")
def test_once_closed_no_run_begins_and_none_is_left() -> None:
    bench = Bench()
    bench.ask("one")
    bench.held(1)
    bench.runs.close(WAIT_S)
    assert not bench.runs.is_running
    with pytest.raises(ShuttingDownError):
        bench.runs.run(RunOptions(), lambda *event: None)
    assert len(bench.begun) == 1
    bench.finish()
    assert isinstance(bench.outcomes["one"], ShuttingDownError)


def test_the_last_run_that_went_well_confirms_its_generation() -> None:
    bench = Bench()
    assert bench.runs.confirmed is None
    bench.ask("one")
    bench.held(1).go()
    bench.finish()
    assert bench.runs.confirmed == ("g1", bench.runtime.now())
    before = bench.runs.confirmed
    bench.runtime.advance(5)
    bench.ask("two")
    bench.held(2).error = IndexingError("no space")
    bench.held(2).go()
    bench.finish()
    assert bench.runs.confirmed == before


# Merges.


def _with_a_merge() -> Bench:
    """A run has said that a merge is due, which is under way."""
    bench = Bench()
    bench.ask("edit")
    bench.held(1).merge_due = True
    bench.held(1).go()
    bench.finish()
    assert bench.held(2).options.merge
    bench.held(2).may_scan.set()
    assert bench.held(2).has_scanned.wait(WAIT_S)
    return bench


@pytest.mark.promise("FRESH-5")
def test_a_merge_that_is_due_takes_place_after_the_run_and_for_nobody() -> None:
    bench = _with_a_merge()
    assert not bench.runs.is_running  # a merge is none that anybody waits for
    bench.held(2).merge_due = True  # and another one
    bench.held(2).go()
    assert bench.held(3).options.merge
    bench.held(3).go()
    bench.runs.close(WAIT_S)
    assert len(bench.begun) == 3


@pytest.mark.promise("FRESH-1", "FRESH-2")
def test_a_merge_yields_to_a_newer_change_which_begins_when_it_has_ended() -> None:
    bench = _with_a_merge()
    merge = bench.held(2)
    told: list[str] = []

    def cancel() -> None:  # as a process that takes its time to die
        merge.error = ShuttingDownError("cancelled")
        told.append("cancel")

    merge.cancel = cancel  # type: ignore[method-assign]
    bench.ask("newer")
    is_told = bool(told)  # before it is waited for
    assert len(bench.begun) == 2  # the writers' lock is the merge's still
    merge.go()
    bench.held(3).go()
    bench.finish()
    assert is_told
    assert bench.outcomes["newer"]["generation"] == "g3"
    assert not bench.held(3).options.merge


@pytest.mark.promise("FRESH-2")
def test_no_request_shares_a_merge_and_what_it_makes_is_as_old_as_what_it_merged() -> None:
    bench = _with_a_merge()
    confirmed = bench.runs.confirmed
    assert confirmed is not None
    bench.runtime.advance(60.0)
    bench.held(2).go()
    with bench.runs._changed:
        assert bench.runs._changed.wait_for(lambda: not bench.runs._runs, WAIT_S)
    assert bench.runs.confirmed == ("g2", confirmed[1])


@pytest.mark.promise("SRV-4")
def test_a_daemon_that_stops_ends_a_merge_and_begins_no_other() -> None:
    bench = _with_a_merge()
    bench.runs.close(WAIT_S)
    with pytest.raises(ShuttingDownError):
        bench.runs.run(RunOptions(), lambda *event: None)
    assert len(bench.begun) == 2
