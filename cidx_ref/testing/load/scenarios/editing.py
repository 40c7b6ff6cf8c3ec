"""Readers, and somebody who saves files under them while the daemon watches."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent

from cidx_ref.testing.conformance.asking import Answer, Unreadable, dig
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.load import Question, Scenario, Session, task

#: The file with this number has the same name, and the same word, in each save.
FILES = 8
#: Lies beside the project once all of them are indexed, and is empty.
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
    return f"edited_{number % FILES}.py"


def common(path: str) -> str:
    """The word that stands in each save of a file."""
    return word(90_000 + int(re.findall(r"\d+", path)[-1]))


def save(root: Path, number: int) -> None:
    """As an editor does: what is read is the save before, or this one."""
    path = place(number)
    new = root.parent / "being-saved"
    new.write_text(
        f"def {common(path)}():\n    return '{word(number)}'  # save {number}\n", "utf-8"
    )
    new.replace(root / path)


def save_in(text: str) -> int | None:
    """The number of the save that a text is of; None if it does not say."""
    found = re.findall(r"# save (\d+)", text)
    return int(found[0]) if found else None


def held(root: Path, path: str) -> int:
    """The save that a file holds."""
    number = save_in((root / path).read_text("utf-8"))
    assert number is not None
    return number


def complaint(
    answer: Answer, path: str, before: int, after: int, *, stale: str, is_fresh: bool
) -> str | None:
    """What is wrong with an answer to a query for the word of `path`, which held the save `before`
    when it was asked, and `after` when it had its answer; None: nothing.  `stale`: where a hit
    says that its file no longer holds it (`Target.stale`); `is_fresh`: it was asked to be fresh."""
    hits = [hit for hit in answer.hits if hit.path == path]
    if not hits:
        return f"{path} is not found"
    for hit in hits:
        found = save_in(hit.text)
        if found is None:  # the daemon shows another line, or none
            continue
        if found > after:
            return f"{path}: save {found} is found, and it is {after} that was saved"
        is_stale = _says(hit.raw, stale)
        if is_stale and found == before == after:
            return f"{path}: save {found} is called stale, and it is what the file holds"
        if found < before and stale and not is_stale:
            return f"{path}: save {found} is not called stale, though {before} was saved"
        if found < before and is_fresh:
            return f"{path}: save {found} is called fresh, though {before} was saved"
    return None


def _says(raw: Any, path: str) -> bool:
    try:
        return bool(path and dig(raw, path))
    except Unreadable:  # what is not said is not so
        return False


class Edits(Scenario):
    """Users who search while files are saved, three a second at most, each save with a word of its
    own, and nobody has anything indexed: the daemon watches.

    Shows that a save is found soon, that readers do not wait for the index runs which that takes,
    and that no hit is passed off for what its file holds.  "(save to visible)" is how long it took
    from a save until a query found it; "fresh" are queries that want an index with every change
    made before them, and wait for it.

    Objectives: save to visible p95 <= 1500 ms, full text p95 < 100 ms, and no wrong answer.
    """

    slos = ("(save to visible):p95<=1500", "(save to visible):count>=5")
    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {Cap.SPEED: ("query_fts:p95<100",)}
    needs = frozenset({Cap.WATCH})
    values: ClassVar[dict[str, Any]] = {"watch": True}
    needs_own_daemon = True
    tasks: ClassVar[dict[Any, int]] = {Scenario.search: 6}

    @classmethod
    def also_missing(cls, target: Target) -> str:
        return "" if target.corpus is None else "the kit's own files (no Target.corpus)"

    @task(3)
    def look_for_an_edited_file(self) -> None:
        self._look(fresh=False)

    @task(1)
    def look_for_it_fresh(self) -> None:
        # Not each of them, or there would be nothing but index runs.
        if random.random() < 0.2 and self.session.target.offers(Cap.FRESH):
            self._look(fresh=True)
        else:
            self.search()

    def _look(self, *, fresh: bool) -> None:
        path, root = place(random.randrange(FILES)), self.project
        if not (root.parent / READY).exists():  # the first saves are not indexed yet
            return self.search()
        before = held(root, path)

        def catch(answer: Answer) -> str | None:
            return complaint(
                answer,
                path,
                before,
                held(root, path),
                stale=self.session.target.stale,
                is_fresh=fresh or bool(_says(answer.raw, "fresh")),
            )

        mode = self.session.mode()
        name = f"{mode} fresh" if fresh else ""
        self.ask(mode, Question(common(path), path), catch=catch, name=name, fresh=fresh)
        return None

    @classmethod
    def disturb(cls, session: Session) -> None:
        root = session.project
        for number in range(FILES):
            save(root, number)
        for number in range(FILES):
            if failure := cls._wait_for(session, number, time.perf_counter() + TIMEOUT_S):
                session.figure("(save to visible)", 0.0, failure)
        (root.parent / READY).touch()
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
        path, mode = place(number), session.mode()
        while time.perf_counter() < until:
            answer = session.query(word(number), mode)
            # The text may be of another line, which says nothing.
            found = {save_in(hit.text) for hit in answer.hits if hit.path == path}
            if found & {None, number}:
                return ""
            gevent.sleep(_LOOK_S)
        return f"save {number} of {path} is not found after {TIMEOUT_S:g} s"
