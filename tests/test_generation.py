"""Generations on disk: damage is found before it is loaded, and an index run repairs it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from depth import by_default
from segments import graphs, indexed, live, nothing_tiny, segment
from trees import open_below

from cidx_ref.cli import main
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import (
    BusyError,
    GenerationGone,
    IndexingError,
    IndexUnusableError,
    NoIndexError,
    UntrustedError,
)
from cidx_ref.index import build, fulltext, making, merging
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.index.ours import OurIndex
from cidx_ref.index.plan import SegmentSize
from cidx_ref.index.port import RunOptions, Search
from cidx_ref.index.source import GenerationSource
from cidx_ref.keys import account_key
from cidx_ref.project import Project
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, write

pytestmark = pytest.mark.once

QUERY = "retry when the peer disconnects"
STORE = ("chunks.bin", "chunks.npy", "files.json", "words.txt")
#: What has vectors, of which nothing else is known to be damaged, costs one engine.
VECTORS = ("vectors.f32", "vectors.hnsw")


def index(project: Project) -> str:
    return str(bring_up_to_date(project, HashingEmbedder())["generation"])


@contextmanager
def service_of(project: Project) -> Iterator[CIDXDaemonService]:
    service = CIDXDaemonService(project.root)
    yield service
    service.exposed_clear_cache()


def assert_whole(project: Project) -> None:
    """The live generation is what its manifest says, is the only one, and answers."""
    directory = live(project)
    assert damaged_files(directory, read_manifest(directory)) == {}
    assert sorted(os.listdir(project.generations)) == [directory.name, "current"]
    with service_of(project) as service:
        answer = service.exposed_query_hybrid(str(project.root), QUERY)
    assert answer["results"][0]["path"] == "net/retry.py"
    assert "unavailable" not in answer


NOT_OURS = r"^the index here \('{}'\) was not made by this account, or was changed since"


def assert_repaired(project: Project, *removed: str) -> None:
    """What does not verify is no index to a query, which says what to do; an index run removes
    `removed`, says so, and leaves a whole index and nothing else."""
    report = bring_up_to_date(project, HashingEmbedder())
    assert (report["changed"], report["removed"]) == (True, list(removed))
    assert_whole(project)


def assert_no_index(project: Project, said: str) -> None:
    with service_of(project) as service:
        for ask in (
            service.exposed_query,
            service.exposed_query_fts,
            service.exposed_query_hybrid,
        ):
            with pytest.raises(NoIndexError, match=said):
                ask(str(project.root), QUERY)
        status = service.exposed_get_status()
        assert (status["running"], status["generation"]) == (True, None)
        assert re.search(said, status["index_problem"])
        assert service.exposed_get_diagnostics()["index_files"] == {
            "generation": None,
            "matches_manifest": None,
            "damaged": {},
        }


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def _make_a_directory_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit flipped": lambda path: path.write_bytes(flip(path.read_bytes())),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "a directory": _make_a_directory_of,
}
NEEDS_CONTENT = ("one bit flipped", "truncated", "emptied")

#: Of the first graph and of the last matrix each file, and what is dead.
SOME_OF_EACH = [
    *(f"0/{name}" for name in (*STORE, "vectors.hnsw")),
    *(f"3/{name}" for name in (*STORE, "vectors.f32")),
    "dead.json",
]


def in_its_segment(project: Project, name: str) -> str:
    """The name in the manifest of what `SOME_OF_EACH` names."""
    number, _, plain = name.rpartition("/")
    return f"{segment(live(project), int(number)).name}/{plain}" if number else plain


@pytest.mark.promise("QRY-3", "WRITE-3")
@pytest.mark.parametrize("damage", by_default(DAMAGE, "one bit flipped", "deleted", "a directory"))
def test_a_damaged_file_costs_at_most_the_engine_that_needs_it_and_indexing_repairs_it(
    segmented: Project, tmp_path: Path, damage: str
) -> None:
    """Every file of the first graph and of the last matrix, and of the full text one of a kind."""
    project = segmented
    whole = shutil.copytree(project.directory, tmp_path / "whole", symlinks=True)
    found = read_manifest(live(project))["files"]
    names = [in_its_segment(project, name) for name in SOME_OF_EACH]
    fulltext = [name for name in sorted(found) if name.startswith("fulltext/")]
    names += {Path(name).suffix: name for name in fulltext}.values()
    names += ["fulltext/.managed.json"]
    assert len(names) > len(SOME_OF_EACH) + 6
    for name in dict.fromkeys(names):
        shutil.rmtree(project.directory)
        shutil.copytree(whole, project.directory, symlinks=True)
        if damage in NEEDS_CONTENT and (live(project) / name).stat().st_size == 0:
            continue
        DAMAGE[damage](live(project) / name)
        with service_of(project) as service:
            if name == "dead.json" or name.endswith(STORE):
                with pytest.raises(IndexUnusableError, match=name):
                    service.exposed_query_hybrid(str(project.root), QUERY)
            else:
                lost = "semantic" if name.endswith(VECTORS) else "fts"
                answer = service.exposed_query_hybrid(str(project.root), QUERY)
                assert answer["results"][0]["path"] == "net/retry.py", name
                assert list(answer["unavailable"]) == [lost], name
                assert name in answer["unavailable"][lost]
                ask = service.exposed_query if lost == "semantic" else service.exposed_query_fts
                with pytest.raises(IndexUnusableError, match=name):
                    ask(str(project.root), QUERY)
        before = live(project)
        assert index(project) != before.name
        assert_whole(project)


@pytest.mark.promise("WRITE-3")
def test_what_lies_in_the_place_of_a_lock_is_named_and_repaired_by_indexing(
    segmented: Project,
) -> None:
    """No manifest names locks, and the full text is not opened where one is something else."""
    lock = live(segmented) / "fulltext" / ".tantivy-meta.lock"
    lock.unlink()
    lock.mkdir()
    with service_of(segmented) as service:
        answer = service.exposed_query_hybrid(str(segmented.root), QUERY)
        assert "is a directory" in answer["unavailable"]["fts"]
    assert index(segmented) != lock.parent.parent.name
    assert_whole(segmented)


@pytest.mark.promise("WRITE-3")
def test_no_manifest_names_a_lock_however_late_the_engine_makes_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tantivy looks at a new index from a thread of its own, which may come after the commit."""
    commit = fulltext.FullTextWriter.commit

    def commit_and_look_late(writer: fulltext.FullTextWriter) -> None:
        commit(writer)
        with writer._directory.writer(".tantivy-meta.lock"):
            pass

    monkeypatch.setattr(fulltext.FullTextWriter, "commit", commit_and_look_late)
    write(project.root, "new.py", "def new():\n    return 1\n")
    index(project)
    named = read_manifest(live(project))["files"]
    assert "fulltext/meta.json" in named
    assert not [name for name in named if ".tantivy-" in name]


@pytest.mark.promise("CACHE-7")
@pytest.mark.parametrize("functions", [1, 2])
def test_what_was_closed_has_no_file_of_its_segments_open(
    make_project: MakeProject, functions: int
) -> None:
    """Whoever still has a part of it: one that is in a cycle waits for the collector."""
    text = "".join(f"def quokka_{n}(x):\n    return x\n\n\n" for n in range(functions))
    project = make_project({"a.py": text})
    index(project)
    source = GenerationSource(project.generations, HashingEmbedder())
    snapshot = source.load(source.current())
    parts = snapshot.chunks.parts
    assert len(snapshot.chunks) == functions
    snapshot.close()
    left = {path for _, path in open_below(project.generations) if "fulltext" not in path}
    assert not left, parts


@pytest.mark.promise("QRY-3")
def test_of_a_folder_that_is_empty_some_files_are_named_and_the_others_counted(
    segmented: Project,
) -> None:
    fulltext = live(segmented) / "fulltext"
    names = sorted(path.name for path in fulltext.iterdir() if path.suffix != ".lock")
    for path in list(fulltext.iterdir()):
        path.unlink()
    with service_of(segmented) as service:
        answer = service.exposed_query_hybrid(str(segmented.root), QUERY)
    named = "; ".join(f"fulltext/{name}: missing" for name in names[:3])
    said = f"({named}; {len(names) - 3} more): run `cidx-ref index --full`"
    assert answer["unavailable"] == {"fts": f"the index is damaged {said}"}


def rotten(project: Project, name: str) -> Path:
    """Have one bit of a file of the live generation be another: the path of that."""
    generation = live(project)
    path = generation / name
    path.write_bytes(flip(path.read_bytes()))
    assert damaged_files(generation, read_manifest(generation)) == {name: "wrong checksum"}
    return generation


@pytest.mark.promise("FRESH-4", "WRITE-3")
@pytest.mark.parametrize("name", [name for name in SOME_OF_EACH if name != "dead.json"])
@pytest.mark.parametrize("where", ["taken in", "merged"])
def test_a_run_that_meets_damage_of_what_a_daemon_has_verified_indexes_all_anew(
    segmented: Project, monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    """Whichever part of the run it is that reads the segment; and the daemon, which has in memory
    what is damaged by now, goes on answering."""
    index = OurIndex(segmented)
    loaded = index.load(index.current())
    before = rotten(segmented, in_its_segment(segmented, name))

    def every(sizes: Iterable[SegmentSize], *_: object) -> list[str]:
        return [size.id for size in sizes]

    if where == "taken in":
        monkeypatch.setattr(making, "taken_in", every)
    else:
        monkeypatch.setattr(build, "is_merge_due", lambda *_: True)
        monkeypatch.setattr(merging, "is_merge_due", lambda sizes, *_: len(sizes) > 1)
        monkeypatch.setattr(merging, "due_merge", every)
    write(segmented.root, "more/new.py", "def new():\n    return 1\n")
    report = bring_up_to_date(segmented, HashingEmbedder(), verified=before.name)
    assert (report["changed"], report["files"], report["merge_due"]) == (True, 12, False)
    answer = loaded.answer(Search(QUERY))
    assert (answer["results"][0]["path"], answer.get("unavailable")) == ("net/retry.py", None)
    loaded.close()
    index.sweep()
    assert_whole(segmented)


@pytest.mark.promise("WRITE-3")
def test_a_run_that_fails_where_nothing_is_damaged_is_not_begun_again(project: Project) -> None:
    asked: list[list[str]] = []

    class Failing(HashingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Any:
            asked.append(list(texts))
            raise ValueError("out of order")

    write(project.root, "new.py", "def new():\n    return 1\n")
    with pytest.raises(IndexingError, match=r"ValueError; see daemon\.log"):
        bring_up_to_date(project, Failing(), verified=live(project).name)
    assert len(asked) == 1


@pytest.mark.promise("FRESH-4", "WRITE-3")
def test_a_merge_that_meets_damage_is_given_up_and_the_next_run_indexes_all_anew(
    make_project: MakeProject,
) -> None:
    project = make_project()
    with graphs(), nothing_tiny():
        for number in range(4):  # of graphs so many are merged
            write(project.root, f"more/{number}.py", f"def of_{number}():\n    return {number}\n")
            report = indexed(project)
    assert report["merge_due"]
    index = OurIndex(project)
    loaded = index.load(index.current())
    rotten(project, f"{segment(live(project)).name}/chunks.bin")
    with pytest.raises(IndexUnusableError, match=r"chunks\.bin: wrong checksum"):
        index.begin_run(RunOptions(merge=True)).run(Unheard())
    write(project.root, "more/new.py", "def new():\n    return 1\n")
    assert index.begin_run(RunOptions()).run(Unheard())["files"] == 9
    assert loaded.answer(Search(QUERY))["results"][0]["path"] == "net/retry.py"
    loaded.close()
    index.sweep()
    assert_whole(project)


class Unheard:
    """Agrees to all that a run does."""

    def ready(self, generation: str) -> None:
        pass

    def waiting(self) -> None:
        pass

    def scanning(self) -> None:
        pass

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        pass

    def progress(self, current: int, total: int, path: str, info: str) -> None:
        pass


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.deep)])
def test_whatever_bit_of_the_manifest_flips_it_is_no_index_of_ours_or_unharmed(
    project: Project, bits: int
) -> None:
    manifest = live(project) / "manifest.json"
    whole = manifest.read_bytes()
    said = read_manifest(manifest.parent)
    source = GenerationSource(project.generations, HashingEmbedder())
    odd: dict[str, str] = {}
    for position in range(len(whole)):
        for bit in range(bits):  # of each byte; or one of each, another one each time
            flipped = bytearray(whole)
            flipped[position] ^= 1 << (position + bit) % 8
            manifest.write_bytes(flipped)
            try:
                snapshot = source.load(source.current())
                assert snapshot.manifest == said
                snapshot.close()
            except NoIndexError:
                pass
            except Exception as error:
                line = bytes(flipped).splitlines()[whole[:position].count(b"\n")]
                odd[repr(error)] = line.decode("latin-1")
    assert odd == {}


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("name", SOME_OF_EACH)
def test_a_file_that_the_manifest_does_not_vouch_for_is_not_loaded(
    segmented: Project, name: str
) -> None:
    project, name = segmented, in_its_segment(segmented, name)
    path = live(project) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["files"][name]
    path.write_text(json.dumps(manifest))
    (live(project) / name).write_bytes(flip((live(project) / name).read_bytes()))
    spoiled = live(project).name
    assert_no_index(project, NOT_OURS.format(spoiled))
    assert_repaired(project, spoiled)


@pytest.mark.promise("WRITE-3", "QRY-3")
@pytest.mark.parametrize("name", SOME_OF_EACH)
def test_a_file_that_a_manifest_of_ours_does_not_name_is_not_loaded(
    segmented: Project, name: str
) -> None:
    project, name = segmented, in_its_segment(segmented, name)
    path = live(project) / "manifest.json"
    manifest = read_manifest(live(project))
    del manifest["files"][name]
    path.write_text(json.dumps({**manifest, "digest": account_key().digest(manifest)}))
    with service_of(project) as service:
        if not name.endswith(VECTORS):
            with pytest.raises(IndexUnusableError, match=name):
                service.exposed_query_hybrid(str(project.root), QUERY)
        else:
            answer = service.exposed_query_hybrid(str(project.root), QUERY)
            assert list(answer["unavailable"]) == ["semantic"]
    assert_repaired(project)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"format": 7}',
        b'{"format": 7, "files": []}',
        b'{"format": 7, "files": {"dead.json": 3}, "embedder": {}, "space": "cosine"}',
        None,
    ],
)
def test_a_manifest_that_is_none_is_reported_and_repaired_by_indexing(
    project: Project, manifest: bytes | None
) -> None:
    path = live(project) / "manifest.json"
    path.unlink()
    if manifest is None:
        path.mkdir()
    else:
        path.write_bytes(manifest)
    spoiled = live(project).name
    assert_no_index(project, NOT_OURS.format(spoiled))
    assert_repaired(project, spoiled)


@pytest.mark.promise("WRITE-3")
def test_a_query_from_the_shell_is_answered_beside_a_damaged_manifest_and_index_removes_it(
    project: Project, running: Callable[[Project], int], capfd: pytest.CaptureFixture[str]
) -> None:
    spoiled = live(project)
    (spoiled / "manifest.json").write_text("{")
    running(project)
    where = ("--project", str(project.root))
    said = NOT_OURS.format(spoiled.name)
    assert main(["query", QUERY, "--no-build", *where]) == 2
    assert re.search(said.replace("^", "^cidx-ref: "), capfd.readouterr().err)
    assert main(["query", QUERY, *where]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("net/retry.py:")
    assert "cidx-ref: " not in err  # but for how far it has come
    # Beside it: that it may be removed, nobody has said.
    made = live(project)
    assert made.name != spoiled.name
    assert sorted(os.listdir(project.generations)) == [spoiled.name, made.name, "current"]
    assert (spoiled / "manifest.json").read_text() == "{"
    assert main(["index", *where]) == 0
    out, err = capfd.readouterr()
    assert re.fullmatch(
        rf"up to date: 4 files, .* \(generation {made.name}\)"
        rf"; removed, not signed by this account: {spoiled.name}\n",
        out,
    )
    assert "cidx-ref: " not in err
    assert_whole(project)


class Other(HashingEmbedder):
    """As many dimensions, and other vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.id = "another"


@pytest.mark.promise("WRITE-3", "QRY-3")
@pytest.mark.parametrize("embedder", [Other(), HashingEmbedder(dim=64)])
def test_an_index_of_another_embedder_is_refused_by_name_and_replaced_by_indexing(
    project: Project, embedder: HashingEmbedder
) -> None:
    bring_up_to_date(project, embedder)
    with service_of(project) as service:
        answer = service.exposed_query_hybrid(str(project.root), QUERY)
        assert answer["results"][0]["path"] == "net/retry.py"
        assert list(answer["unavailable"]) == ["semantic"]
        with pytest.raises(IndexUnusableError, match=f"{embedder.id}.*lexical-hashing-512-v3"):
            service.exposed_query(str(project.root), QUERY)
    before = live(project).name
    assert index(project) != before
    assert_whole(project)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("format_", [0, 6, 8])
def test_an_index_of_another_format_is_refused_by_name_and_replaced_by_indexing(
    project: Project, format_: int
) -> None:
    path = live(project) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": format_}))
    spoiled = live(project).name
    assert_no_index(
        project,
        rf"^the index here is of format {format_}, this version makes 7: run `cidx-ref index`$",
    )
    assert_repaired(project, spoiled)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("format_", ["4", None])
def test_an_index_of_what_is_no_format_is_not_ours_and_replaced_by_indexing(
    project: Project, format_: object
) -> None:
    path = live(project) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": format_}))
    spoiled = live(project).name
    assert_no_index(project, NOT_OURS.format(spoiled))
    assert_repaired(project, spoiled)


def replaced_by_a_directory(link: Path) -> None:
    link.unlink()
    (link / "nested").mkdir(parents=True)


def replaced_by_a_file(link: Path) -> None:
    link.unlink()
    link.write_text("000001-aaaaaa")


def pointed_at(target: str) -> Callable[[Path], None]:
    def point(link: Path) -> None:
        link.unlink()
        link.symlink_to(target)

    return point


def pointed_at_a_file(link: Path) -> None:
    (link.parent / "000009-bbbbbb").write_text("no generation")
    pointed_at("000009-bbbbbb")(link)


def pointed_at_a_link(link: Path) -> None:
    (link.parent / "000009-bbbbbb").symlink_to(link.resolve().name)
    pointed_at("000009-bbbbbb")(link)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (replaced_by_a_directory, NOT_OURS.format("current")),
        (replaced_by_a_file, NOT_OURS.format("current")),
        (pointed_at("../../.."), NOT_OURS.format(r"\.\./\.\./\.\.")),
        (pointed_at("/"), NOT_OURS.format("/")),
        (pointed_at("current"), NOT_OURS.format("current")),
    ],
)
def test_a_link_that_leads_to_no_generation_is_no_index_and_indexing_repairs_it(
    project: Project, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(project.generations / "current")
    assert_no_index(project, said)
    assert_repaired(project)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    ("spoil", "what"),
    [(pointed_at_a_file, "a regular file"), (pointed_at_a_link, "a symbolic link")],
)
def test_a_generation_that_is_a_link_or_a_file_is_no_index_and_indexing_removes_it(
    project: Project, spoil: Callable[[Path], None], what: str
) -> None:
    spoil(project.generations / "current")
    said = (
        rf"^\.code-indexer/generations/000009-bbbbbb is {what}, not a directory, and is not "
        "followed or used: remove it$"
    )
    with service_of(project) as service:
        with pytest.raises(NoIndexError, match=said):
            service.exposed_query_hybrid(str(project.root), QUERY)
        status = service.exposed_get_status()
        assert status["generation"] is None
        assert re.search(said.removeprefix("^"), status["index_problem"])
        files = service.exposed_get_diagnostics()["index_files"]
        assert files == {"generation": None, "matches_manifest": None, "damaged": {}}
    assert_repaired(project, "000009-bbbbbb")


@pytest.mark.promise("WRITE-3")
def test_a_link_that_leads_nowhere_is_an_unusable_index_and_indexing_repairs_it(
    project: Project,
) -> None:
    pointed_at("000009-aaaaaa")(project.generations / "current")
    said = "generation 000009-aaaaaa is missing: run `cidx-ref index`"
    with service_of(project) as service:
        with pytest.raises(IndexUnusableError, match=f"^{said}$"):
            service.exposed_query_hybrid(str(project.root), QUERY)
        status = service.exposed_get_status()
        assert status["generation"] == "unusable"
        assert status["index_problem"]
        assert service.exposed_get_diagnostics()["index_files"]["matches_manifest"] is False
    assert_repaired(project)


@pytest.mark.promise("WRITE-3")
def test_no_directory_and_no_link_are_no_index(project: Project) -> None:
    generations = Generations(project.generations)
    (project.generations / "current").unlink()
    with pytest.raises(NoIndexError):
        generations.current()
    shutil.rmtree(project.generations)
    with pytest.raises(NoIndexError):
        generations.current()
    generations.sweep()
    project.generations.write_text("in the way")
    with pytest.raises(NoIndexError):
        generations.current()
    refused = f"^{project.generations} is a regular file, not a directory, .*: remove it$"
    with pytest.raises(UntrustedError, match=refused):
        bring_up_to_date(project, HashingEmbedder())


@pytest.mark.promise("WRITE-3")
def test_a_sweep_removes_what_nobody_uses_and_nothing_else(project: Project) -> None:
    generations = Generations(project.generations)
    first = live(project)
    with Lease(first) as lease:
        (project.root / "new.py").write_text("x = 1\n")
        second = index(project)
        (project.generations / ".building-000003-aaaaaa").mkdir()
        (project.generations / ".building-link").symlink_to("nowhere")
        (project.generations / "notes.txt").write_text("not ours")
        generations.sweep()
        assert set(os.listdir(project.generations)) == {first.name, second, "current", "notes.txt"}
        assert damaged_files(lease.directory, read_manifest(lease.directory)) == {}
    generations.sweep()
    assert set(os.listdir(project.generations)) == {second, "current", "notes.txt"}


@pytest.mark.promise("WRITE-1")
def test_a_sweep_leaves_a_writer_alone(project: Project) -> None:
    generations = Generations(project.generations)
    with generations.writing():
        _, building = generations.begin()
        Generations(project.generations).sweep()
        assert building.is_dir()
    generations.sweep()
    assert not building.exists()


@pytest.mark.promise("WRITE-3")
def test_a_sweep_follows_no_symbolic_link_out_of_its_directory(
    project: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "manifest.json").write_text("{}")
    for name in ("000007-aaaaaa", ".building-000008-aaaaaa"):
        (project.generations / name).symlink_to(elsewhere)
    Generations(project.generations).sweep()
    assert (elsewhere / "manifest.json").read_text() == "{}"
    # What is called a generation and is none of ours goes where the user asks for an index run.
    assert sorted(os.listdir(project.generations)) == [
        live(project).name,
        "000007-aaaaaa",
        "current",
    ]
    report = bring_up_to_date(project, HashingEmbedder())
    assert (report["changed"], report["removed"]) == (False, ["000007-aaaaaa"])
    assert (elsewhere / "manifest.json").read_text() == "{}"
    assert_whole(project)


@pytest.mark.promise("WRITE-3")
def test_what_cannot_be_swept_keeps_no_writer_from_its_work(project: Project) -> None:
    stuck = project.generations / "000000-aaaaaa" / "manifest.json"
    (stuck / "nested").mkdir(parents=True)
    Generations(project.generations).sweep()
    (project.root / "new.py").write_text("x = 1\n")
    generation = index(project)
    assert live(project).name == generation


@pytest.mark.promise("CACHE-8", "CACHE-4")
def test_a_generation_removed_between_looking_it_up_and_opening_it_is_gone_not_unusable(
    project: Project, fake: FakeRuntime
) -> None:
    source = GenerationSource(project.generations, HashingEmbedder(), fake)
    old = source.current()

    def publish() -> None:
        (project.root / "new.py").write_text("x = 1\n")
        index(project)

    fake.at("open generation", publish)
    with pytest.raises(GenerationGone):
        source.load(old)
    service = CIDXDaemonService(project.root, runtime=(once := FakeRuntime()))
    pending: list[Callable[[], object]] = [
        lambda: (project.root / "newer.py").write_text("y = 2\n"),
        lambda: index(project),
    ]
    once.at("open generation", lambda: [pending.pop(0)() for _ in tuple(pending)])
    answer = service.exposed_query_hybrid(str(project.root), QUERY)
    assert answer["generation"] == live(project).name
    service.exposed_clear_cache()


@pytest.mark.promise("WRITE-1")
def test_waiting_for_the_writers_lock_ends_when_it_is_said_to(
    project: Project, fake: FakeRuntime
) -> None:
    with Generations(project.generations).writing():
        started = fake.monotonic()
        with (
            pytest.raises(BusyError, match="another process is indexing"),
            Generations(project.generations, fake).writing(wait_s=5),
        ):
            pass
        assert 5 <= fake.monotonic() - started < 5.1
    with Generations(project.generations).writing(wait_s=0):
        pass


class ReplacesWhileWaiting(FakeRuntime):
    """Somebody removes the whole directory while a writer waits for its lock."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.holder = -1

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.holder >= 0:
            self.directory.rename(self.directory.with_name("removed"))
            os.close(self.holder)
            self.holder = -1


@pytest.mark.promise("WRITE-1")
def test_the_lock_of_a_directory_that_was_replaced_is_not_the_writers_lock(
    project: Project,
) -> None:
    runtime = ReplacesWhileWaiting(project.generations)
    runtime.holder = os.open(project.generations, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(runtime.holder, fcntl.LOCK_EX)
    with (
        Generations(project.generations, runtime).writing(),
        pytest.raises(BusyError),
        Generations(project.generations).writing(wait_s=0),
    ):
        pass


@pytest.mark.promise("WRITE-3")
def test_a_generation_leaves_the_disk_once_nobody_uses_it_any_more(project: Project) -> None:
    old = live(project)
    with service_of(project) as service:
        service.exposed_query(str(project.root), QUERY)
        assert service._served is not None
        with service._served.cache.pin():
            (project.root / "new.py").write_text("x = 1\n")
            index(project)
            service.exposed_query(str(project.root), QUERY)
            assert old.exists(), "a query still uses it"
        assert not old.exists()
        assert service.exposed_query(str(project.root), QUERY)["generation"] == live(project).name


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    ("name", "problem"), [("a\0b", "not a plain name"), ("\ud800", "unreadable")]
)
def test_a_manifest_with_a_name_that_no_file_can_have_is_damage_and_is_repaired_by_indexing(
    project: Project, name: str, problem: str
) -> None:
    path = live(project) / "manifest.json"
    manifest = read_manifest(live(project))
    manifest["files"][name] = {"size_bytes": 1, "sha256": "0" * 64}
    path.write_text(json.dumps({**manifest, "digest": account_key().digest(manifest)}))
    assert damaged_files(path.parent, manifest) == {name: problem}
    spoiled = live(project).name
    said = NOT_OURS.format(spoiled) + re.escape(f" (manifest.json: files: {name!r})")
    assert_no_index(project, said)
    assert_repaired(project, spoiled)


@pytest.mark.promise("RPC-2")
@pytest.mark.parametrize("kind", [ValueError, OSError])
def test_what_the_full_text_s_engine_complains_of_is_told_without_its_directories(
    kind: type[Exception],
) -> None:
    said = """'Failed to open "/home/a b/generations/7/fulltext/.tmpX": 'No/such' 3/4"""

    def fail() -> None:
        raise kind(said)

    with pytest.raises(IndexUnusableError) as refused:
        fulltext._guarded(fail, IndexUnusableError)
    assert str(refused.value) == "full-text index: 'Failed to open \".tmpX\": 'No/such' 3/4"
