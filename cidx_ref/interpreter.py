"""How this package runs itself in another process, and what a process is shown of the environment
that has no use for the user's keys."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["frugal", "python_command", "told_by", "without_secrets"]

#: numpy's library has a thread, and memory, for each core, and none of our work is for it.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
#: glibc has a heap for each thread, of 64 MB of address space, until there are eight for each core.
#: Sharing two costs ten readers at once a fifth more time, so only where that space is limited.
_FEW_HEAPS = {"MALLOC_ARENA_MAX": "2"}


#: What a program needs to find itself, its libraries, its user and the language: no key, token or
#: proxy is called so.
_NEEDED = frozenset(
    "HOME LANG LANGUAGE LOGNAME PATH TEMP TMP TMPDIR TZ USER GLIBC_TUNABLES".split()
)
_NEEDED_KINDS = ("LC_", "LD_", "XDG_", "PYTHON", "NIX_", "OPENBLAS_", "MALLOC_", "COVERAGE_")


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What a program is shown that reads what may be hostile, and asks no service: whatever else
    there is may be a key, or a proxy with a password, by whatever name."""
    return {
        name: value
        for name, value in environment.items()
        if name in _NEEDED or name.startswith(_NEEDED_KINDS)
    }


def python_command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run `module` with this interpreter, from any directory.

    `-P`: nothing is imported from the working directory, where a repository may have a `json/`.
    `-X utf8`: a file has the same name for all processes, whatever locale each was started in.
    """
    environment = frugal(os.environ)
    if search := environment.get("PYTHONPATH"):
        parts = [os.path.abspath(part) for part in search.split(os.pathsep) if part]  # noqa: PTH100
        environment["PYTHONPATH"] = os.pathsep.join(parts)
    return [sys.executable, "-P", "-X", "utf8", "-m", module, *arguments], environment


def told_by(line: bytes) -> dict[str, Any] | None:
    """What a process of ours tells by a line of its standard output; None for what is not its own:
    a `sitecustomize` of the user's prints before there is anything that could prevent it."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def frugal(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which libraries take little; what the user has set in it counts."""
    import resource

    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return {**_ONE_THREAD, **(_FEW_HEAPS if is_limited else {}), **environment}
