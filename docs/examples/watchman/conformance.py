"""watchman (Debian: `apt-get install watchman`), which nobody here wrote and which is no RPyC.

    cidx-verify docs/examples/watchman/conformance.py:TARGET

It watches directories, and finds files by their names.  It has no words of files, so this corpus
has each word as the name of an empty file: `words/harbour.py/lantern`.  It speaks lines of JSON on
a Unix socket: `Watchman` is the adapter.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from cidx_ref.testing import Cap, Methods, Spawn, Target
from cidx_ref.testing.conformance import corpus


class Watchman:
    """A connection: what is asked, as watchman's own commands."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(address)
        self.lines = self.socket.makefile("rb")

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, method)(*args, **kwargs)

    def close(self) -> None:
        self.lines.close()
        self.socket.close()

    def search(self, project: str, query: str, limit: int, fresh: bool = False) -> Any:
        """Every answer is fresh: it waits until all events before it were seen."""
        self.send("watch", project)
        wanted = ["anyof", ["false"], *(["name", word] for word in query.split())]
        answer = self.send(
            "query",
            project,
            {"expression": ["allof", ["dirname", "words"], wanted], "fields": ["name"]},
        )
        names = dict.fromkeys(Path(name).parent.name for name in answer.get("files", ()))
        return {**answer, "files": [{"name": name} for name in names][:limit]}

    def stats(self) -> Any:
        return self.send("get-pid")

    def quit(self) -> Any:
        return self.send("shutdown-server")

    def send(self, *command: Any) -> Any:
        self.socket.sendall(json.dumps(command).encode() + b"\n")
        line = self.lines.readline()
        if not line:
            raise EOFError("watchman is gone")
        return json.loads(line)


def words_as_names(root: Path, edition: int) -> None:
    corpus.write(root, edition)
    for name, text in corpus.files(edition).items():
        directory = root / "words" / name
        wanted = {"".join(filter(str.isalpha, word)) for word in text.split()} - {""}
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.iterdir():
            if path.name not in wanted:
                path.unlink()
        for word in wanted:
            (directory / word).touch()


HOME = "{project}/.watchman"
TARGET = Target(
    Spawn(
        f"watchman --foreground --no-save-state --sockname {HOME}/sock --logfile {HOME}/log "
        f"--pidfile {HOME}/pid --statefile {HOME}/state"
    ),
    socket=".watchman/sock",
    files={".watchman/read.me": "of a trial\n"},
    connect=Watchman,
    methods=Methods(
        query="search(project, query, limit, fresh=fresh)",
        query_fts="",
        query_hybrid="",
        index="",
        clear="",
        status="stats()",
        health="",
        metrics="",
        ping="",
        stop="quit()",
    ),
    corpus=words_as_names,
    hits="files",
    path="name",
    line="",
    text="",
    status={"pid": "pid"},
    capabilities={
        Cap.BASE,
        Cap.STATUS,
        Cap.STOP,
        Cap.KILL,
        Cap.TAKEN,
        Cap.FRESH,
        Cap.WATCH,
        Cap.SPEED,
    },
    not_offered={"QRY-1": "a name matches or does not: there is no best one"},
)
