"""The claim on a project, without the daemon around it: every rule of `daemon/server.py` by itself.

Two claims in one process exclude each other as two processes do: a `flock` belongs to the
descriptor.  What real daemons make of it is in test_lifecycle.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from waiting import Waiting

from cidx_ref.daemon.claim import Claim
from cidx_ref.errors import DaemonUnavailableError, UntrustedError
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime
from cidx_ref.sockets import address_of, connect, is_answered
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject

MakeClaim = Callable[..., Claim]


@pytest.fixture
def bare(make_project: MakeProject) -> Project:
    """A project with nothing in it, and no index: a claim needs neither."""
    return make_project({})


@pytest.fixture
def claim_on(bare: Project, fake: FakeRuntime) -> Iterator[MakeClaim]:
    """`claim_on()`: another claim on the project; all are released at the end."""
    made: list[Claim] = []

    def make(runtime: Runtime = fake) -> Claim:
        made.append(Claim(bare, runtime))
        return made[-1]

    yield make
    for claim in made:
        claim.release()


def names(project: Project) -> list[str]:
    """What lies in the project's directory, but for what stays there for good."""
    return sorted(set(os.listdir(project.directory)) - {".gitignore", "daemon.lock"})


# Acquiring.


@pytest.mark.promise("SRV-2")
def test_a_project_that_is_held_and_answers_is_not_claimed(
    claim_on: MakeClaim, fake: FakeRuntime
) -> None:
    holder, other = claim_on(), claim_on()
    assert holder.acquire() is True
    with holder.listen():
        started = fake.monotonic()
        assert other.acquire() is False
        assert fake.monotonic() == started  # there is nothing to wait for


@pytest.mark.promise("SRV-2")
@pytest.mark.parametrize("timeout_s", [0.0, 5.0])
def test_a_project_that_is_held_and_does_not_answer_is_waited_for_as_long_as_was_said(
    claim_on: MakeClaim, bare: Project, fake: FakeRuntime, timeout_s: float
) -> None:
    assert claim_on().acquire()
    started = fake.monotonic()
    with pytest.raises(DaemonUnavailableError, match=f"holds {bare.directory} and does not answer"):
        claim_on().acquire(timeout_s)
    # With a time of none it does not even sleep once.
    assert timeout_s <= fake.monotonic() - started <= timeout_s * 1.01


@pytest.mark.promise("SRV-2", "SRV-3")
def test_who_waits_for_a_daemon_that_is_going_gets_its_place(claim_on: MakeClaim) -> None:
    holder = claim_on()
    assert holder.acquire()
    assert claim_on(Waiting(holder.release)).acquire(5) is True


@pytest.mark.promise("SRV-2")
def test_who_waits_for_a_daemon_that_is_coming_learns_that_it_has_come(
    claim_on: MakeClaim,
) -> None:
    holder = claim_on()
    assert holder.acquire()
    listeners: list[socket.socket] = []
    waiting = Waiting(lambda: listeners.append(holder.listen()))
    assert claim_on(waiting).acquire(5) is False
    listeners[0].close()


@pytest.mark.promise("SRV-2")
def test_a_directory_that_cannot_be_made_is_named_with_what_is_in_the_way(
    claim_on: MakeClaim, bare: Project
) -> None:
    bare.directory.write_text("a file")
    refused = (
        f"^{bare.directory} is a regular file, not a directory, and is not followed or used: "
        "remove it$"
    )
    with pytest.raises(UntrustedError, match=refused):
        claim_on().acquire()
    bare.directory.unlink()
    bare.root.rmdir()
    with pytest.raises(DaemonUnavailableError, match=f"^{bare.root}: No such file or directory$"):
        claim_on().acquire()


@pytest.mark.promise("SRV-2")
def test_the_lock_is_a_file_that_only_its_owner_can_open_and_stays_for_the_next(
    claim_on: MakeClaim, bare: Project
) -> None:
    bare.create_directory()
    lock = bare.directory / "daemon.lock"
    lock.touch(0o644)  # as an archive may have it
    first = claim_on()
    assert first.acquire()
    found = lock.lstat()
    assert (found.st_mode, found.st_size) == (stat.S_IFREG | 0o600, 0)
    first.release()
    # Were it removed, two could each hold one of that name.
    assert claim_on().acquire(0)
    assert os.path.samestat(lock.lstat(), found)


@pytest.mark.promise("SRV-2")
def test_a_claim_is_held_by_its_lock_and_not_by_the_directory_that_others_may_open(
    claim_on: MakeClaim, bare: Project
) -> None:
    fd = os.open(bare.create_directory(), os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert claim_on().acquire(0)
    finally:
        os.close(fd)


# Listening.


@pytest.mark.promise("SRV-2")
def test_a_daemon_passes_its_steps_in_order(
    claim_on: MakeClaim, bare: Project, fake: FakeRuntime
) -> None:
    claim = claim_on()
    assert claim.acquire()
    assert fake.steps == ["lock opened", "claimed"]
    fake.steps.clear()
    with claim.listen():
        assert fake.steps == ["bound", "listening", "reachable"]
        fake.steps.clear()
        claim.release()
    assert fake.steps == ["leaving", "unlinked"]


@pytest.mark.promise("SRV-1", "SRV-2")
def test_the_path_leads_to_nobody_until_it_leads_to_somebody_who_accepts(
    claim_on: MakeClaim, bare: Project, fake: FakeRuntime
) -> None:
    seen: list[tuple[str, bool]] = []
    for step in ("bound", "reachable"):
        fake.at(
            step, partial(lambda step: seen.append((step, is_answered(bare.socket_path))), step)
        )
    claim = claim_on()
    assert claim.acquire()
    with claim.listen() as listener:
        assert seen == [("bound", False), ("reachable", True)]
        mode = bare.socket_path.lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        listener.accept()[0].close()  # the one that looked
        with connect(bare.socket_path, 5) as client:
            server, _ = listener.accept()
            with server:
                client.sendall(b"hello")
                assert server.recv(5) == b"hello"


@pytest.mark.promise("SRV-2")
def test_what_is_called_like_a_starters_socket_and_is_none_is_passed_over(
    claim_on: MakeClaim, bare: Project
) -> None:
    bare.create_directory()
    kept = bare.directory / f"daemon.sock.{os.getpid()}" / "kept"
    kept.parent.mkdir()
    kept.write_text("somebody's")
    os.mkfifo(bare.directory / f"daemon.sock.{os.getpid() + 1}")
    (bare.directory / "daemon.sock.old").symlink_to("nowhere")
    before = names(bare)
    claim = claim_on()
    assert claim.acquire()
    with claim.listen():
        assert is_answered(bare.socket_path)
        assert names(bare) == sorted([*before, "daemon.sock"])
        assert kept.read_text() == "somebody's"


@pytest.mark.promise("SRV-2", "SRV-3")
def test_what_starters_that_died_have_left_is_cleared_away(
    claim_on: MakeClaim, bare: Project
) -> None:
    bare.create_directory()
    for left in ("daemon.sock", "daemon.sock.1"):
        with socket.socket(socket.AF_UNIX) as dead, address_of(bare.directory / left) as address:
            dead.bind(address)
    (bare.directory / "daemon.log").write_text("")
    claim = claim_on()
    assert claim.acquire()
    with claim.listen():
        assert is_answered(bare.socket_path)
        assert names(bare) == ["daemon.log", "daemon.sock"]


@pytest.mark.promise("SRV-4")
@pytest.mark.parametrize("temporary", ["is there", "is gone"])
def test_an_interruption_while_binding_leaves_nothing_and_is_what_is_told(
    claim_on: MakeClaim, bare: Project, fake: FakeRuntime, temporary: str
) -> None:
    def interrupt() -> None:
        (left,) = names(bare)
        assert left.startswith("daemon.sock.")
        if temporary == "is gone":
            (bare.directory / left).unlink()
        raise KeyboardInterrupt

    fake.at("bound", interrupt)
    claim = claim_on()
    assert claim.acquire()
    with pytest.raises(KeyboardInterrupt):
        claim.listen()
    assert names(bare) == []


# Being robbed.


def remove_socket(project: Project) -> None:
    project.socket_path.unlink()


def replace_socket(project: Project) -> None:
    project.socket_path.rename(project.socket_path.with_name("kept"))
    project.socket_path.write_text("")


def rename_project(project: Project) -> None:
    project.root.rename(project.root.with_name("renamed"))


def replace_directory_around_the_socket(project: Project) -> None:
    # The very same socket, so that only what was locked tells.
    moved = project.directory.with_name("moved")
    project.directory.rename(moved)
    project.directory.mkdir()
    (moved / "daemon.sock").rename(project.socket_path)


def remove_lock(project: Project) -> None:
    (project.directory / "daemon.lock").unlink()


def replace_lock(project: Project) -> None:
    (project.directory / "daemon.lock").rename(project.directory / "kept")
    (project.directory / "daemon.lock").touch(0o600)


@pytest.mark.promise("SRV-5")
@pytest.mark.parametrize(
    "rob",
    [
        remove_socket,
        replace_socket,
        rename_project,
        replace_directory_around_the_socket,
        remove_lock,
        replace_lock,
    ],
)
def test_a_claim_is_intact_until_the_socket_the_lock_or_the_project_is_gone(
    claim_on: MakeClaim, bare: Project, rob: Callable[[Project], None]
) -> None:
    claim = claim_on()
    assert claim.acquire()
    with claim.listen():
        assert claim.is_intact() is True
        rob(bare)
        assert claim.is_intact() is False


@pytest.mark.promise("SRV-5")
def test_a_claim_without_a_socket_is_intact_as_long_as_its_directory_is(
    claim_on: MakeClaim, bare: Project
) -> None:
    claim = claim_on()
    assert claim.acquire()
    assert claim.is_intact()
    with claim.listen():
        claim.unlink()  # as a daemon does that drains
        assert claim.is_intact()
    rename_project(bare)
    assert not claim.is_intact()


# Letting go.


@pytest.mark.promise("SRV-4")
def test_a_socket_is_removed_by_its_owner_and_only_once(claim_on: MakeClaim, bare: Project) -> None:
    claim = claim_on()
    assert claim.acquire()
    with claim.listen():
        pass
    claim.unlink()
    assert names(bare) == []
    bare.socket_path.write_text("somebody else's")
    claim.unlink()
    claim.release()
    assert names(bare) == ["daemon.sock"]


@pytest.mark.promise("SRV-4", "SRV-5")
def test_a_socket_that_was_replaced_is_left_alone(claim_on: MakeClaim, bare: Project) -> None:
    claim = claim_on()
    assert claim.acquire()
    with claim.listen():
        replace_socket(bare)
    claim.release()
    assert bare.socket_path.exists()


@pytest.mark.promise("SRV-4")
def test_releasing_gives_the_project_to_the_next_and_closes_nothing_else(
    claim_on: MakeClaim,
) -> None:
    before = [os.fstat(fd) for fd in range(3)]
    first, second = claim_on(), claim_on()
    first.release()  # what was never acquired
    assert first.acquire()
    first.release()
    first.release()
    assert second.acquire(0)
    first.release()
    with pytest.raises(DaemonUnavailableError):
        first.acquire(0)
    assert [os.fstat(fd) for fd in range(3)] == before


@pytest.mark.promise("SRV-4")
def test_a_claim_whose_descriptor_is_that_of_standard_input_is_released_too(
    claim_on: MakeClaim,
) -> None:
    # A daemon that was started with its standard input closed may have its lock there.
    kept = os.dup(0)
    first = claim_on()
    assert first.acquire(0)
    try:
        # Moved there: which number it gets depends on what is opened on the way.
        os.dup2(first._lock, 0)
        os.close(first._lock)
        first._lock = 0
        first.release()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
        second = claim_on()
        assert second.acquire(0)
        second.release()  # before the number is somebody else's again
    finally:
        os.dup2(kept, 0)
        os.close(kept)
