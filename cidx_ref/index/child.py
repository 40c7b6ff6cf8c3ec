"""The parent's side of a build: starts the child, relays what it says, ends it when told to."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cidx_ref.errors import IndexingError, ShuttingDownError, from_kind
from cidx_ref.index.build import Progress
from cidx_ref.interpreter import python_command
from cidx_ref.keys import Key
from cidx_ref.project import Project

__all__ = ["BuildProcess"]

_log = logging.getLogger("cidx_ref")
_MAX_STDERR_BYTES = 65_536
_MAX_STDERR_LINES = 100


class BuildProcess:
    """One build in a child process.  `run` in one thread; `cancel` from any other."""

    def __init__(
        self,
        project: Project,
        *,
        full: bool,
        wait_s: float | None,
        max_file_size_bytes: int,
        embedder: str,
        key: Key,
        keep_unverified: bool = False,
    ) -> None:
        """`embedder` is the id of the one that will search, which must be the one that builds;
        `key` signs the index."""
        job = {
            "embedder": embedder,
            "root": str(project.root),
            "full": full,
            "wait_s": wait_s,
            "max_file_size_bytes": max_file_size_bytes,
            "keep_unverified": keep_unverified,
            "key_problem": key.problem,
        }
        command, environment = python_command("cidx_ref.index.build")
        self._key = key
        self._cancelled = False
        # A file and not a pipe: nobody reads along, and a full pipe would stop the child.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `run`
        try:
            self._process = subprocess.Popen(
                [*command, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
                cwd="/",
            )
        except BaseException:
            self._stderr.close()
            raise

    def run(self, progress: Progress, prepare: Callable[[str], object]) -> dict[str, Any]:
        """Relay progress until the child is done; return its report.

        `prepare(generation)` is called before the child publishes what it has built, which waits
        for it.  Both are called in this thread.  Raises the child's error, `ShuttingDownError` if
        it was cancelled, `IndexingError` if it died.
        """
        assert self._process.stdout is not None
        outcome: dict[str, Any] = {}
        with self._stderr, self._process:  # which closes the pipes, and waits
            try:
                self._write(self._key.secret.hex().encode("ascii"))
                for line in self._process.stdout:
                    outcome = json.loads(line)
                    if "progress" in outcome:
                        progress(*outcome["progress"])
                    elif "ready" in outcome:
                        prepare(outcome["ready"])
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

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        if "done" in message:
            return dict(message["done"])
        if "error" in message:
            raise from_kind(*message["error"])
        if self._cancelled:
            raise ShuttingDownError("the daemon is stopping; the index stays as it was")
        raise IndexingError(f"the indexing process died (exit status {self._process.returncode})")
