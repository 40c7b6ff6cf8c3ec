"""What is wrong with a target, told at once and in one sentence that names the field.

A check that runs into it would say it late, and of the wrong thing: a pattern that is none, a
placeholder that nobody fills, something offered that nothing says how to ask for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.target import (
    HEALTH_NAMES,
    METRICS_NAMES,
    PLACEHOLDERS,
    STATUS_NAMES,
    Attach,
    Beyond,
    Cap,
    Faults,
    Methods,
    Spawn,
    Subjects,
    Target,
    words,
)

__all__ = ["problem"]

#: What a daemon that is only attached to cannot be tried for, because it would have to be started,
#: ended or configured.
_SPAWNED = (
    *(Cap.KILL, Cap.STOP, Cap.TAKEN, Cap.GONE, Cap.IDLE),
    *(Cap.SHORT_TTL, Cap.CONFIG, Cap.WRITER, Cap.WATCH),
)
#: The method that something offered is asked by.
_METHODS = {
    Cap.INDEX: "index",
    Cap.CLEAR: "clear",
    Cap.STATUS: "status",
    Cap.FTS: "query_fts",
    Cap.HYBRID: "query_hybrid",
    Cap.HEALTH: "health",
    Cap.METRICS: "metrics",
}
#: Of `{word}` that is not preceded by `$`, as a shell's variable is.
_LOOKS_LIKE_ONE = re.compile(r"(?<!\$)\{([a-z_]+)\}")


def problem(target: Target) -> str:
    """The first thing that is wrong with `target`; empty if nothing is."""
    return next(chain.from_iterable(look(target) for look in _LOOKS), "")


def _kinds(target: Target) -> Iterator[str]:
    if not isinstance(target.start, (Spawn, Attach)):
        yield f"start: {target.start!r}: must be Spawn(...) or Attach(...)"
    for name in ("socket", "hits", "path", "line", "text", "error", "leaving", "stale"):
        if not isinstance(getattr(target, name), str):
            yield f"{name}: {getattr(target, name)!r}: must be text"


def _mappings(target: Target) -> Iterator[str]:
    for name in ("env", "files", "status", "health", "metrics", "not_offered"):
        given = getattr(target, name)
        is_text = isinstance(given, Mapping) and all(
            isinstance(part, str) for part in (*given, *given.values())
        )
        if not is_text:
            yield f"{name}: {given!r}: must map text to text"


def _parts(target: Target) -> Iterator[str]:
    for name, kind in (("methods", Methods), ("subjects", Subjects), ("beyond", Beyond)):
        if not isinstance(getattr(target, name), kind):
            yield f"{name}: {getattr(target, name)!r}: must be {kind.__name__}(...)"
    if not isinstance(target.faults, (Faults, type(None))):
        yield f"faults: {target.faults!r}: must be Faults(...)"


def _lists(target: Target) -> Iterator[str]:
    for name in ("checks", "questions"):
        if not isinstance(getattr(target, name), Sequence):
            yield f"{name}: {getattr(target, name)!r}: must be a list"
    for number, one in enumerate(target.checks):
        if not isinstance(one, Check):
            yield f"checks[{number}]: {one!r}: must be made by @check"
    if not _is_number(target.check_s) or not target.check_s >= 0:
        yield f"check_s: {target.check_s!r}: must be seconds"


def _is_number(given: object) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool)


def _functions(target: Target) -> Iterator[str]:
    for name in ("decode", "connect", "corpus"):
        if not (getattr(target, name) is None or callable(getattr(target, name))):
            yield f"{name}: {getattr(target, name)!r}: must be a function"
    for name in ("cache", "claim", "lock"):
        make = getattr(target.subjects, name)
        if not (make is None or callable(make)):
            yield f"subjects: {name}: {make!r}: must be a function"
    for cap in target.capabilities:
        if not isinstance(cap, Cap):
            yield f"capabilities: {cap!r}: must be of Cap: {', '.join(c.name for c in Cap)}"


def _patterns(target: Target) -> Iterator[str]:
    given = {"leaving": target.leaving}
    if isinstance(target.start, Spawn):
        given |= {"ready": target.start.ready, "taken": target.start.taken}
    for name, pattern in given.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            yield f"{name}: {pattern!r}: not a regular expression: {error}"


def _commands(target: Target) -> Iterator[str]:
    if isinstance(target.start, Attach):
        if not target.start.address:
            yield "Attach: there is no address"
    else:
        yield from _command("Spawn", target.start.command, is_needed=True)
        if not _is_number(target.start.patience_s) or not target.start.patience_s > 0:
            yield f"patience_s: {target.start.patience_s!r}: must be a number above 0"
        if not target.socket:
            yield "socket: there is none, so nothing can be asked"
    yield from _command("writer", target.writer)
    yield from _command("launcher", target.launcher)
    if target.faults:
        yield from _faults(target.faults)


#: What brings a fault about, and what must be in its command.
_FAULTS = {
    **dict.fromkeys(("crash", "terminate", "crash_writer"), ("{point}",)),
    **dict.fromkeys(("hold", "fail"), ("{point}", "{gate}")),
}


def _faults(faults: Faults) -> Iterator[str]:
    for name, placeholders in _FAULTS.items():
        command = getattr(faults, name)
        yield from _command(f"faults: {name}", command)
        for needed in placeholders:
            if command and needed not in " ".join(words(command)):
                yield f"faults: {name}: {command!r}: {needed} is missing"
    if not isinstance(faults.query, str):
        yield f"faults: query: {faults.query!r}: must be the name of a point"


def _command(name: str, command: str | Sequence[str], *, is_needed: bool = False) -> Iterator[str]:
    try:
        parts = words(command)
    except (ValueError, TypeError) as error:
        yield f"{name}: {command!r}: not a command: {error}"
        return
    if is_needed and not parts:
        yield f"{name}: there is no command"
    if not all(isinstance(part, str) for part in parts):
        yield f"{name}: {command!r}: its words must be text"
        return
    yield from _placeholders(name, parts)


def _environment(target: Target) -> Iterator[str]:
    yield from _placeholders("socket", [target.socket])
    for name, value in target.env.items():
        yield from _placeholders(f"env: {name}", [value])
    for path in target.files:
        if not path or path.startswith("/") or ".." in path.split("/"):
            yield f"files: {path!r}: must be a path in the project"


def _placeholders(where: str, texts: Iterable[str]) -> Iterator[str]:
    # Not of files: there, braces are somebody else's.
    for found in chain.from_iterable(map(_LOOKS_LIKE_ONE.findall, texts)):
        if found not in PLACEHOLDERS:
            yield f"{where}: {{{found}}} is not one of {_one_of(found, PLACEHOLDERS, '{%s}')}"


def _names(target: Target) -> Iterator[str]:
    known = {"status": STATUS_NAMES, "health": HEALTH_NAMES, "metrics": METRICS_NAMES}
    for field, names in known.items():
        for name in getattr(target, field):
            if name not in names:
                yield f"{field}: {name!r} is not one of {_one_of(name, names)}"


def _sayings(target: Target) -> Iterator[str]:
    for promise, reason in target.not_offered.items():
        if not reason.strip():
            yield f"not_offered: {promise}: there is no reason"
    for number, question in enumerate(target.questions):
        if (
            isinstance(question, str)
            or not isinstance(question, Sequence)
            or len(question) != 2
            or not all(isinstance(part, str) for part in question)
        ):
            yield f"questions[{number}]: {question!r}: must be a query and a path"
    if target.hits and not (target.path or target.text):
        yield "hits: neither `path` nor `text` says what one is"


def _capabilities(target: Target) -> Iterator[str]:
    if isinstance(target.start, Attach):
        for cap in _SPAWNED:
            if target.offers(cap):
                yield f"capabilities: Cap.{cap.name}: not of a daemon that is attached to"
    for cap, method in _METHODS.items():
        if target.offers(cap) and not getattr(target.methods, method):
            yield f"capabilities: Cap.{cap.name}: there is no method {method!r}"
    for cap, (is_met, needed) in _NEEDS.items():
        if target.offers(cap) and not is_met(target):
            yield f"capabilities: Cap.{cap.name}: needs {needed}"


def _query(target: Target) -> Iterator[str]:
    if not target.methods.query:
        yield "methods: there is no 'query', so nothing can be asked"


def _takes_fresh(target: Target) -> bool:
    modes = ("query", "query_fts", "query_hybrid")
    return any(getattr(target.methods, m) and target.methods.call(m).takes("fresh") for m in modes)


def _configures_ttl(target: Target) -> bool:
    return any(token in t for t in target.files.values() for token in ("{ttl_s}", "{ttl_minutes}"))


def _counts_loads(target: Target) -> bool:
    return ("loads" in target.status and bool(target.methods.status)) or (
        "loads" in target.metrics and bool(target.methods.metrics)
    )


#: Beside methods.
_NEEDS: dict[Cap, tuple[Callable[[Target], bool], str]] = {
    Cap.WRITER: (lambda t: bool(t.writer), "writer"),
    Cap.LOADS: (_counts_loads, 'status["loads"] or metrics["loads"]'),
    Cap.STATUS: (lambda t: bool(t.status), "status"),
    Cap.HEALTH: (lambda t: bool(t.health), "health"),
    Cap.METRICS: (lambda t: bool(t.metrics), "metrics"),
    Cap.SHORT_TTL: (
        lambda t: t.asks("ttl_s") or t.asks("ttl_minutes"),
        "{ttl_s} or {ttl_minutes} in env, files or the command",
    ),
    Cap.IDLE: (
        lambda t: t.asks("ttl_s") or t.asks("ttl_minutes"),
        "{ttl_s} or {ttl_minutes} in env, files or the command",
    ),
    Cap.CONFIG: (_configures_ttl, "a file with {ttl_s} or {ttl_minutes}"),
    Cap.FRESH: (_takes_fresh, "a query method with the role fresh"),
}


def _one_of(name: str, known: Sequence[str], form: str = "%s") -> str:
    said = ", ".join(form % each for each in known)
    close = difflib.get_close_matches(name, known, 1)
    return f"{said}; perhaps {form % close[0]}" if close else said


#: In their order: what comes first is relied on by what follows.
_LOOKS = (
    *(_kinds, _mappings, _parts, _lists, _functions, _query, _patterns, _commands),
    *(_environment, _names, _sayings, _capabilities),
)
