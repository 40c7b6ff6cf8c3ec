"""The way to the file system: by plain names from a descriptor, through no link, for the user."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from segments import in_segments

import cidx_ref
from cidx_ref.errors import CidxError, IndexingError, UntrustedError
from cidx_ref.files import Directory, is_plain, own_directory
from cidx_ref.index import merging
from cidx_ref.index.adopt import adopt
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.folders import read_regular
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.index.merging import merge_segments
from cidx_ref.keys import Key
from cidx_ref.locks import try_lock
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, get_ident
from cidx_ref.testing.clock import FakeRuntime

pytestmark = pytest.mark.once

Act = Callable[[Directory, str], Any]


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


@pytest.fixture
def directory(inside: Path) -> Iterator[Directory]:
    with Directory.open(inside) as opened:
        yield opened


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("mine")
    return tmp_path / "outside"


def as_file(inside: Path, name: str) -> None:
    (inside / name).write_text("text")


def as_directory(inside: Path, name: str) -> None:
    (inside / name).mkdir()


def as_link_to_a_file(inside: Path, name: str) -> None:
    (inside / name).symlink_to("../outside/file")


def as_link_to_a_directory(inside: Path, name: str) -> None:
    (inside / name).symlink_to("../outside")


def as_link_to_nothing(inside: Path, name: str) -> None:
    (inside / name).symlink_to("../outside/made")


def as_fifo(inside: Path, name: str) -> None:
    os.mkfifo(inside / name)


def as_socket(inside: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as bound, Directory.open(inside) as opened:
        bound.bind(str(opened.engine_path / name))


MAKERS: dict[str, Callable[[Path, str], None]] = {
    "a regular file": as_file,
    "a directory": as_directory,
    "a symbolic link": as_link_to_a_file,
    "a symbolic link ": as_link_to_a_directory,
    "a symbolic link  ": as_link_to_nothing,
    "a FIFO": as_fifo,
    "a socket": as_socket,
}

ACTS: dict[str, tuple[Act, str]] = {
    "open as a directory": (lambda d, name: d.sub(name).close(), "a directory"),
    "make a directory": (lambda d, name: d.sub(name, create=True).close(), "a directory"),
    "read": (lambda d, name: d.read(name, 100), "a regular file"),
    "append": (lambda d, name: os.close(d.open_for_append(name)), "a regular file"),
    "lock": (lambda d, name: os.close(d.open_for_append(name)), "a regular file"),
    "look for a socket": (lambda d, name: d.check(name, stat.S_IFSOCK), "a socket"),
}


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("act", ACTS)
def test_what_is_not_of_the_kind_that_is_wanted_is_refused_by_name_and_not_touched(
    directory: Directory, inside: Path, outside: Path, kind: str, act: str
) -> None:
    MAKERS[kind](inside, "entry")
    before = (inside / "entry").lstat()
    do, wanted = ACTS[act]
    if kind.strip() == wanted:
        do(directory, "entry")
    else:
        with pytest.raises(UntrustedError) as refused:
            do(directory, "entry")
        told = f"{inside / 'entry'} is {kind.strip()}, not {wanted}"
        assert str(refused.value).startswith(told)
    assert (inside / "entry").lstat().st_ino == before.st_ino
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "mine"


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "../outside/file", "a\0b"])
def test_a_name_that_leads_elsewhere_is_none(
    directory: Directory, outside: Path, name: str
) -> None:
    assert not is_plain(name)
    for act in (
        directory.status,
        directory.sub,
        directory.readlink,
        directory.open_regular,
        directory.open_for_append,
        directory.unlink,
        directory.make,
        directory.remove,
        lambda name: directory.create(name, b""),
        lambda name: directory.replace(name, b""),
        lambda name: directory.symlink("x", name),
        lambda name: directory.rename("x", name),
        lambda name: directory.link(name, "x"),
        lambda name: read_regular(directory.fd, name, 10),
    ):
        with pytest.raises(OSError, match="not a plain name"):
            act(name)
    assert (outside / "file").read_text() == "mine"


@pytest.mark.promise("TRUST-1")
def test_what_is_made_is_made_exclusively(directory: Directory, inside: Path) -> None:
    for maker in (as_file, as_link_to_nothing, as_fifo):
        maker(inside, "entry")
        with pytest.raises(FileExistsError, match=str(inside / "entry")):
            directory.create("entry", b"data")
        (inside / "entry").unlink()
    directory.create("entry", b"data")
    assert directory.read("entry", 4) == b"data"
    with pytest.raises(UntrustedError, match="larger than 3 bytes"):
        directory.read("entry", 3)


@pytest.mark.promise("TRUST-1")
def test_a_replacement_takes_the_place_of_a_link_and_not_of_what_it_leads_to(
    directory: Directory, inside: Path, outside: Path
) -> None:
    as_link_to_a_file(inside, "entry")
    (inside / f".entry.{os.getpid()}.{get_ident()}").symlink_to(outside / "made")
    directory.replace("entry", b"new")
    assert not (inside / "entry").is_symlink()
    assert (inside / "entry").read_bytes() == b"new"
    assert os.listdir(inside) == ["entry"]
    assert (outside / "file").read_text() == "mine"
    assert os.listdir(outside) == ["file"]


@pytest.mark.promise("TRUST-1")
def test_a_replacement_that_fails_leaves_the_old_contents_and_nothing_beside_them(
    directory: Directory, inside: Path
) -> None:
    as_directory(inside, "entry")
    with pytest.raises(OSError, match="entry"):
        directory.replace("entry", b"new")
    assert os.listdir(inside) == ["entry"]


@pytest.mark.promise("TRUST-1")
def test_whatever_lies_where_a_replacement_is_written_first_is_removed(
    directory: Directory, inside: Path
) -> None:
    for maker in (as_directory, as_fifo, as_file):
        maker(inside, f".entry.{os.getpid()}.{get_ident()}")
        directory.replace("entry", b"new")
        assert os.listdir(inside) == ["entry"]


@pytest.mark.promise("TRUST-1")
def test_removing_goes_into_directories_and_through_no_link(
    directory: Directory, inside: Path, outside: Path
) -> None:
    (inside / "tree" / "deep").mkdir(parents=True)
    as_link_to_a_directory(inside / "tree", "link")
    (inside / "tree" / "deep" / "up").symlink_to("../../../outside")
    as_link_to_a_directory(inside, "link")
    for name in ("tree", "link", "nothing"):
        directory.remove(name)
    assert os.listdir(inside) == []
    assert (outside / "file").read_text() == "mine"


@pytest.mark.promise("TRUST-1")
def test_a_tree_of_any_depth_is_removed(directory: Directory, inside: Path) -> None:
    here = os.open(inside, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        os.mkdir("beside", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for name in ("d", "beside"):
        directory.remove(name)
    assert os.listdir(inside) == []


@pytest.mark.promise("TRUST-1")
def test_a_file_with_a_second_name_is_not_written(
    directory: Directory, inside: Path, outside: Path
) -> None:
    os.link(outside / "file", inside / "entry")
    with pytest.raises(UntrustedError, match="is a hard link: remove it"):
        directory.open_for_append("entry")


@pytest.mark.promise("TRUST-3")
@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_files_and_directories_are_for_their_owner_alone(
    directory: Directory, inside: Path, umask: int
) -> None:
    old = os.umask(umask)
    try:
        directory.create("file", b"")
        directory.make("made").close() if not umask & 0o700 else None
        os.close(directory.open_for_append("lock"))
    finally:
        os.umask(old)
    for name in os.listdir(inside):
        mode = (inside / name).stat().st_mode
        assert stat.S_IMODE(mode) & 0o077 == 0, name
    (inside / "lock").chmod(0o666)
    os.close(directory.open_for_append("lock"))
    assert stat.S_IMODE((inside / "lock").stat().st_mode) == 0o600


@pytest.mark.promise("TRUST-3")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("act", ACTS)
def test_what_belongs_to_somebody_else_is_refused_by_the_owner_s_name(
    directory: Directory, inside: Path, act: str
) -> None:
    do, wanted = ACTS[act]
    MAKERS[wanted](inside, "entry")
    os.chown(inside / "entry", 54321, -1)
    with pytest.raises(UntrustedError, match=r"entry belongs to user 54321, and is not used"):
        do(directory, "entry")


@pytest.mark.promise("TRUST-1")
def test_an_own_directory_is_one_by_its_last_name(inside: Path, outside: Path) -> None:
    as_link_to_a_directory(inside, "link")
    with pytest.raises(UntrustedError, match="is a symbolic link"):
        own_directory(inside / "link")
    with own_directory(inside / "made", create=True) as made:
        assert made.names() == []
        assert try_lock(made.fd, made.path)
    made.close()  # closing twice does nothing


@pytest.mark.promise("TRUST-1")
def test_a_source_file_is_read_whoever_owns_it_and_never_waited_for(
    directory: Directory, inside: Path
) -> None:
    as_file(inside, "entry")
    assert read_regular(directory.fd, "entry", 2) == b"tex"
    as_fifo(inside, "fifo")
    assert read_regular(directory.fd, "fifo", 2) is None
    as_link_to_a_file(inside, "link")
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(directory.fd, "link", 2)


# Every change of the file system.


class Death(BaseException):
    """The end of the process: what comes after it in `finally` can change no file any more."""


def assert_closed_but(opened: set[str], doing: list[str]) -> None:
    """Nothing is open but `opened`; tantivy closes a file or two in a thread that it leaves."""
    for _ in range(500):
        if set(os.listdir("/proc/self/fd")) <= opened:
            return
        SYSTEM.sleep(0.01)
    raise AssertionError(f"left open by a failure before: {doing}")


def copy_of(whole: Project, name: str) -> Project:
    """With its index, which was built once."""
    root = shutil.copytree(whole.root, whole.root.with_name(name), symlinks=True)
    return Project.at(root)


def left_by_writers(project: Project) -> list[str]:
    """What lies beside the generations, and is not the live one."""
    live = Generations(project.generations).current()
    return [name for name in os.listdir(project.generations) if name not in (live, "current")]


def outcomes(
    make_project: Callable[..., Project], error: BaseException, *, dies: bool
) -> list[tuple[str, bool, BaseException | None]]:
    """An index run over a change, for each of its operations: which one it was, whether the new
    index is live, and what was raised.  The last one is of no operation: all went well."""
    found: list[tuple[str, bool, BaseException | None]] = []
    whole = make_project(name="whole")
    old = bring_up_to_date(whole, HashingEmbedder())["generation"]
    for number in count(1):
        project = copy_of(whole, f"p{number}")
        (project.root / "new.py").write_text("new = 1\n")
        runtime = FakeRuntime()
        runtime.fail_at(number, error, dies=dies)
        raised: BaseException | None = None
        opened = set(os.listdir("/proc/self/fd"))
        try:
            bring_up_to_date(project, HashingEmbedder(), runtime=runtime)
        except (Death, CidxError) as problem:
            raised = problem
        assert_closed_but(opened, runtime.operations[-1:])
        if isinstance(raised, CidxError):
            assert left_by_writers(project) == [], runtime.operations[number - 1]
        generations = Generations(project.generations)
        generations.sweep()  # as the next daemon does when it starts
        live = generations.current()
        assert sorted(os.listdir(project.generations)) == [live, "current"], "litter is left"
        directory = generations.path(live)
        assert damaged_files(directory, read_manifest(directory)) == {}
        assert bring_up_to_date(project, HashingEmbedder())["files"] == 5, "and it goes on"
        last = runtime.operations[number - 1] if number <= len(runtime.operations) else ""
        found.append((last, live != old, raised))
        if not last:
            return found
    raise AssertionError


@pytest.mark.promise("WRITE-3")
def test_a_death_before_any_operation_leaves_the_old_index_or_the_new_whole(
    make_project: Callable[..., Project], figure: Callable[..., None]
) -> None:
    found = outcomes(make_project, Death(), dies=True)
    assert all(isinstance(raised, Death) for _, _, raised in found[:-1])
    assert found[-1] == ("", True, None)
    live = [is_new for _, is_new, _ in found]
    assert live == sorted(live), "old up to the renaming of the link, new from there on"
    kinds = {name.partition(" ")[0] for name, _, _ in found[:-1]}
    assert kinds >= {"mkdir", "create", "write", "sync", "rename", "symlink", "unlink", "engine"}
    figure("WRITE-3", "operations of an index run, each died before", len(found) - 1)


@pytest.mark.promise("WRITE-3")
def test_a_failure_of_any_operation_leaves_the_old_index_or_the_new_whole_and_is_said(
    make_project: Callable[..., Project], figure: Callable[..., None]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    found = outcomes(make_project, full, dies=False)
    for name, is_new, raised in found[:-1]:
        if raised is None:  # what cannot be removed keeps none waiting
            assert is_new, name
            is_cache = name.endswith(".seen.bin.new")  # which costs reading, and no index
            assert is_cache or name.partition(" ")[0] in ("unlink", "rmdir", "rename"), name
        else:
            assert isinstance(raised, IndexingError), f"{name}: {raised!r}"
            assert "No space left on device" in str(raised), name
            assert "[Errno" not in str(raised), name
    figure("WRITE-3", "operations of an index run, each failed", len(found) - 1)


@pytest.mark.promise("WRITE-3")
def test_a_merge_of_which_any_operation_fails_leaves_nothing_that_was_written(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_project(name="whole")
    live = in_segments(whole)
    monkeypatch.setattr(merging, "due_merge", lambda sizes: [size.id for size in sizes])
    monkeypatch.setattr(merging, "is_merge_due", lambda *_: True)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for number in count(1):
        project = copy_of(whole, f"p{number}")
        runtime = FakeRuntime()
        runtime.fail_at(number, full)
        raised = None
        try:
            merge_segments(project, HashingEmbedder(), runtime=runtime)
        except IndexingError as error:
            raised = error
        last = runtime.operations[number - 1 : number]
        if raised is not None:
            assert "No space left on device" in str(raised)
            assert left_by_writers(project) == [], last
        is_new = Generations(project.generations).current() != live.name
        assert is_new or raised is not None, last
        if not last:
            return


@pytest.mark.promise("WRITE-3")
def test_a_failure_of_any_operation_of_an_adoption_is_said_and_leaves_nothing_open(
    make_project: Callable[..., Project],
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    whole = make_project(name="whole")
    bring_up_to_date(whole, HashingEmbedder(), key=Key(b"another's" * 4))
    for number in count(1):
        project = copy_of(whole, f"p{number}")
        runtime = FakeRuntime()
        runtime.fail_at(number, full)
        opened = set(os.listdir("/proc/self/fd"))
        said = "No space left on device"
        try:
            adopt(project, runtime=runtime)
        except CidxError as error:
            said = str(error)
        assert "No space left on device" in said
        assert "None" not in said, "it says where"
        assert not any(name.startswith(".building") for name in os.listdir(project.generations))
        assert_closed_but(opened, runtime.operations[-1:])
        if number > len(runtime.operations):
            return


#: What changes files by itself, and why it may.
ELSEWHERE = {
    "__main__.py": {"os.write"},  # standard error, where nothing may be imported any more
    "daemon/log.py": {"os.write"},  # the log, whose failure costs no answer
    "daemon/accept.py": {"os.write"},  # a pipe
    "daemon/background.py": {"os.write"},  # a pipe
    "index/child.py": {"os.write"},  # a pipe
    "places.py": {"each.mkdir"},  # the account's own, and those above
    "scratch.py": {"path.rmdir"},  # its own, in the directory for temporary files
}
CHANGES = frozenset(
    "mkdir rename replace unlink rmdir symlink link fsync chmod fchmod truncate ftruncate write "
    "remove makedirs removedirs".split()
)
OF_PATHS = frozenset("write_text write_bytes mkdir rmdir chmod symlink_to hardlink_to".split())


def test_the_package_changes_files_in_one_place_only() -> None:
    package = Path(cidx_ref.__file__).parent
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package).as_posix()
        if where == "files.py" or where.startswith("testing/"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner, name = ast.unparse(node.func.value), node.func.attr
            is_ours = owner in ("directory", "state", "above", "self._directory", "inner", "target")
            if (owner == "os" and name in CHANGES) or (name in OF_PATHS and not is_ours):
                found.setdefault(where, set()).add(f"{owner}.{name}")
    assert found == ELSEWHERE
