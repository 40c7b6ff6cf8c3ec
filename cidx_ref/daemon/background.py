"""Becoming the daemon in the background: the process that `launcher` starts forks it, and ends."""

from __future__ import annotations

import json
import os
from typing import Any

from cidx_ref.errors import CidxError
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime

__all__ = ["serve_in_background"]


def serve_in_background(project: Project, ready_fd: int, runtime: Runtime) -> int:
    """Fork the daemon; the process that started us reads the outcome from `ready_fd`.

    Returns in the daemon only, in the end, with its exit status.
    """
    # Before anything that has threads is imported.  The parent ends at once, so that the daemon
    # is no child of the process that started us: that need not wait for it, and may end before it.
    # It stays in our session, which has no terminal, and in our group, by which it can be ended.
    if os.fork():
        os._exit(0)
    os.set_inheritable(ready_fd, False)

    waiting = [ready_fd]

    def tell(message: dict[str, Any]) -> None:
        if waiting:  # once: then the number may be another file's
            fd = waiting.pop()
            # What goes wrong until here the process that started us reads; then the log has it.
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
            os.write(fd, json.dumps(message).encode())
            os.close(fd)

    try:
        from cidx_ref.daemon.server import serve

        serve(project, lambda state: tell({"answer": state}), runtime)
    except CidxError as error:
        tell({"error": [error.kind, str(error)]})
        return 2
    return 0
