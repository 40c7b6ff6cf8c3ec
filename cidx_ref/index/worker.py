"""The child process in which a daemon has a generation built: its side of what `child` reads.

Nothing heavy may run on the daemon's GIL: one busy Python thread takes its full-text queries from
1 ms to 35 ms.  The child speaks JSON lines on standard output: `waiting`, if another writer is at
work; `scanning`, when it has its turn and is about to look at the files; `listed`, the folders to
watch, if it was asked for them; `progress`; `ready`, the generation it is about to publish; then
`done` or `error`.  Upon `scanning`, `listed` and `ready` it waits some seconds for a byte: so that
the parent lets nobody join who could have changed what was looked at already, so that what changes
from then on is seen, and so that it can load what is to be live first.  It ends when its standard
input does: so it dies with its parent.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from typing import Any

from cidx_ref.errors import CidxError, IndexingError
from cidx_ref.index.belongs import Rules
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import Embedder
from cidx_ref.index.embedders import VARIABLE, configured
from cidx_ref.keys import KEY_BYTES, Key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["main"]

#: For so long the parent may take to answer.  One that does not (it is of another version, it is
#: stopped) must not keep the writers' lock for ever: what was to be published it loads when it is
#: asked; and without its word that nobody joins any more, there is no scan.
_AGREE_S = 10.0
_MAX_PROCESSES = 4


class _Reporter:
    """Writes progress to the parent: at most twenty lines a second, never going back."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._next_at = 0.0

    def __call__(self, current: int, total: int, path: str, info: str) -> None:
        now = self._runtime.monotonic()
        if current == total or now >= self._next_at:
            self._next_at = now + 0.05
            say({"progress": [current, total, path, info]})


def say(message: dict[str, Any]) -> None:
    # ASCII, with non-UTF-8 paths as escaped surrogates: one line, whatever a file is called.
    _said.write(json.dumps(message) + "\n")
    _said.flush()


#: Where the parent reads; `main` has it to itself.
_said = sys.stdout


class _Parent:
    """Who started this process, at the other end of its standard input."""

    def __init__(self, runtime: Runtime) -> None:
        self._agreed = runtime.event("the parent is ready")
        runtime.thread(self._watch, "parent watch")

    def _watch(self) -> None:
        while os.read(0, 1):
            self._agreed.set()
        os._exit(1)

    def waiting(self) -> None:
        say({"waiting": True})

    def scanning(self) -> None:
        if not self._agrees_to({"scanning": True}):
            raise IndexingError("the daemon does not answer the indexing process")

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        # A parent that takes too long watches later, and knows that it has missed something.
        self._agrees_to({"listed": [folders, files if folders is not None else []]})

    def announce(self, generation: str) -> None:
        self._agrees_to({"ready": generation})

    def _agrees_to(self, message: dict[str, Any]) -> bool:
        self._agreed.clear()
        say(message)
        return self._agreed.wait(_AGREE_S)


def _read_key(problem: str | None) -> Key:
    digits = os.read(0, 2 * KEY_BYTES)  # written at once, and shorter than what a pipe takes so
    if len(digits) < 2 * KEY_BYTES:
        raise SystemExit("the parent has ended")
    return Key(bytes.fromhex(digits.decode("ascii")), problem=problem)


def _done(job: dict[str, Any], embedder: Embedder, key: Key, parent: _Parent) -> dict[str, Any]:
    project = Project.at(job["root"])
    if job["merge"]:
        # Not at the top: it loads the engines, which a run that finds nothing changed does not.
        from cidx_ref.index.merging import merge_segments

        return merge_segments(
            project,
            embedder,
            wait_s=job["wait_s"],
            waiting=parent.waiting,
            scanning=parent.scanning,
            announce=parent.announce,
            key=key,
            verified=job["verified"],
        )
    return bring_up_to_date(
        project,
        embedder,
        full=job["full"],
        wait_s=job["wait_s"],
        max_file_size_bytes=job["max_file_size_bytes"],
        rules=Rules(tuple(job["include"]), tuple(job["exclude"])),
        progress=_Reporter(SYSTEM),
        waiting=parent.waiting,
        scanning=parent.scanning,
        listed=parent.listed if job["watch"] else None,
        announce=parent.announce,
        key=key,
        keep_unverified=job["keep_unverified"],
        verified=job["verified"],
        merge=False,
        processes=min(_MAX_PROCESSES, len(os.sched_getaffinity(0))),
    )


def main() -> int:
    """Read one job as JSON from the arguments, do it, and report it."""
    global _said
    # What an embedder prints must not come between the lines that the parent reads.
    _said = os.fdopen(os.dup(1), "w", encoding="ascii")
    sys.stdout.flush()  # of what came before, as complaints
    os.dup2(2, 1)
    # Syntax trees by the million, none of them in a cycle: the collector would take a tenth of the
    # time to find nothing in them.  Not for ever: an embedder may make cycles.
    gc.set_threshold(1_000_000)
    job = json.loads("".join(sys.argv[1:]))
    # Not among the arguments, which every user of the machine can read.
    key = _read_key(job["key_problem"])
    parent = _Parent(SYSTEM)
    try:
        embedder = configured()
        if embedder.id != job["embedder"]:
            raise IndexingError(
                f"{VARIABLE} names {embedder.id!r}, the daemon searches with {job['embedder']!r}: "
                "run `cidx-ref stop`, and index again"
            )
        report = _done(job, embedder, key, parent)
    except CidxError as error:
        say({"error": [error.kind, str(error)]})
        return 1
    except Exception as error:  # a bug: its message may hold paths
        traceback.print_exc()
        say({"error": [IndexingError.kind, f"{type(error).__name__}; see daemon.log"]})
        return 1
    say({"done": report})
    return 0


if __name__ == "__main__":
    # Not through the interpreter's shutdown, which the thread that reads stdin might hold up.
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
