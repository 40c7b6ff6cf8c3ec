"""The watcher beside the real listing: what changes the listing, or a listed file, is known.

The folders that are armed, and the files that are listed, are those that an index run would tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cidx_ref.daemon.inotify import OVERFLOW, Event
from cidx_ref.testing.own.fixtures import git, write
from cidx_ref.testing.own.watches import MAX_BYTES, Listed

pytestmark = pytest.mark.once

SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n"

Act = Callable[[Path], object]


@pytest.fixture(autouse=True)
def nobodys_git_ignore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    write(root, "a.py", "a = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    return root


@pytest.fixture
def bench(root: Path) -> Iterator[Listed]:
    made = Listed(root)
    yield made
    made.close()


def _follow(bench: Listed, before: Act, *acts: Act) -> None:
    """Have the `acts` done to a tree that was made so `before`; each is found by a run."""
    before(bench.root)
    bench.begin()
    for act in acts:
        act(bench.root)
        assert not bench.watch.is_fresh()
        found = bench.found
        bench.run()
        assert bench.watch.is_fresh()
        assert bench.content() == bench.found != found


def _write(path: str, text: str = "x = 1\n") -> Act:
    return lambda root: write(root, path, text)


def _remove(*paths: str) -> Act:
    def act(root: Path) -> None:
        for path in paths:
            target = root / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    return act


def _git(*arguments: str, within: str = "") -> Act:
    return lambda root: git(root / within, *arguments)


def _all(*acts: Act) -> Act:
    return lambda root: [act(root) for act in acts]


def _mkdir(path: str) -> Act:
    return lambda root: (root / path).mkdir(parents=True)


def _move(path: str, to: str) -> Act:
    return lambda root: (root / path).rename(root / to)


def _link_module(root: Path) -> None:
    """A submodule that is not checked out."""
    (root / "mod").mkdir()
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},mod")


_IGNORED_GEN = _all(
    _write(".gitignore", "gen/\n"),
    _write("gen/x.py"),
    _git("add", ".gitignore"),
    _git("add", "-f", "gen/x.py"),
)


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize(
    ("before", "acts"),
    [
        pytest.param(
            _all(_write(".gitignore", "*.log\n"), _write("data/sub/a.log")),
            [_write("data/new.py"), _write("data/sub/new.py")],
            id="a folder in which merely all files are ignored gets another one",
        ),
        pytest.param(
            _IGNORED_GEN,
            [_remove("gen"), _git("checkout", "--", "gen")],
            id="a folder with a tracked file, that a pattern ignores, comes back",
        ),
        pytest.param(
            _all(_mkdir("sub"), _git("init", "-q", within="sub"), _write("sub/x.py")),
            [_remove("sub/.git"), _git("init", "-q", within="sub")],
            id="a repository of its own becomes a plain folder",
        ),
        pytest.param(
            _link_module,
            [_write("mod/x.py")],
            id="a submodule that was not checked out gets a file",
        ),
        pytest.param(
            _link_module,
            [
                lambda root: [
                    _git("init", "-q", within="mod")(root),
                    _write("mod/x.py")(root),
                    _git("add", ".", within="mod")(root),
                ]
            ],
            id="a submodule is checked out",
        ),
        *(
            pytest.param(
                _all(_write(f"lib/{marker}", SIGNATURE), _write("lib/x.py")),
                [_remove(f"lib/{marker}"), _write(f"lib/{marker}", SIGNATURE)],
                id=f"the {marker} goes that had a folder left out",
            )
            for marker in ("pyvenv.cfg", "CACHEDIR.TAG", "conda-meta/history")
        ),
        pytest.param(
            _all(_write("lib/CACHEDIR.TAG", SIGNATURE), _write("lib/x.py")),
            [_write("lib/CACHEDIR.TAG", "no such signature\n")],
            id="a CACHEDIR.TAG is written over",
        ),
        pytest.param(
            _all(_write("vendor/modules.txt"), _write("vendor/x.go")),
            [_remove("vendor/modules.txt")],
            id="the modules.txt of a vendor folder goes",
        ),
        pytest.param(
            _all(
                _write("Cargo.toml"),
                _write("vendor/x/.cargo-checksum.json", "{}"),
                _write("vendor/x/x.rs"),
            ),
            [_remove("vendor/x/.cargo-checksum.json")],
            id="the last checksum of a vendor folder goes",
        ),
        pytest.param(
            _all(_write(".cidxignore", "!node_modules/mine/\n"), _write("node_modules/a/b.js")),
            [_write("node_modules/mine/c.js")],
            id="what a .cidxignore asks for comes into a folder that is left out",
        ),
        pytest.param(
            _all(_write(".cidxignore", "!node_modules\n"), _mkdir("node_modules")),
            [_write("node_modules/c.js")],
            id="a folder that a .cidxignore asks for gets its first file",
        ),
    ],
)
def test_what_changes_the_listing_is_known(bench: Listed, before: Act, acts: list[Act]) -> None:
    _follow(bench, before, *acts)


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_a_file_in_the_place_of_what_was_none_is_known(
    bench: Listed, root: Path, make: Callable[[Path], object]
) -> None:
    bench.begin()
    make(root / "x.py")
    bench.watch.is_fresh()
    bench.run()
    (root / "x.py").unlink()
    (root / "x.py").write_text("x = 1\n")
    assert not bench.watch.is_fresh()
    bench.run()
    assert bench.content() == bench.found
    (root / "x.py").write_text("x = 2\n")
    assert not bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("is_lost", [False, True])
def test_patterns_go_with_the_folder_that_they_lie_in(
    bench: Listed, root: Path, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, "a/.gitignore", "x*.py\n")
    write(root, "a/k.py", "k = 1\n")
    bench.begin()
    write(root, "a/x1.py", "x = 1\n")
    assert bench.watch.is_fresh()
    (root / "a").rename(root.parent / "gone")
    (root / "a").mkdir()
    if is_lost:
        with monkeypatch.context() as patch:
            patch.setattr("cidx_ref.daemon.inotify.parse", lambda data: [Event(-1, OVERFLOW)])
            assert not bench.watch.is_fresh()
    bench.check()
    write(root, "a/x2.py", "x = 2\n")
    assert not bench.watch.is_fresh()
    bench.check()
    assert "a/x2.py" in bench.found


@pytest.mark.promise("FRESH-1")
def test_what_lies_below_the_top_of_a_folder_that_is_left_out_starts_no_run(
    bench: Listed, root: Path
) -> None:
    for path in ("env/pyvenv.cfg", "env/lib/x.py", "node_modules/a/b.js", "build/o/x.o"):
        write(root, path, "x")
    write(root, ".gitignore", "build/\n")
    (root / "nest").mkdir()
    git(root / "nest", "init", "-q")
    write(root, "nest/deep/x.py", "x")
    bench.begin()
    for path in ("env/lib/y.py", "nest/deep/y.py", "node_modules/c.js", "build/o/y.o", "build/z"):
        write(root, path, "y")
        assert bench.watch.is_fresh()


# What is listed, and skipped for what is in it.

_LARGE, _BINARY = "x line\n" * (MAX_BYTES // 7 + 1), "GIF8\0" * 99


@pytest.fixture(params=[_LARGE, _BINARY], ids=["too large", "binary"])
def skipped(request: pytest.FixtureRequest, bench: Listed, root: Path) -> Path:
    """A listed file that the first run has skipped."""
    write(root, "skipped.dat", request.param)
    bench.begin()
    return root / "skipped.dat"


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("one more line\n")


@pytest.mark.promise("FRESH-1")
def test_what_is_skipped_and_grows_starts_no_run(bench: Listed, skipped: Path) -> None:
    for _ in range(3):
        _append(skipped)
        assert bench.watch.is_fresh()
        assert bench.watch.pending() == 0


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.write_text("x = 1\n"),
        lambda path: os.truncate(path, 3),
        lambda path: path.unlink(),
        lambda path: [path.unlink(), path.write_text("x = 1\n")],
        lambda path: [path.unlink(), path.symlink_to("a.py")],
    ],
    ids=["written over", "truncated", "removed", "replaced", "a link"],
)
def test_what_was_skipped_is_known_once_it_may_be_read(
    bench: Listed, skipped: Path, act: Callable[[Path], object]
) -> None:
    act(skipped)
    assert not bench.watch.is_fresh()
    bench.run()
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
def test_what_a_run_has_met_at_another_moment_is_known(bench: Listed, skipped: Path) -> None:
    """It is text for the moment in which it is read, and skipped before and after it."""
    was = skipped.read_text()
    bench.between = lambda: skipped.write_text("x = 1\n")
    # What the kernel tells is read while the run takes place.
    bench.after = lambda: [skipped.write_text(was), bench.watch.is_fresh()]
    bench.run()
    assert not bench.watch.is_fresh()
    bench.between = bench.after = lambda: None
    bench.run()
    assert bench.watch.is_fresh()
    assert bench.content() == bench.found


@pytest.mark.promise("FRESH-1")
def test_what_was_passed_over_while_a_run_failed_is_run_for(bench: Listed, skipped: Path) -> None:
    def fail() -> None:
        _append(skipped)
        bench.watch.is_fresh()
        raise ZeroDivisionError

    bench.between = fail
    with pytest.raises(ZeroDivisionError):
        bench.run()
    bench.between = lambda: None
    assert not bench.watch.is_fresh()
    bench.runtime.advance(1)
    assert bench.turn() is None
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("how", ["failed", "silent", "late"])
def test_in_doubt_what_grows_starts_a_run(
    bench: Listed, skipped: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "late":
        monkeypatch.setattr("cidx_ref.daemon.relevance._PATTERNS_S", 0.0)
    elif how == "silent":
        bench.forget_run()
    else:
        bench.between = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            bench.run()
    _append(skipped)
    assert not bench.watch.is_fresh()


# Any script.

_FOLDERS = st.sampled_from(
    ["", "a/", "b/", "a/c/", "vendor/", "build/", "target/", "a/build/", "gen/", "env/", "mod/"]
)
_NAMES = st.sampled_from(
    [
        *["x.py", "y.py", "z.log", "g.pyc", ".gitignore", ".cidxignore", ".gitattributes"],
        *["pyvenv.cfg", "package.json", "Cargo.toml", "CACHEDIR.TAG", "composer.json"],
        *["conda-meta/h", "a.csproj", "modules.txt"],
    ]
)
_TEXTS = st.sampled_from(
    [
        *["", "*.py\n", "!x.py\n", "x.py\n", "*\n", "gen/\n*.log\n", "a/\n", "!gen/\n"],
        *["!vendor/x.py\n", "*.py linguist-generated\n", "x = 1\n", "x = 2\n", SIGNATURE],
        _BINARY,
    ]
)
_GIT = st.sampled_from(
    [
        *["add -A", "add -f gen/x.py", "commit -qam y", "stash -q"],
        *["stash pop -q", "checkout -q -- .", "clean -qfd a b gen", "rm -rq --cached ."],
        *["rm -q --cached a/x.py", "init -q a", "init -q a/c", "init -q mod"],
    ]
)
_ACTS = st.one_of(
    st.tuples(st.just("write"), _FOLDERS, _NAMES, _TEXTS),
    st.tuples(st.just("write"), _FOLDERS, _NAMES, _TEXTS),
    st.tuples(st.sampled_from(["remove", "mkdir", "fifo", "link"]), _FOLDERS, _NAMES),
    st.tuples(st.sampled_from(["rmdir", "no git"]), _FOLDERS),
    st.tuples(st.just("move"), _FOLDERS, _NAMES, _FOLDERS, _NAMES),
    st.tuples(st.just("move folder"), _FOLDERS, _FOLDERS),
    st.tuples(st.just("git"), _GIT),
)


def _act(root: Path, what: str, *words: str) -> None:
    path = root / "".join(words[:2])
    folder = root / (words[0] or "a")
    acts: dict[str, Callable[[], object]] = {
        "write": lambda: write(root, "".join(words[:2]), words[2]),
        "remove": lambda: path.unlink(),
        "mkdir": lambda: folder.mkdir(parents=True),
        "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("x.py"),
        "rmdir": lambda: shutil.rmtree(folder),
        "no git": lambda: shutil.rmtree(folder / ".git"),
        "move": lambda: path.rename(root / "".join(words[2:])),
        "move folder": lambda: (root / words[0]).rename(root / words[1]),
        "git": lambda: git(root, *words[0].split()),
    }
    acts[what]()


def _plant(root: Path) -> None:
    for folder in ("a/", "b/", "gen/"):
        write(root, f"{folder}x.py", f"{folder[0]} = 1\n")
    write(root, ".gitignore", "gen/\n*.log\n")
    git(root, "init", "-q")
    _link_module(root)
    git(root, "add", ".")
    git(root, "add", "-f", "gen/x.py")
    git(root, "commit", "-qm", "one")


def _check_script(root: Path, script: list[tuple[tuple[str, ...], bool]]) -> None:
    _plant(root)
    bench = Listed(root)
    bench.begin()
    try:
        for act, is_looked_at in script:
            try:
                _act(root, *act)
            except (OSError, subprocess.CalledProcessError):
                continue
            if is_looked_at or act[0] == "git":
                bench.check()
        bench.check()
    finally:
        bench.close()


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize("examples", [12, pytest.param(2000, marks=pytest.mark.deep)])
def test_after_any_script_nothing_is_fresh_that_a_listing_would_find_changed(
    tmp_path: Path, examples: int
) -> None:
    number = iter(range(1 << 30))

    @given(st.lists(st.tuples(_ACTS, st.booleans()), min_size=1, max_size=14))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def check(script: list[tuple[tuple[str, ...], bool]]) -> None:
        root = tmp_path / f"{next(number)}"
        root.mkdir()
        try:
            _check_script(root, script)
        finally:
            shutil.rmtree(root)

    check()
