"""Readers, and a writer who never rests."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Answer
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.load import Question, Scenario, Session, task
from cidx_ref.testing.load.editions import Edition, complaint, generation_of


class ReadersAndWriter(Scenario):
    """Users who search while the index is rebuilt all the time, each time from changed files.

    Shows that queries neither wait for a running index nor see half of it, that an answer is from
    the generation it claims, and that once `index` has returned the next answer is from the new
    one.  "(index)" is how long an index run took.  A daemon that was there before the session is
    told to index anew, and its files are left as they are.

    Objectives: full text p95 < 100 ms while indexing, at least 2 index runs, and no wrong answer.
    """

    slos = ("(index):count>=2",)
    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {Cap.SPEED: ("query_fts:p95<100",)}
    needs = frozenset({Cap.INDEX})
    #: So that each run has an edition of its own, and the whole of it.
    config: ClassVar[dict[str, Any]] = {"watch": False}
    tasks: ClassVar[dict[Any, int]] = {Scenario.search: 3}
    #: The edition of each generation, as this process has seen it.
    seen: ClassVar[dict[str, int]] = {}

    @task(2)
    def look_for_the_edition(self) -> None:
        before = Edition.now(self.project) if self.session.owns_daemon else None
        if before is None or not self.place.is_judged_by_content:
            return self.search()
        mode = self.session.mode()

        def catch(answer: Answer) -> str | None:
            after = Edition.now(self.project)
            assert after is not None
            wrong = complaint(answer, before, after, is_exact=mode == "query_fts")
            return wrong or self._mislabelled(answer, before)

        self.ask(mode, Question(corpus.marker(before.indexed), before.paths[0]), catch=catch)
        return None

    def _mislabelled(self, answer: Answer, asked: Edition) -> str | None:
        """Whether its generation is known to be of another edition; also noted: of which it is."""
        generation = generation_of(answer.raw)
        if not generation or not set(answer.paths) & set(asked.paths):
            return None
        self.session.samples.facts.add(("edition", generation, str(asked.indexed)))
        if (edition := self.seen.setdefault(generation, asked.indexed)) != asked.indexed:
            return f"generation {generation} has editions {edition} and {asked.indexed}"
        return None

    @classmethod
    def disturb(cls, session: Session) -> None:
        cls.seen.clear()
        number, last = 1, None
        while True:
            number += 1
            if session.owns_daemon:
                if last is not None:
                    replace(last, written=number).save(session.project)
                session.write(number)
            started = time.perf_counter()
            built = session.ask("index", 120.0, **({} if session.owns_daemon else {"full": True}))
            took_ms = (time.perf_counter() - started) * 1000
            if session.owns_daemon:
                last = Edition(number, tuple(session.having(corpus.marker(number))), number)
                last.save(session.project)
            session.figure("(index)", took_ms, cls._after(session, last, generation_of(built)))

    @classmethod
    def _after(cls, session: Session, edition: Edition | None, generation: str) -> str:
        """What is wrong with the first answer after an index run; empty: nothing."""
        query = corpus.marker(edition.indexed) if edition else session.questions[0].text
        answer = session.query(query, session.mode())
        answered = generation_of(answer.raw)
        if generation and answered and answered != generation:
            return f"indexed {generation}, and then answered from {answered}"
        if edition is None or not session.place.is_judged_by_content:
            return ""
        if answered:
            session.samples.facts.add(("edition", answered, str(edition.indexed)))
        return complaint(answer, edition, edition, is_exact=True) or ""

    @classmethod
    def settle(cls, session: Session) -> None:
        editions: dict[str, set[str]] = {}
        for generation, edition in session.samples.told("edition"):
            editions.setdefault(generation, set()).add(edition)
        for generation, several in editions.items():
            if len(several) > 1:
                failure = f"generation {generation} was seen with editions {sorted(several)}"
                session.figure("(generations)", 0.0, failure)
