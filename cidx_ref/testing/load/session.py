"""A load session: wires a scenario into locust, from the first option to the exit status.

Importing this module registers it with locust.  The leading process (the master, or the only one)
starts the daemon or attaches to one, disturbs it, and judges; workers hand over what they measured
with locust's own reports.  Exit status: 0 if all objectives were met, else 3.
"""

from __future__ import annotations

import logging
import shlex
import time
from pathlib import Path
from typing import Any

import gevent
import locust
import psutil
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from cidx_ref.sockets import peer_pid
from cidx_ref.testing.load import report, slo
from cidx_ref.testing.load.connection import DaemonConnection, open_socket
from cidx_ref.testing.load.corpus import STDLIB, Question, derive_questions, read_questions
from cidx_ref.testing.load.keeper import start_with
from cidx_ref.testing.load.monitor import Reading, growth
from cidx_ref.testing.load.samples import Samples
from cidx_ref.testing.load.scenario import Scenario
from cidx_ref.testing.load.target import KeptDaemon, project_of, socket_of

__all__ = ["Session"]

_log = logging.getLogger(__name__)

FAILED = 3
_LAG_EVERY_S = 0.05
_READ_EVERY_S = 0.5
#: Above these, what is measured is locust's own speed: of a processor, and milliseconds at p95.
_CPU_SHARE = 0.85
_LAG_MS = 20.0
LAG = "(locust lag)"


class Session:
    """One test run of one scenario."""

    def __init__(self, environment: Environment, given_host: str | None) -> None:
        self.environment = environment
        self.options = environment.parsed_options
        self.samples = Samples()
        self.elapsed_s = 0.0
        self.verdicts: list[slo.Verdict] = []
        self.readings: list[Reading] = []
        #: Share of a processor, by process.
        self.cpu: dict[str, float] = {}
        self.is_worker = isinstance(environment.runner, WorkerRunner)
        self.scenario = _scenario_of(environment)
        self.scenario.session = self
        self.objectives = slo.effective(
            slo.BASE, slo.parse_all(self.scenario.slos), slo.parse_all(self.options.slo or ())
        )
        self._given_host = given_host
        self._kept: KeptDaemon | None = None
        self._greenlets: list[gevent.Greenlet] = []
        self._started = time.perf_counter()
        self._cpu_started = time.process_time()
        self._is_over = False

    # For scenarios.

    @property
    def owns_daemon(self) -> bool:
        """Whether the daemon was started for this session, and may be treated badly."""
        return bool(self.options.owns_daemon)

    @property
    def host(self) -> str:
        return str(self.environment.host)

    @property
    def project(self) -> Path:
        """The directory that the daemon serves."""
        named = self.options.project
        return Path(named) if named else project_of(socket_of(self.host))

    def connect(self, timeout_s: float = 30.0) -> DaemonConnection:
        """A connection beside the users'.  Raises `OSError`, `EOFError`."""
        return DaemonConnection(self.host, timeout_s)

    def ask(self, method: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
        """One call on a connection of its own; raises what the daemon raises."""
        connection = self.connect(timeout_s)
        try:
            return connection.call(method, **arguments)
        finally:
            connection.close()

    def figure(self, name: str, value: float, failure: str = "") -> None:
        """A figure of a scenario's, as a row in locust's charts and ours.  Rows in brackets are not
        counted as calls."""
        error = RuntimeError(failure) if failure else None
        self.environment.events.request.fire(
            request_type="FIGURE",
            name=name,
            response_time=value,
            response_length=0,
            exception=error,
            context={},
        )

    def pid(self) -> int:
        """The daemon's process; 0 if it cannot be told, or nobody answers."""
        try:
            with open_socket(self.host, 1.0) as sock:
                return peer_pid(sock) if self.host.startswith("unix") else 0
        except OSError:
            return 0

    # The life of a session.

    def begin(self) -> None:
        """Have a daemon, watch and disturb it.  Raises `RuntimeError`, `ValueError`, `OSError`."""
        if not self.is_worker:
            self._have_daemon()
        if self.owns_daemon:
            start_with(shlex.split(self.options.daemon or ""))
        self.questions = self._questions()
        if not self.is_worker and self.scenario.warms_up:
            self._warm_up()
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        self._spawn(self._watch_lag)
        if not self.is_worker:
            self._spawn(self._watch_daemon)
            self._spawn(self._disturb)

    def stop_disturbing(self) -> None:
        """Called before the users leave."""
        self.elapsed_s = self.elapsed_s or time.perf_counter() - self._started
        gevent.killall(self._greenlets)  # what is seen when the users leave is not their doing

    def end(self) -> None:
        """Judge, report, and leave nothing behind; once."""
        if self._is_over:
            return
        self._is_over = True
        self.stop_disturbing()
        if self.is_worker:
            return
        self.note_cpu("leader" if isinstance(self.environment.runner, MasterRunner) else "locust")
        try:
            self.scenario.settle(self)
        except Exception as error:
            self.figure("(settling)", 0.0, f"{type(error).__name__}: {error}")
        finally:
            if self._kept is not None:
                self._kept.end()
        self._judge()

    def note_cpu(self, who: str) -> None:
        """How much of a processor this process used since the session began."""
        wall_s = max(time.perf_counter() - self._started, 1e-9)
        self.cpu[who] = round((time.process_time() - self._cpu_started) / wall_s, 3)

    def summary(self) -> dict[str, Any]:
        """All that was found, as plain data."""
        return report.summary(
            self.scenario, self.samples, self.verdicts, self.elapsed_s,
            cpu=self.cpu, warnings=self.warnings(), growth=self.growth(),
        )  # fmt: skip

    def growth(self) -> dict[str, Any]:
        """How the daemon's process has grown; see `monitor.growth`."""
        return growth(self.readings)

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

    def _have_daemon(self) -> None:
        self.options.owns_daemon = not self._given_host
        if self._given_host:
            if self.scenario.needs_own_daemon:
                raise ValueError(
                    f"{self.scenario.__name__} would harm the daemon: leave out --host"
                )
            self.environment.host = self._given_host
            return
        self._kept = KeptDaemon(
            config=self.scenario.config,
            source=Path(self.options.source) if self.options.source else None,
            command=shlex.split(self.options.daemon or ""),
        )
        self.environment.host = f"unix://{self._kept.socket}"

    def _warm_up(self) -> None:
        """Have the index loaded: what is promised is promised of a warm one."""
        text = self.questions[0].text
        try:
            self.ask("query_hybrid", project_path=str(self.project), query=text)
        except Exception as error:
            _log.warning("the first query failed: %s", error)  # so will the users', who report it

    def _questions(self) -> tuple[Question, ...]:
        if self.options.questions:
            return read_questions(Path(self.options.questions))
        if self.owns_daemon and not self.options.source:
            return STDLIB
        questions = derive_questions(self.project)
        if not questions:
            raise ValueError("no questions could be made of the project: give --questions FILE")
        return questions

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

    def _judge(self) -> None:
        self.verdicts = [each.judge(self.samples, self.elapsed_s) for each in self.objectives]
        met = all(verdict.ok for verdict in self.verdicts)
        self.environment.process_exit_code = 0 if met else FAILED
        summary = self.summary()
        print(report.table(summary), flush=True)
        report.save(summary, self.options.summary)


class _Plugin:
    """What locust tells, in the order of a process's life."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self._given_host: str | None = None

    def add_options(self, parser: LocustArgumentParser, **_: Any) -> None:
        # Who reaches the web UI or the master can have files read and processes started.
        parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1", class_picker=True)
        add = parser.add_argument
        hidden: dict[str, Any] = {"include_in_web_ui": False}
        add("--slo", action="append", default=[], env_var="CIDX_LOAD_SLO", metavar="ROW:STAT<LIMIT",
            help="an objective, as query_fts:p95<20; may be repeated", **hidden)  # fmt: skip
        add("--project", help="what the daemon at --host serves (default: by the socket's path)",
            **hidden)  # fmt: skip
        add("--source", help="source for the session's own daemon to search (default: a part of "
            "the standard library)", **hidden)  # fmt: skip
        add("--questions", help="JSON file of [[query, file that must be found], ...]", **hidden)
        add("--daemon", help="command that takes the arguments of cidx-ref, and starts the "
            "session's own daemon", **hidden)  # fmt: skip
        add("--summary", default="", help="JSON file to write the outcome to", **hidden)
        parser.set_defaults(owns_daemon=False)

    def init(self, environment: Environment, web_ui: Any, **_: Any) -> None:
        if environment.parsed_options is None:  # used as a library
            return
        options = environment.parsed_options
        self._given_host = options.host
        for scenario in _scenarios(environment):
            slo.parse_all(scenario.slos)
        slo.parse_all(options.slo or ())  # a bad one is said before anything is started
        if web_ui is not None:
            offered = environment.available_user_classes or {}
            report.add_pages(web_ui, [each for each in offered.values() if hasattr(each, "slos")])
        elif not options.user_classes:
            environment.user_classes = environment.user_classes[:1]
        found = _scenarios(environment)
        if len(found) != 1 or isinstance(environment.runner, WorkerRunner):
            return
        scenario = found[0]
        if scenario.shape is not None:
            environment.shape_class = scenario.shape()
            environment.shape_class.runner = environment.runner
        options.num_users = options.num_users or scenario.users
        options.spawn_rate = options.spawn_rate or scenario.users
        if environment.shape_class is None:
            options.run_time = options.run_time or scenario.run_time_s

    def test_start(self, environment: Environment, **_: Any) -> None:
        self.session = None
        if not _scenarios(environment):
            return
        environment.process_exit_code = FAILED  # until it is shown otherwise
        self.session = Session(environment, self._given_host)
        try:
            self.session.begin()
        except Exception as error:
            _log.error("the session could not begin: %s", error)
            self.session.figure("(beginning)", 0.0, str(error))
            if environment.runner is not None and not self.session.is_worker:
                gevent.spawn(environment.runner.quit)
            # Any other exception ends at the event, and locust would start its users all the same.
            raise locust.exception.StopTest(str(error)) from error

    def request(
        self, name: str, response_time: float, response_length: int, exception: Any,
        context: Any = None, **_: Any,
    ) -> None:  # fmt: skip
        if self.session is not None:
            self.session.samples.add(
                name,
                response_time,
                failure=str(exception) if exception else "",
                size_bytes=response_length or 0,
                trips=(context or {}).get("trips", 0),
            )

    def user_error(self, exception: BaseException, **_: Any) -> None:
        if self.session is not None:
            failure = f"{type(exception).__name__}: {exception}"
            self.session.samples.add("(user)", 0.0, failure=failure)

    def report_to_master(self, client_id: str, data: dict[str, Any]) -> None:
        if self.session is not None:
            self.session.note_cpu(client_id)
            data["cidx_load"] = {**self.session.samples.drain(), "cpu": self.session.cpu}

    def worker_report(self, client_id: str, data: dict[str, Any]) -> None:
        if self.session is not None and (drained := data.get("cidx_load")):
            self.session.samples.merge(drained)
            self.session.cpu.update(drained["cpu"])

    def test_stopping(self, environment: Environment, **_: Any) -> None:
        if self.session is not None:
            self.session.stop_disturbing()

    def test_stop(self, environment: Environment, **_: Any) -> None:
        # A master that quits has the last reports of its workers only after this.
        is_quitting_master = (
            isinstance(environment.runner, MasterRunner)
            and environment.parsed_options is not None
            and environment.parsed_options.headless
        )
        if self.session is not None and not is_quitting_master:
            self.session.end()

    def quitting(self, environment: Environment, **_: Any) -> None:
        if self.session is None:
            return
        if not self.session.is_worker and environment.runner is not None:
            environment.runner.quit()  # a signal comes without it
        self.session.end()
        if self.session.is_worker:
            environment.process_exit_code = 0  # the master's word counts
        elif path := getattr(environment.parsed_options, "html_file", None):
            report.append_to_html(Path(path), self.session.summary())


def _scenarios(environment: Environment) -> list[type[Scenario]]:
    return [each for each in environment.user_classes if issubclass(each, Scenario)]


def _scenario_of(environment: Environment) -> type[Scenario]:
    found = _scenarios(environment)
    if len(found) > 1:
        names = ", ".join(each.__name__ for each in found)
        _log.warning("one scenario is run at a time; of %s the first is judged", names)
    return found[0]


def _install(events: locust.event.Events) -> _Plugin:
    plugin = _Plugin()
    events.init_command_line_parser.add_listener(plugin.add_options)
    for name in (
        *("init", "test_start", "request", "user_error", "report_to_master", "worker_report"),
        *("test_stopping", "test_stop", "quitting"),
    ):
        getattr(events, name).add_listener(getattr(plugin, name))
    return plugin


PLUGIN = _install(locust.events)
