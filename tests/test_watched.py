"""Which folders are watched: none is missed in which something can change what is indexed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.index.belongs import Rules
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.child import BuildProcess
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import RunOptions
from cidx_ref.index.scan import Listing, list_files
from cidx_ref.index.watched import watched_folders
from cidx_ref.keys import account_key
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, git, write

pytestmark = pytest.mark.once

TREE = {
    "src/a.py": "a = 1\n",
    "src/deep/er/b.py": "b = 2\n",
    ".gitignore": "/out/\n*.log\n",
    "out/made.py": "made = 1\n",
    "node_modules/left/pad.js": "var pad\n",
    "docs/guide.md": "# Guide\n",
}
SEEN = ["", "docs/", "src/", "src/deep/", "src/deep/er/"]


@pytest.fixture(params=["git", "plain"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tree as above, in a checkout and in none."""
    root = tmp_path / "root"
    for path, text in TREE.items():
        write(root, path, text)
    if request.param == "git":
        git(root, "init", "-q")
        git(root, "add", ".")
    return root


def watched(root: Path, *, at_most: int = 1000, **rules: Any) -> list[str] | None:
    scratch = root.parent / "scratch"
    scratch.mkdir()
    what = Rules(**rules)
    listing = list_files(root, scratch, rules=what)
    return watched_folders(root, scratch, listing, what, at_most=at_most)


def test_what_is_ignored_or_left_out_as_a_whole_is_not_watched(root: Path) -> None:
    (root / ".code-indexer").mkdir()
    assert watched(root) == SEEN


def test_what_info_exclude_ignores_is_not_watched_whatever_it_is_called(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folders = ["secret", "with space", "\u00fc", ":!odd", "*", "#"]
    for folder in folders:
        write(root, f"{folder}/x.py", "x = 1\n")
    write(root, "data/a.log", "x\n")
    git(root, "init", "-q")
    names = ["/secret/", "with space", "\u00fc/", ":!odd", "\\*/", "\\#", "*.log", ""]
    (root / ".git" / "info" / "exclude").write_text("\n".join(names))
    assert watched(root) == ["", "data/"]


@pytest.mark.parametrize("name", ["a\nb", 'a"b', "a\\b"])
def test_in_doubt_a_folder_is_watched_whose_name_git_has_to_quote(
    tmp_path: Path, name: str
) -> None:
    root = tmp_path / "root"
    write(root, f"{name}/x.log", "x\n")
    write(root, ".gitignore", "*.log\n")
    git(root, "init", "-q")
    assert watched(root) == ["", f"{name}/"]


def test_of_very_many_ignored_folders_some_are_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidx_ref.index.git._ASKED_CHARS", 20)
    monkeypatch.setattr("cidx_ref.index.git._ASKED_TIMES", 3)
    root = tmp_path / "root"
    for number in range(20):
        write(root, f"d{number:02}/out/x", "x\n")
        write(root, f"d{number:02}/x.py", "x\n")
    git(root, "init", "-q")
    (root / ".git" / "info" / "exclude").write_text("out/\n")
    found = watched(root)
    assert found is not None
    assert 1 + 20 < len(found) < 1 + 2 * 20


def test_folders_that_are_too_deep_to_be_watched_are_too_many(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 202)
    (tmp_path / "root" / deep).mkdir(parents=True)
    assert watched(tmp_path / "root") is None


def test_an_empty_folder_is_watched_for_its_first_file_comes_later(root: Path) -> None:
    (root / "new" / "er").mkdir(parents=True)
    (root / "src" / "empty").mkdir()
    (root / "out" / "empty").mkdir()
    assert watched(root) == sorted([*SEEN, "new/", "new/er/", "src/empty/"])


def test_what_is_included_is_watched_though_it_is_ignored(root: Path) -> None:
    (root / "out" / "later").mkdir()
    assert watched(root, include=("out/**/*.py",)) == sorted([*SEEN, "out/", "out/later/"])


def test_a_folder_that_is_excluded_with_all_in_it_is_not_watched(root: Path) -> None:
    assert watched(root, exclude=("docs/",)) == [folder for folder in SEEN if folder != "docs/"]


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "inner").mkdir(parents=True)
    (root / "way").symlink_to(tmp_path / "outside")
    assert watched(root) == SEEN


def test_a_folder_that_a_link_has_replaced_since_it_was_listed_is_not_watched(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    listing = Listing(["gone/a.py", "src/a.py", "way/in/b.py"], [])
    (tmp_path / "outside" / "in").mkdir(parents=True)
    (root / "way").symlink_to(tmp_path / "outside")
    found = watched_folders(root, tmp_path / "scratch", listing, Rules())
    assert found is not None
    assert not [folder for folder in found if folder.startswith(("way", "gone"))]


def test_too_many_folders_are_none(root: Path) -> None:
    assert watched(root, at_most=len(SEEN) - 1) is None


def test_a_few_deep_paths_cost_no_more_than_many_folders(tmp_path: Path) -> None:
    deep = ["/".join([f"{n:03}", *["d"] * 1900, "x.py"]) for n in range(20)]
    assert watched_folders(tmp_path, tmp_path, Listing(deep, []), Rules()) is None


@pytest.mark.parametrize("files", [{"a.py": "a = 1\n", "b/c.py": "c = 1\n"}, {}])
def test_a_run_tells_them_before_it_reads_a_file(
    make_project: MakeProject, files: Mapping[str, str]
) -> None:
    project = make_project(files)
    told: list[Any] = []

    def listed(folders: list[str] | None, files: list[str]) -> None:
        told.append(folders)
        (project.root / "a.py").write_text("changed = 1\n")

    def scanning() -> None:
        told.append("scanning")

    bring_up_to_date(project, HashingEmbedder(), scanning=scanning, listed=listed)
    assert told == ["scanning", ["", "b/"] if files else [""]]
    again = bring_up_to_date(project, HashingEmbedder())
    assert again["changed"] is not bool(files), "it has read what was there after it told"


@pytest.mark.parametrize("watch", [True, False])
def test_a_child_is_asked_for_them_and_waits_until_they_are_watched(
    project: Project, watch: bool
) -> None:
    class Late:
        folders: list[list[str] | None] = []  # noqa: RUF012 - one test's

        def waiting(self) -> None:
            pass

        def scanning(self) -> None:
            pass

        def listed(self, folders: list[str] | None, files: list[str]) -> None:
            self.folders.append(folders)
            (project.root / "README.md").write_text("late = 1\n")

        def progress(self, current: int, total: int, path: str, info: str) -> None:
            pass

        def ready(self, generation: str) -> None:
            pass

    Late.folders = []
    options = RunOptions(watch=watch)
    run = BuildProcess(project, options, embedder=HashingEmbedder().id, key=account_key())
    report = run.run(Late())
    assert Late.folders == ([["", "auth/", "net/", "web/"]] if watch else [])
    assert report["changed"] is watch
