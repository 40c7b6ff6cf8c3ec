"""Scenarios in locust's web UI: what each of them shows, one at a time, and its verdict.

The page `/scenarios` and two tabs beside the charts: scenarios, and the objectives of the session.
"""

from __future__ import annotations

import html
import inspect
import ipaddress
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Response, jsonify, request
from locust.argument_parser import ui_extra_args_dict
from locust.env import Environment

from cidx_ref.testing.load import options, report
from cidx_ref.testing.load.connection import why_unusable
from cidx_ref.testing.load.run import Run
from cidx_ref.testing.load.scenario import Scenario

__all__ = ["WebUi"]

_TABS = {
    "scenarios": ("name", "shows", "objectives"),
    "verdict": ("scenario", "objective", "measured", "met"),
}
#: What locust's page has fields for.  It would take any other of its options, too, and some of them
#: are names of files to write.
_FIELDS = {"user_count", "spawn_rate", "host", "user_classes", "shape_class", "run_time", "profile"}


class WebUi:
    """What is added to locust's."""

    def __init__(
        self,
        web_ui: Any,
        environment: Environment,
        session: Callable[[], Run | None],
    ) -> None:
        """`session` is the latest."""
        self._environment = environment
        self._session = session
        self._fields = _FIELDS | set(ui_extra_args_dict())
        self._offered = environment.available_user_classes or {}
        self._scenarios = {
            name: each for name, each in self._offered.items() if issubclass(each, Scenario)
        }
        self._own_hosts: set[str] = set()
        web_ui.template_args = {
            **web_ui.template_args,
            "extended_tabs": [{"title": key.title(), "key": key} for key in _TABS],
            "extended_tables": [
                {"key": key, "structure": [{"key": each, "title": each.title()} for each in row]}
                for key, row in _TABS.items()
            ],
        }
        web_ui.app.add_url_rule("/scenarios", view_func=self._page)
        web_ui.app.before_request(self._before)
        web_ui.app.after_request(self._after)

    def typed_host(self) -> str | None:
        """The daemon to ask, as it was typed; None for one of the session's own."""
        host = self._environment.host
        # What a session before has left in the field is nobody's choice.
        return host if host and host not in self._own_hosts else None

    def _page(self) -> str:
        parts = [
            f"<h2>{row['name']}</h2><pre>{html.escape(row['shows'])}</pre>"
            f"<p><code>{html.escape(row['objectives'])}</code></p>"
            for row in self._descriptions()
        ]
        return f"<!doctype html><title>Scenarios</title>{''.join(parts)}"

    def _descriptions(self) -> list[dict[str, str]]:
        return [
            {
                "name": name,
                "shows": inspect.cleandoc(scenario.__doc__ or ""),
                "objectives": "; ".join(scenario.objectives()),
            }
            for name, scenario in self._scenarios.items()
        ]

    def _before(self) -> Response | None:
        """Refuses whom locust should not listen to, and what it cannot carry out."""
        if _is_from_elsewhere(self._environment):
            return Response("not from this page", status=403)
        if request.method != "POST":
            return None
        if request.path.endswith("/stop"):
            return self._stop_beginning()
        return self._before_swarm() if request.path.endswith("/swarm") else None

    def _stop_beginning(self) -> Response | None:
        """A session that begins ends by itself: locust would kill it half way, or not at all."""
        session = self._session()
        if session is None or not session.is_beginning:
            return None
        session.give_up_beginning()
        return jsonify(success=True, message="Test stopped")

    def _before_swarm(self) -> Response | None:
        """Refuses a start that would be judged wrongly, or would harm somebody else's daemon."""
        self._note_own_host()
        form = request.form.copy()
        for field in set(form) - self._fields:
            form.poplist(field)
        if refusal := self._refusal(form):
            return jsonify(success=False, message=refusal, host=self._environment.host)
        session = self._session()
        if session is not None and self._is_under_way():  # more users, or fewer
            form.setlist("user_classes", [session.scenario.__name__])
            form.poplist("host")
        self._choose_shape(form)
        request.form = form
        return None

    def _is_under_way(self) -> bool:
        session = self._session()
        return session is not None and not session.is_over

    def _note_own_host(self) -> None:
        session = self._session()
        if session is not None and session.owns_daemon:
            self._own_hosts.add(session.host)

    def _refusal(self, form: Any) -> str:
        session = self._session()
        if session is not None and not session.is_over:
            return self._refusal_beside(session, form)
        chosen = self._chosen(form)
        if unknown := set(form.getlist("user_classes")) - set(self._offered):
            return f"there is no scenario {min(unknown)}"
        if len(chosen) > 1:
            return "choose one scenario: one is run at a time"
        host = form.get("host", "")
        is_typed = bool(host) and host not in self._own_hosts
        if is_typed and any(self._scenarios[name].needs_own_daemon for name in chosen):
            return f"{chosen[0]} would harm the daemon: leave the host empty"
        if is_typed and (unusable := why_unusable(host)):
            return unusable
        given = self._environment.parsed_options
        offered = (
            options.why_not_offered(given, self._scenarios[name], host if is_typed else None)
            for name in chosen
        )
        return next(filter(None, offered), "")

    def _refusal_beside(self, session: Run, form: Any) -> str:
        if session.is_beginning:
            return "the session is beginning: wait for its daemon"
        # Locust cannot count the users of a class that is no longer chosen.  Its page offers to
        # edit a session with all classes ticked, so those beside the right one mean nothing.
        names = form.getlist("user_classes")
        if names and session.scenario.__name__ not in names:
            return "stop the session before you choose another scenario"
        # What is stopped, killed or rebuilt is the daemon that the session began with.
        if form.get("host", "") not in ("", session.host):
            return "stop the session before you choose another host"
        return ""

    def _chosen(self, form: Any) -> list[str]:
        names = form.getlist("user_classes")
        return [name for name in self._scenarios if not names or name in names]

    def _choose_shape(self, form: Any) -> None:
        """That of the scenario; one that belongs to another is no choice."""
        shapes = self._environment.available_shape_classes
        scenarios = self._scenarios.values()
        if form.get("shape_class") in {each.shape.__name__ for each in scenarios if each.shape}:
            form["shape_class"] = "Default"
        chosen = [self._scenarios[name] for name in self._chosen(form)]
        if chosen and (shape := chosen[0].shape) is not None:
            running = self._environment.shape_class if self._is_under_way() else None
            shapes[shape.__name__] = running or shape()  # a new one would climb from the beginning
            form["shape_class"] = shape.__name__

    def _after(self, response: Response) -> Response:
        if response.status_code != 200:  # it was refused, or asks for a login
            return response
        if request.path.endswith("/stats/requests"):
            tables = {"scenarios": self._descriptions(), "verdict": self._verdict()}
            stats = [{"key": key, "data": rows} for key, rows in tables.items()]
            response.set_data(json.dumps({**response.get_json(), "extended_stats": stats}))
        elif request.path.endswith("/stats/report") and (summary := self._summary()):
            response.set_data(report.with_table(response.get_data(as_text=True), summary))
        return response

    def _summary(self) -> dict[str, Any] | None:
        session = self._session()
        return session.summary() if session is not None and session.is_over else None

    def _verdict(self) -> list[dict[str, str]]:
        session = self._session()
        if session is None or session.is_beginning:
            return []
        # Locust's page does not ask again when the session is over: it shows what it had last.
        verdicts = session.verdicts or session.judge()
        yes, no = ("yes", "no") if session.is_over else ("so far", "not yet")
        return [
            {
                "scenario": session.scenario.__name__,
                "objective": str(each.slo),
                "measured": report.measured(each.measured),
                "met": yes if each.ok else no,
            }
            for each in verdicts
        ]


def _is_from_elsewhere(environment: Environment) -> bool:
    """Whether a page of another site asks: locust lets it send forms here, and read all answers."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        return True
    # A site can have its own name lead to this machine, and is then no other.
    options = environment.parsed_options
    return _is_local(options.web_host) and not _is_local(urlsplit(f"//{request.host}").hostname)


def _is_local(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
