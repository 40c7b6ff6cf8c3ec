"""The parent's side of a build: starts the child, relays what it says, ends it when told to."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from cidx_ref.errors import CidxError, IndexingError, ShuttingDownError, from_kind
from cidx_ref.index.port import RunListener, RunOptions
from cidx_ref.interpreter import python_command
from cidx_ref.keys import Key
from cidx_ref.places import INDEX_DIRECTORY
from cidx_ref.project import Project

__all__ = ["BuildProcess"]

_log = logging.getLogger("cidx_ref")
_MAX_STDERR_BYTES = 65_536
_MAX_STDERR_LINES = 100
_MAX_LAST_WORDS = 300

_MAX_ARGUMENT_CHARS = 100_000  # the system takes 128 KiB in one


def _unnamed_file() -> IO[bytes]:
    """What the child's standard error is: no pipe, as no thread reads along, and a full one would
    stop the child; and in memory, as the directory for temporary files may be gone, or full."""
    return open(os.memfd_create("errors"), "r+b")


def _cut(text: str) -> list[str]:
    return [text[i : i + _MAX_ARGUMENT_CHARS] for i in range(0, len(text), _MAX_ARGUMENT_CHARS)]


class BuildProcess:
    """One build in a child process.  `run` in one thread; `cancel` from any other."""

    def __init__(
        self,
        project: Project,
        options: RunOptions,
        *,
        embedder: str,
        key: Key,
        verified: str = "",
        failed: Callable[[], object] = lambda: None,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        """`embedder` is the id of the one that will search, which must be the one that builds;
        `key` signs the index; `verified` is a generation whose files need not be read again;
        `failed` is called when the run has failed, and was not cancelled or refused; `ended`
        is called when the child has ended, in whatever way."""
        job = {
            "embedder": embedder,
            "root": str(project.root),
            "key_problem": key.problem,
            "verified": verified,
            **asdict(options),
        }
        command, environment = python_command("cidx_ref.index.worker")
        # The user's setting may have changed since this daemon was started.
        base = project.places.base if project.places.is_chosen else None
        environment[INDEX_DIRECTORY] = os.fspath(base) if base is not None else ""
        self._key = key
        self._failed = failed
        self._ended = ended
        self._cancelled = False
        self._stderr = _unnamed_file()  # closed by `run`
        self._last_words = ""
        try:
            self._process = subprocess.Popen(
                [*command, *_cut(json.dumps(job))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
                cwd="/",
                process_group=0,  # Ctrl-C is for the daemon, which ends it
            )
        except BaseException:
            self._stderr.close()
            raise

    def run(self, listener: RunListener) -> dict[str, Any]:
        """Relay what the child tells until it is done; return its report.

        Raises the child's error, `ShuttingDownError` if it was cancelled, `IndexingError` if it
        died.
        """
        try:
            return self._relay(listener)
        except CidxError as error:
            if error.failure:
                self._failed()
            raise
        finally:
            self._ended()

    def _relay(self, listener: RunListener) -> dict[str, Any]:
        assert self._process.stdout is not None
        outcome: dict[str, Any] = {}
        with self._stderr, self._process:  # which closes the pipes, and waits
            try:
                self._write(self._key.secret.hex().encode("ascii"))
                for line in self._process.stdout:
                    outcome = json.loads(line)
                    if "progress" in outcome:
                        listener.progress(*outcome["progress"])
                    elif "scanning" in outcome:
                        listener.scanning()
                        self._write(b".")
                    elif "listed" in outcome:
                        listener.listed(*outcome["listed"])
                        self._write(b".")
                    elif "ready" in outcome:
                        listener.ready(outcome["ready"])
                        self._write(b".")
            except BaseException:
                self._process.kill()
                raise
            self._log_stderr()
        return self._result(outcome)

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died, which shows in its exit status
            os.write(self._process.stdin.fileno(), data)

    def cancel(self) -> None:
        """End the build; the live index stays as it is."""
        self._cancelled = True
        self._process.kill()

    def _log_stderr(self) -> None:
        self._stderr.seek(0)
        said = self._stderr.read(_MAX_STDERR_BYTES).decode("utf-8", "replace").strip()
        for line in said.splitlines()[-_MAX_STDERR_LINES:]:
            _log.warning("the indexing process said: %s", line)
            self._last_words = line

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        if "done" in message:
            return dict(message["done"])
        if "error" in message:
            raise from_kind(*message["error"])
        if self._cancelled:
            raise ShuttingDownError("the daemon is stopping; the index stays as it was")
        # Without directories, which are the daemon's business.
        words = re.sub(r"/(?:[^/\s]+/)+", "", self._last_words)[:_MAX_LAST_WORDS]
        said = f": {words}" if words else ""
        status = self._process.returncode
        raise IndexingError(f"the indexing process died (exit status {status}){said}")
