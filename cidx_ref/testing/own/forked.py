"""The shipped client in a process that forks: both sides ask on with it, at the same time.

Run by `faulty` as its command `forked DIR`; prints what was not right as one line of JSON.
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
        child = os.fork()
        signal.alarm(_ANSWERED_S)
        questions = corpus.QUESTIONS[:: 2 if child else 3]
        wrong = list(_wrong(client, questions * _ROUNDS))
        if not child:
            os._exit(1 if wrong else 0)
        _, status = os.waitpid(child, 0)
        if status:
            wrong.append(f"the child's status is {status}")
    print(json.dumps(wrong))
    return 0


def _wrong(client: DaemonClient, questions: Sequence[tuple[str, str]]) -> Iterator[str]:
    for query, path in questions:
        try:
            found = [hit.path for hit in client.query(query, mode="fts", limit=3)]
        except CidxError as error:
            yield f"{query!r}: {error}"
            return
        if path not in found:
            yield f"{query!r} finds {found}, and not {path}"
