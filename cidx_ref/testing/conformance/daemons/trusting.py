"""Configuration that is checked, a socket that is the user's own, and clients that fork."""

from __future__ import annotations

import json
import os
import select
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from cidx_ref.testing.conformance.asking import Asker, Gone, Refused
from cidx_ref.testing.conformance.bench import Bench, NotOffered
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import Question, sound
from cidx_ref.testing.conformance.peer import RpycPeer
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon, NotStarted
from cidx_ref.testing.conformance.target import Cap

__all__ = ["CHECKS"]

# Configuration.

_TTLS = ("ttl_s", "ttl_minutes")
#: What no TTL can be, as it may stand in a file.  Neither 0 nor -1: there, they may mean "never".
_BAD = ("-7", '"ten"', '["ten"]')


@check("bad-configuration", "CFG-1", needs={Cap.CONFIG})
def bad_configuration(bench: Bench) -> None:
    """A TTL that is none, or half a file, is refused: by the start, or by what is asked then."""
    for text in (*_BAD, ""):
        project = bench.project()
        # There is an index, or not to answer would be no refusal.
        with bench.daemon(project):
            pass
        with bench.showing("CFG-1"):
            if text:
                project.configure(**dict.fromkeys(_TTLS, text))
            else:
                for name in bench.target.files:
                    path = project.root / name
                    path.write_text(path.read_text("utf-8")[: path.stat().st_size // 2], "utf-8")
            try:
                daemon = bench.start(project)
                with daemon.connect() as asker:
                    answer = asker.query("village")
            except (NotStarted, Refused, Gone):
                bench.tried("CFG-1", 1, "bad values")
                continue
            what = f"a TTL of {text}" if text else "half a file"
            raise AssertionError(f"with {what} as its configuration it serves: {answer}")


# Other users.


@check("other-users", "TRUST-3", needs={Cap.PRIVATE}, spawns=False)
def other_users(bench: Bench) -> None:
    """Others cannot connect to its socket, nor put another in its place."""
    with bench.daemon() as daemon, bench.showing("TRUST-3"):
        path = Path(daemon.address)
        if "://" in daemon.address:
            raise NotOffered("needs a Unix socket")
        found = path.stat()
        owner = Path(f"/proc/{daemon.pid}").stat().st_uid if daemon.is_local else os.geteuid()
        assert found.st_uid == owner, f"its socket is user {found.st_uid}'s, and it runs as {owner}"
        mode = stat.S_IMODE(found.st_mode)
        can_come = all(_others(part) & stat.S_IXOTH for part in _below(daemon, path))
        assert not (can_come and mode & stat.S_IWOTH), (
            f"every user can connect to its socket: mode {mode:04o}, and no directory is closed"
        )
        for part in _below(daemon, path):
            is_open = _others(part) & stat.S_IWOTH and not _others(part) & stat.S_ISVTX
            assert not is_open, (
                f"every user can put a socket in the place of its own: {part.name} has mode "
                f"{stat.S_IMODE(part.stat().st_mode):04o}"
            )
            bench.tried("TRUST-3", 1, "directories")


def _others(path: Path) -> int:
    return path.stat().st_mode


def _below(daemon: Daemon, path: Path) -> list[Path]:
    """The directories that lead to it: below the project, because where that lies is the kit's
    own affair; or all."""
    root = daemon.project.root
    return [
        part
        for part in path.parents
        if not path.is_relative_to(root) or part == root or part.is_relative_to(root)
    ]


# Clients that fork.


@check("fork", "TRUST-4", needs={Cap.FORKS}, spawns=False)
def fork(bench: Bench) -> None:
    """A client that is used on both sides of a fork gives neither side the other's answers."""
    with bench.daemon() as daemon, bench.showing("TRUST-4"):
        if bench.target.connect is None or bench.target.connect is RpycPeer:
            raise NotOffered("needs a client of the target's own (Target.connect)")
        rounds = 20 if bench.deep else 5
        for _ in range(rounds):
            with daemon.connect(5.0) as asker:
                questions = sound(bench, asker, 8)
                _both_sides(asker, questions)
            bench.tried("TRUST-4", 2, "processes")


def _both_sides(asker: Asker, questions: list[Question]) -> None:
    here, there = questions[::2], questions[1::2]
    end, begin = os.pipe()
    with warnings.catch_warnings():
        # Of threads that this process has: the child ends without having met them.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        # A copy of everything: nothing of it is to run, or to be cleaned up, a second time.
        try:
            os.write(begin, b"\n")
            os.write(begin, json.dumps(list(_wrong(asker, there))).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(begin)
    try:
        # Both sides ask at the same time, or neither has the other's answers.
        select.select([end], [], [], 30.0)
        wrong = list(_wrong(asker, here, is_parent=True))
        ended = end_of(pid, 30.0)
        assert ended, "the child of a fork, which uses its parent's client, hangs"
        with open(end, "rb", closefd=False) as said:
            wrong += json.loads(said.read().strip() or b"[]")
    finally:
        _end(pid)
        os.close(end)
    assert not wrong, f"after a fork, {wrong[0]}"


def _wrong(asker: Asker, questions: list[Question], is_parent: bool = False) -> Iterator[str]:
    """What was not right.  An error ends it: the child may have none of its parent's client."""
    for query, path in questions * 5:
        try:
            found = asker.query(query).paths
        except Exception as error:
            if is_parent:
                yield f"the parent's client fails: {type(error).__name__}: {error}"
            return
        if path not in found:
            yield f"{query!r} finds {found}, and not {path}"


def _end(pid: int) -> None:
    if not end_of(pid, 0):
        os.kill(pid, 9)
    os.waitpid(pid, 0)


CHECKS = [bad_configuration, other_users, fork]
