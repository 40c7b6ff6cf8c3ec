"""A call by its name: the arguments of any exposed method, and its outcome, by value as JSON.

So a call is one round trip, whatever it asks (RPC-1), and an error keeps its kind (RPC-2).  A new
connection costs two more: RPyC's root, and `ping`, which tells the daemon's version.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cidx_ref.daemon import arguments, told
from cidx_ref.daemon.transport import ExposedService
from cidx_ref.errors import BadArgumentError, CidxError

__all__ = ["call"]

_MAX_ERROR_CHARS = 300


def call(service: ExposedService, method: Any, arguments_json: Any, callback: Any) -> str:
    """`{"answer": ...}` or `{"error": [kind, message]}`; whatever else is raised is a bug.

    `method` is one of `service.EXPOSED`, but not the one that calls this.
    """
    try:
        return json.dumps({"answer": _answer(service, method, arguments_json, callback)})
    except CidxError as error:
        return json.dumps({"error": [error.kind, told.message(error, None)]})


def _answer(service: ExposedService, method: Any, arguments_json: Any, callback: Any) -> Any:
    if type(method) is not str or method not in service.EXPOSED or method == "call":
        raise BadArgumentError(f"method: {arguments.shown(method)}: unknown")
    try:
        arguments.check_structure(arguments_json)
        given = json.loads(arguments_json)
        if not isinstance(given, dict):
            raise TypeError("must be an object")
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgumentError(f"arguments_json: {error}") from None
    if callback is not None:
        given["callback"] = callback
    exposed = getattr(service, f"exposed_{method}")
    if not _signature(exposed.__func__).takes(given):
        try:
            inspect.signature(exposed).bind(**given)
        except TypeError as error:
            raise BadArgumentError(f"{method}: {str(error)[:_MAX_ERROR_CHARS]}") from None
    return exposed(**given)


class _Signature:
    """Which arguments a method takes by their names: `Signature.bind` takes as long as all else
    here, and is there for what it says of those that do not fit."""

    def __init__(self, method: Callable[..., Any]) -> None:
        named = list(inspect.signature(method).parameters.values())[1:]  # without `self`
        self._any = any(each.kind is each.VAR_KEYWORD for each in named)
        self._known = {each.name for each in named if each.kind is not each.VAR_KEYWORD}
        self._needed = {each.name for each in named if each.default is each.empty} & self._known

    def takes(self, given: dict[str, Any]) -> bool:
        """Whether they are all that it needs, and nothing that it does not know."""
        return self._needed <= given.keys() and (self._any or given.keys() <= self._known)


_signature = lru_cache(_Signature)
