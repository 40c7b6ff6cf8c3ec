"""A piece that stands in many places is one hit, which says where else: among thousands of chunks.

Copies of built code, vendored packages, and a licence above each file.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loaded import loaded_of
from theirs import SOURCE, adopted, asked, loaded, written

from cidx_ref.client import DaemonClient
from cidx_ref.index import search
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer, answered
from cidx_ref.index.showing import Piece, Shown
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.stale import Staleness
from cidx_ref.index.storing import StoredChunk
from cidx_ref.results import Hit, best_line
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.cidx_format import StandIn
from cidx_ref.testing.own.fixtures import MakeProject, build, served

pytestmark = pytest.mark.once

EMBEDDER = HashingEmbedder()
BACKOFF = """/* Wait between two tries of a parcel: the backoff doubles, with jitter. */
function parcelBackoff(tries, jitter) {
  const backoff = 2 ** tries;
  return backoff + jitter * backoff;
}
"""
LICENCE = """/*
 * Granted is hereby, to any zebra that obtains a copy of this parcel,
 * to deal in it without restriction, and to let other zebras do so,
 * provided that they keep this notice in each of their parcels.
 */
"""
HOP = "    x += 1\n" * 8 + "    # Here the quokkas hop over a parcel.\n" + "    x += 2\n" * 8
HOPPING = "function hop(a) {\n  // The wallaby.\n  return a;\n}\n"
TWICE = "function twiceTold(wombat) {\n" + "  dig(wombat);\n" * 30 + "}\n"
NUMBAT = """function numbatRetry(n) {
  // The numbat will retry.
  const numbat = n;
  return numbat;
}
"""
OTHER = "function other0(n) {\n  // Here a numbat may want a retry 0.\n  return n + 0;\n}\n"
CLOSE = "    def shut(self):\n        self.flap.fold()\n        self.flap = None\n"


def _noise(seed: int) -> str:
    made = random.Random(seed)
    says = ["tries", "backoff", "parcel", "jitter", "wait", "twice", "host", "bits", "count"]
    lines = []
    for n in range(12):
        a, b, c = made.sample(says, 3)
        lines += [f"function {a}{b.title()}{seed}x{n}({c}) {{", f"  const {b} = {c}.{a};"]
        lines += [f"  return {b} + {seed * n};", "}", ""]
    return "\n".join(lines)


def _files() -> Iterator[tuple[str, str]]:
    for n in range(800):
        yield f"src/part{n}.js", _noise(n)
    yield "src/backoff.js", BACKOFF
    yield "dist/backoff.js", BACKOFF.replace("  const", "\tconst").replace("\n", "\r\n")
    for n in range(60):
        yield f"packages/p{n:02}/vendor/backoff.js", BACKOFF
    for n in range(80):
        yield f"zebra/z{n:02}.js", f"{LICENCE}\nfunction zebra{n}() {{\n  return {n};\n}}\n"
    hops = (f"def hop{n}():\n    x = {n}\n{HOP}    return x\n" for n in (1, 2))
    yield "src/hop.py", "\n\n".join(hops)
    yield "src/twice.js", TWICE + "\nvar gap = 1;\n\n" * 40 + TWICE
    for n in range(8):
        yield f"box/box{n}.py", f"class Box{n}:\n{CLOSE}"
        yield f"box{n}/place.js", f"// Where box {n % 2} stands.\nexport const place = 1;\n"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    with loaded_of(tmp_path_factory.mktemp("copies"), _files()) as snapshot:
        assert len(snapshot.chunks) > 1000
        yield snapshot


def ask(snapshot: IndexSnapshot, text: str, mode: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(snapshot, Search(text, mode, **more), EMBEDDER)["results"]
    return found


MODES = pytest.mark.parametrize("mode", ["hybrid", "semantic", "fts"])


@MODES
@pytest.mark.parametrize("limit", [1, 10, 30])
def test_copies_are_one_hit_and_others_have_their_places(
    snapshot: IndexSnapshot, mode: str, limit: int
) -> None:
    hits = ask(snapshot, "parcel backoff jitter between tries", mode, limit=limit)
    assert len(hits) == limit
    assert len({" ".join(hit["snippet"].split()) for hit in hits}) == limit
    copies = [hit for hit in hits if hit["name"] == "parcelBackoff"]
    assert len(copies) == 1
    if limit > 1:
        assert copies[0]["also_count"] > 5
        assert len(copies[0]["also"]) == 5
        assert all("also" not in hit for hit in hits if hit is not copies[0])
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "fts"])
def test_the_better_ranked_of_two_copies_stands_for_the_other(
    snapshot: IndexSnapshot, mode: str
) -> None:
    hit = ask(snapshot, "parcelBackoff", mode)[0]
    assert hit["path"] == "src/backoff.js"
    places = {f"packages/p{n:02}/vendor/backoff.js:2" for n in range(60)}
    assert set(hit["also"]) <= places | {"dist/backoff.js:2"}
    assert hit["also_count"] >= 20


@MODES
def test_a_copy_with_other_white_space_is_one(snapshot: IndexSnapshot, mode: str) -> None:
    told = ask(snapshot, "parcel backoff jitter between tries", mode, limit=30)
    assert len([hit for hit in told if hit["name"] == "parcelBackoff"]) == 1
    assert all("\t" not in hit["snippet"] for hit in told) or mode == "semantic"


@MODES
def test_a_licence_is_shown_once(snapshot: IndexSnapshot, mode: str) -> None:
    hits = ask(snapshot, "hereby granted to any zebra that obtains a copy", mode)
    assert len([hit for hit in hits if "hereby" in hit["snippet"]]) == 1
    assert hits[0]["also_count"] > 5
    assert all(place.startswith("zebra/") and place.endswith(":2") for place in hits[0]["also"])


@MODES
def test_the_same_lines_of_two_functions_of_a_file_are_two_hits(
    snapshot: IndexSnapshot, mode: str
) -> None:
    hits = ask(snapshot, "here the quokkas", mode, limit=2)
    assert [hit["path"] for hit in hits] == ["src/hop.py"] * 2
    assert hits[0]["snippet"] == hits[1]["snippet"]
    assert "also" not in hits[0]


@MODES
def test_a_file_that_says_a_thing_twice_is_two_hits(snapshot: IndexSnapshot, mode: str) -> None:
    hits = ask(snapshot, "twiceTold wombat", mode, limit=2)
    assert [(hit["path"], "also" in hit) for hit in hits] == [("src/twice.js", False)] * 2


@MODES
def test_methods_of_different_classes_are_no_copies(snapshot: IndexSnapshot, mode: str) -> None:
    hits = ask(snapshot, "shut the flap", mode, limit=8)
    assert {hit["path"] for hit in hits} == {f"box/box{n}.py" for n in range(8)}
    assert not any("also" in hit for hit in hits)


@pytest.mark.parametrize("mode", ["hybrid", "fts"])
def test_of_a_place_each_file_that_has_it_is_shown(snapshot: IndexSnapshot, mode: str) -> None:
    hits = ask(snapshot, "place.js:2", mode, limit=8)
    assert {hit["path"] for hit in hits} == {f"box{n}/place.js" for n in range(8)}


def test_exact_lines_are_told_one_by_one(snapshot: IndexSnapshot) -> None:
    told = snapshot.answer(Search("const backoff = 2 ** tries", "literal", limit=100))
    assert len(told["results"]) == told["total_matches"] == 62
    assert not any("also" in hit for hit in told["results"])


def test_where_there_are_only_copies_the_answer_ends(tmp_path: Path) -> None:
    files = [(f"m{n}/a.js", BACKOFF) for n in range(40)]
    with loaded_of(tmp_path, files) as snapshot:
        for mode in ("hybrid", "semantic", "fts"):
            (hit,) = ask(snapshot, "parcel backoff", mode)
            assert hit["also_count"] == 39, mode


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    """1,150 files are the same, and twelve others match."""
    files = [(f"src/part{n}.js", _noise(n)) for n in range(200)]
    files += [(f"packages/p{n:04}/numbat.js", NUMBAT) for n in range(1150)]
    files += [(f"lib/other{n}.js", OTHER.replace("0", str(n))) for n in range(12)]
    files += [(f"hop/hop{n}.js", HOPPING) for n in range(40)]
    with loaded_of(tmp_path_factory.mktemp("flooded"), files) as snapshot:
        yield snapshot


@MODES
@pytest.mark.parametrize("text", ["numbat retry", '"numbat"'])
@pytest.mark.parametrize("limit", [2, 10, 100])
def test_however_many_the_copies_others_have_their_places(
    flooded: IndexSnapshot, mode: str, text: str, limit: int
) -> None:
    hits = ask(flooded, text, mode, limit=limit)
    assert len(hits) == min(limit, 13)
    assert len({hit["snippet"] for hit in hits}) == len(hits)


@MODES
@pytest.mark.parametrize("limit", [10, 100])
def test_what_only_lies_near_is_no_reason_to_show_copies(
    flooded: IndexSnapshot, mode: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_DEEPEST", 64)
    hits = ask(flooded, "wallaby", mode, limit=limit)
    assert [hit["also_count"] for hit in hits] == [39]


@MODES
@pytest.mark.parametrize("deepest", [1, 64, 1155])
def test_where_no_more_is_looked_at_copies_are_shown_rather_than_too_little(
    flooded: IndexSnapshot, mode: str, deepest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_DEEPEST", deepest)
    hits = ask(flooded, "numbat retry", mode, limit=10)
    assert len({(hit["path"], hit["line_start"]) for hit in hits}) == len(hits) == 10
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    shown = {f"{hit['path']}:{n}" for hit in hits for n in range(5)}
    assert not shown & {place for hit in hits for place in hit.get("also", ())}


def test_where_a_copy_has_other_blank_lines_its_own_line_is_told(tmp_path: Path) -> None:
    ends = "    return x + b  # parse the wombat\n"
    files = {
        "m/a.py": f"def quokka_retry(a, b):\n    x = a\n{ends}",
        "m/b.py": "def quokka_retry(a, b):\n" + "\n" * 4 + "    x = a\n" + "\n" * 3 + ends,
    }
    with loaded_of(tmp_path, files.items()) as snapshot:
        for mode in ("hybrid", "semantic", "fts"):
            for text, lines in (("wombat", [3, 10]), ("quokka_retry", [1, 1])):
                told = {f"m/{name}.py:{n}" for name, n in zip("ab", lines, strict=True)}
                (hit,) = ask(snapshot, text, mode)
                at = hit["snippet_start"] + best_line(hit["snippet"], hit["marks"])
                assert {f"{hit['path']}:{at}", *hit["also"]} == told, mode


def test_cells_of_notebooks_are_told_one_by_one(tmp_path: Path) -> None:
    """Their lines are counted within the cell, so `path:line` says nothing of where they stand."""
    cells = [{"cell_type": "code", "source": text} for text in ("first = 1\n", NUMBAT)]
    books = {"a.ipynb": cells[1:], "b.ipynb": cells}
    files = {path: json.dumps({"nbformat": 4, "cells": each}) for path, each in books.items()}
    with loaded_of(tmp_path, {**files, "c.js": NUMBAT}.items()) as snapshot:
        for mode in ("hybrid", "semantic", "fts"):
            hits = ask(snapshot, "numbat retry", mode)
            assert {hit["path"] for hit in hits} == {"a.ipynb", "b.ipynb", "c.js"}, mode
            assert not any("also" in hit for hit in hits)


def test_copies_that_have_changed_or_gone_are_not_named(tmp_path: Path) -> None:
    files = [(f"m/{name}.js", NUMBAT) for name in "abcd"]
    with loaded_of(tmp_path, files) as snapshot:
        staleness = Staleness(tmp_path)

        def told() -> dict[str, Any]:
            (hit,) = answered(snapshot, Search("numbat retry", "fts"), EMBEDDER, SYSTEM, staleness)[
                "results"
            ]
            found: dict[str, Any] = hit
            return found

        assert told()["also"] == ["m/b.js:1", "m/c.js:1", "m/d.js:1"]
        (tmp_path / "m/b.js").unlink()
        (tmp_path / "m/c.js").write_text("// Nothing is left of it.\n")
        assert (told()["also"], told()["also_count"]) == (["m/d.js:1"], 1)
        (tmp_path / "m/d.js").unlink()
        assert not {"also", "also_count", "stale"} & told().keys()


def _shown(pieces: list[StoredChunk]) -> int:
    """How many calls it takes to show them all."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    shown = Shown()
    sys.setprofile(count)
    try:
        for chunk in pieces:
            lines = chunk.text[:40] + ("" if chunk.name else chunk.path)
            hit = {"path": chunk.path, "name": chunk.name, "snippet": lines}
            piece = Piece(0, chunk)
            assert not shown.has(piece)
            assert shown.add({**hit, "snippet_start": chunk.line_start, "marks": [(0, 1)]}, piece)
    finally:
        sys.setprofile(None)
    return calls


HEAD, TAIL = "a b c d e f\n" + "g " * 99, "x " * 99 + "\nu v w x y z\n"


@pytest.mark.parametrize(
    "nth",
    [
        lambda n: StoredChunk(f"{n}.c", "c", "", 1, 4, f"{HEAD} {n} {TAIL}"),
        lambda n: StoredChunk("a.c", "c", "", n, n, f"{HEAD} {n} {TAIL}"),
        lambda n: StoredChunk("a.c", "c", "", n, n, f"{HEAD} {TAIL}"),
        lambda n: StoredChunk(f"{n}.c", "c", f"A{n}.a", 1, 4, f"{HEAD} {TAIL}"),
    ],
    ids=["bodies", "windows", "the same", "names"],
)
def test_twice_as_many_pieces_take_twice_as_long(nth: Callable[[int], StoredChunk]) -> None:
    few, many = (_shown(list(map(nth, range(1, n)))) for n in (200, 400))
    assert many < 2.2 * few


def test_an_adopted_index_of_the_full_cidx_folds_copies_too(tmp_path: Path) -> None:
    text = SOURCE["net/retry.py"]
    written(tmp_path, {**SOURCE, "lib/retry.py": text, "bin/retry.py": text}, embedder=StandIn())
    adopted_snapshot = loaded(adopted(tmp_path))
    for mode in ("hybrid", "semantic", "fts"):
        hits = asked(adopted_snapshot, "retry when the peer disconnects", mode)["results"]
        copied = [hit for hit in hits if hit["path"].endswith("retry.py")]
        shown = [hit["snippet"] for hit in copied]
        assert len(shown) == len(set(shown)) > 2, mode
        assert all(hit["also_count"] == 2 for hit in copied[:2]), mode
    adopted_snapshot.close()


def test_a_client_is_told_whichever_way_it_asks(make_project: MakeProject) -> None:
    project = make_project({f"{each}/a.js": BACKOFF for each in ("bin", "lib")})
    build(project)
    with served(project), DaemonClient(project, start=False) as client:
        told = client.query("parcel backoff")
    (hit,) = told
    assert {f"{hit.path}:2", *hit.also} == {"bin/a.js:2", "lib/a.js:2"}
    assert hit.also_count == 1
    (plain,) = told.as_dict()["results"]
    assert plain["also"] == hit.also
    assert Hit.from_dict(plain) == hit
    lone = Hit.from_dict({**plain, "also": [], "also_count": 0})
    assert lone.also == ()
