"""The commands of the command line: what each asks of the client, and how it says what it was told.

A command is a function of the parsed options that returns an exit status; it prints to standard
output as text or, with `--json`, as one object, and notes for a person to standard error.  Nothing
of the daemon or the index is imported here, except by `serve`, `adopt`, and `status` where no
daemon runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from cidx_ref.errors import BadArgumentError, DaemonUnavailableError, NoIndexError

if TYPE_CHECKING:
    from cidx_ref.client import DaemonClient
    from cidx_ref.project import Project
    from cidx_ref.reports import IndexReport, Skipped
    from cidx_ref.results import Answer

__all__ = [
    "FAILED", "FOUND", "NO_MATCH", "adopt", "clear_cache", "complain", "flush", "index", "init",
    "print_json", "query", "say", "serve", "skipped", "start", "status", "stop",
]  # fmt: skip

#: Exit statuses: done or found, no match, could not do it.
FOUND, NO_MATCH, FAILED = 0, 1, 2


def query(options: argparse.Namespace) -> int:
    """Search, and build the index first where there is none."""
    text = " ".join(options.text)
    _require_something(text, options.mode)
    project = _unchecked_project(options)
    project.see_to_its_root(
        is_named=options.project is not None, may_build=not options.no_build, notice=complain
    )
    with _client(project) as daemon:
        typed = _from_root(options, str(daemon.project.root))
        wanted = {
            "mode": options.mode,
            "limit": options.limit,
            "languages": options.language,
            **{name: list(patterns) for name, patterns in typed.items()},
            "ignore_case": options.ignore_case,
            "fresh": options.fresh,
            "explain": options.explain,
            "source": options.source,
        }
        try:
            answer = _asked(daemon, text, wanted)
        except NoIndexError as error:
            if options.no_build or options.source == "cidx":
                raise
            _hint(error)
            # An index that is not ours stays: a user has to ask for its removal.
            _note(_build(daemon, keep_unverified=True))
            answer = _asked(daemon, text, wanted)
    if not answer and answer.unmatched.keys() <= {"exclude_paths"}:  # no filter is to blame
        _require_words(text, options.mode)
    if answer.fresh_problem is not None:
        complain(f"not fresh: {answer.fresh_problem}")
    if options.json:
        print_json(answer.as_dict())
    else:
        is_filtered = bool(options.language or options.path or options.exclude_path)
        _show(answer, is_filtered=is_filtered, color=options.color)
        if answer.unmatched:
            from cidx_ref.terminal import unmatched_notes

            for note in unmatched_notes(answer, _OPTIONS, typed):
                complain(note)
    return FOUND if answer else NO_MATCH


_OPTIONS = {
    "languages": "--language", "limit": "--limit", "paths": "--path", "query": "TEXT",
    "exclude_paths": "--exclude-path", "ignore_case": "--ignore-case",
}  # fmt: skip


def _require_something(text: str, mode: str) -> None:
    """From a program any text is legal, and blanks are no match; who types them errs."""
    if not text.strip() and mode not in ("literal", "regex"):
        raise BadArgumentError("TEXT: nothing to look for: it must have more than blanks")


def _require_words(text: str, mode: str) -> None:
    """Of a text that found nothing: to a model, a sign may mean something, but not to ours."""
    if mode == "semantic" and not any(map(str.isalnum, text)):
        raise BadArgumentError(
            "TEXT: no word to look for, and mode semantic has found nothing: all others find signs"
        )


def _asked(daemon: DaemonClient, text: str, wanted: dict[str, Any]) -> Answer:
    """The answer; an argument that is refused is called as the command line calls it."""
    try:
        return daemon.query(text, **wanted)
    except BadArgumentError as error:
        name, colon, why = str(error).partition(":")
        raise BadArgumentError(f"{_OPTIONS.get(name, name)}{colon}{why}") from None


def _from_root(options: argparse.Namespace, root: str) -> dict[str, dict[str, str]]:
    """The patterns for the daemon, by the name of its argument, each with what was typed for it."""
    given = {"paths": options.path, "exclude_paths": options.exclude_path}
    if not any(given.values()):
        return {}
    from cidx_ref.typed import all_from_root

    return {name: all_from_root(globs, root, _OPTIONS[name]) for name, globs in given.items()}


def index(options: argparse.Namespace) -> int:
    """Bring the index up to date."""
    with _client(_unchecked_project(options)) as daemon:
        report = _build(daemon, full=options.full, wait_s=options.wait)
        skipped = daemon.skipped() if options.skipped else None
    from cidx_ref.terminal import run_summary, skipped_lines

    if options.json:
        print_json({**report, **({"skipped_files": skipped["files"]} if skipped else {})})
    else:
        print(run_summary(report))
        if skipped and skipped["files"]:
            print("\n".join(skipped_lines(skipped)))
        _note(report)
    return FOUND


def skipped(options: argparse.Namespace) -> int:
    """List what the last index run left out."""
    from cidx_ref.terminal import skipped_lines

    project = _project(options)
    daemon = _running(project)
    if daemon is not None:  # which may be the only one that has the key
        with daemon:
            told = daemon.skipped()
    else:
        from cidx_ref.index.skipped import read_skipped
        from cidx_ref.keys import account_key

        told = cast("Skipped", read_skipped(project, account_key()))

    if options.json:
        print_json(told)
    elif lines := list(skipped_lines(told)):
        print("\n".join(lines))
    return FOUND


def adopt(options: argparse.Namespace) -> int:
    """Check an index that was made elsewhere, and take it."""
    from cidx_ref.index.adopting import adopt as take
    from cidx_ref.terminal import adoption_lines

    report = take(_project(options), source=options.source, wait_s=options.wait)
    return _report(options, report, *adoption_lines(report))


def start(options: argparse.Namespace) -> int:
    """Start the daemon in the background, and wait until it accepts connections."""
    from cidx_ref.client import DaemonClient
    from cidx_ref.launcher import start_process

    project = _project(options)
    _require_enabled(project)
    states = ["already running"]
    # The client sees to it that it is a daemon of this version.
    DaemonClient(project, launch=lambda project: states.append(start_process(project))).close()
    state = states[-1]
    return _report(options, {"status": state, "project": str(project.root)}, state)


def stop(options: argparse.Namespace) -> int:
    """Stop the daemon, and wait until its process has ended."""
    from cidx_ref.launcher import stop as stop_daemon

    state = "stopped" if stop_daemon(_project(options), tell=complain) else "not running"
    return _report(options, {"status": state}, state)


def serve(options: argparse.Namespace) -> int:
    """Be the daemon, until it is stopped."""
    if options.ready_fd is not None:
        return _serve_in_background(options)
    project = _project(options)
    _require_enabled(project)
    from cidx_ref.daemon.server import serve as serve_project

    def on_ready(state: str) -> None:
        if state != "serving":
            from cidx_ref.launcher import require_answer

            require_answer(project)
        _report(options, {"status": state}, state)

    serve_project(project, on_ready, options.runtime)
    return FOUND


def _serve_in_background(options: argparse.Namespace) -> int:
    from cidx_ref.daemon.background import serve_in_background
    from cidx_ref.project import Project

    project = Project.at(options.project)  # the client has found out which one is meant
    project.check()
    _require_enabled(project)
    return serve_in_background(project, options.ready_fd, options.runtime)


def status(options: argparse.Namespace) -> int:
    """Print the running daemon's status; without a daemon, that there is none, where its files are
    or would be, and which index would serve."""
    project = _project(options)
    daemon = _running(project)
    if daemon is not None:
        return say("status")(options, daemon)
    from cidx_ref.index.either import described
    from cidx_ref.launcher import is_claimed
    from cidx_ref.terminal import plain_lines

    told = {**project.whereabouts(), **described(project)}
    is_between = is_claimed(project)  # by one that does not answer
    if options.json:
        print_json({"running": False, "starting_or_stopping": is_between, **told})
    else:
        state = "starting or stopping" if is_between else "no"
        print("\n".join([f"running: {state}", *plain_lines({k: v for k, v in told.items() if v})]))
    return FOUND


def clear_cache(options: argparse.Namespace) -> int:
    """Have the running daemon, if there is one, forget the loaded index."""
    daemon = _running(_project(options))
    if daemon is None:
        return _report(options, {"status": "not running"}, "not running: nothing is cached")
    return say("clear_cache")(options, daemon)


def say(method: str) -> Callable[..., int]:
    """A command that prints what the running daemon says."""

    def run(options: argparse.Namespace, daemon: DaemonClient | None = None) -> int:
        with daemon or _client(_unchecked_project(options), start=False) as daemon:
            told = getattr(daemon, method)()
        if options.json:
            print_json(told)
        else:
            from cidx_ref.terminal import plain_lines

            print("\n".join(plain_lines(told)))
        return FOUND

    return run


def init(options: argparse.Namespace) -> int:
    """Write the project's configuration."""
    from cidx_ref.config import Config

    changes: dict[str, Any] = {}
    if options.ttl_minutes is not None:
        minutes = options.ttl_minutes
        changes["ttl_minutes"] = int(minutes) if minutes == minutes // 1 else minutes
    if options.no_auto_shutdown:
        changes["auto_shutdown_on_idle"] = False
    project = _project(options)
    try:
        Config.init(project, **changes)
    except OSError as error:
        raise BadArgumentError(
            f"{project.config_path}: cannot be written: {error.strerror} "
            "(a project's configuration lies in its tree, wherever its index is)"
        ) from None
    path = str(project.config_path)
    return _report(options, {"config": path}, f"wrote {path}")


# What they share.


def _unchecked_project(options: argparse.Namespace) -> Project:
    """The project that is meant, for what checks its directory itself."""
    from cidx_ref.project import Project

    named = options.project is not None
    return Project.around(options.project if named else ".", consent=named, notice=complain)


def _project(options: argparse.Namespace) -> Project:
    """The project that is meant, with nothing in its directory that must not be used."""
    project = _unchecked_project(options)
    project.check()
    return project


def _client(project: Project, *, start: bool = True) -> DaemonClient:
    from cidx_ref.client import DaemonClient

    # The client checks the directory before it does anything, and again when it connects.
    return DaemonClient(project, start=start)


def _running(project: Project) -> DaemonClient | None:
    """A client of the daemon that runs, or None."""
    from cidx_ref.client import DaemonClient
    from cidx_ref.sockets import is_answered

    return DaemonClient(project, start=False) if is_answered(project.socket_path) else None


def _require_enabled(project: Project) -> None:
    from cidx_ref.config import Config

    if not Config.load(project.config_path).enabled:
        raise DaemonUnavailableError(f"{project.config_path}: daemon.enabled is false")


def _build(daemon: DaemonClient, **options: Any) -> IndexReport:
    from cidx_ref.progressbar import ProgressBar

    with ProgressBar(sys.stderr) as bar:
        return daemon.index(progress=bar, **options)


def _hint(error: NoIndexError) -> None:
    """Say what can be done instead of building an index, where there is something."""
    if (hint := str(error).partition("; ")[2]).startswith("an index of the full cidx"):
        complain(hint)


def _note(report: IndexReport) -> None:
    for note in report["notes"]:
        complain(note)


def _show(answer: Answer, *, is_filtered: bool, color: str = "auto") -> None:
    from cidx_ref import terminal

    if answer and (note := terminal.relaxed_note(answer)):
        complain(note)
    if sys.stdout is None:
        return
    width = None
    if sys.stdout.isatty():
        from shutil import get_terminal_size

        width = get_terminal_size().columns
    usual = terminal.use_color(sys.stdout, os.environ)
    has_color = {"always": True, "never": False}.get(color, usual)
    sys.stdout.write(terminal.render_answer(answer, width=width, color=has_color))
    if not answer and not answer.more_matches:
        said = "no match in what the filters let through" if is_filtered else "no match"
        print(f"{said} {terminal.unavailable_note(answer)}".rstrip(), file=sys.stderr)
    if not answer or answer.total_matches is not None:
        for note in filter(None, (terminal.matches_note(answer), terminal.pending_note(answer))):
            print(note, file=sys.stderr)


def _report(options: argparse.Namespace, told: Mapping[str, Any], *lines: str) -> int:
    from cidx_ref.shown import escape

    if options.json:
        print_json(told)
    else:
        print("\n".join(map(escape, lines)))
    flush()
    return FOUND


def complain(message: str) -> None:
    """Print a line for a person to standard error, escaped; never raises `OSError`."""
    from cidx_ref.shown import bounded, escape

    if sys.stderr is not None:
        with suppress(OSError):
            print(f"cidx-ref: {escape(bounded(message))}", file=sys.stderr, flush=True)


def flush() -> None:
    """Write out what was printed.  Raises `OSError`, so that a full disk is noticed in time."""
    if sys.stdout is not None:
        sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print `value` as one line of JSON."""
    # ASCII: a path that is not UTF-8 arrives as escaped surrogates, as Python's json reads them.
    print(json.dumps(value))
