"""A target by its name, as a command line has it: `MODULE:NAME`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from cidx_ref.testing.conformance.target import Target

__all__ = ["target_at"]


def target_at(text: str, directory: str = "") -> Target:
    """The target that `MODULE:NAME` names; a module is also looked for in `directory`, last.

    Raises `ValueError`, which says in one line what is wrong.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise ValueError(f"target: {text!r}: must be MODULE:NAME, as conformance:TARGET")
    # Last: a directory of somebody's may have a `json.py`.
    if directory and directory not in sys.path:
        sys.path.append(directory)
    found = _imported(module)
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise ValueError(f"target: {error}") from None
    if not isinstance(found, Target):
        raise ValueError(f"target: {text}: is a {type(found).__name__}, not a Target")
    return found


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"target: there is no module {error.name}") from None
        raise ValueError(f"target: {module} cannot be imported: {error}") from None
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"target: {module} cannot be imported: {said}") from None
