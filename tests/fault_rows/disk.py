"""Rows: disks that are full or broken, file systems that turn read-only, and writers that die.

What an engine writes by itself is tried on file systems of their own, which take root; what this
package writes is told to a runtime before (`Runtime.operation`), which fails it, or dies there.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple
from unittest.mock import patch

from segments import in_segments

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.daemon import indexing
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, IndexingError
from cidx_ref.files import Directory
from cidx_ref.index import generation, merging
from cidx_ref.index.adopt import adopt
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import BUILDING, damaged_files, read_manifest
from cidx_ref.index.merging import merge_segments
from cidx_ref.index.ours import OurIndex
from cidx_ref.index.port import RunOptions
from cidx_ref.index.unwritable import require_room
from cidx_ref.keys import Key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import is_answered
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import SAMPLE, write
from fault_rows.table import NotHereError, Place, Trial, mutant, row

RETRY = "retry when the peer disconnects"
NEW = "def of_the_newest_edit():\n    return 'newest'\n"


def _project(root: Path) -> Project:
    for name, content in SAMPLE.items():
        write(root, name, content)
    return Project.at(root)


def _paths(project: Project, text: str, method: str = "query_hybrid") -> list[str]:
    service = CIDXDaemonService(project.root)
    try:
        found = getattr(service, f"exposed_{method}")(str(project.root), text)["results"]
    finally:
        service.exposed_clear_cache()
    return [hit["path"] for hit in found]


def _assert_whole(project: Project, said: str) -> str:
    """The live generation is whole, answers, and has nothing beside it; which one it is."""
    generations = Generations(project.generations)
    live = generations.current()
    left = sorted(os.listdir(project.generations))  # a query sweeps
    assert left == [live, "current"], f"{said}: left behind: {left}"
    wrong = damaged_files(generations.path(live), read_manifest(generations.path(live)))
    assert not wrong, f"{said}: {wrong}"
    assert _paths(project, RETRY)[0] == "net/retry.py", said
    return live


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory, in memory if there is a file system for that: thousands of indexes are made in
    it, and nothing is said there of what a disk keeps.  Nothing that is in memory by now is looked
    through for cycles, which every index that is closed would have done."""
    gc.collect()
    gc.freeze()
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else gettempdir()
    for left in Path(where).glob("cidx-fault-*-*"):  # of a row that was killed
        if not Path(f"/proc/{left.name.split('-')[2]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"cidx-fault-{os.getpid()}-", dir=where) as made:
        yield Path(made)


# Every operation of every writer.


class Death(BaseException):
    """The end of the process: what `finally` would do changes no file any more."""


class _Writer(NamedTuple):
    """A kind of writer: what it is given, and what it does."""

    name: str
    given: Callable[[Project], object]
    write: Callable[[Project, FakeRuntime], object]


def _edited(project: Project) -> None:
    write(project.root, "new.py", NEW)
    (project.root / "web/app.js").unlink(missing_ok=True)


def _littered(project: Project) -> None:
    directory = project.generations
    for name in (".building-000009-aaaaaa/fulltext", "000009-aaaaaa/s000001-bbbbbb"):
        (directory / name).mkdir(parents=True)
        (directory / name / "file").write_text("half")
    (directory / ".building-link-cccccc").symlink_to("000009-aaaaaa")


def _foreign(project: Project) -> None:
    with Directory.open(project.directory) as inner:
        inner.remove("generations")
    bring_up_to_date(project, HashingEmbedder(), key=Key(b"another's" * 4))


def _without(project: Project) -> None:
    with Directory.open(project.root) as inner:
        inner.remove(".code-indexer")


def _index(project: Project, runtime: FakeRuntime, **options: Any) -> None:
    bring_up_to_date(project, HashingEmbedder(), runtime=runtime, **options)


def _merge(project: Project, runtime: FakeRuntime) -> None:
    with ExitStack() as stack:
        patched: dict[str, Callable[..., Any]] = {}
        patched["due_merge"] = lambda sizes: [size.id for size in sizes]
        patched["is_merge_due"] = patched["is_full_text_due"] = lambda *_: True
        for name, function in patched.items():
            stack.enter_context(patch.object(merging, name, function))
        merge_segments(project, HashingEmbedder(), runtime=runtime)


def _sweep(project: Project, runtime: FakeRuntime) -> None:
    Generations(project.generations, runtime).sweep()


WRITERS = [
    _Writer("first", _without, _index),
    _Writer("edit", _edited, _index),
    _Writer("full", _edited, partial(_index, full=True)),
    _Writer("merge", lambda project: None, _merge),
    _Writer("adopt", _foreign, lambda project, runtime: adopt(project, runtime=runtime)),
    _Writer("sweep", _littered, _sweep),
]
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class _Point(NamedTuple):
    """An operation of a writer, by its number, that fails with an error, or at which it dies."""

    writer: _Writer
    operation: int
    fate: int | None


class _Copies:
    """An indexed project of several segments, a copy of which each case has."""

    def __init__(self, path: Path) -> None:
        self._whole = _project(path / "whole")
        in_segments(self._whole)
        self._path = path
        self.points = [
            _Point(writer, number, fate)
            for writer in WRITERS
            for number in range(1, self._operations(writer) + 1)
            for fate in (None, ERRORS[number % len(ERRORS)])
        ]

    def _operations(self, writer: _Writer) -> int:
        runtime = FakeRuntime()
        with self.copy(writer.name) as project:
            writer.given(project)
            writer.write(project, runtime)
        return len(runtime.operations)

    @contextmanager
    def copy(self, name: str) -> Iterator[Project]:
        root = self._path / name
        shutil.copytree(self._whole.root, root, symlinks=True)
        yield Project.at(root)
        with Directory.open(self._path) as above:
            above.remove(name)


@row(
    "each operation on files of each writer fails (disk full, quota, I/O error, read-only), or the "
    "process dies there: index runs, merges, adopt, sweeps",
    "WRITE-3",
    cases=1400,
    sample=12,
)
@contextmanager
def failing_writers(place: Place) -> Iterator[Trial]:
    with in_memory() as path:
        copies = _Copies(path)
        # So that a sample meets every writer, and all cases every point.
        points = sorted(copies.points, key=lambda point: (point.operation, point.writer.name))
        assert len(points) <= 1400, f"{len(points)} points are more than there are cases"
        points = [point for start in range(97) for point in points[start::97]]

        def check(number: int) -> None:
            with copies.copy(f"c{number}") as project:
                _check_point(project, points[number % len(points)])

        yield Trial(check)


def _check_point(project: Project, point: _Point) -> None:
    writer, operation, fate = point
    writer.given(project)
    runtime = FakeRuntime()
    failure = Death() if fate is None else OSError(fate, os.strerror(fate))
    runtime.fail_at(operation, failure, dies=fate is None)
    said = ""
    try:
        writer.write(project, runtime)
    except (Death, CidxError, OSError) as error:
        said = f"{type(error).__name__}: {error}"
    at = runtime.operations[operation - 1 : operation]  # none, where engines wrote fewer files
    where = f"{writer.name}: {''.join(at)}: {said or 'no error'}"
    if fate is not None and at:
        _check_failure(project, writer, where, fate, said)
    # The next one goes on from there.
    bring_up_to_date(project, HashingEmbedder())
    _assert_whole(project, where)


def _check_failure(project: Project, writer: _Writer, where: str, fate: int, said: str) -> None:
    assert "\n" not in said, where
    assert not said or os.strerror(fate) in said or "not adopted" in said, f"{where}: not told why"
    if project.generations.is_dir() and writer.name != "sweep":
        left = [name for name in os.listdir(project.generations) if name.startswith(".building")]
        # What cannot be removed stays, for the next one.
        is_removal = any(f": {kind} " in where for kind in ("unlink", "rmdir", "rename"))
        assert not left or is_removal, f"{where}: half of it stays: {left}"


@mutant("failing-writers", "what was begun stays where a run fails")
@contextmanager
def _stays() -> Iterator[None]:
    @contextmanager
    def building(self: Generations) -> Iterator[tuple[str, Path]]:
        yield self.begin()

    with patch.object(Generations, "building", building):
        yield


# The configuration.

OTHERS = {"other": [1, {"of": "another"}], "daemon": {"max_retries": 3}}


@row(
    "each operation of init fails, or the process dies there: other programs' keys are in the file",
    "CFG-1",
    cases=60,
    sample=60,
)
@contextmanager
def torn_configuration(place: Place) -> Iterator[Trial]:
    def check(number: int) -> None:
        operation, fate = number // 5 + 1, (None, *ERRORS)[number % 5]
        project = _project(place.path / f"p{number}")
        path = project.config_path
        if has_old := number % 3 != 0:
            path.parent.mkdir(mode=0o700)
            path.write_text(json.dumps(OTHERS))
            path.chmod(0o640)
        runtime = FakeRuntime()
        failure = Death() if fate is None else OSError(fate, os.strerror(fate))
        runtime.fail_at(operation, failure, dies=fate is None)
        with suppress(Death, OSError):
            Config.init(project, runtime=runtime, ttl_minutes=3)
        if operation > len(runtime.operations):
            _check_order(runtime.operations)
        if has_old:
            found = json.loads(path.read_bytes())
            assert found["other"] == OTHERS["other"], f"{runtime.operations[-1:]}: {found}"
            assert found["daemon"]["max_retries"] == 3
            assert path.stat().st_mode & 0o777 == 0o640
        Config.init(project, ttl_minutes=4)
        assert Config.load(path).ttl_minutes == 4
        shutil.rmtree(project.root)

    yield Trial(check)


def _check_order(operations: list[str]) -> None:
    """What is written is on disk before it has its name, and its name is, before init is over."""
    *_, synced, renamed, put = operations
    is_durable = synced.startswith("sync .config.json.") and renamed == "rename config.json"
    assert is_durable, operations
    assert put == "sync .code-indexer", operations


@mutant("torn-configuration", "a file is written in its place")
@contextmanager
def _in_place() -> Iterator[None]:
    def replace(self: Directory, name: str, data: bytes, *, mode: int = 0o600) -> None:
        self.remove(name)
        self.create(name, data, mode=mode)

    with patch.object(Directory, "replace", replace):
        yield


@mutant("torn-configuration", "the name of the new file is not put on disk")
@contextmanager
def _not_durable() -> Iterator[None]:
    with patch.object(Directory, "sync", lambda self: None):
        yield


# File systems of their own.


_CLONE_NEWNS = 0x20000
_MS_REMOUNT, _MS_RDONLY, _MS_PRIVATE, _MS_REC = 32, 1, 1 << 18, 1 << 14


def _libc(function: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def _disk(path: Path, options: str) -> Iterator[Callable[[bool], None]]:
    """A small file system at `path`; a function that makes it read-only, and writable again.

    This process, and what it starts, see it, and nobody else.
    """
    path.mkdir()
    target = os.fsencode(path)
    try:
        _libc("unshare", _CLONE_NEWNS)
        _libc("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        _libc("mount", b"none", target, b"tmpfs", 0, options.encode())
    except OSError as error:
        raise NotHereError(f"no file system of its own: {error.strerror}") from None

    def read_only(is_so: bool) -> None:
        flags = _MS_REMOUNT | (_MS_RDONLY if is_so else 0)
        _libc("mount", b"none", target, b"tmpfs", flags, None)

    try:
        yield read_only
    finally:
        _libc("umount2", target, 2)


def _fill(disk: Path, left: int) -> Path:
    """Leave so many bytes on it."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        found = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - left))
    return filler


class _Heard:
    """Agrees to all that a run does."""

    def ready(self, generation: str) -> None: ...
    def waiting(self) -> None: ...
    def scanning(self) -> None: ...
    def listed(self, folders: list[str] | None, files: list[str]) -> None: ...
    def progress(self, current: int, total: int, path: str, info: str) -> None: ...


def _in_child(project: Project) -> dict[str, Any]:
    return OurIndex(project).begin_run(RunOptions()).run(_Heard())


@row(
    "the disk is full: with room from nothing up to enough, and of inodes",
    *("WRITE-2", "WRITE-3"),
    cases=160,
    sample=10,
)
@contextmanager
def full_disk(place: Place) -> Iterator[Trial]:
    with ExitStack() as stack:
        stack.enter_context(_disk(place.path / "disk", "size=6m,nr_inodes=400"))
        project = _project(place.path / "disk/project")
        bring_up_to_date(project, HashingEmbedder())
        files = project.generations.rglob("*")
        needed = 2 * sum(each.stat().st_blocks * 512 for each in files if each.is_file())

        def check(number: int) -> None:
            old = Generations(project.generations).current()
            write(project.root, "new.py", f"{NEW}# {number}\n")
            filler = _fill(place.path / "disk", (number * 37 % 160) * needed // 130)
            run = _in_child if number % 5 == 0 else _here
            said = _refused(run, project)
            if said:
                assert said.startswith("cannot write the index: No space left on device (in .code-")
                assert " MB free): make room, and run `cidx-ref index` again" in said, said
                assert _assert_whole(project, said) == old
            filler.unlink()
            run(project)
            assert _assert_whole(project, "with room again") != old
            assert "new.py" in _paths(project, "of_the_newest_edit"), "the edit is not found"

        def check_inodes(number: int) -> None:
            old = Generations(project.generations).current()
            write(project.root, "new.py", f"{NEW}# {number}\n")
            found = os.statvfs(project.root)
            fillers = project.root.parent / "fillers"
            fillers.mkdir()
            for each in range(found.f_favail - 1 - number // 8 % 60):
                (fillers / f"{each}").touch()
            said = _refused(_here, project)
            if said:
                assert said.startswith("cannot write the index: No space left on device (in .code-")
                assert _assert_whole(project, said) == old
            shutil.rmtree(fillers)
            bring_up_to_date(project, HashingEmbedder())
            assert _assert_whole(project, "with inodes again") != old

        yield Trial(lambda number: (check_inodes if number % 8 == 7 else check)(number))


def _here(project: Project) -> dict[str, Any]:
    return bring_up_to_date(project, HashingEmbedder())


def _refused(run: Callable[[Project], object], project: Project) -> str:
    try:
        run(project)
    except IndexingError as error:
        return str(error)
    return ""


@mutant("full-disk", "nobody asks the system why an engine could not write")
@contextmanager
def _unasked() -> Iterator[None]:
    with patch.object(generation, "require_room", lambda directory: None):
        yield


@mutant("full-disk", "the half of what was begun stays")
@contextmanager
def _half_stays() -> Iterator[None]:
    @contextmanager
    def building(self: Generations) -> Iterator[tuple[str, Path]]:
        made = self.begin()
        try:
            yield made
        except CidxError:
            with self._opened() as directory, directory.sub(made[1].name) as inner:
                require_room(inner)
            raise

    with patch.object(Generations, "building", building):
        yield


@row(
    "the file system turns read-only while a run writes, or the project is moved away",
    *("WRITE-2", "WRITE-3"),
    cases=240,
    sample=6,
)
@contextmanager
def lost_disk(place: Place) -> Iterator[Trial]:
    with _disk(place.path / "disk", "size=64m") as read_only:
        project = _project(place.path / "disk/project")
        bring_up_to_date(project, HashingEmbedder())
        away = place.path / "disk/away"

        def turn_read_only(number: int) -> None:
            write(project.root, "new.py", f"{NEW}# {number}\n")
            runtime = _At(number * 29 // 2 % 60 + 1, lambda: read_only(True))
            said = _refused_by(project, runtime)
            assert not said or "Read-only file system" in said, said
            assert _paths(project, RETRY)[0] == "net/retry.py", "no answer meanwhile"
            read_only(False)

        def move_away(number: int) -> None:
            write(project.root, "new.py", f"{NEW}# {number}\n")
            runtime = _At(number * 29 // 2 % 60 + 1, lambda: project.root.rename(away))
            said = _refused_by(project, runtime)
            assert said or not runtime.was_there or away.is_dir(), "moved, and nobody says so"
            if away.exists():
                away.rename(project.root)

        def check(number: int) -> None:
            (turn_read_only if number % 2 else move_away)(number)
            Generations(project.generations).sweep()
            bring_up_to_date(project, HashingEmbedder())
            _assert_whole(project, f"case {number}")
            assert "new.py" in _paths(project, "of_the_newest_edit"), "the edit is not found"

        yield Trial(check)


def _refused_by(project: Project, runtime: FakeRuntime) -> str:
    """What is said, in a line, of a run that may fail; "" if it does not."""
    said = ""
    try:
        bring_up_to_date(project, HashingEmbedder(), runtime=runtime)
    except CidxError as error:
        said = str(error)
    assert "\n" not in said, said
    return said


class _At(FakeRuntime):
    """Has something done just before the operation of that number, or as soon as it can be: no
    file system turns read-only while a file is open for writing."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        super().__init__()
        self._number, self._act = number, act
        self.was_there = False

    def operation(self, kind: str, path: Path) -> None:
        super().operation(kind, path)
        if len(self.operations) >= self._number and not self.was_there:
            with suppress(OSError):
                self._act()
                self.was_there = True


@mutant("lost-disk", "a generation is live before it is whole")
@contextmanager
def _early() -> Iterator[None]:
    seal = Generations.seal

    def publish_first(self: Generations, building: Path, *rest: Any) -> None:
        link = self.directory / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(building.name.removeprefix(BUILDING))
        seal(self, building, *rest)

    with patch.object(Generations, "seal", publish_first):
        yield


# Killed.


class _Killing(_Heard):
    """Ends the process of a run at what it tells first of a kind."""

    def __init__(self, run: Any, at: str) -> None:
        self._run, self._at = run, at

    def _told(self, what: str) -> None:
        if what == self._at:
            self._run.cancel()

    def scanning(self) -> None:
        self._told("scanning")

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        self._told("listed")

    def ready(self, generation: str) -> None:
        self._told("ready")


@row(
    "the process of an index run is killed: its half does not wait for the next writer",
    *("WRITE-1", "WRITE-3"),
    cases=60,
    sample=3,
)
@contextmanager
def killed_runs(place: Place) -> Iterator[Trial]:
    with in_memory() as path:
        project = _project(path / "project")
        bring_up_to_date(project, HashingEmbedder())
        index = OurIndex(project)

        def check(number: int) -> None:
            write(project.root, "new.py", f"{NEW}# {number}\n")
            at = ("listed", "ready", "scanning")[number % 3]
            run = index.begin_run(RunOptions(watch=True))
            with suppress(CidxError):
                run.run(_Killing(run, at))
            left = sorted(os.listdir(project.generations))
            assert left == [index.current(), "current"], f"killed at {at!r}: {left}"
            if number % 6 == 5:
                bring_up_to_date(project, HashingEmbedder())
                _assert_whole(project, f"killed at {at!r}")

        yield Trial(check)


@mutant("killed-runs", "what a process that was killed has begun stays until somebody writes")
@contextmanager
def _left_to_the_next() -> Iterator[None]:
    ended = OurIndex._run_has_ended
    with patch.object(OurIndex, "_run_has_ended", lambda self, was_killed: ended(self, False)):
        yield


# Many at once.


@row(
    "a hundred ask for index runs at once, in all variants",
    *("WRITE-1", "CACHE-5"),
    cases=3,
    sample=1,
    patience_s=240.0,
)
@contextmanager
def many_runs(place: Place) -> Iterator[Trial]:
    project = _project(place.path / "project")
    bring_up_to_date(project, HashingEmbedder())
    with _daemon(place, project) as pid:
        yield Trial(partial(_check_many, project, pid), pids=(pid,))


@contextmanager
def _daemon(place: Place, project: Project) -> Iterator[int]:
    command = [*place.command, "serve", "--project", os.fspath(project.root)]
    with subprocess.Popen(command, env=place.environment, stdout=subprocess.DEVNULL) as process:
        try:
            until = SYSTEM.monotonic() + 30.0
            while not is_answered(project.socket_path):
                assert SYSTEM.monotonic() < until, "the daemon does not start"
                SYSTEM.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()


def _check_many(project: Project, pid: int, number: int) -> None:
    count = 12 if number == 0 else 100
    outcomes: list[Any] = []
    write(project.root, f"many{number}.py", f"def of_many_{number}():\n    return {number}\n")

    def ask(each: int) -> None:
        options: list[dict[str, Any]] = [
            {}, {"wait_s": 100.0 + each}, {"full": True, "wait_s": 100.0}, {"full": True},
            {"keep_unverified": True}, {"wait_s": 0.0},
        ]  # fmt: skip
        try:
            with DaemonClient(project, start=False) as client:
                outcomes.append(client.index(**options[each % len(options)])["files"])
        except CidxError as error:
            outcomes.append(error.kind)

    workers = 0
    with Generations(project.generations).writing():  # so that none is over before all have asked
        threads = [SYSTEM.thread(partial(ask, each), "asks") for each in range(count)]
        until = SYSTEM.monotonic() + 60.0
        while _asked(project) + len(outcomes) < count and SYSTEM.monotonic() < until:
            workers = max(workers, len(_workers(pid)))
    while any(thread.is_alive() for thread in threads):
        workers = max(workers, len(_workers(pid)))
        SYSTEM.sleep(0.02)
    assert workers <= 2, f"{workers} processes for {count} requests"
    files = len(SAMPLE) + number + 1
    wrong = [each for each in outcomes if each not in (files, "busy")]
    assert not wrong, f"{wrong[:3]}"
    assert outcomes.count("busy") <= len(range(5, count, 6)), "who would wait is told to come later"
    assert f"many{number}.py" in _paths(project, f"of_many_{number}", "query_fts")


def _asked(project: Project) -> int:
    """How many requests for an index run are under way."""
    with DaemonClient(project, start=False) as client:
        calls = client.diagnostics()["in_flight"]
    return sum(call["method"] == "index" for call in calls)


def _workers(pid: int) -> list[int]:
    """The index processes of a daemon."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread, or a process, that has just ended
            for child in map(int, (task / "children").read_text("ascii").split()):
                is_one = b"cidx_ref.index.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
                found += [child] * is_one
    return found


@mutant("many-runs", "each run has a process, however many there are")
@contextmanager
def _unbounded() -> Iterator[None]:
    def is_open(self: Any, options: RunOptions) -> bool:
        return False

    with (
        patch.object(indexing, "_AT_ONCE", 1000),
        patch.object(indexing._SharedRun, "is_open", is_open),
    ):
        yield
