"""How files are read that a user names: regular ones, and no more of them than they should have."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

__all__ = ["read_toml", "why_unreadable"]

#: More than anybody writes by hand.
MAX_BYTES = 4 << 20


def why_unreadable(path: Path, most: int = MAX_BYTES) -> str:
    """Why such a file is not to be read, in a few words; empty if it is.

    It is not opened: a FIFO without a writer would not come back.
    """
    try:
        found = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # NUL
        return str(error)
    if stat.S_ISDIR(found.st_mode):
        return "Is a directory"
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    if found.st_size > most:
        return f"{found.st_size:,} bytes are too many: at most {most:,}"
    return ""


def read_toml(path: Path, most: int = MAX_BYTES) -> dict[str, Any]:
    """What a file of TOML says.  Raises `ValueError`, in words that go behind the file's name."""
    import tomllib  # not in each test run, most of which have no such file

    if why := why_unreadable(path, most):
        raise ValueError(why)
    try:
        # Without waiting, should it have become a FIFO meanwhile; and bounded, should it grow.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(most)
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ValueError(error.strerror) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not TOML: {error}") from None
