"""Fresh on real daemons: files are saved, packages are laid over one another, processes are killed.

Each test by a sample here, and at length in the environment `deep` of tox.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from edits import Life
from live import (
    TIMEOUT_S,
    History,
    Processes,
    Saver,
    ask,
    beginning,
    few_watches,
    has_namespaces,
    in_thread,
    patience,
    serving,
)

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.interpreter import python_command
from cidx_ref.project import Project
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
        return [join() for join in [in_thread(partial(work, saver)) for saver in savers]]


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
        visible_s = sum(together(work, life, history, number), start=[])
    history.check_order()
    life.check()
    for percent in (50, 95, 100):
        name = f"saved to visible, p{percent}, {how}"
        figure("FRESH-1", name, round(percentile(visible_s, percent), 3), "s")
    figure("FRESH-3", f"hits judged, {how}", history.judged)
    assert history.stale > 0
