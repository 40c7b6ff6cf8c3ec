"""The command line: `cidx-ref` and `python -m cidx_ref`.

Everything is asked of the client; nothing of the daemon or the index is imported here, except by
`serve` and `adopt`.  Exit status: 0 done or found, 1 no match, 2 could not do it, with one line on
standard error that says what and why.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from cidx_ref import __version__
from cidx_ref.errors import BadArgumentError, CidxError, DaemonUnavailableError, NoIndexError

if TYPE_CHECKING:
    from cidx_ref.client import DaemonClient
    from cidx_ref.project import Project
    from cidx_ref.results import Answer

__all__ = ["main"]

FOUND, NO_MATCH, FAILED, INTERRUPTED = 0, 1, 2, 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale cannot show
    arguments = sys.argv[1:] if argv is None else argv
    options = argparse.Namespace(json="--json" in arguments)
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.run
        status = command(options)
        _flush()
    except CidxError as error:
        return _fail(error, as_json=options.json)
    except OSError as error:
        return _give_up(error)
    except KeyboardInterrupt:
        _complain("interrupted (a daemon that is indexing goes on with it)")
        return INTERRUPTED
    return status


def _fail(error: CidxError, *, as_json: bool) -> int:
    _complain(str(error))
    if as_json:
        try:
            _print_json({"error": {"kind": error.kind, "message": str(error)}})
            _flush()
        except OSError as problem:
            _give_up(problem)
    return FAILED


def _give_up(error: OSError) -> int:
    """Standard output takes no more."""
    # Python flushes it once more while exiting, and must not complain then.
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # the reader has seen enough (`| head`)
        return FOUND
    _complain(f"{error.filename or 'cannot write the output'}: {error.strerror}")
    return FAILED


def _complain(message: str) -> None:
    from cidx_ref.shown import escape

    if sys.stderr is not None:
        with suppress(OSError):
            print(f"cidx-ref: {escape(message)}", file=sys.stderr, flush=True)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


# The commands.


def _query(options: argparse.Namespace) -> int:
    wanted = {
        "mode": options.mode,
        "limit": options.limit,
        "languages": options.language,
        "paths": options.path,
        "exclude_paths": options.exclude_path,
    }
    text = " ".join(options.text)
    with _client(options) as daemon:
        try:
            answer = daemon.query(text, **wanted)
        except NoIndexError:
            if options.no_build:
                raise
            # Beside what is there and not ours: to remove that takes somebody who says so.
            _note(_build(daemon, keep_unverified=True))
            answer = daemon.query(text, **wanted)
    if options.json:
        _print_json(_as_dict(answer))
    else:
        _show(answer, text)
    return FOUND if answer else NO_MATCH


def _index(options: argparse.Namespace) -> int:
    with _client(options) as daemon:
        report = _build(daemon, full=options.full, wait_s=options.wait)
    if options.json:
        _print_json(report)
    else:
        print(_summary(report))
        _note(report)
    return FOUND


def _adopt(options: argparse.Namespace) -> int:
    from cidx_ref.index.adopt import adopt

    report = adopt(_project(options), wait_s=options.wait)
    text = (
        f"adopted: {report['files']} files, {report['chunks']} chunks "
        f"(generation {report['generation']})"
    )
    return _report(options, report, text)


def _start(options: argparse.Namespace) -> int:
    from cidx_ref.client import start_process
    from cidx_ref.sockets import is_answered

    project = _project(options)
    _require_enabled(project)
    state = "already running" if is_answered(project.socket_path) else start_process(project)
    return _report(options, {"status": state, "project": str(project.root)}, state)


def _stop(options: argparse.Namespace) -> int:
    from cidx_ref.client import stop

    state = "stopped" if stop(_project(options)) else "not running"
    return _report(options, {"status": state}, state)


def _serve(options: argparse.Namespace) -> int:
    project = _project(options)
    _require_enabled(project)
    if options.ready_fd is not None:
        return _serve_in_background(project, options.ready_fd)
    from cidx_ref.daemon.server import serve

    def on_ready(state: str) -> None:
        _report(options, {"status": state}, state)

    serve(project, on_ready)
    return FOUND


def _serve_in_background(project: Project, ready_fd: int) -> int:
    """Fork the daemon; whoever started us reads the outcome from `ready_fd`."""
    # Before anything that has threads is imported.  The parent ends at once, so that the daemon
    # is nobody's child: nobody has to wait for it, and it survives whoever started it.
    if os.fork():
        os._exit(0)
    os.setsid()
    os.set_inheritable(ready_fd, False)

    waiting = [ready_fd]

    def tell(message: dict[str, Any]) -> None:
        if waiting:  # once: then the number may be somebody else's
            fd = waiting.pop()
            os.write(fd, json.dumps(message).encode())
            os.close(fd)

    try:
        from cidx_ref.daemon.server import serve

        serve(project, lambda state: tell({"answer": state}))
    except CidxError as error:
        tell({"error": [error.kind, str(error)]})
        return FAILED
    return FOUND


def _status(options: argparse.Namespace) -> int:
    daemon = _running(options)
    if daemon is None:
        return _report(options, {"running": False}, "running: no")
    return _say("status")(options, daemon)


def _clear_cache(options: argparse.Namespace) -> int:
    daemon = _running(options)
    if daemon is None:
        return _report(options, {"status": "not running"}, "not running: nothing is cached")
    return _say("clear_cache")(options, daemon)


def _say(method: str) -> Callable[..., int]:
    """A command that prints what the running daemon says."""

    def run(options: argparse.Namespace, daemon: DaemonClient | None = None) -> int:
        with daemon or _client(options, start=False) as daemon:
            told = getattr(daemon, method)()
        if options.json:
            _print_json(told)
        else:
            print("\n".join(_lines(told)))
        return FOUND

    return run


def _init(options: argparse.Namespace) -> int:
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
        raise BadArgumentError(f"{project.config_path}: {error.strerror}") from None
    path = str(project.config_path)
    return _report(options, {"config": path}, f"wrote {path}")


# What they share.


def _project(options: argparse.Namespace) -> Project:
    """The project that is meant, with nothing in its directory that must not be used."""
    from cidx_ref.project import Project

    named = options.project is not None
    project = Project.around(
        options.project if named else ".",
        consent=named,
        notice=_complain,
    )
    project.check()
    return project


def _client(options: argparse.Namespace, *, start: bool = True) -> DaemonClient:
    from cidx_ref.client import DaemonClient

    return DaemonClient(_project(options), start=start)


def _running(options: argparse.Namespace) -> DaemonClient | None:
    """A client of the daemon that runs, or None."""
    from cidx_ref.client import DaemonClient
    from cidx_ref.sockets import is_answered

    project = _project(options)
    return DaemonClient(project, start=False) if is_answered(project.socket_path) else None


def _require_enabled(project: Project) -> None:
    from cidx_ref.config import Config

    if not Config.load(project.config_path).enabled:
        raise DaemonUnavailableError(f"{project.config_path}: daemon.enabled is false")


def _build(daemon: DaemonClient, **options: Any) -> dict[str, Any]:
    from cidx_ref.terminal import ProgressBar

    with ProgressBar(sys.stderr) as bar:
        return daemon.index(progress=bar, **options)


def _note(report: dict[str, Any]) -> None:
    for note in report["notes"]:
        _complain(note)


def _summary(report: dict[str, Any]) -> str:
    skipped = ", ".join(f"{count} {why}" for why, count in sorted(report["skipped"].items()))
    state = "indexed" if report["changed"] else "up to date"
    removed = report["removed"]
    return (
        f"{state}: {report['files']} files, {report['chunks']} chunks in "
        f"{report['took_ms'] / 1000:.1f} s (generation {report['generation']})"
        + (f"; skipped: {skipped}" if skipped else "")
        + (f"; removed, not signed by this account: {', '.join(removed)}" if removed else "")
    )


def _show(answer: Answer, query: str) -> None:
    from cidx_ref.terminal import render_answer, unavailable_note, use_color

    if sys.stdout is None:
        return
    width = None
    if sys.stdout.isatty():
        from shutil import get_terminal_size

        width = get_terminal_size().columns
    color = use_color(sys.stdout, os.environ)
    sys.stdout.write(render_answer(answer, query=query, width=width, color=color))
    if not answer:
        print(f"no match {unavailable_note(answer)}".rstrip(), file=sys.stderr)


def _as_dict(answer: Answer) -> dict[str, Any]:
    from dataclasses import asdict

    found = asdict(answer)
    return {key: value for key, value in found.items() if value is not None}


def _report(options: argparse.Namespace, told: dict[str, Any], text: str) -> int:
    from cidx_ref.shown import escape

    if options.json:
        _print_json(told)
    else:
        print(escape(text))
    _flush()
    return FOUND


def _print_json(value: Any) -> None:
    # ASCII: a path that is not UTF-8 arrives as escaped surrogates, as Python's json reads them.
    print(json.dumps(value))


def _lines(value: Any, indent: str = "") -> list[str]:
    """A readable form of what the daemon says: one `key: value` a line."""
    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else ((f"{i}", v) for i, v in enumerate(value))
    for key, item in pairs:
        if isinstance(item, dict | list) and item:
            lines += [f"{indent}{key}:", *_lines(item, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {_plain(item)}")
    return lines


def _plain(value: Any) -> str:
    from cidx_ref.shown import escape

    if isinstance(value, str):
        return escape(value)
    return "none" if value in ({}, []) else json.dumps(value)


# The grammar.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "required: TEXT" in message:
            message += "; one that begins with - goes after --"
        raise BadArgumentError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cidx-ref",
        description="Search a repository's code, from a daemon that keeps its indexes in memory.",
        epilog="Exit status: 0 done or found, 1 no match, 2 could not do it, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"cidx-ref {__version__}")
    # Named, or argparse would lay out a help text to find the name: 2 ms of every command.
    commands = parser.add_subparsers(metavar="COMMAND", required=True, prog=parser.prog)
    # Before the command or after it; suppressed defaults, or the latter would undo the former.
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for each in (parser, common):
        each.add_argument(
            "--project",
            metavar="DIR",
            help="the repository (default: the nearest directory above, of your own, that has "
            ".code-indexer/ or is a git root, else this directory)",
        )
        each.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(project=None, json=False)

    def command(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    _add_query(command("query", _query, "search; builds the index first when there is none"))
    index = command("index", _index, "bring the index up to date")
    index.add_argument("--full", action="store_true", help="build it anew even if nothing changed")
    adopt = command("adopt", _adopt, "check an index that was made elsewhere, and take it")
    for writer in index, adopt:
        writer.add_argument(
            "--wait",
            type=float,
            metavar="S",
            help="wait S seconds at most for another writer",
        )
    command("start", _start, "start the daemon in the background")
    command("stop", _stop, "stop the daemon, once it has answered what is in flight")
    serve = command("serve", _serve, "run the daemon in the foreground")
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    command("status", _status, "what is cached, and how old the index is")
    command("health", _say("health"), "whether the daemon is well")
    command("metrics", _say("metrics"), "counters of calls, hits, loads and evictions")
    command("diagnose", _say("diagnostics"), "what is in flight, threads, versions, limits, files")
    command("clear-cache", _clear_cache, "forget the loaded index")
    command("ping", _say("ping"), "who answers")
    init = command("init", _init, "write .code-indexer/config.json")
    init.add_argument("--ttl-minutes", type=float, metavar="N", help="idle minutes until eviction")
    init.add_argument("--no-auto-shutdown", action="store_true", help="stay when idle")
    return parser


def _add_query(query: argparse.ArgumentParser) -> None:
    query.add_argument(
        "text",
        metavar="TEXT",
        nargs="+",
        help="what to look for; a phrase in double quotes (within the shell's) must be there",
    )
    query.add_argument("--mode", choices=("hybrid", "semantic", "fts"), default="hybrid")
    query.add_argument("--limit", type=int, default=10, metavar="N", help="hits (default: 10)")
    query.add_argument(
        "--language", action="append", default=[], metavar="L", help="only this language"
    )
    query.add_argument(
        "--path", action="append", default=[], metavar="GLOB", help="only these paths"
    )
    query.add_argument(
        "--exclude-path", action="append", default=[], metavar="GLOB", help="not these paths"
    )
    query.add_argument("--no-build", action="store_true", help="fail where there is no index")


if __name__ == "__main__":
    raise SystemExit(main())
