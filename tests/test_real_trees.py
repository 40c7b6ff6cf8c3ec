"""What belongs to the index, in trees as people have them: what is listed is what they wrote.

The trees are in `trees`, and how generated files begin in `heads`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import heads
import pytest
from trees import (
    BUILD,
    GENERATED,
    MINIFIED,
    MONOREPO,
    MONOREPO_LISTED,
    MONOREPO_SKIPPED,
    NOT_CHECKED_OUT,
    TREES,
    Tree,
    init,
    listed,
    make_monorepo,
    run,
    write,
)

pytestmark = pytest.mark.once

Change = Callable[[Path, pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _the_users_git_is_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = U\nemail = u@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


# In what state git is.  In each but the first it can say nothing, and a walk takes its place.


def git_answers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def there_is_no_git_program(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root.parent / "home"))
    assert shutil.which("git") is None


def somebody_else_owns_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(root / ".git", 12345, 12345)


def the_index_is_damaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".git" / "index").write_bytes(b"no index\n" * 30)


def it_names_no_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".git").rename(root.parent / "elsewhere")
    (root / ".git").write_text("gitdir: nowhere\n")


def it_is_no_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".git").rename(root.parent / "elsewhere")


REFUSING: list[Change] = [
    there_is_no_git_program,
    somebody_else_owns_it,
    the_index_is_damaged,
    it_names_no_repository,
]


@pytest.mark.parametrize("change", [git_answers, it_is_no_checkout, *REFUSING])
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_what_is_listed_is_what_its_author_wrote_whatever_git_says(
    tree: Tree, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "tree"
    tree.make(root)
    init(root, *tree.tracked)
    change(root, monkeypatch)
    found = listed(root)
    assert found.paths == tree.listed
    assert found.skipped == tree.skipped
    assert bool(found.notes) == (change in REFUSING)
    assert all("walked" in note for note in found.notes)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_what_is_in_the_index_is_what_its_author_wrote_and_the_rest_is_named(
    tree: Tree, tmp_path: Path
) -> None:
    root = tmp_path / "tree"
    tree.make(root)
    init(root, *tree.tracked)
    paths, left_out, report = run(root)
    assert paths == sorted(tree.indexed)
    assert left_out == tree.left_out_at_last
    assert sum(report["skipped"].values()) == len(left_out)
    assert report["notes"] == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The monorepo, to be copied: it takes git seconds to make one."""
    top = tmp_path_factory.mktemp("made")
    (top / ".gitconfig").write_text("[user]\nname = U\nemail = u@example.org\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(top))
        patch.setenv("XDG_CONFIG_HOME", str(top))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        make_monorepo(top / "tree", top / "outside")
    return top / "tree"


@pytest.fixture
def monorepo(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "tree", symlinks=True)
    return tmp_path / "tree"


@pytest.mark.parametrize("change", [git_answers, *REFUSING[:3]])
def test_a_monorepo_is_listed_with_its_submodules_and_without_other_peoples_repositories(
    change: Change, monorepo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = monorepo
    change(root, monkeypatch)
    found = listed(root)
    assert found.paths == sorted([*MONOREPO.listed, *MONOREPO_LISTED])
    skipped = sorted([*MONOREPO.skipped, *MONOREPO_SKIPPED])
    if change is not git_answers:
        # An empty folder is a submodule to git alone; that it is named all the same is no harm.
        skipped = [(path, why) for path, why in skipped if why != NOT_CHECKED_OUT]
        assert [pair for pair in found.skipped if pair[1] != NOT_CHECKED_OUT] == skipped
    else:
        assert found.skipped == skipped
    assert bool(found.notes) == (change in REFUSING)


def test_the_index_of_a_monorepo_holds_what_its_people_wrote(monorepo: Path) -> None:
    paths, left_out, _ = run(monorepo)
    assert paths == sorted([*MONOREPO.indexed, *MONOREPO_LISTED])
    named = sorted([*map(tuple, MONOREPO.left_out_at_last), *MONOREPO_SKIPPED])
    assert [tuple(pair) for pair in left_out] == named


def test_a_submodule_that_is_searched_by_itself_lists_the_same_files(monorepo: Path) -> None:
    above = "libs/shared/"
    within = [path.removeprefix(above) for path in listed(monorepo).paths if path.startswith(above)]
    assert listed(monorepo / "libs" / "shared").paths == within


# By content


def test_what_programs_wrote_is_left_out_and_what_people_wrote_about_it_is_not(
    tmp_path: Path,
) -> None:
    written = {f"written/{path}": text for path, text in heads.GENERATED.items()}
    squeezed = {f"squeezed/{path}": text for path, text in heads.MINIFIED.items()}
    own = {f"own/{path}": text for path, text in heads.HAND_WRITTEN.items()}
    own |= {f"own/{path}": text for path, text in heads.NOT_MINIFIED.items()}
    write(tmp_path / "tree", {**written, **squeezed, **own})
    paths, left_out, report = run(tmp_path / "tree")
    assert paths == sorted(own)
    expected = [[path, GENERATED] for path in written] + [[path, MINIFIED] for path in squeezed]
    assert left_out == sorted(expected)
    assert report["skipped"] == {GENERATED: len(written), MINIFIED: len(squeezed)}


def test_a_person_who_says_what_nobody_should_edit_is_no_program(tmp_path: Path) -> None:
    write(tmp_path / "tree", heads.WARNINGS)
    paths, left_out, _ = run(tmp_path / "tree")
    assert (paths, left_out) == (sorted(heads.WARNINGS), [])


#: What programs have written of the standard library, in one version or another; each says so.
_STDLIB_GENERATED = [
    "_sysconfigdata*.py",
    "_opcode_metadata.py",
    "keyword.py",
    "pydoc_data/topics.py",
    "re/_casefix.py",
    "stringprep.py",
    "symbol.py",
    "token.py",
]


def test_of_the_standard_library_only_what_says_that_it_was_generated_is_left_out(
    tmp_path: Path,
) -> None:
    root = tmp_path / "tree"
    source = Path(sysconfig.get_path("stdlib"))
    folders = ["", "asyncio", "json", "pydoc_data", "re"]
    files = [path for folder in folders for path in (source / folder).glob("*.py")]
    for path in files:
        # Only the first lines are looked at, and to index the rest would take long.
        text = path.read_text(errors="replace")[:2048]
        write(root, {str(path.relative_to(source)): text})
    paths, left_out, _ = run(root)
    assert len(paths) + len(left_out) == len(files) > 180
    assert {why for _, why in left_out} <= {GENERATED}
    unknown = [path for path, _ in left_out if not any(fnmatch(path, n) for n in _STDLIB_GENERATED)]
    assert unknown == []
    assert {"inspect.py", "dataclasses.py", "json/decoder.py"} <= {*paths}


# Real packages, from where people get them

#: Command that fetches one, and what is left out of it with the reason; all else is indexed.
PACKAGES: dict[str, tuple[list[str], dict[str, str]]] = {
    "scripts with what is built of them": (
        ["npm", "pack", "--silent", "jquery@3.7.1"],
        {"dist/": BUILD},
    ),
    "C with a configure script": (
        ["npm", "pack", "--silent", "node-expat@2.4.1"],
        {
            "build/": BUILD,
            "deps/libexpat/aclocal.m4": GENERATED,
            "deps/libexpat/configure": GENERATED,
            "deps/libexpat/conftools/ltmain.sh": GENERATED,
            "deps/libexpat/doc/expat.png": "binary",
            "deps/libexpat/doc/valid-xhtml10.png": "binary",
            "deps/libexpat/expat_config.h": GENERATED,
            "deps/libexpat/expat_config.h.in": GENERATED,
        },
    ),
    "a grammar with its parser": (
        ["npm", "pack", "--silent", "tree-sitter-c@0.24.1"],
        {
            **{
                f"prebuilds/{system}/tree-sitter-c.node": "binary"
                for system in [
                    "darwin-arm64",
                    "darwin-x64",
                    "linux-arm64",
                    "linux-x64",
                    "win32-arm64",
                    "win32-x64",
                ]
            },
            "src/parser.c": "too large",
            "tree-sitter-c.wasm": "binary",
        },
    ),
    "Python with tables": (
        [
            *[sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"],
            *["--no-binary", ":all:", "idna==3.7"],
        ],
        {},
    ),
}


@pytest.mark.deep
@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("with_git", [True, False])
def test_of_a_published_package_what_its_authors_wrote_is_indexed(
    name: str, with_git: bool, tmp_path: Path
) -> None:
    command, left_out = PACKAGES[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    with suppress(subprocess.SubprocessError):
        subprocess.run(command, cwd=fetched, capture_output=True, check=True, timeout=120)
    archives = list(fetched.iterdir())
    if not archives:
        pytest.skip("the registry cannot be reached")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (root,) = (tmp_path / "unpacked").iterdir()
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    if with_git:
        init(root)
    paths, named, _ = run(root)
    # They say that they are generated, but not that nobody should edit them: either way is right.
    open_to_both = {"idna/idnadata.py", "idna/uts46data.py"}
    assert {path: why for path, why in named if path not in open_to_both} == left_out
    files -= open_to_both
    whole = tuple(path for path in left_out if path.endswith("/"))
    assert {*paths} - open_to_both == {
        path for path in files - {*left_out} if not path.startswith(whole or "/")
    }
