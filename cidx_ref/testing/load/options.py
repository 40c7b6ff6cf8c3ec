"""What the command line of a load session may say, beside locust's own options."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from locust.argument_parser import LocustArgumentParser

from cidx_ref.testing.load import report, slo
from cidx_ref.testing.load.connection import why_unusable
from cidx_ref.testing.load.corpus import read_questions

__all__ = ["add_to", "command_of", "why_bad"]

_OPTIONS: dict[str, dict[str, Any]] = {
    "slo": {
        "action": "append",
        "default": [],
        "metavar": "ROW:STAT<LIMIT",
        "help": f"an objective, as query_fts:p95<20; may be repeated; also by ${slo.VARIABLE}",
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


def add_to(parser: LocustArgumentParser) -> None:
    """Have locust know them."""
    # Who reaches the web UI or the master can have files read and processes started.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1", class_picker=True)
    group = parser.add_argument_group("Load sessions of cidx_ref")  # not in the web UI
    for name, details in _OPTIONS.items():
        group.add_argument(f"--{name}", **details)


def command_of(text: str | None) -> list[str]:
    """What `--daemon` says.  Raises `ValueError`."""
    try:
        command = shlex.split(text or "")
    except ValueError as error:
        raise ValueError(f"daemon: {text!r}: {error}") from None
    if command and shutil.which(command[0]) is None:
        raise ValueError(f"daemon: {command[0]}: no such command")
    return command


def why_bad(options: Any, scenarios: Collection[Any]) -> str:
    """In one line, what cannot be used for these scenarios; empty if all can."""
    try:
        slo.asked_for(options.slo)
        for scenario in scenarios:
            slo.parse_all(scenario.slos)
            if not scenario.tasks:
                raise ValueError(f"{scenario.__name__} has no @task")
        if options.questions:
            read_questions(Path(options.questions))
        if options.source and not Path(options.source).is_dir():
            raise ValueError(f"source: {options.source}: no such directory")
        command_of(options.daemon)
        report.check_place(options.summary)
        # Locust would have users of all of them come.
        if options.headless and options.user_classes and len(scenarios) > 1:
            names = ", ".join(each.__name__ for each in scenarios)
            raise ValueError(f"one scenario is run at a time: name one of {names}")
    except (OSError, ValueError) as error:
        return str(error)
    return why_unusable(options.host) if options.host else ""
