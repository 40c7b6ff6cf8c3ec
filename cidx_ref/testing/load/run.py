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

from cidx_ref.testing.load import report, slo
from cidx_ref.testing.load.corpus import (
    METHODS,
    STDLIB,
    Question,
    derive_questions,
    read_questions,
)
from cidx_ref.testing.load.keeper import launching
from cidx_ref.testing.load.monitor import Reading
from cidx_ref.testing.load.options import command_of
from cidx_ref.testing.load.scenario import Scenario
from cidx_ref.testing.load.session import Session
from cidx_ref.testing.load.target import KeptDaemon

__all__ = ["FAILED", "Run"]

_log = logging.getLogger(__name__)

#: The exit status of a session that missed an objective.
FAILED = 3
_LAG_EVERY_S = 0.05
_READ_EVERY_S = 0.5
#: Above these, what is measured is locust's own speed: of a processor, and milliseconds at p95.
_CPU_SHARE = 0.85
_LAG_MS = 20.0
LAG = "(locust lag)"


class Run(Session):
    """A session, and what makes it one: its beginning, what watches and disturbs it, its end."""

    def __init__(self, environment: Environment, scenario: type[Scenario]) -> None:
        super().__init__(environment)
        self.scenario = scenario
        self.is_worker = isinstance(environment.runner, WorkerRunner)
        self.objectives = slo.effective(
            slo.BASE, slo.parse_all(scenario.slos), slo.asked_for(self.options.slo or ())
        )
        self.verdicts: list[slo.Verdict] = []
        #: Share of a processor, by process.
        self.cpu: dict[str, float] = {}
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
        self.host = str(self.environment.host)
        if self.owns_daemon:
            command = command_of(self.options.daemon)
            self.launch = launching(command, self.scenario.daemon_environment)
        if not self.is_worker:
            self._choose_questions()
            self.options.brief = self._brief()
        if self._is_unwanted:
            raise RuntimeError("it was stopped while it began")
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        self._spawn(self._watch_lag)
        if not self.is_worker:
            self._spawn(self._watch_daemon)
            self._spawn(self._disturb)

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
        if host:
            if self.scenario.needs_own_daemon:
                raise ValueError(
                    f"{self.scenario.__name__} would harm the daemon: leave out --host"
                )
            self.environment.host = host
            return
        self._kept = KeptDaemon(
            config=self.scenario.config,
            environment=self.scenario.daemon_environment,
            source=Path(self.options.source) if self.options.source else None,
            command=command_of(self.options.daemon),
        )
        self.owns_daemon = True
        self.environment.host = f"unix://{self._kept.socket}"

    # Locust sends its options to the workers when users are to come.

    def _brief(self) -> dict[str, Any]:
        """What workers cannot know."""
        return {
            "scenario": self.scenario.__name__,
            "owns_daemon": self.owns_daemon,
            "questions": [[each.text, each.path, each.methods] for each in self.questions],
        }

    def _take_brief(self, brief: Mapping[str, Any]) -> None:
        self.owns_daemon = brief["owns_daemon"]
        questions = brief["questions"]
        self._ask(Question(text, path, tuple(methods)) for text, path, methods in questions)

    def _ask(self, questions: Iterable[Question]) -> None:
        self.questions = tuple(questions)
        answering = {method for question in self.questions for method in question.methods}
        self.methods = tuple(method for method in METHODS if method in answering)

    def _choose_questions(self) -> None:
        """Have them; and the index loaded, unless the scenario wants it cold."""
        if self.options.questions:
            self._ask(read_questions(Path(self.options.questions)))
        elif self.owns_daemon and not self.options.source:
            self._ask(STDLIB)
        else:
            self._ask(self._derived_questions())
        if self.scenario.warms_up:
            self._finds("query_hybrid", self.questions[0])

    def _derived_questions(self) -> list[Question]:
        """Each for full text, and for the other methods where they answer it now: so it is known
        that they can."""
        derived = derive_questions(self.project)
        if not derived:
            raise ValueError("no questions could be made of the project: give --questions FILE")
        others = [method for method in METHODS if method != "query_fts"]
        found = []
        for question in derived:
            able = [method for method in others if self._finds(method, question)]
            found.append(replace(question, methods=("query_fts", *able)))
        for method in others:
            if not any(method in question.methods for question in found):
                _log.warning("%s finds none of the project's names: give --questions FILE", method)
        return found

    def _finds(self, method: str, question: Question) -> bool:
        try:
            answer = self.ask(
                method,
                project_path=str(self.project),
                query=question.text,
                limit=self.scenario.limit,
            )
            return question.complaint(answer) is None
        except Exception:
            return False  # users who ask it will report it

    def _spawn(self, watch: Any) -> None:
        self._greenlets.append(gevent.spawn(watch))

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
        self.verdicts = self.judge()
        met = all(verdict.ok for verdict in self.verdicts)
        summary = self.summary()
        print(report.table(summary), flush=True)
        report.save(summary, self.options.summary)
        # Last: who was promised a summary, and has none, should not read that all is well.
        self.environment.process_exit_code = 0 if met else FAILED
