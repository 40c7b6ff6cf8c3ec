r"""The process that keeps a target's daemon for a load session, and leaves nothing of it behind.

    python -m cidx_ref.testing.load.keeper '{"target": "mine:TARGET", "values": {"ttl_s": 600}}'

It writes the target's project to a temporary directory, starts the daemon, has it indexed, and says
in one line of JSON where it is.  For each line on its standard input it starts the daemon again, if
nobody accepts, and says so.  When that input ends, because the session has ended, however, it ends
all that it has started, and removes the directory.  It is a process of its own so that this happens
after a kill -9, too, and so that nothing of it holds up the session.
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

from cidx_ref.testing.conformance import subject
from cidx_ref.testing.conformance.asking import Gone, Refused, Unreadable
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.named import target_named
from cidx_ref.testing.conformance.subject import Daemon, NotStarted, WriterFailed
from cidx_ref.testing.conformance.target import Target
from cidx_ref.testing.load import place

__all__ = ["main"]

_LOGS = 3
_LOG_CHARS = 2000


def main(argv: Sequence[str]) -> int:
    given = json.loads(argv[0])
    # Ctrl-C reaches the whole terminal; this process ends when the session has ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        target = _target_of(given)
        with Bench(target) as bench:
            _keep(bench, given["values"])
    except (Gone, NotStarted, OSError, Refused, Unreadable, ValueError, WriterFailed) as error:
        print(f"the daemon could not be started: {error}", file=sys.stderr)
        return 1
    return 0


def _target_of(given: dict[str, Any]) -> Target:
    if command := given.get("command"):
        return place.spawned(command)
    os.chdir(given["path"])  # where the target is looked for
    return target_named(given["target"])


def _keep(bench: Bench, values: dict[str, Any]) -> None:
    project = bench.project(1, **values)
    try:
        daemon = bench.start(project)
    except NotStarted as error:
        raise NotStarted(f"{error}{_logs(project.root)}") from None
    try:
        # A method that is not there, or an index that nobody needs, is for queries to show.
        with suppress(Refused):
            bench.index(daemon)
    except (Gone, TimeoutError, Unreadable) as error:
        more = f"{_wrote(daemon)}{_logs(project.root)}"
        raise NotStarted(f"it could not index: {error}{more}") from None
    _say(root=str(project.root), host=f"unix://{project.address}")
    for _ in sys.stdin:
        try:
            if not subject.accepts(project.address):
                bench.start(project)
            _say()
        except NotStarted as error:
            _say(error=str(error))


def _wrote(daemon: Daemon) -> str:
    said = daemon.process.tail() if daemon.process else ""
    return f"; it wrote:\n{said}" if said else ""


def _logs(root: Path) -> str:
    """The ends of logs in the project, which nobody can look up afterwards."""
    paths = sorted(root.rglob("*.log"))[:_LOGS]
    texts = [path.read_text("utf-8", "replace").strip()[-_LOG_CHARS:] for path in paths]
    return "".join(
        f"\n{path.relative_to(root)} ends:\n{text}"
        for path, text in zip(paths, texts, strict=True)
        if text
    )


def _say(**words: str) -> None:
    with suppress(BrokenPipeError):  # the session has ended meanwhile
        os.write(1, f"{json.dumps(words)}\n".encode())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
