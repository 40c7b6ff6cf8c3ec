"""What locust tells, and what is done about it: from the first option to the exit status.

Importing this module registers it with locust.  Exit status: 0 if all objectives were met, 3 if
not, 1 if an option cannot be used.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.argument_parser import LocustArgumentParser, get_parser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from cidx_ref.testing.load import report, slo
from cidx_ref.testing.load.connection import why_unusable
from cidx_ref.testing.load.corpus import read_questions
from cidx_ref.testing.load.scenario import Scenario
from cidx_ref.testing.load.session import FAILED, Session
from cidx_ref.testing.load.webui import WebUi

__all__ = ["PLUGIN"]

_log = logging.getLogger(__name__)


class _Plugin:
    """What locust tells, in the order of a process's life."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self._web_ui: WebUi | None = None
        self._given_host: str | None = None

    def add_options(self, parser: LocustArgumentParser, **_: Any) -> None:
        # Who reaches the web UI or the master can have files read and processes started.
        parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1", class_picker=True)
        group = parser.add_argument_group("Load sessions of cidx_ref")  # not in the web UI
        for name, details in _OPTIONS.items():
            group.add_argument(f"--{name}", **details)

    def init(self, environment: Environment, web_ui: Any, **_: Any) -> None:
        options = environment.parsed_options
        if options is None:  # used as a library
            return
        self._given_host = options.host
        if message := _what_is_bad(environment):
            # The workers of `--processes` end, too, or they would wait for their master a minute.
            is_fork = options.worker and options.processes
            sys.exit(1 if is_fork else f"locust: {message}")
        if isinstance(environment.runner, WorkerRunner):
            return
        if web_ui is not None:
            self._web_ui = WebUi(web_ui, environment, lambda: self.session, tuple(_OPTIONS))
        elif not options.user_classes:
            _choose_first(environment)
        _complete(environment)

    def test_start(self, environment: Environment, **_: Any) -> None:
        self.session = None
        environment.parsed_options = environment.parsed_options or get_parser().parse_args([])
        if (scenario := _scenario_of(environment)) is None:
            environment.parsed_options.brief = None
            return
        environment.process_exit_code = FAILED  # until it is shown otherwise
        self.session = Session(environment, scenario)
        try:
            self.session.begin(self._host(environment))
        except Exception as error:
            _log.error("the session could not begin: %s", error)
            self.session.figure("(beginning)", 0.0, str(error))
            self._give_up(environment)
            # Any other exception ends at the event, and locust would start its users all the same.
            raise locust.exception.StopTest(str(error)) from error

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


_OPTIONS: dict[str, dict[str, Any]] = {
    "slo": {
        "action": "append",
        "default": [],
        "env_var": "CIDX_LOAD_SLO",
        "metavar": "ROW:STAT<LIMIT",
        "help": "an objective, as query_fts:p95<20; may be repeated",
    },
    "project": {"help": "what the daemon at --host serves (default: by the socket's path)"},
    "questions": {"help": "JSON file of [[query, file that must be found], ...]"},
    "source": {
        "help": "source for the session's own daemon to search (default: a part of the standard "
        "library)"
    },
    "daemon": {
        "help": "command that takes the arguments of cidx-ref, and starts the session's own daemon"
    },
    "summary": {"default": "", "help": "JSON file to write the outcome to"},
}


def _what_is_bad(environment: Environment) -> str:
    """In one line, what cannot be used; it is said before anything is started."""
    options = environment.parsed_options
    try:
        slo.parse_all(options.slo or ())
        for scenario in _scenarios(environment):
            slo.parse_all(scenario.slos)
        if options.questions:
            read_questions(Path(options.questions))
    except (OSError, ValueError) as error:
        return str(error)
    return why_unusable(options.host) if options.host else ""


def _choose_first(environment: Environment) -> None:
    first, *more = environment.user_classes
    environment.user_classes = [first]
    if more:
        _log.warning("no scenario is named: only %s is run", first.__name__)


def _complete(environment: Environment) -> None:
    """Where the command line says nothing, as the scenario says."""
    options = environment.parsed_options
    chosen = _scenarios(environment)
    scenario = chosen[0] if len(chosen) == 1 else Scenario
    options.num_users = options.num_users or scenario.users
    options.spawn_rate = options.spawn_rate or scenario.users
    if scenario.shape is not None:
        environment.shape_class = scenario.shape()
        environment.shape_class.runner = environment.runner
    elif chosen and environment.shape_class is None:
        options.run_time = options.run_time or scenario.run_time_s


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
