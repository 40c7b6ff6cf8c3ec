"""What the last index run left out, and why, kept for those who ask later.

The list is for people, and nothing is decided by it.  It lies beside the generations and not in
them: a new folder of dependencies changes it, and nothing is built for that.  A list may have come
with a clone, so it carries the digest of the account's key, as a manifest does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest
from itertools import accumulate, islice
from typing import Any

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, own_directory
from cidx_ref.keys import Key
from cidx_ref.project import SKIPPED, Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["MAX_FILES", "SkippedFiles", "read_skipped", "save_skipped"]

#: So many are listed; all are counted.
MAX_FILES = 5_000
_MAX_CHARS = 1 << 20  # of their paths
_MAX_BYTES = 1 << 24  # of the list: a character is up to twelve of JSON, and each file is some more


class SkippedFiles:
    """Files, and folders as a whole (their paths end in "/"), each with the reason.

    For one thread at a time.
    """

    def __init__(self, skipped: Iterable[tuple[str, str]] = ()) -> None:
        self._reasons = dict(skipped)

    def add(self, path: str, reason: str) -> None:
        self._reasons[path] = reason

    @property
    def counts(self) -> dict[str, int]:
        """By reason; all of them."""
        return dict(sorted(Counter(self._reasons.values()).items()))

    def by_reason(self, reason: str, at_most: int) -> list[str]:
        """The first paths that were skipped for it."""
        return list(islice((path for path, why in self._reasons.items() if why == reason), at_most))

    def as_dict(self) -> dict[str, Any]:
        """`reports.Skipped`, as plain data."""
        first = nsmallest(MAX_FILES, self._reasons.items())
        chars = accumulate(len(path) for path, _ in first)
        listed = [
            {"path": path, "reason": reason}
            for (path, reason), until in zip(first, chars, strict=True)
            if until <= _MAX_CHARS
        ]
        return {"counts": self.counts, "files": listed}


def save_skipped(
    project: Project, skipped: dict[str, Any], key: Key, runtime: Runtime = SYSTEM
) -> None:
    """Keep `skipped` for `read_skipped`, unless it is kept already.  Raises `OSError`,
    `UntrustedError`."""
    if read_skipped(project, key) == skipped:
        return
    text = json.dumps({"skipped": skipped, "digest": key.digest(skipped)})
    with project.open(create=True, runtime=runtime) as directory:
        directory.replace(SKIPPED, text.encode("ascii"))


def read_skipped(project: Project, key: Key) -> dict[str, Any]:
    """What `save_skipped` was given last; nothing skipped where `key` vouches for no list."""
    try:
        with own_directory(project.index_directory) as directory:
            return _parsed(directory, key)
    except (OSError, UntrustedError, ValueError, RecursionError):
        return SkippedFiles().as_dict()


def _parsed(directory: Directory, key: Key) -> dict[str, Any]:
    document = json.loads(directory.read(SKIPPED, _MAX_BYTES))
    skipped = document.get("skipped") if isinstance(document, dict) else None
    if not isinstance(skipped, dict) or not key.vouches_for(skipped, document.get("digest")):
        raise ValueError("not made by this account")
    return skipped
