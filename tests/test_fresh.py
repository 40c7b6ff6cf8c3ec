"""How fresh answers are, and what a query waits for that wants one fresh (FRESH-1, FRESH-2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon import freshness
from cidx_ref.daemon.watch import Watch
from cidx_ref.errors import BusyError, IndexingError, NoIndexError, ReplacedError
from cidx_ref.index.generation import Generations
from cidx_ref.index.port import RunOptions, Search
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Thread
from cidx_ref.steps import Step
from cidx_ref.testing.own.fake_index import FakeIndex, FakeRun, FakeSnapshot
from cidx_ref.testing.own.fixtures import MakeProject, build, served
from cidx_ref.testing.own.told import WAIT_S, Desk, OwnRuns, ReadingWatch, ToldWatch, own_runs

ROUNDS = 17


@pytest.fixture
def desk(make_project: MakeProject) -> Desk:
    return Desk(make_project({}))


@pytest.fixture
def watched(make_project: MakeProject) -> Desk:
    """One that is watched, and was asked before."""
    desk = Desk(make_project({}), ToldWatch())
    desk.ask()
    assert desk.watch is not None
    desk.watch.told.clear()
    return desk


def end(thread: Thread) -> None:
    thread.join(WAIT_S)
    assert not thread.is_alive()


@pytest.mark.promise("FRESH-1")
def test_nothing_is_said_to_be_pending_while_nobody_knows(desk: Desk) -> None:
    answer = desk.ask()
    assert (answer["pending"], answer["indexed_at"]) == (None, None)
    assert "fresh" not in answer
    assert desk.index.scans == 0


@pytest.mark.promise("FRESH-1")
@pytest.mark.parametrize("known", [0, 3, None])
def test_an_answer_says_what_the_watch_knows(watched: Desk, known: int | None) -> None:
    assert watched.watch is not None
    watched.watch.known = known
    assert watched.ask()["pending"] == known
    assert watched.index.scans == 1, "that was the first query's"


def test_what_is_pending_is_asked_before_it_is_settled_which_index_answers(watched: Desk) -> None:
    """After that, a publish in between would make it too small."""
    assert watched.watch is not None
    before: list[list[str]] = []
    watched.watch.on_pending = lambda: before.append(list(watched.runtime.steps))
    watched.runtime.steps.clear()
    watched.ask()
    assert before == [[]]
    assert "has read which is live" in watched.runtime.steps


@pytest.mark.promise("FRESH-2")
def test_without_a_watch_each_fresh_answer_is_of_a_run_of_its_own(desk: Desk) -> None:
    for number in (1, 2, 3):
        answer = desk.ask(fresh=True)
        assert (answer["fresh"], desk.index.scans) == (True, number)
        assert answer["generation"] == f"g{number + 1}"
        assert "fresh_problem" not in answer


@pytest.mark.promise("FRESH-2")
def test_what_the_watch_knows_to_be_fresh_waits_for_no_run(watched: Desk) -> None:
    assert watched.watch is not None
    watched.watch.fresh = True
    assert watched.ask(fresh=True)["fresh"] is True
    assert watched.index.scans == 1
    watched.watch.fresh = False
    assert watched.ask(fresh=True)["generation"] == "g3"
    assert watched.index.scans == 2


@pytest.mark.promise("FRESH-2")
def test_a_run_that_has_begun_to_scan_before_the_call_makes_no_answer_fresh(desk: Desk) -> None:
    asked = SYSTEM.event("asked")
    begun: list[tuple[Thread, list[Any]]] = []

    def ask_in_the_middle() -> None:
        if not begun:
            desk.runtime.at(Step.RUN_ASKED, asked.set)
            begun.append(desk.begin(lambda: desk.ask(fresh=True)))
            assert asked.wait(WAIT_S)

    desk.runtime.at("scan 1", ask_in_the_middle)
    # Or from what the second one's run has published, if that is faster.
    assert desk.ask(fresh=True)["generation"] in ("g2", "g3")
    thread, outcome = begun[0]
    end(thread)
    assert (outcome[0]["generation"], outcome[0]["fresh"]) == ("g3", True)


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("is_watched", [True, False])
def test_a_time_out_says_so_and_ends_only_a_run_that_nobody_wants(
    make_project: MakeProject, is_watched: bool
) -> None:
    desk = Desk(make_project({}), ToldWatch() if is_watched else None)
    if is_watched:
        desk.ask()
    live = desk.index.live
    published = SYSTEM.event("published")
    with desk.index.writing:
        answer = desk.ask(fresh=True, timeout_s=0.05)
        desk.runtime.at("publish", published.set)
    assert (answer["fresh"], answer["generation"]) == (False, live)
    assert answer["fresh_problem"] == "the index run was not over after 0.05 s"
    assert not is_watched or published.wait(WAIT_S)
    desk.service.drain(WAIT_S)
    assert not desk.service.is_indexing
    assert (desk.index.live != live) is is_watched


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BusyError("another process is indexing"), "another process is indexing"),
        (IndexingError("no space left"), "no space left"),
        (OSError(11, "no more processes"), "no more processes"),
        (ZeroDivisionError("/a/path"), "ZeroDivisionError; see daemon.log"),
        (OSError("/a/path"), "OSError"),
        (TimeoutError(110, "the disk has timed out"), "the disk has timed out"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_run_that_fails_leaves_an_answer_that_says_so(
    desk: Desk, error: Exception, words: str
) -> None:
    with patch.object(desk.index, "begin_run", side_effect=error):
        answer = desk.ask(fresh=True)
    assert (answer["fresh"], answer["fresh_problem"]) == (False, words)
    assert answer["generation"] == "g1"


def test_what_the_next_daemon_can_answer_fresh_is_left_to_it(desk: Desk) -> None:
    with (
        patch.object(desk.index, "begin_run", side_effect=ReplacedError("replaced")),
        pytest.raises(ReplacedError),
    ):
        desk.ask(fresh=True)


@pytest.mark.parametrize("is_watched", [True, False])
def test_where_there_is_no_index_no_query_makes_one(
    make_project: MakeProject, is_watched: bool
) -> None:
    desk = Desk(make_project({}), ToldWatch() if is_watched else None)
    desk.index.is_there = False
    for options in ({}, {"fresh": True}):
        with pytest.raises(NoIndexError):
            desk.ask(**options)
    assert desk.index.scans == 0
    assert desk.watch is None or desk.watch.told == []


@pytest.mark.promise("FRESH-1")
def test_the_first_query_begins_the_watch_and_waits_for_its_run(make_project: MakeProject) -> None:
    desk = Desk(make_project({}), ToldWatch())
    assert desk.watch is not None
    assert desk.ask()["generation"] == "g2"
    assert desk.watch.told == ["use", "scanning", "listed ['']", "done True"]
    assert desk.ask()["generation"] == "g2"
    assert desk.watch.told[4:] == ["use"]


@pytest.mark.promise("FRESH-2", "OBS-2")
def test_while_runs_fail_answers_and_health_say_so(watched: Desk) -> None:
    assert watched.watch is not None
    watched.watch.failed = "no space left"
    said = "the last index run failed: no space left"
    for known, told in ((1, said), (0, None), (None, None)):
        watched.watch.known = known
        answer = watched.ask()
        assert (answer.get("fresh_problem"), "fresh" in answer) == (told, False)
        health = watched.service.exposed_get_health()
        assert (health["status"], health["problem"]) == ("degraded", said)
    watched.watch.failed = None
    assert "fresh_problem" not in watched.ask()
    assert watched.service.exposed_get_health()["problem"] is None


@pytest.mark.promise("FRESH-1")
def test_the_first_query_waits_a_second_at_most(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert freshness.FIRST_LOOK_S <= 1
    monkeypatch.setattr(freshness, "FIRST_LOOK_S", 0.05)
    desk = Desk(make_project({}), ToldWatch())
    published = SYSTEM.event("published")
    with desk.index.writing:
        answer = desk.ask()
        desk.runtime.at("publish", published.set)
    assert (answer["generation"], answer["pending"]) == ("g1", None)
    assert published.wait(WAIT_S), "the run that it did not wait for goes on"
    desk.service.drain(WAIT_S)


def test_a_first_look_that_fails_costs_no_answer(make_project: MakeProject) -> None:
    desk = Desk(make_project({}), ToldWatch())
    with patch.object(desk.index, "begin_run", side_effect=IndexingError("no space left")):
        answer = desk.ask()
    assert (answer["generation"], answer["pending"]) == ("g1", None)
    assert "fresh_problem" not in answer


@pytest.mark.promise("FRESH-2")
def test_of_a_generation_that_was_put_in_the_place_of_the_last_runs_nothing_is_known(
    watched: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an older index is that is put back from a backup, beside a running daemon."""
    assert watched.watch is not None
    unchanged: list[bool] = []
    answer = FakeSnapshot.answer

    def note(self: FakeSnapshot, search: Search) -> dict[str, Any]:
        unchanged.append(search.is_unchanged)
        return answer(self, search)

    monkeypatch.setattr(FakeSnapshot, "answer", note)
    watched.watch.fresh, watched.watch.known = True, 0
    assert watched.ask()["pending"] == 0
    watched.index.live = "g1"
    old = watched.ask()
    assert (old["generation"], old["pending"]) == ("g1", None)
    assert unchanged == [True, False]
    assert "doubt" in watched.watch.told, "which has a run made"
    new = watched.ask(fresh=True)
    assert (new["fresh"], new["generation"]) == (True, "g2")
    assert watched.index.scans == 2
    assert watched.ask()["pending"] == 0
    watched.watch.told.clear()
    assert watched.ask(fresh=True)["generation"] == "g2"
    assert watched.index.scans == 2
    assert "doubt" not in watched.watch.told


@pytest.mark.promise("FRESH-2")
def test_a_generation_that_a_run_is_making_live_is_no_strangers(watched: Desk) -> None:
    assert watched.watch is not None
    watched.watch.known = 0
    seen: list[dict[str, Any]] = []
    watched.runtime.at("publish", lambda: None)
    watched.watch.told.clear()
    done = watched.watch.done
    watched.watch.done = lambda ok: (seen.append(watched.ask()), done(ok))[1]  # type: ignore[method-assign, func-returns-value]
    assert watched.ask(fresh=True)["generation"] == "g3"
    assert [(each["generation"], each["pending"]) for each in seen] == [("g3", 0)]
    assert "doubt" not in watched.watch.told


@pytest.mark.promise("TTL-5", "FRESH-1")
def test_a_check_of_the_cache_during_the_first_query_does_not_end_the_watch(
    make_project: MakeProject,
) -> None:
    desk = Desk(make_project({}), ToldWatch())
    assert desk.watch is not None
    desk.runtime.at("scan 1", lambda: desk.service.evict_expired())
    desk.ask()
    assert "rest" not in desk.watch.told
    desk.service.exposed_clear_cache()
    desk.watch.told.clear()
    desk.service.evict_expired()
    assert desk.watch.told == ["rest"], "nobody asks, and no index is in memory"


@pytest.mark.promise("TTL-5")
def test_the_watch_rests_when_no_index_is_in_memory_and_begins_again(watched: Desk) -> None:
    assert watched.watch is not None
    watched.runtime.advance(watched.service.config.ttl_s - 1)
    assert not watched.service.evict_expired()
    assert watched.watch.told == []
    watched.runtime.advance(1)
    assert watched.service.evict_expired()
    assert watched.watch.told == ["rest"]
    scans = watched.index.scans
    watched.ask()
    assert watched.index.scans == scans + 1, "it is a first query again"
    watched.watch.told.clear()
    watched.service.exposed_clear_cache()
    assert watched.watch.told == ["rest"]


def test_a_project_that_is_not_to_be_watched_is_not(project: Project) -> None:
    class Awaited(ToldWatch):
        def done(self, ok: bool) -> None:
            super().done(ok)
            is_over.set()

    is_over = SYSTEM.event("the first look")
    Config.init(project, watch=False)
    watch = Awaited()
    with served(project, watch=watch.make) as service:
        assert service.exposed_query(str(project.root), "retry")["pending"] is None
        assert "use" not in watch.told
        Config.init(project, watch=True)
        service.reload_config()
        service.exposed_query(str(project.root), "retry")
        assert is_over.wait(WAIT_S), "which the query waits for no longer than a second"
        assert "use" in watch.told
        watch.told.clear()
        Config.init(project, watch=False)
        service.reload_config()
        assert watch.told == ["rest"]
        watch.told.clear()
        service.exposed_query(str(project.root), "retry")
        assert watch.told == []


@pytest.mark.once
@pytest.mark.promise("FRESH-2")
def test_a_changed_configuration_of_index_runs_is_followed_before_an_answer_is_fresh(
    make_project: MakeProject,
) -> None:
    project = make_project({"kept.py": "quokka = 1\n", "left.py": "quokka = 2\n"})
    build(project)
    with served(project, watch=Watch) as service, _client(project) as client:
        assert len(client.query("quokka", fresh=True)) == 2
        Config.init(project, exclude=["left.py"])
        answer = client.query("quokka", fresh=True)
        assert ([hit.path for hit in answer], answer.pending) == (["kept.py"], 0)
        Config.init(project, exclude=[])
        service.reload_config()  # as the thread of evictions does
        assert client.query("quokka").pending is None
        Config.init(project, exclude=[], ttl_minutes=7)
        assert len(client.query("quokka", fresh=True)) == 2


def test_runs_ask_for_the_folders_only_where_they_are_watched(
    desk: Desk, watched: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked, wanted in ((desk, False), (watched, True)):
        options: list[RunOptions] = []

        def begin(each: RunOptions, index: FakeIndex = asked.index) -> FakeRun:
            options.append(each)  # noqa: B023 - called before the next round
            return FakeRun(index, asked.runtime)  # noqa: B023

        monkeypatch.setattr(asked.index, "begin_run", begin)
        asked.ask(fresh=True)
        asked.service.exposed_index(str(asked.service.project and asked.service.project.root))
        assert [each.watch for each in options] == [wanted, wanted]
        # What is not of this account is removed only where a user asks for a run.
        assert [each.keep_unverified for each in options] == [True, False]


@pytest.mark.promise("TTL-5")
def test_a_run_that_only_the_watch_wants_is_cancelled_and_not_waited_for(project: Project) -> None:
    """A real one, which waits for another writer."""
    watch = ToldWatch()
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            watch.run()
        except BaseException as error:
            outcome.append(error)

    with Generations(project.generations).writing():
        with served(project, watch=watch.make) as service:
            asked = SYSTEM.event("asked")

            def note(name: str) -> None:
                if name == Step.RUN_ASKED:
                    asked.set()

            with patch.object(service.runtime, "step", note):
                thread = SYSTEM.thread(run, "watch")
                assert asked.wait(WAIT_S)
            assert service.is_indexing
            assert service.gate.close_if_idle(0.0), "it is no call in flight"
        end(thread)
    assert [type(error).__name__ for error in outcome] == ["ShuttingDownError"]
    assert watch.told[-1] == "close"


def test_cancelling_what_nobody_asked_for_leaves_what_somebody_waits_for(watched: Desk) -> None:
    assert watched.watch is not None
    watch = watched.watch
    with watched.index.writing:
        alone, of_watch = watched.begin_run(watch.run)
        shared, of_query = watched.begin_run(lambda: watched.ask(fresh=True))
        watch.cancel()
    end(alone)
    end(shared)
    assert of_query[0]["fresh"] is True
    assert of_watch[0]["generation"] == of_query[0]["generation"]
    with watched.index.writing:
        alone, of_watch = watched.begin_run(watch.run)
        watch.cancel()
    end(alone)
    assert type(of_watch[0]).__name__ == "ShuttingDownError"


def test_when_it_was_indexed_moves_on_with_a_run_that_finds_nothing_to_do(project: Project) -> None:
    with served(project, index=own_runs) as service, _client(project) as client:
        made = client.query("retry")
        again = client.query("retry", fresh=True)
        assert again.generation == made.generation
        assert made.indexed_at is not None
        assert again.indexed_at is not None
        first, second = map(datetime.fromisoformat, (made.indexed_at, again.indexed_at))
        assert first.tzinfo is not None
        assert first <= second <= SYSTEM.now().astimezone()
        assert client.query("retry").indexed_at == again.indexed_at
        del service


@contextmanager
def _client(project: Project, **options: Any) -> Iterator[DaemonClient]:
    with DaemonClient(project, start=False, **options) as client:
        yield client


@pytest.mark.once
@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("is_watched", [True, False])
def test_a_file_that_was_touched_before_a_fresh_query_is_seen_by_it(
    make_project: MakeProject, is_watched: bool
) -> None:
    """Over the socket, fifty times, by three clients at once, each with a file of its own."""
    project = make_project({f"{name}.py": "quokka = 0\n" for name in "abc"})
    build(project)
    watch: dict[str, Any] = {"watch": ReadingWatch().make} if is_watched else {}
    wrong: list[str] = []

    def work(name: str) -> None:
        with _client(project) as client:
            for number in range(ROUNDS):
                (project.root / f"{name}.py").write_text(f"quokka_{name} = {number}\n")
                answer = client.query(f"quokka_{name}", mode="fts", fresh=True)
                shown = next((hit for hit in answer if hit.path == f"{name}.py"), None)
                if not answer.fresh or shown is None or not shown.snippet.endswith(f" = {number}"):
                    wrong.append(f"{name} {number}: {answer}")
                elif shown.stale:
                    wrong.append(f"{name} {number}: stale")

    with served(project, index=own_runs, **watch):
        threads = [SYSTEM.thread(partial(work, name), name) for name in "abc"]
        for thread in threads:
            end(thread)
    assert wrong == []


@pytest.mark.once
@pytest.mark.promise("FRESH-2")
def test_so_it_is_with_runs_in_a_process_of_their_own(project: Project) -> None:
    with served(project, watch=ReadingWatch().make), _client(project) as client:
        for number in range(3):
            (project.root / "new.py").write_text(f"wombat_{number} = 1\n")
            answer = client.query(f"wombat_{number}", mode="fts", fresh=True)
            assert f"wombat_{number} = 1" in answer[0].snippet
            assert (answer.fresh, answer.pending) == (True, 0)


def test_a_client_waits_longer_than_the_daemon(project: Project) -> None:
    with (
        Generations(project.generations).writing(),
        served(project),
        _client(project, timeout_s=0.5) as client,
    ):
        answer = client.query("retry", fresh=True, timeout_s=1.0)
        assert answer.fresh is False
        assert answer.fresh_problem == "the index run was not over after 1 s"
        assert len(answer) > 0


@pytest.mark.promise("FRESH-2")
def test_without_a_daemon_the_index_is_run_first(project: Project) -> None:
    Config.init(project, enabled=False)
    with DaemonClient(project) as client:
        (project.root / "new.py").write_text("def wombat():\n    pass\n")
        assert [hit.path for hit in client.query("wombat", mode="fts")] == []
        assert [hit.path for hit in client.query("wombat", mode="fts", fresh=True)] == ["new.py"]


def test_the_watch_is_in_status_and_metrics(project: Project) -> None:
    with served(project, watch=ToldWatch().make), _client(project) as client:
        client.query("retry")
        assert client.status()["watch"] == {
            "mode": "watching", "since": "2026-01-01T12:00:00+00:00", "folders": 1,
            "pending": None, "reason": None, "last_fallback": None,
        }  # fmt: skip
        assert client.metrics()["watch"]["events"] == 2
    with served(project), _client(project) as client:
        assert client.status()["watch"]["mode"] == "off"  # type: ignore[index]
        assert client.metrics()["watch"] == {}


def test_the_fakes_here_are_indexes(project: Project) -> None:
    assert isinstance(own_runs(project, SYSTEM), OwnRuns)


@pytest.mark.promise("FRESH-3")
@pytest.mark.parametrize("fresh", [True, False])
def test_what_the_watch_knows_of_all_files_is_told_the_search(
    watched: Desk, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Search] = []
    answer = FakeSnapshot.answer

    def note(self: FakeSnapshot, search: Search) -> dict[str, Any]:
        asked.append(search)
        return answer(self, search)

    monkeypatch.setattr(FakeSnapshot, "answer", note)
    assert watched.watch is not None
    watched.watch.fresh = fresh
    watched.ask()
    assert asked[0].is_unchanged is fresh
