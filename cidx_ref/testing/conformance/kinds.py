"""Of what kind each field of a target, and of a check, is: text, a command, a function, seconds.

Here belongs what can be told of a value by itself; what several say together is in `declared`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.target import (
    Attach,
    Beyond,
    Cap,
    Faults,
    Methods,
    Spawn,
    Subjects,
    Target,
)
from cidx_ref.testing.promises.wording import shown

__all__ = ["KINDS", "misfits"]

#: Longer than anybody waits.
_MOST_S = 1e9


@dataclass(frozen=True)
class _Kind:
    words: str
    holds: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_passable(value: object) -> bool:
    """Whether the system takes it: as a word of a command, in an environment, as a path."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _is_command(value: Any) -> bool:
    return all(map(_is_passable, value)) if _is_list(value) else _is_passable(value)


def _maps(is_name: Callable[[object], bool], is_value: Callable[[object], bool]) -> Any:
    return lambda value: (
        isinstance(value, Mapping)
        and all(map(is_name, value))
        and all(map(is_value, value.values()))
    )


def _is_name(value: object) -> bool:
    return _is_passable(value) and value != "" and "=" not in str(value)


def _is_writable(value: object) -> bool:
    """Whether it can be a file's text."""
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def _are_caps(value: Any) -> bool:
    # A target makes a tuple of what it is given, if that can be.
    return isinstance(value, tuple) and all(isinstance(each, Cap) for each in value)


def _seconds(least: Callable[[float], bool]) -> Callable[[Any], bool]:
    def are(value: Any) -> bool:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and least(value) and value <= _MOST_S

    return are


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -64 <= value <= 255


def _a(kind: type) -> _Kind:
    return _Kind(f"must be {kind.__name__}(...)", lambda value: isinstance(value, kind))


_TEXT = _Kind("must be text", _is_text)
_PASSED = _Kind("must be text that can be passed on: without NUL or surrogates", _is_passable)
_COMMAND = _Kind(
    "must be a command: text, or a list of its words, without NUL or surrogates", _is_command
)
_TEXTS = _Kind("must map text to text", _maps(_is_text, _is_text))
_FUNCTION = _Kind("must be a function", lambda value: value is None or callable(value))
_FLAG = _Kind("must be True or False", lambda value: isinstance(value, bool))
_DURATION = _Kind("must be a number of seconds above 0", _seconds(lambda value: value > 0))
_STATUS = _Kind("must be an exit status: a number from -64 (a signal's) to 255", _is_status)
_POINTS = _Kind(
    "must be a list of text", lambda value: _is_list(value) and all(map(_is_passable, value))
)

#: Of each class, its fields; in an order that makes sense to who has several to mend.
KINDS: Mapping[type, Mapping[str, _Kind]] = {
    Target: {
        "start": _Kind(
            "must be Spawn(...) or Attach(...)", lambda value: isinstance(value, (Spawn, Attach))
        ),
        "socket": _PASSED,
        "methods": _a(Methods),
        **dict.fromkeys(("hits", "path", "line", "text", "error", "leaving", "stale"), _TEXT),
        "env": _Kind(
            "must map text to text, without NUL or surrogates, and with names without '='",
            _maps(_is_name, _is_passable),
        ),
        "files": _Kind(
            "must map text to text: paths in the project to what is written there",
            _maps(_is_passable, _is_writable),
        ),
        **dict.fromkeys(("status", "health", "metrics", "not_offered"), _TEXTS),
        "subjects": _a(Subjects),
        "beyond": _a(Beyond),
        "faults": _Kind("must be Faults(...)", lambda v: isinstance(v, (Faults, type(None)))),
        "writer": _COMMAND,
        "launcher": _COMMAND,
        "checks": _Kind("must be a list", _is_list),
        "questions": _Kind("must be a list", _is_list),
        "check_s": _Kind("must be seconds", _seconds(lambda value: value >= 0)),
        **dict.fromkeys(("decode", "connect", "corpus"), _FUNCTION),
        "capabilities": _Kind(
            f"must be a set of Cap: {', '.join(cap.name for cap in Cap)}", _are_caps
        ),
    },
    Spawn: {
        "command": _COMMAND,
        "ready": _TEXT,
        "taken": _TEXT,
        "taken_status": _STATUS,
        "stopped_status": _STATUS,
        "patience_s": _DURATION,
    },
    Check: {**dict.fromkeys(("deep", "inside", "alone"), _FLAG), "limit_s": _DURATION},
    Attach: {"address": _PASSED, "project": _PASSED},
    Methods: dict.fromkeys(Methods.__dataclass_fields__, _TEXT),
    Faults: {
        **dict.fromkeys(("crash", "terminate", "crash_writer", "hold", "fail"), _COMMAND),
        "query": _Kind("must be the name of a point", _is_passable),
        **dict.fromkeys(("start", "sweep", "stop", "publish"), _POINTS),
    },
    Subjects: dict.fromkeys(Subjects.__dataclass_fields__, _FUNCTION),
    Beyond: {
        **dict.fromkeys(("sockets", "halves", "damage"), _FUNCTION),
        **dict.fromkeys(("processes", "exact"), _FLAG),
    },
}


def misfits(part: object, where: str = "") -> Iterator[str]:
    """The fields that are not of their kind: a sentence each."""
    fields = next(fields for kind, fields in KINDS.items() if isinstance(part, kind))
    for name, kind in fields.items():
        value = getattr(part, name)
        if not kind.holds(value):
            yield f"{where}{name}: {shown(value)}: {kind.words}"
