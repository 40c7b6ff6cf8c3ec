"""What belongs to the index by names and patterns: the rules, one by one, in their order."""

from __future__ import annotations

import os
import subprocess
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from trees import open_below

from cidx_ref.config import Config
from cidx_ref.errors import ConfigError
from cidx_ref.index.attributes import rules_of
from cidx_ref.index.belongs import Rules, judge
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.checkouts import NOT_CHECKED_OUT, Candidates
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.scan import Listing, list_files
from cidx_ref.index.skipped import read_skipped
from cidx_ref.keys import account_key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime

pytestmark = [pytest.mark.once, pytest.mark.promise("QRY-1")]

EXCLUDED, IGNORED = "excluded by config.json", "excluded by .cidxignore"
DEPENDENCIES, BUILD, LOCK = "dependencies", "build output", "lock file"
MINIFIED, GENERATED = "minified", "generated"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    return root


def write(root: Path, *paths: str, **texts: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x\n")
    for name, text in texts.items():
        (root / f".{name}").write_text(text)


def listed(root: Path, include: list[str] | None = None, *exclude: str) -> Listing:
    before = open_below(Path("/"))
    with TemporaryDirectory() as scratch:
        rules = Rules(tuple(include or ()), exclude)
        listing = list_files(root, Path(scratch), rules=rules)
    assert open_below(Path("/")) <= before
    return listing


def of(paths: list[str], skipped: dict[str, str]) -> Listing:
    return Listing(paths, [], sorted(skipped.items()))


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


# Defaults


@pytest.mark.parametrize(
    ("folder", "beside", "reason"),
    [
        (".hg/", [], "version control data"),
        ("node_modules/", [], DEPENDENCIES),
        ("a/b/node_modules/", [], DEPENDENCIES),
        ("py/site-packages/", [], DEPENDENCIES),
        ("my-env/", ["my-env/pyvenv.cfg"], DEPENDENCIES),
        ("env/", ["env/conda-meta/history"], DEPENDENCIES),
        (".yarn/cache/", [], DEPENDENCIES),
        ("cache/", [], None),
        ("vendor/", [], None),
        ("vendor/", ["vendor/modules.txt"], DEPENDENCIES),
        ("vendor/", ["vendor/autoload.php"], DEPENDENCIES),
        ("vendor/", ["composer.json"], DEPENDENCIES),
        ("vendor/", ["Cargo.toml"], None),
        ("vendor/", ["Cargo.toml", "vendor/serde/.cargo-checksum.json"], DEPENDENCIES),
        ("vendor/bundle/", ["Gemfile"], DEPENDENCIES),
        ("vendor/bundle/", [], None),
        ("deps/", ["mix.exs"], DEPENDENCIES),
        ("deps/", [], None),
        ("__pycache__/", [], BUILD),
        ("x.egg-info/", [], BUILD),
        ("cmake-build-debug/", [], BUILD),
        ("target/", ["Cargo.toml"], BUILD),
        ("target/", ["sub/Cargo.toml"], None),
        ("target/", [], None),
        ("sub/build/", ["sub/pyproject.toml"], BUILD),
        ("sub/build/", ["pyproject.toml"], None),
        ("build/", ["CMakeLists.txt"], BUILD),
        ("dist/", ["CMakeLists.txt"], None),
        ("out/", ["package.json"], BUILD),
        ("obj/", ["App.csproj"], BUILD),
        ("obj/", ["App.obj"], None),
        ("_build/", ["conf.py"], BUILD),
        ("coverage/", ["package.json"], BUILD),
        ("coverage/", [], None),
    ],
)
def test_a_folder_is_left_out_by_its_name_and_what_is_with_it(
    root: Path, folder: str, beside: list[str], reason: str | None
) -> None:
    write(root, "own.py", f"{folder}a.py", f"{folder}deep/b.py", *beside)
    listing = listed(root)
    assert dict(listing.skipped) == ({folder: reason} if reason else {})
    assert (f"{folder}deep/b.py" in listing.paths) == (reason is None)
    assert {"own.py", *[path for path in beside if not path.startswith(folder)]} <= {*listing.paths}


@pytest.mark.parametrize("signed", [True, False])
def test_a_cache_is_left_out_if_its_tag_is_signed(root: Path, signed: bool) -> None:
    write(root, "store/a.py", "store/CACHEDIR.TAG")
    if signed:
        tag = "Signature: 8a477f597d28d172789f06886806bc55\n# of a program\n"
        (root / "store/CACHEDIR.TAG").write_text(tag)
    assert listed(root).skipped == ([("store/", BUILD)] if signed else [])


def test_an_ambiguous_folder_that_git_tracks_is_the_authors_own(root: Path) -> None:
    write(root, "package.json", "build/tool.js", "dist/made.js", "build/new.js")
    git(root, "init", "--quiet")
    git(root, "add", "build/tool.js")
    assert listed(root) == of(["build/new.js", "build/tool.js", "package.json"], {"dist/": BUILD})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *[(name, LOCK) for name in ("package-lock.json", "sub/Cargo.lock", "go.sum", "uv.lock")],
        *[(name, MINIFIED) for name in ("a.min.js", "a-min.css", "a.js.map", "b/a.css.map")],
        *[(name, GENERATED) for name in ("a.pb.go", "a_pb2.py", "a_pb2_grpc.py", "A.Designer.cs")],
        *[(name, None) for name in ("lock.py", "min.js", "a.map", "pb.go", "a.lock", "go.sum.py")],
    ],
)
def test_a_file_is_left_out_by_its_name(root: Path, name: str, reason: str | None) -> None:
    write(root, name)
    assert listed(root) == of([] if reason else [name], {name: reason} if reason else {})


# .gitattributes


def test_attributes_say_what_is_generated_and_vendored_and_what_is_not(root: Path) -> None:
    write(root, "api/a.ts", "api/own.ts", "lib/x.c", "a.pb.go", "z.go", "go.sum", "sub/a.ts")
    write(
        root,
        gitattributes="api/** linguist-generated\n/api/own.ts -linguist-generated\n"
        "lib/* linguist-vendored=true text\n*.pb.go linguist-generated=false\n"
        "go.sum -linguist-generated\n# z.go linguist-generated\n",
    )
    (root / "sub/.gitattributes").write_text('"a.t\\163" linguist-generated\n')
    listing = listed(root)
    assert dict(listing.skipped) == {
        "api/a.ts": GENERATED,
        "lib/x.c": DEPENDENCIES,
        "go.sum": LOCK,
        "sub/a.ts": GENERATED,
    }
    assert {*listing.exempt} >= {"api/own.ts", "a.pb.go"}


def test_odd_lines_of_attributes_say_nothing() -> None:
    text = '"open linguist-generated\n!x linguist-generated\nx/ linguist-generated\n'
    assert rules_of(text + "linguist-generated\n*.d text\n", is_top=True) == {}


# Patterns: who beats whom


def test_exclude_beats_everything(root: Path) -> None:
    write(root, "a.py", "own/b.py", "own/c.py", cidxignore="!own/\n!b.py\n")
    listing = listed(root, ["own/", "a.py"], "own/", "/a.py")
    assert listing == of([".cidxignore"], {"own/": EXCLUDED, "a.py": EXCLUDED})


def test_own_ignore_files_have_the_syntax_and_the_scope_of_git_ignore_files(root: Path) -> None:
    write(root, "a.log", "keep.log", "sub/a.log", "sub/deep/b.log", "out/a.py", "sub/out/a.py")
    write(root, cidxignore="*.log\n!keep.log\n/out/\n")
    (root / "sub/.cidxignore").write_text("!a.log\n")
    (root / "out/.cidxignore").write_text("!a.py\n")
    assert listed(root, ["a.log", "out/"]) == of(
        [".cidxignore", "keep.log", "sub/.cidxignore", "sub/a.log", "sub/out/a.py"],
        {"a.log": IGNORED, "sub/deep/b.log": IGNORED, "out/": IGNORED},
    )


def test_a_negated_pattern_brings_back_what_the_defaults_leave_out(root: Path) -> None:
    write(root, "node_modules/a/i.js", "node_modules/b/i.js", "go.sum", "build/x.py", "setup.py")
    write(root, cidxignore="!node_modules/a/\n!go.sum\n!build/\n")
    assert listed(root) == of(
        [".cidxignore", "build/x.py", "go.sum", "node_modules/a/i.js", "setup.py"],
        {"node_modules/b/": DEPENDENCIES},
    )


def test_an_own_ignore_file_that_git_ignores_counts_at_the_root(root: Path) -> None:
    write(root, "a.py", "b.py", cidxignore="b.py\n", gitignore=".cidxignore\n")
    assert listed(root) == of([".gitignore", "a.py"], {"b.py": IGNORED})


@pytest.mark.parametrize("with_git", [True, False])
def test_include_brings_back_what_is_ignored_and_what_the_defaults_leave_out(
    root: Path, with_git: bool
) -> None:
    write(root, "node_modules/lodash/a.js", "node_modules/lodash/dist/b.min.js", "yarn.lock")
    write(
        root, "node_modules/other/c.js", "x.log", "deep/x.log", gitignore="node_modules/\n*.log\n"
    )
    if with_git:
        git(root, "init", "--quiet")
    listing = listed(root, ["node_modules/lodash/", "/x.log", "yarn.lock"])
    assert listing.paths == [
        *[".gitignore", "node_modules/lodash/a.js", "node_modules/lodash/dist/b.min.js"],
        *["x.log", "yarn.lock"],
    ]
    assert listing.skipped == []
    assert listing.exempt["node_modules/lodash/dist/b.min.js"] == {MINIFIED, GENERATED}


def test_nothing_brings_back_what_is_of_git_or_of_the_index(root: Path) -> None:
    git(root, "init", "--quiet")
    write(root, "a.py", ".code-indexer/config.json", cidxignore="!.git/\n!.code-indexer/\n")
    assert listed(root, ["*", ".git/", ".code-indexer/"]).paths == [".cidxignore", "a.py"]


# Repositories inside


@pytest.mark.parametrize("with_git", [True, False])
def test_a_nested_repository_is_named_and_listed_if_it_is_included(
    root: Path, with_git: bool
) -> None:
    write(root, "a.py", "in/own.py", "in/x.log", "in/deep/b.py", "in/go.sum")
    git(root / "in", "init", "--quiet")
    (root / "in/.gitignore").write_text("*.log\n")
    if with_git:
        git(root, "init", "--quiet")
    why = "a repository of its own (search in it, or name it in include)"
    assert listed(root) == of(["a.py"], {"in/": why})
    assert listed(root, ["*.py"]) == of(["a.py"], {"in/": why})
    inside = ["in/.gitignore", "in/deep/b.py", "in/own.py"]
    assert listed(root, ["/in/"]) == of(["a.py", *inside], {"in/go.sum": LOCK})
    assert listed(root, ["in", "*.log"]).paths == ["a.py", *inside, "in/x.log"]
    assert listed(root, ["in"], "in/deep/").paths == ["a.py", inside[0], inside[2]]
    assert listed(root, ["in"], "in") == of(["a.py"], {"in/": EXCLUDED})


def test_a_repository_in_a_folder_of_dependencies_can_be_included(root: Path) -> None:
    write(root, "a.py", "node_modules/fork/b.js", "node_modules/fork/go.sum", "node_modules/c.js")
    git(root / "node_modules/fork", "init", "--quiet")
    assert listed(root) == of(["a.py"], {"node_modules/": DEPENDENCIES})
    assert listed(root, ["node_modules/fork/"]) == of(
        ["a.py", "node_modules/fork/b.js"],
        {"node_modules/c.js": DEPENDENCIES, "node_modules/fork/go.sum": LOCK},
    )


def test_of_a_sparse_checkout_what_is_there_counts_and_the_rest_is_one_note(root: Path) -> None:
    write(root, "in/a.py", "out/b.py", "out/c.py", "top.py")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "update-index", "--skip-worktree", "out/b.py", "out/c.py", "top.py")
    (root / "out/b.py").unlink()
    advice = "(sparse checkout, or marked skip-worktree): git sparse-checkout disable"
    assert listed(root).notes == [f"1 tracked file is not checked out {advice}"]
    (root / "out/c.py").unlink()
    (root / "out").rmdir()
    listing = listed(root)
    assert listing.paths == ["in/a.py", "top.py"]
    assert listing.notes == [f"2 tracked files are not checked out {advice}"]


# Configuration


@pytest.mark.parametrize("key", ["include", "exclude"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("*.py", "a list of at most 100 patterns"),
        ([1], "a list of at most 100 patterns"),
        (["x"] * 101, "a list of at most 100 patterns"),
        (["x" * 257], "at most 256 characters"),
        (["../x"], "must name something below the project's root"),
        (["a/.."], "must name something below the project's root"),
        ([""], "can match nothing"),
        (["/"], "can match nothing"),
        (["a", "[x"], '"[x": it can match nothing'),
        (["!x"], "is not negated"),
        (["# x"], "is a comment"),
        (["a\0"], "zero byte"),
    ],
)
def test_patterns_that_can_match_nothing_are_refused_by_name(
    root: Path, key: str, value: object, said: str
) -> None:
    import json

    path = root / ".code-indexer/config.json"
    path.parent.mkdir(mode=0o700)
    path.write_text(json.dumps({"daemon": {key: value}}))
    with pytest.raises(ConfigError) as raised:
        Config.load(path)
    assert f"daemon.{key}: " in str(raised.value)
    assert said.replace('"[x"', "") in str(raised.value)


def test_what_is_not_set_is_not_written(root: Path) -> None:
    project = Project.at(root)
    assert Config.init(project).include == ()
    assert "clude" not in project.config_path.read_text()


# A run


def test_a_run_names_what_it_left_out_and_follows_changed_patterns(root: Path) -> None:
    write(root, "a.py", "go.sum", "node_modules/b.js", "m.js")
    (root / "m.js").write_text("!function(e,t){return e+t}(1,2);" * 100)
    (root / "g.py").write_text("# This file is generated. DO NOT EDIT.\n")
    (root / "bin.dat").write_bytes(b"\0")
    project = Project.at(root)

    def run(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> dict[str, object]:
        return bring_up_to_date(project, HashingEmbedder(), rules=Rules(include, exclude))

    first = run()
    named = read_skipped(project, account_key())["files"]
    assert [(file["path"], file["reason"]) for file in named] == [
        *[("bin.dat", "binary"), ("g.py", GENERATED), ("go.sum", LOCK), ("m.js", MINIFIED)],
        ("node_modules/", DEPENDENCIES),
    ]
    assert first["skipped"] == {"binary": 1, GENERATED: 1, LOCK: 1, MINIFIED: 1, DEPENDENCIES: 1}
    assert run()["generation"] == first["generation"]
    second = run(("go.sum", "m.js", "g.py"))
    assert (second["changed"], second["files"]) == (True, 4)
    third = run(("go.sum", "m.js", "g.py"), ("m.js",))
    assert (third["changed"], third["files"]) == (True, 3)
    (root / ".cidxignore").write_text("a.py\n.cidxignore\n")
    assert (run()["changed"], run()["files"]) == (True, 0)


# Trees that mean harm


@pytest.mark.parametrize("name", [".cidxignore", ".gitattributes", "CACHEDIR.TAG", "pyvenv.cfg"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge"])
def test_a_file_of_rules_that_is_none_is_not_waited_for_nor_followed(
    root: Path, tmp_path: Path, name: str, kind: str
) -> None:
    write(root, "sub/a.py")
    (tmp_path / "outside").write_text("*.py linguist-generated\n*.py\n")
    path = root / "sub" / name
    if kind == "link":
        path.symlink_to(tmp_path / "outside")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("x\n")
        os.truncate(path, 10 << 20)
    listing = listed(root)
    is_environment = name == "pyvenv.cfg" and kind in ("link", "huge")
    assert ("sub/a.py" in listing.paths) != is_environment
    if name == ".cidxignore" and kind in ("link", "huge"):
        assert "sub/.cidxignore' is " in listing.notes[0]


def test_many_lines_of_attributes_take_no_time(root: Path) -> None:
    write(root, *[f"{n}.c" for n in range(200)])
    lines = "".join(f"*{n}*x linguist-generated\n" for n in range(100_000))
    write(root, gitattributes=lines)
    assert len(listed(root).paths) == 201


class Hurried(FakeRuntime):
    """A clock that goes a second further each time somebody looks at it."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


def test_own_patterns_that_take_too_long_are_left_out_from_then_on_and_that_is_said(
    root: Path, tmp_path: Path
) -> None:
    write(root, *[f"{n}.log" for n in range(9)], cidxignore="*.log\n")
    (tmp_path / "scratch").mkdir()
    listing = list_files(root, tmp_path / "scratch", Hurried())
    assert len(listing.paths) > 1
    assert "the patterns in .cidxignore and .gitattributes took more" in listing.notes[-1]


def test_thousands_of_repositories_inside_are_named_and_not_entered(root: Path) -> None:
    git(root, "init", "--quiet")
    for number in range(1000):
        (root / f"{number:04}/.git").mkdir(parents=True)
        (root / f"{number:04}/.git/HEAD").write_text("ref: refs/heads/x\n")
        for name in ("objects", "refs"):
            (root / f"{number:04}/.git/{name}").mkdir()
    assert len(listed(root).skipped) == 1000


def test_only_so_many_repositories_inside_are_entered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cidx_ref.index import checkouts

    monkeypatch.setattr(checkouts, "_MAX_INSIDE", 2)
    for number in range(4):
        write(root, f"{number}/a.py")
        git(root / str(number), "init", "--quiet")
    listing = listed(root, ["/?/"])
    assert listing.paths == ["0/a.py", "1/a.py"] or len(listing.paths) == 2
    assert [why for _, why in listing.skipped] == [checkouts.TOO_MANY] * 2


def test_a_submodule_whose_repository_is_its_parents_comes_to_an_end(root: Path) -> None:
    git(root, "init", "--quiet")
    write(root, "a.py")
    commit = "1" * 40
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{commit},m")
    inner = root
    for _ in range(20):
        inner = inner / "m"
        inner.mkdir()
        up = "../" * len(inner.relative_to(root).parts)
        (inner / ".git").write_text(f"gitdir: {up}.git\n")
    listing = listed(root)
    assert listing.paths == ["a.py"]
    ((path, _),) = listing.skipped
    assert path == "m/" * 9


# What comes in no project of good will, and what is easily misunderstood.


def test_a_line_of_gitattributes_as_long_as_the_file_costs_no_memory_and_is_told(
    root: Path,
) -> None:
    write(root, "a.py", "sub/b.py", gitattributes="x" * 500 + " linguist-generated" * 28_000)
    (root / "sub/.gitattributes").write_text(f"b.py linguist-generated\n{'y ' * 1500}\n")
    listing = listed(root)
    assert listing.paths == [".gitattributes", "a.py", "sub/.gitattributes"]
    assert listing.skipped == [("sub/b.py", GENERATED)]
    first, second = listing.notes
    assert ".gitattributes" in first
    assert "line 1 is longer than 2047 bytes" in first
    assert "sub/.gitattributes" in second
    assert "line 2" in second


@pytest.mark.parametrize(("length", "is_read"), [(2047, True), (2048, False)])
def test_a_line_of_attributes_may_be_as_long_as_git_lets_it(
    root: Path, length: int, is_read: bool
) -> None:
    line = "*.js linguist-generated ".ljust(length - 1) + "x"
    write(root, "a.js", gitattributes=f"# {'x' * 5000}\n{line}\n")
    git(root, "init", "--quiet")
    command = ["git", "check-attr", "linguist-generated", "a.js"]
    told = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    assert told.endswith(": set\n") == is_read
    listing = listed(root)
    assert listing.skipped == ([("a.js", GENERATED)] if is_read else [])
    assert len(listing.notes) == (not is_read)


def test_many_words_of_one_attribute_are_one_rule() -> None:
    tracemalloc.start()
    try:
        rules_of(("x" * 1000 + " linguist-generated" * 50 + "\n") * 20, is_top=True)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "lines",
    [
        "*.js linguist-generated\n/src/*.js !linguist-generated\n",
        "*.js linguist-generated\n/src/*.js -linguist-generated\n",
        "/src/*.js !linguist-generated\n*.js linguist-generated\n",
        "*.js !linguist-generated linguist-generated\n",
        "*.js linguist-generated !linguist-generated\n",
        "[attr]gen linguist-generated\n*.js gen\n",
        "*.js gen\n[attr]gen linguist-generated\n",
        "[attr]gen linguist-generated\n*.js gen\n/src/* -gen\n",
        "[attr]gen linguist-generated\n*.js gen -linguist-generated\n",
        "[attr]gen linguist-generated\n[attr]all gen\n/src/*.js all\n",
        "[attr]gen -linguist-generated\n*.js linguist-generated\n/src/*.js gen\n",
        "[attr]linguist-generated text\n*.js linguist-generated\n",
    ],
)
def test_attributes_are_as_git_has_them(root: Path, lines: str) -> None:
    write(root, "a.js", "src/b.js", gitattributes=lines)
    git(root, "init", "--quiet")
    told = subprocess.run(
        ["git", "check-attr", "linguist-generated", "a.js", "src/b.js"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    generated = {line.partition(":")[0] for line in told if line.endswith(": set")}
    hand_written = {line.partition(":")[0] for line in told if line.endswith(": unset")}
    listing = listed(root)
    assert {path for path, _ in listing.skipped} == generated
    assert {path for path, reasons in listing.exempt.items() if GENERATED in reasons} == (
        hand_written
    )


def test_an_unspecified_attribute_takes_back_what_a_file_above_says(root: Path) -> None:
    write(root, "a.js", "sub/b.js", gitattributes="*.js -linguist-generated\n")
    (root / "sub/.gitattributes").write_text("*.js !linguist-generated\n")
    assert set(listed(root).exempt) == {"a.js"}


def test_a_macro_of_a_folder_below_is_none_as_to_git(root: Path) -> None:
    write(root, "sub/b.js")
    (root / "sub/.gitattributes").write_text("[attr]gen linguist-generated\n*.js gen\n")
    assert listed(root).skipped == []


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("*.csv\n!schema.csv\n", ["a.py", "schema.csv"]),
        ("*\n!*/\n!*.py\n", ["a.py"]),
        ("*\n!**/\n!**/*.py\n", ["a.py"]),
        ("*\n!*/\n!*.py\n!vendor/\n!.venv/lib/\n", ["a.py"]),
        ("*.py\n!*.py\n", ["a.py", "schema.csv"]),
        ("!lib/\n!x/\n", ["a.py", "schema.csv"]),
    ],
)
def test_a_pattern_that_undoes_a_line_asks_for_no_dependencies(
    root: Path, lines: str, kept: list[str]
) -> None:
    inside = [".venv/pyvenv.cfg", ".venv/lib/a.py", "node_modules/x/schema.csv", "b_pb2.py"]
    write(root, "a.py", "schema.csv", *inside, "node_modules/x/a.py", cidxignore=lines)
    wanted = [".venv/lib/a.py"] if "!.venv/lib/" in lines else []
    paths = [path for path in listed(root).paths if path != ".cidxignore"]
    assert paths == sorted([*wanted, *kept])


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ("*\n!*/\n!yarn.lock\n", "yarn.lock"),
        ("!*.min.js\n", "a.min.js"),
        ("*.txt\n!*.min.js\n", "a.min.js"),
        ("!*.js\n", "a.min.js"),
        ("!node_modules/x/*.lock\n!node_modules/x/schema.csv\n", "node_modules/x/schema.csv"),
        ("!b_pb2.py\n", "b_pb2.py"),
    ],
)
def test_a_pattern_that_names_something_asks_for_it(root: Path, lines: str, path: str) -> None:
    write(root, path, "node_modules/y/yarn.lock", "node_modules/y/a.min.js", cidxignore=lines)
    assert [p for p in listed(root).paths if p != ".cidxignore"] == [path]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_cidxignore_in_utf_16_is_read(root: Path, encoding: str) -> None:
    write(root, "a.py", "größe.py", "b.txt")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (root / ".cidxignore").write_bytes((mark + "größe.py\r\n*.txt\r\n").encode(encoding))
    listing = listed(root)
    assert listing.paths == [".cidxignore", "a.py"]
    assert listing.notes == []


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_called_cidxignore_in_the_root_and_is_no_file_is_told(
    root: Path, kind: str
) -> None:
    write(root, "a.py")
    if kind == "fifo":
        os.mkfifo(root / ".cidxignore")
    else:
        (root / ".cidxignore").mkdir()
    (note,) = listed(root).notes
    assert ".cidxignore' is no regular file" in note


@pytest.mark.parametrize("checkout", [True, False])
def test_the_index_of_a_project_inside_is_never_indexed(root: Path, checkout: bool) -> None:
    write(root, "a.py", "sub/b.py", "sub/.code-indexer/config.json", "s/t/.code-indexer/g/1/x.json")
    if checkout:
        git(root, "init", "--quiet")
    for include in ([], ["*.json"], [".code-indexer/"], ["/sub/"]):
        assert listed(root, include).paths == ["a.py", "sub/b.py"]


@pytest.mark.parametrize("rules", [Rules(), Rules(include=("*.zz",))], ids=["plain", "patterns"])
def test_paths_that_are_deep_cost_no_more_than_there_is_room_for(root: Path, rules: Rules) -> None:
    """In an index of one megabyte; each has two thousand folders on its way."""
    deep = [f"b{number:04}/{'a/' * 2000}x.py" for number in range(300)]
    links = {f"c{number:04}/{'a/' * 2000}": NOT_CHECKED_OUT for number in range(300)}
    real = "/".join(["a"] * 100) + "/x.py"
    found = Candidates(tracked=["x.py", real, *deep], left=links)
    started = time.thread_time()
    belonging = judge(root, found, rules, SYSTEM)
    assert time.thread_time() - started < 3
    assert {"x.py", real} <= {*belonging.paths}
    assert len(belonging.paths) + len(belonging.skipped) < 20
    (note,) = belonging.notes
    assert note.startswith(f"{602 - len(belonging.paths) - len(belonging.skipped)} folders were ")
