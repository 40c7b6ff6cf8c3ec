"""Patterns as in .gitignore: git says what they mean, and no pattern takes long to say so."""

from __future__ import annotations

import os
import re
import subprocess
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cidx_ref.globs import parse
from cidx_ref.index import matching
from cidx_ref.index.matching import IgnoreRules, PathSet
from cidx_ref.index.walk import walk
from cidx_ref.runtime import SYSTEM

pytestmark = pytest.mark.once

# What a pattern may be made of: few letters, so that much of it matches.
PIECES = (
    "a a a b b ab . / // * * ** ** *** **/ /** /**/ ? \\a \\* \\/ \\\\ \\[ \\ # ! - [ab] [!a] [^b] "
    "[a-b] [b-a] [!b-a] []] []a] [!]] [ab [a-] [-a] [\\]] [a\\-b] [a/b] [[:alpha:]] [[:lower:]b] "
    "[![:alpha:]] [[:no:]] [[:] [[:a] [a-[:alpha:]]"
)
PATTERNS = st.lists(st.sampled_from([*PIECES.split(), " "]), min_size=1, max_size=9).map("".join)
ODD_NAMES = "a b ab * ** [ab ] - a] # ! \\ a\\ : [:"
NAMES = st.text("ab.", min_size=1, max_size=4) | st.sampled_from([*ODD_NAMES.split(), "a b", "b "])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


def usable(path: str) -> bool:
    return not {".", "..", ".git"} & {*path.split("/")}


ALL = list(HealthCheck)


class Git:
    """What git makes of patterns: many in one process, each in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run("init", "--quiet")

    def run(self, *arguments: str, said: bytes = b"", fine: tuple[int, ...] = (0,)) -> bytes:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-c", "core.ignoreCase=false", *arguments]
        done = subprocess.run(
            command, cwd=self.root, env=environment, input=said, capture_output=True, check=False
        )
        assert done.returncode in fine, done.stderr
        return done.stdout

    def matched(self, patterns: list[str], paths: list[str]) -> list[set[str]]:
        """Of the `paths`, those that each of the `patterns` matches, or a folder of which."""
        asked = []
        for number, pattern in enumerate(patterns):
            folder = self.root / str(number)
            folder.mkdir(exist_ok=True)
            # As the first of a line, these have another meaning.
            escaped = "\\" + pattern if pattern[0] in "#!" else pattern
            (folder / ".gitignore").write_bytes(escaped.encode() + b"\n")
            asked += [f"{number}/{path}" for path in paths]
        said = "\0".join(asked).encode()
        # Status 1: none is ignored.
        ignored = self.run("check-ignore", "--no-index", "--stdin", "-z", said=said, fine=(0, 1))
        found: list[set[str]] = [set() for _ in patterns]
        for line in ignored.decode().split("\0")[:-1]:
            folder_name, _, path = line.partition("/")
            found[int(folder_name)].add(path)
        return found


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("git"))


def ours(pattern: str, paths: list[str]) -> set[str]:
    try:
        chosen = PathSet([pattern])
    except ValueError:
        return set()
    return {path for path, passes in zip(paths, chosen.select(paths), strict=True) if passes}


@pytest.mark.promise("QRY-2")
@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=ALL)
@given(
    st.lists(PATTERNS, min_size=30, max_size=30),
    st.lists(PATHS.filter(usable), min_size=1, max_size=20, unique=True),
)
def test_a_pattern_matches_what_it_matches_to_git(
    git: Git, patterns: list[str], paths: list[str]
) -> None:
    patterns = [pattern for pattern in patterns if pattern.strip()]
    for pattern, found in zip(patterns, git.matched(patterns, paths), strict=True):
        assert ours(pattern, paths) == found, pattern


#: Where two ways to read a pattern part.
TELLING = (
    "a*a a/b/ b/ /a /b/ a**\\/b a/**\\/b a**/b a**/**/b a**/**\\/b a** a**b a/** a/b** **/b/** *?b "
    "a/*b*b [!a]/b [z-a] [!z-a] [b-a] *[]]* a[/]b a/?b **b a/**b a/** /** /**/ a/b/**/ ?b*/b a*/**"
).split()
TOLD = "a aa b ab a/b aa/b ab/b a/ab a/b/b a/b/a/b a/aab aXb/b b/b z/b ]/b a/x/ab b/a/b".split()


@pytest.mark.promise("QRY-2")
def test_a_pattern_that_tells_two_readings_apart_matches_what_it_matches_to_git(git: Git) -> None:
    for pattern, found in zip(TELLING, git.matched(TELLING, TOLD), strict=True):
        assert ours(pattern, TOLD) == found, pattern


def created(root: Path, paths: list[str]) -> None:
    """Make empty files, as far as one is not where a folder of another is."""
    for path in paths:
        target = root / path
        with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()


@settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=ALL)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "", "a/", "b/", "a/b/"]),
            st.lists(st.builds(str.__add__, st.sampled_from(["", "", "!"]), PATTERNS), max_size=6),
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(PATHS.filter(usable), min_size=1, max_size=12, unique=True),
)
def test_a_walk_by_the_rules_lists_what_git_lists(
    git: Git,
    ignoring: list[tuple[str, list[str]]],
    paths: list[str],
) -> None:
    with TemporaryDirectory(dir=git.root) as folder:
        root = Path(folder)
        inside = Git(root)
        created(root, paths)
        for where, lines in ignoring:
            created(root, [f"{where}.gitignore"])
            with suppress(NotADirectoryError, FileNotFoundError):
                (root / where / ".gitignore").write_text("\n".join(lines))
        listed = inside.run("ls-files", "--others", "--exclude-standard", "-z")
        by_git = [os.fsdecode(path) for path in listed.split(b"\0")[:-1]]
        assert sorted(walk(root, SYSTEM, []).files) == sorted(by_git)


def test_lines_of_a_gitignore_end_and_begin_as_they_do_for_git() -> None:
    def verdict(text: str, path: str = "a", is_folder: bool = False) -> bool | None:
        return IgnoreRules(text).verdict(path, is_folder)

    assert verdict("a") is True
    assert verdict("#a\n!b\na/") is None
    assert verdict("a/", is_folder=True) is True
    assert verdict("a\r\nb\r") is True
    assert verdict("a\n!a\n") is False
    assert verdict("a  \n", "a") is True
    assert verdict("a\\ \n", "a ") is True
    assert verdict("a\\\\ \n", "a\\") is True
    assert verdict("a\0b", "a") is True, "to git a zero byte ends the line"
    assert verdict("caf??", "caf\xc3\xa9") is True
    assert verdict("x\ny", "x\ny") is None


def test_the_rules_go_on_below_a_folder_that_they_match() -> None:
    rules = IgnoreRules("kept?\n!kept?\n/top?\n*.log\n")
    assert rules.verdict("kept1", True) is False
    assert rules.verdict("kept1/x.log", False) is True
    assert rules.verdict("kept1/top1", False) is None, "it is not at the top"
    assert rules.verdict("top1", False) is True


#: What was tried in all ways before, and took from seconds to for ever.
NASTY = {
    "folders": ("**/a/" * 40 + "b", "a/" * 200 + "c"),
    "stars": ("*a" * 60 + "*b", "a" * 250),
    "stars and folders": ("**/*a*a*a*a*b/" * 10 + "c", ("a" * 60 + "/") * 60 + "c"),
    "question marks": ("*?" * 60 + "b", "a" * 250),
    "sets": ("*[!b]" * 60 + "b", "a" * 250),
    "history": ("**/a/" + "*/" * 200 + "b", "/".join("ab"[n * n % 7 % 2] for n in range(2000))),
    "odd stars": ("a" + "**/" * 1300 + "b", "a/" * 2000 + "c"),
    "odd stars, again and again": ("a**/b" * 800, "a/" * 2000 + "c"),
    "classes": ("[" + "[:" * 2000, "a"),
    "backslashes": ("\\" * 4000, "a"),
    "one long name": ("a" * 4000 + "*", "a" * 4000),
}


@pytest.mark.promise("RPC-4", "RPC-6")
@pytest.mark.parametrize("kind", NASTY)
def test_no_pattern_holds_the_interpreter(kind: str) -> None:
    pattern, path = NASTY[kind]
    began = time.thread_time()
    ours(pattern, [path])
    IgnoreRules(pattern).verdict(path, False)
    assert time.thread_time() - began < 0.5, "it takes a thousandth of it, or for ever"


@pytest.mark.promise("RPC-6")
def test_a_gitignore_costs_no_more_than_so_many_patterns_of_it() -> None:
    many = {
        "regular expressions": "".join(f"x*y?{n}\n" for n in range(10_000)),
        "names": "".join(f"name{n}\nx{n}/path\n" for n in range(20_000)),
        "endings": "".join(f"*.x{n}\n" for n in range(40_000)),
    }
    for kind, lines in many.items():
        began = time.thread_time()
        rules = IgnoreRules(f"a\n{lines}b\n")
        assert rules.verdict("a", False), kind
        assert rules.verdict("b", False) is None, "what comes after them is left unread"
        assert time.thread_time() - began < 2, kind
    assert IgnoreRules(many["names"]).verdict("x5000/path", False)
    assert IgnoreRules(many["names"]).verdict("sub/name5000", True)
    assert IgnoreRules(many["endings"]).verdict("sub/a.x5000", True)


@pytest.mark.promise("QRY-2")
def test_a_set_is_made_of_many_patterns_and_the_same_in_any_order_of_paths() -> None:
    patterns = ["src/", "docs/**/*.md", "*.py", "/top", "name", "a/*/c?"]
    wanted = {
        "src/x": True,
        "lib/src/y": True,
        "src": False,
        "docs/a.md": True,
        "docs/a/b.md": True,
        "docs/a.txt": False,
        "a.py/b": True,
        "top": True,
        "sub/top": False,
        "x/name/y/z": True,
        "a/b/c1/d": True,
        "a/b/c": False,
    }
    paths = list(wanted)
    for order in (paths, paths[::-1], sorted(paths)):
        assert list(PathSet(patterns).select(order)) == [wanted[path] for path in order]
    assert list(PathSet([]).select(paths)) == [False] * len(paths)


def test_what_is_remembered_of_folders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_MAX_REMEMBERED", 100)
    paths = ["/".join("ab"[n >> bit & 1] for bit in range(10)) for n in range(1 << 10)]
    rules = matching._Rules(parse("**/a/" + "*/" * 6 + "x"), absorbing=True)
    for path in paths:
        assert rules.enter(path).holds("x") == (path.split("/")[3] == "a")
        assert len(rules._remembered) <= 100


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("src\\", "backslash"),
        ("[ab", "without its ]"),
        ("[[:no:]]", "[:no:]"),
        ("a//b", "slashes"),
        ("/", "slashes"),
    ],
)
def test_a_pattern_that_can_match_nothing_says_why(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse(pattern)


@pytest.mark.parametrize("line", ["a{:x}", "*a{:x}", "a{:x}/b", "b/a{:x}"])
def test_the_rules_of_a_file_take_a_memory_in_proportion_to_it(line: str) -> None:
    """A tree may have one in each folder of a deep path: together they once took a gigabyte."""
    text = "\n".join(line.format(number) for number in range(20_000))
    tracemalloc.start()
    try:
        rules = IgnoreRules(text)
        assert not rules.verdict("nothing", False)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 16_000_000


def test_a_name_that_is_very_many_parts_is_found_in_each_place() -> None:
    many = "\n".join(f"{'x/' * (number % 7)}a/b{number}" for number in range(500))
    rules = IgnoreRules(f"{many}\na/a/last")
    for number in range(500):
        above = "x/" * (number % 7)
        assert rules.verdict(f"{above}a/b{number}", False)
        assert rules.verdict(f"{above}a/c{number}", False) is None
    assert rules.verdict("a/a/last", False)
