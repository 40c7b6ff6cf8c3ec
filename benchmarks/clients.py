"""One client, in a process of its own: asks so often, and prints how long each answer took.

    python benchmarks/clients.py ours PROJECT MODE CALLS
    python benchmarks/clients.py bare SOCKET MODE CALLS

It says "ready" once it is connected, and begins when it is told to, by a line.  With `-` for the
number of calls, it goes on until its standard input ends.
"""

from __future__ import annotations

import itertools
import json
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from rpyc.utils.factory import unix_connect

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project

TEXTS = (
    "split a string with shell-like syntax",
    "parse HTTP headers",
    "open a socket and retry",
    "class decorator",
    "encode bytes as base64",
    "worker thread pool",
    "walk a directory tree",
    "date and time zone",
)

Ask = Callable[[str], Any]


def ours(project: str, mode: str) -> Ask:
    daemon = DaemonClient(Project.at(project), start=False)
    return lambda text: daemon.query(text, mode=mode)


def bare(path: str, mode: str) -> Ask:
    ask = getattr(unix_connect(path).root, mode)
    return lambda text: json.loads(ask(text))["results"]


def measured(ask: Ask, calls: int) -> tuple[list[float], list[float]]:
    """When each call began, and how many milliseconds it took, all hits decoded."""
    return timed(ask, range(calls))


def timed(ask: Ask, calls: Iterable[int]) -> tuple[list[float], list[float]]:
    began, took = [], []
    for number in calls:
        text = f"{TEXTS[number % len(TEXTS)]} {number}"
        began.append(time.perf_counter())
        assert ask(text)
        took.append((time.perf_counter() - began[-1]) * 1000)
    return began, took


def until_the_end_of(stream: TextIO) -> Iterator[int]:
    poller = select.poll()
    poller.register(stream, select.POLLIN | select.POLLHUP)
    return itertools.takewhile(lambda _: not poller.poll(0), itertools.count())


def main() -> None:
    whose, where, mode, calls = sys.argv[1:]
    ask = {"ours": ours, "bare": bare}[whose](where, mode)
    ask(TEXTS[0])
    print("ready", flush=True)
    sys.stdin.readline()
    wanted = until_the_end_of(sys.stdin) if calls == "-" else range(int(calls))
    began, took = timed(ask, wanted)
    print(json.dumps({"began": began, "took": took}))


if __name__ == "__main__":
    main()
