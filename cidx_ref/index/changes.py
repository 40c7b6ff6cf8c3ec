"""Looking at the files of a listing: which are as they were seen, and what the others are now.

A file that is as it was seen is not read.  What is said of it is what reading would say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from cidx_ref.index.generated import why_by_text
from cidx_ref.index.scan import NOT_A_REGULAR_FILE, Listing, SourceFile, SourceTree
from cidx_ref.index.seen import Seen, SeenFiles

__all__ = ["Look"]


class Look:
    """One look at the files of `listing`.  For one thread at a time.

    `seen` has been loaded before the listing was made, by `recipe.recipe(max_bytes)`.
    """

    def __init__(self, tree: SourceTree, listing: Listing, seen: SeenFiles, max_bytes: int) -> None:
        self._tree = tree
        self._listing = listing
        self._seen = seen
        self._max_bytes = max_bytes
        #: The size of the file that `look` has come to.
        self.size_bytes = 0

    def look(self) -> Iterator[tuple[str, Seen | None]]:
        """Each path of the listing, in its order, with what is known of it without reading it.

        None: that is nothing, so it must be read.  A `reason` is why the file is left out; without
        one, the file belongs to the index.
        """
        stat, get = self._tree.stat, self._seen.get
        for path in self._listing.paths:
            found = stat(path)
            if not isinstance(found, str):
                known = get(path, found)
                if known is not None and (reason := self._weigh(path, known.despite)):
                    known = Seen("", reason=reason)
                self.size_bytes = found.st_size
                yield path, known
            elif found == NOT_A_REGULAR_FILE:  # or perhaps unreadable, which opening it tells
                yield path, None
            else:
                yield path, Seen("", reason=found)

    def read(self, path: str) -> SourceFile | str:
        """The file at `path` as it is now, or the reason to leave it out; kept for later scans."""
        status, seen, verdict = self.take(path)
        if status is not None:
            self._seen.put(path, status, seen)
        return verdict

    def take(self, path: str) -> tuple[os.stat_result | None, Seen, SourceFile | str]:
        """`read`, with what is to be kept for later scans, if there is a status; not kept."""
        status, found = self._tree.read_with_status(path, self._max_bytes)
        if isinstance(found, str):
            return status, Seen("", reason=found), found
        despite = why_by_text(path, found.text) or ""
        seen = Seen(found.digest, despite, found.guessed)
        return status, seen, self._weigh(path, despite) or found

    def _weigh(self, path: str, despite: str) -> str:
        """Why the text of the file leaves it out, if it does: this listing may exempt it."""
        return despite if despite and despite not in self._listing.exempt.get(path, ()) else ""
