"""How this package runs itself in another process."""

from __future__ import annotations

import os
import sys

__all__ = ["python_command"]


def python_command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run `module` with this interpreter, from any directory.

    `-P`: nothing is imported from the working directory, where a repository may have a `json/`.
    `-X utf8`: a file has the same name for all processes, whatever locale each was started in.
    """
    environment = dict(os.environ)
    if search := environment.get("PYTHONPATH"):
        parts = [os.path.abspath(part) for part in search.split(os.pathsep) if part]  # noqa: PTH100
        environment["PYTHONPATH"] = os.pathsep.join(parts)
    return [sys.executable, "-P", "-X", "utf8", "-m", module, *arguments], environment
