"""Readers, and a writer who never rests."""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar

from cidx_ref.testing.load import Question, Scenario, Session, task

#: Stands in two files, with the number of the edition, always the same in both.
MARK = "zanzibar_edition"
FILES = ("edition_a.py", "edition_b.py")
QUESTION = Question(MARK, FILES[0])


def edition_in(answer: dict[str, Any]) -> int:
    """The edition that an answer to `QUESTION` is from; 0: from before the first.

    Raises `ValueError` if it is of two halves.
    """
    found = {
        hit["path"]: int(number[1])
        for hit in answer["results"]
        if hit["path"] in FILES and (number := re.search(rf"{MARK}_\w = (\d+)", hit["snippet"]))
    }
    if not found:
        return 0
    if len(found) != len(FILES) or len(set(found.values())) != 1:
        raise ValueError(f"half an index: {found}")
    return next(iter(found.values()))


class ReadersAndWriter(Scenario):
    """Users who search while the index is rebuilt all the time, each time from changed files.

    Shows that queries neither wait for a running index nor see half of it, that an answer is from
    the generation it claims, and that once `index` has returned the next answer is from the new
    one.  "(index)" is how long an index run took.  A daemon that was there before the session is
    told to index anew, and its files are left as they are.

    Objectives: full text p95 < 100 ms while indexing, at least 2 index runs, and no wrong answer.
    """

    slos = ("query_fts:p95<100", "(index):count>=2")
    tasks: ClassVar[dict[Any, int]] = {Scenario.search: 3}
    #: The edition of each generation, as this process has seen it.
    seen: ClassVar[dict[str, int]] = {}

    @task(2)
    def look_for_the_edition(self) -> None:
        self.ask("query_fts", QUESTION, catch=self._complaint)

    def _complaint(self, answer: dict[str, Any]) -> str | None:
        try:
            edition = edition_in(answer)
        except ValueError as error:
            return str(error)
        generation = str(answer.get("generation", ""))
        self.session.samples.facts.add(("edition", generation, str(edition)))
        if self.seen.setdefault(generation, edition) != edition:
            return f"generation {generation} has editions {self.seen[generation]} and {edition}"
        return None

    @classmethod
    def disturb(cls, session: Session) -> None:
        cls.seen.clear()
        number = 0
        while True:
            number += 1
            if session.owns_daemon:
                for name in FILES:
                    path = session.project / name
                    path.write_text(f"{MARK}_{name[8]} = {number}\n", "utf-8")
            started = time.perf_counter()
            options = {} if session.owns_daemon else {"full": True}
            built = session.ask("index", 120.0, project_path=str(session.project), **options)
            took_ms = (time.perf_counter() - started) * 1000
            complaint = cls._after(session, number, str(built["generation"]))
            session.figure("(index)", took_ms, complaint)

    @classmethod
    def _after(cls, session: Session, number: int, generation: str) -> str:
        root = str(session.project)
        answer = session.ask("query_fts", project_path=root, query=MARK, limit=5)
        if str(answer["generation"]) != generation:
            return f"indexed {generation}, and then answered from {answer['generation']}"
        edition = edition_in(answer)
        session.samples.facts.add(("edition", generation, str(edition)))
        if session.owns_daemon and edition != number:
            return f"indexed edition {number}, and then answered with {edition}"
        return ""

    @classmethod
    def settle(cls, session: Session) -> None:
        editions: dict[str, set[str]] = {}
        for generation, edition in session.samples.told("edition"):
            editions.setdefault(generation, set()).add(edition)
        for generation, several in editions.items():
            if len(several) > 1:
                failure = f"generation {generation} was seen with editions {sorted(several)}"
                session.figure("(generations)", 0.0, failure)
