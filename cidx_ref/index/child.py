"""The parent's side of a build: starts the child, relays what it says, ends it when told to."""

from __future__ import annotations

import json
import logging
import os
import re
import selectors
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cidx_ref.errors import CidxError, IndexingError, ShuttingDownError, from_kind
from cidx_ref.files import own_directory
from cidx_ref.index.port import RunListener, RunOptions
from cidx_ref.index.unwritable import how_it_died, not_written, require_room
from cidx_ref.interpreter import python_command, told_by
from cidx_ref.keys import Key
from cidx_ref.places import INDEX_DIRECTORY
from cidx_ref.project import Project

__all__ = ["BuildProcess"]

_log = logging.getLogger("cidx_ref")
_MAX_STDERR_BYTES = 65_536
_MAX_STDERR_LINES = 100
_MAX_LAST_WORDS = 300
_READ_BYTES = 1 << 16  # as much as a pipe holds

_MAX_ARGUMENT_CHARS = 100_000  # the system takes 128 KiB in one


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
        ended: Callable[[bool], object] = lambda was_killed: None,
    ) -> None:
        """`embedder` is the id of the one that will search, which must be the one that builds;
        `key` signs the index; `verified` is a generation whose files need not be read again;
        `failed` is called when the run has failed, and was not cancelled or refused;
        `ended(was_killed)` is called when the child has ended, in whatever way.

        Raises `IndexingError` if there can be no process."""
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
        self._project = project
        self._key = key
        self._failed = failed
        self._ended = ended
        self._cancelled = False
        self._complaints = b""
        self._was_killed = True  # until it says what came of it
        try:
            self._process = subprocess.Popen(
                [*command, *_cut(json.dumps(job))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                process_group=0,  # Ctrl-C is for the daemon, which ends it
            )
        except OSError as error:  # no processes left, or descriptors, or memory
            raise IndexingError(f"no indexing process can be started: {error.strerror}") from None

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
            self._ended(self._was_killed)

    def _relay(self, listener: RunListener) -> dict[str, Any]:
        outcome: dict[str, Any] = {}
        with self._process:  # which closes the pipes, and waits
            try:
                self._write(self._key.secret.hex().encode("ascii"))
                for outcome in self._messages():
                    if "progress" in outcome:
                        listener.progress(*outcome["progress"])
                    elif "waiting" in outcome:
                        listener.waiting()
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
        self._log_complaints()
        return self._result(outcome)

    def _messages(self) -> Iterator[dict[str, Any]]:
        for line in self._lines():
            if (message := told_by(line)) is not None:
                yield message
            else:
                self._complain(line + b"\n")

    def _lines(self) -> Iterator[bytes]:
        """The lines that the child tells, until it ends; of what it complains of the end is kept.

        Both are read here: a pipe that nobody reads would stop the child once it is full.
        """
        told = self._process.stdout
        assert told is not None
        begun: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            for pipe in (told, self._process.stderr):
                assert pipe is not None
                selector.register(pipe, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._process.stderr in ready and not self._hear():
                    selector.unregister(self._process.stderr)
                if told not in ready:
                    continue
                *ends, rest = (data := os.read(told.fileno(), _READ_BYTES)).split(b"\n")
                for end in ends:
                    yield b"".join([*begun, end])
                    begun.clear()
                begun.append(rest)
                if not data:
                    break
        self._hear()

    def _hear(self) -> bool:
        """Take what the child complains of; False where it will complain no more."""
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        try:
            data = os.read(self._process.stderr.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        self._complain(data)
        return bool(data)

    def _complain(self, data: bytes) -> None:
        self._complaints = (self._complaints + data)[-_MAX_STDERR_BYTES:]

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died, which shows in its exit status
            os.write(self._process.stdin.fileno(), data)

    def cancel(self) -> None:
        """End the build; the live index stays as it is."""
        self._cancelled = True
        self._process.kill()

    def _log_complaints(self) -> None:
        said = self._complaints.decode("utf-8", "replace").strip()
        for line in said.splitlines()[-_MAX_STDERR_LINES:]:
            _log.warning("the indexing process said: %s", line)

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        self._was_killed = "done" not in message and "error" not in message
        if "done" in message:
            return dict(message["done"])
        if "error" in message:
            raise from_kind(*message["error"])
        if self._cancelled:
            raise ShuttingDownError("the daemon is stopping; the index stays as it was")
        try:
            with suppress(FileNotFoundError), own_directory(self._project.generations) as directory:
                require_room(directory)
        except OSError as error:
            raise not_written(error, self._project) from None
        # Its last words, without directories, which are the daemon's business.
        words = self._complaints.decode("utf-8", "replace").strip().rpartition("\n")[2]
        words = re.sub(r"/(?:[^/\s]+/)+", "", words)[:_MAX_LAST_WORDS]
        how = how_it_died(self._process.returncode)
        raise IndexingError(f"the indexing process {how}{words and f': {words}'}")
