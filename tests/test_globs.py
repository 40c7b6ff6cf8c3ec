"""Patterns as in .gitignore: what git says they match, and in time that grows with their length."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cidx_ref.index.filters import problem_with
from cidx_ref.index.globs import Globs, parse

#: Letters that make classes, stars and slashes meet.
_PATTERN = st.lists(
    st.sampled_from(["a", "b", ".", "*", "**", "?", "/", "**/", "/**", "[ab]", "[!a]", "[a-b]",
                     "[b-a]", "[[:alpha:]]", "[^.]", "[", "]", "\\", "\\*", "[\\]a]", "[]a]", "-"]),
    min_size=1,
    max_size=7,
).map("".join)  # fmt: skip
_NAME = st.text(alphabet="ab.*-]", min_size=1, max_size=4).filter(lambda n: n not in (".", ".."))
_PATH = st.lists(_NAME, min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("globs")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def ignored(root: Path, pattern: str, paths: list[str]) -> set[str]:
    """Those of the paths that git says match the pattern, or lie in a directory that does."""
    (root / ".gitignore").write_text(f"{pattern}\n")
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin", "-z"],
        cwd=root,
        input="\0".join(paths).encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
    )
    assert done.returncode in (0, 1), done.stderr
    return {path for path in done.stdout.decode().split("\0") if path}


@pytest.mark.promise("QRY-2")
@settings(
    derandomize=True, max_examples=250, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(pattern=_PATTERN, paths=st.lists(_PATH, min_size=4, max_size=12, unique=True))
@example(pattern="a/**", paths=["a", "a/b", "a/b/a", "b/a/b"])
@example(pattern="a/**/", paths=["a", "a/b", "a/b/a", "b/a/b"])
@example(pattern="**/", paths=["a", "a/b"])
@example(pattern="*a*ba", paths=["aba", "aaba", "abaxba", "a/aaba"])
@example(pattern="a/**/**/b", paths=["a/b", "a/a/b", "a/a/a/b/a"])
@example(pattern="/**", paths=["a", "a/b"])
@example(pattern="**a", paths=["a", "ba", "b/ba"])
@example(pattern="a/b", paths=["a/b", "b/a/b"])
def test_what_a_pattern_matches_is_what_git_says(
    repository: Path, pattern: str, paths: list[str]
) -> None:
    if pattern.startswith(("#", "!")):
        return
    by_git = ignored(repository, pattern, paths)
    parsed = parse(pattern)
    if parsed is None:
        assert by_git == set()
        return
    globs = Globs([pattern])
    assert {path for path in paths if globs.match_file(path)} == by_git, pattern


@pytest.mark.promise("QRY-2")
def test_many_patterns_match_what_one_of_them_matches() -> None:
    globs = Globs(["*.py", "docs/", "/setup", "src/a.c", "name", "x/y/"])
    for path in ("a/b.py", "docs/a", "setup", "setup/a", "src/a.c", "a/name/b", "a/name", "x/y/z"):
        assert globs.match_file(path), path
    for path in ("docs", "a/setup", "src/b.c", "b/src/a.c", "x/y", "x/yy/z", "names", "b.pyc"):
        assert not globs.match_file(path), path


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize("bad", ["[", "a[b", "[]", "\\", "a\\", "[[:nothing:]]", "*" * 257])
def test_what_can_match_nothing_is_said_to_be_no_pattern(bad: str) -> None:
    assert problem_with(bad) is not None


NASTY = {
    "stars": ("*a" * 100 + "b", "a" * 4000),
    "stars and marks": ("*?a" * 80 + "b", "a" * 4000),
    "directories": ("**/a/" * 50 + "b", "a/" * 2000 + "c"),
    "stars in directories": ("**/*a*a*a/" * 25 + "b", ("a" * 200 + "/") * 20 + "c"),
    "classes": ("*[ab]*[!b]" * 25 + "[c]", "ab" * 2000),
    "everything": ("**/*/**/*" * 25 + "/b", "a/" * 2000 + "c"),
}


@pytest.mark.promise("QRY-5", "RPC-4")
@pytest.mark.parametrize(("glob", "path"), NASTY.values(), ids=NASTY)
def test_no_pattern_is_tried_in_many_ways(glob: str, path: str) -> None:
    """Going back would take longer than the universe has been there."""
    globs = Globs([glob])
    started = time.thread_time()
    assert not globs.match_file(path)
    assert time.thread_time() - started < 0.5
