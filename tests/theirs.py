"""Indexes of the full cidx for tests: written, opened, and looked at for any trace."""

from __future__ import annotations

import json
import os
import stat
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cidx_ref.errors import GenerationGone
from cidx_ref.index.cidx.checking import check_here
from cidx_ref.index.cidx.theirs import TheirIndex
from cidx_ref.index.port import Search
from cidx_ref.keys import account_key
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.testing.own.cidx_format import DIRECTORY, MODEL, Piece, StandIn, write_index

SOURCE = {
    "net/retry.py": "import time\n\n\n"
    + "".join(
        f"def retry_on_disconnect_{n}(call, attempts={n}):\n"
        f'    """Retry number {n} when the peer disconnects."""\n'
        f"    for attempt in range(attempts):\n        return call(attempt, word{n})\n\n\n"
        for n in range(40)
    ),
    "web/app.js": "function parseHTTPHeaders(text) {\n  return text.split('\\r\\n')\n}\n" * 30,
    "README.md": "# Sample\n\nA repository with an authentication module and a retry helper.\n",
    "auth/login.py": "class SessionStore:\n    def expire_old_sessions(self, now):\n        pass\n",
}


def theirs(
    root: Path, embedder: Any = None, *, runtime: Runtime = SYSTEM, **options: Any
) -> TheirIndex:
    options.setdefault("check", check_here)
    return TheirIndex(root, embedder or StandIn(), account_key(), runtime, **options)


def adopted(root: Path, embedder: Any = None, **options: Any) -> TheirIndex:
    index = theirs(root, embedder, **options)
    index.adopt()
    return index


def written(
    root: Path, files: Mapping[str, str] = SOURCE, **options: Any
) -> tuple[list[Piece], TheirIndex]:
    root.mkdir(exist_ok=True)
    pieces = write_index(root, files, **options)
    return pieces, adopted(root, options.get("embedder"))


def loaded(index: TheirIndex) -> Any:
    """The snapshot of what lies there, as a cache comes by it."""
    for _ in range(3):
        with suppress(GenerationGone):
            return index.load(index.current())
    raise AssertionError("its generation does not settle")


def asked(snapshot: Any, text: str, mode: str = "hybrid", **options: Any) -> dict[str, Any]:
    return dict(snapshot.answer(Search(text, mode=mode, **options)))


def cosines(embedder: StandIn, pieces: list[Piece], text: str) -> NDArray[np.float64]:
    """What the similarities are, reckoned in the plainest way."""
    vectors = embedder.embed_documents([p.text for p in pieces]).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    query = embedder.embed_query(text).astype(np.float64)
    return np.asarray(vectors @ query / np.where(lengths > 0, lengths, 1) / np.linalg.norm(query))


def traces(root: Path) -> dict[str, tuple[int, ...]]:
    """All that a reader could have changed of a tree, by path."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, files in os.walk(root / DIRECTORY):
        for name in ("", *folders, *files):
            path = Path(folder, name) if name else Path(folder)
            seen = path.lstat()
            at = seen.st_atime_ns if stat.S_ISDIR(seen.st_mode) else 0
            found[str(path)] = (
                seen.st_mode, seen.st_ino, seen.st_nlink, seen.st_size, seen.st_mtime_ns,
                seen.st_ctime_ns, at,
            )  # fmt: skip
    return found


def whole(root: Path) -> dict[str, bytes]:
    """Every file of a tree."""
    own = root / DIRECTORY
    return {str(p): p.read_bytes() for p in sorted(own.rglob("*")) if p.is_file()}


def new_uuid(root: Path) -> str:
    """What the full cidx does when it has made its graph anew."""
    path = root / DIRECTORY / "index" / MODEL / "collection_meta.json"
    document = json.loads(path.read_text())
    document["hnsw_index"]["index_rebuild_uuid"] = str(uuid.uuid4())
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(document))
    beside.rename(path)
    return str(document["hnsw_index"]["index_rebuild_uuid"])
