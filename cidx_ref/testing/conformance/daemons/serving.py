"""Serving many clients at once, and noticing that the socket is gone."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cidx_ref.testing.conformance.bench import Bench, raised
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import (
    Meeting,
    Question,
    beside_a_held,
    right,
    sound,
)
from cidx_ref.testing.conformance.holding import Gate, can, gated
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

_CLIENTS = 10
#: How long it is waited for an end that nobody asks for: a check of once a minute is often enough.
_UNASKED_S = 75.0


@check("many-clients", "SRV-1", spawns=False)
def many_clients(bench: Bench) -> None:
    """All connected at the same time, each gets the answers to its own questions."""
    with _one(bench) as (daemon, gate), bench.showing("SRV-1"):
        with daemon.connect() as asker:
            questions = sound(bench, asker, 2 * _CLIENTS)
        rounds = 5 if bench.deep else 1
        connected = Meeting(_CLIENTS)
        asked = bench.together(
            *(
                partial(_ask_in_turn, daemon, questions, number, rounds, connected)
                for number in range(_CLIENTS)
            )
        )
        raised(asked)
        bench.tried("SRV-1", sum(asked), "answers")
        bench.says("SRV-1", f"{_CLIENTS} clients at once had {sum(asked)} right answers")
        if gate is not None:
            beside_a_held(daemon, gate, questions)


@contextmanager
def _one(bench: Bench) -> Iterator[tuple[Daemon, Gate | None]]:
    """A daemon whose queries can be held, if there is one."""
    if can(bench, "hold"):
        with gated(bench, "hold") as both:
            yield both
    else:
        with bench.daemon() as daemon:
            yield daemon, None


def _ask_in_turn(
    daemon: Daemon, questions: list[Question], first: int, rounds: int, connected: Meeting
) -> int:
    count = 0
    with daemon.connect() as asker:
        connected.wait(10.0)
        for number in range(rounds * len(questions)):
            question = questions[(first + number) % len(questions)]
            answer = asker.query(question[0])
            assert right(answer, question), (
                f"of {_CLIENTS} clients at once, one asked {question[0]!r} and got {answer}, "
                f"without {question[1]}, which is found when it is asked alone"
            )
            count += 1
    return count


# The socket.


def _remove_socket(daemon: Daemon) -> None:
    Path(daemon.address).unlink()


def _move_project(daemon: Daemon) -> None:
    root = daemon.project.root
    root.rename(root.with_name(root.name + "-moved"))


def _remove_project(daemon: Daemon) -> None:
    shutil.rmtree(daemon.project.root)


def _take_over(daemon: Daemon) -> None:
    """Another socket in its place."""
    path = Path(daemon.address)
    new = path.with_name("new.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(new))
        sock.listen()
        new.replace(path)


def _in_project(daemon: Daemon) -> bool:
    return Path(daemon.address).is_relative_to(daemon.project.root)


_LOSSES: dict[str, Callable[[Daemon], None]] = {
    "its socket is removed": _remove_socket,
    "another socket takes its place": _take_over,
    "its project is moved": _move_project,
    "its project is removed": _remove_project,
}


@check("socket-gone", "SRV-5", needs={Cap.GONE})
def socket_gone(bench: Bench) -> None:
    """It ends by itself, whichever way it cannot be reached any more."""
    daemons = {}
    for how in _LOSSES:
        daemon = bench.start(bench.project())
        if "project" not in how or _in_project(daemon):
            daemons[how] = daemon
    began = SYSTEM.monotonic()
    with bench.showing("SRV-5"):
        for how, daemon in daemons.items():
            _LOSSES[how](daemon)
        for how, daemon in daemons.items():
            left_s = max(0.1, began + _UNASKED_S - SYSTEM.monotonic())
            assert end_of(daemon.pid, left_s), (
                f"it is there {_UNASKED_S:g} s after {how}, though nobody can reach it"
            )
        bench.tried("SRV-5", len(daemons), "ways")
    bench.figure("SRV-5", "until the last had left", SYSTEM.monotonic() - began, "s")


CHECKS = [many_clients, socket_gone]
