"""Git in repositories that mean harm, and in all the shapes that honest ones have.

With the real git and real directories.  Each hostile `.git` names a program that would leave a
canary, or something that would be waited for, or read, or listed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from trees import open_below

from cidx_ref.index.git import GitListing, _sort
from cidx_ref.index.limited import Limits
from cidx_ref.index.scan import Listing, list_files
from cidx_ref.runtime import SYSTEM

pytestmark = [pytest.mark.once, pytest.mark.promise("QRY-1")]

QUICK = Limits(stall_s=0.2, wall_s=5)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own, and all there is of the user's configuration."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (home / ".gitconfig").write_text(
        "[user]\nname = U\nemail = u@example.org\n[protocol]\nallow = always\n"
    )
    return home


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What no listing may reach: a secret, a FIFO, and a program that leaves a canary."""
    outside = tmp_path / "outside"
    write(outside, {"secret.py": "", "patterns": "*.py\n"})
    os.mkfifo(outside / "fifo")
    program = outside / "program"
    program.write_text(f"#!/bin/sh\ntouch {outside}/canary\n")
    program.chmod(0o755)
    return outside


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a tracked file, a new one and an ignored one."""
    return make_checkout(tmp_path / "checkout")


def make_checkout(root: Path, *options: str) -> Path:
    write(root, {"a.py": "", "sub/new.py": "", "x.log": "", ".gitignore": "*.log\n"})
    git(root, "init", "--quiet", *options)
    git(root, "add", "a.py")
    git(root, "commit", "--quiet", "-m", "first")
    return root


EXPECTED = [".gitignore", "a.py", "sub/new.py"]


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def listed(root: Path, limits: Limits = QUICK) -> Listing:
    before = open_below(Path("/"))
    with TemporaryDirectory() as scratch:
        listing = list_files(root, Path(scratch), SYSTEM, limits)
    assert open_below(Path("/")) <= before
    return listing


def state_of(directory: Path) -> dict[str, tuple[int, int]]:
    """What is below `directory`, with sizes and times: a reader changes none of it."""
    found = {str(path): path.lstat() for path in directory.rglob("*")}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


# What a hostile repository says is not heard.  Each gets the checkout and what lies outside, and
# returns the root of the project if that is not the checkout.

Hostile = Callable[[Path, Path], Path | None]
HEARD_BY_NONE: list[Hostile] = []
REFUSED: dict[Hostile, str] = {}
HELD_UP: list[Hostile] = []


def not_heard(hostile: Hostile) -> Hostile:
    HEARD_BY_NONE.append(hostile)
    return hostile


def refused(note: str) -> Callable[[Hostile], Hostile]:
    def mark(hostile: Hostile) -> Hostile:
        REFUSED[hostile] = note
        return hostile

    return mark


def held_up(hostile: Hostile) -> Hostile:
    HELD_UP.append(hostile)
    return hostile


def make_promisor(checkout: Path, outside: Path) -> None:
    """A sparse index whose trees are missing, and a remote that promises them."""
    write(checkout, {"far/f.py": ""})
    git(checkout, "add", "far")
    git(checkout, "commit", "--quiet", "-m", "sparse")
    git(checkout, "sparse-checkout", "set", "--cone", "--sparse-index")
    for name, value in {
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": "ssh://example.invalid/x",
        "core.sshCommand": f"{outside}/program",
    }.items():
        git(checkout, "config", name, value)
    git(checkout, "config", "core.repositoryFormatVersion", "1")
    shutil.rmtree(checkout / ".git/objects")
    (checkout / ".git/objects").mkdir()


@not_heard
def fetches_a_missing_tree_by_a_command(checkout: Path, outside: Path) -> None:
    make_promisor(checkout, outside)


@not_heard
def is_a_bare_repository_in_a_plain_clone(checkout: Path, outside: Path) -> Path:
    embedded = make_checkout(checkout / "embedded")
    make_promisor(embedded, outside)
    (embedded / ".code-indexer").mkdir()
    for path in (embedded / ".git").iterdir():
        path.rename(embedded / path.name)
    (embedded / ".git").rmdir()
    git(embedded, "config", "--file", "config", "core.worktree", ".")
    git(checkout, "config", "--unset", "core.bare")
    (embedded / ".gitignore").write_text("*\n!/a.py\n!/sub/\n!/sub/new.py\n!/.gitignore\n")
    return embedded


@not_heard
def has_a_file_system_monitor(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "core.fsmonitor", f"{outside}/program")


@not_heard
def has_hooks(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "core.hooksPath", str(outside / "hooks"))
    (outside / "hooks").mkdir()
    shutil.copy(outside / "program", outside / "hooks/post-index-change")


@not_heard
def excludes_by_a_file_outside(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "core.excludesFile", f"{outside}/patterns")


@not_heard
def excludes_by_a_fifo(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "core.excludesFile", f"{outside}/fifo")


@not_heard
def includes_a_configuration_outside(checkout: Path, outside: Path) -> None:
    (outside / "included").write_text(f"[core]\nexcludesFile = {outside}/patterns\n")
    git(checkout, "config", "include.path", f"{outside}/included")


@not_heard
def includes_a_fifo(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "include.path", f"{outside}/fifo")


@not_heard
def has_another_work_tree(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "core.worktree", str(outside))


@not_heard
def has_the_work_tree_above(checkout: Path, outside: Path) -> None:
    git(checkout, "config", "core.worktree", str(outside.parent))


@not_heard
def has_a_configuration_that_is_a_fifo(checkout: Path, outside: Path) -> None:
    (checkout / ".git/config").unlink()
    os.mkfifo(checkout / ".git/config")


@not_heard
def has_a_configuration_that_is_none(checkout: Path, outside: Path) -> None:
    (checkout / ".git/config").write_text("[core\n")


@not_heard
def has_a_head_that_is_a_fifo(checkout: Path, outside: Path) -> None:
    (checkout / ".git/HEAD").unlink()
    os.mkfifo(checkout / ".git/HEAD")


@not_heard
def has_objects_by_a_fifo(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git/objects")
    (checkout / ".git/objects/info").mkdir(parents=True)
    os.mkfifo(checkout / ".git/objects/info/alternates")


@not_heard
def has_left_over_parts_of_an_index(checkout: Path, outside: Path) -> None:
    for number in range(20):
        os.mkfifo(checkout / f".git/sharedindex.{number:040x}")


@pytest.mark.parametrize("hostile", HEARD_BY_NONE)
def test_what_a_repository_says_of_itself_is_not_heard(
    checkout: Path, outside: Path, hostile: Hostile
) -> None:
    root = hostile(checkout, outside) or checkout
    before = state_of(checkout)
    listing = listed(root)
    assert not (outside / "canary").exists()
    assert listing.paths == EXPECTED
    assert [note for note in listing.notes if "(sparse checkout" not in note] == []
    assert state_of(checkout) == before


# What is not as git makes it is refused, and that is said.


@refused(".git is a symbolic link, and is not followed")
def is_a_link(checkout: Path, outside: Path) -> None:
    (checkout / ".git").rename(outside / "git")
    (checkout / ".git").symlink_to(outside / "git")


@refused(".git is not a regular file: remove it")
def is_a_fifo(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git")
    os.mkfifo(checkout / ".git")


@refused(".git names no directory: repair it")
def is_a_file_of_nonsense(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_bytes(b"gitdir: a\0b")


@refused(".git is larger than 8192 bytes")
def is_a_file_without_end(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_bytes(b"gitdir: ")
    os.truncate(checkout / ".git", 1 << 40)


@refused(".git names no git directory (No such file or directory): repair it")
def names_nothing(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text("gitdir: gone\n")


@refused(".git names no git directory (No such file or directory): repair it")
def names_some_directory(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text(f"gitdir: {outside}\n")


@refused(".git names no git directory (Not a directory): repair it")
def names_a_fifo(checkout: Path, outside: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text(f"gitdir: {outside}/fifo\n")


@refused(".git names no git directory (Not a directory): repair it")
def names_a_link(checkout: Path, outside: Path) -> None:
    (checkout / ".git").rename(outside / "git")
    (outside / "link").symlink_to("git")
    (checkout / ".git").write_text(f"gitdir: {outside}/link\n")


@refused("commondir is not a regular file: remove it")
def shares_by_a_fifo(checkout: Path, outside: Path) -> None:
    os.mkfifo(checkout / ".git/commondir")


@refused(".git cannot be used: No such file or directory")
def shares_with_nothing(checkout: Path, outside: Path) -> None:
    (checkout / ".git/commondir").write_text("gone\n")


@refused("index is not a regular file: remove it")
def has_an_index_that_is_a_fifo(checkout: Path, outside: Path) -> None:
    (checkout / ".git/index").unlink()
    os.mkfifo(checkout / ".git/index")


@refused("index is a symbolic link, and is not followed")
def has_an_index_that_is_a_link(checkout: Path, outside: Path) -> None:
    (checkout / ".git/index").rename(outside / "index")
    (checkout / ".git/index").symlink_to(outside / "index")


@refused("index is larger than 268435456 bytes")
def has_an_index_without_end(checkout: Path, outside: Path) -> None:
    os.truncate(checkout / ".git/index", 1 << 40)


@refused("fatal: index file corrupt")
def has_an_index_that_is_none(checkout: Path, outside: Path) -> None:
    (checkout / ".git/index").write_bytes(b"DIRC" + b"\xff" * 100)


@pytest.mark.parametrize(("hostile", "note"), REFUSED.items())
def test_a_git_directory_that_is_not_what_it_should_be_is_refused_and_that_is_said(
    checkout: Path, outside: Path, hostile: Hostile, note: str
) -> None:
    hostile(checkout, outside)
    listing = listed(checkout)
    assert listing.paths == EXPECTED
    (said,) = listing.notes
    assert note in said
    assert str(checkout) in said
    assert "the directories were walked instead" in said


@pytest.mark.parametrize("kind", ["fifo", "link", "folder is a link", "huge"])
def test_patterns_of_the_repository_that_are_no_file_are_not_applied_and_that_is_said(
    checkout: Path, outside: Path, kind: str
) -> None:
    exclude = checkout / ".git/info/exclude"
    exclude.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(exclude)
    elif kind == "link":
        exclude.symlink_to(outside / "patterns")
    elif kind == "huge":
        exclude.write_text("*.py\n")
        os.truncate(exclude, 1 << 40)
    else:
        (checkout / ".git/info").rename(outside / "info")
        (outside / "info/exclude").write_text("*.py\n")
        (checkout / ".git/info").symlink_to(outside / "info")
    listing = listed(checkout)
    assert listing.paths == EXPECTED
    (said,) = listing.notes
    assert said.startswith(f"{checkout}/.git/info")
    assert said.endswith("; its patterns were not applied")


# What holds git up in the tree itself: then what it tracks, and a walk for the rest.


@held_up
def has_patterns_in_a_fifo(checkout: Path, outside: Path) -> None:
    os.mkfifo(checkout / "sub/.gitignore")


@held_up
def has_a_nested_repository_with_a_fifo(checkout: Path, outside: Path) -> None:
    git(checkout, "init", "--quiet", "nested")
    (checkout / "nested/.git/HEAD").unlink()
    os.mkfifo(checkout / "nested/.git/HEAD")


@held_up
def has_a_nested_repository_elsewhere_with_a_fifo(checkout: Path, outside: Path) -> None:
    os.mkfifo(outside / "HEAD")
    write(checkout, {"nested/.git": f"gitdir: {outside}\n"})


@pytest.mark.parametrize("hostile", HELD_UP)
def test_a_git_that_waits_is_ended_and_that_is_said(
    checkout: Path, outside: Path, hostile: Hostile
) -> None:
    write(checkout, {"tracked.log": ""})
    git(checkout, "add", "--force", "tracked.log")
    hostile(checkout, outside)
    listing = listed(checkout)
    assert listing.paths == sorted([*EXPECTED, "tracked.log"])
    (said,) = listing.notes
    assert f"in {checkout}: it waited for 0.2 s without end" in said
    assert "the directories were walked for the files that git does not track" in said


def test_patterns_that_take_exponential_time_are_given_up_and_that_is_said(checkout: Path) -> None:
    write(checkout, {".git/info/exclude": "*a" * 40 + "b\n"})
    for number in range(5):
        (checkout / f"sub/{'a' * 100}{number}").touch()
    listing = listed(checkout, Limits(stall_s=0.2, cpu_s=1))
    assert {*EXPECTED} < {*listing.paths}
    (said,) = listing.notes
    assert "1 s of processor time" in said


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(wall_s=0.1), "more than 0.1 s"),
        (Limits(output_bytes=3), "more than 3 bytes"),
        (Limits(memory_bytes=1 << 20), "git could not list the files"),
    ],
)
def test_nothing_takes_longer_or_more_than_allowed(
    checkout: Path, limits: Limits, reason: str
) -> None:
    if limits.wall_s < 1:
        os.mkfifo(checkout / "sub/.gitignore")
    listing = listed(checkout, limits)
    assert listing.paths == EXPECTED
    (said,) = listing.notes
    assert reason in said


def test_a_git_that_waits_ends_with_the_process_that_asked(checkout: Path) -> None:
    git(checkout, "init", "--quiet", "nested")
    fifo = checkout / "nested/.git/HEAD"  # which is read to its end, and has none
    fifo.unlink()
    os.mkfifo(fifo)
    program = (
        "import sys, pathlib\n"
        "from cidx_ref.index import git, limited\n"
        "root, scratch = map(pathlib.Path, sys.argv[1:])\n"
        "git.list_checkout(root, scratch, limits=limited.Limits(stall_s=1000, wall_s=1000))\n"
    )
    with TemporaryDirectory() as scratch:
        asking = subprocess.Popen([sys.executable, "-c", program, str(checkout), scratch])
        with open(fifo, "wb", buffering=0) as writing:  # which waits until git opens it
            asking.kill()
            asking.wait()
            assert_that_the_readers_end(writing.fileno())


def test_what_git_has_started_ends_with_it(
    checkout: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = home / "fifo"
    os.mkfifo(fifo)
    impostor(home, f"trap '' IO; cat {fifo} & cat {fifo}")
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    both_ends = os.open(fifo, os.O_RDWR)  # so that neither waits for the other
    with open(fifo, "wb", buffering=0) as writing:
        assert "without end" in listed(checkout).notes[0]
        os.close(both_ends)
        assert_that_the_readers_end(writing.fileno())


def impostor(home: Path, script: str) -> None:
    (home / "git").write_text(f"#!/bin/sh\n{script}\n")
    (home / "git").chmod(0o755)


def assert_that_the_readers_end(fifo: int) -> None:
    """Of the FIFO that is open for writing."""
    poll = select.poll()
    poll.register(fifo, 0)  # POLLERR comes unasked, when there is no reader any more
    assert poll.poll(5000) == [(fifo, select.POLLERR)]


# Which git is run, and by whose configuration.


def test_without_git_the_directories_are_walked_and_that_is_said(
    checkout: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    listing = listed(checkout)
    assert listing.paths == EXPECTED
    (said,) = listing.notes
    assert said.startswith("there is a .git, but no git in PATH: install git; ")


def test_without_git_and_without_a_checkout_there_is_nothing_to_say(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    write(tmp_path / "tree", {"a.py": ""})
    assert listed(tmp_path / "tree") == Listing(["a.py"], [])


@pytest.mark.parametrize("path", [".:{}", ":{}", "sub:{}", "."])
def test_a_git_that_lies_in_the_tree_is_not_run(
    checkout: Path, outside: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (checkout, checkout / "sub"):
        shutil.copy(outside / "program", place / "git")
    monkeypatch.setenv("PATH", path.format(os.environ["PATH"]))
    monkeypatch.chdir(checkout)
    assert listed(checkout).paths == sorted([*EXPECTED, "git", "sub/git"])
    assert not (outside / "canary").exists()


def test_what_the_user_has_configured_counts(
    checkout: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, {"git/ignore": "by-default\n", "mine": "by-setting\n", "other": "by-variable\n"})
    for name in ("by-default", "by-setting", "by-variable"):
        (checkout / name).touch()
    assert listed(checkout).paths == sorted([*EXPECTED, "by-setting", "by-variable"])
    git(home, "config", "--global", "core.excludesFile", str(home / "mine"))
    assert listed(checkout).paths == sorted([*EXPECTED, "by-default", "by-variable"])
    (home / "config").write_text(f"[core]\nexcludesFile = {home}/other\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "config"))
    assert listed(checkout).paths == sorted([*EXPECTED, "by-default", "by-setting"])


def test_what_git_itself_left_in_the_environment_does_not(
    checkout: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.excludesFile",
        "GIT_CONFIG_VALUE_0": f"{outside}/patterns",
        "GIT_INDEX_FILE": f"{outside}/secret.py",
        "GIT_TRACE": f"{outside}/canary",
    }.items():
        monkeypatch.setenv(name, value)
    assert listed(checkout) == Listing(EXPECTED, [])
    assert not (outside / "canary").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given_away", [".", ".git", ".git/worktrees/linked", "sub"])
def test_a_repository_of_somebody_else_is_not_used_and_that_is_said(
    checkout: Path, given_away: str
) -> None:
    git(checkout, "worktree", "add", "--quiet", "sub/linked")
    os.chown(checkout / given_away, 12345, -1)
    root = checkout / ("sub/linked" if "linked" in given_away else "sub")
    listing = listed(root)
    assert {"new.py", "a.py"} & {*listing.paths}
    if given_away == "sub":
        assert listing.notes == []  # it is the project, which somebody asked for, that is theirs
    else:
        (said,) = listing.notes
        assert said.startswith(f"{checkout / given_away} belongs to user 12345, and is not used")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_project_of_somebody_else_is_used_with_their_repository(checkout: Path) -> None:
    for path in (checkout, checkout / ".git"):
        os.chown(path, 12345, -1)
    assert listed(checkout) == Listing(EXPECTED, [])


# Honest repositories, of all shapes.


def test_patterns_of_the_repository_that_are_a_file_are_applied(checkout: Path) -> None:
    write(checkout, {".git/info/exclude": "new.py\n"})
    assert listed(checkout) == Listing([".gitignore", "a.py"], [])


def test_a_repository_without_a_commit_or_an_index_has_new_files(tmp_path: Path) -> None:
    write(tmp_path / "new", {"a.py": "", "x.log": "", ".gitignore": "*.log\n"})
    git(tmp_path / "new", "init", "--quiet")
    assert listed(tmp_path / "new") == Listing([".gitignore", "a.py"], [])


@pytest.mark.parametrize("options", [["--object-format=sha1"], ["--object-format=sha256"]])
@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("split", [False, True])
def test_an_index_of_any_kind_is_read_and_nothing_is_changed(
    tmp_path: Path, options: list[str], version: int, split: bool
) -> None:
    checkout = make_checkout(tmp_path / "checkout", *options)
    git(checkout, "update-index", f"--index-version={version}")
    if split:
        git(checkout, "update-index", "--split-index")
    write(checkout, {"later.log": "", "then.log": ""})
    git(checkout, "add", "--force", "later.log")
    assert any(checkout.glob(".git/sharedindex.*")) == split
    for path in checkout.glob(".git/sharedindex.*"):
        os.utime(path, (1, 1))
    before = state_of(checkout)
    assert listed(checkout) == Listing(sorted([*EXPECTED, "later.log"]), [])
    assert state_of(checkout) == before


def test_a_linked_worktree_is_a_checkout_of_its_own(checkout: Path) -> None:
    write(checkout, {".git/info/exclude": "excluded\n"})
    git(checkout, "worktree", "add", "--quiet", "../linked")
    linked = checkout.parent / "linked"
    write(linked, {"only/here.py": "", "excluded": ""})
    git(linked, "add", "only")
    assert listed(linked) == Listing(["a.py", "only/here.py"], [])


def test_a_submodule_is_a_checkout_of_its_own(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "-c", "protocol.file.allow=always", "clone", "--quiet", "checkout", "above")
    above = tmp_path / "above"
    git(
        above, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(checkout), "m"
    )
    assert (above / "m/.git").is_file()
    (above / "m/new.py").touch()
    assert listed(above / "m") == Listing(["a.py", "new.py"], [])
    assert listed(above) == Listing([".gitmodules", "a.py", "m/a.py", "m/new.py"], [])


def test_of_a_sparse_checkout_what_is_there_is_listed(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {"in/i.py": "", "out/o.py": "", "out/x.log": ""})
    git(checkout, "add", "in", "out")
    git(checkout, "commit", "--quiet", "-m", "more")
    git(checkout, "sparse-checkout", "set", "--cone", "--sparse-index", "in")
    assert "out/" in git(checkout, "ls-files", "--sparse")
    advice = "(sparse checkout, or marked skip-worktree): git sparse-checkout disable"
    note = f"the tracked files of 1 folder are not checked out {advice}"
    assert listed(checkout) == Listing(sorted([*EXPECTED, "in/i.py"]), [note])
    note = f"tracked files of 1 folder that is there may not be checked out {advice}"
    write(checkout, {"out/again.py": ""})
    assert listed(checkout) == Listing(sorted([*EXPECTED, "in/i.py", "out/again.py"]), [note])


def test_a_project_in_a_subdirectory_of_a_checkout_has_its_own_paths(checkout: Path) -> None:
    write(checkout, {"sub/deep/d.py": "", "sub/x.log": "", ".git/info/exclude": "/sub/not.py\n"})
    (checkout / "sub/not.py").touch()
    assert listed(checkout / "sub") == Listing(["deep/d.py", "new.py"], [])


def test_the_nearest_git_wins_even_if_it_is_of_no_use(checkout: Path) -> None:
    write(checkout / "sub", {".git": "nonsense", "x.py": ""})
    git(checkout, "add", "--force", "sub/new.py")
    listing = listed(checkout / "sub")
    assert listing.paths == ["new.py", "x.py"]
    assert len(listing.notes) == 1


def test_an_end_by_a_signal_is_a_failure_that_is_said(
    checkout: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor(home, "kill -SEGV $$")
    monkeypatch.setenv("PATH", str(home))
    listing = listed(checkout)
    assert listing.paths == EXPECTED
    (said,) = listing.notes
    assert f"exit status {-signal.SIGSEGV}" in said


@pytest.mark.parametrize("way", ["", "./" * 1900])
def test_what_the_tree_says_in_a_note_is_escaped_and_bounded(checkout: Path, way: str) -> None:
    named = checkout / "\x1b[2J\n\udce9"
    (checkout / ".git").rename(named)
    (named / "index").unlink()
    (named / "index").symlink_to("nowhere")
    (checkout / ".git").write_bytes(os.fsencode(f"gitdir: {way}{named.name}"))
    (said,) = listed(checkout).notes
    assert "\\x1b[2J\\n\\udce9/index is a symbolic link, and is not followed" in said
    assert len(said) < 1100


def test_a_checkout_whose_entries_alternate_is_sorted_in_linear_time() -> None:
    """As of a sparse checkout by patterns: git gives the entries in the order of their names."""
    listing = GitListing()
    lines = [f"{'HS'[number % 2]} a/{number}" for number in range(200_000)]
    started = time.thread_time()
    _sort(listing, lines)
    assert time.thread_time() - started < 5
    assert (len(listing.tracked), len(listing.sparse)) == (100_000, 100_000)
    assert listing.tracked[:2] == ["a/0", "a/2"]
