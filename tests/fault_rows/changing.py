"""Rows: trees that can be written now, and cannot then, while daemons come and serve."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.server import Daemon
from cidx_ref.places import SOCKET, other
from cidx_ref.processes import is_alive
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import connect, peer_pid
from fault_rows.lives import PATIENCE_S, Life, answers, begin, indexed, is_ready
from fault_rows.table import ROWS, Place, Trial, mutant, row

_STARTS = 5


@mutant("unwritable-moments", "the other place is not looked at")
@contextmanager
def _not_looked_at() -> Iterator[None]:
    with patch.object(Claim, "_is_amiss", lambda self: False):
        yield


@mutant("unwritable-moments", "a daemon beside its tree stays")
@contextmanager
def _stays() -> Iterator[None]:
    with (
        patch.object(Daemon, "_watch", lambda self: self._claim.is_intact()),
        patch.object(Daemon, "_leave_if_moved", lambda self: None),  # a minute later
    ):
        yield


@row(
    "for moments in which daemons start `.code-indexer` cannot be written (a flag, a mount, "
    "a permission)",
    "SRV-2",
    cases=200,
    sample=2,
)
@contextmanager
def unwritable_moments(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    is_closed, real = place.path / "closed", os.access

    def access(path: Path, mode: int, **options: bool) -> bool:
        return real(path, mode, **options) and not (
            path == project.directory and is_closed.exists()
        )

    def check(number: int) -> None:
        random = ROWS["unwritable-moments"].random(number)
        begun: list[tuple[Life, int]] = []
        try:
            for start in range(_STARTS):
                # Of every other case the first serves beside the tree, and the second in it.
                is_told = start < 2 and number % 2 == 0
                if is_told or random.random() < 0.6:
                    _change(is_closed)
                begun.append(begin(Project.at(project.root)))
                for_s = PATIENCE_S if is_told else random.choice((0.0, 0.03, PATIENCE_S))
                _look(project, for_s, begun[-1][1])
            is_closed.unlink(missing_ok=True)
            _check_end(project, begun)
        finally:
            is_closed.unlink(missing_ok=True)
            for life, _ in begun:
                if not hasattr(life, "said"):
                    life.signal(signal.SIGKILL)
                    life.ended()

    quick = {**(Daemon.__init__.__kwdefaults__ or {}), "watch_s": 0.2}
    with patch.object(os, "access", access), patch.object(Daemon.__init__, "__kwdefaults__", quick):
        yield Trial(check)


def _change(is_closed: Path) -> None:
    try:
        is_closed.unlink()
    except FileNotFoundError:
        is_closed.touch()


def _look(project: Project, for_s: float, ready: int = -1) -> None:
    """See that no two daemons are there at once, until `ready` says what has become of the last."""
    beside = other(project.root, project.places)
    assert beside is not None
    until = SYSTEM.monotonic() + for_s
    poller = select.poll()
    if ready >= 0:
        poller.register(ready, select.POLLIN)
    while True:
        is_over = bool(poller.poll(0)) or SYSTEM.monotonic() >= until
        found = [_listening(at) for at in (project.directory, beside, project.directory)]
        assert 0 in found or found[0] != found[2], f"two serve: {found}"
        if is_over:
            return
        SYSTEM.sleep(0.002)


def _listening(directory: Path) -> int:
    with suppress(OSError), connect(directory / SOCKET, 1.0) as sock:
        return peer_pid(sock)
    return 0


def _check_end(project: Project, begun: list[tuple[Life, int]]) -> None:
    """Now that the tree can be written: one daemon serves from there, or none any more."""
    for _, ready in begun:
        is_ready(ready)
    until = SYSTEM.monotonic() + PATIENCE_S
    while len(living := [life for life, _ in begun if is_alive(life.pid)]) > 1 or (
        living and not _listening(project.directory)
    ):
        assert SYSTEM.monotonic() < until, f"{len(living)} serve"
        _look(project, 0.0)
    if living:
        answers(Project.at(project.root))
        living[0].signal(signal.SIGTERM)
    came = [life.ended() for life, _ in begun]
    assert came == [0] * _STARTS, [life.said for life, _ in begun]
