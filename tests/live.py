"""Real daemons under savers and killers: what `test_always_fresh` is told in.

A `History` knows what each file held, and when; so it can tell of any answer whether it shows what
its generation can hold.  A `Saver` saves files as editors do, each save with a word of its own.
`Processes` knows which processes a daemon starts, so that they can be killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from saver import carry_out

from cidx_ref.client import DaemonClient
from cidx_ref.interpreter import python_command
from cidx_ref.launcher import Command, start_process
from cidx_ref.project import Project
from cidx_ref.results import Answer, Hit
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import end_daemon

__all__ = [
    "TIMEOUT_S", "Asked", "Begun", "History", "Processes", "Save", "Saver", "ask", "beginning",
    "few_watches", "has_ended", "has_namespaces", "kill", "number_of", "patience", "serving",
    "text_of", "word_of",
]  # fmt: skip

TESTS = Path(__file__).parent
TIMEOUT_S = 150.0  # between two scans there may be 60
FEW = 4  # watches


# What files have held.


@dataclass
class Version:
    """What a file held from some time on; None: there was no file."""

    text: str | None
    began_s: float
    #: When the save was over; it is under way until then.
    ended_s: float = float("inf")


@dataclass(frozen=True)
class Asked:
    """An answer, and when it was asked for and was there."""

    answer: Answer
    asked_s: float
    answered_s: float


def ask(daemon: DaemonClient, text: str, **options: Any) -> Asked:
    asked_s = SYSTEM.monotonic()
    answer = daemon.query(text, **options)
    return Asked(answer, asked_s, SYSTEM.monotonic())


def number_of(generation: str) -> int:
    return int(generation.partition("-")[0])


class History:
    """What each file has held.  Thread-safe."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._lock = SYSTEM.lock("history")
        self._versions: dict[str, list[Version]] = defaultdict(list)
        #: By generation and path: which versions can be what it holds, by all that it has shown.
        self._held: dict[tuple[str, str], set[int]] = {}
        self.judged = 0
        self.stale = 0
        for path, text in files.items():
            self._versions[path].append(Version(text, 0.0, 0.0))

    @contextmanager
    def saving(self, *changes: Mapping[str, str | None]) -> Iterator[None]:
        """What is done in the block: all of `changes`, one after the other."""
        new = []
        with self._lock:
            for change in changes:
                for path, text in change.items():
                    new.append(Version(text, SYSTEM.monotonic()))
                    self._versions[path].append(new[-1])
        yield
        with self._lock:
            for version in new:
                version.ended_s = SYSTEM.monotonic()

    def judge(self, asked: Asked, *, fresh: str = "") -> None:
        """Raises `AssertionError` where an answer shows what its generation does not hold, or does
        not say what has changed.  `fresh`: in what begins so it must show what is there now."""
        with self._lock:
            for hit in asked.answer:
                self.judged += 1
                self.stale += hit.stale
                shown = self._shown(asked.answer.generation, hit)
                self._judge_stale(hit, shown, asked)
                if fresh and hit.path.startswith(fresh):
                    versions = self._versions[hit.path]
                    assert len(versions) - 1 in shown, f"from before the call: {hit}\n{versions}"
                    assert not hit.stale, hit

    def _shown(self, generation: str, hit: Hit) -> set[int]:
        """The numbers of the versions that `hit` can be of."""
        versions = self._versions[hit.path]
        lines = hit.snippet.split("\n")
        at = hit.snippet_start - 1
        found = {
            number
            for number, version in enumerate(versions)
            if version.text is not None and version.text.split("\n")[at : at + len(lines)] == lines
        }
        assert found, f"it has never held this: {hit}\n{versions}"
        key = generation, hit.path
        both = self._held.get(key, found) & found
        assert both, f"{generation} holds two states of {hit.path}: {hit}"
        self._held[key] = both
        return both

    def _judge_stale(self, hit: Hit, shown: set[int], asked: Asked) -> None:
        versions = self._versions[hit.path]
        after = [versions[each + 1] for each in shown if each + 1 < len(versions)]
        if hit.stale:
            assert any(each.began_s <= asked.answered_s for each in after), f"is not stale: {hit}"
        elif len(after) == len(shown):
            assert any(each.ended_s >= asked.asked_s for each in after), f"is stale: {hit}"

    def check_order(self) -> None:
        """No later generation holds an earlier state of a file."""
        by_path: dict[str, list[tuple[int, set[int]]]] = defaultdict(list)
        for (generation, path), numbers in self._held.items():
            by_path[path].append((number_of(generation), numbers))
        for path, states in by_path.items():
            least = 0
            for at, numbers in sorted(states, key=lambda each: each[0]):
                possible = [each for each in numbers if each >= least]
                assert possible, f"{at} goes back in time: {path}"
                least = min(possible)


# Saving.


@dataclass(frozen=True)
class Save:
    """One save: `word` is in `path` now, if that is not empty, and not in any of `gone`."""

    how: str
    word: str
    path: str
    gone: tuple[str, ...] = ()

    def is_shown(self, answer: Answer) -> bool:
        showing = {hit.path for hit in answer if self.word in hit.snippet}
        return showing == ({self.path} if self.path else set())


def word_of(name: str, number: int) -> str:
    """All are of one length, so that none is a part of another."""
    letters, word = "bdfgkmnprtvz", ""
    for _ in range(4):
        number, digit = divmod(number, len(letters))
        word += letters[digit] + "o"
    return f"q{name}{word}x"


def text_of(word: str, lines: int) -> str:
    filler = "".join(f"    wombat = {word!r}  # {n}\n" for n in range(lines))
    return f'def {word}():\n    """quokka {word}"""\n{filler}    return {lines}\n'


def beginning(name: str) -> dict[str, tuple[str, str]]:
    """What a saver finds in its folder: by path, the word and the text of each file."""
    words = [word_of(name, 20_000 - number) for number in range(6)]
    return {f"{name}/old{n}.py": (word, text_of(word, n)) for n, word in enumerate(words)}


WAYS = ("in place", "over", "append", "create", "in a new folder", "move", "delete")


class Saver:
    """Saves files in a folder of its own, all in one process, this one or another.  A context
    manager."""

    def __init__(self, root: Path, name: str, history: History, seed: int, *, apart: bool) -> None:
        self.folder = f"{name}/"
        self._root = root
        self._name = name
        self._history = history
        self._random = Random(f"{name} {seed}")
        self._files = beginning(name)
        self._number = 0
        self._process: subprocess.Popen[str] | None = None
        if apart:
            self._process = subprocess.Popen(
                [sys.executable, "-E", "-s", str(TESTS / "saver.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def save(self) -> Save:
        """Make some save; returns when it has been made."""
        self._number += 1
        ways = WAYS if len(self._files) > 2 else ("create", "in a new folder")
        how = self._random.choice(ways)
        word, text = word_of(self._name, self._number), ""
        if how not in ("move", "delete"):
            text = text_of(word, self._random.randrange(4))
        if how in ("create", "in a new folder"):
            folder = f"in{self._number}/" if how == "in a new folder" else ""
            path = f"{self.folder}{folder}n{self._number}.py"
            return self._do(how, [["write", self._at(path), text]], {path: (word, text)})
        path = self._random.choice(sorted(self._files))
        old, before = self._files[path]
        if how == "append":
            text = before + text
            return self._do(
                how, [["append", self._at(path), text[len(before) :]]], {path: (word, text)}
            )
        if how == "in place":
            return self._do(how, [["write", self._at(path), text]], {path: (word, text)})
        if how == "over":
            beside = f"{self.folder}beside{self._number}.py"
            order = [["write", self._at(beside), text], ["move", self._at(beside), self._at(path)]]
            return self._do(how, order, {path: (word, text)}, beside=beside)
        if how == "move":
            new = f"{self.folder}m{self._number}.py"
            return self._do(
                how, [["move", self._at(path), self._at(new)]], {path: None, new: (old, before)}
            )
        return self._do(how, [["delete", self._at(path)]], {path: None}, word=old)

    def _do(
        self,
        how: str,
        order: list[list[str]],
        changes: dict[str, tuple[str, str] | None],
        *,
        beside: str = "",
        word: str = "",
    ) -> Save:
        texts = {path: None if each is None else each[1] for path, each in changes.items()}
        steps: list[Mapping[str, str | None]] = [texts]
        if beside:
            steps = [{beside: next(iter(texts.values()))}, {beside: None}, texts]
        with self._history.saving(*steps):
            self._carry_out(order)
        path = ""
        for each, now in changes.items():
            if now is None:
                del self._files[each]
            else:
                self._files[each] = now
                path, word = each, now[0]
        return Save(how, word, path)

    def _carry_out(self, order: list[list[str]]) -> None:
        if self._process is None:
            carry_out(order)
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "\n", "the saver has died"

    def _at(self, path: str) -> str:
        return os.fspath(self._root / path)


# Daemons.


def few_watches(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """As `python_command`, where there are no more than a few inotify watches."""
    command, environment = python_command(module, *arguments)
    lower = f'echo {FEW} > /proc/sys/user/max_inotify_watches && exec "$@"'
    return ["unshare", "-Ur", "sh", "-c", lower, "sh", *command], environment


def has_namespaces() -> bool:
    """Whether `few_watches` works here."""
    with suppress(OSError):
        command, environment = few_watches("this")
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        return done.returncode == 0
    return False


@contextmanager
def serving(project: Project, command: Command = python_command) -> Iterator[None]:
    """A daemon in a process of its own; it has ended when the block is left."""
    start_process(project, command)
    with DaemonClient(project, start=False) as client:
        fd = os.pidfd_open(int(client.ping()["pid"]))
    try:
        yield
    finally:
        end_daemon(project)
        assert has_ended(fd, TIMEOUT_S), "the daemon does not end"
        os.close(fd)


def has_ended(fd: int, wait_s: float) -> bool:
    """Whether the process of a pidfd ends within that time."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(wait_s * 1000))


class Processes:
    """The processes that daemons start, with `live_plug`, in the directory `home`."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.environment = {
            "LIVE_HOME": str(home),
            "CIDX_REF_EMBEDDER": "live_plug:embedder",
            "PYTHONPATH": os.pathsep.join(
                [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        self._home = home
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(home / "socket"))
        self._listener.listen(4096)
        self._fds: dict[int, int] = {}

    def make_small(self) -> None:
        """Have segments, merges and helping processes come of a few chunks."""
        (self._home / "small").touch()

    def next(self, *roles: str, wait_s: float = TIMEOUT_S) -> tuple[str, int] | None:
        """The next one of these that comes: its role and a pidfd; None if the time is over.

        One that has ended meanwhile is passed over.
        """
        until = SYSTEM.monotonic() + wait_s
        while True:
            self._listener.settimeout(max(0.001, until - SYSTEM.monotonic()))
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                return None
            with sock:
                role, pid = sock.recv(100).decode().split()
            with suppress(ProcessLookupError):
                fd = os.pidfd_open(int(pid))
                self._fds[fd] = int(pid)
                if role in roles:
                    return role, fd

    def forget(self) -> None:
        """Let nobody be next who is here already."""
        while self.next("", wait_s=0.001):
            pass

    def wait_for_all(self) -> None:
        """Until all that have come have ended."""
        self.forget()
        for fd, pid in self._fds.items():
            assert has_ended(fd, TIMEOUT_S), f"process {pid} is left"
            os.close(fd)
        self._fds.clear()

    def close(self) -> None:
        self._listener.close()
        for fd in self._fds:
            os.close(fd)


def kill(fd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, signal.SIGKILL)


# Waiting.


def patience(pause_s: float = 0.01) -> Iterator[float]:
    """How long it has taken so far, again and again, for as long as anything may take."""
    began_s = SYSTEM.monotonic()
    while (passed_s := SYSTEM.monotonic() - began_s) < TIMEOUT_S:
        yield passed_s
        SYSTEM.sleep(pause_s)


class Begun:
    """Work in a thread, which has begun; called, it returns what comes of it, or raises it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = SYSTEM.thread(self._run, "live")

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()

    def __call__(self) -> Any:
        self.wait()
        if self._error is not None:
            raise self._error
        return self._value
