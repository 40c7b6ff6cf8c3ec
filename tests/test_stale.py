"""Whether a hit's file is still as it was indexed (FRESH-3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from cidx_ref.index import stale
from cidx_ref.index.ours import OurIndex
from cidx_ref.index.port import Search
from cidx_ref.index.stale import Staleness
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, build

pytestmark = pytest.mark.once

Change = Callable[[Path], object]


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def marked(staleness: Staleness, digests: dict[str, str]) -> list[str]:
    """The paths that are said to be stale, of one hit each."""
    hits: list[dict[str, Any]] = [{"path": path} for path in digests]
    staleness.mark(hits, list(digests.values()))
    assert all(hit["stale"] is True for hit in hits if "stale" in hit)
    return [hit["path"] for hit in hits if "stale" in hit]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`a/b.py` and `c.py`, which have been there for a while."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "b.py").write_bytes(b"as it was\n")
    (root / "c.py").write_bytes(b"another\n")
    return root


INDEXED = {"a/b.py": digest(b"as it was\n"), "c.py": digest(b"another\n")}


def later(runtime: Any = None) -> Any:
    """A runtime by whose clock what was just written was written a while ago."""
    from datetime import datetime, timedelta

    from cidx_ref.runtime import Runtime

    class Later(Runtime):
        def now(self) -> datetime:
            return super().now() + timedelta(seconds=10)

    return Later()


def reads(staleness: Staleness, digests: dict[str, str]) -> int:
    """How many files are read for an answer."""
    with patch.object(stale, "_digest", wraps=stale._digest) as read:
        marked(staleness, digests)
    return read.call_count


def test_what_is_as_it_was_is_not_stale_and_is_read_once(root: Path) -> None:
    staleness = Staleness(root, later())
    assert marked(staleness, INDEXED) == []
    assert reads(staleness, INDEXED) == 0
    os.utime(root / "c.py")
    assert reads(staleness, INDEXED) == 1
    assert marked(staleness, INDEXED) == []


def test_a_file_that_has_just_changed_is_compared_again(root: Path) -> None:
    """It may change once more within one tick of the file system's clock."""
    staleness = Staleness(root)
    for path in INDEXED:
        (root / path).write_bytes((root / path).read_bytes())
    assert [reads(staleness, INDEXED) for _ in range(2)] == [2, 2]


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"something else\n")


def put_back_with_its_old_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"As it was\n")  # of the same size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def folder_moved_away(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def folder_replaced_by_a_link(path: Path) -> None:
    outside = path.parents[2] / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside)


def linked(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def made_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.promise("FRESH-3", "TRUST-1")
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"changed\n"),
        lambda path: path.write_bytes(b"As it was\n"),
        lambda path: path.unlink(),
        replaced,
        put_back_with_its_old_time,
        folder_moved_away,
        folder_replaced_by_a_link,
        linked,
        made_a_fifo,
    ],
    ids=["text", "same size", "gone", "replaced", "old time", "folder moved", "folder link", "link",
         "fifo"],
)  # fmt: skip
def test_what_has_changed_since_is_stale(root: Path, change: Change, is_known: bool) -> None:
    staleness = Staleness(root, later())
    if is_known:
        assert marked(staleness, INDEXED) == []
    change(root / "a" / "b.py")
    assert marked(staleness, INDEXED) == ["a/b.py"]
    assert marked(staleness, INDEXED) == ["a/b.py"]


def test_what_was_changed_back_is_not_stale_any_more(root: Path) -> None:
    staleness = Staleness(root, later())
    (root / "c.py").write_bytes(b"changed\n")
    assert marked(staleness, INDEXED) == ["c.py"]
    (root / "c.py").write_bytes(b"another\n")
    assert marked(staleness, INDEXED) == []


def test_each_generation_is_compared_with_its_own_digest(root: Path) -> None:
    staleness = Staleness(root, later())
    for _ in range(2):
        assert marked(staleness, INDEXED) == []
        assert marked(staleness, {"c.py": digest(b"older\n")}) == ["c.py"]


def test_of_a_project_that_cannot_be_read_nothing_is_said(root: Path) -> None:
    staleness = Staleness(root / "not there")
    assert marked(staleness, INDEXED) == []


def test_more_than_so_many_bytes_are_not_read_for_one_answer(root: Path) -> None:
    staleness = Staleness(root, later(), max_bytes=12)
    for path in INDEXED:
        (root / path).write_bytes(b"10 bytes\n.")
    assert marked(staleness, INDEXED) == ["a/b.py"]
    assert marked(staleness, INDEXED) == ["a/b.py", "c.py"], "the next answer has room for it"


def test_no_more_verdicts_are_kept_than_so_many(root: Path) -> None:
    staleness = Staleness(root, later(), remembered=3)
    paths = {}
    for number in range(10):
        (root / f"{number}.py").write_bytes(b"x")
        paths[f"{number}.py"] = digest(b"x")
    assert marked(staleness, paths) == []
    assert 1 <= len(staleness._verdicts) <= 3


@pytest.mark.parametrize("path", ["../c.py", "/etc/passwd", "a\0b", "a//b.py", ".git/config", ""])
def test_no_path_leads_out_of_the_project(root: Path, path: str) -> None:
    (root.parent / "c.py").write_bytes(b"another\n")
    assert marked(Staleness(root), {path: digest(b"another\n")}) == [path]


@pytest.mark.promise("FRESH-3")
@pytest.mark.parametrize("mode", ["hybrid", "semantic", "fts"])
def test_a_hit_says_that_its_file_has_changed_and_shows_what_was_indexed(
    project: Project, mode: str
) -> None:
    index = OurIndex(project)
    loaded = index.load(index.current())
    asked = Search("retry disconnect peer", mode=mode)
    try:
        assert not any("stale" in hit for hit in loaded.answer(asked)["results"])
        (project.root / "net" / "retry.py").write_text("# nothing of it is left\n")
        hits = loaded.answer(asked)["results"]
        assert {hit["path"] for hit in hits if hit.get("stale")} == {"net/retry.py"}
        assert "retry_on_disconnect" in next(h["snippet"] for h in hits if h.get("stale"))
        build(project)
        newer = index.load(index.current())
        assert not any("stale" in hit for hit in newer.answer(asked)["results"])
        newer.close()
    finally:
        loaded.close()


def test_hits_of_one_file_are_one_look(make_project: MakeProject) -> None:
    text = "\n\n".join(f"def quokka{n}(x):\n    return quokka + {n}\n" for n in range(40))
    project = make_project({"a.py": text})
    build(project)
    index = OurIndex(project)
    loaded = index.load(index.current())
    try:
        with patch.object(stale, "_identity", wraps=stale._identity) as looked:
            hits = loaded.answer(Search("quokka", mode="fts", limit=20))["results"]
        assert len(hits) > 1
        assert looked.call_count == 1
    finally:
        loaded.close()


@pytest.mark.promise("FRESH-3")
@pytest.mark.parametrize("is_known", [True, False])
def test_no_file_is_looked_at_where_it_is_known_that_none_has_changed(
    make_project: MakeProject, is_known: bool
) -> None:
    project = make_project({"a.py": "def wobble(): pass\n"})
    build(project)
    index = OurIndex(project)
    loaded = index.load(index.current())
    try:
        with patch.object(Staleness, "mark") as mark:
            assert loaded.answer(Search("wobble", is_unchanged=is_known))["results"]
        assert mark.called is not is_known
    finally:
        loaded.close()
