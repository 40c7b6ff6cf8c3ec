"""The watch as it is turned by hand: when it has an index run made, and what it then knows.

Its events are the kernel's where folders and git's directories are what counts, and else made up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from cidx_ref.daemon import inotify
from cidx_ref.errors import BusyError
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.own.fixtures import git, write
from cidx_ref.testing.own.inside.examples import examples
from cidx_ref.testing.own.watches import MAX_BYTES, Bench, Listed, Still

__all__ = ["CHECKS"]

_FOLDER = inotify.IS_FOLDER
_MARK = ".git/"
_QUIET_S, _STEP_S = 0.2, 0.1


def _plant(root: Path) -> None:
    for path in ("a.py", "pkg/b.py", "pkg/deep/c.py"):
        write(root, path, "x = 1\n")


@contextmanager
def _watching(root: Path, *, real: bool = False, begun: bool = True) -> Iterator[Bench]:
    """A watcher of three files, in a checkout if there is one."""
    if not real:
        _plant(root)
    bench = Bench(root, real=real)
    try:
        yield bench.begin() if begun else bench
    finally:
        bench.close()


# When a run begins.


def _settles(root: Path) -> None:
    """A run begins when changes have settled for a fifth of a second."""
    with _watching(root) as bench:
        bench.events.emit("pkg/", "b.py")
        bench.turn()
        assert bench.runs == 1, "a run has begun before the change has settled"
        bench.runtime.advance(_QUIET_S)
        bench.turn()
        assert bench.runs == 2, "a fifth of a second after a change no run has begun"


def _written_without_end(root: Path) -> None:
    """A file that is written without end is run for each second."""
    with _watching(root) as bench:
        for _ in range(31):
            bench.events.emit("", "a.py")
            bench.turn()
            bench.runtime.advance(_STEP_S)
        assert bench.runs == 3, f"in three seconds of writing {bench.runs - 1} runs, not 2"


def _pauses(root: Path) -> None:
    """What is written all the time costs a fifth of the machine."""
    with _watching(root) as bench:
        ended: list[float] = []

        def run() -> None:
            bench.runtime.advance(0.5)
            bench.events.emit("", "a.py")
            bench.watch.is_fresh()
            ended.append(bench.runtime.monotonic())

        bench.after = run
        for _ in range(400):
            bench.events.emit("", "a.py")
            bench.turn()
            bench.runtime.advance(0.05)
        least = min(later - sooner for sooner, later in pairwise(ended[3:]))
        assert least >= 5 * 0.5, f"runs of half a second follow each other in {least:g} s"


def _tried_again(root: Path) -> None:
    """A run that fails is tried again, a second later and then later."""
    with _watching(root) as bench:
        bench.error = BusyError("somebody else writes")
        bench.events.emit("", "a.py")
        bench.turn()
        bench.runtime.advance(_QUIET_S)
        for _ in range(4):
            wait_s = bench.turn()
            assert wait_s is not None, "a run has failed, and nobody tries again"
            assert wait_s <= 60, f"a run has failed, and is tried again in {wait_s:g} s"
            bench.runtime.advance(wait_s)
        bench.error = None
        bench.turn()
        assert bench.watch.is_fresh(), "the run that succeeded made nothing fresh"


def _new_folder(root: Path) -> None:
    """A folder that comes is watched at once, and what is in it has changed."""
    with _watching(root) as bench:
        write(root, "new/deep/d.py", "")
        bench.events.emit("", "new", inotify.CREATE | _FOLDER)
        dirty = bench.dirty()
        assert dirty == {"new/deep/d.py"}, f"with a new folder there has changed: {dirty}"
        assert "new/deep/" in bench.events.armed, "the new folder is not watched"


# What is known, by events that are made up.


def _in_the_queue(root: Path) -> None:
    """What the kernel has to tell when a run begins to scan is in that run."""
    with _watching(root) as bench:
        bench.before = lambda: bench.events.emit("pkg/", "b.py")
        bench.run()
        assert bench.watch.is_fresh(), "what was saved before a run is not in it, it says"


def _overflow(root: Path) -> None:
    """After an overflow nothing is known until a run has looked at everything."""
    with _watching(root) as bench:
        bench.events.overflow()
        assert not bench.watch.is_fresh(), "events were lost, and all is fresh, it says"
        assert bench.watch.pending() is None, "events were lost, and it knows how many"


def _between(root: Path) -> None:
    """What comes between the listing and the arming of its folder is known."""
    _plant(root)
    bench = Bench(root, Still(ahead_s=0))
    try:
        bench.watch.use()
        bench.between = (root / "pkg" / "new.py").touch
        bench.turn()
        assert not bench.watch.is_fresh(), "a file came before its folder was armed: fresh"
    finally:
        bench.close()


# What git's directories and files of patterns decide.


def _checkout(root: Path) -> None:
    """With a file that is ignored, and tracked by nobody yet."""
    _plant(root)
    for path in ("g1.py", "g2.py"):
        write(root, path, "x = 1\n")
    write(root, ".gitignore", "g*.py\n")
    git(root, "init", "-q")
    git(root, "add", ".")


def _is_known(bench: Bench, what: str) -> None:
    assert not bench.watch.is_fresh(), f"{what}, and all is fresh, it says"
    bench.run()
    assert bench.watch.is_fresh(), f"{what}: after a run it is not fresh"


def _patterns_edited(root: Path) -> None:
    """A file of patterns that is edited between listing and arming is known."""
    _checkout(root)
    bench = Bench(root, Still(ahead_s=0), real=True)
    try:
        for folder in ("", "pkg/"):  # which the edit leaves as they are
            os.utime(root / folder, (1, 1))
        bench.lists = lambda: ["", "pkg/"]
        bench.watch.use()
        bench.between = lambda: (root / ".gitignore").write_text("x.py\n")
        bench.turn()
        dirty = bench.session.dirty
        assert ".gitignore" in dirty, f"a .gitignore was edited, and it knows of {dirty}"
    finally:
        bench.close()


def _index_and_info(root: Path) -> None:
    """An add with a removal is known, and an `info/exclude` that comes later."""
    _checkout(root)
    git(root, "add", "-f", "g1.py")
    shutil.rmtree(root / ".git" / "info", ignore_errors=True)
    with _watching(root, real=True) as bench:
        git(root, "rm", "-q", "--cached", "g1.py")
        git(root, "add", "-f", "g2.py")
        _is_known(bench, "git lists another file")
        for text in ("x.py\n", "z.py\n"):
            write(root, ".git/info/exclude", text)
            _is_known(bench, "info/exclude was written")


def _above(root: Path) -> None:
    """What decides in the checkout that the project is a folder of is known."""
    _plant(root / "p")
    write(root, ".gitignore", "x.py\n")
    git(root, "init", "-q")
    with _watching(root / "p", real=True) as bench:
        write(root, ".gitignore", "a.py\n")
        _is_known(bench, "the .gitignore above was written")


def _inside(root: Path) -> None:
    """What a repository inside lists is known."""
    _checkout(root)
    write(root, "sub/g.py", "x = 1\n")
    git(root / "sub", "init", "-q")
    with _watching(root, real=True) as bench:
        git(root / "sub", "add", "-f", "g.py")
        _is_known(bench, "a repository inside lists another file")


def _replaced_unseen(root: Path) -> None:
    """A folder that was replaced while events were lost is watched anew."""
    _checkout(root)
    with _watching(root, real=True) as bench:
        (root / "pkg").rename(root / "was")
        write(root, "pkg/b.py", "x = 1\n")
        lost = [inotify.Event(-1, inotify.OVERFLOW)]
        with patch("cidx_ref.daemon.inotify.parse", lambda data: lost):
            assert not bench.watch.is_fresh(), "events were lost, and all is fresh, it says"
        bench.run()
        write(root, "pkg/b.py", "x = 2\n")
        _is_known(bench, "a file of a folder that was replaced was written")


# What the listing of the index decides.


def _follow(root: Path, *acts: Callable[[], object]) -> None:
    """Each of them changes what is listed, is known, and found by a run."""
    bench = Listed(root)
    try:
        bench.begin()
        for act in acts:
            act()
            assert not bench.watch.is_fresh(), f"after act {acts.index(act)} all is fresh, it says"
            before = bench.found
            bench.run()
            assert bench.found != before, "the act has changed nothing"
            assert bench.watch.is_fresh(), "after a run it is not fresh"
    finally:
        bench.close()


def _sparse(root: Path, ignored: str, *, tracked: str = "") -> None:
    write(root, "a.py", "a = 1\n")
    write(root, ".gitignore", ignored)
    git(root, "init", "-q")
    git(root, "add", ".")
    if tracked:
        write(root, tracked, "x = 1\n")
        git(root, "add", "-f", tracked)


def _merely_ignored(root: Path) -> None:
    """A folder in which merely all files are ignored gets another one."""
    write(root, "data/sub/a.log", "x\n")
    _sparse(root, "*.log\n")
    _follow(root, lambda: write(root, "data/sub/new.py", "x = 1\n"))


def _tracked_comes_back(root: Path) -> None:
    """A folder with a tracked file, that a pattern ignores, goes and comes back."""
    _sparse(root, "gen/\n", tracked="gen/x.py")
    _follow(
        root,
        lambda: shutil.rmtree(root / "gen"),
        lambda: git(root, "checkout", "--", "gen"),
    )


def _no_repository_any_more(root: Path) -> None:
    """A repository of its own becomes a plain folder."""
    _sparse(root, "")
    write(root, "sub/x.py", "x = 1\n")
    git(root / "sub", "init", "-q")
    _follow(root, lambda: shutil.rmtree(root / "sub" / ".git"))


def _marker_goes(root: Path) -> None:
    """What had a folder left out goes, comes, and goes again."""
    _sparse(root, "")
    write(root, "lib/x.py", "x = 1\n")
    marker = root / "lib" / "pyvenv.cfg"
    marker.touch()
    _follow(root, marker.unlink, marker.touch, marker.unlink)


def _patterns_go(root: Path) -> None:
    """Patterns go with the folder that they lie in."""
    _sparse(root, "")
    write(root, "a/.gitignore", "x*.py\n")
    write(root, "a/k.py", "k = 1\n")
    bench = Listed(root)
    try:
        bench.begin()
        write(root, "a/x1.py", "x = 1\n")
        assert bench.watch.is_fresh(), "a file that a pattern ignores makes it not fresh"
        (root / "a").rename(root.parent / f"{root.name}-gone")
        (root / "a").mkdir()
        bench.check()
        write(root, "a/x2.py", "x = 2\n")
        assert not bench.watch.is_fresh(), "its patterns have gone, and still decide"
    finally:
        bench.close()


def _text_for_a_moment(root: Path) -> None:
    """A file that is too large before a run and after it, and was read by the run, is known."""
    _sparse(root, "")
    large = "x line\n" * (MAX_BYTES // 7 + 1)
    write(root, "skipped.dat", large)
    bench = Listed(root)
    try:
        bench.begin()
        path = root / "skipped.dat"
        bench.between = lambda: path.write_text("x = 1\n")
        # What the kernel tells is read while the run takes place.
        bench.after = lambda: [path.write_text(large), bench.watch.is_fresh()]
        bench.run()
        assert not bench.watch.is_fresh(), "what the run has read is not there any more: fresh"
    finally:
        with suppress(OSError):
            bench.close()


CHECKS: tuple[Check, ...] = (
    examples(
        "own-watch-runs",
        "FRESH-1",
        *(_settles, _written_without_end, _pauses, _tried_again, _new_folder),
    ),
    examples(
        "own-watch-knows",
        "FRESH-2",
        *(_in_the_queue, _overflow, _between, _patterns_edited, _index_and_info, _above, _inside),
        *(_replaced_unseen, _merely_ignored, _tracked_comes_back, _no_repository_any_more),
        *(_marker_goes, _patterns_go, _text_for_a_moment),
    ),
)
