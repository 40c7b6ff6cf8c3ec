"""What callers may pass: checked, by name, before any lock is taken (QRY-5).

Arguments may come from a plain RPyC client, where a list is a proxy whose every element is a
round trip; so they are copied here, at most so many of them, and nothing below meets a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from cidx_ref.errors import BadArgumentError
from cidx_ref.index import languages
from cidx_ref.index.filters import Filters, normal, problem_with, too_much
from cidx_ref.index.pattern import compiled
from cidx_ref.index.port import LINE_MODES, SOURCES
from cidx_ref.limits import MAX_LIMIT, check_length
from cidx_ref.shown import shown as shown_value

__all__ = ["check_path", "check_structure", "freshness_options", "index_options", "is_a",
           "search_options", "shown"]  # fmt: skip

_MAX_PATH_CHARS = 4096  # what Linux takes
_MAX_CONTAINERS = 1000
#: Strings of JSON, the last of which may have no end.  Nothing in it goes back.
_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_MAX_ITEMS = 1000
_MAX_ITEM_CHARS = 4096
_MAX_WAIT_S = 31_536_000  # a year; NaN and infinity are not at most that, either
_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 0.05, 3600
_OF_QUERIES = ("languages", "paths", "exclude_paths", "explain", "fresh", "timeout_s", "source")


def check_structure(text: object) -> None:
    """Raise `ValueError` if the JSON in `text` has more lists and objects than any call needs:
    two megabytes of them take the parser a quarter of a second, in one piece."""
    if type(text) is not str or text.count("[") + text.count("{") <= _MAX_CONTAINERS:
        return
    outside = _STRINGS.sub("", text)  # a query may hold any number
    if outside.count("[") + outside.count("{") > _MAX_CONTAINERS:
        raise ValueError(f"more than {_MAX_CONTAINERS} lists and objects")


def check_path(project_path: object) -> None:
    """Raise `BadArgumentError` if this cannot be the path of a project."""
    if not (is_a(project_path, str) or is_a(project_path, PurePath)):
        raise BadArgumentError(f"project_path: must be a path, not {type(project_path).__name__}")
    # Resolving one takes a time that grows with the square of its length.
    if len(str(project_path)) > _MAX_PATH_CHARS:
        raise BadArgumentError("project_path: not a directory: longer than any path")


def search_options(
    text: Any,
    limit: Any,
    extra: Mapping[str, Any],
    mode: str = "hybrid",
    project_path: Any = None,
) -> dict[str, Any]:
    """All but `is_unchanged` for a `Search` in `mode`, of the project at `project_path`.

    Raises `BadArgumentError`.
    """
    if not is_a(text, str):
        raise BadArgumentError(f"query: must be a string, not {type(text).__name__}")
    check_length(text)
    if is_a(limit, bool) or not is_a(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise BadArgumentError(
            f"limit: {shown(limit)}: must be a whole number from 1 to {MAX_LIMIT}"
        )
    is_of_lines = mode in LINE_MODES
    _refuse_unknown(extra, (*_OF_QUERIES, "ignore_case"))
    ignore_case = _flag(extra, "ignore_case")
    if ignore_case and not is_of_lines:
        raise BadArgumentError(
            f"ignore_case: only in the modes {' and '.join(LINE_MODES)}; words meet in any case"
        )
    explain = _flag(extra, "explain")
    if explain and is_of_lines:
        raise BadArgumentError(
            f"explain: not in the modes {' and '.join(LINE_MODES)}: lines are in the order of files"
        )
    if is_of_lines:
        compiled(mode, str(text), ignore_case=ignore_case)  # or it says why it cannot be
    source = _source(extra)
    filters = Filters(
        languages=tuple(languages.canonical(name) for name in _strings(extra, "languages")),
        **_globs(extra, str(project_path) if type(project_path) is str else ""),
    )
    return {
        "text": str(text),
        "mode": mode,
        "limit": limit,
        "filters": filters,
        "ignore_case": ignore_case,
        "explain": explain,
        "source": source,
    }


def _source(given: Mapping[str, Any]) -> str:
    value = given.get("source")
    if value is None:
        return ""
    if not is_a(value, str) or value not in SOURCES:
        raise BadArgumentError(f"source: {shown(value)}: must be one of {', '.join(SOURCES)}")
    if value == "cidx" and given.get("fresh") is True:
        raise BadArgumentError("fresh: an index of the full cidx is as fresh as it is made there")
    return str(value)


def freshness_options(extra: Mapping[str, Any]) -> dict[str, Any]:
    """`fresh`, and `timeout_s` where it is given, of a query.  Raises `BadArgumentError`."""
    fresh, timeout_s = _flag(extra, "fresh"), extra.get("timeout_s")
    if timeout_s is None:
        return {"fresh": fresh}
    if not _is_number(timeout_s) or not _MIN_TIMEOUT_S <= timeout_s <= _MAX_TIMEOUT_S:
        raise BadArgumentError(
            f"timeout_s: {shown(timeout_s)}: must be {_MIN_TIMEOUT_S} to {_MAX_TIMEOUT_S} seconds"
        )
    return {"fresh": fresh, "timeout_s": timeout_s}


def index_options(callback: object, extra: Mapping[str, Any]) -> dict[str, Any]:
    """`full`, `wait_s` and `keep_unverified` for a build.  Raises `BadArgumentError`."""
    if callback is not None and not callable(callback):
        raise BadArgumentError(f"callback: must be callable, not {type(callback).__name__}")
    _refuse_unknown(extra, ("full", "wait_s", "keep_unverified"))
    full, keep = (extra.get(name, False) for name in ("full", "keep_unverified"))
    for name, value in ("full", full), ("keep_unverified", keep):
        if not is_a(value, bool):
            raise BadArgumentError(f"{name}: {shown(value)}: must be true or false")
    wait_s = extra.get("wait_s")
    if wait_s is not None and not _is_duration(wait_s):
        raise BadArgumentError(f"wait_s: {shown(wait_s)}: must be 0 to {_MAX_WAIT_S} seconds")
    return {"full": full, "wait_s": wait_s, "keep_unverified": keep}


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not is_a(value, bool):
        raise BadArgumentError(f"{name}: {shown(value)}: must be true or false")
    return bool(value)


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            said = ", ".join(known)
            given_name = name if name.isidentifier() and len(name) < 100 else shown(name)
            raise BadArgumentError(f"{given_name}: unknown argument; known are: {said}")


def _strings(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given.get(name)
    if value is None:
        return ()
    if is_a(value, str):  # one, where a list of one was meant
        value = (value,)
    items: list[str] = []
    try:
        # Each is checked before the next is asked for: a proxy need not have an end.
        for item in value:
            _check_item(name, item, len(items))
            items.append(item)
    except BadArgumentError:
        raise
    except Exception:  # not iterable; or the client's own trouble with its list
        raise BadArgumentError(f"{name}: must be a list of strings") from None
    return tuple(items)


def _check_item(name: str, item: Any, before: int) -> None:
    if before == _MAX_ITEMS:
        raise BadArgumentError(f"{name}: more than {_MAX_ITEMS}")
    if not is_a(item, str):
        raise BadArgumentError(f"{name}: {shown(item)}: must be a string")
    if len(item) > _MAX_ITEM_CHARS:
        raise BadArgumentError(f"{name}: {len(item)} characters are too many")


def _globs(given: Mapping[str, Any], root: str) -> dict[str, tuple[str, ...]]:
    globs = {name: _strings(given, name) for name in ("paths", "exclude_paths")}
    # First, because it bounds what looking at each of them costs.
    if (problem := too_much([glob for found in globs.values() for glob in found])) is not None:
        raise BadArgumentError(f"{' and '.join(filter(globs.get, globs))}: {problem}")
    for name, found in globs.items():
        globs[name] = tuple(_glob(name, glob, root) for glob in found)
    return globs


def _glob(name: str, glob: str, root: str) -> str:
    """`glob` from the project's root, checked."""
    if not glob.strip():
        raise BadArgumentError(f"{name}: {shown(glob)}: must not be empty")
    try:
        from_root = normal(glob, root.rstrip("/"))
    except ValueError as error:
        raise BadArgumentError(f"{name}: {shown(glob)}: {error}") from None
    if (problem := problem_with(from_root)) is not None:
        raise BadArgumentError(f"{name}: {shown(glob)}: {problem}")
    return from_root


def is_a(value: object, kind: type) -> bool:
    """`isinstance`, but asking the type only: a proxy's class is what the client says it is."""
    return issubclass(type(value), kind)


def shown(value: object) -> str:
    """`value` as a message has it: escaped, and not all of it where it is long."""
    plain = type(value) in (bool, bytes, float, int, list, str, tuple, type(None))
    return shown_value(value) if plain else f"a {type(value).__name__}"


def _is_number(value: Any) -> bool:
    return (is_a(value, int) or is_a(value, float)) and not is_a(value, bool)


def _is_duration(value: Any) -> bool:
    return _is_number(value) and bool(0 <= value <= _MAX_WAIT_S)
