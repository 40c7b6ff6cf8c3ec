"""The claim on a project, with real files and sockets: threads stand for processes."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import finalize

from cidx_ref.daemon.claim import Claim
from cidx_ref.project import Project
from cidx_ref.sockets import is_answered
from cidx_ref.testing.concurrency.explore import Scenario
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.own.scenarios.common import SCRATCH, Killed


class _OnSocket(Scenario):
    """A project that daemons claim.  Whoever has it stays, and can be reached."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.root = Path(tempfile.mkdtemp(prefix="cidx-", dir=SCRATCH))
        self._remove_files = finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        self.project = Project.at(self.root)
        self.owners: dict[str, tuple[Claim, socket.socket]] = {}
        self.turned_away: list[str] = []
        self.began = runtime.monotonic()

    def start(self, name: str) -> None:
        """Be a daemon of that name, or find that there is one."""
        claim = Claim(self.project, self.runtime)
        if not claim.acquire():
            self.turned_away.append(name)
            return
        listener = claim.listen()
        self.owners[name] = claim, listener
        self.runtime.step("serving")
        self.check_reachable()

    def check_reachable(self) -> None:
        """There is one owner, and the path leads to it."""
        assert len(self.owners) == 1, f"owners: {list(self.owners)}"
        for name, (claim, _) in self.owners.items():
            assert claim.is_intact(), f"{name} has lost the path"
        assert is_answered(self.project.socket_path), "there is an owner, and nobody answers"

    def leave(self, name: str) -> None:
        """Stop in good order, as a daemon does."""
        claim, listener = self.owners.pop(name)
        claim.unlink()
        self.runtime.step("unlinked")
        listener.close()
        claim.release()

    def die(self, name: str) -> None:
        """Be killed: the kernel closes what was open, and removes nothing."""
        claim, listener = self.owners.pop(name)
        listener.close()
        os.close(claim._lock)

    def starter(self, name: str) -> Callable[[], None]:
        return lambda: self.start(name)

    def close(self) -> None:
        for name in list(self.owners):
            self.leave(name)
        self._remove_files()


class TwoStarters(_OnSocket):
    """Two daemons are started at once: one serves, the other finds it."""

    promises = frozenset({"SRV-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.starter("one"), "other": self.starter("other")}

    def check(self) -> None:
        self.check_reachable()
        assert len(self.turned_away) == len(self.actors()) - 1


class TwoStartersAfterAKill(TwoStarters):
    """The same where a daemon was killed, and its socket's name is left."""

    promises = frozenset({"SRV-2", "SRV-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.start("killed")
        self.die("killed")

    def check(self) -> None:
        super().check()
        took = self.runtime.monotonic() - self.began
        assert took < 1.0, f"it took {took} s until somebody served"


class ThreeStarters(TwoStarters):
    """Three are started at once."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {**super().actors(), "third": self.starter("third")}


class ReplacedProject(_OnSocket):
    """`.code-indexer/` is removed, by somebody who has its lock, while two daemons are started:
    they do not both serve, each with a lock on another directory of that name."""

    promises = frozenset({"SRV-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "one": self.starter("one"),
            "other": self.starter("other"),
            "remover": self._remove,
        }

    def _remove(self) -> None:
        claim = Claim(self.project, self.runtime)
        if claim.acquire():
            shutil.rmtree(self.project.directory)
            self.project.create_directory()
            os.close(claim._lock)

    def check(self) -> None:
        self.check_reachable()


class ClientAndStarter(_OnSocket):
    """A client tries the path while a daemon is started: where there is a name, somebody
    answers."""

    promises = frozenset({"SRV-2"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"client": self._try, "daemon": self.starter("daemon")}

    def _try(self) -> None:
        for _ in range(3):
            self.runtime.step("tries the path")
            if self.project.socket_path.exists():
                assert is_answered(self.project.socket_path), "a name, and nobody answers"

    def check(self) -> None:
        self.check_reachable()


class StarterAndLeaver(_OnSocket):
    """A daemon is started while another leaves: if it comes to serve, it keeps the path."""

    promises = frozenset({"SRV-4"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.start("old")

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"old": lambda: self.leave("old"), "new": self.starter("new")}

    def check(self) -> None:
        if self.turned_away:
            assert not self.owners
        else:
            self.check_reachable()


class StarterAndKilled(StarterAndLeaver):
    """A daemon is started while another is killed."""

    promises = frozenset({"SRV-3"})

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"old": self._die, "new": self.starter("new")}

    def _die(self) -> None:
        self.runtime.step("is killed")
        self.die("old")


class DyingStarter(_OnSocket):
    """A daemon is killed between any two steps of its start, while another is started: the other
    serves if it finds nobody, and the next start finds one or becomes one, at once."""

    promises = frozenset({"SRV-2", "SRV-3"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.claim = Claim(self.project, runtime)
        self.has_died = False
        for step in ("claimed", "bound", "listening", "reachable"):
            runtime.at(step, self._may_die)

    def _may_die(self) -> None:
        is_mortal = self.runtime.current_thread == "mortal" and not self.has_died
        if is_mortal and self.runtime.branch("is killed"):
            self.has_died = True
            raise Killed

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"mortal": self._start_and_die, "other": self.starter("other")}

    def _start_and_die(self) -> None:
        try:
            if self.claim.acquire():
                self.owners["mortal"] = self.claim, self.claim.listen()
        except Killed:
            # What SIGKILL leaves, and our exception on its way has removed.
            os.mknod(self.project.socket_path.with_name("daemon.sock.1"), stat.S_IFSOCK | 0o600)
            os.close(self.claim._lock)
            self.start("next")

    def check(self) -> None:
        self.check_reachable()
        left = [path.name for path in self.project.directory.glob("daemon.sock.*")]
        assert left == [], "what a daemon that died has left is not cleared away"
        took = self.runtime.monotonic() - self.began
        assert took < 1.0, f"it took {took} s until somebody served"


class Robbed(_OnSocket):
    """The socket or the project is moved, removed or taken over under a daemon: it notices, and
    on leaving removes nothing that is not its own."""

    promises = frozenset({"SRV-4", "SRV-5"})

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.start("daemon")
        self.robbed: list[str] = []
        self.thief: socket.socket | None = None

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"thief": self._rob}

    def _rob(self) -> None:
        path = self.project.socket_path
        for what, do in {
            "the socket is moved": lambda: path.rename(path.with_name("moved")),
            "the socket is removed": lambda: path.unlink(missing_ok=True),
            "the project is moved": lambda: self.project.directory.rename(self.root / "moved"),
            "the socket is taken over": self._take_over,
        }.items():
            if self.runtime.branch(what):
                self.robbed.append(what)
                with suppress(FileNotFoundError):  # moved before
                    do()

    def _take_over(self) -> None:
        self.project.create_directory()
        self.thief = socket.socket(socket.AF_UNIX)
        temporary = self.project.directory / "new"
        self.thief.bind(str(temporary))
        self.thief.listen()
        temporary.rename(self.project.socket_path)

    def check(self) -> None:
        claim, _ = self.owners["daemon"]
        assert claim.is_intact() == (not self.robbed), f"{self.robbed}, and it did not notice"
        self.leave("daemon")
        if self.thief is not None:
            assert is_answered(self.project.socket_path), "removed somebody else's socket"
        else:
            assert not self.project.socket_path.exists(), "left its socket behind"

    def close(self) -> None:
        super().close()
        if self.thief is not None:
            self.thief.close()
