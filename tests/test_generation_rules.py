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
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.errors import BusyError, IndexingError, NoIndexError
from cidx_ref.index import generation
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.keys import KEY_BYTES, Key
from cidx_ref.testing.clock import FakeRuntime

pytestmark = pytest.mark.once

KEY = Key(b"k" * KEY_BYTES)
FILES = {"a.bin": b"alpha", "deeper/b.bin": b"", "deeper/c.bin": b"\0" * 9}
ID = "000001-aaaaaa"
SEGMENT = "s000001-abcdef"
HEAD = {
    "format": 7,
    "generation": ID,
    "created_at": "2026-01-01T12:00:00+00:00",
    "embedder": {"id": "none", "dim": 3},
    "rules": "0" * 32,
    "space": "cosine",
    "counts": {"files": 1, "chunks": 2, "guessed": 0},
    "segments": {SEGMENT: {"files": 1, "chunks": 2, "vectors": "vectors.f32", "worded": 2}},
    "next_file": 2,
    "next_segment": 2,
    "dead_documents": 0,
    "skipped": {"binary": 1},
}


def not_ours(name: str, problem: str = "") -> str:
    """The whole message about an index that was not made here, or is damaged."""
    return (
        "^"
        + re.escape(
            f"the index here ({name!r}) was not made by this account, or was changed since"
            f"{problem and f' (manifest.json: {problem})'}: `cidx-ref index` makes a new one, "
            "`cidx-ref adopt` checks this one and takes it"
        )
        + "$"
    )


def place(path: tuple[str, ...]) -> str:
    """How a message says where in a manifest something is: names that may be any are quoted."""
    fixed, free = path[:1], path[1:2]
    return ": ".join([*fixed, *(map(repr, free) if fixed[0] in PLAIN else free), *path[2:]])


#: Where the keys may be any.
PLAIN = ("segments", "skipped", "files")


@pytest.fixture
def generations(tmp_path: Path, fake: FakeRuntime) -> Generations:
    return Generations(tmp_path / "generations", fake, key=KEY)


def build(generations: Generations, files: dict[str, bytes] = FILES) -> tuple[str, Path]:
    generation, building = generations.begin()
    for name, content in files.items():
        path = building / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    generations.seal(building, {**copy.deepcopy(HEAD), "generation": generation})
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
    # What came with a clone may have any number, and counting goes on from no absurd one.
    for digits in (12, 13, 240):
        (generations.directory / f"{'9' * digits}-abcdef").mkdir()
    assert generations.begin()[0].startswith("000042-")
    (generations.directory / f"{'9' * 11}-abcdef").mkdir()
    generation, building = generations.begin()
    assert generation.startswith(f"1{'0' * 11}-")
    assert generations.path(generation).name == generation


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
    with pytest.raises(NoIndexError, match=not_ours("current")):
        generations.current()
    (generations.directory / "current").unlink()
    (generations.directory / "current").symlink_to("../..")
    with pytest.raises(NoIndexError, match=not_ours("../..")):
        generations.current()
    with pytest.raises(NoIndexError, match=not_ours("../..")):
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
    assert text.startswith('{\n "format": 7,\n')
    manifest = read_manifest(directory, KEY)
    assert {**manifest, "digest": KEY.digest(manifest)} == json.loads(text)
    assert manifest == {
        **HEAD,
        "generation": directory.name,
        "files": {
            name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        },
    }
    assert damaged_files(directory, manifest) == {}
    modes = {str(p.relative_to(directory)): p.stat().st_mode & 0o777 for p in directory.rglob("*")}
    assert modes == {**dict.fromkeys([*FILES, "manifest.json"], 0o600), "deeper": modes["deeper"]}
    assert directory.stat().st_mode & 0o777 == directory.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.promise("PERF-5")
def test_a_generation_is_announced_when_it_can_be_loaded_and_is_not_live(
    generations: Generations,
) -> None:
    old = publish(generations)
    seen = []

    def announced(generation: str) -> None:
        assert read_manifest(generations.path(generation), KEY)["generation"] == generation
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
        fake.at(step, partial(lambda step: before.update({step: set(synced)}), step))
    with generations.writing():
        generation, building = build(generations)
        generations.publish(generation, building)
    inside = {*FILES, "manifest.json", "deeper"}
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
    # Swept on entering: what was half removed.  And at the end: the old one.
    assert fake.steps == [
        "directory opened",
        *("half removed", "swept"),
        *("begun", "unsealed", "sealed", "renamed", "linked", "published"),
        *("half removed", "swept"),
    ]


@pytest.mark.promise("WRITE-3", "TRUST-1")
@pytest.mark.parametrize("name", ["!{:03}", ".building-{:06}-aaaaaa", "000{:03}-aaaaaa"])
def test_what_came_with_a_clone_keeps_no_sweep_from_what_is_ours(
    generations: Generations, name: str
) -> None:
    """However much of it there is, and however it is called."""
    generations.directory.mkdir()
    brought = {name.format(number) for number in range(300)}
    for each in brought:
        if name.startswith("0"):
            foreign(generations, each)
        else:
            (generations.directory / each).mkdir()
    for _ in range(3):
        old = publish(generations)
        live = publish(generations)
        assert not old.exists()
    ours = {live.name, "current"}
    assert names(generations) == ours | (set() if name.startswith(".") else brought)


@pytest.mark.promise("TRUST-1")
def test_a_sweep_looks_at_a_bounded_number_of_what_came_with_a_clone(
    generations: Generations, fake: FakeRuntime
) -> None:
    publish(generations)
    for number in range(300):
        foreign(generations, f"{2 * number:06}-aaaaaa")
    fake.steps.clear()
    generations.sweep()
    assert fake.steps.count("swept") == 256


@pytest.mark.promise("WRITE-3", "TRUST-1")
@pytest.mark.parametrize("what", ["scratch", "link"])
def test_what_an_earlier_writer_or_a_clone_has_left_is_in_nobody_s_way(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    publish(generations)
    (generations.directory / f".building-{what}").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(generation, "_remove", lambda *_: None)
        live = publish(generations)
        with generations.writing(), generations.scratch() as scratch, generations.scratch() as more:
            assert os.listdir(scratch) == os.listdir(more) == []
    assert generations.current() == live.name
    generations.sweep()
    assert names(generations) == {live.name, "current"}


@pytest.mark.promise("WRITE-3")
def test_a_manifest_that_could_not_be_read_again_is_not_published(
    generations: Generations,
) -> None:
    old = publish(generations)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"next_segment": 1 << 48}, f"manifest.json: next_segment: {1 << 48}"),
        (
            {"counts": {"files": 1, "chunks": 2, "guessed": -1}},
            "manifest.json: counts: guessed: -1",
        ),
        ({"skipped": {"x" * (1 << 20): 1}}, "manifest.json: it is larger than 1048576 bytes"),
    ]
    for wrong, said in cases:
        with generations.writing(), generations.building() as (name, building):
            manifest = {**copy.deepcopy(HEAD), "generation": name, **wrong}
            with pytest.raises(IndexingError, match=re.escape(said)) as raised:
                generations.seal(building, manifest)
        assert "run `cidx-ref index --full`" in str(raised.value)
    assert names(generations) == {old.name, "current"}


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
    lease = Lease(tmp_path)
    try:
        # Moved there: which number it gets depends on what is opened on the way.
        os.dup2(lease.files.fd, 0)
        os.close(lease.files.fd)
        lease.files.fd = 0
        assert not is_free(tmp_path)
        lease.close()
        assert is_free(tmp_path)
    finally:
        os.dup2(kept, 0)
        os.close(kept)


# Reading manifests.


def written(home: Path, manifest: object) -> Path:
    """A generation's directory with that in it, signed if it can be: nothing else is wrong."""
    directory = home / ID
    directory.mkdir(exist_ok=True)
    if isinstance(manifest, dict) and "digest" not in manifest:
        manifest = {**manifest, "digest": KEY.digest(manifest)}
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
@pytest.mark.parametrize("path", [*places(whole()), ("digest",)], ids=".".join)
@pytest.mark.parametrize("value", [None, 1.5, ["a list"]])
def test_a_manifest_with_a_wrong_value_anywhere_is_damaged(
    tmp_path: Path, path: tuple[str, ...], value: object
) -> None:
    with pytest.raises(NoIndexError, match=not_ours(ID, f"{place(path)}: {value!r}")):
        read_manifest(written(tmp_path, put(whole(), path, value)), KEY)


#: Where, what is just within the range, and what is just outside.
RANGES: dict[tuple[str, ...], tuple[list[object], list[object]]] = {
    ("generation",): ([ID], ["000002-aaaaaa", f".building-{ID}", ""]),
    ("created_at",): (
        ["2026-01-01T12:00:00+14:00", "2026-01-01T12:00Z"],
        ["2026-01-01T12:00:00", "2026-01-01", "2026-02-30T12:00:00+00:00", "tomorrow", ""],
    ),
    ("embedder", "dim"): ([1, 1 << 16], [0, -1, (1 << 16) + 1, True]),
    ("counts", "files"): ([0, (1 << 48) - 1], [-1, 1 << 48, 10**400, True]),
    ("counts", "chunks"): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("counts", "guessed"): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("segments", SEGMENT, "files"): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("segments", SEGMENT, "chunks"): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("segments", SEGMENT, "vectors"): (
        ["vectors.f32", "vectors.hnsw"],
        ["", "vectors", "../vectors.f32", "vectors.f32\n", "manifest.json", 1],
    ),
    ("next_file",): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("next_segment",): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("dead_documents",): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("skipped", "binary"): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("files", "a.bin", "size_bytes"): ([0, (1 << 48) - 1], [-1, 1 << 48, True]),
    ("files", "a.bin", "sha256"): (
        ["0123456789abcdef" * 4],
        ["f" * 63, "f" * 65, "F" * 64, "g" * 64, "f" * 64 + "\n"],
    ),
}
ENTRY: dict[str, object] = {"size_bytes": 0, "sha256": "f" * 64}
GOOD_NAMES = ["deeper/c.bin", "two words", "dürfen", ".hidden", "-rf", "..."]
BAD_NAMES = [
    *("", "/", "/a", "a/", ".", "..", "../a", "a/..", "a/../b", "a//b", "a/b/c"),
    *("a\nb", "a\0b", "a\x1bb", "\udcff", "\ud800"),
]
SEGMENT_ENTRY: dict[str, object] = {"files": 0, "chunks": 0, "vectors": "vectors.hnsw", "worded": 0}
GOOD_SEGMENTS = ["s000000-000000", "s123456789012-abcdef"]
BAD_SEGMENTS = [
    *("", ".", "..", "s1-abcdef", "s00001-abcdef", "s1234567890123-abcdef", "S000001-abcdef"),
    *("s000001-ABCDEF", "s000001-abcdeg", "s000001-abcdef\n", "s000001-abcdef/", "/s000001-abcdef"),
    *("../s000001-abcdef", "s\u0661\u0661\u0661\u0661\u0661\u0661-abcdef", "fulltext"),
]
SURVIVING = [
    *((path, value, True) for path, (good, _) in RANGES.items() for value in good),
    *((path, value, False) for path, (_, bad) in RANGES.items() for value in bad),
    *((("files", name), ENTRY, True) for name in GOOD_NAMES),
    *((("files", name), ENTRY, False) for name in BAD_NAMES),
    *((("segments", name), SEGMENT_ENTRY, True) for name in GOOD_SEGMENTS),
    *((("segments", name), SEGMENT_ENTRY, False) for name in BAD_SEGMENTS),
]


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(("path", "value", "is_good"), SURVIVING, ids=lambda part: ascii(part)[:40])
def test_every_value_of_a_manifest_has_a_range_and_every_file_a_plain_name(
    tmp_path: Path, path: tuple[str, ...], value: object, is_good: bool
) -> None:
    manifest = put(whole(), path, value)
    directory = written(tmp_path, manifest)
    if is_good:
        assert read_manifest(directory, KEY) == manifest
        return
    shown = f"{value!r:.200}{'...' if len(repr(value)) > 200 else ''}"
    problem = place(path) if value in (ENTRY, SEGMENT_ENTRY) else f"{place(path)}: {shown}"
    with pytest.raises(NoIndexError, match=not_ours(ID, problem)):
        read_manifest(directory, KEY)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "path",
    [
        p
        for p in places(whole())
        if p
        not in {
            ("skipped", "binary"),
            ("files", "a.bin"),
            ("files", "b.bin"),
            ("segments", SEGMENT),
        }
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
    lacking = ": ".join([*([place(tuple(above))] if above else []), f"no {last!r}"])
    with pytest.raises(NoIndexError, match=not_ours(ID, lacking)):
        read_manifest(written(tmp_path, manifest), KEY)


@pytest.mark.promise("WRITE-3")
def test_a_manifest_may_have_more_than_this_version_knows(tmp_path: Path) -> None:
    manifest = {**whole(), "later": [1, 2]}
    assert read_manifest(written(tmp_path, manifest), KEY) == manifest


@pytest.mark.promise("WRITE-3")
def test_a_manifest_that_the_key_does_not_vouch_for_was_not_made_here(tmp_path: Path) -> None:
    manifest = whole()
    signed = {**manifest, "digest": KEY.digest(manifest)}
    other = Key(b"l" * KEY_BYTES).digest(manifest)
    for digest in (other, "0" * 64):
        with pytest.raises(NoIndexError, match=not_ours(ID)):
            read_manifest(written(tmp_path, {**manifest, "digest": digest}), KEY)
    for digest in (KEY.digest(manifest).upper(), KEY.digest(manifest)[1:], ""):
        with pytest.raises(NoIndexError, match=not_ours(ID, f"digest: {digest!r}")):
            read_manifest(written(tmp_path, {**manifest, "digest": digest}), KEY)
    for changed in ({**signed, "later": 1}, {**signed, "space": "ip"}):
        with pytest.raises(NoIndexError, match=not_ours(ID)):
            read_manifest(written(tmp_path, changed), KEY)
    directory = written(tmp_path, signed)
    assert read_manifest(directory, KEY) == manifest
    with pytest.raises(NoIndexError, match=not_ours(ID)):
        read_manifest(directory)  # which asks for the account's
    # However the file is laid out.
    (directory / "manifest.json").write_text(json.dumps(dict(sorted(signed.items())), indent=7))
    assert read_manifest(directory, KEY) == manifest


@pytest.mark.promise("WRITE-3")
def test_a_manifest_counts_in_the_generation_that_it_names_only(generations: Generations) -> None:
    directory = publish(generations)
    renamed = directory.rename(directory.with_name("000009-bbbbbb"))
    named = f"generation: {directory.name!r}"
    with pytest.raises(NoIndexError, match=not_ours("000009-bbbbbb", named)):
        read_manifest(renamed, KEY)
    half = renamed.rename(directory.with_name(f".building-{directory.name}"))
    assert read_manifest(half, KEY)["generation"] == directory.name


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("format_", [0, 6, 8, -1])
def test_a_manifest_of_another_format_is_refused_with_both_named(
    tmp_path: Path, format_: int
) -> None:
    refused = (
        rf"^the index here is of format {format_}, this version makes 7: run `cidx-ref index`$"
    )
    for manifest in ({**whole(), "format": format_}, {"format": format_}):
        with pytest.raises(NoIndexError, match=refused):
            read_manifest(written(tmp_path, manifest), KEY)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ([], "[]"),
        ("text", "'text'"),
        (None, "None"),
        ({}, "no 'format'"),
        ({**whole(), "digest": "0" * 64, "format": "3"}, "format: '3'"),
        ({**whole(), "digest": "0" * 64, "format": True}, "format: True"),
        ({"format": 7}, "no 'generation'"),
    ],
)
def test_a_manifest_without_a_format_or_with_nothing_else_is_damaged(
    tmp_path: Path, manifest: object, problem: str
) -> None:
    directory = tmp_path / ID
    directory.mkdir()
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(NoIndexError, match=not_ours(ID, problem)):
        read_manifest(directory, KEY)


@pytest.mark.promise("WRITE-3")
def test_no_manifest_and_one_that_cannot_be_read_are_two_things(tmp_path: Path) -> None:
    directory = written(tmp_path, whole())
    path = directory / "manifest.json"
    text = path.read_bytes()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_manifest(directory, KEY)
    for content in (b"", b"\xff", b"[" * 100_000, text[:-1], text + b"\0"):
        path.write_bytes(content)
        with pytest.raises(NoIndexError, match=not_ours(ID)):
            read_manifest(directory, KEY)
    path.write_bytes(text + b" " * ((1 << 20) - len(text)))
    assert read_manifest(directory, KEY) == whole()
    path.write_bytes(text + b" " * ((1 << 20) - len(text) + 1))
    with pytest.raises(NoIndexError, match=not_ours(ID)):
        read_manifest(directory, KEY)


def linked(path: Path) -> None:
    path.rename(path.with_name("kept"))
    path.symlink_to("kept")


def in_its_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("spoil", [linked, in_its_place(os.mkfifo), in_its_place(os.mkdir)])
def test_a_manifest_that_is_no_file_is_not_read_and_not_waited_for(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    directory = written(tmp_path, whole())
    spoil(directory / "manifest.json")
    with pytest.raises(NoIndexError, match=not_ours(ID)):
        read_manifest(directory, KEY)


@pytest.mark.promise("WRITE-3")
def test_each_damaged_file_is_named_with_what_is_wrong_with_it(generations: Generations) -> None:
    names = ("good", "longer", "other", "gone", "link", "fifo", "deep/er", "far/away")
    directory = publish(generations, dict.fromkeys(names, b"12345678"))
    spoil: dict[str, Callable[[Path], object]] = {
        "longer": lambda path: path.write_bytes(b"123456789"),
        "other": lambda path: path.write_bytes(b"12345679"),
        "gone": lambda path: path.unlink(),
        "link": linked,
        "fifo": in_its_place(os.mkfifo),
    }
    for name, act in spoil.items():
        act(directory / name)
    (directory / "deep" / "er").unlink()
    (directory / "deep").rmdir()
    (directory / "deep").write_text("in the way")
    (directory / "far").rename(directory / "near")
    (directory / "far").symlink_to("near")
    assert damaged_files(directory, read_manifest(directory, KEY)) == {
        "longer": "wrong size",
        "other": "wrong checksum",
        "gone": "missing",
        "link": "not a file of ours",
        "fifo": "not a file of ours",
        "deep/er": "not a file of ours",
        "far/away": "not a file of ours",
    }


# What was not made here.


def foreign(generations: Generations, name: str) -> Path:
    """A generation of somebody else's, under the writers' lock or not."""
    theirs = Generations(generations.directory, key=Key(b"t" * KEY_BYTES))
    directory = generations.directory / name
    directory.mkdir(mode=0o700)
    theirs.seal(directory, {**copy.deepcopy(HEAD), "generation": name})
    return directory


@pytest.mark.promise("WRITE-3")
def test_what_was_not_made_here_is_swept_by_nobody_and_removed_where_that_is_asked_for(
    generations: Generations,
) -> None:
    old = publish(generations)
    theirs = foreign(generations, "000005-bbbbbb")
    live = publish(generations)
    assert live.name.startswith("000006-")
    generations.sweep()
    assert not old.exists()
    assert names(generations) == {live.name, theirs.name, "current"}
    (generations.directory / "notes.txt").write_text("not ours")
    with generations.writing():
        assert generations.remove_unverified() == [theirs.name]
        assert generations.remove_unverified() == []
    assert names(generations) == {live.name, "current", "notes.txt"}


@pytest.mark.promise("WRITE-3")
def test_what_is_live_is_never_removed_as_unverified(generations: Generations) -> None:
    live = publish(generations)
    (live / "manifest.json").write_text("{}")
    with generations.writing():
        assert generations.remove_unverified() == []
    assert names(generations) == {live.name, "current"}


@pytest.mark.promise("WRITE-3")
def test_an_index_of_the_format_before_is_removed_only_where_that_is_asked_for(
    generations: Generations,
) -> None:
    old = publish(generations)
    text = (old / "manifest.json").read_text()
    (old / "manifest.json").write_text(text.replace('"format": 7', '"format": 6'))
    live = publish(generations)
    assert names(generations) == {old.name, live.name, "current"}
    with generations.writing():
        assert generations.remove_unverified() == [old.name]
    assert names(generations) == {live.name, "current"}


@pytest.mark.promise("WRITE-3")
def test_what_is_called_a_generation_and_is_none_is_removed_and_what_it_leads_to_is_not(
    generations: Generations, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "000001-aaaaaa").mkdir(parents=True)
    live = publish(generations)
    (generations.directory / "000007-aaaaaa").symlink_to(elsewhere)
    (generations.directory / "000008-aaaaaa").write_text("no generation")
    (generations.directory / ".building-000009-aaaaaa").symlink_to(elsewhere)
    generations.sweep()
    assert names(generations) == {live.name, "000007-aaaaaa", "000008-aaaaaa", "current"}
    with generations.writing():
        assert generations.remove_unverified() == ["000007-aaaaaa", "000008-aaaaaa"]
    assert names(generations) == {live.name, "current"}
    assert os.listdir(elsewhere) == ["000001-aaaaaa"]
