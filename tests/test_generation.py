"""Generations on disk: damage is found before it is loaded, and an index run repairs it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BusyError, GenerationGone, IndexUnusableError, NoIndexError
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations, Lease, damaged_files, read_manifest
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.testing.clock import FakeRuntime

QUERY = "retry when the peer disconnects"
STORE = ("chunks.bin", "chunks.npy", "files.json")


def live(project: Project) -> Path:
    generations = Generations(project.generations)
    return generations.path(generations.current())


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


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit flipped": lambda path: path.write_bytes(flip(path.read_bytes())),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}
NEEDS_CONTENT = ("one bit flipped", "truncated", "emptied")


@pytest.mark.promise("QRY-3", "WRITE-3")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_costs_at_most_the_engine_that_needs_it_and_indexing_repairs_it(
    project: Project, damage: str
) -> None:
    count = len(read_manifest(live(project))["files"])
    assert count > len(STORE) + 1
    for number in range(count):
        # The full text's files are called something else each time, but for their suffixes.
        names = sorted(read_manifest(live(project))["files"], key=lambda n: (Path(n).suffix, n))
        name = names[number]
        if damage in NEEDS_CONTENT and (live(project) / name).stat().st_size == 0:
            continue
        DAMAGE[damage](live(project) / name)
        with service_of(project) as service:
            if name in STORE:
                with pytest.raises(IndexUnusableError, match=name):
                    service.exposed_query_hybrid(str(project.root), QUERY)
            else:
                lost = "semantic" if name == "vectors.hnsw" else "fts"
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
def test_whatever_bit_of_the_manifest_flips_the_index_is_unusable_or_unharmed(
    project: Project,
) -> None:
    manifest = live(project) / "manifest.json"
    whole = manifest.read_bytes()
    source = GenerationSource(project.generations, HashingEmbedder())
    odd: dict[str, str] = {}
    for position in range(len(whole)):
        for bit in (1, 4, 32):
            flipped = bytearray(whole)
            flipped[position] ^= bit
            manifest.write_bytes(flipped)
            try:
                source.load(source.current()).close()
            except IndexUnusableError:
                pass
            except Exception as error:
                line = bytes(flipped).splitlines()[whole[:position].count(b"\n")]
                odd[repr(error)] = line.decode("latin-1")
    assert odd == {}


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("name", [*STORE, "vectors.hnsw"])
def test_a_file_that_the_manifest_does_not_vouch_for_is_not_loaded(
    project: Project, name: str
) -> None:
    path = live(project) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["files"][name]
    path.write_text(json.dumps(manifest))
    (live(project) / name).write_bytes(flip((live(project) / name).read_bytes()))
    with service_of(project) as service:
        try:
            answer = service.exposed_query_hybrid(str(project.root), QUERY)
        except IndexUnusableError:
            pass
        else:
            assert name == "vectors.hnsw"
            assert list(answer.get("unavailable", ())) == ["semantic"]
    index(project)
    assert_whole(project)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"format": 1}',
        b'{"format": 1, "files": []}',
        b'{"format": 1, "files": {"files.json": 3}, "embedder": {}, "space": "cosine"}',
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
    with service_of(project) as service:
        with pytest.raises(IndexUnusableError):
            service.exposed_query_hybrid(str(project.root), QUERY)
        assert service.exposed_get_status()["running"]
        assert service.exposed_get_diagnostics()["index_files"]["matches_manifest"] is False
    index(project)
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
        with pytest.raises(IndexUnusableError, match=f"{embedder.id}.*lexical-hashing-512-v2"):
            service.exposed_query(str(project.root), QUERY)
    before = live(project).name
    assert index(project) != before
    assert_whole(project)


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("format_", [0, 2, "1", None])
def test_an_index_of_another_format_is_refused_by_name_and_replaced_by_indexing(
    project: Project, format_: object
) -> None:
    path = live(project) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": format_}))
    with service_of(project) as service, pytest.raises(IndexUnusableError, match=r"format.*reads"):
        service.exposed_query_hybrid(str(project.root), QUERY)
    index(project)
    assert_whole(project)


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


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "spoil",
    [
        replaced_by_a_directory,
        replaced_by_a_file,
        pointed_at("000009-aaaaaa"),
        pointed_at("../../.."),
        pointed_at("/"),
        pointed_at("current"),
        pointed_at_a_file,
    ],
)
def test_a_link_that_leads_nowhere_is_an_unusable_index_and_indexing_repairs_it(
    project: Project, spoil: Callable[[Path], None]
) -> None:
    spoil(project.generations / "current")
    with service_of(project) as service:
        with pytest.raises(IndexUnusableError):
            service.exposed_query_hybrid(str(project.root), QUERY)
        assert service.exposed_get_status()["generation"] == "unusable"
        assert service.exposed_get_diagnostics()["index_files"]["matches_manifest"] is False
    index(project)
    assert_whole(project)


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
    pending = [lambda: (project.root / "newer.py").write_text("y = 2\n"), lambda: index(project)]
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
        with service._cache.pin():
            (project.root / "new.py").write_text("x = 1\n")
            index(project)
            service.exposed_query(str(project.root), QUERY)
            assert old.exists(), "a query still uses it"
        assert not old.exists()
        assert service.exposed_query(str(project.root), QUERY)["generation"] == live(project).name


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_manifest_with_a_name_that_no_file_can_have_is_damage_and_is_repaired_by_indexing(
    project: Project, name: str
) -> None:
    generations = Generations(project.generations)
    path = generations.path(generations.current()) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"][name] = {"size_bytes": 1, "sha256": "0" * 64}
    path.write_text(json.dumps(manifest))
    assert damaged_files(path.parent, manifest) == {name: "unreadable"}
    service = CIDXDaemonService(project.root)
    with suppress(IndexUnusableError):  # or answered by what is whole, but no internal error
        service.exposed_query_hybrid(str(project.root), "retry")
    assert service.exposed_get_diagnostics()["index_files"]["matches_manifest"] is False
    service.exposed_clear_cache()
    bring_up_to_date(project, HashingEmbedder())
