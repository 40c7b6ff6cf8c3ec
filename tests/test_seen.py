"""What an earlier scan saw is believed only where a file cannot have changed since, and only where
this account has written it down."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cidx_ref.files import Directory
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.recipe import recipe
from cidx_ref.index.scan import SourceTree
from cidx_ref.index.seen import Seen, SeenFiles
from cidx_ref.keys import Key, account_key
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject

pytestmark = pytest.mark.once

KEY = Key(b"k" * 32)
DIGEST = "0123456789abcdef" * 2
SECOND = 1_000_000_000
TICK = 4_000_000  # of the clock that files get their times from


@pytest.fixture
def empty(make_project: MakeProject) -> Project:
    """A project that has never been scanned, with one old file."""
    project = make_project({"a.py": "a = 1\n"})
    project.create_directory()
    make_old(project.root / "a.py")
    return project


def make_old(path: Path) -> None:
    """Have the file be older than any scan from now on.  Its ctime cannot be set, but the clock of
    its file system can be looked at until it has moved."""
    probe = path.parent / ".code-indexer-clock"
    probe.write_bytes(b"")
    while probe.stat().st_mtime_ns <= path.stat().st_ctime_ns + 10 * TICK:
        os.utime(probe)
    probe.unlink()


def load(project: Project, *, key: Key = KEY, recipe: str = "rules") -> SeenFiles:
    return SeenFiles.load(project, key, recipe=recipe)


def note(project: Project, path: str, seen: Seen) -> None:
    """A scan that sees one file."""
    files = load(project)
    files.put(path, (project.root / path).stat(), seen)
    files.save(project, KEY)


def known(project: Project, path: str, **how: Any) -> Seen | None:
    return load(project, **how).get(path, (project.root / path).stat())


# What is kept.


@pytest.mark.parametrize(
    "seen",
    [
        Seen(DIGEST),
        Seen(DIGEST, despite="generated", guessed=True),
        Seen("", reason="binary"),
        Seen("", reason="too large"),
    ],
    ids=str,
)
def test_what_was_seen_is_known_to_the_next_scan(empty: Project, seen: Seen) -> None:
    assert known(empty, "a.py") is None
    note(empty, "a.py", seen)
    assert known(empty, "a.py") == seen


def test_what_a_scan_neither_saw_nor_asked_for_is_forgotten_when_it_is_saved(
    empty: Project,
) -> None:
    status = (empty.root / "a.py").stat()
    first = load(empty)
    for name in ("kept", "gone"):
        first.put(name, status, Seen(DIGEST))
    first.save(empty, KEY)
    second = load(empty)
    assert second.get("kept", status) == Seen(DIGEST)
    second.put("new", status, Seen("", reason="binary"))
    second.save(empty, KEY)
    third = load(empty)
    assert third.get("kept", status) == Seen(DIGEST)
    assert third.get("new", status) == Seen("", reason="binary")
    assert third.get("gone", status) is None


def test_names_that_are_no_text_and_times_before_1970_are_no_obstacle(empty: Project) -> None:
    odd = empty.root / "\udcff\n\u2028.py"
    odd.write_bytes(b"x")
    make_old(odd)
    note(empty, odd.name, Seen(DIGEST))
    assert known(empty, odd.name) == Seen(DIGEST)
    for seconds in (-1_000_000_000, 2**33):
        os.utime(odd, ns=(0, seconds * SECOND))
        make_old(odd)
        note(empty, odd.name, Seen(DIGEST))
        assert known(empty, odd.name) is None, "and is read again"


def test_nothing_is_written_where_nothing_new_was_seen(empty: Project) -> None:
    note(empty, "a.py", Seen(DIGEST))
    before = (empty.directory / "seen.bin").stat().st_ino
    again = load(empty)
    again.get("a.py", (empty.root / "a.py").stat())
    again.save(empty, KEY)
    assert (empty.directory / "seen.bin").stat().st_ino == before


# Whose word it is.


@pytest.mark.promise("TRUST-2")
def test_what_another_account_wrote_down_is_not_believed(empty: Project) -> None:
    note(empty, "a.py", Seen(DIGEST))
    assert known(empty, "a.py", key=Key(b"x" * 32)) is None
    assert known(empty, "a.py") == Seen(DIGEST)


@pytest.mark.promise("TRUST-2")
def test_no_bit_of_it_can_be_changed(empty: Project) -> None:
    note(empty, "a.py", Seen(DIGEST, despite="generated"))
    path = empty.directory / "seen.bin"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        # What is JSON either way (a space that is no space) may be read as before.
        assert known(empty, "a.py") in (None, Seen(DIGEST, despite="generated"))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert known(empty, "a.py") is None


@pytest.mark.promise("TRUST-2")
def test_what_the_account_signed_for_something_else_is_no_word_about_files(empty: Project) -> None:
    path = empty.directory / "seen.bin"
    documents: list[dict[str, Any]] = [
        {"format": 1},
        {"counts": {}, "files": []},
        {"format": 1, "recipe": "other"},
    ]
    for document in documents:
        text = json.dumps({**document, "digest": KEY.digest(document)})
        path.write_text(text + "\n")
        assert known(empty, "a.py") is None


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"[]\n", b"{}\n", b'{"digest": 1}\n', b"[" * 60_000 + b"\n", b"\0" * (1 << 20)],
    ids=["empty", "a line", "a list", "nothing", "a number", "deep", "zeros"],
)
def test_a_file_that_came_with_a_clone_says_nothing(empty: Project, data: bytes) -> None:
    (empty.directory / "seen.bin").write_bytes(data)
    assert known(empty, "a.py") is None
    note(empty, "a.py", Seen(DIGEST))
    assert known(empty, "a.py") == Seen(DIGEST)


def test_other_rules_have_seen_nothing(empty: Project) -> None:
    note(empty, "a.py", Seen(DIGEST))
    assert known(empty, "a.py", recipe="others") is None


# The racy case: a clock that moves in ticks, and may be set back.


@dataclass
class Disk:
    """A file, by a clock that only a test moves; and what scans of it saw."""

    now: int = 1_000 * SECOND
    content: str = "first"
    mtime: int = 0
    ctime: int = 0
    inode: int = 1
    device: int = 7
    index_device: int = 7
    resets: int = 0
    rows: dict[str, bytes] = field(default_factory=dict)

    @property
    def ticked(self) -> int:
        """What the clock of the index says."""
        return self.now - self.now % TICK + self.resets

    @property
    def stamp(self) -> int:
        """What the clock of the file says: on another device it goes by whole seconds, and is a bit
        late."""
        if self.device == self.index_device:
            return self.ticked
        late = self.now - 9 * SECOND // 10
        return late - late % SECOND + self.resets

    def status(self) -> os.stat_result:
        found = SimpleNamespace(
            st_size=5, st_ino=self.inode, st_dev=self.device,
            st_mtime_ns=self.mtime, st_ctime_ns=self.ctime,
        )  # fmt: skip
        return cast(os.stat_result, found)

    def write(self, content: str) -> None:
        self.content = content
        self.mtime = self.ctime = self.stamp

    def write_and_put_the_mtime_back(self, content: str) -> None:
        before = self.mtime
        self.write(content)
        self.mtime = before

    def set_back(self, by: int) -> None:
        # Never to an instant that was before: real clocks count nanoseconds.
        self.resets += 1
        self.now -= by

    def scan(self, between: str = "") -> str:
        """What a scan takes the content for; `between`: written while it reads."""
        files = SeenFiles("rules", self.ticked, self.index_device)
        files._rows = dict(self.rows)
        status = self.status()
        seen = files.get("a", status)
        content = self.content
        if between:
            self.write(between)
        if seen is None:
            seen = Seen(blake2b(content.encode(), digest_size=16).hexdigest())
            files.put("a", status, seen)
        self.rows = files._kept
        return seen.digest


CONTENTS = st.sampled_from(["first", "other", "third"])  # of one size
STEPS = st.one_of(
    st.tuples(st.just("write"), CONTENTS),
    st.tuples(st.just("put back"), CONTENTS),
    st.tuples(st.just("pass"), st.sampled_from([1, TICK, 10 * TICK, 3 * SECOND])),
    st.tuples(st.just("set back"), st.sampled_from([TICK, SECOND, 100 * SECOND])),
    st.tuples(st.just("scan"), st.sampled_from(["", "first", "other"])),
)


@pytest.mark.promise("QRY-1")
@given(st.lists(STEPS, max_size=30), st.sampled_from([7, 8]))
@example([("write", "other"), ("scan", ""), ("write", "third"), ("scan", "")], 7)
@example([("put back", "other"), ("scan", ""), ("put back", "third"), ("scan", "")], 7)
@example([("put back", "other"), ("pass", 10 * TICK), ("scan", "first"), ("scan", "")], 7)
@example([("write", "other"), ("pass", 25 * TICK), ("scan", "third"), ("scan", "")], 8)
@example([("set back", SECOND), ("scan", ""), ("write", "other"), ("scan", "")], 7)
def test_whatever_is_written_whenever_the_next_scan_knows_it(
    steps: list[tuple[str, Any]], device: int
) -> None:
    disk = Disk(index_device=device)
    for what, value in steps:
        if what == "write":
            disk.write(value)
        elif what == "put back":
            disk.write_and_put_the_mtime_back(value)
        elif what == "pass":
            disk.now += value
        elif what == "set back":
            disk.set_back(value)
        else:
            before = disk.content
            told = disk.scan(value)
            assert told == blake2b(before.encode(), digest_size=16).hexdigest()
    disk.now += 10 * SECOND
    disk.scan()
    assert disk.rows or disk.resets, "what is old is known in the end"


def by_a_clock_of(tick: int, found: os.stat_result) -> os.stat_result:
    """`found`, with times as the clock of an older kernel gives them (since 6.13 some file systems
    have a finer one, once somebody has looked)."""
    times = {f"st_{each}_ns": getattr(found, f"st_{each}_ns") for each in ("mtime", "ctime")}
    same = {name: getattr(found, name) for name in ("st_size", "st_ino", "st_dev")}
    rough = {name: time - time % tick for name, time in times.items()}
    return cast(os.stat_result, SimpleNamespace(**same, **rough))


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("tick", [1, TICK])
def test_a_file_written_again_at_once_with_its_old_size_is_never_missed(
    empty: Project, tick: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Directory.touch
    monkeypatch.setattr(Directory, "touch", lambda *each: by_a_clock_of(tick, touch(*each)))
    path = empty.root / "a.py"
    with SourceTree(empty.root) as tree:
        for number in range(2_000):
            text = f"{number:08}"
            path.write_text(text)
            files = load(empty)
            status = tree.stat("a.py")
            assert not isinstance(status, str)
            assert files.get("a.py", by_a_clock_of(tick, status)) is None, f"missed: {text}"
            found, source = tree.read_with_status("a.py", 100)
            assert found is not None
            assert not isinstance(source, str)
            assert source.text == text
            files.put("a.py", by_a_clock_of(tick, found), Seen(source.digest))
            files.save(empty, KEY)


@pytest.mark.promise("QRY-1")
def test_an_edit_that_puts_the_mtime_back_is_seen(empty: Project) -> None:
    path = empty.root / "a.py"
    note(empty, "a.py", Seen(DIGEST))
    before = path.stat()
    path.write_text("b = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    make_old(path)
    assert known(empty, "a.py") is None


# In a run.


def test_a_run_that_finds_nothing_changed_reads_no_file(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project({"a.py": "a = 1\n", "b.bin": "\0", "c.py": "c = 1\n"})
    for name in ("a.py", "b.bin", "c.py"):
        make_old(project.root / name)
    first = bring_up_to_date(project, HashingEmbedder())
    read: list[str] = []
    inner = SourceTree.read_with_status

    def noted(self: SourceTree, path: str, max_bytes: int) -> Any:
        read.append(path)
        return inner(self, path, max_bytes)

    monkeypatch.setattr(SourceTree, "read_with_status", noted)
    again = bring_up_to_date(project, HashingEmbedder())
    assert (again["changed"], again["skipped"]) == (False, {"binary": 1})
    assert again["generation"] == first["generation"]
    assert read == []
    (project.root / "c.py").write_text("c = 2\n")
    assert bring_up_to_date(project, HashingEmbedder())["changed"]


@pytest.mark.promise("WRITE-3")
def test_an_index_that_is_live_is_told_though_what_was_seen_cannot_be_kept(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "seen.bin")

    monkeypatch.setattr(SeenFiles, "save", full)
    report = bring_up_to_date(make_project(), HashingEmbedder())
    assert report["changed"]
    assert report["notes"] == [
        "what was read was not kept, and will be read again: seen.bin: No space left on device"
    ]


@pytest.mark.promise("TRUST-1")
def test_a_directory_where_what_was_seen_is_written_first_is_removed(empty: Project) -> None:
    (empty.index_directory / ".seen.bin.new" / "deeper").mkdir(parents=True)
    report = bring_up_to_date(empty, HashingEmbedder())
    assert report["notes"] == []
    assert known(empty, "a.py", key=account_key(), recipe=recipe(1_048_576)) is not None
