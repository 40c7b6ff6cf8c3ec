"""Both sides of a comparison: our daemon and the bare server, asked by clients of the same kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from cidx_ref.project import Project

#: What `clients.py` prints.
Measured = dict[str, Any]

_HERE = Path(__file__).parent


@contextmanager
def bare_server(project: Project, socket: Path) -> Iterator[str]:
    """The bare server of the project's live generation, at `socket`; yields that as text."""
    with _python("bare.py", project.root, socket) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield str(socket)
        process.kill()


def at_once(clients: int, whose: str, where: object, mode: str, calls: int) -> list[Measured]:
    """What each of so many client processes measured, all begun at the same time."""
    with _asking(clients, whose, where, mode, calls) as processes:
        return [json.loads(process.communicate()[0]) for process in processes]


@contextmanager
def meanwhile(clients: int, project: Project, mode: str) -> Iterator[list[Measured]]:
    """So many client processes ask our daemon for as long as the block runs; what each measured is
    in the list afterwards."""
    measured: list[Measured] = []
    with _asking(clients, "ours", project.root, mode, "-") as processes:
        yield measured
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None  # or `communicate` would close it, too
        measured += [json.loads(process.communicate()[0]) for process in processes]


@contextmanager
def _asking(clients: int, *arguments: object) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        processes = [stack.enter_context(_python("clients.py", *arguments)) for _ in range(clients)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield processes


def took(measured: list[Measured]) -> list[float]:
    """Every call's milliseconds."""
    return [ms for one in measured for ms in one["took"]]


def longest_gap_ms(measured: list[Measured]) -> float:
    """The longest time in which nobody was answered."""
    ends = sorted(
        began + ms / 1000
        for one in measured
        for began, ms in zip(one["began"], one["took"], strict=True)
    )
    gap: float = max(later - sooner for sooner, later in pairwise(ends))
    return gap * 1000


def throughput(measured: list[Measured]) -> float:
    """Calls a second, from the first call's beginning to the last one's end."""
    ends: list[float] = [one["began"][-1] + one["took"][-1] / 1000 for one in measured]
    begun: float = min(one["began"][0] for one in measured)
    return len(took(measured)) / (max(ends) - begun)


def ratio(ours: list[list[float]], floor: list[list[float]]) -> float:
    """Of the medians, round by round, the median: what disturbs one round disturbs both sides."""
    return median(median(a) / median(b) for a, b in zip(ours, floor, strict=True))


@contextmanager
def _python(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", str(_HERE / program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
