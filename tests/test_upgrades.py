"""Upgrades: a daemon whose interpreter, package or libraries go or change makes room for the next.

An environment is a copy of this package in a directory of its own, which `PYTHONPATH` names, with a
version of its own; an interpreter is a link that a test can turn.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from depth import by_default

import cidx_ref
from cidx_ref import _version
from cidx_ref.backend import ConnectionLostError, Remote
from cidx_ref.client import DaemonClient
from cidx_ref.daemon.installation import DEPENDENCIES, DISTRIBUTIONS, Installation
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import (
    BadArgumentError,
    DaemonUnavailableError,
    IndexingError,
    NoIndexError,
    ReplacedError,
    ShuttingDownError,
)
from cidx_ref.index.ours import OurIndex
from cidx_ref.launcher import start_process
from cidx_ref.locks import try_lock
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, served
from cidx_ref.turns import TURN, Turn, take_over

pytestmark = pytest.mark.once

TIMEOUT_S = 60
QUERY = "retry when the peer disconnects"
FOUND = "net/retry.py"
PACKAGE = Path(cidx_ref.__file__).parent
INTERPRETER = Path(sys.executable).resolve()


# What is looked at.


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    """A file that stands for an installation."""
    path = tmp_path / "thing"
    path.write_text("one")
    return path


def replaced(path: Path, text: str = "two") -> None:
    """As installers do: another file under the same name."""
    other = path.with_name(f"{path.name}.new")
    other.write_text(text)
    other.replace(path)


def rewritten(path: Path) -> None:
    path.write_text("other")


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def unlinked(path: Path) -> None:
    path.unlink()


def shadowed(path: Path) -> None:
    """What was a directory above it is a file now."""
    path.parent.rename(path.parent.with_name("old"))
    path.parent.write_text("")


@pytest.mark.parametrize("change", [replaced, rewritten, touched, unlinked, shadowed])
def test_a_file_that_is_gone_or_another_one_is_a_change_that_names_it(
    thing: Path, change: Callable[[Path], None], tmp_path: Path
) -> None:
    here = tmp_path / "folder"
    here.mkdir()
    moved = thing.rename(here / thing.name)
    installation = Installation([str(moved)])
    assert installation.change() is None
    change(moved)
    is_gone = change in (unlinked, shadowed)
    assert installation.change() == f"{moved} {'is gone' if is_gone else 'was replaced'}"


def test_a_link_that_leads_elsewhere_is_a_change(thing: Path) -> None:
    link = thing.with_name("link")
    link.symlink_to(thing)
    installation = Installation([str(link)])
    other = thing.with_name("other")
    other.write_text("one")
    link.unlink()
    link.symlink_to(other)
    assert installation.change() == f"{link} was replaced"


def test_what_was_not_there_to_begin_with_is_not_missed(thing: Path) -> None:
    installation = Installation([str(thing.with_name("nothing")), ""])
    thing.with_name("nothing").touch()
    assert (installation.paths, installation.change()) == ((), None)


def test_a_file_system_that_does_not_answer_ends_no_daemon(
    thing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation([str(thing)])

    def fail(path: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("cidx_ref.daemon.installation.os.stat", fail)
        change = installation.change()
    assert change is None


def test_the_interpreter_the_library_the_package_and_each_dependency_are_looked_at() -> None:
    paths = Installation.of_this_process().paths
    assert {sys.executable, os.__file__, str(PACKAGE / "_version.py")} <= set(paths)
    for name in DEPENDENCIES:
        found = [path for path in paths if Path(path).name.startswith(name)
                 or Path(path).parent.name == name]  # fmt: skip
        assert found, name
        called = DISTRIBUTIONS.get(name, name)
        assert [p for p in paths if p.endswith("METADATA") and f"/{called}-" in p.lower()], name
    assert not [path for path in paths if "testing" in path], "an edit there replaces nothing"


def test_the_dependencies_are_those_that_the_project_declares() -> None:
    declared = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    block = declared[declared.index("\ndependencies = [") :].partition("]")[0]
    names = [line.split('"')[1] for line in block.splitlines() if '"' in line]
    called = {DISTRIBUTIONS.get(name, name).replace("_", "-") for name in DEPENDENCIES}
    assert sorted(name.partition(">")[0] for name in names) == sorted(called)


# What a call is told.


@pytest.fixture
def service(project: Project, thing: Path, fake: FakeRuntime) -> CIDXDaemonService:
    installation = Installation([str(thing)])
    return CIDXDaemonService(project.root, runtime=fake, installation=installation)


def test_an_import_that_fails_as_its_module_is_gone_is_told_as_the_end_of_this_daemon(
    service: CIDXDaemonService, thing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    service.on_shutdown = stopped.append
    root = str(service.project.root) if service.project else ""

    def load(self: object, generation: str) -> None:
        raise ModuleNotFoundError("No module named 'hnswlib'")

    monkeypatch.setattr(OurIndex, "load", load)
    thing.unlink()
    with pytest.raises(ReplacedError, match="thing is gone"):
        service.exposed_query(root, QUERY)
    assert stopped == [f"its installation has changed: {thing} is gone"]
    assert service.health_monitor.get_health()["errors"] == 1
    with pytest.raises(ShuttingDownError):
        service.exposed_query(root, QUERY)


def test_an_import_that_succeeds_after_the_change_is_not_answered_from(
    service: CIDXDaemonService, thing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The modules of the first load came from another version, perhaps."""
    load = OurIndex.load
    closed: list[str] = []

    def upgrade_and_load(self: OurIndex, generation: str) -> Any:
        replaced(thing)
        loaded = load(self, generation)
        close = loaded.close

        def noted() -> None:
            closed.append(generation)
            close()

        monkeypatch.setattr(loaded, "close", noted)
        return loaded

    monkeypatch.setattr(OurIndex, "load", upgrade_and_load)
    assert service.project is not None
    with pytest.raises(ReplacedError, match="was replaced"):
        service.exposed_query(str(service.project.root), QUERY)
    assert len(closed) == 1, "what was loaded is given back"


def test_what_is_loaded_already_is_answered_from_until_the_daemon_leaves(
    service: CIDXDaemonService, thing: Path
) -> None:
    assert service.project is not None
    root = str(service.project.root)
    before = service.exposed_query(root, QUERY)["results"]
    thing.unlink()
    assert service.exposed_query(root, QUERY)["results"] == before


def test_the_users_own_mistakes_stay_what_they_are(
    service: CIDXDaemonService, thing: Path, make_project: MakeProject, fake: FakeRuntime
) -> None:
    assert service.project is not None
    thing.unlink()
    with pytest.raises(BadArgumentError):
        service.exposed_query(str(service.project.root), 5)
    empty = CIDXDaemonService(
        make_project(name="empty").root, runtime=fake, installation=service.installation
    )
    assert empty.project is not None
    with pytest.raises(NoIndexError):
        empty.exposed_query(str(empty.project.root), QUERY)


def test_a_failure_without_a_change_stays_what_it_is(
    service: CIDXDaemonService, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    service.on_shutdown = stopped.append
    monkeypatch.setattr("cidx_ref.index.child.python_command", lambda module: (["false"], {}))
    assert service.project is not None
    with pytest.raises(IndexingError):
        service.exposed_index(str(service.project.root), full=True)
    assert stopped == []


@pytest.mark.promise("OBS-2")
def test_health_is_degraded_as_soon_as_the_installation_is_gone_and_says_why(
    service: CIDXDaemonService, thing: Path
) -> None:
    health = service.exposed_get_health()
    assert (health["status"], health["problem"]) == ("healthy", None)
    thing.unlink()
    health = service.exposed_get_health()
    assert (health["status"], health["problem"]) == ("degraded", f"{thing} is gone")


@pytest.mark.parametrize("when", ["before the run", "before the scan", "in its drain"])
def test_an_index_run_that_an_upgrade_meets_is_told_so_and_the_client_asks_the_next_daemon(
    project: Project, thing: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """No user has stopped that daemon; so the run is begun anew, where one that a user has stopped
    is not."""
    (project.root / "new.py").write_text("def brand_new(): ...\n")
    installation = Installation([str(thing)])
    launched: list[object] = []
    with ExitStack() as first, ExitStack() as second:

        def launch(project: Project) -> None:
            launched.append(project)
            first.close()
            second.enter_context(served(project))

        service = first.enter_context(served(project, installation=installation))
        client = second.enter_context(DaemonClient(project, launch=launch, runtime=FakeRuntime()))
        run = OurIndex.begin_run
        begun: list[object] = []

        def begin(self: OurIndex, options: Any) -> Any:
            begun.append(run(self, options))
            thing.unlink(missing_ok=True)
            return begun[-1]

        monkeypatch.setattr(OurIndex, "begin_run", begin)
        if when != "before the scan":
            thing.unlink()
        if when == "in its drain":
            service.gate.close()
        assert client.index()["changed"]
        assert len(launched) == 1
        assert len(begun) == (2 if when == "before the scan" else 1), "no child of another version"
        assert [hit.path for hit in client.query("brand_new", mode="fts")] == ["new.py"]


# The daemon as a process, in environments of its own.


def origin(name: str) -> Path:
    """The file of a module."""
    spec = find_spec(name)
    assert spec is not None
    return Path(str(spec.origin))


@dataclass(frozen=True)
class Environment:
    """A place with a copy of the package, and an interpreter that a test can turn."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    @property
    def package(self) -> Path:
        return self.home / "lib" / "cidx_ref"

    def install(self, version: str) -> None:
        """As an installer does: what is there is removed, and files of new identities come."""
        shutil.rmtree(self.package, ignore_errors=True)
        shutil.copytree(
            PACKAGE, self.package, ignore=shutil.ignore_patterns("testing", "_version*.pyc")
        )
        (self.package / "_version.py").write_text(f'__version__ = "{version}"\n')

    def install_interpreter(self) -> None:
        """A virtual environment of the interpreter that runs the tests, with its libraries."""
        self.python.parent.mkdir(parents=True)
        self.python.symlink_to(INTERPRETER)
        (self.home / "pyvenv.cfg").write_text(f"home = {INTERPRETER.parent}\n")
        minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = self.home / "lib" / minor / "site-packages"
        site.mkdir(parents=True)
        places = {str(origin(name).parents[name != "hnswlib"])
                  for name in (*DEPENDENCIES, "plumbum")}  # fmt: skip
        (site / "libraries.pth").write_text("".join(f"{place}\n" for place in sorted(places)))

    def variables(self) -> dict[str, str]:
        search = filter(None, (str(self.home / "lib"), os.environ.get("PYTHONPATH")))
        return {**os.environ, "PYTHONPATH": os.pathsep.join(search)}

    def command(self, module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """As `interpreter.python_command`, for this environment."""
        return [str(self.python), "-P", "-m", module, *arguments], self.variables()

    def popen(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        command = [str(self.python), "-P", "-c", program, *arguments]
        return subprocess.Popen(
            command, env=self.variables(), text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        line, variables = self.command("cidx_ref", *arguments)
        done = subprocess.run(
            line, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        return done.returncode, done.stdout, done.stderr


Environments = Callable[..., Environment]


@pytest.fixture
def environment(tmp_path: Path, project: Project) -> Iterator[Environments]:
    """`environment(name, version)` makes one."""

    def make(name: str, version: str = cidx_ref.__version__) -> Environment:
        made = Environment(tmp_path / name)
        made.install(version)
        made.install_interpreter()
        return made

    yield make
    # A daemon of whatever version: as an upgrade would end it.
    with suppress(ConnectionLostError, ProcessLookupError), leaving(project) as pid:
        os.kill(pid, signal.SIGTERM)


@contextmanager
def leaving(project: Project) -> Iterator[int]:
    """The daemon of the project ends in the block, or within a time after it."""
    with closing(Remote(project)) as remote:
        fd = os.pidfd_open(remote.pid)
    try:
        yield remote.pid
        assert select.select([fd], [], [], TIMEOUT_S)[0], f"process {remote.pid} does not end"
    finally:
        os.close(fd)


def ask(environment: Environment, project: Project) -> list[str]:
    """The paths that a query from the shell finds."""
    status, out, err = environment.run("query", QUERY, "--project", str(project.root), "--json")
    assert (status, err) == (0, ""), err
    return [hit["path"] for hit in json.loads(out)["results"]]


def pid_of_the_daemon(project: Project) -> int:
    with closing(Remote(project)) as remote:
        return remote.pid


def delete_the_environment(environment: Environment) -> None:
    shutil.rmtree(environment.home)


def move_the_environment(environment: Environment) -> None:
    environment.home.rename(environment.home.with_name("elsewhere"))


def delete_the_package(environment: Environment) -> None:
    shutil.rmtree(environment.package)


def upgrade_the_package(environment: Environment) -> None:
    environment.install("9.9.9")


def install_the_same_version_again(environment: Environment) -> None:
    environment.install(cidx_ref.__version__)


def replace_the_interpreter(environment: Environment) -> None:
    wrapper = environment.python.with_name("new")
    wrapper.write_text(f'#!/bin/sh\nexec "{INTERPRETER}" "$@"\n')
    wrapper.chmod(0o755)
    wrapper.replace(environment.python)


def remove_the_interpreter(environment: Environment) -> None:
    environment.python.unlink()


def upgrade_a_dependency(environment: Environment) -> None:
    stemmer = environment.home / "lib" / "snowballstemmer"
    shutil.copytree(stemmer, stemmer.with_name("new"))
    shutil.rmtree(stemmer)
    stemmer.with_name("new").rename(stemmer)


def remove_a_dependency(environment: Environment) -> None:
    shutil.rmtree(environment.home / "lib" / "snowballstemmer")


CHANGES = [
    delete_the_environment,
    move_the_environment,
    delete_the_package,
    upgrade_the_package,
    install_the_same_version_again,
    replace_the_interpreter,
    remove_the_interpreter,
    upgrade_a_dependency,
    remove_a_dependency,
]


@pytest.fixture
def old(environment: Environments) -> Environment:
    """An environment with a dependency of its own, which a test can change."""
    made = environment("old")
    stemmer = origin("snowballstemmer").parent
    shutil.copytree(stemmer, made.home / "lib" / stemmer.name)
    return made


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_of_its_installation_changes_the_daemon_leaves_and_no_client_hears_of_it(
    project: Project,
    environment: Environments,
    old: Environment,
    change: Callable[[Environment], None],
) -> None:
    """It has not answered yet, so it has not imported its engines; and it is asked at once, before
    it notices by itself."""
    new = environment("new")
    start_process(project, old.command)
    with leaving(project) as pid:
        change(old)
        assert ask(new, project)[0] == FOUND
    with leaving(project) as next_pid:
        assert ask(new, project)[0] == FOUND
        os.kill(next_pid, signal.SIGTERM)
    assert next_pid != pid
    assert f"its installation has changed: {old.home}" in project.log_path.read_text()


@pytest.mark.parametrize(
    "change", by_default(CHANGES, move_the_environment, upgrade_the_package, remove_a_dependency)
)
def test_a_daemon_that_is_not_asked_notices_too_and_leaves_nothing_behind(
    project: Project, old: Environment, change: Callable[[Environment], None]
) -> None:
    start_process(project, old.command)
    with leaving(project):
        change(old)
    assert f"stopping: its installation has changed: {old.home}" in project.log_path.read_text()
    assert {TURN, project.socket_path.name}.isdisjoint(os.listdir(project.directory))


def test_what_a_developer_edits_ends_no_daemon_but_another_version_does(
    project: Project, old: Environment
) -> None:
    start_process(project, old.command)
    with leaving(project) as pid:
        for path in old.package.rglob("*.py"):
            if path.name != "_version.py":
                path.write_text(path.read_text("utf-8") + "\n# edited\n", "utf-8")
        assert ask(old, project)[0] == FOUND
        with DaemonClient(project, start=False) as client:
            assert (client.ping()["pid"], client.health()["problem"]) == (pid, None)
        replaced(old.package / "_version.py", '__version__ = "9.9.9"\n')


def test_two_environments_with_one_version_share_a_daemon_while_its_own_is_there(
    project: Project, environment: Environments, old: Environment
) -> None:
    new = environment("new")
    start_process(project, old.command)
    with leaving(project) as pid:
        assert ask(old, project) == ask(new, project) == ask(old, project)
        with DaemonClient(project, start=False) as client:
            assert client.ping()["pid"] == pid
        shutil.rmtree(new.home)
        assert ask(old, project)[0] == FOUND
        shutil.rmtree(old.home)


def test_a_program_that_was_replaced_itself_is_told_to_start_again(
    project: Project, environment: Environments
) -> None:
    """Its daemons would be of another version for ever; it must not end them for ever, either."""
    new = environment("new", "9.9.9")
    launched: list[str] = []

    def launch(project: Project) -> None:
        launched.append(start_process(project, new.command))

    with pytest.raises(DaemonUnavailableError, match=r"9\.9\.9 .* start this program again"):
        DaemonClient(project, launch=launch)
    assert len(launched) == 3


def test_a_program_whose_package_was_replaced_leaves_the_daemon_of_the_new_version_alone(
    project: Project, environment: Environments, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new = environment("new", "9.9.9")
    assert ask(new, project)[0] == FOUND
    pid = pid_of_the_daemon(project)
    other = tmp_path / "_version.py"
    monkeypatch.setattr(_version, "__file__", str(other))
    for text in ('__version__ = "9.9.9"\n', None):
        if text is None:
            other.unlink()
        else:
            other.write_text(text)
        with pytest.raises(DaemonUnavailableError, match="start this program again"):
            DaemonClient(project)
        assert pid_of_the_daemon(project) == pid


def test_start_replaces_a_daemon_of_another_version(
    project: Project, environment: Environments
) -> None:
    old, new = environment("old", "0.0.1"), environment("new", "9.9.9")
    start = ("start", "--project", str(project.root))
    assert old.run(*start)[1].strip() == "serving"
    assert old.run(*start)[1].strip() == "already running"
    assert new.run(*start)[1].strip() == "serving"
    assert new.run("ping", "--project", str(project.root))[0] == 0


def test_an_index_run_has_the_turn_to_its_end(project: Project) -> None:
    """A client of another version would end the daemon, and the run, which is not repeated."""
    taken: list[bool] = []

    def look(*event: object) -> None:
        other = Turn(project)
        taken.append(other.try_take())
        other.release()

    with served(project), DaemonClient(project, start=False) as client:
        client.index(progress=look)
        look()
    assert not any(taken[:-1])
    assert taken[-1]
    assert len(taken) > 1


def test_a_program_whose_interpreter_is_gone_says_which(
    project: Project, environment: Environments
) -> None:
    new = environment("new")
    shutil.rmtree(new.home)

    def launch(project: Project) -> None:
        start_process(project, new.command)

    with pytest.raises(DaemonUnavailableError, match=f"{new.python} is gone"):
        DaemonClient(project, launch=launch)


def test_what_keeps_a_daemon_from_starting_before_it_has_a_log_is_shown(
    project: Project, old: Environment
) -> None:
    """A module beside the library that has the name of one of the standard library."""
    (old.home / "lib" / "selectors.py").write_text("raise RuntimeError('not\\x1b the one')\n")
    with pytest.raises(DaemonUnavailableError) as caught:
        start_process(project, old.command)
    said = r"the daemon died while starting: RuntimeError: not\x1b the one"
    assert str(caught.value) == f"{said} ({old.home}/lib/selectors.py:1)"


def test_a_daemon_that_serves_holds_no_file_of_the_process_that_started_it(
    project: Project, old: Environment
) -> None:
    start_process(project, old.command)
    with leaving(project) as pid:
        assert os.readlink(f"/proc/{pid}/fd/2") == os.devnull
        os.kill(pid, signal.SIGTERM)


# Turns.


def test_one_client_has_the_turn_and_the_next_one_gets_it_and_no_file_is_left(
    project: Project,
) -> None:
    one, other = Turn(project), Turn(project)
    assert one.try_take()
    assert not other.try_take()
    assert one.try_take(), "it still has it"
    one.release()
    assert other.try_take()
    assert not one.try_take()
    one.release()  # which it has not: the other's stays
    assert (project.directory / TURN).exists()
    other.release()
    assert not (project.directory / TURN).exists()


def test_a_turn_on_a_file_that_was_removed_meanwhile_is_none(
    project: Project, fake: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder removes the file between our opening and our locking it, and a third takes it."""
    one, late, third = Turn(project), Turn(project), Turn(project)
    assert one.try_take()

    def lock(fd: int, path: Path) -> bool:
        monkeypatch.undo()
        one.release()
        assert third.try_take()
        return try_lock(fd, path)

    monkeypatch.setattr("cidx_ref.turns.try_lock", lock)
    assert not late.try_take()
    third.release()
    assert late.try_take()
    late.release()


def test_a_turn_ends_with_its_process_and_a_forked_child_does_not_end_it(project: Project) -> None:
    program = (
        "import os, sys; from cidx_ref.turns import Turn; from cidx_ref.project import Project;"
        "turn = Turn(Project.at(sys.argv[1])); assert turn.try_take();"
        "child = os.fork() or (turn.leave(), os._exit(0));"
        "os.waitpid(child, 0); print('taken', flush=True); input()"
    )
    command = [sys.executable, "-P", "-c", program, str(project.root)]
    mine = Turn(project)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        assert not mine.try_take()
        process.kill()
        process.wait(TIMEOUT_S)
    assert mine.try_take()
    mine.release()


@dataclass
class World:
    """A project whose daemon has a version, and what was done to it."""

    version: str | None
    done: list[str]
    next_versions: list[str]

    def find(self) -> str | int:
        if self.version is None:
            raise ConnectionLostError("nobody")
        return 1 if self.version == "ours" else self.version

    def start(self) -> None:
        self.done.append("start")
        self.version = self.next_versions.pop(0) if self.next_versions else "ours"

    def stop(self) -> None:
        self.done.append("stop")
        self.version = None


def takes_over(world: World, project: Project, runtime: Runtime, turn: Turn | None = None) -> int:
    mine = turn or Turn(project)
    try:
        return take_over(mine, world.find, world.start, world.stop, patience_s=10, runtime=runtime)
    finally:
        mine.release()


@pytest.mark.parametrize(
    ("version", "nexts", "done"),
    [
        ("ours", [], []),
        (None, [], ["start"]),
        ("other", [], ["stop", "start"]),
        (None, ["other"], ["start", "stop", "start"]),
        ("other", ["other", "other"], ["stop", "start"] * 3),
    ],
)
def test_a_daemon_of_another_version_is_ended_and_one_of_ours_started(
    project: Project, fake: FakeRuntime, version: str | None, nexts: list[str], done: list[str]
) -> None:
    world = World(version, [], nexts)
    began = fake.monotonic()
    assert takes_over(world, project, fake) == 1
    assert world.done == done
    assert fake.monotonic() == began, "who has not waited keeps nobody waiting"


def test_a_daemon_that_does_not_answer_once_it_was_started_is_lost(
    project: Project, fake: FakeRuntime
) -> None:
    world = World(None, [], [])
    world.start = lambda: world.done.append("start")  # type: ignore[method-assign]
    with pytest.raises(ConnectionLostError):
        takes_over(world, project, fake)
    assert world.done == ["start"], "the client's retries wait before the next start"


class Meanwhile(FakeRuntime):
    """Does something in the n-th sleep."""

    def __init__(self, **sleeps: Callable[[], object]) -> None:
        super().__init__()
        self._sleeps = {int(name[1:]): act for name, act in sleeps.items()}
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.slept.append(seconds)
        self._sleeps.get(len(self.slept), lambda: None)()


def test_who_waits_for_a_turn_asks_a_daemon_of_its_own_version_without_one(
    project: Project,
) -> None:
    other = Turn(project)
    assert other.try_take()
    world = World("other", [], [])
    runtime = Meanwhile(_3=lambda: setattr(world, "version", "ours"))
    assert takes_over(world, project, runtime) == 1
    assert world.done == []
    other.release()


def test_who_has_waited_for_its_turn_lets_the_others_ask_for_half_a_second(
    project: Project,
) -> None:
    other = Turn(project)
    assert other.try_take()
    world = World("other", [], [])
    runtime = Meanwhile(_2=other.release, _3=lambda: world.done.append("half a second"))
    assert takes_over(world, project, runtime) == 1
    assert world.done == ["half a second", "stop", "start"]
    assert runtime.slept == [0.02, 0.02, 0.5]


def test_a_holder_that_hangs_is_passed_over_after_a_time(project: Project) -> None:
    other = Turn(project)
    assert other.try_take()
    world = World("other", [], [])
    runtime = Meanwhile()
    began = runtime.monotonic()
    assert takes_over(world, project, runtime) == 1
    assert world.done == ["stop", "start"]
    assert 10 <= runtime.monotonic() - began <= 11
    other.release()


def test_a_client_keeps_its_turn_until_it_is_answered(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    call = Remote.call

    def watched(self: Remote, method: str, *arguments: Any) -> str:
        held.append((project.directory / TURN).exists())
        return call(self, method, *arguments)

    with ExitStack() as stack:

        def launch(project: Project) -> None:
            stack.enter_context(served(project))

        with DaemonClient(project, launch=launch) as client:
            monkeypatch.setattr(Remote, "call", watched)
            client._drop()
            stack.close()
            assert client.query(QUERY)[0].path == FOUND
            assert client.query(QUERY)[0].path == FOUND
    assert held == [True, True, False], "ping and query, and then another query"
    assert not (project.directory / TURN).exists()


# All of it together.

#: Asks as often as each line says; prints what was not right, and then how many were.
CLIENT = """
import json, sys
from cidx_ref._version import __version__
from cidx_ref.client import DaemonClient
from cidx_ref.project import Project

expected = json.loads(sys.argv[2])
client = DaemonClient(Project.at(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    right, wrong = 0, []
    for number in range(int(line)):
        mode, text, path = expected[number % len(expected)]
        try:
            found = [hit.path for hit in client.query(text, mode=mode)]
            if found[:1] == [path]:
                right += 1
            else:
                wrong.append([text, found])
        except Exception as error:
            wrong.append([text, repr(error)])
    print(json.dumps([right, wrong]), flush=True)
client.close()
"""

EXPECTED = [
    ("hybrid", QUERY, FOUND),
    ("fts", "check_password", "auth/login.py"),
    ("semantic", "parse the HTTP headers", "web/app.js"),
    ("fts", "expireOldSessions", "auth/login.py"),
]


class Asker:
    """A process of an environment, with one client."""

    def __init__(self, environment: Environment, project: Project) -> None:
        self._process = environment.popen(CLIENT, str(project.root), json.dumps(EXPECTED))

    def begin(self, count: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def outcome(self) -> tuple[int, list[Any]]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line == "ready\n":
            line = self._process.stdout.readline()
        right, wrong = json.loads(line)
        return right, wrong

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(TIMEOUT_S)
            finally:
                process.kill()


def changed(environment: Environment, number: int, make: Environments) -> Environment:
    """The environment after its change of that number."""
    match number % 4:
        case 0:
            environment.install(f"0.0.{number + 3}")
        case 1:
            shutil.rmtree(environment.home)
            return make(f"third {number}", "0.0.1")
        case 2:
            environment.python.unlink()
            environment.python.symlink_to(INTERPRETER)
            environment.install("0.0.2")
        case 3:
            environment.install("0.0.2")
    return environment


def upgrade_and_ask(
    project: Project, environment: Environments, changes: int, queries: int
) -> tuple[int, list[Any]]:
    """How many of the queries were answered right, and what else was heard.

    Two clients of two versions live all the while, and ask at once; a third is started after each
    change of a third environment.
    """
    per_client = -(-queries // (3 * changes))
    right, wrong = 0, []
    third = environment("third", "0.0.3")
    with ExitStack() as stack:
        stay = [Asker(environment(name, version), project)
                for name, version in (("one", "0.0.1"), ("other", "0.0.2"))]  # fmt: skip
        for asker in stay:
            stack.callback(asker.close)
        for number in range(changes):
            third = changed(third, number, environment)
            with closing(Asker(third, project)) as new:
                for asker in (*stay, new):
                    asker.begin(per_client)
                for asker in (*stay, new):
                    more, heard = asker.outcome()
                    right += more
                    wrong += heard
    return right, wrong


def test_thirty_queries_across_each_change_of_version_and_environment_are_answered_right(
    project: Project, environment: Environments
) -> None:
    right, wrong = upgrade_and_ask(project, environment, changes=4, queries=30)
    assert wrong == []
    assert right >= 30


@pytest.mark.deep
def test_a_thousand_queries_across_twenty_changes_of_version_and_environment_are_answered_right(
    project: Project, environment: Environments
) -> None:
    right, wrong = upgrade_and_ask(project, environment, changes=20, queries=1000)
    assert wrong == []
    assert right >= 1000
