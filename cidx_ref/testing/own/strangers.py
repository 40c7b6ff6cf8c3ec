"""What a stranger's client gets, or reaches, over plain RPyC: errors by reference, things that it
has lent, frames that are legal and cost much.  Of other daemons, RPyC's own rules are expected.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rpyc.core import brine, consts

from cidx_ref.testing.conformance.asking import Asker, Refused, is_remote
from cidx_ref.testing.conformance.asking import connect as connect_to
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.daemons.refusing import tells_nothing
from cidx_ref.testing.conformance.daemons.sought import refusals
from cidx_ref.testing.conformance.peer import RpycPeer, open_socket
from cidx_ref.testing.conformance.subject import Daemon

__all__ = ["CHECKS"]


@contextmanager
def _stranger(daemon: Daemon) -> Iterator[tuple[Asker, RpycPeer]]:
    """A connection of plain RPyC."""
    target = replace(daemon.target, connect=None)
    with connect_to(target, daemon.project.root, 60.0) as asker:
        assert isinstance(asker.raw, RpycPeer)
        yield asker, asker.raw


@check("strangers", "RPC-2", "RPC-5")
def strangers(bench: Bench) -> None:
    """Errors of each kind come without a traceback, and leave nothing behind; nor does a callback
    that fails."""
    with bench.daemon(index=False) as daemon, _stranger(daemon) as (asker, _):
        with bench.showing("RPC-2"):
            kinds = set(_kinds_of_errors(asker))
            assert kinds == {"bad_argument", "no_index"}, f"its errors are of the kinds {kinds}"
            bench.tried("RPC-2", len(kinds), "kinds of errors")
        with bench.showing("RPC-5"):
            said = asker.call("get_diagnostics")["in_flight"]
            others = [call["method"] for call in said if call["method"] != "get_diagnostics"]
            assert not others, f"calls that have ended in an error are still in flight: {others}"
            _callback_fails(bench, asker)


#: What RPyC has in the place of a traceback.
_DENIED = "<traceback denied>"


def _kinds_of_errors(asker: Asker) -> Iterator[str]:
    root = str(asker.root)
    for wrong, args, kwargs, _ in (
        *refusals(asker),
        ("a project without an index", (root, "village"), {}, ""),
    ):
        try:
            asker.call("query", *args, **kwargs)
        except Refused as refused:
            tells_nothing(asker, wrong, refused)
            came = refused.traceback.strip()
            assert came in ("", _DENIED), f"with the error of {wrong} comes {came!r}"
            yield refused.kind
        else:
            raise AssertionError(f"{wrong} is not refused")


def _callback_fails(bench: Bench, asker: Asker) -> None:
    told = []

    def fail(*event: Any) -> None:
        told.append(event)
        raise ValueError("a callback of a client's")

    done = asker.call("index", str(asker.root), fail)
    assert told, "an index run has told nothing of its progress"
    assert done["files"], f"a client's callback fails, and its index run is {done}"
    bench.tried("RPC-5", 1, "callbacks that fail")


# What is within reach, and what it costs.


class _Name:
    """What says that it is a name, when it is asked."""

    def __format__(self, spec: str) -> str:
        return "append"


@check("lent-things", "RPC-3", "RPC-6")
def lent_things(bench: Bench) -> None:
    """What a client has sent is not called, not believed, not kept and not hashed."""
    with bench.daemon() as daemon, _stranger(daemon) as (asker, peer):
        with bench.showing("RPC-3"):
            called: list[object] = []
            assert not _is_taken(peer, consts.HANDLE_CALL, called.append, (1,), ()), (
                "it calls a function that a client has sent"
            )
            assert not called, "a function that a client has sent was called"
            hits = peer.call("query", str(asker.root), "village")["results"]
            peer.connection._config["allow_all_attrs"] = True
            assert not _is_taken(peer, consts.HANDLE_GETATTR, hits, _Name()), (
                "what is no name, and says that it is one, is taken for one"
            )
            bench.tried("RPC-3", 2, "things lent")
        with bench.showing("RPC-6"):
            _errors_are_forgotten(bench, daemon)
            _sets_cost_nothing(bench, daemon)


def _is_taken(peer: RpycPeer, *request: Any) -> bool:
    try:
        peer.connection.sync_request(*request)
    except Exception as error:
        if not is_remote(error):
            raise
        return False
    return True


#: Of each name of an error that a client makes up; all of them; and what may be kept of them.
_NAME_BYTES, _NAMES, _KEPT_BYTES = 1 << 19, 60, 16 << 20


def _errors_are_forgotten(bench: Bench, daemon: Daemon) -> None:
    """The daemon asks what an object of a client's can do, and each time it is another error."""
    with _stranger(daemon) as (_, peer):
        made: list[int] = []

        def inspect(connection: Any, id_pack: Any) -> Any:
            made.append(1)
            raise type(f"{len(made):0{_NAME_BYTES}}", (Exception,), {})("made up")

        handlers = peer.connection._HANDLERS
        peer.connection._HANDLERS = {**handlers, consts.HANDLE_INSPECT: inspect}
        _is_taken(peer, consts.HANDLE_PING, (bench,))
        before = _memory(daemon)
        for _ in range(_NAMES):
            _is_taken(peer, consts.HANDLE_PING, (bench,))
        more = _memory(daemon) - before
    assert len(made) > _NAMES, "it did not ask what an object of a client's can do"
    assert more < _KEPT_BYTES, (
        f"of {_NAMES} errors that a client made up, it keeps {more >> 20} MiB"
    )
    bench.tried("RPC-6", _NAMES, "made-up errors")


def _memory(daemon: Daemon) -> int:
    resident = Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


#: Numbers of one hash, and the seconds of a processor that they may take.
_EQUAL, _COST_S = 20_000, 0.5
#: Whose multiples all have the hash 0.
_MODULUS = (1 << 61) - 1


def _sets_cost_nothing(bench: Bench, daemon: Daemon) -> None:
    numbers = brine.dump(tuple(number * _MODULUS for number in range(1, _EQUAL)))
    # Not by RPyC, which would make the set on this side, too.
    inner = (consts.HANDLE_PING, (consts.LABEL_VALUE, ("numbers",)))
    message = brine.dump((1, inner)).replace(brine.dump("numbers"), brine.TAG_FSET + numbers)
    frame = bytes([consts.MSG_REQUEST]) + message
    before_s = _processor_s(daemon)
    with open_socket(daemon.address, 5.0) as sock, suppress(OSError):
        sock.settimeout(60.0)
        sock.sendall(struct.pack("!LB", len(frame), 0) + frame + b"\n")
        sock.recv(1)
    took_s = _processor_s(daemon) - before_s
    bench.figure(
        "RPC-6", f"processor time for a set of {_EQUAL} equal hashes", took_s, "s", _COST_S
    )
    assert took_s < _COST_S, (
        f"a message of {len(frame) >> 10} KiB, a set of equal hashes, takes {took_s:.1f} s of a"
        " processor"
    )


def _processor_s(daemon: Daemon) -> float:
    figures = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(figures[11]) + int(figures[12])) / os.sysconf("SC_CLK_TCK")


CHECKS: tuple[Check, ...] = (strangers, lent_things)
