"""Two local users, each in a process of its own: what one can do to the other.

Run as root, with the name of a scenario and an empty directory that everybody can enter.  The
scenario's findings are printed as JSON: a list of sentences, empty where all is well.  All that is
needed is imported before the processes take their users: these may not be able to read Python.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cidx_ref import commands
from cidx_ref.client import DaemonClient
from cidx_ref.daemon.claim import Claim
from cidx_ref.errors import CidxError
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.keys import STATE_DIRECTORY
from cidx_ref.launcher import require_answer, stop
from cidx_ref.places import INDEX_DIRECTORY
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import served

ALICE, BOB = 54321, 54322
SECRET = "zanzibarsecret"

Findings = list[str]


def as_user(uid: int, act: Callable[[], Any]) -> Any:
    """What `act` returns when `uid` does it, in another process; its error as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.environ[STATE_DIRECTORY] += f"-{uid}"
            os.write(writer, json.dumps(_outcome(act)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    return json.loads(said)


def _outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except (CidxError, OSError) as error:
        return f"{type(error).__name__}: {error}"


@contextmanager
def meanwhile(uid: int, act: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """While the block runs, `uid` does `act` in another process, from its call of `ready` on."""
    reader, writer = os.pipe()
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.close(end)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.environ[STATE_DIRECTORY] += f"-{uid}"

            def ready() -> None:
                os.write(writer, b"x")
                os.read(ended, 1)

            act(ready)
        os._exit(0)
    os.close(writer)
    os.close(ended)
    os.read(reader, 1)
    try:
        yield
    finally:
        os.close(end)
        os.close(reader)
        os.waitpid(child, 0)


def project_of(uid: int, root: Path) -> Project:
    """A project of the user's, which others may enter and read, with a file that is private."""

    def make() -> None:
        os.umask(0)
        (root / "found.py").write_text("def found_function(): pass\n")
        (root / "private.py").write_text(f"{SECRET} = 1\n")
        (root / "private.py").chmod(0o600)

    root.mkdir()
    os.chown(root, uid, uid)
    root.chmod(0o755)
    as_user(uid, make)
    return Project(root)


def build(project: Project) -> str:
    os.umask(0)  # the worst that a user can have
    return str(bring_up_to_date(project, HashingEmbedder())["generation"])


def can_open(root: Path) -> list[str]:
    """What of `.code-indexer/` the user who asks can list, read or write."""
    found = []
    for directory, directories, files in os.walk(root / ".code-indexer"):
        found += [f"list {directory}"]
        for name in files + directories:
            path = Path(directory, name)
            for how, flags in ("read", os.O_RDONLY), ("write", os.O_WRONLY):
                with suppress(OSError):
                    os.close(os.open(path, flags | os.O_NONBLOCK))
                    found.append(f"{how} {path}")
    return found


def nothing_can_be_read(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")
    as_user(ALICE, lambda: build(project))
    with meanwhile(ALICE, lambda ready: _serve(project, ready)):
        return list(as_user(BOB, lambda: can_open(project.root)))


def nothing_can_be_read_beside_files_of_the_full_cidx(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")

    def prepare() -> None:
        os.umask(0o022)
        (project.directory / "index").mkdir(parents=True)
        build(project)

    as_user(ALICE, prepare)
    with meanwhile(ALICE, lambda ready: _serve(project, ready)):
        found = as_user(BOB, lambda: can_open(project.root))
    harmless = {f"list {project.directory}", f"list {project.directory / 'index'}",
                f"read {project.directory / 'index'}"}  # fmt: skip
    return [what for what in found if what not in harmless]


def _serve(project: Project, ready: Callable[[], None]) -> None:
    with served(project):
        ready()


def no_lock_can_be_held(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")

    def prepare() -> None:
        (project.directory / "index").mkdir(parents=True)
        project.directory.chmod(0o755)
        build(project)
        project.create_directory()

    def hold(ready: Callable[[], None]) -> None:
        held = []
        paths = [project.root, *project.root.rglob("*")]
        for path in paths:
            with suppress(OSError):
                held.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        ready()

    def work() -> Findings:
        claim = Claim(project)
        found = [] if claim.acquire(1.0) else ["somebody has the claim"]
        claim.release()
        with Generations(project.generations).writing(wait_s=1.0):
            return found

    as_user(ALICE, prepare)
    with meanwhile(BOB, hold):
        return _told(as_user(ALICE, work))


def _told(outcome: Any) -> Findings:
    return [outcome] if isinstance(outcome, str) else list(outcome)


def a_root_of_anothers_is_passed_over(top: Path) -> Findings:
    his = project_of(BOB, top / "his")
    as_user(BOB, lambda: build(his))
    his.root.chmod(0o777)
    hers = his.root / "hers"

    def make() -> None:
        (hers / ".git").mkdir(parents=True)
        (hers / "deep").mkdir()
        (his.root / "bare").mkdir()

    def find() -> Findings:
        notices: Findings = []
        found = Project.around(hers / "deep", consent=False, notice=notices.append)
        bare = Project.around(his.root / "bare", consent=False, notice=notices.append)
        good = found.root == hers and bare.root == his.root / "bare"
        named = notices == [f"{his.root} belongs to user {BOB}, and is passed over"]
        return [] if good and named else [f"{found}, {bare}, {notices}"]

    as_user(ALICE, make)
    return _told(as_user(ALICE, find))


def anothers_project_is_named_and_refused(top: Path) -> Findings:
    his = project_of(BOB, top / "his")
    as_user(BOB, lambda: build(his))
    with meanwhile(BOB, lambda ready: _serve(his, ready)):
        return _told(as_user(ALICE, lambda: _refusals(his)))


def _refusals(his: Project) -> Findings:
    found = []
    by_consent = Project.around(his.root)
    started = SYSTEM.monotonic()
    for name, act in {
        "without consent": lambda: Project.around(his.root, consent=False),
        "a client": lambda: DaemonClient(by_consent),
        "stop": lambda: stop(by_consent),
        "a claim": lambda: Claim(by_consent).acquire(1.0),
        "an index": lambda: build(by_consent),
    }.items():
        outcome = _outcome(act)
        if not (isinstance(outcome, str) and f"belongs to user {BOB}" in outcome):
            found.append(f"{name}: {outcome}")
    if SYSTEM.monotonic() - started > 1.0:
        found.append("it took more than a second")
    return found


def a_daemon_answers_its_own_user_only(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")
    as_user(ALICE, lambda: build(project))

    def serve(ready: Callable[[], None]) -> None:
        with served(project):
            project.directory.chmod(0o777)
            project.socket_path.chmod(0o777)  # as if modes kept nobody out
            ready()

    with meanwhile(ALICE, serve):
        found = _told(as_user(BOB, lambda: _is_turned_away(project)))
        return found + _told(as_user(ALICE, lambda: _is_served(project)))


def _is_turned_away(project: Project) -> Findings:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(5)
    sock.connect(str(project.socket_path))
    try:
        said = sock.recv(1)
    except ConnectionResetError:
        said = b""
    return [f"was sent {said!r}"] if said else []


def _is_served(project: Project) -> Findings:
    with DaemonClient(project, start=False) as client:
        paths = [hit.path for hit in client.query("found_function")]
    return [] if "found.py" in paths else [f"found {paths}"]


def no_query_is_sent_to_anothers_daemon(top: Path) -> Findings:
    """A directory of hers, in which he could put a socket of his."""
    project = project_of(ALICE, top / "hers")

    def prepare() -> None:
        project.create_directory()
        project.directory.chmod(0o777)

    def listen(ready: Callable[[], None]) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(project.socket_path))
            project.socket_path.chmod(0o777)
            listener.listen()
            ready()

    as_user(ALICE, prepare)
    with meanwhile(BOB, listen):
        started = SYSTEM.monotonic()
        outcome = as_user(ALICE, lambda: DaemonClient(project) and [])
        took = SYSTEM.monotonic() - started
    named = isinstance(outcome, str) and f"belongs to user {BOB}" in outcome
    return [] if named and took < 1.0 else [f"{outcome}, after {took:.1f} s"]


def a_socket_that_she_may_not_open_is_named_at_once(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")

    def ask() -> Findings:
        found = []
        for name, act in {
            "a query": lambda: DaemonClient(project),
            "status": lambda: commands._running(project),
            "serve": lambda: Claim(project).acquire(5.0) or require_answer(project),  # type: ignore[func-returns-value]
            "stop": lambda: stop(project),
        }.items():
            outcome = _outcome(act)
            if not (isinstance(outcome, str) and f"{project.socket_path} cannot be" in outcome):
                found.append(f"{name}: {outcome}")
        return found

    def serve(ready: Callable[[], None]) -> None:
        with served(project):
            project.socket_path.chmod(0)
            ready()
            project.socket_path.chmod(0o600)

    with meanwhile(ALICE, serve):
        started = SYSTEM.monotonic()
        found = _told(as_user(ALICE, ask))
        took = SYSTEM.monotonic() - started
    return found + ([] if took < 1.0 else [f"after {took:.1f} s"])


def what_is_made_is_private(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")

    def modes() -> Findings:
        build(project)
        wrong = []
        for path in [project.directory, *project.directory.rglob("*")]:
            found = path.lstat()
            wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
            if not stat.S_ISLNK(found.st_mode) and stat.S_IMODE(found.st_mode) != wanted:
                wrong.append(f"{path}: {stat.S_IMODE(found.st_mode):o}")
        return wrong

    return _told(as_user(ALICE, modes))


def two_who_share_a_checkout_and_a_setting_have_an_index_each(top: Path) -> Findings:
    """Neither may write in it: it is the machine's, and has another's configuration in it."""
    shared = project_of(0, top / "shared")
    (shared.root / "private.py").chmod(0o644)
    (shared.root / ".code-indexer").mkdir(mode=0o700)
    base = top / "indexes"
    base.mkdir()
    base.chmod(0o1777)

    def work() -> Findings:
        os.environ[INDEX_DIRECTORY] = str(base)
        mine = Project.around(shared.root)
        build(mine)
        with served(mine):
            found = _is_served(mine)
        others = [path for path in base.iterdir() if path != mine.directory]
        opened = [str(path) for path in others if os.access(path, os.R_OK | os.X_OK)]
        return found + [f"can open {path}" for path in opened]

    found = _told(as_user(ALICE, work)) + _told(as_user(BOB, work)) + _told(as_user(ALICE, work))
    made = sorted(path.stat().st_uid for path in base.iterdir())
    return found + ([] if made == [ALICE, BOB] else [f"made by {made}"])


def an_index_of_hers_is_answered_from_where_she_may_not_write(top: Path) -> Findings:
    project = project_of(ALICE, top / "hers")

    def work() -> Findings:
        build(project)
        paths = [path for path in project.root.rglob("*") if not path.is_symlink()]
        for path in (*reversed(paths), project.root):
            path.chmod(path.stat().st_mode & ~0o222)
        mine = Project(project.root)
        with served(mine), DaemonClient(mine, start=False) as client:
            found = _is_served(mine)
            answer = client.query("found_function", mode="fts")
            status = client.status()
        if not answer or answer.unavailable:
            found.append(f"no full text: {answer.unavailable}")
        if status["index_directory"] != str(project.root / ".code-indexer"):
            found.append(f"it lies in {status['index_directory']}")
        refused = _outcome(lambda: build(mine))
        if not (isinstance(refused, str) and "cannot be written by you" in refused):
            found.append(f"an index run: {refused}")
        return found

    return _told(as_user(ALICE, work))


def _warm_up(top: Path) -> None:
    """Import all that the users will need, by doing once what they do."""
    project = project_of(0, top / "warm")
    build(project)
    with served(project):
        _is_served(project)
        stop(project)


SCENARIOS = {
    act.__name__: act
    for act in (
        nothing_can_be_read,
        nothing_can_be_read_beside_files_of_the_full_cidx,
        no_lock_can_be_held,
        a_root_of_anothers_is_passed_over,
        anothers_project_is_named_and_refused,
        a_daemon_answers_its_own_user_only,
        no_query_is_sent_to_anothers_daemon,
        a_socket_that_she_may_not_open_is_named_at_once,
        what_is_made_is_private,
        two_who_share_a_checkout_and_a_setting_have_an_index_each,
        an_index_of_hers_is_answered_from_where_she_may_not_write,
    )
}


def main() -> None:
    warnings.simplefilter("ignore")  # of forking where there are threads: they have ended
    top = Path(sys.argv[2])
    os.environ[STATE_DIRECTORY] = str(top / "state")
    _warm_up(top)
    print(json.dumps(SCENARIOS[sys.argv[1]](top)))


if __name__ == "__main__":
    main()
