"""The files that a run writes: tried before it begins, and written when it has ended.

Here belongs what is said of a file that cannot be written; what stands in it is made elsewhere.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cidx_ref.testing.conformance.named import UnusableError

__all__ = ["check_writable", "write_all"]


def check_writable(paths: Mapping[str, Path]) -> None:
    """See that each, by its option, can be written; leave nothing behind.  Raises
    `UnusableError`."""
    places: dict[Path, str] = {}
    for option, path in paths.items():
        try:
            place = Path(os.path.realpath(path))
            _try(place)
            is_file = not place.exists() or place.is_file()  # and no terminal, or a pipe
        except OSError as error:
            raise UnusableError(f"{path}: cannot be written: {error.strerror}") from None
        if (other := places.setdefault(place, option)) != option and is_file:
            raise UnusableError(f"{path}: --{other} and --{option} are the same file")


def _try(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists():  # not opened: a FIFO would wait for its reader
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    missing = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.unlink()
    finally:
        for folder in missing:
            with suppress(OSError):  # it was not come to, or is another run's by now
                folder.rmdir()


def write_all(texts: Iterable[tuple[Path, str]]) -> None:
    """Write each, also behind one that cannot be; for the first of those, raise `UnusableError`."""
    failed = ""
    for path, text in texts:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", errors="backslashreplace")
        except OSError as error:
            failed = failed or f"{path}: cannot be written: {error.strerror}"
            if path.is_file():  # half of a report would be taken for one
                with suppress(OSError):
                    path.unlink()
    if failed:
        raise UnusableError(failed)
