"""What is wrong with a target, told at once and in one sentence that names the field.

A check that runs into it would say it late, and of the wrong thing: a pattern that is none, a
placeholder that nobody fills, something offered that nothing says how to ask for.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.kinds import misfits
from cidx_ref.testing.conformance.target import (
    HEALTH_NAMES,
    MAX_SOCKET_BYTES,
    METRICS_NAMES,
    PLACEHOLDERS,
    STATUS_NAMES,
    Attach,
    Cap,
    Spawn,
    Target,
    filled,
    words,
)
from cidx_ref.testing.promises.wording import shown

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
#: A project where the kit makes them, and its path is as short as it comes.
_SHORTEST_ROOT = "/tmp/kxxxxxxxx/p1"


def problem(target: Target) -> str:
    """The first thing that is wrong with `target`; empty if nothing is."""
    return next(chain.from_iterable(look(target) for look in _LOOKS), "")


def _parts(target: Target) -> Iterator[str]:
    yield from misfits(target)
    yield from misfits(target.start, f"{type(target.start).__name__}: ")
    for name in ("methods", "subjects", "beyond"):
        yield from misfits(getattr(target, name), f"{name}: ")
    if target.faults is not None:
        yield from misfits(target.faults, "faults: ")


def _query(target: Target) -> Iterator[str]:
    if not target.methods.query:
        yield "methods: there is no 'query', so nothing can be asked"


def _patterns(target: Target) -> Iterator[str]:
    given = {"leaving": target.leaving}
    if isinstance(target.start, Spawn):
        given |= {"Spawn: ready": target.start.ready, "Spawn: taken": target.start.taken}
    for name, pattern in given.items():
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            yield f"{name}: {shown(pattern)}: not a regular expression: {error}"


def _commands(target: Target) -> Iterator[str]:
    if isinstance(target.start, Spawn):
        yield from _command("Spawn", target.start.command, is_needed=True)
    yield from _command("writer", target.writer)
    yield from _command("launcher", target.launcher)


def _command(name: str, command: str | Sequence[str], *, is_needed: bool = False) -> Iterator[str]:
    try:
        parts = words(command)
    except ValueError as error:
        yield f"{name}: {shown(command)}: not a command: {error}"
        return
    if is_needed and not parts:
        yield f"{name}: there is no command"
    if parts and not parts[0]:
        yield f"{name}: {shown(command)}: not a command: its first word is empty"
    yield from _placeholders(name, parts)


#: What brings a fault about, and what must be in its command.
_FAULTS = {
    **dict.fromkeys(("crash", "terminate", "crash_writer"), ("{point}",)),
    **dict.fromkeys(("hold", "fail"), ("{point}", "{gate}")),
}


def _faults(target: Target) -> Iterator[str]:
    faults = target.faults
    if faults is None:
        return
    for name, placeholders in _FAULTS.items():
        command = getattr(faults, name)
        yield from _command(f"faults: {name}", command)
        for needed in placeholders:
            if command and needed not in " ".join(words(command)):
                yield f"faults: {name}: {shown(command)}: {needed} is missing"
    if (faults.hold or faults.fail) and not faults.query:
        yield "faults: query: there is no point at which a query is held, or made to fail"
    dies = {**dict.fromkeys(("start", "sweep", "stop"), faults.crash or faults.terminate)}
    for name, command in (dies | {"publish": faults.crash_writer}).items():
        if getattr(faults, name) and not command:
            needed = "crash_writer" if name == "publish" else "crash, or terminate"
            yield f"faults: {name}: there is no command that dies there ({needed})"


# Where it listens.


def _address(target: Target) -> Iterator[str]:
    if isinstance(target.start, Attach):
        yield from _attached(target.start.address)
        return
    if not target.socket:
        yield "socket: there is none, so nothing can be asked"
    for found in _LOOKS_LIKE_ONE.findall(target.socket):
        if found != "project":
            yield f"socket: {{{found}}} is not replaced there: only {{project}} is"
    path = Path(_SHORTEST_ROOT) / filled(target.socket, project=_SHORTEST_ROOT)
    if (length := len(os.fsencode(path))) > MAX_SOCKET_BYTES:
        yield (
            f"socket: {shown(target.socket)}: its path has {length} bytes in a project of the "
            f"kit's ({_SHORTEST_ROOT}), and that of a Unix socket has at most {MAX_SOCKET_BYTES}"
        )


def _attached(address: str) -> Iterator[str]:
    if not address:
        yield "Attach: there is no address"
    said = f"Attach: {shown(address)}: must be the path of a socket, or tcp://host:port"
    scheme, is_url, rest = address.partition("://")
    if not is_url:
        # What is neither a path that anybody has, nor an address that is understood.
        if re.match(r"(unix|tcp):|[\w.-]+:\d+$|\[.*\]:\d+$", address):
            yield said
    elif scheme == "unix":
        if not rest.startswith("/"):
            yield f"{said}: unix:// has an absolute path"
    elif scheme == "tcp":
        yield from (f"{said}: {why}" for why in _tcp(address))
    else:
        yield said


def _tcp(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        yield str(error)
        return
    if not host:
        yield "there is no host"
    if not port:
        yield "there is no port"
    if "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        yield "there is more than host and port"


# What it is given.


def _environment(target: Target) -> Iterator[str]:
    for name, value in target.env.items():
        yield from _placeholders(f"env: {name}", [value])
    for path in target.files:
        is_inside = not path.startswith("/") and ".." not in path.split("/")
        if not is_inside or Path(path).name != path.rpartition("/")[2] or not Path(path).name:
            yield f"files: {shown(path)}: must be a path in the project"
        if _LOOKS_LIKE_ONE.search(path):
            yield f"files: {shown(path)}: placeholders are replaced in its text, not in its path"


def _placeholders(where: str, texts: Iterable[str]) -> Iterator[str]:
    # Not of files: there, braces are somebody else's.
    for found in chain.from_iterable(map(_LOOKS_LIKE_ONE.findall, texts)):
        if found not in PLACEHOLDERS:
            yield f"{where}: {{{found}}} is not one of {_one_of(found, PLACEHOLDERS, '{%s}')}"


# What it answers.


def _names(target: Target) -> Iterator[str]:
    known = {"status": STATUS_NAMES, "health": HEALTH_NAMES, "metrics": METRICS_NAMES}
    for field, names in known.items():
        said: Mapping[str, str] = getattr(target, field)
        for name, path in said.items():
            if name not in names:
                yield f"{field}: {name!r} is not one of {_one_of(name, names)}"
            if not path:
                yield f"{field}: {name}: there is no path"
            yield from _dotted(f"{field}: {name}", path)


def _paths(target: Target) -> Iterator[str]:
    for name in ("hits", "path", "line", "text", "error", "stale"):
        yield from _dotted(name, getattr(target, name))
    if target.hits and not (target.path or target.text):
        yield "hits: neither `path` nor `text` says what one is"


def _dotted(where: str, path: str) -> Iterator[str]:
    if path in ("", "[]"):
        return
    if not all(path.split(".")):
        yield f"{where}: {shown(path)}: a part of it is empty: it is names with dots between them"
    if "[]" in path:
        yield f"{where}: {shown(path)}: [] is all of an answer, and stands alone"


def _sayings(target: Target) -> Iterator[str]:
    for promise, reason in target.not_offered.items():
        if not reason.strip():
            yield f"not_offered: {promise}: there is no reason"
    for number, question in enumerate(target.questions):
        where = f"questions[{number}]: {shown(question)}"
        if (
            isinstance(question, str)
            or not isinstance(question, Sequence)
            or len(question) != 2
            or not all(isinstance(part, str) for part in question)
            or not question[1]
        ):
            yield f"{where}: must be a query and a path"
        elif question[1].startswith("./"):
            yield f"{where}: its path must be as hits are read: {question[1][2:]!r}"


def _checks(target: Target) -> Iterator[str]:
    seen = set()
    for number, one in enumerate(target.checks):
        where = f"checks[{number}]"
        if not isinstance(one, Check):
            yield f"{where}: {shown(one)}: must be made by @check"
            continue
        if not isinstance(one.name, str) or not one.name:
            yield f"{where}: {shown(one.name)}: its name must be text"
            continue
        if one.name in seen:
            yield f"{where}: {shown(one.name)}: another one has that name"
        seen.add(one.name)
        yield from (f"{where}: {wrong}" for wrong in _check(one))


def _check(one: Check) -> Iterator[str]:
    if not one.promises or not all(isinstance(id_, str) for id_ in one.promises):
        yield f"{shown(one.promises)}: @check needs ids of promises behind the name"
    if not all(isinstance(cap, Cap) for cap in one.needs):
        yield f"needs: {shown(set(one.needs))}: must be of Cap"
    if not callable(one.run):
        yield f"{shown(one.run)}: @check is for a function"
    yield from misfits(one)


# What it offers.


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
    *(_parts, _query, _patterns, _commands, _faults, _address),
    *(_environment, _names, _paths, _sayings, _checks, _capabilities),
)
