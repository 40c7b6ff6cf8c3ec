"""Fresh on real daemons: files are saved, packages are laid over one another, processes are killed.

Each test by a sample here, and at length in the environment `deep` of tox.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from zipfile import ZipFile

import pytest
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
    number_of,
    patience,
    serving,
    text_of,
    word_of,
)

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.errors import CidxError
from cidx_ref.index import plan, snapshot
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import GRAPH, read_manifest
from cidx_ref.index.segment import Segment
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.interpreter import python_command
from cidx_ref.launcher import start_process
from cidx_ref.results import Answer
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.own import lives
from cidx_ref.testing.own.edits import PATHS, Write
from cidx_ref.testing.own.fixtures import write
from cidx_ref.testing.own.lives import Life, Text, small_segments

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
        begun = [Begun(partial(work, saver)) for saver in savers]
        for each in begun:
            each.wait()  # also where one has failed: the others go on
        return [each() for each in begun]


def mode_of(daemon: DaemonClient) -> Any:
    return daemon.status()["watch"]["mode"]  # type: ignore[index]


def ask_fresh(life: Life, history: History, number: int) -> None:
    """So many saves, each followed by a query that wants it fresh."""

    def work(saver: Saver) -> None:
        with DaemonClient(life.project, start=False) as daemon:
            for turn in range(number // len(CLIENTS)):
                save = saver.save()
                mode = ("fts", "hybrid")[turn % 2]
                asked = ask(daemon, save.word, mode=mode, fresh=True)
                assert asked.answer.fresh is True, asked.answer.fresh_problem
                assert save.is_shown(asked.answer), f"from before the call: {save}, {asked.answer}"
                history.judge(asked, fresh=saver.folder)
                history.judge(ask(daemon, "quokka", limit=100), fresh=saver.folder)

    together(work, life, history, number)


def ask_until_shown(life: Life, history: History, number: int) -> list[float]:
    """So many saves, each followed by queries until one shows it; how many seconds that took."""

    def work(saver: Saver) -> list[float]:
        visible_s = []
        with DaemonClient(life.project, start=False) as daemon:
            daemon.query("quokka")
            for _ in range(number // len(CLIENTS)):
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

    return [each for of_one in together(work, life, history, number) for each in of_one]


@pytest.mark.promise("FRESH-2", "FRESH-3")
@pytest.mark.parametrize("how", [WATCHED, EXHAUSTED, UNWATCHED])
@pytest.mark.parametrize("number", [18, pytest.param(1000, marks=pytest.mark.deep)])
def test_no_fresh_answer_is_from_before_the_save_that_it_follows(
    number: int, how: str, life: Life, figure: Callable[..., None]
) -> None:
    history = History(BEGINNING)
    with daemon_of(life, how):
        ask_fresh(life, history, number)
        with DaemonClient(life.project, start=False) as daemon:
            is_as_wanted = {WATCHED: "watching", EXHAUSTED: "scanning", UNWATCHED: "off"}
            assert mode_of(daemon) == is_as_wanted[how]
    history.check_order()
    life.check()
    figure("FRESH-2", f"saves, each asked about at once, {how}", number)
    figure("FRESH-3", f"hits judged, {how}", history.judged)
    figure("FRESH-3", f"of these stale, {how}", history.stale)


@pytest.mark.promise("FRESH-1", "FRESH-3")
@pytest.mark.parametrize(
    ("how", "number"),
    [
        (WATCHED, 6),
        pytest.param(WATCHED, 1000, marks=pytest.mark.deep),
        pytest.param(EXHAUSTED, 1000, marks=pytest.mark.deep),
    ],
)
def test_what_is_saved_is_there_without_a_command(
    number: int, how: str, life: Life, figure: Callable[..., None]
) -> None:
    history = History(BEGINNING)
    with daemon_of(life, how):
        visible_s = ask_until_shown(life, history, number)
    history.check_order()
    life.check()
    for percent in (50, 95, 100):
        name = f"saved to visible, p{percent}, {how}"
        figure("FRESH-1", name, round(percentile(visible_s, percent), 3), "s")
    figure("FRESH-3", f"hits judged, {how}", history.judged)


@pytest.mark.parametrize(
    ("mutant", "ask", "complaint"),
    [
        ("freshness_is_what_is_known_already", ask_fresh, "from before the call"),
        ("a_change_is_nobodys_business", ask_until_shown, "is stale"),
    ],
)
def test_a_daemon_whose_answers_are_less_fresh_than_they_say_is_found(
    mutant: str, ask: Callable[..., object], complaint: str, life: Life
) -> None:
    def command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        faulty = "cidx_ref.testing.own.faulty"
        return python_command(faulty, "--mutant", mutant, "--", *arguments)

    with serving(life.project, command), pytest.raises(AssertionError, match=complaint):
        ask(life, History(BEGINNING), 30)


# Killing.


LATE_S = 3.0  # so late a process may come


class Killing:
    """A daemon over `life`, and rounds in which it, or what it has started, is killed."""

    def __init__(self, life: Life, processes: Processes, random: Random) -> None:
        self._life = life
        self._processes = processes
        self._random = random
        self._generations = Generations(life.project.generations)
        #: For how long processes have lived that nobody killed, by their role: the last ones.
        self._lives_s: dict[str, list[float]] = {}
        self._victims: list[str] = []
        self.ended: Counter[str] = Counter()

    def round(self) -> None:
        life, random = self._life, self._random
        if not self._victims:
            self._victims = ["run", "run", "merge", "builder", "daemon"]
            random.shuffle(self._victims)
        victim = self._victims.pop()
        # So many that a merge is due.
        number = random.randint(1, 4) if victim != "merge" else len(PATHS)
        for path in random.sample(PATHS, number):
            Write(path, random.randrange(40), random.randrange(4))(life.root)
        before, _ = self._live()
        self._processes.forget()
        with DaemonClient(life.project, start=False) as daemon:
            full = victim == "builder" or (victim == "daemon" and random.random() < 0.3)
            is_plain = full or victim == "merge" or random.random() < 0.5
            done = Begun(lambda: self._index(daemon, full, is_plain))
            is_killed = self._kill(victim, done)
            done()
        if victim == "daemon":
            self._processes.wait_for_all()
            start_process(life.project)
        after, segments = self._live()
        self._go_on(segments)
        expected, _ = self._live()
        assert after in (before, expected), f"neither the old index nor the new: {victim}"
        if is_killed:
            self.ended[f"{victim}, {'old' if after == before else 'new'}"] += 1

    def _index(self, daemon: DaemonClient, full: bool, is_plain: bool) -> None:
        """Have the index brought up to date, in one way or another."""
        with suppress(CidxError):
            if is_plain:
                daemon.index(full=full)
            else:
                daemon.query("common", fresh=True)

    def _kill(self, victim: str, done: Begun) -> bool:
        """Kill -9 of a process of that role, some time after it has begun; whether there was one,
        and it had not ended by then."""
        if victim == "merge":
            done()
        found = None
        until_s = SYSTEM.monotonic() + LATE_S
        while found is None:
            found = self._processes.next("run" if victim == "daemon" else victim, wait_s=0.5)
            if found is None and done.is_over and SYSTEM.monotonic() > until_s:
                self.ended[f"no {victim}"] += 1  # no merge was due, or another run was first
                return False
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
            return False
        else:
            kill(fd)
            assert has_ended(fd, TIMEOUT_S)
        return True

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
        (3, 0),
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


# History.

Tree = dict[str, bytes]
#: Packages with many versions, of which most come as wheels, so that nothing is run to have them.
PACKAGES = ("click", "packaging")
MANY = 50
#: So many trees one scan may see something of: the second is laid without waiting for the first.
SPAN = 3
LONG = 300  # characters


def made_up(versions: int, seed: int) -> list[Tree]:
    """A package as it might grow: modules come, change, move and go."""
    random = Random(seed)
    texts = {f"pack/m{n}.py": n for n in range(8)}
    trees = []
    for version in range(versions):
        for path in random.sample(sorted(texts), 3):
            texts[path] = random.randrange(1000)
        gone = random.choice(sorted(texts))
        if random.random() < 0.5:
            texts[f"pack/moved{version}.py"] = texts[gone]
        del texts[gone]
        texts[f"pack/sub{version % 3}/n{version}.py"] = random.randrange(1000)
        trees.append(
            {
                path: "\n".join(
                    f'def part{n}(value):\n    """Part {n} of {number}."""\n    return {number}\n'
                    for n in range(1 + number % 4)
                ).encode()
                for path, number in texts.items()
            }
        )
    return trees


def published(package: str, place: Path) -> list[Tree]:
    """All versions of a package that there are as wheels, the oldest first."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    with suppress(subprocess.SubprocessError):
        listed = subprocess.run(
            [*pip, "index", "versions", package],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found = re.search(r"^Available versions: (.*)", listed.stdout, re.MULTILINE)
        versions = found[1].split(", ")[::-1] if found else []
        parts = [versions[start::3] for start in range(3)]
        for fetching in [Begun(partial(_fetch, pip, package, place, part)) for part in parts]:
            fetching()
        return [
            _unpacked(wheel) for version in versions for wheel in (place / version).glob("*.whl")
        ]
    return []


def _fetch(pip: list[str], package: str, place: Path, versions: list[str]) -> None:
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
    for version in versions:
        subprocess.run(
            [*pip, "download", *options, "--dest", str(place / version), f"{package}=={version}"],
            capture_output=True,
            check=False,  # there may be no wheel
            timeout=120,
        )


def _unpacked(wheel: Path) -> Tree:
    with ZipFile(wheel) as archive:
        return {
            # The directory of its metadata has the version in its name.
            re.sub(r"^[^/]*\.dist-info/", "dist-info/", each.filename): archive.read(each)
            for each in archive.infolist()
            if not each.is_dir()
        }


class Trees:
    """Versions of a tree, laid over one another, and the answers from in between."""

    def __init__(self, root: Path, trees: list[Tree]) -> None:
        self._root = root
        self._trees = trees
        self._at = -1
        #: By generation: what it has shown, each path with the first line and the lines.
        self._shown: dict[str, set[tuple[str, int, str]]] = {}
        self._lock = SYSTEM.lock("trees")
        #: By generation that a fresh query found while nothing moved: which tree it holds.
        self.settled: dict[str, int] = {}

    def lay_next(self) -> None:
        before, now = self._tree(self._at), self._trees[self._at + 1]
        for path in before.keys() - now.keys():
            (self._root / path).unlink()
        for number, (path, data) in enumerate(sorted(now.items())):
            if before.get(path) == data:
                continue
            if (self._root / path).is_file() and number % 2:
                write(self._root, f"{path}.new", data)
                (self._root / f"{path}.new").rename(self._root / path)
            else:
                write(self._root, path, data)
        self._at += 1

    def note(self, answer: Answer) -> None:
        with self._lock:
            shown = self._shown.setdefault(answer.generation, set())
            shown.update((hit.path, hit.snippet_start, hit.snippet) for hit in answer)

    def judge(self) -> int:
        """Each generation shows one tree, or what was there while the next ones were laid over it;
        later ones no earlier trees.  How many were in motion."""
        least = moving = 0
        for generation in sorted(self._shown, key=number_of):
            shown = self._shown[generation]
            wanted = range(least, len(self._trees))
            if generation in self.settled:
                wanted = range(self.settled[generation], self.settled[generation] + 1)
            for number in wanted:
                if all(self._holds(number, *each) for each in shown):
                    break
            else:
                assert generation not in self.settled, f"{generation} is not as its tree: {shown}"
                moving += 1
                for number in wanted:
                    if all(
                        any(self._holds(each, *what) for each in range(number, number + SPAN))
                        for what in shown
                    ):
                        break
                else:
                    raise AssertionError(f"{generation} shows what was never there: {shown}")
            least = number
        return moving

    def _tree(self, number: int) -> Tree:
        return self._trees[number] if 0 <= number < len(self._trees) else {}

    def _holds(self, number: int, path: str, start: int, snippet: str) -> bool:
        data = self._tree(number).get(path.removesuffix(".new"))
        if data is None:
            return False
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[start - 1 :]
        shown = snippet.replace("\r\n", "\n").split("\n")
        return len(shown) <= len(lines) and all(
            # Of a long line a part is shown.
            each == line or (len(line) > LONG and each in line)
            for each, line in zip(shown, lines, strict=False)
        )

    @property
    def number(self) -> int:
        return self._at


QUESTIONS = ("parse the version", "part", "value", "option", "return", "def", "command line")


@pytest.mark.promise("FRESH-2", "FRESH-3", "FRESH-4")
@pytest.mark.parametrize(
    "package", ["a made-up one", *(pytest.param(each, marks=pytest.mark.deep) for each in PACKAGES)]
)
def test_versions_of_a_package_are_laid_over_one_another_and_each_answer_is_of_one(
    package: str,
    tmp_path: Path,
    processes: Processes,
    monkeypatch: pytest.MonkeyPatch,
    figure: Callable[..., None],
) -> None:
    monkeypatch.setattr(lives, "MAX_BYTES", 1 << 20)
    trees = made_up(8, 1) if package == "a made-up one" else published(package, tmp_path / "pack")
    if package in PACKAGES and len(trees) < MANY:
        pytest.skip("the registry cannot be reached")
    (tmp_path / "beginning").mkdir()
    processes.make_small()
    is_over = SYSTEM.event("over")

    def read(name: str) -> int:
        count = 0
        random = Random(name)
        with DaemonClient(life.project, start=False) as daemon:
            while not is_over.is_set():
                mode = random.choice(("hybrid", "fts", "semantic"))
                laid.note(daemon.query(random.choice(QUESTIONS), mode=mode, limit=50))
                count += 1
                is_over.wait(0.01)
        return count

    with Life(tmp_path, tmp_path / "beginning", has_git=False) as life:
        laid = Trees(life.root, trees)
        laid.lay_next()
        with small_segments():
            life.run()
        with serving(life.project):
            readers = [Begun(partial(read, name)) for name in CLIENTS]
            try:
                with DaemonClient(life.project, start=False) as daemon:
                    for number in range(1, len(trees)):
                        laid.lay_next()
                        if number % 3 or number + 1 == len(trees):
                            answer = daemon.query("return", fresh=True, limit=100)
                            assert answer.fresh, answer.fresh_problem
                            assert not any(hit.stale for hit in answer)
                            laid.note(answer)
                            laid.settled.setdefault(answer.generation, laid.number)
            finally:
                is_over.set()
                answers = sum(reader() for reader in readers)
        moving = laid.judge()
        life.check()
        life.compact()
    figure("FRESH-4", f"versions laid over one another, {package}", len(trees))
    figure("FRESH-3", f"answers judged, {package}", answers)
    figure("FRESH-3", f"generations of a tree in motion, {package}", moving)


# The first answer.


@pytest.mark.promise("FRESH-1")
def test_the_first_answer_of_a_daemon_shows_what_has_changed_or_says_that_it_does_not_know(
    life: Life, figure: Callable[..., None]
) -> None:
    word = word_of("z", 1)
    write(life.root, "rock/new.py", text_of(word, 1))
    history = History({**BEGINNING, "rock/new.py": text_of(word, 1)})
    with serving(life.project), DaemonClient(life.project, start=False) as daemon:
        asked = ask(daemon, word, mode="fts")
        history.judge(asked)
        if asked.answer.pending == 0:
            assert [hit.path for hit in asked.answer] == ["rock/new.py"]
        else:
            assert asked.answer.pending is None, "nothing has looked yet: a number is a guess"
        for _ in patience():
            if [hit.path for hit in daemon.query(word, mode="fts")] == ["rock/new.py"]:
                break
        else:
            raise AssertionError("it is never shown")
    figure("FRESH-1", "first answer of a daemon", asked.answered_s - asked.asked_s, "s")


@pytest.mark.promise("FRESH-1")
def test_the_first_answer_of_a_daemon_waits_for_no_run_that_takes_long(life: Life) -> None:
    word = word_of("z", 1)
    write(life.root, "rock/new.py", text_of(word, 1))
    with ExitStack() as stack:
        held = stack.enter_context(ExitStack())
        held.enter_context(Generations(life.project.generations).writing())
        stack.enter_context(serving(life.project))
        daemon = stack.enter_context(DaemonClient(life.project, start=False))
        # It is there at all, while the run waits for its turn, which lasts until the end.
        answer = daemon.query(word, mode="fts")
        assert (list(answer), answer.pending) == ([], None)
        held.close()
        for _ in patience():
            if [hit.path for hit in daemon.query(word, mode="fts")] == ["rock/new.py"]:
                break
        else:
            raise AssertionError("it is never shown")


# What a publish loads.


@pytest.mark.promise("PERF-6")
def test_a_publish_loads_nothing_that_is_in_memory_and_nothing_that_is_large(
    life: Life, figure: Callable[..., None]
) -> None:
    """hnswlib holds the interpreter while it loads: for so long nobody is answered."""
    random = Random(1)
    source = GenerationSource(life.project.generations, HashingEmbedder())
    loaded: list[tuple[str, int]] = []
    load_segment = snapshot.load_segment

    def load(files: Any, manifest: Any, name: str, dim: int | None) -> Segment:
        segment = load_segment(files, manifest, name, dim)
        loaded.append((name, len(segment.store)))
        return segment

    in_memory: list[IndexSnapshot] = []

    def publish(generation: str) -> None:
        before = {name for each in in_memory for name in each.manifest["segments"]}
        with patch.object(snapshot, "load_segment", load):
            in_memory.append(source.load(generation))
        again = {name for name, _ in loaded} & before
        assert not again, "what is in memory is loaded again"
        large = [each for each in loaded if each[1] > plan.MAX_CHUNKS]
        assert not large, "more than the interpreter may be held for"
        sizes.append(sum(chunks for _, chunks in loaded))
        loaded.clear()
        for each in in_memory[:-1]:
            each.close()
        del in_memory[:-1]

    sizes: list[int] = []
    try:
        with small_segments():
            publish(source.current())
            sizes.clear()
            for _ in range(15):
                for path in random.sample(PATHS, random.randint(1, 4)):
                    Write(path, random.randrange(40), random.randrange(1, 4))(life.root)
                life.run(announce=publish)
            life.check()
            assert len(sizes) > 20, "there were merges"
    finally:
        for each in in_memory:
            each.close()
    figure("PERF-6", "publishes", len(sizes))
    figure("PERF-6", "chunks loaded for one of them, at most", max(sizes))
