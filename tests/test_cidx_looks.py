"""A look at the full cidx's index: it counts for as long as nothing that it saw is another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cidx_ref.errors import UntrustedError
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.looks import Looks
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.testing.own.cidx_format import DIRECTORY, MODEL, write_index

pytestmark = [pytest.mark.once, pytest.mark.promise("CACHE-8")]

FILES = {"a.py": "def one():\n    return 1\n", "b.py": "def two():\n    return 2\n"}


class Later(Runtime):
    """The real thing, at a time of the wall clock's that is some seconds off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        return SYSTEM.now() + timedelta(seconds=self._seconds)


class At(Runtime):
    """The real thing, at this time by the wall clock."""

    def __init__(self, timestamp: float) -> None:
        self._timestamp = timestamp

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._timestamp)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with such an index."""
    project = tmp_path / "project"
    project.mkdir()
    write_index(project, FILES)
    return project


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Of each time that the folders were opened, the project."""
    every: list[Path] = []
    real = tree.look

    def counted(root: Path, *arguments: object) -> tree.Tree | None:
        every.append(root)
        return real(root, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tree, "look", counted)
    return every


def next_tick(root: Path) -> None:
    """Return once the file system has another time for what is changed than for what was."""
    newest_ns = max(path.lstat().st_ctime_ns for path in (root, *root.rglob("*")))
    probe = root.parent / "probe"
    probe.touch()
    deadline = SYSTEM.monotonic() + 10
    while probe.stat().st_ctime_ns <= newest_ns:
        assert SYSTEM.monotonic() < deadline, "its clock stands still"
        os.utime(probe)


def collection(root: Path) -> Path:
    """The one with vectors."""
    (graph,) = (root / DIRECTORY / tree.INDEX).rglob(tree.GRAPH)
    return graph.parent


def in_place(path: Path) -> None:
    """Other bytes, as many, and the old time of modification."""
    found = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def replace(path: Path) -> None:
    new = path.with_name("new")
    shutil.copy2(path, new)
    new.replace(path)


def another_collection(root: Path, name: str) -> None:
    own = collection(root)
    with (own / tree.GRAPH).open("rb") as file:
        data = file.read()
    other = own.with_name(name)
    other.mkdir()
    shutil.copy2(own / tree.META, other)
    (other / tree.GRAPH).write_bytes(data + b"more")


def behind_a_link(path: Path) -> None:
    """The same files, and a link where they were."""
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


CHANGES: dict[str, Callable[[Path], object]] = {
    "the graph is replaced": lambda root: replace(collection(root) / tree.GRAPH),
    "the graph is written in place": lambda root: in_place(collection(root) / tree.GRAPH),
    "the ids are written in place": lambda root: in_place(collection(root) / tree.IDS),
    "the ids are gone": lambda root: (collection(root) / tree.IDS).unlink(),
    "the description is replaced": lambda root: replace(collection(root) / tree.META),
    "the words are replaced": lambda root: replace(
        root / DIRECTORY / tree.FULLTEXT / tree.TEXT_META
    ),
    "the words are gone": lambda root: shutil.rmtree(root / DIRECTORY / tree.FULLTEXT),
    "a larger collection": lambda root: another_collection(root, "larger"),
    "the model's collection": lambda root: another_collection(root, "a-model"),
    "the collection is gone": lambda root: shutil.rmtree(collection(root)),
    "the collection is a link": lambda root: behind_a_link(collection(root)),
    "all is a link": lambda root: behind_a_link(root / DIRECTORY),
    "vectors are a link": lambda root: behind_a_link(root / DIRECTORY / tree.INDEX),
    "words are a link": lambda root: behind_a_link(root / DIRECTORY / tree.FULLTEXT),
    "all is gone": lambda root: shutil.rmtree(root / DIRECTORY),
    "the project is another one": lambda root: (
        root.rename(root.with_name("old")),
        shutil.copytree(root.with_name("old"), root),
    ),
}


#: Only root can do these.
GIFTS: dict[str, Callable[[Path], object]] = {
    "all": lambda root: os.chown(root / DIRECTORY, 65534, -1),
    "vectors": lambda root: os.chown(root / DIRECTORY / tree.INDEX, 65534, -1),
    "words": lambda root: os.chown(root / DIRECTORY / tree.FULLTEXT, 65534, -1),
    "the collection": lambda root: os.chown(collection(root), 65534, -1),
}
if os.geteuid() == 0:
    CHANGES |= {f"another user has {what}": gift for what, gift in GIFTS.items()}


def outcome(look: Callable[[], tree.Tree | None]) -> object:
    try:
        found = look()
    except (UntrustedError, OSError) as error:
        return repr(error)
    return found and (found, found.others, found.generation)


@pytest.mark.parametrize("what", CHANGES)
def test_a_look_is_as_good_as_a_new_one_whatever_has_changed(root: Path, what: str) -> None:
    again = Looks(root, "a-model", Later(3600))
    before = outcome(again.look)
    assert before == outcome(again.look) == outcome(lambda: tree.look(root, "a-model"))
    next_tick(root)
    CHANGES[what](root)
    now = outcome(again.look)
    assert now == outcome(lambda: tree.look(root, "a-model"))
    assert now != before


def test_while_nothing_changes_no_folder_is_opened(root: Path, looked: list[Path]) -> None:
    again = Looks(root, MODEL, Later(3600))
    first = again.look()
    assert first is not None
    assert first.has_text
    for _ in range(3):
        assert again.look() is first
    assert len(looked) == 1


@pytest.mark.parametrize(("seconds", "looks"), [(-3600.0, 2), (2.5, 2), (3.5, 1)])
def test_what_was_written_just_now_is_looked_at_anew(
    root: Path, looked: list[Path], seconds: float, looks: int
) -> None:
    """It may be written again within one tick of the file system's clock: two seconds, of some."""
    newest = max(path.lstat().st_ctime for path in (root / DIRECTORY).rglob("*"))
    again = Looks(root, MODEL, At(newest + seconds))
    assert again.look() == again.look()
    assert len(looked) == looks


def test_what_is_watched_beside_it_is_looked_at_each_time(root: Path, looked: list[Path]) -> None:
    again = Looks(root, MODEL, Later(3600))
    beside = f"{tree.FULLTEXT}/{tree.TEXT_META}"
    for _ in range(2):
        found = again.look([beside])
        assert found is not None
        assert list(found.watched) == [beside]
    assert len(looked) == 2
