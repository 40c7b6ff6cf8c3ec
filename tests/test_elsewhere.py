"""An index elsewhere: the user's setting, trees that cannot be written, and file systems on which
no lock can be relied on.  (Two users who share a checkout are in `two_users.py`.)"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import there
from rpyc.utils.factory import unix_connect

from cidx_ref import mounts
from cidx_ref.cli import main
from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon.claim import Claim
from cidx_ref.daemon.server import Daemon
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import ConfigError, DaemonUnavailableError, IndexingError, UntrustedError
from cidx_ref.index.adopt import adopt
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.keys import KEY_BYTES, Key
from cidx_ref.places import (
    INDEX_DIRECTORY,
    STATE_DIRECTORY,
    chosen_directory,
    is_gone,
    locate,
)
from cidx_ref.project import DIRECTORY, Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import MakeProject, build, end_daemon, git, served, write

pytestmark = pytest.mark.once

COMMANDS = [
    ["index"],
    ["query", "retry when the peer disconnects"],
    ["query", "compare_digest", "--mode", "fts", "--json"],
    ["query", "sessions", "--mode", "semantic"],
    ["start"],
    ["status"],
    ["health"],
    ["metrics"],
    ["diagnose"],
    ["ping"],
    ["clear-cache"],
    ["index", "--full"],
    ["stop"],
    ["adopt"],
    ["serve"],
]


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's setting: a directory that is not there yet."""
    path = tmp_path / "indexes" / "of mine"
    monkeypatch.setenv(INDEX_DIRECTORY, str(path))
    return path


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own configuration file, which is not there yet."""
    monkeypatch.delenv(INDEX_DIRECTORY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    path = tmp_path / "settings" / "cidx-ref" / "config.json"
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.promise("SRV-2")
def test_a_directory_that_another_starter_makes_meanwhile_is_no_tree_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, real = tmp_path / DIRECTORY, os.access

    def access(path: Path, mode: int, **options: bool) -> bool:
        allowed = real(path, mode, **options)
        tree.mkdir(exist_ok=True)
        return allowed

    monkeypatch.setattr(os, "access", access)
    assert locate(tmp_path).running == tree


def tree_of(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in a tree, and when it was changed."""
    found = [root, *root.rglob("*")]
    return {str(p): (p.lstat().st_mode, p.lstat().st_size, p.lstat().st_mtime_ns) for p in found}


# The setting.


@pytest.mark.parametrize("value", ["relative", "./x", "~bob/x", "~x", " /x"])
def test_a_setting_that_is_no_absolute_path_is_refused_by_name(
    value: str, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text(json.dumps({"index_directory": value}))
    with pytest.raises(ConfigError) as refused:
        chosen_directory()
    assert str(settings) in str(refused.value)
    assert "index_directory" in str(refused.value)
    monkeypatch.setenv(INDEX_DIRECTORY, value)
    with pytest.raises(ConfigError, match=f"^{INDEX_DIRECTORY}: .* absolute path"):
        chosen_directory()


def test_the_environment_goes_before_the_file_and_an_empty_one_says_none(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen_directory() is None
    settings.write_text('{"index_directory": "/of/the/file", "other": 1}')
    assert chosen_directory() == Path("/of/the/file")
    monkeypatch.setenv(INDEX_DIRECTORY, "/of/the/environment")
    assert chosen_directory() == Path("/of/the/environment")
    monkeypatch.setenv(INDEX_DIRECTORY, "")
    assert chosen_directory() is None


def test_a_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, meant in {"~/a/b": tmp_path / "a/b", "~": tmp_path, "~//a": tmp_path / "a"}.items():
        monkeypatch.setenv(INDEX_DIRECTORY, value)
        assert chosen_directory() == meant
    monkeypatch.setenv(INDEX_DIRECTORY, "~/a")
    monkeypatch.setenv("HOME", "/proc/1/fd/nowhere")  # nor another user's: then the account's
    assert chosen_directory() == Path(os.path.expanduser(f"~{_account()}")) / "a"  # noqa: PTH111


def _account() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must hold a JSON object"),
        (b'{"index_directory": 3}', "must be an absolute path"),
        (b'{"index_dir": "/x"}', "'index_dir': no such key: did you mean 'index_directory'"),
        (b'{"index_directory": "/a\\u0000b"}', "must be an absolute path"),
        (b'{"index_directory": "/a\\ud800b"}', "must be an absolute path"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * 300_000, "larger than"),
    ],
)
def test_a_bad_configuration_of_the_user_is_an_error_that_names_it(
    settings: Path, content: bytes, why: str
) -> None:
    settings.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{settings}: .*{why}"):
        chosen_directory()


def others_can_write(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o664)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (others_can_write, "can be written by other users"),
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "cannot be read|not a regular file"),
    ],
)
def test_what_another_could_have_put_there_is_no_configuration(
    settings: Path, make: Callable[[Path], object], why: str
) -> None:
    make(settings)
    with pytest.raises(ConfigError, match=why):
        chosen_directory()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_configuration_of_another_user_is_not_believed(settings: Path) -> None:
    settings.write_text("{}")
    os.chown(settings, 54321, -1)
    with pytest.raises(ConfigError, match="belongs to user 54321"):
        chosen_directory()


def test_the_configuration_may_be_a_link_as_those_who_keep_theirs_in_a_repository_have_it(
    settings: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept.json").write_text('{"index_directory": "/x"}')
    settings.symlink_to(tmp_path / "kept.json")
    assert chosen_directory() == Path("/x")


def test_a_tree_has_no_say_in_where_the_index_lies(make_project: MakeProject) -> None:
    text = json.dumps({"index_directory": "/nowhere", "daemon": {"index_directory": "/nowhere"}})
    project = make_project({f"{DIRECTORY}/config.json": text, "a.py": "x = 1\n"})
    build(project)
    assert project.generations == project.root / DIRECTORY / "generations"
    assert project.generations.is_dir()


# With the setting.


def test_with_the_setting_everything_lies_there_and_nothing_in_the_tree(
    make_project: MakeProject, base: Path
) -> None:
    project = make_project()
    before = tree_of(project.root)
    build(project)
    with served(project), DaemonClient(project, start=False) as client:
        assert client.query("retry_on_disconnect")[0].path == "net/retry.py"
        status = client.status()
        assert Path(str(status["address"])).samefile(project.socket_path)
        assert status["index_directory"] == str(project.directory)
        assert status["log"] == str(project.log_path)
        names = sorted(os.listdir(project.directory))
    assert tree_of(project.root) == before
    ours = [".gitignore", "daemon.lock", "daemon.sock", "generations", "project.json"]
    assert names == [*ours, "seen.bin"]
    assert project.directory.parent == base
    assert json.loads((project.directory / "project.json").read_text()) == {
        "root": str(project.root)
    }
    for path in (base, base.parent, project.directory, *project.directory.rglob("*")):
        found = path.lstat()
        wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        assert stat.S_ISLNK(found.st_mode) or stat.S_IMODE(found.st_mode) == wanted, path


def test_two_projects_with_one_name_have_two_indexes_and_a_link_to_a_project_has_its_own(
    make_project: MakeProject, base: Path, tmp_path: Path
) -> None:
    one, other = make_project(name="a/same"), make_project({"b.py": "y = 2\n"}, name="b/same")
    assert one.directory != other.directory
    assert one.directory.name.startswith("same-")
    (tmp_path / "link").symlink_to(one.root)
    build(one)
    build(other)
    with served(one), DaemonClient(Project.at(tmp_path / "link"), start=False) as client:
        assert client.status()["files"] == 4


@pytest.mark.parametrize("name", ["..a", "-rf", "é\n", "x" * 200, "a b;c", b"\xff\xfe"])
def test_the_directory_has_a_short_plain_name_whatever_the_project_is_called(
    name: str | bytes, base: Path
) -> None:
    root = Path("/x", os.fsdecode(name))
    made = locate(root).running.name
    assert made.isascii()
    assert made.isprintable()
    assert len(made) <= 50
    assert made[0].isalnum()
    assert "/" not in made
    assert " " not in made


def test_a_directory_that_says_it_is_another_project_s_is_refused_by_name(
    make_project: MakeProject, base: Path
) -> None:
    project = make_project()
    build(project)
    owner = project.directory / "project.json"
    for text in ('{"root": "/other\\u001b"}', "{", "[]"):
        owner.write_text(text)
        with pytest.raises(UntrustedError, match=f"{owner} names .*remove {project.directory}"):
            project.check()
        with pytest.raises(UntrustedError):
            build(project)
    owner.unlink()
    owner.symlink_to("/etc/hostname")
    with pytest.raises(UntrustedError, match="is a symbolic link"):
        project.check()


def test_a_daemon_whose_project_was_moved_notices_and_the_next_one_makes_a_new_index(
    make_project: MakeProject, base: Path, tmp_path: Path
) -> None:
    project = make_project()
    build(project)
    claim = Claim(project)
    assert claim.acquire()
    daemon = Daemon(project, CIDXDaemonService(project.root), claim)
    daemon._leave_if_moved()
    assert project.socket_path.exists()
    project.root.rename(tmp_path / "moved")
    daemon._leave_if_moved()
    daemon.run()  # which has been told to end
    assert not project.socket_path.exists()
    moved = Project.at(tmp_path / "moved")
    assert moved.directory != project.directory
    build(moved)
    assert project.generations.is_dir()
    assert moved.generations.is_dir()


@pytest.mark.promise("SRV-2")
def test_a_daemon_ends_where_the_setting_has_clients_look_for_another_one(
    make_project: MakeProject, settings: Path, tmp_path: Path
) -> None:
    in_tree, elsewhere = "{}", json.dumps({"index_directory": str(tmp_path / "indexes")})
    for before, after in ((in_tree, elsewhere), (elsewhere, in_tree)):
        settings.write_text(before)
        project = make_project()
        claim = Claim(project)
        assert claim.acquire()
        daemon = Daemon(project, CIDXDaemonService(project.root), claim)
        daemon._leave_if_moved()
        settings.write_text("no JSON")
        daemon._leave_if_moved()
        assert project.socket_path.exists()
        settings.write_text(after)
        daemon._leave_if_moved()
        assert not project.socket_path.exists()
        daemon.run()  # which has been told to end


@pytest.mark.parametrize("error", [PermissionError, TimeoutError])
def test_a_project_that_cannot_be_looked_at_for_a_moment_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    assert not is_gone(tmp_path)
    assert is_gone(tmp_path / "no")

    def fail(path: Path, **options: object) -> None:
        raise error

    monkeypatch.setattr(Path, "stat", fail)
    assert not is_gone(tmp_path)


@pytest.mark.promise("SRV-5")
def test_a_project_that_was_moved_and_is_linked_to_is_answered_by_both_names(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project()
    build(project)
    with served(project):
        project.root.rename(tmp_path / "moved")
        project.root.symlink_to(tmp_path / "moved")
        for way in (project.root, tmp_path / "moved"):
            with DaemonClient(Project.at(way), start=False) as client:
                assert client.query("retry").results


def test_a_folder_that_a_program_names_has_a_daemon_of_its_own(
    make_project: MakeProject, base: Path
) -> None:
    """Where nothing is made in the tree that would show it, either."""
    project = make_project()
    git(project.root, "init", "-q")
    part = Project.at(project.root / "net")
    with DaemonClient(part) as client:
        try:
            client.index()
            assert client.query("retry").results[0].path == "retry.py"
        finally:
            client.shutdown()


def test_from_a_folder_of_a_project_without_git_its_index_elsewhere_is_found(
    make_project: MakeProject, base: Path
) -> None:
    project = make_project()
    assert Project.around(project.root / "net", consent=False).root == project.root / "net"
    build(project)
    assert Project.around(project.root / "net", consent=False) == project


def test_a_service_goes_on_building_where_it_reads_though_the_setting_has_changed(
    make_project: MakeProject, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    service = CIDXDaemonService(project.root)  # its daemon would end within a minute
    for changed in ("", str(base) + "-new"):
        monkeypatch.setenv(INDEX_DIRECTORY, changed)
        write(project.root, "new.py", f"def new_function_{len(changed)}(): pass\n")
        service.exposed_index(str(project.root))
        assert service.exposed_get_status()["files"] == 5
    assert not (project.root / DIRECTORY).exists()


def test_the_tree_s_configuration_counts_wherever_the_index_is(
    make_project: MakeProject, base: Path
) -> None:
    project = make_project()
    Config.init(project, ttl_minutes=3)
    assert sorted(os.listdir(project.root / DIRECTORY)) == [".gitignore", "config.json"]
    with served(project) as service:
        assert service.config.ttl_minutes == 3


def test_an_index_that_came_with_the_tree_is_adopted_to_where_the_index_lies(
    make_project: MakeProject, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(INDEX_DIRECTORY, "")
        project = make_project()
        bring_up_to_date(project, HashingEmbedder(), key=Key(b"stranger" * (KEY_BYTES // 8)))
    before = tree_of(project.root)
    mine = Project.at(project.root)
    assert adopt(mine)["files"] == 4
    assert tree_of(project.root) == before
    with served(mine), DaemonClient(mine, start=False) as client:
        assert client.query("retry_on_disconnect", mode="fts")[0].path == "net/retry.py"


@pytest.mark.parametrize("setting", [False, True])
@pytest.mark.parametrize("leads", ["somewhere", "nowhere"])
def test_a_code_indexer_that_is_a_link_is_refused_at_once_by_every_command(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: bool,
    leads: str,
) -> None:
    if setting:
        monkeypatch.setenv(INDEX_DIRECTORY, str(tmp_path / "elsewhere"))
    project = make_project()
    if leads == "somewhere":
        (tmp_path / "another disk").mkdir()
    link = project.root / DIRECTORY
    link.symlink_to(tmp_path / "another disk")
    for line in (*COMMANDS, ["init"]):
        began = SYSTEM.monotonic()
        assert main([line[0], "--project", str(project.root), *line[1:]]) == 2
        assert SYSTEM.monotonic() - began < 1, line
        _out, said = capsys.readouterr()
        assert said == (
            f"cidx-ref: {link} is a symbolic link, and is not followed: remove it; "
            f"{INDEX_DIRECTORY} names a directory that indexes lie in instead\n"
        ), line
    assert not (tmp_path / "another disk").exists() or not os.listdir(tmp_path / "another disk")


# Trees that cannot be written.

_CAN_MOUNT = not subprocess.call(
    ["unshare", "--mount", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
_MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'


def on_a_read_only_mount(root: Path, *lines: list[str]) -> list[tuple[int, str, str]]:
    program = [sys.executable, "-P", there.__file__, json.dumps(lines)]
    return _outcomes(["unshare", "--mount", "sh", "-c", _MOUNTED, str(root), *program], root)


def without_permission(root: Path, *lines: list[str]) -> list[tuple[int, str, str]]:
    directories = [root, *(path for path in root.rglob("*") if path.is_dir())]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in directories}
    for path in directories:
        path.chmod(modes[path] & ~0o222)
    try:
        return _outcomes([sys.executable, "-P", there.__file__, json.dumps(lines)], root)
    finally:
        for path in directories:
            path.chmod(modes[path])


def _outcomes(command: list[str], root: Path) -> list[tuple[int, str, str]]:
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]


Run = Callable[..., list[tuple[int, str, str]]]


@pytest.fixture(
    params=[
        pytest.param(
            on_a_read_only_mount,
            marks=pytest.mark.skipif(not _CAN_MOUNT, reason="a mount of its own takes root"),
        ),
        pytest.param(
            without_permission,
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere"),
        ),
    ]
)
def unwritable(request: pytest.FixtureRequest) -> Run:
    """Runs commands in a project whose tree cannot be written."""
    run: Run = request.param
    return run


def in_git(project: Project) -> Project:
    git(project.root, "init", "-q")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "all")
    return project


@pytest.mark.parametrize("git_too", [False, True])
def test_in_a_read_only_checkout_with_an_index_elsewhere_every_command_works(
    make_project: MakeProject, base: Path, unwritable: Run, git_too: bool
) -> None:
    project = make_project()
    if git_too:
        in_git(project)
    before = tree_of(project.root)
    outcomes = unwritable(project.root, *COMMANDS, ["init"])
    assert tree_of(project.root) == before
    for line, (status, _, err) in zip(COMMANDS, outcomes, strict=False):
        assert status == 0, (line, err)
    told = dict(zip(map(" ".join, COMMANDS), outcomes, strict=False))
    assert told["query retry when the peer disconnects"][1].startswith("net/retry.py:")
    for key, place in {"index_directory": project.directory, "log": project.log_path}.items():
        assert f"\n{key}: {place}\n" in told["status"][1]
    assert told["serve"][1] == "serving\n"
    status, _, err = outcomes[-1]
    assert status == 2
    assert err.startswith(f"cidx-ref: {project.root / DIRECTORY}")
    assert "lies in its tree" in err
    assert os.listdir(base) == [project.directory.name]


def test_a_read_only_checkout_that_was_indexed_before_answers_in_all_modes(
    project: Project, unwritable: Run
) -> None:
    project.generations.chmod(0o755)  # as in an image of a tree: there is nothing to be mended
    before = tree_of(project.root)
    lines = [
        ["query", "retry_on_disconnect", "--mode", mode, "--json"]
        for mode in ("fts", "semantic", "hybrid")
    ]
    outcomes = unwritable(project.root, *lines, ["status", "--json"], ["index"],
                          ["query", "wobble"], ["stop"], ["status", "--json"])  # fmt: skip
    assert tree_of(project.root) == before
    for status, out, err in outcomes[:3]:
        assert (status, err) == (0, "")
        answer = json.loads(out)
        assert answer["results"][0]["path"] == "net/retry.py"
        assert not answer.get("unavailable")
    running, refused, missed, stopped, ended = outcomes[3:]
    told, gone = json.loads(running[1]), json.loads(ended[1])
    assert missed[0] == 1
    assert stopped[1] == "stopped\n"
    assert refused[0] == 2
    assert refused[2].count("\n") == 1
    assert str(project.root) in refused[2]
    assert INDEX_DIRECTORY in refused[2]
    assert mounts.kind_of(project.root) in refused[2]
    assert gone["running"] is False
    log = Path(told["log"])
    assert log.parent.parent == Path(os.environ[STATE_DIRECTORY], "projects")
    expected = {
        "running": False,
        "starting_or_stopping": False,
        "address": str(log.with_name("daemon.sock")),
        "index_directory": str(project.root / DIRECTORY),
        "log": str(log),
        "source": "own",
    }
    assert gone.items() >= expected.items()
    assert told["index_directory"] == gone["index_directory"]
    assert (
        f"index in {told['index_directory']}, socket and log in {log.parent}"
        in (log.read_text().splitlines()[0])
    )
    shutil.rmtree(log.parent)


def test_a_read_only_checkout_without_an_index_is_refused_in_one_line_that_names_the_setting(
    make_project: MakeProject, unwritable: Run
) -> None:
    project = make_project()
    before = tree_of(project.root)
    for status, out, err in unwritable(project.root, ["query", "retry"], ["index"]):
        assert (status, out) == (2, "")
        line = err.splitlines()[-1]
        assert "cannot" in line
        assert str(project.root) in line
        assert INDEX_DIRECTORY in line
        assert mounts.kind_of(project.root) in line
    assert tree_of(project.root) == before


# Network file systems.


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "afs", "ceph",
           "fuse.glusterfs", "lustre", "beegfs", "gpfs")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "9p", "overlay", "fuse",
           "virtiofs", "zfs", "fuse.gocryptfs", "nfsd-like")),
    ],
)  # fmt: skip
def test_on_a_network_file_system_nothing_is_locked_and_the_setting_is_named(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    refused: bool,
) -> None:
    project = make_project({"a.py": "x = 1\n"})
    monkeypatch.setattr(mounts, "_MOUNTS", _mounted_here(tmp_path, kind))
    if not refused:
        build(project)
        return
    with pytest.raises(IndexingError, match=f"network file system .{kind}.*{INDEX_DIRECTORY}"):
        build(project)
    with pytest.raises(DaemonUnavailableError, match=f"network file system .{kind}"):
        Claim(project).acquire()
    assert not (project.root / DIRECTORY).exists()


def _mounted_here(path: Path, kind: str) -> Path:
    """A list of mounts in which the file system of `path` is of `kind`."""
    number = path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    listed = path / "mountinfo"
    listed.write_text(
        f"21 1 9999:1 / /a\\040b rw - nfs4 a:/ rw\n"
        f"22 1 {device} / / rw,relatime shared:1 master:2 - {kind} some:/where rw\n"
        f"23 1 9999:2 / {device} rw - nfs4 a:/ rw\n"
    )
    return listed


def test_a_setting_that_names_a_network_file_system_is_refused_too(
    make_project: MakeProject, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    monkeypatch.setattr(mounts, "_MOUNTS", _mounted_here(tmp_path, "nfs4"))
    with pytest.raises(IndexingError, match=f"{project.directory} is on a network file system"):
        build(project)


def test_the_kind_is_that_of_the_file_system_that_a_path_is_on(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    line = f"5 1 {device} / /x rw shared:3 - fuse.sshfs host:/a rw"
    assert mounts.kind_of(tmp_path / "not" / "there", line) == "fuse.sshfs"
    for bad in ("", "\n", "1 2", " - nfs", line.replace(device, "9:9"), line.replace(" - ", " ")):
        assert mounts.kind_of(tmp_path, bad) == "", bad
    assert mounts.kind_of(Path("/proc")) == "proc"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system")
def test_the_index_may_lie_on_another_file_system(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path("/dev/shm", f"cidx-ref-test-{os.getpid()}")
    monkeypatch.setenv(INDEX_DIRECTORY, str(base))
    project = make_project()
    try:
        build(project)
        with served(project), DaemonClient(project, start=False) as client:
            assert client.query("retry_on_disconnect")[0].path == "net/retry.py"
    finally:
        shutil.rmtree(base)


# Addresses, and what it costs.


@pytest.mark.parametrize("length", [20, 150])
@pytest.mark.parametrize("setting", [False, True])
def test_a_plain_client_finds_the_daemon_by_the_address_that_status_prints(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    length: int,
    setting: bool,
) -> None:
    if setting:
        monkeypatch.setenv(INDEX_DIRECTORY, str(tmp_path / ("b" * length)))
    project = make_project(name="p" * length)
    build(project)
    with served(project):
        assert main(["status", "--json", "--project", str(project.root)]) == 0
        address = json.loads(capsys.readouterr().out)["address"]
        assert len(os.fsencode(address)) <= 107
        with closing(unix_connect(address)) as connection:
            answer = connection.root.query(str(project.root), "retry_on_disconnect")
            assert answer["results"][0]["path"] == "net/retry.py"
    assert not Path(address).exists()


@pytest.fixture
def asked(project: Project) -> Iterator[Project]:
    with served(project):
        yield project


COUNTS = """
import sys
from pathlib import Path
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
from cidx_ref.cli import main
status = main(["query", "--project", sys.argv[1], "--mode", "fts", "retry_on_disconnect"])
ours = [path for path in seen if path.endswith("cidx-ref/config.json")]
modules = {"hashlib", "pwd", "cidx_ref.mounts", "cidx_ref.keys"} & sys.modules.keys()
print(status, len(ours), len([path for path in seen if "mountinfo" in path]), sorted(modules))
"""


def test_a_query_looks_for_the_setting_once_and_loads_nothing_for_it(
    asked: Project, settings: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != INDEX_DIRECTORY}
    done = subprocess.run(
        [sys.executable, "-P", "-c", COUNTS, str(asked.root)],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    status, files, lists, modules = done.stdout.splitlines()[-1].split(maxsplit=3)
    assert (status, lists, modules) == ("0", "0", "[]")
    assert int(files) <= 2, "when the project is looked for, and when its places are"


def test_a_client_starts_the_daemon_where_it_will_look_for_it(
    make_project: MakeProject, base: Path
) -> None:
    project = make_project()
    try:
        with DaemonClient(project) as client:
            client.index()
            assert client.query("retry_on_disconnect")[0].path == "net/retry.py"
            assert Path(str(client.status()["address"])).samefile(project.socket_path)
        assert "index in" in project.log_path.read_text().splitlines()[0]
    finally:
        end_daemon(project)
    assert not (project.root / DIRECTORY).exists()
