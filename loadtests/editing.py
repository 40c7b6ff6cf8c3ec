"""Readers, and somebody who saves files under them while the daemon watches."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent

from cidx_ref.testing.load import Question, Scenario, Session, task

#: The file with this number has the same name, and the same word, in each save.
FILES = 8
#: Lies beside them once all of them are indexed, and is empty.
READY = "ready"
#: Between a save and the next one, at least.
PAUSE_S = 0.3
#: After so long, a save that no query finds has failed.
TIMEOUT_S = 10.0
#: Between two looks.
_LOOK_S = 0.02

_LETTERS = "bdfgkmnprt"


def word(number: int) -> str:
    """One term, which nothing else has."""
    return "zanzi" + "".join(_LETTERS[int(digit)] for digit in f"{number:05}")


def place(number: int) -> str:
    """The file that this save is of."""
    return f"edits/edited_{number % FILES}.py"


def common(path: str) -> str:
    """The word that stands in each save of a file."""
    return word(90_000 + int(re.findall(r"\d+", path)[0]))


def save(root: Path, number: int) -> None:
    """As an editor does: what is read is the save before, or this one."""
    path = place(number)
    new = root.parent / "being-saved"
    new.write_text(
        f"def {common(path)}():\n    return '{word(number)}'  # save {number}\n", "utf-8"
    )
    new.replace(root / path)


def save_in(text: str) -> int:
    """The number of the save that a text is of."""
    return int(re.findall(r"# save (\d+)", text)[0])


def complaint(answer: dict[str, Any], path: str, before: int, after: int) -> str | None:
    """What is wrong with an answer to a query for the word of `path`, which held the save `before`
    when it was asked, and `after` when it had its answer; None: nothing."""
    hits = [hit for hit in answer["results"] if hit["path"] == path]
    if not hits:
        return f"{path} is not found"
    for hit in hits:
        found = save_in(hit["snippet"])
        if found > after:
            return f"{path}: save {found} is found, and it is {after} that was saved"
        if hit.get("stale"):
            if found == before == after:
                return f"{path}: save {found} is called stale, and it is what the file holds"
        elif found < before:
            return f"{path}: save {found} is not called stale, though {before} was saved"
        if answer.get("fresh") and found < before:
            return f"{path}: save {found} is called fresh, though {before} was saved"
    return None


class Edits(Scenario):
    """Users who search while files are saved, three a second at most, each save with a word of its
    own, and nobody has anything indexed: the daemon watches.

    Shows that a save is found soon, that readers do not wait for the index runs which that takes,
    and that no hit is passed off for what its file holds.  "(save to visible)" is how long it took
    from a save until a query found it; "fresh" are queries that want an index with every change
    made before them, and wait for it.

    Objectives: save to visible p95 <= 1500 ms, full text p95 < 100 ms, and no wrong answer.
    """

    slos = (
        "(save to visible):p95<=1500",
        "(save to visible):count>=5",
        "query_fts:p95<100",
    )
    needs_own_daemon = True
    tasks: ClassVar[dict[Any, int]] = {Scenario.search: 6}

    @task(3)
    def look_for_an_edited_file(self) -> None:
        self._look(fresh=False)

    @task(1)
    def look_for_it_fresh(self) -> None:
        # Not each of them, or there would be nothing but index runs.
        if random.random() < 0.2:
            self._look(fresh=True)
        else:
            self.search()

    def _look(self, *, fresh: bool) -> None:
        path = place(random.randrange(FILES))
        if not (self.project / "edits" / READY).exists():  # the first saves are not indexed yet
            return self.search()
        before = save_in((self.project / path).read_text("utf-8"))

        def catch(answer: dict[str, Any]) -> str | None:
            after = save_in((self.project / path).read_text("utf-8"))
            return complaint(answer, path, before, after)

        options: dict[str, Any] = {"fresh": True} if fresh else {}
        name = "query_fts fresh" if fresh else ""
        self.ask("query_fts", Question(common(path), path), catch=catch, name=name, **options)
        return None

    @classmethod
    def disturb(cls, session: Session) -> None:
        root = session.project
        (root / "edits").mkdir()
        for number in range(FILES):
            save(root, number)
        session.ask("index", 120.0, project_path=str(root))
        (root / "edits" / READY).touch()
        while True:
            number += 1
            saved = time.perf_counter()
            save(root, number)
            failure = cls._wait_for(session, number, saved + TIMEOUT_S)
            took_s = time.perf_counter() - saved
            session.figure("(save to visible)", took_s * 1000, failure)
            gevent.sleep(max(0.0, PAUSE_S - took_s))

    @classmethod
    def _wait_for(cls, session: Session, number: int, until: float) -> str:
        """Ask until the save is found; why it is not."""
        root = str(session.project)
        while time.perf_counter() < until:
            answer = session.ask("query_fts", project_path=root, query=word(number), limit=5)
            if any(word(number) in hit["snippet"] for hit in answer["results"]):
                return ""
            gevent.sleep(_LOOK_S)
        return f"save {number} of {place(number)} is not found after {TIMEOUT_S:g} s"
