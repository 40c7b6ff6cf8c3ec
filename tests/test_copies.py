"""A piece that stands in many places is one hit, which says where else: among thousands of chunks.

Copies of built code, vendored packages, and a licence above each file.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loaded import loaded_of
from theirs import SOURCE, adopted, asked, loaded, written

from cidx_ref.client import DaemonClient
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.results import Hit
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
TWICE = "function twiceTold(wombat) {\n" + "  dig(wombat);\n" * 30 + "}\n"
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
    for n in range(700):
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
