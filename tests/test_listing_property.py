"""Random trees: what we list is what git lists, without the defaults, and with what was included.

Git itself is asked in the real checkout for what it tracks or would add.  What the patterns of
`exclude`, `include` and `.cidxignore` say, git is asked in a second tree, which holds them as
`.gitignore` files and nothing else.  What is left is `expected`, which knows of the defaults, as
the documentation has them, no more than the names below.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from trees import BUILD, DEPENDENCIES, GENERATED, LOCK, MINIFIED, git, listed, write

pytestmark = pytest.mark.once

ALL = list(HealthCheck)
EXCLUDED = "excluded by config.json"
OWN_IGNORED = "excluded by .cidxignore"

FOLDERS = [
    "a",
    "b",
    "src",
    "a",
    "b",
    "node_modules",
    "build",
    "target",
    "env",
    "vendor",
    "__pycache__",
]
FILES = {
    "x.py": None,
    "y.txt": None,
    "package.json": None,
    "Cargo.toml": None,
    "modules.txt": None,
    "pyvenv.cfg": None,
    "go.sum": LOCK,
    "package-lock.json": LOCK,
    "x.min.js": MINIFIED,
    "x.js.map": MINIFIED,
    "x_pb2.py": GENERATED,
}
ALWAYS = {"node_modules": DEPENDENCIES, "__pycache__": BUILD}
BESIDE = {"build": "package.json", "target": "Cargo.toml"}
WITHIN = {"pyvenv.cfg": None, "modules.txt": "vendor"}

PATTERNS = [
    *["*.py", "x.*", "*.txt", "/a/", "b/", "a/**", "**/x.py", "**/b/*.py", "/src/*", "a/b", "?.py"],
    *["[xy].txt", "*", "/*", "src", "node_modules/", "build", "/target/", "vendor/", "x.min.js"],
    *[
        "package-lock.json",
        "node_modules/a/",
        "/node_modules/a",
        "a/node_modules",
        "**/src",
        "go.*",
    ],
]
NEGATED = [
    *["!x.py", "!/a/", "!b", "!*.txt", "!src/", "!node_modules/", "!build/", "!vendor"],
    *["!go.sum", "!*.min.js", "!**/target", "!env/", "!x_pb2.py", "# a comment", ""],
]


@dataclass
class Example:
    """A tree, what is said of it, and which of its files git tracks."""

    files: list[str]
    git_ignore: dict[str, list[str]]  # by folder, "" or ending in "/"
    own_ignore: dict[str, list[str]]
    include: list[str]
    exclude: list[str]
    tracked: set[str]

    def everything(self) -> dict[str, str]:
        return {
            **dict.fromkeys(self.files, "x\n"),
            **{f + ".gitignore": "\n".join(lines) + "\n" for f, lines in self.git_ignore.items()},
            **{f + ".cidxignore": "\n".join(lines) + "\n" for f, lines in self.own_ignore.items()},
        }


@st.composite
def examples(draw: st.DrawFn) -> Example:
    folders = [""]
    for _ in range(draw(st.integers(1, 7))):
        folders.append(draw(st.sampled_from(folders)) + draw(st.sampled_from(FOLDERS)) + "/")
    folders = [folder for folder in folders if folder.count("/") <= 4]
    paths = st.builds("{}{}".format, st.sampled_from(folders), st.sampled_from(list(FILES)))
    files = draw(st.lists(paths, min_size=8, max_size=24, unique=True))
    lines = st.lists(st.sampled_from(PATTERNS + NEGATED), min_size=1, max_size=4)
    ignores = st.dictionaries(st.sampled_from(folders), lines, max_size=2)
    some = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
    return Example(
        files=files,
        git_ignore=draw(ignores),
        own_ignore=draw(ignores),
        include=draw(st.one_of(some, st.just([]))),
        exclude=draw(st.one_of(st.just([]), st.lists(st.sampled_from(PATTERNS), max_size=2))),
        tracked=set(draw(st.lists(st.sampled_from(files), max_size=8, unique=True))),
    )


# What git says.


@dataclass
class Told:
    """Git's own words: what it lists, and the pattern that has the last say about each entry."""

    tracked: set[str] = field(default_factory=set)
    new: set[str] = field(default_factory=set)
    pattern: dict[tuple[str, str], str] = field(default_factory=dict)  # by what is asked, and path

    def matches(self, asked: str, path: str) -> bool:
        pattern = self.pattern.get((asked, path), "")
        return bool(pattern) and not pattern.startswith("!")

    def negates(self, asked: str, path: str) -> bool:
        return self.pattern.get((asked, path), "").startswith("!")


def components(path: str) -> Iterator[str]:
    """The folders above `path`, outermost first and ending in "/", and itself."""
    parts = path.split("/")
    for length in range(1, len(parts)):
        yield "/".join(parts[:length]) + "/"
    yield path


def ask_git(root: Path, shadow: Path, example: Example, template: Path) -> Told:
    told = Told()
    tagged = git(root, "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard")
    for line in filter(None, tagged.split("\0")):
        (told.new if line[0] == "?" else told.tracked).add(line[2:])
    # Each list is a folder of the second tree; only what is there is a folder to a pattern.
    shutil.copytree(template, shadow)
    (shadow / ".git" / "info").mkdir(exist_ok=True)
    entries = {entry for path in example.everything() for entry in components(path)}
    lists = {"include": example.include, "exclude": example.exclude}
    for name, patterns in lists.items():
        write(shadow, {f"{name}/.gitignore": "".join(f"{line}\n" for line in patterns)})
    for folder, patterns in example.own_ignore.items():
        text = "".join(f"{line}\n" for line in patterns)
        write(shadow, {f"own/{folder}.gitignore": text})
    asked = [f"{name}/{entry.rstrip('/')}" for name in (*lists, "own") for entry in entries]
    for name in (*lists, "own"):
        for entry in entries:
            if entry.endswith("/"):
                (shadow / name / entry).mkdir(parents=True, exist_ok=True)
    found = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin"],
        cwd=shadow,
        input="\0".join(asked).encode(),
        stdout=subprocess.PIPE,
        check=False,  # 1: none is ignored
    )
    assert found.returncode in (0, 1)
    fields = found.stdout.decode().split("\0")[:-1]
    folders = {entry.rstrip("/") for entry in entries if entry.endswith("/")}
    for _, _, pattern, path in zip(*[iter(fields)] * 4, strict=True):
        name, _, entry = path.partition("/")
        told.pattern[name, entry + "/" * (entry in folders)] = pattern
    return told


# What is expected.


def default(entry: str, listed: set[str], tracked: set[str]) -> str | None:
    """Why this folder or file is left out by itself, if nothing brings it back.

    A marker is one if it is among what is `listed`; what git ignores is not there.
    """
    above, _, name = entry.rstrip("/").rpartition("/")
    above += "/" * bool(above)
    if not entry.endswith("/"):
        return FILES.get(name)
    if name in ALWAYS:
        return ALWAYS[name]
    for marker, only in WITHIN.items():
        if entry + marker in listed and only in (None, name):
            return DEPENDENCIES
    if name in BESIDE and above + BESIDE[name] in listed:
        return None if any(path.startswith(entry) for path in tracked) else BUILD
    return None


class Model:
    """What is expected of each file of an example."""

    def __init__(self, example: Example, told: Told) -> None:
        self.on_disk = {*example.everything()}
        self.listed = told.tracked | told.new  # by git
        self.candidates = self.listed | {path for path in self.on_disk if self.asked(told, path)}
        self._told = told
        self._own = [folder for folder in example.own_ignore if folder]
        # What git ignores itself: of `.cidxignore` files, only the topmost is surely read then.
        self._hidden = [f for f in self._own if f + ".cidxignore" not in self.candidates]

    @staticmethod
    def asked(told: Told, path: str) -> bool:
        return any(told.matches("include", entry) for entry in components(path))

    def reasons(self, path: str) -> list[tuple[str, str]]:
        """The entries that keep `path` out, outermost first, with the reasons; none if it is in.

        What is asked for, and excluded all the same, may lie in a folder of which nothing is left.
        """
        found = self._reasons(path, is_asked_for=self.asked(self._told, path))
        return found and self._reasons(path, is_asked_for=False)

    def _reasons(self, path: str, *, is_asked_for: bool) -> list[tuple[str, str]]:
        told = self._told
        found: list[tuple[str, str]] = []
        for entry in components(path):
            if told.matches("exclude", entry):
                found.append((entry, EXCLUDED))
            elif told.matches("own", entry):
                found.append((entry, OWN_IGNORED))
            elif not is_asked_for and not told.negates("own", entry):
                reason = default(entry, self.candidates, told.tracked)
                found += [(entry, reason)] if reason else []
        return found

    def is_open(self, path: str) -> bool:
        """Whether a `.cidxignore`, or a `!` in one, speaks of what lies in a folder that is left
        out by default, or one speaks that git ignores: then either answer is a good one."""
        is_out = False
        for entry in components(path):
            if entry in self._hidden:
                return True
            if is_out and (self._told.negates("own", entry) or entry in self._own):
                return True
            is_out = is_out or bool(default(entry, self.candidates, self._told.tracked))
            if is_out and entry in self._own:
                return True
        return False


def check(example: Example, root: Path, told: Told) -> None:
    model = Model(example, told)
    found = listed(root, example.include, example.exclude)
    paths, skipped = set(found.paths), dict(found.skipped)
    assert found.notes == []
    assert len(paths) == len(found.paths)
    assert found.paths == sorted(paths)
    assert found.skipped == sorted(skipped.items())
    assert paths <= model.on_disk
    for path in sorted(model.on_disk):
        if model.is_open(path):
            continue
        if path not in model.candidates:
            assert path not in paths, f"{path} is ignored, and nothing brings it back"
            continue
        why = model.reasons(path)
        assert (path in paths) == (not why), f"{path}: {why}"
        covering = [entry for entry in components(path) if entry in skipped]
        if not why:
            assert path not in skipped
        elif path in model.listed:
            check_reason(path, why, covering, skipped, paths)


def check_reason(
    path: str,
    why: list[tuple[str, str]],
    covering: list[str],
    skipped: dict[str, str],
    paths: set[str],
) -> None:
    """What is left out is named once, by the outermost folder that is left out as a whole."""
    assert len(covering) == 1, f"{path} is left out, {why}, and named by {covering}"
    entry, reason = why[0]
    said = skipped[covering[0]]
    if any(other.startswith(entry) for other in paths):  # not as a whole: each part by itself
        assert covering[0] != entry or entry == path
        assert said in {reason for _, reason in why}, f"{path}: {why}, but {said}"
    else:
        assert (covering[0], said) == (entry, reason), f"{path}: {why}, but {said}"


# The tests.


@pytest.fixture(scope="module", autouse=True)
def _no_git_config_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty checkout, to be copied: git takes longer to make one."""
    root = tmp_path_factory.mktemp("template")
    git(root, "init", "--quiet", "--template=")
    return root


def tried(example: Example, template: Path) -> None:
    with TemporaryDirectory() as scratch:
        root = Path(scratch) / "tree"
        shutil.copytree(template, root)
        write(root, example.everything())
        if example.tracked:
            git(root, "add", "--force", "--", *sorted(example.tracked))
        told = ask_git(root, Path(scratch) / "shadow", example, template)
        check(example, root, told)
        if not told.tracked:
            event("without git, too")
            (root / ".git").rename(Path(scratch) / "elsewhere")
            check(example, root, told)


@pytest.mark.parametrize("number", [60, pytest.param(3000, marks=pytest.mark.deep)])
def test_what_is_listed_is_what_git_lists_without_the_defaults_and_with_what_is_included(
    number: int, template: Path
) -> None:
    # Without shrinking, which would take minutes; what fails is small enough to be read.
    @settings(
        derandomize=True,
        max_examples=number,
        deadline=None,
        suppress_health_check=ALL,
        phases=[Phase.generate],
    )
    @given(example=examples())
    def search(example: Example) -> None:
        tried(example, template)

    search()
