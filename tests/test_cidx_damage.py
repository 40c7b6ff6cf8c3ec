"""Damaged and hostile indexes of the full cidx: no crash, no wrong hit, no silence.

Each variant is opened in a process of its own, so that a signal is seen.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from theirs import SOURCE, asked, theirs

from cidx_ref.errors import CidxError, IndexUnusableError
from cidx_ref.index import semantic
from cidx_ref.index.cidx.checking import check_apart
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.cidx_format import (
    DIRECTORY,
    MODEL,
    Piece,
    StandIn,
    blob_hash,
    id_index,
    pieces_of,
    write_collection,
    write_fulltext,
    write_index,
)

pytestmark = pytest.mark.once

COLLECTION, TEXT = f"index/{MODEL}", "tantivy_index"
SAMPLE = 24
Damage = Callable[[random.Random, Path], str]
DAMAGES: dict[str, Damage] = {}
FILES = {path: text for path, text in SOURCE.items() if path != "web/app.js"}
#: Found by either engine of a whole index.
KNOWN = ("retry", "disconnects", "call")


def damage(function: Damage) -> Damage:
    """A way to damage the index in a directory; it returns whose files those were."""
    DAMAGES[function.__name__] = function
    return function


def graph(own: Path) -> Path:
    return own / COLLECTION / "hnsw_index.bin"


def overwrite(path: Path, at: int, data: bytes) -> None:
    found = bytearray(path.read_bytes())
    found[at : at + len(data)] = data
    path.write_bytes(found)


def any_file(rng: random.Random, own: Path, *folders: str) -> Path:
    found = [p for f in folders for p in sorted((own / f).rglob("*")) if p.is_file()]
    return rng.choice([p for p in found if "lock" not in p.name and "managed" not in p.name])


def whose(path: Path) -> str:
    return "fts" if TEXT in path.parts else "semantic"


@damage
def a_truncated_file(rng: random.Random, own: Path) -> str:
    path = any_file(rng, own, rng.choice([COLLECTION, TEXT]))
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    return whose(path)


@damage
def a_longer_file(rng: random.Random, own: Path) -> str:
    path = any_file(rng, own, rng.choice([COLLECTION, TEXT]))
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 200)))
    return whose(path)


@damage
def a_flipped_bit_of_the_graph(rng: random.Random, own: Path) -> str:
    data = graph(own).read_bytes()
    at = rng.randrange(len(data))
    overwrite(graph(own), at, bytes([data[at] ^ 1 << rng.randrange(8)]))
    return "semantic"


@damage
def a_flipped_bit_of_its_header(rng: random.Random, own: Path) -> str:
    at = rng.randrange(96)
    overwrite(graph(own), at, bytes([graph(own).read_bytes()[at] ^ 1 << rng.randrange(8)]))
    return "semantic"


@damage
def a_flipped_bit_of_its_links(rng: random.Random, own: Path) -> str:
    size = struct.unpack_from("<6Q", graph(own).read_bytes())[3]
    at = 96 + size * rng.randrange(5) + rng.randrange(132)
    overwrite(graph(own), at, bytes([graph(own).read_bytes()[at] ^ 1 << rng.randrange(8)]))
    return "semantic"


@damage
def a_number_of_the_graph(rng: random.Random, own: Path) -> str:
    width, form = rng.choice([(4, "<I"), (8, "<Q")])
    most = (1 << 8 * width) - 1
    value = rng.choice([0, 1, most, most >> 1, rng.randrange(most), 1 << 16, 10_000])
    limit = rng.choice([96, graph(own).stat().st_size])
    at = rng.randrange(limit // width) * width
    overwrite(graph(own), at, struct.pack(form, value))
    return "semantic"


@damage
def links_in_a_loop(rng: random.Random, own: Path) -> str:
    data = graph(own).read_bytes()
    count, size = struct.unpack_from("<6Q", data)[2:4]
    for element in range(count):
        at = 96 + element * size
        overwrite(graph(own), at, struct.pack("<I32I", 32, *[element] * 32))
    return "semantic"


@damage
def a_vector_that_is_not_finite(rng: random.Random, own: Path) -> str:
    size = struct.unpack_from("<6Q", graph(own).read_bytes())[3]
    at = 96 + size * rng.randrange(5) + 132 + 4 * rng.randrange(32)
    overwrite(graph(own), at, struct.pack("<f", rng.choice([float("nan"), float("inf"), 1e30])))
    return "semantic"


@damage
def a_value_of_a_json_file(rng: random.Random, own: Path) -> str:
    path = rng.choice(
        [own / COLLECTION / "collection_meta.json", own / TEXT / "meta.json",
         any_file(rng, own, f"{COLLECTION}/{a_folder(rng, own)}")]
    )  # fmt: skip
    document = json.loads(path.read_text())
    places = list(_places(document))
    holder, key = rng.choice(places)
    values: list[Any] = [
        None,
        -1,
        0,
        1,
        7,
        1 << 40,
        1 << 70,
        "",
        "x",
        [],
        {},
        True,
        0.5,
        "../../etc/passwd",
    ]
    holder[key] = rng.choice([v for v in values if v != holder[key]])
    path.write_text(json.dumps(document))
    return whose(path)


def a_folder(rng: random.Random, own: Path) -> str:
    return rng.choice(sorted(p.name for p in (own / COLLECTION).iterdir() if p.is_dir()))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list) and key != "vector":
            yield from _places(inner)


@damage
def a_json_file_that_is_none(rng: random.Random, own: Path) -> str:
    path = rng.choice([own / COLLECTION / "collection_meta.json", own / TEXT / "meta.json",
                       any_file(rng, own, f"{COLLECTION}/{a_folder(rng, own)}")])  # fmt: skip
    texts = [b"", b"null", b"[" * 100_000, b"{}", b"\xff", b'{"a":' * 50_000, b"7"]
    path.write_bytes(rng.choice(texts))
    return whose(path)


@damage
def wrong_dimensions(rng: random.Random, own: Path) -> str:
    path = own / COLLECTION / "collection_meta.json"
    document = json.loads(path.read_text())
    dim = rng.choice([1, 16, 31, 33, 63, 65, 128, 1024])
    document["vector_size"] = document["hnsw_index"]["vector_dim"] = dim
    path.write_text(json.dumps(document))
    return "semantic"


@damage
def a_missing_file(rng: random.Random, own: Path) -> str:
    path = any_file(rng, own, rng.choice([COLLECTION, TEXT]))
    path.unlink()
    return whose(path)


@damage
def two_files_swapped(rng: random.Random, own: Path) -> str:
    folder = rng.choice([COLLECTION, TEXT])
    one, other = any_file(rng, own, folder), any_file(rng, own, folder)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return whose(one)


@damage
def an_absurd_length(rng: random.Random, own: Path) -> str:
    path = own / COLLECTION / "id_index.bin"
    data = path.read_bytes()
    at = rng.choice([0, 4, 6, rng.randrange(len(data) - 4)])
    overwrite(path, at, rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff"]))
    return "semantic"


@damage
def a_path_that_leads_elsewhere(rng: random.Random, own: Path) -> str:
    elsewhere = rng.choice(["/etc/passwd", "../../../../etc/passwd", "a/../../b", "..", "", "a//b",
                            ".git/config", "a\0b"])  # fmt: skip
    if rng.random() < 0.5:
        path = any_file(rng, own, f"{COLLECTION}/{a_folder(rng, own)}")
        document = json.loads(path.read_text())
        document["payload"]["path"] = elsewhere
        path.write_text(json.dumps(document))
    else:
        names = [p.relative_to(own / COLLECTION) for p in (own / COLLECTION).rglob("vector_*")]
        entries = [(p.stem.removeprefix("vector_"), str(p)) for p in sorted(names)]
        number = rng.randrange(len(entries))
        entries[number] = entries[number][0], elsewhere
        (own / COLLECTION / "id_index.bin").write_bytes(id_index(entries))
    return "semantic"


@damage
def lines_that_do_not_exist(rng: random.Random, own: Path) -> str:
    path = any_file(rng, own, f"{COLLECTION}/{a_folder(rng, own)}")
    document = json.loads(path.read_text())
    document["payload"][rng.choice(["line_start", "line_end"])] = rng.choice(
        [0, -1, 10**9, 1 << 40]
    )
    path.write_text(json.dumps(document))
    return "semantic"


@damage
def a_link_in_the_place_of_a_file(rng: random.Random, own: Path) -> str:
    path = any_file(rng, own, rng.choice([COLLECTION, TEXT]))
    if rng.random() < 0.5:
        path = path.parent
    away = own.parent / "away"
    path.rename(away)
    path.symlink_to(rng.choice([str(away), "/etc/passwd", "nowhere", "/dev/zero"]))
    return whose(path)


@damage
def a_flipped_bit_of_the_full_text(rng: random.Random, own: Path) -> str:
    path = any_file(rng, own, TEXT)
    data = path.read_bytes()
    at = rng.randrange(len(data))
    overwrite(path, at, bytes([data[at] ^ 1 << rng.randrange(8)]))
    return "fts"


# What is seen of a variant.


def look_at(root: Path, own: Path, hurt: str) -> None:
    """Raises `AssertionError` for whatever must not be."""
    embedder = StandIn(32)
    index = theirs(root, embedder, runtime=FakeRuntime())
    try:
        index.adopt()
        snapshot = index.load(index.current())
    except CidxError as error:
        # What was whole must answer; a file may be missing that both are found by.
        raise AssertionError(f"nothing answers: {error}") from None
    other = "fts" if hurt == "semantic" else "semantic"
    assert other not in snapshot.unavailable, snapshot.unavailable
    for text in KNOWN:
        for mode in ("semantic", "fts", "hybrid"):
            if mode in snapshot.unavailable:
                with pytest.raises(IndexUnusableError):
                    asked(snapshot, text, mode)
                continue
            answer = asked(snapshot, text, mode)
            assert answer["results"], f"{mode}: silence"
            for hit in answer["results"]:
                lines = FILES[hit["path"]].split("\n")
                assert 1 <= hit["line_start"] <= hit["line_end"] <= len(lines)
                assert hit["snippet"] in FILES[hit["path"]]
            if mode == "semantic":
                check_scores(snapshot, own, embedder.embed_query(text))
    snapshot.close()


def check_scores(snapshot: Any, own: Path, query: Any) -> None:
    """The scores are those of the vectors that the file has now."""
    data = graph(own).read_bytes()
    _, _, count, size, label_at, vector_at = struct.unpack_from("<6Q", data)
    elements = np.frombuffer(data, np.uint8, count * size, 96).reshape(count, size)
    vectors = elements[:, vector_at:label_at].copy().view("<f4")
    labels = elements[:, label_at:].copy().view("<u8").ravel()
    scores = dict(zip(labels.tolist(), vectors @ (query / np.linalg.norm(query)), strict=True))
    label_of = {int(c): n for n, c in enumerate(snapshot._catalogue.chunk_of_label) if c >= 0}
    for chunk, score in snapshot.semantic.search(query, 10):
        assert abs(scores[label_of[chunk]] - score) < 1e-5


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    write_index(root, FILES, embedder=StandIn(32), lines=16)
    assert len(list(pieces_of("net/retry.py", FILES["net/retry.py"], 16))) > 10
    return root


def in_a_process(do: Callable[[], None]) -> str:
    """What came of it: "" if all was well."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.environ["RUST_BACKTRACE"] = "0"  # which takes a second of each panic
            semantic.EXACT_UP_TO = 4  # so that hnswlib loads what was let through
            do()
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc()[-4000:].encode())
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return said if status else ""


def tried(pristine: Path, tmp_path: Path, numbers: range) -> list[str]:
    """What was wrong with which variants."""
    wrong = []
    names = sorted(DAMAGES)
    for number in numbers:
        rng = random.Random(number)
        name = names[number % len(names)]
        root = tmp_path / f"v{number}"
        shutil.copytree(pristine, root, symlinks=True)
        hurt = DAMAGES[name](rng, root / DIRECTORY)
        said = in_a_process(lambda r=root, h=hurt: look_at(r, r / DIRECTORY, h))  # type: ignore[misc]
        if said:
            print("WRONG", number, name, said[-600:])
            wrong.append(f"{number} {name}: {said}")
        shutil.rmtree(root)
    return wrong


@pytest.mark.promise("TRUST-1", "TRUST-2")
def test_a_damaged_index_crashes_nothing_and_shows_nothing_that_is_not_there(
    pristine: Path, tmp_path: Path
) -> None:
    assert in_a_process(lambda: look_at(pristine, pristine / DIRECTORY, "semantic")) == ""
    assert tried(pristine, tmp_path, range(SAMPLE)) == []


@pytest.mark.deep
@pytest.mark.promise("TRUST-1", "TRUST-2")
@pytest.mark.parametrize("half", [0, 1])
def test_two_thousand_damaged_indexes_crash_nothing(
    pristine: Path, tmp_path: Path, half: int
) -> None:
    assert tried(pristine, tmp_path, range(1000 * half, 1000 * half + 1000)) == []


# A full text with a right checksum and wrong contents: only a process of its own can be lost.


def with_a_right_sum(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    length = struct.unpack_from("<II", data, len(data) - 8)[0]
    start = len(data) - 8 - length
    data[at % max(1, start)] ^= 1 << bit
    footer = json.loads(data[start:-8])
    footer["crc"] = zlib.crc32(bytes(data[:start]))
    said = json.dumps(footer, separators=(",", ":")).encode()
    path.write_bytes(bytes(data[:start]) + said + struct.pack("<II", len(said), 1337))


def test_points_that_have_a_file_again_and_again_are_not_taken(tmp_path: Path) -> None:
    text = "".join(f"value_{n} = {n}\n" for n in range(20_000))
    lines = text.splitlines(keepends=True)
    whole = [Piece("many.py", n + 1, len(lines), "".join(lines[n:]), n) for n in range(30)]
    (tmp_path / "many.py").write_text(text)
    own = tmp_path / DIRECTORY
    blobs = {"many.py": blob_hash(text.encode())}
    vectors = np.ones((len(whole), StandIn().dim), np.float32)
    write_collection(own / COLLECTION, whole, vectors, blobs=blobs)
    write_fulltext(own / TEXT, list(pieces_of("many.py", text)))
    index = theirs(tmp_path, StandIn())
    assert "again and again" in index.adopt()["problems"]["semantic"]
    snapshot = index.load(index.current())
    assert asked(snapshot, "value_7")["results"], "by its full text"
    snapshot.close()


def test_a_word_does_not_stand_for_a_whole_file(tmp_path: Path) -> None:
    text = "".join(f"value_{n} = {n}\n" for n in range(20_000))
    (tmp_path / "many.py").write_text(text)
    own = tmp_path / DIRECTORY
    word = [Piece("many.py", 1, 20_000, "value_1 = 1\n", n) for n in range(30)]
    blobs = {"many.py": blob_hash(text.encode())}
    points = [Piece("many.py", 1, 2, "value_0 = 0\nvalue_1 = 1\n")]
    vectors = np.ones((1, StandIn().dim), np.float32)
    write_collection(own / COLLECTION, points, vectors, blobs=blobs)
    write_fulltext(own / TEXT, word)
    index = theirs(tmp_path, StandIn())
    index.adopt()
    snapshot = index.load(index.current())
    hits = asked(snapshot, "value_1")["results"]
    assert hits
    assert all(hit["line_end"] - hit["line_start"] < 5 for hit in hits), hits
    snapshot.close()


def test_a_graph_with_a_hole_behind_it_takes_no_memory(pristine: Path, tmp_path: Path) -> None:
    shutil.copytree(pristine, tmp_path / "p")
    os.truncate(graph(tmp_path / "p" / DIRECTORY), 1 << 36)
    index = theirs(tmp_path / "p", StandIn(32), runtime=FakeRuntime())
    assert "too long" in index.adopt()["problems"]["semantic"]
    snapshot = index.load(index.current())
    assert asked(snapshot, KNOWN[0])["results"], "by its full text"
    snapshot.close()


@pytest.mark.once
@pytest.mark.promise("TRUST-2")
def test_what_ends_the_process_that_checks_ends_no_other(pristine: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    for number in range(8):
        root = tmp_path / f"v{number}"
        shutil.copytree(pristine, root)
        path = any_file(rng, root / DIRECTORY, TEXT)
        if path.suffix == ".json":
            path = next((root / DIRECTORY / TEXT).glob("*.store"))
        with_a_right_sum(path, rng.randrange(1 << 20), rng.randrange(8))
        index = theirs(root, StandIn(32), check=check_apart)
        try:
            index.adopt()
            snapshot = index.load(index.current())
        except IndexUnusableError:
            continue
        assert "semantic" not in snapshot.unavailable
        for text in KNOWN:
            asked(snapshot, text, "semantic")
        snapshot.close()
