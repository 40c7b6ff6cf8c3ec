"""What is kept with the user's state of the full cidx's indexes: which were adopted, and what was
checked of them.

An adoption is for a place: what the full cidx writes there next is checked anew, and then taken.
Each record carries a digest that only the account's key makes.  What is kept of a project that has
been removed goes when another one is adopted.
"""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, is_plain
from cidx_ref.keys import Key
from cidx_ref.places import chosen, is_gone, make, state_directory
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Keeping"]

_ADOPTED, _RECORD = "adopted.json", "record.json"
_DIGEST = "digest"
_NEW = ".new-"
_MAX_BYTES = 1 << 24
#: Of what is checked: a later version that looks at more must look again.
FORMAT = 2
#: So many projects are looked at for those that are gone.
_MAX_PROJECTS = 256
#: What was begun so long ago, and not ended, its process has not lived to remove.
_LITTER_S = 86_400.0


class Keeping:
    """What is kept for the project at `root`.  Thread-safe."""

    def __init__(self, root: Path, key: Key, runtime: Runtime = SYSTEM) -> None:
        self._root = root
        self._key = key
        self._runtime = runtime
        self.path = chosen(root, state_directory() / "cidx").running
        self._note_path = self.path / _ADOPTED  # each query asks for it
        self._adopted: tuple[tuple[int, int, int], dict[str, Any] | None] | None = None

    @property
    def is_adopted(self) -> bool:
        """Whether the user has adopted what lies there; cheap."""
        return self._adoption() is not None

    @property
    def watched(self) -> list[str]:
        """The files that what was refused hangs on (`Tree.watched`); cheap."""
        return list((self._adoption() or {}).get("watched", ()))

    def _adoption(self) -> dict[str, Any] | None:
        try:
            found = self._note_path.lstat()
        except OSError:
            return None
        now = found.st_ino, found.st_mtime_ns, found.st_ctime_ns
        known = self._adopted
        if known is None or known[0] != now:
            known = self._adopted = now, self._read(None, _ADOPTED)
        return known[1]

    def adopt(self, watched: Iterable[str]) -> None:
        """Note that the user has adopted it, and what is `watched`; forget projects that are gone.
        Raises `UntrustedError`, `OSError`."""
        if self._key.problem is not None:
            raise UntrustedError(f"an adopted index would be forgotten: {self._key.problem}")
        self._note(watched)
        with suppress(OSError, UntrustedError):
            self._forget_the_gone()

    def watch(self, watched: Iterable[str]) -> None:
        """Have these files `watched` from now on.  Raises `UntrustedError`, `OSError`."""
        if self.is_adopted and list(watched) != self.watched:
            self._note(watched)

    def _note(self, watched: Iterable[str]) -> None:
        where = [_place(each) for each in (self._root, self._root.parent)]
        noted = {"root": str(self._root), "where": where, "watched": list(watched)}
        with self.opened() as own:
            own.replace(_ADOPTED, self._signed(noted))

    def _forget_the_gone(self) -> None:
        """Remove what is kept of projects that were removed, of some hundred others."""
        with Directory.open(self.path.parent, self._runtime) as above:
            above.require_own()
            names = above.names()
            own = names.index(self.path.name)
            # From here on, and round: of more, other projects see others.
            for name in [*names[own + 1 :], *names[:own]][:_MAX_PROJECTS]:
                if _is_removed(self._read(None, _ADOPTED, name)):
                    above.remove(name)

    def record(self, generation: str) -> dict[str, Any] | None:
        """What was found out about `generation`; None if it was not checked."""
        found = self._read(generation, _RECORD)
        return found if found is not None and found.get("generation") == generation else None

    def make(self, check: Callable[[Directory, str], dict[str, Any]]) -> dict[str, Any]:
        """Have `check` make a directory, and keep it as that of the generation that it says; its
        record."""
        name = f"{_NEW}{secrets.token_hex(8)}"
        with self.opened() as own:
            try:
                record = {**check(own, name), "format": FORMAT}
                with own.sub(name) as made:
                    made.create(_RECORD, self._signed(record))
                own.remove(record["generation"])
                _rename(own, name, record["generation"])
            finally:
                own.remove(name)
        return record

    def sweep(self, generation: str) -> None:
        """Remove what is kept of other generations than this one, and what was never finished."""
        with suppress(OSError, UntrustedError), self.opened() as own:
            for name in own.names():
                is_other = name.startswith("cidx-") and name != generation
                if is_other or (name.startswith(_NEW) and self._is_litter(own, name)):
                    own.remove(name)

    def _is_litter(self, own: Directory, name: str) -> bool:
        found = own.status(name)
        now = self._runtime.now().timestamp()
        return found is not None and now - found.st_mtime > _LITTER_S

    @contextmanager
    def opened(self) -> Iterator[Directory]:
        """The directory, made if there is none."""
        make(self.path)
        with Directory.open(self.path, self._runtime) as own:
            own.require_own()
            yield own

    @contextmanager
    def catalogue(self, generation: str) -> Iterator[Directory]:
        """The directory of `generation`.  Raises `FileNotFoundError`."""
        with Directory.open(self.path, self._runtime) as own, own.sub(generation) as found:
            yield found

    def _signed(self, document: dict[str, Any]) -> bytes:
        # As it will be read: of a tuple, JSON makes a list.
        plain = json.loads(json.dumps(document))
        return json.dumps({**plain, _DIGEST: self._key.digest(plain)}).encode()

    def _read(
        self, folder: str | None, name: str, project: str | None = None
    ) -> dict[str, Any] | None:
        if folder is not None and not is_plain(folder):
            return None
        try:
            with Directory.open(self.path.with_name(project or self.path.name)) as own:
                if folder is None:
                    document = json.loads(own.read(name, _MAX_BYTES))
                else:
                    with own.sub(folder) as inner:
                        document = json.loads(inner.read(name, _MAX_BYTES))
            digest = document.pop(_DIGEST)
        except (OSError, UntrustedError, ValueError, KeyError, AttributeError, TypeError):
            return None
        is_current = name == _ADOPTED or document.get("format") == FORMAT
        return document if is_current and self._key.vouches_for(document, digest) else None


def _place(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_dev, found.st_ino]


def _is_removed(adoption: dict[str, Any] | None) -> bool:
    """Whether the project is gone, and its file system is not.

    Then the directory that it lay in is the very one that it was, and the project lay on the same
    file system: one that is mounted would be away together with either.
    """
    where = (adoption or {}).get("where")
    if adoption is None or where is None or not is_gone(root := Path(adoption["root"])):
        return False
    own, above = where
    with suppress(OSError):
        return bool(own[0] == above[0] and _place(root.parent) == above)
    return False


def _rename(own: Directory, name: str, generation: str) -> None:
    try:
        own.rename(name, generation)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        # Somebody else's is there by now, who has found the same.
