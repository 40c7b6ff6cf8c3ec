"""The command line: `cidx-ref` and `python -m cidx_ref`; its grammar, and its exit status.

One command is parsed and run (`commands` has them).  Exit status: 0 done or found, 1 no match, 2
could not do it, with one line on standard error that says what and why; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from cidx_ref import commands
from cidx_ref._version import __version__
from cidx_ref.commands import FAILED, FOUND, complain, flush, print_json
from cidx_ref.errors import BadArgumentError, CidxError, InternalError
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["main"]

INTERRUPTED = 130


def main(argv: list[str] | None = None, runtime: Runtime = SYSTEM) -> int:
    """Run one command; return its exit status.  `SystemExit` ends `--help` and `--version`.

    `runtime` is what a daemon runs on that this process becomes.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale cannot show
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["verify"]:  # whose options are the kit's
        return _verify(arguments[1:])
    options = argparse.Namespace(json="--json" in arguments)
    try:
        options = _parser().parsed(arguments)
        options.runtime = runtime
        command: Callable[[argparse.Namespace], int] = options.run
        status = command(options)
        flush()
    except CidxError as error:
        return _fail(error, as_json=options.json)
    except OSError as error:
        return _give_up(error)
    except Exception as error:  # a traceback would end in status 1, which is "no match"
        return _fail(_unforeseen(error), as_json=options.json)
    except KeyboardInterrupt:
        goes_on = getattr(options, "run", None) in (commands.query, commands.index)
        complain("interrupted" + " (a daemon that is indexing goes on with it)" * goes_on)
        return INTERRUPTED
    return status


def _unforeseen(error: Exception) -> CidxError:
    """A bug of ours, or a module in the place of one that we need; or what answered is no daemon
    of ours, which was not seen in time."""
    from traceback import extract_tb

    at = extract_tb(error.__traceback__)[-1]
    is_ours = at.filename.startswith(__file__.rpartition("/")[0])
    foreign = ": a bug, or what answers is no daemon of cidx-ref's (`cidx-ref stop` ends it)"
    return InternalError(
        f"{type(error).__name__}: {error} ({at.filename}:{at.lineno}){foreign if is_ours else ''}"
    )


def _fail(error: CidxError, *, as_json: bool) -> int:
    complain(str(error))
    if as_json:
        try:
            print_json({"error": {"kind": error.kind, "message": str(error)}})
            flush()
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
    complain(f"{error.filename or 'cannot write the output'}: {error.strerror}")
    return FAILED


def _verify(arguments: list[str]) -> int:
    """Judge a daemon with the kit, which is another distribution: its options and exit status."""
    from importlib import import_module

    try:
        # By name, because the kit stands above all that is here.
        kit = import_module("cidx_ref.testing.conformance.__main__")
    except ModuleNotFoundError as error:
        missing = error.name or "a module"
        what = "the kit" if missing.startswith("cidx_ref.testing") else missing
        complain(f"verify needs {what}, which is not installed: pip install 'cidx-ref[testing]'")
        return FAILED
    status: int = kit.main(arguments, prog="cidx-ref verify")
    return status


def _refuse_verify(options: argparse.Namespace) -> int:
    """`verify` behind options of the daemon's, which mean nothing to it."""
    raise BadArgumentError(
        "verify: it comes first, before its options (see cidx-ref verify --help)"
    )


# The grammar.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "required: TEXT" in message:
            message += "; one that begins with - goes after --, and options before that"
        given, _, choices = message.rpartition(" (choose from ")
        if ": invalid choice: " in given:
            message = given + _meant(given.rpartition(": ")[2].strip("'"), choices)
        raise BadArgumentError(f"{message} (see {self.prog} --help)")

    def parsed(self, arguments: list[str]) -> argparse.Namespace:
        """The options; what is none is named by the command that it was typed for."""
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            command: _Parser = options.parser
            meant = _meant(unknown[0], command.format_usage())
            command.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return options


def _meant(given: str, known: str) -> str:
    """A question for what is like `given` among the words of `known`; else what there is, if
    it is a list."""
    import re
    from difflib import get_close_matches

    words = re.findall(r"-{0,2}[a-z][a-z-]*", known)
    if re.fullmatch("-[A-Za-z].*", given):  # a short option, with a value perhaps
        long = [word for word in words if word.startswith(f"-{given[:2].lower()}")]
        return f" (did you mean {' or '.join(dict.fromkeys(long))}?)" if long else ""
    if close := get_close_matches(given, words, n=1):
        return f" (did you mean {close[0]}?)"
    return f" (choose from {known}" if known.endswith(")") else ""


def _parser() -> _Parser:
    parser = _Parser(
        prog="cidx-ref",
        description="Search a repository's code, from a daemon that keeps its indexes in memory.",
        epilog="Exit status: 0 done or found, 1 no match, 2 could not do it, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"cidx-ref {__version__}")
    # Named, or argparse would lay out a help text to find the name: 2 ms of every command.
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, prog=parser.prog)
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
        sub = subparsers.add_parser(name, parents=[common], help=text, description=text)
        sub.set_defaults(run=run, parser=sub)
        return sub

    _add_query(
        command("query", commands.query, "search; builds the index first when there is none")
    )
    index = command("index", commands.index, "bring the index up to date")
    index.add_argument("--full", action="store_true", help="build it anew even if nothing changed")
    index.add_argument(
        "--skipped", action="store_true", help="then list what was left out, and why"
    )
    command("skipped", commands.skipped, "list what the last index run left out, and why")
    adopt = command("adopt", commands.adopt, "check an index that was made elsewhere, and take it")
    adopt.add_argument(
        "--source",
        choices=("own", "cidx"),
        help="of our format, or of the full cidx (default: of ours, if one lies here)",
    )
    for writer in index, adopt:
        writer.add_argument(
            "--wait",
            type=float,
            metavar="S",
            help="wait S seconds at most for another writer",
        )
    command("start", commands.start, "start the daemon in the background")
    command("stop", commands.stop, "stop the daemon, once it has answered what is in flight")
    serve = command("serve", commands.serve, "run the daemon in the foreground")
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    command("status", commands.status, "what is cached, and how old the index is")
    command("health", commands.say("health"), "whether the daemon is well")
    command("metrics", commands.say("metrics"), "counters of calls, hits, loads and evictions")
    command(
        "diagnose",
        commands.say("diagnostics"),
        "what is in flight, threads, versions, limits, files",
    )
    command("clear-cache", commands.clear_cache, "forget the loaded index")
    command("ping", commands.say("ping"), "who answers")
    init = command("init", commands.init, "write .code-indexer/config.json")
    init.add_argument("--ttl-minutes", type=float, metavar="N", help="idle minutes until eviction")
    init.add_argument("--no-auto-shutdown", action="store_true", help="stay when idle")
    verify = command("verify", _refuse_verify, "judge any daemon by its promises (verify --help)")
    verify.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    return parser


def _add_query(query: argparse.ArgumentParser) -> None:
    query.add_argument(
        "text",
        metavar="TEXT",
        nargs="+",
        help="what to look for; a piece in double quotes (within the shell's) is found as written",
    )
    query.add_argument(
        "--mode",
        default="hybrid",
        help="hybrid (default), semantic, fts; or literal, regex: exact lines",
        choices=("hybrid", "semantic", "fts", "literal", "regex"),
    )
    query.add_argument(
        "-i", "--ignore-case", action="store_true", help="in mode literal or regex: in any case"
    )
    query.add_argument("--limit", type=int, default=10, metavar="N", help="hits (default: 10)")
    query.add_argument(
        "--language", action="append", default=[], metavar="L", help="only this language"
    )
    query.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="GLOB",
        help="only these paths: as in .gitignore, from the project's root (./PATH: from here)",
    )
    query.add_argument(
        "--exclude-path", action="append", default=[], metavar="GLOB", help="not these paths"
    )
    query.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colors: on a terminal (auto, unless NO_COLOR is set), always (| less -R), or never",
    )
    query.add_argument(
        "--fresh",
        action="store_true",
        help="bring the index up to date first, where files have changed",
    )
    query.add_argument(
        "--source",
        choices=("own", "cidx"),
        help="whose index answers: ours, or that of the full cidx (default: ours if there is one)",
    )
    query.add_argument(
        "--explain", action="store_true", help="show of each hit what made its score"
    )
    query.add_argument("--no-build", action="store_true", help="fail where there is no index")


if __name__ == "__main__":
    raise SystemExit(main())
