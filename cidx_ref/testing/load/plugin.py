"""What locust tells, and what is done about it: from the first option to the exit status.

Importing this module registers it with locust.  Exit status: 0 if all objectives were met, 3 if
not, 2 if the session could not be run: an option cannot be used, or the daemon does not have what
the scenario needs.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.argument_parser import LocustArgumentParser, get_parser
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.load import options, report
from cidx_ref.testing.load.run import FAILED, UNABLE, NotOfferedError, Run
from cidx_ref.testing.load.scenario import Scenario
from cidx_ref.testing.load.webui import WebUi

__all__ = ["PLUGIN"]

_log = logging.getLogger(__name__)

#: To workers: measure no more.  From them: what they measured last.
_STOP, _LAST = "cidx_load_stop", "cidx_load_last"
_LAST_TIMEOUT_S = 20.0


class _Plugin:
    """What locust tells, in the order of a process's life."""

    def __init__(self) -> None:
        self.session: Run | None = None
        self._web_ui: WebUi | None = None
        self._given_host: str | None = None
        self._interrupts: Any = None
        self._run_time_s: float | None = None
        #: Workers that have handed over the last of what they measured.
        self._done: set[str] = set()

    def add_options(self, parser: LocustArgumentParser, **_: Any) -> None:
        options.add_to(parser)

    def init(self, environment: Environment, web_ui: Any, **_: Any) -> None:
        given = environment.parsed_options
        if given is None:  # used as a library
            return
        self._take_interrupts()
        # Gevent would print a traceback of it; why a session could not begin is said in one line.
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, locust.exception.StopTest)
        self._given_host = given.host
        if message := options.why_bad(given, _scenarios(environment)):
            _refuse(given, message)
        self._take_part(environment, web_ui)

    def _take_part(self, environment: Environment, web_ui: Any) -> None:
        """As a worker, as the leading process with a web UI, or without one."""
        given = environment.parsed_options
        if isinstance(environment.runner, WorkerRunner):
            environment.runner.register_message(_STOP, self._stop_worker)
            # Added last, so called first: before locust tells the master that this worker has gone.
            environment.events.quitting.add_listener(self._stop_worker)
            return
        if isinstance(environment.runner, MasterRunner):
            environment.runner.register_message(_LAST, self._take_last)
        if web_ui is not None:
            self._web_ui = WebUi(web_ui, environment, lambda: self.session)
        elif not given.user_classes:
            _choose_first(environment)
        if web_ui is None:
            _require_offered(environment)
        _complete(environment)
        if web_ui is None and environment.shape_class is None:
            # Locust would count from here, and on a slow machine end before there is a daemon.
            self._run_time_s, given.run_time = given.run_time, None

    def _take_interrupts(self) -> None:
        """Have a Ctrl-C end this process.  Python would raise it in whatever greenlet runs, and one
        that listens to workers, or a destructor, swallows it."""
        main = gevent.getcurrent()
        self._interrupts = gevent.signal_handler(
            signal.SIGINT, gevent.kill, main, KeyboardInterrupt
        )

    def test_start(self, environment: Environment, **_: Any) -> None:
        self.session = None
        self._done.clear()
        environment.parsed_options = environment.parsed_options or get_parser().parse_args([])
        if (scenario := _scenario_of(environment)) is None:
            environment.parsed_options.brief = None
            return
        environment.process_exit_code = FAILED  # until it is shown otherwise
        self.session = Run(environment, scenario)
        asked_s = self._run_time_s or environment.parsed_options.run_time
        self.session.run_time_s = float(asked_s or scenario.run_time_s)
        try:
            self.session.begin(self._host(environment))
        except gevent.GreenletExit:  # or no other could be started: it would be beginning for ever
            self.session.end()
            raise
        except Exception as error:
            if isinstance(error, NotOfferedError):
                self.session.not_offered = str(error)
            _log.error("the session could not begin: %s", error)
            self.session.figure("(beginning)", 0.0, str(error))
            self._give_up(environment)
            # Any other exception ends at the event, and locust would start its users all the same.
            raise locust.exception.StopTest(str(error)) from error
        if self._run_time_s and not self.session.is_worker:
            _log.info("the daemon is there: the session ends in %g s", self._run_time_s)
            gevent.spawn_later(self._run_time_s, environment.runner.quit)

    def _give_up(self, environment: Environment) -> None:
        assert self.session is not None
        assert environment.runner is not None
        if self.session.is_worker:
            return
        if self._web_ui is None:
            gevent.spawn(environment.runner.quit)
        else:
            self.session.end()
            gevent.spawn(environment.runner.stop)  # or a shape would stay in locust's way

    def _host(self, environment: Environment) -> str | None:
        return self._web_ui.typed_host() if self._web_ui is not None else self._given_host

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
        if self.session is None:
            return
        if isinstance(environment.runner, MasterRunner):
            self._wait_for_workers(self.session, environment.runner)
        self.session.end()
        if self.session.is_worker:
            self._hand_over(environment)

    # Locust's master gives workers half a second for their last report, when it quits.

    def _wait_for_workers(self, session: Run, master: MasterRunner) -> None:
        """Until each has handed over its last samples; those that do not are a failure."""
        master.send_message(_STOP)
        deadline = SYSTEM.monotonic() + _LAST_TIMEOUT_S
        while SYSTEM.monotonic() < deadline and any(
            client.state != STATE_MISSING and client.id not in self._done
            for client in master.clients.all
        ):
            gevent.sleep(0.05)
        for worker in sorted(session.cpu.keys() - self._done):
            session.figure("(workers)", 0.0, f"{worker} did not hand over its last samples")

    def _stop_worker(self, environment: Environment, **_: Any) -> None:
        environment.runner.stop()
        self._hand_over(environment)  # as well if it had stopped already

    def _hand_over(self, environment: Environment) -> None:
        data: dict[str, Any] = {}
        self.report_to_master(environment.runner.client_id, data)
        environment.runner.send_message(_LAST, data)

    def _take_last(self, msg: Any, **_: Any) -> None:
        self.worker_report(msg.node_id, msg.data)
        self._done.add(msg.node_id)

    def quitting(self, environment: Environment, **_: Any) -> None:
        if self._interrupts is not None:  # the next one is not to wait for the loop
            self._interrupts.cancel()
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.session is None:
            return
        if not self.session.is_worker and environment.runner is not None:
            environment.runner.quit()  # a signal comes without it
        self.session.end()
        if self.session.is_worker:
            environment.process_exit_code = 0  # the master's word counts
        elif path := getattr(environment.parsed_options, "html_file", None):
            report.append_to_html(Path(path), self.session.summary())


def _refuse(given: Any, message: str) -> None:
    # The workers of `--processes` end, too, or they would wait for their master a minute.
    if not (given.worker and given.processes):
        print(f"locust: {message}", file=sys.stderr)
    sys.exit(UNABLE)


def _require_offered(environment: Environment) -> None:
    given = environment.parsed_options
    for scenario in _scenarios(environment):
        if message := options.why_not_offered(given, scenario, given.host):
            report.save_not_offered(scenario.__name__, message, given.summary)
            _refuse(given, message)


def _choose_first(environment: Environment) -> None:
    first, *more = environment.user_classes
    environment.user_classes = [first]
    if more:
        _log.warning("no scenario is named: only %s is run", first.__name__)


def _complete(environment: Environment) -> None:
    """Where the command line says nothing, as the scenario says."""
    given = environment.parsed_options
    chosen = _scenarios(environment)
    scenario = chosen[0] if len(chosen) == 1 else Scenario
    given.num_users = given.num_users or scenario.users
    given.spawn_rate = given.spawn_rate or scenario.users
    if scenario.shape is not None:
        environment.shape_class = scenario.shape()
        environment.shape_class.runner = environment.runner
    elif chosen and environment.shape_class is None:
        given.run_time = given.run_time or scenario.run_time_s


def _scenarios(environment: Environment) -> list[type[Scenario]]:
    return [each for each in environment.user_classes if issubclass(each, Scenario)]


def _scenario_of(environment: Environment) -> type[Scenario] | None:
    """The one to judge; in a worker it is the leader's choice."""
    found = _scenarios(environment)
    if isinstance(environment.runner, WorkerRunner):
        brief = getattr(environment.parsed_options, "brief", None)
        found = [each for each in found if brief and each.__name__ == brief["scenario"]]
    if len(found) > 1:
        names = ", ".join(each.__name__ for each in found)
        _log.warning("one scenario is run at a time; of %s the first is judged", names)
    return found[0] if found else None


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
