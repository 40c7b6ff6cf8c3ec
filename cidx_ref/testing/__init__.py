"""The kit, for tests of this daemon, of another one, or of any threaded Python.

    from cidx_ref.testing import Cap, Methods, Spawn, Target
    from cidx_ref.testing import FakeRuntime, Scenario, exhaustive

The names below are its public face; each is imported when it is first asked for, so that a test
which wants a clock does not load Hypothesis, pytest or RPyC.  Load sessions have a face of their
own, `cidx_ref.testing.load`, because locust replaces the blocking parts of the standard library.
The folders, from the ground up: `concurrency`, `promises`, `conformance`, `load`, and `own`, which
knows this package's daemon and is no API.
"""

from __future__ import annotations

#: `typing` takes milliseconds, in which an interrupt would be Python's to answer (`door`).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cidx_ref.testing.clock import FakeRuntime as FakeRuntime
    from cidx_ref.testing.concurrency.coroutines import AsyncScenario as AsyncScenario
    from cidx_ref.testing.concurrency.explore import Counterexample as Counterexample
    from cidx_ref.testing.concurrency.explore import Exploration as Exploration
    from cidx_ref.testing.concurrency.explore import NothingExplored as NothingExplored
    from cidx_ref.testing.concurrency.explore import Scenario as Scenario
    from cidx_ref.testing.concurrency.explore import exhaustive as exhaustive
    from cidx_ref.testing.concurrency.explore import guided as guided
    from cidx_ref.testing.concurrency.explore import random_walk as random_walk
    from cidx_ref.testing.concurrency.explore import replay as replay
    from cidx_ref.testing.concurrency.history import History as History
    from cidx_ref.testing.concurrency.history import NotLinearizable as NotLinearizable
    from cidx_ref.testing.concurrency.history import Operation as Operation
    from cidx_ref.testing.concurrency.history import check_linearizable as check_linearizable
    from cidx_ref.testing.concurrency.history import final_states as final_states
    from cidx_ref.testing.concurrency.instrument import instrument as instrument
    from cidx_ref.testing.concurrency.instrument import instrumented as instrumented
    from cidx_ref.testing.concurrency.library.faces import Uncontrolled as Uncontrolled
    from cidx_ref.testing.concurrency.scheduler import Deadlock as Deadlock
    from cidx_ref.testing.concurrency.scheduler import Livelock as Livelock
    from cidx_ref.testing.concurrency.scheduler import Scheduler as Scheduler
    from cidx_ref.testing.concurrency.scheduler import Strategy as Strategy
    from cidx_ref.testing.conformance.asking import Gone as Gone
    from cidx_ref.testing.conformance.asking import Refused as Refused
    from cidx_ref.testing.conformance.asking import Unreadable as Unreadable
    from cidx_ref.testing.conformance.bench import Bench as Bench
    from cidx_ref.testing.conformance.checks import Check as Check
    from cidx_ref.testing.conformance.checks import check as check
    from cidx_ref.testing.conformance.latency import check_latency as check_latency
    from cidx_ref.testing.conformance.latency import query_times as query_times
    from cidx_ref.testing.conformance.lifecycle import Lifecycle as Lifecycle
    from cidx_ref.testing.conformance.lives import check_lifecycle as check_lifecycle
    from cidx_ref.testing.conformance.mutants import Mutant as Mutant
    from cidx_ref.testing.conformance.notes import NotOffered as NotOffered
    from cidx_ref.testing.conformance.notes import NotTried as NotTried
    from cidx_ref.testing.conformance.parts.cache import check_cache as check_cache
    from cidx_ref.testing.conformance.parts.cache import check_ttl as check_ttl
    from cidx_ref.testing.conformance.parts.claim import check_claim as check_claim
    from cidx_ref.testing.conformance.parts.lock import check_lock as check_lock
    from cidx_ref.testing.conformance.peer import RpycPeer as RpycPeer
    from cidx_ref.testing.conformance.races import ClaimLike as ClaimLike
    from cidx_ref.testing.conformance.running import verify as verify
    from cidx_ref.testing.conformance.target import Attach as Attach
    from cidx_ref.testing.conformance.target import Cap as Cap
    from cidx_ref.testing.conformance.target import Faults as Faults
    from cidx_ref.testing.conformance.target import Methods as Methods
    from cidx_ref.testing.conformance.target import Peer as Peer
    from cidx_ref.testing.conformance.target import Spawn as Spawn
    from cidx_ref.testing.conformance.target import Subjects as Subjects
    from cidx_ref.testing.conformance.target import Target as Target
    from cidx_ref.testing.figures import percentile as percentile
    from cidx_ref.testing.promises.excuses import Excuse as Excuse
    from cidx_ref.testing.promises.findings import Finding as Finding
    from cidx_ref.testing.promises.findings import Measured as Measured
    from cidx_ref.testing.promises.findings import Verdict as Verdict
    from cidx_ref.testing.promises.findings import by_promise as by_promise
    from cidx_ref.testing.promises.gates import BudgetWarning as BudgetWarning
    from cidx_ref.testing.promises.gates import CheckGate as CheckGate
    from cidx_ref.testing.promises.gates import RecordAim as RecordAim
    from cidx_ref.testing.promises.latency import check_gate as check_gate
    from cidx_ref.testing.promises.registry import PROMISES as PROMISES
    from cidx_ref.testing.promises.report import RecordFigure as RecordFigure
    from cidx_ref.testing.promises.report import RecordMutant as RecordMutant
    from cidx_ref.testing.promises.report import RecordTried as RecordTried

_HOME = {
    # time and threads
    "FakeRuntime": "clock",
    "Scheduler": "concurrency.scheduler",
    "Strategy": "concurrency.scheduler",
    "Deadlock": "concurrency.scheduler",
    "Livelock": "concurrency.scheduler",
    # searches for races
    "Scenario": "concurrency.explore",
    "exhaustive": "concurrency.explore",
    "random_walk": "concurrency.explore",
    "guided": "concurrency.explore",
    "replay": "concurrency.explore",
    "Exploration": "concurrency.explore",
    "Counterexample": "concurrency.explore",
    "NothingExplored": "concurrency.explore",
    "AsyncScenario": "concurrency.coroutines",
    "instrument": "concurrency.instrument",
    "instrumented": "concurrency.instrument",
    "Uncontrolled": "concurrency.library.faces",
    # linearizability
    "History": "concurrency.history",
    "Operation": "concurrency.history",
    "check_linearizable": "concurrency.history",
    "NotLinearizable": "concurrency.history",
    "final_states": "concurrency.history",
    # any daemon: what it is, and whether it keeps its promises
    "Target": "conformance.target",
    "Spawn": "conformance.target",
    "Attach": "conformance.target",
    "Methods": "conformance.target",
    "Cap": "conformance.target",
    "Faults": "conformance.target",
    "Subjects": "conformance.target",
    "Peer": "conformance.target",
    "verify": "conformance.running",
    "check": "conformance.checks",
    "Check": "conformance.checks",
    "Bench": "conformance.bench",
    "NotOffered": "conformance.notes",
    "NotTried": "conformance.notes",
    "Gone": "conformance.asking",
    "Refused": "conformance.asking",
    "Unreadable": "conformance.asking",
    "RpycPeer": "conformance.peer",
    "Mutant": "conformance.mutants",
    "check_cache": "conformance.parts.cache",
    "check_ttl": "conformance.parts.cache",
    "check_lock": "conformance.parts.lock",
    "check_claim": "conformance.parts.claim",
    "Finding": "promises.findings",
    "Measured": "promises.findings",
    "Verdict": "promises.findings",
    "by_promise": "promises.findings",
    "Excuse": "promises.excuses",
    # promises, and the types of the fixtures that report on them
    "PROMISES": "promises.registry",
    "RecordFigure": "promises.report",
    "RecordMutant": "promises.report",
    "RecordTried": "promises.report",
    "BudgetWarning": "promises.gates",
    "CheckGate": "promises.gates",
    "RecordAim": "promises.gates",
    "check_gate": "promises.latency",
    "percentile": "figures",
    # any daemon, more closely
    "check_latency": "conformance.latency",
    "query_times": "conformance.latency",
    "Lifecycle": "conformance.lifecycle",
    "check_lifecycle": "conformance.lives",
    "ClaimLike": "conformance.races",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
