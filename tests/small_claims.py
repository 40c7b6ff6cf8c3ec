"""Small claims on a place, as people write them, for `check_claim`."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import broken_claims

from cidx_ref.daemon.claim import Claim
from cidx_ref.project import Project
from cidx_ref.testing.concurrency.instrument import instrumented


class Flag:
    """A lock on a file, for as long as the process lives."""

    def __init__(self, place: Any) -> None:
        self.path = place.root / "flag"

    def acquire(self) -> bool:
        self.file = self.path.open("w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            return False
        return True

    def release(self) -> None:
        self.file.close()


class Record(Flag):
    """The other kind of lock on a file, which is the process's."""

    def acquire(self) -> bool:
        self.file = self.path.open("w")
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.close()
            return False
        return True


class PidFile:
    """Looks whether the process that has its number in a file is there, and then writes its own."""

    def __init__(self, place: Any) -> None:
        self.path: Path = place.root / "pid"

    def acquire(self) -> bool:
        if self.is_alive():
            return False
        time.sleep(0.01)
        self.path.write_text(str(os.getpid()))
        return True

    def is_alive(self) -> bool:
        try:
            os.kill(int(self.path.read_text() or 0), 0)
        except (FileNotFoundError, ValueError):
            return False
        except OSError as error:
            return error.errno != errno.ESRCH
        return True

    def release(self) -> None:
        self.path.unlink(missing_ok=True)


class LeftBehind:
    """A file that is made exclusively, and stays when its process is killed."""

    def __init__(self, place: Any) -> None:
        self.path: Path = place.root / "mine"

    def acquire(self) -> bool:
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def release(self) -> None:
        self.path.unlink()


class Deaf(Flag):
    """It has the place, and listens somewhere else."""

    def __init__(self, place: Any) -> None:
        super().__init__(place)
        self.socket_path: Path = place.socket_path.with_name("elsewhere")

    def listen(self) -> socket.socket:
        with suppress(FileNotFoundError):
            self.socket_path.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.socket_path))
        listener.listen()
        return listener

    def unlink(self) -> None:
        self.socket_path.unlink(missing_ok=True)


def ours(place: Any, runtime: Any) -> Claim:
    return Claim(Project.at(place.root), runtime)


def probes(place: Any, runtime: Any) -> Claim:
    return broken_claims.ProbeUnlinkBind(Project.at(place.root), runtime)


def flag(place: Any) -> Flag:
    return Flag(place)


def record(place: Any) -> Record:
    return Record(place)


def pid_file(place: Any) -> PidFile:
    return PidFile(place)


def left_behind(place: Any) -> LeftBehind:
    return LeftBehind(place)


def deaf(place: Any) -> Deaf:
    return Deaf(place)


# Names that a process which races can import.
flag_explored = instrumented(flag, __name__, allow=["socket"])
record_explored = instrumented(record, __name__, allow=["socket"])
pid_file_explored = instrumented(pid_file, __name__, allow=["socket"])
