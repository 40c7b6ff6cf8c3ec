"""The daemon's log: a record is one line, whatever a file or a client is called; rotated.

Names and messages come from the tree and from peers.  Written raw, a line feed in a file's name
would be a line of the attacker's choice in a file of the attacker's choice; so what is said is
escaped and cut, a traceback, too, and the file is opened through no link.

A peer may provoke the same line as often as it likes.  So each place in the code that logs may
write so much at once, and then so much an hour; what is more is counted, and the count is written
each minute: all else stays in the log.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from traceback import walk_tb
from types import TracebackType

from cidx_ref.errors import CidxError
from cidx_ref.files import Directory
from cidx_ref.project import LOG, Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import bounded, escape

__all__ = ["in_words", "logging_to"]

_log = logging.getLogger("cidx_ref")

_MAX_FILE_BYTES = 1_000_000
_BACKUPS = 2
_MAX_MESSAGE_CHARS = 4000
#: Of a traceback: places, the last ones; and errors, each the cause of the one before it.
_MAX_PLACES, _MAX_CAUSES = 12, 4
#: What one place in the code may write at once, and then by and by.
_BURST_BYTES, _BYTES_PER_S = 1 << 16, 8.0
_COUNTED_EVERY_S = 60.0


def in_words(raised: BaseException) -> str:
    """Why something failed, for an answer or a status: a bug's own words may hold paths, and are
    for the log."""
    if isinstance(raised, CidxError):
        return str(raised)
    if isinstance(raised, OSError):
        return raised.strerror or type(raised).__name__
    return f"{type(raised).__name__}; see daemon.log"


@contextmanager
def logging_to(project: Project, runtime: Runtime = SYSTEM) -> Iterator[None]:
    """Have the package's logger write to the project's log while the block runs; an exception that
    leaves the block is written, too.  Raises `OSError` and `UntrustedError`."""
    with project.open(create=True) as directory:
        handler = _Handler(directory, runtime)
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
    def format(self, record: logging.LogRecord) -> str:
        record.asctime = self.formatTime(record)
        record.message = bounded(record.getMessage(), _MAX_MESSAGE_CHARS)
        line = self.formatMessage(record)
        if record.exc_info and record.exc_info[1] is not None:
            line += f": {bounded(_traceback(record.exc_info[1]), _MAX_MESSAGE_CHARS)}"
        return escape(line)


def _traceback(error: BaseException) -> str:
    """What was raised and where, on one line, and what that came of."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _MAX_CAUSES:
        said = bounded(str(cause), _MAX_MESSAGE_CHARS // (2 * _MAX_CAUSES))
        told.append(f"{type(cause).__name__}: {said} ({_places(cause.__traceback__)})")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "; after ".join(told)


def _places(trace: TracebackType | None) -> str:
    last = deque(walk_tb(trace), _MAX_PLACES)
    places = (f"{f.f_code.co_filename}:{line} in {f.f_code.co_name}" for f, line in last)
    return f"traceback: {', '.join(places)}"


class _Site:
    """A place in the code that logs: what it may still write, and how many of its lines were left
    out since the count was last written."""

    __slots__ = ("_left_bytes", "_seen_s", "left_out", "template")

    def __init__(self, template: str, now_s: float) -> None:
        self.template = template
        self.left_out = 0
        self._left_bytes: float = _BURST_BYTES
        self._seen_s = now_s

    def may_write(self, size_bytes: int, now_s: float) -> bool:
        """Whether so much is written now; counted where it is not."""
        more = (now_s - self._seen_s) * _BYTES_PER_S
        self._left_bytes = min(_BURST_BYTES, self._left_bytes + more)
        self._seen_s = now_s
        if self._left_bytes < size_bytes:
            self.left_out += 1
            return False
        self._left_bytes -= size_bytes
        return True


class _Handler(logging.Handler):
    """Appends to the log in an open directory.  What cannot be written is left out: a full disk
    costs the log and no answer."""

    def __init__(self, directory: Directory, runtime: Runtime) -> None:
        super().__init__()
        self._directory = directory
        self._runtime = runtime
        self._fd = directory.open_for_append(LOG)
        self._size_bytes = os.fstat(self._fd).st_size
        self._sites: dict[tuple[str, int], _Site] = {}
        self._count_at_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        # Called under the handler's own lock.
        try:
            now_s = self._runtime.monotonic()
            if now_s >= self._count_at_s:
                self._write_counts()
                self._count_at_s = now_s + _COUNTED_EVERY_S
            data = self._encoded(record)
            key = record.pathname, record.lineno
            if (site := self._sites.get(key)) is None:
                site = self._sites[key] = _Site(str(record.msg), now_s)
            if site.may_write(len(data), now_s):
                self._write(data)
        except OSError:
            return  # nor is it said to whoever has started the daemon, for each line
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            if self._fd >= 0:
                with suppress(OSError):
                    self._write_counts()
                os.close(self._fd)
                self._fd = -1
        finally:
            self.release()
        super().close()

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _write_counts(self) -> None:
        for site in self._sites.values():
            if site.left_out:
                what = f"{site.left_out} more lines like {site.template!r} were left out"
                site.left_out = 0
                made = {"name": _log.name, "levelname": "INFO", "msg": what}
                self._write(self._encoded(logging.makeLogRecord(made)))

    def _write(self, data: bytes) -> None:
        if self._size_bytes and self._size_bytes + len(data) > _MAX_FILE_BYTES:
            self._rotate()
        self._size_bytes += os.write(self._fd, data)

    def _rotate(self) -> None:
        names = [LOG, *(f"{LOG}.{number}" for number in range(1, _BACKUPS + 1))]
        for old, new in reversed(list(pairwise(names))):
            if self._directory.status(old) is not None:
                self._directory.rename(old, new)
        fresh = self._directory.open_for_append(LOG)
        os.close(self._fd)
        self._fd, self._size_bytes = fresh, 0
