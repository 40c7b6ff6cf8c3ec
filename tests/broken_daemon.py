"""`python broken_daemon.py DEFECT COMMAND...`: a command with a defect that the life of a daemon
brings to light; `test_lifecycle_machine` shows that the machine finds each of them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache

from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.eviction import CacheEvictionThread
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.index import build
from cidx_ref.index.generation import Generations
from cidx_ref.index.scan import Listing
from cidx_ref.index.source import GenerationSource
from cidx_ref.runtime import Runtime
from cidx_ref.testing.own import faulty


def leaves_its_socket() -> None:
    Claim.unlink = lambda self: None  # type: ignore[method-assign]


def takes_a_dead_socket() -> None:
    acquire = Claim.acquire
    Claim.acquire = lambda self, *a: not self._project.socket_path.exists() and acquire(self, *a)  # type: ignore[method-assign]


def serves_beside_another() -> None:
    Claim._try = lambda self: True  # type: ignore[method-assign]
    Claim.is_intact = lambda self: True  # type: ignore[method-assign]


def never_looks_for_a_new_index() -> None:
    GenerationSource.current = cache(GenerationSource.current)  # type: ignore[method-assign]


def stays_when_idle() -> None:
    CIDXDaemonService.shutdown_if_idle = lambda self: False  # type: ignore[method-assign]


def leaves_when_not_idle() -> None:
    def leave(self: CacheEvictionThread) -> None:
        service = self.daemon_service
        assert isinstance(service, CIDXDaemonService)
        service.shutdown("idle")

    CacheEvictionThread._check_and_evict = leave  # type: ignore[method-assign]


def ends_with_status_3() -> None:
    run = Daemon.run
    Daemon.run = lambda self: sys.exit(run(self) or 3)  # type: ignore[method-assign]


def sweeps_nothing() -> None:
    Generations._sweep = lambda self, directory: None  # type: ignore[method-assign]


def publishes_too_early() -> None:
    """The link first; then the directory comes under it."""
    publish = Generations.publish

    def hasty(self: Generations, generation: str, *arguments: object) -> None:
        link = self.directory / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(generation)
        self._runtime.step("linked too early")
        publish(self, generation, *arguments)  # type: ignore[arg-type]

    Generations.publish = hasty  # type: ignore[method-assign,assignment]


def leaves_a_process_behind() -> None:
    subprocess.Popen(("sleep", "60"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def indexes_half() -> None:
    build.list_files = lambda *_: Listing(["harbour.py"], [])  # type: ignore[attr-defined]


def does_not_hear_a_signal_early() -> None:
    init = Daemon.__init__

    def deaf(self: Daemon, *arguments: object, **options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        init(self, *arguments, **options)  # type: ignore[arg-type]

    Daemon.__init__ = deaf  # type: ignore[method-assign]


def survives_its_kill() -> None:
    """A step that is no longer where it was, so that nobody is killed there."""
    listen = Claim.listen

    def elsewhere(self: Claim) -> socket.socket:
        self._runtime = Runtime()
        return listen(self)

    Claim.listen = elsewhere  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        leaves_its_socket,
        takes_a_dead_socket,
        serves_beside_another,
        never_looks_for_a_new_index,
        stays_when_idle,
        leaves_when_not_idle,
        ends_with_status_3,
        sweeps_nothing,
        publishes_too_early,
        leaves_a_process_behind,
        indexes_half,
        does_not_hear_a_signal_early,
        survives_its_kill,
    )
}

if __name__ == "__main__":
    DEFECTS[sys.argv[1]]()
    raise SystemExit(faulty.main(sys.argv[2:]))
