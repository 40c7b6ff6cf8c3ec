"""Claims: whether of any number of starters one has the place, and the next gets it afterwards.

    def make_claim(place, runtime):             # or make_claim(place)
        return their.Lock(place.root / "their.lock")

A claim has `acquire()`, True for the one owner and False for a starter that finds another, perhaps
with `timeout_s`; and `release()`.  Where it also has `listen()`, which returns the owner's socket,
bound to `place.socket_path`, and `unlink()`, which takes that name away, it is judged whether the
path leads to the owner, too.

It is raced by real processes (`races`), for which `make_claim` must be importable.  Where the claim
takes the runtime, or is `instrumented`, schedules are explored as well, with threads in the place
of processes: for claims by `flock`, names of files and sockets, and not for such as tell processes
apart by their number.

- SRV-2: of any number of starters, exactly one serves and is reachable
- SRV-3: after `kill -9` the next start serves
"""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import finalize

from cidx_ref.testing.concurrency.instrument import looked_through
from cidx_ref.testing.concurrency.telling import module_of
from cidx_ref.testing.conformance.parts.judging import (
    Broken,
    PartScenario,
    Tally,
    Trial,
    Unusable,
    alone,
    explored,
    reason,
    run_trials,
)
from cidx_ref.testing.ground import SYSTEM, Scratch, python_command
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["CLAIM_PROMISES", "CLAIM_SCENARIOS", "Place", "check_claim", "raced"]

CLAIM_PROMISES = ("SRV-2", "SRV-3")
KIND = "claim"

#: `make_claim(place, runtime)`, or `make_claim(place)`.
MakeClaim = Callable[..., Any]

#: Names the claim to `raced`, in the environment of a race.
_NAMED = "CIDX_RACED_CLAIM"
#: Where the socket of a place is; the races have it there.
_SOCKET = ".code-indexer/daemon.sock"
_RACES = "cidx_ref.testing.conformance.races"
_PROCESSES = 4
_ROUNDS, _DEEP_ROUNDS = 10, 200
_CHURN_S, _DEEP_CHURN_S = 0.8, 20.0
#: Beyond what a race takes by itself.
_GRACE_S = 90.0
#: What a starter waits for one that neither answers nor goes.
_PATIENCE_S = 10.0
_SCRATCH = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)


@dataclass(frozen=True)
class Place:
    """What is claimed: a directory, and where a socket of its owner would be."""

    root: Path
    socket_path: Path


def check_claim(
    make_claim: MakeClaim,
    *,
    deep: bool = False,
    seed: int = 0,
    not_offered: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Judge a claim: see the module.  One finding for each of `CLAIM_PROMISES`, or more.

    Nothing that the claim does is raised.  Takes some seconds, and with `deep` a minute.
    """
    absent = dict(not_offered or {})
    try:
        with alone() as runtime, looked_through(make_claim, runtime):
            tally = Tally(KIND, frozenset(absent))
            run_trials(tally, _scenarios(make_claim, deep, seed))
            # What threads cannot stand in for, processes show.
            unexplored, tally.untried = tally.untried, {}
            run_trials(tally, _races(make_claim, deep))
            for promise in unexplored.keys() - tally.tried.keys():
                tally.untried.setdefault(promise, unexplored[promise])
            return tally.results(CLAIM_PROMISES, absent)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # `sys.exit` too, which a part's code may use
        return [Finding(p, Verdict.NOT_TRIED, reason(error), KIND) for p in CLAIM_PROMISES]


def _place(root: Path, path: str | Path) -> Place:
    socket_path = root / path
    socket_path.parent.mkdir(mode=0o700, exist_ok=True)
    return Place(root, socket_path)


def _made(make_claim: MakeClaim, place: Place, runtime: Any) -> Any:
    claim = make_claim(place, runtime) if _takes_a_runtime(make_claim) else make_claim(place)
    for name in ("acquire", "release"):
        if not callable(getattr(claim, name, None)):
            raise Unusable(f"{type(claim).__name__} has no {name}()")
    return claim


def _takes_a_runtime(make_claim: MakeClaim) -> bool:
    return len(inspect.signature(make_claim).parameters) > 1


def _acquire(claim: Any, timeout_s: float) -> bool:
    takes = inspect.signature(claim.acquire).parameters
    return bool(claim.acquire(timeout_s) if takes else claim.acquire())


# Threads in the place of processes.


class ClaimScenario(PartScenario):
    """Starters at a place that is free.  Who has it stays until told otherwise."""

    promises = frozenset({"SRV-2"})
    blames = "SRV-2"

    def set_up(self) -> None:
        scratch = Scratch("claim-", _SCRATCH)
        self.root = scratch.path
        self._remove_files = finalize(self, scratch.close)
        self.place = _place(self.root, _SOCKET)
        self.owners: dict[str, tuple[Any, socket.socket | None]] = {}
        self.owned = 0

    def start(self) -> bool:
        name = self.runtime.current_thread
        claim = _made(self.make, self.place, self.runtime)
        if not _acquire(claim, _PATIENCE_S):
            return False
        if self.owners:
            raise Broken("SRV-2", f"{name} and {min(self.owners)} have the place together")
        self.owned += 1
        self.owners[name] = claim, None
        self.runtime.step("has the place")
        if callable(getattr(claim, "listen", None)):
            self.owners[name] = claim, claim.listen()
            self.runtime.step("serves")
        return True

    def leave(self, name: str) -> None:
        claim, listener = self.owners.pop(name)
        if callable(getattr(claim, "unlink", None)):
            claim.unlink()
        if listener is not None:
            listener.close()
        claim.release()

    def verify(self) -> None:
        if not self.owned:
            raise Broken("SRV-2", "several were started, and none of them has the place")
        for _, listener in self.owners.values():
            if listener is not None and not _is_answered(self.place.socket_path):
                raise Broken("SRV-2", "there is an owner, and its path leads to nobody")

    def close(self) -> None:
        for name in list(self.owners):
            with suppress(Exception):
                self.leave(name)
        self._remove_files()
        super().close()


class TwoStarters(ClaimScenario):
    """Two are started at once: one has the place, and the other finds it."""

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"one": self.start, "other": self.start}


class StarterAndLeaver(ClaimScenario):
    """One leaves while another is started; then there is place for a third."""

    def threads(self) -> dict[str, Callable[[], object]]:
        return {"leaver": self._come_and_go, "starter": self.start}

    def _come_and_go(self) -> None:
        if self.start():
            self.leave(self.runtime.current_thread)

    def verify(self) -> None:
        if not self.owners and not self.start():
            raise Broken("SRV-2", "nobody has the place, and a starter is turned away")
        super().verify()


CLAIM_SCENARIOS: tuple[type[ClaimScenario], ...] = (TwoStarters, StarterAndLeaver)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def _scenarios(make_claim: MakeClaim, deep: bool, seed: int) -> list[Trial]:
    if not _takes_a_runtime(make_claim) and not hasattr(make_claim, "instruments"):
        return []
    return [explored(s, make_claim, KIND, deep=deep, seed=seed) for s in CLAIM_SCENARIOS]


# Real processes.


def raced(project: Any) -> Any:
    """The claim that the environment names, as `races` wants it."""
    module, _, name = os.environ[_NAMED].partition(":")
    place = _place(Path(project.root), Path(project.socket_path))
    make_claim = getattr(import_module(module), name)
    return _Raced(_made(make_claim, place, SYSTEM), place.socket_path)


class _Raced:
    """A claim, and a socket for one that has none of its own."""

    def __init__(self, claim: Any, path: Path) -> None:
        self._claim = claim
        self._path = path
        self._listens = callable(getattr(claim, "listen", None))

    def acquire(self, timeout_s: float = _PATIENCE_S) -> bool:
        return _acquire(self._claim, timeout_s)

    def listen(self) -> socket.socket:
        if self._listens:
            made: socket.socket = self._claim.listen()
            return made
        listener = socket.socket(socket.AF_UNIX)
        while True:
            self._path.unlink(missing_ok=True)
            # Where there are two owners, both come here.
            with suppress(OSError):
                listener.bind(str(self._path))
                listener.listen()
                return listener

    def unlink(self) -> None:
        if callable(getattr(self._claim, "unlink", None)):
            self._claim.unlink()

    def release(self) -> None:
        self._claim.release()


@dataclass(frozen=True)
class _Race:
    """One run of `races`, and what each of its counts breaks."""

    arguments: tuple[str, ...]
    words: str
    breaks: Mapping[str, str]


def _races(make_claim: MakeClaim, deep: bool) -> list[Trial]:
    rounds = str(_DEEP_ROUNDS if deep else _ROUNDS)
    churn_s = str(_DEEP_CHURN_S if deep else _CHURN_S)
    usual = {"double": "SRV-2", "deaf": "SRV-2", "none": "SRV-2", "failed": "SRV-2"}
    races = [
        _Race(("start", "--path", path, "--rounds", rounds), f"on a {path} path", usual)
        for path in ("free", "live")
    ]
    after_a_kill = {**usual, "none": "SRV-3"}
    races.append(
        _Race(("start", "--path", "stale", "--rounds", rounds), "on a stale path", after_a_kill)
    )
    races.append(_Race(("churn", "--seconds", churn_s), "as owners come and go", after_a_kill))
    return [
        Trial(f"races {race.words}", frozenset(race.breaks.values()), _racing(race, make_claim))
        for race in races
    ]


#: What is said of each count.
_SAID = {
    "double": "two had the place at once",
    "deaf": "a client did not get through to the owner",
    "none": "nobody had the place",
    "failed": "a starter raised, or said nothing in time",
}


def _racing(race: _Race, make_claim: MakeClaim) -> Callable[[Tally], None]:
    def run(tally: Tally) -> None:
        about = frozenset(race.breaks.values()) - {found.promise for found in tally.findings}
        name = f"{module_of(make_claim)}:{getattr(make_claim, '__qualname__', '')}"
        if not name.partition(":")[2].isidentifier():
            why = f"{name} cannot be imported by the processes that race: make it a module's own"
            tally.untried.update(dict.fromkeys(about, why))
            return
        try:
            found, said, line = _run(race.arguments, name)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            tally.untried.update(dict.fromkeys(about, f"the race could not be run: {error}"))
            return
        broken: dict[str, list[str]] = {}
        for count, promise in race.breaks.items():
            is_its_own = count != "deaf" or found["listens"]
            if found.get(count) and is_its_own and promise in about:
                broken.setdefault(promise, []).append(f"{_SAID[count]}: {found[count]} times")
        rounds = int(found["rounds"])
        for promise, words in broken.items():
            told = f"{race.words}, in {rounds} rounds: {'; '.join(words)}"
            tally.broken(promise, told, said, line, "rounds", rounds)
        tally.count(about - broken.keys(), rounds, "rounds")

    return run


def _run(arguments: tuple[str, ...], name: str) -> tuple[dict[str, Any], str, str]:
    race, *rest = arguments
    options = ["--claim", f"{__name__}:raced", "--processes", str(_PROCESSES)]
    with Scratch("claim-") as root:
        command, environment = python_command(
            _RACES, race, *options, "--patience", str(_PATIENCE_S), *rest, str(root)
        )
        environment[_NAMED] = name
        # As it can be imported here: the race may be run from anywhere.
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_DEEP_CHURN_S + _GRACE_S,
        )
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1] if done.stderr else "it failed")
    found: dict[str, Any] = json.loads(done.stdout)
    found["listens"] = _listens(name)
    line = f"{_NAMED}={name} python -m {_RACES} {race} {' '.join([*options, *rest])} DIR"
    return found, done.stderr.strip()[-2_000:], line


def _listens(name: str) -> bool:
    module, _, attribute = name.partition(":")
    make = getattr(import_module(module), attribute)
    with Scratch("claim-") as root:
        claim = _made(make, _place(root, _SOCKET), SYSTEM)
        return callable(getattr(claim, "listen", None))
