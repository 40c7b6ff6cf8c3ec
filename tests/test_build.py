"""Building an index: a crash at any instant leaves the old one or the new one, whole."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, IndexingError, NoIndexError, ShuttingDownError
from cidx_ref.files import Directory
from cidx_ref.index import worker
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.child import BuildProcess
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.index.ours import OurIndex
from cidx_ref.index.port import RunOptions
from cidx_ref.interpreter import python_command
from cidx_ref.keys import KEY_BYTES, Key, account_key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build

OLD, NEW = "retry when the peer disconnects", "a marker that is only in the new file"
TIMEOUT_S = 60


class Crash(BaseException):
    """The end of the process, as far as the code can tell."""


class Crashing(FakeRuntime):
    """Crashes at the n-th step, whichever that is: what would run in `finally` changes no file."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at
        self.died_at = ""

    def step(self, name: str) -> None:
        super().step(name)
        self.left -= 1
        if self.left == 0:
            self.died_at = name
            raise Crash(name)

    def operation(self, kind: str, path: Path) -> None:
        super().operation(kind, path)
        if self.left <= 0:
            raise Crash(kind)


def change(project: Project) -> None:
    (project.root / "new.py").write_text(f'def new():\n    """{NEW}"""\n')


def assert_old_or_new(project: Project, old: str) -> bool:
    """The live index is whole; True if it is the new one.  Nothing else is left after a sweep."""
    generations = Generations(project.generations)
    generations.sweep()  # as the next daemon does when it starts
    live = generations.current()
    directory = generations.path(live)
    assert sorted(os.listdir(project.generations)) == [live, "current"]
    assert damaged_files(directory, read_manifest(directory)) == {}
    service = CIDXDaemonService(project.root)
    try:
        found = [
            service.exposed_query_hybrid(str(project.root), text)["results"] for text in (OLD, NEW)
        ]
    finally:
        service.exposed_clear_cache()
    assert found[0][0]["path"] == "net/retry.py"
    assert any(hit["path"] == "new.py" for hit in found[1]) is (live != old)
    return live != old


@pytest.mark.once
@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("has_litter", [False, True])
def test_a_crash_at_any_step_leaves_the_old_index_or_the_new_one_whole(
    make_project: Callable[..., Project],
    figure: Callable[..., None],
    tmp_path: Path,
    has_litter: bool,
) -> None:
    outcomes = []
    for number in range(1, 100):
        project = make_project(name=f"p{number}")
        old = bring_up_to_date(project, HashingEmbedder())["generation"]
        if has_litter:
            (project.generations / ".building-000009-aaaaaa").mkdir()
            (project.generations / ".building-link").symlink_to("000009-aaaaaa")
            (project.generations / "000009-aaaaaa").mkdir()  # without a manifest: half removed
        change(project)
        runtime = Crashing(number)
        try:
            bring_up_to_date(project, HashingEmbedder(), runtime=runtime)
        except Crash:
            outcomes.append((runtime.died_at, assert_old_or_new(project, old)))
        else:
            assert assert_old_or_new(project, old)
            break
    steps = [step for step, _ in outcomes]
    assert [step for step in steps if step not in ("swept", "half removed")] == [
        "directory opened",
        "begun",
        "written",
        "unsealed",
        "sealed",
        "renamed",
        "linked",
        "published",
    ]
    # Old up to the renaming of the link, new from there on; never back.
    assert [is_new for _, is_new in outcomes] == sorted(is_new for _, is_new in outcomes)
    assert dict(outcomes)["linked"] is False
    assert dict(outcomes)["published"] is True
    figure("WRITE-3", f"crash points{' with litter' * has_litter}", len(outcomes))


@pytest.mark.promise("WRITE-3")
def test_a_crash_while_files_are_read_leaves_the_old_index(project: Project) -> None:
    old = Generations(project.generations).current()
    change(project)
    (project.root / "newer.py").write_text("newer = 1\n")

    def crash(current: int, total: int, path: str, info: str) -> None:
        if current == total - 1:  # one has been read, at least: what was seen before is not
            raise Crash

    with pytest.raises(Crash):
        bring_up_to_date(project, HashingEmbedder(), progress=crash)
    assert assert_old_or_new(project, old) is False


KILLER = """
import os, signal
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.runtime import SYSTEM

def die_at(name):
    if name == os.environ["DIE_AT"]:
        os.kill(os.getpid(), signal.SIGKILL)

class Embedder(HashingEmbedder):
    def embed_documents(self, texts):
        die_at("embedding")
        return super().embed_documents(texts)

SYSTEM.step = die_at
"""


def plug_in(monkeypatch: pytest.MonkeyPatch, directory: Path, name: str, source: str) -> None:
    """Have every process started from here use `name`:Embedder, which `source` defines."""
    directory.mkdir()
    (directory / f"{name}.py").write_text(source)
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("CIDX_REF_EMBEDDER", f"{name}:Embedder")


def IGNORE(*event: object) -> None:
    pass


class Listener:
    """Is told what a run does, and has `prepare` called with what is ready."""

    def __init__(self, prepare: Callable[[str], object] = IGNORE) -> None:
        self._prepare = prepare
        self.told: list[str] = []

    def ready(self, generation: str) -> None:
        self._prepare(generation)

    def waiting(self) -> None:
        self.told.append("waiting")

    def scanning(self) -> None:
        self.told.append("scanning")

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        self.told.append(f"listed {folders}")

    def progress(self, current: int, total: int, path: str, info: str) -> None:
        self.told.append(f"{current} of {total}")


def build_in_child(
    project: Project,
    prepare: Callable[[str], object] = IGNORE,
    *,
    key: Key | None = None,
    embedder: str = HashingEmbedder().id,
    **options: Any,
) -> dict[str, Any]:
    run = BuildProcess(project, RunOptions(**options), embedder=embedder, key=key or account_key())
    return run.run(Listener(prepare))


@pytest.mark.once
@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "step", ["swept", "embedding", "written", "sealed", "renamed", "linked", "published"]
)
def test_a_build_killed_outright_is_reported_and_leaves_the_old_index_or_the_new(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    old = Generations(project.generations).current()
    change(project)
    plug_in(monkeypatch, tmp_path / "lib", "killer", KILLER)
    monkeypatch.setenv("DIE_AT", step)
    with pytest.raises(IndexingError, match=r"died \(exit status -9\): .*want of memory"):
        build_in_child(project)
    monkeypatch.delenv("CIDX_REF_EMBEDDER")
    is_live = step in ("published", "swept")  # there is nothing to sweep before the old one
    assert assert_old_or_new(project, old) is is_live
    assert build_in_child(project, wait_s=0)["changed"] is not is_live
    assert assert_old_or_new(project, old) is True


@pytest.mark.once
@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize("size_bytes", [0, 1, 100, 1000, 4000, 10_000])
def test_a_full_disk_fails_the_build_by_name_and_leaves_the_old_index(
    project: Project, size_bytes: int
) -> None:
    old = Generations(project.generations).current()
    change(project)
    program = dedent(
        """
        import os, resource, sys
        limit = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        sys.argv[:] = ["build", sys.argv[2]]
        from cidx_ref.index.worker import main
        os._exit(main())
        """
    )
    job = a_job(project, full=False, wait_s=0)
    command, environment = python_command("cidx_ref.index.worker")
    said: list[dict[str, Any]] = []
    with subprocess.Popen(
        [*command[:2], "-c", program, str(size_bytes), job],
        env=environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        os.write(child.stdin.fileno(), account_key().secret.hex().encode())
        for line in child.stdout:
            said.append(json.loads(line))
            if "scanning" in said[-1] or "ready" in said[-1]:
                os.write(child.stdin.fileno(), b".")
        assert child.wait(TIMEOUT_S) == 1
        assert b"Traceback" not in child.stderr.read()
    kind, message = said[-1]["error"]
    assert kind == "indexing_failed"
    said_where = "cannot write the index: File too large (in .code-indexer/generations); the index"
    assert message.startswith(said_where), message
    assert {"scanning": True} in said, "it had its turn"
    assert sorted(os.listdir(project.generations)) == [old, "current"], "half of the new one"
    assert assert_old_or_new(project, old) is False


FULL = """
import os, sys
from pathlib import Path
from cidx_ref.errors import IndexingError
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.project import Project

root = Path(sys.argv[1])
(root / "a.py").write_text("def first(): pass\\n")
project = Project.at(root)
old = bring_up_to_date(project, HashingEmbedder())["generation"]
needed = sum(f.stat().st_blocks * 512 for f in project.generations.rglob("*") if f.is_file())
for left in range(0, needed, needed // int(sys.argv[2])):
    (root / "a.py").write_text(f"def then_{left}(): pass\\n")
    with open(root / ".git", "wb") as filler:  # which is no source, and no repository
        free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
        os.posix_fallocate(filler.fileno(), 0, max(1, free - left))
    try:
        bring_up_to_date(project, HashingEmbedder())
        raise SystemExit(f"fits into {left} bytes, and {needed} were needed before")
    except IndexingError as error:
        print(error)
    left_over = [name for name in os.listdir(project.generations) if name[0] == "."]
    assert left_over == [], left_over
    os.unlink(root / ".git")
    generations = Generations(project.generations)
    generations.sweep()
    assert generations.current() == old
    directory = generations.path(old)
    assert damaged_files(directory, read_manifest(directory)) == {}
    assert sorted(os.listdir(project.generations)) == [old, "current"]
assert bring_up_to_date(project, HashingEmbedder())["generation"] != old
"""
_CAN_MOUNT = not subprocess.call(
    ["unshare", "--mount", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)


@pytest.mark.once
@pytest.mark.promise("WRITE-3")
@pytest.mark.skipif(not _CAN_MOUNT, reason="a file system of its own takes root")
def test_on_a_full_file_system_a_build_fails_by_name_wherever_it_comes_to_its_end(
    tmp_path: Path,
) -> None:
    """What the engines write themselves, too: a small file system, with more and more room."""
    mounted = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
    command, environment = python_command("cidx_ref")
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            mounted,
            tmp_path,
            *command[:2],
            "-c",
            FULL,
            tmp_path,
            "20",
        ],
        env=environment,
        timeout=TIMEOUT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    said = done.stdout.splitlines()
    assert len(said) >= 20
    for line in said:  # whatever the engines say, which may be that a writer was killed
        assert line.startswith("cannot write the index: No space left on device (in "), line
        assert re.search(
            r"generations, \d+\.\d MB free\): make room, and run `cidx-ref index`", line
        )


@pytest.mark.promise("WRITE-1", "WRITE-3")
@pytest.mark.parametrize("has_sent", ["nothing", "half the key", "the key"])
def test_a_build_ends_when_its_parent_does_and_leaves_the_lock_free(
    project: Project, has_sent: str
) -> None:
    digits = account_key().secret.hex().encode()
    sent = {"nothing": b"", "half the key": digits[:32], "the key": digits}[has_sent]
    old = Generations(project.generations).current()
    change(project)
    command, environment = python_command("cidx_ref.index.worker")
    job = a_job(project, full=True, wait_s=None)
    with Generations(project.generations).writing():  # so that it cannot be done before
        child = subprocess.Popen(
            [*command, job], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with child:
            assert child.stdin is not None
            child.stdin.write(sent)
            child.stdin.close()
            try:
                assert child.wait(TIMEOUT_S) == 1
            finally:
                child.kill()
    with Generations(project.generations).writing(wait_s=0):
        pass
    assert assert_old_or_new(project, old) is False


@pytest.mark.promise("WRITE-2")
def test_nothing_is_built_where_nothing_changed_unless_asked_for(project: Project) -> None:
    first = bring_up_to_date(project, HashingEmbedder())
    assert first["changed"] is False
    assert bring_up_to_date(project, HashingEmbedder())["generation"] == first["generation"]
    forced = bring_up_to_date(project, HashingEmbedder(), full=True)
    assert forced["changed"] is True
    assert forced["generation"] != first["generation"]
    for edit in (
        lambda: (project.root / "README.md").write_text("changed\n"),
        lambda: (project.root / "README.md").unlink(),
        lambda: (project.root / "web/app.js").rename(project.root / "web/b.js"),
    ):
        edit()
        report = bring_up_to_date(project, HashingEmbedder())
        assert report["changed"] is True
    assert report["files"] == 3


def a_job(project: Project, **options: object) -> str:
    """What the daemon tells the build child."""
    job = {**asdict(RunOptions()), "root": str(project.root), "key_problem": None, "verified": ""}
    return json.dumps({**job, "embedder": HashingEmbedder().id, **options})


class Broken(HashingEmbedder):
    """An embedder that goes wrong in one of the ways a plugged-in one may."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def embed_documents(self, texts):  # type: ignore[no-untyped-def]
        vectors = super().embed_documents(texts)
        if self.how == "raises":
            raise RuntimeError("out of luck")
        return {
            "too few": vectors[:-1],
            "too wide": np.hstack([vectors, vectors]),
            "not finite": np.full_like(vectors, np.nan),
            "not numbers": ["x"] * len(texts),
            "words": vectors.astype(str),
            "truths": vectors.astype(bool),
        }[self.how]


@pytest.mark.promise("WRITE-3")
@pytest.mark.parametrize(
    "how", ["raises", "too few", "too wide", "not finite", "not numbers", "words", "truths"]
)
def test_an_embedder_that_goes_wrong_fails_the_build_by_name_and_nothing_else(
    project: Project, how: str
) -> None:
    old = Generations(project.generations).current()
    change(project)
    with pytest.raises(IndexingError):
        bring_up_to_date(project, Broken(how))
    assert assert_old_or_new(project, old) is False


SHADOW = 'raise SystemExit("imported from the project")\n'


@pytest.mark.promise("WRITE-3")
def test_what_a_project_calls_its_files_is_never_imported(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "json/__init__.py rpyc/__init__.py cidx_ref/__init__.py numpy.py site.py sitecustomize.py "
        "socket.py logging.py hnswlib.py tantivy.py pathspec.py snowballstemmer.py"
    )
    files: Mapping[str, str] = {name: f"{SHADOW}# {name}\n" for name in names.split()}
    project = make_project(files)
    monkeypatch.chdir(project.root)
    assert build_in_child(project)["files"] == len(files)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command, environment = python_command("cidx_ref", *arguments)
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    ran = run("query", "imported from the project", "--limit", "20", "--json")
    stopped = run("stop")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert '"path": "numpy.py"' in ran.stdout
    assert stopped.returncode == 0


@pytest.mark.promise("PERF-5")
def test_the_parent_can_load_a_generation_before_it_is_live(project: Project) -> None:
    generations = Generations(project.generations)
    before = generations.current()
    seen: list[tuple[str, str]] = []

    def prepare(generation: str) -> None:
        seen.append((generation, generations.current()))
        path = generations.path(generation)
        assert damaged_files(path, read_manifest(path)) == {}

    change(project)
    report = build_in_child(project, prepare=prepare)
    assert seen == [(report["generation"], before)]
    assert generations.current() == report["generation"]
    build_in_child(project, prepare=prepare)  # in which nothing has changed
    assert len(seen) == 1


@pytest.mark.promise("WRITE-3")
def test_a_child_that_waits_for_its_parent_dies_with_it(project: Project) -> None:
    generations = Generations(project.generations)
    before = generations.current()

    def give_up(generation: str) -> None:
        raise KeyboardInterrupt

    change(project)
    with pytest.raises(KeyboardInterrupt):
        build_in_child(project, prepare=give_up)
    assert generations.current() == before
    with generations.writing(wait_s=0):  # it has let go
        pass


def test_a_build_that_is_cancelled_says_that_the_daemon_is_stopping(project: Project) -> None:
    with Generations(project.generations).writing():
        child = BuildProcess(project, RunOptions(full=True), embedder="any", key=account_key())
        child.cancel()
        with pytest.raises(CidxError, match="the daemon is stopping"):
            child.run(Listener())
    assert -child._process.returncode == signal.SIGKILL


CHATTY = """
from cidx_ref.index.embed import HashingEmbedder

class Chatty(HashingEmbedder):
    def embed_documents(self, texts):
        print("loading the model ...", flush=True)
        return super().embed_documents(texts)

class Other(HashingEmbedder):
    def __init__(self):
        super().__init__()
        self.id = "other"
"""


@pytest.mark.promise("WRITE-3")
def test_an_embedder_may_print_and_must_be_the_one_that_searches(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chatty_embedder.py").write_text(CHATTY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CIDX_REF_EMBEDDER", "chatty_embedder:Chatty")
    change(project)
    assert build_in_child(project)["changed"]
    monkeypatch.setenv("CIDX_REF_EMBEDDER", "chatty_embedder:Other")
    with pytest.raises(IndexingError, match=r"'other'.*'lexical-hashing-512-v3'"):
        build_in_child(project)


@pytest.mark.promise("OBS-1")
def test_what_was_skipped_is_told_also_where_nothing_else_has_changed(project: Project) -> None:
    (project.root / "picture.bin").write_bytes(b"\0\1\2")
    report = bring_up_to_date(project, HashingEmbedder())
    assert (report["changed"], report["skipped"]) == (False, {"binary": 1})


@pytest.mark.promise("WRITE-1")
def test_a_parent_that_does_not_answer_holds_up_nobody_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[dict[str, object]] = []
    monkeypatch.setattr(worker, "say", said.append)
    monkeypatch.setattr(worker, "_AGREE_S", 0.01)
    monkeypatch.setattr(worker._Parent, "_watch", lambda self: None)  # who says nothing
    parent = worker._Parent(SYSTEM)
    waiting = SYSTEM.thread(lambda: parent.announce("000002-abcdef"), "child")
    waiting.join(TIMEOUT_S)
    assert not waiting.is_alive()
    assert said == [{"ready": "000002-abcdef"}]


def test_nothing_is_looked_at_without_the_parents_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "say", lambda message: None)
    monkeypatch.setattr(worker, "_AGREE_S", 0.01)
    monkeypatch.setattr(worker._Parent, "_watch", lambda self: None)
    with pytest.raises(IndexingError, match="does not answer"):
        worker._Parent(SYSTEM).scanning()


@pytest.mark.promise("CACHE-5", "WRITE-2")
def test_a_child_looks_at_no_file_before_its_parent_has_closed_the_run(project: Project) -> None:
    """However late the parent's thread is: who joins until then has changed files before."""

    class Late(Listener):
        def scanning(self) -> None:
            (project.root / "late.py").write_text("late = 1\n")

    run = BuildProcess(project, RunOptions(), embedder=HashingEmbedder().id, key=account_key())
    assert run.run(Late())["files"] == 5


@pytest.mark.promise("WRITE-3")
def test_what_a_process_that_was_killed_has_begun_is_removed_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its parent: on a full disk, nobody may write for days."""
    old = Generations(project.generations).current()
    change(project)
    plug_in(monkeypatch, tmp_path / "lib", "killer", KILLER)
    monkeypatch.setenv("DIE_AT", "written")
    with pytest.raises(IndexingError, match=r"died \(exit status -9\)"):
        OurIndex(project, embedder=HashingEmbedder()).begin_run(RunOptions()).run(Listener())
    assert sorted(os.listdir(project.generations)) == [old, "current"]


@pytest.mark.promise("WRITE-3")
def test_of_a_process_that_was_killed_on_a_full_disk_the_disk_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change(project)
    plug_in(monkeypatch, tmp_path / "lib", "killer", KILLER)
    monkeypatch.setenv("DIE_AT", "written")
    full = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def refuse(*_: object) -> None:
        raise full

    run = OurIndex(project, embedder=HashingEmbedder()).begin_run(RunOptions())
    monkeypatch.setattr(Directory, "create", refuse)
    with pytest.raises(IndexingError, match=r"^cannot write the index: Disk quota exceeded \(in "):
        run.run(Listener())


def test_where_no_process_can_be_started_that_is_said(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    service = CIDXDaemonService(project.root)
    said = "^no indexing process can be started: Resource temporarily unavailable$"
    with pytest.raises(IndexingError, match=said):
        service.exposed_index(str(project.root))


TALKER = """
import os, sys
from cidx_ref.index.embed import HashingEmbedder

class Embedder(HashingEmbedder):
    def embed_documents(self, texts):
        for n in range(20_000):
            print(f"line {n} of many", file=sys.stderr)
        os.write(2, b"and half a line")
        return super().embed_documents(texts)
"""


@pytest.mark.promise("WRITE-2")
def test_a_process_may_complain_at_any_length_and_the_end_of_it_is_logged(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    change(project)
    plug_in(monkeypatch, tmp_path / "lib", "talker", TALKER)
    assert build_in_child(project)["changed"]
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert len(said) == 100
    assert said[-2:] == ["line 19999 of many", "and half a line"]


@pytest.mark.promise("WRITE-2")
@pytest.mark.parametrize("processes", [0, 2])
def test_what_others_print_in_a_process_of_ours_is_none_of_its_messages(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    processes: int,
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome'); print(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    change(project)
    if processes:
        monkeypatch.setattr("cidx_ref.index.build.is_worth_it", lambda size_bytes, count: True)
        embedder = HashingEmbedder()
        assert bring_up_to_date(project, embedder, full=True, processes=processes)["changed"]
        return
    assert build_in_child(project)["changed"]
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert said[-2:] == ["welcome", "7"]


@pytest.mark.promise("WRITE-2")
def test_a_run_needs_no_directory_for_temporary_files(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That of who started the daemon may be gone by now, as those of a login session are."""
    change(project)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert build_in_child(project)["changed"]


def test_no_lock_file_is_part_of_an_index(project: Project) -> None:
    """Whoever opens it makes them anew, so that one is missing or another means nothing."""
    generations = Generations(project.generations)
    manifest = read_manifest(generations.path(generations.current()))
    assert [name for name in manifest["files"] if name.endswith(".lock")] == []


@pytest.mark.promise("WRITE-3")
def test_a_child_signs_with_the_key_that_its_parent_has_and_removes_what_no_key_vouches_for(
    project: Project,
) -> None:
    generations = Generations(project.generations)
    before = generations.current()
    key = Key(b"k" * KEY_BYTES, problem="nowhere to keep it")
    beside = build_in_child(project, key=key, keep_unverified=True)
    assert (beside["changed"], beside["removed"]) == (True, [])
    note = (
        "no lasting key (nowhere to keep it): this index is good for as long as the daemon lives; "
        "name a directory of yours in CIDX_REF_STATE_DIR"
    )
    assert beside["notes"] == [note]
    live = generations.path(generations.current())
    assert read_manifest(live, key)["generation"] == live.name == beside["generation"]
    with pytest.raises(NoIndexError, match="was not made by this account"):
        read_manifest(live)
    assert sorted(os.listdir(project.generations)) == [before, live.name, "current"]
    # And without that, also where nothing has changed.
    alone = build_in_child(project, key=key)
    assert (alone["changed"], alone["removed"]) == (False, [before])
    assert sorted(os.listdir(project.generations)) == [live.name, "current"]
    again = build_in_child(project)
    assert (again["changed"], again["removed"], again["notes"]) == (True, [live.name], [])


@pytest.mark.promise("OBS-1")
def test_files_that_were_decoded_by_a_guess_are_searched_and_counted(
    make_project: MakeProject,
) -> None:
    files = {"a.c": "/* Größe */".encode("latin-1"), "b.c": "/* Höhe */".encode("utf-16")}
    project = make_project({**files, "c.c": "/* Länge */".encode()}, name="guessed")
    report = bring_up_to_date(project, HashingEmbedder())
    assert (report["files"], report["guessed"], report["skipped"]) == (3, 1, {})
    again = bring_up_to_date(project, HashingEmbedder())
    assert (again["changed"], again["guessed"]) == (False, 1)
    service = CIDXDaemonService(project.root)
    for word, path in ("größe", "a.c"), ("höhe", "b.c"), ("länge", "c.c"):
        for query in service.exposed_query, service.exposed_query_fts:
            assert query(str(project.root), word)["results"][0]["path"] == path
    service.exposed_clear_cache()


@pytest.mark.promise("WRITE-3")
def test_what_could_not_be_swept_because_of_a_writer_is_swept_after_the_next_run(
    project: Project,
) -> None:
    """The writer has swept before the last reader of a generation was gone, and will not again."""
    index = OurIndex(project)
    old = index.load(index.current())
    change(project)
    new = build(project)
    generations = Generations(project.generations)
    with generations.writing():
        old.close()
        index.sweep()
    assert old.generation in os.listdir(project.generations)
    run = index.begin_run(RunOptions())
    run.cancel()  # before it has done anything: nor does it sweep
    with pytest.raises(ShuttingDownError):
        run.run(Listener())
    assert sorted(os.listdir(project.generations)) == [new, "current"]
