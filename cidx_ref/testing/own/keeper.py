r"""The process that keeps our own daemon for a load session, and leaves nothing of it behind.

    python -m cidx_ref.testing.own.keeper \
        '{"source": null, "config": {}, "environment": {}, "command": []}'

It copies source to a temporary directory, indexes it, starts a daemon, and says in one line of JSON
where.  When its standard input ends, because the session has ended, however, it ends the daemon and
whatever else runs for that project, and removes the directory.  It is a process of its own so that
this happens after a kill -9, too, and so that copying and indexing do not hold up the session.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cidx_ref import launcher
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.project import Project
from cidx_ref.scratch import Scratch
from cidx_ref.testing.load.corpus import copy_source
from cidx_ref.testing.own.load import launching

__all__ = ["main", "processes_of"]


def processes_of(root: Path) -> list[int]:
    """The processes that have this very path as an argument: daemons and builds of it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if os.fsencode(root) in arguments and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def main(argv: Sequence[str]) -> int:
    given = json.loads(argv[0])
    # Ctrl-C reaches the whole terminal; this process ends when the session has ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    scratch = Scratch("cidx-load-")
    root = scratch.path.resolve() / "source"
    try:
        where = json.dumps(_set_up(root, given))
        with suppress(BrokenPipeError):  # the session has ended meanwhile
            os.write(1, f"{where}\n".encode())
        sys.stdin.read()
    except Exception as error:
        print(f"the daemon could not be started: {error}{_log_of(root)}", file=sys.stderr)
        return 1
    finally:
        _end(root)
        scratch.close()
    return 0


def _set_up(root: Path, given: dict[str, Any]) -> dict[str, Any]:
    os.environ.update(given["environment"])  # of this process, which indexes
    launch = launching(given["command"], given["environment"])
    source = given["source"]
    copy_source(root, Path(source) if source else None)
    project = Project.at(root)
    # Indexed here: the session's daemon should begin with nothing done and nothing loaded.
    Config.init(project, enabled=False)
    with DaemonClient(project) as here:
        here.index()
    Config.init(project, **{"enabled": True, **given["config"]})
    launch(project)
    return {"root": str(root), "host": f"unix://{project.socket_path}"}


def _log_of(root: Path) -> str:
    """What the daemon wrote last, which nobody can look up afterwards."""
    try:
        return "\n" + Project.at(root).log_path.read_text("utf-8", "replace")[-2000:]
    except Exception:  # there is no log, or not even a project
        return ""


def _end(root: Path) -> None:
    if root.is_dir():
        try:
            launcher.stop(Project.at(root))
        except Exception as error:  # it is broken, perhaps on purpose
            print(f"the daemon was not stopped: {error}", file=sys.stderr)
    # A client may be starting another one at this moment, which then finds no project.
    while alive := processes_of(root):
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
