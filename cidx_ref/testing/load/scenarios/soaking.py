"""Scenarios that last: half an hour each."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent

from cidx_ref.testing.conformance.asking import Answer
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.load import Question, Scenario, Session, between, task
from cidx_ref.testing.load.started import is_own

#: Files that are written anew before each index run; of five, one is missing in each edition.
FILES = 40
#: Between two index runs, from beginning to beginning.
EVERY_S = 30.0
#: Each so many-th run indexes all anew.
FULL = 10


class Soak(Scenario):
    """Readers for a long time: 30 minutes.

    Shows that resident memory, threads and descriptors stay flat: their slopes over the second
    half for each 1000 calls, as far as they are above 0 by two standard errors.

    Objectives: memory < 50 kB, threads and descriptors < 0.1 for each 1000 calls.
    """

    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {
        Cap.MEMORY: (
            "(memory kB/1000 calls):max<50",
            "(threads/1000 calls):max<0.1",
            "(descriptors/1000 calls):max<0.1",
        ),
        Cap.BY_VALUE: ("*:trips<=1",),
    }
    run_time_s = 1800
    wait_time = between(0.1, 0.4)
    tasks = (Scenario.search,)

    @classmethod
    def settle(cls, session: Session) -> None:
        grown = session.growth()
        for key, row in (
            ("rss_kb", "(memory kB/1000 calls)"),
            ("threads", "(threads/1000 calls)"),
            ("descriptors", "(descriptors/1000 calls)"),
        ):
            if (above := grown.get(key, {}).get("surely_above")) is not None:
                session.figure(row, above)


def place(number: int) -> str:
    return f"tides/tide_{number}.py"


def is_there(number: int, edition: int) -> bool:
    return (number + edition) % 5 != 0


def text_of(number: int, edition: int) -> str:
    """What the file of that number holds: each line says which edition it is of."""
    count = 5 + (number * 7 + edition * 13) % 60
    lines = (
        f"    ebb_{line} = 'tide {number} line {line} edition {edition}'" for line in range(count)
    )
    return "\n".join((f"def tide_{number}_gauge():  # edition {edition}", *lines)) + "\n"


def write(root: Path, edition: int) -> None:
    """Make the tree that of an edition."""
    for number in range(FILES):
        path = root / place(number)
        if is_there(number, edition):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text_of(number, edition), "utf-8")
        else:
            path.unlink(missing_ok=True)


def edition_of(hit: dict[str, Any]) -> int:
    """The edition that a hit in one of these files is of.  Raises `ValueError` if it is of none:
    of several, of a file that was missing, or of lines that it did not have."""
    found = {int(edition) for edition in re.findall(r"edition (\d+)", hit["snippet"])}
    if len(found) != 1:
        raise ValueError(f"{hit['path']} is of editions {sorted(found)}")
    edition, number = found.pop(), int(re.findall(r"\d+", hit["path"])[0])
    if not is_there(number, edition):
        raise ValueError(f"{hit['path']} was missing in edition {edition}")
    lines = text_of(number, edition).splitlines()[hit["line_start"] - 1 : hit["line_end"]]
    if hit["snippet"].rstrip("\n") not in "\n".join(lines):
        raise ValueError(
            f"{hit['path']} did not hold this in edition {edition}: {hit['snippet']!r}"
        )
    return edition


class SoakIndexing(Soak):
    """Readers for half an hour, and an index run each half minute, each tenth from nothing.

    Shows that every hit is what the tree held that its generation was made of, that nothing that
    was there is not found, and that a daemon does not grow with index runs either.  "(index)" is
    how long a run took.

    Objectives: those of `Soak`, at least 2 index runs, and no wrong answer.
    """

    slos = ("(index):count>=2",)
    users = 8
    config: ClassVar[dict[str, Any]] = {
        "watch": False
    }  # so that each run has an edition of its own
    needs_own_daemon = True
    #: Of files that do not change, what they hold.
    texts: ClassVar[dict[str, str]] = {}

    @classmethod
    def also_missing(cls, target: Target) -> str:
        return "" if is_own(target) else "answers that name their generation, as ours do"

    @task
    def look_for_a_tide(self) -> None:
        number = random.randrange(FILES)

        def catch(answer: Answer) -> str | None:
            if place(number) not in answer.paths:
                missing = ("missing", str(answer.raw["generation"]), str(number))
                self.session.samples.facts.add(missing)
            return None

        method = random.choice(("query_fts", "query_hybrid"))
        self.ask(method, Question(f"tide_{number}_gauge", place(number)), catch=catch)

    def ask(self, method: str, question: Question, **options: Any) -> Any:
        catch = options.pop("catch", None) or question.complaint
        return super().ask(
            method,
            question,
            catch=lambda answer: catch(answer) or self._complaint(answer),
            **options,
        )

    def _complaint(self, answer: Answer) -> str | None:
        """What is not from the tree that its generation is of; also noted: which that is."""
        for hit in answer.raw["results"]:
            if not hit["path"].startswith("tides/"):
                if hit["snippet"].rstrip("\n") not in self._text(hit["path"]):
                    return f"{hit['path']} never held this: {hit['snippet']!r}"
                continue
            try:
                edition = edition_of(hit)
            except ValueError as error:
                return str(error)
            noted = ("edition", str(answer.raw["generation"]), str(edition))
            self.session.samples.facts.add(noted)
        return None

    def _text(self, path: str) -> str:
        if path not in self.texts:
            text = (self.project / path).read_text("utf-8", "replace")
            self.texts[path] = "\n".join(text.splitlines())
        return self.texts[path]

    @classmethod
    def disturb(cls, session: Session) -> None:
        cls.texts.clear()
        root, edition = session.project, 0
        every_s = min(EVERY_S, session.run_time_s / 4)
        while True:
            edition += 1
            write(root, edition)
            started = time.perf_counter()
            built = session.ask("index", 120.0, full=edition % FULL == 0)
            took_s = time.perf_counter() - started
            session.samples.facts.add(("edition", str(built["generation"]), str(edition)))
            session.figure("(index)", took_s * 1000)
            gevent.sleep(max(0.0, every_s - took_s))

    @classmethod
    def settle(cls, session: Session) -> None:
        super().settle(session)
        editions: dict[str, set[int]] = {}
        for generation, edition in session.samples.told("edition"):
            editions.setdefault(generation, set()).add(int(edition))
        for generation, several in editions.items():
            if len(several) > 1:
                failure = f"generation {generation} has editions {sorted(several)}"
                session.figure("(generations)", 0.0, failure)
        for generation, number in session.samples.told("missing"):
            of = editions.get(generation, {0})  # before the first run there was none of them
            if of != {0} and is_there(int(number), min(of)):
                failure = f"{place(int(number))} was in edition {min(of)}, and was not found"
                session.figure("(no match)", 0.0, failure)
