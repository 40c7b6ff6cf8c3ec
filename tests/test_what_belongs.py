"""What belongs to the index, case by case: repositories in repositories, sparse checkouts, folders
whose names mislead, and what brings back what was left out.

With real files and the real git.  Whole trees are in `test_real_trees`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import heads
import pytest
from trees import (
    BUILD,
    DEPENDENCIES,
    GENERATED,
    LOCK,
    MINIFIED,
    NOT_CHECKED_OUT,
    OWN_REPOSITORY,
    VERSION_CONTROL,
    add_submodule,
    git,
    init,
    listed,
    run,
    write,
)

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.errors import ConfigError
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import served

pytestmark = pytest.mark.once

EXCLUDED = "excluded by config.json"
OWN_IGNORED = "excluded by .cidxignore"


@pytest.fixture(autouse=True)
def _the_users_git_is_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        '[user]\nname = U\nemail = u@example.org\n[protocol "file"]\nallow = always\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder, in no checkout."""
    root = tmp_path / "tree"
    root.mkdir()
    return root


@pytest.fixture(params=["with git", "without git"])
def either(request: pytest.FixtureRequest, root: Path) -> Path:
    """An empty folder, which is a checkout or is none."""
    if request.param == "with git":
        init(root)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with a file, to be a submodule."""
    return repository(tmp_path / "source", {"a.py": "a = 1\n"})


def repository(root: Path, files: dict[str, str]) -> Path:
    write(root, files)
    init(root, ".", commit=True)
    return root


def parts(root: Path, **told: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """What is listed and what is not, where nothing else is to be said."""
    found = listed(root, **told)
    assert found.notes == []
    return found.paths, found.skipped


# Repositories inside


def test_a_submodule_in_a_submodule_in_a_submodule_is_listed(tmp_path: Path, root: Path) -> None:
    inner = repository(tmp_path / "0", {"f.py": ""})
    for number in (1, 2, 3):
        outer = repository(tmp_path / f"{number}", {"f.py": ""})
        add_submodule(outer, inner, "sub")
        inner = outer
    git(root.parent, "clone", "--quiet", "--recurse-submodules", str(inner), root.name)
    paths, skipped = parts(root)
    assert paths == [
        ".gitmodules",
        "f.py",
        "sub/.gitmodules",
        "sub/f.py",
        "sub/sub/.gitmodules",
        "sub/sub/f.py",
        "sub/sub/sub/f.py",
    ]
    assert skipped == []


def test_the_ignore_files_of_a_submodule_hold_in_it_and_those_above_that_are_ours_do_too(
    tmp_path: Path, root: Path
) -> None:
    source = repository(
        tmp_path / "source",
        {
            "a.py": "",
            "b.tmp": "",
            "c.old": "",
            "drafts/d.py": "",
            "made/e.py": "",
            ".gitignore": "*.log\n",
            ".cidxignore": "drafts/\n",
            ".gitattributes": "made/*.py linguist-generated\n",
        },
    )
    repository(root, {".gitignore": "*.tmp\n", ".cidxignore": "*.old\n", "made/ours.py": ""})
    add_submodule(root, source, "sub")
    write(root, {"sub/x.log": "", "x.log": "", "x.tmp": "", "sub/new.tmp": ""})
    paths, skipped = parts(root)
    # The patterns of git end where a repository does; those of `.cidxignore` are about the project.
    assert paths == [
        ".cidxignore",
        ".gitignore",
        ".gitmodules",
        "made/ours.py",
        "sub/.cidxignore",
        "sub/.gitattributes",
        "sub/.gitignore",
        "sub/a.py",
        "sub/b.tmp",
        "sub/new.tmp",
        "x.log",
    ]
    assert skipped == [
        ("sub/c.old", OWN_IGNORED),
        ("sub/drafts/", OWN_IGNORED),
        ("sub/made/e.py", GENERATED),
    ]


def test_a_submodule_that_is_excluded_is_named_once(source: Path, root: Path) -> None:
    repository(root, {"own.py": ""})
    add_submodule(root, source, "third/sub")
    assert parts(root, exclude=["/third/sub/"]) == (
        [".gitmodules", "own.py"],
        [("third/sub/", EXCLUDED)],
    )
    assert parts(root, exclude=["a.py"])[1] == [("third/sub/a.py", EXCLUDED)]
    write(root, {".cidxignore": "third\n"})
    assert parts(root)[1] == [("third/", OWN_IGNORED)]


def test_a_submodule_in_a_folder_of_dependencies_is_one(source: Path, root: Path) -> None:
    repository(root, {"own.py": ""})
    add_submodule(root, source, "node_modules/fork")
    assert parts(root) == ([".gitmodules", "own.py"], [("node_modules/", DEPENDENCIES)])
    assert "node_modules/fork/a.py" in parts(root, include=["node_modules/fork/"])[0]


def test_a_submodule_called_build_beside_a_package_is_tracked_and_so_no_build_output(
    source: Path, root: Path
) -> None:
    repository(root, {"package.json": "{}"})
    add_submodule(root, source, "build")
    assert parts(root) == ([".gitmodules", "build/a.py", "package.json"], [])


def test_submodules_that_are_not_checked_out_are_named_with_what_to_do(
    source: Path, tmp_path: Path, root: Path
) -> None:
    origin = repository(tmp_path / "origin", {"own.py": ""})
    for path in ("never", "gone", "left/deinit", "checked"):
        add_submodule(origin, source, path)
    git(root.parent, "clone", "--quiet", str(origin), root.name)
    git(root, "submodule", "--quiet", "update", "--init", "checked", "left/deinit")
    git(root, "submodule", "--quiet", "deinit", "left/deinit")
    (root / "gone").rmdir()
    assert parts(root) == (
        [".gitmodules", "checked/a.py", "own.py"],
        [(f"{path}/", NOT_CHECKED_OUT) for path in ("gone", "left/deinit", "never")],
    )


def test_a_submodule_may_have_its_git_directory_in_itself_or_be_in_no_gitmodules(
    source: Path, root: Path
) -> None:
    repository(root, {"own.py": ""})
    git(root, "clone", "--quiet", str(source), "old")
    git(root, "add", "old")  # a link to a commit, as submodules are
    assert (root / "old" / ".git").is_dir()
    assert parts(root) == (["old/a.py", "own.py"], [])


def test_a_submodule_of_a_strange_name_is_listed(source: Path, root: Path) -> None:
    repository(root, {"own.py": ""})
    for name in ("with space", "größe", 'quo"te'):
        add_submodule(root, source, f"./{name}")
    found = parts(root)
    names = sorted(["with space", "größe", 'quo"te'])
    assert found == (sorted([".gitmodules", "own.py", *(f"{n}/a.py" for n in names)]), [])


def test_a_project_that_is_a_folder_of_a_checkout_has_the_submodules_below_it(
    source: Path, root: Path
) -> None:
    repository(root, {"own.py": "", "libs/b.py": "", ".cidxignore": "b.py\n"})
    add_submodule(root, source, "libs/sub")
    add_submodule(root, source, "elsewhere")
    assert "sub/a.py" in parts(root / "libs")[0]
    assert not any("elsewhere" in path for path in parts(root / "libs")[0])


def test_a_worktree_that_is_the_project_has_its_submodules(
    source: Path, tmp_path: Path, root: Path
) -> None:
    main = repository(tmp_path / "main", {"own.py": ""})
    add_submodule(main, source, "sub")
    git(main, "worktree", "add", "--quiet", str(root))
    assert parts(root)[1] == [("sub/", NOT_CHECKED_OUT)]
    git(root, "submodule", "--quiet", "update", "--init")
    assert parts(root) == ([".gitmodules", "own.py", "sub/a.py"], [])


def test_a_clone_and_a_worktree_inside_are_named_and_so_are_those_in_a_submodule(
    source: Path, root: Path
) -> None:
    repository(root, {"own.py": ""})
    add_submodule(root, source, "sub")
    git(root, "clone", "--quiet", str(source), "clone")
    git(root, "worktree", "add", "--quiet", "-b", "one", "tree")
    git(root, "clone", "--quiet", str(source), "sub/clone")
    git(root / "sub", "worktree", "add", "--quiet", "-b", "two", "tree")
    places = ("clone/", "sub/clone/", "sub/tree/", "tree/")
    assert parts(root) == (
        [".gitmodules", "own.py", "sub/a.py"],
        [(place, OWN_REPOSITORY) for place in places],
    )


def test_a_clone_in_a_plain_folder_is_named_as_it_is_in_a_checkout(
    source: Path, either: Path
) -> None:
    write(either, {"own.py": ""})
    git(either, "clone", "--quiet", str(source), "below/clone")
    init(either / "empty")
    assert parts(either) == (
        ["own.py"],
        [("below/clone/", OWN_REPOSITORY), ("empty/", OWN_REPOSITORY)],
    )


def test_a_repository_inside_is_listed_by_its_own_rules_when_include_names_it(
    tmp_path: Path, either: Path
) -> None:
    source = repository(
        tmp_path / "source", {"a.py": "", "yarn.lock": "", ".gitignore": "*.log\n", "b/c.py": ""}
    )
    write(either, {"own.py": "", ".gitignore": "/hidden/\n"})
    git(either, "clone", "--quiet", str(source), "clone")
    git(either, "clone", "--quiet", str(source), "hidden/clone")
    write(either, {"clone/x.log": "", "clone/new.py": ""})
    paths, skipped = parts(either, include=["/clone/"])
    assert {"clone/a.py", "clone/b/c.py", "clone/new.py", "own.py"} <= {*paths}
    assert not any("hidden" in path or ".git/" in path for path in paths)
    assert not any(path.startswith("clone/") and why == OWN_REPOSITORY for path, why in skipped)
    assert "hidden/clone/a.py" in parts(either, include=["hidden/clone"])[0]


def test_a_damaged_submodule_is_walked_and_a_note_says_so(source: Path, root: Path) -> None:
    repository(root, {"own.py": ""})
    add_submodule(root, source, "sub")
    write(root, {"sub/new.py": "", "sub/x.log": "", "sub/.gitignore": "*.log\n"})
    (root / ".git" / "modules" / "sub" / "index").write_bytes(b"no index")
    found = listed(root)
    assert found.paths == [".gitmodules", "own.py", "sub/.gitignore", "sub/a.py", "sub/new.py"]
    assert len(found.notes) == 1
    assert "sub" in found.notes[0]


def test_a_git_file_that_leads_out_of_the_project_shows_nothing_of_what_is_there(
    tmp_path: Path, root: Path
) -> None:
    other = repository(tmp_path / "other", {"secret.py": "", "a.py": ""})
    repository(root, {"own.py": ""})
    write(root, {"sub/a.py": "", "sub/.git": f"gitdir: {other}/.git\n"})
    found = listed(root)
    assert not any("secret" in path for path in found.paths)
    assert ("sub/", OWN_REPOSITORY) in found.skipped


# What `.gitmodules` names, and what is there

_MODULES = '[submodule "lib"]\n\tpath = lib\n'


def test_a_folder_that_gitmodules_names_is_a_plain_one_where_files_lie_in_it(root: Path) -> None:
    write(root, {".gitmodules": _MODULES, "m.c": "", "lib/a.c": "", "lib/sub/b.c": ""})
    write(root, {".gitignore": "*.o\n", "lib/a.o": "", "lib/node_modules/i.js": ""})
    own = [".gitignore", ".gitmodules", "lib/a.c", "lib/sub/b.c", "m.c"]
    assert parts(root) == (own, [("lib/node_modules/", DEPENDENCIES)])
    assert parts(root, include=["lib/"]) == (sorted([*own, "lib/a.o", "lib/node_modules/i.js"]), [])


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_gitmodules_names_and_is_empty_is_not_checked_out(
    root: Path, there: bool
) -> None:
    write(root, {".gitmodules": _MODULES, "m.c": ""})
    if there:
        (root / "lib").mkdir()
    assert parts(root) == ([".gitmodules", "m.c"], [("lib/", NOT_CHECKED_OUT)])


def test_a_gitmodules_file_below_the_top_names_nothing_of_ours(either: Path) -> None:
    write(either, {"third/foo/.gitmodules": '[submodule "b"]\npath = bar\n[x]\npath = none\n'})
    write(either, {"third/foo/bar/a.c": "", "third/foo/.gitignore": "bar/x.c\n"})
    write(either, {"third/foo/bar/x.c": ""})
    found = ["third/foo/.gitignore", "third/foo/.gitmodules", "third/foo/bar/a.c"]
    assert parts(either) == (found, [])


def test_the_files_in_the_folder_of_a_submodule_without_its_git_are_listed_as_others(
    source: Path, root: Path
) -> None:
    repository(root, {"own.py": "", ".gitignore": "*.o\n/third/tmp/\n"})
    add_submodule(root, source, "third/sub")
    add_submodule(root, source, "empty")
    (root / "third/sub/.git").unlink()
    git(root, "submodule", "--quiet", "deinit", "empty")
    write(root, {"third/sub/deep/b.py": "", "third/sub/a.o": "", "third/tmp/x.py": ""})
    # What only git knows holds elsewhere: nothing else is walked.
    write(root, {".git/info/exclude": "/hidden.py\n", "hidden.py": "", "third/tmp2/y.py": ""})
    own = [".gitignore", ".gitmodules", "own.py", "third/sub/a.py", "third/sub/deep/b.py"]
    own.append("third/tmp2/y.py")
    assert parts(root) == (own, [("empty/", NOT_CHECKED_OUT)])
    assert "third/sub/a.o" in parts(root, include=["third/sub/"])[0]
    assert parts(root, exclude=["third/sub/"])[1] == [
        ("empty/", NOT_CHECKED_OUT),
        ("third/sub/", EXCLUDED),
    ]


def test_a_repository_within_the_files_of_a_submodule_without_its_git_is_named(
    source: Path, root: Path
) -> None:
    repository(root, {"own.py": ""})
    add_submodule(root, source, "sub")
    (root / "sub/.git").unlink()
    git(root, "clone", "--quiet", str(source), "sub/clone")
    assert parts(root) == (
        [".gitmodules", "own.py", "sub/a.py"],
        [("sub/clone/", OWN_REPOSITORY)],
    )


# Sparse checkouts

_SPARSE = {"own.py": "", "src/a.py": "", "docs/b.md": "", "docs/c.md": "", "docs/deep/d.md": ""}


def _note(number: int) -> str:
    return (
        f"{number} tracked files are not checked out (sparse checkout, or marked skip-worktree): "
        "git sparse-checkout disable"
    )


@pytest.mark.parametrize("options", [["--cone"], ["--no-cone"], ["--cone", "--sparse-index"]])
def test_what_a_sparse_checkout_left_away_is_counted_and_not_missing(
    options: list[str], root: Path
) -> None:
    repository(root, _SPARSE)
    patterns = ["src"] if "--cone" in options else ["/*", "!/docs/"]
    git(root, "sparse-checkout", "set", *options, *patterns)
    assert not (root / "docs").exists()
    write(root, {"src/new.py": "", "top.py": ""})
    found = listed(root)
    assert found.paths == ["own.py", "src/a.py", "src/new.py", "top.py"]
    assert found.skipped == []
    if "--sparse-index" not in options:
        assert found.notes == [_note(3)]
    else:  # a folder is one entry there, and what it holds is in objects that are not read
        (note,) = found.notes
        assert note.startswith("the tracked files of 1 folder are not checked out (sparse checkout")
    paths, left_out, report = run(root)
    assert (paths, left_out) == (found.paths, [])
    assert report["skipped"] == {}
    assert report["notes"] == found.notes


@pytest.mark.parametrize("options", [["--no-cone"], ["--cone"], ["--cone", "--sparse-index"]])
def test_a_file_that_is_there_although_the_checkout_is_sparse_is_listed(
    options: list[str], root: Path
) -> None:
    repository(root, _SPARSE)
    patterns = ["src"] if "--cone" in options else ["/*", "!/docs/"]
    git(root, "sparse-checkout", "set", *options, *patterns)
    write(root, {"docs/b.md": "by hand\n", "docs/new.md": "new\n"})
    found = listed(root)
    assert found.paths == ["docs/b.md", "docs/new.md", "own.py", "src/a.py"]
    if "--sparse-index" not in options:
        assert found.notes == [_note(2)]
    else:  # what else is tracked there nobody knows
        (note,) = found.notes
        assert note.startswith("tracked files of 1 folder that is there may not be checked out (")


def test_a_sparse_submodule_in_a_sparse_checkout_is_counted_with_it(
    tmp_path: Path, root: Path
) -> None:
    source = repository(tmp_path / "source", _SPARSE)
    repository(root, _SPARSE)
    add_submodule(root, source, "src/sub")
    git(root, "sparse-checkout", "set", "--no-cone", "/*", "!/docs/")
    git(root / "src" / "sub", "sparse-checkout", "set", "--no-cone", "/*", "!/docs/")
    found = listed(root)
    assert found.paths == [
        ".gitmodules",
        "own.py",
        "src/a.py",
        "src/sub/own.py",
        "src/sub/src/a.py",
    ]
    assert found.notes == [_note(6)]


def test_a_tracked_file_that_was_deleted_is_missing_and_not_sparse(root: Path) -> None:
    repository(root, {"own.py": "", "gone.py": ""})
    (root / "gone.py").unlink()
    assert listed(root).notes == []
    assert run(root)[1] == [["gone.py", "missing"]]


# Names that mislead


@pytest.mark.parametrize("folder", ["build", "dist", "out", "coverage"])
def test_a_folder_of_an_ambiguous_name_is_source_where_git_tracks_a_file_in_it(
    folder: str, root: Path
) -> None:
    repository(root, {"package.json": "{}", f"{folder}/deep/a.js": ""})
    write(root, {f"{folder}/new.js": "", "other/package.json": "{}", f"other/{folder}/x.js": ""})
    assert parts(root) == (
        sorted([f"{folder}/deep/a.js", f"{folder}/new.js", "other/package.json", "package.json"]),
        [(f"other/{folder}/", BUILD)],
    )


def test_a_package_called_dist_is_source_where_git_tracks_it(root: Path) -> None:
    repository(root, {"pyproject.toml": "", "dist/__init__.py": "", "build/__init__.py": ""})
    write(root, {"dist/new.py": ""})
    expected = ["build/__init__.py", "dist/__init__.py", "dist/new.py", "pyproject.toml"]
    assert parts(root) == (expected, [])


@pytest.mark.parametrize(
    ("marker", "folder"),
    [
        ("Cargo.toml", "target"),
        ("pom.xml", "target"),
        ("build.sbt", "target"),
        ("setup.py", "build"),
        ("setup.cfg", "dist"),
        ("pyproject.toml", "dist"),
        ("build.gradle", "build"),
        ("build.gradle.kts", "build"),
        ("CMakeLists.txt", "build"),
        ("meson.build", "build"),
        ("package.json", "out"),
        ("App.csproj", "bin"),
        ("App.fsproj", "obj"),
        ("App.vbproj", "obj"),
        ("mix.exs", "_build"),
        ("dune-project", "_build"),
        ("conf.py", "_build"),
        ("package.json", "coverage"),
    ],
)
def test_a_folder_of_an_ambiguous_name_is_output_beside_its_marker_and_source_elsewhere(
    marker: str, folder: str, either: Path
) -> None:
    write(either, {f"a/{marker}": "", f"a/{folder}/x.py": "", f"a/src/{folder}/y.py": ""})
    write(either, {f"{folder}/z.py": "", f"b/{folder}": "a file of that name\n"})
    write(either, {f"b/{marker}": ""})
    expected = [f"a/{marker}", f"a/src/{folder}/y.py", f"{folder}/z.py"]
    expected += [f"b/{marker}", f"b/{folder}"]
    assert parts(either) == (sorted(expected), [(f"a/{folder}/", BUILD)])


@pytest.mark.parametrize("name", ["node_modules", ".tox", "__pycache__", ".hg", "vendor", ".cache"])
def test_a_file_with_the_name_of_such_a_folder_is_a_file(name: str, either: Path) -> None:
    write(either, {name: "", f"sub/{name}": "", f"{name}.py": ""})
    assert parts(either) == (sorted([name, f"sub/{name}", f"{name}.py"]), [])


def test_a_link_with_the_name_of_such_a_folder_is_a_link(either: Path) -> None:
    write(either, {"a.py": "", "package.json": "{}"})
    for name in ("node_modules", "build"):
        (either / name).symlink_to(either.parent)
    assert run(either)[1] == [["build", "symlink"], ["node_modules", "symlink"]]


@pytest.mark.parametrize("name", ["node_modules", "build", "vendor", "env", ".cache"])
def test_a_root_that_is_named_like_output_or_is_an_environment_is_listed_all_the_same(
    name: str, tmp_path: Path
) -> None:
    root = tmp_path / name
    write(root, {"pyvenv.cfg": "", "CACHEDIR.TAG": _TAG, "modules.txt": "", "a.py": ""})
    write(tmp_path, {"package.json": "{}"})
    expected = ["CACHEDIR.TAG", "a.py", "modules.txt", "pyvenv.cfg"]
    assert parts(root) == (expected, [])
    init(root)
    assert parts(root) == (expected, [])


_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"


def test_a_cache_is_known_by_the_signature_of_its_tag(either: Path) -> None:
    write(either, {"real/CACHEDIR.TAG": _TAG, "real/a/b.json": ""})
    write(either, {"false/CACHEDIR.TAG": "a file about caches\n", "false/a.py": ""})
    assert parts(either) == (["false/CACHEDIR.TAG", "false/a.py"], [("real/", BUILD)])


def test_an_environment_is_known_by_what_is_in_it_and_whatever_is_around_it(either: Path) -> None:
    write(either, {"a/b/py/pyvenv.cfg": "", "a/b/py/lib/x.py": "", "a/b/c.py": ""})
    write(either, {"conda/conda-meta/history": "", "conda/lib/x.py": "", "venv/own.py": ""})
    write(either, {"docs/pyvenv.cfg.md": "", "docs/conda-meta.md": ""})
    assert parts(either) == (
        ["a/b/c.py", "docs/conda-meta.md", "docs/pyvenv.cfg.md", "venv/own.py"],
        [("a/b/py/", DEPENDENCIES), ("conda/", DEPENDENCIES)],
    )


def test_dependencies_that_are_tracked_are_dependencies(root: Path) -> None:
    files = {"node_modules/a/a.js": "", "go.mod": "", "vendor/modules.txt": "", "vendor/x/x.go": ""}
    repository(root, {**files, "yarn.lock": "", "a.min.js": ""})
    assert parts(root) == (
        ["go.mod"],
        [
            ("a.min.js", MINIFIED),
            ("node_modules/", DEPENDENCIES),
            ("vendor/", DEPENDENCIES),
            ("yarn.lock", LOCK),
        ],
    )


def test_the_data_of_other_version_controls_is_named(either: Path) -> None:
    folders = [".hg", ".svn", ".jj", ".bzr", "CVS", "_darcs", ".pijul", ".pc"]
    write(either, {f"{name}/x.py": "" for name in folders})
    write(either, {"a/.svn/entries": "", ".fslckout": "", "b/_FOSSIL_": "", "CVSROOT/a.py": ""})
    names = [*(f"{name}/" for name in folders), "a/.svn/", ".fslckout", "b/_FOSSIL_"]
    assert parts(either) == (["CVSROOT/a.py"], sorted((n, VERSION_CONTROL) for n in names))


# What brings back, and what leaves out


def test_include_brings_back_what_a_default_left_out_and_nothing_else(either: Path) -> None:
    files = [
        "Cargo.lock",
        "a/Cargo.lock",
        "a.min.js",
        "b.min.js",
        "api.pb.go",
        "node_modules/lodash/lodash.js",
        "node_modules/other/other.js",
        "dist/app.js",
        "package.json",
    ]
    write(either, dict.fromkeys(files, ""))
    include = ["/Cargo.lock", "a.min.js", "*.pb.go", "node_modules/lodash/"]
    paths, skipped = parts(either, include=include)
    assert paths == sorted([files[0], files[2], files[4], files[5], files[8]])
    reasons = dict(skipped)
    assert reasons["a/Cargo.lock"] == LOCK
    assert reasons["b.min.js"] == MINIFIED
    assert reasons["dist/"] == BUILD
    others = [path for path in reasons if "node_modules/other/other.js".startswith(path)]
    assert [reasons[path] for path in others] == [DEPENDENCIES]


def test_include_brings_back_what_gitignore_ignores_and_nothing_beside_it(either: Path) -> None:
    write(either, {".gitignore": "node_modules/\n/secret/\n*.log\n", "a.py": ""})
    write(either, {"node_modules/lodash/a.js": "", "node_modules/lodash/b/c.js": ""})
    write(either, {"node_modules/other/a.js": "", "secret/one.env": "", "secret/two.env": ""})
    write(either, {"x.log": "", "logs/y.log": ""})
    include = ["node_modules/lodash/", "/secret/one.env", "logs/*.log"]
    assert parts(either, include=include)[0] == [
        ".gitignore",
        "a.py",
        "logs/y.log",
        "node_modules/lodash/a.js",
        "node_modules/lodash/b/c.js",
        "secret/one.env",
    ]


def test_nothing_brings_back_what_belongs_to_git_or_to_the_index(either: Path) -> None:
    write(either, {"a.py": "", ".code-indexer/config.json": "{}", ".git/hooks/x.py": ""})
    write(either, {".cidxignore": "!.git/\n!.code-indexer/\n"})
    include = [".git/", ".git/**", "/.code-indexer/", ".code-indexer/config.json", "**"]
    if (either / ".git" / "HEAD").exists():
        assert parts(either, include=include)[0] == [".cidxignore", "a.py"]
    else:
        assert listed(either, include=include).paths == [".cidxignore", "a.py"]


def test_exclude_beats_include_and_so_does_cidxignore(either: Path) -> None:
    write(either, {"a.py": "", "b.py": "", "c/d.py": "", ".cidxignore": "b.py\n!a.py\n"})
    assert parts(either, include=["*.py"], exclude=["/a.py", "c"]) == (
        [".cidxignore"],
        [("a.py", EXCLUDED), ("b.py", OWN_IGNORED), ("c/", EXCLUDED)],
    )


def test_a_negated_pattern_in_cidxignore_brings_back_what_a_default_left_out(
    either: Path,
) -> None:
    lines = ["!node_modules/", "!/poetry.lock", "!*.min.js", "!*_pb2.py", "!dist/", "!env/"]
    write(either, {".cidxignore": "\n".join(lines), "pyproject.toml": ""})
    files = ["node_modules/a/a.js", "poetry.lock", "x.min.js", "x_pb2.py", "dist/x.py"]
    files += ["env/pyvenv.cfg", "env/lib/a.py"]
    write(either, dict.fromkeys(files, ""))
    write(either, {"sub/poetry.lock": "", ".gitignore": "/hidden.min.js\n", "hidden.min.js": ""})
    paths, skipped = parts(either)
    assert paths == sorted([*files, ".cidxignore", ".gitignore", "pyproject.toml"])
    assert skipped == [("sub/poetry.lock", LOCK)]


def test_the_nearest_cidxignore_with_a_say_wins_and_in_it_the_last_pattern(either: Path) -> None:
    write(either, {".cidxignore": "*.txt\n!keep.txt\nsub/x.py\n", "a.txt": "", "keep.txt": ""})
    write(either, {"sub/.cidxignore": "!a.txt\nkeep.txt\n!x.py\n", "sub/a.txt": ""})
    write(either, {"sub/keep.txt": "", "sub/b.txt": "", "sub/x.py": "", "x.py": ""})
    paths, skipped = parts(either)
    own = [".cidxignore", "sub/.cidxignore"]
    assert paths == sorted([*own, "keep.txt", "sub/a.txt", "sub/x.py", "x.py"])
    assert [path for path, _ in skipped] == ["a.txt", "sub/b.txt", "sub/keep.txt"]


def test_cidxignore_is_read_as_gitignore_is(either: Path) -> None:
    lines = ["\ufeff# comment\r", "trail   ", "\\#a", "\\!b", "q\\ ", "[xy].py", "/top.py", "no/"]
    (either / ".cidxignore").write_text("\n".join(lines))
    left = ["trail", "#a", "!b", "q ", "x.py", "y.py", "top.py", "no/f"]
    kept = ["trail2", "a", "b", "q", "z.py", "sub/top.py", "sub/no"]
    write(either, dict.fromkeys([*left, *kept], ""))
    paths, skipped = parts(either)
    assert paths == sorted([".cidxignore", *kept])
    assert skipped == sorted((p if p != "no/f" else "no/", OWN_IGNORED) for p in left)


def test_a_cidxignore_that_git_ignores_counts_in_the_root(either: Path) -> None:
    """Below it, each folder would have to be opened for it."""
    write(either, {".gitignore": ".cidxignore\n", ".cidxignore": "*.old\n", "a.old": ""})
    write(either, {"sub/.cidxignore": "*.txt\n", "sub/a.txt": "", "sub/b.py": ""})
    assert parts(either) == (
        [".gitignore", "sub/a.txt", "sub/b.py"],
        [("a.old", OWN_IGNORED)],
    )


def test_cidxignore_leaves_out_what_git_tracks(root: Path) -> None:
    repository(root, {"a.py": "", "sub/b.py": "", ".cidxignore": "/sub\n"})
    assert parts(root) == ([".cidxignore", "a.py"], [("sub/", OWN_IGNORED)])


def test_gitattributes_say_what_is_generated_and_what_is_not(either: Path) -> None:
    write(
        either,
        {
            ".gitattributes": (
                "*.tab linguist-generated=true\n*.pb.go -linguist-generated\n"
                "third/** linguist-vendored\nmade.go linguist-generated=false\n"
            ),
            "sub/.gitattributes": "*.tab -linguist-generated\n*.txt linguist-generated\n",
            "a.tab": "x\n",
            "a.txt": "x\n",
            "a.pb.go": "package a\n",
            "made.go": heads.GENERATED["stringer.go"],
            "sub/a.tab": "x\n",
            "sub/a.txt": "x\n",
            "third/deep/a.py": "x = 1\n",
        },
    )
    paths, left_out, _ = run(either)
    own = [".gitattributes", "sub/.gitattributes"]
    assert paths == sorted([*own, "a.txt", "a.pb.go", "made.go", "sub/a.tab"])
    assert ["a.tab", GENERATED] in left_out
    assert ["sub/a.txt", GENERATED] in left_out
    assert [why for path, why in left_out if path.startswith("third/")] == [DEPENDENCIES]


def test_what_is_brought_back_is_indexed_whatever_its_text_says(either: Path) -> None:
    made, squeezed = heads.GENERATED["stringer.go"], heads.MINIFIED["bundle.js"]
    write(either, {"a/made.go": made, "b/made.go": made, "c/made.go": made})
    write(either, {"a/x.js": squeezed, "b/x.js": squeezed, "c/x.js": squeezed})
    write(either, {"b/.cidxignore": "!made.go\n!*.js\n"})
    paths, left_out, _ = run(either, include=["/a/"])
    assert paths == ["a/made.go", "a/x.js", "b/.cidxignore", "b/made.go", "b/x.js"]
    assert left_out == [["c/made.go", GENERATED], ["c/x.js", MINIFIED]]


def test_a_name_that_is_no_utf8_can_be_left_out(either: Path) -> None:
    write(either, {"a.py": "a = 1\n"})
    script, folder = os.fsdecode(b"caf\xe9.min.js"), os.fsdecode(b"\xe9.egg-info/")
    write(either, {script: "", f"{folder}x.py": ""})
    paths, left_out, _ = run(either)
    assert paths == ["a.py"]
    assert left_out == sorted([[script, MINIFIED], [folder, BUILD]])
    json.dumps(left_out)


def test_at_most_5000_are_named_and_all_are_counted(root: Path) -> None:
    (root / "a.py").write_text("a = 1\n")
    for number in range(5_100):
        (root / f"{number}.min.js").touch()
    _, left_out, report = run(root)
    assert len(left_out) == 5_000
    assert left_out == sorted(left_out)
    assert report["skipped"] == {MINIFIED: 5_100}


# The configuration


def configure(root: Path, **lists: object) -> Path:
    directory = root / ".code-indexer"
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"daemon": lists}))
    return directory / "config.json"


@pytest.mark.parametrize("key", ["include", "exclude"])
@pytest.mark.parametrize(
    "value",
    [
        "node_modules/",
        [1],
        [["a"]],
        None,
        {"a": 1},
        [""],
        ["../elsewhere/"],
        ["a/../../b"],
        ["a" * 257],
        ["a"] * 101,
        ["a\0b"],
    ],
    ids=lambda value: json.dumps(value)[:20],
)
def test_a_list_that_can_mean_nothing_is_an_error_that_names_it(
    key: str, value: object, root: Path
) -> None:
    path = configure(root, **{key: value})
    with pytest.raises(ConfigError, match=rf"config\.json: daemon\.{key}: ") as raised:
        Config.load(path)
    assert len(str(raised.value)) < 1000


def test_lists_at_their_limits_are_taken(root: Path) -> None:
    patterns = [f"{number:03}" + "a" * 253 for number in range(100)]
    config = Config.load(configure(root, include=patterns, exclude=[]))
    assert config.include == tuple(patterns)
    assert config.exclude == ()


def test_a_new_configuration_does_not_write_the_lists(root: Path) -> None:
    Config.init(Project.at(root))
    written = json.loads((root / ".code-indexer" / "config.json").read_text())
    assert not {"include", "exclude"} & {*written["daemon"]}


def test_a_plain_index_run_of_a_daemon_follows_the_lists_as_they_change(root: Path) -> None:
    write(root, {"a.py": "alpha = 1\n", "node_modules/lodash/b.js": "var beta = 1\n"})
    configure(root)
    generations = []

    def found(project: Project, **lists: list[str]) -> set[str]:
        configure(root, **lists)
        with served(project), DaemonClient(project, start=False) as client:
            generations.append(client.index()["generation"])
            hits = [*client.query("alpha", limit=10), *client.query("beta", limit=10)]
        return {hit.path for hit in hits}

    project = Project.at(root)
    assert found(project) == {"a.py"}
    assert found(project, include=["node_modules/lodash/"]) == {"a.py", "node_modules/lodash/b.js"}
    assert found(project, exclude=["/a.py"], include=["*.js"]) == {"node_modules/lodash/b.js"}
    write(root, {".cidxignore": "*.js\n"})
    assert found(project, include=["*.js"]) == {"a.py"}
    assert len({*generations}) == 4
