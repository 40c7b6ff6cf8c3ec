"""Start races with real processes: many starters at the same moment, and owners that come and go.

    claim="--claim cidx_ref.daemon.server:Claim --place cidx_ref.project:Project.at"
    python -m cidx_ref.testing.conformance.races start $claim --path stale --rounds 200 DIR
    python -m cidx_ref.testing.conformance.races churn $claim --seconds 30 DIR

Each prints one JSON object and ends with status 0, whatever it found (2: it could not begin):

- `rounds`: rounds raced; of a churn, how often the project was owned
- `double`: owners while there was another
- `deaf`: rounds in which somebody connected to the path and did not get through to the owner
- `none`: rounds without an owner; of a churn, gaps of five seconds or more
- `failed`: processes that raised, or said nothing in time
- `killed`: of a churn, owners that left by SIGKILL
- `seconds`: what it took

The claim raced has the methods of `ClaimLike`; so a broken one can be raced, too.  Who owns is not
believed of the claim, but seen by a witness: a lock on a file elsewhere, which the kernel takes
back from the dead.

The starters are forked, because interpreters take too long to start.  So this is a program of its
own, and has no threads: those of a process that forks would be missing in the child, with whatever
they had locked.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import random
import select
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from cidx_ref.testing.ground import SYSTEM, Scratch, connect, peer_pid

__all__ = ["PATHS", "Arena", "ClaimLike", "Place", "churn", "main", "start"]

#: What starters may find at the socket's path: nothing, what a killed daemon left, or a daemon.
PATHS = ("free", "stale", "live")

_GRACE_S = 10.0
_KNOCK_S = 5.0
_OWNED_S = (0.001, 0.003)
_RETRY_S = 0.0005
_GAP_S = 5.0


class ClaimLike(Protocol):
    """What is raced: the right to serve a project, and the socket that goes with it.

    `acquire` is True for the one owner, and False for a starter that finds another one serving.
    `listen` gives the owner its listening socket; `unlink` takes the socket's name away, and
    `release` lets the next owner in.
    """

    def acquire(self, timeout_s: float = ...) -> bool: ...
    def listen(self) -> socket.socket: ...
    def unlink(self) -> None: ...
    def release(self) -> None: ...


class Place(Protocol):
    """What a claim is given: where the project is, and where the socket of its owner would be."""

    @property
    def root(self) -> Path: ...
    @property
    def socket_path(self) -> Path: ...


@dataclass(frozen=True)
class _Story:
    """A place as in the story."""

    root: Path

    @property
    def socket_path(self) -> Path:
        return self.root / ".code-indexer" / "daemon.sock"


MakeClaim = Callable[[Any], ClaimLike]


@dataclass(frozen=True)
class Arena:
    """What is raced for, with what, where the witness is, and for how many seconds a starter waits
    for another that neither answers nor goes."""

    project: Place
    make_claim: MakeClaim
    witness: Path
    patience_s: float = 20.0


# Children.  One runs a function and ends in it: nothing that the parent has yet to do runs twice.


def _fork(body: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        body()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _wait(pid: int) -> None:
    """Until our child has ended; one that does not is killed."""
    fd = os.pidfd_open(pid)
    try:
        if not _is_readable(fd, SYSTEM.monotonic() + _GRACE_S):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    finally:
        os.close(fd)


def _is_readable(fd: int, deadline: float) -> bool:
    """Wait until there is something to read, or an end; False at the deadline."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(max(0.0, deadline - SYSTEM.monotonic()) * 1000))


class _Witness:
    """Tells whether two processes believe to be the owner at the same time."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """False if another process has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._fd)


class _Pipe:
    """Both ends; whoever is forked in between has them, too."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def close_write_end(self) -> None:
        fd, self.write_end = self.write_end, -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        self.close_write_end()
        os.close(self.read_end)

    def say(self, line: dict[str, Any]) -> None:
        os.write(self.write_end, json.dumps(line).encode() + b"\n")  # short: in one piece

    def lines(self, deadline: float, count: float = math.inf) -> Iterator[dict[str, Any]]:
        """The next `count` lines; fewer if they do not come by `deadline`."""
        text = b""
        while count > 0 and _is_readable(self.read_end, deadline):
            text += os.read(self.read_end, 65_536)
            *whole, text = text.split(b"\n")
            count -= len(whole)
            yield from map(json.loads, whole)


# What an owner does.


class _Owner:
    """An owner from when it was given the project: listening, seen by the witness."""

    def __init__(self, arena: Arena, claim: ClaimLike, witness: _Witness) -> None:
        self._arena = arena
        self._claim = claim
        self._witness = witness
        self.is_alone = witness.take()
        self._listener = claim.listen()

    def answer(self, leave: int = -1, timeout_s: float = math.inf) -> None:
        """Tell everybody who connects who we are, until `leave` ends, or for so many seconds."""
        deadline = SYSTEM.monotonic() + timeout_s
        poller = select.poll()
        for fd in (self._listener.fileno(), leave):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        while (left_s := deadline - SYSTEM.monotonic()) > 0:
            ready = [fd for fd, _ in poller.poll(min(left_s, _GRACE_S) * 1000)]
            if leave in ready:
                return
            if ready:
                self._accept()

    def is_reached(self) -> bool:
        """True if whoever connects to the path is accepted by us: tried by doing so."""
        try:
            with connect(self._arena.project.socket_path, _KNOCK_S) as sock:
                if peer_pid(sock) != os.getpid():
                    return False
                while self._accept() != os.getpid():  # those who came before
                    pass
                return _answer_of(sock) == os.getpid()
        except OSError:
            return False

    def leave(self) -> None:
        """As the daemon does: the name, the listener, and the lock when all is done."""
        # The witness before the lock, or the next owner would be taken for a second one.
        self.leave_witness()
        self._claim.unlink()
        self._listener.close()
        self._claim.release()

    def leave_witness(self) -> None:
        self._witness.close()

    def _accept(self) -> int:
        """Tell the next one who we are; returns who it is."""
        sock, _ = self._listener.accept()
        with sock:
            with suppress(OSError):  # it was only probing
                sock.sendall(str(os.getpid()).encode())
            return peer_pid(sock)


def _knock(project: Place) -> int:
    """The process that accepts at the path and says who it is; 0 if nobody does."""
    try:
        with connect(project.socket_path, _KNOCK_S) as sock:
            return _answer_of(sock)
    except OSError:
        return 0


def _answer_of(sock: socket.socket) -> int:
    sock.settimeout(_KNOCK_S)
    return int(sock.recv(32) or 0)


# One round: some starters, at most one owner, and a look whether it is reached.


class _Starters:
    """The starters of one round.  Each says what it became, and whom it got through to."""

    def __init__(self, arena: Arena, count: int) -> None:
        self._arena = arena
        self._go, self._leave, self._said = _Pipe(), _Pipe(), _Pipe()
        self.pids = [_fork(self._run) for _ in range(count)]

    def go(self) -> list[dict[str, Any]]:
        """Let all of them start at once; return what they say, of those that do so in time."""
        self._go.close_write_end()
        deadline = SYSTEM.monotonic() + self._arena.patience_s + _GRACE_S
        return list(self._said.lines(deadline, len(self.pids)))

    def end(self, killed: Sequence[int] = ()) -> None:
        """Have those in `killed` killed and the others leave; wait for all."""
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        self._leave.close_write_end()
        for pid in self.pids:
            _wait(pid)
        for pipe in (self._go, self._leave, self._said):
            pipe.close()

    def _run(self) -> None:
        self._leave.close_write_end()
        try:
            owner = self._start()
        except BaseException:
            self._say("failed")
            raise
        if owner is not None:
            owner.answer(self._leave.read_end)
            owner.leave()

    def _start(self) -> _Owner | None:
        claim = self._arena.make_claim(self._arena.project)
        witness = _Witness(self._arena.witness)
        # It ends when the last who could write has closed it: all go at the same moment.
        self._go.close_write_end()
        os.read(self._go.read_end, 1)
        if not claim.acquire(self._arena.patience_s):
            self._say("running", got_through_to=_knock(self._arena.project))
            return None
        owner = _Owner(self._arena, claim, witness)
        self._say("owner" if owner.is_alone else "double")
        return owner

    def _say(self, state: str, **more: object) -> None:
        self._said.say({"pid": os.getpid(), "state": state, **more})


def start(arena: Arena, path: str, *, rounds: int, processes: int) -> dict[str, Any]:
    """Race `processes` starters `rounds` times, on a path of which `PATHS` says what is there."""
    began, tally = SYSTEM.monotonic(), Counter[str]()
    with _prepared(arena, path) as living:
        for _ in range(rounds):
            _round(arena, living, processes, tally, leaves_stale=path == "stale")
    return _result(rounds, tally, began)


@contextmanager
def _prepared(arena: Arena, path: str) -> Iterator[list[int]]:
    """The path as it is to be found, and who owns it meanwhile."""
    if path == "free":
        yield []
        return
    first = _Starters(arena, 1)
    owners = _owners(first.go())
    if path == "stale":
        first.end(killed=owners)
        yield []
        return
    try:
        yield owners
    finally:
        first.end()


def _round(
    arena: Arena, living: list[int], processes: int, tally: Counter[str], *, leaves_stale: bool
) -> None:
    starters = _Starters(arena, processes)
    said = starters.go()
    became = Counter(line["state"] for line in said)
    owners = living + _owners(said)
    reached = {line["got_through_to"] for line in said if line["state"] == "running"}
    reached.add(_knock(arena.project))
    tally["double"] += became["double"]
    tally["none"] += not owners
    tally["deaf"] += bool(owners) and reached != set(owners)
    tally["failed"] += processes - len(said) + became["failed"]
    starters.end(killed=_owners(said) if leaves_stale else ())


def _owners(said: Sequence[dict[str, Any]]) -> list[int]:
    return [line["pid"] for line in said if line["state"] in ("owner", "double")]


# The churn: owners come and go, as fast as they can.


class _Churn:
    def __init__(self, arena: Arena, seconds: float) -> None:
        self._arena = arena
        self._until = SYSTEM.monotonic() + seconds
        self._said = _Pipe()
        self._pids: set[int] = set()
        self._owned_at = [SYSTEM.monotonic()]
        self.tally = Counter[str]()

    def run(self, processes: int) -> int:
        """Returns how often the project was owned."""
        for _ in range(processes):
            self._pids.add(_fork(self._live))
        try:
            for line in self._said.lines(self._until + self._arena.patience_s + _GRACE_S):
                self._hear(line)
                if not self._pids:
                    break
        finally:
            self._end()
        self._owned_at.sort()
        gaps = zip(self._owned_at, [*self._owned_at[1:], self._until], strict=True)
        self.tally["none"] += sum(later - earlier >= _GAP_S for earlier, later in gaps)
        return len(self._owned_at) - 1

    def _hear(self, line: dict[str, Any]) -> None:
        self.tally.update(line["saw"])
        if "owned_at" in line:
            self._owned_at.append(line["owned_at"])
        if line["ends"]:
            _wait(line["pid"])
            self._pids.discard(line["pid"])
            if "killed" in line["saw"] and SYSTEM.monotonic() < self._until:
                self._pids.add(_fork(self._live))

    def _end(self) -> None:
        for pid in self._pids:  # those that are late
            self.tally["failed"] += 1
            os.kill(pid, signal.SIGKILL)
            _wait(pid)
        self._said.close()

    # In a child.

    def _live(self) -> None:
        try:
            while SYSTEM.monotonic() < self._until:
                self._own()
        except BaseException:
            self._say(["failed"], ends=True)
            raise
        self._say([], ends=True)

    def _own(self) -> None:
        witness = _Witness(self._arena.witness)
        claim = self._arena.make_claim(self._arena.project)
        if not claim.acquire(self._arena.patience_s):
            witness.close()
            SYSTEM.sleep(_RETRY_S)
            return
        owned_at = SYSTEM.monotonic()
        owner = _Owner(self._arena, claim, witness)
        # Reached at the end, too: a name may be taken away by one that leaves late.
        is_reached = owner.is_reached()
        owner.answer(timeout_s=random.uniform(*_OWNED_S))
        is_reached = owner.is_reached() and is_reached
        is_killed = random.random() < 0.5
        saw = {"double": not owner.is_alone, "deaf": not is_reached, "killed": is_killed}
        self._say([key for key, value in saw.items() if value], owned_at, ends=is_killed)
        if is_killed:
            # In which order the kernel takes back a dead process's locks is its own business, so
            # the witness is left before: its being late must not look like a second owner.
            owner.leave_witness()
            os.kill(os.getpid(), signal.SIGKILL)
        owner.leave()

    def _say(self, saw: list[str], owned_at: float | None = None, *, ends: bool) -> None:
        line = {"pid": os.getpid(), "saw": saw, "ends": ends}
        self._said.say(line if owned_at is None else {**line, "owned_at": owned_at})


def churn(arena: Arena, *, seconds: float, processes: int) -> dict[str, Any]:
    """Have `processes` own the project in turn for 1 to 3 ms each, and leave it orderly or by
    SIGKILL, half and half; who is killed is replaced."""
    began = SYSTEM.monotonic()
    race = _Churn(arena, seconds)
    rounds = race.run(processes)
    return _result(rounds, race.tally, began, killed=race.tally["killed"])


def _result(rounds: int, tally: Counter[str], began: float, **more: int) -> dict[str, Any]:
    kinds = ("double", "deaf", "none", "failed")
    seconds = round(SYSTEM.monotonic() - began, 3)
    return {"rounds": rounds, **{kind: tally[kind] for kind in kinds}, **more, "seconds": seconds}


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        make_claim = _named(options.claim, "--claim")
        place = _named(options.place, "--place") if options.place else _Story
        if not Path(options.directory).is_dir():
            raise ValueError(f"{options.directory}: no such directory")
        project = place(Path(options.directory).resolve())
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with Scratch("race-") as elsewhere:
        arena = Arena(
            project,
            make_claim,
            elsewhere / "witness",
            options.patience,
        )
        if options.race == "churn":
            found = churn(arena, seconds=options.seconds, processes=options.processes)
        else:
            found = start(arena, options.path, rounds=options.rounds, processes=options.processes)
    print(json.dumps(found))
    return 0


def _named(place: str, option: str) -> Callable[[Any], Any]:
    """What `MODULE:NAME` names.  Raises `ValueError`, which says in one line what is missing."""
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"{option} {place}: must be MODULE:CLASS")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"{option} {place}: there is no module {error.name}") from None
        raise ValueError(f"{option} {place}: {module} cannot be imported: {error}") from None
    except AttributeError as error:
        raise ValueError(f"{option} {place}: {error}") from None
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"{option} {place}: {module} cannot be imported: {said}") from None
    if not callable(found):
        raise ValueError(f"{option} {place}: {name} is not a class or a function")
    make_claim: MakeClaim = found
    return make_claim


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cidx_ref.testing.conformance.races")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--claim", required=True, metavar="MODULE:CLASS")
    common.add_argument("--processes", type=_count, default=8, metavar="N")
    common.add_argument("--patience", type=float, default=20.0, metavar="S")
    common.add_argument(
        "--place",
        metavar="MODULE:NAME",
        help="makes of DIR what the claim is given: something with root and socket_path "
        "(default: DIR/.code-indexer/daemon.sock)",
    )
    common.add_argument("directory", metavar="DIR", help="a project, or an empty directory")
    races = parser.add_subparsers(dest="race", required=True)
    starters = races.add_parser("start", parents=[common])
    starters.add_argument("--path", choices=PATHS, default="free")
    starters.add_argument("--rounds", type=_count, default=200, metavar="N")
    churning = races.add_parser("churn", parents=[common])
    churning.add_argument("--seconds", type=float, default=30, metavar="S")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
