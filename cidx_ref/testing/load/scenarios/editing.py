"""Readers, and somebody who saves files under them while the daemon watches."""

from __future__ import annotations

import random
import time
from typing import Any, ClassVar

import gevent

from cidx_ref.testing.conformance.asking import Answer
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.load import Question, Scenario, Session, task
from cidx_ref.testing.load.saves import (
    FILES,
    common,
    complaint,
    held,
    place,
    save,
    save_in,
    says,
    word,
)

#: Lies beside the project once all of them are indexed, and is empty.
READY = "ready"
#: Between a save and the next one, at least.
PAUSE_S = 0.3
#: After so long, a save that no query finds has failed.
TIMEOUT_S = 10.0
#: Between two looks.
_LOOK_S = 0.02


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
    patience_s = 10.0  # who wants it fresh waits for an index run
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
                is_fresh=fresh or bool(says(answer.raw, "fresh")),
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
