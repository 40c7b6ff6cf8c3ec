"""A daemon that can be held, or made to fail, at a point that its target names: what is in flight
is so for certain, however quick its queries and however busy the machine.

Here belong gates, daemons that have one, and a query that is held at one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cidx_ref.testing.conformance.asking import Answer
from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.processes import Process
from cidx_ref.testing.conformance.subject import PROMPT_S, Daemon, Project
from cidx_ref.testing.conformance.target import Spawn
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Verdict

__all__ = ["Gate", "InFlight", "can", "gated", "launched"]

_LOOK_S = 0.005
#: What a query takes that is not held any more; one that is not answered ends with its daemon.
_LET_GO_S = 5.0


class Gate:
    """A file by which a process is held at a point, or made to fail there (`Faults`)."""

    def __init__(self, bench: Bench) -> None:
        number = len(list(bench.directory.glob("gate-*")))
        directory = bench.directory / f"gate-{number}"
        directory.mkdir()
        self.path = directory / "gate"
        self._held = directory / "gate.held"

    def close(self) -> None:
        """Hold who comes next; or make all fail."""
        self.path.touch()

    def open(self) -> None:
        """Let go of who is held, and hold nobody."""
        self.path.unlink(missing_ok=True)
        self._held.unlink(missing_ok=True)

    def holds(
        self, timeout_s: float = PROMPT_S, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait until somebody is held there; False if nobody is in time, or `unless` holds."""
        until = SYSTEM.monotonic() + timeout_s
        while not self._held.exists():
            if unless() or SYSTEM.monotonic() > until:
                return False
            SYSTEM.sleep(_LOOK_S)
        return True


def can(bench: Bench, command: str, *promises: str) -> bool:
    """Whether each query of the daemon passes a point where it can be made to `hold` or `fail`;
    where not, that is noted of `promises`."""
    faults = bench.target.faults
    is_started = isinstance(bench.target.start, Spawn)
    if is_started and faults is not None and getattr(faults, command) and faults.query:
        return True
    words = f"needs a daemon whose queries can be made to {command} (Faults.{command}, query)"
    for promise in promises:
        bench.note(promise, Verdict.NOT_OFFERED, words)
    return False


@contextmanager
def gated(
    bench: Bench, command: str, project: Project | None = None, point: str = "", **values: Any
) -> Iterator[tuple[Daemon, Gate]]:
    """A daemon that can be made to `hold` or `fail` at `point`, by default in each query; and its
    gate, which is open."""
    faults = bench.target.faults
    assert faults is not None
    gate = Gate(bench)
    made = getattr(faults, command)
    point = point or faults.query
    with bench.daemon(project, command=made, point=point, gate=str(gate.path), **values) as daemon:
        try:
            yield daemon, gate
        finally:
            gate.open()


def launched(
    bench: Bench, project: Project, command: str | Sequence[str], point: str
) -> tuple[Process, Gate]:
    """A process, and its gate, which is closed: who comes to that point is held."""
    gate = Gate(bench)
    gate.close()
    return bench.launch(project, command, point=point, gate=str(gate.path)), gate


class InFlight:
    """A query that is held: a context manager, at whose end it is let go."""

    def __init__(self, daemon: Daemon, gate: Gate, text: str, patience_s: float = 60.0) -> None:
        self._gate = gate
        self._text = text
        self._outcome: Answer | Exception | None = None
        self._asker = daemon.connect(patience_s)
        self._patience_s = patience_s

    def __enter__(self) -> InFlight:
        self._gate.close()
        self._thread = SYSTEM.thread(self._ask, "in flight")
        if not self._gate.holds(unless=lambda: self._outcome is not None):
            self._gate.open()
            raise NotTried(f"a query is not held where it should be: {self._outcome}")
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.open()
        # Before its connection is closed under it.
        self._thread.join(_LET_GO_S)

    @property
    def has_returned(self) -> bool:
        """Whether its call has: it may be a reference that cannot be read any more."""
        return self._asker.returned > 0

    def _ask(self) -> None:
        try:
            self._outcome = self._asker.query(self._text)
        except Exception as error:
            self._outcome = error

    def answered(self) -> Answer:
        """Let it go; its answer.  Raises what it was told instead, and `TimeoutError`."""
        self._gate.open()
        self._thread.join(self._patience_s)
        if self._outcome is None:
            raise TimeoutError(f"no answer within {self._patience_s:g} s")
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome
