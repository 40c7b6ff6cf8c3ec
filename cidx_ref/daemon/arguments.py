"""What callers may pass: checked, by name, before any lock is taken (QRY-5).

Arguments may come from a plain RPyC client, where a list is a proxy whose every element is a
round trip; so they are copied here, at most so many of them, and nothing below meets a proxy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from cidx_ref.errors import BadArgumentError
from cidx_ref.index import languages
from cidx_ref.index.filters import Filters

__all__ = ["MAX_LIMIT", "MAX_TEXT_CHARS", "index_options", "search_options"]

MAX_LIMIT = 1000
MAX_TEXT_CHARS = 100_000
_MAX_ITEMS = 1000


def search_options(text: object, limit: object, extra: Mapping[str, Any]) -> dict[str, Any]:
    """`text`, `limit` and `filters` for a `Search`.  Raises `BadArgumentError`."""
    if not isinstance(text, str):
        raise BadArgumentError(f"query: must be a string, not {type(text).__name__}")
    if len(text) > MAX_TEXT_CHARS:
        raise BadArgumentError(
            f"query: {len(text)} characters are too many; at most {MAX_TEXT_CHARS}"
        )
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise BadArgumentError(f"limit: {limit!r}: must be a whole number from 1 to {MAX_LIMIT}")
    _refuse_unknown(extra, ("languages", "paths", "exclude_paths"))
    filters = Filters(
        languages=tuple(languages.canonical(name) for name in _strings(extra, "languages")),
        paths=_globs(extra, "paths"),
        exclude_paths=_globs(extra, "exclude_paths"),
    )
    return {"text": str(text), "limit": limit, "filters": filters}


def index_options(callback: object, extra: Mapping[str, Any]) -> dict[str, Any]:
    """`full` and `wait_s` for a build.  Raises `BadArgumentError`."""
    if callback is not None and not callable(callback):
        raise BadArgumentError(f"callback: must be callable, not {type(callback).__name__}")
    _refuse_unknown(extra, ("full", "wait_s"))
    full, wait_s = extra.get("full", False), extra.get("wait_s")
    if not isinstance(full, bool):
        raise BadArgumentError(f"full: {full!r}: must be true or false")
    if wait_s is not None and not _is_duration(wait_s):
        raise BadArgumentError(f"wait_s: {wait_s!r}: must be a number of seconds, 0 or more")
    return {"full": full, "wait_s": wait_s}


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise BadArgumentError(f"{name}: unknown argument; known are: {', '.join(known)}")


def _strings(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given.get(name)
    if value is None:
        return ()
    if isinstance(value, str):  # one, where a list of one was meant
        return (str(value),)
    try:
        items = tuple(islice(iter(value), _MAX_ITEMS + 1))
    except TypeError:
        raise BadArgumentError(f"{name}: must be a list of strings") from None
    if len(items) > _MAX_ITEMS:
        raise BadArgumentError(f"{name}: more than {_MAX_ITEMS}")
    for item in items:
        if not isinstance(item, str):
            raise BadArgumentError(f"{name}: {item!r}: must be a string")
    return items


def _globs(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    globs = _strings(given, name)
    for glob in globs:
        if not glob.strip():
            raise BadArgumentError(f"{name}: {glob!r}: must not be empty")
    return globs


def _is_duration(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0  # type: ignore[arg-type,operator]
