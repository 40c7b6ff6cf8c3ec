"""The watcher on real folders, with the kernel's events: what is seen, and what starts nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cidx_ref.daemon.inotify import OVERFLOW, Event
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.watches import Bench, Still, files_of, folders_of, git

pytestmark = pytest.mark.once

PATIENCE_S = 30.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _plant(tmp_path)
    return tmp_path


def _plant(root: Path) -> None:
    for path in ("a.py", "pkg/b.py", "pkg/deep/c.py"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x = 1\n")


@pytest.fixture
def bench(root: Path) -> Iterator[Bench]:
    made = Bench(root, real=True)
    yield made
    made.close()


def _replace(root: Path) -> None:
    (root / "pkg" / ".b.py.tmp").write_text("x = 2\n")
    (root / "pkg" / ".b.py.tmp").rename(root / "pkg" / "b.py")


@pytest.mark.promise("FRESH-1")
@pytest.mark.parametrize(
    ("act", "dirty"),
    [
        (lambda root: (root / "pkg/new.py").touch(), {"pkg/new.py"}),
        (lambda root: (root / "pkg/b.py").write_text("y"), {"pkg/b.py"}),
        (lambda root: (root / "pkg/b.py").unlink(), {"pkg/b.py"}),
        (lambda root: (root / "pkg/b.py").chmod(0), {"pkg/b.py"}),
        (lambda root: os.utime(root / "pkg/b.py", (1, 1)), {"pkg/b.py"}),
        (lambda root: (root / "a.py").rename(root / "pkg/a.py"), {"a.py", "pkg/a.py"}),
        (_replace, {"pkg/.b.py.tmp", "pkg/b.py"}),
        (lambda root: (root / "pkg/link").symlink_to("/etc/passwd"), {"pkg/link"}),
        (lambda root: (root / "pkg/deep").chmod(0o500), {"pkg/deep/"}),
        (lambda root: (root / "pkg").rename(root / "p"), {"pkg/", "p/b.py", "p/deep/c.py"}),
        (lambda root: os.truncate(root / "pkg/deep/c.py", 0), {"pkg/deep/c.py"}),
    ],
    ids=[
        *["create", "write", "delete", "chmod", "utime", "rename", "save by renaming", "link"],
        *["chmod of a folder", "rename of a folder", "truncate"],
    ],
)
def test_a_change_is_known_at_once(
    bench: Bench, root: Path, act: Callable[[Path], object], dirty: set[str]
) -> None:
    bench.begin()
    act(root)
    assert bench.dirty() == dirty
    files = [path for path in dirty if not path.endswith(("/", ".tmp"))]
    assert bench.watch.pending() == (len(files) or 1)
    bench.run()
    assert (bench.watch.pending(), bench.watch.is_fresh()) == (0, True)


@pytest.mark.promise("FRESH-1")
def test_folders_that_are_made_at_once_with_files_in_them_are_seen_whole(
    bench: Bench, root: Path
) -> None:
    bench.begin()
    for number in range(40):
        folder = root / "new" / f"d{number % 4}" / f"e{number}"
        folder.mkdir(parents=True)
        (folder / "f.py").touch()
    dirty = bench.dirty()
    assert {path for path in dirty if not path.endswith("/")} == {
        f"new/d{number % 4}/e{number}/f.py" for number in range(40)
    }
    bench.run()
    (root / "new" / "d3" / "e39" / "g.py").touch()
    assert bench.dirty() == {"new/d3/e39/g.py"}


@pytest.mark.promise("FRESH-1")
def test_a_tree_that_is_moved_in_is_seen_whole_and_one_that_is_moved_out_no_more(
    bench: Bench, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench.begin()
    outside = tmp_path_factory.mktemp("outside")
    _plant(outside / "in")
    (outside / "in").rename(root / "in")
    assert bench.dirty() == {"in/a.py", "in/pkg/b.py", "in/pkg/deep/c.py"}
    bench.run()
    (root / "pkg").rename(outside / "pkg")
    assert bench.dirty() == {"pkg/"}
    bench.run()
    (outside / "pkg" / "b.py").write_text("y")
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-1")
def test_a_large_tree_that_is_moved_out_makes_no_overflow(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    """The kernel tells of each watch that it is ended, and its queue holds so many events."""
    monkeypatch.setattr("cidx_ref.daemon.watched._REMOVED_AT_ONCE", 16)
    for number in range(100):
        (root / "many" / f"d{number}").mkdir(parents=True)
    bench.begin()
    assert bench.session.tree is not None
    events = bench.session.tree._events
    waiting: list[int] = []
    remove = events.remove

    def count(watch: int) -> None:
        remove(watch)
        size = bytearray(4)
        fcntl.ioctl(events.fileno(), termios.FIONREAD, size)  # type: ignore[attr-defined]
        waiting.append(int.from_bytes(size, sys.byteorder) // 16)

    monkeypatch.setattr(events, "remove", count)
    (root / "many").rename(tmp_path_factory.mktemp("outside") / "many")
    assert bench.dirty() == {"many/"}
    assert len(waiting) == 101
    assert max(waiting) <= 16
    assert bench.watch.describe()["folders"] == 3


@pytest.mark.promise("TRUST-1")
def test_a_link_out_of_the_tree_is_never_followed(
    bench: Bench, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "deep").mkdir()
    (root / "before").symlink_to(outside)
    bench.lists = lambda: [*folders_of(root), "before/", "before/deep/", "after/", "pkg/x/../"]
    bench.begin()
    (root / "after").symlink_to(outside)
    assert bench.dirty() == {"after"}
    bench.run()
    (outside / "a.py").touch()
    (outside / "deep" / "a.py").touch()
    assert bench.watch.is_fresh()
    assert bench.watch.describe()["folders"] == 3
    # A folder whose place a link takes is not watched through it.
    (root / "pkg" / "deep").rename(outside / "was")
    (root / "pkg" / "deep").symlink_to(outside / "was")
    bench.run()
    (outside / "was" / "c.py").write_text("y")
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-1")
def test_what_can_never_belong_starts_no_run(bench: Bench, root: Path) -> None:
    bench.lists = lambda: ["", "pkg/", "pkg/deep/"]
    bench.begin()
    for folder in (".git", ".code-indexer", "node_modules/x", "pkg/__pycache__", "pkg/.git"):
        (root / folder).mkdir(parents=True)
        (root / folder / "f.py").touch()
    # Both become repositories by that, as far as can be seen: another listing.
    assert bench.dirty() == {"", "pkg/"}
    bench.run()
    for folder in (".code-indexer", "node_modules/x", "pkg/__pycache__", "pkg/.git"):
        (root / folder / "g.py").touch()
    assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
def test_folders_that_were_replaced_while_events_were_lost_are_watched_anew(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(root, "init", "-q")
    bench.begin()
    (root / "pkg" / "deep" / "c.py").unlink()
    (root / "pkg" / "deep").rmdir()
    (root / "pkg").rename(root / "was")
    _plant(root)
    (root / ".git").rename(root / ".was")
    git(root, "init", "-q")
    with monkeypatch.context() as patch:
        patch.setattr("cidx_ref.daemon.inotify.parse", lambda data: [Event(-1, OVERFLOW)])
        assert not bench.watch.is_fresh()
    bench.run()
    assert bench.watch.is_fresh()
    for path in ("pkg/b.py", "pkg/deep/c.py", "was/b.py"):
        (root / path).write_text("z")
        assert bench.dirty() == {path}
        bench.run()
    git(root, "add", ".")
    assert bench.dirty() == {".git/"}


@pytest.mark.promise("FRESH-1")
@pytest.mark.parametrize(
    ("text", "dirty"), [("*.log\n", set()), ("!node_modules/mine\n", {"node_modules/mine/a.js"})]
)
def test_what_is_left_out_by_name_starts_a_run_only_where_a_cidxignore_may_ask_for_it(
    bench: Bench, root: Path, text: str, dirty: set[str]
) -> None:
    (root / ".cidxignore").write_text(text)
    bench.begin()
    (root / "node_modules" / "mine").mkdir(parents=True)
    (root / "node_modules" / "mine" / "a.js").touch()
    assert bench.dirty() == dirty


@pytest.mark.promise("FRESH-1")
def test_what_is_left_out_by_name_starts_a_run_where_the_configuration_asks_for_files(
    root: Path,
) -> None:
    bench = Bench(root, real=True, asks=lambda: True).begin()
    (root / "node_modules").mkdir()
    (root / "node_modules" / "a.js").touch()
    assert bench.dirty() == {"node_modules/a.js"}
    bench.close()


# What is ignored.


@pytest.mark.promise("FRESH-1")
def test_what_gitignore_plainly_ignores_starts_no_run(bench: Bench, root: Path) -> None:
    (root / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n")
    (root / "pkg" / ".gitignore").write_text("/own\n")
    bench.begin()
    (root / "pkg" / "deep" / "x.log").touch()
    (root / "pkg" / "own").touch()
    (root / "build" / "deep").mkdir(parents=True)
    (root / "build" / "o.py").touch()
    assert bench.watch.is_fresh()
    assert bench.watch.describe()["folders"] == 3
    (root / "keep.log").touch()
    (root / "own").touch()
    assert bench.dirty() == {"keep.log", "own"}


@pytest.mark.promise("FRESH-2")
@pytest.mark.parametrize(
    "why",
    [
        *["listed", "listings unknown", "asked for", ".cidxignore", "a repository"],
        *["too many patterns", "slow patterns"],
    ],
)
def test_in_doubt_what_is_ignored_starts_a_run(
    root: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "slow patterns":
        monkeypatch.setattr("cidx_ref.daemon.relevance._PATTERNS_S", 0.0)
    (root / ".gitignore").write_text("*.log\n" * (20_000 if why == "too many patterns" else 1))
    (root / "pkg" / "x.log").touch()
    if why == ".cidxignore":
        (root / "pkg" / ".cidxignore").write_text("!*.log\n")
    if why == "a repository":
        (root / "pkg" / ".git").mkdir()
    bench = Bench(root, real=True, files=why != "listings unknown", asks=lambda: why == "asked for")
    bench.left = set() if why == "listed" else {"pkg/x.log"}
    bench.begin()
    (root / "pkg" / "x.log").write_text("x")
    assert bench.dirty() == {"pkg/x.log"}
    bench.close()


@pytest.mark.promise("FRESH-1")
def test_what_a_run_has_seen_and_not_listed_starts_none_until_something_decides_anew(
    bench: Bench, root: Path
) -> None:
    bench.left = {"pkg/left.txt"}
    bench.begin()
    left = root / "pkg" / "left.txt"
    left.write_text("1")
    assert bench.dirty() == {"pkg/left.txt"}
    bench.run()
    for _ in range(2):
        left.write_text("2")
        assert bench.watch.is_fresh()
        bench.run()
    for decides in (".gitignore", ".cidxignore", "pyvenv.cfg", "package.json"):
        (root / decides).write_text("")
        left.write_text("3")
        assert bench.dirty() == {decides, "pkg/left.txt"}
        bench.run()
        left.write_text("4")
        assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-2")
def test_a_file_that_was_gone_when_a_run_listed_is_not_taken_for_one_that_does_not_belong(
    bench: Bench, root: Path
) -> None:
    bench.begin()
    new = root / "pkg" / "new.py"
    new.touch()
    assert not bench.watch.is_fresh()
    new.unlink()
    bench.run()
    new.touch()
    assert bench.dirty() == {"pkg/new.py"}


@pytest.mark.promise("FRESH-2")
def test_of_what_does_not_belong_so_much_is_remembered_and_the_oldest_is_forgotten(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidx_ref.daemon.relevance._MAX_REMEMBERED", 2)
    monkeypatch.setattr("cidx_ref.daemon.relevance._MAX_CHAINS", 1)
    bench.left = {"1", "pkg/2", "pkg/deep/3"}
    bench.begin()
    for path in sorted(bench.left):
        (root / path).touch()
        assert bench.dirty() == {path}
        bench.run()
    for path in ("pkg/2", "pkg/deep/3"):
        (root / path).write_text("x")
        assert bench.watch.is_fresh()
    (root / "1").write_text("x")
    assert bench.dirty() == {"1"}


@pytest.mark.promise("FRESH-2")
def test_a_run_that_fails_teaches_nothing(bench: Bench, root: Path) -> None:
    bench.left = {"pkg/left.txt"}
    bench.begin()
    (root / "pkg" / "left.txt").touch()
    bench.error = ValueError()
    with pytest.raises(ValueError):
        bench.run()
    assert bench.dirty() == {"pkg/left.txt"}


# Git.


@pytest.fixture
def checkout(root: Path) -> Path:
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


@pytest.mark.promise("FRESH-1")
def test_of_the_git_directory_only_what_changes_a_listing_starts_a_run(
    bench: Bench, checkout: Path
) -> None:
    bench.begin()
    (checkout / "a.py").write_text("y")
    bench.run()
    git(checkout, "status")  # which notes the new status of a file in the index
    git(checkout, "commit", "-qam", "two")
    git(checkout, "tag", "t")
    assert bench.watch.is_fresh()
    (checkout / ".git" / "info" / "exclude").write_text("*.log\n")
    assert bench.dirty() == {".git/"}
    assert bench.watch.pending() == 1
    bench.run()
    git(checkout, "rm", "-q", "--cached", "a.py")
    assert bench.dirty() == {".git/"}
    bench.run()
    assert bench.watch.is_fresh()
    git(checkout, "checkout", "-qb", "other")
    assert bench.dirty() == {".git/"}


@pytest.mark.promise("FRESH-1")
def test_a_checkout_of_a_far_commit_is_seen_whole(bench: Bench, checkout: Path) -> None:
    git(checkout, "checkout", "-qb", "far")
    git(checkout, "rm", "-qr", "pkg")
    for number in range(200):
        path = checkout / "far" / f"d{number % 20}" / f"f{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "far")
    git(checkout, "checkout", "-q", "master")
    bench.begin()
    for branch in ("far", "master"):
        before = files_of(checkout)
        git(checkout, "checkout", "-q", branch)
        changed = before ^ files_of(checkout)
        assert len(changed) > 200
        _check_covered(bench.dirty(), changed)
        bench.run()
        assert bench.watch.is_fresh()


@pytest.mark.promise("FRESH-1")
def test_a_linked_worktree_has_its_git_directory_watched(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = tmp_path_factory.mktemp("trees") / "tree"
    git(checkout, "worktree", "add", "-q", str(tree))
    bench = Bench(tree, real=True).begin()
    git(tree, "rm", "-q", "--cached", "a.py")
    assert bench.dirty() == {".git/"}
    bench.close()


@pytest.mark.promise("FRESH-1")
def test_a_folder_that_becomes_a_repository_is_listed_anew_and_its_git_directory_watched(
    bench: Bench, root: Path
) -> None:
    bench.begin()
    git(root, "init", "-q")
    assert "" in bench.dirty()
    bench.run()
    assert bench.watch.is_fresh()
    git(root, "add", ".")
    assert bench.dirty() == {".git/"}


@pytest.mark.promise("FRESH-2")
def test_a_change_of_gits_index_between_listing_and_arming_is_dirty(
    bench: Bench, checkout: Path
) -> None:
    bench.watch.use()
    bench.between = lambda: git(checkout, "rm", "-q", "--cached", "a.py")
    bench.turn()
    assert ".git/" in bench.session.dirty


@pytest.mark.promise("TRUST-1")
def test_a_git_directory_with_traps_in_it_holds_nothing_up(
    bench: Bench, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (root / ".git").mkdir()
    os.mkfifo(root / ".git" / "index")
    (root / ".git" / "HEAD").symlink_to(outside / "HEAD")
    (root / ".git" / "info").symlink_to(outside)
    bench.begin()
    (outside / "exclude").touch()
    (outside / "HEAD").touch()
    assert bench.watch.is_fresh()
    (root / ".git").rename(root / ".was")
    (root / ".git").write_text(f"gitdir: {outside / 'nowhere'}\n")
    assert "" in bench.dirty()
    bench.run()
    assert bench.watch.describe()["mode"] == "watching"


# Any script.

_NAMES = st.sampled_from(["a", "b", "pkg", "deep"])
_PLACES = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_ACTS = st.one_of(
    st.tuples(st.sampled_from(["write", "mkdir", "remove", "chmod"]), _PLACES, st.just("")),
    st.tuples(st.just("rename"), _PLACES, _PLACES),
)


def _act(root: Path, what: str, place: str, to: str) -> None:
    path = root / place
    if what == "write":
        path.write_text("y")
    elif what == "mkdir":
        path.mkdir(parents=True)
    elif what == "remove":
        path.rmdir() if path.is_dir() else path.unlink()
    elif what == "chmod":
        path.chmod(0o700)
    else:
        path.rename(root / to)


def _state(root: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in files_of(root):
        status = (root / path).stat()
        found[path] = (status.st_ino, status.st_ctime_ns, status.st_size)
    return found


def _check_covered(dirty: set[str], changed: set[str] | frozenset[str]) -> None:
    missed = {
        path
        for path in changed
        if path not in dirty
        and not any(path.startswith(each) for each in dirty if each.endswith("/") or not each)
    }
    assert missed == set()


@pytest.mark.promise("FRESH-2")
@given(
    scripts=st.lists(st.lists(_ACTS, min_size=1, max_size=8), min_size=1, max_size=3),
    looks=st.sets(st.integers(0, 7)),
)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_any_script_every_change_is_known_before_a_run_and_none_after_it(
    tmp_path_factory: pytest.TempPathFactory,
    scripts: list[list[tuple[str, str, str]]],
    looks: set[int],
) -> None:
    root = tmp_path_factory.mktemp("script")
    _plant(root)
    bench = Bench(root, Still(), real=True).begin()
    for script in scripts:
        before = _state(root)
        for number, act in enumerate(script):
            try:
                _act(root, *act)
            except OSError:
                continue
            if number in looks:
                bench.watch.is_fresh()
        after = _state(root)
        changed = {path for path in before | after if before.get(path) != after.get(path)}
        is_fresh = bench.watch.is_fresh()
        assert not (is_fresh and changed)
        _check_covered(bench.session.dirty, changed)
        bench.run()
        assert bench.watch.is_fresh()
        assert bench.watch.describe()["folders"] == len(folders_of(root))
    bench.close()


# With its threads.


class Live:
    """A bench with its threads, and the files that its last run has found."""

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root, SYSTEM, real=True)
        self._changed = SYSTEM.condition("live")
        self._files: frozenset[str] = frozenset()
        self.bench.after = self._note

    def __enter__(self) -> Live:
        self.bench.watch.use()
        self.wait_for("a.py")
        return self

    def __exit__(self, *error: object) -> None:
        self.bench.watch.close()

    def _note(self) -> None:
        with self._changed:
            self._files = files_of(self.bench.root)
            self._changed.notify_all()

    def wait_for(self, *files: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._files.issuperset(files), PATIENCE_S)


@pytest.mark.promise("FRESH-1")
def test_a_change_is_run_for_without_being_asked_for(root: Path) -> None:
    with Live(root) as live:
        for number in range(3):
            (root / "pkg" / f"new{number}.py").touch()
            live.wait_for(f"pkg/new{number}.py")


@pytest.mark.parametrize("end", ["rest", "close"])
def test_when_it_rests_no_descriptor_of_it_is_left(root: Path, end: str) -> None:
    before = _inotifies()
    bench = Bench(root, SYSTEM, real=True)
    first = SYSTEM.event("first run")
    bench.after = first.set
    bench.watch.use()
    assert first.wait(PATIENCE_S)
    assert _inotifies() > before
    getattr(bench.watch, end)()
    assert _inotifies() == before
    bench.watch.close()


def _inotifies() -> int:
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        count += "inotify" in target or "eventfd" in target
    return count


def test_a_daemon_that_is_not_in_use_has_loaded_nothing_for_watching(tmp_path: Path) -> None:
    program = (
        "import sys; from cidx_ref.daemon.watch import Watch; from pathlib import Path;"
        f"watch = Watch(Path({str(tmp_path)!r}), lambda: None); watch.describe(); watch.pending();"
        "watch.is_fresh(); watch.scanning(); watch.done(True); watch.rest();"
        "print(*{'ctypes', 'cidx_ref.index.git', 'cidx_ref.index.matching', 'subprocess'}"
        " & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert said.stdout == b"\n"
