"""A tree that can be written now, and not then, while a daemon serves: one daemon all the same.

What changes it is a flag, a mount or a permission.  Here it is the system's answer that is changed,
and, where that can be had, the flag itself (`chattr +i`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import Waiting

from cidx_ref import mounts, places, processes
from cidx_ref.client import DaemonClient
from cidx_ref.daemon import claim, server
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import DaemonUnavailableError, IndexingError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index.unwritable import not_written
from cidx_ref.launcher import start_process, stop
from cidx_ref.project import Project
from cidx_ref.sockets import is_answered
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build, end_daemon, served, write

pytestmark = pytest.mark.once


def chattr(flag: str, path: Path) -> bool:
    try:
        return subprocess.run(["chattr", flag, path], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Tree:
    """A project whose `.code-indexer/` can be written, or cannot."""

    def __init__(self, project: Project) -> None:
        self.root = project.root
        self.path = project.create_directory()

    def close(self) -> None:
        """Have it take no files."""

    def free(self) -> None:
        """Have it take files."""

    def found(self) -> Project:
        """The project, as a process that begins now finds it."""
        return Project.at(self.root)


class SaidTree(Tree):
    """By what the system says of it."""

    def __init__(self, project: Project, patch: pytest.MonkeyPatch) -> None:
        super().__init__(project)
        self._is_closed, real = False, os.access

        def access(path: Path, mode: int, **options: bool) -> bool:
            return real(path, mode, **options) and not (self._is_closed and path == self.path)

        patch.setattr(os, "access", access)

    def close(self) -> None:
        self._is_closed = True

    def free(self) -> None:
        self._is_closed = False


class FlaggedTree(Tree):
    """By a flag of its file system's."""

    def close(self) -> None:
        if not chattr("+i", self.path):
            pytest.skip("there is no such flag here, or it takes root")

    def free(self) -> None:
        chattr("-i", self.path)


@pytest.fixture(params=["said", "flagged"])
def tree(
    request: pytest.FixtureRequest, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tree]:
    project = make_project({})
    is_said = request.param == "said"
    made: Tree = SaidTree(project, monkeypatch) if is_said else FlaggedTree(project)
    yield made
    made.free()


@pytest.fixture
def said(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> SaidTree:
    return SaidTree(make_project({}), monkeypatch)


class Resting:
    """A daemon that has a project, and listens, and does not run until it is to end."""

    def __init__(self, project: Project) -> None:
        claim = Claim(project)
        assert claim.acquire()
        self.daemon = Daemon(project, CIDXDaemonService(project.root), claim)
        self._has_ended = False

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.daemon.stop()
            self.daemon.run()


@contextmanager
def resting(project: Project) -> Iterator[Resting]:
    made = Resting(project)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.promise("SRV-2")
def test_a_daemon_stays_where_it_is_and_is_found_when_its_tree_cannot_be_written_any_more(
    tree: Tree,
) -> None:
    with served(tree.found()):
        tree.close()
        assert tree.found().directory == tree.path
        with DaemonClient(tree.found(), start=False) as client:
            assert client.ping()["pid"] == os.getpid()
        assert Claim(tree.found()).acquire() is False
        tree.free()
    assert not is_answered(tree.path / places.SOCKET)


@pytest.mark.promise("SRV-2")
def test_who_found_a_tree_that_cannot_be_written_learns_of_a_daemon_in_it(tree: Tree) -> None:
    tree.close()
    late = tree.found()
    assert late.places.is_read_only
    tree.free()
    with served(tree.found()):
        tree.close()
        assert Claim(late, FakeRuntime()).acquire() is False
        assert not is_answered(late.socket_path)
        tree.free()


@pytest.mark.promise("SRV-2")
def test_who_finds_that_a_tree_can_be_written_waits_until_the_daemon_beside_it_has_ended(
    tree: Tree,
) -> None:
    tree.close()
    beside = tree.found()
    assert beside.places.is_read_only
    with resting(beside) as made:
        assert made.daemon._watch()
        assert beside.directory != tree.path
        tree.free()
        with pytest.raises(DaemonUnavailableError, match=f"holds {beside.directory} and does not"):
            Claim(tree.found(), FakeRuntime()).acquire(0.0)
        assert not made.daemon._watch(), "so it ends"
        claim = Claim(tree.found(), Waiting(made.end))
        assert claim.acquire(5.0) is True
        assert claim.project.directory == tree.path
        claim.release()


@pytest.mark.promise("SRV-2")
def test_who_waits_for_a_daemon_in_a_tree_that_cannot_be_written_begins_beside_it(
    tree: Tree,
) -> None:
    holder = Claim(tree.found())
    assert holder.acquire()
    early = tree.found()
    assert early.directory == tree.path
    tree.close()
    claim = Claim(early, Waiting(holder.release))
    assert claim.acquire(5.0) is True
    assert claim.project.places.is_read_only
    with claim.listen():
        assert is_answered(tree.found().socket_path)
    claim.release()


@pytest.mark.promise("SRV-2")
def test_a_place_that_is_none_any_more_is_not_claimed(said: SaidTree) -> None:
    early = said.found()
    assert early.directory == said.path
    said.close()
    claim = Claim(early, FakeRuntime())
    assert claim.acquire(5.0) is True
    assert claim.project.places.is_read_only
    claim.release()


@pytest.mark.promise("SRV-2")
def test_a_daemon_whose_socket_cannot_be_removed_lets_go_of_the_project(
    said: SaidTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim(said.found())
    assert claim.acquire()
    with claim.listen():
        said.close()
        with monkeypatch.context() as patch:

            def refuse(directory: Directory, name: str) -> None:
                raise PermissionError(1, "Operation not permitted", name)

            patch.setattr(Directory, "unlink", refuse)
            claim.release()
    said.free()
    assert (said.path / places.SOCKET).exists()
    following = Claim(said.found())
    assert following.acquire(0.0)
    with following.listen():
        assert is_answered(said.path / places.SOCKET)
    following.release()


@pytest.mark.promise("SRV-2")
def test_a_client_follows_to_the_next_daemon_wherever_that_is(tree: Tree) -> None:
    tree.found()
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(served(tree.found()))
        client = DaemonClient(
            tree.found(), launch=lambda project: second.enter_context(served(project))
        )
        assert client.project.directory == tree.path
        tree.close()
        first.close()
        assert client.ping()["pid"] == os.getpid()
        assert client.project.places.is_read_only
        second.close()
        tree.free()
        assert client.ping()["pid"] == os.getpid()
        assert client.project.directory == tree.path
        client.close()


@pytest.mark.promise("SRV-2")
def test_a_daemon_that_has_other_mounts_is_none_of_ours(
    said: SaidTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(said.found()):
        said.close()
        monkeypatch.setattr(processes, "has_our_mounts", lambda pid: False)
        assert said.found().places.is_read_only
        claim = Claim(said.found())
        assert claim.acquire(0.0), "it is no daemon that can be asked from here"
        claim.release()


@pytest.mark.promise("SRV-2")
def test_a_daemon_beside_a_tree_that_another_name_of_is_served_ends(said: SaidTree) -> None:
    said.close()
    beside = said.found()
    with resting(beside) as made:
        made.daemon._leave_if_moved()
        assert is_answered(beside.socket_path)
        said.free()
        made.daemon._leave_if_moved()
        assert not is_answered(beside.socket_path)


# What is said.


@pytest.mark.parametrize(("flag", "words"), [(0x10, "immutable: `chattr -i`"),
                                             (0x20, "append-only: `chattr -a`")])  # fmt: skip
def test_a_flag_that_keeps_an_index_from_being_written_is_named_with_what_takes_it_off(
    project: Project, monkeypatch: pytest.MonkeyPatch, flag: int, words: str
) -> None:
    def told(fd: int, request: int, data: bytes) -> bytes:
        is_it = os.path.samestat(os.fstat(fd), project.generations.stat())
        return (0x80000 | flag * is_it).to_bytes(8, sys.byteorder)

    before = sorted(os.listdir(project.generations))
    monkeypatch.setattr(fcntl, "ioctl", told)
    with pytest.raises(IndexingError, match=f"write the index: {project.generations} is {words}"):
        build(project)
    assert sorted(os.listdir(project.generations)) == before
    with served(project), DaemonClient(project, start=False) as client:
        assert client.query("retry_on_disconnect")[0].path == "net/retry.py"


def test_by_the_flag_the_index_stays_as_it_was_and_is_brought_up_to_date_later(
    project: Project,
) -> None:
    write(project.root, "new.py", "def quokka(): pass\n")
    tree = FlaggedTree(project)
    tree.path = project.generations
    tree.close()
    try:
        with pytest.raises(IndexingError, match="generations is immutable: `chattr -i` lets"):
            build(project)
    finally:
        tree.free()
    build(project)


def test_what_a_tree_that_cannot_be_written_is_kept_by_is_named(
    said: SaidTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    said.close()
    monkeypatch.setattr(
        mounts, "flagged", lambda at: f"{at} has a flag" if at == said.path else None
    )
    with pytest.raises(IndexingError, match=f"{said.path} has a flag; or name a directory on a"):
        build(said.found())


def test_of_a_tree_the_part_that_cannot_be_written_is_named(said: SaidTree) -> None:
    said.close()  # as where that is a mount of its own
    with pytest.raises(IndexingError, match=f"{said.path} cannot be written by you .its file sys"):
        build(said.found())


def test_a_path_in_which_engines_have_no_room_for_their_files_is_too_long() -> None:
    said = [mounts.write_problem(Project(Path("/", *["p" * 99] * parts))) for parts in (38, 40)]
    assert said[0] is None
    assert str(said[1]).startswith("its path is too long: name a directory")


def test_where_no_lock_can_be_made_a_flag_is_named_or_else_the_setting(
    said: SaidTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Directory, name: str) -> int:
        raise PermissionError(errno.EPERM, "Not you", str(directory.path / name))

    monkeypatch.setattr(Directory, "open_for_append", refuse)
    monkeypatch.setenv(places.INDEX_DIRECTORY, str(tmp_path / "elsewhere"))
    project = said.found()
    with pytest.raises(DaemonUnavailableError, match=f"Not you: {places.INDEX_DIRECTORY} names"):
        Claim(project).acquire()
    monkeypatch.setattr(claim, "flagged", lambda at: f"{at} has a flag")
    with pytest.raises(DaemonUnavailableError, match=f"Not you: {project.directory} has a flag$"):
        Claim(project).acquire()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_permissions_that_keep_an_index_from_being_written_are_named(
    project: Project, number: int
) -> None:
    said = str(not_written(OSError(number, "Not you", "x"), project))
    where = ".code-indexer/generations, which is to be your own, mode 700"
    assert said == f"cannot write the index: Not you (in {where}); the index stays as it was"


def test_a_directory_that_keeps_its_owner_out_is_named_with_how_it_should_be(
    said: SaidTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        if path == ".gitignore":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    refused = f"^{said.path}/.gitignore: Permission denied: {said.path} is to be a directory of "
    for _ in range(2):
        with pytest.raises(UntrustedError, match=refused):
            said.found().check()
        said.close()


def test_where_nothing_can_be_made_beside_a_tree_either_the_setting_is_named(
    said: SaidTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(places.STATE_DIRECTORY, str(tmp_path / "file"))
    said.close()
    with pytest.raises(UntrustedError, match=f"Not a directory: {places.STATE_DIRECTORY} names an"):
        said.found().check()


def test_a_daemon_that_a_flag_keeps_from_serving_says_so(
    said: SaidTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(claim: Claim) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", "daemon.sock")

    monkeypatch.setattr(Claim, "listen", refuse)
    monkeypatch.setattr(server, "flagged", lambda at: f"{at} has a flag")
    with pytest.raises(DaemonUnavailableError, match=f"sock: Operation.*: {said.path} has a flag$"):
        server.serve(said.found())
    assert processes.holder(said.path / places.LOCK) == 0


# As from the shell.


@pytest.mark.deep
@pytest.mark.promise("SRV-2")
def test_by_the_flag_there_is_one_daemon_at_each_time(
    make_project: MakeProject, running: Callable[[Project], int]
) -> None:
    """Real ones, as they are started from the shell."""
    tree = FlaggedTree(make_project({}))
    try:
        first = running(tree.found())
        tree.close()
        assert start_process(tree.found()) == "already running"
        with DaemonClient(tree.found()) as client:
            assert client.ping()["pid"] == first
        assert stop(tree.found())
        with DaemonClient(tree.found()) as client:
            second = client.ping()["pid"]
            beside = client.project.directory
        tree.free()
        with DaemonClient(tree.found()) as client:
            assert client.ping()["pid"] not in (first, second)
        assert processes.holder(beside / places.LOCK) == 0
    finally:
        end_daemon(tree.found())
        tree.free()
