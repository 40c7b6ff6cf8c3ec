"""The daemon's log: a record is one line, whatever a file or a client is called; rotated.

Names and messages come from the tree and from peers.  Written raw, a line feed in a file's name
would be a line of the attacker's choice in a file of the attacker's choice; so what is said is
escaped and cut, and the file is opened through no link.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from cidx_ref.files import Directory
from cidx_ref.project import LOG, Project
from cidx_ref.shown import escape

__all__ = ["logging_to"]

_log = logging.getLogger("cidx_ref")

_MAX_FILE_BYTES = 1_000_000
_BACKUPS = 2
_MAX_MESSAGE_CHARS = 4000
_MAX_TRACEBACK_LINES = 200


@contextmanager
def logging_to(project: Project) -> Iterator[None]:
    """Have the package's logger write to the project's log while the block runs; an exception that
    leaves the block is written, too.  Raises `OSError` and `UntrustedError`."""
    with project.open(create=True) as directory:
        handler = _Handler(directory)
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s"))
        _log.addHandler(handler)
        level, propagates = _log.level, _log.propagate
        _log.setLevel(logging.INFO)
        _log.propagate = False
        try:
            yield
        except Exception:
            _log.exception("the daemon failed")
            raise
        finally:
            _log.removeHandler(handler)
            _log.setLevel(level)
            _log.propagate = propagates
            handler.close()


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = escape(record.message[:_MAX_MESSAGE_CHARS])
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        # Indented: no line of a traceback, which may quote a name, is a record.
        lines = super().formatException(ei).splitlines()[-_MAX_TRACEBACK_LINES:]
        return "\n".join(f"    {escape(line[:_MAX_MESSAGE_CHARS])}" for line in lines)


class _Handler(logging.Handler):
    """Appends to the log in an open directory.  What cannot be written is left out: a full disk
    costs the log and no answer."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory
        self._fd = directory.open_for_append(LOG)
        self._size_bytes = os.fstat(self._fd).st_size

    def emit(self, record: logging.LogRecord) -> None:
        # Called under the handler's own lock.
        try:
            data = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            if self._size_bytes and self._size_bytes + len(data) > _MAX_FILE_BYTES:
                self._rotate()
            self._size_bytes += os.write(self._fd, data)
        except OSError:
            return  # nor is it said to whoever has started the daemon, for each line
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        super().close()

    def _rotate(self) -> None:
        names = [LOG, *(f"{LOG}.{number}" for number in range(1, _BACKUPS + 1))]
        for old, new in reversed(list(pairwise(names))):
            if self._directory.status(old) is not None:
                self._directory.rename(old, new)
        fresh = self._directory.open_for_append(LOG)
        os.close(self._fd)
        self._fd, self._size_bytes = fresh, 0
