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
    if type(method) is not str or method not in service.EXPOSED - {"call"}:
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
    try:
        _signature(getattr(type(service), f"exposed_{method}")).bind(**given)
    except TypeError as error:
        raise BadArgumentError(f"{method}: {str(error)[:_MAX_ERROR_CHARS]}") from None
    return getattr(service, f"exposed_{method}")(**given)


@lru_cache
def _signature(method: Callable[..., Any]) -> inspect.Signature:
    whole = inspect.signature(method)
    return whole.replace(parameters=list(whole.parameters.values())[1:])  # without `self`
