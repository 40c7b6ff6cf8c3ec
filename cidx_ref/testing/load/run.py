"""One run of one scenario, from having a daemon to the verdict.

The leading process (the master, or the only one) starts the daemon or attaches to one, disturbs it,
and judges.  Workers are told by it what is asked of whom, and hand over what they measured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import psutil
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.load import place, report, slo, started
from cidx_ref.testing.load.corpus import Question, derive_questions, read_questions
from cidx_ref.testing.load.kept import KeptDaemon
from cidx_ref.testing.load.monitor import Reading
from cidx_ref.testing.load.scenario import Scenario
from cidx_ref.testing.load.session import Session

__all__ = ["FAILED", "UNABLE", "NotOfferedError", "Run"]

_log = logging.getLogger(__name__)

#: The exit status of a session that missed an objective.
FAILED = 3
#: That of one that could not be run.
UNABLE = 2
_LAG_EVERY_S = 0.05
_READ_EVERY_S = 0.5
#: How soon it is seen that the daemon has gone.
_LOOK_S = 0.05
#: Above these, what is measured is locust's own speed: of a processor, and milliseconds at p95.
_CPU_SHARE = 0.85
_LAG_MS = 20.0
LAG = "(locust lag)"


class NotOfferedError(ValueError):
    """The scenario needs what the daemon does not have."""


class Run(Session):
    """A session, and what makes it one: its beginning, what watches and disturbs it, its end."""

    def __init__(self, environment: Environment, scenario: type[Scenario]) -> None:
        super().__init__(environment)
        self.scenario = scenario
        self.is_worker = isinstance(environment.runner, WorkerRunner)
        self.objectives = self._objectives(None)
        self.verdicts: list[slo.Verdict] = []
        #: Share of a processor, by process.
        self.cpu: dict[str, float] = {}
        #: Why it was not run, if the daemon does not have what the scenario needs.
        self.not_offered = ""
        self._is_unwanted = False
        self._kept: KeptDaemon | None = None
        self._greenlets: list[gevent.Greenlet] = []
        self._cpu_started = 0.0

    def begin(self, host: str | None) -> None:
        """Have a daemon, watch and disturb it: the one at `host`, or without it one of its own.

        Raises `RuntimeError`, `ValueError`, `OSError`.
        """
        Scenario.session = self
        if self.is_worker:
            self._take_brief(self.options.brief)
        else:
            self._have_daemon(host)
        self.environment.host = self.host
        self.objectives = self._objectives(self.target)
        if not self.is_worker:
            self._choose_questions()
            self.options.brief = self._brief()
            self.sockets_before = self.sockets()
        if self._is_unwanted:
            raise RuntimeError("it was stopped while it began")
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        self._spawn(self._watch_lag)
        if not self.is_worker:
            self._spawn(self._watch_daemon)
            if self.scenario.ends_daemon and not self.is_own:
                self._spawn(self._start_again)
            self._spawn(self._disturb)

    def _objectives(self, target: Target | None) -> list[slo.Slo]:
        own = slo.parse_all(self.scenario.objectives(target))
        return slo.effective(slo.BASE, own, slo.asked_for(self.options.slo or ()))

    def give_up_beginning(self) -> None:
        """Have `begin` raise as soon as it can."""
        self._is_unwanted = True

    def stop_disturbing(self) -> None:
        """Called before the users leave."""
        self._elapsed_s = self.elapsed_s
        gevent.killall(self._greenlets)  # what is seen when the users leave is not their doing

    def end(self) -> None:
        """Judge, report, and leave nothing behind; once."""
        if self.is_over:
            return
        self.is_over = True
        self.stop_disturbing()
        if self.is_worker:
            return
        self.note_cpu("leader" if isinstance(self.environment.runner, MasterRunner) else "locust")
        try:
            if self._started is not None:
                self.scenario.settle(self)
        except Exception as error:
            self.figure("(settling)", 0.0, f"{type(error).__name__}: {error}")
        finally:
            if self._kept is not None:
                self._kept.end()
        self._report()

    def note_cpu(self, who: str) -> None:
        """How much of a processor this process used since the session began."""
        if self._started is not None:
            wall_s = max(time.perf_counter() - self._started, 1e-9)
            self.cpu[who] = round((time.process_time() - self._cpu_started) / wall_s, 3)

    def judge(self) -> list[slo.Verdict]:
        """By what was measured so far."""
        return [each.judge(self.samples, self.elapsed_s) for each in self.objectives]

    def summary(self) -> dict[str, Any]:
        """All that was found, as plain data."""
        return report.summary(
            self.scenario, self.samples, self.verdicts, self.elapsed_s,
            cpu=self.cpu, warnings=self.warnings(), growth=self.growth(),
        )  # fmt: skip

    def warnings(self) -> list[str]:
        """Why the figures may be locust's own, and not the daemon's."""
        found = [
            f"locust is the bottleneck: {who} used {share:.0%} of a processor"
            for who, share in self.cpu.items()
            if share > _CPU_SHARE
        ]
        lag = self.samples.rows.get(LAG)
        if lag is not None and (p95 := lag.statistic("p95", 1.0)) > _LAG_MS:
            found.append(f"locust is late itself: its loop by {p95:.0f} ms at p95")
        return found

    def _have_daemon(self, host: str | None) -> None:
        plan = started.planned(self.options, self.scenario, host)
        self._require(plan.target)
        if plan.keeper:
            self._kept = KeptDaemon(plan.keeper, plan.given)
            self.owns_daemon = True
        self._take_place(plan.reached(self._kept), plan.make_client)
        self._require(self.target)  # of which is known by now what it has

    def _require(self, target: Target) -> None:
        if missing := self.scenario.missing(target):
            raise NotOfferedError(f"{self.scenario.__name__}: not offered: {missing}")

    def _take_place(self, where: place.Place, make_client: Any) -> None:
        self._place = where
        if make_client is not None:
            self.is_own, self._make_client = True, make_client

    # Locust sends its options to the workers when users are to come.

    def _brief(self) -> dict[str, Any]:
        """What workers cannot know."""
        return {
            "scenario": self.scenario.__name__,
            "owns_daemon": self.owns_daemon,
            "host": self.host,
            "root": str(self.project),
            "caps": sorted(cap.name for cap in Cap if self.target.offers(cap)),
            "questions": [[each.text, each.path, each.methods] for each in self.questions],
        }

    def _take_brief(self, brief: Mapping[str, Any]) -> None:
        self.owns_daemon = brief["owns_daemon"]
        plan = started.planned(self.options, self.scenario, None, brief)
        self._take_place(plan.as_told(brief), plan.make_client)
        questions = brief["questions"]
        self._ask(Question(text, path, tuple(methods)) for text, path, methods in questions)

    def _ask(self, questions: Iterable[Question]) -> None:
        self.questions = tuple(questions)
        answering = {method for question in self.questions for method in question.methods}
        self.methods = tuple(method for method in self.place.modes if method in answering)

    def _choose_questions(self) -> None:
        """Have them; and the index loaded, unless the scenario wants it cold."""
        if self.options.questions:
            self._ask(read_questions(Path(self.options.questions)))
        elif known := started.questions(self.options, self.target, is_own=self.is_own):
            self._ask(known)
        else:
            self._ask(self._derived_questions())
        if self.scenario.warms_up:
            for method in self.methods:
                self._finds(method, self.questions[0])

    def _derived_questions(self) -> list[Question]:
        """Each for full text, and for the other methods where they answer it now: so it is known
        that they can."""
        derived = derive_questions(self.project)
        if not derived:
            raise ValueError("no questions could be made of the project: give --questions FILE")
        # Full text finds them, or else it is not what it says.
        taken = [method for method in self.place.modes if method == "query_fts"]
        others = [method for method in self.place.modes if method not in taken]
        found = []
        for question in derived:
            able = [method for method in others if self._finds(method, question)]
            found.append(replace(question, methods=(*taken, *able)))
        for method in others:
            if not any(method in question.methods for question in found):
                _log.warning("%s finds none of the project's names: give --questions FILE", method)
        if not any(question.methods for question in found):
            raise ValueError("no mode finds the project's names: give --questions FILE")
        return found

    def _finds(self, method: str, question: Question) -> bool:
        try:
            answer = self.query(question.text, method, self.scenario.limit)
            return question.complaint(answer) is None
        except Exception:
            return False  # users who ask it will report it

    def _spawn(self, watch: Any) -> None:
        self._greenlets.append(gevent.spawn(watch))

    def _start_again(self) -> None:
        """Where the scenario has ended the daemon: the next one, as soon as it can be."""
        while True:
            if not self.pid() and self._kept is not None:
                try:
                    self._kept.start_again()
                except RuntimeError as error:
                    self.figure("(starting again)", 0.0, str(error))
            gevent.sleep(_LOOK_S)

    def _disturb(self) -> None:
        try:
            self.scenario.disturb(self)
        except Exception as error:
            _log.exception("the disturbance failed")
            self.figure("(disturbance)", 0.0, f"{type(error).__name__}: {error}")

    def _watch_lag(self) -> None:
        """How late the loop is to wake who wants to be woken: what waits in it waits so long."""
        while True:
            due = time.perf_counter() + _LAG_EVERY_S
            gevent.sleep(_LAG_EVERY_S)
            self.samples.add(LAG, (time.perf_counter() - due) * 1000)

    def _watch_daemon(self) -> None:
        pid = 0
        while True:
            try:
                pid = pid or self.pid()
                if pid:
                    self._read(psutil.Process(pid))
            except (psutil.Error, OSError):
                pid = 0
            gevent.sleep(_READ_EVERY_S)

    def _read(self, process: psutil.Process) -> None:
        rss_kb = process.memory_info().rss / 1024
        if rss_kb:  # else it has ended, and nobody has waited for it yet
            counts = process.num_threads(), process.num_fds()
            self.readings.append(Reading(process.pid, self.samples.calls(), rss_kb, *counts))

    def _report(self) -> None:
        if self.not_offered:
            report.save_not_offered(self.scenario.__name__, self.not_offered, self.options.summary)
            self.environment.process_exit_code = UNABLE
            return
        self.verdicts = self.judge()
        met = all(verdict.ok for verdict in self.verdicts)
        summary = self.summary()
        print(report.table(summary), flush=True)
        report.save(summary, self.options.summary)
        # Last: who was promised a summary, and has none, should not read that all is well.
        self.environment.process_exit_code = 0 if met else FAILED
