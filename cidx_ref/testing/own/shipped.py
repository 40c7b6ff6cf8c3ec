"""What our own client and command line do: the kit asks by a client of its own.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

import json
from collections import Counter

from cidx_ref.testing.conformance.asking import Asker
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.processes import Process
from cidx_ref.testing.conformance.subject import Project
from cidx_ref.testing.conformance.target import words

__all__ = ["CHECKS"]

_ENDS_S = 60.0


@check("shipped-client", "RPC-1", "RPC-2", "TRUST-4")
def shipped_client(bench: Bench) -> None:
    """It builds an index where it is told that there is none, asks once for each answer, and may be
    used on both sides of a fork."""
    with bench.daemon(index=False) as daemon, daemon.connect() as asker:
        project = daemon.project
        with bench.showing("RPC-2"):
            first = _run(bench, project, "query", "village", "--project", "{project}", "--json")
            assert first.status == 0, (
                f"told that there is no index, `query` does not build one: {first.tail()}"
            )
            bench.tried("RPC-2", 1, "errors")
        with bench.showing("RPC-1"):
            before = _calls(asker)
            asking = _run(bench, project, "query", "village", "--project", "{project}", "--json")
            assert asking.status == 0, asking.tail()
            made = _calls(asker) - before - Counter(get_metrics=1)
            assert made == Counter(ping=1, query_hybrid=1), (
                f"a query is one call, after one of `ping`; the daemon had {dict(made)}"
            )
            bench.tried("RPC-1", 1, "answers")
        with bench.showing("TRUST-4"):
            asking = _run(bench, project, "forked", "{project}")
            wrong = json.loads(asking.output().splitlines()[-1]) if asking.status == 0 else ""
            assert wrong == [], f"after a fork: {wrong or asking.tail() or asking.status}"
            bench.tried("TRUST-4", 2, "processes")


def _calls(asker: Asker) -> Counter[str]:
    """How often each method was called."""
    calls = asker.call("get_metrics")["calls"]
    return Counter({method: sum(outcomes.values()) for method, outcomes in calls.items()})


def _run(bench: Bench, project: Project, *command: str) -> Process:
    """A command of ours, with whatever is in the target's program."""
    program = words(bench.target.writer)[:-2]  # before `build {project}`
    process = bench.launch(project, [*program, *command])
    process.wait(_ENDS_S)
    return process


CHECKS: tuple[Check, ...] = (shipped_client,)
