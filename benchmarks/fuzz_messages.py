"""A coverage-guided search for a message that breaks a promise (RPC-2, RPC-3, RPC-6).

`python benchmarks/fuzz_messages.py CORPUS -max_total_time=300`; the directory is made, and so are
its seeds.  It needs `atheris`, which has no wheel for some interpreters, so no row of the table of
faults and no test rests on it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import atheris
from rpyc.core import consts

with atheris.instrument_imports(include=["cidx_ref.daemon", "cidx_ref.wire"]):
    from cidx_ref.daemon.service import CIDXDaemonService

from frames import Scripted, in_brine, request, value

MAX_TOLD_CHARS = 6_000
LIMIT_S = 1.0
_SECRETS = re.compile(r"Traceback \(most|site-packages|File \"|0x[0-9a-f]{6,}|/daemon/")
#: Stands in a seed for the reference to the service, whose numbers are others each time.
_ROOT = ("root", 1, 2)


def seeds() -> list[bytes]:
    root = consts.LABEL_LOCAL_REF, _ROOT
    called = [("ping", ()), ("get_status", ()), ("query", ("/", "x")), ("call", ("ping", "{}")),
              ("call", ("query", json.dumps({"project_path": "/", "query": "x", "limit": 1}))),
              ("index", ("/", None))]  # fmt: skip
    found = [
        request(consts.HANDLE_CALLATTR, root, value(name), value(args), value(()))
        for name, args in called
    ]
    remote = consts.LABEL_REMOTE_REF, ("builtins.list", 1, 2)
    found += [request(handler, root, value("ping")) for handler in range(1, 21)]
    found.append(request(consts.HANDLE_CALLATTR, root, value("index"), (2, (value("/"), remote))))
    found.append(bytes([consts.MSG_REPLY]) + in_brine((0, value(None))))
    return found


def main() -> None:
    logging.getLogger("cidx_ref").addHandler(logging.NullHandler())
    logging.getLogger("cidx_ref").propagate = False
    service = CIDXDaemonService(tempfile.mkdtemp())

    def try_one(data: bytes) -> None:
        if b"shutdown" in data or not data:
            return
        with closing(Scripted(service)) as scripted:
            _, id_pack = scripted.root()
            scripted.hand(data.replace(in_brine(_ROOT), in_brine(id_pack)))
            _judge(scripted, scripted.said)
            if not scripted.closed:
                echo: Any = scripted.hand(request(consts.HANDLE_PING, value("x")))
                assert echo == (consts.MSG_REPLY, value("x")), echo

    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


def _judge(scripted: Scripted, said: list[tuple[int, Any]]) -> None:
    assert scripted.took_s < LIMIT_S, f"{scripted.took_s} s"
    for kind, content in said:
        if kind == consts.MSG_EXCEPTION:
            text = repr(content)
            assert len(text) < MAX_TOLD_CHARS, len(text)
            assert not _SECRETS.search(text), text


if __name__ == "__main__":
    main()
