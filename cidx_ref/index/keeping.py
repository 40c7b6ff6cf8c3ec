"""Vectors that are kept until an index run has succeeded: what a run that failed has had made, the
next one need not.

Of a model that takes its time, or a service that is paid for, all that was made before a failure
would else be made again.  Each process of a run appends to a file of its own; each vector there
carries a digest by the account's key, with its text and the embedder's id in it, for the directory
may have come with a clone.  This is a cache: whatever is wrong with it costs making again.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, own_directory
from cidx_ref.index.embed import Embedder, as_numbers
from cidx_ref.keys import Key
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KEPT", "Keeping", "Place", "forget", "place_of"]

#: The directory, beside `generations/`.
KEPT = "kept-vectors"
_NAME = re.compile(r"[0-9a-f]{16}\.vec")
_DIGEST_BYTES = 16
#: So many files are looked at, and so much of each, and of all; what came with a clone may have any
#: number.  A million vectors of 1,024 dimensions take as much as all may have.
_MAX_FILES = 64
_MAX_FILE_BYTES = 1 << 31
_MAX_READ_BYTES = 1 << 32
_READ_RECORDS = 1024


class Place(NamedTuple):
    """Where the vectors of an embedder are kept, and by which secret they are known."""

    directory: str
    secret: str


def place_of(index_directory: Path, key: Key, embedder: Embedder) -> Place:
    """Of the vectors of `embedder`, beside the index in `index_directory`."""
    named = f"kept vectors {embedder.dim} {embedder.id}".encode("utf-8", "surrogatepass")
    secret = hmac.new(key.secret, named, "sha256").hexdigest()
    return Place(os.fspath(index_directory / KEPT), secret)


def forget(index_directory: Path, runtime: Runtime = SYSTEM) -> None:
    """Remove all that is kept: a run has succeeded.  Writers only."""
    with (
        suppress(OSError, UntrustedError),
        own_directory(index_directory, runtime=runtime) as above,
    ):
        above.remove(KEPT)


class Keeping:
    """An embedder of which what it makes of documents is kept.  A context manager, for one
    thread."""

    costly = True

    def __init__(self, embedder: Embedder, place: Place, runtime: Runtime = SYSTEM) -> None:
        self._embedder = embedder
        self.place = place
        self._runtime = runtime
        self._secret = bytes.fromhex(place.secret)
        self.id, self.dim = embedder.id, embedder.dim
        self._size = 2 * _DIGEST_BYTES + 4 * self.dim
        self._open = ExitStack()
        self._directory: Directory | None = None
        #: By the digest of a text: an open file, and where in it the record lies.
        self._known: dict[bytes, tuple[int, int]] = {}
        self._read: set[str] = set()
        self._may_read = _MAX_READ_BYTES
        self._out: IO[bytes] | None = None
        self._written = 0
        self._is_full = False

    def __enter__(self) -> Keeping:
        with suppress(OSError, UntrustedError):
            self._directory = self._opened(create=False)
            self._look()
        return self

    def __exit__(self, *error: object) -> None:
        self._directory = self._out = None
        self._known.clear()
        with suppress(OSError):  # of what was not written out
            self._open.close()

    def _opened(self, *, create: bool) -> Directory:
        path = Path(self.place.directory)
        return self._open.enter_context(own_directory(path, create=create, runtime=self._runtime))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of `texts`: those that are kept, and of the rest what the embedder makes."""
        import numpy as np

        found = self._taken(texts)
        left = [place for place, vector in enumerate(found) if vector is None]
        if not left:
            return np.array(found, np.float32).reshape(len(texts), self.dim)
        made = as_numbers(self._embedder.embed_documents([texts[place] for place in left]))
        if made.shape != (len(left), self.dim) or not np.isfinite(made).all():
            if len(left) == len(texts):
                return made  # whoever asked says what is wrong with it
            raise ValueError(f"vectors of shape {made.shape}")
        made = made.astype("<f4")
        self._keep([texts[place] for place in left], made)
        for place, vector in zip(left, made, strict=True):
            found[place] = vector
        return np.array(found, np.float32)

    def known(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """The vectors of `texts` as far as they are kept, by other processes, too."""
        with suppress(OSError, UntrustedError):
            self._directory = self._directory or self._opened(create=False)
            self._look()
        return self._taken(texts)

    def _taken(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        return [self._take(_digest(text)) for text in texts]

    def _take(self, digest: bytes) -> NDArray[np.float32] | None:
        if digest not in self._known:
            return None
        record = b""
        with suppress(OSError):
            record = os.pread(*self._place(digest))
        vector = record[2 * _DIGEST_BYTES :]
        if len(record) < self._size or record[: 2 * _DIGEST_BYTES] != self._head(digest, vector):
            del self._known[digest]
            return None
        import numpy as np

        return np.frombuffer(vector, "<f4")

    def _place(self, digest: bytes) -> tuple[int, int, int]:
        fd, at = self._known[digest]
        return fd, self._size, at

    def _head(self, digest: bytes, vector: bytes) -> bytes:
        signed = blake2b(digest + vector, key=self._secret, digest_size=_DIGEST_BYTES)
        return signed.digest() + digest

    def _look(self) -> None:
        """Find what lies in files that have not been looked at."""
        if self._directory is None:
            return
        names = [name for name in self._directory.names() if _NAME.fullmatch(name)]
        for name in [name for name in names if name not in self._read][:_MAX_FILES]:
            self._read.add(name)
            fd = self._directory.open_regular(name)
            self._open.callback(os.close, fd)
            self._index(fd)

    def _index(self, fd: int) -> None:
        step = self._size * _READ_RECORDS
        size = min(os.fstat(fd).st_size, _MAX_FILE_BYTES, self._may_read)
        self._may_read -= size
        for first in range(0, size, step):
            block = os.pread(fd, step, first)
            for at in range(0, len(block) - self._size + 1, self._size):
                digest = block[at + _DIGEST_BYTES : at + 2 * _DIGEST_BYTES]
                self._known[digest] = fd, first + at

    def _keep(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Append; on a full disk, the run that needs the room more goes on without."""
        if self._is_full:
            return
        records = b""
        for text, vector in zip(texts, vectors, strict=True):
            digest, data = _digest(text), vector.tobytes()
            records += self._head(digest, data) + data
        try:
            if self._out is None:
                self._directory = self._directory or self._opened(create=True)
                name = f"{secrets.token_hex(8)}.vec"
                self._out = self._open.enter_context(self._directory.writer(name))
            self._written += len(records)
            if self._written <= _MAX_FILE_BYTES:
                self._out.write(records)
                self._out.flush()  # a process may be killed
                return
        except (OSError, UntrustedError):
            pass
        self._is_full = True  # behind half a record, none would be found


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
