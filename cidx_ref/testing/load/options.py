"""What the command line of a load session may say, beside locust's own options."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from locust.argument_parser import LocustArgumentParser

from cidx_ref.testing.conformance.target import Attach
from cidx_ref.testing.load import report, slo, started
from cidx_ref.testing.load.connection import why_unusable
from cidx_ref.testing.load.corpus import read_questions

__all__ = ["add_to", "why_bad", "why_not_offered"]

_OPTIONS: dict[str, dict[str, Any]] = {
    "target": {
        "metavar": "MODULE:TARGET",
        "help": "the daemon, as a Target describes it (default: our own)",
    },
    "slo": {
        "action": "append",
        "default": [],
        "metavar": "ROW:STAT<LIMIT",
        "help": f"an objective, as query_fts:p95<20; may be repeated; also by ${slo.VARIABLE}",
    },
    "project": {"help": "what the daemon at --host serves (default: by the socket's path)"},
    "questions": {"help": "JSON file of [[query, file that must be found], ...]"},
    "source": {
        "help": "source for our own daemon to search (default: a part of the standard library)"
    },
    "daemon": {
        "help": "command that serves a project, with the story's methods: {project} is its "
        "directory, or else `serve --project DIR` is added"
    },
    "summary": {"default": "", "help": "JSON file to write the outcome to"},
}


def add_to(parser: LocustArgumentParser) -> None:
    """Have locust know them."""
    # Who reaches the web UI or the master can have files read and processes started.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1", class_picker=True)
    group = parser.add_argument_group("Load sessions of cidx_ref")  # not in the web UI
    for name, details in _OPTIONS.items():
        group.add_argument(f"--{name}", **details)


def why_bad(options: Any, scenarios: Collection[Any]) -> str:
    """In one line, what cannot be used for these scenarios; empty if all can."""
    try:
        slo.asked_for(options.slo)
        for scenario in scenarios:
            slo.parse_all(scenario.objectives())
            if not scenario.tasks:
                raise ValueError(f"{scenario.__name__} has no @task")
        if options.questions:
            read_questions(Path(options.questions))
        _check_daemon(options)
        report.check_place(options.summary)
        # Locust would have users of all of them come.
        if options.headless and options.user_classes and len(scenarios) > 1:
            names = ", ".join(each.__name__ for each in scenarios)
            raise ValueError(f"one scenario is run at a time: name one of {names}")
    except (OSError, ValueError) as error:
        return str(error)
    return why_unusable(options.host) if options.host else ""


def _check_daemon(options: Any) -> None:
    """Raises `ValueError`."""
    named = [name for name in ("host", "target", "daemon") if getattr(options, name)]
    if len(named) > 1:
        raise ValueError(f"give --{' or --'.join(named)}, and not both")
    if options.source and not Path(options.source).is_dir():
        raise ValueError(f"source: {options.source}: no such directory")
    _check_command(options.daemon)
    if options.host:
        return
    target = started.target_of(options, None)
    if options.source and not started.is_own(target):
        raise ValueError("source: is for our own daemon; a target has a corpus")
    if isinstance(target.start, Attach):
        where = started.planned(options, None, None).there
        if where is not None and (said := why_unusable(where.host)):
            raise ValueError(said)


def _check_command(text: str | None) -> None:
    try:
        command = shlex.split(text or "")
    except ValueError as error:
        raise ValueError(f"daemon: {text!r}: {error}") from None
    if command and shutil.which(command[0]) is None:
        raise ValueError(f"daemon: {command[0]}: no such command")


def why_not_offered(options: Any, scenario: Any, host: str | None) -> str:
    """What the daemon would have to offer for the scenario; empty if it is all there."""
    try:
        missing: str = scenario.missing(started.target_of(options, host))
    except (OSError, EOFError) as error:
        return f"host: {host}: {error}"
    except ValueError as error:
        return str(error)
    return f"{scenario.__name__}: not offered: {missing}" if missing else ""
