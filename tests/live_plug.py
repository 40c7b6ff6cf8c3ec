"""Plugged in as the embedder, in real daemons and in the processes that these start.

It is the default embedder.  Upon being made, in the directory that `LIVE_HOME` names: it tells the
socket which process it is in, if somebody listens there; and it has segments, merges and helping
processes come of a few chunks, if the file `small` is there.  Numbers as in `edits`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from cidx_ref.index.embed import HashingEmbedder

__all__ = ["embedder"]

_ROLES = {"cidx_ref.index.worker": "run", "cidx_ref.index.builder": "builder"}


def embedder() -> HashingEmbedder:
    """For `CIDX_REF_EMBEDDER`."""
    home, role = Path(os.environ["LIVE_HOME"]), _role()
    if role != "daemon" and (home / "small").exists():
        _make_small()
    with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)  # whoever listens may be behind
        sock.connect(os.fspath(home / "socket"))
        sock.sendall(f"{role} {os.getpid()}".encode())
    return HashingEmbedder()


def _role() -> str:
    module = next((each for each in sys.orig_argv if each in _ROLES), "")
    if module == "cidx_ref.index.worker" and json.loads("".join(sys.argv[1:]))["merge"]:
        return "merge"
    return _ROLES.get(module, "daemon")


def _make_small() -> None:
    # Not at the top, and not in the daemon: it loads the engines when it is asked.
    from cidx_ref.index import making, parallel, plan, semantic, writing

    vars(plan).update(
        MAX_CHUNKS=16, _MATRIX_CHUNKS=5, _TINY=1, _DEAD_SHARE=2, _FEW_DEAD=2, _SMALL_GRAPHS=3
    )
    vars(writing).update(MAX_CHUNKS=16)
    vars(semantic).update(EXACT_UP_TO=5)
    vars(making).update(_MANY_BYTES=1, _MANY_FILES=4)
    vars(parallel).update(_BLOCK_FILES=4)
