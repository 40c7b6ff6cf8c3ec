"""What of the full cidx's index does not serve: what is said of it, and that it is looked at again
when it may be another."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from theirs import SOURCE, adopted, asked, loaded, theirs

from cidx_ref import FilesystemVectorStore, cli
from cidx_ref.errors import IndexUnusableError, NoIndexError
from cidx_ref.index.adopting import adopt
from cidx_ref.index.cidx import check, keeping, snapshot, tree
from cidx_ref.index.cidx.checking import check_here
from cidx_ref.index.cidx.keeping import Keeping
from cidx_ref.index.cidx.rows import rows_of
from cidx_ref.keys import account_key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.terminal import adoption_lines
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.cidx_format import (
    DIRECTORY,
    MODEL,
    StandIn,
    pieces_of,
    write_collection,
    write_index,
)

pytestmark = pytest.mark.once

COLLECTION, TEXT = f"{DIRECTORY}/index/{MODEL}", f"{DIRECTORY}/tantivy_index"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    write_index(root, SOURCE, lines=20)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A project with an index of its own."""
    return Path(shutil.copytree(pristine, tmp_path / "root"))


def a_point(root: Path) -> Path:
    return min((root / COLLECTION).rglob("vector_*.json"))


def a_store(root: Path) -> Path:
    return min((root / TEXT).glob("*.store"))


def unavailable(index: Any) -> dict[str, str]:
    """What does not answer, and why; the other one does."""
    found = loaded(index)
    said = dict(found.unavailable)
    for mode in {"semantic", "fts"} - said.keys():
        assert asked(found, "retry", mode)["results"]
    found.close()
    assert index.describe()["problems"] == said
    return said


# What is said.


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: shutil.rmtree(root / name)


def unlink(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def link(name: str) -> Callable[[Path], object]:
    def do(root: Path) -> None:
        (root / name).rename(root / "away")
        (root / name).symlink_to(root / "away")

    return do


SAID: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no vectors": (remove(f"{DIRECTORY}/index"), "semantic", "has no vectors here: have it made"),
    "only the empty collection": (remove(COLLECTION), "semantic", "has no vectors here"),
    "no full text": (remove(TEXT), "fts", "has no full text here: have it made there"),
    "a full text that was never written": (
        unlink(f"{TEXT}/meta.json"), "fts", "has no full text here"),
    "no graph": (
        unlink(f"{COLLECTION}/hnsw_index.bin"), "semantic",
        f"vectors cannot be used .index/{MODEL}/hnsw_index.bin: missing.: have it made anew"),
    "no description": (
        unlink(f"{COLLECTION}/collection_meta.json"), "semantic", "collection_meta.json: missing"),
    "no places": (
        unlink(f"{COLLECTION}/id_index.bin"), "semantic",
        "vectors are damaged .id_index.bin: missing.: have it made anew there"),
    "a link": (
        link(TEXT), "fts", "full text cannot be used .*tantivy_index"),
    "damage": (
        lambda root: a_store(root).write_bytes(b"x" * 40), "fts", "full text is damaged .*footer"),
}  # fmt: skip


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("how", SAID)
def test_what_is_not_there_is_not_called_damaged_and_each_says_what_to_do(
    root: Path, how: str
) -> None:
    do, engine, why = SAID[how]
    do(root)
    said = unavailable(adopted(root, runtime=FakeRuntime()))
    assert list(said) == [engine]
    (problem,) = said.values()
    assert re.search(why, problem), problem
    assert ("damaged" in problem) == ("damaged" in why)
    assert "`cidx index" in problem


def test_an_index_from_which_neither_engine_would_answer_is_not_taken(root: Path) -> None:
    SAID["no full text"][0](root)
    index = theirs(root, StandIn(32))
    with pytest.raises(IndexUnusableError, match=r"neither engine.* with the model.* no full text"):
        index.adopt()
    assert not index.is_adopted


def test_what_is_there_and_must_not_be_used_is_no_absence(root: Path) -> None:
    for name in ("index", "tantivy_index"):
        (root / DIRECTORY / name).rename(root / name)
        (root / DIRECTORY / name).symlink_to(root / name)
    index = theirs(root)
    assert not index.lies_here(), "nobody is told to adopt it"
    assert "link" in index.describe()["problem"]
    with pytest.raises(IndexUnusableError, match="index is a symbolic link"):
        index.adopt()
    with pytest.raises(IndexUnusableError, match="index is a symbolic link"):
        FilesystemVectorStore(root)._load_hnsw_index()
    shutil.rmtree(root / DIRECTORY)
    with pytest.raises(NoIndexError, match="`cidx-ref index`, which makes one of ours"):
        index.adopt()


# It is looked at again.


def again(index: Any, change: Callable[[], object]) -> dict[str, str]:
    """What does not answer after a `change`, which is seen by the next query."""
    before = index.current()
    loaded(index).close()
    assert index.current() == before, "nothing has changed yet"
    change()
    assert index.current() != before, "it is not looked at again"
    return unavailable(index)


def put_back(path: Path, *, inode: bool) -> Callable[[], object]:
    """Damages a file now; what is returned puts back what was there.  Neither is to be told by the
    size of the file, or by when it says that it was changed."""
    data, was = path.read_bytes(), path.stat()

    def write(content: bytes) -> None:
        path.write_bytes(content)
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    def back() -> None:
        if inode:
            path.unlink()
        write(data)

    write(b"{" + data[1:-30] + b"x" * 30)
    return back


@pytest.mark.promise("CACHE-8")
@pytest.mark.parametrize("inode", [False, True])
@pytest.mark.parametrize("which", [a_point, a_store])
def test_what_was_refused_is_looked_at_again_when_its_file_is_another(
    root: Path, which: Callable[[Path], Path], inode: bool
) -> None:
    back = put_back(which(root), inode=inode)
    index = adopted(root, runtime=FakeRuntime())
    assert len(unavailable(index)) == 1
    assert again(index, back) == {}
    assert unavailable(theirs(root)) == {}, "for others, too"


@pytest.mark.promise("CACHE-8")
@pytest.mark.parametrize("which", [a_point, a_store])
def test_what_was_missing_or_kept_away_is_looked_at_again_when_it_is_there(
    root: Path, which: Callable[[Path], Path]
) -> None:
    path = which(root)
    path.rename(root / "away")
    index = adopted(root, runtime=FakeRuntime())
    assert ": missing" in next(iter(unavailable(index).values()))
    path.symlink_to(root / "away")
    assert ": missing" not in next(iter(unavailable(index).values())), "another reason"
    path.unlink()
    assert again(index, lambda: (root / "away").rename(path)) == {}


@pytest.mark.promise("CACHE-8")
def test_a_fault_that_becomes_another_is_told_as_it_is_now(root: Path) -> None:
    path = a_store(root)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    index = adopted(root, runtime=FakeRuntime())
    assert "footer" in unavailable(index)["fts"]
    assert "checksum" in again(index, lambda: path.write_bytes(b"x" + data[1:]))["fts"]
    assert "too short" in again(index, lambda: path.write_bytes(b"x"))["fts"]
    folder = root / TEXT

    def another() -> None:
        folder.unlink()
        os.mkfifo(folder)

    assert "symbolic link" in again(index, lambda: link(TEXT)(root))["fts"]
    assert "symbolic link" not in again(index, another)["fts"]


@pytest.mark.promise("CACHE-8")
def test_lines_that_do_not_exist_are_looked_at_again_when_their_points_are_others(
    root: Path,
) -> None:
    path = a_point(root)
    point = json.loads(path.read_text())
    wrong = {**point, "payload": {**point["payload"], "line_end": 9999}}
    path.write_text(json.dumps(wrong))
    index = adopted(root, runtime=FakeRuntime())
    assert "lines that do not exist" in unavailable(index)["semantic"]
    assert again(index, lambda: path.write_text(json.dumps(point))) == {}


@pytest.mark.promise("CACHE-8")
def test_a_file_that_nothing_hangs_on_is_not_looked_at_and_a_check_is_made_once(
    root: Path,
) -> None:
    checks: list[str] = []

    def counted(job: tree.Job, runtime: Runtime) -> dict[str, Any]:
        checks.append(job.found.generation)
        return check_here(job, runtime)

    back = put_back(a_store(root), inode=False)
    index = adopted(root, check=counted)
    for _ in range(3):
        loaded(index).close()
    loaded(theirs(root, check=counted)).close()
    assert len(checks) == 1
    os.utime(a_point(root))
    assert index._look().watched.keys() == {  # type: ignore[union-attr]
        f"tantivy_index/{path.name}" for path in (root / TEXT).glob("[!.]*.[!j]*")
    }  # fmt: skip
    loaded(index).close()
    assert len(checks) == 1
    back()
    assert unavailable(index) == {}
    assert len(checks) == 2
    assert index._look().watched == {}  # type: ignore[union-attr]


def test_what_is_watched_is_looked_at_through_no_link(root: Path, tmp_path: Path) -> None:
    point = a_point(root)
    path = str(point.relative_to(root / DIRECTORY))
    (was,) = tree.statuses(root, [path]).values()
    assert was == tree.signature(point.stat())
    folder = point.parent.parent
    folder.rename(tmp_path / "away")
    assert tree.statuses(root, [path]) == {path: tree._GONE}
    folder.symlink_to(tmp_path / "away")
    assert tree.statuses(root, [path]) == {path: tree.signature(folder.lstat())}


# What passes.


class Starved:
    """A part of the check that there is no memory for, or no room."""

    def __init__(self, real: Callable[..., Any], error: BaseException) -> None:
        self.real = real
        self.error: BaseException | None = error

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.real(*arguments, **options)


@pytest.mark.promise("QRY-3", "CACHE-2")
@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "Input/output error")])
@pytest.mark.parametrize(("part", "engine"), [("checked_graph", "semantic"), ("check_sums", "fts")])
def test_what_one_engine_lacks_costs_that_one_and_is_not_remembered(
    root: Path, monkeypatch: pytest.MonkeyPatch, part: str, engine: str, error: BaseException
) -> None:
    starved = Starved(getattr(check, part), error)
    monkeypatch.setattr(check, part, starved)
    index = adopted(root)
    said = unavailable(index)
    assert list(said) == [engine]
    assert "could not be checked (" in said[engine]
    assert ("too little memory" in said[engine]) == isinstance(error, MemoryError)
    assert "()" not in said[engine]
    starved.error = None
    assert loaded(index).unavailable == {}, "nothing has changed but that"


@pytest.mark.parametrize("where", ["tantivy's words", "while it is loaded"])
def test_what_the_system_refuses_for_now_costs_one_engine_and_is_not_remembered(
    root: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    is_checked = where == "tantivy's words"
    index = theirs(root) if is_checked else adopted(root)
    said = "full text: IO error: Cannot allocate memory (os error 12)"
    error = IndexUnusableError(said) if is_checked else MemoryError()
    module: Any = check if is_checked else snapshot
    part = "check_sums" if is_checked else "opened_text"
    starved = Starved(getattr(module, part), error)
    monkeypatch.setattr(module, part, starved)
    if is_checked:
        index.adopt()
    found = loaded(index)
    assert list(found.unavailable) == ["fts"]
    assert "emory" in found.unavailable["fts"]
    assert asked(found, "retry", "semantic")["results"]
    found.close()
    starved.error = None
    assert loaded(index).unavailable == {}


@pytest.mark.parametrize("engine", ["semantic", "fts"])
def test_where_what_both_have_cannot_be_written_the_one_that_can_be_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """As many documents, or as many points, may be too much for the memory there is."""
    real = rows_of

    def too_much(path: str, points: Any, documents: Any, *rest: Any) -> Any:
        if points if engine == "semantic" else documents:
            raise MemoryError
        return real(path, points, documents, *rest)

    monkeypatch.setattr(check, "rows_of", too_much)
    assert list(unavailable(adopted(root))) == [engine]
    monkeypatch.setattr(check, "rows_of", Starved(real, MemoryError()))
    with pytest.raises(IndexUnusableError, match="too little memory; there is too little memory"):
        theirs(root).adopt()
    assert not list(theirs(root)._keeping.path.glob(".new-*"))


# What `adopt` and `status` say.


def run(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    assert cli.main([*arguments, "--project", str(root)]) == 0
    return capsys.readouterr()


def test_adopt_says_what_serves_what_does_not_and_what_it_leaves_out(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SOURCE["web/app.js"]
    pieces = list(pieces_of("web/app.js", text, 20))
    vectors = StandIn(32).embed_documents([piece.text for piece in pieces])
    write_collection(root / DIRECTORY / "index/other", pieces, vectors, blobs={}, texts=True)
    gone = sum(
        p.path == "net/retry.py" for p in pieces_of("net/retry.py", SOURCE["net/retry.py"], 20)
    )
    (root / "net/retry.py").unlink()
    lines, err = run(root, capsys, "adopt")
    said = dict(line.split(": ", 1) for line in lines.splitlines())
    assert err == ""
    assert said["adopted"].startswith("4 files, ")
    assert said["semantic search"].startswith(
        f"no: the full cidx's vectors were made with the model '{MODEL}'"
    )
    assert "CIDX_REF_EMBEDDER" in said["semantic search"]
    assert re.fullmatch(r"\d+ documents", said["full text"])
    assert said["left out"].startswith(f"{gone} vectors of versions of files that are neither here")
    assert said["not here any more"].startswith("1 files; hits in them")
    assert said["not used"] == "of other models, other"
    told = json.loads(run(root, capsys, "adopt", "--json")[0])
    assert (told["left_out"], told["missing_files"], told["other_collections"]) == (
        gone,
        1,
        ["other"],
    )
    assert list(told["problems"]) == ["semantic"]
    assert f"{told['documents']} documents" == said["full text"]
    assert told["source"] == "cidx"


def test_adopt_of_a_whole_index_says_nothing_else(root: Path) -> None:
    taken = {**theirs(root).adopt(), "source": "cidx"}
    lines = [*adoption_lines(taken)]
    assert [line.partition(":")[0] for line in lines] == ["adopted", "semantic search", "full text"]
    assert MODEL in lines[1]
    lines = [*adoption_lines({**taken, "source": "own"})]
    assert lines[3:] == ["which answers: ours, as there is one; `--source cidx` asks this one"]
    assert [*adoption_lines({"files": 1, "chunks": 2, "generation": "g"})] == [
        "adopted: 1 files, 2 chunks (generation g)"
    ]


def test_status_knows_an_adopted_index_also_where_no_daemon_runs(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(run(root, capsys, "status", "--json")[0])
    assert (told["source"], told["cidx"]["adopted"], told["running"]) == (None, False, False)
    assert "`cidx-ref adopt` takes it" in told["index_problem"]
    assert adopt(Project.at(root))["source"] == "cidx"
    told = json.loads(run(root, capsys, "status", "--json")[0])
    assert (told["source"], told["model"], told["files"]) == ("cidx", MODEL, len(SOURCE))
    assert told["generation"] == told["cidx"]["generation"]
    assert told["index_age_seconds"] is not None
    assert "were made with the model" in told["cidx"]["problems"]["semantic"]
    text = run(root, capsys, "status")[0]
    assert "\nsource: cidx\n" in text
    assert f"\nmodel: {MODEL}\n" in text
    monkeypatch.setenv("CIDX_REF_EMBEDDER", "nobody")
    told = json.loads(run(root, capsys, "status", "--json")[0])
    assert "CIDX_REF_EMBEDDER" in told["index_problem"]
    assert told["address"]


# What is kept of projects that are gone.


def keeping_of(root: Path) -> Keeping:
    return Keeping(root, account_key())


def adopt_at(root: Path) -> Path:
    """Note that what lies there was adopted; where that is noted."""
    root.mkdir(parents=True, exist_ok=True)
    keeping_of(root).adopt(())
    return keeping_of(root).path / "adopted.json"


def test_what_is_kept_of_a_project_that_was_removed_goes_with_the_next_adoption(
    tmp_path: Path,
) -> None:
    gone, moved, unmounted, apart, strange = (tmp_path / each / "p" for each in "abcde")
    kept = [adopt_at(each) for each in (gone, moved, unmounted, apart, strange)]
    kept[-1].write_text(kept[-1].read_text().replace('"digest": "', '"digest": "0'))
    for each in (gone, strange):
        each.rmdir()
    moved.rename(tmp_path / "b" / "elsewhere")
    # What it lay in is another directory now, as where nothing is mounted.
    unmounted.parent.rename(tmp_path / "mounted")
    unmounted.parent.mkdir()
    apart.rmdir()
    apart.parent.rmdir()
    assert all(each.exists() for each in kept)
    adopt_at(tmp_path / "new")
    assert [each.exists() for each in kept] == [False, False, True, True, True]
    assert adopt_at(tmp_path / "new").exists()


@pytest.mark.parametrize("what", ["a mount of its own", "no answer", "too many"])
def test_what_may_come_back_keeps_what_is_kept_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    other, real = tmp_path / "other", keeping._place
    if what == "a mount of its own":
        monkeypatch.setattr(keeping, "_place", lambda path: [7, 7] if path == other else real(path))
    kept = adopt_at(other)
    other.rmdir()
    if what == "no answer":
        monkeypatch.setattr(keeping, "is_gone", lambda root: False)
    if what == "too many":
        monkeypatch.setattr(keeping, "_MAX_PROJECTS", 0)
    adopt_at(tmp_path / "new")
    assert kept.exists()


def test_what_was_begun_and_never_finished_goes_when_it_is_old(tmp_path: Path) -> None:
    own = keeping_of(tmp_path)
    for name, age_s in ((".new-old", 100_000), (".new-now", 100)):
        with own.opened() as directory, directory.make(name):
            at = SYSTEM.now().timestamp() - age_s
            os.utime(own.path / name, (at, at))
    own.sweep("cidx-now")
    assert [path.name for path in own.path.glob(".new-*")] == [".new-now"]
