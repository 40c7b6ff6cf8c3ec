"""Fresh on real daemons: files are saved, packages are laid over one another, processes are killed.

Each test by a sample here, and at length in the environment `deep` of tox.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from edits import PATHS, Life, Text, Write, small_segments
from live import (
    TIMEOUT_S,
    Begun,
    History,
    Processes,
    Saver,
    ask,
    beginning,
    few_watches,
    has_ended,
    has_namespaces,
    kill,
    patience,
    serving,
)

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.errors import CidxError
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import GRAPH, read_manifest
from cidx_ref.interpreter import python_command
from cidx_ref.launcher import start_process
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.own.fixtures import write

pytestmark = pytest.mark.once

CLIENTS = "abc"
#: What lies there from the start: so much that segments of it are kept.
BEGINNING = {
    path: text for name in (*CLIENTS, "rock") for path, (_, text) in beginning(name).items()
}


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    made = Processes(tmp_path / "processes")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.fixture
def life(tmp_path: Path, processes: Processes) -> Iterator[Life]:
    """A tree with what is there at the beginning, indexed, in small segments."""
    processes.make_small()
    for path, text in BEGINNING.items():
        write(tmp_path / "beginning", path, text)
    with Life(tmp_path, tmp_path / "beginning", has_git=False) as made:
        with small_segments():
            made.run()
        yield made


# Saving.

WATCHED, EXHAUSTED, UNWATCHED = "watched", "without inotify watches", "not to be watched"


def daemon_of(life: Life, how: str) -> Any:
    command: Callable[..., Any] = python_command
    if how == EXHAUSTED:
        if not has_namespaces():
            pytest.skip("no namespace of its own can be had here")
        command = few_watches
    Config.init(life.project, watch=how != UNWATCHED)
    return serving(life.project, command)


def together(work: Callable[[Saver], Any], life: Life, history: History, seed: int) -> list[Any]:
    """What comes of `work`, by each client with a saver of its own at the same time."""
    with ExitStack() as stack:
        savers = [
            stack.enter_context(Saver(life.root, name, history, seed, apart=name != "a"))
            for name in CLIENTS
        ]
        return [join() for join in [Begun(partial(work, saver)) for saver in savers]]


def mode_of(daemon: DaemonClient) -> Any:
    return daemon.status()["watch"]["mode"]


@pytest.mark.promise("FRESH-2", "FRESH-3")
@pytest.mark.parametrize("how", [WATCHED, EXHAUSTED, UNWATCHED])
@pytest.mark.parametrize("number", [18, pytest.param(1000, marks=pytest.mark.deep)])
def test_no_fresh_answer_is_from_before_the_save_that_it_follows(
    number: int, how: str, life: Life, figure: Callable[..., None]
) -> None:
    history = History(BEGINNING)

    def work(saver: Saver) -> None:
        with DaemonClient(life.project, start=False) as daemon:
            for turn in range(number // len(CLIENTS)):
                save = saver.save()
                mode = ("fts", "hybrid")[turn % 2]
                asked = ask(daemon, save.word, mode=mode, fresh=True)
                assert asked.answer.fresh is True, asked.answer.fresh_problem
                assert save.is_shown(asked.answer), (save, asked.answer)
                history.judge(asked, fresh=saver.folder)
                history.judge(ask(daemon, "quokka", limit=100), fresh=saver.folder)

    with daemon_of(life, how):
        together(work, life, history, number)
        with DaemonClient(life.project, start=False) as daemon:
            is_as_wanted = {WATCHED: "watching", EXHAUSTED: "scanning", UNWATCHED: "off"}
            assert mode_of(daemon) == is_as_wanted[how]
    history.check_order()
    life.check()
    figure("FRESH-2", f"saves, each asked about at once, {how}", number)
    figure("FRESH-3", f"hits judged, {how}", history.judged)
    figure("FRESH-3", f"of these stale, {how}", history.stale)


@pytest.mark.promise("FRESH-1", "FRESH-3")
@pytest.mark.parametrize("how", [WATCHED, EXHAUSTED])
@pytest.mark.parametrize("number", [12, pytest.param(1000, marks=pytest.mark.deep)])
def test_what_is_saved_is_there_without_a_command(
    number: int, how: str, life: Life, figure: Callable[..., None]
) -> None:
    if how == EXHAUSTED:
        number //= 4  # scans are some seconds apart
    history = History(BEGINNING)

    def work(saver: Saver) -> list[float]:
        visible_s = []
        with DaemonClient(life.project, start=False) as daemon:
            daemon.query("quokka")
            for _ in range(-(-number // len(CLIENTS))):
                save = saver.save()
                saved_s = SYSTEM.monotonic()
                for _ in patience():
                    asked = ask(daemon, save.word, mode="fts")
                    history.judge(asked)
                    history.judge(ask(daemon, "quokka", limit=100))
                    if save.is_shown(asked.answer):
                        break
                else:
                    raise AssertionError(f"not to be seen after {TIMEOUT_S:g} s: {save}")
                visible_s.append(asked.answered_s - saved_s)
        return visible_s

    with daemon_of(life, how):
        visible_s = [each for of_one in together(work, life, history, number) for each in of_one]
    history.check_order()
    life.check()
    for percent in (50, 95, 100):
        name = f"saved to visible, p{percent}, {how}"
        figure("FRESH-1", name, round(percentile(visible_s, percent), 3), "s")
    figure("FRESH-3", f"hits judged, {how}", history.judged)
    assert history.stale > 0


# Killing.


class Killing:
    """A daemon over `life`, and rounds in which it, or what it has started, is killed."""

    def __init__(self, life: Life, processes: Processes, random: Random) -> None:
        self._life = life
        self._processes = processes
        self._random = random
        self._generations = Generations(life.project.generations)
        #: For how long processes have lived that nobody killed, by their role: the last ones.
        self._lives_s: dict[str, list[float]] = {}
        self.ended: Counter[str] = Counter()

    def round(self) -> None:
        life, random = self._life, self._random
        for path in random.sample(PATHS, random.randint(1, 4)):
            Write(path, random.randrange(40), random.randrange(4))(life.root)
        before, _ = self._live()
        self._processes.forget()
        with DaemonClient(life.project, start=False) as daemon:
            victim = random.choice(["run", "run", "merge", "builder", "daemon"])
            full = victim == "builder" or (victim == "daemon" and random.random() < 0.3)
            done = Begun(lambda: self._index(daemon, full))
            self._kill(victim, done)
            done()
        if victim == "daemon":
            self._processes.wait_for_all()
            start_process(life.project)
        after, segments = self._live()
        self._go_on(segments)
        expected, _ = self._live()
        assert after in (before, expected), f"neither the old index nor the new: {victim}"
        self.ended[f"{victim}, {'old' if after == before else 'new'}"] += 1

    def _index(self, daemon: DaemonClient, full: bool) -> bool:
        """Have the index brought up to date, in one way or another; whether it was."""
        try:
            if full or self._random.random() < 0.5:
                daemon.index(full=full)
                return True
            return bool(daemon.query("common", fresh=True).fresh)
        except CidxError:
            return False

    def _kill(self, victim: str, done: Begun) -> None:
        """Kill -9 of a process of that role, some time after it has begun."""
        if victim == "merge":
            done()
        found = None
        while found is None:
            found = self._processes.next("run" if victim == "daemon" else victim, wait_s=0.5)
            if found is None and done.is_over:  # there was no merge to be done
                self.ended[f"no {victim}"] += 1
                return
        role, fd = found
        began_s = SYSTEM.monotonic()
        if victim == "daemon":
            pid = self._daemon()
            has_ended(fd, self._some_time_s(role))
            with closing_fd(os.pidfd_open(pid)) as daemon_fd:
                kill(daemon_fd)
                assert has_ended(daemon_fd, TIMEOUT_S)
        elif has_ended(fd, self._some_time_s(role)):
            self._lives_s.setdefault(role, []).append(SYSTEM.monotonic() - began_s)
            self.ended[f"{victim} too late"] += 1
        else:
            kill(fd)
            assert has_ended(fd, TIMEOUT_S)

    def _some_time_s(self, role: str) -> float:
        return self._random.uniform(0, 1.1 * max(self._lives_s.get(role, [])[-5:], default=0.3))

    def _go_on(self, segments: set[str]) -> None:
        """The next run succeeds, is no beginning, and leaves what it should."""
        with DaemonClient(self._life.project, start=False) as daemon:
            self._processes.forget()
            done = Begun(daemon.index)
            if self._processes.next("run"):
                began_s = SYSTEM.monotonic()
                assert done()["files"] > 0
                self._lives_s.setdefault("run", []).append(SYSTEM.monotonic() - began_s)
        for _ in patience():  # until no merge is at work
            self._query()
            if self._is_alone() and not _left_open(self._daemon()):
                break
        else:
            left = os.listdir(self._generations.directory), _left_open(self._daemon())
            raise AssertionError(f"litter: {left}")
        for _ in patience():  # a merge may have been made since, and an old generation be in use
            self._query()
            with self._generations.writing():
                if self._is_alone():
                    self._life.check()
                    self._life.let_go()
                    assert segments & self._segments(), "it began anew"
                    return
        raise AssertionError(f"litter: {os.listdir(self._generations.directory)}")

    def _query(self) -> None:
        """What is live is taken up with a query, and what was in use before is let go."""
        with DaemonClient(self._life.project, start=False) as daemon:
            daemon.query("common")

    def _is_alone(self) -> bool:
        """Whether nothing lies beside the live generation."""
        live = self._generations.current()
        return sorted(os.listdir(self._generations.directory)) == [live, "current"]

    def _live(self) -> tuple[list[Text], set[str]]:
        """What is live: chunks, and segments that have a graph, so that no edit takes them in."""
        with self._generations.writing():
            return self._life.now(), self._segments()

    def _segments(self) -> set[str]:
        generation = self._generations.path(self._generations.current())
        segments = read_manifest(generation)["segments"].items()
        return {name for name, each in segments if each["vectors"] == GRAPH}

    def _daemon(self) -> int:
        with DaemonClient(self._life.project, start=False) as daemon:
            return int(daemon.ping()["pid"])


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _left_open(pid: int) -> list[str]:
    """What a daemon has open that belonged to a process, or to a generation, that is no more.

    A segment that is shared has been opened in a generation that may be gone: the file is there.
    """
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            name, links = (
                os.readlink(f"/proc/{pid}/fd/{fd}"),
                Path(f"/proc/{pid}/fd/{fd}").stat().st_nlink,
            )
            if name.startswith("pipe:") or (links == 0 and not name.startswith("/memfd:")):
                found.append(name)
    # Both ends of a pipe it has to itself.
    return [each for each in found if not (each.startswith("pipe:") and found.count(each) == 2)]


@pytest.mark.promise("WRITE-3", "FRESH-4")
@pytest.mark.parametrize(
    ("number", "seed"),
    [
        (12, 0),
        pytest.param(150, 1, marks=pytest.mark.deep),
        pytest.param(150, 2, marks=pytest.mark.deep),
    ],
)
def test_whatever_is_killed_the_index_is_the_old_or_the_new_and_the_next_run_goes_on(
    number: int, seed: int, life: Life, processes: Processes, figure: Callable[..., None]
) -> None:
    killing = Killing(life, processes, Random(seed))
    with serving(life.project):
        for _ in range(number):
            killing.round()
    processes.wait_for_all()
    for ending, times in sorted(killing.ended.items()):
        figure("WRITE-3", f"killed: {ending}", times)
