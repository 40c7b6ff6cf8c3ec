"""Which search shows which promise: what the tests run on the code, and on its mutants.

A search raises where it finds the promise broken, and returns how much it tried where it does
not.  The same search that the code survives must find each mutant of its promises.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from cidx_ref.client import DaemonClient
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.concurrency.explore import Scenario, exhaustive, guided, random_walk
from cidx_ref.testing.own.fixtures import SAMPLE, build, served, write
from cidx_ref.testing.own.machines import CacheMachine, ConcurrentCacheMachine
from cidx_ref.testing.own.scenarios import SCENARIOS

__all__ = ["SEARCHES", "Search", "run_machine", "searches_of"]

#: A scenario that is not large has at most so many schedules at two preemptions.
BUDGET = 15_000
#: Of a large one, which has too many for any budget, so many are tried, and walks besides.  What
#: `deep` searches is several times as much (`tests/test_interleavings.py`).
BUDGET_OF_LARGE = 2_500
WALKS = 500
#: Of each, what Hypothesis draws.
GUIDED = 60
#: Seconds in which a daemon that looks every hundredth of one must have noticed.
_ROBBED_S = 5.0


@dataclass(frozen=True)
class Search:
    """One way to find a promise broken."""

    name: str
    promises: frozenset[str]
    #: What `run` counts.
    unit: str
    #: Raises an `Exception`, or returns how many it tried.  `shrink`: make what it finds short.
    run: Callable[[bool], int]


def searches_of(promise: str) -> list[Search]:
    """Every search that shows `promise`, the quickest first."""
    return [search for search in SEARCHES if promise in search.promises]


def _explored(scenario: type[Scenario]) -> Callable[[bool], int]:
    def run(shrink: bool) -> int:
        budget = BUDGET_OF_LARGE if scenario.is_large else BUDGET
        found = exhaustive(scenario, max_schedules=budget)
        if not scenario.is_large:
            assert found.complete, f"{scenario.__name__} has more than {BUDGET} schedules"
            return found.schedules
        return found.schedules + random_walk(scenario, schedules=WALKS).schedules

    return run


def _guided(scenario: type[Scenario]) -> Callable[[bool], int]:
    return lambda shrink: guided(scenario, examples=GUIDED).schedules


def run_machine(
    machine: type[RuleBasedStateMachine], *, examples: int, steps: int, shrink: bool = True
) -> int:
    """Run a state machine so often, for so many steps; the same ones each time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return examples


def _connections_share_a_cache(shrink: bool) -> int:
    """Three connections to a whole daemon: one load, whoever counts it."""
    with tempfile.TemporaryDirectory(prefix="cidx-") as root, ExitStack() as stack:
        for path, content in SAMPLE.items():
            write(Path(root), path, content)
        project = Project.at(root)
        build(project)
        loads: list[str] = []
        load = GenerationSource.load

        def counted(self: GenerationSource, generation: str) -> IndexSnapshot:
            loads.append(generation)
            return load(self, generation)

        stack.enter_context(patch.object(GenerationSource, "load", counted))
        stack.enter_context(served(project))
        clients = [stack.enter_context(DaemonClient(project, start=False)) for _ in range(3)]
        for client in clients:
            assert client.query("retry")[0].path == "net/retry.py"
        assert len(loads) == 1, f"{len(clients)} connections made {len(loads)} loads"
    return len(clients)


def _a_robbed_daemon_leaves(shrink: bool) -> int:
    """A whole daemon whose socket is removed ends by itself."""
    with tempfile.TemporaryDirectory(prefix="cidx-") as root:
        project = Project.at(root)
        claim = Claim(project)
        assert claim.acquire()
        daemon = Daemon(project, CIDXDaemonService(project.root), claim, watch_s=0.01)
        thread = SYSTEM.thread(daemon.run, "daemon")
        project.socket_path.unlink()
        thread.join(_ROBBED_S)
        stays = thread.is_alive()
        daemon.stop()
        thread.join()
        assert not stays, "a daemon goes on without its socket"
    return 1


def _all() -> Iterator[Search]:
    for scenario in SCENARIOS:
        yield Search(scenario.__name__, scenario.promises, "schedules", _explored(scenario))
    yield Search(
        "CacheMachine",
        frozenset(f"CACHE-{n}" for n in (1, 2, 4, 5, 6, 7, 8)) | {"TTL-1", "TTL-2", "TTL-3"},
        "examples",
        lambda shrink: run_machine(CacheMachine, examples=150, steps=30, shrink=shrink),
    )
    yield Search(
        "ConcurrentCacheMachine",
        frozenset(f"CACHE-{n}" for n in (1, 2, 4, 5, 7)),
        "examples",
        lambda shrink: run_machine(ConcurrentCacheMachine, examples=60, steps=15, shrink=shrink),
    )
    for scenario in SCENARIOS:
        name = f"{scenario.__name__}, guided"
        yield Search(name, scenario.promises, "examples", _guided(scenario))
    yield Search(
        "connections share a cache",
        frozenset({"SRV-1"}),
        "clients",
        _connections_share_a_cache,
    )
    yield Search("a robbed daemon leaves", frozenset({"SRV-5"}), "daemons", _a_robbed_daemon_leaves)


#: All of them.
SEARCHES: tuple[Search, ...] = tuple(_all())
