"""What is kept with the user's state of the full cidx's indexes: which were adopted, and what was
checked of them.

An adoption is for a place: what the full cidx writes there next is checked anew, and then taken.
Each record carries a digest that only the account's key makes.
"""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, is_plain
from cidx_ref.keys import Key
from cidx_ref.places import chosen, make, state_directory
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Keeping"]

_ADOPTED, _RECORD = "adopted.json", "record.json"
_DIGEST = "digest"
_NEW = ".new-"
_MAX_BYTES = 1 << 24
#: Of what is checked: a later version that looks at more must look again.
FORMAT = 1


class Keeping:
    """What is kept for the project at `root`.  Thread-safe."""

    def __init__(self, root: Path, key: Key, runtime: Runtime = SYSTEM) -> None:
        self._root = root
        self._key = key
        self._runtime = runtime
        self.path = chosen(root, state_directory() / "cidx").running
        self._adopted: tuple[tuple[int, int, int], bool] | None = None

    @property
    def is_adopted(self) -> bool:
        """Whether the user has adopted what lies there; cheap."""
        try:
            found = (self.path / _ADOPTED).lstat()
        except OSError:
            return False
        now = found.st_ino, found.st_mtime_ns, found.st_ctime_ns
        known = self._adopted
        if known is None or known[0] != now:
            known = self._adopted = now, self._read(None, _ADOPTED) is not None
        return known[1]

    def adopt(self) -> None:
        """Note that the user has adopted it.  Raises `UntrustedError`, `OSError`."""
        if self._key.problem is not None:
            raise UntrustedError(f"an adopted index would be forgotten: {self._key.problem}")
        with self.opened() as own:
            own.replace(_ADOPTED, self._signed({"root": str(self._root)}))

    def record(self, generation: str) -> dict[str, Any] | None:
        """What was found out about `generation`; None if it was not checked."""
        found = self._read(generation, _RECORD)
        return found if found is not None and found.get("generation") == generation else None

    def make(
        self, generation: str, check: Callable[[Directory, str], dict[str, Any]]
    ) -> dict[str, Any]:
        """Have `check` make a directory, and keep it as that of `generation`; its record."""
        name = f"{_NEW}{secrets.token_hex(8)}"
        with self.opened() as own:
            try:
                record = {**check(own, name), "generation": generation, "format": FORMAT}
                with own.sub(name) as made:
                    made.create(_RECORD, self._signed(record))
                own.remove(generation)
                _rename(own, name, generation)
            finally:
                own.remove(name)
        return record

    def sweep(self, generation: str) -> None:
        """Remove what is kept of other generations than this one."""
        with suppress(OSError, UntrustedError), self.opened() as own:
            for name in own.names():
                if name.startswith("cidx-") and name != generation:
                    own.remove(name)

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

    def _read(self, folder: str | None, name: str) -> dict[str, Any] | None:
        if folder is not None and not is_plain(folder):
            return None
        try:
            with Directory.open(self.path) as own:
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


def _rename(own: Directory, name: str, generation: str) -> None:
    try:
        own.rename(name, generation)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        # Somebody else's is there by now, who has found the same.
