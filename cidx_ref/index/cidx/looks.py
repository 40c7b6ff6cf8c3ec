"""The last look at an index of the full cidx, which counts for as long as all that it saw is as it
was: a query then asks for some ten files by their names, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cidx_ref.index.cidx import tree
from cidx_ref.places import DIRECTORY
from cidx_ref.runtime import Runtime

__all__ = ["Looks"]

#: What was touched so shortly before a look may be touched again, and have the same times: those of
#: some file systems are of two seconds.
_RACY_NS = 3_000_000_000


class Looks:
    """`tree.look`, again and again.  Thread-safe: what it remembers is put in place whole, and
    compared with what is there."""

    def __init__(self, root: Path, model: str | None, runtime: Runtime) -> None:
        self._root = root
        self._model = model
        self._runtime = runtime
        self._last: tuple[tree.Tree, dict[Path, tree.Signature]] | None = None

    def look(self, watched: Sequence[str] = ()) -> tree.Tree | None:
        """What lies there; see `tree.look` for `watched`, and what it raises."""
        last = self._last
        if last is not None and not watched and _are(last[1]):
            return last[0]
        began_ns = int(self._runtime.now().timestamp() * 1e9)
        seen: dict[str, tree.Signature] = {}
        found = tree.look(self._root, self._model, watched, seen)
        self._last = None
        # What was refused was not looked at, and what is watched is of a refusal.
        if found is None or found.refused or found.watched:
            return found
        if max(max(each[3:]) for each in seen.values()) < began_ns - _RACY_NS:
            own = self._root / DIRECTORY
            self._last = found, {own / path: each for path, each in seen.items()}
        return found


def _are(seen: dict[Path, tree.Signature]) -> bool:
    """Whether each of these is what it was: folders first, so no link is followed to what is in
    them."""
    try:
        return all(tree.signature(path.lstat()) == was for path, was in seen.items())
    except OSError:
        return False
