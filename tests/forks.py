"""Asks a project's daemon from processes forked in every way, all with the client of the first.

Run by `test_fork`, as a program: `forks.py WAY PROJECT ANSWERS`.  Prints what came of it as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor  # noqa: TID251 - what is tried here
from typing import Any

import cidx_ref
from cidx_ref.errors import CidxError, DaemonUnavailableError
from cidx_ref.runtime import SYSTEM

FILES = 40
#: So many answers at a time, in each process.
SHARE = 25

Tally = Counter[str]


def word(number: int) -> str:
    """What is in one file only."""
    return "zz" + "".join("bcdfghjklm"[int(digit)] for digit in f"{number % FILES:03}")


def sources() -> dict[str, str]:
    return {f"f{number}.py": f"{word(number)} = {number}\n" for number in range(FILES)}


class Asker:
    """One client, and questions of whose answers it can be said whether they are right."""

    def __init__(self, root: str) -> None:
        self.client = cidx_ref.connect(root)
        self.client.query("warm up")

    def ask(self, count: int = SHARE, first: int = 0) -> Tally:
        tally: Tally = Counter()
        for number in range(first, first + count):
            try:
                found = self.client.query(word(number), mode="fts", limit=1)
                right = [hit.path for hit in found] == [f"f{number % FILES}.py"]
                tally["right" if right else "wrong"] += 1
            except CidxError as error:
                tally[f"{type(error).__name__}: {error}"] += 1
        return tally


asker: Asker


def ask_here(first: int) -> Tally:
    return asker.ask(first=first)


def forked(act: Callable[[], Tally]) -> Callable[[], Tally]:
    """Has `act` run in a fork; returns how to wait for what it came to."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(told, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(told)

    def join() -> Tally:
        with os.fdopen(ready, "rb") as file:
            said = file.read()
        os.waitpid(pid, 0)
        return Counter(json.loads(said) if said else {"died": 1})

    return join


def os_fork(answers: int) -> Tally:
    """Parent, child and grandchild ask at the same time."""
    tally: Tally = Counter()

    def child(first: int) -> Tally:
        grandchild = forked(lambda: asker.ask(first=first + 13))
        return asker.ask(first=first + 7) + grandchild()

    while tally.total() < answers:
        joins = [forked(lambda first=first: child(first)) for first in range(2)]  # type: ignore[misc]
        tally += asker.ask()
        for join in joins:
            tally += join()
    return tally


def in_a_call(answers: int) -> Tally:
    """Forked while another thread of the parent is in a call, and holds the lock."""
    told: list[Tally] = []
    tally: Tally = Counter()
    done = SYSTEM.event("done")

    def keep_asking() -> None:
        first = 0
        while not done.is_set():
            told.append(asker.ask(5, first=(first := first + 3)))

    thread = SYSTEM.thread(keep_asking, "asking")
    while tally.total() < answers:
        joins = [forked(lambda first=first: asker.ask(first=first)) for first in range(4)]  # type: ignore[misc]
        for join in joins:
            tally += join()
    done.set()
    thread.join()
    return sum(told, tally)


def _in_context(name: str, answers: int) -> Tally:
    context: Any = multiprocessing.get_context(name)
    initializer = (lambda: None) if name == "fork" else begin
    with context.Pool(3, initializer, () if name == "fork" else (sys.argv[2],)) as pool:
        rounds = pool.imap_unordered(ask_here, range(answers // SHARE))
        return sum(rounds, asker.ask())


def begin(root: str) -> None:
    global asker
    asker = Asker(root)


def context_fork(answers: int) -> Tally:
    return _in_context("fork", answers)


def context_forkserver(answers: int) -> Tally:
    return _in_context("forkserver", answers)


def executor(answers: int) -> Tally:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        rounds = pool.map(ask_here, range(answers // SHARE))
        return sum(rounds, asker.ask())


def in_a_callback(answers: int) -> Tally:
    """Forked in a progress callback: one child asks there and ends, one returns from it."""
    joins: list[Callable[[], Tally]] = []
    told: list[int] = []
    parent = os.getpid()
    ready, said = os.pipe()

    def progress(*event: Any) -> None:
        if not joins:
            joins.append(forked(asker.ask))
            if os.fork() == 0:
                os.close(ready)
        elif os.getpid() == parent:
            told.append(event[0])

    outcome = "wrong"
    try:
        if asker.client.index(progress=progress, full=True)["files"] == FILES:
            outcome = "right"
    except DaemonUnavailableError:
        outcome = "lost"
    if (
        os.getpid() != parent
    ):  # and here is the one that returned, where its call can run in threads
        os.write(said, json.dumps({outcome: 1} | asker.ask()).encode())
        os._exit(0)
    os.close(said)
    with os.fdopen(ready, "rb") as file:
        returned = file.read()
    tally = Counter({outcome: 1}) + asker.ask() + joins[0]()
    tally["right" if told else "not told"] += 1
    return tally + Counter(json.loads(returned) if returned else {"ended": 1})


def ends_in_good_order(answers: int) -> Tally:
    """A child that ends as programs do, through the interpreter's end."""
    pid = os.fork()
    tally = asker.ask()
    if pid == 0:
        asker.client.close()
        sys.exit(0 if tally == {"right": SHARE} else 1)
    _, status = os.waitpid(pid, 0)
    tally["right" if status == 0 else f"status {status}"] += 1
    return tally + asker.ask()


WAYS = {
    way.__name__: way
    for way in (
        os_fork,
        in_a_call,
        context_fork,
        context_forkserver,
        executor,
        in_a_callback,
        ends_in_good_order,
    )
}

if __name__ == "__main__":
    begin(sys.argv[2])
    backend = asker.client._backend
    tally = WAYS[sys.argv[1]](int(sys.argv[3]))
    # What a child does to its copy of the connection, the parent's does not notice.
    tally["reconnected"] = int(asker.client._backend is not backend)
    print(json.dumps(tally), flush=True)
