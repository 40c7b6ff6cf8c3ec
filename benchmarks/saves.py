"""Somebody saves files while a daemon serves them: what is saved, and when it can be found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import perf_counter

import psutil

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import end_daemon

__all__ = ["Editor", "in_use", "saving", "seen_after", "settle"]

_MARK = "\n# edited\n"
_POLL_S = 0.02
_PATIENCE_S = 600.0


class Editor:
    """Saves files of one project, each time with a word that was nowhere before."""

    def __init__(self, project: Project, seed: int = 0) -> None:
        self.root = project.root
        self._random = Random(seed)
        self.files = sorted(
            path for path in self.root.rglob("*.py") if 500 < path.stat().st_size < 60_000
        )

    def word(self) -> str:
        return "q" + "".join(self._random.choices("bcdfghjklmnpqrstvwxz", k=14))

    def save(self, path: Path | None = None) -> str:
        """Save a file, any if none is named; the word that is new in it."""
        path = path or self._random.choice(self.files)
        before = path.read_bytes().partition(_MARK.encode())[0]
        word = self.word()
        path.write_bytes(before + f"{_MARK}def {word}():\n    return 1\n".encode())
        return word

    def save_share(self, share: float) -> int:
        """Save so much of all files; how many that is."""
        chosen = self._random.sample(self.files, round(share * len(self.files)))
        for path in chosen:
            self.save(path)
        return len(chosen)


@contextmanager
def in_use(project: Project, *, watch: bool = True) -> Iterator[DaemonClient]:
    """A client of a daemon that has the project's index in memory, and watches the project."""
    project.config_path.write_text(json.dumps({"daemon": {"watch": watch}}))
    try:
        with DaemonClient(project) as client:
            client.query("warm up")
            settle(client)
            yield client
    finally:
        end_daemon(project)


def settle(client: DaemonClient) -> None:
    """Return when the daemon knows of no change that its index has not, and no index run or merge
    is under way."""
    daemon = psutil.Process(client.ping()["pid"])
    until = perf_counter() + _PATIENCE_S
    calm = 0
    while calm < 2:  # a merge begins a moment after the run that it follows
        assert perf_counter() < until, f"no rest after {_PATIENCE_S} s: {client.status()}"
        watch = client.status()["watch"]
        assert watch is not None
        is_told = watch["pending"] == 0 or watch["mode"] == "off"
        is_calm = is_told and not daemon.children()
        calm = calm + 1 if is_calm else 0
        SYSTEM.sleep(_POLL_S)


def seen_after(client: DaemonClient, word: str) -> float:
    """When a query finds the word that was just saved, in seconds from now, asked 50 times a
    second."""
    began = perf_counter()
    while not any(word in hit.snippet for hit in client.query(word, mode="fts", limit=3)):
        assert perf_counter() - began < _PATIENCE_S, f"{word} is not found"
        SYSTEM.sleep(_POLL_S)
    return perf_counter() - began


@contextmanager
def saving(editor: Editor, pause_s: float) -> Iterator[None]:
    """A file is saved every so often for as long as the block runs."""
    done = SYSTEM.event("done saving")

    def save() -> None:
        while not done.wait(pause_s):
            editor.save()

    thread = SYSTEM.thread(save, "saving")
    try:
        yield
    finally:
        done.set()
        thread.join(30)
