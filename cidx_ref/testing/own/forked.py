"""The shipped client in a process that forks: both sides ask on with it, at the same time.

Run by `faulty` as its command `forked DIR`; prints what was not right as one line of JSON.  The
child's status is 3 where it asks by its parent's connection.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence

from cidx_ref import connect
from cidx_ref.client import DaemonClient
from cidx_ref.errors import CidxError
from cidx_ref.testing.conformance import corpus

__all__ = ["main"]

#: By which each side has been answered, or is ended: an answer that the other one took never comes.
_ANSWERED_S = 20
_ROUNDS = 10


def main(arguments: Sequence[str]) -> int:
    """Ask the daemon of a project that has the usual files."""
    with connect(arguments[0]) as client:
        client.query("village")
        connections = client.diagnostics()["connections"]
        ready, go = os.pipe()
        child = os.fork()
        signal.alarm(_ANSWERED_S)
        if not child:
            os._exit(_ask_as_child(client, connections, go))
        os.close(go)
        os.read(ready, 1)  # once the child has connected
        wrong = list(_wrong(client, corpus.QUESTIONS[::2] * _ROUNDS))
        _, status = os.waitpid(child, 0)
        if status:
            wrong.append(f"the child's status is {os.waitstatus_to_exitcode(status)}")
    print(json.dumps(wrong))
    return 0


#: Of the child.
_RIGHT, _WRONG, _NOT_ITS_OWN = 0, 1, 3


def _ask_as_child(client: DaemonClient, connections: int, go: int) -> int:
    if client.diagnostics()["connections"] != connections + 1:
        return _NOT_ITS_OWN
    os.write(go, b"1")
    return _WRONG if list(_wrong(client, corpus.QUESTIONS[::3] * _ROUNDS)) else _RIGHT


def _wrong(client: DaemonClient, questions: Sequence[tuple[str, str]]) -> Iterator[str]:
    for query, path in questions:
        try:
            found = [hit.path for hit in client.query(query, mode="fts", limit=3)]
        except CidxError as error:
            yield f"{query!r}: {error}"
            return
        if path not in found:
            yield f"{query!r} finds {found}, and not {path}"
