"""What decides about files from where no folder of the project is watched: git's directories, what
lies above the project, the user's own configuration of git, mounts."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cidx_ref.daemon import outside
from cidx_ref.daemon.gitindex import what_it_lists
from cidx_ref.testing.own.watches import Bench, Still, git

pytestmark = pytest.mark.once

MARK = ".git/"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own, of which git's configuration is a part."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def above(tmp_path: Path) -> Path:
    """A checkout, in which the project is a folder."""
    for path in ("p/a.py", "p/g1.py", "p/pkg/b.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    return tmp_path


@pytest.fixture
def root(above: Path) -> Path:
    """A checkout of its own."""
    root = above / "p"
    (root / ".gitignore").write_text("g*.py\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


@pytest.fixture
def bench(root: Path) -> Iterator[Bench]:
    made = Bench(root, real=True)
    yield made
    made.close()


# Between the listing and the arming.


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize(
    "path", [".gitignore", "pkg/.cidxignore", "pkg/pyvenv.cfg", ".git/info/exclude"]
)
def test_a_file_of_patterns_that_is_edited_between_listing_and_arming_is_dirty(
    root: Path, path: str
) -> None:
    (root / path).write_text("*.log\n")
    bench = Bench(root, Still(ahead_s=0), real=True)
    for folder in ("", "pkg/"):  # which the edit leaves as they are
        os.utime(root / folder, (1, 1))
    bench.lists = lambda: ["", "pkg/"]
    bench.watch.use()
    bench.between = lambda: (root / path).write_text("x.py\n")
    bench.turn()
    assert (MARK if ".git/" in path else path) in bench.session.dirty
    bench.close()


@pytest.mark.promise("FRESH-2")
def test_an_index_that_is_as_it_was_after_another_one_was_listed_is_dirty(
    bench: Bench, root: Path
) -> None:
    bench.begin()
    before = (root / ".git" / "index").read_bytes()
    lists = bench.lists

    def listed_in_between() -> list[str] | None:
        git(root, "add", "-f", "g1.py")
        (root / ".git" / "index").write_bytes(before)
        return lists()

    bench.lists = listed_in_between
    bench.run()
    assert MARK in bench.session.dirty


# What git lists.


@pytest.mark.promise("FRESH-2")
def test_an_add_and_a_removal_that_leave_the_number_of_entries_are_a_change(
    bench: Bench, root: Path
) -> None:
    (root / "g2.py").write_text("x = 1\n")
    git(root, "add", "-f", "g1.py")
    bench.begin()
    git(root, "rm", "-q", "--cached", "g1.py")
    git(root, "add", "-f", "g2.py")
    assert bench.dirty() == {MARK}
    bench.run()
    assert bench.watch.is_fresh()


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("hashes", ["sha1", "sha256"])
def test_the_fingerprint_of_an_index_is_what_it_lists(
    tmp_path: Path, version: int, hashes: str
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.py", "sub/b.py", "x" * 250, *("sub/" + "f" * n for n in range(1, 9))):
        (tmp_path / name).write_text("x = 1\n")
    git(tmp_path, "init", "-q", f"--object-format={hashes}")
    git(tmp_path, "config", "index.version", str(version))
    git(tmp_path, "add", ".")
    blob = subprocess.check_output(["git", "hash-object", "a.py"], cwd=tmp_path, text=True).strip()
    long = f"100644,{blob},{'long/' * 900}b.py"
    git(tmp_path, "update-index", "--add", "--cacheinfo", long)
    index = tmp_path / ".git" / "index"
    seen = [what_it_lists(index.read_bytes())]

    def change(*arguments: str) -> bool:
        """Whether that changes the fingerprint."""
        raw = index.read_bytes()
        git(tmp_path, *arguments)
        assert index.read_bytes() != raw, "the index was written"
        seen.append(what_it_lists(index.read_bytes()))
        return seen[-1] != seen[-2]

    for time_s in (1_000_000_000, 1_000_000_256):
        os.utime(tmp_path / "a.py", (time_s, time_s))
        assert not change("status"), "times are noted, and nothing else"
    (tmp_path / "a.py").write_text("x = 2\n")
    assert not change("add", "a.py"), "another content is listed as the old one was"
    assert change("rm", "-q", "--cached", "sub/b.py")
    assert change("add", "-N", "sub/b.py")
    assert change("update-index", "--skip-worktree", "a.py")
    git(tmp_path, "commit", "-qm", "one")
    assert change("mv", "a.py", "b.py")


def test_an_index_that_cannot_be_understood_is_its_own_fingerprint() -> None:
    header = b"DIRC" + struct.pack(">II", 2, 1)
    for data in (b"", b"DIRC", header, header + b"\0" * 70, b"x" * 100, header + b"\xff" * 99):
        assert what_it_lists(data) == what_it_lists(bytes(data))
        assert what_it_lists(data) != what_it_lists(data + b"1")


@pytest.mark.promise("FRESH-2")
def test_a_split_index_is_compared_whole(bench: Bench, root: Path) -> None:
    git(root, "update-index", "--split-index")
    bench.begin()
    (root / "g2.py").write_text("x = 1\n")
    git(root, "add", "-f", "g2.py")
    assert MARK in bench.dirty()


@pytest.mark.promise("FRESH-2")
def test_an_index_that_is_too_large_to_be_looked_through_counts_as_changed_when_it_is_written(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidx_ref.daemon.gitstate._MAX_INDEX_BYTES", 10)
    bench.begin()
    (root / "a.py").touch()
    bench.run()
    assert bench.watch.is_fresh()
    git(root, "status")
    assert bench.dirty() == {MARK}


# info/exclude.


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("is_there", [False, True])
def test_an_info_that_comes_later_or_again_is_watched(
    bench: Bench, root: Path, is_there: bool
) -> None:
    info = root / ".git" / "info"
    if not is_there:
        (info / "exclude").unlink()
        info.rmdir()
    bench.begin()
    if is_there:
        (info / "exclude").write_text("y.py\n")
        assert bench.dirty() == {MARK}
        bench.run()
        (info / "exclude").unlink()
        info.rmdir()
        assert bench.dirty() == {MARK}
        bench.run()
    for text in ("x.py\n", "z.py\n"):
        info.mkdir(exist_ok=True)
        (info / "exclude").write_text(text)
        assert bench.dirty() == {MARK}
        bench.run()
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
def test_what_linked_worktrees_share_is_watched(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = tmp_path_factory.mktemp("trees") / "tree"
    git(root, "worktree", "add", "-q", str(tree))
    bench = Bench(tree, real=True).begin()
    (root / ".git" / "info" / "exclude").write_text("x.py\n")
    assert bench.dirty() == {MARK}
    bench.close()


# Above the project, and in it.


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize(
    "act",
    [
        lambda above: (above / ".gitignore").write_text("a.py\n"),
        lambda above: git(above, "add", "-f", "p/g1.py"),
        lambda above: (above / ".git" / "info" / "exclude").write_text("a.py\n"),
        lambda above: (above / ".git").rename(above / "was"),
    ],
    ids=["a .gitignore", "an add", "info/exclude", "it is none any more"],
)
@pytest.mark.parametrize("later", [False, True])
def test_what_decides_in_the_checkout_that_the_project_is_a_folder_of_is_a_change(
    above: Path, act: Callable[[Path], object], later: bool
) -> None:
    git(above, "init", "-q")
    git(above, "add", "p/a.py")
    (above / ".gitignore").write_text("x.py\n")
    bench = Bench(above / "p", real=True).begin()
    assert bench.watch.is_fresh()
    if later:  # a run in between that takes it, and fails
        bench.before = lambda: act(above)
        bench.error = ValueError()
        with pytest.raises(ValueError):
            bench.run()
        bench.before, bench.error = lambda: None, None
    else:
        act(above)
    assert bench.dirty() == {MARK}
    bench.run()
    assert bench.watch.is_fresh()
    bench.close()


@pytest.mark.promise("FRESH-2")
def test_a_folder_above_that_becomes_a_checkout_is_a_change(above: Path) -> None:
    bench = Bench(above / "p", real=True).begin()
    git(above, "init", "-q")
    assert bench.dirty() == {MARK}
    bench.run()
    git(above, "add", "-f", "p/g1.py")
    assert bench.dirty() == {MARK}
    bench.close()


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("comes", ["before", "whole", "in place"])
def test_what_a_repository_inside_lists_is_a_change(bench: Bench, root: Path, comes: str) -> None:
    made = root / "sub" if comes == "in place" else root.parent / "sub"
    if comes == "in place":
        made.mkdir()
        bench.begin()
    git(root.parent, "init", "-q", str(made))
    (made / ".gitignore").write_text("g*.py\n")
    (made / "g.py").write_text("x = 1\n")
    git(made, "add", ".")
    if comes == "before":
        made.rename(root / "sub")
        bench.begin()
    elif comes == "whole":
        bench.begin()
        made.rename(root / "sub")
        assert "sub/" in bench.dirty()
    bench.run()
    assert bench.watch.is_fresh()
    git(root / "sub", "status")
    assert bench.watch.is_fresh()
    for act in (
        lambda: git(root / "sub", "add", "-f", "g.py"),
        lambda: (root / "sub/.git/info/exclude").write_text("x.py\n"),
    ):
        act()
        assert bench.dirty() == {"sub/.git/"}
        bench.run()
        assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
def test_a_git_directory_that_another_one_is_named_instead_of_is_a_change(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (root / ".git").rename(elsewhere / "one")
    git(elsewhere, "init", "-q", "two")
    (root / ".git").write_text(f"gitdir: {elsewhere / 'one'}\n")
    bench = Bench(root, real=True).begin()
    (root / ".git").write_text(f"gitdir: {elsewhere / 'two' / '.git'}\n")
    assert "" in bench.dirty()
    bench.run()
    git(root, "add", ".")
    assert bench.dirty() == {MARK}
    bench.close()


@pytest.mark.promise("FRESH-2")
def test_what_two_watch_for_is_watched_until_neither_does(bench: Bench, root: Path) -> None:
    """A linked worktree in the project shares the git directory of the project."""
    git(root, "worktree", "add", "-q", "tree")
    bench.begin()
    git(root, "worktree", "remove", "--force", "tree")
    bench.watch.is_fresh()
    bench.run()
    assert bench.watch.is_fresh()
    (root / ".git" / "info" / "exclude").write_text("x.py\n")
    assert bench.dirty() == {MARK}


# The user's own.


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("where", ["default", "xdg", "named", "included", "a link", "global"])
def test_a_change_of_the_users_own_patterns_is_one(
    bench: Bench, home: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "mine"
    if where == "default":
        path = home / ".config" / "git" / "ignore"
    elif where == "xdg":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
        path = home / "xdg" / "git" / "ignore"
    elif where == "named":
        (home / ".gitconfig").write_text("[core]\n\teditor = vi\n\texcludesFile = ~/mine # mine\n")
    elif where == "included":
        (home / ".gitconfig").write_text("[include]\n path = work.inc\n")
        (home / "work.inc").write_text(f'[core] excludesfile = "{path}"\n')
    elif where == "global":
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "global"))
        (home / "global").write_text("[core]\nexcludesFile = ~/mine\n")
    else:
        (home / "dotfiles").write_text("x.py\n")
        (home / ".gitconfig").write_text("[core]\n\texcludesfile=~/mine\n")
        path.symlink_to(home / "dotfiles")
    bench.begin()
    assert bench.watch.is_fresh()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a.py\n")
    assert bench.dirty() == {MARK}
    assert bench.watch.pending() == 1
    bench.run()
    assert bench.watch.is_fresh()
    path.write_text("b.py\n")
    assert bench.dirty() == {MARK}


@pytest.mark.promise("FRESH-2")
def test_another_file_of_patterns_that_the_user_names_is_a_change(bench: Bench, home: Path) -> None:
    bench.begin()
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    assert bench.dirty() == {MARK}
    bench.run()
    (home / "mine").write_text("x.py\n")
    assert bench.dirty() == {MARK}


def test_a_configuration_that_includes_itself_or_is_no_file_holds_nothing_up(
    bench: Bench, home: Path
) -> None:
    (home / ".gitconfig").write_text("[include]\npath = .gitconfig\npath = fifo\npath = /\n")
    os.mkfifo(home / "fifo")
    bench.begin()
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-1")
def test_what_is_not_watched_is_looked_at_soon_after_a_use_and_a_second_later_at_most(
    bench: Bench, home: Path
) -> None:
    bench.begin()
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    bench.runtime.advance(1.0)
    assert bench.turn() is None, "an idle daemon looks at nothing"
    bench.watch.use()
    assert bench.turn() == pytest.approx(0.2)
    bench.runtime.advance(0.2)
    assert bench.turn() is None
    assert bench.runs == 2
    (home / "mine").write_text("x.py\n")
    bench.watch.use()
    assert bench.turn() is None, "it has been looked at a moment ago"
    bench.runtime.advance(1.0)
    bench.watch.use()
    assert bench.turn() == pytest.approx(0.2)


# Mounts.


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("is_dirty", [False, True])
def test_a_mount_in_the_tree_is_a_change_and_all_folders_are_armed_anew(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_dirty: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    old = f"21 1 8:1 / / rw - ext4 a rw\n22 21 8:2 / {root}-other rw - ext4 a rw\n"
    mounts.write_text(old)
    monkeypatch.setattr(outside, "_MOUNTS", mounts)
    bench.begin()
    mounts.write_text(f"{old}23 21 8:3 / /elsewhere rw - ext4 a rw\n")
    assert bench.watch.is_fresh()
    if is_dirty:  # by something else
        git(root, "add", "-f", "g1.py")
        assert bench.dirty() == {MARK}
    mounts.write_text(f"{old}24 21 8:4 / {root}/pkg rw - tmpfs a rw\n")
    # What a mount does to its folder: it is another one by the same name, of which no event tells.
    assert bench.dirty() == {MARK}
    number = bench.session.tree._watches["pkg/"]  # type: ignore[union-attr]
    (root / "pkg").rename(root.parent / "under")
    (root / "pkg").mkdir()
    monkeypatch.setattr(bench.session.tree._events, "read", list)  # type: ignore[union-attr]
    bench.run()
    monkeypatch.undo()
    assert bench.session.tree is not None
    assert bench.session.tree._watches["pkg/"] != number


@pytest.mark.promise("FRESH-2")
def test_a_folder_on_a_file_system_without_events_means_scans(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat = os.fstat

    def elsewhere(descriptor: int) -> Any:
        found = fstat(descriptor)
        if not os.readlink(f"/proc/self/fd/{descriptor}").endswith("/pkg"):
            return found
        names = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_uid", "st_mode")
        fields = {name: getattr(found, name) for name in names}
        return SimpleNamespace(**{**fields, "st_dev": found.st_dev + 1})

    monkeypatch.setattr("cidx_ref.daemon.watched.os.fstat", elsewhere)
    kinds = {"pkg": "nfs4"}
    bench = Bench(root, real=True, kind_of=lambda path: kinds.get(path.name, "ext4"))
    bench.watch.use()
    bench.turn()
    said = bench.watch.describe()
    assert (said["mode"], said["reason"]) == (
        *("scanning", "the folder pkg is on a file system without events (nfs4)"),
    )
    bench.close()
    kinds["pkg"] = "tmpfs"
    bench = Bench(root, real=True, kind_of=lambda path: kinds.get(path.name, "ext4")).begin()
    bench.close()
