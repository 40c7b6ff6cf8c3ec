"""Which index serves, and that cache and promises know no difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from theirs import SOURCE, adopted, asked, new_uuid, theirs

from cidx_ref import cli
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon.beside import Beside
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.watch import Watch
from cidx_ref.errors import BadArgumentError, GenerationGone, NoIndexError
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.cidx.checking import check_here
from cidx_ref.index.cidx.theirs import TheirIndex
from cidx_ref.index.either import EitherIndex
from cidx_ref.index.port import Search
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.conformance.parts.source import Load
from cidx_ref.testing.own.cidx_format import DIRECTORY, MODEL, StandIn, write_index
from cidx_ref.testing.own.fake_index import CacheRig, FakeIndex, FakeSnapshot
from cidx_ref.testing.own.fixtures import served
from cidx_ref.testing.own.machines import TTL_S, CacheMachine, ConcurrentCacheMachine
from cidx_ref.testing.own.searches import run_machine

pytestmark = pytest.mark.once


def opened(project: Project, runtime: Runtime) -> EitherIndex:
    return EitherIndex(project, runtime, embedder=StandIn(), check=check_here)


def a_project(root: Path) -> Project:
    root.mkdir(exist_ok=True)
    write_index(root, SOURCE)
    return Project.at(root)


def ask(client: DaemonClient, text: str = "retry", **options: Any) -> Any:
    return client.query(text, **options)


# Which index serves.


@pytest.mark.promise("SRV-1", "CACHE-8")
def test_an_adopted_index_serves_until_there_is_one_of_ours_and_either_can_be_asked(
    tmp_path: Path,
) -> None:
    project = a_project(tmp_path)
    with served(project, index=opened) as service, DaemonClient(project, start=False) as client:
        with pytest.raises(NoIndexError, match="`cidx-ref adopt` takes it"):
            ask(client)
        assert (client.status()["source"], client.status()["cidx"]["adopted"]) == (None, False)  # type: ignore[index]
        adopted(tmp_path)
        for mode in ("hybrid", "semantic", "fts", "literal", "regex"):
            answer = ask(client, mode=mode)
            assert answer.source == "cidx"
            assert answer
        status = client.status()
        assert status["source"] == "cidx"
        assert status["cidx"]["model"] == MODEL  # type: ignore[index]
        assert status["generation"] == answer.generation
        assert status["index_age_seconds"] is not None
        assert status["files"] == len(SOURCE)
        with pytest.raises(NoIndexError):
            ask(client, source="own")
        assert service.metrics.report()["cache"]["load"] == 1
        assert not (project.index_directory / "generations").exists()

        bring_up_to_date(project, StandIn())
        assert ask(client).source is None
        assert ask(client, source="own").generation == ask(client).generation
        assert ask(client, source="cidx").source == "cidx"
        assert ask(client, source="cidx").source == "cidx"
        assert service.metrics.report()["cache"]["load"] == 3, "each once"
        assert client.status()["source"] == "own"
        with pytest.raises(BadArgumentError, match="source"):
            ask(client, source="theirs")
        with pytest.raises(BadArgumentError, match="fresh"):
            ask(client, source="cidx", fresh=True)
        client.clear_cache()


@pytest.mark.promise("CACHE-8")
def test_what_is_published_there_is_picked_up_by_the_next_query(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    adopted(tmp_path)
    with served(project, index=opened), DaemonClient(project, start=False) as client:
        before = ask(client)
        write_index(tmp_path, {**SOURCE, "new.py": "retry_anew = 1\n"})
        after = ask(client, "retry_anew")
        assert after.generation != before.generation
        assert after[0].path == "new.py"
        client.clear_cache()


@pytest.mark.promise("CACHE-1", "CACHE-8")
def test_what_is_refused_meanwhile_and_put_back_is_seen_by_the_next_query(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    adopted(tmp_path)
    store = min((tmp_path / DIRECTORY / "tantivy_index").glob("*.store"))
    data = store.read_bytes()
    with served(project, index=opened) as service, DaemonClient(project, start=False) as client:
        assert ask(client).unavailable == {}
        client.clear_cache()
        store.write_bytes(data[:-1])
        assert list(ask(client).unavailable) == list(ask(client).unavailable) == ["fts"]
        store.write_bytes(data)
        assert ask(client).unavailable == ask(client).unavailable == {}
        assert service.metrics.report()["cache"]["load"] == 3, "each once"
        client.clear_cache()


@pytest.mark.promise("FRESH-2")
def test_an_adopted_index_is_not_watched_and_makes_none_of_ours(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    adopted(tmp_path)
    with (
        served(project, index=opened, watch=Watch),
        DaemonClient(project, start=False) as client,
    ):
        assert ask(client).source == "cidx"
        assert ask(client).pending is None
        answer = ask(client, fresh=True)
        assert (answer.fresh, "made there" in str(answer.fresh_problem)) == (False, True)
        assert client.status()["watch"]["mode"] == "off"  # type: ignore[index]
        assert not client.status()["indexing"]
    assert not (project.index_directory / "generations").exists()


def test_the_command_line_adopts_asks_and_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = a_project(tmp_path)
    (tmp_path / DIRECTORY / "config.json").write_text(json.dumps({"daemon": {"enabled": False}}))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main([arguments[0], "--project", str(tmp_path), *arguments[1:]])
        out, err = capsys.readouterr()
        return status, out, err

    assert run("query", "--source", "cidx", "retry")[0] == 2
    status, out, err = run("adopt", "--json")
    assert (status, err) == (0, "")
    assert MODEL in json.loads(out)["problems"]["semantic"]  # the default embedder has no model
    assert json.loads(out)["collection"] == MODEL
    status, out, _ = run("query", "--json", "disconnects")
    answer = json.loads(out)
    assert (status, answer["source"]) == (0, "cidx")
    assert MODEL in answer["unavailable"]["semantic"]
    assert not (project.index_directory / "generations").exists()
    assert run("index")[0] == 0
    answer = json.loads(run("query", "--json", "disconnects")[1])
    assert "source" not in answer
    answer = json.loads(run("query", "--json", "--source", "cidx", "disconnects")[1])
    assert answer["source"] == "cidx"


def test_a_query_that_builds_says_that_another_index_could_be_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_project(tmp_path)
    (tmp_path / DIRECTORY / "config.json").write_text(json.dumps({"daemon": {"enabled": False}}))
    assert cli.main(["query", "--project", str(tmp_path), "--json", "retry"]) == 0
    out, err = capsys.readouterr()
    assert "source" not in json.loads(out)
    assert err.count("`cidx-ref adopt` takes it") == 1


# The cache knows no difference.


class TheirSnapshots(FakeSnapshot):
    """A real snapshot, counted as a made-up one is."""

    def __init__(self, load: Load, real: Any) -> None:
        super().__init__(load)
        self.real = real

    def search(self) -> None:
        super().search()
        assert asked(self.real, "retry", "semantic", limit=1)["results"]

    def close(self) -> None:
        super().close()
        self.real.close()


class OverTheirs(FakeIndex):
    """The full cidx's index on a disk, with the names of the made-up one's generations."""

    root: Path

    def __init__(self, runtime: Runtime, *, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__(runtime, fails=fails)
        self.index = theirs(self.root)
        self.names = {self.index.current(): self.live}

    def current(self) -> str:
        name = self.names[self.index.current()]
        assert name == super().current()
        return name

    def check_there(self, version: str) -> None:
        if version == self.sealed:  # what the full cidx has not published, nobody sees
            raise GenerationGone(version)
        super().check_there(version)

    def make(self, load: Load) -> FakeSnapshot:
        (name,) = [real for real, ours in self.names.items() if ours == load.version]
        made = TheirSnapshots(load, self.index.load(name))
        self.snapshots.append(made)
        return made

    def publish(self, held: int | None = None) -> str:
        new_uuid(self.root)
        self.sealed = ""
        self.live = f"g{int(self.live[1:]) + 1}"
        self.names[self.index.current()] = self.live
        return self.live


@pytest.mark.once
@pytest.mark.promise("CACHE-1", "CACHE-2", "CACHE-4", "CACHE-6", "CACHE-7", "CACHE-8", "TTL-1")
def test_the_caches_state_machine_finds_nothing_over_the_full_cidxs_index(tmp_path: Path) -> None:
    write_index(tmp_path, {"a.py": "retry = 1\n"})
    adopted(tmp_path)

    class Over(OverTheirs):
        root = tmp_path

    class Machine(CacheMachine):
        def __init__(self) -> None:
            super().__init__()
            self.rig = CacheRig(self.runtime, ttl_s=TTL_S, fails=self._fails, index=Over)

        def index_run(self, *arguments: Any) -> None:
            """Not of this index: it is made elsewhere."""

    machine: type[RuleBasedStateMachine] = Machine
    run_machine(machine, examples=15, steps=25)


@pytest.mark.deep
@pytest.mark.promise("CACHE-1", "CACHE-3", "CACHE-4", "CACHE-8")
def test_the_state_machine_of_many_threads_finds_nothing_either(tmp_path: Path) -> None:
    write_index(tmp_path, {"a.py": "retry = 1\n"})
    adopted(tmp_path)

    class Over(OverTheirs):
        root = tmp_path

        def current(self) -> str:
            # What is read first counts, as on a disk: others may come in between.
            name = self.names[self.index.current()]
            self._runtime.step("has read which is live")
            return name

    class Machine(ConcurrentCacheMachine):
        def __init__(self) -> None:
            super().__init__()
            self.rig = CacheRig(self.runtime, ttl_s=TTL_S, fails=self._fails, index=Over)

    machine: type[RuleBasedStateMachine] = Machine
    run_machine(machine, examples=30, steps=10)


# A new generation under ten readers.


class Readers:
    """Ten that ask without a pause, and what they saw."""

    def __init__(self, index: TheirIndex) -> None:
        self.index = index
        self.loads: list[str] = []
        self.answers: list[str] = []
        self.wrong: list[str] = []
        self.published = [index.current()]
        self.cache: IndexCache[Any] = IndexCache("project", self)
        self.done = SYSTEM.event("done")
        self.threads = [SYSTEM.thread(self.read, f"reader {n}") for n in range(10)]

    def current(self) -> str:
        return self.index.current()

    def load(self, generation: str) -> Any:
        snapshot = self.index.load(generation)
        self.loads.append(generation)
        return snapshot

    def read(self) -> None:
        try:
            while not self.done.is_set():
                self.ask()
        except BaseException as error:
            self.wrong.append(repr(error))

    def ask(self) -> None:
        before = len(self.published)
        with self.cache.pin() as snapshot:
            every = [asked(snapshot, "retry", mode) for mode in ("semantic", "fts", "hybrid")]
        generations = {answer["generation"] for answer in every}
        self.answers += generations
        # None from before the last publish that was over when it was asked.
        if len(generations) > 1 or generations & {*self.published[: before - 1]}:
            self.wrong.append(f"{generations}, after {self.published[before - 1]}")

    def wait_for(self, generation: str) -> None:
        begun = len(self.answers)
        while generation not in self.answers[begun:] and not self.wrong:
            self.done.wait(0.001)

    def end(self) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(30)
        self.cache.clear()


@pytest.mark.promise("CACHE-1", "CACHE-4", "CACHE-8")
@pytest.mark.parametrize(
    "times", [5, pytest.param(200, marks=[pytest.mark.once, pytest.mark.deep])]
)
def test_each_answer_is_of_one_generation_and_each_is_loaded_once(
    tmp_path: Path, times: int, figure: Callable[..., None]
) -> None:
    write_index(tmp_path, {"a.py": "retry = 1\n", "b.py": "def retry(): pass\n"})
    adopted(tmp_path)
    readers = Readers(theirs(tmp_path))
    try:
        for _ in range(times):
            new_uuid(tmp_path)
            readers.published.append(readers.index.current())
            readers.wait_for(readers.published[-1])
    finally:
        readers.end()
    assert readers.wrong == []
    assert {*readers.published[1:]} <= {*readers.loads} <= {*readers.published}
    assert len({*readers.loads}) == len(readers.loads), "a generation was loaded twice"
    figure("CACHE-8", "answers while the full cidx published", len(readers.answers))


@pytest.mark.promise("CACHE-7")
def test_an_evicted_index_gives_its_files_back(tmp_path: Path) -> None:
    write_index(tmp_path, SOURCE)
    index = adopted(tmp_path)
    fds = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with closing(index.load(index.current())) as snapshot:
            assert asked(snapshot, "retry")["results"]
        assert len(list(Path("/proc/self/fd").iterdir())) == fds


@pytest.mark.promise("CFG-1")
def test_a_configuration_without_a_daemon_as_the_full_cidx_writes_it_has_the_defaults(
    tmp_path: Path,
) -> None:
    project = Project.at(tmp_path)
    project.create_directory()
    project.config_path.write_text('{"daemon": null, "codebase_dir": "/srv/project"}')
    assert Config.load(project.config_path) == Config()
    assert Config.init(project, ttl_minutes=3).ttl_minutes == 3
    assert json.loads(project.config_path.read_text())["codebase_dir"] == "/srv/project"


@pytest.mark.promise("TTL-1", "CACHE-7")
def test_an_index_that_was_asked_for_by_name_is_evicted_and_cleared_like_the_other(
    tmp_path: Path, fake: FakeRuntime
) -> None:
    project = a_project(tmp_path)
    adopted(tmp_path)
    bring_up_to_date(project, StandIn())
    index = opened(project, fake)
    events: list[str] = []

    def cache_of(source: Any) -> IndexCache[Any]:
        return IndexCache(
            tmp_path, source, ttl_minutes=10, runtime=fake,
            listener=lambda event, generation, seconds=0.0: events.append(event),
        )  # fmt: skip

    beside = Beside(index, cache_of(index), cache_of, fake)

    def ask_by_name() -> None:
        with beside.pin("cidx") as loaded:
            assert loaded.answer(Search("retry"))["source"] == "cidx"

    ask_by_name()
    fake.advance(599)
    beside.evict_expired()
    ask_by_name()
    assert events == ["load", "hit"]
    fake.advance(600)
    beside.evict_expired()
    assert events[-1] == "evict"
    ask_by_name()
    beside.clear()
    assert events[-2:] == ["load", "clear"]
