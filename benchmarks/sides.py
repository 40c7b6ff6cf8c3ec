"""Both sides of a comparison: our daemon and the bare server, asked by clients of the same kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from cidx_ref.project import Project

_HERE = Path(__file__).parent


@contextmanager
def bare_server(project: Project, socket: Path) -> Iterator[str]:
    """The bare server of the project's live generation, at `socket`; yields that as text."""
    with _python("bare.py", project.root, socket) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield str(socket)
        process.kill()


def at_once(clients: int, whose: str, where: object, mode: str, calls: int) -> list[dict[str, Any]]:
    """What each of so many client processes measured, all begun at the same time."""
    with ExitStack() as stack:
        command = ("clients.py", whose, where, mode, calls)
        processes = [stack.enter_context(_python(*command)) for _ in range(clients)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate()[0]) for process in processes]


def took(measured: list[dict[str, Any]]) -> list[float]:
    """Every call's milliseconds."""
    return [ms for one in measured for ms in one["took"]]


def throughput(measured: list[dict[str, Any]]) -> float:
    """Calls a second, from the first call's beginning to the last one's end."""
    ends = [one["began"][-1] + one["took"][-1] / 1000 for one in measured]
    return len(took(measured)) / (max(ends) - min(one["began"][0] for one in measured))


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
