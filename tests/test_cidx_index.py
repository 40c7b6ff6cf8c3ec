"""The full cidx's index, opened in place: what it answers, and that it is not touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from theirs import SOURCE, adopted, asked, cosines, loaded, theirs, traces, whole, written

from cidx_ref import FilesystemVectorStore
from cidx_ref.errors import GenerationGone, IndexUnusableError, NoIndexError
from cidx_ref.index import semantic
from cidx_ref.index.cidx import fulltext
from cidx_ref.index.cidx.checking import check_apart, check_here
from cidx_ref.index.cidx.tree import Job
from cidx_ref.index.filters import Filters
from cidx_ref.index.query import parsed
from cidx_ref.runtime import Runtime
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.cidx_format import (
    DIRECTORY,
    MODEL,
    Piece,
    StandIn,
    pieces_of,
    write_collection,
    write_empty_collection,
    write_fulltext,
    write_index,
)
from cidx_ref.testing.own.fixtures import git

pytestmark = pytest.mark.once


def lines_of(root: Path, hit: dict[str, Any]) -> list[str]:
    every: list[str] = (root / hit["path"]).read_text().split("\n")
    assert 1 <= hit["line_start"] <= hit["line_end"] <= len(every)
    return every[hit["line_start"] - 1 : hit["line_end"]]


# Semantic search.


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("with_graph", [False, True])
def test_the_ten_nearest_are_those_of_a_plain_comparison_with_all(
    tmp_path: Path, with_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_graph:  # as with many vectors
        monkeypatch.setattr(semantic, "EXACT_UP_TO", 4)
    files = {**SOURCE, "more.py": "\n".join(f"value_{n} = {n}  # word{n % 7}" for n in range(400))}
    pieces, index = written(tmp_path, files, lines=8, embedder=StandIn())
    snapshot = loaded(index)
    assert snapshot.unavailable == {}
    assert snapshot.semantic is not None
    for text in ("retry when the peer disconnects", "return", "word3 word5", "authentication"):
        expected = cosines(StandIn(), pieces, text)
        found = snapshot.semantic.search(StandIn().embed_query(text), 10)
        assert np.allclose([score for _, score in found], np.sort(expected)[::-1][:10], atol=2e-6)
        by_place = {(p.path, p.line_start): n for p, n in zip(pieces, expected, strict=True)}
        for hit in asked(snapshot, text, "semantic")["results"]:
            assert abs(by_place[hit["path"], hit["line_start"]] - hit["score"]) < 2e-6
            lines_of(tmp_path, hit)
    snapshot.close()


@pytest.mark.promise("QRY-1")
def test_what_is_marked_deleted_is_not_found_and_labels_may_begin_anywhere(tmp_path: Path) -> None:
    text = SOURCE["net/retry.py"]
    (tmp_path / "a.py").write_text(text)
    pieces = list(pieces_of("a.py", text, lines=8))
    vectors = StandIn().embed_documents([p.text for p in pieces])
    gone = {1007, 1009}
    write_collection(
        tmp_path / DIRECTORY / "index" / MODEL, pieces, vectors, blobs={}, texts=True,
        deleted=gone, first_label=1000,
    )  # fmt: skip
    index = adopted(tmp_path)
    snapshot = loaded(index)
    hits = asked(snapshot, "retry number", "semantic", limit=100)["results"]
    places = {hit["line_start"] for hit in hits}
    assert places.isdisjoint(pieces[label - 1000].line_start for label in gone)
    assert len(asked(snapshot, "call", "semantic", limit=100)["results"]) > 5
    # Without a full text, that engine is missing, and hybrid says so.
    assert "fts" in asked(snapshot, "retry", "hybrid")["unavailable"]
    snapshot.close()


@pytest.mark.promise("QRY-1")
def test_the_collection_is_that_of_the_embedders_model_and_an_empty_one_is_none(
    tmp_path: Path,
) -> None:
    pieces = write_index(tmp_path, SOURCE, embedder=StandIn(32, "other:model/x"))
    directory = tmp_path / DIRECTORY / "index"
    (directory / "other:model/x").rename(directory / "other_model_x")
    write_empty_collection(directory / "zzz", 64)
    vectors = StandIn().embed_documents([p.text for p in pieces])
    blobs: dict[str, str] = {}
    write_collection(directory / MODEL, pieces, vectors, blobs=blobs, texts=True)
    for embedder, name in (StandIn(32, "other:model/x"), "other_model_x"), (StandIn(), MODEL):
        index = adopted(tmp_path, embedder)
        assert index.describe()["model"] == name
        snapshot = loaded(index)
        assert snapshot.unavailable == {}
        assert asked(snapshot, "retry", "semantic")["results"]
        snapshot.close()


@pytest.mark.promise("QRY-3")
def test_without_its_model_only_the_full_text_answers_and_every_answer_says_so(
    tmp_path: Path,
) -> None:
    write_index(tmp_path, SOURCE)
    index = adopted(tmp_path, StandIn(64, "another"))
    snapshot = loaded(index)
    for mode in ("hybrid", "fts", "literal"):
        answer = asked(snapshot, "retry", mode)
        assert answer["results"]
        assert MODEL in answer["unavailable"]["semantic"]
        assert "another" in answer["unavailable"]["semantic"]
        assert answer["source"] == "cidx"
    with pytest.raises(IndexUnusableError, match="were made with the model"):
        asked(snapshot, "retry", "semantic")
    assert MODEL in index.describe()["problems"]["semantic"]
    snapshot.close()


# Full text.


def shown_by(hits: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Path and number of each line that `hits` show."""
    return {
        (hit["path"], hit["snippet_start"] + n)
        for hit in hits
        for n in range(hit["snippet"].count("\n") + 1)
    }


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("by_file", [False, True])
def test_full_text_finds_what_a_scan_of_the_texts_finds(tmp_path: Path, by_file: bool) -> None:
    pieces, index = written(tmp_path, by_file=by_file, lines=12)
    snapshot = loaded(index)
    words = sorted({w for p in pieces for w in re.findall(r"[a-z]+\d*", p.text.lower())})
    assert len(words) > 60
    for word in words[::3]:
        hits = asked(snapshot, word, "fts", limit=1000)["results"]
        pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", re.IGNORECASE)
        paths = {p for p, text in SOURCE.items() if pattern.search(text)}
        assert paths <= {hit["path"] for hit in hits}, word
        assert hits, word
        if not by_file:
            found, shown = {(hit["path"], hit["line_start"]) for hit in hits}, shown_by(hits)
            for piece in pieces:  # windows overlap: what one shows, another one need not show again
                at = (piece.path, piece.line_start)
                lines = enumerate(piece.text.split("\n"), piece.line_start)
                said = {(piece.path, n) for n, line in lines if pattern.search(line)}
                assert not said or at in found or said & shown or len(hits) > 8
        for hit in hits:
            lines_of(tmp_path, hit)
            assert hit["snippet"] in (tmp_path / hit["path"]).read_text()
    snapshot.close()


@pytest.mark.promise("QRY-2")
def test_a_word_is_found_in_its_other_forms_and_as_a_part_of_a_name(tmp_path: Path) -> None:
    _, index = written(tmp_path)
    snapshot = loaded(index)

    def first(text: str) -> str:
        hits = asked(snapshot, text, "fts")["results"]
        return str(hits[0]["path"]) if hits else ""

    assert first("disconnecting retries") == "net/retry.py"
    assert first("parseHTTPHeaders") == "web/app.js"
    assert first("expireOldSessions") == "auth/login.py"
    assert first("HTTP") == "web/app.js"  # within a token
    assert first('"retry helper"') == "README.md"
    assert first("qqqzzz") == ""
    for odd in ("foo(", "IN PLACE", "a AND", "x:y", "self.x = {", "std::vector", '"', "…", "()"):
        asked(snapshot, odd, "hybrid")
    snapshot.close()


@pytest.mark.promise("QRY-2", "QRY-4")
@pytest.mark.promise("PERF-2")
def test_names_of_words_that_are_everywhere_are_not_looked_for_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions are read for each document that has both; of 100,000 that takes a while."""
    files = {f"a{n}.py": f"load a file  # {n}\n" for n in range(9)}
    _, index = written(tmp_path, {**files, "z.py": "load_file\nrare_file\n"})
    snapshot = index.load(index.current())
    monkeypatch.setattr(fulltext, "_MOST_IN_A_ROW", 12)
    for text, count in {
        "load_file": 1,  # ten documents
        "load_file file_load": 1,  # ten for each
        "rare_file load_file": 2,  # one, and ten
        "load_file rare_file file_load": 2,
    }.items():
        assert snapshot.fulltext is not None
        clauses = repr(snapshot.fulltext._clauses(parsed(text)))
        assert clauses.count("PhraseQuery") == count, (text, clauses)
        found = [hit["path"] for hit in asked(snapshot, text, "fts")["results"]]
        assert found[0] == "z.py", (text, found)
        assert len(found) == 10
    snapshot.close()


def test_a_word_that_the_tokenizer_leaves_out_is_found_by_the_texts(tmp_path: Path) -> None:
    word = "a" + "b" * 60
    _, index = written(tmp_path, {"a.py": f"x = {word}\n", "b.py": "y = 1\n"})
    snapshot = loaded(index)
    assert [hit["path"] for hit in asked(snapshot, word, "fts")["results"]] == ["a.py"]
    snapshot.close()


@pytest.mark.promise("QRY-2")
def test_filters_let_through_the_same_in_every_mode(tmp_path: Path) -> None:
    _, index = written(tmp_path, lines=8)
    snapshot = loaded(index)
    for mode in ("semantic", "fts", "hybrid", "literal"):
        every = asked(snapshot, "retry", mode, limit=500)["results"]
        assert len({hit["path"] for hit in every}) > 1
        only = asked(snapshot, "retry", mode, filters=Filters(paths=("*.md",)))["results"]
        assert {hit["path"] for hit in only} == {"README.md"}
        others = Filters(languages=("python",))
        found = asked(snapshot, "retry", mode, filters=others)["results"]
        assert {hit["language"] for hit in found} == {"python"}
    answer = asked(snapshot, "retry", filters=Filters(paths=("nothing/",)))
    assert (answer["results"], "unmatched" in answer) == ([], True)
    snapshot.close()


@pytest.mark.promise("QRY-3")
def test_a_hit_has_our_shape_with_name_and_kind_and_both_engines_mean_the_same_chunk(
    tmp_path: Path,
) -> None:
    _, index = written(tmp_path)
    snapshot = loaded(index)
    answer = asked(snapshot, "expire_old_sessions", "hybrid", explain=True)
    assert answer["semantic_count"] > 0
    assert answer["fts_count"] > 0
    hit = answer["results"][0]
    assert (hit["path"], hit["line_start"], hit["line_end"]) == ("auth/login.py", 1, 3)
    assert (hit["name"], hit["kind"], hit["language"]) == (
        "SessionStore.expire_old_sessions",
        "method",
        "python",
    )
    assert {"fulltext", "semantic"} <= hit["signals"].keys()
    assert asked(snapshot, "SessionStore", "fts")["results"][0]["path"] == hit["path"]
    assert len(answer["results"]) == len({(h["path"], h["line_start"]) for h in answer["results"]})
    snapshot.close()


@pytest.mark.parametrize("by_file", [False, True])
def test_absolute_paths_mean_the_project_be_it_moved(tmp_path: Path, by_file: bool) -> None:
    root = tmp_path / "here"
    root.mkdir()
    write_index(root, SOURCE, by_file=by_file, path_of=lambda path: f"/srv/there/{path}")
    with pytest.raises(IndexUnusableError, match="leads elsewhere"):
        adopted(root)
    (root / DIRECTORY / "config.json").write_text(json.dumps({"codebase_dir": "/srv/there"}))
    index = adopted(root)
    snapshot = loaded(index)
    assert {h["path"] for h in asked(snapshot, "retry", limit=50)["results"]} <= SOURCE.keys()
    assert snapshot.unavailable == {}
    snapshot.close()
    write_index(root, SOURCE, path_of=lambda path: f"{root}/{path}")


# Where the texts come from.


@pytest.mark.promise("FRESH-3")
def test_of_a_file_that_has_changed_the_text_comes_from_git_and_the_hit_says_so(
    tmp_path: Path,
) -> None:
    write_index(tmp_path, SOURCE)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "net", "auth")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "net/retry.py").write_text("nothing = 1\n")
    index = adopted(tmp_path)
    snapshot = loaded(index)
    hits = asked(snapshot, "retry number 17", "semantic")["results"]
    old = [hit for hit in hits if hit["path"] == "net/retry.py"]
    assert old
    assert all(hit["stale"] and "retry" in hit["snippet"].lower() for hit in old)
    assert index.describe()["left_out"] == 0
    assert not any(hit.get("stale") for hit in hits if hit["path"] != "net/retry.py")
    snapshot.close()


def test_where_a_version_is_nowhere_its_points_are_left_out_and_counted(tmp_path: Path) -> None:
    pieces = write_index(tmp_path, SOURCE)
    (tmp_path / "net/retry.py").write_text("nothing = 1\n")
    index = adopted(tmp_path)
    gone = sum(p.path == "net/retry.py" for p in pieces)
    assert index.describe()["left_out"] == gone > 0
    snapshot = loaded(index)
    # The full text has texts of its own.
    hits = asked(snapshot, "disconnects", "fts")["results"]
    assert hits
    assert all(hit["stale"] for hit in hits)
    assert "net/retry.py" not in {h["path"] for h in asked(snapshot, "call", "semantic")["results"]}
    snapshot.close()


def test_points_that_have_their_texts_with_them_need_no_git(tmp_path: Path) -> None:
    write_index(tmp_path, SOURCE, texts=True)
    (tmp_path / "net/retry.py").unlink()
    index = adopted(tmp_path)
    snapshot = loaded(index)
    assert index.describe()["left_out"] == 0
    hits = asked(snapshot, "retry number", "semantic")["results"]
    assert {hit.get("stale", False) for hit in hits if hit["path"] == "net/retry.py"} == {True}
    assert not any(hit.get("stale") for hit in hits if hit["path"] == "README.md")
    snapshot.close()


# It is not touched, and not believed.


@pytest.mark.promise("TRUST-1")
def test_nothing_in_the_tree_is_made_changed_or_locked(tmp_path: Path) -> None:
    write_index(tmp_path, SOURCE)
    for lock in (tmp_path / DIRECTORY / "tantivy_index").glob(".tantivy-*.lock"):
        lock.unlink()
    before, contents = traces(tmp_path), whole(tmp_path)
    before = traces(tmp_path)
    for check in (None, check_apart):
        index = adopted(tmp_path, **({"check": check} if check else {}))
        snapshot = loaded(index)
        for mode in ("semantic", "fts", "hybrid", "literal", "regex"):
            assert asked(snapshot, "retry", mode)["results"]
        index.describe()
        snapshot.close()
    store = FilesystemVectorStore(tmp_path)
    store._load_hnsw_index()
    store._load_id_mapping()
    assert traces(tmp_path) == before
    assert whole(tmp_path) == contents


@pytest.mark.promise("TRUST-2")
def test_what_was_not_adopted_is_not_used_and_one_line_says_what_to_type(tmp_path: Path) -> None:
    index = theirs(tmp_path)
    with pytest.raises(NoIndexError, match="there is no index of the full cidx"):
        index.current()
    assert index.describe() == {}
    write_index(tmp_path, SOURCE)
    with pytest.raises(NoIndexError, match="`cidx-ref adopt` takes it"):
        index.current()
    assert index.describe()["adopted"] is False
    index.adopt()
    assert theirs(tmp_path).current() == index.current()
    assert theirs(tmp_path).describe()["adopted"] is True


@pytest.mark.promise("TRUST-2")
def test_what_was_checked_is_checked_once_and_a_changed_index_again(tmp_path: Path) -> None:
    checks: list[str] = []

    def counted(job: Job, runtime: Runtime) -> dict[str, Any]:
        checks.append(job.found.generation)
        return check_here(job, runtime)

    write_index(tmp_path, SOURCE)
    index = adopted(tmp_path, check=counted)
    for _ in range(3):
        loaded(index).close()
    theirs(tmp_path, check=counted).load(index.current()).close()
    assert len(checks) == 1
    old = index.current()
    write_index(tmp_path, {**SOURCE, "new.py": "brand_new = 1\n"})
    assert index.current() != old
    with pytest.raises(GenerationGone):
        index.load(old)
    snapshot = loaded(index)
    assert asked(snapshot, "brand_new", "fts")["results"]
    snapshot.close()
    assert len(checks) == 2
    # A record that this account has not signed says nothing.
    (record,) = index._keeping.path.glob("cidx-*/record.json")
    said = json.loads(record.read_text())
    record.write_text(json.dumps({**said, "problems": {}, "chunks": said["chunks"] + 1}))
    loaded(index).close()
    assert len(checks) == 3


@pytest.mark.promise("CACHE-4")
def test_a_new_graph_with_an_old_description_is_read_again(tmp_path: Path) -> None:
    pieces, index = written(tmp_path)
    collection = tmp_path / DIRECTORY / "index" / MODEL
    backwards = pieces[::-1]
    vectors = StandIn().embed_documents([p.text for p in backwards])
    waited: list[float] = []

    class Patient(FakeRuntime):
        def sleep(self, seconds: float) -> None:
            waited.append(seconds)

    class Published(FakeRuntime):
        def sleep(self, seconds: float) -> None:
            meta = collection / "collection_meta.json"
            meta.write_bytes(meta.read_bytes() + b" ")

    # The same number of vectors, of the same points: only which is which has changed.
    def meanwhile() -> None:
        reading = theirs(tmp_path, runtime=Patient())
        snapshot = loaded(reading)
        assert "not the vectors" in snapshot.unavailable["semantic"]
        assert asked(snapshot, "retry", "fts")["results"]
        snapshot.close()
        reading = theirs(tmp_path, runtime=Published())
        (record,) = index._keeping.path.glob("cidx-*/record.json")
        record.unlink()
        with pytest.raises(GenerationGone):
            reading.load(reading.current())

    write_collection(collection, backwards, vectors, blobs={}, texts=True, between=meanwhile)
    assert 2 < len(waited) <= 20, "bounded, and more than once"
    snapshot = loaded(index)
    assert snapshot.unavailable == {}
    snapshot.close()


def test_a_file_that_vanishes_means_read_again(tmp_path: Path) -> None:
    _, index = written(tmp_path)
    old = index.current()
    found = index._found()
    text = tmp_path / DIRECTORY / "tantivy_index"
    write_fulltext(text, [Piece("b.py", 1, 1, "more = 1")])  # a second segment
    next(text.glob("*.store")).unlink()
    with pytest.raises(GenerationGone):
        index.load(old)
    assert index._found() != found
    snapshot = loaded(index)
    assert "missing" in snapshot.unavailable["fts"]
    assert asked(snapshot, "retry", "semantic")["results"]
    snapshot.close()


@pytest.mark.promise("TRUST-2")
def test_a_file_that_was_changed_in_its_place_is_checked_again(tmp_path: Path) -> None:
    _, index = written(tmp_path)
    loaded(index).close()
    store = next((tmp_path / DIRECTORY / "tantivy_index").glob("*.store"))
    data = bytearray(store.read_bytes())
    data[40] ^= 1
    store.write_bytes(data)
    for _ in range(2):
        snapshot = loaded(index)
        assert "its checksum" in snapshot.unavailable["fts"]
        assert asked(snapshot, "retry", "semantic")["results"]
        snapshot.close()


def test_documents_without_lines_are_whole_files(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).mkdir()
    text = "".join(f"def one_{n}():\n    return {n}\n\n\n" for n in range(200))
    (tmp_path / "a.py").write_text(text)
    write_fulltext(tmp_path / DIRECTORY / "tantivy_index", [Piece("a.py", 0, 0, text)])
    index = adopted(tmp_path)
    snapshot = loaded(index)
    hit = asked(snapshot, "one_117", "fts")["results"][0]
    assert "one_117" in "\n".join(lines_of(tmp_path, hit))
    assert hit["line_end"] - hit["line_start"] < 100
    assert "has no vectors here" in snapshot.unavailable["semantic"]
    snapshot.close()


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize(
    "name",
    ["index", "tantivy_index", f"index/{MODEL}/hnsw_index.bin", f"index/{MODEL}/id_index.bin",
     f"index/{MODEL}/collection_meta.json", "tantivy_index/meta.json"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_links_and_fifos_are_not_followed_nor_waited_for(
    tmp_path: Path, name: str, kind: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_index(root, SOURCE)
    there = root / DIRECTORY / name
    there.rename(tmp_path / "elsewhere")
    if kind == "link":
        there.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(there)
    try:
        index = adopted(root)
        snapshot = loaded(index)
    except (IndexUnusableError, NoIndexError):
        return
    assert len(snapshot.unavailable) == 1
    snapshot.close()


@pytest.mark.promise("TRUST-2")
def test_the_storys_store_loads_what_it_has_checked(tmp_path: Path) -> None:
    with pytest.raises(NoIndexError):
        FilesystemVectorStore(tmp_path)._load_hnsw_index()
    pieces = write_index(tmp_path, SOURCE)
    store = FilesystemVectorStore(tmp_path)
    index, ids = store._load_hnsw_index(), store._load_id_mapping()
    index.set_ef(64)
    labels, distances = index.knn_query(StandIn().embed_query("retry helper"), k=3)
    expected = np.sort(cosines(StandIn(), pieces, "retry helper"))[::-1][:3]
    assert np.allclose(1 - distances[0], expected, atol=1e-6)
    assert all(ids[int(label)] == pieces[int(label)].id for label in labels[0])
    graph = tmp_path / DIRECTORY / "index" / MODEL / "hnsw_index.bin"
    data = bytearray(graph.read_bytes())
    data[96 + 4 : 96 + 8] = b"\xff\xff\xff\x7f"  # a link to nowhere
    graph.write_bytes(data)
    with pytest.raises(IndexUnusableError, match="a link to nowhere"):
        store._load_hnsw_index()


def test_a_search_from_the_shell_loads_no_engine() -> None:
    program = "import sys, cidx_ref.cli; print([m for m in sys.modules if 'cidx_ref.index' in m])"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cidx_ref.index.cidx" not in found.stdout


@pytest.mark.promise("TRUST-2")
def test_files_that_were_exchanged_have_right_checksums_and_are_noticed(tmp_path: Path) -> None:
    write_index(tmp_path, SOURCE, lines=8)
    text = tmp_path / DIRECTORY / "tantivy_index"
    write_fulltext(text, [Piece("web/app.js", 1, 3, "an altogether other document")])
    one, other = sorted(text.glob("*.idx"))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    index = adopted(tmp_path)
    snapshot = loaded(index)
    assert "full text" in snapshot.unavailable["fts"]
    assert asked(snapshot, "retry", "semantic")["results"]
    snapshot.close()


@pytest.mark.promise("QRY-2")
def test_a_word_as_it_was_typed_comes_before_its_other_forms_and_all_forms_are_one_word(
    tmp_path: Path,
) -> None:
    noise = {f"noise/n{n}.py": f"zebra_{n} = {n}\n" * 3 for n in range(60)}
    files = {
        "typed.py": "# retry now\n",
        "other.py": "# retried now\n",
        "forms.py": "# retry retries retried retrying now\n",
        "both.py": "# retries the socket\n",
        "socket.py": "# sockets are here\n",
    }
    _, index = written(tmp_path, {**files, **noise})
    with closing(loaded(index)) as snapshot:
        one = [hit["path"] for hit in asked(snapshot, "retry", "fts")["results"]]
        assert set(one) == {"typed.py", "other.py", "forms.py", "both.py"}
        assert one.index("typed.py") < one.index("other.py")
        two = [hit["path"] for hit in asked(snapshot, "socket retries", "fts")["results"]]
        assert two[0] == "both.py"
        assert set(two) == files.keys()
