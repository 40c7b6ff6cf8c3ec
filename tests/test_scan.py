"""Which files are indexed, and why not the others: with real files and the real git."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from contextlib import nullcontext
from hashlib import blake2b, sha1
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from trees import open_below

from cidx_ref.index.folders import read_found
from cidx_ref.index.scan import Listing, SourceFile, SourceTree, list_files, read_file
from cidx_ref.testing.clock import FakeRuntime

pytestmark = pytest.mark.once

LIMIT = 1_000_000


def listed(root: Path) -> Listing:
    with TemporaryDirectory() as scratch:
        return list_files(root, Path(scratch))


def list_paths(root: Path) -> list[str]:
    """What is listed, where there is nothing to be said about it."""
    listing = listed(root)
    assert listing.notes == []
    return listing.paths


def scanned(root: Path, max_bytes: int) -> list[tuple[str, SourceFile | str]]:
    """Every path that is listed, with what reading it says, as the indexer goes about it."""
    paths = list_paths(root)
    with SourceTree(root) as tree:
        return [(path, tree.read(path, max_bytes)) for path in paths]


@pytest.fixture(autouse=True)
def _no_git_config_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder that is in no git work tree."""
    root = tmp_path / "tree"
    root.mkdir()
    return root


@pytest.fixture
def repository(tree: Path) -> Path:
    """An empty git work tree."""
    git(tree, "init", "--quiet")
    return tree


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "home"))
    assert shutil.which("git") is None


# What is listed


def test_tracked_and_new_files_are_listed_but_ignored_ones_are_not(repository: Path) -> None:
    write(repository, {"b.py": "", "a/new.py": "", "a/x.log": "", ".gitignore": "*.log\n"})
    git(repository, "add", "b.py")
    assert list_paths(repository) == [".gitignore", "a/new.py", "b.py"]


def test_a_tracked_file_is_listed_although_a_pattern_ignores_it(repository: Path) -> None:
    write(repository, {"x.log": "", "y.log": "", ".gitignore": "*.log\n"})
    git(repository, "add", "--force", "x.log")
    assert list_paths(repository) == [".gitignore", "x.log"]


def test_a_folder_below_the_git_root_lists_its_own_files_only(repository: Path) -> None:
    write(repository, {"top.py": "", "sub/a.py": "", "sub/x.log": "", ".gitignore": "*.log\n"})
    assert list_paths(repository / "sub") == ["a.py"]


def test_paths_in_conflict_are_listed_once(repository: Path) -> None:
    write(repository, {"a.py": "x"})
    git(repository, "add", "a.py")
    (line,) = subprocess.check_output(["git", "ls-files", "-s"], cwd=repository).splitlines()
    blob = line.split()[1]
    stages = b"".join(b"100644 %s %d\ta.py\n" % (blob, stage) for stage in (1, 2, 3))
    stages = b"0 " + b"0" * 40 + b"\ta.py\n" + stages
    subprocess.run(
        ["git", "update-index", "--index-info"], cwd=repository, input=stages, check=True
    )
    assert list_paths(repository) == ["a.py"]


@pytest.mark.parametrize("with_git", [True, False])
def test_the_directory_of_an_index_is_left_out_at_any_depth_but_not_its_namesakes(
    tree: Path, with_git: bool
) -> None:
    if with_git:
        git(tree, "init", "--quiet")
    write(tree, {".code-indexer/config.json": "{}", ".code-indexer-not/a": "", "a.py": ""})
    write(tree, {"sub/.code-indexer/mine.py": ""})
    found = scanned(tree, LIMIT)
    assert [path for path, _ in found] == [
        ".code-indexer-not/a",
        "a.py",
    ]
    assert all(isinstance(file, SourceFile) for _, file in found)


STRANGE = [
    b"caf\xe9.py",
    "caf\u00e9 \U0001f600.py".encode(),
    b"quo\"te's.py",
    b"two\nlines.py",
    b"back\\slash.py",
    b" space .py",
    b"-dash.py",
    b"/".join([b"d" * 99] * 3) + b"/deep.py",
]


@pytest.mark.parametrize("with_git", [True, False])
@pytest.mark.parametrize("name", STRANGE)
def test_a_file_of_any_name_is_listed_and_read(tree: Path, name: bytes, with_git: bool) -> None:
    if with_git:
        git(tree, "init", "--quiet")
    made = os.fsencode(tree) + b"/" + name
    os.makedirs(os.path.dirname(made), exist_ok=True)  # noqa: PTH103, PTH120
    with open(made, "w") as file:
        file.write("here")
    ((path, found),) = scanned(tree, LIMIT)
    assert os.fsencode(path) == name
    assert isinstance(found, SourceFile)
    assert (found.path, found.text) == (path, "here")


def test_variables_that_point_git_elsewhere_are_not_heeded(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, {"a.py": ""})
    write(tmp_path / "other", {"b.py": ""})
    git(tmp_path / "other", "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert list_paths(repository) == ["a.py"]


def test_no_program_that_the_repository_names_is_run(repository: Path, tmp_path: Path) -> None:
    hook, ran = tmp_path / "hook", tmp_path / "ran"
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(hook))
    write(repository, {"a.py": ""})
    assert list_paths(repository) == ["a.py"]
    assert not ran.exists()


# Where git has no answer


IGNORING = {
    ".gitignore": "\ufeff*.log\r\nbuild/\n/only-here\n!keep.log\n__pycache__/\n!lib/\n"
    "data/**\n!data/*/\n!data/**/*.csv\na\\ \n*.swp  \ncaf??\n[bad\n[z-a]\n# comment\n!\n",
    "x.log": "",
    "keep.log": "",
    "only-here": "",
    "a ": "",
    "a.swp": "",
    "caf\u00e9": "",
    "two\nlines.log": "",
    "x.log\n": "",
    "two\nlines/keep.log": "",
    "two\nlines/__pycache__/a.pyc": "",
    "build/out.py": "",
    "build/.gitignore": "!out.py\n",
    "sub/only-here": "",
    "sub/build/out.py": "",
    "sub/.gitignore": "!x.log\nkeep.log\n/deep/*\n!/deep/kept/\n",
    "sub/x.log": "",
    "sub/y.log": "",
    "sub/keep.log": "",
    "sub/deep/a.py": "",
    "sub/deep/kept/b.py": "",
    "sub/deep/kept/c.log": "",
    "lib/a.py": "",
    "lib/__pycache__/a.pyc": "",
    "data/a.bin": "",
    "data/2024/a.bin": "",
    "data/2024/a.csv": "",
    "other/.gitignore": "*\n!*/\n!*.py\n",
    "other/a.txt": "",
    "other/a.py": "",
    "other/more/a.txt": "",
    "other/more/a.py": "",
}


def test_the_walk_lists_what_git_lists(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, IGNORING)
    (repository / "link").symlink_to("lib")
    (repository / "dangling").symlink_to("nowhere")
    os.mkfifo(repository / "fifo")
    by_git = list_paths(repository)
    without_git(monkeypatch, tmp_path)
    assert listed(repository).paths == by_git
    assert "sub/x.log" in by_git  # both could be wrong in the same way
    assert "data/2024/a.csv" in by_git
    assert not {"sub/y.log", "lib/__pycache__/a.pyc", "build/out.py"} & {*by_git}


def test_outside_a_work_tree_the_files_are_walked(tree: Path) -> None:
    write(tree, {"b.py": "", "a/a.py": "", "x.log": "", ".gitignore": "*.log\n"})
    assert list_paths(tree) == [".gitignore", "a/a.py", "b.py"]


def test_a_root_that_an_enclosing_repository_ignores_is_walked(repository: Path) -> None:
    write(repository, {".gitignore": "node_modules/\n", "node_modules/x/index.js": ""})
    assert list_paths(repository / "node_modules/x") == ["index.js"]


def test_a_repository_in_which_all_is_ignored_stays_empty(repository: Path) -> None:
    write(repository, {".git/info/exclude": "*\n", "a.py": ""})
    assert list_paths(repository) == []


def test_a_repository_that_git_cannot_read_is_walked(repository: Path) -> None:
    write(repository, {"a.py": "", "x.log": "", ".gitignore": "*.log\n", ".git/index": "DIRC"})
    assert listed(repository).paths == [".gitignore", "a.py"]


def test_a_missing_root_holds_no_files(tree: Path) -> None:
    assert list_paths(tree / "gone") == []


def test_the_walk_enters_no_symlinked_folder(tree: Path) -> None:
    write(tree, {"sub/a.py": ""})
    (tree / "sub/loop").symlink_to("..")
    assert list_paths(tree) == ["sub/a.py", "sub/loop"]


@pytest.mark.promise("QRY-1")
def test_the_walk_enters_no_folder_that_becomes_a_link(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tree, {"a/a.py": "", "b.py": ""})
    write(tmp_path / "outside", {"secret.py": ""})

    def swap_after_the_first(directory: int) -> nullcontext[list[os.DirEntry[str]]]:
        monkeypatch.undo()
        entries = [*os.scandir(directory)]
        shutil.rmtree(tree / "a")
        (tree / "a").symlink_to(tmp_path / "outside")
        return nullcontext(entries)

    monkeypatch.setattr(os, "scandir", swap_after_the_first)
    assert list_paths(tree) == ["b.py"]


@pytest.mark.promise("QRY-1")
def test_folders_beyond_a_depth_are_passed_over_and_that_is_said(tree: Path) -> None:
    deep = "/".join(["d"] * 200)
    write(tree, {"a.py": "", f"{deep}/in.py": "", f"{deep}/d/out.py": "", f"{deep}/e/out.py": ""})
    listing = listed(tree)
    assert listing.paths == ["a.py", f"{deep}/in.py"]
    (said,) = listing.notes
    assert said.startswith("2 directories were not walked, being more than 200 levels deep")


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling"])
def test_a_gitignore_that_cannot_be_read_ignores_nothing(tree: Path, kind: str) -> None:
    write(tree, {"a.py": ""})
    ignore = tree / ".gitignore"
    if kind == "folder":
        ignore.mkdir()
    elif kind == "fifo":
        os.mkfifo(ignore)
    else:
        ignore.symlink_to("nowhere")
    assert "a.py" in list_paths(tree)


def test_a_folder_whose_path_is_too_long_is_passed_over(tree: Path) -> None:
    write(tree, {"a.py": ""})
    here = os.open(tree, os.O_RDONLY)
    try:
        for _ in range(20):  # longer than a path may be, so made step by step
            os.mkdir("d" * 250, dir_fd=here)
            here, above = os.open("d" * 250, os.O_RDONLY, dir_fd=here), here
            os.close(above)
    finally:
        os.close(here)
    assert list_paths(tree) == ["a.py"]
    shutil.rmtree(tree)


# What is read, and what is skipped


def read(root: Path, data: bytes, path: str = "a.txt") -> SourceFile:
    (root / path).write_bytes(data)
    found = read_file(root, path, LIMIT)
    assert isinstance(found, SourceFile)
    return found


def test_a_file_is_read_with_its_digest_and_size(tree: Path) -> None:
    data = "h\u00e9\r\n".encode()
    digest = blake2b(data, digest_size=16).hexdigest()
    assert read(tree, data) == SourceFile("a.txt", "h\u00e9\n", digest, 5)


def test_an_empty_file_is_a_file(tree: Path) -> None:
    assert read(tree, b"").text == ""


def test_every_kind_of_line_end_becomes_a_newline(tree: Path) -> None:
    assert read(tree, b"a\r\nb\rc\nd\x0ce\n\r\n").text == "a\nb\nc\nd\x0ce\n\n"


@pytest.mark.parametrize(
    ("data", "path", "text"),
    [
        (b"\xef\xbb\xbfbom", "a.py", "bom"),
        (b"# coding: latin-1\n\xe9", "a.py", "# coding: latin-1\n\u00e9"),
        (b"# coding: latin-1\n\xc3\xa9", "a.py", "# coding: latin-1\n\u00e9"),
        (b"# coding: latin-1\n\xe9", "a.txt", "# coding: latin-1\n\u00e9"),
        (b"# coding: no-such\n\xe9", "a.py", "# coding: no-such\n\u00e9"),
        (b"# coding: hex\n\xe9", "a.py", "# coding: hex\n\u00e9"),
        (b"# coding: ascii\n\xe9", "a.py", "# coding: ascii\n\u00e9"),
        (b"#coding:unicode_escape\n\\ud800\xe9", "a.py", "#coding:unicode_escape\n\\ud800\u00e9"),
        (b"\xe9", "a.py", "\u00e9"),
        (b"\xef\xbb\xbf\xe9", "a.py", "\u00e9"),
    ],
)
def test_text_is_decoded_as_its_author_meant_if_that_can_be_known(
    tree: Path, data: bytes, path: str, text: str
) -> None:
    assert read(tree, data, path).text == text


@pytest.mark.parametrize(("size", "reason"), [(9, None), (10, None), (11, "too large")])
def test_a_file_of_more_than_the_limit_is_skipped(
    tree: Path, size: int, reason: str | None
) -> None:
    (tree / "a.txt").write_bytes(b"x" * size)
    found = read_file(tree, "a.txt", 10)
    assert (None if isinstance(found, SourceFile) else found) == reason


def test_a_huge_file_is_not_read_to_its_end(tree: Path) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert read_file(tree, "sparse", LIMIT) == "too large"


@pytest.mark.parametrize(("zeros_after", "reason"), [(0, "binary"), (8191, "binary"), (8192, None)])
def test_a_zero_byte_near_the_start_makes_a_file_binary(
    tree: Path, zeros_after: int, reason: str | None
) -> None:
    (tree / "a.txt").write_bytes(b"x" * zeros_after + b"\0")
    found = read_file(tree, "a.txt", LIMIT)
    assert (None if isinstance(found, SourceFile) else found) == reason


def test_what_is_no_regular_file_is_skipped_and_never_waited_for(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tree, {"a.txt": "", "folder/b.txt": ""})
    (tree / "link").symlink_to("a.txt")
    os.mkfifo(tree / "fifo")
    monkeypatch.chdir(tree)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        reasons = {
            path: read_file(tree, path, LIMIT)
            for path in ("link", "fifo", "socket", "folder", "folder/", "gone", "a.txt/below")
        }
    assert reasons == {
        "link": "symlink",
        "fifo": "not a regular file",
        "socket": "not a regular file",
        "folder": "not a regular file",
        "folder/": "not a regular file",
        "gone": "missing",
        "a.txt/below": "missing",
    }
    assert read_file(Path("/dev"), "null", LIMIT) == "not a regular file"


def test_a_regular_file_that_would_have_to_be_waited_for_is_unreadable(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel's log is; mounted, such files may lie anywhere."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    monkeypatch.setattr("cidx_ref.index.folders.os.open", lambda *_, **__: os.dup(reader))
    monkeypatch.setattr("cidx_ref.index.folders.stat.S_ISREG", lambda mode: True)
    with pytest.raises(BlockingIOError):
        read_found(reader, "kmsg", 10)
    os.write(writer, b"some")
    assert read_found(reader, "kmsg", 10)[1] == b"some"  # type: ignore[index]
    for fd in reader, writer:
        os.close(fd)


def test_a_file_that_cannot_be_opened_is_unreadable(tree: Path) -> None:
    assert read_file(tree, "n" * 300, LIMIT) == "unreadable"


def test_a_file_that_may_not_be_read_is_unreadable(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, flags: int, *, dir_fd: int) -> int:
        raise PermissionError(errno.EACCES, "refused", path)  # which root never meets

    with SourceTree(tree) as opened, monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert opened.read("a.txt", LIMIT) == "unreadable"


def test_reading_leaves_no_file_open(tree: Path) -> None:
    write(tree, {"a.txt": "x", "folder/b": ""})
    os.mkfifo(tree / "fifo")
    before = open_below(Path("/"))
    for path in ("a.txt", "folder", "fifo", "gone"):
        read_file(tree, path, LIMIT)
    assert open_below(Path("/")) <= before


def test_a_scan_pairs_each_path_with_its_file_or_the_reason(repository: Path) -> None:
    write(repository, {"a.py": "x", "deleted.py": "", "nested/b.py": "", "z.bin": "\0"})
    git(repository, "add", "deleted.py")
    (repository / "deleted.py").unlink()
    (repository / "link").symlink_to("a.py")
    git(repository / "nested", "init", "--quiet")
    found = dict(scanned(repository, LIMIT))
    assert list(found) == ["a.py", "deleted.py", "link", "z.bin"]
    assert isinstance(found.pop("a.py"), SourceFile)
    assert found == {
        "deleted.py": "missing",
        "link": "symlink",
        "z.bin": "binary",
    }


def test_a_submodule_that_is_not_checked_out_is_named(repository: Path) -> None:
    commit = "1" * 40
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{commit},module")
    why = "submodule that is not checked out (git submodule update --init)"
    for _ in range(2):  # without its folder, and with it
        assert listed(repository) == Listing([], [], [("module/", why)])
        (repository / "module").mkdir(exist_ok=True)


# Paths are not trusted: a git index may hold any, and a link may lie anywhere

ELSEWHERE = ["", "/", ".", "..", "../tree/a", "/etc/passwd", "a/../a", "./a", "sub//a", "a\0"]
ELSEWHERE += ["//", "sub/..", "sub/../a", "sub//", "{tree}/a"]
OF_GIT_OR_THE_INDEX = [".git", ".git/", ".git/config", ".GIT/config", "sub/.git/config", "sub/.Git"]
OF_GIT_OR_THE_INDEX += [".code-indexer", ".code-indexer/config.json", ".Code-Indexer/config.json"]


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("target", ["{outside}", "../outside", ".", "nowhere"])
@pytest.mark.parametrize("link", ["link", "folder/link", "folder/deeper/link"])
def test_nothing_is_read_through_a_link(tree: Path, tmp_path: Path, link: str, target: str) -> None:
    write(tmp_path / "outside", {"secret": "", "more/secret": ""})
    write(tree, {"folder/deeper/a.txt": "", "secret": ""})
    (tree / link).symlink_to(target.format(outside=tmp_path / "outside"))
    with SourceTree(tree) as opened:
        for path in ("secret", "more/secret", "more/gone"):
            assert opened.read(f"{link}/{path}", LIMIT) == "symlink"
        assert isinstance(opened.read("folder/deeper/a.txt", LIMIT), SourceFile)


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("target", ["/etc", "..", "b"])
def test_a_path_that_git_tracks_beyond_a_link_is_skipped(repository: Path, target: str) -> None:
    write(repository, {"etc/passwd": "root", "b/passwd": "root"})
    git(repository, "add", "etc/passwd")
    shutil.rmtree(repository / "etc")
    (repository / "etc").symlink_to(target)
    found = dict(scanned(repository, LIMIT))
    assert found.pop("b/passwd") == read_file(repository, "b/passwd", LIMIT)
    assert found == {"etc": "symlink", "etc/passwd": "symlink"}


@pytest.mark.promise("QRY-1")
def test_a_path_that_git_tracks_outside_is_skipped(repository: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret": "secret"})
    write(repository, {"aa/outside/secret": ""})
    git(repository, "add", ".")
    index = (repository / ".git/index").read_bytes()
    assert index.count(b"aa/outside/secret") == 1
    index = index[:-20].replace(b"aa/outside/secret", b"../outside/secret")
    (repository / ".git/index").write_bytes(index + sha1(index).digest())
    found = dict(scanned(repository, LIMIT))
    assert found["../outside/secret"] == "not a path in the project"
    assert not isinstance(found["../outside/secret"], SourceFile)


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_path_that_leads_anywhere_else_is_not_looked_at(tree: Path, path: str) -> None:
    write(tree, {"a": "", "sub/a": ""})
    assert read_file(tree, path.format(tree=tree), LIMIT) == "not a path in the project"


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("path", OF_GIT_OR_THE_INDEX)
def test_what_is_of_git_or_of_the_index_is_not_looked_at(tree: Path, path: str) -> None:
    write(tree, {"sub/a": ""})
    if not path.endswith("/"):
        write(tree, {path: ""})
    assert read_file(tree, path, LIMIT) == "inside .git or .code-indexer"


@pytest.mark.promise("QRY-1")
def test_files_are_the_same_in_any_order_and_to_any_depth(tree: Path) -> None:
    names = ["/".join(["d"] * depth) for depth in (1, 2, 62, 63, 64, 65, 66, 100, 150)]
    paths = [f"{name}/{leaf}" for name in names for leaf in ("a", "e/a")] + ["a"]
    write(tree, {path: path for path in paths})
    for order in (sorted(paths), sorted(paths, reverse=True), paths[::2] + paths[1::2]):
        with SourceTree(tree) as opened:
            for path in order:
                opened.read(path.replace("a", "gone/a"), LIMIT)
                found = opened.read(path, LIMIT)
                assert isinstance(found, SourceFile)
                assert found.text == path


@pytest.mark.promise("QRY-1")
def test_reading_keeps_few_files_open_however_deep_they_are(tree: Path) -> None:
    deep = "d/" * 150
    write(tree, {f"{deep}a": ""})
    before = len(os.listdir("/proc/self/fd"))
    with SourceTree(tree) as opened:
        assert isinstance(opened.read(f"{deep}a", LIMIT), SourceFile)
        assert len(os.listdir("/proc/self/fd")) - before <= 64
        assert opened.read("d/" * 2100 + "a", LIMIT) == "unreadable"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.promise("QRY-1")
def test_a_folder_that_becomes_a_link_after_it_was_listed_is_not_followed(
    repository: Path, tmp_path: Path
) -> None:
    write(repository, {"sub/a.py": "", "z.py": ""})
    write(tmp_path / "outside", {"a.py": "secret"})
    paths = list_paths(repository)
    shutil.rmtree(repository / "sub")
    (repository / "sub").symlink_to(tmp_path / "outside")
    with SourceTree(repository) as opened:
        assert [opened.read(path, LIMIT) for path in paths][:1] == ["symlink"]


# The patterns of a tree have their time


class Hurried(FakeRuntime):
    """A clock that goes a second further each time somebody looks at it."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


@pytest.mark.promise("QRY-1")
def test_patterns_that_take_too_long_are_left_out_from_then_on_and_that_is_said(
    tree: Path, tmp_path: Path
) -> None:
    write(tree, {".gitignore": "*.log\n", **{f"{n}.log": "" for n in range(9)}})
    (tmp_path / "scratch").mkdir()
    listing = list_files(tree, tmp_path / "scratch", Hurried())
    assert 1 < len(listing.paths) < 10
    (note,) = listing.notes
    assert note.startswith("the patterns in .gitignore took more than 3 s, and were left out from")
