"""How far an index run is, in one line of a terminal; and whether there is one to draw on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TextIO

from cidx_ref.columns import clean, fit, plain
from cidx_ref.shown import escape

__all__ = ["ProgressBar", "can_draw"]


class ProgressBar:
    """How far the indexing is: one line drawn in place, or on a non-terminal one line each 10 %.

    An instance is a progress callback, `bar(current, total, path, info)`, and a context manager
    that ends the line.  It never raises: once the stream fails, the bar is silent.
    """

    def __init__(
        self, stream: TextIO | None, *, label: str = "indexing", width: int | None = None
    ) -> None:
        self._stream = stream
        self._label = clean(label)
        self._width = width
        self._in_place = can_draw(stream, os.environ)
        self._shown = ""
        self._tenths = 0

    def __call__(self, current: int, total: int, path: str, info: str = "") -> None:
        """Show that `current` of `total` are done, and `path`; a `total` of 0 is not known yet."""
        current = min(max(current, 0), total) if total > 0 else 0
        if self._in_place:
            self._draw(current, total, path, info)
        else:
            self._log(current, total)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._in_place and self._shown:
            self._write("\n")
            self._shown = ""

    def _draw(self, current: int, total: int, path: str, info: str) -> None:
        # The last column stays free: after writing there, erasing to the end may take it back.
        room = _terminal_width(self._stream) if self._width is None else self._width
        parts = [self._label, *_counts(current, total, bar=room // 5), clean(info)]
        parts.append(escape(path))
        line = plain(fit([("  ".join(filter(None, parts)), "")], room - 1))
        if line != self._shown:
            self._shown = line
            self._write(f"\r{line}\x1b[K")

    def _log(self, current: int, total: int) -> None:
        tenths = current * 10 // total if total > 0 else 0
        if tenths > self._tenths:
            self._tenths = tenths
            self._write(f"{self._label} {current}/{total} {current * 100 // total}%\n")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            self._stream = None


def _counts(current: int, total: int, bar: int) -> Iterator[str]:
    """The bar (unless there is no room for it), the numbers and the percentage."""
    if total <= 0:
        return
    if bar >= 6:
        size = min(bar, 24)
        done = size * current // total
        yield f"[{'#' * done}{'-' * (size - done)}]"
    yield f"{current:>{len(str(total))}}/{total}"
    yield f"{current * 100 // total:>3}%"


def can_draw(stream: TextIO | None, env: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that shows what is drawn over."""
    try:
        terminal = stream is not None and stream.isatty()
    except (OSError, ValueError):  # ValueError: it is closed
        return False
    return terminal and env.get("TERM") != "dumb"


def _terminal_width(stream: TextIO | None) -> int:
    """`$COLUMNS`, or what stdout's terminal has, or what that of `stream` has."""
    import shutil

    try:
        size = os.get_terminal_size(stream.fileno() if stream else -1)
    except (OSError, ValueError):
        size = os.terminal_size((80, 24))
    return shutil.get_terminal_size(size).columns
