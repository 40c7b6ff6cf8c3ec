"""The directory of generations by itself, without an index in it: every rule of
`index/generation.py`, on files of a few bytes.

What becomes of a real index when its files are damaged is in test_generation, and what a crash
leaves in test_build.
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.errors import BusyError, IndexUnusableError, NoIndexError
from cidx_ref.index.generation import Generations, Lease, damaged_files, read_manifest
from cidx_ref.testing.clock import FakeRuntime

FILES = {"a.bin": b"alpha", "deeper/b.bin": b"", "deeper/still/c.bin": b"\0" * 9}
HEAD = {
    "format": 1,
    "generation": "000001-aaaaaa",
    "created_at": "2026-01-01T12:00:00",
    "embedder": {"id": "none", "dim": 3},
    "space": "cosine",
    "counts": {"files": 1, "chunks": 2},
    "skipped": {"binary": 1},
}
DAMAGED = r"^manifest\.json is damaged: run `cidx-ref index --full`$"


@pytest.fixture
def generations(tmp_path: Path, fake: FakeRuntime) -> Generations:
    return Generations(tmp_path / "generations", fake)


def build(generations: Generations, files: dict[str, bytes] = FILES) -> tuple[str, Path]:
    generation, building = generations.begin()
    for name, content in files.items():
        path = building / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    generations.seal(building, copy.deepcopy(HEAD))
    return generation, building


def publish(generations: Generations, files: dict[str, bytes] = FILES) -> Path:
    with generations.writing():
        generation, building = build(generations, files)
        generations.publish(generation, building)
    return generations.path(generation)


def names(generations: Generations) -> set[str]:
    return set(os.listdir(generations.directory))


# Ids.


@pytest.mark.promise("WRITE-3")
def test_generations_are_numbered_from_one_and_onwards_from_the_highest(
    generations: Generations,
) -> None:
    with generations.writing():
        generation, building = generations.begin()
    assert re.fullmatch(r"000001-[0-9a-f]{6}", generation)
    assert building == generations.directory / f".building-{generation}"
    assert os.listdir(building) == []
    building.rmdir()
    for name in ("000041-abcdef", "000007-ffffff", "000099-other", "1000-abcdef"):
        (generations.directory / name).mkdir()
    assert generations.begin()[0].startswith("000042-")


@pytest.mark.promise("WRITE-3")
def test_a_link_that_is_none_or_points_at_no_generation_says_what_to_do_or_what_is_wrong(
    generations: Generations,
) -> None:
    with pytest.raises(
        NoIndexError, match=r"^this project has no index yet: run `cidx-ref index`$"
    ):
        generations.current()
    generations.directory.mkdir()
    (generations.directory / "current").write_text("no link")
    with pytest.raises(
        IndexUnusableError, match=r"^generations/current cannot be read: Invalid argument$"
    ):
        generations.current()
    with pytest.raises(IndexUnusableError, match=r"^generations/current points at '\.\./\.\.'$"):
        generations.path("../..")


# The writers' lock.


@pytest.mark.promise("WRITE-1")
@pytest.mark.parametrize("wait_s", [0.0, 5.0])
def test_who_will_not_wait_any_longer_is_told_at_that_time(
    generations: Generations, fake: FakeRuntime, wait_s: float
) -> None:
    with generations.writing():
        started = fake.monotonic()
        with (
            pytest.raises(BusyError, match=r"^another process is indexing this project$"),
            generations.writing(wait_s),
        ):
            raise AssertionError("was let in")
        # With a time of none it does not even sleep once.
        assert wait_s <= fake.monotonic() - started <= wait_s * 1.01


@pytest.mark.promise("WRITE-1", "WRITE-3")
def test_a_sweep_does_not_wait_for_a_writer(generations: Generations, fake: FakeRuntime) -> None:
    with generations.writing():
        _, building = generations.begin()
        started = fake.monotonic()
        generations.sweep()
        assert fake.monotonic() == started
        assert building.is_dir()


# Sealing and publishing.


@pytest.mark.promise("WRITE-3")
def test_a_manifest_vouches_for_every_file_and_can_be_read_by_people(
    generations: Generations,
) -> None:
    directory = publish(generations)
    text = (directory / "manifest.json").read_text(encoding="ascii")
    assert text.startswith('{\n "format": 1,\n')
    manifest = read_manifest(directory)
    assert manifest == json.loads(text)
    assert manifest == {
        **HEAD,
        "files": {
            name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        },
    }
    assert damaged_files(directory, manifest) == {}


@pytest.mark.promise("PERF-5")
def test_a_generation_is_announced_when_it_can_be_loaded_and_is_not_live(
    generations: Generations,
) -> None:
    old = publish(generations)
    seen = []

    def announced(generation: str) -> None:
        assert read_manifest(generations.path(generation))["generation"] == HEAD["generation"]
        seen.append((generation, generations.current()))

    with generations.writing():
        generation, building = build(generations)
        generations.publish(generation, building, announced)
    assert seen == [(generation, old.name)]
    assert generations.current() == generation


@pytest.mark.promise("WRITE-3")
def test_all_of_a_generation_is_on_disk_before_it_is_published(
    generations: Generations, fake: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watched(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    before: dict[str, set[str]] = {}
    for step in ("sealed", "renamed", "published"):
        fake.at(step, lambda step=step: before.update({step: set(synced)}))
    with generations.writing():
        generation, building = build(generations)
        generations.publish(generation, building)
    inside = {*FILES, "manifest.json", "deeper", "deeper/still"}
    assert before["sealed"] == {str(building), *(str(building / name) for name in inside)}
    assert before["renamed"] == before["sealed"]
    assert before["published"] == {*before["sealed"], str(generations.directory)}


@pytest.mark.promise("WRITE-3")
def test_a_writer_passes_its_steps_in_order_and_removes_what_nobody_uses(
    generations: Generations, fake: FakeRuntime
) -> None:
    old = publish(generations)
    (generations.directory / "000000-aaaaaa").mkdir()  # without a manifest, half removed
    (generations.directory / "notes.txt").write_text("not ours")
    fake.steps.clear()
    new = publish(generations)
    assert old.name != new.name
    assert names(generations) == {new.name, "current", "notes.txt"}
    # Swept on entering: four names.  And at the end: the old, the new, the link and the notes.
    assert fake.steps == [
        "directory opened",
        *("half removed", "swept", "swept", "swept", "swept"),
        *("begun", "unsealed", "sealed", "renamed", "linked", "published"),
        *("half removed", "swept", "swept", "swept", "swept"),
    ]


@pytest.mark.promise("WRITE-2")
def test_a_lease_has_its_directory_open_before_it_holds_it(
    generations: Generations, fake: FakeRuntime
) -> None:
    directory = publish(generations)
    fake.steps.clear()
    with Lease(directory, fake):
        assert fake.steps == ["opened"]


@pytest.mark.promise("WRITE-3")
def test_what_cannot_be_removed_stops_no_writer(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = publish(generations)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        patch.setattr(os, "unlink", refuse)
        new = publish(generations)
    assert generations.current() == new.name
    assert old.is_dir()
    generations.sweep()
    assert names(generations) == {new.name, "current"}


# Leases.


def is_free(directory: Path) -> bool:
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


@pytest.mark.promise("CACHE-4", "WRITE-3")
def test_a_lease_ends_once_and_closes_nothing_else(tmp_path: Path) -> None:
    before = [os.fstat(fd) for fd in range(3)]
    with Lease(tmp_path) as lease, Lease(tmp_path):  # any number at once
        assert lease.directory == tmp_path
        assert not is_free(tmp_path)
    assert is_free(tmp_path)
    lease.close()
    lease.close()
    assert [os.fstat(fd) for fd in range(3)] == before


@pytest.mark.promise("WRITE-3")
def test_a_lease_whose_descriptor_is_that_of_standard_input_ends_too(tmp_path: Path) -> None:
    # In a process that was started with its standard input closed.
    kept = os.dup(0)
    os.close(0)
    try:
        lease = Lease(tmp_path)
        assert Path("/proc/self/fd/0").readlink() == tmp_path
        lease.close()
        assert is_free(tmp_path)
    finally:
        os.dup2(kept, 0)
        os.close(kept)


# Reading manifests.


def written(directory: Path, manifest: object) -> Path:
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def whole() -> dict[str, Any]:
    entry = {"size_bytes": 5, "sha256": "0" * 64}
    return {**copy.deepcopy(HEAD), "files": {"a.bin": entry, "b.bin": dict(entry)}}


def places(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of everything in a manifest, but for its format, that must be what it is."""
    inner = value.items() if isinstance(value, dict) else ()
    found = [place for key, item in inner for place in places(item, (*path, key))]
    return [*([path] if path not in {(), ("format",)} else []), *found]


def put(manifest: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    *above, last = path
    target = manifest
    for key in above:
        target = target[key]
    target[last] = value
    return manifest


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("path", places(whole()), ids=".".join)
@pytest.mark.parametrize("value", [None, 1.5, ["a list"]])
def test_a_manifest_with_a_wrong_value_anywhere_is_damaged(
    tmp_path: Path, path: tuple[str, ...], value: object
) -> None:
    with pytest.raises(IndexUnusableError, match=DAMAGED):
        read_manifest(written(tmp_path, put(whole(), path, value)))


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "path",
    [
        p
        for p in places(whole())
        if p not in {("skipped", "binary"), ("files", "a.bin"), ("files", "b.bin")}
    ],
    ids=".".join,
)
def test_a_manifest_that_lacks_anything_is_damaged(tmp_path: Path, path: tuple[str, ...]) -> None:
    manifest = whole()
    *above, last = path
    target = manifest
    for key in above:
        target = target[key]
    del target[last]
    with pytest.raises(IndexUnusableError, match=DAMAGED):
        read_manifest(written(tmp_path, manifest))


@pytest.mark.promise("WRITE-3")
def test_a_manifest_may_have_more_than_this_version_knows(tmp_path: Path) -> None:
    manifest = {**whole(), "later": [1, 2]}
    assert read_manifest(written(tmp_path, manifest)) == manifest


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    ("manifest", "format_"), [([], "None"), ({}, "None"), ({"format": 2}, "2"), ("text", "None")]
)
def test_a_manifest_of_another_format_is_refused_with_both_named(
    tmp_path: Path, manifest: object, format_: str
) -> None:
    with pytest.raises(
        IndexUnusableError, match=rf"^manifest\.json: format {format_}, this version reads 1$"
    ):
        read_manifest(written(tmp_path, manifest))


@pytest.mark.promise("WRITE-3")
def test_no_manifest_and_one_that_cannot_be_read_are_two_things(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path)
    for content in (b"", b"\xff", b"[" * 100_000):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(IndexUnusableError, match=DAMAGED):
            read_manifest(tmp_path)


@pytest.mark.promise("WRITE-3")
def test_each_damaged_file_is_named_with_what_is_wrong_with_it(generations: Generations) -> None:
    files = dict.fromkeys(("good", "longer", "other", "gone", "deep/er"), b"12345678")
    directory = publish(generations, files)
    spoil: dict[str, Callable[[Path], object]] = {
        "longer": lambda path: path.write_bytes(b"123456789"),
        "other": lambda path: path.write_bytes(b"12345679"),
        "gone": lambda path: path.unlink(),
    }
    for name, act in spoil.items():
        act(directory / name)
    (directory / "deep" / "er").unlink()
    (directory / "deep").rmdir()
    (directory / "deep").write_text("in the way")
    assert damaged_files(directory, read_manifest(directory)) == {
        "longer": "wrong size",
        "other": "wrong checksum",
        "gone": "missing",
        "deep/er": "Not a directory",
    }
