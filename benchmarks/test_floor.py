"""Our daemon beside a bare server on the same files: what all the care costs (PERF-1 to PERF-3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from statistics import median

import clients
import pytest
import sides
from rpyc.utils.factory import unix_connect

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.testing.promises.gates import CheckGate, RecordAim

ROUNDS = 7
CALLS = 200


@pytest.fixture
def bare(stdlib: Project, tmp_path: Path) -> Iterator[str]:
    with sides.bare_server(stdlib, tmp_path / "bare.sock") as socket:
        yield socket


@pytest.mark.promise("PERF-1", "PERF-2")
@pytest.mark.parametrize("mode", ["fts", "semantic"])
def test_one_client_beside_the_floor(
    client: DaemonClient, bare: str, aim: RecordAim, mode: str
) -> None:
    floor, same, ours = (list[list[float]]() for _ in range(3))
    with closing(unix_connect(bare)) as connection:
        plain = getattr(connection.root, mode)
        dear = getattr(connection.root, f"{mode}_same_snippets")
        for _ in range(ROUNDS):
            for times, ask in (floor, plain), (same, dear):
                found = lambda text, ask=ask: json.loads(ask(text))["results"]  # noqa: E731
                times.append(clients.measured(found, CALLS)[1])
            ours.append(clients.measured(lambda text: client.query(text, mode=mode), CALLS)[1])
    aim(f"{mode}, one client: ours / bare, p50", sides.ratio(ours, floor), 1.25)
    # What of the difference is the choice of the five lines that a hit shows.
    aim(f"{mode}, one client: ours / bare with the same snippets, p50", sides.ratio(ours, same))
    aim(f"{mode}, one client: bare, p50", median(chain(*floor)), unit="ms")
    aim(f"{mode}, one client: ours, p50", median(chain(*ours)), unit="ms")


def test_a_null_call_with_an_answer_of_the_same_size(bare: str, aim: RecordAim) -> None:
    with closing(unix_connect(bare)) as connection:
        root = connection.root
        size = len(root.fts(clients.TEXTS[0]))
        times = clients.measured(lambda text: json.loads(root.null())["results"], CALLS)[1]
    aim(f"null call with an answer of {size} bytes, p50", median(times), unit="ms")


@pytest.mark.promise("PERF-3")
@pytest.mark.parametrize("mode", ["fts", "semantic"])
@pytest.mark.parametrize("count", [1, 4, 10, 32])
def test_clients_from_processes_of_their_own_beside_the_floor(
    client: DaemonClient,
    stdlib: Project,
    bare: str,
    aim: RecordAim,
    gate: CheckGate,
    mode: str,
    count: int,
) -> None:
    calls = max(60, 1000 // count)
    ratios, same_ratios = [], []
    for _ in range(3):
        floor = sides.throughput(sides.at_once(count, "bare", bare, mode, calls))
        measured = sides.at_once(count, "ours", stdlib.root, mode, calls)
        same = sides.at_once(count, "bare", bare, f"{mode}_same_snippets", calls)
        ratios.append(sides.throughput(measured) / floor)
        same_ratios.append(sides.throughput(measured) / sides.throughput(same))
    limit = 0.8 if count == 10 else None
    aim(f"{mode}, {count} clients: throughput, ours / bare", median(ratios), limit, at_least=True)
    aim(f"{mode}, {count} clients: ours / bare with the same snippets", median(same_ratios))
    aim(f"{mode}, {count} clients: ours", sides.throughput(measured), unit="calls/s")
    aim(f"{mode}, {count} clients: bare", floor, unit="calls/s")
    if count == 10:

        def again() -> list[float]:
            return sides.took(sides.at_once(count, "ours", stdlib.root, mode, calls))

        gate("PERF-3", f"{mode}, {count} clients", again, 20)
