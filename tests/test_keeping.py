"""An index run whose embedder fails: the old index stays, and the next run goes on from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cidx_ref.errors import BusyError, EmbedderError, IndexingError, UntrustedError
from cidx_ref.index import keeping as keeping_module
from cidx_ref.index import writing
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.child import BuildProcess
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.keeping import KEPT, Keeping, place_of
from cidx_ref.index.merging import merge_once
from cidx_ref.index.port import RunOptions
from cidx_ref.index.semantic import VectorWriter
from cidx_ref.keys import Key, account_key
from cidx_ref.project import Project
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, write

pytestmark = pytest.mark.once

FILES = {f"m{n:02}.py": f"def function_{n}():\n    return {n}\n" for n in range(20)}


class Paid(HashingEmbedder):
    """One whose vectors cost something, and which answers so often and then fails."""

    costly = True

    def __init__(self, answers: int = 1 << 30, error: BaseException | None = None) -> None:
        super().__init__(32)
        self.id = "paid"
        self.answers = answers
        self.error = error or EmbedderError("the service is away")
        self.asked: list[list[str]] = []

    def embed_documents(self, texts: Sequence[str]) -> Any:
        if self.answers == 0:
            raise self.error
        self.answers -= 1
        self.asked.append(list(texts))
        return super().embed_documents(texts)

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.asked for text in batch]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_BATCH", 4)


def kept(project: Project) -> list[Path]:
    return sorted((project.index_directory / KEPT).glob("*"))


def fail_after(project: Project, answers: int) -> list[str]:
    """Have a run fail, and say what it has had embedded."""
    embedder = Paid(answers)
    with pytest.raises(IndexingError, match="the service is away; what it has made is kept for"):
        bring_up_to_date(project, embedder)
    return embedder.texts


@pytest.mark.promise("WRITE-3")
def test_a_run_whose_embedder_fails_keeps_the_old_index_and_the_next_goes_on(
    make_project: MakeProject,
) -> None:
    project = make_project(FILES)
    bring_up_to_date(project, Paid())
    old = os.readlink(project.generations / "current")
    for n in range(20):
        write(project.root, f"m{n:02}.py", f"def changed_{n}():\n    return {n}\n")
    first = fail_after(project, 2)
    second = fail_after(project, 2)
    assert os.readlink(project.generations / "current") == old
    assert [path.name for path in project.generations.iterdir() if path.name[0] == "."] == []
    embedder = Paid()
    assert bring_up_to_date(project, embedder)["changed"]
    assert (len(first), len(second), len(embedder.texts)) == (8, 8, 4)
    assert len({*first, *second, *embedder.texts}) == 20, "each once"
    assert kept(project) == []
    assert not (project.index_directory / KEPT).exists()


@pytest.mark.promise("WRITE-3", "FRESH-4")
def test_an_index_that_went_on_is_the_one_that_was_never_interrupted(
    make_project: MakeProject,
) -> None:
    whole, halted = make_project(FILES, "whole"), make_project(FILES, "halted")
    bring_up_to_date(whole, Paid())
    fail_after(halted, 3)
    bring_up_to_date(halted, Paid())

    def vectors(project: Project) -> bytes:
        (path,) = (project.generations / "current").glob("s*/vectors.f32")
        return path.read_bytes()

    assert vectors(whole) == vectors(halted)


def test_a_run_that_is_well_keeps_nothing_and_one_that_finds_nothing_makes_nothing(
    make_project: MakeProject,
) -> None:
    project = make_project(FILES)
    bring_up_to_date(project, Paid())
    before = sorted(path.name for path in project.index_directory.iterdir())
    assert KEPT not in before
    report = bring_up_to_date(project, Paid(0))
    assert not report["changed"]
    assert sorted(path.name for path in project.index_directory.iterdir()) == before


def test_of_an_embedder_that_costs_nothing_nothing_is_kept(make_project: MakeProject) -> None:
    class Free(Paid):
        costly = False

    project = make_project(FILES)
    with pytest.raises(IndexingError, match=r"the service is away$"):
        bring_up_to_date(project, Free(2))
    assert not (project.index_directory / KEPT).exists()


@pytest.mark.promise("WRITE-3", "RPC-2")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (EmbedderError("the service is away"), "the service is away"),
        (BusyError("later"), "later"),
        (RuntimeError("/home/me/models: key sk-1"), r"RuntimeError; see daemon\.log"),
        (OSError(2, "gone", "/home/me/models"), r"FileNotFoundError; see daemon\.log"),
        (SystemExit("/home/me/models: key sk-1"), r"SystemExit; see daemon\.log"),
        (MemoryError("/home/me"), r"MemoryError; see daemon\.log"),
    ],
)
def test_what_an_embedder_says_in_a_run_is_passed_on_if_it_is_meant_to_be(
    make_project: MakeProject, error: BaseException, why: str
) -> None:
    project = make_project(FILES)
    with pytest.raises(IndexingError, match=f"^embedder paid: {why}; what it has made") as failed:
        bring_up_to_date(project, Paid(1, error))
    assert "/home" not in str(failed.value)
    assert failed.value.__cause__ is None


@pytest.mark.promise("WRITE-3", "QRY-3")
def test_an_index_of_another_model_is_not_replaced_unasked(project: Project) -> None:
    assert bring_up_to_date(project, Paid(), keep_unverified=True)["changed"], (
        "of the default it is"
    )
    old = os.readlink(project.generations / "current")
    write(project.root, "new.py", "def new():\n    return 1\n")
    with pytest.raises(IndexingError, match="with embedder 'paid', this daemon has 'lexical-hash"):
        bring_up_to_date(project, HashingEmbedder(), keep_unverified=True)
    assert os.readlink(project.generations / "current") == old
    assert bring_up_to_date(project, Paid(), keep_unverified=True)["changed"]
    assert bring_up_to_date(project, HashingEmbedder())["changed"], "asked for, it is"


# What is believed of what is kept.


def keep(project: Project, texts: list[str], key: Key | None = None, **changes: Any) -> None:
    embedder = Paid()
    for name, value in changes.items():
        setattr(embedder, name, value)
    with Keeping(embedder, place_of(project.index_directory, key or account_key(), embedder)) as k:
        k.embed_documents(texts)


def believed(project: Project, texts: list[str]) -> int:
    """Of how many texts a kept vector is believed; it must be the right one."""
    embedder = Paid()
    with Keeping(embedder, place_of(project.index_directory, account_key(), embedder)) as found:
        every = found.known(texts)
    right = HashingEmbedder(32).embed_documents(texts)
    for one, other in zip(every, right, strict=True):
        assert one is None or (one == other).all()
    return sum(one is not None for one in every)


@pytest.mark.promise("TRUST-2")
def test_only_what_this_account_kept_of_this_embedder_is_believed(project: Project) -> None:
    texts = ["a b", "c d", "e f"]
    keep(project, texts)
    assert believed(project, texts) == 3
    assert believed(project, ["a B", "c d"]) == 1
    shutil.rmtree(project.index_directory / KEPT)
    keep(project, texts, Key(b"x" * 32))
    keep(project, texts, id="another")
    assert len(kept(project)) == 2
    assert believed(project, texts) == 0


@pytest.mark.promise("TRUST-2")
def test_whatever_bit_flips_in_what_is_kept_no_wrong_vector_is_believed(project: Project) -> None:
    texts = ["a b", "c d"]
    keep(project, texts)
    (path,) = kept(project)
    data = path.read_bytes()
    assert len(data) == 2 * (32 + 4 * 32)
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert believed(project, texts) == 1, at
    for size in range(0, len(data), 13):
        path.write_bytes(data[:size])
        assert believed(project, texts) == (size >= len(data) // 2)
    path.write_bytes(b"\0" + data)  # nothing is where it was
    assert believed(project, texts) == 0


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_what_lies_in_its_place_is_refused_by_name(
    project: Project, tmp_path: Path, kind: str
) -> None:
    place, outside = project.index_directory / KEPT, tmp_path / "outside"
    outside.mkdir()
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "file":
        place.write_text("x")
    else:
        os.mkfifo(place)
    with pytest.raises(UntrustedError, match=KEPT):
        bring_up_to_date(project, Paid())
    assert list(outside.iterdir()) == []


@pytest.mark.promise("TRUST-1")
def test_a_link_among_what_is_kept_leads_nowhere(project: Project, tmp_path: Path) -> None:
    texts = ["a b", "c d"]
    keep(project, texts)
    (path,) = kept(project)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    assert believed(project, texts) == 0
    assert bring_up_to_date(project, Paid())["changed"]
    assert (tmp_path / "outside").exists()
    assert kept(project) == []


@pytest.mark.promise("TRUST-3")
def test_what_is_kept_is_for_its_owner_alone(project: Project) -> None:
    keep(project, ["a b"])
    (path,) = kept(project)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("number", range(1, 4))
def test_where_nothing_can_be_kept_the_run_goes_on_without(
    make_project: MakeProject, number: int
) -> None:
    project = make_project(FILES)
    embedder, runtime = Paid(), FakeRuntime()
    project.create_directory()
    runtime.fail_at(number, OSError(28, "No space left on device"))
    place = place_of(project.index_directory, account_key(), embedder)
    with Keeping(embedder, place, runtime) as found:
        for _ in range(2):
            vectors = found.embed_documents(["a b", "c d"])
            assert (vectors == HashingEmbedder(32).embed_documents(["a b", "c d"])).all()


@pytest.mark.promise("WRITE-3")
def test_after_half_a_record_nothing_is_kept_any_more(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Paid()
    with Keeping(embedder, place_of(project.index_directory, account_key(), embedder)) as found:
        found.embed_documents(["a b"])
        out: Any = found._out

        class Full:
            def write(self, data: bytes) -> None:
                out.write(data[:50])
                out.flush()
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(found, "_out", Full())
        found.embed_documents(["c d"])
        monkeypatch.setattr(found, "_out", out)
        found.embed_documents(["e f"])
    assert believed(project, ["a b", "c d", "e f"]) == 1


def test_no_more_than_so_much_is_kept_or_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping_module, "_MAX_FILE_BYTES", 400)
    keep(project, ["a b", "c d"])
    keep(project, ["e f", "g h", "i j"])
    sizes = sorted(path.stat().st_size for path in kept(project))
    assert sizes == [0, 320]
    with monkeypatch.context() as patched:
        patched.setattr(keeping_module, "_MAX_FILES", 0)
        assert believed(project, ["a b", "c d"]) == 0
    assert believed(project, ["a b", "c d"]) == 2
    monkeypatch.setattr(keeping_module, "_MAX_READ_BYTES", 0)
    assert believed(project, ["a b", "c d"]) == 0


@pytest.mark.parametrize("wrong", [np.ones((4, 3)), np.full((4, 32), np.nan), np.ones(4)])
def test_wrong_vectors_are_not_kept_and_end_the_run(
    make_project: MakeProject, wrong: np.ndarray[Any, Any]
) -> None:
    class Wrong(Paid):
        def embed_documents(self, texts: Sequence[str]) -> Any:
            return wrong

    project = make_project(FILES)
    with pytest.raises(IndexingError, match=r"vectors of shape|not finite"):
        bring_up_to_date(project, Wrong())
    assert kept(project) == []


# The check of what was written.


def test_the_check_asks_a_costly_embedder_nothing_and_another_once(
    make_project: MakeProject,
) -> None:
    class Free(Paid):
        costly = False

    embedders = [Paid(), Free()]
    for embedder in embedders:
        bring_up_to_date(make_project(FILES, embedder.__class__.__name__), embedder)
    paid, free = ([len(batch) for batch in embedder.asked] for embedder in embedders)
    assert (paid, free) == ([4] * 5, [*[4] * 5, 3])


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("costly", [False, True])
def test_the_check_sees_vectors_that_are_of_other_chunks(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch, costly: bool
) -> None:
    add = VectorWriter.add
    monkeypatch.setattr(VectorWriter, "add", lambda self, vectors: add(self, vectors[::-1]))
    embedder = Paid()
    monkeypatch.setattr(Paid, "costly", costly)
    with pytest.raises(IndexingError, match="chunk 0 is not found by its own vector"):
        bring_up_to_date(make_project(FILES), embedder)


@pytest.mark.promise("WRITE-3")
def test_a_merge_needs_no_embedder_that_is_costly(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(FILES)
    bring_up_to_date(project, Paid())
    for n in range(12):
        write(project.root, f"m{n:02}.py", f"def changed_{n}():\n    return {n}\n")
    bring_up_to_date(project, Paid(), merge=False)
    for name in ("cidx_ref.index.merging.is_merge_due",):
        monkeypatch.setattr(name, lambda *sizes: True)
    names = sorted(path.name for path in (project.generations / "current").glob("s*"))
    monkeypatch.setattr("cidx_ref.index.merging.due_merge", lambda sizes: names)
    generations = Generations(project.generations)
    with generations.writing():
        merge_once(generations, Paid(0))
    after = [path.name for path in (project.generations / "current").glob("s*")]
    assert len(after) == 1
    assert after[0] not in names


# In processes of their own.

COUNTING = """
import os
from pathlib import Path
from cidx_ref.index import making, parallel, writing
from cidx_ref.index.embed import HashingEmbedder

vars(writing).update(_BATCH=4)
vars(making).update(_MANY_BYTES=1, _MANY_FILES=4)
vars(parallel).update(_BLOCK_FILES=2)

class Embedder(HashingEmbedder):
    costly = True

    def embed_documents(self, texts):
        home = Path(os.environ["COUNTING"])
        if (home / "dies").exists() and len(list(home.glob("asked-*"))) >= 3:
            os.kill(os.getpid(), 9)
        (home / f"asked-{os.urandom(8).hex()}").write_text("\\0".join(texts))
        return super().embed_documents(texts)
"""


class Ignore:
    """Is told what a run does."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *event: None


@pytest.mark.once
@pytest.mark.promise("WRITE-3")
def test_processes_that_were_killed_have_kept_what_they_made(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(FILES)
    home = tmp_path / "counting"
    home.mkdir()
    (home / "counting_embedder.py").write_text(COUNTING)
    path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("COUNTING", str(home))
    monkeypatch.setenv("CIDX_REF_EMBEDDER", "counting_embedder:Embedder")

    def run() -> dict[str, Any]:
        process = BuildProcess(
            project, RunOptions(), embedder=HashingEmbedder().id, key=account_key()
        )
        listener: Any = Ignore()
        return process.run(listener)

    (home / "dies").touch()
    with pytest.raises(IndexingError):
        run()
    (home / "dies").unlink()
    assert kept(project)
    assert run()["chunks"] == 20
    asked = [text for path in home.glob("asked-*") for text in path.read_text().split("\0")]
    assert len(set(asked)) == 20
    # What was embedded when a process was killed may not have been written.
    assert 20 <= len(asked) <= 20 + 4
    assert kept(project) == []
